//! Bitcoin Core with electrs, and ord beside them; payments of coins that anybody can spend.
//!
//! Tests about fees stay below height 150, where regtest begins to make other satoshis than ord
//! believes in (see `rehearsal/daemons/ord.rs`).

use bitcoin::absolute::LockTime;
use bitcoin::opcodes::OP_TRUE;
use bitcoin::script::Builder;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
};
use hashmix::rehearsal::daemons::{Daemons, Ord};
use hashmix::rehearsal::world::World as Chain;
use hashmix::tx::satoshi::{Moved, Place, follow};

/// Satoshis of a block below height 150.
pub(crate) const SUBSIDY: u64 = 50_0000_0000;
/// First height at which regtest makes less than ord believes.
const HALVED: u64 = 150;
/// Blocks until a coinbase can be spent.
const MATURITY: u32 = 100;

/// A script that anybody can satisfy.
pub(crate) fn anybody() -> ScriptBuf {
    Builder::new().push_opcode(OP_TRUE).into_script()
}

/// So many satoshis for anybody.
pub(crate) fn output(value: u64) -> TxOut {
    TxOut { value: Amount::from_sat(value), script_pubkey: anybody().to_p2wsh() }
}

/// What spends an output that anybody can spend.
pub(crate) fn input(spent: OutPoint) -> TxIn {
    TxIn {
        previous_output: spent,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[anybody().to_bytes()]),
    }
}

/// A transaction with these inputs and outputs.
pub(crate) fn transaction(input: Vec<TxIn>, output: Vec<TxOut>) -> Transaction {
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input, output }
}

/// One chain, read by two who do not know each other.
pub(crate) struct World {
    // First: it reads from the node until it ends.
    pub(crate) ord: Ord,
    /// A world as the other suites know it, for whatever needs an Electrum server.
    pub(crate) node: Daemons,
}

impl World {
    /// Starts all three; `coins` coinbases, from block 1 on, can be spent.
    pub(crate) fn with_coins(coins: u32) -> Self {
        let node = Daemons::start().unwrap();
        let ord = Ord::start(node.bitcoind()).unwrap();
        let world = Self { ord, node };
        world.mine(coins + MATURITY - 1);
        world
    }

    /// Mines blocks with whatever waits; their rewards are anybody's.
    pub(crate) fn mine(&self, blocks: u32) {
        let payout = |value: Amount| vec![output(value.to_sat())];
        self.node.mine(blocks, &payout).unwrap();
    }

    /// Mines one block with whatever waits, and returns it.
    pub(crate) fn next_block(&self) -> Block {
        self.mine(1);
        self.node.block(self.node.height().unwrap()).unwrap()
    }

    /// The reward of the block at `height`.
    pub(crate) fn coinbase(&self, height: u32) -> OutPoint {
        OutPoint::new(self.node.block(height).unwrap().txdata[0].compute_txid(), 0)
    }

    /// Pays what these outputs hold, which anybody can spend, into outputs of these values; what is
    /// left is the fee. It waits for a block.
    pub(crate) fn pay(&self, spent: &[OutPoint], values: &[u64]) -> Transaction {
        let inputs = spent.iter().copied().map(input).collect();
        let tx = transaction(inputs, values.iter().copied().map(output).collect());
        self.send(&tx);
        tx
    }

    /// Hands in a transaction. It waits for a block.
    pub(crate) fn send(&self, tx: &Transaction) -> Txid {
        self.node.bitcoind().core().broadcast(tx).unwrap()
    }

    /// A transaction that the node knows.
    fn known(&self, txid: Txid) -> Transaction {
        let hex = self
            .node
            .bitcoind()
            .core()
            .call("getrawtransaction", &[serde_json::json!(txid)])
            .unwrap();
        bitcoin::consensus::encode::deserialize_hex(hex.as_str().unwrap()).unwrap()
    }

    /// What each input of a transaction spends.
    pub(crate) fn values(&self, tx: &Transaction) -> Vec<Amount> {
        let spent = tx.input.iter().map(|input| input.previous_output);
        spent.map(|at| self.known(at.txid).output[at.vout as usize].value).collect()
    }

    /// Where we say that a transaction moves the satoshi at `from`, which it spends.
    pub(crate) fn moved(&self, tx: &Transaction, from: Place) -> Moved {
        let spends = |input: &TxIn| input.previous_output == from.outpoint;
        let input = tx.input.iter().position(spends).unwrap();
        follow(tx, &self.values(tx), input, from.offset).unwrap()
    }

    /// Where we say that the satoshi at `from` is after a block whose transactions may spend it, one
    /// after the other; none if the block's finder left it unclaimed.
    pub(crate) fn after(&self, block: &Block, mut from: Place) -> Option<Place> {
        let mut fees = Amount::ZERO;
        let mut gone = None;
        for tx in &block.txdata[1..] {
            if tx.input.iter().any(|input| input.previous_output == from.outpoint) {
                match self.moved(tx, from) {
                    Moved::To(place) => from = place,
                    Moved::Fee { offset } => gone = Some(fees + offset),
                }
            }
            let paid: Amount = tx.output.iter().map(|out| out.value).sum();
            fees += self.values(tx).into_iter().sum::<Amount>() - paid;
        }
        let Some(offset) = gone else { return Some(from) };
        let height = block.bip34_block_height().unwrap();
        assert!(height < HALVED, "at height {height} ord is no judge of fees");
        // The finder's transaction spends the new satoshis, and behind them the fees in the block's order.
        let subsidy = Amount::from_sat(SUBSIDY);
        match follow(&block.txdata[0], &[subsidy + fees], 0, subsidy + offset).unwrap() {
            Moved::To(place) => Some(place),
            Moved::Fee { .. } => None,
        }
    }

    /// Returns when ord has read what the node has.
    pub(crate) fn settle(&self) {
        self.ord.settle(self.node.bitcoind().core().tip().unwrap()).unwrap();
    }

    /// The number that ord gives the satoshi at a place.
    pub(crate) fn sat_at(&self, place: Place) -> u64 {
        self.settle();
        self.ord
            .sat_at(place)
            .unwrap()
            .unwrap_or_else(|| panic!("ord knows no satoshi at {place:?}"))
    }

    /// ord agrees: the satoshi of this number is at this place, and nowhere else.
    #[track_caller]
    pub(crate) fn agree_on(&self, place: Place, sat: u64) {
        self.settle();
        assert_eq!(self.ord.sat_at(place).unwrap(), Some(sat), "at {place:?}");
        assert_eq!(self.ord.where_is(sat).unwrap(), Some(place), "satoshi {sat}");
    }
}
