//! One person with one key, a node, and a client.

use bitcoin::absolute::LockTime;
use bitcoin::block::Header;
use bitcoin::hashes::Hash;
use bitcoin::key::{Keypair, Secp256k1, TapTweak};
use bitcoin::secp256k1::{All, Message, SecretKey};
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness, taproot,
};
use electrum_client::{Client, ElectrumApi};
use hashmix::chain::embedded::EmbeddedNode;
use hashmix::work::template::BlockTemplate;

/// A node, a client of its server, and a key that its coinbases pay.
pub(crate) struct World {
    pub(crate) node: EmbeddedNode,
    pub(crate) client: Client,
    secp: Secp256k1<All>,
    key: Keypair,
}

/// Fee of each spend here, in satoshis.
pub(crate) const FEE: Amount = Amount::from_sat(500);

impl World {
    /// A chain of `blocks` blocks, all paid to the key.
    pub(crate) fn new(blocks: u32) -> Self {
        let node = EmbeddedNode::start().unwrap();
        let client = Client::new(&node.electrum_url()).unwrap();
        let secp = Secp256k1::new();
        let key = Keypair::from_secret_key(&secp, &SecretKey::from_slice(&[7; 32]).unwrap());
        let world = Self { node, client, secp, key };
        world.mine(blocks);
        world
    }

    /// The key's taproot script, without a tree.
    pub(crate) fn script(&self) -> ScriptBuf {
        ScriptBuf::new_p2tr(&self.secp, self.key.x_only_public_key().0, None)
    }

    /// Pays a whole reward to the key.
    pub(crate) fn payout(&self) -> impl Fn(Amount) -> Vec<TxOut> + use<> {
        let script_pubkey = self.script();
        move |value| vec![TxOut { value, script_pubkey: script_pubkey.clone() }]
    }

    pub(crate) fn mine(&self, blocks: u32) {
        self.node.mine(blocks, &self.payout()).unwrap();
    }

    /// A block of `template` that pays the key, ground by the caller's own means.
    pub(crate) fn ground(&self, template: &BlockTemplate, extra_nonce: &[u8]) -> Block {
        let job = template.job(extra_nonce, &self.payout()(template.reward)).unwrap();
        template.block(ground(job.header), job.coinbase)
    }

    /// The coinbase of a block, by its height.
    pub(crate) fn coinbase(&self, height: usize) -> Transaction {
        let txid = self.client.txid_from_pos(height, 0).unwrap();
        self.client.transaction_get(&txid).unwrap()
    }

    /// A transaction that gives the first output of `parent` back to the key, less [`FEE`];
    /// unsigned.
    pub(crate) fn draft(&self, parent: &Transaction) -> Transaction {
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::new(parent.compute_txid(), 0),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::ENABLE_LOCKTIME_NO_RBF,
                witness: Witness::new(),
            }],
            output: vec![TxOut {
                value: parent.output[0].value - FEE,
                script_pubkey: self.script(),
            }],
        }
    }

    /// Signs the key path of the only input, which spends the first output of `parent`.
    pub(crate) fn sign(&self, mut tx: Transaction, parent: &Transaction) -> Transaction {
        let prevouts = [parent.output[0].clone()];
        let sighash = SighashCache::new(&tx)
            .taproot_key_spend_signature_hash(0, &Prevouts::All(&prevouts), TapSighashType::Default)
            .unwrap();
        let message = Message::from_digest(sighash.to_byte_array());
        let tweaked = self.key.tap_tweak(&self.secp, None).to_keypair();
        let signature = taproot::Signature {
            signature: self.secp.sign_schnorr_no_aux_rand(&message, &tweaked),
            sighash_type: TapSighashType::Default,
        };
        tx.input[0].witness = Witness::p2tr_key_spend(&signature);
        tx
    }

    /// A signed transaction that gives the first output of `parent` back to the key.
    pub(crate) fn spend(&self, parent: &Transaction) -> Transaction {
        self.sign(self.draft(parent), parent)
    }

    /// Broadcasts what must be admitted.
    pub(crate) fn send(&self, tx: &Transaction) -> Txid {
        self.client.transaction_broadcast(tx).unwrap()
    }

    /// Broadcasts what must be refused, and returns the reason.
    pub(crate) fn refused(&self, tx: &Transaction) -> String {
        let before = self.node.mempool();
        let refused = self.client.transaction_broadcast(tx).unwrap_err();
        assert_eq!(self.node.mempool(), before, "what is refused does not wait");
        match refused {
            electrum_client::Error::Protocol(error) => {
                error["message"].as_str().unwrap().to_owned()
            }
            other => panic!("not the server's refusal: {other}"),
        }
    }
}

/// The header with a nonce that meets its target.
fn ground(mut header: Header) -> Header {
    while header.validate_pow(header.target()).is_err() {
        header.nonce += 1;
    }
    header
}
