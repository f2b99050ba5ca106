//! A buyer whose coins lie in another wallet: it signs in its own way, and its witness is verified.

use bitcoin::key::{Keypair, Secp256k1};
use bitcoin::secp256k1::Message;
use bitcoin::{
    Address, Amount, CompressedPublicKey, EcdsaSighashType, FeeRate, OutPoint, ScriptBuf, TxOut,
    Witness, ecdsa,
};
use hashmix::flow::sale::consent::{CONSENT_FORMAT, Consent, Party, Piece};
use hashmix::flow::sale::state::{Event, State};
use hashmix::flow::sale::terms::{ACCEPTANCE_FORMAT, Acceptance, AcceptanceBody, Paying};
use hashmix::flow::sale::txs::bargain;

use crate::market::{Market, RATE};

#[test]
fn a_coin_of_before_taproot_pays_for_a_position() {
    let mut market = Market::issued();
    let secp = Secp256k1::new();
    let pair = Keypair::from_seckey_slice(&secp, &[11; 32]).unwrap();
    let key = CompressedPublicKey(pair.public_key());
    let script_pubkey = ScriptBuf::new_p2wpkh(&key.wpubkey_hash());
    let coin = TxOut { value: Amount::from_sat(70_000_000), script_pubkey };
    let rate = FeeRate::from_sat_per_vb(RATE).unwrap();
    let wallet = market.buyers[0].trader.wallet().unwrap();
    let tx = wallet.fund(core::slice::from_ref(&coin), rate).unwrap();
    let txid = market.send(&tx);

    let offer = market.offer(60_000_000, 0, 120);
    let buyer = &market.buyers[0];
    let mut body = AcceptanceBody {
        format: ACCEPTANCE_FORMAT.to_owned(),
        offer: offer.offer.id().unwrap(),
        holder: buyer.record.clone(),
        coins: vec![Paying { outpoint: OutPoint::new(txid, 0), txout: coin.clone() }],
        change: coin.script_pubkey,
        sat_per_vb: RATE,
        psbt: String::new(),
    };
    let exchange = bargain(&offer.offer, &body).unwrap().exchange;
    body.psbt = exchange.psbt().unwrap().to_string();
    let signature = buyer.signer().sign_digest(body.id().unwrap().0).unwrap();
    let acceptance = Acceptance { acceptance: body, signature };
    let accepted = Event::Accepted(Box::new(acceptance.clone()));

    let (seller, trader) = (market.miner.signer(), &mut market.miner.trader);
    let mut state = trader.sale(&offer).unwrap();
    trader.hear(&mut state, accepted.clone()).unwrap();
    let first = trader.consent(&mut state, Party::Seller, &seller, None).unwrap();

    let message = Message::from_digest(exchange.sighash(1).unwrap());
    let signature = secp.sign_ecdsa(&message, &pair.secret_key());
    let one = ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All };
    let witness = Witness::p2wpkh(&one, &key.0);
    let consent = Consent {
        format: CONSENT_FORMAT.to_owned(),
        offer: offer.offer.id().unwrap(),
        acceptance: acceptance.acceptance.id().unwrap(),
        by: Party::Buyer,
        pieces: vec![Piece { input: 1, witness }],
    };
    let trader = &mut market.buyers[0].trader;
    let mut state: State = trader.sale(&offer).unwrap();
    for word in [accepted, Event::Consented(first), Event::Consented(consent)] {
        trader.hear(&mut state, word).unwrap();
    }
    let tx = trader.broadcast(&state, Party::Buyer).unwrap();
    market.sold(&state, tx);
}

#[test]
fn coins_of_another_wallet_pay_by_a_psbt_that_it_has_signed() {
    let mut market = Market::issued();
    let secp = Secp256k1::new();
    let pair = Keypair::from_seckey_slice(&secp, &[12; 32]).unwrap();
    let key = CompressedPublicKey(pair.public_key());
    let legacy = ScriptBuf::new_p2wpkh(&key.wpubkey_hash());
    let address = Address::p2tr(&secp, pair.x_only_public_key().0, None, crate::market::NETWORK);
    let scripts = [legacy, address.script_pubkey()];
    let coins =
        scripts.map(|script_pubkey| TxOut { value: Amount::from_sat(35_000_000), script_pubkey });
    let rate = FeeRate::from_sat_per_vb(RATE).unwrap();
    let tx = market.buyers[0].trader.wallet().unwrap().fund(&coins, rate).unwrap();
    let txid = market.send(&tx);
    let outpoints = [OutPoint::new(txid, 0), OutPoint::new(txid, 1)];
    let (offer, change) = (market.offer(60_000_000, 0, 120), address.script_pubkey());

    // Coins that do not exist, or are spent, pay for nothing.
    let buyer = &mut market.buyers[0];
    let (signer, record) = (buyer.signer(), buyer.record.clone());
    let accept = |buyer: &mut crate::market::Somebody, coins: &[OutPoint]| {
        buyer.trader.accept_with(&offer, record.clone(), &signer, RATE, (coins, &change))
    };
    let spent = tx.input[0].previous_output;
    for false_one in [OutPoint::new(txid, 9), spent] {
        let refused = accept(buyer, &[outpoints[0], false_one]).unwrap_err();
        assert_eq!(refused.rule(), "sale-coin");
    }
    let acceptance = accept(buyer, &outpoints).unwrap();
    assert_eq!(accept(buyer, &outpoints).unwrap(), acceptance);

    let accepted = Event::Accepted(Box::new(acceptance.clone()));
    let (seller, trader) = (market.miner.signer(), &mut market.miner.trader);
    let mut state = trader.sale(&offer).unwrap();
    trader.hear(&mut state, accepted).unwrap();
    let first = trader.consent(&mut state, Party::Seller, &seller, None).unwrap();

    // The other wallet signs: one input as a device leaves it, one finished.
    let exchange = state.bargain().unwrap().exchange;
    let blank: bitcoin::Psbt = acceptance.acceptance.psbt.parse().unwrap();
    let digest = |input| Message::from_digest(exchange.sighash(input).unwrap());
    let one = ecdsa::Signature {
        signature: secp.sign_ecdsa(&digest(1), &pair.secret_key()),
        sighash_type: EcdsaSighashType::All,
    };
    let tweaked = bitcoin::key::TapTweak::tap_tweak(pair, &secp, None).to_keypair();
    let two = bitcoin::taproot::Signature {
        signature: secp.sign_schnorr_no_aux_rand(&digest(2), &tweaked),
        sighash_type: bitcoin::TapSighashType::Default,
    };
    let mut good = blank.clone();
    good.inputs[1].partial_sigs.insert(bitcoin::PublicKey::new(key.0), one);
    good.inputs[2].final_script_witness = Some(Witness::p2tr_key_spend(&two));

    let (buyers, other_buyers) = (market.buyers[0].signer(), market.buyers[1].signer());
    let trader = &mut market.buyers[0].trader;
    let mut state = trader.sale(&offer).unwrap();
    assert_eq!(trader.import(&mut state, &buyers, &good).unwrap_err().rule(), "sale-turn");
    trader.hear(&mut state, Event::Consented(first)).unwrap();
    assert_eq!(trader.import(&mut state, &buyers, &blank).unwrap_err().rule(), "sale-foreign");
    let mut other = good.clone();
    other.unsigned_tx.output[2].value += Amount::ONE_SAT;
    assert_eq!(trader.import(&mut state, &buyers, &other).unwrap_err().rule(), "sale-foreign");
    // A signature of something else is none.
    let mut forged = good.clone();
    let stranger = bitcoin::taproot::Signature {
        signature: secp.sign_schnorr_no_aux_rand(&digest(1), &tweaked),
        ..two
    };
    forged.inputs[2].final_script_witness = Some(Witness::p2tr_key_spend(&stranger));
    assert_ne!(trader.import(&mut state, &buyers, &forged).unwrap_err().rule(), "sale-foreign");
    assert!(!state.consents().iter().any(|consent| consent.by == Party::Buyer));
    let stranger = trader.import(&mut state, &other_buyers, &good);
    assert_eq!(stranger.unwrap_err().rule(), "sale-signer");
    let consent = trader.import(&mut state, &buyers, &good).unwrap();
    assert_eq!(trader.import(&mut state, &buyers, &blank).unwrap(), consent, "asked again");
    let tx = trader.broadcast(&state, Party::Buyer).unwrap();
    market.sold(&state, tx);
}

/// The whole of it as people type it: the coins lie in a wallet that this program never sees.
#[test]
#[cfg(unix)]
fn by_command_a_buyer_pays_with_coins_that_another_wallet_signs_for() {
    use crate::by_command::{home, refused, said};
    use hashmix::cli::position::folder;

    let mut market = Market::issued();
    let secp = Secp256k1::new();
    let pair = Keypair::from_seckey_slice(&secp, &[13; 32]).unwrap();
    let key = CompressedPublicKey(pair.public_key());
    let address = Address::p2tr(&secp, pair.x_only_public_key().0, None, crate::market::NETWORK);
    let scripts = [address.script_pubkey(), ScriptBuf::new_p2wpkh(&key.wpubkey_hash())];
    let coins =
        scripts.map(|script_pubkey| TxOut { value: Amount::from_sat(35_000_000), script_pubkey });
    let rate = FeeRate::from_sat_per_vb(RATE).unwrap();
    let tx = market.buyers[0].trader.wallet().unwrap().fund(&coins, rate).unwrap();
    let txid = market.send(&tx);

    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let [offer, record, dossier, change] =
        [path("offer"), path("record"), path("dossier"), address.to_string()];
    std::fs::write(&offer, market.offer(60_000_000, 0, 120).to_json().unwrap()).unwrap();
    std::fs::write(&record, market.buyers[0].record.to_json()).unwrap();
    folder::write(std::path::Path::new(&dossier), &market.dossier()).unwrap();
    let federation = market.terms.issuer.id().unwrap().to_string();
    let url = market.world.electrum_url();
    let (hers, his) =
        (home(dir.path(), &market.buyers[0].name), home(dir.path(), &market.miner.name));
    let (hers, his) = (hers.to_str().unwrap(), his.to_str().unwrap());
    let net = ["--network", "regtest", "--electrum", &url];
    let she = [&["--home", hers, "--number", "0"][..], &net].concat();
    let he = [&["--home", his, "--number", "1"][..], &net].concat();

    let [acceptance, blank, first, second] = ["acceptance", "blank", "first", "second"].map(path);
    let [one, two] = [0, 1].map(|vout| OutPoint::new(txid, vout).to_string());
    let accept = ["sale", "accept", &offer, "--record", &record, "--dossier", &dossier];
    let more = ["--federation", &federation, "--fee-rate", "2", "--out", &acceptance];
    let foreign = ["--coin", &one, "--coin", &two, "--change", &change];
    let without = [&accept[..], &more, &foreign, &she].concat();
    assert!(refused(&without).contains("[cli-arguments]"), "--psbt belongs to it");
    let told = said(&[&without[..], &["--psbt", &blank]].concat());
    assert!(told.contains("70000000 sat in 2 coins"), "{told}");
    let words = ["sale", "sign", &offer, &acceptance, "--party", "seller", "--out", &first];
    said(&[&words[..], &he].concat());

    // The buyer's own wallet holds none of these coins; what signs them is a PSBT that comes back.
    let sign = ["sale", "sign", &offer, &first, "--party", "buyer", "--out", &second];
    let sign = [&sign[..], &she, &["--dossier", &dossier]].concat();
    assert!(refused(&sign).contains("[sale-signer]"), "{}", refused(&sign));
    let with = |file: &str| -> Vec<String> {
        sign.iter().copied().chain(["--psbt", file]).map(str::to_owned).collect()
    };
    let run = |all: &[String]| all.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    let unsigned = with(&blank);
    let unsigned: Vec<&str> = unsigned.iter().map(String::as_str).collect();
    assert!(refused(&unsigned).contains("[sale-foreign]"), "{}", run(&with(&blank)));
    let mut psbt: bitcoin::Psbt = std::fs::read_to_string(&blank).unwrap().parse().unwrap();
    let prevouts: Vec<TxOut> =
        psbt.inputs.iter().map(|input| input.witness_utxo.clone().unwrap()).collect();
    let mut cache = bitcoin::sighash::SighashCache::new(psbt.unsigned_tx.clone());
    let all = bitcoin::sighash::Prevouts::All(&prevouts);
    let kind = bitcoin::TapSighashType::Default;
    let message = cache.taproot_key_spend_signature_hash(1, &all, kind).unwrap();
    let tweaked = bitcoin::key::TapTweak::tap_tweak(pair, &secp, None).to_keypair();
    psbt.inputs[1].tap_key_sig = Some(bitcoin::taproot::Signature {
        signature: secp.sign_schnorr_no_aux_rand(&message.into(), &tweaked),
        sighash_type: kind,
    });
    let script = &prevouts[2].script_pubkey;
    let kind = EcdsaSighashType::All;
    let message = cache.p2wpkh_signature_hash(2, script, prevouts[2].value, kind).unwrap();
    let signature = secp.sign_ecdsa(&message.into(), &pair.secret_key());
    let one = ecdsa::Signature { signature, sighash_type: kind };
    psbt.inputs[2].partial_sigs.insert(bitcoin::PublicKey::new(key.0), one);
    let filled = path("filled");
    std::fs::write(&filled, psbt.to_string()).unwrap();
    let signed = with(&filled);
    let signed: Vec<&str> = signed.iter().map(String::as_str).collect();
    assert!(said(&signed).contains("hashmix sale broadcast"));

    let words = ["sale", "broadcast", &offer, "--dossier", &dossier, "--home", hers];
    let sent = said(&[&words[..], &net].concat());
    assert!(sent.contains("transfer 1 is in"), "{sent}");
    market.world.settle().unwrap();
    market.elsewhere(1);
    let block = market.world.block(market.height()).unwrap();
    let sale = &block.txdata[1];
    assert!(sent.contains(&sale.compute_txid().to_string()), "{sent}");
    assert_eq!(sale.output[2].script_pubkey, address.script_pubkey(), "the change is its wallet's");
}
