//! Core: what CloudWatch does with an alarm, by its documented rules.
