//! The position: hash power as the first satoshi of an output, and how it comes to be.
//!
//! ```text
//!  miner                                          each validator
//!    |-- Enrolled(BIP-322 proof of his address) ---->|
//!    |<------------- Registered(record and address, signed by the standing key) -- all
//!    |-- Asked ------------------------------------->|
//!    |   one slice of coinbases that pay his address |
//!    |-- Onboarded(certificate) -------------------->|
//!    |<------------- Receipted(digest, tip) ---------|  k in time
//!    |<------------- Granted(the reward lock) -------|  k
//!    |   one slice of coinbases that pay the lock    |
//!    |-- Bound(certificate) ------------------------>|
//!    |<------------- Receipted(digest, tip) ---------|  k in time
//!    |   an output of the issuer's script            |
//!    |-- Funded(output, others of the batch) ------->|
//!    |<------------- IssueSigned --------------------|  k: whoever has them broadcasts
//! ```
//!
//! | word | said by | refused when |
//! |---|---|---|
//! | `Enrolled` | the miner | the proof is not by the address in his record |
//! | `Registered` | a validator | it names another record or address; his standing key did not sign it |
//! | `Asked` | the miner | a validator has not registered him |
//! | `Onboarded`, `Bound` | the miner | a share breaks a rule of [`work`](crate::work); there are fewer than the rate yields in the slice's header time |
//! | `Receipted` | the validator who signed | the certificate is not known; he has given eight for it; the signature is not his |
//! | `Granted` | a validator | it is another lock than the terms make |
//! | `Funded` | the miner | the issue cannot be built; he has named another output before |
//! | `FundedAgain` | the miner | the issue that was paid for before can still be in a block |
//! | `IssueSigned` | a validator | the signature is of another transaction |
//!
//! An issue that was signed may lose its money: a reorg takes the funding and its own inputs go elsewhere,
//! or another issue spends the same inscription. Then the miner pays for another one ([`dead`]); as long
//! as the first can confirm on a validator's chain, that one is refused.
//!
//! A word before its turn is refused ([`ORDER`](state::ORDER)). What a validator asks of the chain
//! before he signs stands in [`State::issue`](state::State::issue); what he asks of his own memory, in
//! the engine, which has one.

pub mod coins;
pub mod dead;
pub mod dossier;
pub mod enrolment;
pub mod papers;
pub mod proof;
pub mod state;
pub mod terms;
pub mod title;
pub mod txs;
pub mod word;
