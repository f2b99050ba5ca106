//! Rulings per second on a year of certificates, cold and warm, and where the time goes.
//!
//! A ruling is what a validator does when one is asked for: the policy judges the request, the
//! journal enters it, the policy judges it again, the leaf is signed. Cold is the first one of a
//! process that has certificates and receipts as text; warm is every other one.
//!
//! Beside each time stands the time that its cryptography alone would take in the same run, in
//! `sha2` compressions (4 + 3 a level + the header's 3 for a share) and Schnorr verifications: that
//! ratio travels between machines, the times do not. `cargo bench --bench rulings`

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bitcoin::TapSighash;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Message, Secp256k1, schnorr};
use hashmix::facts::{Facts, View};
use hashmix::flow::dispute::state::Opening;
use hashmix::flow::escrow::outcome::{judge, outcome, yardstick};
use hashmix::flow::escrow::txs::Outcome;
use hashmix::flow::word::Word;
use hashmix::flow::{Contract, Effect, Event, Task, journal};
use hashmix::party::Seat;
use hashmix::policy::seat::OwnKeys;
use hashmix::policy::{self, Case, Stage, Warrant};
use hashmix::sign::software::{LeafAccount, SoftwareSigner};
use hashmix::store::Store;
use hashmix::work::certificate::Certificate;
use hashmix::work::evidence::{Evidence, SealedCertificate};
use hashmix::work::hash;
use hashmix::work::share::{prove, weigh_all};
use sha2::compress256;
use sha2::digest::consts::U64;
use sha2::digest::generic_array::GenericArray;

mod document;
mod year;

use year::{PERIODS, SHARES, Year, signer};

const V0: Seat = Seat::Validator(0);

/// Times that a part is measured where it is compared to the cryptography in it.
const TURNS: usize = 3;

fn main() {
    let (year, built) = once(Year::build);
    println!("a year was built in {built:?}");
    let mut table = Table::new();
    parts(&year, &mut table);
    let opened = opening(&year, &mut table);
    let (unsettled, settled) = rulings(&year, opened, &mut table);
    let text = table.finish(&year, unsettled, settled);
    println!("{text}");
    document::write(&text);
}

/// What the cryptography takes alone, measured in turns with what it is compared to: a busy or
/// throttled machine hits both alike.
#[derive(Clone, Copy)]
struct Limits {
    /// A compression of the `sha2` crate.
    compression: Duration,
    /// A Schnorr verification.
    verification: Duration,
}

impl Limits {
    fn measure() -> Self {
        let blocks = [GenericArray::<u8, U64>::default(); 64];
        let compression = least(|| {
            let mut state = [1u32; 8];
            (0..64).for_each(|_| compress256(&mut state, black_box(&blocks)));
            black_box(state);
        }) / (64 * 64);
        let (scribe, digest) = (signer(V0), [1; 32]);
        let signature = scribe.sign_digest(digest).expect("a signature");
        let (key, message) = (scribe.keys().communication, Message::from_digest(digest));
        let curve = Secp256k1::verification_only();
        let verification = least(|| {
            (0..64).for_each(|_| {
                let verified = curve.verify_schnorr(black_box(&signature), &message, &key);
                verified.expect("a signature");
            });
        }) / 64;
        Self { compression, verification }
    }

    /// The quicker of both.
    fn or(self, other: Self) -> Self {
        Self {
            compression: self.compression.min(other.compression),
            verification: self.verification.min(other.verification),
        }
    }

    /// What so much of it takes.
    fn of(&self, compressions: usize, verifications: usize) -> Duration {
        let times = |n: usize| u32::try_from(n).expect("a year's worth");
        self.compression * times(compressions) + self.verification * times(verifications)
    }
}

/// Where the time goes, as a document.
struct Table(String);

impl Table {
    fn new() -> Self {
        let head = "| part | ms | cryptography alone, ms | ratio |\n|---|---:|---:|---:|\n";
        Self(head.to_owned())
    }

    fn row(&mut self, part: &str, took: Duration, limit: Option<Duration>) {
        let (bare, ratio) = match limit {
            None => ("".to_owned(), "".to_owned()),
            Some(limit) => (millis(limit), hundredths(limit, took)),
        };
        let line = format!("| {part} | {} | {bare} | {ratio} |\n", millis(took));
        print!("{line}");
        self.0.push_str(&line);
    }

    fn finish(self, year: &Year, unsettled: [Duration; 2], settled: [Duration; 2]) -> String {
        let mut text = String::new();
        let (slices, shares) = (year.certificates.len(), year.certificates.len() * SHARES);
        let receipts = year.receipts.len();
        let _ = writeln!(
            text,
            "{PERIODS} periods of 144 blocks, {slices} certificates, {shares} shares, {receipts} receipts.\n\n\
             | the escrow was settled | rulings a second, cold | warm |\n|---|---:|---:|"
        );
        for (name, [cold, warm]) in [("never", unsettled), ("each period", settled)] {
            let _ = writeln!(text, "| {name} | {} | {} |", a_second(cold), a_second(warm));
        }
        let _ = write!(
            text,
            "\nCold begins with certificates and receipts as text and an empty contract; warm has them \
             verified. Times\nare those of the run that wrote this; what travels between machines is \
             the ratio: the time that the\npart's hash compressions and signature verifications take \
             alone, measured in turns with the part, over\nthe time of the part. 1.00 would do nothing else.\n\n{}",
            self.0
        );
        text
    }
}

/// The parts of a cold judgement, each for the whole year.
fn parts(year: &Year, table: &mut Table) {
    let Year { terms, facts, certificates, .. } = year;
    let headers = &facts.headers;
    let texts: Vec<String> = certificates.iter().map(Certificate::to_json).collect();
    let (_, took) = once(|| {
        texts.iter().for_each(|text| drop(black_box(Certificate::from_json(text).expect("one"))));
    });
    table.row("certificates read from text (JSON)", took, None);
    drop(texts);
    let (_, took, limits) = turns(|| {
        certificates.iter().for_each(|one| {
            let _ = black_box(one.digest());
        })
    });
    let bytes: usize = certificates
        .iter()
        .flat_map(|one| &one.shares)
        .map(|share| 88 + share.coinbase.len() + 32 * share.branch.len())
        .sum();
    table.row("digests of certificates", took, Some(limits.of(bytes / 64, 0)));

    let (work, shares) = (terms.work().expect("terms"), certificates.len() * SHARES);
    let compressions: usize = certificates
        .iter()
        .flat_map(|one| &one.shares)
        .map(|share| 3 + (share.coinbase.len() + 9).div_ceil(64) + 1 + 3 * share.branch.len())
        .sum();
    let all = |limits: Limits| Some(limits.of(compressions, 0));
    let (_, bare, limits) = turns(|| {
        for share in certificates.iter().flat_map(|one| &one.shares) {
            black_box(hash::header(black_box(&share.header)));
            black_box(hash::fold(hash::double(&share.coinbase), &share.branch));
        }
    });
    table.row("hashes of shares alone", bare, all(limits));
    let (_, took, limits) = turns(|| {
        let shares =
            certificates.iter().flat_map(|one| one.shares.iter().map(move |share| (one, share)));
        for (one, share) in shares {
            let parent = headers.height_of(share.header.prev_blockhash).expect("a parent");
            let median = headers.median_time_past(parent).expect("a median");
            prove(share, parent + 1, median, &work.demand(one.slice)).expect("a share");
        }
    });
    table.row("rules 2-5 of shares, one by one", took, all(limits));
    let (count, took, limits) = turns(|| -> usize {
        let weighed = certificates.iter().flat_map(|one| weigh_all(&one.shares, &work, headers));
        weighed.filter(Result::is_ok).count()
    });
    assert_eq!(count, shares);
    table.row("rules 1-5 of shares, two by two", took, all(limits));
    let keys = terms.reward.federation.ruling_keys();
    let (_, took, limits) = turns(|| {
        year.receipts.iter().for_each(|receipt| receipt.check(&keys).expect("a receipt"));
    });
    table.row("signatures of receipts", took, Some(limits.of(0, year.receipts.len())));

    let sealed: Vec<SealedCertificate> = certificates
        .iter()
        .zip(year.receipts.chunks(2))
        .map(|(one, two)| SealedCertificate { certificate: one.clone(), receipts: two.to_vec() })
        .collect();
    let position = terms.position().expect("an id");
    let evidence = Evidence::new(position).with(sealed.clone());
    let last = PERIODS - 1;
    let (cold, took, limits) = turns(|| judge(terms, facts, &evidence, last).expect("a verdict"));
    table.row(
        "verdict that remembers nothing",
        took,
        Some(limits.of(compressions, year.receipts.len())),
    );
    drop(evidence);
    let yardstick = yardstick(terms).expect("terms");
    let (evidence, took, limits) =
        turns(|| Evidence::remembering(position, yardstick.clone()).with(sealed.clone()));
    table.row(
        "evidence verified once",
        took,
        Some(limits.of(compressions + bytes / 64, year.receipts.len())),
    );
    let took = median(|| {
        let warm = judge(terms, facts, &evidence, last).expect("a verdict");
        assert_eq!(warm, cold);
    });
    table.row("verdict that remembers", took, None);
}

/// Opens a store that holds the year, as the engine does: reads each word and applies it.
fn opening(year: &Year, table: &mut Table) -> Opened {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("year.sqlite");
    let id = year.terms.id().expect("an id");
    let mut store = Store::open(&path).expect("a store");
    let scribe = signer(V0);
    let signature = scribe.sign_digest([1; 32]).expect("a signature");
    let bodies: Vec<_> = year
        .words()
        .into_iter()
        // Signatures of words are checked when they arrive, not when they are read again.
        .map(|(from, event)| Word::new(id, from, event, signature).to_json().expect("text"))
        .map(|text| ("word", text.into_bytes()))
        .collect();
    store.append(&id.0, &bodies, None).expect("room");
    drop((bodies, store));
    let size = std::fs::metadata(&path).map_or(0, |file| file.len()) >> 20;
    println!("the store holds {size} MiB");

    let (contract, new) = once(|| Contract::new(year.terms.clone()).expect("terms"));
    table.row("a contract's locks, one a period", new, None);
    let store = Store::open(&path).expect("a store");
    let (entries, read) = once(|| store.entries(&id.0).expect("events"));
    table.row("words read from the store", read, None);
    let (words, parsed) = once(|| -> Vec<Word> {
        let text = |body: Vec<u8>| String::from_utf8(body).expect("text");
        entries.into_iter().map(|e| Word::from_json(&text(e.body)).expect("a word")).collect()
    });
    table.row("words parsed (JSON)", parsed, None);
    let (_, named) = once(|| {
        words.iter().for_each(|word| {
            let _ = black_box(word.id().expect("id"));
        })
    });
    table.row("words named by content", named, None);
    let mut contract = contract;
    let (_, applied) = once(|| {
        words.iter().for_each(|word| contract.apply(word.from, &word.event).expect("a word"));
    });
    table.row("words applied, which verifies them once", applied, None);
    Opened { contract, took: new + read + parsed + named + applied }
}

/// A contract that was just read from its store.
struct Opened {
    contract: Contract,
    took: Duration,
}

/// A ruling through the last period, where the escrow was never settled and where it always was;
/// each cold and warm.
fn rulings(year: &Year, opened: Opened, table: &mut Table) -> ([Duration; 2], [Duration; 2]) {
    let Opened { contract, took } = opened;
    let bench = |chain: &Chain, table: &mut Table, name: &str| {
        let mut contract = contract.clone();
        for (seat, event) in &chain.words {
            contract.apply(*seat, event).expect("a word");
        }
        let warm = ruling(&mut contract, chain, table, name);
        [took + warm, warm]
    };
    let unsettled = Chain::of(year.facts.clone(), year.opening, year, &contract);
    let first = bench(&unsettled, table, "never settled");
    let (facts, opening) = year.settled();
    let settled = Chain::of(facts, opening, year, &contract);
    (first, bench(&settled, table, "always settled"))
}

/// What the chain shows and what is asked.
struct Chain {
    facts: Facts,
    words: Vec<(Seat, Event)>,
    task: Task,
    views: Vec<View>,
}

impl Chain {
    fn of(facts: Facts, opening: Opening, year: &Year, contract: &Contract) -> Self {
        let (terms, evidence) = (contract.terms(), contract.evidence());
        let outcome: Outcome = outcome(terms, &facts, evidence, PERIODS - 1).expect("an outcome");
        assert_eq!(outcome.earned, terms.price);
        let view = |place: &str| View::of_server(place.to_owned(), &facts, &[opening.outpoint]);
        let views = ["one", "another"].map(|place| view(place).expect("a tip")).into();
        let task = Task::Ruling { opening: opening.id().expect("an id"), outcome };
        Self { words: year.request(opening), task, views, facts }
    }
}

/// One ruling, step by step; answers what it takes.
fn ruling(contract: &mut Contract, chain: &Chain, table: &mut Table, name: &str) -> Duration {
    let signer = signer(V0);
    let Chain { facts, task, .. } = chain;
    let progress = median(|| drop(black_box(contract.locked().progress(facts).expect("locks"))));
    table.row(&format!("{name}: the escrow followed to its present output"), progress, None);
    let Task::Ruling { opening, outcome } = task else { unreachable!("a ruling is asked") };
    let just = median(|| {
        let ours = contract.dispute().just(contract.locked(), facts, contract.evidence(), opening);
        assert_eq!(ours.expect("an outcome"), *outcome);
    });
    table.row(&format!("{name}: what the evidence says"), just, None);
    let enter = median(|| drop(judged(contract, chain, &signer, Stage::Enter)));
    table.row(&format!("{name}: the policy, before the journal"), enter, None);

    let bond = *judged(contract, chain, &signer, Stage::Enter).bond();
    let (_, entered) = once(|| enter_journal(contract, facts, &signer, bond));
    table.row(&format!("{name}: the journal, and who holds it"), entered, None);
    let sign = median(|| drop(judged(contract, chain, &signer, Stage::Sign)));
    table.row(&format!("{name}: the policy, before the signature"), sign, None);
    let warrant = judged(contract, chain, &signer, Stage::Sign);
    let signed = median(|| {
        let _ = black_box(signature(&warrant, &signer));
    });
    let (_, quickest, limits) = turns(|| black_box(signature(&warrant, &signer)));
    table.row(&format!("{name}: the signature"), quickest, Some(limits.verification));
    enter + entered + sign + signed
}

fn judged(contract: &Contract, chain: &Chain, signer: &SoftwareSigner, stage: Stage) -> Warrant {
    let keys = signer.keys();
    let case = Case {
        contract,
        facts: &chain.facts,
        views: &chain.views,
        place: 0,
        keys: OwnKeys {
            musig: &keys.musig,
            leaf: &keys.leaf,
            exit: &keys.exit,
            communication: keys.communication,
        },
    };
    policy::judge(&case, contract.id(), &chain.task, stage).expect("an honest request")
}

/// Enters what is about to be signed; another validator holds it.
fn enter_journal(
    contract: &mut Contract,
    facts: &Facts,
    signer: &SoftwareSigner,
    bond: journal::Bond,
) {
    let (number, previous) = contract.journals().head(0);
    let digest = journal::digest(contract.id(), 0, number, previous, &bond).expect("a digest");
    let signature = signer.sign_digest(digest.0).expect("a signature");
    let entry = journal::Entry { number, previous, bond, signature };
    let tip = facts.headers.hash(facts.tip()).expect("a tip");
    let said = Event::Journal(journal::Event::Entered { entry, tip });
    contract.admit(facts, V0, &said).expect("an entry");
    contract.apply(V0, &said).expect("an entry");
    let witness = Seat::Validator(1);
    let held = contract.journals().next(1).into_iter().find_map(|effect| match effect {
        Effect::Say(said) => Some(said),
        _ => None,
    });
    let held = held.expect("an entry to witness");
    contract.admit(facts, witness, &held).expect("a witness");
    contract.apply(witness, &held).expect("a witness");
}

fn signature(warrant: &Warrant, signer: &SoftwareSigner) -> schnorr::Signature {
    let draft = warrant.draft();
    let spend = &draft.spends()[0];
    let leaf = spend.lock.leaf(spend.path).expect("a ruling leaf");
    let key = leaf.keys.iter().find(|key| key.seat == V0).expect("our key");
    let sighash = TapSighash::from_byte_array(draft.sighash(0).expect("a sighash"));
    signer.sign_leaf(LeafAccount::Leaf, &key.steps, sighash).expect("a signature").1
}

fn once<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let begin = Instant::now();
    let result = work();
    (result, begin.elapsed())
}

/// Some work in turns with its limits; what the quickest turn of each took.
fn turns<R>(mut work: impl FnMut() -> R) -> (R, Duration, Limits) {
    let mut limits = Limits::measure();
    let (mut result, mut took) = once(&mut work);
    for _ in 1..TURNS {
        limits = limits.or(Limits::measure());
        let (again, time) = once(&mut work);
        (result, took) = (again, took.min(time));
    }
    (result, took, limits.or(Limits::measure()))
}

/// The quickest of some runs.
fn least(mut work: impl FnMut()) -> Duration {
    (0..11).map(|_| once(&mut work).1).min().unwrap_or_default()
}

/// The median of some runs.
fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..11).map(|_| once(&mut work).1).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn millis(time: Duration) -> String {
    let micros = time.as_micros();
    format!("{}.{:03}", micros / 1_000, micros % 1_000)
}

fn hundredths(part: Duration, whole: Duration) -> String {
    let ratio = part.as_nanos() * 100 / whole.as_nanos().max(1);
    format!("{}.{:02}", ratio / 100, ratio % 100)
}

fn a_second(took: Duration) -> String {
    let hundred = 100_000_000_000 / took.as_nanos().max(1);
    format!("{}.{:02}", hundred / 100, hundred % 100)
}
