//! Adapter: OpenSearch.
//!
//! [`Search`] sends one request, signed or not, and keeps how long it took. [`Indexer`] creates documents
//! in the write alias's index and says of each what became of it. [`view`]
//! knows which index that is, and where else a document may already be.
//! [`DailyIndices`] puts documents that change under external versions.

mod bulk;
mod client;
mod daily;
mod indexer;
mod requests;
mod times;
pub mod view;

pub use bulk::{ItemOutcome, push as push_bulk_item};
pub use client::{Auth, Method, Search, SearchError};
pub use daily::{DailyIndices, DailyWrite, Write};
pub use indexer::{IndexRequest, Indexer};
pub use requests::BulkLimits;
pub use times::{Operation, RequestOutcome, RequestTime};
