//! Satoshis in plain payments: ord and we follow each of them to the same place.

use bitcoin::{Amount, OutPoint};
use hashmix::rehearsal::daemons::{Bitcoind, Ord};
use hashmix::rehearsal::reorg::replace;
use hashmix::rehearsal::world::World as _;
use hashmix::tx::satoshi::{Moved, Place};
use hashmix::work::grind::grind;

use crate::world::{SUBSIDY, World, output};

fn at(outpoint: OutPoint, offset: u64) -> Place {
    Place { outpoint, offset: Amount::from_sat(offset) }
}

fn first_output(block: &bitcoin::Block) -> OutPoint {
    OutPoint::new(block.txdata[0].compute_txid(), 0)
}

#[test]
fn a_coinbase_satoshi_is_followed_into_an_output_to_its_head_and_into_the_fees() {
    let world = World::with_coins(3);
    let [one, two, three] = [1, 2, 3].map(|height| world.coinbase(height));
    // The first of its block, which ord knows by its number, and one that it must look for.
    let first = world.sat_at(Place::first_of(two));
    assert_eq!(first, 2 * SUBSIDY, "ord counts 50 BTC for every block before");
    let common = world.sat_at(at(two, 4_321));
    assert_eq!(common, first + 4_321);
    world.agree_on(Place::first_of(two), first);
    world.agree_on(at(two, 4_321), common);

    // Behind the satoshis of the first input: inside an output.
    let joined = world.pay(&[one, two], &[60_0000_0000, 39_9999_0000]);
    let block = world.next_block();
    let inside = at(OutPoint::new(joined.compute_txid(), 0), SUBSIDY);
    assert_eq!(world.moved(&joined, Place::first_of(two)), Moved::To(inside));
    assert_eq!(world.after(&block, Place::first_of(two)), Some(inside));
    world.agree_on(inside, first);
    world.agree_on(at(inside.outpoint, SUBSIDY + 4_321), common);

    // At the head of a small output.
    let split = world.pay(&[inside.outpoint], &[SUBSIDY, 5_000, 9_9999_0000]);
    let block = world.next_block();
    let small = OutPoint::new(split.compute_txid(), 1);
    assert_eq!(world.after(&block, inside), Some(Place::first_of(small)));
    world.agree_on(Place::first_of(small), first);
    world.agree_on(at(small, 4_321), common);
    assert_eq!(world.ord.sat_ranges(inside.outpoint).unwrap(), [], "spent: it holds none");

    // Into the fees of a block, behind those of another transaction that pays more.
    let other = world.pay(&[three], &[SUBSIDY - 90_000]);
    let spent = world.pay(&[OutPoint::new(joined.compute_txid(), 1), small], &[39_9999_0000]);
    let block = world.next_block();
    let order: Vec<_> = block.txdata[1..].iter().map(|tx| tx.compute_txid()).collect();
    assert_eq!(order, [other.compute_txid(), spent.compute_txid()]);
    let fee = Moved::Fee { offset: Amount::from_sat(4_321) };
    assert_eq!(world.moved(&spent, at(small, 4_321)), fee);
    let reward = first_output(&block);
    assert_eq!(world.after(&block, at(small, 4_321)), Some(at(reward, SUBSIDY + 90_000 + 4_321)));
    world.agree_on(at(reward, SUBSIDY + 90_000), first);
    world.agree_on(at(reward, SUBSIDY + 90_000 + 4_321), common);
}

#[test]
fn what_a_blocks_finder_leaves_unclaimed_is_nowhere() {
    let world = World::with_coins(1);
    let coin = world.coinbase(1);
    let last = at(coin, SUBSIDY - 1);
    let sat = world.sat_at(last);
    let tx = world.pay(&[coin], &[SUBSIDY - 1_000]);
    assert_eq!(world.moved(&tx, last), Moved::Fee { offset: Amount::from_sat(999) });
    // He takes all but the last 10 satoshis.
    let mut template = world.node.template().unwrap();
    template.reward -= Amount::from_sat(10);
    let job = template.job(b"modest", &[output(template.reward.to_sat())]).unwrap();
    let header = grind(&job, 0, 1_000, job.header.target()).next().unwrap();
    let block = template.block(header, job.coinbase);
    world.node.submit(&block).unwrap();
    assert_eq!(world.after(&block, last), None);
    world.agree_on(at(OutPoint::null(), 9), sat);
    // The one before those ten is his.
    let his = at(coin, SUBSIDY - 11);
    assert_eq!(world.after(&block, his), Some(at(first_output(&block), SUBSIDY + 989)));
    world.agree_on(at(first_output(&block), SUBSIDY + 989), sat - 10);
}

#[test]
fn satoshis_that_change_hands_again_and_again_are_where_both_say() {
    // Whatever the numbers are, it is the same chain at each run.
    let mut chance = Chance(0x6861_7368);
    let world = World::with_coins(6);
    let mut coins: Vec<(OutPoint, u64)> =
        (1..=6).map(|height| (world.coinbase(height), SUBSIDY)).collect();
    // Four satoshis of each coinbase: where they are, and their numbers.
    let mut followed: Vec<(Place, u64)> = Vec::new();
    for (coin, value) in &coins {
        for offset in [0, 1, chance.below(*value), value - 1] {
            followed.push((at(*coin, offset), world.sat_at(at(*coin, offset))));
        }
    }
    for round in 0..12 {
        // Up to three coins into up to four others, two such payments in each block.
        for _ in 0..2 {
            let count = 1 + chance.below(3).min(coins.len() as u64 - 1);
            let spent: Vec<(OutPoint, u64)> = (0..count)
                .map(|_| coins.swap_remove(chance.below(coins.len() as u64) as usize))
                .collect();
            let all: u64 = spent.iter().map(|(_, value)| value).sum();
            let mut left = all - 2_000 - chance.below(50_000);
            let mut values = Vec::new();
            for _ in 0..chance.below(4) {
                let value = 1_000_000 + chance.below(left - 20_000_000);
                if left - value < 100_000_000 {
                    break;
                }
                values.push(value);
                left -= value;
            }
            values.push(left);
            let spent: Vec<OutPoint> = spent.into_iter().map(|(coin, _)| coin).collect();
            let txid = world.pay(&spent, &values).compute_txid();
            coins.extend((0u32..).map(|vout| OutPoint::new(txid, vout)).zip(values));
            coins.retain(|(_, value)| *value >= 100_000_000);
        }
        let block = world.next_block();
        assert_eq!(block.txdata.len(), 3, "round {round}");
        world.settle();
        for (place, sat) in &mut followed {
            *place = world.after(&block, *place).expect("every finder takes all");
            let theirs = world.ord.sat_at(*place).unwrap();
            assert_eq!(theirs, Some(*sat), "round {round}, {place:?}");
        }
    }
    for (place, sat) in followed {
        world.agree_on(place, sat);
    }
}

/// Where regtest has halved its subsidy and ord has not heard of it: what is not a fee stays true,
/// and why stories about fees stay below is written down.
#[test]
fn from_height_150_on_ord_is_a_judge_of_all_but_fees() {
    let world = World::with_coins(61);
    assert_eq!(world.node.height().unwrap(), 160);
    let halved = world.coinbase(155);
    assert_eq!(world.node.block(155).unwrap().txdata[0].output[0].value.to_sat(), SUBSIDY / 2);
    world.agree_on(at(halved, 7), 155 * SUBSIDY + 7);
    let coin = world.coinbase(1);
    let tx = world.pay(&[coin], &[600, SUBSIDY - 1_600]);
    let into = |from| world.moved(&tx, at(coin, from));
    let moved = at(OutPoint::new(tx.compute_txid(), 1), 400);
    assert_eq!(into(1_000), Moved::To(moved));
    assert_eq!(into(SUBSIDY - 1_000), Moved::Fee { offset: Amount::ZERO });
    world.mine(1);
    world.agree_on(moved, SUBSIDY + 1_000);
    let fee = world.ord.where_is(2 * SUBSIDY - 1_000).unwrap().unwrap();
    assert_eq!(fee.outpoint, OutPoint::null(), "ord no longer loses fees: its judgement is whole");
}

#[test]
fn a_reorg_takes_a_satoshi_back_where_it_was() {
    let world = World::with_coins(1);
    let coin = world.coinbase(1);
    let sat = world.sat_at(at(coin, 700));
    let tx = world.pay(&[coin], &[500, SUBSIDY - 2_500]);
    let block = world.next_block();
    let moved = at(OutPoint::new(tx.compute_txid(), 1), 200);
    assert_eq!(world.after(&block, at(coin, 700)), Some(moved));
    world.agree_on(moved, sat);
    replace(&world.node, 6, &|value| vec![output(value.to_sat())]).unwrap();
    assert_eq!(world.node.mempool().unwrap(), [tx.compute_txid()], "it waits again");
    world.agree_on(at(coin, 700), sat);
    world.mine(1);
    world.agree_on(moved, sat);
}

#[test]
fn a_satoshi_that_no_block_has_made_is_nowhere() {
    let world = World::with_coins(1);
    world.settle();
    assert_eq!(world.ord.height().unwrap(), Some(100));
    for sat in [101 * SUBSIDY, 101 * SUBSIDY + 5] {
        assert_eq!(world.ord.where_is(sat).unwrap(), None);
    }
    assert_eq!(world.ord.sat_at(at(world.coinbase(1), SUBSIDY)).unwrap(), None);
    assert_eq!(world.ord.inscription(&format!("{}i0", "ab".repeat(32))).unwrap(), None);
}

#[test]
fn who_asks_an_ord_whose_node_is_down_is_told_in_one_line() {
    let mut node = Bitcoind::start(bitcoin::Network::Regtest).unwrap();
    let ord = Ord::start(&node).unwrap();
    ord.settle(node.core().tip().unwrap()).unwrap();
    node.stop().unwrap();
    let error = ord
        .sat_ranges(
            "ab".repeat(32).parse::<bitcoin::Txid>().map(|txid| OutPoint::new(txid, 0)).unwrap(),
        )
        .unwrap_err();
    assert_eq!((error.rule(), error.exit_code()), ("daemon-runs", 5));
    assert_eq!(error.to_string().lines().count(), 1);
}

/// Numbers that look like chance, the same ones each time (splitmix64).
struct Chance(u64);

impl Chance {
    /// One below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
