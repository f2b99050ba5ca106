//! Lies in the rounds of MuSig2 (BIP 373): participants, nonces and parts. Whoever signs a leaf
//! takes none of them.

use bitcoin::Psbt;
use bitcoin::psbt::Input;
use bitcoin::psbt::raw::Key;
use bitcoin::secp256k1::PublicKey;
use hashmix::musig::{KeyContext, psbt};
use hashmix::party::Seat;

use crate::hints::stranger;
use crate::mutation::{Mutation, field};
use crate::people::signer;
use crate::receiver::{Receiver, Way};

const PARTICIPANTS: u8 = 0x1a;
const NONCE: u8 = 0x1b;
const PART: u8 = 0x1c;
/// What a stage does not have.
const EARLY: &str = "policy-psbt-round";

pub(crate) fn mutations(receiver: &Receiver) -> Vec<Mutation> {
    let mut all = Vec::new();
    for (place, spend) in receiver.draft.spends().iter().enumerate() {
        match (receiver.way, &spend.lock.key_path) {
            (Way::Leaf, _) => all.extend(without_a_round(place)),
            (way, Some(context)) => {
                let sighash = receiver.draft.sighash(place).unwrap();
                let lies = Lies { place, way, context: context.clone(), sighash };
                all.extend(lies.of_participants());
                all.extend(lies.of_nonces());
                all.extend(lies.of_parts());
            }
            (_, None) => unreachable!("a key path without its keys"),
        }
    }
    all
}

fn at(place: usize, change: impl Fn(&mut Input) + 'static) -> impl Fn(&mut Psbt) + 'static {
    move |psbt| {
        if let Some(input) = psbt.inputs.get_mut(place) {
            change(input);
        }
    }
}

fn put(input: &mut Input, kind: u8, key: Vec<u8>, value: Vec<u8>) {
    input.unknown.insert(Key { type_value: kind, key }, value);
}

fn outsider() -> PublicKey {
    PublicKey::from_x_only_public_key(stranger(), bitcoin::key::Parity::Even)
}

fn without_a_round(place: usize) -> Vec<Mutation> {
    let lies = [
        ("participants", PARTICIPANTS, 33, 66),
        ("a nonce", NONCE, 66, 66),
        ("a part", PART, 66, 32),
        ("a nonce for the leaf", NONCE, 98, 66),
        ("an empty part", PART, 0, 0),
    ];
    let change = |(name, kind, key, value)| {
        let change = at(place, move |input| put(input, kind, vec![2; key], vec![2; value]));
        field(format!("input {place}, {name} of a round"), EARLY, change)
    };
    lies.into_iter().map(change).collect()
}

/// The rounds of one input.
struct Lies {
    place: usize,
    way: Way,
    context: KeyContext,
    sighash: [u8; 32],
}

impl Lies {
    fn lie(
        &self,
        name: &str,
        rule: &'static str,
        change: impl Fn(&mut Input) + 'static,
    ) -> Mutation {
        let name = format!("input {}, {name}", self.place);
        field(name, rule, at(self.place, change))
    }

    /// What both ways of receiving refuse by a rule of their own.
    fn by_way(&self, first: &'static str, second: &'static str) -> &'static str {
        if self.way == Way::FirstRound { first } else { second }
    }

    fn participant(&self, seat: Seat) -> PublicKey {
        let (secret, _) = signer(seat).begin(&self.context, self.sighash).unwrap();
        secret.owner()
    }

    /// The key of a nonce or a part: by whom, for which output key.
    fn key(&self, by: PublicKey) -> Vec<u8> {
        let (key, parity) = self.context.output_key();
        let output = PublicKey::from_x_only_public_key(key, parity);
        [by.serialize(), output.serialize()].concat()
    }

    /// A nonce that is well formed, and not of this round.
    fn dead_nonce(&self, seat: Seat) -> Vec<u8> {
        let signer = signer(seat);
        let mut last = None;
        for _ in 0..9 {
            last = Some(signer.begin(&self.context, self.sighash).unwrap().1);
        }
        last.unwrap().serialize().to_vec()
    }

    fn of_participants(&self) -> Vec<Mutation> {
        let listed = "musig-psbt-participants";
        let shape = "musig-psbt-field";
        let change = |edit: fn(&mut Vec<u8>, &mut Vec<u8>)| {
            move |input: &mut Input| {
                let known = input.unknown.keys().find(|key| key.type_value == PARTICIPANTS);
                let Some(mut known) = known.cloned() else { return };
                let mut value = input.unknown.remove(&known).unwrap();
                edit(&mut known.key, &mut value);
                input.unknown.insert(known, value);
            }
        };
        vec![
            self.lie("no participants", listed, |input| {
                input.unknown.retain(|key, _| key.type_value != PARTICIPANTS);
            }),
            self.lie(
                "participants in another order",
                listed,
                change(|_, v| {
                    if v.len() >= 66 {
                        v.rotate_left(33);
                    }
                }),
            ),
            self.lie(
                "a stranger among the participants",
                listed,
                change(|_, v| {
                    v.truncate(33);
                    v.extend(outsider().serialize());
                }),
            ),
            self.lie("one participant alone", listed, change(|_, v| v.truncate(33))),
            self.lie(
                "a participant twice",
                listed,
                change(|_, v| {
                    v.truncate(33);
                    v.extend_from_within(..);
                }),
            ),
            self.lie("three participants", listed, change(|_, v| v.extend(outsider().serialize()))),
            self.lie("no keys among the participants", shape, change(|_, v| v.clear())),
            self.lie(
                "participants of a byte less",
                shape,
                change(|_, v| v.truncate(v.len().saturating_sub(1))),
            ),
            self.lie("participants of a byte more", shape, change(|_, v| v.push(2))),
            self.lie("participants that are no keys", shape, change(|_, v| v.fill(0xff))),
            self.lie(
                "participants of another aggregate",
                listed,
                change(|k, _| {
                    *k = outsider().serialize().to_vec();
                }),
            ),
            self.lie("participants of a longer aggregate", shape, change(|k, _| k.push(0))),
            self.lie("participants of no aggregate", shape, change(|k, _| k.clear())),
            self.lie("participants of a second aggregate", listed, |input| {
                let value = [outsider().serialize(); 2].concat();
                put(input, PARTICIPANTS, outsider().serialize().to_vec(), value);
            }),
        ]
    }

    fn of_nonces(&self) -> Vec<Mutation> {
        let (miner, holder) = (self.participant(Seat::Miner), self.participant(Seat::Holder));
        let [mine, his, outside] = [miner, holder, outsider()].map(|by| self.key(by));
        let mut flipped = mine.clone();
        flipped[33] ^= 1;
        let elsewhere = [miner.serialize(), outsider().serialize()].concat();
        let with_leaf = [mine.clone(), vec![7; 32]].concat();
        let dead = [Seat::Miner, Seat::Holder].map(|seat| self.dead_nonce(seat));
        let set = |key: &[u8], value: &[u8]| {
            let (key, value) = (key.to_vec(), value.to_vec());
            move |input: &mut Input| put(input, NONCE, key.clone(), value.clone())
        };
        let gone = |key: &[u8]| {
            let key = Key { type_value: NONCE, key: key.to_vec() };
            move |input: &mut Input| drop(input.unknown.remove(&key))
        };
        let (conflict, foreign) = ("musig-psbt-conflict", "musig-psbt-foreign");
        let shape = "musig-psbt-field";
        let mut all = vec![
            self.lie(
                "no nonce of the miner",
                self.by_way("musig-nonce-set", "joint-round"),
                gone(&mine),
            ),
            self.lie("a dead nonce of the miner", "joint-round", set(&mine, &dead[0])),
            self.lie("the miner shows a nonce of the holder", "joint-round", set(&mine, &dead[1])),
            self.lie("a nonce of a byte less", "musig-nonce", set(&mine, &dead[0][..65])),
            self.lie(
                "a nonce of a byte more",
                "musig-nonce",
                set(&mine, &[&dead[0][..], &[0]].concat()),
            ),
            self.lie("an empty nonce", "musig-nonce", set(&mine, &[])),
            self.lie("a nonce of zeros", "musig-nonce", set(&mine, &[0; 66])),
            self.lie("a nonce that is no point", "musig-nonce", set(&mine, &[0xff; 66])),
            self.lie(
                "a nonce in the holder's name",
                self.by_way(conflict, "musig-partial-wrong"),
                set(&his, &dead[1]),
            ),
            self.lie("no nonce in the holder's name", "musig-nonce", set(&his, &[])),
            self.lie("a nonce of a stranger", foreign, set(&outside, &dead[0])),
            self.lie("a nonce for another output key", foreign, set(&elsewhere, &dead[0])),
            self.lie("a nonce for the key of the other parity", foreign, set(&flipped, &dead[0])),
            self.lie("a nonce for a leaf", shape, set(&with_leaf, &dead[0])),
            self.lie("a nonce under a key of a byte less", shape, set(&mine[..65], &dead[0])),
            self.lie("a nonce of nobody", shape, set(&[], &dead[0])),
        ];
        if self.way == Way::SecondRound {
            all.push(self.lie("no nonce of the holder", "musig-nonce-set", gone(&his)));
            let (mine, his) = (mine.clone(), his.clone());
            all.push(self.lie("both nonces the other's", "joint-round", move |input| {
                let [a, b] = [&mine, &his].map(|key| Key { type_value: NONCE, key: key.clone() });
                if let (Some(x), Some(y)) = (input.unknown.remove(&a), input.unknown.remove(&b)) {
                    input.unknown.insert(a, y);
                    input.unknown.insert(b, x);
                }
            }));
        }
        all
    }

    fn of_parts(&self) -> Vec<Mutation> {
        let (miner, holder) = (self.participant(Seat::Miner), self.participant(Seat::Holder));
        let [mine, his, outside] = [miner, holder, outsider()].map(|by| self.key(by));
        let elsewhere = [miner.serialize(), outsider().serialize()].concat();
        let mut one = [0; 32];
        one[31] = 1;
        let set = |key: &[u8], value: &[u8]| {
            let (key, value) = (key.to_vec(), value.to_vec());
            move |input: &mut Input| put(input, PART, key.clone(), value.clone())
        };
        let foreign = "musig-psbt-foreign";
        let (wrong, shape) = ("musig-partial-wrong", "musig-psbt-field");
        let mut all = vec![
            self.lie("a part in the miner's name", EARLY, set(&mine, &one)),
            self.lie("a part in the holder's name", self.by_way(EARLY, wrong), set(&his, &one)),
            self.lie(
                "a part of zero in the holder's name",
                self.by_way(EARLY, wrong),
                set(&his, &[0; 32]),
            ),
            self.lie("a part of a stranger", foreign, set(&outside, &one)),
            self.lie("a part for another output key", foreign, set(&elsewhere, &one)),
            self.lie("a part under a key of a byte less", shape, set(&mine[..65], &one)),
            self.lie("a part for a leaf", shape, set(&[mine.clone(), vec![7; 32]].concat(), &one)),
            self.lie("a part of nobody", shape, set(&[], &one)),
            self.lie(
                "a part of a byte less in the miner's name",
                "musig-partial",
                set(&mine, &one[1..]),
            ),
            self.lie(
                "a part above the order in the miner's name",
                "musig-partial",
                set(&mine, &[0xff; 32]),
            ),
        ];
        if self.way == Way::SecondRound {
            let key = Key { type_value: PART, key: his.clone() };
            let change = |edit: fn(&mut Vec<u8>)| {
                let key = key.clone();
                move |input: &mut Input| {
                    if let Some(part) = input.unknown.get_mut(&key) {
                        edit(part);
                    }
                }
            };
            all.extend([
                self.lie(
                    "one bit of the holder's part",
                    wrong,
                    change(|v| v.iter_mut().skip(31).for_each(|byte| *byte ^= 1)),
                ),
                self.lie(
                    "the holder's part of a byte less",
                    "musig-partial",
                    change(|v| v.truncate(v.len().saturating_sub(1))),
                ),
                self.lie(
                    "the holder's part of a byte more",
                    "musig-partial",
                    change(|v| v.push(0)),
                ),
                self.lie("the holder's part empty", "musig-partial", change(|v| v.clear())),
                self.lie(
                    "the holder's part above the order",
                    "musig-partial",
                    change(|v| v.fill(0xff)),
                ),
            ]);
            let gone = key.clone();
            all.push(self.lie("no part of the holder", "joint-round", move |input| {
                input.unknown.remove(&gone);
            }));
            all.push(self.lie("the holder's part in the miner's name", EARLY, {
                let (from, to) = (key.clone(), mine.clone());
                move |input| {
                    if let Some(part) = input.unknown.remove(&from) {
                        put(input, PART, to.clone(), part);
                    }
                }
            }));
            all.push(self.lie("no round at all", "joint-round", psbt::clear_round));
        } else {
            all.push(self.lie("no round at all", "musig-nonce-set", psbt::clear_round));
        }
        all
    }
}
