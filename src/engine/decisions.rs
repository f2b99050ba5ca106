//! Decisions: what a person does of his own accord. Everything else follows from the rules.

use bitcoin::consensus::serialize;
use bitcoin::{Amount, FeeRate, Transaction, TxOut};

use crate::engine::reorg::{Payment, proves};
use crate::engine::{Engine, FUNDING, POSSIBLE, PROOF, Report, Sent, WALLET, sent};
use crate::error::{Culprit, Error, Result};
use crate::facts::Facts;
use crate::flow::dispute::state::Opening;
use crate::flow::escrow::coins::Progress;
use crate::flow::escrow::outcome::proof_script;
use crate::flow::resale::terms::Request;
use crate::flow::reward::state::{SweepAsk, sweepable};
use crate::flow::reward::txs::{SweepPath, sweep};
use crate::flow::{Event, dispute, escrow, journal, resale, reward};
use crate::party::Seat;
use crate::policy::sweep::MOST;
use crate::script::lock::Path;
use crate::tx::draft::Draft;
use crate::tx::signed::Signed;
use crate::wallet::Balance;
use crate::work::certificate::Certificate;
use crate::work::evidence::Evidence;

impl Engine {
    /// The wallet's balance, after reading the chain.
    pub fn balance(&mut self) -> Result<Balance> {
        let wallet = self.wallet.as_mut().ok_or_else(no_wallet)?;
        wallet.sync(&mut self.chain, &mut self.store)?;
        Ok(wallet.balance())
    }

    /// The sale: pays the price into the escrow from the wallet. The signed transaction and what
    /// the wallet spends for it are committed together, then it is broadcast; a step after a crash
    /// broadcasts it again.
    pub fn fund_escrow(&mut self, sat_per_vb: u64) -> Result<Report> {
        self.contract.terms().check_rate(sat_per_vb, self.seat.into())?;
        if self.contract.terms().tenure.is_some() {
            let expected =
                "a contract without a seal: with one, price and seal change hands at once";
            return Err(POSSIBLE.misused("sale", expected, "one of an issued position"));
        }
        let facts = self.facts()?;
        let begin = self.contract.terms().calendar().begin();
        if facts.tip() >= begin {
            let expected = format_args!("a tip below the first height that is paid for, {begin}");
            return Err(POSSIBLE.misused("sale", expected, facts.tip()));
        }
        if self.payments.iter().any(|payment| payment.kind == FUNDING)
            || !matches!(self.contract.locked().progress(&facts)?, Progress::Unfunded)
        {
            return Err(POSSIBLE.misused(
                "sale",
                "an escrow that is not funded yet",
                "one that is",
            ));
        }
        let output = escrow::coins::funding(self.contract.terms())?;
        let (tx, fee) = self.pay(FUNDING, "sale", &[output], sat_per_vb)?;
        self.send_payment("sale", tx, fee, facts.tip())
    }

    /// Proves a slice's certificate by its digest in a transaction, where validators are silent: an
    /// `OP_RETURN`, and beside it a payment to the miner himself by which everybody finds it. The
    /// certificate must have been said.
    pub fn prove_slice(&mut self, slice: u32, sat_per_vb: u64) -> Result<Report> {
        let facts = self.facts()?;
        let mut said = self.contract.evidence().digests();
        let mine = said.rfind(|(_, sealed)| sealed.certificate.slice == slice);
        drop(said);
        let digest = mine.map(|(digest, _)| digest).ok_or_else(|| {
            POSSIBLE.misused("proof of a slice", "a certificate that was said", "none")
        })?;
        let until = self.contract.terms().calendar().proofs_until(slice);
        if until.is_none_or(|until| facts.tip() >= until) {
            let until = until.map_or("none".into(), |until| format!("{until}"));
            let expected = format!("a tip below height {until}, by which a block must hold it");
            return Err(POSSIBLE.misused("proof of a slice", expected, facts.tip()));
        }
        let payout = self.contract.terms().reward.miner.payout_script();
        if self.payments.iter().any(|payment| proves(&payment.tx, digest))
            || facts.transactions.values().any(|seen| proves(&seen.tx, digest))
        {
            let found = "one that is sent again until a block holds it";
            return Err(POSSIBLE.misused("proof of a slice", "no proof of it yet", found));
        }
        let outputs = [
            TxOut { value: Amount::ZERO, script_pubkey: proof_script(digest) },
            TxOut { value: payout.minimal_non_dust(), script_pubkey: payout },
        ];
        let (tx, fee) = self.pay(PROOF, "proof of a slice", &outputs, sat_per_vb)?;
        self.send_payment("proof", tx, fee, facts.tip())
    }

    fn send_payment(
        &mut self,
        title: &'static str,
        tx: Transaction,
        fee: Amount,
        height: u32,
    ) -> Result<Report> {
        let sent = Sent { title, tx, fee, path: Path::Key, signers: vec![self.seat], height };
        self.send(&sent).map(|()| Report::Sent(sent))
    }

    /// A validator whose store is an old copy takes over what the others hold of his journal, with
    /// everything that it binds him to. Refused where they hold nothing that he lacks, or where he
    /// is bound twice: then he never signs in this contract again. Answers with the number of entries.
    pub fn restore_journal(&mut self) -> Result<usize> {
        let Seat::Validator(place) = self.seat else {
            return Err(POSSIBLE.misused("journal", "a validator", self.seat));
        };
        let journals = self.contract.journals();
        let entries = journals.restorable(place)?;
        let dropped = journals.to_drop(place, &entries);
        let taken = entries.len();
        self.say(Event::Journal(journal::Event::Restored { entries, dropped }))?;
        Ok(taken)
    }

    /// The miner asks that the next settlement closes the contract.
    pub fn ask_to_close(&mut self) -> Result<()> {
        self.say(Event::Reward(reward::state::Event::CloseAsked))
    }

    /// Signs a payment of the wallet's, and commits it together with what the wallet spends for it.
    fn pay(
        &mut self,
        kind: &'static str,
        place: &str,
        outputs: &[TxOut],
        sat_per_vb: u64,
    ) -> Result<(Transaction, Amount)> {
        let wallet = self.wallet.as_mut().ok_or_else(no_wallet)?;
        wallet.sync(&mut self.chain, &mut self.store)?;
        let rate = FeeRate::from_sat_per_vb(sat_per_vb)
            .ok_or_else(|| POSSIBLE.misused(place, "a fee rate", sat_per_vb))?;
        let spent = wallet.coins();
        let tx = wallet.fund(outputs, rate)?;
        let changes = wallet.take_staged();
        let events = [(kind, serialize(&tx))];
        if let Err(error) = self.store.append(&self.contract.id().0, &events, changes.as_ref()) {
            wallet.release(&tx);
            if let Some(changes) = changes {
                wallet.restage(changes);
            }
            return Err(error);
        }
        let inputs = tx
            .input
            .iter()
            .filter_map(|input| spent.iter().find(|coin| coin.outpoint == input.previous_output));
        self.payments.push(Payment { kind, tx: tx.clone() });
        let paid_in = crate::amount::sum(inputs.map(|coin| coin.txout.value), place)?;
        let paid_out = crate::amount::sum(tx.output.iter().map(|out| out.value), place)?;
        Ok((tx, paid_in.checked_sub(paid_out).unwrap_or(Amount::ZERO)))
    }

    /// The miner seals a slice.
    pub fn certify(&mut self, certificate: Certificate) -> Result<()> {
        self.say(Event::Reward(reward::state::Event::Certified(certificate)))
    }

    /// Says what was proven under the contract before, as far as this one pays for it and nobody has
    /// said it here; answers with the number of words. One that cannot be said now keeps no other
    /// waiting: the first trouble is told when the rest is said.
    pub fn carry(&mut self, before: &Evidence) -> Result<usize> {
        let facts = self.facts()?;
        let words = self.contract.reward().to_carry(self.contract.terms(), &facts, before);
        let count = words.len();
        let mut trouble = Ok(());
        for word in words {
            match self.say(Event::Reward(word)) {
                Err(error @ (Error::Broken(_) | Error::Storage(_))) => return Err(error),
                outcome => trouble = trouble.and(outcome),
            }
        }
        trouble.map(|()| count)
    }

    /// Publishes the last state that the holder has signed: the miner's own signature under it.
    pub fn publish_state(&mut self) -> Result<Vec<Report>> {
        let facts = self.facts()?;
        let coin = self.escrow_coin(&facts)?;
        let terms = self.contract.locked();
        let rebuild = |ask: &escrow::state::Ask| {
            escrow::state::draft(terms, &facts, ask, Path::Agreed, Culprit::Miner)
        };
        let mut states = self.contract.escrow().states(coin.outpoint).into_iter();
        let last = states.find_map(|(ask, his)| {
            Signed::new(rebuild(&ask).ok()?).add(Seat::Holder, his).ok().map(|()| ask)
        });
        let ask = last.ok_or_else(|| {
            POSSIBLE.misused("publishing a state", "one that the holder signed", "none")
        })?;
        let draft = rebuild(&ask)?;
        let signatures = self.sign(draft.spends(), &|input| draft.sighash(input))?;
        self.say(Event::Escrow(escrow::state::Event::Signed { ask, signatures }))?;
        self.step()
    }

    /// Opens a dispute about `period` (0-based) on the escrow's present output.
    pub fn open_dispute(&mut self, period: u32, sat_per_vb: u64) -> Result<()> {
        let facts = self.facts()?;
        let outpoint = self.escrow_coin(&facts)?.outpoint;
        let opening = Opening { requester: self.seat, outpoint, period, sat_per_vb };
        self.say(Event::Dispute(dispute::state::Event::Opened(opening)))
    }

    /// Asks validators to sign a resale in the miner's place. With k signatures of theirs it is finished,
    /// and whoever has them sends it.
    pub fn ask_resale(&mut self, request: Request) -> Result<()> {
        self.say(Event::Resale(resale::state::Event::Asked(Box::new(request))))
    }

    /// Asks for a sweep of every reward that can be spent now.
    pub fn ask_sweep(&mut self, path: SweepPath, sat_per_vb: u64) -> Result<()> {
        let facts = self.facts()?;
        let rewards = sweepable(self.contract.terms(), &facts)?;
        // The oldest first; what is left over is asked for once these are swept.
        let rewards = rewards.iter().take(MOST).map(|coin| coin.outpoint).collect();
        let ask = SweepAsk { path, rewards, sat_per_vb };
        self.say(Event::Reward(reward::state::Event::SweepAsked(ask)))
    }

    /// Takes the escrow alone, once the delays of the seat's exit are over.
    pub fn exit_escrow(&mut self, sat_per_vb: u64) -> Result<Report> {
        let facts = self.facts()?;
        let coin = self.escrow_coin(&facts)?;
        let draft = escrow::txs::exit(self.contract.terms(), &coin, self.seat, sat_per_vb)?;
        self.finish_alone(draft, &facts)
    }

    /// Takes every ripe reward alone, once the holder's delay is over.
    pub fn exit_rewards(&mut self, sat_per_vb: u64) -> Result<Report> {
        let facts = self.facts()?;
        let terms = self.contract.terms();
        let delay = u32::from(terms.reward.exit_delay);
        let mut rewards = sweepable(terms, &facts)?;
        rewards.retain(|coin| coin.depth(facts.tip()) >= delay);
        let draft = sweep(&terms.reward, SweepPath::HolderExit, &rewards, sat_per_vb)?;
        self.finish_alone(draft, &facts)
    }

    fn finish_alone(&mut self, draft: Draft, facts: &Facts) -> Result<Report> {
        let signatures = self.sign(draft.spends(), &|input| draft.sighash(input))?;
        let mut signed = Signed::new(draft);
        signed.add(self.seat, &signatures)?;
        let sent = sent(signed.finish()?, facts.tip());
        self.send(&sent).map(|()| Report::Sent(sent))
    }
}

fn no_wallet() -> Error {
    WALLET.misused("engine", "a wallet", "none")
}
