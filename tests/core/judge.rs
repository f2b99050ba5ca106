//! A Bitcoin Core of a test's own, and how it is asked.

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Address, Block, BlockHash, Network, OutPoint, Psbt, Transaction, TxOut};
use hashmix::rehearsal::daemons::bitcoind::Bitcoind;
use hashmix::rehearsal::people::network_script;
use serde_json::{Value, json};

/// A running node. It ends with the test.
pub(crate) struct Judge(Bitcoind);

/// An output that a block holds.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) outpoint: OutPoint,
    pub(crate) txout: TxOut,
    /// Height of the block.
    pub(crate) height: u32,
    pub(crate) coinbase: bool,
}

impl Judge {
    /// Starts a node; on mainnet it knows nobody and only computes.
    pub(crate) fn on(network: Network) -> Self {
        Self(Bitcoind::start(network).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Core's answer.
    pub(crate) fn ask(&self, method: &str, params: &[Value]) -> Value {
        self.0.core().call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub(crate) fn height(&self) -> u32 {
        self.ask("getblockcount", &[]).as_u64().unwrap().try_into().unwrap()
    }

    /// Mines until the tip is at `height`, for nobody at the table.
    pub(crate) fn mine_to(&self, height: u32) {
        let tip = self.height();
        assert!(tip <= height, "the chain is at {tip} already, beyond {height}");
        let rest = Address::from_script(&network_script().unwrap(), Network::Regtest).unwrap();
        self.mine(height - tip, &rest);
    }

    /// Mines `blocks` blocks that pay `payee`: the outputs of their coinbases.
    pub(crate) fn mine(&self, blocks: u32, payee: &Address) -> Vec<Placed> {
        let first = self.height() + 1;
        let hashes = self.ask("generatetoaddress", &[json!(blocks), json!(payee.to_string())]);
        let hashes: Vec<BlockHash> = serde_json::from_value(hashes).unwrap();
        (first..)
            .zip(hashes)
            .map(|(height, hash)| {
                let block = self.ask("getblock", &[json!(hash), json!(0)]);
                let block: Block = deserialize_hex(block.as_str().unwrap()).unwrap();
                let coinbase = &block.txdata[0];
                let txout = coinbase.output[0].clone();
                assert_eq!(txout.script_pubkey, payee.script_pubkey());
                let outpoint = OutPoint::new(coinbase.compute_txid(), 0);
                Placed { outpoint, txout, height, coinbase: true }
            })
            .collect()
    }

    /// Whether Core would take the transaction into its mempool now; its virtual bytes, or why not.
    pub(crate) fn verdict(&self, tx: &Transaction) -> Result<u64, String> {
        let answer = self.ask("testmempoolaccept", &[json!([serialize_hex(tx)])]);
        let answer = &answer[0];
        match answer["allowed"].as_bool().unwrap() {
            true => Ok(answer["vsize"].as_u64().unwrap()),
            false => Err(answer["reject-reason"].as_str().unwrap().to_owned()),
        }
    }

    /// Sends the transaction and mines a block with it: its outputs.
    pub(crate) fn confirm(&self, tx: &Transaction) -> Vec<Placed> {
        let txid = self.ask("sendrawtransaction", &[json!(serialize_hex(tx))]);
        assert_eq!(txid, json!(tx.compute_txid()));
        let height = self.height() + 1;
        self.mine_to(height);
        tx.output
            .iter()
            .zip(0..)
            .map(|(txout, vout)| {
                let outpoint = OutPoint::new(tx.compute_txid(), vout);
                let found = self.ask("gettxout", &[json!(outpoint.txid), json!(vout)]);
                assert_eq!(found["confirmations"], json!(1), "{outpoint} is not in the last block");
                Placed { outpoint, txout: txout.clone(), height, coinbase: false }
            })
            .collect()
    }

    /// Core joins PSBTs of one transaction.
    pub(crate) fn combine(&self, psbts: &[&Psbt]) -> Psbt {
        let psbts: Vec<String> = psbts.iter().map(ToString::to_string).collect();
        read(&self.ask("combinepsbt", &[json!(psbts)]))
    }

    /// The transaction that Core finishes; `None` if it says that something is missing.
    pub(crate) fn finalize(&self, psbt: &Psbt) -> Option<Transaction> {
        let answer = self.ask("finalizepsbt", &[json!(psbt.to_string())]);
        let tx = answer.get("hex").map(|hex| deserialize_hex(hex.as_str().unwrap()).unwrap());
        assert_eq!(answer["complete"], json!(tx.is_some()));
        tx
    }

    /// Core signs as the wallet of `descriptor`, at one index; it leaves the PSBT unfinished.
    pub(crate) fn sign(&self, psbt: &Psbt, descriptor: &str, index: u32) -> Psbt {
        let known = json!([{ "desc": descriptor, "range": [index, index] }]);
        let params = [json!(psbt.to_string()), known, json!("DEFAULT"), json!(true), json!(false)];
        read(&self.ask("descriptorprocesspsbt", &params)["psbt"])
    }
}

/// A PSBT out of an answer.
fn read(answer: &Value) -> Psbt {
    answer.as_str().unwrap().parse().unwrap()
}
