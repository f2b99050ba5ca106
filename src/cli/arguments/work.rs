//! Everything that can be typed behind `hashmix work`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::work::Verify;

/// `hashmix work`
#[derive(Debug, Subcommand)]
pub enum WorkCommand {
    /// Say what a certificate (with --terms) or a single share (with --script) proves
    Verify(VerifyArguments),
    /// Agreed against delivered work, period by period, as a chart
    Show(ShowArguments),
    /// What chance does to miner and holder under given terms, and critical counts for pass-fail
    Odds {
        /// The terms' file
        #[arg(long, value_name = "FILE")]
        terms: PathBuf,
        /// In how many of a million terms an honest miner may lose a window by bad luck
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        alpha_ppm: u32,
    },
    /// Play every known trick with work, and show what it yields beside what is claimed of it
    Simulate {
        /// The same seed gives the same table
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// How often the quick figures are drawn
        #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
        draws: u32,
    },
}

/// `hashmix work verify`
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The file of a certificate, or of a share: header, coinbase, branch
    pub file: PathBuf,
    /// Certificate: the terms' file
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["script", "address", "target", "service", "cap"]
    )]
    pub terms: Option<PathBuf>,
    /// Certificate: the file with the position's own terms (position.json of its dossier); work that goes
    /// on paying the lock before the first sale is then refused as that
    #[arg(long, value_name = "FILE", requires = "terms")]
    pub position: Option<PathBuf>,
    /// Certificate: where headers come from.
    #[command(flatten)]
    pub chain: ChainArguments,
    /// Certificate: a validator's receipt for it; once for each
    #[arg(long, value_name = "FILE", requires = "terms")]
    pub receipt: Vec<PathBuf>,
    /// Share: the script that must be paid
    #[arg(long, value_name = "HEX", required_unless_present_any = ["address", "terms"])]
    pub script: Option<String>,
    /// Share: the address that must be paid
    #[arg(long, conflicts_with = "script")]
    pub address: Option<String>,
    /// Share: the target that must be met; the header's own nBits if left out
    #[arg(long, value_name = "HEX")]
    pub target: Option<String>,
    /// Share: the script of the service share, paid in the output directly behind
    #[arg(long, value_name = "HEX", requires = "service_ppm")]
    pub service: Option<String>,
    /// Share: the service share, in parts per million of both payments
    #[arg(long, value_name = "N", requires = "service")]
    pub service_ppm: Option<u32>,
    /// Share: most that the coinbase may pay out beyond the subsidy; any fees if left out
    #[arg(long, value_name = "SATOSHIS")]
    pub cap: Option<u64>,
}

/// Where headers come from.
#[derive(Clone, Debug, Default, Args)]
pub struct ChainArguments {
    /// An Electrum server, tcp://host:port; with --home its headers are judged and kept there first
    #[arg(long, value_name = "URL", requires = "terms")]
    pub electrum: Option<String>,
    /// The folder of a store whose headers are used, offline unless a server is named
    #[arg(long, value_name = "DIR", requires = "terms")]
    pub home: Option<PathBuf>,
}

/// `hashmix work show`
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// The terms' file
    #[arg(long, value_name = "FILE")]
    pub terms: PathBuf,
    /// A folder with certificates and receipts, or words that carry them; those in the store at
    /// --home if left out
    #[arg(long, value_name = "DIR", required_unless_present = "home")]
    pub certificates: Option<PathBuf>,
    /// Where headers come from.
    #[command(flatten)]
    pub chain: ChainArguments,
    /// Also draw the chart into this new file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

impl From<VerifyArguments> for Verify {
    fn from(arguments: VerifyArguments) -> Self {
        let VerifyArguments { file, script, address, target, service, service_ppm, cap, .. } =
            arguments;
        Self { file, script, address, target, service, service_ppm, cap }
    }
}
