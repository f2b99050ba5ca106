//! A buyer whose coins lie in another wallet: it signs in its own way, and its witness is verified.

use bitcoin::key::{Keypair, Secp256k1};
use bitcoin::secp256k1::Message;
use bitcoin::{
    Amount, CompressedPublicKey, EcdsaSighashType, FeeRate, OutPoint, ScriptBuf, TxOut, Witness,
    ecdsa,
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
