//! Making a record: the public half of a signer's keys, with what the person says, signed whole.

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Network};

use super::software::SoftwareSigner;
use crate::error::Result;
use crate::keys::KeyExpression;
use crate::party::{RECORD_FORMAT, Record, RecordBody, Role};

/// The record of `signer`'s keys for a seat of `contract`, paid at `payout`. Its receiver checks
/// it ([`Record::check`]); so does whoever makes it.
pub fn record(
    signer: &SoftwareSigner,
    role: Role,
    network: Network,
    contract: &str,
    payout: Address<NetworkUnchecked>,
) -> Result<Record> {
    let keys = signer.keys();
    let record = RecordBody {
        format: RECORD_FORMAT.to_owned(),
        role,
        network,
        contract: contract.to_owned(),
        musig: keys.musig.parse::<KeyExpression>()?,
        leaf: keys.leaf.parse::<KeyExpression>()?,
        exit: keys.exit.parse::<KeyExpression>()?,
        // Whoever sits there may come to hold the position's seal, and nobody else does.
        seal: match role {
            Role::Holder => Some(keys.seal.parse::<KeyExpression>()?),
            Role::Miner | Role::Validator => None,
        },
        payout,
        communication: keys.communication,
    };
    let signature = signer.sign_text(&record.statement()?)?;
    Ok(Record { record, signature })
}
