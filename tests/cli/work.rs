//! What certificates prove by headers and receipts, how a term is shown, and what its odds are.

use bitcoin::{Amount, Network, TxOut};
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::reward::coins::payouts;
use hashmix::party::Seat;
use hashmix::rehearsal::machines::Machines;
use hashmix::rehearsal::people::signer;
use hashmix::rehearsal::reorg::replace;
use hashmix::rehearsal::world::{World, chosen};
use hashmix::work::certificate::Certificate;
use hashmix::work::grind::grind;
use hashmix::work::receipt::{Receipt, Subject, message};
use hashmix::work::share::Share;
use hashmix::work::template::BlockTemplate;

use crate::desk::{Desk, ok, refused, run, text};

/// A chain on which period 1 got all of its 180 shares and period 2 got 72, six blocks ago.
struct Mined {
    node: Box<dyn World>,
    desk: Desk,
    terms: EscrowTerms,
    terms_file: String,
    /// Of slices 0 and 1.
    certificates: [Certificate; 2],
    folder: String,
}

fn rest(terms: &EscrowTerms) -> impl Fn(Amount) -> Vec<TxOut> + use<> {
    let script = terms.reward.holder.record.payout.assume_checked_ref().script_pubkey();
    move |value| vec![TxOut { value, script_pubkey: script.clone() }]
}

fn mined() -> Mined {
    let (node, desk) = (chosen().unwrap(), Desk::new());
    let (terms_file, terms) = desk.terms();
    let mut machines = Machines::default();
    node.mine(terms.delivery.start - 1, &rest(&terms)).unwrap();
    for shares in [15, 6] {
        for _ in 0..12 {
            let template = node.template().unwrap();
            node.submit(&machines.find(&terms, &template, b"abc", Some(shares)).unwrap()).unwrap();
        }
    }
    node.mine(6, &rest(&terms)).unwrap();
    let certificates = [0, 1].map(|slice| machines.certificate(&terms, slice).unwrap());
    let folder = desk.path("certificates");
    std::fs::create_dir(&folder).unwrap();
    let mined = Mined { node, desk, terms, terms_file, certificates, folder: text(&folder) };
    for slice in [0, 1] {
        mined.put(&format!("certificates/{slice}.json"), mined.certificates[slice].to_json());
        for validator in [0, 2] {
            let receipt = mined.receipt(slice, validator, 131 + 12 * slice as u32);
            mined.put(&format!("certificates/{slice}-{validator}.json"), receipt.to_json());
        }
    }
    mined.put("certificates/notes.txt", "neither".to_owned());
    mined
}

impl Mined {
    fn put(&self, name: &str, contents: String) -> String {
        self.desk.put(name, contents)
    }

    /// A validator's receipt for a certificate, when the tip was at this height.
    fn receipt(&self, slice: usize, validator: u8, height: u32) -> Receipt {
        let certificate = &self.certificates[slice];
        let subject =
            Subject::Certificate { slice: certificate.slice, digest: certificate.digest() };
        let tip = self.node.block(height).unwrap().block_hash();
        let message = message(certificate.position, &subject, tip);
        let signer = signer(Seat::Validator(validator), Network::Regtest).unwrap();
        let signature = signer.sign_digest(*message.as_ref()).unwrap();
        Receipt { validator, position: certificate.position, subject, tip, signature }
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}.json", self.folder)
    }
}

#[test]
fn a_certificate_is_proven_by_headers_and_sealed_by_receipts() {
    let mined = mined();
    let url = mined.node.electrum_url();
    let (file, terms) = (mined.file("0"), mined.terms_file.as_str());
    let verify = ["work", "verify", &file, "--terms", terms];
    let with = |more: &[&str]| ok(&[&verify[..], more].concat());

    let alone = with(&[]);
    assert!(alone.contains("if every share stands") && alone.contains("needs headers"), "{alone}");

    let online = with(&["--electrum", &url]);
    assert!(
        online.contains("rule 1 for 180 of 180 shares, by headers up to height 149"),
        "{online}"
    );
    assert!(online.contains("not sealed   it takes receipts of 2 validators"), "{online}");
    assert!(
        online.contains("too late for more") && online.contains("with the most work"),
        "{online}"
    );

    let receipts = ["0-0", "0-2"].map(|name| mined.file(name));
    let both = ["--receipt", &receipts[0], "--receipt", &receipts[1]];
    let home = text(&mined.desk.path("home"));
    let known = [&both[..], &["--home", &home, "--electrum", &url]].concat();
    let judged = with(&known);
    let sealed = "sealed       by 2 validators who had seen it at height 131, by 134 at the latest";
    assert!(judged.contains(sealed) && !judged.contains("with the most work"), "{judged}");

    // The store has the headers now, so that no server is needed.
    let offline = with(&[&both[..], &["--home", &home]].concat());
    assert!(offline.contains(sealed) && offline.contains("180 of 180"), "{offline}");
    assert!(offline.contains("digests confirmed in blocks"), "{offline}");
    let one = with(&["--home", &home, "--receipt", &receipts[0]]);
    // Nobody was asked for digests in blocks, so nothing is denied.
    assert!(one.contains("open         whether it is sealed") && one.contains("1 given"), "{one}");

    // Validators who saw it too late seal nothing.
    let late = [0, 1].map(|v| mined.put(&format!("late-{v}"), mined.receipt(0, v, 135).to_json()));
    let seen = ["--receipt", late[0].as_str(), "--receipt", &late[1]];
    let unasked = with(&[&["--home", home.as_str()], &seen[..]].concat());
    assert!(!unasked.contains("counts for nothing"), "{unasked}");
    let out = with(&[&["--home", home.as_str(), "--electrum", &url], &seen[..]].concat());
    assert!(out.contains("not sealed   2 validators had seen it at height 135, later"), "{out}");
}

#[test]
fn receipts_that_are_not_for_the_certificate_or_not_signed_are_refused() {
    let mined = mined();
    let file = mined.file("0");
    let verify = |receipt: &str, rule| {
        let arguments =
            ["work", "verify", &file, "--terms", &mined.terms_file, "--receipt", receipt];
        refused(&arguments, rule, 3);
    };
    verify(&mined.file("1-0"), "work-certificate-receipt");
    verify(&file, "work-receipt-format");
    let forged = Receipt { validator: 1, ..mined.receipt(0, 0, 131) };
    verify(&mined.put("forged", forged.to_json()), "work-receipt-signature");
    let share = |more: [&str; 2]| {
        let arguments = [&["work", "verify", file.as_str(), "--script", "51"], &more[..]].concat();
        refused(&arguments, "work-argument", 2);
    };
    share(["--home", "x"]);
    share(["--electrum", "tcp://x:1"]);
    share(["--receipt", &file]);
    let both = ["work", "verify", &file, "--script", "51", "--terms", &mined.terms_file];
    refused(&both, "cli-arguments", 2);
}

#[test]
fn a_reorg_takes_away_its_own_shares_and_a_lie_about_time_is_refused() {
    let mined = mined();
    let url = mined.node.electrum_url();
    replace(&*mined.node, 10, &rest(&mined.terms)).unwrap();
    let file = mined.file("1");
    let known = ["--terms", mined.terms_file.as_str(), "--electrum", &url];
    let out = ok(&[&["work", "verify", file.as_str()], &known[..]].concat());
    // Heights 141 to 143 had six shares each, on blocks that are gone.
    assert!(out.contains("lost         18 shares") && out.contains("54 of 72"), "{out}");
    assert!(out.contains("work-share-parent"), "{out}");

    let block = mined.node.block(125).unwrap();
    let reward = block.txdata[0].output.iter().map(|out| out.value).sum();
    let template = BlockTemplate {
        version: block.header.version,
        parent: block.header.prev_blockhash,
        height: 125,
        time: block.header.time + 7_201,
        bits: block.header.bits,
        reward,
        transactions: Vec::new(),
    };
    let job = template.job(b"late", &payouts(&mined.terms.reward, reward).unwrap()).unwrap();
    let late = grind(&job, 0, u64::MAX, mined.terms.delivery.target).take(3);
    let late: Vec<Share> = late.map(|header| Share::of(&job, header)).collect();
    let late = Certificate::new(mined.terms.position().unwrap(), 0, late).unwrap();
    let file = mined.put("late.json", late.to_json());
    let said = run(&[&["work", "verify", file.as_str()], &known[..]].concat());
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("[work-share-time]"), "{}", said.err);
    assert!(said.out.contains("refused      3 shares by work-share-time"), "{}", said.out);
}

#[test]
fn delivered_work_is_shown_beside_the_agreed_as_lines_and_as_a_drawing() {
    let mined = mined();
    let (url, terms) = (mined.node.electrum_url(), mined.terms_file.as_str());
    let svg = text(&mined.desk.path("chart.svg"));
    let show = ["work", "show", "--terms", terms, "--certificates", &mined.folder];
    let drawn = [&show[..], &["--electrum", &url, "--svg", &svg]].concat();
    let out = ok(&drawn);
    assert!(out.lines().take(3).all(|line| line.chars().count() <= 80), "{out}");
    let bars: Vec<&str> = out.lines().skip(1).take(2).collect();
    assert!(bars[0].starts_with("     1 ") && bars[1].starts_with("     2 "), "{out}");
    assert!(bars[0].contains('█') && bars[0].contains('░'), "{out}");
    assert!(!out.contains("damaged"), "{out}");
    assert!(out.contains("in 2 of 6 periods") && out.contains("1 files that are no"), "{out}");
    assert!(out.contains("of 60000000 sat, by the 2 periods that are deep enough"), "{out}");
    let drawing = std::fs::read_to_string(&svg).unwrap();
    assert!(drawing.contains("period 2") && drawing.ends_with("</svg>\n"));
    refused(&drawn, "cli-out-free", 2);
    mined.put("certificates/cut.hmxc", "HMXC".to_owned());
    let told = ok(&[&show[..], &["--electrum", &url]].concat());
    assert!(told.contains("damaged      ") && told.contains("cut.hmxc"), "{told}");

    refused(&show, "work-show-headers", 2);
    let nowhere =
        ["work", "show", "--terms", terms, "--certificates", "nowhere", "--electrum", &url];
    refused(&nowhere, "work-show-folder", 2);
    // A store without words or headers.
    let home = text(&mined.desk.path("home"));
    refused(&["work", "show", "--terms", terms, "--home", &home], "work-show-store", 2);
    assert!(!std::path::Path::new(&home).exists());
    // The same from a store that has the headers now, and certificates in the folder.
    let online = [&show[..], &["--electrum", &url, "--home", &home]].concat();
    ok(&online);
    let offline = ok(&[&show[..], &["--home", &home]].concat());
    assert_eq!(
        offline.lines().take(3).collect::<Vec<_>>(),
        out.lines().take(3).collect::<Vec<_>>()
    );
    // No word was ever said in this store: nothing was delivered as far as it knows.
    let empty = ok(&["work", "show", "--terms", terms, "--home", &home]);
    assert!(empty.contains("delivered    0 H of"), "{empty}");
}

#[test]
fn odds_are_said_in_words_and_counts_are_given_for_an_error_rate() {
    let desk = Desk::new();
    let (file, _) = desk.terms();
    let shown = ok(&["terms", "show", &file]);
    assert!(shown.contains("Odds") && shown.contains("exactly as agreed loses"), "{shown}");
    let odds = |alpha: &str| ok(&["work", "odds", "--terms", &file, "--alpha-ppm", alpha]);
    let out = odds("50000");
    assert!(out.contains("windows 1 to 3: ") && out.contains("of 360 expected"), "{out}");
    assert!(out.contains("{\"pass-fail\": {\"critical\": ["), "{out}");
    assert_ne!(out, odds("10000"));
    let refused = |alpha| {
        refused(&["work", "odds", "--terms", &file, "--alpha-ppm", alpha], "work-odds-alpha", 3)
    };
    refused("0");
    refused("500000");
}

#[test]
fn a_simulation_prints_the_same_table_for_the_same_seed() {
    let simulate = |seed| ok(&["work", "simulate", "--seed", seed, "--draws", "1000"]);
    let table = simulate("3");
    assert!(table.starts_with("seed 3, 1000 draws\n"), "{table}");
    assert!(table.contains("stopping when lucky, SHA-256d") && !table.contains("CONTRADICTED"));
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert_eq!(table, simulate("3"));
    refused(&["work", "simulate", "--draws", "999"], "cli-arguments", 2);
}
