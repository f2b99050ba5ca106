//! Validators' servers, as a party knows them: words are brought to each, and what was said in the contract
//! is fetched, at a resale without the miner and at every seat ([`crate::cli::contract`]); a contract that
//! was bought is registered there. Who has peers carries words on himself; for others there are files.
//!
//! A server that is away, or says something else, is told in a line and stops nothing: k of n are enough.

use std::thread::sleep;
use std::time::Duration;

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

/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
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

/// What came of one server.
pub(in crate::cli) struct Told {
    /// In a line.
    pub(in crate::cli) line: String,
    /// Everything that was said in the contract, as far as that server knows.
    pub(in crate::cli) words: Vec<Word>,
}

/// A party at a contract, as servers know him. A seller is the holder of the contract before.
pub(in crate::cli) struct Party<'a> {
    pub(in crate::cli) contract: &'a EscrowTerms,
    pub(in crate::cli) seat: Seat,
    pub(in crate::cli) signer: &'a SoftwareSigner,
}

/// The server at `url`.
pub(in crate::cli) fn address(url: &str) -> Result<Address> {
    Address::parse(url).ok_or_else(|| PEER.misused("a validator's server", "http://host:port", url))
}

impl Party<'_> {
    /// Brings his word to the server at `url`, and fetches what was said.
    pub(in crate::cli) fn ask(&self, url: &str, word: &Word) -> Result<Told> {
        let address = address(url)?;
        // Each time that it is asked it is signed anew, so it is another request: the validator looks
        // again what he can do by now. What the word says is the same, and is said once.
        let told = match self.bring(&address, "resale", core::slice::from_ref(word))? {
            Ok(answer) => self.said(&address, answer.from, 0).map(|(words, _)| (answer, words)),
            Err(why) => Err(why),
        };
        Ok(match told {
            Ok((answer, words)) => Told { line: format!("{url}: {}", shown(&answer)), words },
            Err(why) => Told { line: format!("{url}: {why}"), words: Vec::new() },
        })
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
        let brought = again(&BUSY, || {
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

    /// What was said in the contract behind number `after`, page by page, and the last number of it.
    pub(in crate::cli) fn said(
        &self,
        address: &Address,
        to: Seat,
        mut after: u64,
    ) -> Result<(Vec<Word>, u64), String> {
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
        struct Page {
            words: Vec<Numbered>,
        }
        let contract = self.contract.id().map_err(|error| error.to_string())?;
        let mut words = Vec::new();
        loop {
            let status = again(&BUSY, || address.get("/v1/status", "", PATIENCE, LONGEST))?;
            let status: Status = serde_json::from_str(&status).map_err(|e| e.to_string())?;
            let (tip, from) = (status.tip.hash, self.seat);
            let path = format!("/v1/contracts/{contract}/words?after={after}");
            let digest = Query::message(contract, from, to, &path, tip)
                .and_then(|digest| self.signer.sign_digest(digest));
            let signature = digest.map_err(|error| error.to_string())?;
            let header = Query { from, tip, signature }.to_header();
            let header = format!("HashMix-Auth: {header}\r\n");
            let page = again(&BUSY, || address.get(&path, &header, PATIENCE, LONGEST))?;
            let page: Page = serde_json::from_str(&page).map_err(|e| e.to_string())?;
            // Numbers grow, or there would be no end.
            match page.words.last().map(|last| last.number).filter(|number| *number > after) {
                Some(number) => after = number,
                None => return Ok((words, after)),
            }
            words.extend(page.words.into_iter().map(|numbered| numbered.word));
        }
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
    let address = Address::parse(url)
        .ok_or_else(|| PEER.misused("a validator's server", "http://host:port", url))?;
    let answered = again(&LAGS, || {
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
    ask: impl Fn() -> Result<(u16, Vec<u8>), Trouble>,
) -> Result<String, String> {
    let mut left = AGAIN;
    loop {
        let (status, body) = ask().map_err(|trouble| trouble.to_string())?;
        let body = String::from_utf8_lossy(&body).into_owned();
        if status == 200 {
            return Ok(body);
        }
        if !after.contains(&status) || left == 0 {
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
