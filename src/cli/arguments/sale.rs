//! Everything that can be typed behind `hashmix sale`.

use std::path::PathBuf;

use bitcoin::OutPoint;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::{Home, Server};
use crate::flow::sale::consent::Party;
use crate::id::RecordId;

/// `hashmix sale`
#[derive(Debug, Subcommand)]
pub enum SaleCommand {
    /// Offer a position whose seal you hold
    Offer(Box<OfferArguments>),
    /// Say in plain words what an offer asks and gives; nothing is signed
    Explain(ExplainArguments),
    /// Offers in a file, one a line: read, verified, listed
    Book(BookArguments),
    /// Accept an offer: coins of your wallet are reserved for it
    Accept(Box<AcceptArguments>),
    /// Sign your part, after rebuilding and comparing all of it
    Sign(Box<SignSaleArguments>),
    /// Resale without the miner: the seller's word that asks validators to sign in his place
    Ask(Box<AskArguments>),
    /// Send a sale that everybody has signed
    Broadcast(Box<BroadcastArguments>),
    /// Give the coins back that are reserved for an offer of which nothing came
    Release(Box<ReleaseArguments>),
    /// The terms of the contract that a sale makes
    Terms {
        /// The offer's file
        offer: PathBuf,
        /// The acceptance's file
        acceptance: PathBuf,
        /// The terms' file to make
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Register a contract that was bought at validators' servers, or make the file for each of them
    Register(Box<RegisterArguments>),
    /// Withdraw every offer of a seal: move it to yourself
    Withdraw(Box<MoveArguments>),
    /// End a position for ever, behind its term: move its seal to the retirement script
    Retire(Box<RetireArguments>),
}

/// A seal that somebody holds: as its dossier says, or as he says himself.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("told").required(true).args(["dossier", "position"])))]
pub struct SealArguments {
    /// The position's folder, which says all that is asked below; a withdrawal is written into it
    #[arg(long, value_name = "DOSSIER")]
    pub dossier: Option<PathBuf>,
    /// Without a dossier: the position's terms
    #[arg(long, value_name = "FILE", requires = "seal")]
    pub position: Option<PathBuf>,
    /// Where the seal is
    #[arg(long, value_name = "TXID:VOUT", requires = "position")]
    pub seal: Option<OutPoint>,
    /// The terms of the contract that you bought it with; none if it is yours since the issue
    #[arg(long, value_name = "FILE", requires = "position")]
    pub contract: Option<PathBuf>,
    /// How often you have withdrawn offers of it since
    #[arg(long, value_name = "N", requires = "position")]
    pub withdrawn: Option<u32>,
    /// The position's id; needed if you have withdrawn and not bought it
    #[arg(long, value_name = "ID", requires = "position")]
    pub id: Option<String>,
}

/// Whose files, which record of his seed, through which server.
#[derive(Debug, Args)]
pub struct TradeArguments {
    /// Whose wallet.
    #[command(flatten)]
    pub home: Home,
    /// Through which server.
    #[command(flatten)]
    pub server: Server,
    /// Your record's number
    #[arg(long, value_name = "N")]
    pub number: u32,
}

/// `hashmix sale offer`
#[derive(Debug, Args)]
pub struct OfferArguments {
    /// What is offered.
    #[command(flatten)]
    pub seal: SealArguments,
    /// Who offers.
    #[command(flatten)]
    pub trade: TradeArguments,
    /// What the buyer pays, in satoshis
    #[arg(long, value_name = "SATOSHIS")]
    pub price: u64,
    /// First period that the buyer's contract pays for, counted from 1
    #[arg(long, value_name = "PERIOD")]
    pub first: u32,
    /// Last height at which the sale may confirm
    #[arg(long, value_name = "HEIGHT")]
    pub expires: u32,
    /// Resale: first period whose coinbases pay the buyer's lock, counted from 1
    #[arg(long, value_name = "PERIOD")]
    pub switch: Option<u32>,
    /// Resale: a dossier or any folder with the contract's certificates and receipts; those of --dossier if
    /// left out
    #[arg(long, value_name = "DIR", requires = "switch")]
    pub evidence: Option<PathBuf>,
    /// Resale: validators sign in the place of a silent miner
    #[arg(long, requires = "switch")]
    pub without_miner: bool,
    /// The offer's file to make
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// By which documents an offer is held to be its seller's.
#[derive(Clone, Debug, Args)]
pub struct TitleArguments {
    /// The position's folder: proves over your connection that the seller holds what he offers; the
    /// miner signs nothing without it
    #[arg(long, value_name = "DOSSIER")]
    pub dossier: Option<PathBuf>,
    /// The hash of the federation that you chose; another one is refused
    #[arg(long, value_name = "ID", requires = "dossier")]
    pub federation: Option<RecordId>,
}

/// `hashmix sale explain`
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The offer's file
    pub file: PathBuf,
    /// Height of the chain's tip now, to turn heights into dates; with --electrum it is asked for
    #[arg(long, value_name = "HEIGHT", conflicts_with = "electrum")]
    pub height: Option<u32>,
    /// Hash rate of the whole network, in H/s
    #[arg(long, value_name = "H/S", default_value_t = 1_000_000_000_000_000_000_000)]
    pub network_rate: u128,
    /// What proves that the seller holds it.
    #[command(flatten)]
    pub title: TitleArguments,
    /// Ask this server, tcp://host:port
    #[arg(long, value_name = "URL", requires = "dossier")]
    pub electrum: Option<String>,
    /// The folder of a store for headers, which judge the server
    #[arg(long, value_name = "DIR", requires = "electrum")]
    pub home: Option<PathBuf>,
}

/// `hashmix sale book`
#[derive(Debug, Args)]
pub struct BookArguments {
    /// The books: files of offers, one a line
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Add this offer to the first of them, which is made if it does not exist
    #[arg(long, value_name = "OFFER")]
    pub add: Option<PathBuf>,
    /// Ask this server which offers are over or void
    #[arg(long, value_name = "URL", requires = "home")]
    pub electrum: Option<String>,
    /// The folder of your store, where headers are kept
    #[arg(long, value_name = "DIR", requires = "electrum")]
    pub home: Option<PathBuf>,
}

/// `hashmix sale accept`
#[derive(Debug, Args)]
pub struct AcceptArguments {
    /// The offer's file
    pub offer: PathBuf,
    /// Your record, for the holder's seat
    #[arg(long, value_name = "FILE")]
    pub record: PathBuf,
    /// The position's folder: proves over your connection that the seller holds what he offers
    #[arg(long, value_name = "DOSSIER")]
    pub dossier: PathBuf,
    /// The hash of the federation that you chose; another one is refused
    #[arg(long, value_name = "ID")]
    pub federation: RecordId,
    /// Who buys.
    #[command(flatten)]
    pub trade: TradeArguments,
    /// A coin of another wallet that pays (P2TR or P2WPKH); once for each, none to pay from yours
    #[arg(long, value_name = "TXID:VOUT", requires = "change", requires = "psbt")]
    pub coin: Vec<OutPoint>,
    /// Where the change of these coins goes
    #[arg(long, value_name = "ADDRESS", requires = "coin")]
    pub change: Option<String>,
    /// The PSBT's file to make, for the wallet of these coins to sign
    #[arg(long, value_name = "FILE", requires = "coin")]
    pub psbt: Option<PathBuf>,
    /// Fee rate of the sale, which you pay, in sat/vB
    #[arg(long, value_name = "SAT_PER_VB")]
    pub fee_rate: u64,
    /// The acceptance's file to make
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `hashmix sale sign`
#[derive(Debug, Args)]
pub struct SignSaleArguments {
    /// The offer's file
    pub offer: PathBuf,
    /// What the others said: the acceptance and consents, in their order
    pub words: Vec<PathBuf>,
    /// Who you are in this sale
    #[arg(long, value_enum)]
    pub party: PartyName,
    /// Your files.
    #[command(flatten)]
    pub trade: TradeArguments,
    /// What proves that the seller holds it.
    #[command(flatten)]
    pub title: TitleArguments,
    /// Buyer with coins of another wallet: the PSBT that it has signed
    #[arg(long, value_name = "FILE")]
    pub psbt: Option<PathBuf>,
    /// Resale: a dossier or any folder with the old contract's certificates and receipts, by which you judge
    /// it; the miner's are those of --dossier if left out
    #[arg(long, value_name = "DIR")]
    pub evidence: Option<PathBuf>,
    /// The consent's file to make
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `hashmix sale ask`
#[derive(Debug, Args)]
pub struct AskArguments {
    /// The offer's file
    pub offer: PathBuf,
    /// What the others said: the acceptance and consents
    pub words: Vec<PathBuf>,
    /// Your files.
    #[command(flatten)]
    pub trade: TradeArguments,
    /// A validator's server, http://host:port: the word is brought there, and what they signed is heard;
    /// once for each
    #[cfg(feature = "core")]
    #[arg(long, value_name = "URL")]
    pub validator: Vec<String>,
    /// The word's file to make
    #[cfg_attr(
        feature = "core",
        arg(long, value_name = "FILE", required_unless_present = "validator")
    )]
    #[cfg_attr(not(feature = "core"), arg(long, value_name = "FILE", required = true))]
    pub out: Option<PathBuf>,
}

/// `hashmix sale broadcast`
#[derive(Debug, Args)]
pub struct BroadcastArguments {
    /// What was said, and through which server.
    #[command(flatten)]
    pub heard: HeardArguments,
    /// The position's folder: the transfer is written into it
    #[arg(long, value_name = "DOSSIER")]
    pub dossier: Option<PathBuf>,
    /// Send a resale that validators have signed although its offer is over
    #[arg(long)]
    pub overdue: bool,
}

/// `hashmix sale release`
#[derive(Debug, Args)]
pub struct ReleaseArguments {
    /// What was said, and through which server.
    #[command(flatten)]
    pub heard: HeardArguments,
    /// If you have signed: spend the coins to yourself, so that the sale can no more be sent
    #[arg(long, requires = "fee_rate", conflicts_with = "anyway")]
    pub spend: bool,
    /// Fee rate of that, in sat/vB, up to the cap of the terms; above the sale's, and their cap, if a server
    /// has it
    #[arg(long, value_name = "SAT_PER_VB", requires = "spend")]
    pub fee_rate: Option<u64>,
    /// If you have signed: free them although the sale can still be sent
    #[arg(long)]
    pub anyway: bool,
}

/// What was said in a sale, and whose files it is for.
#[derive(Debug, Args)]
pub struct HeardArguments {
    /// The offer's file
    pub offer: PathBuf,
    /// What the others said: the acceptance, consents, and validators' answers
    pub words: Vec<PathBuf>,
    /// Your files.
    #[command(flatten)]
    pub home: Home,
    /// Through which server.
    #[command(flatten)]
    pub server: Server,
}

/// `hashmix sale register`
#[derive(Debug, Args)]
pub struct RegisterArguments {
    /// The offer's file
    pub offer: PathBuf,
    /// The acceptance's file
    pub acceptance: PathBuf,
    /// A validator's server, http://host:port: the registration is brought there; once for each
    #[cfg(feature = "core")]
    #[arg(long, value_name = "URL")]
    pub validator: Vec<String>,
    /// The registration's file to make
    #[cfg_attr(
        feature = "core",
        arg(long, value_name = "FILE", required_unless_present = "validator")
    )]
    #[cfg_attr(not(feature = "core"), arg(long, value_name = "FILE", required = true))]
    pub out: Option<PathBuf>,
}

/// `hashmix sale retire`
#[derive(Debug, Args)]
pub struct RetireArguments {
    /// Which seal, and whose it is.
    #[command(flatten)]
    pub moves: MoveArguments,
    /// End it although its term is not over or its escrow is open
    #[arg(long)]
    pub anyway: bool,
}

/// `hashmix sale withdraw`, and what `hashmix sale retire` asks with it
#[derive(Debug, Args)]
pub struct MoveArguments {
    /// Which seal.
    #[command(flatten)]
    pub seal: SealArguments,
    /// Whose it is.
    #[command(flatten)]
    pub trade: TradeArguments,
    /// Fee rate in sat/vB; a higher one than before replaces what was sent
    #[arg(long, value_name = "SAT_PER_VB")]
    pub fee_rate: u64,
}

/// Who takes part, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PartyName {
    /// Holds the seal
    Seller,
    /// Pays
    Buyer,
    /// Signs last in a resale
    Miner,
}

impl From<PartyName> for Party {
    fn from(name: PartyName) -> Self {
        match name {
            PartyName::Seller => Self::Seller,
            PartyName::Buyer => Self::Buyer,
            PartyName::Miner => Self::Miner,
        }
    }
}
