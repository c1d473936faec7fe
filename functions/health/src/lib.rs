//! Lambda on a schedule: looks at the cluster, the stream and the pipeline
//! each minute, posts a probe and times it, and says what it saw as metrics.
