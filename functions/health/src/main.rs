//! The bootstrap: nothing yet.

fn main() {}
