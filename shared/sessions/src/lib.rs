//! Core: visits made of events, in whatever order these arrive.
