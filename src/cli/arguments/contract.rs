//! Everything that can be typed behind `hashmix contract`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Home, Server};
use crate::flow::reward::txs::SweepPath;
use crate::party::Seat;

/// `hashmix contract`
#[derive(Debug, Subcommand)]
pub enum ContractCommand {
    /// How the contract stands, seen from your seat, and whose turn it is; nothing is signed or read in
    Status(SittingArguments),
    /// Read letters, and do everything that is yours to do now
    Step(StepArguments),
    /// Holder: pay the price into the escrow from your wallet, where no sale has done it
    Fund {
        /// Which seat.
        #[command(flatten)]
        sitting: SittingArguments,
        /// What the transaction pays.
        #[command(flatten)]
        rate: RateArguments,
    },
    /// Miner: seal a slice by its certificate
    Certify {
        /// Which seat.
        #[command(flatten)]
        sitting: SittingArguments,
        /// The certificate's file
        #[arg(value_name = "CERTIFICATE")]
        file: PathBuf,
    },
    /// Settle together, both at a time: the miner begins and waits for the holder, who answers by the
    /// same command or by a step
    Settle {
        /// Which seat.
        #[command(flatten)]
        sitting: SittingArguments,
        /// What the settlement pays.
        #[command(flatten)]
        rate: RateArguments,
        /// Time to wait for the other side, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 600)]
        wait: u64,
    },
    /// Miner: send the last state that the holder has signed
    Publish(SittingArguments),
    /// Ask validators for a ruling on the escrow's present output
    Dispute {
        /// Which seat.
        #[command(flatten)]
        sitting: SittingArguments,
        /// The period through which is to be ruled, counted from 1
        #[arg(long, value_name = "PERIOD", value_parser = clap::value_parser!(u32).range(1..))]
        period: u32,
        /// What the ruling pays.
        #[command(flatten)]
        rate: RateArguments,
    },
    /// Miner: ask that the next settlement closes the contract
    Close(SittingArguments),
    /// Ask for the rewards that can be spent now, the oldest first
    Sweep {
        /// Which seat.
        #[command(flatten)]
        sitting: SittingArguments,
        /// The way through the reward lock
        #[arg(long, value_enum)]
        path: SweepName,
        /// What the sweep pays.
        #[command(flatten)]
        rate: RateArguments,
    },
    /// Take alone what is yours, once the delays of your exit are over
    Exit {
        /// Which seat.
        #[command(flatten)]
        sitting: SittingArguments,
        /// What is taken
        #[arg(value_enum)]
        what: ExitName,
        /// What the exit pays.
        #[command(flatten)]
        rate: RateArguments,
    },
    /// Miner: prove a slice that you have sealed by its digest in a transaction, past silent validators
    Prove {
        /// Which seat.
        #[command(flatten)]
        sitting: SittingArguments,
        /// The slice, counted from 1
        #[arg(long, value_name = "SLICE", value_parser = clap::value_parser!(u32).range(1..))]
        slice: u32,
        /// What the transaction pays.
        #[command(flatten)]
        rate: RateArguments,
    },
    /// Say here what was proven under the contract before this one
    Carry {
        /// Which seat.
        #[command(flatten)]
        sitting: SittingArguments,
        /// The terms of the contract before
        #[arg(value_name = "BEFORE")]
        before: PathBuf,
        /// A folder with its certificates and receipts; what your own store knows of it if left out
        #[arg(long, value_name = "DIR")]
        evidence: Option<PathBuf>,
    },
}

/// Whose seat at which contract, and the ways out of it.
#[derive(Debug, Args)]
pub struct SittingArguments {
    /// The terms' file
    pub terms: PathBuf,
    /// Where, with which seed, on which network.
    #[command(flatten)]
    pub home: Home,
    /// Through which server.
    #[command(flatten)]
    pub server: Server,
    /// The seat that your record fills
    #[arg(long, value_enum)]
    pub seat: SeatName,
    /// Your record's number
    #[arg(long, value_name = "N")]
    pub number: u32,
    /// The folder that the parties share; one in your home if left out
    #[arg(long, value_name = "DIR")]
    pub relay: Option<PathBuf>,
    /// A validator's server, http://host:port: what was said is brought there, and what he knows is
    /// heard; once for each
    #[cfg(feature = "core")]
    #[arg(long, value_name = "URL")]
    pub validator: Vec<String>,
}

/// `hashmix contract step`
#[derive(Debug, Args)]
pub struct StepArguments {
    /// Which seat.
    #[command(flatten)]
    pub sitting: SittingArguments,
    /// Files with a word, or with a validator's answer: read like letters
    #[arg(value_name = "WORD")]
    pub words: Vec<PathBuf>,
    /// Step again after so many seconds, until interrupted
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub watch: Option<u64>,
}

/// A transaction's fee rate.
#[derive(Clone, Copy, Debug, Args)]
pub struct RateArguments {
    /// Fee rate in sat/vB; the lowest that the terms allow if left out
    #[arg(long, value_name = "SAT_PER_VB")]
    pub fee_rate: Option<u64>,
}

/// A party's seat by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SeatName {
    /// Runs machines, is paid by installments
    Miner,
    /// Pays the price, receives the rewards
    Holder,
}

impl From<SeatName> for Seat {
    fn from(name: SeatName) -> Self {
        match name {
            SeatName::Miner => Self::Miner,
            SeatName::Holder => Self::Holder,
        }
    }
}

/// A way through the reward lock that is asked for, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SweepName {
    /// Miner and holder sign
    Agreed,
    /// The holder is gone: miner and validators sign
    MinerRuling,
    /// The miner is gone: holder and validators sign
    HolderRuling,
}

impl From<SweepName> for SweepPath {
    fn from(name: SweepName) -> Self {
        match name {
            SweepName::Agreed => Self::Agreed,
            SweepName::MinerRuling => Self::MinerRuling,
            SweepName::HolderRuling => Self::HolderRuling,
        }
    }
}

/// What somebody takes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExitName {
    /// What is left of the price
    Escrow,
    /// Holder: rewards
    Rewards,
}
