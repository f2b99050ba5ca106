//! Keys at work: the seed they come from, and the software signer.
//!
//! The pure core says what is to be signed; here are the secrets and the operating system's
//! randomness. A signer receives digests and sessions, and answers with signatures that it has
//! verified itself. What is to be signed has been rebuilt from the terms before it comes here.

pub mod record;
#[cfg(feature = "sealed")]
pub mod sealed;
pub mod seed;
pub mod software;

use zeroize::Zeroizing;

use crate::error::{Result, Rule};

/// Without randomness there are no nonces, and without nonces no signatures.
pub const RANDOMNESS: Rule = Rule::new(
    "sign-randomness",
    "the operating system gives random bytes",
    "try again once the system is up",
);

/// Where a signer's random bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The operating system.
    System,
    /// A counter under a name that everybody knows, so that a rehearsal repeats itself. Nonces made
    /// of it are no secret; only the rehearsal's own people use it.
    #[cfg(feature = "regtest")]
    Rehearsal(&'static str, core::sync::atomic::AtomicU64),
}

impl Source {
    pub(crate) fn bytes(&self) -> Result<Zeroizing<[u8; 32]>> {
        match self {
            Self::System => random(),
            #[cfg(feature = "regtest")]
            Self::Rehearsal(name, count) => {
                let count = count.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
                Ok(Zeroizing::new(crate::id::tagged_hash(name, &[&count.to_be_bytes()])))
            }
        }
    }
}

/// Fresh bytes from the operating system.
pub(crate) fn random() -> Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice())
        .map_err(|e| RANDOMNESS.unavailable("random source", "32 bytes", e))?;
    Ok(bytes)
}
