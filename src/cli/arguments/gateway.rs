//! What can be typed behind `hashmix gateway`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Home;

/// `hashmix gateway`
#[derive(Debug, Subcommand)]
pub enum GatewayCommand {
    /// Serve machines until told to stop
    Run(GatewayArguments),
    /// Read the gateway's file and say whom each coinbase will pay; start nothing
    Check(GatewayArguments),
    /// Ask a running gateway how it does
    Status {
        /// The address that stands under `status` in its file
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3334")]
        url: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which gateway.
#[derive(Debug, Args)]
pub struct GatewayArguments {
    /// Where its store is, with which seed it seals, on which network.
    #[command(flatten)]
    pub home: Home,
    /// The gateway's file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}
