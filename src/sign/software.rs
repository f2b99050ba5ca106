//! The signer whose keys are in this computer's memory.
//!
//! It answers with signatures over what it is given and never looks at a PSBT: a PSBT's hints make
//! an unwary signer sign every leaf that holds its key. Each signature takes fresh randomness from
//! the operating system and is verified before it leaves, so that a fault in the computer cannot
//! give the key away.

use core::fmt;

use bitcoin::base64::Engine;
use bitcoin::base64::prelude::BASE64_STANDARD;
use bitcoin::bip32::ChildNumber;
use bitcoin::hashes::Hash;
use bitcoin::key::TapTweak;
use bitcoin::secp256k1::{All, Keypair, Message, Secp256k1, XOnlyPublicKey, schnorr};
use bitcoin::{Address, Network, PrivateKey, TapSighash, consensus};

use super::seed::{Account, RecordKeys, RecordSecrets};
use super::{Source, random};
use crate::error::{Culprit, Result, Rule};
use crate::message;
use crate::musig::{self, KeyContext, PartialSignature, PublicNonce, SecretNonce, Session};
use crate::script::seal::{self, SealLock};

/// A descriptor shows xpubs: below them nothing is hardened.
pub const PATH: Rule = Rule::new(
    "sign-path",
    "a key of a leaf is derived from its account without hardening",
    "take the path from the lock's descriptor",
);
/// A signature of ours that does not verify never leaves.
pub const FAULTY: Rule = Rule::new(
    "sign-faulty",
    "a signature verifies before it leaves the signer",
    "do not use this computer for signing: it computes wrongly",
);

/// Which account of a record signs a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeafAccount {
    /// Together with somebody else.
    Leaf,
    /// Alone.
    Exit,
}

/// Signs with the secrets of one record.
pub struct SoftwareSigner {
    secrets: RecordSecrets,
    network: Network,
    secp: Secp256k1<All>,
    source: Source,
}

impl SoftwareSigner {
    /// A signer for one record on one network.
    pub fn new(secrets: RecordSecrets, network: Network) -> Result<Self> {
        let mut secp = Secp256k1::new();
        secp.seeded_randomize(&*random()?);
        Ok(Self { secrets, network, secp, source: Source::System })
    }

    /// A signer whose randomness is a counter, so that a rehearsal repeats itself. Regtest only.
    #[cfg(feature = "regtest")]
    pub(crate) fn rehearsing(secrets: RecordSecrets) -> Result<Self> {
        let source = Source::Rehearsal("hashmix/rehearsal", core::sync::atomic::AtomicU64::new(0));
        Ok(Self { source, ..Self::new(secrets, Network::Regtest)? })
    }

    /// What the record shows to others.
    pub fn keys(&self) -> RecordKeys {
        self.secrets.public()
    }

    /// The address in whose name texts are signed.
    pub fn address(&self) -> Address {
        message::address(self.communication().x_only_public_key().0, self.network)
    }

    /// Signs one leaf (SIGHASH_DEFAULT) with the key at `path` below the account, and tells under
    /// which key.
    pub fn sign_leaf(
        &self,
        account: LeafAccount,
        path: &[ChildNumber],
        sighash: TapSighash,
    ) -> Result<(XOnlyPublicKey, schnorr::Signature)> {
        let mut child = self.child(account, path)?;
        let signed = self.schnorr(&child, sighash.to_byte_array());
        let key = child.x_only_public_key().0;
        child.non_secure_erase();
        Ok((key, signed?))
    }

    /// Signs the key path of a seal (SIGHASH_DEFAULT): the record's seal key, tweaked with the seal's
    /// leaf. Who calls has followed the seal through the transaction before.
    pub fn sign_seal(&self, seal: &SealLock, sighash: TapSighash) -> Result<schnorr::Signature> {
        let derived = self.secrets.seal.xpriv().derive_priv(&self.secp, &seal::STEPS);
        let mut xpriv = derived
            .map_err(|e| PATH.refuses(Culprit::Sender, "path of a seal's key", "a path", e))?;
        let mut inner = xpriv.to_keypair(&self.secp);
        xpriv.private_key.non_secure_erase();
        let ours = inner.x_only_public_key().0;
        if ours != seal.internal_key {
            inner.non_secure_erase();
            return Err(PATH.refuses(Culprit::Sender, "key of a seal", ours, seal.internal_key));
        }
        let tweaked = inner.tap_tweak(&self.secp, Some(seal.merkle_root));
        let mut output = tweaked.to_keypair();
        let signed = self.schnorr(&output, sighash.to_byte_array());
        inner.non_secure_erase();
        output.non_secure_erase();
        signed
    }

    /// Signs a digest with the communication key (BIP-340); see [`message::verify_digest`].
    pub fn sign_digest(&self, digest: [u8; 32]) -> Result<schnorr::Signature> {
        self.schnorr(self.communication(), digest)
    }

    /// Signs a text for the communication key's address (BIP-322 simple, with its prefix); see
    /// [`message::verify_text`].
    pub fn sign_text(&self, text: &str) -> Result<String> {
        let key = self.communication().x_only_public_key().0;
        let faulty = |e: bip322::Error| FAULTY.broken("signature of a text", "a signature", e);
        let to_spend = bip322::create_to_spend(&self.address(), text).map_err(faulty)?;
        let to_sign = bip322::create_to_sign(&to_spend, None, bip322::LockParams::default())
            .map_err(faulty)?;
        let mut secret = PrivateKey::new(self.communication().secret_key(), self.network);
        let aux = Some(*self.source.bytes()?);
        let witness =
            bip322::create_message_signature_taproot(&to_sign, &secret, &to_spend.output, 0, aux);
        secret.inner.non_secure_erase();
        let encoded = BASE64_STANDARD.encode(consensus::serialize(&witness.map_err(faulty)?));
        let signature = format!("{}{encoded}", message::PREFIX);
        message::verify_text(Culprit::Sender, key, text, &signature)
            .map_err(|e| FAULTY.broken("signature of a text", "one that verifies", e))?;
        Ok(signature)
    }

    /// First round of MuSig2: a nonce for `message` under `context`. Its secret half lives in
    /// memory only; if it is lost, the round begins anew.
    pub fn begin(
        &self,
        context: &KeyContext,
        message: [u8; 32],
    ) -> Result<(SecretNonce, PublicNonce)> {
        musig::nonce(
            context,
            &self.secrets.musig.xpriv().private_key,
            message,
            *self.source.bytes()?,
        )
    }

    /// Second round of MuSig2: uses up the nonce.
    pub fn sign_part(&self, session: &Session, nonce: SecretNonce) -> Result<PartialSignature> {
        session.sign(nonce, &self.secrets.musig.xpriv().private_key)
    }

    fn communication(&self) -> &Keypair {
        self.secrets.communication()
    }

    fn child(&self, account: LeafAccount, path: &[ChildNumber]) -> Result<Keypair> {
        let account: &Account = match account {
            LeafAccount::Leaf => &self.secrets.leaf,
            LeafAccount::Exit => &self.secrets.exit,
        };
        if let Some(step) = path.iter().find(|step| step.is_hardened()) {
            return Err(PATH.refuses(
                Culprit::Sender,
                "path of a leaf's key",
                "no hardening",
                step,
            ));
        }
        let derived = account.xpriv().derive_priv(&self.secp, &path);
        let mut xpriv = derived
            .map_err(|e| PATH.refuses(Culprit::Sender, "path of a leaf's key", "a path", e))?;
        let keypair = xpriv.to_keypair(&self.secp);
        xpriv.private_key.non_secure_erase();
        Ok(keypair)
    }

    fn schnorr(&self, key: &Keypair, digest: [u8; 32]) -> Result<schnorr::Signature> {
        let aux = self.source.bytes()?;
        let message = Message::from_digest(digest);
        let signature = self.secp.sign_schnorr_with_aux_rand(&message, key, &aux);
        self.secp
            .verify_schnorr(&signature, &message, &key.x_only_public_key().0)
            .map_err(|e| FAULTY.broken("signature", "one that verifies", e))?;
        Ok(signature)
    }
}

impl fmt::Debug for SoftwareSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SoftwareSigner").field(&self.secrets).finish()
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::bip32::{DerivationPath, Xpub};

    use super::super::seed::Seed;
    use super::*;

    fn signer(index: u32) -> SoftwareSigner {
        let seed = Seed::from_entropy(&[5; 16], "").unwrap();
        let record = seed.record(Network::Regtest, index).unwrap();
        SoftwareSigner::new(record, Network::Regtest).unwrap()
    }

    fn path(text: &str) -> Vec<ChildNumber> {
        text.parse::<DerivationPath>().unwrap().into()
    }

    #[test]
    fn a_leaf_is_signed_with_the_key_that_the_descriptor_shows() {
        let secp = Secp256k1::new();
        let signer = signer(0);
        let sighash = TapSighash::from_byte_array([3; 32]);
        let keys = signer.keys();
        for (account, expression) in
            [(LeafAccount::Leaf, keys.leaf), (LeafAccount::Exit, keys.exit)]
        {
            let xpub: Xpub = expression.rsplit(']').next().unwrap().parse().unwrap();
            for steps in ["0/0", "6/1", "2/2147483647"] {
                let expected = xpub.derive_pub(&secp, &path(steps)).unwrap().to_x_only_pub();
                let (key, signature) = signer.sign_leaf(account, &path(steps), sighash).unwrap();
                assert_eq!(key, expected);
                let message = Message::from_digest([3; 32]);
                assert_eq!(secp.verify_schnorr(&signature, &message, &key), Ok(()));
            }
        }
    }

    #[test]
    fn a_hardened_path_is_refused() {
        let sighash = TapSighash::from_byte_array([3; 32]);
        let refused = signer(0).sign_leaf(LeafAccount::Leaf, &path("0h/1"), sighash).unwrap_err();
        assert_eq!(refused.rule(), "sign-path");
    }

    #[test]
    fn a_text_and_a_digest_verify_under_the_communication_key_and_no_other() {
        let (one, other) = (signer(0), signer(1));
        let text = "I am the miner of this position.\n";
        let signature = one.sign_text(text).unwrap();
        let digest = crate::id::tagged_hash("test", &[b"receipt"]);
        let receipt = one.sign_digest(digest).unwrap();
        for (signer, fits) in [(&one, true), (&other, false)] {
            let key = signer.keys().communication;
            let read = message::verify_text(Culprit::Miner, key, text, &signature);
            assert_eq!(read.map_err(|e| e.rule()), fits.then_some(()).ok_or("message-text"));
            let read = message::verify_digest(Culprit::Miner, key, digest, &receipt);
            assert_eq!(read.map_err(|e| e.rule()), fits.then_some(()).ok_or("message-digest"));
        }
        assert!(one.address().to_string().starts_with("bcrt1p"));
        // Fresh randomness each time.
        assert_ne!(one.sign_text(text).unwrap(), signature);
        assert_ne!(one.sign_digest(digest).unwrap(), receipt);
    }

    #[test]
    fn two_signers_sign_as_one() {
        let (one, other) = (signer(0), signer(1));
        let keys = [&one, &other].map(|s| s.secrets.musig.xpub().public_key);
        let context = KeyContext::new(&keys, &path("0/3"), None).unwrap();
        let (mine, shown) = one.begin(&context, [4; 32]).unwrap();
        let (his, his_shown) = other.begin(&context, [4; 32]).unwrap();
        let nonces = [(keys[0], shown), (keys[1], his_shown)];
        let session = Session::new(&context, &nonces, [4; 32]).unwrap();
        let parts = [
            (keys[0], one.sign_part(&session, mine).unwrap()),
            (keys[1], other.sign_part(&session, his).unwrap()),
        ];
        let signature = session.aggregate(&parts).unwrap();
        let by = Culprit::Sender;
        let key = context.output_key().0;
        assert_eq!(message::verify_digest(by, key, [4; 32], &signature), Ok(()));
        // A nonce of the operating system never repeats.
        assert_ne!(one.begin(&context, [4; 32]).unwrap().1, shown);
    }

    #[test]
    fn the_signer_prints_nothing_secret() {
        let signer = signer(0);
        let shown = format!("{signer:?} {signer:#?}");
        assert!(shown.contains("tpub"));
        let secrets = &signer.secrets;
        for secret in [
            secrets.communication().display_secret().to_string(),
            secrets.musig.xpriv().private_key.display_secret().to_string(),
            "tprv".to_owned(),
        ] {
            assert!(!shown.contains(&secret));
        }
    }
}
