//! Is it ours? The contract, the place, the keys, the kind of thing that is asked.

use hashmix::flow::Task;
use hashmix::flow::escrow::state::Ask;
use hashmix::id::TermsId;
use hashmix::party::Seat;
use hashmix::policy::seat::{CONTRACT, KEYS, PLACE, TASK};
use hashmix::script::template::Variant;

use crate::case::{
    Keys, Request, V1, V2, close_for_the_holder, ruling_for_the_miner, sweep_for_the_holder,
};
use crate::world::{agreed, outcome};

/// A state that the two parties would sign between them.
fn state(request: &Request, rate: u64) -> Task {
    let outpoint = request.play.world.coin().outpoint;
    Task::State(Ask { outpoint, outcome: outcome(1, 15_000_000, false), sat_per_vb: rate })
}

examine! {
    contract: CONTRACT, "refused (sender)", ruling_for_the_miner {
        accepts {
            the_contract_by_its_own_id => |r| r.contract = r.play.world.terms.id().unwrap(),
            the_contract_by_its_id_in_writing => |r| {
                r.contract = r.contract.to_string().parse().unwrap();
            },
        }
        refuses {
            the_same_people_without_a_key_path => |r| {
                r.contract = agreed(Variant::Nums).id().unwrap();
            },
            the_same_people_at_a_price_one_satoshi_lower => |r| {
                let mut terms = r.play.world.terms.clone();
                crate::case::shift(&mut terms.price, -1);
                r.contract = terms.id().unwrap();
            },
            an_id_of_nothing => |r| r.contract = TermsId([0; 32]),
        }
    }
    place: PLACE, "refused (sender)", ruling_for_the_miner {
        accepts {
            the_first_place => |r| r.before(0),
            the_last_place => |r| r.before(2),
        }
        refuses {
            the_place_behind_the_last => |r| r.place = 3,
            the_highest_number => |r| r.place = u8::MAX,
        }
    }
    keys: KEYS, "refused (sender)", ruling_for_the_miner {
        accepts {
            all_four_of_his_record => |r| r.before(1),
        }
        refuses {
            another_validators_musig_key => |r| r.keys.musig = Keys::of(V1).musig,
            another_validators_leaf_key => |r| r.keys.leaf = Keys::of(V2).leaf,
            another_validators_exit_key => |r| r.keys.exit = Keys::of(V1).exit,
            another_validators_communication_key => |r| {
                r.keys.communication = Keys::of(V2).communication;
            },
            his_own_keys_in_the_wrong_accounts => |r| {
                let keys = &mut r.keys;
                std::mem::swap(&mut keys.leaf, &mut keys.exit);
            },
            a_partys_keys => |r| r.keys = Keys::of(Seat::Miner),
            his_own_keys_in_another_place => |r| r.place = 1,
        }
    }
    task: TASK, "refused (sender)", ruling_for_the_miner {
        accepts {
            a_closing_ruling => |r| *r = close_for_the_holder(),
            a_sweep => |r| *r = sweep_for_the_holder(),
        }
        refuses {
            a_state_that_would_pay_the_very_same => |r| r.task = state(r, 2),
            a_settlement_of_the_parties_at_another_rate => |r| r.task = state(r, 5),
        }
    }
}
