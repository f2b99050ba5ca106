//! Each rule of a share: what it accepts, what it refuses, and that the refusal names it.

use bitcoin::absolute::LockTime;
use bitcoin::block::Version;
use bitcoin::{
    Amount, CompactTarget, Network, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, Txid, Witness,
};
use proptest::prelude::*;

use super::*;
use crate::amount::{MAX_SATOSHIS, per_million};
use crate::work::coinbase::subsidy;
use crate::work::samples::{self, EASIEST, chain, script, terms};
use crate::work::template::fold_branch;

const HEIGHT: u32 = 20;

/// A share under construction: change anything, then tie and grind it.
struct Made {
    tx: Transaction,
    bytes: Option<Vec<u8>>,
    branch: Vec<TxMerkleNode>,
    header: Header,
}

impl Made {
    fn at(height: u32) -> Self {
        let headers = chain(45);
        let job = samples::job(&terms(), &headers, height, b"xyz");
        Self { tx: job.coinbase, bytes: None, branch: job.branch, header: job.header }
    }

    fn tied(self, target: Target) -> Share {
        let coinbase = self.bytes.unwrap_or_else(|| without_witness(&self.tx));
        let leaf = Txid::from_byte_array(hash::double(&coinbase));
        let mut header = self.header;
        header.merkle_root = fold_branch(leaf, &self.branch);
        while !target.is_met_by(header.block_hash()) {
            header.nonce += 1;
        }
        Share { header, coinbase, branch: self.branch }
    }

    fn weighed(self) -> Result<Weighed> {
        weigh(&self.tied(terms().target), &terms(), &chain(45))
    }
}

fn made(change: impl Fn(&mut Made)) -> Made {
    let mut made = Made::at(HEIGHT);
    change(&mut made);
    made
}

fn refused(change: impl Fn(&mut Made)) -> &'static str {
    made(change).weighed().unwrap_err().rule()
}

fn accepted(change: impl Fn(&mut Made)) -> Weighed {
    made(change).weighed().unwrap()
}

fn out(sat: u64, script_pubkey: ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(sat), script_pubkey }
}

/// Lock and service in proportion of `paid`, then the rest of `total` to somebody else.
fn pay(paid: u64, total: u64) -> Vec<TxOut> {
    let service = per_million(Amount::from_sat(paid), 300_000).to_sat();
    let mut outputs = vec![out(paid - service, script(1)), out(service, script(2))];
    if total > paid {
        outputs.push(out(total - paid, script(9)));
    }
    outputs
}

#[test]
fn a_share_of_every_height_of_the_term_counts_in_its_slice() {
    for height in 15..39 {
        let weighed = Made::at(height).weighed().unwrap();
        assert_eq!((weighed.height, weighed.slice), (height, (height - 15) / 2));
        assert_eq!(weighed.payment.paid.to_sat(), 5_000_000_000);
        assert_eq!(weighed.payment.total, weighed.payment.paid);
    }
}

// Rule 1

#[test]
fn a_share_whose_parent_is_not_in_the_active_chain_is_refused() {
    let unknown = |m: &mut Made| m.header.prev_blockhash = BlockHash::all_zeros();
    assert_eq!(refused(unknown), "work-share-parent");
    let headers = chain(45);
    let stale = samples::mine(headers.hash(18).unwrap(), samples::GENESIS_TIME + 19 * 600, 9);
    let share = made(|m| m.header.prev_blockhash = stale.block_hash()).tied(terms().target);
    let headers = headers.with_stale(vec![stale]).unwrap();
    assert_eq!(weigh(&share, &terms(), &headers).unwrap_err().rule(), "work-share-parent");
}

#[test]
fn a_share_of_another_network_is_refused() {
    let other = Headers::new(Network::Regtest, 0, samples::run(45, 599)).unwrap();
    let share = made(|_| ()).tied(terms().target);
    assert_eq!(weigh(&share, &terms(), &other).unwrap_err().rule(), "work-share-parent");
    let signet = WorkTerms { network: Network::Signet, ..terms() };
    let refused = weigh(&share, &signet, &chain(45)).unwrap_err();
    assert_eq!((refused.rule(), refused.exit_code()), ("work-share-network", 5));
}

#[test]
fn a_share_outside_the_term_is_refused() {
    for height in [14, 39] {
        assert_eq!(Made::at(height).weighed().unwrap_err().rule(), "work-share-slice");
    }
}

#[test]
fn a_share_on_the_tip_waits_for_the_block_that_follows() {
    let share = made(|_| ()).tied(terms().target);
    let short = Headers::new(Network::Regtest, 0, samples::run(HEIGHT - 1, 600)).unwrap();
    let waits = weigh(&share, &terms(), &short).unwrap_err();
    assert_eq!((waits.rule(), waits.exit_code()), ("headers-known", 5));
}

#[test]
fn a_share_that_states_another_difficulty_is_refused() {
    for bits in [EASIEST - 1, 0x1d00_ffff] {
        let change = |m: &mut Made| m.header.bits = CompactTarget::from_consensus(bits);
        assert_eq!(refused(change), "work-share-bits");
    }
}

#[test]
fn a_share_is_as_late_as_its_block_could_have_been() {
    let headers = chain(45);
    let median = headers.median_time_past(HEIGHT - 1).unwrap();
    let child = headers.header(HEIGHT).unwrap().time;
    for time in [median + 1, child, child + 7_200] {
        accepted(|m| m.header.time = time);
    }
    for time in [0, median, child + 7_201, u32::MAX] {
        assert_eq!(refused(|m| m.header.time = time), "work-share-time");
    }
}

#[test]
fn version_bits_are_free_below_the_top_three() {
    for version in [0x2000_0000, 0x3fff_ffff, 0x2aaa_aaaa] {
        accepted(|m| m.header.version = Version::from_consensus(version));
    }
    for version in [1, 2, 0x1fff_ffff, 0x4000_0000, 0x6000_0000, -1, i32::MIN] {
        let change = |m: &mut Made| m.header.version = Version::from_consensus(version);
        assert_eq!(refused(change), "work-share-version", "{version:08x}");
    }
}

// Rule 2

#[test]
fn a_coinbase_that_states_another_height_is_refused() {
    let state = |bytes: &'static [u8]| {
        move |m: &mut Made| m.tx.input[0].script_sig = ScriptBuf::from_bytes(bytes.to_vec())
    };
    accepted(state(&[1, 20, 0]));
    // Too low, too high, not minimal, as a small integer, cut off, not at the start.
    for bytes in [&[1u8, 19, 0][..], &[1, 21], &[2, 20, 0], &[0x60, 20], &[2, 20], &[0, 1, 20]] {
        assert_eq!(refused(state(bytes)), "work-coinbase-height", "{bytes:?}");
    }
}

#[test]
fn a_coinbase_has_one_input_that_spends_nothing() {
    let spends = |m: &mut Made| m.tx.input[0].previous_output.txid = Txid::from_byte_array([1; 32]);
    assert_eq!(refused(spends), "work-coinbase-input");
    assert_eq!(refused(|m| m.tx.input[0].previous_output.vout = 0), "work-coinbase-input");
    let two = |m: &mut Made| {
        let input = TxIn { previous_output: OutPoint::null(), ..TxIn::default() };
        m.tx.input.push(input);
    };
    assert_eq!(refused(two), "work-coinbase-input");
    // With its witness the bytes are not those of the txid; the marker reads as no input.
    let witness = |m: &mut Made| {
        assert!(m.tx.input[0].witness != Witness::new());
        m.bytes = Some(bitcoin::consensus::serialize(&m.tx));
    };
    assert_eq!(refused(witness), "work-coinbase-input");
}

#[test]
fn a_coinbase_script_has_2_to_100_bytes() {
    let script = |length: usize| {
        move |m: &mut Made| {
            let mut bytes = vec![1, 20];
            bytes.resize(length, 0);
            m.tx.input[0].script_sig = ScriptBuf::from_bytes(bytes);
        }
    };
    accepted(script(2));
    accepted(script(100));
    for length in [0, 1, 101, 300] {
        assert_eq!(refused(script(length)), "work-coinbase-script", "{length}");
    }
}

#[test]
fn a_coinbase_is_read_to_its_last_byte() {
    let with = |change: fn(&mut Vec<u8>)| {
        move |m: &mut Made| {
            let mut bytes = without_witness(&m.tx);
            change(&mut bytes);
            m.bytes = Some(bytes);
        }
    };
    accepted(with(|_| ()));
    assert_eq!(refused(with(|b| b.push(0))), "work-coinbase-trailing");
    assert_eq!(refused(with(|b| b.extend([7; 40]))), "work-coinbase-trailing");
    assert_eq!(refused(with(|b| b.truncate(b.len() - 1))), "work-coinbase-form");
    assert_eq!(refused(with(Vec::clear)), "work-coinbase-form");
    assert_eq!(refused(with(|b| b.truncate(30))), "work-coinbase-form");
    // One input, counted in three bytes where one would do.
    assert_eq!(refused(with(|b| drop(b.splice(4..5, [0xfd, 1, 0])))), "work-coinbase-form");
    // More outputs than there are.
    assert_eq!(
        refused(with(|b| {
            let place = 4 + 1 + 36 + 1 + usize::from(b[41]) + 4;
            b[place] = 200;
        })),
        "work-coinbase-form"
    );
    assert_eq!(refused(|m| m.tx.output.clear()), "work-coinbase-form");
}

#[test]
fn a_coinbase_of_64_bytes_is_refused_and_one_of_65_is_not() {
    // 60 bytes, the script of the input, and a lock of two bytes.
    let lock = ScriptBuf::from_bytes(vec![0x51, 0x51]);
    let terms = terms();
    let demand = Demand { service: None, lock: &lock, ..terms.demand(0) };
    for (extra, expected) in [(0, Err("work-coinbase-length")), (1, Ok(65))] {
        let share = made(|m| {
            let mut bytes = vec![1, 20];
            bytes.resize(2 + extra, 0);
            m.tx.input[0].script_sig = ScriptBuf::from_bytes(bytes);
            m.tx.output = vec![out(5_000_000_000, lock.clone())];
        })
        .tied(demand.target);
        let found = prove(&share, HEIGHT, u32::MAX, &demand);
        assert_eq!(found.map(|_| share.coinbase.len()).map_err(|e| e.rule()), expected);
    }
}

#[test]
fn a_coinbase_of_absurd_length_is_refused() {
    let long = |m: &mut Made| m.tx.output.push(out(0, ScriptBuf::from_bytes(vec![0; 100_000])));
    assert_eq!(refused(long), "work-coinbase-length");
}

#[test]
fn a_coinbase_that_its_own_block_could_not_hold_is_refused() {
    let headers = chain(45);
    let median = headers.median_time_past(HEIGHT - 1).unwrap();
    let lock = |lock: u32, sequence: Sequence| {
        move |m: &mut Made| {
            m.tx.lock_time = LockTime::from_consensus(lock);
            m.tx.input[0].sequence = sequence;
        }
    };
    // BIP 54 sets the height before, with a sequence that is not final.
    accepted(lock(HEIGHT - 1, Sequence::ZERO));
    accepted(lock(median - 1, Sequence::ZERO));
    accepted(lock(u32::MAX, Sequence::MAX));
    for late in [HEIGHT, median, u32::MAX] {
        assert_eq!(refused(lock(late, Sequence::ZERO)), "work-coinbase-final");
    }
}

// Rule 3

#[test]
fn a_branch_of_14_levels_counts_and_one_of_15_is_refused() {
    let branch = |levels: u8| {
        move |m: &mut Made| {
            m.branch = (0..levels).map(|i| TxMerkleNode::from_byte_array([i; 32])).collect();
        }
    };
    accepted(branch(0));
    accepted(branch(1));
    accepted(branch(14));
    assert_eq!(refused(branch(15)), "work-branch-depth");
    assert_eq!(refused(branch(32)), "work-branch-depth");
}

#[test]
fn a_coinbase_at_another_leaf_is_refused() {
    // Our coinbase stands at leaf 1, behind another; the header is honest about that.
    let mut share = made(|_| ()).tied(terms().target);
    let first = Txid::from_byte_array([3; 32]);
    let second = TxMerkleNode::from_byte_array(hash::double(&share.coinbase));
    share.branch = vec![first.into()];
    share.header.merkle_root = fold_branch(first, &[second]);
    while !terms().target.is_met_by(share.header.block_hash()) {
        share.header.nonce += 1;
    }
    assert_eq!(weigh(&share, &terms(), &chain(45)).unwrap_err().rule(), "work-branch-root");
}

#[test]
fn a_branch_of_another_coinbase_is_refused() {
    let mut share = made(|_| ()).tied(terms().target);
    share.branch = vec![TxMerkleNode::from_byte_array([1; 32])];
    assert_eq!(weigh(&share, &terms(), &chain(45)).unwrap_err().rule(), "work-branch-root");
}

#[test]
fn a_branch_that_pairs_a_node_with_itself_is_refused() {
    let twin = |level: usize| {
        move |m: &mut Made| {
            let mut node: TxMerkleNode =
                Txid::from_byte_array(hash::double(&without_witness(&m.tx))).into();
            m.branch.clear();
            for at in 0..=level {
                let sibling =
                    if at == level { node } else { TxMerkleNode::from_byte_array([5; 32]) };
                m.branch.push(sibling);
                node = fold_branch(Txid::from_byte_array(node.to_byte_array()), &[sibling]);
            }
        }
    };
    assert_eq!(refused(twin(0)), "work-branch-twin");
    assert_eq!(refused(twin(3)), "work-branch-twin");
}

// Rule 4

#[test]
fn a_coinbase_that_does_not_pay_the_lock_is_refused() {
    assert_eq!(refused(|m| m.tx.output[0].script_pubkey = script(3)), "work-pay-lock");
    assert_eq!(refused(|m| drop(m.tx.output.remove(0))), "work-pay-lock");
    let nothing = |m: &mut Made| {
        m.tx.output = pay(0, 5_000_000_000);
    };
    assert_eq!(refused(nothing), "work-pay-lock");
}

#[test]
fn a_service_share_out_of_place_or_proportion_is_refused() {
    let refused = |outputs: Vec<TxOut>| refused(|m| m.tx.output = outputs.clone());
    let [lock, service] = pay(5_000_000_000, 0).try_into().unwrap();
    // One satoshi less is the floor of a payment that is one satoshi smaller; two are not.
    let less = TxOut { value: service.value - Amount::from_sat(2), ..service.clone() };
    let more = TxOut { value: service.value + Amount::ONE_SAT, ..service.clone() };
    let nobody = out(0, script(9));
    accepted(|m| m.tx.output = vec![nobody.clone(), lock.clone(), service.clone()]);
    for outputs in [
        vec![lock.clone(), less, out(2, script(9))],
        vec![lock.clone(), more],
        vec![lock.clone(), nobody, service.clone()],
        vec![service.clone(), lock.clone()],
        vec![lock.clone()],
        vec![lock.clone(), lock, service],
    ] {
        assert_eq!(refused(outputs), "work-pay-service");
    }
}

#[test]
fn only_the_first_output_to_the_lock_counts() {
    let mut outputs = pay(4_000_000_000, 0);
    outputs.extend(pay(1_000_000_000, 0));
    let weak = hash_target(terms().target, Amount::from_sat(4), Amount::from_sat(5));
    let share = made(|m| m.tx.output = outputs.clone()).tied(weak);
    let payment = weigh(&share, &terms(), &chain(45)).unwrap().payment;
    assert_eq!(payment.paid.to_sat(), 4_000_000_000);
    assert_eq!(payment.total.to_sat(), 5_000_000_000);
}

#[test]
fn the_outputs_add_up_to_the_subsidy_and_at_most_the_cap_more() {
    let all = 5_000_000_000;
    for total in [all, all + 1, all + 10_000] {
        let weighed = accepted(|m| m.tx.output = pay(total, total));
        assert_eq!(weighed.payment.total.to_sat(), total);
    }
    for total in [1, all - 1, all + 10_001, MAX_SATOSHIS] {
        assert_eq!(refused(|m| m.tx.output = pay(total, total)), "work-pay-total", "{total}");
    }
    // Sums that pass all money, and one that would wrap around to the subsidy.
    let plus = |sat: u64| {
        move |m: &mut Made| {
            m.tx.output = pay(all, all);
            m.tx.output.push(out(sat, script(9)));
        }
    };
    for sat in [MAX_SATOSHIS, u64::MAX, u64::MAX - all + 1] {
        assert_eq!(refused(plus(sat)), "work-pay-total", "{sat}");
    }
}

#[test]
fn the_subsidy_halves_by_the_network() {
    let sat = |network, height| subsidy(network, height).to_sat();
    assert_eq!(sat(Network::Bitcoin, 209_999), 5_000_000_000);
    assert_eq!(sat(Network::Bitcoin, 210_000), 2_500_000_000);
    assert_eq!(sat(Network::Bitcoin, 840_000), 312_500_000);
    assert_eq!(sat(Network::Bitcoin, 6_929_999), 1);
    assert_eq!(sat(Network::Bitcoin, 6_930_000), 0);
    assert_eq!(sat(Network::Regtest, 149), 5_000_000_000);
    assert_eq!(sat(Network::Regtest, 150), 2_500_000_000);
    assert_eq!(sat(Network::Regtest, u32::MAX), 0);
}

// Rule 5

#[test]
fn a_hash_above_the_target_is_refused() {
    let mut share = made(|_| ()).tied(terms().target);
    while terms().target.is_met_by(share.header.block_hash()) {
        share.header.nonce += 1;
    }
    assert_eq!(weigh(&share, &terms(), &chain(45)).unwrap_err().rule(), "work-target");
}

#[test]
fn a_header_misses_exactly_what_its_hash_is_above() {
    let share = made(|_| ()).tied(terms().target);
    let hash = Target::from_le_bytes(share.hash().to_byte_array());
    let mut below = hash.to_be_bytes();
    let last = below.iter().rposition(|byte| *byte > 0).unwrap();
    below[last] -= 1;
    below[last + 1..].fill(0xff);
    assert!(!misses(&share.header, hash));
    assert!(!misses(&share.header, Target::from_be_bytes([0xff; 32])));
    assert!(misses(&share.header, Target::from_be_bytes(below)));
    assert!(misses(&share.header, Target::ZERO));
}

#[test]
fn work_that_pays_the_lock_a_part_weighs_by_that_part() {
    let all = 5_000_000_000;
    let third = |m: &mut Made| m.tx.output = pay(all / 3, all);
    let limit = hash_target(terms().target, Amount::from_sat(all / 3), Amount::from_sat(all));
    let mut share = made(third).tied(limit);
    weigh(&share, &terms(), &chain(45)).unwrap();
    // Below the target, but not by enough for a third.
    loop {
        share.header.nonce += 1;
        let hash = share.header.block_hash();
        if terms().target.is_met_by(hash) && !limit.is_met_by(hash) {
            break;
        }
    }
    assert_eq!(weigh(&share, &terms(), &chain(45)).unwrap_err().rule(), "work-target");
}

#[test]
fn the_largest_numbers_are_compared_exactly() {
    let full = Target::from_be_bytes([0xff; 32]);
    let sat = Amount::from_sat;
    assert_eq!(hash_target(full, sat(MAX_SATOSHIS), sat(MAX_SATOSHIS)), full);
    assert_eq!(hash_target(full, sat(1), Amount::ZERO), Target::ZERO);
    assert_eq!(hash_target(full, Amount::ZERO, sat(1)), Target::ZERO);
    let third = hash_target(full, sat(MAX_SATOSHIS / 3), sat(MAX_SATOSHIS));
    assert_eq!(third, Target::from_be_bytes([0x55; 32]));
}

#[test]
fn many_shares_are_judged_as_each_alone() {
    let (terms, headers) = (terms(), chain(45));
    let mut many = samples::shares(&terms, &headers, HEIGHT, 9);
    many[1].coinbase.push(0);
    many[4].branch.swap(0, 1);
    many[5].branch.clear();
    many[7].header.prev_blockhash = BlockHash::all_zeros();
    for count in 0..=many.len() {
        let alone: Vec<_> = many[..count].iter().map(|s| weigh(s, &terms, &headers)).collect();
        assert_eq!(weigh_all(&many[..count], &terms, &headers), alone);
        assert_eq!(
            alone.iter().filter(|r| r.is_err()).count(),
            [1, 4, 5, 7].iter().filter(|bad| **bad < count).count()
        );
    }
}

proptest! {
    #[test]
    fn the_bytes_say_what_rust_bitcoins_types_say(
        paid in 1_000u64..=5_000_000_000,
        extra in proptest::collection::vec(any::<u8>(), 0..90),
        branch in proptest::collection::vec(any::<[u8; 32]>(), 0..15),
        others in proptest::collection::vec(0u8..40, 0..4),
        flip in any::<Option<(u16, u8)>>(),
    ) {
        let mut share = made(|m| {
            let mut bytes = vec![1, 20];
            bytes.extend(&extra);
            m.tx.input[0].script_sig = ScriptBuf::from_bytes(bytes);
            m.tx.output = pay(paid, 5_000_000_000);
            for other in &others {
                let script = ScriptBuf::from_bytes(vec![0x6a; usize::from(*other)]);
                m.tx.output.push(out(0, script));
            }
            m.branch = branch.iter().copied().map(TxMerkleNode::from_byte_array).collect();
        })
        .tied(samples::one_in(1));
        if let Some((at, bit)) = flip {
            // One changed bit anywhere.
            let at = usize::from(at) % share.coinbase.len();
            share.coinbase[at] ^= 1 << (bit % 8);
        }
        let terms = terms();
        let demand = Demand { target: samples::one_in(1), ..terms.demand(0) };
        let found = prove(&share, HEIGHT, u32::MAX, &demand).ok();
        prop_assert_eq!(found, by_types(&share, &demand));
        if flip.is_some() {
            prop_assert_eq!(found, None);
        }
    }
}

/// Rules 2-5 again, slowly, through rust-bitcoin's own types.
fn by_types(share: &Share, demand: &Demand<'_>) -> Option<Proof> {
    let tx: Transaction = bitcoin::consensus::deserialize(&share.coinbase).ok()?;
    let [input] = tx.input.as_slice() else { return None };
    let script = input.script_sig.as_bytes();
    let stated =
        script.starts_with(bitcoin::script::Builder::new().push_int(i64::from(HEIGHT)).as_bytes());
    let plain = tx.is_coinbase() && (2..=100).contains(&script.len()) && tx.base_size() != 64;
    let root = fold_branch(tx.compute_txid(), &share.branch);
    if !stated || !plain || root != share.header.merkle_root || tx.total_size() != tx.base_size() {
        return None;
    }
    let place = tx.output.iter().position(|o| o.script_pubkey == *demand.lock)?;
    let [lock, service] = tx.output.get(place..place + 2)? else { return None };
    let (script, ppm) = demand.service?;
    let paid = lock.value + service.value;
    let due = u128::from(paid.to_sat()) * u128::from(ppm) / 1_000_000;
    let total: Amount = tx.output.iter().map(|o| o.value).sum();
    let cap = subsidy(demand.network, HEIGHT) + demand.cap;
    if service.script_pubkey != *script
        || u128::from(service.value.to_sat()) != due
        || total < subsidy(demand.network, HEIGHT)
        || total > cap
    {
        return None;
    }
    let limit = hash_target(demand.target, paid, total);
    let hash = share.header.block_hash();
    limit.is_met_by(hash).then_some(Proof { hash, payment: Payment { paid, total } })
}
