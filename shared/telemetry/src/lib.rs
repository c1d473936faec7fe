//! Adapter: structured logs. Depends on nothing of ours.
