//! Everything that can be typed behind `hashmix demo`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::script::template::Variant;

/// `hashmix demo`
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Which story is told
    #[arg(long, value_enum, default_value_t = Story::Both)]
    pub story: Story,
    /// How the key path of the deal's locks is built
    #[arg(long, value_enum, default_value_t = VariantName::Musig)]
    pub variant: VariantName,
    /// On Bitcoin Core's validation in this process, or on Bitcoin Core and electrs
    #[arg(long, value_parser = ["embedded", "core"], default_value = "embedded")]
    pub world: String,
    /// Keep everybody's stores and messages in this new folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Story {
    /// One contract, from the sale to the sweep
    Deal,
    /// A position: proven, issued, sold, sold on, retired
    Position,
    /// One after the other
    Both,
}

/// A lock's variant by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VariantName {
    /// Miner and holder sign it together, as one (MuSig2)
    Musig,
    /// It is closed: every spend shows its leaf
    Nums,
}

impl From<VariantName> for Variant {
    fn from(name: VariantName) -> Self {
        match name {
            VariantName::Musig => Self::Musig,
            VariantName::Nums => Self::Nums,
        }
    }
}
