//! Step 2 for a resale while the miner is silent: is it the holder's own sale of this contract, agreed by
//! the buyer, with the miner's notice kept, after he was heard, and is he paid what the evidence says?
//! Rebuilds the exchange.

use bitcoin::{Amount, ScriptBuf};

use super::{Case, Reasoned, because};
use crate::error::{Culprit, Error, Result, Rule};
use crate::flow::escrow::coins::Progress;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::escrow::txs::Outcome;
use crate::flow::resale::terms::{Request, heard_from};
use crate::flow::resale::txs::{bargain, consented};
use crate::flow::sale::terms::{Guard, Resale};
use crate::id::WordId;
use crate::message;
use crate::tx::exchange::Exchange;

/// A signature answers a request.
pub const ASKED: Rule = Rule::new(
    "policy-resale-asked",
    "a validator's signature of a resale answers a request that was admitted here",
    "send the request first",
);
/// It is left to validators.
pub const GUARD: Rule = Rule::new(
    "policy-resale-guard",
    "a validator signs a resale whose offer names the validators as guard of the miner's notice",
    "let the miner sign, or offer again with the validators as guard",
);
/// It is of our contract.
pub const CONTRACT: Rule = Rule::new(
    "policy-resale-contract",
    "a resale takes over the contract in which it was asked for",
    "ask in the contract under which the seal is held",
);
/// The holder sells.
pub const SELLER: Rule = Rule::new(
    "policy-resale-seller",
    "the offer is the present holder's: his record, the seal as it came with this contract or later, signed by him",
    "let the holder of this contract offer",
);
/// The present output is spent.
pub const PRESENT: Rule = Rule::new(
    "policy-resale-present",
    "a resale spends the escrow's present output, which lies in a block and holds what the offer says",
    "synchronise, and offer again with the present output",
);
/// Offers end.
pub const EXPIRED: Rule = Rule::new(
    "policy-resale-expired",
    "a resale is signed while the next block is one in which its offer holds",
    "offer again",
);
/// Offers end soon.
pub const SPAN: Rule = Rule::new(
    "policy-resale-span",
    "a resale is signed at most 2,016 blocks before its offer's last height (288 on regtest)",
    "offer again for a shorter time",
);
/// The miner has time to follow.
pub const NOTICE: Rule = Rule::new(
    "policy-resale-notice",
    "coinbases pay the new lock from a period of the term that begins a whole notice after the offer's last height: 2,022 blocks on mainnet",
    "offer a later period for the lock's change, or for a shorter time",
);
/// k validators have seen the request.
pub const SEEN: Rule = Rule::new(
    "policy-resale-seen",
    "k validators have receipted the request",
    "collect their receipts",
);
/// It was asked at the right time.
pub const LAST: Rule = Rule::new(
    "policy-resale-last",
    "a resale settles through the last period that could be ruled on when k validators had seen the request",
    "offer again through the period that can be ruled on now",
);
/// The miner had his time.
pub const HEARD: Rule = Rule::new(
    "policy-resale-heard",
    "the miner had the answer span of the terms to show what he has, or to sign himself",
    "wait for that height",
);
/// The miner is paid what he has earned.
pub const EARNED: Rule = Rule::new(
    "policy-resale-earned",
    "a resale lets the miner earn what terms, chain and receipted certificates say, to the satoshi",
    "compare certificates and receipts, and offer again",
);
/// What ends is closed.
pub const GOES_ON: Rule = Rule::new(
    "policy-resale-goes-on",
    "a contract is taken over that goes on behind the period",
    "ask for a closing ruling",
);
/// The buyer has agreed.
pub const BUYER: Rule = Rule::new(
    "policy-resale-buyer",
    "the acceptance is of this offer, at a fee rate within the terms, and signed by the record that becomes the holder's",
    "let the buyer accept again",
);
/// The new contract follows from the old one.
pub const TERMS: Rule = Rule::new(
    "policy-resale-terms",
    "the new contract is the old one but for its holder, what is left of the price, and the rest of the term",
    "offer again from the position's own terms",
);
/// Everybody else has signed.
pub const SIGNED: Rule = Rule::new(
    "policy-resale-signed",
    "seller and buyer have signed every input that is theirs before a validator signs",
    "let both sign first",
);

pub(super) const RULES: [Reasoned; 16] = [
    because(ASKED, "signatures could be collected without telling the miner"),
    because(GUARD, "validators would sign in place of a miner who is there, at the short notice"),
    because(CONTRACT, "the miner would be paid by another contract's numbers"),
    because(SELLER, "somebody else would sell, and the holder's escrow go to his buyer"),
    because(PRESENT, "a signature for an output that is not there yet could be kept for later"),
    because(EXPIRED, "the sale would confirm late, and the miner's notice be shorter than agreed"),
    because(
        SPAN,
        "the change of the lock, which is reckoned from that height, would be put off for as long",
    ),
    because(NOTICE, "machines would go on paying the old lock, and their work earn nothing"),
    because(SEEN, "one validator and the holder could date a request as they like"),
    because(LAST, "the holder would choose the period whose number suits him best"),
    because(HEARD, "the miner's evidence would come too late"),
    because(
        EARNED,
        "the miner would lose what he has earned, or the buyer pay for what he has not",
    ),
    because(GOES_ON, "a contract that has failed would be sold in place of being closed"),
    because(BUYER, "somebody who never agreed would hold the position"),
    because(TERMS, "the miner would be bound by terms that he never agreed to"),
    because(SIGNED, "signatures would lie about for a sale that nobody else is bound by"),
];

/// Judges a request for a resale, and rebuilds its exchange.
pub fn check(case: &Case<'_>, id: &WordId, outcome: &Outcome) -> Result<Exchange> {
    let terms = case.contract.terms();
    let request = case.contract.resales().request(id).ok_or_else(|| {
        ASKED.refuses(Culprit::Sender, "request", "a request for a resale known here", id)
    })?;
    let resale = left(terms, request)?;
    seller(terms, request)?;
    present(case, resale)?;
    timely(case, id, request, resale)?;
    just(case, resale, outcome)?;
    request.acceptance.check(&request.offer).map_err(|error| renamed(BUYER, error))?;
    let bargain = bargain(request)?;
    succeeds(terms, request, resale, &bargain.contract)?;
    consented(request, bargain.exchange).map_err(|error| renamed(SIGNED, error))?;
    // What remains of the offer's own rules.
    request.offer.check()?;
    Ok(self::bargain(request)?.exchange)
}

/// A refusal of the flow's by the policy's name.
fn renamed(rule: Rule, error: Error) -> Error {
    let fault = error.fault();
    match &error {
        Error::Refused { by, .. } => rule.refuses(*by, &fault.place, &fault.expected, &fault.found),
        _ => error,
    }
}

/// Left to validators, in this contract.
fn left<'a>(terms: &EscrowTerms, request: &'a Request) -> Result<&'a Resale> {
    let refuse = |rule: Rule, expected: &dyn core::fmt::Display, found: &dyn core::fmt::Display| {
        Err(rule.refuses(Culprit::Holder, "offer", expected, found))
    };
    let expected = "validators as guard of the notice";
    let Some(resale) = &request.offer.offer.resale else {
        return refuse(GUARD, &expected, &"no resale");
    };
    if resale.guard != Guard::Validators {
        return refuse(GUARD, &expected, &"the miner");
    }
    if resale.contract != *terms {
        return refuse(CONTRACT, &terms.id()?, &resale.contract.id()?);
    }
    Ok(resale)
}

/// The offer is the present holder's own.
fn seller(terms: &EscrowTerms, request: &Request) -> Result<()> {
    let offer = &request.offer.offer;
    let refuse = |expected: &dyn core::fmt::Display, found: &dyn core::fmt::Display| {
        Err(SELLER.refuses(Culprit::Holder, "offer, seller", expected, found))
    };
    let (ours, his) = (&terms.reward.holder, &offer.seller.record);
    if ours != his {
        return refuse(&ours.id()?, &his.id()?);
    }
    let Some(tenure) = &terms.tenure else {
        return refuse(&"a contract of an issued position", &"one without");
    };
    if offer.position != tenure.position {
        return refuse(&tenure.position, &offer.position);
    }
    let id = terms.id()?;
    if offer.seller.sale != Some(id) || offer.seller.number < tenure.transfer {
        let sale = offer.seller.sale.map_or("none".to_owned(), |sale| sale.to_string());
        let expected = format!("transfer {} or later, of sale {id}", tenure.transfer);
        return refuse(&expected, &format_args!("transfer {}, of {sale}", offer.seller.number));
    }
    let key = ours.record.communication;
    message::verify_digest(Culprit::Holder, key, offer.id()?.0, &request.offer.signature)
        .map_err(|error| renamed(SELLER, error))
}

/// The offer names the escrow's present output.
fn present(case: &Case<'_>, resale: &Resale) -> Result<()> {
    let shown = |outpoint: bitcoin::OutPoint, index: u32, value: Amount| {
        format!("{outpoint}, after {index} settlements, {value}")
    };
    let found = match case.contract.locked().progress(case.facts)? {
        Progress::Open(coin) if coin.height.is_some() => {
            let same = (coin.outpoint, coin.index, coin.value)
                == (resale.escrow, resale.index, resale.value);
            if same {
                return Ok(());
            }
            shown(coin.outpoint, coin.index, coin.value)
        }
        Progress::Open(coin) => format!("{} in no block yet", coin.outpoint),
        Progress::Unfunded => "no escrow yet".to_owned(),
        Progress::Ended { by, .. } => format!("ended by {by}"),
    };
    let stated = shown(resale.escrow, resale.index, resale.value);
    Err(PRESENT.unavailable("offer, escrow", stated, found))
}

/// The offer still holds, the miner has his notice, and he was heard.
fn timely(case: &Case<'_>, id: &WordId, request: &Request, resale: &Resale) -> Result<()> {
    let (terms, facts) = (case.contract.terms(), case.facts);
    let (offer, next) = (&request.offer.offer, facts.tip().saturating_add(1));
    if next > offer.expires {
        let expected = format_args!("a next block up to height {}", offer.expires).to_string();
        let found = format_args!("height {next}").to_string();
        return Err(EXPIRED.refuses(Culprit::Holder, "offer", expected, found));
    }
    offer.check_span(facts.tip()).map_err(|error| renamed(SPAN, error))?;
    // The offer's last height is not behind us, so the notice is kept from now on too. The numbers
    // are those of our own terms, whatever the offer's say.
    let notice = resale.guard.notice(terms.profile);
    let delivery = &terms.delivery;
    let begins = delivery.period.checked_mul(resale.switch);
    let begins = begins.and_then(|blocks| delivery.start.checked_add(blocks));
    let least = offer.expires.saturating_add(notice);
    if resale.switch >= delivery.periods || begins.is_none_or(|begins| begins < least) {
        let begins = begins.map_or("no height".to_owned(), |begins| format!("height {begins}"));
        let counted = resale.switch.saturating_add(1);
        let expected =
            format!("a period up to {} that begins at height {least} or later", delivery.periods);
        let found = format!("period {counted}, at {begins}");
        return Err(NOTICE.refuses(Culprit::Holder, "offer, change of the lock", expected, found));
    }
    let k = terms.reward.federation.threshold;
    let opened = case.contract.resales().opened_at(case.contract.locked(), facts, id)?;
    let opened = opened.ok_or_else(|| {
        SEEN.unavailable("request", format_args!("receipts of {k} validators"), "fewer")
    })?;
    let period = resale.outcome.period;
    let (from, until) = (terms.ruling_height(period), period.saturating_add(1));
    let until = terms.ruling_height(until).unwrap_or(u32::MAX);
    if from.as_ref().map_or(true, |from| opened < *from) || opened >= until {
        let counted = period.saturating_add(1);
        let from = from.map_or("no height".to_owned(), |from| format!("height {from}"));
        let expected = format!("a request about period {counted} from {from} to below {until}");
        let found = format!("height {opened}");
        return Err(LAST.refuses(Culprit::Holder, "request", expected, found));
    }
    let heard = heard_from(terms, opened);
    if facts.tip() < heard {
        let expected = format_args!("height {heard}").to_string();
        return Err(HEARD.unavailable(format_args!("request {id}"), expected, facts.tip()));
    }
    Ok(())
}

/// What is asked is what the offer says and what we know ourselves.
fn just(case: &Case<'_>, resale: &Resale, outcome: &Outcome) -> Result<()> {
    let place = format!("resale through period {}", resale.outcome.period.saturating_add(1));
    let ours = case.contract.just(case.facts, resale.outcome.period)?;
    let says = |outcome: &Outcome| {
        format!("{} through period {}", outcome.earned, outcome.period.saturating_add(1))
    };
    for stated in [&resale.outcome, outcome] {
        if (stated.period, stated.earned) != (ours.period, ours.earned) {
            return Err(EARNED.refuses(Culprit::Holder, place, says(&ours), says(stated)));
        }
    }
    if ours.closes || resale.outcome.closes || outcome.closes {
        let found = if ours.closes { "one that our evidence closes" } else { "a close" };
        return Err(GOES_ON.refuses(Culprit::Holder, place, "a contract that goes on", found));
    }
    Ok(())
}

/// Refuses new terms that are not the old ones but for what a resale changes: asked in other words than
/// the builder's.
pub fn succeeds(
    old: &EscrowTerms,
    request: &Request,
    resale: &Resale,
    new: &EscrowTerms,
) -> Result<()> {
    let refuse = |what: &str, expected: &dyn core::fmt::Display, found: &dyn core::fmt::Display| {
        let place = format_args!("new contract, {what}").to_string();
        Err(TERMS.refuses(Culprit::Holder, place, expected, found))
    };
    let lineage = |terms: &EscrowTerms| -> Result<String> {
        Ok(terms.lineage()?.map_or("none".to_owned(), |id| WordId(id).to_string()))
    };
    let (ours, theirs) = (lineage(old)?, lineage(new)?);
    if ours != theirs {
        return refuse("people and delivery", &ours, &theirs);
    }
    let (buyer, holder) = (&request.acceptance.acceptance.holder, &new.reward.holder);
    if buyer != holder {
        return refuse("holder", &buyer.id()?, &holder.id()?);
    }
    let rest = resale.value.checked_sub(due(old, resale)).unwrap_or(Amount::ZERO);
    if new.price != rest {
        return refuse("price", &rest, &new.price);
    }
    let Some(tenure) = &new.tenure else { return refuse("tenure", &"one", &"none") };
    let next = request.offer.offer.seller.number.checked_add(1);
    if Some(tenure.transfer) != next {
        return refuse("transfer", &next.unwrap_or(u32::MAX), &tenure.transfer);
    }
    let after = resale.outcome.period.checked_add(1);
    if Some(tenure.first) != after {
        return refuse("first period", &after.unwrap_or(u32::MAX), &tenure.first);
    }
    let expected = locks(old, resale, tenure.first)?;
    let found: Vec<(u32, ScriptBuf)> =
        tenure.earlier.iter().map(|earlier| (earlier.until, earlier.lock.clone())).collect();
    if expected != found {
        return refuse(
            "earlier locks",
            &format_args!("{expected:x?}"),
            &format_args!("{found:x?}"),
        );
    }
    Ok(())
}

/// What the miner is paid: what he has earned less what the escrow has paid already; nothing where that
/// is dust.
pub(super) fn due(old: &EscrowTerms, resale: &Resale) -> Amount {
    let paid = old.price.checked_sub(resale.value).unwrap_or(Amount::ZERO);
    let due = resale.outcome.earned.checked_sub(paid).unwrap_or(Amount::ZERO);
    let dust = old.reward.miner.payout_script().minimal_non_dust();
    if due < dust { Amount::ZERO } else { due }
}

/// The locks that coinbases still pay from the period `first` on, each with the period from which they
/// no longer do: those before the old contract's as far as they go, then its own until the lock changes,
/// unless it changes before its own was ever paid.
fn locks(old: &EscrowTerms, resale: &Resale, first: u32) -> Result<Vec<(u32, ScriptBuf)>> {
    let before = old.tenure.iter().flat_map(|tenure| &tenure.earlier);
    let before = before.map(|earlier| (earlier.until, earlier.lock.clone()));
    let mut all: Vec<(u32, ScriptBuf)> = before.filter(|(until, _)| *until > first).collect();
    let begins = all.iter().map(|(until, _)| *until).max().unwrap_or(first);
    if resale.switch > begins {
        all.push((resale.switch, old.work()?.lock));
    }
    Ok(all)
}
