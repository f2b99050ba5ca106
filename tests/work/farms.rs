//! Farms: two positions in one coinbase, and what would sell a hash twice.

use bitcoin::{Amount, ScriptBuf};
use hashmix::error::Result;
use hashmix::work::farm::{
    APART, Farm, LENGTH, LOCK, LONGEST_COINBASE, PART, Rest, SPENDABLE, STAKES, Stake,
};

use crate::examine::Bench;
use crate::world::{REWARD, script};

/// Positions that a miner wants to pay with one coinbase.
struct Wished {
    stakes: Vec<Stake>,
    rest: Rest,
    reward: u64,
    limit: usize,
}

fn stake(number: u8, weight: u64) -> Stake {
    Stake { lock: script(number), service: script(100 + number), service_ppm: 300_000, weight }
}

fn wished() -> Wished {
    Wished {
        stakes: vec![stake(1, 5), stake(2, 3), stake(3, 1)],
        rest: Rest::Script { script: script(99), weight: 1 },
        reward: REWARD,
        limit: 730,
    }
}

impl Bench for Wished {
    fn verdict(&self) -> Result<()> {
        let farm = Farm::new(self.stakes.clone(), self.rest.clone())?;
        farm.check_length(12, self.limit)?;
        let payouts = farm.payouts(Amount::from_sat(self.reward))?;
        let sum: Amount = payouts.iter().map(|out| out.value).sum();
        assert_eq!(sum.to_sat(), self.reward);
        Ok(())
    }
}

/// An output that nobody can spend.
fn data() -> ScriptBuf {
    ScriptBuf::from_hex("6a0468617368").unwrap()
}

examine! {
    lock: LOCK, "refused (miner)", wished {
        accepts {
            one_position_more => |w| w.stakes.push(stake(4, 1)),
        }
        refuses {
            the_same_position_twice => |w| w.stakes.push(stake(1, 1)),
            the_same_lock_with_another_service => |w| {
                w.stakes[2] = Stake { lock: script(1), ..stake(3, 1) };
            },
        }
    }
    apart: APART, "refused (miner)", wished {
        accepts {
            one_service_script_for_all => |w| {
                w.stakes.iter_mut().for_each(|stake| stake.service = script(50));
            },
        }
        refuses {
            a_service_script_that_is_the_next_lock => |w| w.stakes[0].service = script(2),
            a_service_script_that_is_the_lock_before => |w| w.stakes[2].service = script(2),
            a_service_script_that_is_its_own_lock => |w| w.stakes[1].service = script(2),
            the_rest_to_a_lock => |w| w.rest = Rest::Script { script: script(3), weight: 1 },
        }
    }
    stakes: STAKES, "refused (miner)", wished {
        accepts {
            a_single_position => |w| { w.stakes.truncate(1); w.rest = Rest::Stake(0) },
        }
        refuses {
            nobody => |w| w.stakes.clear(),
            a_weight_of_nothing => |w| w.stakes[1].weight = 0,
            the_rest_to_a_position_that_is_not_there => |w| w.rest = Rest::Stake(3),
        }
    }
    spendable: SPENDABLE, "refused (miner)", wished {
        accepts {
            a_script_of_another_kind => |w| {
                w.stakes[0].service = ScriptBuf::from_bytes([vec![0, 20], vec![7; 20]].concat());
            },
        }
        refuses {
            data_for_a_lock => |w| w.stakes[0].lock = data(),
            data_for_a_service_script => |w| w.stakes[0].service = data(),
            nothing_for_the_rest => |w| w.rest = Rest::Script { script: ScriptBuf::new(), weight: 0 },
        }
    }
    part: PART, "refused (miner)", wished {
        accepts {
            a_satoshi_of_service => |w| w.reward = 40,
            // Before an issue none is asked for.
            no_service_share => |w| w.stakes[0].service_ppm = 0,
        }
        refuses {
            no_satoshi_of_service => |w| w.reward = 39,
            a_weight_that_is_lost_beside_another => |w| w.stakes[0].weight = u64::MAX,
            a_service_share_of_everything => |w| w.stakes[0].service_ppm = 1_000_000,
        }
    }
    length: LENGTH, "refused (miner)", wished {
        accepts {
            as_long_as_the_firmware_holds => |w| w.limit = 115 + 43 + 3 * 86,
            one_position_by_default => |w| {
                (w.limit, w.rest) = (LONGEST_COINBASE, Rest::Stake(0));
                w.stakes.truncate(1);
            },
        }
        refuses {
            a_byte_longer => |w| w.limit = 115 + 43 + 3 * 86 - 1,
            two_positions_by_default => |w| {
                (w.limit, w.rest) = (LONGEST_COINBASE, Rest::Stake(0));
                w.stakes.truncate(2);
            },
        }
    }
}
