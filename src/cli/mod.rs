//! What the command `hashmix` does, one file per subject: functions that take parsed arguments and
//! answer with lines of text.

#[cfg(feature = "regtest")]
pub mod demo;
pub mod work;
