//! Everything that can be typed behind `hashmix`.

use std::path::PathBuf;

use bitcoin::Network;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::party::Role;
use crate::sign::sealed::Stretch;

mod contract;
#[cfg(feature = "regtest")]
mod demo;
#[cfg(feature = "gateway")]
mod gateway;
mod position;
mod sale;
mod work;

pub use contract::{
    ContractCommand, ExitName, RateArguments, SeatName, SittingArguments, StepArguments, SweepName,
};
#[cfg(feature = "regtest")]
pub use demo::{DemoArguments, Story};
#[cfg(feature = "gateway")]
pub use gateway::{GatewayArguments, GatewayCommand};
pub use position::{
    DossierArguments, FederationArguments, FundArguments, NewArguments, PositionCommand,
    SeatArguments,
};
pub use sale::{
    AcceptArguments, AskArguments, BookArguments, BroadcastArguments, ExplainArguments,
    HeardArguments, MoveArguments, OfferArguments, PartyName, RegisterArguments, ReleaseArguments,
    RetireArguments, SaleCommand, SealArguments, SignSaleArguments, TradeArguments,
};
pub use work::{ChainArguments, ShowArguments, VerifyArguments, WorkCommand};

/// Hash power bought, sold and proven on Bitcoin alone.
#[derive(Debug, Parser)]
#[command(name = "hashmix", version, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subjects.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A whole deal and a position's life on Bitcoin networks inside this process, told as they happen
    #[cfg(feature = "regtest")]
    Demo(DemoArguments),
    /// Shares and certificates: what work they prove
    #[command(subcommand)]
    Work(WorkCommand),
    /// The words that all keys come from
    #[command(subcommand)]
    Seed(SeedCommand),
    /// A person's keys for one contract
    #[command(subcommand)]
    Record(RecordCommand),
    /// What a contract is agreed on
    #[command(subcommand)]
    Terms(TermsCommand),
    /// Positions: their way to the issue, who holds them, what they deliver and pay
    #[command(subcommand)]
    Position(PositionCommand),
    /// Transactions that somebody asks you to sign
    #[command(subcommand)]
    Psbt(PsbtCommand),
    /// Positions offered, bought and sold on
    #[command(subcommand)]
    Sale(SaleCommand),
    /// A party's seat at a contract: letters answered, installments settled, disputes, sweeps, exits
    #[command(subcommand)]
    Contract(ContractCommand),
    /// Descriptors of locks and wallets
    #[command(subcommand)]
    Descriptor(DescriptorCommand),
    /// Your own coins, through an Electrum server
    #[command(subcommand)]
    Wallet(WalletCommand),
    /// A validator's desk: contracts registered, requests answered
    #[command(subcommand)]
    Validator(ValidatorCommand),
    /// Machines in front, Bitcoin Core behind, and the shares of positions kept
    #[cfg(feature = "gateway")]
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// The chain's headers, judged by their work and kept in your store
    #[command(subcommand)]
    Headers(HeadersCommand),
    /// Every rule that something can be refused by
    Rules {
        /// Show rules whose id begins with this, with advice
        about: Option<String>,
        /// As a Markdown document
        #[arg(long, conflicts_with = "about")]
        markdown: bool,
    },
}

/// `hashmix seed`
#[derive(Debug, Subcommand)]
pub enum SeedCommand {
    /// Encrypt 24 fresh words into a new file that only you may read
    New {
        /// The file to make
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// What it is encrypted with.
        #[command(flatten)]
        passphrase: NewPassphrase,
    },
    /// Show the words on this terminal, to be written on paper
    Words(SeedSource),
    /// Encrypt the words that you have on paper into a new file
    Restore {
        /// The file to make
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The words' file (mode 0600), `-` for a line of standard input; the terminal if left out
        #[arg(long, value_name = "FILE")]
        words: Option<PathBuf>,
        /// What it is encrypted with.
        #[command(flatten)]
        passphrase: NewPassphrase,
    },
    /// Encrypt a seed, encrypted or plain, with another passphrase into a new file
    Passphrase {
        /// Which seed.
        #[command(flatten)]
        source: SeedSource,
        /// The file to make
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// What it is encrypted with.
        #[command(flatten)]
        passphrase: OtherPassphrase,
    },
}

/// Where a seed is, and what opens it.
#[derive(Debug, Args)]
pub struct SeedSource {
    /// The seed's file (mode 0600)
    #[arg(long, value_name = "FILE")]
    pub seed: PathBuf,
    /// A file with the seed's passphrase (mode 0600), `-` for a line of standard input; asked for
    /// if left out
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// What a new seed's file is encrypted with.
#[derive(Debug, Args)]
pub struct NewPassphrase {
    /// A file with the passphrase (mode 0600), `-` for a line of standard input; asked for twice if
    /// left out
    #[arg(long = "passphrase-file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Stretch the passphrase by next to nothing, for rehearsals: it protects nothing then
    #[cfg(feature = "regtest")]
    #[arg(long = "rehearse", hide = true)]
    pub rehearsed: bool,
}

impl NewPassphrase {
    /// How much work each guess at it costs.
    pub fn stretch(&self) -> Stretch {
        #[cfg(feature = "regtest")]
        if self.rehearsed {
            return Stretch::REHEARSED;
        }
        Stretch::FULL
    }
}

/// As [`NewPassphrase`], beside the old one.
#[derive(Debug, Args)]
pub struct OtherPassphrase {
    /// A file with the new passphrase (mode 0600), `-` for a line of standard input, behind that
    /// of the old one; asked for twice if left out
    #[arg(long = "new-passphrase-file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Stretch the passphrase by next to nothing, for rehearsals: it protects nothing then
    #[cfg(feature = "regtest")]
    #[arg(long = "rehearse", hide = true)]
    pub rehearsed: bool,
}

impl From<OtherPassphrase> for NewPassphrase {
    fn from(other: OtherPassphrase) -> Self {
        Self {
            file: other.file,
            #[cfg(feature = "regtest")]
            rehearsed: other.rehearsed,
        }
    }
}

/// `hashmix record`
#[derive(Debug, Subcommand)]
pub enum RecordCommand {
    /// Make and sign a record for one seat of one contract
    New(RecordArguments),
    /// Check records, and that no two share a key
    Check {
        /// The records' files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// `hashmix record new`
#[derive(Debug, Args)]
pub struct RecordArguments {
    /// Which seed.
    #[command(flatten)]
    pub source: SeedSource,
    /// The record's number: each is used for one contract, never again
    #[arg(long, value_name = "N")]
    pub number: u32,
    /// The seat it is made for
    #[arg(long, value_enum)]
    pub role: RoleName,
    /// The network
    #[arg(long, value_parser = network)]
    pub network: Network,
    /// The contract's name, as both sides use it
    #[arg(long, value_name = "NAME")]
    pub contract: String,
    /// Where you are paid
    #[arg(long, value_name = "ADDRESS")]
    pub payout: String,
    /// The file to make; standard output if left out
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// A seat by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// Runs machines, is paid by installments
    Miner,
    /// Pays the price, receives the rewards
    Holder,
    /// Decides with the others of the federation
    Validator,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Miner => Self::Miner,
            RoleName::Holder => Self::Holder,
            RoleName::Validator => Self::Validator,
        }
    }
}

/// `hashmix terms`
#[derive(Debug, Subcommand)]
pub enum TermsCommand {
    /// Check every number and every record of the terms
    Check {
        /// The terms' file
        file: PathBuf,
    },
    /// Say in plain words what the terms mean: price, duties, exits, trust
    Show {
        /// The terms' file
        file: PathBuf,
    },
    /// The addresses of the contract's locks
    Address {
        /// The terms' file
        file: PathBuf,
        /// Settlements before the escrow output; the reward lock has index 0 only
        #[arg(long, value_name = "N", default_value_t = 0)]
        index: u32,
        /// Which lock; both if left out
        #[arg(long, value_enum)]
        lock: Option<LockName>,
    },
    /// Agree to terms: make a registration for the validators, or add your signature to one
    Sign(SignArguments),
    /// The descriptors of the contract's locks, for Bitcoin Core, wallets and backups
    Descriptor {
        /// The terms' file
        file: PathBuf,
    },
}

/// A lock by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LockName {
    /// What a coinbase pays
    Reward,
    /// What holds the price until it is earned
    Escrow,
}

/// `hashmix terms sign`
#[derive(Debug, Args)]
pub struct SignArguments {
    /// The terms' file, or the registration that the other party has signed
    pub file: PathBuf,
    /// Which seed.
    #[command(flatten)]
    pub source: SeedSource,
    /// Your record's number
    #[arg(long, value_name = "N")]
    pub number: u32,
    /// The seat that your record fills: miner or holder
    #[arg(long, value_enum)]
    pub role: RoleName,
    /// The registration to make, a new file
    #[arg(long, value_name = "FILE")]
    pub registration: PathBuf,
}

/// `hashmix psbt`
#[derive(Debug, Subcommand)]
pub enum PsbtCommand {
    /// Say what a PSBT spends and pays, seen from a contract; sign nothing
    Check {
        /// The PSBT's file, Base64 or binary
        file: PathBuf,
        /// The terms' file
        #[arg(long, value_name = "FILE")]
        terms: PathBuf,
        /// Which seals it might spend.
        #[command(flatten)]
        seals: SealsArguments,
    },
}

/// Files that tell which outputs are seals, and where those may go.
#[derive(Debug, Default, Args)]
pub struct SealsArguments {
    /// The position's terms: its seal as issued, and where it ends
    #[arg(long, value_name = "FILE")]
    pub position: Option<PathBuf>,
    /// An offer: the seal that it sells
    #[arg(long, value_name = "FILE")]
    pub offer: Option<PathBuf>,
    /// Its acceptance: the seal that becomes of it
    #[arg(long, value_name = "FILE", requires = "offer")]
    pub acceptance: Option<PathBuf>,
}

/// `hashmix descriptor`
#[derive(Debug, Subcommand)]
pub enum DescriptorCommand {
    /// Check a public descriptor, and say which lock of a contract it is
    Check {
        /// The descriptor, or a file that holds it
        descriptor: String,
        /// The network that it must be of
        #[arg(long, value_parser = network)]
        network: Option<Network>,
        /// The terms' file; the descriptor must then be one of its locks
        #[arg(long, value_name = "FILE")]
        terms: Option<PathBuf>,
    },
}

/// `hashmix wallet`
#[derive(Debug, Subcommand)]
pub enum WalletCommand {
    /// Show a fresh address
    Address(Home),
    /// Synchronise and show what the wallet holds
    Balance {
        /// Whose wallet.
        #[command(flatten)]
        home: Home,
        /// Through which server.
        #[command(flatten)]
        server: Server,
    },
    /// Synchronise, pay an address, and send the transaction
    Send {
        /// Whose wallet.
        #[command(flatten)]
        home: Home,
        /// Through which server.
        #[command(flatten)]
        server: Server,
        /// Who is paid
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        /// How much
        #[arg(long, value_name = "SATOSHIS")]
        sat: u64,
        /// Fee rate in sat/vB; the server's estimate if left out
        #[arg(long, value_name = "SAT_PER_VB")]
        fee_rate: Option<u64>,
    },
}

/// Whose wallet or desk, on which network.
#[derive(Debug, Args)]
pub struct Home {
    /// The folder of your store; made if it does not exist (mode 0700)
    #[arg(long, value_name = "DIR")]
    pub home: PathBuf,
    /// The seed's file; `seed` in that folder if left out
    #[arg(long = "seed", value_name = "FILE")]
    seed_file: Option<PathBuf>,
    /// A file with the seed's passphrase (mode 0600), `-` for a line of standard input; asked for
    /// if left out
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// The network
    #[arg(long, value_parser = network)]
    pub network: Network,
}

impl Home {
    /// Where its seed is, and what opens it.
    pub fn seed(&self) -> SeedSource {
        SeedSource {
            seed: self.seed_file.clone().unwrap_or_else(|| self.home.join("seed")),
            passphrase_file: self.passphrase_file.clone(),
        }
    }
}

/// `hashmix headers`
#[derive(Debug, Subcommand)]
pub enum HeadersCommand {
    /// Bring the headers up to the server's tip
    Sync {
        /// Which store.
        #[command(flatten)]
        folder: Folder,
        /// Through which server.
        #[command(flatten)]
        server: Server,
    },
    /// Show what the store has, without asking anybody
    Show(Folder),
}

/// Which store, on which network; no seed is needed.
#[derive(Debug, Args)]
pub struct Folder {
    /// The folder of your store; made if it does not exist (mode 0700)
    #[arg(long, value_name = "DIR")]
    pub home: PathBuf,
    /// The network
    #[arg(long, value_parser = network)]
    pub network: Network,
}

/// `hashmix validator`
#[derive(Debug, Subcommand)]
pub enum ValidatorCommand {
    /// Take a contract on that names a record of yours: one that was sold, by its sale, which nobody
    /// signs; any other by the signatures of both parties
    Register {
        /// Whose desk.
        #[command(flatten)]
        desk: DeskArguments,
        /// The registration's file
        file: PathBuf,
    },
    /// Answer a request: receipts, rulings and signed refusals, as far as the rules go
    Rule {
        /// Whose desk.
        #[command(flatten)]
        desk: DeskArguments,
        /// The request's file
        file: PathBuf,
        /// The file to make of the answer; standard output if left out
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// How the contracts stand; signs nothing
    Status {
        /// Whose desk.
        #[command(flatten)]
        desk: DeskArguments,
        /// One contract, by the id of its terms
        contract: Option<String>,
    },
    /// For parties: make a signed request out of words
    Request(RequestArguments),
    /// Answer requests over HTTP until told to stop
    #[cfg(feature = "validator")]
    Serve {
        /// Whose desk.
        #[command(flatten)]
        desk: DeskArguments,
        /// Where to listen; TLS is for a proxy in front
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: std::net::SocketAddr,
        /// Another validator's server, http://host:port, who gets what this one says; once for each
        #[arg(long, value_name = "URL")]
        peer: Vec<String>,
    },
    /// Take your journal back from the other validators, where your store is an old copy
    Resolve {
        /// Whose desk.
        #[command(flatten)]
        desk: DeskArguments,
        /// The contract, by the id of its terms
        contract: String,
        /// The file to make of the word by which it is taken back, for the other validators
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Whose desk, and whom it asks about the chain.
#[derive(Debug, Args)]
pub struct DeskArguments {
    /// Where, with which seed, on which network.
    #[command(flatten)]
    pub home: Home,
    /// An Electrum server, tcp://host:port; name two, or one beside a Bitcoin Core
    #[arg(long, value_name = "URL", required = true)]
    pub electrum: Vec<String>,
    /// Your own Bitcoin Core, http://host:port. It keeps no histories, so the Electrum server
    /// beside it must be your own too, in front of this node
    #[cfg(feature = "core")]
    #[arg(long, value_name = "URL")]
    pub core: Option<String>,
    /// Its cookie's file
    #[cfg(feature = "core")]
    #[arg(long, value_name = "FILE", requires = "core")]
    pub cookie: Option<PathBuf>,
}

/// `hashmix validator request`
#[derive(Debug, Args)]
pub struct RequestArguments {
    /// Files with a word, or with a validator's answer, all of whose words are meant; in the order in
    /// which they were said
    #[arg(value_name = "WORD")]
    pub words: Vec<PathBuf>,
    /// The terms' file
    #[arg(long, value_name = "FILE")]
    pub terms: PathBuf,
    /// Which seed.
    #[command(flatten)]
    pub source: SeedSource,
    /// Your record's number
    #[arg(long, value_name = "N")]
    pub number: u32,
    /// The seat that your record fills: miner, holder or validator-N
    #[arg(long, value_name = "SEAT")]
    pub seat: String,
    /// A name for this request that you use once; the same request again gets the same answer
    #[arg(long, value_name = "TEXT")]
    pub key: String,
    /// A PSBT, Base64, that you expect to be signed: a difference is told before anything is
    #[arg(long, value_name = "FILE")]
    pub psbt: Option<PathBuf>,
    /// The request's file to make
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Which Electrum server.
#[derive(Debug, Args)]
pub struct Server {
    /// The Electrum server, tcp://host:port (ssl:// with the feature tls)
    #[arg(long, value_name = "URL")]
    pub electrum: String,
}

fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|_| "known are bitcoin, testnet, testnet4, signet, regtest".to_owned())
}
