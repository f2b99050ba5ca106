//! A sale that was signed outlives its offer: it can be sent until something that it spends is spent
//! otherwise, and everybody is told so.

use bitcoin::hashes::Hash;
use bitcoin::{Amount, TapSighash};
use hashmix::flow::Event as FlowEvent;
use hashmix::flow::resale::state::Event as Resold;
use hashmix::flow::resale::terms::asked;
use hashmix::flow::sale::consent::{Consent, Party};
use hashmix::flow::sale::state::{Effect, Event, State};
use hashmix::flow::sale::terms::{Acceptance, Guard, Offer};
use hashmix::flow::word::Word;
use hashmix::party::Seat;
use hashmix::rehearsal::people;
use hashmix::sign::software::LeafAccount;
use hashmix::tx::exchange::Way;

use crate::by_command::{hashmix, home, refused, said};
use crate::market::{Market, RATE, signer};
use crate::resales_that_are_refused::{by_seller_and_buyer, delivered, offered};

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
    // Out of a home that has not accepted, nothing is given back or spent.
    let release = [&["sale", "release"][..], &files, &who].concat();
    for more in [&[][..], &["--anyway"], &["--spend", "--fee-rate", "3"]] {
        let told = refused(&[&release[..], more].concat());
        assert!(told.contains("[sale-own]"), "{told}");
    }
    // Out of his own it is; what the commands before stored here was somebody else's memory.
    for end in ["", "-wal", "-shm"] {
        let kept = market.folder(&format!("{}.sqlite{end}", market.buyers[0].name));
        let _ = std::fs::remove_file(his.join(format!("store.sqlite{end}")));
        if kept.exists() {
            std::fs::copy(kept, his.join(format!("store.sqlite{end}"))).unwrap();
        }
    }
    assert!(refused(&release).contains("[sale-free]"), "{}", refused(&release));
    let told = said(&[&release[..], &["--anyway"]].concat());
    assert!(told.contains("careful   you have signed"), "{told}");
    assert!(refused(&[&release[..], &["--spend"]].concat()).contains("[cli-arguments]"));

    let dear = refused(&[&release[..], &["--spend", "--fee-rate", "51"]].concat());
    assert!(dear.contains("[terms-fees]"), "{dear}");

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

#[test]
fn a_resale_that_validators_have_signed_is_sent_behind_its_offers_last_height() {
    let (mut market, sold, mut table) = delivered();
    let resale = market.resale(&mut table, 0, 3, Guard::Validators);
    let offer = offered(&market, &sold, resale, 2);
    let words = by_seller_and_buyer(&mut market, &offer);
    let mut state = market.buyers[1].trader.sale(&offer).unwrap();
    let contract = sold.contract.id().unwrap();
    let acceptance = state.acceptance().unwrap().clone();
    let ask = asked(offer.offer.id().unwrap(), acceptance.acceptance.id().unwrap()).unwrap();
    let exchange = state.bargain().unwrap().exchange;
    let Way::Lock(lock, path) = &exchange.parts()[1].way else { panic!() };
    let leaf = lock.leaf(*path).unwrap();
    let answers = [2, 0].map(|place| {
        let seat = Seat::Validator(place);
        let key = leaf.keys.iter().find(|key| key.seat == seat).unwrap();
        let sighash = TapSighash::from_byte_array(exchange.sighash(1).unwrap());
        let his = signer(&people::name(seat), 0);
        let (_, one) = his.sign_leaf(LeafAccount::Leaf, &key.steps, sighash).unwrap();
        let event = FlowEvent::Resale(Resold::Signed { ask, signatures: vec![one] });
        let signature = his.sign_digest(Word::message(contract, seat, &event).unwrap()).unwrap();
        Word::new(contract, seat, event, signature)
    });
    market.elsewhere(2);
    let trader = &mut market.buyers[1].trader;
    trader.hear(&mut state, Event::Answered(Box::new(answers[0].clone()))).unwrap();
    let facts = trader.facts(&state).unwrap();
    let early = trader.broadcast_overdue(&state, &facts).unwrap_err();
    assert_eq!(early.rule(), "sale-expired", "one of two has signed");

    // By command, out of the files.
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut files = vec![(path("offer"), offer.to_json().unwrap())];
    for (number, word) in words.iter().enumerate() {
        let text = match word {
            Event::Accepted(acceptance) => acceptance.to_json(),
            Event::Consented(consent) => consent.to_json(),
            Event::Answered(word) => word.to_json(),
        };
        files.push((path(&format!("word {number}")), text.unwrap()));
    }
    for (number, word) in answers.iter().enumerate() {
        files.push((path(&format!("answer {number}")), word.to_json().unwrap()));
    }
    files.iter().for_each(|(name, text)| std::fs::write(name, text).unwrap());
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let (his, url) = (home(dir.path(), &market.buyers[1].name), market.world.electrum_url());
    let who = ["--home", his.to_str().unwrap(), "--network", "regtest", "--electrum", &url];
    // What lacks a signature is not sent.
    let few = [&["sale", "broadcast"][..], &names[..5], &who, &["--overdue"]].concat();
    assert_eq!(hashmix(&few).status.code(), Some(3));
    let send = [&["sale", "broadcast"][..], &names, &who].concat();
    let out = hashmix(&send);
    let told = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(3));
    assert!(told.contains("send it with --overdue"), "{told}");
    let told = said(&[&send[..], &["--overdue"]].concat());
    assert!(told.contains("careful  the notice was reckoned from height"), "{told}");
    market.world.settle().unwrap();
    assert_eq!(market.world.mempool().unwrap(), [exchange.txid()]);
    // Asked again it is told as what waits, and sent again.
    let told = said(&send);
    assert!(told.contains("already, in the mempool; sent again"), "{told}");
    market.elsewhere(1);
    let told = said(&send);
    assert!(told.contains(&format!("already, at {}", market.height())), "{told}");
}
