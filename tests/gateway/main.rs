//! The gateway's Stratum server: its sessions as values, and the server with miners over loopback.

mod codes;
mod desk;
mod limits;
mod mining;
mod recorded;
mod soak_short;
mod strangers;
mod verdicts;
mod world;
