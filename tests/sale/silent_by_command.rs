//! Resales by command and by files. While the miner is silent the holder offers, a buyer accepts, two of
//! three desks answer requests, and the buyer sends what their answers complete. Where the miner is there,
//! he signs what a dossier proves.

use std::path::{Path, PathBuf};

use bitcoin::{Amount, Txid};
use hashmix::cli::position::folder;
use hashmix::flow::Event;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::position::dossier::Transfer;
use hashmix::flow::reward::state::Event as Reward;
use hashmix::flow::word::Word;
use hashmix::party::Seat;
use hashmix::rehearsal::people;
use hashmix::validator::answer::Answer;

use crate::by_command::{bind_at, hashmix, home, refused, said};
use crate::market::{Market, START, Sold, signer};
use crate::proxy::Proxy;
#[cfg(feature = "validator")]
use crate::serving::Serving;

const PRICE: u64 = 60_000_000;
/// One of twelve.
const INSTALLMENT: u64 = PRICE / 12;

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// What lies in people's folders, and who brought what where.
struct Errands {
    dir: tempfile::TempDir,
    url: String,
    second: Proxy,
    miner: PathBuf,
    seller: PathBuf,
    buyer: PathBuf,
    desks: [PathBuf; 2],
    /// The parties' words.
    words: Vec<String>,
    /// Validators' answers, with who gave them.
    answers: Vec<(usize, String)>,
    made: u32,
}

impl Errands {
    /// The first sale is in a block, and two of three desks have registered its contract.
    fn begun(market: &Market, sold: &Sold) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = |name: &str| home(dir.path(), name);
        let miner = home(&people::name(Seat::Miner));
        let (seller, buyer) = (home(&market.buyers[0].name), home(&market.buyers[1].name));
        let desks = [0, 1].map(|place| home(&people::name(Seat::Validator(place))));
        let url = market.world.electrum_url();
        let second = Proxy::to(&url);
        let errands = Self {
            url,
            second,
            miner,
            seller,
            buyer,
            desks,
            words: Vec::new(),
            answers: Vec::new(),
            made: 0,
            dir,
        };
        let old = errands.path("old.json");
        std::fs::write(&old, serde_json::to_string(&sold.contract).unwrap()).unwrap();
        let whole = errands.path("registration.json");
        std::fs::write(&whole, sold.registration.to_json().unwrap()).unwrap();
        for (place, home) in (0u8..).zip(&errands.desks) {
            bind_at(market, place, home);
        }
        for desk in 0..2 {
            errands.at_desk(desk, &["validator", "register", &whole]);
        }
        let record = errands.path("record.json");
        std::fs::write(record, market.buyers[1].record.to_json()).unwrap();
        let dossier = PathBuf::from(errands.path("dossier"));
        folder::write(&dossier, &market.dossier()).unwrap();
        folder::write_transfer(&dossier, &Transfer::of(&sold.contract).unwrap()).unwrap();
        std::fs::create_dir(dossier.join("words")).unwrap();
        errands
    }

    fn path(&self, name: &str) -> String {
        text(&self.dir.path().join(name))
    }

    fn at_desk(&self, desk: usize, words: &[&str]) -> String {
        let (home, second) = (text(&self.desks[desk]), self.second.url());
        let where_ = ["--home", &home, "--network", "regtest"];
        let whom = ["--electrum", &self.url, "--electrum", &second];
        let out = hashmix(&[words, &where_, &whom].concat());
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        // 3 where everything is refused: that is an answer too.
        assert!(matches!(out.status.code(), Some(0 | 3)), "{told}");
        told
    }

    /// A command of the seller's or the buyer's, about the sale.
    fn of<'a>(&'a self, home: &'a Path, numbered: bool, words: &[&'a str]) -> Vec<&'a str> {
        let home = home.to_str().unwrap();
        let all = ["--home", home, "--network", "regtest", "--electrum", &self.url];
        let number: &[&str] = if numbered { &["--number", "0"] } else { &[] };
        [words, &all, number].concat()
    }

    /// Everything that was said goes to both desks, in the seller's name, until neither says more.
    fn round(&mut self) {
        loop {
            let mut quiet = true;
            for desk in 0..2 {
                self.made += 1;
                let others = self.answers.iter().filter(|(by, _)| *by != desk);
                let files: Vec<&str> = self
                    .words
                    .iter()
                    .chain(others.map(|(_, path)| path))
                    .map(String::as_str)
                    .collect();
                let (old, seed) = (self.path("old.json"), text(&self.seller.join("seed")));
                let key = format!("errand {}", self.made);
                let request = self.path(&format!("request-{}.json", self.made));
                let words = ["--terms", &old, "--seed", &seed, "--number", "0"];
                let more = ["--seat", "holder", "--key", &key, "--out", &request];
                said(&[&["validator", "request"][..], &files, &words, &more].concat());
                let out = self.path(&format!("answer-{}.json", self.made));
                self.at_desk(desk, &["validator", "rule", &request, "--out", &out]);
                let text = std::fs::read_to_string(&out).unwrap();
                let answer = Answer::from_json(&text).unwrap();
                for refusal in &answer.refused {
                    println!("desk {desk} refuses: {} {}", refusal.rule, refusal.place);
                }
                if !answer.words.is_empty() {
                    quiet = false;
                    let kept = format!("dossier/words/answer-{}.json", self.made);
                    std::fs::write(self.path(&kept), text).unwrap();
                    self.answers.push((desk, out));
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// The miner's machines deliver a slice, and his gateway seals it.
    fn deliver(&mut self, market: &mut Market, old: &EscrowTerms, slice: u32) {
        market.mine_until(old, START + 12 * (slice + 1) - 1, 20);
        let certificate = market.machines.certificate(old, slice).unwrap();
        let event = Event::Reward(Reward::Certified(certificate));
        let (id, miner) = (old.id().unwrap(), signer(&people::name(Seat::Miner), 0));
        let digest = Word::message(id, Seat::Miner, &event).unwrap();
        let signature = miner.sign_digest(digest).unwrap();
        let word = Word::new(id, Seat::Miner, event, signature).to_json().unwrap();
        let path = self.path(&format!("dossier/words/slice-{slice}.json"));
        std::fs::write(&path, word).unwrap();
        self.words.push(path);
        self.round();
    }
}

#[test]
fn a_holder_and_two_desks_sell_a_position_by_files_while_the_miner_is_silent() {
    let mut market = Market::issued();
    let sold = market.sell(&market.offer(PRICE, 0, 120), 0);
    let old = sold.contract.clone();
    let mut errands = Errands::begun(&market, &sold);
    market.elsewhere_until(START - 1);
    errands.deliver(&mut market, &old, 0);
    errands.deliver(&mut market, &old, 1);
    market.elsewhere_until(old.ruling_height(1).unwrap());
    let path = |name: &str| errands.path(name);
    let (seller, buyer) = (errands.seller.clone(), errands.buyer.clone());
    let [dossier, offer, record] = ["dossier", "offer.json", "record.json"].map(path);
    let [acceptance, first, second, ask] = ["a.json", "1.json", "2.json", "ask.json"].map(path);

    // Offered out of the dossier alone: whose the seal is, where, its contract, what was delivered.
    let expires = (market.height() + 12).to_string();
    let offered = |period: &'static str, switch: Option<&'static str>| {
        let words = ["sale", "offer", "--dossier", &dossier, "--price", "30000000"];
        let more = ["--first", period, "--expires", &expires, "--out", &offer];
        let resale: Vec<&str> =
            switch.iter().flat_map(|it| ["--switch", it, "--without-miner"]).collect();
        let all = [&words[..], &more, &resale].concat();
        let all: Vec<String> =
            errands.of(&seller, true, &all).into_iter().map(str::to_owned).collect();
        all
    };
    fn strs(all: &[String]) -> Vec<&str> {
        all.iter().map(String::as_str).collect()
    }
    let early = offered("2", Some("6"));
    assert!(refused(&strs(&early)).contains("[sale-last-period]"), "{}", refused(&strs(&early)));
    assert!(refused(&strs(&offered("3", None))).contains("[sale-offer-complete]"));
    assert!(refused(&strs(&offered("3", Some("11")))).contains("[sale-switch]"));
    let told = said(&strs(&offered("3", Some("6"))));
    let due =
        "evidence  2 certificates, 4 receipts; the miner is due 10000000 sat, 50000000 sat stay";
    assert!(told.contains(due), "{told}");
    let told = said(&["sale", "explain", &offer]);
    assert!(told.contains("in periods 3 to 5, 3 in number, your escrow pays"), "{told}");
    assert!(told.contains("0.1 BTC of it go to the miner"), "{told}");

    // Accepted, and signed by both.
    let federation = market.terms.issuer.id().unwrap().to_string();
    let words = ["sale", "accept", &offer, "--record", &record, "--dossier", &dossier];
    let more = ["--federation", &federation, "--fee-rate", "2", "--out", &acceptance];
    said(&errands.of(&buyer, true, &[&words[..], &more].concat()));
    let asking = ["sale", "ask", &offer, &acceptance, "--out", &ask];
    let early = errands.of(&seller, true, &asking);
    assert!(refused(&early).contains("[sale-turn]"), "nobody has signed");
    let words = ["sale", "sign", &offer, &acceptance, "--party", "seller", "--out", &first];
    said(&errands.of(&seller, true, &words));
    assert!(refused(&early).contains("[sale-turn]"), "the buyer has not signed");
    let words = ["sale", "sign", &offer, &first, "--party", "buyer", "--out", &second];
    let more = ["--dossier", &dossier];
    let signed = said(&errands.of(&buyer, true, &[&words[..], &more].concat()));
    assert!(signed.contains("validators sign: the seller asks them"), "{signed}");
    let follows = "coinbases pay the new lock from height 192 (period 6) on";
    assert!(signed.contains(follows), "{signed}");

    // The holder asks; a buyer cannot.
    let foreign = ["sale", "ask", &offer, &first, &second, "--out", &ask];
    assert!(refused(&errands.of(&buyer, true, &foreign)).contains("[sale-signer]"));
    let words = ["sale", "ask", &offer, &second, "--out", &ask];
    let told = said(&errands.of(&seller, true, &words));
    assert!(told.contains("by 2 of 3 validators") && told.contains("6 blocks"), "{told}");
    assert!(!told.contains("careful"), "{told}");
    let sending = |errands: &Errands| -> Vec<String> {
        let answers = errands.answers.iter().map(|(_, path)| path.as_str());
        // In any order.
        let files: Vec<&str> =
            answers.rev().chain([second.as_str(), acceptance.as_str(), first.as_str()]).collect();
        let words = [&["sale", "broadcast", &offer][..], &files, &["--dossier", &dossier]].concat();
        errands.of(&buyer, false, &words).into_iter().map(str::to_owned).collect()
    };

    // It reads the chain once.
    let way = Proxy::to(&errands.url);
    let histories = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&histories);
    way.set(crate::proxy::Trouble::Lies(std::sync::Arc::new(move |method, _, told| {
        let one = usize::from(method == "blockchain.scripthash.get_history");
        counted.fetch_add(one, std::sync::atomic::Ordering::SeqCst);
        told
    })));
    let count = || histories.swap(0, std::sync::atomic::Ordering::SeqCst);
    let mut reader = market.trader(&market.buyers[2].name, &way.url(), false).unwrap();
    let mut state =
        reader.sale(&hashmix::cli::sale::read_offer(Path::new(&offer)).unwrap()).unwrap();
    let said_by_buyer = std::fs::read_to_string(&acceptance).unwrap();
    let accepted =
        hashmix::flow::sale::terms::Acceptance::from_json(&said_by_buyer, state.offer()).unwrap();
    reader
        .hear(&mut state, hashmix::flow::sale::state::Event::Accepted(Box::new(accepted)))
        .unwrap();
    count();
    reader.facts(&state).unwrap();
    let once = count();
    let (home, twice) = (text(&seller), errands.path("again.json"));
    let words = ["sale", "ask", &offer, &second, "--out", &twice, "--home", &home];
    let more = ["--network", "regtest", "--number", "0", "--electrum", &way.url()];
    said(&[&words[..], &more].concat());
    assert_eq!((count(), once > 0), (once, true));

    errands.words.push(ask.clone());
    errands.round();
    assert!(refused(&strs(&sending(&errands))).contains("[sale-turn]"), "the miner may answer");
    market.elsewhere(old.delays.answer);
    errands.round();

    // A consent's file in a validator's name is none.
    let forged = errands.path("forged.json");
    let consent = std::fs::read_to_string(&first).unwrap();
    std::fs::write(&forged, consent.replace("\"seller\"", "{\"validator\":0}")).unwrap();
    let words = ["sale", "broadcast", &offer, &forged];
    assert!(refused(&errands.of(&buyer, false, &words)).contains("[sale-answers]"));

    // What the answers hold completes it.
    let sent = said(&strs(&sending(&errands)));
    assert!(sent.contains("transfer 2 is in") && sent.contains(follows), "{sent}");
    let deep = format!("once the sale is {} blocks deep", old.delays.state_depth);
    assert!(sent.contains(&deep), "{sent}");
    market.world.settle().unwrap();
    let again = said(&strs(&sending(&errands)));
    assert!(again.contains("in the mempool; sent again"), "{again}");
    market.elsewhere(1);
    let seen = said(&strs(&sending(&errands)));
    assert!(seen.contains(&format!("already, at {}", market.height())), "{seen}");
    let txid: Txid = sent.split_whitespace().nth(1).unwrap().parse().unwrap();
    let block = market.world.block(market.height()).unwrap();
    let tx = block.txdata.iter().find(|tx| tx.compute_txid() == txid).unwrap();
    let paid = |sat: u64| Amount::from_sat(sat);
    assert_eq!(tx.output[1].value, paid(INSTALLMENT * 10));
    assert_eq!(tx.output[2].value, paid(INSTALLMENT * 2));
    assert_eq!(tx.output[2].script_pubkey, old.reward.miner.payout_script());
    assert_eq!(tx.output[3].value, paid(30_000_000));
    let reader = errands.path("reader");
    let words = ["position", "verify", &dossier, "--electrum", &errands.url, "--home", &reader];
    let told = said(&words);
    let holder = market.buyers[1].record.id().unwrap().to_string();
    assert!(told.contains("as of move 2") && told.contains(&holder), "{told}");
}

#[test]
fn the_miner_signs_by_command_a_resale_that_a_dossier_proves_and_his_evidence_bears_out() {
    let mut market = Market::issued();
    let sold = market.sell(&market.offer(PRICE, 0, 120), 0);
    let old = sold.contract.clone();
    let mut errands = Errands::begun(&market, &sold);
    market.elsewhere_until(START - 1);
    errands.deliver(&mut market, &old, 0);
    market.elsewhere_until(old.ruling_height(0).unwrap());
    let path = |name: &str| errands.path(name);
    let [position, record, contract] = ["position.json", "record.json", "old.json"].map(path);
    let [dossier, evidence, offer] = ["dossier", "dossier/words", "offer.json"].map(path);
    let [acceptance, first, second, third] = ["a.json", "1.json", "2.json", "3.json"].map(path);
    std::fs::write(&position, market.terms.to_json().unwrap()).unwrap();
    let (miner, seller, buyer) = (&errands.miner, &errands.seller, &errands.buyer);

    // Without a dossier the seller says himself what it would say.
    let (seal, expires) = (sold.seal.to_string(), (market.height() + 3).to_string());
    let words =
        ["sale", "offer", "--position", &position, "--contract", &contract, "--seal", &seal];
    let more = ["--price", "30000000", "--first", "2", "--expires", &expires, "--out", &offer];
    let bare = [&words[..], &more, &["--switch", "4"]].concat();
    assert!(refused(&errands.of(seller, true, &bare)).contains("[sale-offer-complete]"));
    said(&errands.of(seller, true, &[&bare[..], &["--evidence", &evidence]].concat()));

    let federation = market.terms.issuer.id().unwrap().to_string();
    let words = ["sale", "accept", &offer, "--record", &record, "--dossier", &dossier];
    let more = ["--federation", &federation, "--fee-rate", "2", "--out", &acceptance];
    said(&errands.of(buyer, true, &[&words[..], &more].concat()));
    let words = ["sale", "sign", &offer, &acceptance, "--party", "seller", "--out", &first];
    said(&errands.of(seller, true, &words));
    let words = ["sale", "sign", &offer, &first, "--party", "buyer", "--out", &second];
    let told = said(&errands.of(buyer, true, &words));
    assert!(told.contains("the miner signs") && told.contains("height 168 (period 4)"), "{told}");
    // Nobody asks validators for what the miner signs.
    let words = ["sale", "ask", &offer, &second, "--out", &third];
    assert!(refused(&errands.of(seller, true, &words)).contains("[resale-left]"));

    let words = ["sale", "sign", &offer, &second, &acceptance, &first, "--party", "miner"];
    let sign = [&words[..], &["--out", &third]].concat();
    let (known, judged) = (["--dossier", &dossier], ["--evidence", &evidence]);
    let by = |more: &[&str]| -> Vec<String> {
        let all = errands.of(miner, true, &sign);
        all.into_iter().chain(more.iter().copied()).map(str::to_owned).collect()
    };
    for (more, rule) in [(&[][..], "[sale-judged]"), (&judged[..], "[sale-known]")] {
        let all = by(more);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert!(refused(&all).contains(rule), "{}", refused(&all));
    }
    // A folder without the evidence, and with a file that was one: he learns what he lacks.
    let bare = errands.path("bare");
    std::fs::create_dir(&bare).unwrap();
    std::fs::write(Path::new(&bare).join("slice.hmxc"), b"HMXC and no more").unwrap();
    let all = by(&[known, ["--evidence", &bare]].concat());
    let out = hashmix(&all.iter().map(String::as_str).collect::<Vec<_>>());
    let (told, why) =
        (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
    assert!(why.contains("[escrow-verdict]") && !out.status.success(), "{why}");
    assert!(told.contains("evidence  0 certificates, 0 receipts"), "{told}");
    assert!(told.contains("damaged   ") && told.contains("slice.hmxc"), "{told}");
    // The dossier holds it, in a folder of its own: named as evidence, and left out.
    let all = by(&[known, ["--evidence", &dossier]].concat());
    let due =
        "evidence  1 certificates, 2 receipts; the miner is due 5000000 sat, 55000000 sat stay";
    let told = said(&all.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(told.contains("signed   inputs [1] as miner") && told.contains(due), "{told}");
    std::fs::remove_file(&third).unwrap();
    let all = by(&known);
    let told = said(&all.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(told.contains("signed   inputs [1] as miner") && told.contains(due), "{told}");
    let words = ["sale", "broadcast", &offer, "--dossier", &dossier];
    let sent = said(&errands.of(miner, false, &words));
    assert!(sent.contains("transfer 2 is in"), "{sent}");
    assert!(sent.contains("coinbases pay the new lock from height 168 (period 4) on"), "{sent}");
    market.world.settle().unwrap();
    market.elsewhere(1);
    let seen = said(&errands.of(miner, false, &words));
    assert!(seen.contains(&format!("already, at {}", market.height())), "{seen}");
}

#[test]
#[cfg(feature = "validator")]
fn a_holder_asks_servers_that_know_each_other_and_sends_what_they_signed() {
    let mut market = Market::issued();
    let sold = market.sell(&market.offer(PRICE, 0, 120), 0);
    let old = sold.contract.clone();
    let mut errands = Errands::begun(&market, &sold);
    market.elsewhere_until(START - 1);
    errands.deliver(&mut market, &old, 0);
    market.elsewhere_until(old.ruling_height(0).unwrap());
    let path = |name: &str| errands.path(name);
    let [dossier, offer, record] = ["dossier", "offer.json", "record.json"].map(path);
    let [acceptance, first, second] = ["a.json", "1.json", "2.json"].map(path);
    let (seller, buyer) = (&errands.seller, &errands.buyer);
    let (expires, federation) =
        ((market.height() + 12).to_string(), market.terms.issuer.id().unwrap().to_string());
    let words = ["sale", "offer", "--dossier", &dossier, "--price", "30000000", "--first", "2"];
    let more = ["--switch", "5", "--without-miner", "--expires", &expires, "--out", &offer];
    said(&errands.of(seller, true, &[&words[..], &more].concat()));
    let words = ["sale", "accept", &offer, "--record", &record, "--dossier", &dossier];
    let more = ["--federation", &federation, "--fee-rate", "2", "--out", &acceptance];
    said(&errands.of(buyer, true, &[&words[..], &more].concat()));
    let words = ["sale", "sign", &offer, &acceptance, "--party", "seller", "--out", &first];
    said(&errands.of(seller, true, &words));
    let words = ["sale", "sign", &offer, &first, "--party", "buyer", "--out", &second];
    said(&errands.of(buyer, true, &words));

    let serving = Serving::start(&errands.desks, [&errands.url, &errands.second.url()]);
    let (ports, urls) = (serving.ports, &serving.urls);
    let nobody = "http://127.0.0.1:1";
    let servers = ["--validator", &urls[0], "--validator", nobody, "--validator", &urls[1]];
    let ask = ["sale", "ask", &offer, &second];
    let ask = errands.of(seller, true, &[&ask[..], &servers].concat());
    let told = said(&ask);
    println!("{told}");
    assert!(told.contains("0 validators have signed: ask again"), "{told}");
    assert!(told.contains("validator 0 said") && told.contains(nobody), "{told}");
    let neither = errands.of(seller, true, &["sale", "ask", &offer, &second]);
    assert!(refused(&neither).contains("[cli-arguments]"));
    // What is no URL is told before anything is said or written.
    let bad =
        ["--validator", &urls[0], "--validator", "nobody", "--out", &errands.path("ask.json")];
    let words = ["sale", "ask", &offer, &second];
    let told = refused(&errands.of(seller, true, &[&words[..], &bad].concat()));
    assert!(told.contains("http://host:port"), "{told}");
    assert!(!Path::new(&errands.path("ask.json")).exists());

    // A server without end holds nobody, and the others are asked behind it; it is asked on where it was
    // left, and from the first word on where it tells that it never came so far.
    let word = std::fs::read_to_string(&errands.words[0]).unwrap();
    let endless = crate::endless::Endless::before(ports[0], &word);
    let both = ["--validator", &endless.url, "--validator", &urls[1]];
    let both = errands.of(seller, true, &[&words[..], &both].concat());
    for begin in [0, 32, 0] {
        let told = said(&both);
        assert!(told.contains("not all was read, ask again: 32 words for now"), "{told}");
        assert!(told.contains("validator 1 said"), "{told}");
        assert_eq!(endless.asked(), (begin..begin + 32).collect::<Vec<u64>>());
        endless.ends_at(if begin == 32 { 5 } else { 1_000 });
    }

    // The miner, whose gateway shares no folder with the holder, hears of it from the servers.
    #[cfg(feature = "gateway")]
    let mut sealer = silent_miner(&market, &old, urls);
    #[cfg(feature = "gateway")]
    hears(&mut sealer);
    market.elsewhere(old.delays.answer);
    // They need a moment among themselves; a party may ask once a second.
    let complete = (0..40).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(1_000));
        let out = hashmix(&ask);
        let told = String::from_utf8(out.stdout).unwrap();
        print!("{told}");
        // Either of them may be the quicker: who holds enough signatures sends it.
        told.contains("2 validators have signed: send it") || told.contains("and sent it")
    });
    assert!(complete);
    let words = ["sale", "broadcast", &offer, "--dossier", &dossier];
    let sent = said(&errands.of(seller, false, &words));
    assert!(sent.contains("transfer 2 is in"), "{sent}");
    market.world.settle().unwrap();
    market.elsewhere(1);
    let seen = said(&errands.of(seller, false, &words));
    assert!(seen.contains(&format!("already, at {}", market.height())), "{seen}");
    let told = said(&ask);
    assert!(told.contains("validators have signed and sent it"), "{told}");

    // The buyer registers it by the same servers, once it is as deep as a sale without the miner has to be.
    let bring = ["sale", "register", &offer, &acceptance];
    let bring = [&bring[..], &servers].concat();
    let output = hashmix(&bring);
    let early = String::from_utf8(output.stdout).unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("[sale-registered]"), "{told}");
    assert!(early.contains("0 of 3 servers have it: ask the others again"), "{early}");
    assert!(early.contains("[policy-registry-resold] expected ended by"), "{early}");
    assert!(early.contains(&format!("is {} blocks deep", old.delays.state_depth)), "{early}");
    market.elsewhere(old.delays.state_depth);
    let done = said(&bring);
    assert!(done.contains("2 of 3 servers have it"), "{done}");
    assert_eq!(done.matches(": registered").count(), 2, "{done}");
    assert!(refused(&bring[..4]).contains("[cli-arguments]"), "a file or a server");
    // And knows what he has to name now: also if he heard of it too late.
    #[cfg(feature = "gateway")]
    {
        let (_, ending) = sealer.look().unwrap();
        let ending = ending.unwrap();
        assert!(ending.resold && sent.contains(&ending.by.to_string()), "{sent}");
        let new = sealer.sold_to(ending.by).unwrap();
        assert_eq!((new.first_period() + 1, &new.delivery), (2, &old.delivery));
        assert_eq!(new.tenure.as_ref().unwrap().earlier[0].until + 1, 5);
        assert_eq!(new.reward.holder, market.buyers[1].record);
        drop(sealer);
        std::fs::remove_dir_all(market.folder("gateway")).unwrap();
        let mut late = silent_miner(&market, &old, urls);
        assert_eq!(late.sold_to(ending.by), None);
        hears(&mut late);
        assert_eq!(late.sold_to(ending.by), Some(new));
        let other = Txid::from_raw_hash(bitcoin::hashes::Hash::all_zeros());
        assert_eq!(late.sold_to(other), None);
    }
}

/// The miner's seat as his gateway takes it, which knows validators' servers alone.
#[cfg(all(feature = "validator", feature = "gateway"))]
fn silent_miner(
    market: &Market,
    terms: &EscrowTerms,
    urls: &[String],
) -> hashmix::gateway::sealer::Sealer {
    let seed = people::seed(&people::name(Seat::Miner)).unwrap();
    let home = market.folder("gateway");
    std::fs::create_dir_all(&home).unwrap();
    let electrum = market.world.electrum_url();
    let miner = hashmix::gateway::sealer::Miner {
        home: &home,
        seed: &seed,
        record: 0,
        electrum: &electrum,
        relay: None,
        validators: urls,
    };
    hashmix::gateway::sealer::Sealer::open(terms.clone(), &miner).unwrap()
}

/// Steps whenever there is news, until the holder's request is heard.
#[cfg(all(feature = "validator", feature = "gateway"))]
fn hears(sealer: &mut hashmix::gateway::sealer::Sealer) {
    use hashmix::engine::Report;
    use hashmix::flow::resale::state::Event as Resale;
    let heard = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let news = sealer.has_news().unwrap();
        let reports = if news { sealer.step().unwrap() } else { Vec::new() };
        reports.iter().any(|report| {
            matches!(report, Report::Heard(Seat::Holder, Event::Resale(Resale::Asked(_))))
        })
    });
    assert!(heard);
}
