//! Every word in every state of the contract, by every speaker: an arrow, or a refusal by its rule.
//!
//! The tables below are the arrows; whatever they do not list is refused. The tables in the docs of
//! the flows are read as text and compared with the code.

use bitcoin::OutPoint;
use bitcoin::hashes::Hash;
use hashmix::flow::dispute::state::{Event as DisputeEvent, Shown};
use hashmix::flow::escrow::state::{Ask, Event as EscrowEvent};
use hashmix::flow::escrow::txs::{exit, settlement};
use hashmix::flow::reward::state::{Event as RewardEvent, SweepAsk, draft as sweep_draft};
use hashmix::flow::reward::txs::SweepPath;
use hashmix::flow::{Event, dispute};
use hashmix::musig::Session;
use hashmix::party::Seat;
use hashmix::script::lock::Path;
use hashmix::tx::draft::Draft;
use hashmix::tx::signed::Signed;
use hashmix::work::receipt::Subject;

use crate::world::{FULL, FUNDED, Play, SEATS, World, outcome, sign, signer, terms};

/// What the chain may say of the escrow when a word arrives.
const CHAIN: [&str; 8] =
    ["unfunded", "waiting", "unripe", "open", "spent", "relocked", "ended", "exited"];

/// The contract in a state, after everything that had to be said for it.
struct Scene {
    play: Play,
    /// The words, by name, as the rightful speaker would say them about the first output.
    words: Vec<(&'static str, Seat, Event)>,
}

/// Signs a key path as miner and holder together.
fn join(draft: &Draft) -> bitcoin::secp256k1::schnorr::Signature {
    let context = draft.spends()[0].lock.key_path.clone().unwrap();
    let message = draft.sighash(0).unwrap();
    let people = [Seat::Miner, Seat::Holder].map(signer);
    let nonces = people.map(|person| person.begin(&context, message).unwrap());
    let shown: Vec<_> = nonces.iter().map(|(secret, public)| (secret.owner(), *public)).collect();
    let session = Session::new(&context, &shown, message).unwrap();
    let parts: Vec<_> = people
        .into_iter()
        .zip(nonces)
        .map(|(person, (secret, _))| (secret.owner(), person.sign_part(&session, secret).unwrap()))
        .collect();
    session.aggregate(&parts).unwrap()
}

/// One period delivered in full; the first output is open, deep and its period ripe.
fn open() -> Play {
    let mut play = Play::funded(20);
    play.deliver(0, FULL);
    play.ripen(0);
    play
}

fn words(play: &Play) -> Vec<(&'static str, Seat, Event)> {
    let terms = &play.world.terms;
    let coin = play.world.coin();
    let ask = play.ask(0);
    let state = |path| settlement(terms, &coin, ask.outcome, path, 2, None).unwrap();
    let signed = |seat| {
        let signatures = sign(&state(Path::Agreed), seat);
        Event::Escrow(EscrowEvent::Signed { ask, signatures })
    };
    let joined = EscrowEvent::Joined { ask, signature: join(&state(Path::Key)) };
    let opening = play.opening(Seat::Miner, 0);
    let id = opening.id().unwrap();
    let digest = id.0;
    let receipt = play.world.receipt(0, Subject::Opening { digest }, play.world.tip());
    let shown = Shown {
        outcome: ask.outcome,
        sat_per_vb: 2,
        signatures: sign(&state(Path::Agreed), Seat::Holder),
    };
    let ruling = dispute::txs::ruling(terms, &coin, ask.outcome, Seat::Miner, 2).unwrap();
    let ruled = |seat| {
        let signatures = sign(&ruling, seat);
        let outcome = ask.outcome;
        Event::Dispute(DisputeEvent::Ruled { opening: id, outcome, signatures })
    };
    vec![
        ("asked", Seat::Miner, Event::Escrow(EscrowEvent::Asked(ask))),
        ("signed by the holder", Seat::Holder, signed(Seat::Holder)),
        ("signed by the miner", Seat::Miner, signed(Seat::Miner)),
        ("joined", Seat::Miner, Event::Escrow(joined)),
        ("opened", Seat::Miner, Event::Dispute(DisputeEvent::Opened(opening))),
        ("receipted", Seat::Validator(0), Event::Dispute(DisputeEvent::Receipted(receipt))),
        ("answered", Seat::Holder, Event::Dispute(DisputeEvent::Answered { opening: id, shown })),
        ("ruled by a validator", Seat::Validator(0), ruled(Seat::Validator(0))),
        ("ruled by the miner", Seat::Miner, ruled(Seat::Miner)),
    ]
}

/// The contract where the chain says `name`; words are about the output of the open escrow.
fn scene(name: &str) -> Scene {
    let play = open();
    let words = words(&play);
    let agreed = |play: &Play, closes| {
        let coin = play.world.coin();
        let o = outcome(0, 10_000_000, closes);
        let draft = settlement(&play.world.terms, &coin, o, Path::Agreed, 2, None).unwrap();
        let [miner, holder] = [Seat::Miner, Seat::Holder].map(|seat| sign(&draft, seat));
        let mut signed = Signed::new(draft);
        signed.add(Seat::Miner, &miner).unwrap();
        signed.add(Seat::Holder, &holder).unwrap();
        signed.finish().unwrap().tx
    };
    let mut play = play;
    match name {
        "unfunded" | "waiting" => {
            let tip = play.world.tip();
            play.world = World::unfunded(terms(), tip);
            if name == "waiting" {
                play.world.fund();
            }
        }
        "unripe" => {
            let tip = play.world.tip();
            play.world.rewind_to(tip - 1);
        }
        "open" => {}
        "spent" => play.world.send(agreed(&play, false)),
        "relocked" => {
            play.world.send(agreed(&play, false));
            play.world.mine_to(play.world.tip() + 6);
        }
        "ended" => {
            play.world.send(agreed(&play, true));
            play.world.mine_to(play.world.tip() + 6);
        }
        "exited" => {
            play.world.mine_to(191);
            let draft = exit(&play.world.terms, &play.world.coin(), Seat::Holder, 2).unwrap();
            let signatures = sign(&draft, Seat::Holder);
            let mut signed = Signed::new(draft);
            signed.add(Seat::Holder, &signatures).unwrap();
            play.world.send(signed.finish().unwrap().tx);
        }
        other => panic!("no state is called {other}"),
    }
    Scene { play, words }
}

/// In which states of the chain each word is admitted from its rightful speaker, and by which rule
/// it is refused in the others. "opened" before it counts as said, the rest as not.
fn expected(word: &str, chain: &str) -> &'static str {
    let (settled, disputed) = match chain {
        // Not seen here yet: it may still come.
        "unfunded" | "waiting" => ("escrow-present", "dispute-timely"),
        "unripe" => ("escrow-ripe", "dispute-timely"),
        "open" => ("admitted", "admitted"),
        // Kept as history, without effect: whoever was away can read it later.
        "spent" | "relocked" | "ended" | "exited" => ("admitted", "admitted"),
        other => panic!("no state is called {other}"),
    };
    match word {
        "asked" | "signed by the holder" | "signed by the miner" | "joined" => settled,
        "opened" => disputed,
        // A validator may say at any time what he has seen.
        "receipted" => "admitted",
        "answered" | "ruled by a validator" | "ruled by the miner" => "dispute-opened",
        other => panic!("no word is called {other}"),
    }
}

#[test]
fn words_about_the_escrow_meet_every_state_of_the_chain_from_every_seat() {
    for chain in CHAIN {
        let Scene { play, words } = scene(chain);
        for (word, speaker, event) in words {
            for seat in SEATS {
                let found = play.judge(seat, &event);
                if seat == speaker {
                    assert_eq!(found, expected(word, chain), "{word} while {chain}");
                    continue;
                }
                // Somebody else's mouth: his seat is wrong, or the signature is not his.
                let not_his = match word {
                    "signed by the holder" | "signed by the miner"
                        if matches!(seat, Seat::Miner | Seat::Holder) =>
                    {
                        if chain == "open" {
                            "tx-signature"
                        } else {
                            expected(word, chain)
                        }
                    }
                    // A state proves itself, whoever shows it; a dispute must be known first.
                    "answered" | "ruled by a validator" | "ruled by the miner" => "dispute-opened",
                    _ => "flow-speaker",
                };
                assert_eq!(found, not_his, "{word} by {seat} while {chain}");
            }
        }
    }
}

/// States of a dispute on an open escrow.
const DISPUTE: [&str; 5] = ["said", "opened", "heard", "ruled", "settled"];

fn disputed(name: &str) -> Scene {
    let mut play = open();
    let words = words(&play);
    let say = |play: &mut Play, name: &str| {
        let (_, seat, event) = words.iter().find(|(word, ..)| *word == name).unwrap();
        play.say(*seat, event.clone()).unwrap();
    };
    say(&mut play, "opened");
    let stage = DISPUTE.iter().position(|stage| *stage == name).unwrap();
    if stage >= 1 {
        play.act(Seat::Validator(0));
        play.act(Seat::Validator(1));
    }
    if stage >= 2 {
        play.world.mine_to(play.world.tip() + 6);
    }
    if stage >= 3 {
        play.act(Seat::Validator(0));
        play.act(Seat::Validator(1));
    }
    if stage >= 4 {
        assert_eq!(play.act(Seat::Miner).len(), 1);
    }
    Scene { play, words }
}

#[test]
fn words_of_a_dispute_meet_every_stage_from_every_seat() {
    for stage in DISPUTE {
        let Scene { play, words } = disputed(stage);
        for (word, speaker, event) in &words {
            for seat in SEATS {
                let right = seat == *speaker;
                let validator = matches!(seat, Seat::Validator(_));
                let found = play.judge(seat, event);
                let expected = match (*word, stage) {
                    ("opened", _) if !right => "flow-speaker",
                    ("opened", _) => "admitted",
                    ("receipted", _) if right => "admitted",
                    ("receipted", _) => "flow-speaker",
                    // A state proves itself, whoever shows it.
                    ("answered", _) => "admitted",
                    ("ruled by a validator" | "ruled by the miner", _)
                        if !validator && seat != Seat::Miner =>
                    {
                        "flow-speaker"
                    }
                    ("ruled by a validator" | "ruled by the miner", "said" | "opened") => {
                        "dispute-heard"
                    }
                    // About a spent output everything is history.
                    ("ruled by a validator" | "ruled by the miner", "settled") => "admitted",
                    // The side that asked signs under k equal rulings, not before.
                    ("ruled by a validator" | "ruled by the miner", "heard")
                        if seat == Seat::Miner =>
                    {
                        "dispute-heard"
                    }
                    ("ruled by a validator" | "ruled by the miner", _) if right => "admitted",
                    ("ruled by a validator" | "ruled by the miner", _) => "tx-signature",
                    // Settlements go on beside a dispute until its output is spent.
                    ("asked" | "joined", _) if !right => "flow-speaker",
                    (_, _) if validator => "flow-speaker",
                    (_, "settled") => "admitted",
                    (_, _) if right => "admitted",
                    (_, _) => "tx-signature",
                };
                assert_eq!(found, expected, "{word} by {seat} while {stage}");
            }
        }
    }
}

/// A reward, mature and not: the first coinbase of the term.
fn reward_words(play: &Play) -> Vec<(&'static str, Seat, Event)> {
    let certificate = play.world.certificate(0, 2);
    let digest = certificate.digest();
    let subject = Subject::Certificate { slice: 0, digest };
    let receipt = play.world.receipt(1, subject, play.world.tip());
    let mut rewards: Vec<OutPoint> = play
        .world
        .transactions
        .iter()
        .filter(|(_, seen)| seen.tx.is_coinbase() && seen.height == Some(20))
        .map(|(txid, _)| OutPoint::new(*txid, 0))
        .collect();
    rewards.truncate(1);
    let ask = |path| SweepAsk { path, rewards: rewards.clone(), sat_per_vb: 2 };
    let asked = |path| Event::Reward(RewardEvent::SweepAsked(ask(path)));
    vec![
        ("certified", Seat::Miner, Event::Reward(RewardEvent::Certified(certificate))),
        ("receipted", Seat::Validator(1), Event::Reward(RewardEvent::Receipted(receipt))),
        ("asked by the miner", Seat::Miner, asked(SweepPath::MinerRuling)),
        ("asked by the holder", Seat::Holder, asked(SweepPath::HolderRuling)),
        ("asked by both", Seat::Holder, asked(SweepPath::Agreed)),
        ("asked alone", Seat::Holder, asked(SweepPath::HolderExit)),
        ("asked by key", Seat::Holder, asked(SweepPath::Key)),
    ]
}

#[test]
fn words_about_rewards_meet_every_state_of_a_reward_from_every_seat() {
    for state in ["immature", "mature", "swept", "reorganised"] {
        let mut play = Play::funded(40);
        let words = reward_words(&play);
        if state != "immature" {
            play.world.mine_to(20 + 99);
        }
        match state {
            "swept" => {
                let (_, _, event) = &words[4];
                play.say(Seat::Holder, event.clone()).unwrap();
                for seat in [Seat::Miner, Seat::Holder] {
                    play.act(seat);
                }
            }
            "reorganised" => play.world.rewind_to(19),
            _ => {}
        }
        for (word, speaker, event) in &words {
            for seat in SEATS {
                let party = matches!(seat, Seat::Miner | Seat::Holder);
                let allowed = if *word == "asked by both" { party } else { seat == *speaker };
                let sweeps = match state {
                    // About a swept reward everything is history.
                    "mature" | "swept" => "admitted",
                    _ => "reward-sweepable",
                };
                let expected = match *word {
                    _ if !allowed => "flow-speaker",
                    "certified" if state == "reorganised" => "work-share-parent",
                    "certified" | "receipted" => "admitted",
                    // Nobody is asked for what one signs alone or both sign in a session.
                    "asked alone" | "asked by key" => "flow-speaker",
                    _ => sweeps,
                };
                let found = play.judge(seat, event);
                // Without the block of the share, its height is not known here either.
                let found = if found == "headers-known" { "work-share-parent" } else { found };
                assert_eq!(found, expected, "{word} by {seat} while {state}");
            }
        }
    }
}

#[test]
fn signatures_of_a_sweep_meet_every_path_and_seat() {
    let mut play = Play::funded(20 + 99);
    let words = reward_words(&play);
    for (name, _, event) in &words[2..5] {
        let Event::Reward(RewardEvent::SweepAsked(ask)) = event else { panic!("a request") };
        let draft = sweep_draft(&play.world.terms, &play.world.facts(), ask).unwrap();
        let signer_of = SEATS.map(|seat| (seat, ask.path.signed_by(seat)));
        let id = ask.id().unwrap();
        let word = |signatures| Event::Reward(RewardEvent::SweepSigned { ask: id, signatures });
        let early = word(sign(&draft, signer_of.iter().find(|(_, signs)| *signs).unwrap().0));
        for seat in SEATS {
            assert_eq!(play.judge(seat, &early), "reward-asked", "{name} by {seat}");
        }
        play.say(ask_speaker(ask.path), event.clone()).unwrap();
        for (seat, signs) in signer_of {
            if signs {
                assert_eq!(play.judge(seat, &word(sign(&draft, seat))), "admitted", "{name}");
            } else {
                assert_eq!(play.judge(seat, &early), "tx-signature", "{name} by {seat}");
            }
        }
    }
}

fn ask_speaker(path: SweepPath) -> Seat {
    if path == SweepPath::MinerRuling { Seat::Miner } else { Seat::Holder }
}

#[test]
fn certificates_and_receipts_of_another_position_are_refused() {
    let play = Play::funded(40);
    let mut certificate = play.world.certificate(0, 2);
    certificate.position = hashmix::id::PositionId([4; 32]);
    let word = Event::Reward(RewardEvent::Certified(certificate));
    assert_eq!(play.judge(Seat::Miner, &word), "reward-position");
    let subject = Subject::Opening { digest: [1; 32] };
    let mut receipt = play.world.receipt(0, subject, FUNDED);
    receipt.tip = bitcoin::BlockHash::all_zeros();
    let word = Event::Reward(RewardEvent::Receipted(receipt));
    assert_eq!(play.judge(Seat::Validator(0), &word), "work-receipt-signature");
}

#[test]
fn fee_rates_outside_the_terms_are_refused_in_every_request() {
    let mut play = open();
    for sat_per_vb in [0, 1, 51, u64::MAX] {
        let ask = Ask { sat_per_vb, ..play.ask(0) };
        let word = Event::Escrow(EscrowEvent::Asked(ask));
        assert_eq!(play.judge(Seat::Miner, &word), "terms-fees");
    }
    play.world.mine_to(20 + 99);
    let (_, _, event) = &reward_words(&play)[4];
    let Event::Reward(RewardEvent::SweepAsked(ask)) = event else { panic!("a request") };
    for sat_per_vb in [0, 1, 51, u64::MAX] {
        let word = Event::Reward(RewardEvent::SweepAsked(SweepAsk { sat_per_vb, ..ask.clone() }));
        assert_eq!(play.judge(Seat::Holder, &word), "terms-fees");
    }
    let none = SweepAsk { rewards: Vec::new(), ..ask.clone() };
    let word = Event::Reward(RewardEvent::SweepAsked(none));
    assert_eq!(play.judge(Seat::Holder, &word), "reward-sweepable");
    let twice = SweepAsk { rewards: [&ask.rewards[..], &ask.rewards[..]].concat(), ..ask.clone() };
    let word = Event::Reward(RewardEvent::SweepAsked(twice));
    assert_eq!(play.judge(Seat::Holder, &word), "tx-built");
}

/// The words that a flow's table documents, as serde writes them.
fn documented(source: &str) -> Vec<String> {
    source
        .lines()
        .skip_while(|line| !line.starts_with("//! | word | said by |"))
        .skip(2)
        .take_while(|line| line.starts_with("//! |"))
        .map(|line| line.split('`').nth(1).expect("a word in backticks"))
        .map(|word| {
            let mut name = String::new();
            for letter in word.chars() {
                if letter.is_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.extend(letter.to_lowercase());
            }
            name
        })
        .collect()
}

/// The words that an enum knows, as its refusal of an unknown one lists them.
fn known<E: serde::de::DeserializeOwned>() -> Vec<String> {
    let Err(error) = serde_json::from_str::<E>(r#""no such word""#) else { panic!("a word") };
    let text = error.to_string();
    text.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_tables_of_words_in_the_docs_list_what_the_code_knows() {
    let reward = documented(include_str!("../../src/flow/reward/mod.rs"));
    let escrow = documented(include_str!("../../src/flow/escrow/mod.rs"));
    let dispute = documented(include_str!("../../src/flow/dispute/mod.rs"));
    assert_eq!(reward, known::<RewardEvent>());
    assert_eq!(escrow, known::<EscrowEvent>());
    assert_eq!(dispute, known::<DisputeEvent>());
    assert_eq!((reward.len(), escrow.len(), dispute.len()), (6, 3, 4));
}
