//! End to end on the real servers of the local stack. May depend on everything.
