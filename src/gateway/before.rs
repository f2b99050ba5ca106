//! The contracts before: what a miner still does at a sale that was followed by another one.
//!
//! ```text
//!  contract before   seat kept --- receipts come, what is owed is settled ---> over: the seat is left
//!                                      |  carried, whenever there is more
//!  newest contract   slices sealed, mined for by its terms -----------------------------> term's end
//! ```
//! A resale goes on from a settled period: what lies before the newest contract's first one is ruled on
//! by then, and nothing of it waits to be sealed. What lies behind it is sealed under the newest contract
//! alone, also where coinbases still pay the lock of the holder before. What was sealed under the one
//! before, between the two, was sealed once: it is carried over, with its receipts as they come.

use std::path::PathBuf;

use crate::engine::Report;
use crate::error::{Result, Rule};
use crate::flow::escrow::terms::{EscrowTerms, Tenure};
use crate::gateway::agreed::Agreed;
use crate::gateway::sealer::{Miner, Sealer};
use crate::id::TermsId;

/// The contracts before are those of the same position.
pub const BEFORE: Rule = Rule::new(
    "gateway-position-before",
    "the contracts that a gateway's file names as those before are earlier sales of the same position, each once",
    "name the terms that the newest contract takes the place of, or leave `before` out",
);

/// A contract before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// What was agreed there.
    pub terms: EscrowTerms,
    /// The folder that its parties share, if they do.
    pub relay: Option<PathBuf>,
}

/// The contracts before in the order of their transfers; refused if one is not of the position that the
/// newest one is of, or not before it.
pub fn in_order(newest: &Agreed, mut contracts: Vec<Before>) -> Result<Vec<Before>> {
    if contracts.is_empty() {
        return Ok(contracts);
    }
    let refuse = |expected: String, found: String| Err(BEFORE.misused("before", expected, found));
    let Agreed::Contract(newest) = newest else {
        return refuse("the terms of a contract behind it".into(), "a position's".into());
    };
    let Some(Tenure { position, transfer, .. }) = &newest.tenure else {
        return refuse("a contract of an issued position behind it".into(), "one without".into());
    };
    let number = |terms: &EscrowTerms| terms.tenure.as_ref().map_or(0, |tenure| tenure.transfer);
    contracts.sort_by_key(|before| number(&before.terms));
    let lineage = newest.lineage()?;
    let mut last = 0;
    for Before { terms, .. } in &contracts {
        let found = terms.position()?;
        if terms.tenure.is_none() || found != *position {
            return refuse(format!("a contract of position {position}"), found.to_string());
        }
        if terms.lineage()? != lineage {
            let found = format!("others, in contract {}", terms.id()?);
            return refuse("the people and numbers of the newest contract".into(), found);
        }
        let number = number(terms);
        if number <= last || number >= *transfer {
            let expected = format!("transfers below {transfer}, each once");
            return refuse(expected, format!("transfer {number}"));
        }
        last = number;
    }
    Ok(contracts)
}

/// The miner's seats at the contracts before.
#[derive(Default)]
pub(super) struct Seats(Vec<Sealer>);

impl Seats {
    /// Takes them all; the miner is the same in each.
    pub(super) fn open(contracts: &[Before], miner: &Miner<'_>) -> Result<Self> {
        let seats = contracts.iter().map(|Before { terms, relay }| {
            Sealer::open(terms.clone(), &Miner { relay: relay.clone(), ..miner.clone() })
        });
        seats.collect::<Result<_>>().map(Self)
    }

    /// Does at each what is to be done there, and carries over what was proven; answers with what came
    /// of it. One that is in trouble keeps no other waiting; the first trouble is told. Those that are
    /// over are left.
    pub(super) fn attend(
        &mut self,
        newest: &mut Sealer,
    ) -> (Vec<Report>, Vec<TermsId>, Result<()>) {
        let (mut told, mut left, mut trouble) = (Vec::new(), Vec::new(), Ok(()));
        let mut kept = Vec::new();
        for mut seat in core::mem::take(&mut self.0) {
            let attended = seat.step().and_then(|reports| {
                told.extend(reports);
                newest.carry(&seat)?;
                seat.is_over()
            });
            match attended {
                Ok(true) => left.push(seat.contract()),
                _ => kept.push(seat),
            }
            trouble = trouble.and(attended.map(|_| ()));
        }
        self.0 = kept;
        (told, left, trouble)
    }
}

#[cfg(all(test, feature = "regtest"))]
mod tests {
    use bitcoin::{Amount, Network};

    use super::*;
    use crate::id::PositionId;
    use crate::party::Seat;
    use crate::rehearsal::people::{self, Payouts};
    use crate::script::template::Variant;

    fn sale(transfer: u32) -> EscrowTerms {
        let address = |seat| people::signer(seat, Network::Regtest).unwrap().address();
        let payouts = Payouts {
            miner: address(Seat::Miner),
            holder: address(Seat::Holder),
            federation: address(Seat::Validator(0)),
        };
        let mut terms = people::terms(Variant::Musig, 120, &payouts).unwrap();
        terms.price = Amount::from_sat(60_000_000 - u64::from(transfer));
        let (position, earlier) = (PositionId([3; 32]), Vec::new());
        terms.tenure = Some(Tenure { position, transfer, first: 0, earlier });
        terms
    }

    fn before(newest: &Agreed, all: Vec<EscrowTerms>) -> Result<Vec<EscrowTerms>> {
        let all = all.into_iter().map(|terms| Before { terms, relay: None }).collect();
        Ok(in_order(newest, all)?.into_iter().map(|before| before.terms).collect())
    }

    fn newest() -> Agreed {
        Agreed::from(sale(4))
    }

    #[test]
    fn contracts_before_stand_in_the_order_of_their_transfers() {
        assert_eq!(before(&newest(), Vec::new()).unwrap(), []);
        let all = before(&newest(), vec![sale(3), sale(1), sale(2)]).unwrap();
        assert_eq!(all, [sale(1), sale(2), sale(3)]);
        // Who holds it now sold nothing, and names nothing.
        let mut alone = sale(4);
        alone.tenure = None;
        assert_eq!(before(&Agreed::from(alone), Vec::new()).unwrap(), []);
    }

    #[test]
    fn a_contract_that_is_not_an_earlier_sale_of_the_position_is_refused() {
        let mut foreign = sale(2);
        foreign.tenure.as_mut().unwrap().position = PositionId([4; 32]);
        let mut other_rate = sale(2);
        other_rate.fees.floor += 1;
        let mut unissued = sale(2);
        unissued.tenure = None;
        for (bad, found) in [
            (vec![foreign], PositionId([4; 32]).to_string()),
            (vec![other_rate], "others, in contract".to_owned()),
            (vec![unissued], "expected a contract of position".to_owned()),
            (vec![sale(4)], "transfer 4".to_owned()),
            (vec![sale(5)], "transfer 5".to_owned()),
            (vec![sale(2), sale(1), sale(2)], "transfer 2".to_owned()),
        ] {
            let refused = before(&newest(), bad).unwrap_err();
            assert_eq!(refused.rule(), "gateway-position-before");
            assert!(refused.to_string().contains(&found), "{refused}");
        }
    }

    #[test]
    fn nothing_stands_before_what_is_no_sale() {
        let position = crate::rehearsal::position::terms(1, [106, 123, 145]).unwrap();
        let mut whole = sale(4);
        whole.tenure = None;
        for newest in [Agreed::from(position), Agreed::from(whole)] {
            let refused = before(&newest, vec![sale(1)]).unwrap_err();
            assert_eq!(refused.rule(), "gateway-position-before");
        }
    }
}
