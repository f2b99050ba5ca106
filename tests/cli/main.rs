//! The command as people run it: the built binary, its output, its exit code.

mod bad_input;
mod canary;
mod certificates;
mod contracts;
mod desk;
mod documented_errors;
mod headers;
mod seeds;
mod tenures;
mod wallets;
mod work;
