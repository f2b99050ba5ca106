//! Everything that can be typed behind `hashmix position`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::id::RecordId;

/// `hashmix position`
#[derive(Debug, Subcommand)]
pub enum PositionCommand {
    /// Say who issued and holds a position, what it owes and pays, and what nobody can prove
    Verify {
        /// The dossier's folder
        dossier: PathBuf,
        /// Where the chain is read, and what is pinned.
        #[command(flatten)]
        by: DossierArguments,
    },
    /// A line for each dossier: rate, efficiency, periods left, delivered, unpaid, next payment
    List {
        /// The dossiers' folders
        #[arg(required = true, value_name = "DOSSIER")]
        dossiers: Vec<PathBuf>,
        /// Where the chain is read, and what is pinned.
        #[command(flatten)]
        by: DossierArguments,
    },
    /// The same for one dossier, with a timeline
    Show {
        /// The dossier's folder
        dossier: PathBuf,
        /// Where the chain is read, and what is pinned.
        #[command(flatten)]
        by: DossierArguments,
        /// Also draw the timeline into this new file
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
}

/// Where the chain is read, and which federation is trusted.
#[derive(Clone, Debug, Args)]
pub struct DossierArguments {
    /// An Electrum server, tcp://host:port; with --home its headers are judged and kept there first
    #[arg(long, value_name = "URL")]
    pub electrum: String,
    /// The folder of a store for headers; made if it does not exist (mode 0700)
    #[arg(long, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// The hash of the federation that you chose; another one is refused
    #[arg(long, value_name = "ID")]
    pub federation: Option<RecordId>,
}
