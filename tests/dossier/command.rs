//! The command, on a chain.
