//! Rule 1: the header belongs where the chain is, and when.

use bitcoin::block::Version;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, Network};
use hashmix::work::share::{BITS, NETWORK, PARENT, SLICE, TIME, VERSION};

use crate::made::{HEIGHT, Made, made};
use crate::world::{EASIEST, GENESIS_TIME, TIP, chain, forked, job, mine, run};

/// The share of another height, shown for its own slice.
fn moved(made: &mut Made, height: u32) {
    let job = job(&made.headers, height);
    (made.tx, made.branch, made.header) = (job.coinbase, job.branch, job.header);
    made.slice = made.terms.calendar().slice_of(height).unwrap_or(0);
}

/// The time of the block behind the parent.
fn child_time() -> u32 {
    GENESIS_TIME + HEIGHT * 600
}

/// The median-time-past of the parent: the time of the block five before it.
fn median() -> u32 {
    GENESIS_TIME + (HEIGHT - 6) * 600
}

examine! {
    parent: PARENT, "refused (miner)", made {
        accepts {
            a_chain_that_forks_above_it => |m| m.headers = forked(HEIGHT),
            on_the_block_where_the_chains_part => |m| m.headers = forked(HEIGHT - 1),
        }
        refuses {
            a_block_that_lost_a_reorg => |m| m.headers = forked(HEIGHT - 2),
            a_stale_block_that_everybody_knows => |m| {
                let before = m.headers.hash(HEIGHT - 2).unwrap();
                let stale = mine(before, GENESIS_TIME + (HEIGHT - 1) * 600, 5);
                m.header.prev_blockhash = stale.block_hash();
                m.headers = chain(TIP).with_stale(vec![stale]).unwrap();
            },
            a_block_that_nobody_knows => |m| m.header.prev_blockhash = BlockHash::all_zeros(),
            another_chain_of_the_same_network => |m| m.headers = forked(0),
        }
    }
    slice: SLICE, "refused (miner)", made {
        accepts {
            the_first_height_of_the_term => |m| moved(m, 15),
            the_last_height_of_the_term => |m| moved(m, 38),
        }
        refuses {
            an_old_parent => |m| { moved(m, HEIGHT - 2); m.slice += 1 },
            an_old_parent_of_the_term => |m| { moved(m, 15); m.slice = 11 },
            a_parent_to_come => |m| { moved(m, HEIGHT + 1); m.slice -= 1 },
            before_the_term => |m| moved(m, 14),
            after_the_term => |m| moved(m, 39),
            a_slice_behind_the_last => |m| m.slice = 12,
        }
    }
    bits: BITS, "refused (miner)", made {
        accepts {
            what_the_network_demands => |m| m.header.bits = CompactTarget::from_consensus(EASIEST),
        }
        refuses {
            a_harder_target => |m| m.header.bits = CompactTarget::from_consensus(EASIEST - 1),
            the_easiest_of_mainnet => |m| m.header.bits = CompactTarget::from_consensus(0x1d00_ffff),
            an_easier_target => |m| m.header.bits = CompactTarget::from_consensus(0x2100_ffff),
            nothing => |m| m.header.bits = CompactTarget::from_consensus(0),
        }
    }
    time: TIME, "refused (miner)", made {
        accepts {
            a_second_after_the_median => |m| m.header.time = median() + 1,
            two_hours_after_the_block_that_followed => |m| m.header.time = child_time() + 7_200,
        }
        refuses {
            the_median_itself => |m| m.header.time = median(),
            a_second_too_late => |m| m.header.time = child_time() + 7_201,
            long_ago => |m| m.header.time = 0,
            the_end_of_time => |m| m.header.time = u32::MAX,
        }
    }
    version: VERSION, "refused (miner)", made {
        accepts {
            every_free_bit_rolled => |m| m.header.version = Version::from_consensus(0x3fff_ffff),
            no_bit_rolled => |m| m.header.version = Version::from_consensus(0x2000_0000),
        }
        refuses {
            no_top_bits => |m| m.header.version = Version::from_consensus(0x1fff_ffff),
            a_version_of_old => |m| m.header.version = Version::from_consensus(2),
            another_top_bit => |m| m.header.version = Version::from_consensus(0x6000_0000),
            all_bits => |m| m.header.version = Version::from_consensus(-1),
        }
    }
    network: NETWORK, "unavailable", made {
        accepts {
            headers_of_the_terms_network => |m| m.headers = chain(TIP - 1),
        }
        refuses {
            terms_of_signet => |m| m.terms.network = Network::Signet,
            terms_of_mainnet => |m| m.terms.network = Network::Bitcoin,
        }
    }
}

#[test]
fn the_chains_of_these_tests_are_two() {
    assert_ne!(run(30, 20, 9)[21], run(30, 30, 0)[21]);
    assert_eq!(run(30, 20, 9)[20], run(30, 30, 0)[20]);
}
