//! Whatever comes: a session answers or stays silent, one line for each, and does not grow.

use hashmix::gateway::machines::MachineStatus;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::world::settings;

/// Some JSON of little depth.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[0-9a-f]{0,20}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..7).prop_map(Value::from),
            prop::collection::btree_map("[a-z.]{0,12}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn any_method() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "mining.submit",
            "mining.submit",
            "mining.configure",
            "mining.subscribe",
            "mining.authorize",
            "mining.suggest_difficulty",
            "mining.suggest_target",
            "mining.get_transactions",
            "mining.extranonce.subscribe",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

/// What a person would see of the machine stays short.
fn bounded(status: &MachineStatus) -> bool {
    status.user.chars().count() <= 96 && status.firmware.chars().count() <= 96
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_request_is_answered_with_its_id(
        requests in prop::collection::vec((any_json(), any_method(), any_json()), 1..20),
    ) {
        let mut desk = Desk::ready();
        for (id, method, params) in requests {
            let line = json!({ "id": id, "method": method, "params": params }).to_string();
            let lines = desk.say(&line);
            let answer: Value = match lines.first() {
                Some(line) => serde_json::from_str(line).unwrap(),
                None => {
                    prop_assert!(method.is_empty());
                    continue;
                }
            };
            if id.to_string().len() <= 128 {
                prop_assert_eq!(&answer["id"], &id);
            }
            prop_assert!(lines.len() <= 3);
            prop_assert!(bounded(desk.session.status()));
            prop_assert!(desk.kept.blocks.lock().unwrap().is_empty());
        }
    }

    #[test]
    fn any_bytes_get_at_most_one_line(
        bytes in prop::collection::vec(any::<u8>().prop_filter("no end", |b| *b != b'\n'), 0..300),
    ) {
        let mut desk = Desk::new(settings());
        let mut out = Vec::new();
        let _ = desk.session.line(&bytes, desk.now, &desk.kept, &mut out);
        prop_assert!(out.iter().filter(|byte| **byte == b'\n').count() <= 1);
        prop_assert!(out.len() <= 200);
        desk.now.ms += 1;
    }

    #[test]
    fn a_broken_submit_is_refused_or_was_not_broken(
        at in 0usize..6,
        value in any_json(),
    ) {
        let mut desk = Desk::ready();
        let mut submit = desk.find(
            bitcoin::Target::from_be_bytes([0; 32]),
            hashmix::rehearsal::stratum::jobs::target(0x0f),
        );
        let same = submit[at] == value;
        submit[at] = value;
        let code = desk.submit(&submit);
        // No sixth field, or another time or nonce, may be good by chance; a name never is.
        if !same && at < 2 {
            prop_assert!(code == 21 || code == 24 || code == 20, "{code}");
            prop_assert_eq!(desk.kept.shares(), 0);
        }
    }
}

#[test]
fn what_a_session_remembers_of_jobs_is_bounded_and_workers_are_not_counted() {
    let mut desk = Desk::ready();
    let first = desk.name.clone();
    for id in 3..200 {
        desk.post(vec![crate::world::job(id, 0, 1)]);
    }
    let find = json!(["farm.one", first, "0000000000000000", "6553f100", "00000000"]);
    assert_eq!(desk.submit(&find), 21);
    // A proxy logs hundreds in: all are welcome.
    for i in 0..200 {
        assert_eq!(desk.ask("mining.authorize", json!([format!("farm.{i}")]))["result"], true);
    }
    // The first worker is the machine's name.
    assert_eq!(&*desk.session.status().user, "farm.one");
}
