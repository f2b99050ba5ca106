//! Reward: coinbases pay a 2-of-3 lock, the work behind them is certified, the holder sweeps.
//!
//! ```text
//!  miner                       validators                     holder
//!    | coinbase of every share: out 0 the lock, out 1 his service share
//!    |-- Certified(slice) -------->|----------------------------->|
//!    |                             |-- Receipted(digest, tip) --->|   k in time: sealed
//!    |                             |                              |
//!    |          100 blocks later   |<------- SweepAsked(path) ----|
//!    |<-- or, holder gone: SweepAsked by the miner                |
//!    |                             |-- SweepSigned -------------->|
//!    |                             |        k and his own: broadcast
//! ```
//!
//! | reward | becomes | by |
//! |---|---|---|
//! | immature | mature | 100 blocks, its own included |
//! | mature | swept to the holder's payout script | key path, agreed, miner ruling, holder ruling |
//! | mature | swept to the holder's payout script | the holder alone, R blocks later |
//! | reorganised | gone, with all that hung on it | the chain |
//!
//! | word | said by | refused when |
//! |---|---|---|
//! | `Certified` | the miner; under a tenure anybody, once it was sealed in time | a share breaks a rule of [`work`](crate::work), or is not of this contract |
//! | `Receipted` | the validator who signed | the signature is not his |
//! | `Carried` | anybody | the contract has no tenure; a receipt is of another position, of a slice that is not paid for here, or not signed by its validator; all are known |
//! | `CloseAsked` | the miner | somebody else says it |
//! | `SweepAsked` | the side that the path names | a reward is unknown, immature or spent; the fee rate is outside the terms, or less than twice that of an earlier request for the same rewards |
//! | `SweepSigned` | a signer of the path | nobody asked; a signature is of another transaction |
//!
//! Where validators are silent, the miner's way past them is a transaction with the certificate's
//! digest ([`proofs`](crate::flow::escrow::outcome::proofs)).
//!
//! A contract that came with a transfer of its position ([`Tenure`](crate::flow::escrow::terms::Tenure))
//! begins while work is under way. What was sealed under the contract before is said again here:
//! `Carried` receipts first, then the certificates; both prove themselves. A certificate whose digest is
//! in a block needs no receipts: both contracts watch where the miner is paid. What the new contract does
//! not pay for is refused. A request to close is made in one contract and binds no other.
//!
//! A receipt costs validators a signature and everybody a word, so they give none once a close of the
//! escrow is deep. Behind a resale they go on: their receipts are good in the next contract, and the miner
//! may not know its terms before its lock is due.
//!
//! Every sweep pays the payout script in the holder's record, whoever asks for it, and owes
//! nothing but its own fee: the miner was paid at the source.

pub mod coins;
pub mod state;
pub mod terms;
pub mod txs;
