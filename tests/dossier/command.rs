//! The command on a chain: a position sold, worked for, settled and sold again, in the world that
//! HASHMIX_WORLD names.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bitcoin::{Amount, Network, OutPoint};
use hashmix::chain::electrum::Electrum;
use hashmix::cli::arguments::DossierArguments;
use hashmix::cli::position::folder;
use hashmix::cli::position::reading::read;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::word::Word;
use hashmix::flow::{Event, reward};
use hashmix::party::Seat;
use hashmix::rehearsal::machines::Machines;
use hashmix::rehearsal::world::{World, chosen};
use hashmix::work::receipt::{Receipt, Subject, message};
use tempfile::TempDir;

use crate::made::{START, Story, anybody, coin, terms, validator};

/// A world in which a position lives, and its dossier.
struct Town {
    world: Box<dyn World>,
    story: Story,
    sent: usize,
    machines: Machines,
    dir: TempDir,
}

impl Town {
    /// The position issued; its dossier lies in the folder.
    fn issued() -> Self {
        Self::issued_behind(101)
    }

    /// The same, by an issue that confirms in the block behind a height.
    fn issued_behind(height: u32) -> Self {
        let world = chosen().unwrap();
        let pays = |value| vec![bitcoin::TxOut { value, script_pubkey: anybody() }];
        world.mine(1, &pays).unwrap();
        let coinbase = world.block(1).unwrap().txdata[0].clone();
        world.mine(height - 1, &|value: Amount| vec![coin(value.to_sat(), anybody())]).unwrap();
        let source = OutPoint::new(coinbase.compute_txid(), 0);
        let story = Story::issued("rehearsal", source, coinbase.output[0].value);
        let dir = tempfile::tempdir().unwrap();
        let mut town = Self { world, story, sent: 0, machines: Machines::default(), dir };
        folder::write(&town.dossier(), &town.story.dossier().unwrap()).unwrap();
        town.confirm();
        town
    }

    fn dossier(&self) -> PathBuf {
        self.dir.path().join("dossier")
    }

    /// Hands in what the story has made since, without a block.
    fn broadcast(&mut self) {
        let chain = Electrum::connect(&self.world.electrum_url(), Network::Regtest).unwrap();
        for (tx, _) in &self.story.txs[self.sent..] {
            chain.broadcast(tx).unwrap();
        }
        self.sent = self.story.txs.len();
        self.world.settle().unwrap();
    }

    fn mine(&self, blocks: u32) {
        let pays = |value: Amount| vec![coin(value.to_sat(), anybody())];
        self.world.mine(blocks, &pays).unwrap();
    }

    fn mine_to(&self, height: u32) {
        self.mine(height - self.world.height().unwrap());
    }

    fn confirm(&mut self) {
        self.broadcast();
        self.mine(1);
    }

    /// Works through a slice under a contract, and puts its certificate, receipted, into the dossier.
    fn work(&mut self, terms: &EscrowTerms, slice: u32, shares: usize) {
        for height in terms.calendar().slice_blocks(slice).unwrap() {
            let template = self.world.template().unwrap();
            assert_eq!(template.height, height);
            let block =
                self.machines.find(terms, &template, &height.to_le_bytes(), Some(shares)).unwrap();
            self.world.submit(&block).unwrap();
        }
        let certificate = self.machines.certificate(terms, slice).unwrap();
        let subject = Subject::Certificate { slice, digest: certificate.digest() };
        let tip = self.world.block(self.world.height().unwrap()).unwrap().block_hash();
        let position = self.story.position();
        let put = |folder: &str, name: String, text: String| {
            let folder = self.dossier().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), text).unwrap();
        };
        put("certificates", format!("{slice}.json"), certificate.to_json());
        for place in [0, 1] {
            let digest = *message(position, &subject, tip).as_ref();
            let signature = validator("rehearsal", place, 1).sign_digest(digest).unwrap();
            let receipt = Receipt { position, subject, validator: place, tip, signature };
            // One lies there alone, the other in a word of the contract.
            if place == 0 {
                put("receipts", format!("{slice}_{place}.json"), receipt.to_json());
                continue;
            }
            let event = Event::Reward(reward::state::Event::Receipted(receipt));
            let (seat, contract) = (Seat::Validator(place), terms.id().unwrap());
            let said = Word::message(contract, seat, &event).unwrap();
            let signature = validator("rehearsal", place, 1).sign_digest(said).unwrap();
            let word = Word::new(contract, seat, event, signature);
            put("words", format!("{slice}_{place}.json"), word.to_json().unwrap());
        }
    }

    /// Adds the last transfer to the dossier.
    fn tell(&self) {
        folder::write_transfer(&self.dossier(), self.story.transfers.last().unwrap()).unwrap();
    }

    fn arguments(&self) -> DossierArguments {
        DossierArguments {
            electrum: self.world.electrum_url(),
            home: Some(self.dir.path().join("home")),
            federation: Some(self.story.terms.issuer.id().unwrap()),
        }
    }

    fn hashmix(&self, command: &[&str], dossier: &Path, federation: Option<&str>) -> Output {
        let home = self.dir.path().join("home");
        let mut run = Command::new(env!("CARGO_BIN_EXE_hashmix"));
        run.arg("position").args(command).arg(dossier);
        run.args(["--electrum", &self.world.electrum_url()]).arg("--home").arg(home);
        if let Some(federation) = federation {
            run.args(["--federation", federation]);
        }
        run.output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_position_that_was_sold_twice_is_verified_for_at_most_25_questions_and_15_kb() {
    let mut town = Town::issued();
    town.story.sell(1, 60_000_000, 0);
    town.confirm();
    town.tell();
    let first = town.story.open.clone().unwrap().terms;
    town.mine_to(START - 1);
    town.work(&first, 0, 18);
    town.work(&first, 1, 12);
    town.mine_to(173);
    town.story.settle(10_000_000);
    town.confirm();
    town.story.resell(2, town.story.resale(40_000_000, 3, 4));
    town.confirm();
    town.tell();
    let second = town.story.open.clone().unwrap().terms;
    town.mine_to(START + 48 - 1);
    town.work(&second, 4, 15);

    // A receipt for another position, in a word, is none for this one.
    let words = town.dossier().join("words");
    let said = std::fs::read_to_string(words.join("0_1.json")).unwrap();
    let said = Word::from_json(&said).unwrap();
    let Event::Reward(reward::state::Event::Receipted(mut receipt)) = said.event else { panic!() };
    receipt.position.0[0] ^= 1;
    let event = Event::Reward(reward::state::Event::Receipted(receipt));
    let foreign = Word::new(said.contract, said.from, event, said.signature);
    std::fs::write(words.join("foreign.json"), foreign.to_json().unwrap()).unwrap();

    // Issuer, terms and owner: what that costs.
    let reading = read(&town.arguments(), &town.dossier()).unwrap();
    assert_eq!((reading.title.transfer, reading.title.sold.len()), (2, 2));
    let cost = reading.cost;
    println!("issuer, terms, owner of a position with two sales: {cost:?}");
    assert!(cost.title.calls > 0 && cost.title.calls <= 25, "{cost:?}");
    assert!(cost.title.bytes > 0 && cost.title.bytes <= 15_000, "{cost:?}");
    assert_eq!(
        reading.paid().map(|(paid, rest)| (paid.to_sat(), rest.to_sat())),
        Some((0, 40_000_000))
    );
    let old = hashmix::flow::reward::coins::lock(&first.reward).unwrap().script_pubkey;
    let lock = |height| reading.title.lock_at(&town.story.terms, height).unwrap().unwrap();
    assert_eq!(lock(START + 47), old);
    assert_ne!(lock(START + 48), old);

    // In words.
    let federation = town.story.terms.issuer.id().unwrap().to_string();
    let told = town.hashmix(&["verify"], &town.dossier(), Some(&federation));
    let lines = text(&told.stdout);
    println!("{lines}");
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    let next = town.world.height().unwrap() + 1;
    let pays = format!("coinbase     pays at height {next}: {:x}", lock(next));
    for line in [
        "by 2 of 3 validators (0, 2)",
        ", as pinned",
        "60000000 sat into his escrow",
        "40000000 sat into his escrow",
        pays.as_str(),
        "0 of 40000000 sat paid, 40000000 sat unpaid",
        // Receipts prove themselves: those in words of the contract before count like those in files.
        "work         credit rests on 3 certificates and 6 receipts in this folder's",
        "that the seal is still unspent",
        "gettxout",
        "Who must act by when",
        "questions",
    ] {
        assert!(lines.contains(line), "{line}\n{lines}");
    }
    // Each period as the contract measured it that paid for it; 15 shares a block are the agreed work.
    let row = |start: &str| lines.lines().find(|line| line.starts_with(start)).unwrap_or_default();
    for (period, part) in [
        ("     1 ", "120.0%"),
        ("     2 ", "80%"),
        ("     3 ", "0%"),
        ("     4 ", "0%"),
        ("    5*", "100%"),
    ] {
        assert!(row(period).contains(part), "{period} {part}\n{lines}");
    }

    // Another federation than the pinned one is refused before anybody is asked.
    let other = "00".repeat(32);
    let told = town.hashmix(&["verify"], &town.dossier(), Some(&other));
    assert_eq!((told.status.code(), told.stdout.len()), (Some(3), 0));
    assert!(text(&told.stderr).contains("title-federation"));

    // At a glance, beside one that is false.
    let false_one = town.dir.path().join("false");
    let mut terms = terms("rehearsal");
    terms.efficiency = 1_700;
    let mut dossier = town.story.clone();
    dossier.terms = terms;
    folder::write(&false_one, &dossier.dossier().unwrap()).unwrap();
    let name = false_one.to_str().unwrap().to_owned();
    let told = town.hashmix(&["list", &name], &town.dossier(), None);
    let lines = text(&told.stdout);
    println!("{lines}");
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    assert!(
        lines.contains("title-issued") && lines.contains("18.50") && lines.contains("40000000")
    );
    assert!(lines.contains("1 of    6"), "{lines}");

    let svg = town.dir.path().join("life.svg");
    let told = town.hashmix(&["show", "--svg", svg.to_str().unwrap()], &town.dossier(), None);
    println!("{}", text(&told.stdout));
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    let drawn = std::fs::read_to_string(&svg).unwrap();
    assert!(drawn.contains("holder 2") && drawn.contains("prefers-color-scheme: dark"));
    if let Some(keep) = std::env::var_os("HASHMIX_KEEP") {
        std::fs::write(Path::new(&keep), drawn).unwrap();
    }
}

#[test]
fn a_hidden_transfer_a_waiting_one_and_a_detour_are_told_apart_on_the_chain() {
    let mut town = Town::issued();
    let verify = |town: &Town| {
        let told = town.hashmix(&["verify"], &town.dossier(), None);
        (told.status.code(), text(&told.stdout), text(&told.stderr))
    };
    let (code, lines, _) = verify(&town);
    assert_eq!(code, Some(0));
    assert!(lines.contains("the first holder has sold nothing"), "{lines}");
    assert!(lines.contains("compare it with the one that you chose"), "{lines}");

    // It waits in the mempool.
    town.story.hand_to(1);
    town.broadcast();
    town.tell();
    let (code, lines, errors) = verify(&town);
    assert_eq!(code, Some(0), "{errors}");
    assert!(lines.contains("a move that waits is not believed"), "{lines}");
    assert!(lines.contains("as of move 0"), "{lines}");
    town.mine(1);
    assert!(verify(&town).1.contains("as of move 1"));

    // The next transfer is kept from the dossier: the answer is given, and it is a refusal.
    town.story.hand_to(2);
    town.confirm();
    let (code, lines, errors) = verify(&town);
    assert_eq!(code, Some(3));
    assert!(lines.contains("not opened by any transfer"), "{lines}");
    assert!(errors.contains("title-unopened"), "{errors}");
    town.tell();
    assert_eq!(verify(&town).0, Some(0));

    // Behind a stranger's coin into the middle of an output: what came before has to be fetched.
    let spare = town.story.spare();
    let inputs = [spare, town.story.seal()];
    town.story.moves(&inputs, vec![coin(100_000_000, anybody())], None);
    town.confirm();
    let (code, lines, errors) = verify(&town);
    assert_eq!(code, Some(3), "{lines}");
    assert!(lines.contains("lost in a fee"), "{lines}");
    assert!(errors.contains("title-lost"), "{errors}");
}

#[test]
fn a_seal_among_many_coins_is_looked_for_up_to_a_bound() {
    let mut town = Town::issued();
    let inputs = [town.story.seal(), town.story.spare()];
    let outputs = vec![coin(50_000_000, anybody()), coin(50_000_000, anybody())];
    town.story.moves(&inputs, outputs, None);
    town.confirm();
    let verify = |town: &Town| {
        let told = town.hashmix(&["verify"], &town.dossier(), None);
        (told.status.code(), text(&told.stderr))
    };
    let (code, line) = verify(&town);
    assert_eq!(code, Some(3));
    assert!(line.contains("title-unopened"), "{line}");
    // Every block pays this script.
    town.mine(500 - town.world.height().unwrap());
    for _ in 0..2 {
        let (code, line) = verify(&town);
        assert_eq!(code, Some(5));
        assert!(line.contains("title-busy") && line.contains("at most 500"), "{line}");
        town.mine(1);
    }
}

#[test]
fn an_issue_that_comes_with_the_term_is_told() {
    let told = |height: u32| {
        let town = Town::issued_behind(height);
        let verified = town.hashmix(&["verify"], &town.dossier(), None);
        assert_eq!(verified.status.code(), Some(0));
        let [listed, shown] =
            ["list", "show"].map(|c| text(&town.hashmix(&[c], &town.dossier(), None).stdout));
        (text(&verified.stdout), listed, shown)
    };
    let (verified, listed, shown) = told(START - 2);
    assert!(!verified.contains("late") && !listed.contains("into the term"), "{verified}{listed}");
    assert!(!shown.contains("before the position is issued"), "{shown}");
    assert!(shown.contains("credit rests on 0 certificates"), "{shown}");
    assert!(listed.contains("delivered: by the certificates"), "{listed}");
    // In the second block of the second period.
    let (verified, listed, shown) = told(START + 12);
    let periods = terms("rehearsal").delivery.periods;
    let late = format!(
        "issued 14 blocks into the term, in period 2 of {periods}: {} whole periods were left",
        periods - 2
    );
    assert!(verified.contains(&format!("late         {late}")), "{verified}");
    assert!(listed.contains(&late) && shown.contains(&late), "{listed}{shown}");
    assert!(shown.contains("the term begins, before the position is issued"), "{shown}");
}

#[test]
fn a_folder_without_terms_or_issue_is_no_dossier() {
    let town = Town::issued();
    let refused = |path: &Path| {
        let told = town.hashmix(&["verify"], path, None);
        assert!(told.stdout.is_empty());
        (told.status.code(), text(&told.stderr))
    };
    let (code, line) = refused(&town.dir.path().join("nowhere"));
    assert_eq!(code, Some(2));
    assert!(line.contains("title-folder"), "{line}");
    for name in ["issue.json", "position.json"] {
        std::fs::write(town.dossier().join(name), "{}").unwrap();
        let (code, line) = refused(&town.dossier());
        assert_eq!(code, Some(3));
        assert!(line.contains(name), "{line}");
    }
}

#[test]
fn whatever_lies_beside_a_true_dossier_is_told_and_stops_nothing() {
    let mut town = Town::issued();
    town.story.hand_to(1);
    town.confirm();
    town.tell();
    let transfers = town.dossier().join("transfers");
    let put = |name: &str, text: &str| std::fs::write(transfers.join(name), text).unwrap();
    // No JSON, another document, another position, a folder, and a link to nowhere.
    put("0.json", "no JSON");
    put("issue.json", &town.story.issue.to_json().unwrap());
    let mut foreign = town.story.transfers[0].clone();
    foreign.position.0[0] ^= 1;
    put("foreign.json", &foreign.to_json().unwrap());
    std::fs::create_dir(transfers.join("0003.json")).unwrap();
    std::os::unix::fs::symlink("/nowhere", transfers.join("0004.json")).unwrap();
    // A rival of the true transfer, under the better name; and one of a move that was never made.
    let mut rival = town.story.transfers[0].clone();
    rival.record = crate::made::holder_record(5);
    std::fs::rename(transfers.join("0001.json"), transfers.join("true.json")).unwrap();
    put("0001.json", &rival.to_json().unwrap());
    rival.number = 2;
    put("0002.json", &rival.to_json().unwrap());
    for name in ["certificates", "receipts", "words"] {
        std::fs::create_dir(town.dossier().join(name)).unwrap();
        std::fs::write(town.dossier().join(name).join("x.json"), "no JSON").unwrap();
    }
    let told = town.hashmix(&["verify"], &town.dossier(), None);
    let lines = text(&told.stdout);
    assert_eq!(told.status.code(), Some(0), "{lines}{}", text(&told.stderr));
    assert!(lines.contains("as of move 1"), "{lines}");
    for (name, rule) in [
        ("0.json", "title-form"),
        ("issue.json", "title-form"),
        ("foreign.json", "title-position"),
        ("0003.json", "title-folder"),
        ("0004.json", "title-folder"),
        ("0001.json", "title-opens"),
        ("0002.json", "title-waiting"),
    ] {
        let start = format!("refused      transfers/{name}: ");
        let line = lines.lines().find(|line| line.starts_with(&start));
        assert!(line.is_some_and(|line| line.contains(&format!("[{rule}]"))), "{name}: {lines}");
    }
    assert_eq!(lines.matches("refused      ").count(), 7, "{lines}");
    // The holder is asked for what he has, beside what bears its number.
    town.tell();
    assert_eq!(std::fs::read_dir(&transfers).unwrap().count(), 9);
    let listed = text(&town.hashmix(&["list"], &town.dossier(), None).stdout);
    assert!(listed.contains("transfers/0002.json: "), "{listed}");
}

#[test]
fn of_ten_thousand_files_those_are_read_that_bear_the_names_of_transfers() {
    let mut town = Town::issued();
    town.story.hand_to(1);
    town.confirm();
    town.tell();
    for number in 0..10_000 {
        std::fs::write(town.dossier().join(format!("transfers/0000-{number}")), "").unwrap();
    }
    let told = town.hashmix(&["verify"], &town.dossier(), None);
    let lines = text(&told.stdout);
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    assert!(lines.contains("as of move 1"), "{lines}");
    assert!(lines.contains("found 10001: the last by name are not read"), "{lines}");
    assert_eq!(lines.matches("title-form").count(), 999);
}

#[test]
fn contracts_come_out_of_a_dossier_and_evidence_goes_into_it() {
    let mut town = Town::issued();
    let terms = |town: &Town, more: &[&str], out: &str| {
        let out = town.dir.path().join(out);
        let command = [&["terms", "--out", out.to_str().unwrap()][..], more].concat();
        let told = town.hashmix(&command, &town.dossier(), None);
        let made = std::fs::read_to_string(&out).ok();
        let made = made.map(|made| EscrowTerms::from_json(&made).unwrap());
        (told.status.code(), made, text(&told.stderr))
    };
    let (code, made, said) = terms(&town, &[], "none.json");
    assert_eq!((code, made), (Some(3), None));
    assert!(said.contains("[title-sold]"), "{said}");

    town.story.sell(1, 60_000_000, 0);
    town.confirm();
    town.tell();
    let first = town.story.open.clone().unwrap().terms;
    town.mine_to(START - 1);
    town.work(&first, 0, 18);
    town.work(&first, 1, 12);
    town.mine_to(173);
    town.story.settle(10_000_000);
    town.confirm();
    town.story.resell(2, town.story.resale(40_000_000, 3, 4));
    town.confirm();

    // The miner was silent at the resale, and its transfer came to nobody: what the dossier tells is not
    // the newest contract, and where the money went is read from the chain.
    let (code, made, said) = terms(&town, &[], "old.json");
    assert_eq!((code, made.as_ref()), (Some(3), Some(&first)));
    assert!(said.contains("[title-unopened]"), "{said}");
    let told = text(&town.hashmix(&["verify"], &town.dossier(), None).stdout);
    let resale = &town.story.txs.last().unwrap().0;
    let next = format!("{} sat on into the next contract", resale.output[1].value.to_sat());
    let miner = first.reward.miner.payout_script();
    let paid = |tx: &bitcoin::Transaction| -> u64 {
        let outputs = tx.output.iter().filter(|out| out.script_pubkey == miner);
        outputs.map(|out| out.value.to_sat()).sum()
    };
    for line in [
        format!("ended by transaction {}", resale.compute_txid()),
        format!("{} sat to the miner, {next}", paid(resale)),
        format!("{} of 60000000 sat paid to the miner in all", 10_000_000 + paid(resale)),
    ] {
        assert!(told.contains(&line), "{line}: {told}");
    }
    let listed = text(&town.hashmix(&["list"], &town.dossier(), None).stdout);
    assert!(listed.contains("ended"), "{listed}");

    town.tell();
    let second = town.story.open.clone().unwrap().terms;
    let (code, made, said) = terms(&town, &[], "new.json");
    assert_eq!((code, made.as_ref()), (Some(0), Some(&second)), "{said}");
    let (code, made, said) = terms(&town, &["--move", "1"], "first.json");
    assert_eq!((code, made.as_ref()), (Some(0), Some(&first)), "{said}");
    for (number, out, rule) in [("1", "first.json", "cli-out-free"), ("9", "no.json", "title-sold")]
    {
        let (code, _, said) = terms(&town, &["--move", number], out);
        assert!(code != Some(0) && said.contains(rule), "{rule}: {said}");
    }

    // Evidence lies elsewhere, with what is none of it.
    let heap = town.dir.path().join("heap");
    std::fs::create_dir(&heap).unwrap();
    for name in ["certificates", "receipts", "words"] {
        std::fs::rename(town.dossier().join(name), heap.join(name)).unwrap();
    }
    std::fs::write(heap.join("notes.txt"), "nothing").unwrap();
    let certificate = std::fs::read_to_string(heap.join("certificates/0.json")).unwrap();
    let foreign = certificate.replace(&town.story.position().to_string(), &"11".repeat(32));
    assert_ne!(foreign, certificate);
    std::fs::write(heap.join("foreign.json"), foreign).unwrap();
    let receipt = std::fs::read_to_string(heap.join("receipts/0_0.json")).unwrap();
    let mut forged = Receipt::from_json(&receipt).unwrap();
    forged.validator = 2;
    std::fs::write(heap.join("forged.json"), forged.to_json()).unwrap();
    let take = || {
        let mut run = Command::new(env!("CARGO_BIN_EXE_hashmix"));
        run.args(["position", "evidence"]).arg(town.dossier()).arg("--from").arg(&heap);
        let output = run.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let (taken, again) = (take(), take());
    println!("{taken}{again}");
    assert!(taken.contains("taken        2 certificates, 4 receipts"), "{taken}");
    assert!(again.contains("taken        0 certificates, 0 receipts"), "{again}");
    assert!(again.contains("there before 2 certificates, 4 receipts"), "{again}");
    for (name, rule) in [
        ("foreign.json", "dossier-evidence-position"),
        ("forged.json", "work-receipt-signature"),
        ("notes.txt", ""),
    ] {
        let line = taken.lines().find(|line| line.contains(name)).unwrap_or_default();
        assert!(line.starts_with("passed over  ") && line.contains(rule), "{name}: {taken}");
    }
    let verified = text(&town.hashmix(&["verify"], &town.dossier(), None).stdout);
    assert!(verified.contains("credit rests on 2 certificates and 4 receipts"), "{verified}");
}
