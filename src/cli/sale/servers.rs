//! Validators' servers, as a party knows them: words are brought to each, and what was said in the contract
//! is fetched, at a resale without the miner and at every seat ([`crate::cli::contract`]); a contract that
//! was bought is registered there. Who has peers carries words on himself; for others there are files.
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
use crate::id::{TermsId, WordId};
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
/// Statuses of a server that is asked too often.
const BUSY: [u16; 1] = [429];
/// The same, and of one that has to wait for its sources.
const LAGS: [u16; 2] = [429, 503];
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
        Ok(Self { url, address: address(url)? })
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

/// A party at a contract, as servers know him. A seller is the holder of the contract before.
pub(in crate::cli) struct Party<'a> {
    pub(in crate::cli) contract: &'a EscrowTerms,
    pub(in crate::cli) seat: Seat,
    pub(in crate::cli) signer: &'a SoftwareSigner,
}

/// Words that were read, up to which number, and why no more of them.
pub(in crate::cli) struct Said {
    pub(in crate::cli) words: Vec<Word>,
    pub(in crate::cli) upto: u64,
    pub(in crate::cli) short: Option<String>,
}

/// The server at `url`.
pub(in crate::cli) fn address(url: &str) -> Result<Address> {
    Address::parse(url).ok_or_else(|| PEER.misused("a validator's server", "http://host:port", url))
}

impl Party<'_> {
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
        // Each time that it is asked it is signed anew, so it is another request: the validator looks
        // again what he can do by now. What the word says is the same, and is said once.
        let answer = self.bring(address, "resale", core::slice::from_ref(word));
        let answer = answer.map_err(|error| error.to_string())??;
        // Numbers are those of one validator's store.
        let name = format!("{} at {url}", answer.from);
        let known = known(&name).map_err(|error| error.to_string())?;
        let Said { words, upto, short } = self.said(address, answer.from, known)?;
        let mut line = format!("{url}: {}", shown(&answer));
        line.extend(short.map(|why| format!("; not all was read, ask again: {why}")));
        Ok(Told { line, words, read: Some((name, upto)) })
    }

    /// Brings words in a request that is named by what is in it, so that the same words are the same
    /// request; answers with the validator's answer, or why there is none.
    pub(in crate::cli) fn bring(
        &self,
        address: &Address,
        name: &str,
        words: &[Word],
    ) -> Result<Result<Answer, String>> {
        let request = self.request(name, words)?;
        let brought = again(&BUSY, Instant::now() + WHOLE, || {
            let none = || Ok(Zeroizing::new(String::new()));
            address.post("/v1/requests", none, request.as_bytes(), PATIENCE, REQUEST_MAX_BYTES)
        });
        Ok(brought.and_then(|text| {
            let answer = Answer::from_json(&text).map_err(|error| error.to_string())?;
            answer.verify(self.contract).map_err(|error| error.to_string())?;
            Ok(answer)
        }))
    }

    fn request(&self, name: &str, words: &[Word]) -> Result<String> {
        let (contract, from, words) = (self.contract.id()?, self.seat, words.to_vec());
        let content = Request::message(contract, from, "", &words, None)?;
        let named: String = WordId(content).to_string().chars().take(32).collect();
        let key = format!("{name} {named}");
        let digest = Request::message(contract, from, &key, &words, None)?;
        let signature = self.signer.sign_digest(digest)?;
        let format = REQUEST_FORMAT.to_owned();
        Request { format, contract, from, key, words, psbt: None, signature }.to_json()
    }

    /// What was said in the contract behind word `known`, page by page.
    pub(in crate::cli) fn said(
        &self,
        address: &Address,
        to: Seat,
        known: u64,
    ) -> Result<Said, String> {
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
        let status = again(&BUSY, until, || address.get("/v1/status", "", QUICK, LONGEST))?;
        let status: Status = serde_json::from_str(&status).map_err(|e| e.to_string())?;
        let (tip, from) = (status.tip.hash, self.seat);
        let signed = |path: &str| -> Result<String, String> {
            let digest = Query::message(contract, from, to, path, tip)
                .and_then(|digest| self.signer.sign_digest(digest));
            let signature = digest.map_err(|error| error.to_string())?;
            let header = Query { from, tip, signature }.to_header();
            let header = format!("HashMix-Auth: {header}\r\n");
            again(&BUSY, until, || address.get(path, &header, QUICK, LONGEST))
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

/// Registers a contract at the server at `url`; a server whose sources lag behind the sale's block, or do not
/// agree yet, is asked again. Answers in a line, whether it has it or not.
pub(super) fn register(url: &str, text: &str, id: &TermsId) -> Result<Result<String, String>> {
    /// What a server answers.
    #[derive(Deserialize)]
    struct Registered {
        contract: TermsId,
    }
    let address = address(url)?;
    let answered = again(&LAGS, Instant::now() + WHOLE, || {
        let none = || Ok(Zeroizing::new(String::new()));
        address.post("/v1/contracts", none, text.as_bytes(), PATIENCE, LONGEST)
    });
    let registered = answered.and_then(|body| {
        serde_json::from_str::<Registered>(&body).map_err(|error| error.to_string())
    });
    Ok(match registered {
        Ok(Registered { contract }) if contract == *id => Ok("registered".to_owned()),
        Ok(Registered { contract }) => Err(format!("registered another contract, {contract}")),
        Err(why) => Err(why),
    })
}

/// Asks, and again after a while where the status is one of these; answers with the body, or why there is
/// none.
fn again(
    after: &[u16],
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
        if !after.contains(&status) || left == 0 || Instant::now() > until {
            return Err(refused(status, &body));
        }
        left = left.saturating_sub(1);
        sleep(PAUSE);
    }
}

/// Why a server did not do it: the rule that it names and what it found, or whatever it sent.
fn refused(status: u16, body: &str) -> String {
    /// What is told of an `application/problem+json`.
    #[derive(Deserialize)]
    struct Problem {
        rule: String,
        expected: String,
        found: String,
    }
    let told = match serde_json::from_str(body) {
        Ok(Problem { rule, expected, found }) => {
            format!("[{rule}] expected {expected}, found {found}")
        }
        Err(_) => body.to_owned(),
    };
    let told: String = told.chars().filter(|c| !c.is_control()).take(300).collect();
    format!("status {status}, {told}")
}

/// An answer in one line.
pub(in crate::cli) fn shown(answer: &Answer) -> String {
    let said = format!("{} said {} words", answer.from, answer.words.len());
    let waits = answer.waiting.iter().map(|waiting| {
        let until =
            waiting.until.map(|until| format!("until height {until}, ")).unwrap_or_default();
        format!("; waits {until}{}", waiting.why)
    });
    let refused = answer.refused.iter().map(|it| format!("; refuses by {}: {}", it.rule, it.found));
    said + &waits.chain(refused).collect::<String>()
}
