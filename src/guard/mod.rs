//! The guard at the door of the chain: which headers are let in, and which chain of them is
//! believed.
//!
//! A server that nobody trusts hands out headers. The guard keeps those that cost what the
//! network's rule demands, in a tree above an [`Anchor`], and believes the branch with the most
//! work. To show us a chain that is not the network's, a server must do that work anew.
//!
//! ```text
//!   anchor --- o --- o --- o --- o --- o --- o      active: most work, the first seen among equals
//!                           \
//!                            o --- o                beside it: lost a reorg, or may yet win one
//! ```
//!
//! What a header must fulfil to be let in, in the order in which it is asked:
//!
//! | rule | demands |
//! |---|---|
//! | `guard-parent` | its parent is in the tree |
//! | `guard-bits` | it states the difficulty that its own ancestors demand ([`difficulty`]) |
//! | `guard-work` | its hash meets that difficulty |
//! | `guard-time` | its time is after the median of the eleven before it (BIP 113) |
//! | `guard-timewarp` | on testnet4 a span's first block is at most 600 s before its parent (BIP 94) |
//! | `guard-version` | its version is none that BIP 34, 66 or 65 have retired at its height |
//! | `guard-checkpoint` | it leads to the pinned blocks, and not away from them ([`Checkpoints`]) |
//!
//! Two more are asked elsewhere. That a time does not lie in the future needs a clock, so the
//! adapter that reads headers asks it. That a chain has the work the network is known to have
//! (`guard-least-work`, [`Guard::enough`]) is asked of a whole chain.
//!
//! **Why an anchor lies on a multiple of 2,016.** Difficulty follows from the first block of the
//! span that ends and from the last; above a boundary every rule can be computed from what the
//! tree holds. The anchor brings the times of the ten blocks before it for the first medians.
//!
//! **What headers cannot show.** That the transactions below them are valid, that a heavier chain
//! exists which the server hides, and, on the test networks, even that work was done worth
//! speaking of: [`what_headers_cannot_prove`].
//!
//! [`difficulty`]: crate::headers::difficulty

mod anchor;
mod chain;
mod checkpoints;

pub use anchor::{ANCHOR, Anchor};
pub use chain::{
    BITS, CHECKPOINT, Guard, LEAST_WORK, PARENT, Placed, Reorg, TIME, TIMEWARP, VERSION, VOUCHED,
    WORK,
};
pub use checkpoints::{Checkpoints, PIN, least_work, what_headers_cannot_prove};

#[cfg(test)]
mod tests;
