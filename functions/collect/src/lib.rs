//! Lambda behind the HTTP API: decode, authorise, validate, stamp, pack, put, answer per event.
