//! Adapter: puts records on Kinesis, and what it refuses on the dead-letter
//! queue. Every record and every event keeps its index, so that the caller can
//! say of each by itself what became of it.

mod backoff;
mod queue;
mod stream;

pub use queue::DeadLetterQueue;
pub use stream::{PutOutcome, Record, Stream};
