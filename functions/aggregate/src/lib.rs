//! Lambda on the stream, in tumbling windows: partials of panes, merged into windows.
