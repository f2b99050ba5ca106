//! Resale: the holder sells while the miner is silent, and validators sign the old escrow in his place.
//!
//! ```text
//!  holder (with a buyer)           validators                     the miner
//!    |-- Asked(offer, acceptance, both consents) -------------------->|
//!    |<------------- Receipted(request, tip), k of n                  |
//!    |                                | may show evidence, settle, or sell with the holder himself
//!    |                                | answer span over: judge by the policy, enter in the journal
//!    |<------------- Signed(signature of the escrow's input), k of n ->|
//!    |-- broadcast                    |-- broadcast
//! ```
//! The words are said in the contract before. A request holds the whole sale: with k signatures of
//! validators it is a finished transaction, and whoever has them sends it.
//!
//! **What silence is.** The miner has no veto: the number that he is paid by is everybody's, he is paid
//! it in full and without a fee, and his machines have weeks to follow. So nobody proves that he is
//! away. He has the answer span, as in a dispute, to do what would change the outcome: show what he has
//! sealed, open a dispute in which he shows a state that the holder signed, or have a ruling of his own,
//! which spends the output. If he does nothing of it he was silent.
//!
//! | request | becomes | by |
//! |---|---|---|
//! | asked | opened | k receipts; the k-th lowest height counts |
//! | opened | heard | the answer span |
//! | heard | signed | k validators |
//! | signed | sent | whoever holds k signatures |
//! | any | void | the offer's last height, before it is signed |
//! | any | history | the escrow's output is spent; if the spend vanishes, everything is checked anew |
//!
//! | word | said by | refused when |
//! |---|---|---|
//! | `Asked` | the holder | not of this contract, not left to validators, another output, not signed by seller and buyer, or one of too many |
//! | `Receipted` | the validator who signed | the signature is not his |
//! | `Signed` | a validator | nobody has asked, too early, a signature of another transaction |
//!
//! An output is signed away to one buyer alone, for ever: of two sales one would be a buyer's wait for
//! nothing ([`journal`](crate::flow::journal)). What rulings are bound by binds here too, and the other
//! way round: it is one memory.

pub mod coins;
pub mod state;
pub mod terms;
pub mod txs;
