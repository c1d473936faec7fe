//! Adapter: OpenSearch - signed requests, the write alias, bulk indexing with every item sorted. Depends on events.
