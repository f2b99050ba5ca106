//! Relays: how words get from one person to another. Whatever carries them, a word proves itself.

pub mod folder;
pub mod seat;
pub mod words;
