//! Bytes that are no PSBT, or more than one (BIP 174).

use crate::maps::{Maps, apart, together};
use crate::mutation::{Mutation, bytes};
use crate::receiver::Receiver;

const FORM: &str = "policy-psbt-form";
const TRAILING: &str = "policy-psbt-trailing";
const TWICE: &str = "policy-psbt-twice";

pub(crate) fn mutations(_: &Receiver) -> Vec<Mutation> {
    let cut =
        |name, keep: fn(usize) -> usize| bytes(name, FORM, move |b| b.truncate(keep(b.len())));
    let mut all = vec![
        cut("nothing", |_| 0),
        cut("the magic alone", |_| 5),
        cut("one byte less", |length| length.saturating_sub(1)),
        cut("half of it", |length| length / 2),
        cut("all but ten bytes", |length| length.saturating_sub(10)),
        bytes("another magic", FORM, |b| flip(b, 0)),
        bytes("another separator", FORM, |b| flip(b, 4)),
        bytes("length of the first key", FORM, |b| flip(b, 5)),
        bytes("a byte behind the end", TRAILING, |b| b.push(0)),
        bytes("itself again behind the end", TRAILING, |b| {
            b.extend_from_within(..);
        }),
    ];
    for version in [1u32, 2, u32::MAX] {
        let name = format!("PSBT version {version}");
        all.push(bytes(name, "policy-psbt-version", move |b| {
            edit(b, |maps| add(maps, 0, &[0xfb], &version.to_le_bytes()));
        }));
    }
    let by = |name: &str, rule, change: fn(&mut Maps)| {
        bytes(name.to_owned(), rule, move |b| edit(b, change))
    };
    all.extend([
        by("the unsigned transaction twice", TWICE, |maps| again(maps, 0)),
        by("a field of the first input twice", TWICE, |maps| again(maps, 1)),
        by("a field of the first input twice, the second one other", TWICE, |maps| {
            again(maps, 1);
            if let Some((_, value)) = maps.get_mut(1).and_then(|map| map.last_mut()) {
                value.push(0);
            }
        }),
        by("no unsigned transaction", FORM, |maps| {
            if let Some(global) = maps.first_mut() {
                global.retain(|(key, _)| key != &[0]);
            }
        }),
        by("no map of the last output", FORM, |maps| drop(maps.pop())),
        by("a byte behind the unsigned transaction", FORM, |maps| longer(maps, 0, 0x00)),
        by("a byte behind the witness UTXO", FORM, |maps| longer(maps, 1, 0x01)),
        by("a byte behind the internal key", FORM, |maps| longer(maps, 1, 0x17)),
        by("a byte behind the merkle root", FORM, |maps| longer(maps, 1, 0x18)),
        by("key data behind the type of the witness UTXO", FORM, |maps| {
            let Some(map) = maps.get_mut(1) else { return };
            for (key, _) in map.iter_mut().filter(|(key, _)| key == &[1]) {
                key.push(0);
            }
        }),
        by("a signature type of three bytes", FORM, |maps| add(maps, 1, &[0x03], &[1, 0, 0])),
        by("a key path signature of 63 bytes", FORM, |maps| add(maps, 1, &[0x13], &[1; 63])),
        by("a leaf signature under a short key", FORM, |maps| add(maps, 1, &[0x14, 2], &[1; 64])),
        by("a leaf without its control block", FORM, |maps| add(maps, 1, &[0x15], &[0x51, 0xc0])),
    ]);
    all
}

fn flip(bytes: &mut [u8], place: usize) {
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 0x80;
    }
}

/// Takes a PSBT apart, changes it, and puts it together. Leaves alone what is none.
pub(crate) fn edit(bytes: &mut Vec<u8>, change: impl Fn(&mut Maps)) {
    if let Some(mut maps) = apart(bytes) {
        change(&mut maps);
        *bytes = together(&maps);
    }
}

/// Adds a field to a map: the global one, then inputs, then outputs.
pub(crate) fn add(maps: &mut Maps, map: usize, key: &[u8], value: &[u8]) {
    if let Some(map) = maps.get_mut(map) {
        map.push((key.to_vec(), value.to_vec()));
    }
}

fn again(maps: &mut Maps, map: usize) {
    if let Some(map) = maps.get_mut(map)
        && let Some(field) = map.first().cloned()
    {
        map.push(field);
    }
}

fn longer(maps: &mut Maps, map: usize, kind: u8) {
    let Some(map) = maps.get_mut(map) else { return };
    for (_, value) in map.iter_mut().filter(|(key, _)| key == &[kind]) {
        value.push(0);
    }
}
