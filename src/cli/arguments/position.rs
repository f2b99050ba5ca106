//! Everything that can be typed behind `hashmix position`.

use std::path::PathBuf;

use bitcoin::{OutPoint, Txid};
use clap::{Args, Subcommand};

use super::{DeskArguments, Folder, Home, Server};
use crate::id::RecordId;

/// `hashmix position`
#[derive(Debug, Subcommand)]
pub enum PositionCommand {
    /// Make the file of a federation out of its validators' standing records
    Federation(FederationArguments),
    /// Make a position's terms out of numbers and records: the beginning of its dossier
    New(NewArguments),
    /// Miner: prove that the address in your record is yours
    Enroll {
        /// Your place at the position.
        #[command(flatten)]
        seat: SeatArguments,
        /// A file with the BIP-322 signature of your record's statement by that address; made by
        /// your wallet if left out
        #[arg(long, value_name = "FILE")]
        proof: Option<PathBuf>,
    },
    /// Miner: ask for the issue, when all validators have registered you
    Ask(SeatArguments),
    /// Miner: show the certificate of a slice
    Prove {
        /// Your place at the position.
        #[command(flatten)]
        seat: SeatArguments,
        /// Of coinbases that pay your registered address
        #[arg(long, value_name = "FILE", required_unless_present = "binding")]
        onboarding: Option<PathBuf>,
        /// Of coinbases that pay the reward lock
        #[arg(long, value_name = "FILE", conflicts_with = "onboarding")]
        binding: Option<PathBuf>,
    },
    /// Miner: pay for the issue from your wallet; then name the output, when a block holds it
    Fund(FundArguments),
    /// Miner: broadcast the issue that enough validators have signed
    Issue(SeatArguments),
    /// Validator: do whatever is yours to do now
    Attest {
        /// The position's folder
        dossier: PathBuf,
        /// Your desk.
        #[command(flatten)]
        desk: DeskArguments,
        /// The number of your record for this position
        #[arg(long, value_name = "N")]
        number: u32,
        /// The number of your standing record
        #[arg(long, value_name = "N")]
        standing: u32,
    },
    /// Whose turn it is
    Status {
        /// The position's folder
        dossier: PathBuf,
        /// Where headers are kept.
        #[command(flatten)]
        folder: Folder,
        /// Through which server.
        #[command(flatten)]
        server: Server,
    },
    /// Say who issued and holds a position, what it owes and pays, and what nobody can prove
    Verify {
        /// The dossier's folder
        dossier: PathBuf,
        /// Where the chain is read, and what is pinned.
        #[command(flatten)]
        by: DossierArguments,
    },
    /// Make the terms of a contract that was sold out of the dossier, for a gateway or `work show`
    Terms {
        /// The dossier's folder
        dossier: PathBuf,
        /// Where the chain is read, and what is pinned.
        #[command(flatten)]
        by: DossierArguments,
        /// With which move of the seal it was sold; the newest if left out
        #[arg(long = "move", value_name = "N")]
        number: Option<u32>,
        /// The file to make
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Take certificates and receipts of the position into its dossier
    Evidence {
        /// The dossier's folder
        dossier: PathBuf,
        /// Files (certificates, receipts, words, answers), or folders of them: a gateway's home, the
        /// folder that the parties share
        #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
        from: Vec<PathBuf>,
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

/// `hashmix position federation`
#[derive(Debug, Args)]
pub struct FederationArguments {
    /// The validators' standing records, in their order
    #[arg(required = true, value_name = "RECORD")]
    pub records: Vec<PathBuf>,
    /// How many of them decide
    #[arg(long, value_name = "K")]
    pub threshold: u8,
    /// Where it is paid
    #[arg(long, value_name = "ADDRESS")]
    pub payout: String,
    /// The file to make
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `hashmix position new`
#[derive(Debug, Args)]
pub struct NewArguments {
    /// The numbers, as JSON of `hashmix position numbers 1`
    #[arg(long, value_name = "FILE")]
    pub numbers: PathBuf,
    /// The federation that issues
    #[arg(long, value_name = "FILE")]
    pub issuer: PathBuf,
    /// The miner's record
    #[arg(long, value_name = "RECORD")]
    pub miner: PathBuf,
    /// The first holder's: another record of the miner's, made for the holder's seat
    #[arg(long, value_name = "RECORD")]
    pub holder: PathBuf,
    /// A validator's record for this position; once for each, in the order of the federation
    #[arg(long, value_name = "RECORD", required = true)]
    pub validator: Vec<PathBuf>,
    /// Where rulings are paid
    #[arg(long, value_name = "ADDRESS")]
    pub payout: String,
    /// The position's folder to make
    #[arg(long, value_name = "DOSSIER")]
    pub out: PathBuf,
}

/// The miner's place at a position.
#[derive(Debug, Args)]
pub struct SeatArguments {
    /// The position's folder
    pub dossier: PathBuf,
    /// Where, with which seed, on which network.
    #[command(flatten)]
    pub home: Home,
    /// Through which server.
    #[command(flatten)]
    pub server: Server,
    /// The number of your record
    #[arg(long, value_name = "N")]
    pub number: u32,
}

/// `hashmix position fund`
#[derive(Debug, Args)]
pub struct FundArguments {
    /// Your place at the position.
    #[command(flatten)]
    pub seat: SeatArguments,
    /// The folder of a position of the same issue, once for each in their order, this one among them;
    /// none if it is issued alone
    #[arg(long, value_name = "DOSSIER")]
    pub batch: Vec<PathBuf>,
    /// Fee rate of the payment and of the issue, in sat/vB; with --outpoint the rate of the issue that
    /// an output of another wallet's was paid at
    #[arg(long, value_name = "SAT_PER_VB", required_unless_present = "outpoint")]
    pub fee_rate: Option<u64>,
    /// The output that a block holds now: says it to the validators; another one only when the issue
    /// of the first can be in no block any more
    #[arg(long, value_name = "TXID:VOUT")]
    pub outpoint: Option<OutPoint>,
    /// Inscribe the seal too, as a child of the federation's inscription: the transaction that revealed
    /// that one
    #[arg(long, value_name = "TXID", conflicts_with = "batch")]
    pub parent: Option<Txid>,
    /// Where the federation's inscription lies now: an output of the issuer's script of 10,000 sat
    #[arg(long, value_name = "TXID:VOUT", requires = "parent", requires = "outpoint")]
    pub parent_at: Option<OutPoint>,
}
