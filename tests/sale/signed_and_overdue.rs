//! A sale that was signed outlives its offer: it can be sent until something that it spends is spent
//! otherwise, and everybody is told so.

use bitcoin::Amount;
use hashmix::flow::sale::consent::{Consent, Party};
use hashmix::flow::sale::state::{Effect, Event, State};
use hashmix::flow::sale::terms::{Acceptance, Offer};

use crate::by_command::{hashmix, home, refused, said};
use crate::market::{Market, RATE};

/// Accepted and signed by both; what the seller knows before the buyer has signed, and all of it.
fn agreed(market: &mut Market, offer: &Offer) -> (State, State, Acceptance, [Consent; 2]) {
    let to = &mut market.buyers[0];
    let signer = to.signer();
    let acceptance = to.trader.accept(offer, to.record.clone(), &signer, RATE).unwrap();
    let mut his = market.miner.trader.sale(offer).unwrap();
    let accepted = Event::Accepted(Box::new(acceptance.clone()));
    market.miner.trader.hear(&mut his, accepted).unwrap();
    let seller = market.miner.signer();
    let first = market.miner.trader.consent(&mut his, Party::Seller, &seller, None).unwrap();
    let mut state = to.trader.sale(offer).unwrap();
    to.trader.hear(&mut state, Event::Consented(first.clone())).unwrap();
    let second = to.trader.consent(&mut state, Party::Buyer, &signer, None).unwrap();
    (his, state, acceptance, [first, second])
}

#[test]
fn what_is_signed_is_overdue_and_not_void_until_a_coin_is_spent() {
    let mut market = Market::issued();
    let expires = market.height() + 2;
    let offer = market.offer(60_000_000, 0, expires);
    let (half, state, acceptance, consents) = agreed(&mut market, &offer);

    // While it can be sent its coins are not free.
    let trader = &mut market.buyers[0].trader;
    assert_eq!(trader.release(&state).unwrap_err().rule(), "sale-free");
    market.elsewhere(2);
    let trader = &mut market.buyers[0].trader;
    let facts = trader.facts(&state).unwrap();
    for (state, missing) in [(&half, vec![Party::Buyer]), (&state, vec![])] {
        let Effect::Overdue { lacks, over } = state.next(&facts, Party::Buyer).unwrap() else {
            panic!("{missing:?}")
        };
        assert_eq!((lacks, over.rule()), (missing, "sale-expired"));
    }
    assert_eq!(trader.broadcast(&state, Party::Buyer).unwrap_err().rule(), "sale-expired");
    assert_eq!(trader.release(&state).unwrap_err().rule(), "sale-free");
    assert_ne!(trader.wallet().unwrap().balance().reserved, Amount::ZERO);

    // By the command: who can do what, and that coins are not simply given back.
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let names = ["offer", "acceptance", "first", "second"].map(path);
    let [first, second] = consents.map(|consent| consent.to_json().unwrap());
    let texts = [offer.to_json().unwrap(), acceptance.to_json().unwrap(), first, second];
    names.iter().zip(texts).for_each(|(name, text)| std::fs::write(name, text).unwrap());
    let files: Vec<&str> = names.iter().map(String::as_str).collect();
    let (his, url) = (home(dir.path(), &market.buyers[0].name), market.world.electrum_url());
    let who = ["--home", his.to_str().unwrap(), "--network", "regtest", "--electrum", &url];
    let out = hashmix(&[&["sale", "broadcast"][..], &files[..3], &who].concat());
    let told = String::from_utf8(out.stdout).unwrap();
    assert!(told.contains("it lacks a signature of the buyer, who can send it"), "{told}");
    let out = hashmix(&[&["sale", "broadcast"][..], &files, &who].concat());
    let (told, error) = (String::from_utf8(out.stdout).unwrap(), out.stderr);
    assert_eq!(out.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&error).contains("[sale-expired]"));
    for line in [
        format!("overdue  the offer held until height {expires}; everybody has signed, so anybody"),
        "seller   to be sure, move the seal: hashmix sale withdraw".to_owned(),
        "buyer    to be sure, spend your coins: hashmix sale release --spend".to_owned(),
    ] {
        assert!(told.contains(&line), "{line}\n{told}");
    }
    let release = [&["sale", "release"][..], &files, &who].concat();
    assert!(refused(&release).contains("[sale-free]"), "{}", refused(&release));
    let told = said(&[&release[..], &["--anyway"]].concat());
    assert!(told.contains("careful   you have signed"), "{told}");
    assert!(refused(&[&release[..], &["--spend"]].concat()).contains("[cli-arguments]"));

    // Spent to himself; once that is in a block the sale can never be made, and the rest is free.
    let told = said(&[&release[..], &["--spend", "--fee-rate", "3"]].concat());
    assert!(told.contains("1 coins to yourself"), "{told}");
    market.world.settle().unwrap();
    let again = said(&[&release[..], &["--spend", "--fee-rate", "3"]].concat());
    assert_eq!(again, told, "asked again, it is the same transaction");
    let waiting = market.world.mempool().unwrap();
    assert!(told.contains(&waiting[0].to_string()), "{told}");
    assert!(refused(&release).contains("[sale-free]"), "no block has it");
    market.elsewhere(1);
    let block = market.world.block(market.height()).unwrap();
    let (tx, coin) = (&block.txdata[1], &acceptance.acceptance.coins[0]);
    assert_eq!(tx.input[0].previous_output, coin.outpoint);
    let fee = (coin.txout.value - tx.output[0].value).to_sat();
    assert!(fee == 3 * tx.vsize() as u64, "{fee} sat for {} vB", tx.vsize());
    assert_eq!(said(&release), "released  1 coins\n");
    let trader = &mut market.buyers[0].trader;
    let facts = trader.facts(&state).unwrap();
    let void = state.next(&facts, Party::Buyer).unwrap();
    assert!(matches!(void, Effect::Void(error) if error.rule() == "sale-coin"));
    trader.release(&state).unwrap();
    assert_eq!(trader.wallet().unwrap().balance().reserved, Amount::ZERO);
    assert_eq!(trader.reclaim(&state, RATE).map(|_| ()).unwrap_err().rule(), "sale-free");
}
