//! Is the way in the agreed one, committed to by the output, with our key in it? The spends are
//! altered behind the builder's back, and judged by the step's own function.

use bitcoin::bip32::ChildNumber;
use bitcoin::{ScriptBuf, WPubkeyHash, hashes::Hash};
use hashmix::error::Result;
use hashmix::flow::escrow;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::party::Seat;
use hashmix::policy::leaf::{self, COMMITTED, DELAYS, KEY, ONE, PATH, QUORUM, SIGNERS};
use hashmix::script::lock::{Leaf, LeafKey, Path};
use hashmix::tx::draft::Spend;

use crate::case::{
    Request, V0, V1, V2, close_for_the_holder, ruling_for_the_miner, ruling_on_the_relock,
    sweep_for_the_holder, sweep_for_the_miner,
};
use crate::examine::Bench;

/// What a granted request spends, and how.
struct WayIn {
    terms: EscrowTerms,
    place: u8,
    spends: Vec<Spend>,
}

impl Bench for WayIn {
    fn verdict(&self) -> Result<()> {
        leaf::check(&self.terms, self.place, &self.spends)
    }
}

impl WayIn {
    fn of(request: &Request) -> Self {
        let spends = request.judged().unwrap().draft().spends().to_vec();
        Self { terms: request.play.world.terms.clone(), place: 0, spends }
    }

    /// A leaf of the first output.
    fn leaf(&mut self, path: Path) -> &mut Leaf {
        self.leaf_of(0, path)
    }

    fn leaf_of(&mut self, input: usize, path: Path) -> &mut Leaf {
        let leaves = &mut self.spends[input].lock.leaves;
        leaves.iter_mut().find(|leaf| leaf.path == path).unwrap()
    }

    /// A seat's key in a leaf of the first output.
    fn key(&mut self, path: Path, seat: Seat) -> &mut LeafKey {
        self.leaf(path).keys.iter_mut().find(|key| key.seat == seat).unwrap()
    }

    /// A leaf of the escrow lock of the next index.
    fn next(&self, path: Path) -> Leaf {
        escrow::coins::lock(&self.terms, 1).unwrap().leaf(path).unwrap().clone()
    }
}

/// The miner ruling leaf of one escrow output.
fn ruling() -> WayIn {
    WayIn::of(&ruling_for_the_miner())
}

/// The holder ruling leaf of three rewards.
fn sweep() -> WayIn {
    WayIn::of(&sweep_for_the_holder())
}

/// The miner ruling leaf with another number of validators, and an output that commits to it.
fn threshold(way: &mut WayIn, number: u8) {
    let leaf = way.leaf(MINERS);
    let mut script = leaf.script.to_bytes();
    let place = script.len() - 2;
    script[place] = number;
    leaf.script = ScriptBuf::from_bytes(script);
}

const MINERS: Path = Path::MinerRuling;
const HOLDERS: Path = Path::HolderRuling;

examine! {
    path: PATH, "refused (sender)", ruling {
        accepts {
            the_miners_ruling_leaf => |_| {},
            the_holders_ruling_leaf => |w| *w = WayIn::of(&close_for_the_holder()),
            one_leaf_for_three_inputs => |w| *w = WayIn::of(&sweep_for_the_miner()),
        }
        refuses {
            the_leaf_of_both_parties => |w| w.spends[0].path = Path::Agreed,
            the_miners_exit => |w| w.spends[0].path = Path::MinerExit,
            the_holders_exit => |w| w.spends[0].path = Path::HolderExit,
            the_key_path => |w| w.spends[0].path = Path::Key,
            two_ruling_leaves_at_once => |w| {
                *w = sweep();
                w.spends[1].path = MINERS;
            },
            an_exit_for_the_last_of_three => |w| {
                *w = sweep();
                w.spends[2].path = Path::HolderExit;
            },
        }
    }
    committed: COMMITTED, "broken (ours)", ruling {
        accepts {
            the_first_escrow_output => |_| {},
            the_relock => |w| *w = WayIn::of(&ruling_on_the_relock(None)),
            three_rewards => |w| *w = sweep(),
        }
        refuses {
            the_output_of_the_next_index => |w| {
                let lock = escrow::coins::lock(&w.terms, 1).unwrap();
                w.spends[0].prevout.script_pubkey = lock.script_pubkey;
            },
            the_control_block_of_another_leaf => |w| {
                let other = w.leaf(HOLDERS).control.clone();
                w.leaf(MINERS).control = other;
            },
            the_leaf_of_the_next_index_in_this_ones_place => |w| *w.leaf(MINERS) = w.next(MINERS),
            an_output_of_before_taproot => |w| {
                let script = ScriptBuf::new_p2wpkh(&WPubkeyHash::all_zeros());
                w.spends[0].prevout.script_pubkey = script;
            },
            an_output_key_that_is_none => |w| {
                let script = [&[0x51, 0x20][..], &[0xff; 32]].concat();
                w.spends[0].prevout.script_pubkey = ScriptBuf::from_bytes(script);
            },
            the_third_of_three_rewards => |w| {
                *w = sweep();
                w.spends[2].prevout.script_pubkey = w.terms.reward.holder.payout_script();
            },
        }
    }
    delays: DELAYS, "broken (ours)", ruling {
        accepts {
            a_leaf_without_any => |w| {
                let leaf = w.leaf(MINERS);
                (leaf.older, leaf.after) = (None, None);
            },
        }
        refuses {
            one_block_on_the_output => |w| w.leaf(MINERS).older = Some(1),
            a_height => |w| w.leaf(MINERS).after = Some(1),
            those_of_an_exit_on_the_last_reward => |w| {
                *w = sweep();
                w.leaf_of(2, HOLDERS).older = Some(144);
            },
        }
    }
    signers: SIGNERS, "broken (ours)", ruling {
        accepts {
            a_party_and_all_validators => |_| {},
            the_same_told_in_another_order => |w| w.leaf(MINERS).keys.reverse(),
            the_other_party_in_its_own_leaf => |w| *w = WayIn::of(&close_for_the_holder()),
        }
        refuses {
            a_validator_left_out => |w| w.leaf(MINERS).keys.retain(|key| key.seat != V2),
            the_party_left_out => |w| w.leaf(MINERS).keys.retain(|key| key.seat != Seat::Miner),
            the_other_party_in_its_place => |w| {
                w.key(MINERS, Seat::Miner).seat = Seat::Holder;
            },
            a_validator_that_the_federation_has_not => |w| {
                w.key(MINERS, V2).seat = Seat::Validator(3);
            },
            a_validator_twice => |w| {
                let again = w.key(MINERS, V1).clone();
                w.leaf(MINERS).keys.push(again);
            },
            one_key_for_two_validators => |w| {
                let one = w.key(MINERS, V1).key;
                w.key(MINERS, V2).key = one;
            },
            a_script_with_other_keys => |w| w.leaf(MINERS).script = w.next(MINERS).script,
            a_script_with_a_key_more => |w| {
                let more = w.key(HOLDERS, Seat::Holder).key.serialize();
                let leaf = w.leaf(MINERS);
                let script = leaf.script.as_bytes();
                leaf.script = ScriptBuf::from_bytes([script, &[0x20], &more].concat());
            },
            a_script_that_breaks_off => |w| {
                let leaf = w.leaf(MINERS);
                let script = leaf.script.as_bytes();
                leaf.script = ScriptBuf::from_bytes([script, &[0x20, 1]].concat());
            },
        }
    }
    key: KEY, "broken (ours)", ruling {
        accepts {
            the_first_validators => |_| {},
            the_last_validators => |w| w.place = 2,
            the_key_of_the_next_index_in_its_lock => |w| {
                *w = WayIn::of(&ruling_on_the_relock(None));
            },
        }
        refuses {
            a_key_of_the_next_index => |w| {
                let steps = w.next(MINERS).keys.iter().find(|key| key.seat == V0).unwrap().steps.clone();
                w.key(MINERS, V0).steps = steps;
            },
            a_key_of_another_leaf => |w| {
                let steps = w.key(HOLDERS, V0).steps.clone();
                w.key(MINERS, V0).steps = steps;
            },
            a_path_that_only_the_secret_key_can_walk => |w| {
                let hardened = ChildNumber::from_hardened_idx(0).unwrap();
                w.key(MINERS, V0).steps.push(hardened);
            },
            another_validators_account_in_the_record => |w| {
                let validators = &mut w.terms.reward.federation.validators;
                validators[0].record.leaf = validators[1].record.leaf.clone();
            },
            two_validators_under_each_others_names => |w| {
                w.key(MINERS, V0).seat = V2;
                w.leaf(MINERS).keys.iter_mut().rev().find(|key| key.seat == V2).unwrap().seat = V0;
            },
        }
    }
    quorum: QUORUM, "broken (ours)", ruling {
        accepts {
            two_of_three_as_the_terms_say => |_| {},
            two_of_three_in_the_holders_leaf => |w| *w = sweep(),
        }
        refuses {
            one_of_three => |w| threshold(w, 0x51),
            three_of_three => |w| threshold(w, 0x53),
            a_threshold_of_the_terms_that_the_leaf_has_not => |w| w.terms.reward.federation.threshold = 3,
        }
    }
    one: ONE, "broken (ours)", ruling {
        accepts {
            another_key_in_each_leaf => |_| {},
            our_key_twice_in_name_only => |w| {
                let ours = w.key(MINERS, V0).steps.clone();
                w.key(HOLDERS, V0).steps = ours;
            },
        }
        refuses {
            our_key_in_the_other_ruling_leaf => |w| {
                let ours = w.key(MINERS, V0).key;
                w.key(HOLDERS, V0).key = ours;
            },
            our_key_under_a_partys_name_in_the_agreed_leaf => |w| {
                let ours = w.key(MINERS, V0).key;
                w.key(Path::Agreed, Seat::Holder).key = ours;
            },
            our_key_in_the_holders_exit => |w| {
                let ours = w.key(MINERS, V0).key;
                w.key(Path::HolderExit, Seat::Holder).key = ours;
            },
        }
    }
}
