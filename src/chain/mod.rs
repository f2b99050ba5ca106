//! Access to the chain: adapters that read headers and transactions, and send transactions.

#[cfg(feature = "electrum")]
pub mod electrum;
