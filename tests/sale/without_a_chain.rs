//! What can be known of sales without a chain: amounts add up, and words are heard in their order.

use std::sync::OnceLock;

use bitcoin::hashes::Hash;
use bitcoin::key::{Keypair, Secp256k1, TapTweak};
use bitcoin::secp256k1::Message;
use bitcoin::{Address, Amount, OutPoint, Psbt, ScriptBuf, Transaction, TxIn, TxOut, Txid};
use hashmix::cli::arguments::SealsArguments;
use hashmix::cli::psbt;
use hashmix::flow::escrow::txs::Outcome;
use hashmix::flow::position::coins::{POSTAGE, transferred_seal};
use hashmix::flow::position::terms::PositionTerms;
use hashmix::flow::position::txs::position;
use hashmix::flow::sale::coins::check_last;
use hashmix::flow::sale::consent::{CONSENT_FORMAT, Consent, Party, Piece};
use hashmix::flow::sale::state::{Event, State};
use hashmix::flow::sale::terms::{
    ACCEPTANCE_FORMAT, Acceptance, AcceptanceBody, Guard, Held, OFFER_FORMAT, Offer, OfferBody,
    Paying, Resale,
};
use hashmix::flow::sale::txs::{bargain, needed};
use hashmix::party::{Record, Role};
use hashmix::rehearsal::people::{self, Payouts};
use hashmix::script::template::Variant;
use hashmix::sign::record::record;
use hashmix::tx::exchange::signed as witness;
use hashmix::work::agreement::Entitlement;
use proptest::prelude::*;

use crate::market::{NETWORK, START, position_terms, signed, signer};

/// Position's terms and two buyers.
fn cast() -> &'static (PositionTerms, [Record; 2]) {
    static CAST: OnceLock<(PositionTerms, [Record; 2])> = OnceLock::new();
    CAST.get_or_init(|| {
        let at = |number| -> Address { signer("payouts", number).address() };
        let payouts = Payouts { miner: at(0), holder: at(1), federation: at(2) };
        let deal = people::terms(Variant::Nums, START, &payouts).unwrap();
        let terms = position_terms(deal, &payouts);
        let buyers = [("rehearsal holder", 3), ("second holder", 4)].map(|(name, payout)| {
            let payout = at(payout).into_unchecked();
            let contract = &terms.reward.contract;
            record(&signer(name, 0), Role::Holder, NETWORK, contract, payout).unwrap()
        });
        (terms, buyers)
    })
}

fn place(byte: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([byte; 32]), 0)
}

fn first_offer(price: u64) -> OfferBody {
    let terms = cast().0.clone();
    let seller = Held { record: terms.reward.holder.clone(), number: 0, sale: None };
    OfferBody {
        format: OFFER_FORMAT.to_owned(),
        position: position(place(1).txid, 0, 1),
        terms,
        seal: place(1),
        seller,
        price: Amount::from_sat(price),
        first: 0,
        expires: 120,
        resale: None,
    }
}

fn resale(price: u64, value: u64, earned: u64) -> OfferBody {
    let first = first_offer(60_000_000);
    let contract = first.contract(&cast().1[0]).unwrap();
    let held = Held { record: cast().1[0].clone(), number: 1, sale: Some(contract.id().unwrap()) };
    let outcome = Outcome { period: 1, earned: Amount::from_sat(earned), closes: false };
    let resale = Resale {
        contract,
        escrow: place(3),
        index: 1,
        value: Amount::from_sat(value),
        outcome,
        switch: 4,
        guard: Guard::Miner,
    };
    OfferBody {
        seal: place(2),
        seller: held,
        price: Amount::from_sat(price),
        first: 2,
        expires: 170,
        resale: Some(resale),
        ..first
    }
}

fn keys(byte: u8) -> Keypair {
    Keypair::from_seckey_slice(&Secp256k1::new(), &[byte; 32]).unwrap()
}

fn acceptance(offer: &OfferBody, holder: &Record, coins: &[u64], rate: u64) -> AcceptanceBody {
    let script = ScriptBuf::new_p2tr(&Secp256k1::new(), keys(9).x_only_public_key().0, None);
    let coins = (10u8..).zip(coins).map(|(byte, value)| Paying {
        outpoint: place(byte),
        txout: TxOut { value: Amount::from_sat(*value), script_pubkey: script.clone() },
    });
    AcceptanceBody {
        format: ACCEPTANCE_FORMAT.to_owned(),
        offer: offer.id().unwrap(),
        holder: holder.clone(),
        coins: coins.collect(),
        change: script.clone(),
        sat_per_vb: rate,
        psbt: String::new(),
    }
}

/// Fee and everything paid are what was spent; the change is the rest, and the rate is kept.
fn adds_up(offer: &OfferBody, body: &AcceptanceBody) -> Result<(), TestCaseError> {
    let bargain = bargain(offer, body);
    let coins: u64 = body.coins.iter().map(|coin| coin.txout.value.to_sat()).sum();
    let needed = needed(offer, &body.holder, &body.coins, body.sat_per_vb).unwrap().to_sat();
    let Ok(bargain) = bargain else {
        // Without a change of 43 vB it would have been cheaper, and was still too much.
        prop_assert!(coins < needed, "{coins} of {needed} sat");
        prop_assert_eq!(bargain.unwrap_err().rule(), "sale-funds");
        return Ok(());
    };
    let (tx, fee) = (bargain.exchange.transaction(), bargain.exchange.fee().unwrap().to_sat());
    let paid: u64 = tx.output.iter().map(|out| out.value.to_sat()).sum();
    let escrow = offer.resale.as_ref().map_or(0, |resale| resale.value.to_sat());
    prop_assert_eq!(paid + fee, coins + escrow + POSTAGE.to_sat());
    prop_assert_eq!(tx.output[0].value, POSTAGE);
    prop_assert_eq!(tx.output[1].value, bargain.contract.price);
    let mut others = 2;
    if let Some(resale) = &offer.resale {
        let taken = resale.taken_over().unwrap();
        prop_assert_eq!(taken.due + taken.rest, resale.value);
        if taken.due > Amount::ZERO {
            prop_assert!(taken.due >= Amount::from_sat(330));
            prop_assert_eq!(tx.output[others].value, taken.due);
            others += 1;
        }
        prop_assert_eq!(tx.output[others].value, offer.price);
        others += 1;
    }
    let size = hashmix::tx::exchange::vsize(bargain.exchange.parts(), &tx.output).unwrap();
    let least = size * body.sat_per_vb;
    match tx.output.len() - others {
        1 => prop_assert_eq!(fee, least),
        none => {
            prop_assert_eq!(none, 0);
            // What would have been dust, and what its output would have cost.
            prop_assert!((least..least + 330 + 43 * body.sat_per_vb + 1).contains(&fee));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_sale_spends_what_it_pays(
        price in 4_000_000u64..80_000_000,
        coins in prop::collection::vec(1_000u64..60_000_000, 1..4),
        rate in 2u64..50,
    ) {
        let offer = first_offer(price);
        adds_up(&offer, &acceptance(&offer, &cast().1[0], &coins, rate))?;
    }

    #[test]
    fn a_sale_with_a_change_around_dust_spends_what_it_pays(
        rate in 2u64..50,
        over in 0u64..1_000,
    ) {
        let offer = first_offer(60_000_000);
        let one = acceptance(&offer, &cast().1[0], &[1], rate);
        let enough = needed(&offer, &cast().1[0], &one.coins, rate).unwrap().to_sat();
        let one = acceptance(&offer, &cast().1[0], &[enough + over], rate);
        adds_up(&offer, &one)?;
    }

    #[test]
    fn a_resale_spends_what_it_pays(
        price in 330u64..80_000_000,
        paid in 0u64..5_000_000,
        due in prop_oneof![0u64..700, 0u64..15_000_000],
        coins in prop::collection::vec(1_000u64..90_000_000, 1..4),
        rate in 2u64..50,
    ) {
        let offer = resale(price, 60_000_000 - paid, paid + due);
        adds_up(&offer, &acceptance(&offer, &cast().1[1], &coins, rate))?;
    }
}

/// One sale's words: the acceptance, and the consents of seller and buyer.
fn words() -> (Offer, [Event; 3]) {
    let body = first_offer(60_000_000);
    let offer = signed(body, &signer(&people::name(hashmix::party::Seat::Miner), 1));
    let mut body = acceptance(&offer.offer, &cast().1[0], &[70_000_000], 2);
    let made = bargain(&offer.offer, &body).unwrap();
    body.psbt = made.exchange.psbt().unwrap().to_string();
    let signature = signer("rehearsal holder", 0).sign_digest(body.id().unwrap().0).unwrap();
    let accepted = Acceptance { acceptance: body, signature };
    let exchange = made.exchange;
    let hashmix::tx::exchange::Way::Seal(seal) = &exchange.parts()[0].way else { panic!() };
    let digest = |input| exchange.sighash(input).unwrap();
    let miner = signer(&people::name(hashmix::party::Seat::Miner), 1);
    let of_seal = miner.sign_seal(seal, bitcoin::TapSighash::from_byte_array(digest(0))).unwrap();
    let secp = Secp256k1::new();
    let pair = keys(9).tap_tweak(&secp, None).to_keypair();
    let of_coin = secp.sign_schnorr_no_aux_rand(&Message::from_digest(digest(1)), &pair);
    let consent = |by, input, one| {
        Event::Consented(Consent {
            format: CONSENT_FORMAT.to_owned(),
            offer: offer.offer.id().unwrap(),
            acceptance: accepted.acceptance.id().unwrap(),
            by,
            pieces: vec![Piece { input, witness: witness(&one) }],
        })
    };
    let events = [
        Event::Accepted(Box::new(accepted.clone())),
        consent(Party::Seller, 0, of_seal),
        consent(Party::Buyer, 1, of_coin),
    ];
    (offer, events)
}

#[test]
fn every_state_of_a_sale_hears_its_next_word_and_no_other() {
    let (offer, words) = words();
    let miner = match &words[1] {
        Event::Consented(consent) => {
            Event::Consented(Consent { by: Party::Miner, ..consent.clone() })
        }
        Event::Accepted(_) | Event::Answered(_) => panic!(),
    };
    let mut state = State::new(offer).unwrap();
    for next in 0..=words.len() {
        for (number, word) in words.iter().chain([&miner]).enumerate() {
            let heard = state.admit(word).map_err(|error| error.rule());
            let expected = if number == next && next < 3 { Ok(()) } else { Err("sale-order") };
            assert_eq!(heard, expected, "word {number} after {next} words");
        }
        if let Some(word) = words.get(next) {
            // What passes between people is text, and reads the same.
            let text = serde_json::to_string(word).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), *word);
            state.apply(word.clone());
        }
    }
    assert!(state.turn().is_empty());
    let tx = state.signing().unwrap().finish().unwrap().tx;
    assert_eq!(tx.vsize(), 255);
}

#[test]
fn a_due_that_is_dust_stays_in_the_escrow() {
    for (due, kept) in [(0, true), (329, true), (330, false)] {
        let offer = resale(1_000_000, 55_000_000, 5_000_000 + due);
        let made = bargain(&offer, &acceptance(&offer, &cast().1[1], &[2_000_000], 2)).unwrap();
        let outputs = &made.exchange.transaction().output;
        let rest = if kept { 55_000_000 } else { 55_000_000 - due };
        assert_eq!(outputs[1].value, Amount::from_sat(rest));
        assert_eq!(outputs.len(), if kept { 4 } else { 5 });
    }
}

/// The position of twelve periods, in six windows that pass or fail.
fn pass_fail() -> PositionTerms {
    let mut terms = cast().0.clone();
    terms.delivery.rule = Entitlement::PassFail { critical: vec![201, 202, 203, 204, 205, 206] };
    terms.check().unwrap();
    terms
}

#[test]
fn what_passes_or_fails_is_sold_from_the_start_of_a_window_with_the_counts_that_are_left() {
    let from = |terms: PositionTerms, first: u32| {
        let body = OfferBody { terms, first, ..first_offer(60_000_000) };
        body.contract(&cast().1[0]).map_err(|error| error.rule())
    };
    for (first, counts) in [
        (0, vec![201, 202, 203, 204, 205, 206]),
        (2, vec![202, 203, 204, 205, 206]),
        (10, vec![206]),
    ] {
        let contract = from(pass_fail(), first).unwrap();
        assert_eq!(contract.delivery.rule, Entitlement::PassFail { critical: counts });
        assert_eq!(contract.first_period(), first);
    }
    for between in [1, 3, 11] {
        assert_eq!(from(pass_fail(), between).unwrap_err(), "sale-window");
        // Pro rata there is nothing to cut.
        assert_eq!(from(cast().0.clone(), between).unwrap().first_period(), between);
    }
    // Behind the term there is nothing to sell, and no count left.
    assert_ne!(from(pass_fail(), 12).unwrap_err(), "sale-window");
}

#[test]
fn an_offer_from_the_middle_of_a_window_is_refused_before_anybody_accepts_it() {
    let miner = signer(&people::name(hashmix::party::Seat::Miner), 1);
    let offered = |first| {
        let body = OfferBody { terms: pass_fail(), first, ..first_offer(60_000_000) };
        signed(body, &miner).check().map_err(|error| error.rule())
    };
    assert_eq!((offered(0), offered(2)), (Ok(()), Ok(())));
    assert_eq!((offered(1), offered(5)), (Err("sale-window"), Err("sale-window")));
}

#[test]
fn a_psbt_that_moves_a_seal_is_its_sale_or_spends_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (offer, words) = words();
    let Event::Accepted(accepted) = &words[0] else { panic!() };
    let contract = offer.offer.contract(&cast().1[0]).unwrap();
    let terms = file("terms.json", serde_json::to_string(&contract).unwrap());
    let told = |psbt: &Psbt, seals: &SealsArguments| {
        let path = file("psbt", psbt.to_string());
        psbt::check(&path, &terms, seals).map(|_| ()).map_err(|error| error.rule())
    };

    // The sale itself, and another one with the same seal in the same place.
    let seals = SealsArguments {
        position: None,
        offer: Some(file("offer.json", offer.to_json().unwrap())),
        acceptance: Some(file("acceptance.json", accepted.to_json().unwrap())),
    };
    let sale: Psbt = accepted.acceptance.psbt.parse().unwrap();
    assert_eq!(told(&sale, &seals), Ok(()));
    for output in [1, 2] {
        let mut other = sale.clone();
        other.unsigned_tx.output[output].value -= Amount::ONE_SAT;
        assert_eq!(told(&other, &seals), Err("psbt-seal"), "output {output}");
    }

    // A withdrawal, and one that takes the escrow along.
    let tenure = contract.tenure.clone().unwrap();
    let sale = Some(contract.id().unwrap());
    let seal = |number| {
        let holder = &contract.reward.holder;
        let lock = transferred_seal(tenure.position, number, holder, sale).unwrap();
        TxOut { value: POSTAGE, script_pubkey: lock.script_pubkey }
    };
    let coin = accepted.acceptance.coins[0].txout.clone();
    let escrow = hashmix::flow::escrow::coins::funding(&contract).unwrap();
    let moved = |number, to: TxOut, others: &[&TxOut]| {
        let spent: Vec<TxOut> =
            [seal(number)].into_iter().chain(others.iter().copied().cloned()).collect();
        let input = (20u8..)
            .zip(&spent)
            .map(|(byte, _)| TxIn { previous_output: place(byte), ..TxIn::default() });
        let tx = Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: bitcoin::absolute::LockTime::ZERO,
            input: input.collect(),
            output: vec![to, coin.clone()],
        };
        let mut psbt = Psbt::from_unsigned_tx(tx).unwrap();
        for (input, out) in psbt.inputs.iter_mut().zip(spent) {
            input.witness_utxo = Some(out);
        }
        psbt
    };
    let none = SealsArguments::default();
    let number = tenure.transfer;
    let withdraws = |others: &[&TxOut]| moved(number, seal(number + 1), others);
    assert_eq!(told(&withdraws(&[&coin]), &none), Ok(()));
    assert_eq!(told(&withdraws(&[&coin, &escrow]), &none), Err("psbt-seal"));

    // A seal that was withdrawn is known too, however often: it moves on by one, and is no money.
    for times in [1, 2, 30] {
        let (held, next) = (number + times, number + times + 1);
        assert_eq!(told(&moved(held, seal(next), &[&coin]), &none), Ok(()), "{times} times");
        let money = TxOut { value: POSTAGE, script_pubkey: coin.script_pubkey.clone() };
        for to in [money, seal(held), seal(next + 1)] {
            assert_eq!(told(&moved(held, to, &[&coin, &escrow]), &none), Err("seal-money"));
        }
    }
}

#[test]
fn a_resale_settles_through_the_last_ripe_period_and_changes_the_lock_soon() {
    let made = |change: &dyn Fn(&mut OfferBody, &mut Resale)| {
        let mut body = resale(30_000_000, 55_000_000, 10_000_000);
        let mut taken = body.resale.take().unwrap();
        change(&mut body, &mut taken);
        body.resale = Some(taken);
        body
    };
    let checked = |change: &dyn Fn(&mut OfferBody, &mut Resale)| {
        let offer = signed(made(change), &signer("rehearsal holder", 0));
        offer.check().map_err(|error| error.rule())
    };
    // Six blocks of notice behind height 170: period 5 begins at 180, and four more may pass.
    assert_eq!(checked(&|_, _| {}), Ok(()));
    assert_eq!(checked(&|_, taken| taken.switch = 8), Ok(()));
    assert_eq!(checked(&|_, taken| taken.switch = 9), Err("sale-switch"));
    assert_eq!(checked(&|_, taken| taken.switch = 11), Err("sale-switch"));
    let silent = |taken: &mut Resale| (taken.guard, taken.switch) = (Guard::Validators, 9);
    assert_eq!(checked(&|_, taken| silent(taken)), Ok(()), "twelve blocks of notice");
    // The period before the first one is settled; the next may be ruled on later.
    let body = made(&|_, _| {});
    let contract = &body.resale.as_ref().unwrap().contract;
    let (ripe, later) = (contract.ruling_height(1).unwrap(), contract.ruling_height(2).unwrap());
    let last = |tip| check_last(&body, tip).map_err(|error| error.rule());
    assert_eq!((last(ripe), last(later - 1)), (Ok(()), Ok(())));
    assert_eq!((last(later), last(later + 50)), (Err("sale-last-period"), Err("sale-last-period")));
    assert_eq!(check_last(&first_offer(60_000_000), later), Ok(()), "a first sale settles nothing");
}

#[test]
fn a_second_resale_within_the_notice_leaves_out_a_lock_that_was_never_paid() {
    let buyers = &cast().1;
    let first = resale(30_000_000, 55_000_000, 10_000_000);
    let contract = first.contract(&buyers[1]).unwrap();
    let at = signer("payouts", 5).address().into_unchecked();
    let named = &cast().0.reward.contract;
    let third = record(&signer("third holder", 0), Role::Holder, NETWORK, named, at).unwrap();
    let again = |switch, expires| {
        let sale = Some(contract.id().unwrap());
        let resale = Resale {
            contract: contract.clone(),
            escrow: place(5),
            index: 0,
            value: contract.price,
            outcome: Outcome { period: 2, earned: Amount::from_sat(5_000_000), closes: false },
            switch,
            guard: Guard::Miner,
        };
        OfferBody {
            seal: place(4),
            seller: Held { record: buyers[1].clone(), number: 2, sale },
            first: 3,
            expires,
            resale: Some(resale),
            ..first.clone()
        }
    };
    let checked = |body: &OfferBody| {
        let offer = signed(body.clone(), &signer("second holder", 0));
        offer.check().map_err(|error| error.rule())
    };
    let untils = |body: &OfferBody| -> Vec<u32> {
        let tenure = body.contract(&third).unwrap().tenure.unwrap();
        tenure.earlier.iter().map(|earlier| earlier.until).collect()
    };
    // The first holder's lock is paid up to the fourth period; the second's from the fifth on, or never.
    let (never, later) = (again(4, 150), again(5, 150));
    assert_eq!((checked(&never), checked(&later)), (Ok(()), Ok(())));
    assert_eq!((untils(&never), untils(&later)), (vec![4], vec![4, 5]));
    // Nobody could accept one that changes a lock within the notice of the sale before.
    let before = again(3, 150);
    assert_eq!(checked(&before), Err("sale-resale"));
    assert_eq!(before.contract(&third).unwrap_err().rule(), "sale-resale");
}

#[test]
fn an_offer_holds_for_two_weeks_from_the_tip_at_most() {
    let mut body = first_offer(60_000_000);
    let checked = |body: &OfferBody, tip| body.check_span(tip).map_err(|error| error.rule());
    body.expires = 400;
    assert_eq!((checked(&body, 112), checked(&body, 400)), (Ok(()), Ok(())));
    assert_eq!(checked(&body, 111), Err("sale-offer-span"));
    body.terms.profile = hashmix::work::agreement::Profile::Mainnet;
    body.expires = 902_016;
    assert_eq!(checked(&body, 900_000), Ok(()));
    assert_eq!(checked(&body, 899_999), Err("sale-offer-span"));
    body.expires = u32::MAX;
    assert_eq!(checked(&body, 900_000), Err("sale-offer-span"));
}
