//! The way to the issue: work before words, then k signatures.

use core::slice::from_ref;

use bitcoin::{FeeRate, OutPoint, TxOut};

use super::{Life, POSITION, RATE, SHARES, missing};
use crate::engine::issuing::{Issuing, Told};
use crate::error::Result;
use crate::flow::position::coins::issuer;
use crate::flow::position::dossier::Issue;
use crate::flow::position::proof::Stage;
use crate::flow::position::state;
use crate::flow::position::txs::{Funding, funding};
use crate::party::Seat;
use crate::rehearsal::people::VALIDATORS;
use crate::rehearsal::position as cast;
use crate::store::Store;
use crate::work::share::Share;

impl Life<'_> {
    /// Work first, then the issue.
    pub(super) fn issue(&mut self) -> Result<Issue> {
        self.chapter(
            "Work before words",
            "nothing is issued for a promise: the miner registers his address, proves a slice of work \
             for it, gets his reward lock, and proves a slice for that",
        );
        let words = self.dir.join("dossier");
        let (mut miner, mut validators) = (self.issuing(Seat::Miner)?, Vec::new());
        for place in 0..VALIDATORS {
            validators.push(self.issuing(Seat::Validator(place))?);
        }
        let statement = self.terms.reward.miner.record.statement()?;
        let proof = cast::miner(POSITION)?.sign_text(&statement)?;
        miner.say(state::Event::Enrolled { proof })?;
        self.note("miner proves that his payout address is his (BIP 322)")?;
        self.attest(&mut validators)?;
        miner.say(state::Event::Asked)?;
        for stage in Stage::BOTH {
            let shares = self.mine_stage(stage)?;
            let certificate = cast::certificate(&self.terms, stage, &shares)?;
            let count = certificate.shares.len();
            miner.say(match stage {
                Stage::Onboarding => state::Event::Onboarded(certificate),
                Stage::Binding => state::Event::Bound(certificate),
            })?;
            self.note(&format!("miner shows the {}: {count} shares", stage.name()))?;
            self.attest(&mut validators)?;
            // What k validators have seen opens the next step.
            self.attest(&mut validators)?;
        }
        self.chapter(
            "The issue",
            "the miner pays for it, validators sign: the seal is an output like any other, and its \
             first satoshi is the position",
        );
        let funding = self.pay_for_issue()?;
        self.elsewhere(1)?;
        miner.say(state::Event::Funded { funding, batch: Vec::new() })?;
        self.attest(&mut validators)?;
        self.elsewhere(1)?;
        let issue = miner.issue(false)?.ok_or_else(|| missing("issue", "in a block"))?;
        self.note(&format!("issued: the seal is {}", issue.seal()))?;
        self.note(&format!("its papers lie in a folder, the dossier: {}", words.display()))?;
        Ok(issue)
    }

    pub(super) fn issuing(&self, seat: Seat) -> Result<Issuing> {
        let store = Store::open(self.dir.join(format!("{}.sqlite", seat.slug())))?;
        let (chain, dossier) = (self.electrum()?, self.dir.join("dossier"));
        let terms = self.terms.clone();
        match seat {
            Seat::Validator(place) => {
                let signer = cast::validator(place, POSITION)?;
                Issuing::open(seat, terms, store, chain, signer, &dossier)?
                    .with_standing(cast::standing(place)?, self.world.sources()?)
            }
            _ => Issuing::open(seat, terms, store, chain, cast::miner(POSITION)?, &dossier),
        }
    }

    /// Each validator does what is his to do now.
    fn attest(&mut self, validators: &mut [Issuing]) -> Result<()> {
        for (place, validator) in (0u8..).zip(validators) {
            let seat = Seat::Validator(place);
            for told in validator.step()? {
                match told {
                    Told::Said(event) => self.note(&format!("{seat} says \"{}\"", event.kind()))?,
                    Told::Sent(txid) => self.note(&format!("{seat} sends {txid}"))?,
                    Told::Refused(name, error) => {
                        self.note(&format!("{seat} leaves {name}: {error}"))?;
                    }
                    Told::Heard(..) => {}
                }
            }
            self.world.settle()?;
        }
        Ok(())
    }

    /// The shares of a stage's slice, once it can be judged.
    fn mine_stage(&mut self, stage: Stage) -> Result<Vec<Share>> {
        self.elsewhere_until(stage.first(&self.terms).saturating_sub(1))?;
        let mut all = Vec::new();
        for _ in 0..self.terms.delivery.slice {
            let template = self.world.template()?;
            let outputs = cast::payouts(from_ref(&self.terms), stage, template.reward)?;
            let (block, shares) = cast::find(&self.terms, &template, &outputs, 1, SHARES)?;
            self.world.submit(&block)?;
            self.mined(template.height, "the miner");
            all.extend(shares);
        }
        self.elsewhere_until(stage.judged_from(&self.terms))?;
        Ok(all)
    }

    /// One payment to the issuer's script, and a mark beside it to the miner's registered address.
    fn pay_for_issue(&mut self) -> Result<Funding> {
        let value = funding(from_ref(&self.terms), RATE)?;
        let issuer = TxOut { value, script_pubkey: issuer(&self.terms)?.script_pubkey };
        let script_pubkey = self.terms.reward.miner.payout_script();
        let mark = TxOut { value: script_pubkey.minimal_non_dust(), script_pubkey };
        let rate = FeeRate::from_sat_per_vb(RATE).ok_or_else(|| missing("fee rate", "a rate"))?;
        let tx = self.miner.trader.wallet()?.fund(&[issuer, mark], rate)?;
        self.miner.trader.chain().electrum().broadcast(&tx)?;
        self.world.settle()?;
        self.note(&format!("miner pays {} sat to the issuer's script", value.to_sat()))?;
        Ok(Funding::new(OutPoint::new(tx.compute_txid(), 0), value))
    }
}
