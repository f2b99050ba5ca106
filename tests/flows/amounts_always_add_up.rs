//! Whatever is earned, paid and asked: inputs are outputs and fee, and nobody is paid what is not
//! his.

use bitcoin::Amount;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::escrow::txs::{Outcome, RulingFee, settlement};
use hashmix::party::Seat;
use hashmix::script::lock::Path;
use proptest::prelude::*;

use crate::world::{coin_of, terms};

const PRICE: u64 = 60_000_000;

/// Amounts from the whole range, and many near the edges where outputs turn to dust.
fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![0..=PRICE, 0..=60_000u64, PRICE - 60_000..=PRICE]
}

fn ruling(terms: &EscrowTerms, requester: Seat) -> RulingFee {
    hashmix::flow::dispute::terms::fee(terms, requester)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn inputs_are_outputs_and_fee(
        value in amount(),
        extra in amount(),
        closes: bool,
        rate in 2u64..=50,
        requester in prop_oneof![
            Just(None), Just(Some(Seat::Miner)), Just(Some(Seat::Holder))
        ],
    ) {
        let terms = terms();
        let paid = PRICE - value;
        // Often something is earned that is not paid yet; sometimes less than was paid.
        let earned = if extra > PRICE / 2 { extra } else { paid + extra };
        let outcome = Outcome { period: 2, earned: Amount::from_sat(earned), closes };
        let coin = coin_of(&terms, 1, Amount::from_sat(value));
        let fee = requester.map(|seat| ruling(&terms, seat));
        let path = match requester {
            None => Path::Agreed,
            Some(Seat::Miner) => Path::MinerRuling,
            Some(_) => Path::HolderRuling,
        };
        let built = settlement(&terms, &coin, outcome, path, rate, fee.as_ref());
        if (earned < paid && !closes) || earned > PRICE {
            prop_assert_eq!(built.unwrap_err().rule(), "escrow-outcome");
            return Ok(());
        }
        // At a close below what is paid nothing is due: what is paid is paid.
        let due = earned.saturating_sub(paid);
        let rest = value - due;
        let draft = match built {
            Ok(draft) => draft,
            Err(error) => {
                let holders = !closes && requester == Some(Seat::Holder);
                let rule = if holders { "escrow-holder-closes" } else { "escrow-due" };
                prop_assert_eq!(error.rule(), rule);
                return Ok(());
            }
        };
        let tx = draft.transaction();
        let cost = draft.fee().unwrap().to_sat();
        let outputs: u64 = tx.output.iter().map(|out| out.value.to_sat()).sum();
        prop_assert_eq!(outputs + cost, value);
        // The fee is what the rate says; at a close, dust that nobody can be paid is added to it.
        let asked = rate * draft.vsize().unwrap();
        prop_assert!(cost >= asked && cost < asked + 660, "{cost} for {asked}");
        let to = |script: &bitcoin::Script| -> u64 {
            tx.output.iter().filter(|out| *out.script_pubkey == *script)
                .map(|out| out.value.to_sat()).sum()
        };
        let ruling = if requester.is_some() { 20_000 } else { 0 };
        prop_assert_eq!(to(&terms.reward.federation.payout_script()), ruling);
        let miner = to(&terms.reward.miner.payout_script());
        prop_assert!(miner <= due);
        if miner > 0 {
            let his = if requester == Some(Seat::Miner) { ruling } else { 0 };
            // Above the floor the holder bears the rate that he chose.
            let floor = terms.fees.floor * draft.vsize().unwrap();
            let borne = if requester == Some(Seat::Holder) { floor } else { asked };
            prop_assert_eq!(miner, due - borne - his);
        }
        let refund = to(&terms.reward.holder.payout_script());
        let relock: u64 = value - cost - ruling - miner - refund;
        if relock > 0 {
            prop_assert_eq!((relock, refund), (rest, 0));
            prop_assert!(miner > 0 && requester != Some(Seat::Holder));
        } else if miner > 0 {
            prop_assert!(refund <= rest);
        }
        prop_assert!(tx.output.iter().all(|out| out.value >= out.script_pubkey.minimal_non_dust()));
    }
}
