//! The command `hashmix`.

fn main() {}
