//! A lock: one Taproot output of the product, with everything needed to spend it.
//!
//! A [`Lock`] is made from a filled policy at an index. It knows its script, its leaves by name,
//! who must sign each with which child key, and the delays. Transactions are built and signed from
//! locks, never from what a PSBT claims.

use core::fmt;

use bitcoin::bip32::ChildNumber;
use bitcoin::key::XOnlyPublicKey;
use bitcoin::secp256k1::{self, Secp256k1, schnorr};
use bitcoin::taproot::{
    ControlBlock, LeafVersion, TapLeafHash, TapNodeHash, TaprootBuilder, TaprootSpendInfo,
};
use bitcoin::{
    Address, Network, PublicKey, Script, ScriptBuf, TapSighashType, Witness, absolute, relative,
    taproot,
};
use miniscript::descriptor::DescriptorPublicKey;
use miniscript::{DefiniteDescriptorKey, Descriptor, Miniscript, Satisfier, Tap, ToPublicKey};

use crate::error::{Error, Result, Rule};
use crate::musig::KeyContext;
use crate::party::{Federation, Seat};
use crate::script::template::{Account, Policy, Seats, Template, Variant, participants};

/// A filled policy is a sane Taproot descriptor.
pub const SANE: Rule = Rule::new(
    "script-sane",
    "a lock's descriptor passes every sanity check of miniscript",
    "restore the file under descriptors/",
);
/// A lock has the leaf that is asked for.
pub const LEAF: Rule = Rule::new(
    "script-leaf",
    "a lock is spent through one of its own leaves",
    "choose a leaf of this lock",
);
/// A spend carries every signature its path needs.
pub const SIGNED: Rule = Rule::new(
    "script-signed",
    "a spend carries every signature that its path needs",
    "collect the missing signature",
);

/// The ways into a lock, in the order of the policy files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Path {
    /// Miner and holder together: one MuSig2 signature.
    Key,
    /// Miner and holder, a signature each, in one pass.
    Agreed,
    /// Miner and k validators.
    MinerRuling,
    /// Holder and k validators.
    HolderRuling,
    /// Holder alone, after the delay.
    HolderExit,
    /// Miner alone, after the delay.
    MinerExit,
    /// k validators, and no party: what a federation issues positions from.
    Federation,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key path",
            Self::Agreed => "agreed leaf",
            Self::MinerRuling => "miner ruling leaf",
            Self::HolderRuling => "holder ruling leaf",
            Self::HolderExit => "holder exit leaf",
            Self::MinerExit => "miner exit leaf",
            Self::Federation => "federation leaf",
        })
    }
}

/// A key inside a leaf: whose it is and how it is derived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafKey {
    /// Who signs with it.
    pub seat: Seat,
    /// From which of his accounts.
    pub account: Account,
    /// Steps below the account: branch, index.
    pub steps: Vec<ChildNumber>,
    /// The derived key as it stands in the leaf.
    pub key: XOnlyPublicKey,
}

/// One leaf of a lock.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Which way in it is.
    pub path: Path,
    /// Its script.
    pub script: ScriptBuf,
    /// Proves that the output commits to it (BIP 341).
    pub control: ControlBlock,
    /// Keys in the order of the script.
    pub keys: Vec<LeafKey>,
    /// Blocks that must lie on the output, if any (BIP 68).
    pub older: Option<u16>,
    /// Height that must have passed, if any (BIP 65).
    pub after: Option<u32>,
    miniscript: Miniscript<PublicKey, Tap>,
}

impl Leaf {
    /// The hash that script-path signatures commit to.
    pub fn hash(&self) -> TapLeafHash {
        TapLeafHash::from_script(&self.script, LeafVersion::TapScript)
    }

    /// The witness, given the signatures at hand; `None` if they do not suffice.
    fn witness(&self, signatures: &[(XOnlyPublicKey, taproot::Signature)]) -> Option<Witness> {
        let hand = Hand { leaf: self, signatures };
        let mut stack = self.miniscript.satisfy(hand).ok()?;
        stack.push(self.script.to_bytes());
        stack.push(self.control.serialize());
        Some(Witness::from_slice(&stack))
    }
}

/// What a satisfier has in its hand: signatures by key, and the delays the input will state.
struct Hand<'a> {
    leaf: &'a Leaf,
    signatures: &'a [(XOnlyPublicKey, taproot::Signature)],
}

impl Satisfier<PublicKey> for Hand<'_> {
    fn lookup_tap_leaf_script_sig(
        &self,
        key: &PublicKey,
        _: &TapLeafHash,
    ) -> Option<taproot::Signature> {
        let key = key.to_x_only_pubkey();
        self.signatures.iter().find(|(signer, _)| *signer == key).map(|(_, signature)| *signature)
    }

    fn check_older(&self, lock: relative::LockTime) -> bool {
        self.leaf.older.is_some_and(|blocks| {
            lock.is_implied_by(relative::LockTime::Blocks(relative::Height::from_height(blocks)))
        })
    }

    fn check_after(&self, lock: absolute::LockTime) -> bool {
        self.leaf
            .after
            .and_then(|height| absolute::LockTime::from_height(height).ok())
            .is_some_and(|height| lock.is_implied_by(height))
    }
}

/// A Taproot output of the product.
#[derive(Clone, Debug)]
pub struct Lock {
    /// The script that the output pays.
    pub script_pubkey: ScriptBuf,
    /// The untweaked key (BIP 341).
    pub internal_key: XOnlyPublicKey,
    /// Root of the leaves (BIP 341).
    pub merkle_root: TapNodeHash,
    /// Who signs the key path, if it is open.
    pub key_path: Option<KeyContext>,
    /// The leaves, in the order of the policy file.
    pub leaves: Vec<Leaf>,
}

impl Lock {
    /// The lock of a template for these people, numbers and index.
    pub fn new(
        template: Template,
        variant: Variant,
        seats: Seats<'_>,
        numbers: &[(&str, u32)],
        network: Network,
        index: u32,
    ) -> Result<Self> {
        let policy = template.fill(seats, numbers, network)?;
        Self::from_policy(&policy, variant, seats, index)
    }

    /// The lock of a filled policy at an index.
    pub fn from_policy(
        policy: &Policy,
        variant: Variant,
        seats: Seats<'_>,
        index: u32,
    ) -> Result<Self> {
        let mut series = Self::series(policy, variant, seats, index..=index)?;
        series.pop().ok_or_else(|| SANE.broken("descriptor", "a lock an index", "none"))
    }

    /// The locks of a filled policy at several indices; the policy is read once.
    pub fn series(
        policy: &Policy,
        variant: Variant,
        seats: Seats<'_>,
        indices: impl IntoIterator<Item = u32>,
    ) -> Result<Vec<Self>> {
        for (text, owner) in &policy.keys {
            let Some((seat, account)) = *owner else { continue };
            if seats.key(seat, account).is_none_or(|key| key.to_string() != *text) {
                return Err(SANE.broken("leaf", "keys of the people at the table", text));
            }
        }
        let both = (variant == Variant::Musig).then(|| participants(seats));
        Self::of_policy(policy, both, indices)
    }

    /// A script of a federation alone, at index 0.
    pub fn of_federation(
        template: Template,
        federation: &Federation,
        network: Network,
    ) -> Result<Self> {
        let policy = template.fill_federation(federation, network)?;
        let mut locks = Self::of_policy(&policy, None, [0])?;
        locks.pop().ok_or_else(|| SANE.broken("descriptor", "a lock an index", "none"))
    }

    /// The lock with `envelope` behind the one leaf that it has: who can spend it inscribes by doing so.
    pub fn inscribing(mut self, envelope: &Script) -> Result<Self> {
        let [leaf] = self.leaves.as_mut_slice() else {
            return Err(LEAF.broken("inscribing lock", "one leaf", self.leaves.len()));
        };
        let bytes = [leaf.script.as_bytes(), envelope.as_bytes()].concat();
        leaf.script = ScriptBuf::from_bytes(bytes);
        let insane = |found: &dyn fmt::Display| SANE.broken("inscribing lock", "one leaf", found);
        let info = TaprootBuilder::new()
            .add_leaf(0, leaf.script.clone())
            .map_err(|error| insane(&error))?
            .finalize(&Secp256k1::verification_only(), self.internal_key)
            .map_err(|_| insane(&"an unfinished tree"))?;
        leaf.control = info
            .control_block(&(leaf.script.clone(), LeafVersion::TapScript))
            .ok_or_else(|| insane(&"a leaf outside the tree"))?;
        self.merkle_root = info.merkle_root().ok_or_else(|| insane(&"no leaf"))?;
        self.script_pubkey = ScriptBuf::new_p2tr_tweaked(info.output_key());
        Ok(self)
    }

    /// The locks of a filled policy, whose key path is that of two participants, or closed.
    fn of_policy(
        policy: &Policy,
        participants: Option<[secp256k1::PublicKey; 2]>,
        indices: impl IntoIterator<Item = u32>,
    ) -> Result<Vec<Self>> {
        let insane =
            |found: &dyn fmt::Display| SANE.broken("descriptor", "a sane tr() descriptor", found);
        let descriptor: Descriptor<DescriptorPublicKey> =
            policy.xpub_form.parse().map_err(|error| insane(&error))?;
        descriptor.sanity_check().map_err(|error| insane(&error))?;
        let branches = descriptor.into_single_descriptors().map_err(|error| insane(&error))?;
        let first = branches.into_iter().next().ok_or_else(|| insane(&"no branch"))?;
        indices
            .into_iter()
            .map(|index| Self::derived(&first, policy, participants, index))
            .collect()
    }

    fn derived(
        first: &Descriptor<DescriptorPublicKey>,
        policy: &Policy,
        participants: Option<[secp256k1::PublicKey; 2]>,
        index: u32,
    ) -> Result<Self> {
        let insane =
            |found: &dyn fmt::Display| SANE.broken("descriptor", "a sane tr() descriptor", found);
        // Twice: with its keys' origins, to know whose they are, and with the keys themselves, each
        // derived once.
        let definite = first.at_derivation_index(index).map_err(|error| insane(&error))?;
        let derived = definite
            .derived_descriptor(&Secp256k1::verification_only())
            .map_err(|error| insane(&error))?;
        let (Descriptor::Tr(origins), Descriptor::Tr(tr)) = (&definite, derived) else {
            return Err(insane(&"another kind of descriptor"));
        };

        let spend_info = tr.spend_info();
        let merkle_root = spend_info.merkle_root().ok_or_else(|| insane(&"no leaves"))?;
        let mut leaves = Vec::new();
        for ((_, origins), (_, miniscript)) in origins.iter_scripts().zip(tr.iter_scripts()) {
            leaves.push(leaf(origins, miniscript, policy, &spend_info)?);
        }
        let internal_key = tr.internal_key().to_x_only_pubkey();
        let key_path = match participants {
            None => None,
            Some(both) => {
                let steps =
                    steps_of(origins.internal_key()).ok_or_else(|| insane(&"no key path"))?;
                Some(KeyContext::new(&both, &steps, Some(merkle_root))?)
            }
        };
        if key_path.as_ref().is_some_and(|context| context.internal_key() != internal_key) {
            return Err(insane(&"an internal key that is not the participants' aggregate"));
        }
        Ok(Self { script_pubkey: tr.script_pubkey(), internal_key, merkle_root, key_path, leaves })
    }

    /// The address on `network`.
    pub fn address(&self, network: Network) -> Result<Address> {
        Address::from_script(&self.script_pubkey, network)
            .map_err(|error| SANE.broken("lock", "a Taproot script", error))
    }

    /// The leaf of a path; the key path has none.
    pub fn leaf(&self, path: Path) -> Result<&Leaf> {
        self.leaves.iter().find(|leaf| leaf.path == path).ok_or_else(|| self.no_path(path))
    }

    /// Refuses a path that the lock does not have.
    pub fn check_path(&self, path: Path) -> Result<()> {
        match path {
            Path::Key if self.key_path.is_some() => Ok(()),
            Path::Key => Err(self.no_path(path)),
            _ => self.leaf(path).map(|_| ()),
        }
    }

    /// The witness of a script path from the signatures at hand.
    pub fn script_witness(
        &self,
        path: Path,
        signatures: &[(XOnlyPublicKey, schnorr::Signature)],
    ) -> Result<Witness> {
        let leaf = self.leaf(path)?;
        let signatures: Vec<_> = signatures
            .iter()
            .map(|(key, signature)| (*key, default_signature(*signature)))
            .collect();
        leaf.witness(&signatures).ok_or_else(|| {
            let signers: Vec<String> = leaf
                .keys
                .iter()
                .filter(|key| signatures.iter().any(|(signer, _)| *signer == key.key))
                .map(|key| key.seat.to_string())
                .collect();
            SIGNED.unavailable(
                format_args!("{path}"),
                "enough signers",
                if signers.is_empty() { "nobody".to_owned() } else { signers.join(", ") },
            )
        })
    }

    /// Weight of one input that spends through `path`, all 164 WU of its fixed part included.
    pub fn input_weight(&self, path: Path) -> Result<u64> {
        self.check_path(path)?;
        // Signatures of SIGHASH_DEFAULT have 64 bytes whatever they sign.
        let blank = schnorr::Signature::from_slice(&[1; 64])
            .map_err(|error| SIGNED.broken("blank signature", "64 bytes", error))?;
        let witness = match path {
            Path::Key => Witness::p2tr_key_spend(&default_signature(blank)),
            _ => {
                let keys: Vec<_> =
                    self.leaf(path)?.keys.iter().map(|key| (key.key, blank)).collect();
                self.script_witness(path, &keys)?
            }
        };
        // 36 outpoint, 1 empty script, 4 sequence, each byte four times; the witness once.
        Ok(164u64.saturating_add(u64::try_from(witness.size()).unwrap_or(u64::MAX)))
    }

    fn no_path(&self, path: Path) -> Error {
        let mut paths: Vec<String> = self.leaves.iter().map(|leaf| leaf.path.to_string()).collect();
        if self.key_path.is_some() {
            paths.insert(0, Path::Key.to_string());
        }
        LEAF.broken("lock", paths.join(", "), path)
    }
}

fn default_signature(signature: schnorr::Signature) -> taproot::Signature {
    taproot::Signature { signature, sighash_type: TapSighashType::Default }
}

fn leaf(
    origins: &Miniscript<DefiniteDescriptorKey, Tap>,
    miniscript: &Miniscript<PublicKey, Tap>,
    policy: &Policy,
    spend_info: &TaprootSpendInfo,
) -> Result<Leaf> {
    let insane =
        |found: &dyn fmt::Display| SANE.broken("leaf", "a leaf of the policy files", found);
    let script = miniscript.encode();
    let control = spend_info
        .control_block(&(script.clone(), LeafVersion::TapScript))
        .ok_or_else(|| insane(&"a leaf outside the tree"))?;
    let mut keys = Vec::new();
    for (origin, key) in origins.iter_pk().zip(miniscript.iter_pk()) {
        let (seat, account) =
            owner(&origin, policy).ok_or_else(|| insane(&"a key of nobody at the table"))?;
        let steps = steps_of(&origin).ok_or_else(|| insane(&"a key without branch and index"))?;
        keys.push(LeafKey { seat, account, steps, key: key.to_x_only_pubkey() });
    }
    let (older, after) = delays(miniscript);
    let path = path_of(&keys).ok_or_else(|| insane(miniscript))?;
    Ok(Leaf { path, script, control, keys, older, after, miniscript: miniscript.clone() })
}

/// Whose key it is, found by the whole account key.
fn owner(key: &DefiniteDescriptorKey, policy: &Policy) -> Option<(Seat, Account)> {
    let DescriptorPublicKey::XPub(xpub) = key.clone().into() else { return None };
    let xpub = xpub.xkey.to_string();
    let known = policy.keys.iter().find(|(text, _)| text.rsplit(']').next() == Some(&xpub));
    known.and_then(|(_, owner)| *owner)
}

/// Branch and index below the account.
fn steps_of(key: &DefiniteDescriptorKey) -> Option<Vec<ChildNumber>> {
    match key.clone().into() {
        DescriptorPublicKey::XPub(xpub) => Some(xpub.derivation_path.as_ref().to_vec()),
        _ => None,
    }
}

/// The delays of a leaf: at most one of each kind stands in our policies.
fn delays(miniscript: &Miniscript<PublicKey, Tap>) -> (Option<u16>, Option<u32>) {
    use miniscript::Terminal;
    let (mut older, mut after) = (None, None);
    for part in miniscript.iter() {
        match &part.node {
            Terminal::Older(lock) => older = u16::try_from(lock.to_consensus_u32()).ok(),
            Terminal::After(lock) => after = Some(lock.to_consensus_u32()),
            _ => {}
        }
    }
    (older, after)
}

/// Which way in a leaf is, told by whose keys stand in it.
fn path_of(keys: &[LeafKey]) -> Option<Path> {
    let validator = |key: &LeafKey| matches!(key.seat, Seat::Validator(_));
    match keys {
        [alone] if alone.account == Account::Exit => match alone.seat {
            Seat::Holder => Some(Path::HolderExit),
            Seat::Miner => Some(Path::MinerExit),
            Seat::Validator(_) => None,
        },
        [miner, holder] if miner.seat == Seat::Miner && holder.seat == Seat::Holder => {
            Some(Path::Agreed)
        }
        federation if federation.iter().all(validator) && !federation.is_empty() => {
            Some(Path::Federation)
        }
        [party, federation @ ..] if !federation.is_empty() && federation.iter().all(validator) => {
            match party.seat {
                Seat::Miner => Some(Path::MinerRuling),
                Seat::Holder => Some(Path::HolderRuling),
                Seat::Validator(_) => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
