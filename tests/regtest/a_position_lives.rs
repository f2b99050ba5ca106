//! A position's life as it is rehearsed, held to the satoshi: whom each coinbase pays, what of the price
//! the miner gets, and who holds the seal.

use bitcoin::{Amount, Network, Transaction};
use hashmix::chain::electrum::Electrum;
use hashmix::engine::Report;
use hashmix::engine::title::{Reader, trace};
use hashmix::flow::position::dossier::Dossier;
use hashmix::flow::position::title::{Standing, Title};
use hashmix::flow::reward::coins::lock;
use hashmix::rehearsal::deal::Moment;
use hashmix::rehearsal::life::{LAST_BLOCK, live};
use hashmix::rehearsal::world::{World, chosen};

/// Height and transaction of every settlement, and the title before the seal is retired.
#[derive(Default)]
struct Seen {
    settlements: Vec<Transaction>,
    title: Option<Title>,
    proven: usize,
}

fn title(world: &dyn World, dossier: &Dossier) -> Title {
    let electrum = Electrum::connect(&world.electrum_url(), Network::Regtest).unwrap();
    trace(&mut Reader::Bare(&electrum), dossier).unwrap().0
}

#[test]
fn a_position_is_proven_issued_sold_sold_on_and_retired_and_the_money_follows_its_holder() {
    let (world, dir) = (chosen().unwrap(), tempfile::tempdir().unwrap());
    let mut seen = Seen::default();
    let dossier = live(world.as_ref(), dir.path(), &mut |moment| match moment {
        Moment::Done(_, _, Report::Sent(sent)) => seen.settlements.push(sent.tx.clone()),
        Moment::Done(height, seat, Report::Refused(message, error)) => {
            panic!("{height}: {seat} keeps {message}: {error}")
        }
        Moment::Documents(dossier, evidence) => {
            seen.title = Some(title(world.as_ref(), dossier));
            seen.proven = evidence.iter().map(|one| one.certificates().len()).sum();
        }
        _ => {}
    })
    .unwrap();
    assert_eq!(world.height().unwrap(), LAST_BLOCK);

    // Sold twice, then retired; nothing of it is believed that the chain does not show.
    let before = seen.title.unwrap();
    assert_eq!((before.transfer, before.standing), (2, Standing::Held));
    assert_eq!(before.check(), Ok(()));
    let sold: Vec<_> = before.sold.iter().map(|sold| sold.terms.clone()).collect();
    let [first, second] = sold.as_slice() else { panic!("{} sales", sold.len()) };
    assert_eq!(before.holder, second.reward.holder);
    let after = title(world.as_ref(), &dossier);
    assert_eq!((after.hops.len(), after.standing), (3, Standing::Retired));

    // Six slices under two contracts, of which the third counts in both.
    assert_eq!(seen.proven, 7);

    // Every block of the term pays the holder whom the title names for it, but for the one that the rest
    // of the network found.
    let [old, new] = [first, second].map(|terms| lock(&terms.reward).unwrap().script_pubkey);
    let paid = |height: u32| {
        let coinbase = world.block(height).unwrap().txdata.swap_remove(0);
        coinbase.output[0].script_pubkey.clone()
    };
    for height in (156..=227).filter(|height| *height != 193) {
        let due = if height < 204 { &old } else { &new };
        assert_eq!(paid(height), *due, "height {height}");
        assert_eq!(before.lock_at(dossier.terms(), height).unwrap().as_ref(), Some(due));
    }

    // The price is the miner's to the satoshi: a settlement, the resale's part, and the close. The fees
    // of settlements are his.
    let [settlement, close] = seen.settlements.as_slice() else {
        panic!("{} settlements", seen.settlements.len())
    };
    let installment = first.price / 6;
    let to_miner = |tx: &Transaction| {
        let his = |out: &&bitcoin::TxOut| {
            out.script_pubkey == dossier.terms().reward.miner.payout_script()
        };
        tx.output.iter().filter(his).map(|out| out.value).sum::<Amount>()
    };
    assert_eq!(settlement.output[1].value, installment * 5, "the first installment is paid");
    assert_eq!(to_miner(settlement), installment - Amount::from_sat(3 * settlement.vsize() as u64));
    let resale = world.block(193).unwrap().txdata.swap_remove(1);
    assert_eq!(resale.compute_txid(), before.sold[1].txid);
    assert_eq!(to_miner(&resale), installment, "the second one, without a fee");
    assert_eq!(second.price, installment * 4);
    assert_eq!(to_miner(close), second.price - Amount::from_sat(3 * close.vsize() as u64));
    assert_eq!(close.output.len(), 1, "nothing is left for the holder: all was delivered");
}
