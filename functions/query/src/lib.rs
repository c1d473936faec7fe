//! Lambda behind the HTTP API: reads what aggregate counted.
