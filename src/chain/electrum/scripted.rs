//! A server for tests: a small true chain that answers honestly, and a script of lies, silences
//! and breakdowns laid over it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, Block, CompactTarget, Network, OutPoint, Script, ScriptBuf, Sequence, Transaction,
    TxIn, TxOut, Txid, Witness,
};
use electrum_client::ToElectrumScriptHash;
use serde_json::{Value, json};

use super::{Electrum, Patience};
use crate::error::Result;
use crate::work::template::BlockTemplate;

/// What a scripted server does with a question.
pub(super) enum Act {
    Answer(Value),
    Decline(&'static str),
    /// These bytes, whatever they are.
    Raw(Vec<u8>),
    /// Half of the true answer, then the connection closes.
    BreakOff,
    /// A byte now and then, and never an end.
    Drip,
    /// This line again and again, with a pause after each, and never the answer.
    Forever(&'static str, Duration),
    /// These lines, then the answer.
    Noticed(&'static str, Value),
    /// The answer, but half a timeout late.
    Late(Value),
    Silence,
}

/// Looks at the world, the method and its parameters, and overrules the honest answer or not.
type Overrule = dyn FnMut(&mut World, &str, &[Value]) -> Option<Act> + Send;

/// A true regtest chain and a mempool that takes anything.
pub(super) struct World {
    pub(super) blocks: Vec<Block>,
    pub(super) mempool: BTreeMap<Txid, Transaction>,
    /// Every method that was asked for, in order.
    pub(super) asked: Vec<String>,
    script: Option<Box<Overrule>>,
}

/// The server's handle: its world can be looked at and changed while it serves.
pub(super) struct Server {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) url: String,
}

pub(super) fn script_of(person: u8) -> ScriptBuf {
    ScriptBuf::from_bytes([vec![0x51, 0x20], vec![person; 32]].concat())
}

fn output(sat: u64, person: u8) -> TxOut {
    TxOut { value: Amount::from_sat(sat), script_pubkey: script_of(person) }
}

/// A transaction that spends output 0 of `parent` and pays `person`.
pub(super) fn pay(parent: Txid, sat: u64, person: u8) -> Transaction {
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(parent, 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::from_slice(&[[9u8; 64]]),
        }],
        output: vec![output(sat, person)],
    }
}

impl World {
    /// Adds a block with these transactions whose coinbase pays `person`.
    pub(super) fn mine(&mut self, person: u8, transactions: Vec<Transaction>) -> Txid {
        let parent = self.blocks.last().unwrap().header;
        let height = self.blocks.len() as u32;
        for tx in &transactions {
            self.mempool.remove(&tx.compute_txid());
        }
        let template = BlockTemplate {
            version: bitcoin::block::Version::TWO,
            parent: parent.block_hash(),
            height,
            time: parent.time + 600,
            bits: CompactTarget::from_consensus(0x207f_ffff),
            reward: Amount::from_sat(5_000),
            transactions,
        };
        let mut job = template.job(&[person], &[output(5_000, person)]).unwrap();
        while job.header.validate_pow(job.header.target()).is_err() {
            job.header.nonce += 1;
        }
        let coinbase = job.coinbase.compute_txid();
        self.blocks.push(template.block(job.header, job.coinbase));
        coinbase
    }

    fn all(&self) -> impl Iterator<Item = (Option<u32>, &Transaction)> {
        let mined = (0u32..)
            .zip(&self.blocks)
            .skip(1)
            .flat_map(|(height, block)| block.txdata.iter().map(move |tx| (Some(height), tx)));
        mined.chain(self.mempool.values().map(|tx| (None, tx)))
    }

    fn history(&self, hash: &str) -> Value {
        let mut touched: Vec<(Txid, Option<u32>)> = Vec::new();
        for (height, tx) in self.all() {
            let is = |script: &Script| script.to_electrum_scripthash().as_hex() == hash;
            let spends = tx.input.iter().any(|input| {
                self.all().any(|(_, parent)| {
                    parent.compute_txid() == input.previous_output.txid
                        && is(&parent.output[input.previous_output.vout as usize].script_pubkey)
                })
            });
            if spends || tx.output.iter().any(|out| is(&out.script_pubkey)) {
                touched.push((tx.compute_txid(), height));
            }
        }
        touched
            .into_iter()
            .map(|(txid, height)| json!({ "tx_hash": txid, "height": height.unwrap_or(0) }))
            .collect()
    }

    /// What an honest server answers.
    pub(super) fn honest(&mut self, method: &str, params: &[Value]) -> Act {
        let number = |place: usize| params[place].as_u64().unwrap() as usize;
        let text = |place: usize| params[place].as_str().unwrap().to_owned();
        Act::Answer(match method {
            "server.version" => json!(["scripted", "1.4"]),
            "blockchain.block.header" => json!(serialize_hex(&self.blocks[number(0)].header)),
            "blockchain.block.headers" => {
                let some = self.blocks.iter().skip(number(0)).take(number(1));
                let run: Vec<String> = some.map(|block| serialize_hex(&block.header)).collect();
                json!({ "count": run.len(), "hex": run.concat(), "max": 2_016 })
            }
            "blockchain.headers.subscribe" => json!({
                "height": self.blocks.len() - 1,
                "hex": serialize_hex(&self.blocks.last().unwrap().header),
            }),
            "blockchain.scripthash.get_history" => self.history(&text(0)),
            "blockchain.transaction.get" => {
                let txid: Txid = text(0).parse().unwrap();
                match self.all().find(|(_, tx)| tx.compute_txid() == txid) {
                    Some((_, tx)) => json!(serialize_hex(tx)),
                    None => return Act::Decline("no such transaction"),
                }
            }
            "blockchain.transaction.get_merkle" => {
                let (txid, height) = (text(0), number(1));
                branch_of(&self.blocks[height], txid.parse().unwrap(), height)
            }
            "blockchain.transaction.broadcast" => {
                let tx: Transaction = deserialize_hex(&text(0)).unwrap();
                let txid = tx.compute_txid();
                self.mempool.insert(txid, tx);
                json!(txid)
            }
            "blockchain.estimatefee" => json!(-1),
            _ => return Act::Decline("unknown method"),
        })
    }
}

/// The branch as the protocol gives it.
fn branch_of(block: &Block, txid: Txid, height: usize) -> Value {
    let mut level: Vec<bitcoin::TxMerkleNode> =
        block.txdata.iter().map(|tx| tx.compute_txid().into()).collect();
    let place = level.iter().position(|leaf| *leaf == txid.into()).unwrap();
    let (mut at, mut siblings) = (place, Vec::new());
    while level.len() > 1 {
        siblings.push(level.get(at ^ 1).unwrap_or(&level[at]).to_string());
        level = level
            .chunks(2)
            .map(|pair| {
                let both = [pair[0].to_byte_array(), pair[pair.len() - 1].to_byte_array()];
                bitcoin::TxMerkleNode::hash(&both.concat())
            })
            .collect();
        at /= 2;
    }
    json!({ "block_height": height, "pos": place, "merkle": siblings })
}

trait AsHex {
    fn as_hex(&self) -> String;
}

impl AsHex for electrum_client::ScriptHash {
    fn as_hex(&self) -> String {
        bitcoin::hex::DisplayHex::to_lower_hex_string(self.as_slice())
    }
}

impl Server {
    /// Serves a chain of `network`'s first block and `blocks` more that pay person 0.
    pub(super) fn start(blocks: u32) -> Self {
        let genesis = bitcoin::constants::genesis_block(Network::Regtest);
        let mut world = World {
            blocks: vec![genesis],
            mempool: BTreeMap::new(),
            asked: Vec::new(),
            script: None,
        };
        for _ in 0..blocks {
            world.mine(0, Vec::new());
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let world = Arc::new(Mutex::new(world));
        let shared = world.clone();
        // The thread ends with the process; each connection has its own.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let world = shared.clone();
                std::thread::spawn(move || serve(stream, &world));
            }
        });
        Self { world, url }
    }

    /// From now on, `script` overrules the honest answers it wants to.
    pub(super) fn script(
        &self,
        script: impl FnMut(&mut World, &str, &[Value]) -> Option<Act> + Send + 'static,
    ) {
        self.world.lock().unwrap().script = Some(Box::new(script));
    }

    /// From now on, `method` is always answered by what `act` makes.
    pub(super) fn always(&self, method: &'static str, act: impl Fn() -> Act + Send + 'static) {
        self.script(move |_, asked, _| (asked == method).then(&act));
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().unwrap())
    }

    /// How often `method` was asked for since the last count.
    pub(super) fn count(&self, method: &str) -> usize {
        self.with(|world| {
            let (those, others) =
                world.asked.drain(..).partition::<Vec<String>, _>(|asked| asked == method);
            world.asked = others;
            those.len()
        })
    }

    pub(super) fn connect(&self) -> Result<Electrum> {
        self.connect_with(IMPATIENT)
    }

    pub(super) fn connect_with(&self, patience: Patience) -> Result<Electrum> {
        Electrum::connect_with(&self.url, Network::Regtest, patience)
    }
}

/// Patience for tests: three attempts, hardly a pause.
pub(super) const IMPATIENT: Patience =
    Patience { timeout: Duration::from_secs(2), attempts: 3, pause: Duration::from_millis(5) };

/// Patience for tests that wait until it ends.
pub(super) const SHORT: Patience =
    Patience { timeout: Duration::from_millis(200), attempts: 2, pause: Duration::from_millis(5) };

fn serve(mut stream: TcpStream, world: &Mutex<World>) {
    let _ = stream.set_nodelay(true);
    let reader = BufReader::new(stream.try_clone().unwrap());
    for line in reader.lines().map_while(std::result::Result::ok) {
        let request: Value = serde_json::from_str(&line).unwrap();
        let method = request["method"].as_str().unwrap().to_owned();
        let params = request["params"].as_array().cloned().unwrap_or_default();
        let id = request["id"].clone();
        let act = {
            let mut world = world.lock().unwrap();
            world.asked.push(method.clone());
            let mut script = world.script.take();
            let scripted = script.as_mut().and_then(|s| s(&mut world, &method, &params));
            world.script = world.script.take().or(script);
            match scripted {
                Some(Act::BreakOff) => match world.honest(&method, &params) {
                    Act::Answer(answer) => {
                        let text = json!({ "id": id, "result": answer }).to_string();
                        let _ = stream.write_all(&text.as_bytes()[..text.len() / 2]);
                        return;
                    }
                    _ => return,
                },
                Some(act) => act,
                None => world.honest(&method, &params),
            }
        };
        let answer = |result| json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
        let mut bytes = match act {
            Act::Answer(result) => answer(result).into_bytes(),
            Act::Noticed(lines, result) => format!("{lines}\n{}", answer(result)).into_bytes(),
            Act::Late(result) => {
                std::thread::sleep(SHORT.timeout / 2);
                answer(result).into_bytes()
            }
            Act::Forever(line, pause) => {
                while writeln!(stream, "{line}").is_ok() {
                    std::thread::sleep(pause);
                }
                return;
            }
            Act::Decline(reason) => {
                let error = json!({ "code": 2, "message": reason });
                json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string().into_bytes()
            }
            Act::Raw(bytes) => bytes,
            Act::Drip => {
                while stream.write_all(b"{").is_ok() {
                    std::thread::sleep(SHORT.timeout / 10);
                }
                return;
            }
            Act::BreakOff | Act::Silence => continue,
        };
        bytes.push(b'\n');
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}
