//! The people of a position, and its life as transactions that they signed: on a chain of its own kind
//! in memory, or handed to a node.
//!
//! Everything is made from the rehearsal's seeds, and repeats to the byte.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::absolute::LockTime;
use bitcoin::constants::genesis_block;
use bitcoin::hashes::Hash;
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, Network, OutPoint, ScriptBuf, Sequence, TapSighash, TapSighashType, Transaction, TxIn,
    TxOut, Txid, Witness,
};
use hashmix::error::Result;
use hashmix::facts::{Facts, Seen};
use hashmix::flow::escrow::coins as escrow;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::position::coins::{POSTAGE, issued_seal, issuer, transferred_seal};
use hashmix::flow::position::dossier::{Dossier, Issue, Sale, Transfer};
use hashmix::flow::position::terms::{POSITION_FORMAT, PositionTerms};
use hashmix::flow::position::title::{Known, Need, Title, Traced, trace};
use hashmix::flow::position::txs::{self, Funding};
use hashmix::flow::reward;
use hashmix::headers::Headers;
use hashmix::id::PositionId;
use hashmix::party::{Federation, Record, Role, Seat};
use hashmix::rehearsal::people::{self, Payouts, signer_of};
use hashmix::script::lock::Path;
use hashmix::script::seal::SealLock;
use hashmix::script::template::Variant;
use hashmix::sign::record::record;
use hashmix::sign::software::{LeafAccount, SoftwareSigner};
use hashmix::tx::draft::Draft;
use hashmix::tx::signed::Signed;
use hashmix::work::agreement::Earlier;

/// The name that the records of the position are made for.
pub(crate) const NAME: &str = "farm position 1";
/// The name that the federation's standing records are made for.
pub(crate) const STANDING: &str = "standing federation";
/// Where the term begins.
pub(crate) const START: u32 = 144;

fn address(name: &str) -> bitcoin::Address {
    signer_of(&format!("paid {name}"), 0).unwrap().address()
}

fn federation(who: &str, number: u32, contract: &str) -> Federation {
    let payout = address(who);
    let one = |place: u8| {
        let signer = signer_of(&format!("{who} validator {place}"), number).unwrap();
        record(
            &signer,
            Role::Validator,
            Network::Regtest,
            contract,
            payout.clone().into_unchecked(),
        )
        .unwrap()
    };
    Federation {
        threshold: 2,
        validators: (0..3).map(one).collect(),
        payout: payout.clone().into_unchecked(),
    }
}

/// A signer of the rehearsal's federation: 0 signs issues, 1 receipts and rulings.
pub(crate) fn validator(who: &str, place: u8, number: u32) -> SoftwareSigner {
    signer_of(&format!("{who} validator {place}"), number).unwrap()
}

/// Whoever may come to hold the seal: 0 is the miner by his second record, others are buyers.
pub(crate) fn holder(number: u32) -> SoftwareSigner {
    match number {
        0 => signer_of("position miner", 1).unwrap(),
        other => signer_of(&format!("position buyer {other}"), 0).unwrap(),
    }
}

/// The record of a holder.
pub(crate) fn holder_record(number: u32) -> Record {
    let payout = address(&format!("holder {number}")).into_unchecked();
    record(&holder(number), Role::Holder, Network::Regtest, NAME, payout).unwrap()
}

/// The miner's record for one of his positions.
pub(crate) fn miner_record(number: u32) -> Record {
    let signer = match number {
        0 => signer_of("position miner", 0).unwrap(),
        other => signer_of(&format!("position miner of {other}"), 0).unwrap(),
    };
    let paid = address("miner").into_unchecked();
    record(&signer, Role::Miner, Network::Regtest, NAME, paid).unwrap()
}

/// What the miner promises, in the numbers of the rehearsal's first deal.
pub(crate) fn terms(who: &str) -> PositionTerms {
    let payouts = Payouts { miner: address("a"), holder: address("b"), federation: address("c") };
    let deal = people::terms(Variant::Musig, START, &payouts).unwrap();
    let mut reward = deal.reward.clone();
    reward.contract = NAME.to_owned();
    reward.miner = miner_record(0);
    reward.holder = holder_record(0);
    reward.federation = federation(who, 1, NAME);
    let terms = PositionTerms {
        format: POSITION_FORMAT.to_owned(),
        profile: deal.profile,
        issuer: federation(who, 0, STANDING),
        reward,
        efficiency: 1_850,
        onboarding: START - 36,
        binding: START - 24,
        delivery: deal.delivery,
        delays: deal.delays,
        fees: deal.fees,
    };
    terms.check().unwrap();
    terms
}

/// The script that everybody may spend: coins of which nobody cares whose they are.
pub(crate) fn anybody() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&open_script().wscript_hash())
}

fn open_script() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

pub(crate) fn coin(sat: u64, script_pubkey: ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(sat), script_pubkey }
}

/// A transaction without signatures; coins of anybody are opened at once.
pub(crate) fn transaction(inputs: &[(OutPoint, TxOut)], output: Vec<TxOut>) -> Transaction {
    let open = anybody();
    let input = inputs.iter().map(|(outpoint, spent)| TxIn {
        previous_output: *outpoint,
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: match spent.script_pubkey == open {
            true => Witness::from_slice(&[open_script().to_bytes()]),
            false => Witness::new(),
        },
        ..TxIn::default()
    });
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: input.collect(), output }
}

fn sighash(
    tx: &Transaction,
    spent: &[TxOut],
    input: usize,
    path: Option<bitcoin::TapLeafHash>,
) -> TapSighash {
    let mut cache = SighashCache::new(tx);
    let all = Prevouts::All(spent);
    let sort = TapSighashType::Default;
    match path {
        None => cache.taproot_key_spend_signature_hash(input, &all, sort).unwrap(),
        Some(leaf) => cache.taproot_script_spend_signature_hash(input, &all, leaf, sort).unwrap(),
    }
}

/// Signs an issue with two of the federation's standing records.
pub(crate) fn sign_issue(draft: Draft, who: &str) -> Transaction {
    let mut signed = Signed::new(draft);
    for place in [0, 2] {
        let seat = Seat::Validator(place);
        let spend = &signed.draft().spends()[0];
        let leaf = spend.lock.leaf(Path::Federation).unwrap();
        let steps = &leaf.keys.iter().find(|key| key.seat == seat).unwrap().steps;
        let message = TapSighash::from_byte_array(signed.draft().sighash(0).unwrap());
        let signer = validator(who, place, 0);
        let (_, signature) = signer.sign_leaf(LeafAccount::Leaf, steps, message).unwrap();
        signed.add(seat, &[signature]).unwrap();
    }
    signed.finish().unwrap().tx
}

/// Where the seal is and who can spend it.
#[derive(Clone)]
pub(crate) struct Sealed {
    outpoint: OutPoint,
    lock: SealLock,
    who: u32,
}

/// The escrow of the contract in force.
#[derive(Clone)]
pub(crate) struct Open {
    pub(crate) terms: EscrowTerms,
    pub(crate) outpoint: OutPoint,
    pub(crate) index: u32,
    pub(crate) who: u32,
}

/// A position's life.
#[derive(Clone)]
pub(crate) struct Story {
    pub(crate) terms: PositionTerms,
    pub(crate) issue: Issue,
    pub(crate) transfers: Vec<Transfer>,
    /// Each with the height of its block.
    pub(crate) txs: Vec<(Transaction, Option<u32>)>,
    pub(crate) federation: Option<hashmix::id::RecordId>,
    pub(crate) sealed: Sealed,
    pub(crate) open: Option<Open>,
    pub(crate) coins: Vec<OutPoint>,
    /// Height of the next transaction.
    pub(crate) height: u32,
    pub(crate) moves: u32,
}

/// What each of anybody's coins holds.
const COIN: u64 = 100_000_000;
/// Fee of each transaction; generous.
const FEE: u64 = 10_000;

impl Story {
    /// A position issued alone, out of a coin of anybody's.
    pub(crate) fn issued(who: &str, source: OutPoint, value: Amount) -> Self {
        Self::batch(who, source, value, vec![terms(who)], 0)
    }

    /// A position issued with others, at a place.
    pub(crate) fn batch(
        who: &str,
        source: OutPoint,
        value: Amount,
        batch: Vec<PositionTerms>,
        place: u32,
    ) -> Self {
        let terms = batch[place as usize].clone();
        let height = 110;
        let funding = txs::funding(&batch, terms.fees.floor).unwrap();
        let lock = issuer(&terms).unwrap();
        let coins = 12u32;
        let mut outputs = vec![TxOut { value: funding, script_pubkey: lock.script_pubkey }];
        outputs.extend((0..coins).map(|_| coin(COIN, anybody())));
        let rest = value.to_sat() - funding.to_sat() - u64::from(coins) * COIN - FEE;
        outputs.push(coin(rest, anybody()));
        let mint = transaction(&[(source, TxOut { value, script_pubkey: anybody() })], outputs);
        let minted = mint.compute_txid();
        let funding = Funding::new(OutPoint::new(minted, 0), funding);
        let issue_tx = sign_issue(txs::issue(&batch, funding).unwrap(), who);
        let issue =
            Issue::among(&terms, &batch, issue_tx.compute_txid(), funding).unwrap().unwrap();
        let sealed = Sealed { outpoint: issue.seal(), lock: issued_seal(&terms).unwrap(), who: 0 };
        Self {
            terms,
            issue,
            transfers: Vec::new(),
            txs: vec![(mint, Some(height)), (issue_tx, Some(height))],
            federation: None,
            sealed,
            open: None,
            coins: (1..=coins).map(|vout| OutPoint::new(minted, vout)).collect(),
            height: height + 1,
            moves: 0,
        }
    }

    /// The position in memory, where nobody asks where the first coin came from.
    pub(crate) fn in_memory(who: &str) -> Self {
        let source = OutPoint::new(Txid::from_byte_array([7; 32]), 0);
        Self::issued(who, source, Amount::from_sat(50 * COIN))
    }

    pub(crate) fn position(&self) -> PositionId {
        self.issue.position()
    }

    pub(crate) fn spare(&mut self) -> (OutPoint, TxOut) {
        (self.coins.remove(0), coin(COIN, anybody()))
    }

    pub(crate) fn seal(&self) -> (OutPoint, TxOut) {
        let script_pubkey = self.sealed.lock.script_pubkey.clone();
        (self.sealed.outpoint, TxOut { value: POSTAGE, script_pubkey })
    }

    /// The number of the next move.
    pub(crate) fn number(&self) -> u32 {
        self.moves + 1
    }

    /// The next transfer, to a holder with what he buys.
    pub(crate) fn transfer(&self, to: u32, sale: Option<Sale>) -> Transfer {
        Transfer::new(self.position(), self.number(), holder_record(to), sale)
    }

    /// Signs the seal in `input`, and keeps the transaction.
    pub(crate) fn send(&mut self, mut tx: Transaction, spent: &[(OutPoint, TxOut)]) -> Transaction {
        let outputs: Vec<TxOut> = spent.iter().map(|(_, out)| out.clone()).collect();
        for (input, (outpoint, _)) in spent.iter().enumerate() {
            if *outpoint == self.sealed.outpoint {
                let message = sighash(&tx, &outputs, input, None);
                let signature =
                    holder(self.sealed.who).sign_seal(&self.sealed.lock, message).unwrap();
                tx.input[input].witness = Witness::p2tr_key_spend(&bitcoin::taproot::Signature {
                    signature,
                    sighash_type: TapSighashType::Default,
                });
            }
            if let Some(open) = self.open.clone().filter(|open| open.outpoint == *outpoint) {
                tx.input[input].witness = escrow_witness(&open, &tx, &outputs, input);
            }
        }
        self.txs.push((tx.clone(), Some(self.height)));
        self.height += 1;
        tx
    }

    /// Moves the seal by a transaction of any shape; what it opens comes with it.
    pub(crate) fn moves(
        &mut self,
        inputs: &[(OutPoint, TxOut)],
        outputs: Vec<TxOut>,
        to: Option<(u32, Transfer)>,
    ) -> Transaction {
        let tx = self.send(transaction(inputs, outputs), inputs);
        self.moves += 1;
        if let Some((who, transfer)) = to {
            let sale = transfer.contract(&self.terms).unwrap().map(|terms| terms.id().unwrap());
            let record = &transfer.record;
            let lock = transferred_seal(transfer.position, transfer.number, record, sale).unwrap();
            let vout = tx
                .output
                .iter()
                .position(|out| out.script_pubkey == lock.script_pubkey)
                .expect("an output that the transfer opens");
            let outpoint = OutPoint::new(tx.compute_txid(), vout as u32);
            self.sealed = Sealed { outpoint, lock, who };
            self.transfers.push(transfer);
        }
        tx
    }

    /// Hands the seal on, with nothing sold.
    pub(crate) fn hand_to(&mut self, to: u32) -> Transaction {
        let transfer = self.transfer(to, None);
        let inputs = [self.seal(), self.spare()];
        let script_pubkey = transfer.seal(&self.terms).unwrap();
        let outputs = vec![TxOut { value: POSTAGE, script_pubkey }, coin(COIN - FEE, anybody())];
        self.moves(&inputs, outputs, Some((to, transfer)))
    }

    /// Moves the seal to whoever holds it, under the contract that he has.
    pub(crate) fn withdraw(&mut self) -> Transaction {
        let dossier = self.dossier().unwrap();
        let sale = dossier.openings().last().and_then(|opening| opening.sale);
        let record = match dossier.openings().last() {
            Some(opening) => opening.transfer.record.clone(),
            None => self.terms.reward.holder.clone(),
        };
        let transfer = Transfer::new(self.position(), self.number(), record, None);
        let record = &transfer.record;
        let lock = transferred_seal(transfer.position, transfer.number, record, sale).unwrap();
        let inputs = [self.seal(), self.spare()];
        let script_pubkey = lock.script_pubkey.clone();
        let outputs = vec![TxOut { value: POSTAGE, script_pubkey }, coin(COIN - FEE, anybody())];
        let tx = self.moves(&inputs, outputs, None);
        let outpoint = OutPoint::new(tx.compute_txid(), 0);
        self.sealed = Sealed { outpoint, lock, who: self.sealed.who };
        self.transfers.push(transfer);
        tx
    }

    /// Sells the position to a buyer: the price into his contract's escrow.
    pub(crate) fn sell(&mut self, to: u32, price: u64, first: u32) -> Transaction {
        let sale = Sale { price: Amount::from_sat(price), first, earlier: Vec::new() };
        let transfer = self.transfer(to, Some(sale));
        let contract = transfer.contract(&self.terms).unwrap().unwrap();
        let inputs = [self.seal(), self.spare()];
        let script_pubkey = transfer.seal(&self.terms).unwrap();
        let outputs = vec![
            TxOut { value: POSTAGE, script_pubkey },
            escrow::funding(&contract).unwrap(),
            coin(COIN - price - FEE, anybody()),
        ];
        let tx = self.moves(&inputs, outputs, Some((to, transfer)));
        self.open = Some(Open {
            terms: contract,
            outpoint: OutPoint::new(tx.compute_txid(), 1),
            index: 0,
            who: to,
        });
        tx
    }

    /// The reward lock of the contract in force.
    pub(crate) fn lock(&self) -> ScriptBuf {
        let open = self.open.as_ref().expect("a contract in force");
        reward::coins::lock(&open.terms.reward).unwrap().script_pubkey
    }

    /// Sells it again: the escrow's rest into the new contract, the price to the seller.
    pub(crate) fn resell(&mut self, to: u32, sale: Sale) -> Transaction {
        let old = self.open.clone().expect("a contract in force");
        let held = escrow_output(&old, &self.txs);
        let transfer = self.transfer(to, Some(sale.clone()));
        let contract = transfer.contract(&self.terms).unwrap().unwrap();
        let inputs = [self.seal(), (old.outpoint, held.clone()), self.spare()];
        let script_pubkey = transfer.seal(&self.terms).unwrap();
        let due = held.value.checked_sub(sale.price).expect("a price within the escrow");
        let outputs = vec![
            TxOut { value: POSTAGE, script_pubkey },
            escrow::funding(&contract).unwrap(),
            TxOut { value: due, script_pubkey: self.terms.reward.miner.payout_script() },
            coin(COIN - FEE, anybody()),
        ];
        let tx = self.moves(&inputs, outputs, Some((to, transfer)));
        self.open = Some(Open {
            terms: contract,
            outpoint: OutPoint::new(tx.compute_txid(), 1),
            index: 0,
            who: to,
        });
        tx
    }

    /// The usual resale: the lock changes with a period, and the old one is named until then.
    pub(crate) fn resale(&self, price: u64, first: u32, until: u32) -> Sale {
        let earlier = vec![Earlier { until, lock: self.lock() }];
        Sale { price: Amount::from_sat(price), first, earlier }
    }

    /// A settlement of the escrow in force, as far as the chain sees it.
    pub(crate) fn settle(&mut self, due: u64) -> Transaction {
        let old = self.open.clone().expect("a contract in force");
        let held = escrow_output(&old, &self.txs);
        let next = escrow::lock(&old.terms, old.index + 1).unwrap().script_pubkey;
        let outputs = vec![
            TxOut {
                value: Amount::from_sat(due - FEE),
                script_pubkey: self.terms.reward.miner.payout_script(),
            },
            TxOut { value: held.value - Amount::from_sat(due), script_pubkey: next },
        ];
        let inputs = [(old.outpoint, held)];
        let tx = self.send(transaction(&inputs, outputs), &inputs);
        let outpoint = OutPoint::new(tx.compute_txid(), 1);
        self.open = Some(Open { outpoint, index: old.index + 1, ..old });
        tx
    }

    /// The documents, checked.
    pub(crate) fn dossier(&self) -> Result<Dossier> {
        Dossier::new(self.terms.clone(), self.issue.clone(), self.transfers.clone())
    }

    /// The title, as a verifier comes to know it who asks for what is needed and no more; refused
    /// where a buyer would refuse it.
    pub(crate) fn bought(&self) -> Result<Title> {
        let dossier = self.dossier()?;
        if let Some(pinned) = self.federation {
            hashmix::flow::position::title::Issued::check_federation(&self.terms, pinned)?;
        }
        let title = follow(&dossier, &self.txs)?;
        title.check()?;
        Ok(title)
    }

    /// The title, whatever a buyer would say.
    pub(crate) fn title(&self) -> Title {
        follow(&self.dossier().unwrap(), &self.txs).unwrap()
    }
}

fn escrow_output(open: &Open, txs: &[(Transaction, Option<u32>)]) -> TxOut {
    let made = txs.iter().find(|(tx, _)| tx.compute_txid() == open.outpoint.txid).unwrap();
    made.0.output[open.outpoint.vout as usize].clone()
}

fn escrow_witness(open: &Open, tx: &Transaction, spent: &[TxOut], input: usize) -> Witness {
    let lock = escrow::lock(&open.terms, open.index).unwrap();
    let leaf = lock.leaf(Path::Agreed).unwrap();
    let message = sighash(tx, spent, input, Some(leaf.hash()));
    let signatures: Vec<_> = leaf
        .keys
        .iter()
        .map(|key| {
            let signer = match key.seat {
                Seat::Miner => signer_of("position miner", 0).unwrap(),
                _ => holder(open.who),
            };
            signer.sign_leaf(LeafAccount::Leaf, &key.steps, message).unwrap()
        })
        .collect();
    lock.script_witness(Path::Agreed, &signatures).unwrap()
}

/// What an honest server answers about some scripts.
pub(crate) fn histories(
    scripts: &BTreeSet<ScriptBuf>,
    txs: &[(Transaction, Option<u32>)],
) -> Facts {
    let by_id: BTreeMap<Txid, &Transaction> =
        txs.iter().map(|(tx, _)| (tx.compute_txid(), tx)).collect();
    let touches = |tx: &Transaction| {
        let pays = tx.output.iter().any(|out| scripts.contains(&out.script_pubkey));
        pays || tx.input.iter().any(|input| {
            let spent = input.previous_output;
            let made = by_id.get(&spent.txid).and_then(|tx| tx.output.get(spent.vout as usize));
            made.is_some_and(|out| scripts.contains(&out.script_pubkey))
        })
    };
    let transactions = txs
        .iter()
        .filter(|(tx, _)| touches(tx))
        .map(|(tx, height)| (tx.compute_txid(), Seen { tx: tx.clone(), height: *height }))
        .collect();
    let genesis = genesis_block(Network::Regtest).header;
    Facts { headers: Headers::new(Network::Regtest, 0, vec![genesis]).unwrap(), transactions }
}

/// Follows the seal as an adapter does.
pub(crate) fn follow(dossier: &Dossier, txs: &[(Transaction, Option<u32>)]) -> Result<Title> {
    answered(dossier.scripts()?, txs, |known| {
        Ok(match trace(dossier, known)? {
            Traced::Known(title) => Ok(*title),
            Traced::Needs(needs) => Err(needs),
        })
    })
}

/// Asks for what an answer needs, one after the other.
pub(crate) fn answered<T>(
    scripts: Vec<ScriptBuf>,
    txs: &[(Transaction, Option<u32>)],
    answer: impl Fn(Known<'_>) -> Result<Result<T, Vec<Need>>>,
) -> Result<T> {
    let mut scripts: BTreeSet<ScriptBuf> = scripts.into_iter().collect();
    let mut others: BTreeMap<Txid, Transaction> = BTreeMap::new();
    for _ in 0..10_000 {
        let facts = histories(&scripts, txs);
        let needs = match answer(Known { facts: &facts, scripts: &scripts, others: &others })? {
            Ok(found) => return Ok(found),
            Err(needs) => needs,
        };
        let before = (scripts.len(), others.len());
        for need in needs {
            match need {
                Need::History(script) => drop(scripts.insert(script)),
                Need::Transaction(txid) => {
                    let found = txs.iter().find(|(tx, _)| tx.compute_txid() == txid);
                    others.insert(txid, found.expect("a transaction that exists").0.clone());
                }
            }
        }
        assert_ne!(before, (scripts.len(), others.len()), "asked for the same twice");
    }
    panic!("no end");
}
