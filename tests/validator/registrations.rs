//! Who may bring which terms to a desk.

use hashmix::party::Seat;
use hashmix::rehearsal::people;
use hashmix::validator::desk::Desk;
use hashmix::validator::registration::{REGISTRATION_MAX_BYTES, Registration, digest};

use crate::town::{Town, Way, command, registration};
use crate::world::{Table, signer};

fn refused(town: &Town, place: u8, registration: &Registration) -> &'static str {
    let mut desk = town.open(place);
    desk.register(&registration.to_json().unwrap()).unwrap_err().rule()
}

/// Other terms of the same people, signed by both.
fn other(table: &Table) -> Registration {
    let mut terms = table.terms.clone();
    terms.fees.cap += 1;
    let id = terms.id().unwrap();
    let mut other = Registration::new(terms);
    for seat in [Seat::Miner, Seat::Holder] {
        other.add(seat, signer(seat).sign_digest(digest(id)).unwrap()).unwrap();
    }
    other
}

#[test]
fn a_contract_is_registered_once_and_is_there_after_a_restart() {
    let town = Town::funded();
    let text = registration(&town.table).to_json().unwrap();
    for _ in 0..2 {
        let mut desk = town.open(1);
        assert_eq!(desk.register(&text).unwrap(), town.id());
        assert_eq!(desk.registered(), [town.id()]);
        assert_eq!(desk.standing(town.id()).unwrap().seat, Seat::Validator(1));
    }
}

#[test]
fn without_both_signatures_nobody_registers_anything() {
    let town = Town::funded();
    let whole = registration(&town.table);
    for missing in [
        Registration { miner: None, ..whole.clone() },
        Registration { holder: None, ..whole.clone() },
        Registration { holder: whole.miner, ..whole.clone() },
        Registration { terms: other(&town.table).terms, ..whole.clone() },
    ] {
        assert_eq!(refused(&town, 0, &missing), "policy-registry-signed");
    }
}

#[test]
fn a_record_of_ours_serves_its_first_terms_alone_even_after_a_restart() {
    let town = Town::funded();
    let first = registration(&town.table);
    town.open(0).register(&first.to_json().unwrap()).unwrap();
    assert_eq!(refused(&town, 0, &other(&town.table)), "policy-registry-first");
    // Somebody removes the folder: the memory of it stays.
    std::fs::remove_dir_all(town.home(0).join("contracts")).unwrap();
    assert_eq!(refused(&town, 0, &other(&town.table)), "policy-registry-first");
    town.open(0).register(&first.to_json().unwrap()).unwrap();
}

#[test]
fn a_stranger_to_the_federation_takes_nothing_on() {
    let town = Town::funded();
    let home = town.table.dir.path().join("stranger");
    for name in ["somebody else", "rehearsal miner"] {
        let seed = people::seed(name).unwrap();
        let mut desk = Desk::open(&home.join(name), seed, town.sources()).unwrap();
        let error = desk.register(&registration(&town.table).to_json().unwrap()).unwrap_err();
        assert_eq!((error.rule(), error.exit_code()), ("policy-registry-member", 3), "{name}");
    }
}

#[test]
fn a_file_of_another_form_or_size_is_refused_before_anything_is_asked() {
    let town = Town::funded();
    let whole = registration(&town.table).to_json().unwrap();
    let mut desk = town.open(0);
    for (text, rule) in [
        ("{}".to_owned(), "policy-registry-form"),
        (whole.replace("registration 1", "registration 2"), "policy-registry-form"),
        (whole.replace("\"miner\": \"", "\"mine\": \""), "policy-registry-form"),
        (format!("{whole}{}", " ".repeat(REGISTRATION_MAX_BYTES)), "policy-registry-size"),
    ] {
        assert_eq!(desk.register(&text).unwrap_err().rule(), rule);
    }
}

#[test]
fn a_contract_that_has_ended_is_not_taken_on() {
    let mut town = Town::registered();
    // The window passes without any work, and the ruling of it closes the contract.
    town.table.ripen(1);
    town.table.step(Seat::Holder);
    town.table.engine(Seat::Holder).open_dispute(1, 2).unwrap();
    town.round();
    town.table.elsewhere(town.table.terms.delays.answer);
    town.round();
    assert_eq!(town.table.sent.len(), 1, "{:?}", town.table.story());
    town.table.elsewhere(1);
    town.ways[2] = Way::Away;
    std::fs::remove_dir_all(town.home(2)).unwrap();
    assert_eq!(refused(&town, 2, &registration(&town.table)), "policy-registry-alive");
}

#[test]
fn one_process_works_at_a_desk_with_one_seed() {
    let town = Town::funded();
    let open = |name: &str| {
        Desk::open(&town.home(0), people::seed(name).unwrap(), town.sources()).map(|_| ())
    };
    let name = people::name(Seat::Validator(0));
    let held = town.open(0);
    assert_eq!(open(&name).unwrap_err().rule(), "validator-busy");
    drop(held);
    assert_eq!(open("somebody else").unwrap_err().rule(), "validator-desk");
    open(&name).unwrap();
}

#[test]
fn parties_make_the_registration_with_the_command() {
    let town = Town::funded();
    let terms = serde_json::to_string(&town.table.terms).unwrap();
    let mut file = town.file("terms.json", &terms);
    for (seat, role) in [(Seat::Miner, "miner"), (Seat::Holder, "holder")] {
        let words = people::seed(&people::name(seat)).unwrap().words().unwrap();
        let seed = town.file(&format!("seed-{role}"), "");
        // The desks' folders show how a seed is kept: private before it is filled.
        std::fs::copy(town.home(0).join("seed"), &seed).unwrap();
        std::fs::write(&seed, words.as_bytes()).unwrap();
        let out = format!("{file}-{role}");
        let role_of_other = if role == "miner" { "holder" } else { "miner" };
        let arguments = |role: &str| {
            ["--seed", &seed, "--number", "0", "--role", role, "--registration", &out]
                .map(str::to_owned)
        };
        let wrong = command(&["terms", "sign", &file], &arguments(role_of_other));
        assert_eq!(wrong.status.code(), Some(3), "not his record");
        let said = command(&["terms", "sign", &file], &arguments(role));
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        file = out;
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(town.open(0).register(&text).unwrap(), town.id());
}
