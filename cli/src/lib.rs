//! The freshet command.
