//! Core: event types, validation, the wire form and identity. Depends on no runtime, no AWS, no clock.
