//! `hashmix validator`: the desk of somebody who decides with others. A file in, a file out; a
//! server is not needed.

use std::path::Path;

use crate::cli::arguments::{DeskArguments, RequestArguments};
use crate::cli::file::{self, Readers};
use crate::cli::{Done, seed, terms};
use crate::error::{Culprit, Error, Result, Rule};
use crate::flow::Event;
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::journal::Event as Journal;
use crate::flow::word::{WORD_MAX_BYTES, Word};
use crate::id::TermsId;
use crate::party::Seat;
use crate::sign::software::SoftwareSigner;
use crate::validator::answer::{ANSWER_FORMAT, Answer};
use crate::validator::desk::Desk;
use crate::validator::registration::REGISTRATION_MAX_BYTES;
use crate::validator::request::{REQUEST_FORMAT, REQUEST_MAX_BYTES, Request};
use crate::validator::sources::Sources;
use crate::validator::standing::Standing;

/// Something of a request is granted.
pub const GRANTED: Rule = Rule::new(
    "validator-granted",
    "a request has something in it that can be granted",
    "read the refusals in the answer: each is signed and says what can be done",
);
/// A seat has a name.
pub const SEAT: Rule = Rule::new(
    "validator-seat",
    "a seat is named miner, holder or validator-N, counted from 0 in the federation's record",
    "name the seat that your record fills",
);
/// A node is shown its cookie.
#[cfg(feature = "core")]
pub const COOKIE: Rule = Rule::new(
    "validator-cookie",
    "a Bitcoin Core is named together with its cookie's file",
    "add --cookie; the file is `.cookie` in the node's data directory",
);

/// Longest PSBT that is read, in bytes.
const PSBT_MAX_BYTES: usize = 1 << 20;

/// Whom the desk asks about the chain.
pub(super) fn sources(arguments: &DeskArguments) -> Result<Sources> {
    Ok(Sources {
        network: arguments.home.network,
        electrum: arguments.electrum.clone(),
        #[cfg(feature = "core")]
        core: match (&arguments.core, &arguments.cookie) {
            (None, _) => None,
            (Some(url), Some(cookie)) => Some(crate::chain::core::Node {
                url: url.clone(),
                auth: crate::chain::core::Auth::Cookie(cookie.clone()),
            }),
            (Some(_), None) => return Err(COOKIE.misused("--core", "--cookie FILE", "none")),
        },
    })
}

/// Opens the desk.
fn open(arguments: &DeskArguments) -> Result<Desk> {
    let sources = sources(arguments)?;
    // A desk that cannot work asks for no secrets.
    sources.check()?;
    let home = &arguments.home;
    Desk::open(&home.home, seed::read(&home.seed())?, sources)
}

/// Registers a contract.
pub fn register(arguments: &DeskArguments, path: &Path) -> Result<Vec<String>> {
    let text = file::text(path, REGISTRATION_MAX_BYTES)?;
    let mut desk = open(arguments)?;
    let id = desk.register(&text).map_err(|error| error.within(path.display()))?;
    let standing = desk.standing(id)?;
    Ok(vec![
        format!("registered  {id}"),
        format!("seat        {}", standing.seat),
        "next        parties hand in requests; run `hashmix validator rule` or `serve`".to_owned(),
    ])
}

/// Answers a request in a file, without a server.
pub fn rule(arguments: &DeskArguments, path: &Path, out: Option<&Path>) -> Result<Done> {
    let text = file::text(path, REQUEST_MAX_BYTES)?;
    let mut desk = open(arguments)?;
    let said =
        desk.hand_in(&text, REQUEST_MAX_BYTES).map_err(|error| error.within(path.display()))?;
    let answer = Answer::from_json(&said)?;
    let lines = match out {
        Some(out) => {
            file::write(out, said.as_bytes(), Readers::Anyone)?;
            vec![
                format!("answer    {}", out.display()),
                format!("words     {}", answer.words.len()),
                format!("refused   {}", answer.refused.len()),
                format!("waiting   {}", answer.waiting.len()),
            ]
        }
        None => vec![said],
    };
    Ok(Done { lines, but: refused(&answer) })
}

/// The error behind an answer that grants nothing.
fn refused(answer: &Answer) -> Option<Error> {
    let first = answer.refused.first().filter(|_| answer.refuses_all())?;
    let found = format!("[{}] {}: {}", first.rule, first.place, first.found);
    Some(GRANTED.refuses(Culprit::Sender, "answer", "at least one word", found))
}

/// How one contract stands, or all of them.
pub fn status(arguments: &DeskArguments, contract: Option<&str>) -> Result<Vec<String>> {
    let mut desk = open(arguments)?;
    let standings = match contract {
        Some(id) => vec![desk.standing(id.parse::<TermsId>()?)?],
        None => desk.contracts(),
    };
    let mut lines: Vec<String> = standings.iter().flat_map(describe).collect();
    for (name, error) in desk.unread() {
        lines.push(format!("contract    {name}"));
        lines.push(format!("  trouble   {error}"));
    }
    if lines.is_empty() {
        lines.push("no contract is registered here".to_owned());
    }
    Ok(lines)
}

fn describe(standing: &Standing) -> Vec<String> {
    let mut lines = vec![
        format!("contract    {}", standing.contract),
        format!("  seat      {}", standing.seat),
        format!("  phase     {}", format!("{:?}", standing.phase).to_lowercase()),
    ];
    if let Some((height, hash)) = &standing.tip {
        lines.push(format!("  tip       {height}, {hash}"));
    }
    if let Some(escrow) = &standing.escrow {
        lines.push(format!("  escrow    {} sat, index {}, {}", escrow.sat, escrow.index, {
            escrow.outpoint
        }));
    }
    lines.extend(standing.disputes.iter().map(|id| format!("  dispute   {id}")));
    for waiting in &standing.waiting {
        let until = waiting.until.map(|height| format!("height {height}: ")).unwrap_or_default();
        lines.push(format!("  waits     {until}{}", waiting.why));
    }
    if let Some(ruled) = &standing.last_ruling {
        let closes = if ruled.closes { ", closes" } else { "" };
        let (period, earned) = (ruled.period.saturating_add(1), ruled.earned.to_sat());
        lines.push(format!("  ruled     {earned} sat earned through period {period}{closes}"));
    }
    lines.extend(standing.trouble.iter().map(|trouble| format!("  trouble   {trouble}")));
    lines
}

/// Makes a signed request out of files with words.
pub fn request(arguments: &RequestArguments) -> Result<Vec<String>> {
    let terms = terms::read(&arguments.terms)?;
    let from = seat(&arguments.seat)?;
    let mut words = Vec::new();
    for path in &arguments.words {
        words.extend(said(path, &terms).map_err(|error| error.within(path.display()))?);
    }
    let psbt = match &arguments.psbt {
        Some(path) => Some(file::text(path, PSBT_MAX_BYTES)?.trim().to_owned()),
        None => None,
    };
    let network = terms.reward.network;
    let secrets = seed::read(&arguments.source)?.record(network, arguments.number)?;
    let signer = SoftwareSigner::new(secrets, network)?;
    let (contract, key) = (terms.id()?, arguments.key.clone());
    let digest = Request::message(contract, from, &key, &words, psbt.as_deref())?;
    let signature = signer.sign_digest(digest)?;
    let format = REQUEST_FORMAT.to_owned();
    let request = Request { format, contract, from, key, words, psbt, signature };
    // What the desk would refuse is told here already, but for what it alone knows.
    let text = request.to_json()?;
    Request::from_json(&text, REQUEST_MAX_BYTES)?;
    request.check_sender(&terms, other(from))?;
    request.check_words(&terms)?;
    file::write(&arguments.out, text.as_bytes(), Readers::Anyone)?;
    Ok(vec![
        format!("request   {}", arguments.out.display()),
        format!("words     {}", request.words.len()),
        "next      hand it to each validator; the same file gets the same answer".to_owned(),
    ])
}

/// A validator whose store is an old copy takes his journal back from the others, and gets the word
/// by which he did. Where it was said already it is written again: a crash may have come between.
pub fn resolve(
    arguments: &DeskArguments,
    contract: &str,
    out: Option<&Path>,
) -> Result<Vec<String>> {
    let contract = contract.parse()?;
    let mut desk = open(arguments)?;
    let seat = desk.standing(contract)?.seat;
    let journal = match desk.restore_journal(contract) {
        Ok(taken) => format!("{taken} entries taken over from the other validators"),
        Err(error @ Error::Usage(_)) => match restored(&desk, contract, seat)? {
            Some(_) => "taken over before; this is what was said then".to_owned(),
            None => return Err(error),
        },
        Err(error) => return Err(error),
    };
    let mut lines = vec![format!("contract  {contract}"), format!("journal   {journal}")];
    if let (Some(out), Some(word)) = (out, restored(&desk, contract, seat)?) {
        file::write(out, word.to_json()?.as_bytes(), Readers::Anyone)?;
        lines.push(format!("word      {}", out.display()));
        lines.push(
            "next      bring it to the other validators in a request, and here what they and the \
             parties have said since the copy was made"
                .to_owned(),
        );
    } else {
        lines.push(
            "next      `serve --peer` brings the others the word, `resolve --out` writes it; bring \
             here what they and the parties have said since the copy was made"
                .to_owned(),
        );
    }
    Ok(lines)
}

/// The last word by which this desk took its journal back.
fn restored(desk: &Desk, contract: TermsId, ours: Seat) -> Result<Option<Word>> {
    let all = desk.words(contract, 0, usize::MAX)?.into_iter().map(|numbered| numbered.word);
    let restored = |word: &Word| matches!(word.event, Event::Journal(Journal::Restored { .. }));
    Ok(all.rev().find(|word| word.from == ours && restored(word)))
}

/// Answers over HTTP until told to stop. The log goes to standard error as it happens.
#[cfg(feature = "validator")]
pub fn serve(
    arguments: &DeskArguments,
    listen: std::net::SocketAddr,
    peers: &[String],
) -> Result<Vec<String>> {
    use crate::validator::server::{self, Limits};
    let desk = open(arguments)?;
    server::serve(desk, listen, peers, Limits::default())?;
    Ok(Vec::new())
}

/// A validator's seat that is not `from`.
fn other(from: Seat) -> Seat {
    match from {
        Seat::Validator(0) => Seat::Validator(1),
        _ => Seat::Validator(0),
    }
}

/// What a file says: one word, or those of a validator's answer in their order.
pub(super) fn said(path: &Path, terms: &EscrowTerms) -> Result<Vec<Word>> {
    /// What both kinds of file begin with.
    #[derive(serde::Deserialize)]
    struct Kind {
        format: String,
    }
    let text = file::text(path, WORD_MAX_BYTES)?;
    match serde_json::from_str::<Kind>(&text) {
        Ok(kind) if kind.format == ANSWER_FORMAT => {
            let answer = Answer::from_json(&text)?;
            answer.verify(terms)?;
            Ok(answer.words.into_iter().map(|numbered| numbered.word).collect())
        }
        // What is neither is told as what a word lacks.
        _ => Ok(vec![Word::from_json(&text)?]),
    }
}

fn seat(name: &str) -> Result<Seat> {
    Seat::from_slug(name)
        .ok_or_else(|| SEAT.misused("--seat", "miner, holder or validator-N", name))
}
