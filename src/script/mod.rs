//! Locks: the Taproot outputs of the product, instantiated from the files under `descriptors/`.
//!
//! ```text
//! descriptors/*.policy --template.rs--> wallet policy (BIP 388) + keys
//!                                         |-> descriptor with musig() (BIP 390): Core, backups, devices
//!                                         '-> descriptor with the BIP-328 xpub --lock.rs--> Lock at an index
//! ```
//! No policy is compiled at run time: what people reviewed is what holds the coins.

pub mod envelope;
pub mod lock;
pub mod seal;
pub mod template;
