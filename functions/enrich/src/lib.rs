//! Lambda on the stream: unpack, enrich, bulk-index, sort every item's outcome.
