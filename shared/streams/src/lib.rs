//! Adapter: puts packed records on Kinesis and what it refuses on the dead-letter queue. Depends on events and deadletters.
