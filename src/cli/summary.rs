//! `hashmix terms show`: the terms in words that people decide by. Who, how much, by when, and what
//! is lost otherwise.

use bitcoin::Amount;

use crate::amount::per_million;
use crate::cli::odds;
use crate::error::Result;
use crate::flow::escrow::terms::{EscrowTerms, Tenure};
use crate::party::Record;
use crate::script::template::Variant;
use crate::work::agreement::{BLOCK_SECONDS, Earlier, Entitlement};

/// Periods that are listed one by one; of more, the first, the second and the last are shown.
const LISTED: u32 = 12;

const DAY: u64 = 86_400;

/// The whole summary, as lines.
pub fn of(terms: &EscrowTerms) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    people(terms, &mut lines)?;
    deal(terms, &mut lines);
    periods(terms, &mut lines)?;
    lines.push(String::new());
    lines.push("Odds".to_owned());
    lines.extend(odds::summary(&terms.work()?));
    duties(terms, &mut lines);
    lines.push(String::new());
    lines.push("Trust".to_owned());
    lines.push(trust(terms));
    Ok(lines)
}

fn people(terms: &EscrowTerms, lines: &mut Vec<String>) -> Result<()> {
    let reward = &terms.reward;
    let federation = &reward.federation;
    lines.push(format!("\"{}\" on {}", reward.contract, reward.network));
    lines.push(format!("terms id    {}", terms.id()?));
    lines.push(String::new());
    lines.push("People".to_owned());
    let person = |name: &str, record: &Record| -> Result<String> {
        let payout = record.record.payout.assume_checked_ref();
        Ok(format!("{name:<11} record {}, paid at {payout}", record.id()?))
    };
    lines.push(person("miner", &reward.miner)?);
    lines.push(person("holder", &reward.holder)?);
    for (place, record) in federation.validators.iter().enumerate() {
        lines.push(person(&format!("validator {place}"), record)?);
    }
    let (k, n) = (federation.threshold, federation.validators.len());
    lines.push(format!("federation  {k} of {n} decide, paid at {}", {
        federation.payout.assume_checked_ref()
    }));
    lines.push(match terms.tenure {
        None => format!("            pin this hash when you choose it: {}", federation.id()?),
        // These records are fresh; what a buyer pins is the federation that issued.
        Some(_) => format!(
            "            these records, {}, the position's issuer has signed with its terms",
            federation.id()?
        ),
    });
    Ok(())
}

fn deal(terms: &EscrowTerms, lines: &mut Vec<String>) {
    let delivery = &terms.delivery;
    let calendar = terms.calendar();
    let service = per_million(Amount::from_sat(1_000_000), terms.reward.service_ppm).to_sat();
    lines.push(String::new());
    lines.push("The deal".to_owned());
    lines.push(format!(
        "delivered   {} H/s from height {} to {} ({})",
        delivery.rate,
        calendar.begin(),
        calendar.end(),
        span(calendar.period.saturating_mul(calendar.paid_periods()))
    ));
    tenure(terms, lines);
    lines.push(format!(
        "price       {} sat, in {} installments, from an escrow",
        terms.price.to_sat(),
        calendar.paid_periods()
    ));
    lines.push(format!(
        "rewards     to the holder's lock; {service} of every 1000000 sat go to the miner at once, as service share"
    ));
    lines.push(match &delivery.rule {
        Entitlement::ProRata => format!(
            "measured    by shares, {} expected in every {} blocks; an installment is paid in proportion to the work, which fills the periods of a window of {} in order",
            delivery.expected, delivery.slice, delivery.window
        ),
        Entitlement::PassFail { .. } => format!(
            "measured    by shares, {} expected in every {} blocks; an installment is paid whole or not at all, by the count over a window of {}",
            delivery.expected, delivery.slice, delivery.window
        ),
    });
    lines.push(
        "            the miner owes work for header time: a slower network makes periods longer, and the work in them more"
            .to_owned(),
    );
    lines.push(format!(
        "fees        {} to {} sat/vB; a ruling costs whoever asks for it {} sat",
        terms.fees.floor,
        terms.fees.cap,
        terms.fees.ruling.to_sat()
    ));
    lines.push(match terms.reward.variant {
        Variant::Musig => {
            "key path    open: miner and holder together sign as one (MuSig2)".to_owned()
        }
        Variant::Nums => "key path    closed: every spend shows its leaf".to_owned(),
    });
}

/// Which part of an issued position is sold, and whose locks coinbases pay meanwhile.
fn tenure(terms: &EscrowTerms, lines: &mut Vec<String>) {
    let Some(Tenure { position, transfer, first, earlier }) = &terms.tenure else { return };
    lines.push(format!("position    {position}, transfer {transfer}"));
    lines.push(format!(
        "            the price is for the periods {} to {} of its term",
        first.saturating_add(1),
        terms.delivery.periods
    ));
    for Earlier { until, lock } in earlier {
        lines.push(format!(
            "            through period {until} coinbases pay the lock of a holder before: {lock:x}"
        ));
    }
}

fn periods(terms: &EscrowTerms, lines: &mut Vec<String>) -> Result<()> {
    let calendar = terms.calendar();
    let (first, end) = (terms.first_period(), terms.delivery.periods);
    let second = first.saturating_add(1);
    lines.push(String::new());
    lines.push(
        "period  window  blocks             receipts until  ruled from  installment".to_owned(),
    );
    for period in first..end {
        // Of a long term the first two and the last say it all: the rest follows the same steps.
        let short = calendar.paid_periods() <= LISTED;
        if !short && period > second && period.saturating_add(1) < end {
            if period == second.saturating_add(1) {
                lines.push("     …".to_owned());
            }
            continue;
        }
        let (Some(blocks), Some(window)) =
            (calendar.period_blocks(period), calendar.window_of(period))
        else {
            continue;
        };
        let last =
            calendar.slice_of(*blocks.end()).and_then(|slice| calendar.receipts_until(slice));
        lines.push(format!(
            "{:>6}  {:>6}  {:<17}  {:>14}  {:>10}  {} sat",
            period.saturating_add(1),
            window.saturating_add(1),
            format!("{} to {}", blocks.start(), blocks.end()),
            last.unwrap_or_default(),
            terms.ruling_height(period)?,
            terms.installment(period).to_sat()
        ));
    }
    Ok(())
}

fn duties(terms: &EscrowTerms, lines: &mut Vec<String>) {
    let delivery = &terms.delivery;
    let delays = &terms.delays;
    let calendar = terms.calendar();
    let (t, ty) = (terms.holder_exit_height(), terms.miner_exit_height());
    let quiet = t.saturating_sub(delays.quiet);
    lines.push(String::new());
    lines.push("Who must act by when, and what is lost otherwise".to_owned());
    let mut duty = |who: &str, by: String, act: String, otherwise: String| {
        lines.push(format!("{who:<11} {by}: {act}; otherwise {otherwise}"));
    };
    duty(
        "holder",
        format!("before height {}", calendar.begin()),
        format!("pay {} sat into the escrow", terms.price.to_sat()),
        "the miner works for nothing, and need not begin".into(),
    );
    duty(
        "miner",
        format!("{} blocks after each slice of {}", delivery.receipt_span, delivery.slice),
        format!(
            "have its certificate receipted by {} validators",
            terms.reward.federation.threshold
        ),
        "its shares never count".into(),
    );
    duty(
        "miner",
        "at each window's end".into(),
        "have delivered what is agreed for it".into(),
        "what is missing is lost to him, and below a half the contract closes".into(),
    );
    duty(
        "either",
        format!("{} blocks after the other opened a dispute", delays.answer),
        "show certificates and the last signed state".into(),
        "the ruling is made without them".into(),
    );
    duty(
        "either",
        format!(
            "by height {quiet}, or {} blocks after the last settlement if that is later",
            delays.late_dispute
        ),
        "open a dispute".into(),
        "only the two together, or the exits below, move the escrow".into(),
    );
    duty(
        "miner",
        format!("before height {t} (T, {} after the term)", span(delays.grace)),
        "broadcast the last settlement".into(),
        format!(
            "the holder alone may take what is left, once its output is {} blocks deep",
            delays.relock
        ),
    );
    duty(
        "holder",
        format!("before height {ty} (T + Y, {} later)", span(delays.miner_exit)),
        "take what is left".into(),
        "the miner alone may take it".into(),
    );
    duty(
        "holder",
        format!("from {} blocks after each block he is paid in", terms.reward.exit_delay),
        "may sweep rewards alone".into(),
        "they wait for him and one other".into(),
    );
}

fn trust(terms: &EscrowTerms) -> String {
    let k = terms.reward.federation.threshold;
    format!(
        "{k} validators together with the miner, or {k} together with the holder, can take every coin of \
         this contract, at any time. So choose the federation yourself, compare its hash above with the \
         one its members publish, and take nobody's word for it. You need trust neither the other side, \
         nor the server you read the chain through beyond what headers cannot show, nor this program's \
         makers."
    )
}

/// Blocks in words, at ten minutes each, in whole hours or days.
fn span(blocks: u32) -> String {
    let seconds = u64::from(blocks).saturating_mul(BLOCK_SECONDS);
    match seconds / DAY {
        0 => format!("{blocks} blocks, about {} hours", seconds / 3_600),
        1 => format!("{blocks} blocks, about a day"),
        days => format!("{blocks} blocks, about {days} days"),
    }
}
