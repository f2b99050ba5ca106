//! Validators' servers at a resale without the miner: the seller's word is brought to each, and what they
//! said of it is fetched. Who has peers carries it on himself; for others there are files.
//!
//! A server that is away, or says something else, is told in a line and stops nothing: k of n are enough.
//!
//! | how much of one server is read | until |
//! |---|---|
//! | words behind those that were read before | it says that its last one is older than these: then from the first on |
//! | so many pages, so many bytes, for so long | the next try, which goes on there |

use std::thread::sleep;
use std::time::{Duration, Instant};

use bitcoin::BlockHash;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::Result;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::word::Word;
use crate::http::{Address, Trouble};
use crate::id::WordId;
use crate::party::Seat;
use crate::sign::software::SoftwareSigner;
use crate::validator::answer::{Answer, Numbered};
use crate::validator::limits::PEER;
use crate::validator::query::Query;
use crate::validator::request::{REQUEST_FORMAT, REQUEST_MAX_BYTES, Request};

/// Time for an answer to the request: the validator asks his own servers first.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time for an answer to a question.
const QUICK: Duration = Duration::from_secs(20);
/// Time after which a server that is asked too often is asked again.
const PAUSE: Duration = Duration::from_millis(1_500);
/// How often it is asked again.
const AGAIN: u32 = 6;
/// Longest answer that is read, in bytes: a page of words.
const LONGEST: usize = 16 << 20;
/// Most pages that are read at once: 64 words fill one.
const PAGES: u32 = 32;
/// Bytes of pages after which no other one is read.
const ENOUGH: usize = 32 << 20;
/// Time after which nothing more is asked.
const WHOLE: Duration = Duration::from_secs(120);

/// A validator's server.
pub(super) struct Server<'a> {
    url: &'a str,
    address: Address,
}

impl<'a> Server<'a> {
    /// Reads `http://host:port`.
    pub(super) fn parse(url: &'a str) -> Result<Self> {
        let address = Address::parse(url)
            .ok_or_else(|| PEER.misused("a validator's server", "http://host:port", url))?;
        Ok(Self { url, address })
    }

    /// The URL, as it was typed.
    pub(super) fn url(&self) -> &str {
        self.url
    }
}

/// What came of one server.
#[derive(Default)]
pub(super) struct Told {
    /// In a line.
    pub(super) line: String,
    /// What was said in the contract, as far as that server knows and it was not read before.
    pub(super) words: Vec<Word>,
    /// Under which name it is remembered up to which word was read, and that word's number.
    pub(super) read: Option<(String, u64)>,
}

/// The seller, as servers know him: the holder of the contract before.
pub(super) struct Seller<'a> {
    pub(super) contract: &'a EscrowTerms,
    pub(super) signer: &'a SoftwareSigner,
}

/// Words that were read, up to which number, and why no more of them.
struct Said {
    words: Vec<Word>,
    upto: u64,
    short: Option<String>,
}

impl Seller<'_> {
    /// Brings his word to a server, and fetches what was said since the word whose number is `known` for
    /// the server's name. Whatever goes wrong is told in the line.
    pub(super) fn ask(
        &self,
        server: &Server<'_>,
        word: &Word,
        known: &dyn Fn(&str) -> Result<u64>,
    ) -> Told {
        self.asked(server, word, known).unwrap_or_else(|why| Told {
            line: format!("{}: {why}", server.url),
            ..Told::default()
        })
    }

    fn asked(
        &self,
        Server { url, address }: &Server<'_>,
        word: &Word,
        known: &dyn Fn(&str) -> Result<u64>,
    ) -> Result<Told, String> {
        let request = self.request(word).map_err(|error| error.to_string())?;
        let text = again(Instant::now() + WHOLE, || {
            let none = || Ok(Zeroizing::new(String::new()));
            address.post("/v1/requests", none, request.as_bytes(), PATIENCE, REQUEST_MAX_BYTES)
        })?;
        let answer = Answer::from_json(&text).map_err(|error| error.to_string())?;
        answer.verify(self.contract).map_err(|error| error.to_string())?;
        // Numbers are those of one validator's store.
        let name = format!("{} at {url}", answer.from);
        let known = known(&name).map_err(|error| error.to_string())?;
        let Said { words, upto, short } = self.said(address, answer.from, known)?;
        let mut line = format!("{url}: {}", shown(&answer));
        line.extend(short.map(|why| format!("; not all was read, ask again: {why}")));
        Ok(Told { line, words, read: Some((name, upto)) })
    }

    fn request(&self, word: &Word) -> Result<String> {
        let (contract, from, words) = (self.contract.id()?, Seat::Holder, vec![word.clone()]);
        // Each time that it is asked it is signed anew, so it is another request: the validator looks
        // again what he can do by now. The word in it is the same, and is said once.
        let content = Request::message(contract, from, "", &words, None)?;
        let named: String = WordId(content).to_string().chars().take(32).collect();
        let key = format!("resale {named}");
        let digest = Request::message(contract, from, &key, &words, None)?;
        let signature = self.signer.sign_digest(digest)?;
        let format = REQUEST_FORMAT.to_owned();
        Request { format, contract, from, key, words, psbt: None, signature }.to_json()
    }

    /// What was said in the contract behind word `known`, page by page.
    fn said(&self, address: &Address, to: Seat, known: u64) -> Result<Said, String> {
        /// Of its status, what questions are signed with.
        #[derive(Deserialize)]
        struct Status {
            tip: Tip,
        }
        #[derive(Deserialize)]
        struct Tip {
            hash: BlockHash,
        }
        #[derive(Deserialize)]
        struct Standing {
            last_word: u64,
        }
        #[derive(Deserialize)]
        struct Page {
            words: Vec<Numbered>,
        }
        let until = Instant::now() + WHOLE;
        let contract = self.contract.id().map_err(|error| error.to_string())?;
        let status = again(until, || address.get("/v1/status", "", QUICK, LONGEST))?;
        let status: Status = serde_json::from_str(&status).map_err(|e| e.to_string())?;
        let (tip, from) = (status.tip.hash, Seat::Holder);
        let signed = |path: &str| -> Result<String, String> {
            let digest = Query::message(contract, from, to, path, tip)
                .and_then(|digest| self.signer.sign_digest(digest));
            let signature = digest.map_err(|error| error.to_string())?;
            let header = Query { from, tip, signature }.to_header();
            let header = format!("HashMix-Auth: {header}\r\n");
            again(until, || address.get(path, &header, QUICK, LONGEST))
        };
        let mut said = Said { words: Vec::new(), upto: known, short: None };
        if known > 0 {
            let standing = signed(&format!("/v1/contracts/{contract}"))?;
            let standing: Standing = serde_json::from_str(&standing).map_err(|e| e.to_string())?;
            // It never said a number that high, or it has begun anew.
            if standing.last_word < known {
                said.upto = 0;
            }
        }
        let mut bytes = 0usize;
        for _ in 0..PAGES {
            let path = format!("/v1/contracts/{contract}/words?after={}", said.upto);
            let page = signed(&path).and_then(|text| {
                bytes = bytes.saturating_add(text.len());
                serde_json::from_str::<Page>(&text).map_err(|error| error.to_string())
            });
            let page = match page {
                Ok(page) => page,
                // What was read before it stays read.
                Err(why) if !said.words.is_empty() => return Ok(Said { short: Some(why), ..said }),
                Err(why) => return Err(why),
            };
            // Numbers grow, or there would be no end.
            match page.words.last().map(|last| last.number).filter(|number| *number > said.upto) {
                Some(number) => said.upto = number,
                None => return Ok(said),
            }
            said.words.extend(page.words.into_iter().map(|numbered| numbered.word));
            if bytes > ENOUGH || Instant::now() > until {
                break;
            }
        }
        said.short = Some(format!("{} words for now", said.words.len()));
        Ok(said)
    }
}

/// Asks, and again after a while where it was too often; answers with the body, or why there is none.
fn again(
    until: Instant,
    ask: impl Fn() -> Result<(u16, Vec<u8>), Trouble>,
) -> Result<String, String> {
    let mut left = AGAIN;
    loop {
        let (status, body) = ask().map_err(|trouble| trouble.to_string())?;
        let body = String::from_utf8_lossy(&body).into_owned();
        if status == 200 {
            return Ok(body);
        }
        if status != 429 || left == 0 || Instant::now() > until {
            let body: String = body.chars().filter(|c| !c.is_control()).take(300).collect();
            return Err(format!("status {status}, {body}"));
        }
        left = left.saturating_sub(1);
        sleep(PAUSE);
    }
}

/// An answer in one line.
fn shown(answer: &Answer) -> String {
    let said = format!("{} said {} words", answer.from, answer.words.len());
    let waits = answer.waiting.iter().map(|waiting| {
        let until =
            waiting.until.map(|until| format!("until height {until}, ")).unwrap_or_default();
        format!("; waits {until}{}", waiting.why)
    });
    let refused = answer.refused.iter().map(|it| format!("; refuses by {}: {}", it.rule, it.found));
    said + &waits.chain(refused).collect::<String>()
}
