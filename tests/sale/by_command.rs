//! The same by the command, as people type it: offer, book, explain, accept, sign, send, withdraw, retire.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hashmix::cli::position::folder;
use hashmix::engine::issuing::record::bind;
use hashmix::flow::sale::terms::{Acceptance, Offer};
use hashmix::party::Seat;
use hashmix::rehearsal::people::{self, seed};
use hashmix::validator::desk::Desk;

use crate::market::{Market, NETWORK};
use crate::proxy::Proxy;

pub fn hashmix(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hashmix")).args(arguments).output().unwrap()
}

pub fn said(arguments: &[&str]) -> String {
    let output = hashmix(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn refused(arguments: &[&str]) -> String {
    let output = hashmix(arguments);
    assert!(!output.status.success(), "{arguments:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

/// Somebody's home, with his seed in it.
pub fn home(dir: &Path, name: &str) -> PathBuf {
    let home = dir.join(name);
    std::fs::create_dir(&home).unwrap();
    let file = home.join("seed");
    std::fs::write(&file, seed(name).unwrap().words().unwrap().as_bytes()).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    home
}

/// The arguments of the first validator's desk, which asks these servers.
fn registers(at: &Path, urls: [&str; 2]) -> Vec<String> {
    let name = people::name(Seat::Validator(0));
    let seed = home(at.parent().unwrap(), &name).join("seed");
    let [at, seed] = [at, &seed].map(|path| path.to_str().unwrap());
    let words = ["--home", at, "--seed", seed, "--network", "regtest"];
    let servers = urls.into_iter().flat_map(|url| ["--electrum", url]);
    words.into_iter().chain(servers).map(str::to_owned).collect()
}

/// A validator has registered the position's miner.
pub fn bind_at(market: &Market, place: u8, at: &Path) {
    let seed = seed(&people::name(Seat::Validator(place))).unwrap();
    let mut store = Desk::memory(at, &seed, NETWORK).unwrap();
    bind(&mut store, &market.terms, place).unwrap();
}

#[test]
fn a_position_is_offered_bought_and_retired_by_command() {
    let mut market = Market::issued();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let [position, record] = ["position.json", "record.json"].map(path);
    std::fs::write(&position, market.terms.to_json().unwrap()).unwrap();
    std::fs::write(&record, market.buyers[0].record.to_json()).unwrap();
    let miner = home(dir.path(), &market.miner.name);
    let buyer = home(dir.path(), &market.buyers[0].name);
    let url = market.world.electrum_url();
    let who = |home: &Path, number: &str| {
        let home = home.to_str().unwrap();
        let words = ["--home", home, "--network", "regtest", "--electrum", &url];
        let mut words: Vec<String> = words.map(str::to_owned).to_vec();
        if !number.is_empty() {
            words.extend(["--number".to_owned(), number.to_owned()]);
        }
        words
    };
    fn all<'a>(first: &[&'a str], who: &'a [String]) -> Vec<&'a str> {
        first.iter().copied().chain(who.iter().map(String::as_str)).collect()
    }
    let (he, she) = (who(&miner, "1"), who(&buyer, "0"));

    // Offered and listed.
    let (seal, _) = market.at_issue();
    let (seal, offer) = (seal.to_string(), path("offer.json"));
    let words = ["sale", "offer", "--position", &position, "--seal", &seal, "--price", "60000000"];
    let words = [&words[..], &["--first", "1", "--expires", "120", "--out", &offer]].concat();
    let told = said(&all(&words, &he));
    assert!(told.contains("until height 120") && told.contains("made for contract '"), "{told}");
    let book = path("book");
    let listed = said(&["sale", "book", &book, "--add", &offer]);
    println!("{listed}");
    assert!(listed.contains("new") && listed.contains("1-12") && listed.contains("not asked"));
    let chain = path("reader");
    let ask = ["sale", "book", &book, "--electrum", &url, "--home", &chain];
    assert!(said(&ask).contains("  open\n"), "{}", said(&ask));

    // Explained.
    let told = said(
        &[&["sale", "explain", &offer, "--height", "109"][..], &["--network-rate", "100000"]]
            .concat(),
    );
    println!("{told}");
    for line in [
        "You pay 0.6 BTC into escrow.",
        "You get the rewards of 100 H a second, at 15.00 J/TH, for 12 periods of 12 blocks",
        "If the miner stops, he is not paid.",
        "you alone can take it back from block 375 (about 20",
        "144 blocks bring 0.144000 blocks on average, and none at all with a chance of 86.58",
        "ten minutes a block",
        "--role holder --contract '",
        &format!("--contract '{}' --network regtest", market.terms.reward.contract),
        &format!(
            "  hashmix sale accept '{offer}' --record record.json --dossier DOSSIER --federation ID"
        ),
        "compare, do not copy",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }

    // Held against the position's dossier.
    let (dossier, alien) = (path("dossier"), "00".repeat(32));
    folder::write(Path::new(&dossier), &market.dossier()).unwrap();
    let federation = market.terms.issuer.id().unwrap().to_string();
    let [home_of_reader, ask_there] = [chain.as_str(), url.as_str()];
    let words = ["sale", "explain", &offer, "--dossier", &dossier, "--electrum", ask_there];
    let words = [&words[..], &["--home", home_of_reader, "--federation"]].concat();
    let told = said(&[&words[..], &[&federation]].concat());
    assert!(told.contains("as of move 0") && told.contains(", as pinned"), "{told}");
    assert!(told.contains("nothing was sold before") && told.contains("(about 20"), "{told}");
    assert!(refused(&[&words[..], &[&alien]].concat()).contains("[title-federation]"));

    // Accepted and signed, each in his turn.
    let [acceptance, first, second] = ["acceptance.json", "first.json", "second.json"].map(path);
    let words = ["sale", "accept", &offer, "--record", &record, "--fee-rate", "2", "--out"];
    let words =
        [&words[..], &[acceptance.as_str(), "--dossier", &dossier, "--federation"]].concat();
    assert!(refused(&all(&[&words[..], &[&alien]].concat(), &she)).contains("[title-federation]"));
    let words = [&words[..], &[&federation]].concat();
    assert!(said(&all(&words, &she)).contains("reserved    5000000000 sat in 1 coins"));
    // Given up, nothing is left of it, and it is accepted anew.
    let free = said(&all(&["sale", "release", &offer], &who(&buyer, "")));
    assert_eq!(free, "released  1 coins\n");
    let early = ["sale", "sign", &offer, "--party", "buyer", "--out", &second];
    assert!(refused(&all(&early, &she)).contains("[sale-turn]"));
    let nothing = said(&all(&["sale", "release", &offer], &who(&buyer, "")));
    assert_eq!(nothing, "nothing is reserved for this offer\n");
    let (old, acceptance) = (acceptance, path("new acceptance.json"));
    let words = ["sale", "accept", &offer, "--record", &record, "--fee-rate", "2", "--out"];
    let words = [&words[..], &[&acceptance, "--dossier", &dossier, "--federation"]].concat();
    let words = [&words[..], &[&federation]].concat();
    assert!(said(&all(&words, &she)).contains("reserved    5000000000 sat in 1 coins"));
    let given_back = ["sale", "release", &offer, &old];
    let told = refused(&all(&given_back, &who(&buyer, "")));
    assert!(told.contains("[sale-order]"), "another one has its place: {told}");
    let words = ["sale", "sign", &offer, &acceptance, "--party", "seller", "--out", &first];
    assert!(said(&all(&words, &he)).contains("the buyer signs"));
    let words = ["sale", "sign", &offer, &first, "--party", "buyer", "--out", &second];
    assert!(said(&all(&words, &she)).contains("without --dossier only your acceptance"));
    let again = path("again.json");
    let words =
        ["sale", "sign", &offer, "--party", "buyer", "--dossier", &dossier, "--out", &again];
    assert!(said(&all(&words, &she)).contains("hashmix sale broadcast"));

    // What a stranger's PSBT would do to the seal is seen before anybody signs.
    let terms = path("terms.json");
    said(&["sale", "terms", &offer, &acceptance, "--out", &terms]);
    let text = std::fs::read_to_string(&offer).unwrap();
    let read = Offer::from_json(&text).unwrap();
    let text = std::fs::read_to_string(&acceptance).unwrap();
    let psbt = Acceptance::from_json(&text, &read).unwrap().acceptance.psbt;
    let carried = path("sale.psbt");
    std::fs::write(&carried, psbt).unwrap();
    let check = ["psbt", "check", &carried, "--terms", &terms, "--offer", &offer];
    assert!(refused(&check).contains("[seal-money]"));
    let whole = [&check[..], &["--acceptance", &acceptance]].concat();
    let told = said(&whole);
    assert!(told.contains("input 0 is one") && told.contains("a seal changes hands"), "{told}");
    let alone = ["psbt", "check", &carried, "--terms", &terms, "--position", &position];
    assert!(refused(&alone).contains("[seal-money]"));

    // Sent, mined; the offer is void, and the seal is hers.
    let send = who(&buyer, "");
    let words = ["sale", "broadcast", &offer, "--dossier", &dossier];
    let sent = said(&all(&words, &send));
    assert!(sent.contains("(255 vB)") && sent.contains("transfer 1 is in"), "{sent}");
    assert!(sent.contains("once 1 block holds the sale: hashmix sale register"), "{sent}");
    market.world.settle().unwrap();
    let sent_already = said(&all(&words, &send));
    assert!(sent_already.contains("in the mempool"), "{sent_already}");
    assert!(sent_already.contains("has transfer 1 already"), "{sent_already}");
    // The seller sees it confirmed, and has it in a dossier of his own.
    let his = path("his dossier");
    folder::write(Path::new(&his), &market.dossier()).unwrap();
    let registration = path("registration.json");
    let made = said(&["sale", "register", &offer, &acceptance, "--out", &registration]);
    assert!(made.contains("each of the 3 validators: hashmix validator register"), "{made}");
    let other_way = Proxy::to(&url);
    let desk = registers(&dir.path().join("desk"), [&url, &other_way.url()]);
    let desk: Vec<&str> = desk.iter().map(String::as_str).collect();
    let register = [&["validator", "register"], &desk[..], &[&registration]].concat();
    assert!(refused(&register).contains("[policy-registry-issued]"));
    bind_at(&market, 0, &dir.path().join("desk"));
    assert!(refused(&register).contains("[policy-registry-sold]"), "{}", refused(&register));
    market.elsewhere(1);
    let done = said(&register);
    assert!(done.contains("seat        validator 0"), "{done}");
    let status = said(&[&["validator", "status"], &desk[..]].concat());
    assert!(status.contains("phase     open") && status.contains("60000000 sat"), "{status}");
    // Signatures are not what it takes.
    let (seed, signed) = (miner.join("seed"), path("signed.json"));
    let sign = ["terms", "sign", &terms, "--seed", seed.to_str().unwrap(), "--number", "0"];
    let sign = [&sign[..], &["--role", "miner", "--registration", &signed]].concat();
    let told = refused(&sign);
    assert!(told.contains("[policy-registry-way]") && told.contains("sale register"), "{told}");
    let words = ["sale", "broadcast", &offer, &second, "--dossier", &his];
    let seen = said(&all(&words, &who(&miner, "")));
    assert!(seen.contains("already, at ") && seen.contains("transfer 1 is in"), "{seen}");
    assert!(said(&ask).contains("  moved\n"));
    // Who would buy of the miner now learns that he holds it no more.
    let words = ["sale", "explain", &offer, "--dossier", &dossier, "--electrum", &url];
    assert!(refused(&words).contains("[sale-title]"), "{}", refused(&words));
    // Without the transfer the dossier hides a move.
    let bare = path("bare");
    folder::write(Path::new(&bare), &market.dossier()).unwrap();
    let words = ["sale", "explain", &offer, "--dossier", &bare, "--electrum", &url];
    assert!(refused(&words).contains("[title-unopened]"), "{}", refused(&words));
    let txid = sent.split_whitespace().nth(1).unwrap();
    let seal = format!("{txid}:0");
    let itself = ["--position", &position, "--contract", &terms, "--seal", &seal];
    let both = ["sale", "withdraw", "--fee-rate", "2", "--dossier", &dossier];
    assert!(refused(&all(&[&both[..], &itself].concat(), &she)).contains("[cli-arguments]"));
    assert!(refused(&all(&both[..4], &she)).contains("[cli-arguments]"), "one of them");
    // What her dossier says of the seal is all that is needed, and the move is written into it.
    let moved = said(&all(&both, &she));
    assert!(moved.contains("transfer 2 is in"), "{moved}");
    market.world.settle().unwrap();
    // Asked again, he is told that it is on its way, and at which rate.
    let same = said(&all(&both, &she));
    let txid = moved.split_whitespace().nth(1).unwrap();
    assert!(same.contains(&format!("sent  {txid}, already sent at 2 sat/vB")), "{same}");
    assert!(same.contains("has transfer 2 already"), "{same}");
    market.elsewhere(1);
    let told = said(&["position", "verify", &dossier, "--electrum", &url, "--home", &chain]);
    assert!(
        told.contains("as of move 2") && told.contains("60000000 sat into his escrow"),
        "{told}"
    );
    let seal = format!("{}:0", moved.split_whitespace().nth(1).unwrap());
    let words = ["sale", "retire", "--position", &position, "--contract", &terms];
    let words = [&words[..], &["--seal", &seal, "--fee-rate", "2"]].concat();
    let number = [&words[..], &["--anyway"]].concat();
    assert!(refused(&all(&number, &she)).contains("[sale-seal-moved]"), "not that number");
    let words = [&words[..], &["--withdrawn", "1"]].concat();
    // Who types the one word for the other is asked; the same out of the dossier.
    let tip = market.height();
    let left =
        format!("a tip at height {tip}, {} blocks of the term left, 60000000 sat in", 275 - tip);
    let told = refused(&all(&words, &she));
    assert!(told.contains("[sale-retire]") && told.contains(&left), "{told}");
    assert!(told.contains("--anyway") && told.contains("hashmix sale withdraw"), "{told}");
    let by_dossier = ["sale", "retire", "--dossier", &dossier, "--fee-rate", "2"];
    assert!(refused(&all(&by_dossier, &she)).contains("[sale-retire]"));
    let words = [&words[..], &["--anyway"]].concat();
    let told = said(&all(&words, &she));
    assert!(told.contains("nobody holds it any more") && told.contains(&left), "{told}");
    market.world.settle().unwrap();
    market.elsewhere(1);
    for word in ["withdraw", "retire"] {
        let words = ["sale", word, "--dossier", &dossier, "--fee-rate", "2"];
        assert!(refused(&all(&words, &she)).contains("[title-retired]"));
    }
}

#[test]
fn a_book_names_the_lines_that_are_no_offers() {
    let market = Market::issued();
    let dir = tempfile::tempdir().unwrap();
    let book = dir.path().join("book");
    let good = market.offer(60_000_000, 0, 120).to_json().unwrap();
    let forged = good.replace("60000000", "50000000");
    std::fs::write(&book, format!("{good}\nnonsense\n\n{forged}\n")).unwrap();
    let listed = said(&["sale", "book", book.to_str().unwrap()]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 5, "{listed}");
    assert!(lines[2].ends_with("line 2: sale-form"), "{listed}");
    assert!(lines[3].ends_with("line 4: message-digest"), "{listed}");
}
