//! Core: panes, mergeable summaries, windows and the aggregators over them.
