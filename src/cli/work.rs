//! `hashmix work ...`
