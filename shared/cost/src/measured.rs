//! What the formula takes from measurements, and what it assumes. `docs/cost.md`
//! says where each figure is from.

/// Memory at which Lambda gives a function one whole core.
pub const MB_OF_A_CORE: f64 = 1769.0;
/// Lambda rounds each duration up to a millisecond: half of one, on average.
pub const ROUNDING_MS: f64 = 0.5;

/// CPU of collect: nanoseconds an event, `docs/benchmarks.md`.
pub const COLLECT_NS: f64 = 8_936.0;
/// What an invocation of collect waits for the stream. Assumed.
pub const COLLECT_WAIT_MS: f64 = 12.0;
/// CPU of enrich: nanoseconds an event, `docs/benchmarks.md`.
pub const ENRICH_NS: f64 = 19_454.0;
/// What an invocation of enrich waits for session table and cluster. Assumed.
pub const ENRICH_WAIT_MS: f64 = 50.0;
/// What each event of a batch adds to that. Assumed.
pub const ENRICH_WAIT_MS_AN_EVENT: f64 = 0.1;
/// CPU of aggregate: nanoseconds an event, `docs/benchmarks.md`.
pub const AGGREGATE_NS: f64 = 4_554.0;
/// What an invocation of aggregate waits for its table. Assumed.
pub const AGGREGATE_WAIT_MS: f64 = 60.0;
/// What uniting a window takes for each of its events. Assumed.
pub const MERGE_NS: f64 = 50.0;
/// An invocation of query. Assumed.
pub const QUERY_MS: f64 = 10.0;
/// A run of health, which waits until its probe is searchable. Assumed.
pub const HEALTH_MS: f64 = 8_000.0;
/// Metrics that a run of health asks for.
pub const HEALTH_METRICS: f64 = 19.0;

/// A record's further events, of an event's bytes: they are compressed together.
pub const PACKED_SHARE: f64 = 0.15;
/// Lambda hands over at most 6 MB, in base64.
pub const LAMBDA_PAYLOAD_BYTES: f64 = 6_000_000.0;
/// What Lambda says beside a record's data.
pub const ENVELOPE_BYTES: f64 = 350.0;

/// A session's item without its events' marks, and each mark.
pub const SESSION_BYTES: f64 = 400.0;
/// A mark.
pub const SESSION_MARK_BYTES: f64 = 8.0;
/// What DynamoDB counts beside an item, for storage.
pub const ITEM_OVERHEAD_BYTES: f64 = 100.0;
/// Bytes of an event in a piece, both aggregators: `docs/decisions/0011-aggregation.md`.
pub const PIECE_BYTES: f64 = 17.0;
/// A manifest without its pieces, and each piece's entry.
pub const MANIFEST_BYTES: f64 = 250.0;
/// A piece's entry.
pub const MANIFEST_ENTRY_BYTES: f64 = 25.0;
/// Write units of a merge's results; twice in the tenth of merges after the turn of a minute.
pub const RESULT_UNITS: f64 = 3.0 * 1.1;
/// Read units of a merge for the versions of slots.
pub const VERSION_UNITS: f64 = 6.0;
/// How long pieces are kept: future, lateness, three windows and five minutes.
pub const PIECE_SECONDS: f64 = 35.0 * 60.0;

/// What an event takes on a disk of the cluster, of its bytes as JSON. Assumed.
pub const INDEX_SHARE: f64 = 0.7;
/// How much of a disk is used for indices: the service, merges and the watermark want the rest.
pub const DISK_SHARE: f64 = 0.75;
/// Days with replicas: until rollover, and two more.
pub const REPLICA_DAYS: f64 = 3.0;
/// Documents a second that a core indexes, each copy counted. `docs/benchmarks.md`, end to end.
pub const INDEXED_A_CORE: f64 = 1_500.0;
/// How much of a shard's limits is planned for: users are not spread evenly.
pub const SHARD_SHARE: f64 = 0.8;

/// Lines that Lambda writes of each invocation: START, END, REPORT.
pub const PLATFORM_LOG_BYTES: f64 = 350.0;
/// The line of metrics that each invocation writes, whatever the level: `docs/metrics.md`.
pub const COLLECT_LOG_BYTES: f64 = 540.0;
/// Without its latencies.
pub const ENRICH_LOG_BYTES: f64 = 850.0;
/// Without its latencies.
pub const AGGREGATE_LOG_BYTES: f64 = 620.0;
/// A line of query.
pub const QUERY_LOG_BYTES: f64 = 340.0;
/// Three lines.
pub const HEALTH_LOG_BYTES: f64 = 3_500.0;
/// A latency's value and count in a line.
pub const LATENCY_LOG_BYTES: f64 = 11.0;
/// So many differ, of at most 100 that a line holds. Assumed.
pub const LATENCIES: f64 = 60.0;
/// What level `debug` adds to an invocation. Assumed.
pub const DEBUG_LOG_BYTES: f64 = 1_200.0;
/// The API's line of a request.
pub const ACCESS_LOG_BYTES: f64 = 215.0;
/// Stored logs are compressed.
pub const LOG_COMPRESSION: f64 = 0.15;

/// An answer without its results, and each result.
pub const ANSWER_BYTES: f64 = 350.0;
/// A result.
pub const RESULT_BYTES: f64 = 75.0;
/// An answer of query.
pub const QUERY_ANSWER_BYTES: f64 = 3_000.0;
/// A dead letter.
pub const DEAD_LETTER_BYTES: f64 = 2_000.0;

/// Metrics that occur in a day on which little is refused: what is always 0 is not written, and not paid for.
pub const METRICS: f64 = 85.0;
/// Requests to KMS an hour for each environment and each poller of a shard. Assumed.
pub const KMS_AN_HOUR: f64 = 12.0;
