//! Adapter: the three shapes of dead letters, written and read back. Depends on events and enrichment.
