//! The command `hashmix`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(hashmix::cli::run(std::env::args_os()))
}
