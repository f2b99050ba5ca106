//! The other validators' servers: what we say is brought to them, and what they answer comes back.
//!
//! After a start everything that we have said is brought once more, and whoever has it already answers
//! as he did.

use std::collections::BTreeMap;

use super::log;
use crate::error::Result;
use crate::id::TermsId;
use crate::validator::courier::Couriers;
use crate::validator::desk::Desk;

/// All of them, as the desk's thread sees them.
pub(super) struct Peers {
    couriers: Couriers,
    /// Up to which word of each contract parcels were made.
    upto: BTreeMap<TermsId, u64>,
}

impl Peers {
    /// Starts a courier for each address.
    pub(super) fn start(urls: &[String]) -> Result<Self> {
        Ok(Self { couriers: Couriers::start(urls)?, upto: BTreeMap::new() })
    }

    /// Whether there is anybody.
    pub(super) fn is_empty(&self) -> bool {
        self.couriers.is_empty()
    }

    /// Sends what the desk has said since, and hears what was answered.
    pub(super) fn exchange(&mut self, desk: &mut Desk) {
        if self.couriers.is_empty() {
            return;
        }
        while let Some(answer) = self.couriers.answer() {
            if let Err(error) = desk.take_answer(&answer) {
                log(format_args!("answer of another validator: {error}"));
            }
        }
        for contract in desk.registered() {
            if let Err(error) = self.send(desk, contract) {
                log(format_args!("contract {contract}, for other validators: {error}"));
            }
        }
    }

    fn send(&mut self, desk: &Desk, contract: TermsId) -> Result<()> {
        let upto = self.upto.entry(contract).or_default();
        loop {
            let (next, request) = desk.parcel(contract, *upto)?;
            if next == *upto {
                return Ok(());
            }
            *upto = next;
            let Some(request) = request else { continue };
            self.couriers.bring(contract, &request.to_json()?);
        }
    }
}
