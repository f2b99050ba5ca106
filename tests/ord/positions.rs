//! Seals: ord says of each satoshi what we say, and shows an inscribed seal as the federation's child.

use std::slice::from_ref;

use bitcoin::{Amount, OutPoint, TxOut};
use hashmix::chain::core::{Auth, Core};
use hashmix::flow::position::coins::{POSTAGE, inscribing_issuer, inscription_text, issuer};
use hashmix::flow::position::txs::{Funding, Inscription, inscription_fee, issue};
use hashmix::party::Seat;
use hashmix::rehearsal::daemons::{Daemons, Ord};
use hashmix::rehearsal::people::{self, Payouts, signer};
use hashmix::script::template::Variant;
use hashmix::tx::satoshi::Place;

use crate::inscriptions::inscribe;
use crate::life::live;
use crate::market::{self, Market, RATE, START, position_terms, signed_by_validators};
use crate::world::{SUBSIDY, World, input, output, transaction};

#[test]
fn ord_finds_the_seal_after_issue_sale_resales_and_retirement() {
    let node = Daemons::start().unwrap();
    let ord = Ord::start(node.bitcoind()).unwrap();
    let auth = Auth::Cookie(node.bitcoind().cookie());
    let core = Core::connect(node.bitcoind().url(), auth, market::NETWORK).unwrap();
    let mut first = None;
    let mut market = Market::issued_in(Box::new(node));
    live(&mut market, &mut |by, seal| {
        ord.settle(core.tip().unwrap()).unwrap();
        let here = ord.sat_at(Place::first_of(seal)).unwrap().unwrap_or_else(|| panic!("{by}"));
        let sat = *first.get_or_insert(here);
        assert_eq!(here, sat, "the satoshi after the {by}");
        assert_eq!(ord.where_is(sat).unwrap(), Some(Place::first_of(seal)), "{by}");
    });
    // Before its node, which it would ask on and on.
    drop(ord);
}

#[test]
fn ord_shows_an_inscribed_seal_as_a_child_of_the_federations_inscription() {
    let world = World::with_coins(2);
    let payout = |place| signer(Seat::Validator(place), market::NETWORK).unwrap().address();
    let payouts = Payouts { miner: payout(0), holder: payout(1), federation: payout(2) };
    let deal = people::terms(Variant::Musig, START, &payouts).unwrap();
    let terms = position_terms(deal, &payouts);
    let issuers = issuer(&terms).unwrap().script_pubkey;

    // The federation inscribes with a wallet of its own, and puts that into its script.
    let revealed = inscribe(&world, world.coinbase(1), SUBSIDY, "a federation", None);
    let out =
        |value: Amount, script: &bitcoin::ScriptBuf| TxOut { value, script_pubkey: script.clone() };
    let rest = output(SUBSIDY - 2_000 - POSTAGE.to_sat() - 1_000);
    let parked = transaction(vec![input(revealed)], vec![out(POSTAGE, &issuers), rest]);
    let parent_at = OutPoint::new(world.send(&parked), 0);

    // The miner funds: the seal's postage with the text behind the leaf, and the fee.
    let inscribing = inscribing_issuer(&terms, revealed.txid).unwrap().script_pubkey;
    let fee = inscription_fee(&terms, RATE).unwrap();
    let rest = output(SUBSIDY - POSTAGE.to_sat() - fee.to_sat() - 1_000);
    let outputs = vec![out(POSTAGE, &inscribing), out(fee, &issuers), rest];
    let funded = world.send(&transaction(vec![input(world.coinbase(2))], outputs));
    world.mine(1);

    let inscription =
        Inscription { parent: revealed.txid, parent_at, fee_from: OutPoint::new(funded, 1), fee };
    let funding = Funding {
        inscription: Some(inscription),
        ..Funding::new(OutPoint::new(funded, 0), POSTAGE)
    };
    let issued = signed_by_validators(issue(from_ref(&terms), funding).unwrap());
    println!("inscribed issue of 2 of 3: {} vB", issued.tx.vsize());
    world.send(&issued.tx);
    world.mine(1);
    world.settle();

    let parent = format!("{}i0", revealed.txid);
    let child = world.ord.inscription(&format!("{}i0", issued.txid())).unwrap().unwrap();
    assert_eq!(child.place, Place::first_of(OutPoint::new(issued.txid(), 0)));
    assert_eq!(child.parents, std::slice::from_ref(&parent));
    assert_eq!(child.body, Some(inscription_text(&terms).unwrap().into_bytes()));
    assert_eq!(child.content_type.as_deref(), Some("text/plain;charset=utf-8"));
    // The parent is back in the issuer's script, at the head of its output.
    let parent = world.ord.inscription(&parent).unwrap().unwrap();
    assert_eq!(parent.place, Place::first_of(OutPoint::new(issued.txid(), 1)));
}
