//! What the product promises about sizes, on transactions that Core accepts.

use std::collections::BTreeSet;

use bitcoin::hashes::Hash;
use bitcoin::{Amount, FeeRate, TapSighash};
use hashmix::amount::installment;
use hashmix::flow::escrow;
use hashmix::flow::escrow::terms::{EscrowTerms, Fees};
use hashmix::flow::escrow::txs::{Outcome, settlement};
use hashmix::party::Seat;
use hashmix::rehearsal::people;
use hashmix::script::lock::Path;
use hashmix::script::template::Variant;
use hashmix::sign::software::LeafAccount;
use hashmix::tx::draft::Draft;
use hashmix::tx::signed::Signed;
use hashmix::work::agreement::share_target;

use crate::attempts::finish;
use crate::world::{ESCROW_HEIGHT, RATE, World, escrow_coin, payouts};

const BOTH: [Seat; 2] = [Seat::Miner, Seat::Holder];

#[test]
fn a_settlement_by_key_path_has_an_input_of_fifty_seven_and_a_half_virtual_bytes() {
    let mut world = World::new(Variant::Musig);
    let coin = world.fund_escrows().remove(0);
    let earned = Amount::from_sat(10_000_000);
    let outcome = Outcome { period: 0, earned, closes: false };
    let draft = settlement(&world.terms, &coin, outcome, Path::Key, RATE, None).unwrap();
    let (fee, vsize) = (draft.fee().unwrap(), draft.vsize().unwrap());
    let tx = finish(&world, draft, &BOTH);

    // 230 WU are 57.5 vB: outpoint, empty script and sequence, 41 bytes four times; 66 of witness.
    assert_eq!(tx.input[0].segwit_weight().to_wu(), 230);
    assert_eq!(tx.input[0].witness.size(), 66);
    assert_eq!(coin.lock.input_weight(Path::Key).unwrap(), 230);
    assert_eq!(tx.vsize() as u64, vsize);
    assert_eq!(fee.to_sat(), vsize * RATE, "the fee is that of the finished size");

    world.mine_to(world.terms.ruling_height(0).unwrap());
    world.chain.broadcast(&tx).unwrap();
}

#[test]
fn every_way_weighs_on_chain_what_the_lock_says() {
    let mut world = World::new(Variant::Musig);
    let coins = world.fund_escrows();
    world.mine_to(world.terms.miner_exit_height());
    let everybody = crate::world::EVERYBODY;
    let outcome = Outcome { period: 0, earned: Amount::from_sat(10_000_000), closes: false };
    let settle = |coin, path| settlement(&world.terms, coin, outcome, path, RATE, None).unwrap();
    let exit = |coin, seat| escrow::txs::exit(&world.terms, coin, seat, RATE).unwrap();
    let drafts: Vec<Draft> = vec![
        settle(&coins[0], Path::Key),
        settle(&coins[1], Path::Agreed),
        settle(&coins[2], Path::MinerRuling),
        settle(&coins[3], Path::HolderRuling),
        exit(&coins[4], Seat::Holder),
        exit(&coins[5], Seat::Miner),
    ];
    for draft in drafts {
        let path = draft.spends()[0].path;
        let weight = coins[0].lock.input_weight(path).unwrap();
        let tx = finish(&world, draft, &everybody);
        assert_eq!(tx.input[0].segwit_weight().to_wu(), weight, "{path}");
        world.chain.broadcast(&tx).unwrap();
    }
}

/// A year of daily installments. The days are one block long, so that the chain is soon through
/// them; the size of a transaction knows nothing of days.
fn a_year() -> EscrowTerms {
    let mut terms = people::terms(Variant::Musig, 104, &payouts()).unwrap();
    let delivery = &mut terms.delivery;
    (delivery.periods, delivery.period, delivery.slice, delivery.window) = (365, 1, 1, 28);
    delivery.target = share_target(delivery.rate, delivery.expected, delivery.slice);
    terms.fees = Fees { floor: 2, cap: 10, ruling: Amount::from_sat(1_000) };
    terms.price = Amount::from_sat(365 * 100_000);
    terms
}

#[test]
fn a_year_of_daily_installments_costs_two_transactions_of_308_virtual_bytes() {
    let mut world = World::with_terms(a_year());
    let terms = world.terms.clone();

    // One coin of the wallet pays the price; the rest comes back as change.
    let price = escrow::coins::funding(&terms).unwrap();
    let rate = FeeRate::from_sat_per_vb_u32(RATE as u32);
    let funding = world.wallet.fund(&[price], rate).unwrap();
    assert_eq!((funding.input.len(), funding.output.len()), (1, 2));
    assert!(funding.output.iter().all(|out| out.script_pubkey.is_p2tr()));
    world.chain.broadcast(&funding).unwrap();
    world.mine_to(ESCROW_HEIGHT);
    let lock = escrow::coins::lock(&terms, 0).unwrap();
    let found = world.coins(&lock);
    assert_eq!(found.len(), 1);
    let coin = escrow_coin(&found[0], lock, 0);

    // Every eighth day the holder signs a state. None of them ever meets the chain.
    let holder = world.signer(Seat::Holder);
    let mut states = BTreeSet::new();
    let mut earned = Amount::ZERO;
    for period in 0..365 {
        earned += installment(terms.price, period, 365);
        if period % 8 != 7 {
            continue;
        }
        let outcome = Outcome { period, earned, closes: false };
        let state = settlement(&terms, &coin, outcome, Path::Agreed, RATE, None).unwrap();
        assert_eq!(state.transaction().output[1].value, terms.price - earned);
        let key = coin.lock.leaf(Path::Agreed).unwrap().keys[1].clone();
        assert_eq!(key.seat, Seat::Holder);
        let sighash = TapSighash::from_byte_array(state.sighash(0).unwrap());
        let (_, signature) = holder.sign_leaf(LeafAccount::Leaf, &key.steps, sighash).unwrap();
        states.insert(state.txid());
        let mut signed = Signed::new(state);
        signed.add(Seat::Holder, &[signature]).unwrap();
    }
    assert_eq!(states.len(), 45, "as many states as days that were signed");
    assert_eq!(earned, terms.price, "the installments sum to the price");

    // A shortfall of one day is refunded, so that the close has both outputs.
    let earned = terms.price - installment(terms.price, 364, 365);
    let outcome = Outcome { period: 364, earned, closes: true };
    let draft = settlement(&terms, &coin, outcome, Path::Key, RATE, None).unwrap();
    let close = finish(&world, draft, &BOTH);
    assert_eq!(close.output.len(), 2);
    world.mine_to(terms.ruling_height(364).unwrap());
    world.chain.broadcast(&close).unwrap();
    world.mine_to(terms.ruling_height(364).unwrap() + 1);
    assert!(world.node.mempool().unwrap().is_empty());

    assert!(funding.vsize() + close.vsize() <= 308, "{} + {}", funding.vsize(), close.vsize());
}
