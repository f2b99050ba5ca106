//! Real headers of mainnet.

use serde_json::Value;

use super::*;

const BLOCKS: [&str; 2] = [
    include_str!("../../../fixtures/mainnet/block_333961.json"),
    include_str!("../../../fixtures/mainnet/block_702861.json"),
];
const BOUNDARIES: &str = include_str!("../../../fixtures/mainnet/boundaries.json");

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap().to_owned()
}

/// Height, header and work of the chain up to it.
fn boundaries() -> Vec<(u32, Header, Work)> {
    let file: Value = serde_json::from_str(BOUNDARIES).unwrap();
    let read = |entry: &Value| {
        let header: Header = deserialize_hex(&text(entry, "header")).unwrap();
        assert_eq!(header.block_hash().to_string(), text(entry, "hash"));
        let work = Work::from_unprefixed_hex(&text(entry, "work")).unwrap();
        (entry["height"].as_u64().unwrap() as u32, header, work)
    };
    file["headers"].as_array().unwrap().iter().map(read).collect()
}

#[test]
fn real_blocks_meet_their_own_target_and_not_each_others() {
    let [old, new] = BLOCKS.map(|text| {
        let file: Value = serde_json::from_str(text).unwrap();
        deserialize_hex::<Header>(&self::text(&file, "header")).unwrap()
    });
    for header in [old, new] {
        header.validate_pow(header.target()).unwrap();
    }
    let swapped = |from: Header, to: Header| Header { bits: to.bits, ..from };
    // Each states its difficulty in the hash: with the other's it is another header, without work.
    for header in [swapped(old, new), swapped(new, old)] {
        header.validate_pow(header.target()).unwrap_err();
    }
    assert!(!new.target().is_met_by(old.block_hash()), "2014 did not work as hard as 2021");
    assert_ne!(old.block_hash(), new.block_hash());
}

#[test]
fn real_headers_at_boundaries_have_their_work_and_carry_each_others_sum() {
    let all = boundaries();
    assert_eq!(all.len(), 13);
    let mut pairs = 0;
    for (height, header, _) in &all {
        assert!(difficulty::is_boundary(Network::Bitcoin.params(), *height));
        header.validate_pow(header.target()).unwrap();
    }
    for pair in all.windows(2) {
        let [(low, first, before), (high, second, after)] = pair else { panic!() };
        assert!(before < after);
        if high - low == 2_016 {
            // 2,015 blocks of the first one's difficulty, and the first of the next span.
            let mut sum = *before + second.target().to_work();
            for _ in 0..2_015 {
                sum = sum + first.target().to_work();
            }
            assert_eq!(sum, *after, "between {low} and {high}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, 9);
}

#[test]
fn the_pins_of_mainnet_are_real_boundaries() {
    let all = boundaries();
    let pins = Checkpoints::of(Network::Bitcoin);
    let pinned = all.iter().filter(|(height, header, _)| {
        let pin = pins.at(*height);
        assert!(pin.is_none_or(|pin| pin == header.block_hash()), "{height}");
        pin.is_some()
    });
    assert_eq!(pinned.count(), 5);
    assert_eq!(pins.highest(), Some(822_528));
    for network in [Network::Bitcoin, Network::Testnet, Network::Testnet4, Network::Signet] {
        assert_eq!(Checkpoints::of(network).at(0), Guard::new(network).hash(0));
    }
}

#[test]
fn a_real_boundary_anchors_a_guard_that_asks_for_real_work() {
    let (height, header, work) = *boundaries().last().unwrap();
    let params = Network::Bitcoin.params().clone();
    let times = (1..=10).map(|back| header.time - 600 * (11 - back)).collect();
    let anchor = Anchor::new(&params, height, header, work, times).unwrap();
    let mut guard = Guard::above(params, anchor, Checkpoints::of(Network::Bitcoin)).unwrap();
    assert_eq!((guard.tip(), guard.work()), (822_528, work));
    assert_eq!(guard.next_bits(header.time).unwrap(), header.bits);
    let cheap = Header { prev_blockhash: header.block_hash(), time: header.time + 600, ..header };
    assert_eq!(rule(guard.accept(&cheap)), "guard-work");
    let easy = Header { bits: bits(0x1d00_ffff), ..cheap };
    assert_eq!(rule(guard.accept(&easy)), "guard-bits");
    // The work of the anchor is below what Core has known since.
    assert_eq!(guard.enough().unwrap_err().rule(), "guard-least-work");
}
