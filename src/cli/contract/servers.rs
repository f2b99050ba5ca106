//! Validators' servers at a party's seat: what they know of the contract comes into the inbox, and what
//! they lack of what is known here is brought to them, whoever said it.
//!
//! A server that is away is told in a line and stops nothing.

use std::collections::BTreeSet;

use crate::cli::sale::servers::{Party, address, shown};
use crate::error::Result;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::word::Word;
use crate::http::Address;
use crate::id::WordId;
use crate::party::Seat;
use crate::relay::folder::{Folder, folder_name};
use crate::sign::software::SoftwareSigner;
use crate::validator::answer::Answer;
use crate::validator::request::{MOST_WORDS, REQUEST_MAX_BYTES};

/// The servers that were named.
pub(super) struct Servers {
    all: Vec<Server>,
    terms: EscrowTerms,
    seat: Seat,
    signer: SoftwareSigner,
}

/// One server.
struct Server {
    url: String,
    address: Address,
    /// Whose it is, once he has answered.
    validator: Option<Seat>,
    /// Number of the last word that he told.
    after: u64,
    /// What he knows.
    known: BTreeSet<WordId>,
}

impl Servers {
    pub(super) fn new(
        urls: &[String],
        terms: EscrowTerms,
        seat: Seat,
        signer: SoftwareSigner,
    ) -> Result<Self> {
        let mut all = Vec::with_capacity(urls.len());
        for url in urls {
            let (address, known) = (address(url)?, BTreeSet::new());
            all.push(Server { url: url.clone(), address, validator: None, after: 0, known });
        }
        Ok(Self { all, terms, seat, signer })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Puts what servers know and `ours` do not hold into the inbox; answers with how many words.
    pub(super) fn hear(
        &mut self,
        ours: &[Word],
        inbox: &Folder,
        lines: &mut Vec<String>,
    ) -> Result<usize> {
        let party = Party { contract: &self.terms, seat: self.seat, signer: &self.signer };
        let mut known = ids(ours)?;
        let mut heard = 0usize;
        for server in &mut self.all {
            let validator = match server.validator {
                Some(validator) => Ok(validator),
                // Who sits there is in any answer of his; the same question gets the same one.
                None => party.bring(&server.address, "who", &[])?.map(|answer| answer.from),
            };
            let told = validator.and_then(|validator| {
                server.validator = Some(validator);
                party.said(&server.address, validator, server.after)
            });
            let words = match told {
                Ok(said) => {
                    server.after = said.upto;
                    if let Some(why) = said.short {
                        lines.push(format!("server    {}: not all was read: {why}", server.url));
                    }
                    said.words
                }
                Err(why) => {
                    lines.push(format!("server    {}: {why}", server.url));
                    continue;
                }
            };
            for word in words {
                let id = word.id()?;
                server.known.insert(id);
                // What nobody has signed is no letter.
                if known.insert(id) && word.verify(&self.terms).is_ok() {
                    let name = format!("served-{}-{id}.json", folder_name(word.from));
                    inbox.post(self.seat, &name, &word.to_json()?)?;
                    heard = heard.saturating_add(1);
                }
            }
        }
        Ok(heard)
    }

    /// Brings each server what he lacks of `ours`; answers with how many words were taken.
    pub(super) fn bring(&mut self, ours: &[Word], lines: &mut Vec<String>) -> Result<usize> {
        let party = Party { contract: &self.terms, seat: self.seat, signer: &self.signer };
        let mut brought = 0usize;
        for server in &mut self.all {
            // Who could not be reached a moment ago was told already.
            let Some(validator) = server.validator else { continue };
            let mut lacks = Vec::new();
            for word in ours {
                if word.from != validator && !server.known.contains(&word.id()?) {
                    lacks.push(word);
                }
            }
            for parcel in parcels(&lacks)? {
                match party.bring(&server.address, "words", &parcel)? {
                    Ok(answer) => {
                        server.known.extend(ids(&parcel)?);
                        brought = brought.saturating_add(parcel.len());
                        if says(&answer) {
                            lines.push(format!("server    {}: {}", server.url, shown(&answer)));
                        }
                    }
                    Err(why) => {
                        lines.push(format!("server    {}: {why}", server.url));
                        break;
                    }
                }
            }
        }
        Ok(brought)
    }
}

fn ids(words: &[Word]) -> Result<BTreeSet<WordId>> {
    words.iter().map(Word::id).collect()
}

/// Whether there is anything in an answer to be told.
fn says(answer: &Answer) -> bool {
    !(answer.words.is_empty() && answer.refused.is_empty() && answer.waiting.is_empty())
}

/// Words in the order in which they were said, as many in each parcel as a request holds.
fn parcels(words: &[&Word]) -> Result<Vec<Vec<Word>>> {
    let mut parcels: Vec<Vec<Word>> = Vec::new();
    let mut size = 0usize;
    for word in words {
        let length = word.to_json()?.len();
        let fits = size.saturating_add(length) <= REQUEST_MAX_BYTES / 2;
        match parcels.last_mut().filter(|parcel| fits && parcel.len() < MOST_WORDS) {
            Some(parcel) => {
                parcel.push((*word).clone());
                size = size.saturating_add(length);
            }
            None => {
                parcels.push(vec![(*word).clone()]);
                size = length;
            }
        }
    }
    Ok(parcels)
}
