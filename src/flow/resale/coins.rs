//! What a resale spends beside the escrow, which is the contract's own: the seal and the buyer's coins.

use bitcoin::{OutPoint, ScriptBuf};

use crate::error::Result;
use crate::flow::resale::terms::Request;
use crate::flow::sale::coins::present_seal;

/// The scripts whose histories say whether the seal and the coins are there.
pub fn watched(request: &Request) -> Result<Vec<ScriptBuf>> {
    let coins = &request.acceptance.acceptance.coins;
    let mut scripts = vec![present_seal(&request.offer.offer)?.script_pubkey];
    scripts.extend(coins.iter().map(|coin| coin.txout.script_pubkey.clone()));
    scripts.sort();
    scripts.dedup();
    Ok(scripts)
}

/// Every output that the exchange spends, in its order.
pub fn spent(request: &Request) -> Vec<OutPoint> {
    let offer = &request.offer.offer;
    let escrow = offer.resale.iter().map(|resale| resale.escrow);
    let coins = request.acceptance.acceptance.coins.iter().map(|coin| coin.outpoint);
    core::iter::once(offer.seal).chain(escrow).chain(coins).collect()
}
