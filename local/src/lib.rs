//! The local cloud: hosts Lambda bootstraps, emulates the event source mapping and the HTTP API. Depends on no other crate of ours.
