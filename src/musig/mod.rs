//! MuSig2: two or more people sign as if they were one (BIP-327, BIP-328).
//!
//! The key path of a lock is the cooperative one: 57.5 vB, and nobody sees that several keys were
//! behind it. This file holds the arithmetic of it and nothing else: no randomness of its own, no
//! PSBT (see [`psbt`]), no keys at rest.
//!
//! ```text
//!   account keys, SORTED ──KeyAgg──► plain aggregate ──BIP-328──► synthetic xpub
//!                                                                     │ path, e.g. /2/7
//!                                                                     ▼
//!                          output key ◄──TapTweak(merkle root)── internal key
//! ```
//!
//! Participants are the account keys themselves; derivation happens on the aggregate. So a
//! signer's secret key is the private key of his account, whatever the index of the lock.
//!
//! A session has two rounds. Each signer makes a nonce ([`nonce`]) and shows its public half; with
//! the nonces of all he opens a [`Session`], gives up his secret nonce to [`Session::sign`] and
//! shows a partial signature; [`Session::aggregate`] joins them. A secret nonce that signs twice
//! gives the secret key away, so [`SecretNonce`] has no copy, no bytes and no second use, and a
//! crash between the rounds means a fresh round.
//!
//! libsecp256k1 does the arithmetic, through secp256k1 0.33, which has its `musig` module. All
//! else here speaks secp256k1 0.29, as the `bitcoin` crate does. The two meet in this file only,
//! and through bytes only.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::NetworkKind;
use bitcoin::bip32::{ChildNumber, DerivationPath};
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Parity, PublicKey, SecretKey, XOnlyPublicKey, schnorr};
use bitcoin::taproot::{TapNodeHash, TapTweakHash};
use secp256k1::musig as zkp;

pub use self::xpub::{nums_xpub, synthetic_xpub, synthetic_xpub_of};
use crate::error::{Culprit, Error, Result, Rule};

pub mod psbt;
#[cfg(test)]
mod tests;
mod xpub;

/// One alone needs no MuSig2, and a key that counts twice hides a missing person.
pub const PARTICIPANTS: Rule = Rule::new(
    "musig-participants",
    "an aggregate key has at least two participants",
    "take one key from each participant's record",
);
/// Records are compared by full key.
pub const DUPLICATE: Rule = Rule::new(
    "musig-duplicate",
    "each participant has a key of his own",
    "ask for a fresh record: a key is never used in two places",
);
/// An aggregate has no private key that could derive hardened children (BIP-328).
pub const PATH: Rule = Rule::new(
    "musig-path",
    "children of an aggregate key are derived without hardening, at most 255 deep",
    "derive with a path such as 2/7",
);
/// A tweak beyond the group's order or a key at infinity; no hash ever led there.
pub const TWEAK: Rule = Rule::new(
    "musig-tweak",
    "keys and tweaks lie within the group",
    "report this: it cannot happen by chance",
);
/// Zeros are what a broken source of randomness gives.
pub const RANDOMNESS: Rule = Rule::new(
    "musig-randomness",
    "a nonce is made of 32 fresh random bytes",
    "take fresh bytes from the operating system",
);
/// Only a participant makes nonces and signs.
pub const SIGNER: Rule = Rule::new(
    "musig-signer",
    "who signs is a participant, with the key of his account",
    "use the record that this lock was made with",
);
/// 66 bytes, two points.
pub const NONCE: Rule = Rule::new(
    "musig-nonce",
    "a public nonce is two compressed points, 66 bytes",
    "ask its signer for a fresh nonce",
);
/// A session knows a nonce of each participant and of nobody else.
pub const NONCE_SET: Rule = Rule::new(
    "musig-nonce-set",
    "a session has exactly one nonce of each participant",
    "collect the nonces of this round and drop those of earlier ones",
);
/// A nonce whose secret half is gone (a restart, a dropped round) can never be signed for.
pub const NONCE_DEAD: Rule = Rule::new(
    "musig-nonce-dead",
    "the session carries the nonce whose secret half we hold",
    "drop all nonces and begin a fresh round",
);
/// A nonce is made for one message under one key.
pub const NONCE_PURPOSE: Rule = Rule::new(
    "musig-nonce-purpose",
    "a nonce signs the message and key it was made for",
    "make a fresh nonce for this message",
);
/// 32 bytes below the group's order.
pub const PARTIAL: Rule = Rule::new(
    "musig-partial",
    "a partial signature is 32 bytes below the group's order",
    "ask its signer to sign again in a fresh round",
);
/// As many partial signatures as participants.
pub const PARTIAL_SET: Rule = Rule::new(
    "musig-partial-set",
    "a signature is joined from exactly one partial signature of each participant",
    "collect the partial signatures of all participants",
);
/// What a participant sent does not verify.
pub const PARTIAL_WRONG: Rule = Rule::new(
    "musig-partial-wrong",
    "a partial signature verifies for its participant, his nonce and the message",
    "begin a fresh round; if it fails again, this participant does not cooperate",
);
/// The joined signature does not verify: impossible once all parts did.
pub const SIGNATURE: Rule = Rule::new(
    "musig-signature",
    "the joined signature verifies under the output key",
    "report this: all parts were right",
);

/// The aggregate of `keys` in sorted order, as a plain point (BIP-327 KeySort, then KeyAgg).
///
/// Refuses fewer than two keys, and duplicates.
pub fn aggregate(keys: &[PublicKey]) -> Result<PublicKey> {
    from_zkp(&key_agg(&sorted(keys)?)?.agg_pk_full())
}

/// Sorted by their 33 bytes, as BIP-327 KeySort has it.
pub(crate) fn sorted(keys: &[PublicKey]) -> Result<Vec<PublicKey>> {
    let unique: BTreeMap<[u8; 33], PublicKey> = keys.iter().map(|k| (k.serialize(), *k)).collect();
    if keys.len() < 2 {
        return Err(PARTICIPANTS.refuses(
            Culprit::Sender,
            "participants of an aggregate key",
            "2 keys or more",
            keys.len(),
        ));
    }
    if unique.len() != keys.len() {
        let mut seen = BTreeSet::new();
        let twice = keys.iter().find(|k| !seen.insert(k.serialize()));
        return Err(DUPLICATE.refuses(
            Culprit::Sender,
            "participants of an aggregate key",
            format_args!("{} different keys", keys.len()),
            format_args!("{} twice", twice.map(ToString::to_string).unwrap_or_default()),
        ));
    }
    Ok(unique.into_values().collect())
}

/// Under which key a group signs: the sorted participants, the path below their aggregate, and
/// the script tree that the output key commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyContext {
    participants: Vec<PublicKey>,
    path: Vec<ChildNumber>,
    merkle_root: Option<TapNodeHash>,
    aggregate: PublicKey,
    internal: XOnlyPublicKey,
    output: (XOnlyPublicKey, Parity),
    cache: zkp::KeyAggCache,
}

impl KeyContext {
    /// The key of a Taproot output whose internal key is `musig(keys)/path`.
    ///
    /// `merkle_root` is that of the output's script tree; `None` commits to no script (BIP-341).
    /// Refuses fewer than two keys, duplicates, and hardened steps.
    pub fn new(
        keys: &[PublicKey],
        path: &[ChildNumber],
        merkle_root: Option<TapNodeHash>,
    ) -> Result<Self> {
        let participants = sorted(keys)?;
        let mut cache = key_agg(&participants)?;
        let aggregate = from_zkp(&cache.agg_pk_full())?;
        // The network is no part of a derivation.
        let mut xpub = synthetic_xpub_of(aggregate, NetworkKind::Main);
        for step in path {
            let refused = |e: bitcoin::bip32::Error| {
                PATH.refuses(Culprit::Sender, "path below an aggregate key", "unhardened steps", e)
            };
            let (tweak, chain_code) = xpub.ckd_pub_tweak(*step).map_err(refused)?;
            let tweaked = cache
                .pubkey_ec_tweak_add(&scalar(tweak.secret_bytes())?)
                .map_err(|e| outside("a step of the path", e))?;
            xpub.depth = xpub
                .depth
                .checked_add(1)
                .ok_or_else(|| refused(bitcoin::bip32::Error::MaximumDepthExceeded))?;
            xpub.public_key = from_zkp(&tweaked)?;
            xpub.chain_code = chain_code;
        }
        let internal = xpub.public_key.x_only_public_key().0;
        let tweak = TapTweakHash::from_key_and_tweak(internal, merkle_root);
        let output = cache
            .pubkey_xonly_tweak_add(&scalar(tweak.to_byte_array())?)
            .map_err(|e| outside("the taproot tweak", e))?;
        let output = from_zkp(&output)?.x_only_public_key();
        let path = path.to_vec();
        Ok(Self { participants, path, merkle_root, aggregate, internal, output, cache })
    }

    /// The participants' keys in the order of aggregation.
    pub fn participants(&self) -> &[PublicKey] {
        &self.participants
    }

    /// The aggregate before any derivation, a plain point.
    pub fn plain_aggregate(&self) -> PublicKey {
        self.aggregate
    }

    /// The path below the aggregate.
    pub fn path(&self) -> DerivationPath {
        DerivationPath::from(self.path.as_slice())
    }

    /// Root of the script tree that the output key commits to.
    pub fn merkle_root(&self) -> Option<TapNodeHash> {
        self.merkle_root
    }

    /// The internal key of the output (BIP-341): the aggregate's child.
    pub fn internal_key(&self) -> XOnlyPublicKey {
        self.internal
    }

    /// The key in the output's script, with its parity.
    pub fn output_key(&self) -> (XOnlyPublicKey, Parity) {
        self.output
    }

    fn require(&self, key: &PublicKey) -> Result<()> {
        if self.participants.contains(key) {
            return Ok(());
        }
        let expected = self.participants.iter().map(ToString::to_string).collect::<Vec<_>>();
        Err(SIGNER.refuses(
            Culprit::Sender,
            format_args!("signers under {}", self.output.0),
            expected.join(" or "),
            key,
        ))
    }
}

/// The public half of a nonce, 66 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicNonce([u8; 66]);

impl PublicNonce {
    /// Reads the 66 bytes of BIP-327, refusing what is no pair of points.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let refused =
            |found: &dyn fmt::Display| NONCE.refuses(Culprit::Sender, "a nonce", "66 bytes", found);
        let bytes: [u8; 66] =
            bytes.try_into().map_err(|_| refused(&format_args!("{} bytes", bytes.len())))?;
        zkp::PublicNonce::from_byte_array(&bytes).map_err(|e| refused(&e))?;
        Ok(Self(bytes))
    }

    /// The 66 bytes of BIP-327.
    pub fn serialize(&self) -> [u8; 66] {
        self.0
    }

    fn to_zkp(self) -> Result<zkp::PublicNonce> {
        zkp::PublicNonce::from_byte_array(&self.0).map_err(|e| outside("a nonce", e))
    }
}

/// A participant's part of a signature, 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartialSignature([u8; 32]);

impl PartialSignature {
    /// Reads the 32 bytes of BIP-327, refusing what is not below the group's order.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let refused = |found: &dyn fmt::Display| {
            PARTIAL.refuses(Culprit::Sender, "a partial signature", "32 bytes", found)
        };
        let bytes: [u8; 32] =
            bytes.try_into().map_err(|_| refused(&format_args!("{} bytes", bytes.len())))?;
        zkp::PartialSignature::from_byte_array(&bytes).map_err(|e| refused(&e))?;
        Ok(Self(bytes))
    }

    /// The 32 bytes of BIP-327.
    pub fn serialize(&self) -> [u8; 32] {
        self.0
    }

    fn to_zkp(self) -> Result<zkp::PartialSignature> {
        zkp::PartialSignature::from_byte_array(&self.0).map_err(|e| outside("a part", e))
    }
}

/// The secret half of a nonce: signs once, for one message under one key.
///
/// It cannot be copied, printed or stored, and signing takes it away:
///
/// ```
/// # use bitcoin::secp256k1::{Secp256k1, SecretKey};
/// # use hashmix::musig::{KeyContext, Session, nonce};
/// # let secp = Secp256k1::new();
/// # let [a, b] = [1, 2].map(|i| SecretKey::from_slice(&[i; 32]).unwrap());
/// # let context = KeyContext::new(&[a.public_key(&secp), b.public_key(&secp)], &[], None)?;
/// let (mine, shown) = nonce(&context, &a, [7; 32], [1; 32])?;
/// let (_, other) = nonce(&context, &b, [7; 32], [2; 32])?;
/// let nonces = [(a.public_key(&secp), shown), (b.public_key(&secp), other)];
/// let session = Session::new(&context, &nonces, [7; 32])?;
/// session.sign(mine, &a)?;
/// # Ok::<(), hashmix::error::Error>(())
/// ```
///
/// ```compile_fail,E0382
/// # use bitcoin::secp256k1::{Secp256k1, SecretKey};
/// # use hashmix::musig::{KeyContext, Session, nonce};
/// # let secp = Secp256k1::new();
/// # let [a, b] = [1, 2].map(|i| SecretKey::from_slice(&[i; 32]).unwrap());
/// # let context = KeyContext::new(&[a.public_key(&secp), b.public_key(&secp)], &[], None)?;
/// let (mine, shown) = nonce(&context, &a, [7; 32], [1; 32])?;
/// let (_, other) = nonce(&context, &b, [7; 32], [2; 32])?;
/// let nonces = [(a.public_key(&secp), shown), (b.public_key(&secp), other)];
/// let session = Session::new(&context, &nonces, [7; 32])?;
/// session.sign(mine, &a)?;
/// session.sign(mine, &a)?; // used a second time
/// # Ok::<(), hashmix::error::Error>(())
/// ```
///
/// ```compile_fail,E0599
/// # use bitcoin::secp256k1::{Secp256k1, SecretKey};
/// # use hashmix::musig::{KeyContext, nonce};
/// # let secp = Secp256k1::new();
/// # let [a, b] = [1, 2].map(|i| SecretKey::from_slice(&[i; 32]).unwrap());
/// # let context = KeyContext::new(&[a.public_key(&secp), b.public_key(&secp)], &[], None)?;
/// let (mine, shown) = nonce(&context, &a, [7; 32], [1; 32])?;
/// let copy = mine.clone(); // copied
/// # Ok::<(), hashmix::error::Error>(())
/// ```
pub struct SecretNonce {
    secret: Option<zkp::SecretNonce>,
    owner: PublicKey,
    public: PublicNonce,
    message: [u8; 32],
    output: XOnlyPublicKey,
}

impl SecretNonce {
    /// The public half, for the other participants.
    pub fn public(&self) -> PublicNonce {
        self.public
    }

    /// The participant whose nonce it is.
    pub fn owner(&self) -> PublicKey {
        self.owner
    }
}

impl fmt::Debug for SecretNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretNonce").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl Drop for SecretNonce {
    fn drop(&mut self) {
        if let Some(secret) = &mut self.secret {
            secret.non_secure_erase();
        }
    }
}

/// Makes a nonce of the participant with `key`, for `message` under `context`.
///
/// `randomness` is 32 bytes fresh from the operating system, for this call alone: the same bytes
/// with another message would give the secret key away.
pub fn nonce(
    context: &KeyContext,
    key: &SecretKey,
    message: [u8; 32],
    randomness: [u8; 32],
) -> Result<(SecretNonce, PublicNonce)> {
    if randomness == [0; 32] {
        return Err(RANDOMNESS.broken("a nonce", "32 random bytes", "32 zeros"));
    }
    let keypair = Erased(keypair(key)?);
    let owner = from_zkp(&keypair.0.public_key())?;
    context.require(&owner)?;
    let (secret, public) = zkp::new_nonce_pair(
        zkp::SessionSecretRand::assume_uniformly_random(randomness),
        Some(&context.cache),
        Some(keypair.0.secret_key()),
        keypair.0.public_key(),
        Some(&message),
        None,
    );
    let public = PublicNonce(public.serialize());
    let output = context.output.0;
    Ok((SecretNonce { secret: Some(secret), owner, public, message, output }, public))
}

/// One signature in the making: key, message and everybody's nonce are fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    context: KeyContext,
    nonces: BTreeMap<PublicKey, PublicNonce>,
    message: [u8; 32],
    session: zkp::Session,
}

impl Session {
    /// Opens a session with exactly one nonce of each participant.
    pub fn new(
        context: &KeyContext,
        nonces: &[(PublicKey, PublicNonce)],
        message: [u8; 32],
    ) -> Result<Self> {
        let nonces = one_of_each(context, nonces, NONCE_SET, "nonces of a session")?;
        let parsed: Vec<zkp::PublicNonce> =
            nonces.values().map(|n| n.to_zkp()).collect::<Result<_>>()?;
        let joined = zkp::AggregatedNonce::new(&parsed.iter().collect::<Vec<_>>());
        let session = zkp::Session::new(&context.cache, joined, &message);
        Ok(Self { context: context.clone(), nonces, message, session })
    }

    /// Signs with the secret nonce, which is used up, and the secret key it was made with.
    ///
    /// Refuses a nonce that was made for another message or key, and a session that carries
    /// another nonce in our name. The part is verified before it leaves.
    pub fn sign(&self, mut nonce: SecretNonce, key: &SecretKey) -> Result<PartialSignature> {
        let keypair = Erased(keypair(key)?);
        let signer = from_zkp(&keypair.0.public_key())?;
        self.context.require(&signer)?;
        if signer != nonce.owner {
            return Err(SIGNER.broken("signing", nonce.owner, signer));
        }
        if (nonce.message, nonce.output) != (self.message, self.context.output.0) {
            let place = format_args!("nonce of {signer}");
            return Err(NONCE_PURPOSE.broken(place, hex(&self.message), hex(&nonce.message)));
        }
        let carried = self.nonces.get(&signer);
        if carried != Some(&nonce.public) {
            return Err(NONCE_DEAD.refuses(
                Culprit::Sender,
                format_args!("nonce of {signer}"),
                hex(&nonce.public.0),
                carried.map(|n| hex(&n.0)).unwrap_or_default(),
            ));
        }
        let secret = nonce.secret.take().ok_or_else(|| {
            NONCE_DEAD.broken(format_args!("nonce of {signer}"), "a secret half", "none")
        })?;
        let part = self.session.partial_sign(secret, &keypair.0, &self.context.cache);
        let part = PartialSignature(part.serialize());
        self.verify(&signer, &part)?;
        Ok(part)
    }

    /// Whether the part is right for this participant, his nonce and the message; the refusal
    /// names whose part was wrong.
    pub fn verify(&self, participant: &PublicKey, part: &PartialSignature) -> Result<()> {
        self.context.require(participant)?;
        let nonce = self.nonces.get(participant).ok_or_else(|| {
            NONCE_SET.refuses(Culprit::Sender, "nonces of a session", participant, "no nonce")
        })?;
        let right = self.session.partial_verify(
            &self.context.cache,
            &part.to_zkp()?,
            &nonce.to_zkp()?,
            to_zkp(participant)?,
        );
        if right {
            return Ok(());
        }
        Err(PARTIAL_WRONG.refuses(
            Culprit::Sender,
            format_args!("partial signature of {participant}"),
            "one that verifies",
            hex(&part.0),
        ))
    }

    /// Joins one part of each participant into the signature, verified under the output key.
    pub fn aggregate(&self, parts: &[(PublicKey, PartialSignature)]) -> Result<schnorr::Signature> {
        let parts = one_of_each(&self.context, parts, PARTIAL_SET, "parts of a signature")?;
        for (participant, part) in &parts {
            self.verify(participant, part)?;
        }
        let parsed: Vec<zkp::PartialSignature> =
            parts.values().map(|p| p.to_zkp()).collect::<Result<_>>()?;
        let wrong = |e: &dyn fmt::Display| {
            SIGNATURE.broken(
                format_args!("signature under {}", self.context.output.0),
                "one that verifies",
                e,
            )
        };
        let joined: [u8; 64] = self
            .session
            .partial_sig_agg(&parsed.iter().collect::<Vec<_>>())
            .verify(&self.context.cache.agg_pk(), &self.message)
            .map_err(|e| wrong(&e))?
            .to_byte_array();
        schnorr::Signature::from_slice(&joined).map_err(|e| wrong(&e))
    }

    /// Under which key it signs.
    pub fn context(&self) -> &KeyContext {
        &self.context
    }

    /// What it signs: a sighash.
    pub fn message(&self) -> [u8; 32] {
        self.message
    }
}

/// Exactly one item of each participant, whatever their order.
fn one_of_each<T: Copy>(
    context: &KeyContext,
    items: &[(PublicKey, T)],
    rule: Rule,
    place: &str,
) -> Result<BTreeMap<PublicKey, T>> {
    let found: BTreeMap<PublicKey, T> = items.iter().copied().collect();
    for participant in context.participants() {
        if !found.contains_key(participant) {
            return Err(rule.refuses(Culprit::Sender, place, participant, "nothing of his"));
        }
    }
    if let Some(stranger) = found.keys().find(|key| !context.participants.contains(key)) {
        return Err(rule.refuses(Culprit::Sender, place, "participants only", stranger));
    }
    if found.len() != items.len() {
        return Err(rule.refuses(Culprit::Sender, place, found.len(), items.len()));
    }
    Ok(found)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// Between 0.29 and 0.33: bytes. What one of them calls a key, so does the other, and each failure
// below is a fault of ours.

pub(crate) fn outside(place: &str, found: impl fmt::Display) -> Error {
    TWEAK.broken(place, "a point or scalar of secp256k1", found)
}

fn to_zkp(key: &PublicKey) -> Result<secp256k1::PublicKey> {
    secp256k1::PublicKey::from_slice(&key.serialize()).map_err(|e| outside("a public key", e))
}

fn from_zkp(key: &secp256k1::PublicKey) -> Result<PublicKey> {
    PublicKey::from_slice(&key.serialize()).map_err(|e| outside("a public key", e))
}

fn scalar(bytes: [u8; 32]) -> Result<secp256k1::Scalar> {
    secp256k1::Scalar::from_be_bytes(bytes).map_err(|e| outside("a tweak", e))
}

/// The other library's copy of a key, for as long as it signs.
struct Erased(secp256k1::Keypair);

impl Drop for Erased {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

fn keypair(key: &SecretKey) -> Result<secp256k1::Keypair> {
    secp256k1::Keypair::from_secret_bytes(key.secret_bytes())
        .map_err(|_| outside("a secret key", "another number"))
}

fn key_agg(sorted: &[PublicKey]) -> Result<zkp::KeyAggCache> {
    let keys: Vec<secp256k1::PublicKey> = sorted.iter().map(to_zkp).collect::<Result<_>>()?;
    if keys.is_empty() {
        return Err(PARTICIPANTS.broken("an aggregate key", "2 keys or more", 0));
    }
    Ok(zkp::KeyAggCache::new(&keys.iter().collect::<Vec<_>>()))
}
