//! Core: what a stack costs.
