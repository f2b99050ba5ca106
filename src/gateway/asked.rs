//! What validators hold for the miner: resales that the holder asked them for because the miner said
//! nothing.
//!
//! ```text
//!  holder --Asked--> validators' servers <--words after N?-- a thread for each, at each new tip
//!                            '--words of everybody--> the holder's requests --> the miner's letters
//! ```
//! A server answers what it is brought with its own words alone, and a gateway that shares no folder
//! with the holder would never hear what was sold in the miner's place. The holder's word proves itself,
//! whoever hands it on; of the rest nothing is kept.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use bitcoin::BlockHash;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Result;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::word::Word;
use crate::flow::{Event, resale};
use crate::http::Address;
use crate::id::TermsId;
use crate::party::Seat;
use crate::sign::software::SoftwareSigner;
use crate::validator::limits::PEER;
use crate::validator::query::Query;

/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time after which a server that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes: a page of words.
const LONGEST: usize = 16 << 20;
/// Most pages that are read at once; the rest comes at the next look.
const MOST_PAGES: usize = 64;
/// Most requests that one server can hand us: a holder makes 8 of one output.
const MOST: usize = 64;

/// A thread for each server.
pub(super) struct Asked {
    looks: Vec<SyncSender<()>>,
    words: Receiver<Word>,
}

impl Asked {
    /// Starts a thread for each address, `http://host:port`, which asks as the miner at the contract.
    pub(super) fn start(
        terms: &EscrowTerms,
        urls: &[String],
        signer: SoftwareSigner,
    ) -> Result<Self> {
        let (told, words) = channel();
        let (id, signer) = (terms.id()?, Arc::new(signer));
        let mut looks = Vec::new();
        for url in urls {
            let address = Address::parse(url)
                .ok_or_else(|| PEER.misused("a validator's server", "http://host:port", url))?;
            // One look that waits stands for all.
            let (look, wanted) = sync_channel(1);
            let (terms, signer, told) = (terms.clone(), signer.clone(), told.clone());
            let mut server =
                Server { address, terms, id, signer, seat: None, after: 0, left: MOST };
            thread::spawn(move || server.serve(&wanted, &told));
            looks.push(look);
        }
        Ok(Self { looks, words })
    }

    /// Has every server asked for what is new there.
    pub(super) fn look(&self) {
        for look in &self.looks {
            let _ = look.try_send(());
        }
    }

    /// The next request that a server held, verified to be the holder's.
    pub(super) fn next(&self) -> Option<Word> {
        self.words.try_recv().ok()
    }
}

/// One validator's server, and how far its words were read.
struct Server {
    address: Address,
    terms: EscrowTerms,
    id: TermsId,
    signer: Arc<SoftwareSigner>,
    /// Whose it is, once it has answered: a question names who is asked.
    seat: Option<Seat>,
    after: u64,
    /// Requests that are still taken from here.
    left: usize,
}

/// Of a server's status, what questions are signed with.
#[derive(Deserialize)]
struct Status {
    tip: Tip,
}

#[derive(Deserialize)]
struct Tip {
    hash: BlockHash,
}

#[derive(Deserialize)]
struct Page {
    words: Vec<Numbered>,
}

/// A word of which only those are read that are looked for: others may be of a later version.
#[derive(Deserialize)]
struct Numbered {
    number: u64,
    word: Value,
}

impl Server {
    /// Reads whenever it is wanted, until nobody wants it any more; again after a while where there was
    /// no answer.
    fn serve(&mut self, wanted: &Receiver<()>, told: &Sender<Word>) {
        let mut again = false;
        while self.left > 0 {
            let next = match again {
                true => wanted.recv_timeout(PAUSE),
                false => wanted.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if next == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            again = self.read(told).is_none();
        }
    }

    /// Reads page by page what is new. None if the server does not answer, or somebody else does: the
    /// couriers tell that already.
    fn read(&mut self, told: &Sender<Word>) -> Option<()> {
        for _ in 0..MOST_PAGES {
            let page = self.page()?;
            // Numbers grow, or there would be no end.
            let last = page.words.last().map(|last| last.number);
            let Some(last) = last.filter(|last| *last > self.after) else { return Some(()) };
            self.after = last;
            for numbered in page.words {
                let Some(word) = request(&self.terms, numbered.word) else { continue };
                let Some(left) = self.left.checked_sub(1) else { return Some(()) };
                self.left = left;
                told.send(word).ok()?;
            }
        }
        Some(())
    }

    /// A page of what was said, by the seat that is known or by each that it could be.
    fn page(&mut self) -> Option<Page> {
        let status: Status = self.get("/v1/status", "").ok()?;
        let validators = self.terms.reward.federation.validators.len();
        let all = (0u8..).take(validators).map(Seat::Validator);
        let seats: Vec<Seat> = self.seat.map_or_else(|| all.collect(), |seat| vec![seat]);
        let path = format!("/v1/contracts/{}/words?after={}", self.id, self.after);
        for to in seats {
            let (from, tip) = (Seat::Miner, status.tip.hash);
            let digest = Query::message(self.id, from, to, &path, tip).ok()?;
            let signature = self.signer.sign_digest(digest).ok()?;
            let header = Query { from, tip, signature }.to_header();
            match self.get(&path, &format!("HashMix-Auth: {header}\r\n")) {
                Ok(page) => {
                    self.seat = Some(to);
                    return Some(page);
                }
                // Not signed for this seat, or for another reason not ours to ask.
                Err(Some(401 | 403)) => self.seat = None,
                Err(_) => return None,
            }
        }
        None
    }

    /// What stands there; or the status, if something else came.
    fn get<T: DeserializeOwned>(&self, path: &str, header: &str) -> Result<T, Option<u16>> {
        match self.address.get(path, header, PATIENCE, LONGEST) {
            Ok((200, body)) => serde_json::from_slice(&body).map_err(|_| None),
            Ok((status, _)) => Err(Some(status)),
            Err(_) => Err(None),
        }
    }
}

/// The word, if it is the holder's request for a resale of this contract, and his.
fn request(terms: &EscrowTerms, word: Value) -> Option<Word> {
    let word: Word = serde_json::from_value(word).ok()?;
    let asks = matches!(word.event, Event::Resale(resale::state::Event::Asked(_)));
    (asks && word.from == Seat::Holder && word.verify(terms).is_ok()).then_some(word)
}

#[cfg(all(test, feature = "regtest"))]
mod tests {
    use bitcoin::Network;
    use serde_json::json;

    use super::*;
    use crate::flow::reward;
    use crate::rehearsal::people::{self, Payouts};
    use crate::script::template::Variant;

    #[test]
    fn of_what_a_server_tells_nothing_is_kept_but_the_holders_requests() {
        let signer = |seat| people::signer(seat, Network::Regtest).unwrap();
        let payouts = Payouts {
            miner: signer(Seat::Miner).address(),
            holder: signer(Seat::Holder).address(),
            federation: signer(Seat::Validator(0)).address(),
        };
        let terms = people::terms(Variant::Musig, 120, &payouts).unwrap();
        let (id, event) = (terms.id().unwrap(), Event::Reward(reward::state::Event::CloseAsked));
        let digest = Word::message(id, Seat::Holder, &event).unwrap();
        let signature = signer(Seat::Holder).sign_digest(digest).unwrap();
        let word = Word::new(id, Seat::Holder, event, signature);
        word.verify(&terms).unwrap();
        assert_eq!(request(&terms, serde_json::to_value(word).unwrap()), None);
        // A word of a later version is no trouble either.
        let page = json!({ "words": [{ "number": 7, "word": { "format": "hashmix word 9" } }] });
        let page: Page = serde_json::from_value(page).unwrap();
        assert_eq!(page.words[0].number, 7);
        assert_eq!(request(&terms, page.words[0].word.clone()), None);
    }
}
