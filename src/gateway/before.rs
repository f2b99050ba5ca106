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
use std::time::{Duration, Instant};

use crate::engine::Report;
use crate::error::{Error, Result, Rule};
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

/// Time before a seat that broke is taken again; doubled each time that it breaks.
const REST: Duration = Duration::from_secs(30);
/// The longest such time.
const LONGEST_REST: Duration = Duration::from_secs(960);

/// The miner's seats at the contracts before, each by itself: what breaks at one keeps no other waiting,
/// and least of all the newest contract.
pub(super) struct Seats(Vec<Kept>);

/// A seat at a contract before.
struct Kept {
    before: Before,
    /// None before it was taken, and after it broke.
    seat: Option<Box<Sealer>>,
    /// Not before this moment, and how long the next rest is.
    rests: Option<Instant>,
    rest: Duration,
    /// What keeps it.
    trouble: Option<String>,
    /// Nothing is left to do there.
    over: bool,
}

/// What came of attending to the seats.
#[derive(Default)]
pub(super) struct Attended {
    /// What their engines did.
    pub(super) told: Vec<Report>,
    /// Contracts where nothing is left to do.
    pub(super) left: Vec<TermsId>,
}

impl Seats {
    /// Seats at these contracts; none is taken yet.
    pub(super) fn at(contracts: &[Before]) -> Self {
        let seats = contracts.iter().map(|before| Kept {
            before: before.clone(),
            seat: None,
            rests: None,
            rest: REST,
            trouble: None,
            over: false,
        });
        Self(seats.collect())
    }

    /// Does at each what is to be done there, and carries over what was proven, if the newest seat is
    /// taken. Those that are over are left.
    pub(super) fn attend(
        &mut self,
        miner: &Miner<'_>,
        terms: &EscrowTerms,
        mut newest: Option<&mut Sealer>,
    ) -> Attended {
        let mut attended = Attended::default();
        for kept in &mut self.0 {
            kept.attend(miner, terms, newest.as_deref_mut(), &mut attended);
        }
        self.0.retain(|kept| !kept.over);
        attended
    }

    /// What keeps the seats, a line for each that is kept by something.
    pub(super) fn troubles(&self) -> impl Iterator<Item = &String> {
        self.0.iter().filter_map(|kept| kept.trouble.as_ref())
    }
}

impl Kept {
    fn attend(
        &mut self,
        miner: &Miner<'_>,
        terms: &EscrowTerms,
        newest: Option<&mut Sealer>,
        attended: &mut Attended,
    ) {
        if self.rests.is_some_and(|until| Instant::now() < until) {
            return;
        }
        match self.step(miner, terms, newest, attended) {
            Ok(left) => {
                attended.left.extend(left);
                self.over = left.is_some();
                (self.rests, self.rest, self.trouble) = (None, REST, None);
            }
            Err(error) => {
                let named = self.before.terms.id();
                let named = named.map_or_else(|error| error.to_string(), |id| id.to_string());
                self.trouble = Some(format!("contract {named}, which was before: {error}"));
                self.wait(&error);
            }
        }
    }

    /// A server that is away broke nothing; anything else is built anew, after a rest.
    fn wait(&mut self, error: &Error) {
        match (&mut self.seat, error) {
            (Some(seat), Error::Unavailable(_)) => seat.wake(),
            _ => {
                self.seat = None;
                self.rests = Instant::now().checked_add(self.rest);
                self.rest = self.rest.saturating_mul(2).min(LONGEST_REST);
            }
        }
    }

    /// Answers with the contract if nothing is left to do there.
    fn step(
        &mut self,
        miner: &Miner<'_>,
        terms: &EscrowTerms,
        newest: Option<&mut Sealer>,
        attended: &mut Attended,
    ) -> Result<Option<TermsId>> {
        let seat = match &mut self.seat {
            Some(seat) => seat,
            none => {
                let Before { terms, relay } = self.before.clone();
                let miner = Miner { relay, ..miner.clone() };
                none.insert(Box::new(Sealer::open(terms, &miner)?))
            }
        };
        if !seat.has_news()? {
            return Ok(None);
        }
        let (headers, ending) = seat.look()?;
        attended.told.extend(seat.step()?);
        if let Some(newest) = newest {
            newest.carry(seat)?;
        }
        let over = seat.is_over(&headers, ending, terms)?;
        Ok(over.then(|| seat.contract()))
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
