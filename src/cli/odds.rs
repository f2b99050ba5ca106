//! `hashmix work odds`, and the odds in `hashmix terms show`: what chance does to miner and holder
//! under given terms, in words.

use std::path::Path;

use crate::amount::MILLION;
use crate::cli::terms;
use crate::cli::units::percent;
use crate::error::Result;
use crate::work::agreement::{Entitlement, WorkTerms};
use crate::work::odds::{
    Course, Part, Window, YEAR_BLOCKS, critical_counts, odds, surplus_for, windows,
};

/// The loss that a surplus is advised for: a thousandth of the price.
const LITTLE: Part = Part::of_million(1_000);
/// What a cheat is shown with, in parts per million of what he agreed to.
const CHEATS: [u32; 3] = [990_000, 900_000, 500_000];
/// The network's pace that pass-fail is shown with: 3 % fast.
const FAST: u32 = 1_030_000;

/// The odds of the terms in a file, and critical counts for an error rate.
pub fn show(path: &Path, alpha_ppm: u32) -> Result<Vec<String>> {
    let work = terms::read(path)?.work()?;
    let counts = critical_counts(&work, alpha_ppm)?;
    let mut lines = words(&work)?;
    let alpha = percent(Part::of_million(alpha_ppm));
    lines.push(String::new());
    lines.push(format!(
        "A pass-fail rule that wrongly turns away a miner who delivers exactly as agreed in {alpha} of all terms, at a fixed and correct difficulty:"
    ));
    lines.extend(counted(&work, &counts)?);
    let critical = Entitlement::PassFail { critical: counts.clone() };
    lines.push(anew(&WorkTerms { rule: critical, ..work })?);
    let list: Vec<String> = counts.iter().map(u32::to_string).collect();
    lines.push(format!("\"rule\": {{\"pass-fail\": {{\"critical\": [{}]}}}}", list.join(", ")));
    Ok(lines)
}

/// The same for the summary, which goes on where odds are beyond computing.
pub fn summary(work: &WorkTerms) -> Vec<String> {
    words(work).unwrap_or_else(|error| {
        vec![format!("unknown     {}; expected {}", error.rule(), error.fault().expected)]
    })
}

/// What chance does to whoever delivers as agreed, a little more, or less.
fn words(work: &WorkTerms) -> Result<Vec<String>> {
    let mut lines = vec![counting(work)?];
    let exactly = odds(work, Course::AS_AGREED)?;
    let span = span(work);
    match (&work.rule, exactly.failed) {
        (Entitlement::PassFail { critical }, Some(failed)) => {
            lines.extend(counted(work, critical)?);
            lines.push(format!(
                "honest      who delivers exactly as agreed loses a window of the term with a chance of {}, and {} of the price on average, at a fixed and correct difficulty",
                percent(failed),
                percent(exactly.loss)
            ));
            lines.push(anew(work)?);
        }
        _ => lines.push(format!(
            "honest      who delivers exactly as agreed loses {} of the price on average {span}: bad luck in a window costs, good luck pays nothing",
            percent(exactly.year_loss)
        )),
    }
    if work.rule == Entitlement::ProRata {
        lines.extend(by_clock(work)?);
    }
    lines.push(advice(work)?);
    if matches!(work.rule, Entitlement::PassFail { .. }) {
        let fast = odds(work, Course::AS_AGREED.at_pace(FAST))?;
        lines.push(format!(
            "pace        counts are for blocks every 600 s: if blocks come 3 % faster, who delivers exactly as agreed loses a window with a chance of {}",
            percent(fast.failed.unwrap_or_default())
        ));
    }
    let cheats: Vec<String> = CHEATS
        .into_iter()
        .map(|ppm| {
            let paid = odds(work, Course::delivered(ppm))?.loss.rest();
            Ok(format!("{} % gets {}", ppm / 10_000, percent(paid)))
        })
        .collect::<Result<_>>()?;
    lines.push(format!(
        "cheat       who delivers only {} of the price, before a window below half ends the contract",
        cheats.join(", ")
    ));
    Ok(lines)
}

/// What a new difficulty does to counts that are fixed.
fn anew(work: &WorkTerms) -> Result<String> {
    let anew = odds(work, Course::AS_AGREED.with_retargets())?;
    Ok(format!(
        "retarget    the network sets its difficulty anew every 2016 blocks, by times that are chance too: where windows begin with that, the chance to lose one is {}",
        percent(anew.failed.unwrap_or_default())
    ))
}

/// What the clock in the headers errs between the ends of a window.
fn by_clock(work: &WorkTerms) -> Result<Option<String>> {
    Ok(first(work)?.map(|window| {
        // The root of 10 blocks, by the window's; below five blocks, of twice as many.
        let late = u64::from(window.blocks.min(5)).saturating_mul(2);
        let blocks = u64::from(window.blocks.max(1));
        let part = ppm_root(late, blocks.saturating_mul(blocks));
        format!(
            "clock       agreed work follows the headers' clock, which errs by {} of a window of {blocks} blocks as a rule; it is part of these odds",
            percent(part)
        )
    }))
}

/// The first window, which all but the last are like.
fn first(work: &WorkTerms) -> Result<Option<Window>> {
    Ok(windows(work)?.first().copied())
}

/// The root of a fraction, in parts per million.
fn ppm_root(part: u64, of: u64) -> Part {
    let million = u128::from(MILLION);
    let scaled = u128::from(part).saturating_mul(million).saturating_mul(million);
    let root = scaled.checked_div(u128::from(of)).unwrap_or(0).isqrt();
    Part::of_million(u32::try_from(root).unwrap_or(u32::MAX))
}

/// How coarse the count is: 1 / N, and under pass-fail 1 / W for the blocks' own chance.
fn counting(work: &WorkTerms) -> Result<String> {
    let (shares, blocks, periods) = first(work)?.map_or((0, 1, 0), |window| {
        (window.agreed.nearest(), u64::from(window.blocks.max(1)), window.periods)
    });
    let noise = match work.rule {
        Entitlement::ProRata => ppm_root(1, shares.max(1)),
        Entitlement::PassFail { .. } => {
            ppm_root(shares.saturating_add(blocks), shares.max(1).saturating_mul(blocks))
        }
    };
    Ok(format!(
        "counting    {shares} shares expected in a window of {periods} periods; chance moves such a count by {} as a rule",
        percent(noise)
    ))
}

fn advice(work: &WorkTerms) -> Result<String> {
    let span = span(work);
    let Some(surplus) = surplus_for(work, LITTLE)? else {
        return Ok(format!(
            "advice      no surplus of up to 100 % brings the loss below {} {span}: agree on more shares or longer windows",
            percent(LITTLE)
        ));
    };
    let (whole, tenth) = (surplus / 10_000, surplus % 10_000 / 1_000);
    let course = Course::delivered(MILLION.saturating_add(surplus));
    let then = odds(work, course)?.year_loss;
    Ok(format!(
        "advice      deliver {whole}.{tenth} % more than agreed: an honest miner then loses less than {} of the price {span} ({} on average)",
        percent(LITTLE),
        percent(then)
    ))
}

/// The year that losses are stated for, where the term is that long.
fn span(work: &WorkTerms) -> &'static str {
    if work.calendar().blocks() >= YEAR_BLOCKS { "in a year" } else { "over the term" }
}

/// Critical counts, alike windows in one line.
fn counted(work: &WorkTerms, counts: &[u32]) -> Result<Vec<String>> {
    let mut runs: Vec<(u32, u32, u32, u64)> = Vec::new();
    for (Window { number: window, agreed, .. }, count) in windows(work)?.into_iter().zip(counts) {
        let expected = agreed.nearest();
        match runs.last_mut() {
            Some((_, last, known, of)) if known == count && *of == expected => *last = window,
            _ => runs.push((window, window, *count, expected)),
        }
    }
    Ok(runs
        .into_iter()
        .map(|(first, last, count, of)| {
            let windows = match first == last {
                true => format!("window {}", first.saturating_add(1)),
                false => {
                    format!("windows {} to {}", first.saturating_add(1), last.saturating_add(1))
                }
            };
            format!("critical    {windows}: {count} of {of} expected shares, or the whole window is lost")
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::agreement::{Profile, share_target};
    use crate::work::samples;

    fn year(rule: Entitlement) -> WorkTerms {
        let rate = 100_000_000_000_000;
        WorkTerms {
            start: 1_000,
            slice: 12,
            period: 144,
            periods: 365,
            window: 28,
            rate,
            expected: 30,
            target: share_target(rate, 30, 12),
            rule,
            ..samples::terms()
        }
        .check(Profile::Regtest)
        .unwrap()
    }

    #[test]
    fn the_words_say_what_a_year_of_days_costs_an_honest_miner() {
        let all = words(&year(Entitlement::ProRata)).unwrap().join("\n");
        for said in [
            "10080 shares expected in a window of 28 periods; chance moves such a count by 0.996 %",
            "exactly as agreed loses 0.404 % of the price on average in a year",
            "deliver 1.0 % more than agreed: an honest miner then loses less than 0.1 % of the price in a year (0.089 % on average)",
            "errs by 0.078 % of a window of 4032 blocks",
            "99 % gets 98.9 %, 90 % gets 90 %, 50 % gets 50 %",
        ] {
            assert!(all.contains(said), "{said}\n{all}");
        }
    }

    #[test]
    fn the_words_of_pass_fail_say_what_its_counts_amount_to() {
        let counts = critical_counts(&year(Entitlement::ProRata), 10_000).unwrap();
        let all = words(&year(Entitlement::PassFail { critical: counts })).unwrap().join("\n");
        for said in [
            "windows 1 to 13: 9490 of 10080 expected shares",
            "window 14: 256 of 360 expected shares",
            "loses a window of the term with a chance of 0.98 %, and 0.071 % of the price",
            "at a fixed and correct difficulty",
            "chance moves such a count by 1.86 %",
            "where windows begin with that, the chance to lose one is 1 %",
            "3 % faster, who delivers exactly as agreed loses a window with a chance of 49.8 %",
            "99 % gets 99.6 %, 90 % gets 1.07 %, 50 % gets 0.0001 %",
        ] {
            assert!(all.contains(said), "{said}\n{all}");
        }
    }

    #[test]
    fn days_that_are_windows_are_not_said_to_lose_as_little_as_months() {
        let day = WorkTerms { window: 1, expected: 840, ..year(Entitlement::ProRata) };
        let day = WorkTerms { target: share_target(day.rate, 840, 12), ..day };
        let all = words(&day.check(Profile::Regtest).unwrap()).unwrap().join("\n");
        for said in
            ["10080 shares", "errs by 2.2 % of a window of 144", "loses 0.946 % of the price"]
        {
            assert!(all.contains(said), "{said}\n{all}");
        }
    }

    #[test]
    fn odds_beyond_computing_are_said_to_be_unknown() {
        let terms = year(Entitlement::ProRata);
        let easy = WorkTerms { target: bitcoin::Target::from_be_bytes([0xff; 32]), ..terms };
        let lines = summary(&easy);
        assert!(lines[0].starts_with("unknown     work-odds-size"), "{lines:?}");
    }
}
