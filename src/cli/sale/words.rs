//! What the others said in a sale, out of files; and `hashmix sale ask`, the word that asks validators.
//!
//! | file | holds |
//! |---|---|
//! | `hashmix acceptance 1` | the buyer's acceptance |
//! | `hashmix consent 1` | somebody's signatures |
//! | `hashmix answer 1` | a validator's words in the contract before; of them those that sign this sale count |
//! | `hashmix word 1` | one such word |

use std::path::{Path, PathBuf};

use crate::cli::arguments::AskArguments;
use crate::cli::file::{self, Readers};
#[cfg(feature = "core")]
use crate::cli::sale::servers::{self, Server};
use crate::cli::sale::{again, opened, read_offer};
use crate::engine::trade::Trader;
use crate::error::{Culprit, Error, Result};
use crate::flow::resale::terms::{asked, heard_from};
use crate::flow::sale::consent::{CONSENT_FORMAT, Consent, Party};
use crate::flow::sale::state::{ANSWERS, Effect, Event, State};
use crate::flow::sale::terms::{Acceptance, Offer};
use crate::flow::word::{WORD_FORMAT, WORD_MAX_BYTES, Word};
#[cfg(feature = "core")]
use crate::party::Seat;
use crate::validator::answer::{ANSWER_FORMAT, Answer};

/// What a file says.
enum Said {
    Event(Event),
    Words(Vec<Word>),
}

impl Said {
    /// Its place in the order in which all of it was said.
    fn rank(&self) -> u8 {
        match self {
            Self::Event(Event::Accepted(_)) => 0,
            Self::Event(Event::Consented(consent)) => match consent.by {
                Party::Seller => 1,
                Party::Buyer => 2,
                Party::Miner | Party::Validator(_) => 3,
            },
            Self::Event(Event::Answered(_)) | Self::Words(_) => 4,
        }
    }
}

fn read(path: &Path, offer: &Offer) -> Result<Said> {
    /// What most of them begin with.
    #[derive(serde::Deserialize)]
    struct Kind {
        #[serde(default)]
        format: String,
    }
    let text = file::text(path, WORD_MAX_BYTES)?;
    let kind = serde_json::from_str::<Kind>(&text).map(|kind| kind.format).unwrap_or_default();
    let before = || {
        let resale = offer.offer.resale.as_ref().map(|resale| &resale.contract);
        let expected = "a resale, with a contract before";
        resale.ok_or_else(|| ANSWERS.refuses(Culprit::Sender, "offer", expected, "a first sale"))
    };
    match kind.as_str() {
        CONSENT_FORMAT => Consent::from_json(&text).map(|it| Said::Event(Event::Consented(it))),
        ANSWER_FORMAT => {
            let answer = Answer::from_json(&text)?;
            answer.verify(before()?)?;
            Ok(Said::Words(answer.words.into_iter().map(|numbered| numbered.word).collect()))
        }
        WORD_FORMAT => {
            let word = Word::from_json(&text)?;
            word.verify(before()?)?;
            Ok(Said::Words(vec![word]))
        }
        // What is none of them is told as what an acceptance lacks.
        _ => {
            let acceptance = Acceptance::from_json(&text, offer)?;
            Ok(Said::Event(Event::Accepted(Box::new(acceptance))))
        }
    }
}

/// The sale of an offer with what these files say, whatever their order on the command line.
pub(super) fn heard(trader: &mut Trader, offer: &Offer, words: &[PathBuf]) -> Result<State> {
    let mut state = trader.sale(offer)?;
    let mut all: Vec<(&PathBuf, Said)> = Vec::with_capacity(words.len());
    for path in words {
        all.push((path, read(path, offer).map_err(|error| error.within(path.display()))?));
    }
    all.sort_by_key(|(_, said)| said.rank());
    for (path, said) in all {
        let within = |error: Error| error.within(path.display());
        match said {
            Said::Event(event) => trader.hear(&mut state, event).map_err(within)?,
            Said::Words(words) => {
                for word in words {
                    // Receipts and entries in journals are no consents.
                    if state.is_answered_by(&word) {
                        let event = Event::Answered(Box::new(word));
                        trader.hear(&mut state, event).map_err(within)?;
                    }
                }
            }
        }
    }
    Ok(state)
}

/// Writes the seller's word to validators, or brings it to their servers.
pub(super) fn ask(arguments: &AskArguments) -> Result<Vec<String>> {
    arguments.out.as_deref().map(file::free).transpose()?;
    #[cfg(feature = "core")]
    let servers =
        arguments.validator.iter().map(|url| Server::parse(url)).collect::<Result<Vec<_>>>()?;
    let offer = read_offer(&arguments.offer)?;
    let (mut trader, signer) = opened(&arguments.trade)?;
    let mut lines = again(&trader);
    #[cfg_attr(not(feature = "core"), expect(unused_mut, reason = "servers answer with that"))]
    let mut state = heard(&mut trader, &offer, &arguments.words)?;
    // A validator who holds enough signatures sends it himself.
    let facts = trader.facts(&state)?;
    if let Effect::Sent(txid, _) = state.next(&facts, Party::Seller)? {
        lines.push(format!("sent      {txid}: validators have signed and sent it"));
        lines.push("next      look for it in a block with hashmix sale broadcast".to_owned());
        return Ok(lines);
    }
    let word = trader.ask(&state, &facts, &signer)?;
    if let Some(out) = &arguments.out {
        file::write(out, word.to_json()?.as_bytes(), Readers::Anyone)?;
        lines.push(format!("ask       {}", out.display()));
    }
    lines.extend(said_of(&state, &word, facts.tip())?);
    #[cfg(feature = "core")]
    if let (false, Some(resale)) = (servers.is_empty(), &offer.offer.resale) {
        let (contract, seat) = (&resale.contract, Seat::Holder);
        let seller = servers::Party { contract, seat, signer: &signer };
        lines.extend(brought(&servers, &seller, &word, &mut trader, &mut state)?);
        return Ok(lines);
    }
    lines.push(
        "next      bring it to each of them with hashmix validator request --seat holder; their answers go to hashmix sale broadcast"
            .to_owned(),
    );
    Ok(lines)
}

/// What was asked, and when it can be signed.
fn said_of(state: &State, word: &Word, tip: u32) -> Result<Vec<String>> {
    let offer = &state.offer().offer;
    let (Some(acceptance), Some(resale)) = (state.acceptance(), &offer.resale) else {
        return Ok(Vec::new());
    };
    let federation = &resale.contract.reward.federation;
    let (k, n) = (federation.threshold, federation.validators.len());
    let heard = heard_from(&resale.contract, tip);
    let id = asked(offer.id()?, acceptance.acceptance.id()?)?;
    let mut lines = vec![
        format!("resale    {id}"),
        format!("contract  {}: the one before, in which it is said", word.contract),
        format!(
            "signed    by {k} of {n} validators once {k} have seen it and the miner had {} blocks to answer: asked now, at height {heard}",
            resale.contract.delays.answer
        ),
    ];
    if heard >= offer.expires {
        lines.push(format!(
            "careful   the offer holds until height {}: asked now it is signed too late, make a longer one",
            offer.expires
        ));
    }
    Ok(lines)
}

/// Most refusals of one server's words that are told.
#[cfg(feature = "core")]
const MOST_REFUSED: usize = 3;

/// Brings the word to servers, and hears which validators have signed by now. What one of them says wrong
/// is told, and the others are asked all the same.
#[cfg(feature = "core")]
fn brought(
    servers: &[Server<'_>],
    seller: &servers::Party<'_>,
    word: &Word,
    trader: &mut Trader,
    state: &mut State,
) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for server in servers {
        let told = seller.ask(server, word, &|name| trader.read_upto(state.offer(), name));
        lines.push(format!("server    {}", told.line));
        let mut refused: Vec<String> = Vec::new();
        for word in told.words {
            if !state.is_answered_by(&word) {
                continue;
            }
            match trader.hear(state, Event::Answered(Box::new(word))) {
                // That is no server's fault.
                Err(error @ Error::Storage(_)) => return Err(error),
                Err(error) => refused.push(format!("server    {}: {error}", server.url())),
                Ok(()) => {}
            }
        }
        let more = refused.len().saturating_sub(MOST_REFUSED);
        lines.extend(refused.into_iter().take(MOST_REFUSED));
        if more > 0 {
            lines.push(format!("server    {}: {more} words more are refused", server.url()));
        }
        if let Some((name, upto)) = told.read {
            trader.note_read(state.offer(), &name, upto)?;
        }
    }
    let signed = state.consents().iter().filter(|it| matches!(it.by, Party::Validator(_))).count();
    lines.push(match state.turn().is_empty() {
        true => {
            format!("next      {signed} validators have signed: send it, hashmix sale broadcast")
        }
        false => format!("next      {signed} validators have signed: ask again"),
    });
    Ok(lines)
}
