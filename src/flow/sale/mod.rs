//! Sale: a position changes hands against its price, in one transaction.
//!
//! ```text
//!  seller                       buyer                          miner (in a resale)
//!    |-- offer ------------------>|  reads it, looks at the chain
//!    |<----------- acceptance ----|  his coins are reserved; the exchange as he built it
//!    |  builds it too, compares   |
//!    |-- consent: the seal ------>|  and, in a resale, the old escrow
//!    |                            |  signs; of a primary sale the last: broadcast
//!    |                            |-- consent: his coins ------>|
//!    |                            |      signs the old escrow, the last: broadcast
//! ```
//! Nothing moves until all have signed, and then everything at once: seal, price and escrow are one
//! transaction. Whoever signs last decides whether and when. In a resale that is the miner, because his
//! machines must learn of the new holder's lock, or validators in his place while he is silent.
//!
//! | sale | becomes | by |
//! |---|---|---|
//! | offered | accepted | the buyer's coins and record |
//! | accepted | consented | the seller's signatures, then the buyer's, then the guard's |
//! | consented | sent | whoever signed last |
//! | offered, accepted | void | the offer's last height |
//! | consented | overdue | the offer's last height: what was signed can still be sent |
//! | any but sent | void | the seal, the escrow or a coin moved; the seller withdraws |
//!
//! | word | said by | refused when |
//! |---|---|---|
//! | offer | the seller | it is not his seal, leaves too little time, or the price is below what the terms demand |
//! | `Accepted` | the buyer | of another offer, a fee rate outside the terms, a coin twice or of another kind, a PSBT that differs, another after the seller has signed |
//! | `Consented` | seller, buyer, miner | out of turn, a signature of another transaction, not all of his inputs |
//! | `Answered` | a validator, in the contract before | out of turn, no word of his that signs this resale, a signature of another transaction |
//!
//! A seller who no longer wants to sell withdraws: he moves the seal to himself, and every offer of it is
//! void. Nobody's terms change with the height at which a sale confirms; what confirms late, though
//! nobody withdrew it, begins late.

pub mod coins;
pub mod consent;
pub mod money;
pub mod state;
pub mod terms;
pub mod title;
pub mod txs;
