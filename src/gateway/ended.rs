//! How the contract ended that is mined for, and what the operator is told of it.
//!
//! ```text
//!  escrow spent, in a block --+-- a resale: until its switch the old lock counts, from there on another
//!                             |      '--> terms known? sold-on-ID.json in the gateway's folder
//!                             '-- anything else: nobody pays for the work that is done
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use bitcoin::Txid;

use crate::error::Result;
use crate::flow::escrow::coins::Ending;
use crate::flow::escrow::terms::EscrowTerms;
use crate::gateway::floor::HOME;
use crate::gateway::status::{Closed, SoldOn};

/// How a contract ended, in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was sold on.
    Sold(SoldOn),
    /// It was closed.
    Closed(Closed),
}

impl Ended {
    /// How the contract of these terms ended. `next` knows, perhaps, the terms that a resale put in their
    /// place: they are written into `home`, and if they cannot be, the rest is told all the same. What is
    /// `known` of the same resale, with its terms, stays.
    pub(super) fn of(
        terms: &EscrowTerms,
        ending: Option<Ending>,
        known: Option<&Self>,
        next: impl FnOnce(Txid) -> Option<EscrowTerms>,
        home: &Path,
    ) -> (Option<Self>, Result<()>) {
        let Some(ending) = ending else { return (None, Ok(())) };
        let Ending { by, height, resold } = ending;
        if !resold {
            return (Some(Self::Closed(Closed { by, height })), Ok(()));
        }
        let known = known
            .filter(|known| known.sold().is_some_and(|sold| sold.by == by && sold.terms.is_some()));
        if let Some(known) = known {
            return (Some(known.clone()), Ok(()));
        }
        let unknown = SoldOn { by, before: ending.next_period(terms), terms: None };
        match next(by).map(|next| hand_over(by, &next, home)).transpose() {
            Ok(sold) => (Some(Self::Sold(sold.unwrap_or(unknown))), Ok(())),
            Err(error) => (Some(Self::Sold(unknown)), Err(error)),
        }
    }

    /// The resale, if it is one.
    pub(super) fn sold(&self) -> Option<&SoldOn> {
        match self {
            Self::Sold(sold) => Some(sold),
            Self::Closed(_) => None,
        }
    }

    /// The close, if it is one.
    pub(super) fn closed(&self) -> Option<Closed> {
        match self {
            Self::Sold(_) => None,
            Self::Closed(closed) => Some(*closed),
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sold(sold) => sold.fmt(f),
            Self::Closed(closed) => closed.fmt(f),
        }
    }
}

/// Writes the terms that took the place of ours into the gateway's folder.
fn hand_over(by: Txid, next: &EscrowTerms, home: &Path) -> Result<SoldOn> {
    let name = format!("sold-on-{}.json", next.id()?);
    let mut text = serde_json::to_string_pretty(next)
        .map_err(|error| HOME.broken(&name, "terms as JSON", error))?;
    text.push('\n');
    put(&home.join(&name), text.as_bytes())?;
    let work = next.work()?;
    let own = work.locks().into_iter().last().map(|(heights, _)| *heights.start());
    let before = own.unwrap_or_else(|| next.calendar().begin());
    Ok(SoldOn { by, before, terms: Some(name) })
}

/// Puts a file there; whole, and on the disk when this returns.
pub(super) fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let draft = path.with_extension("new");
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(|error: std::io::Error| {
        HOME.unstored(path.display(), "a place for what the gateway keeps", error)
    })
}

#[cfg(all(test, feature = "regtest"))]
mod tests {
    use std::cell::Cell;

    use bitcoin::Network;
    use bitcoin::hashes::Hash;

    use super::*;
    use crate::flow::escrow::terms::Tenure;
    use crate::flow::reward;
    use crate::id::PositionId;
    use crate::party::Seat;
    use crate::rehearsal::people::{self, Payouts};
    use crate::script::template::Variant;
    use crate::work::agreement::Earlier;

    fn terms() -> EscrowTerms {
        let address = |seat| people::signer(seat, Network::Regtest).unwrap().address();
        let payouts = Payouts {
            miner: address(Seat::Miner),
            holder: address(Seat::Holder),
            federation: address(Seat::Validator(0)),
        };
        let mut terms = people::terms(Variant::Musig, 120, &payouts).unwrap();
        let (position, earlier) = (PositionId([3; 32]), Vec::new());
        terms.tenure = Some(Tenure { position, transfer: 1, first: 0, earlier });
        terms
    }

    /// The contract after, whose coinbases pay its holder from period 4 (0-based) on.
    fn next() -> EscrowTerms {
        let mut next = terms();
        let lock = reward::coins::lock(&next.reward).unwrap().script_pubkey;
        next.reward.variant = Variant::Nums;
        let tenure = next.tenure.as_mut().unwrap();
        (tenure.transfer, tenure.first) = (2, 1);
        tenure.earlier.push(Earlier { until: 4, lock });
        next
    }

    fn ending(resold: bool) -> Option<Ending> {
        Some(Ending { by: Txid::from_byte_array([7; 32]), height: 140, resold })
    }

    #[test]
    fn an_ending_that_is_no_resale_is_a_close_and_one_that_a_reorg_took_is_none() {
        let (terms, home) = (terms(), Path::new("/nowhere"));
        let nobody = |_| -> Option<EscrowTerms> { panic!("nobody asked") };
        let (closed, written) = Ended::of(&terms, ending(false), None, nobody, home);
        written.unwrap();
        let closed = closed.unwrap();
        let words = "at height 140: nobody pays for this work; take the position out";
        assert!(closed.to_string().ends_with(words), "{closed}");
        assert_eq!((closed.sold(), closed.closed().unwrap().height), (None, 140));
        assert_eq!(Ended::of(&terms, None, Some(&closed), nobody, home).0, None);
    }

    #[test]
    fn the_terms_after_a_resale_are_written_once_and_tell_the_height_of_its_switch() {
        let (terms, next) = (terms(), next());
        let dir = tempfile::tempdir().unwrap();
        let period = terms.calendar().period;
        let (unknown, written) = Ended::of(&terms, ending(true), None, |_| None, dir.path());
        written.unwrap();
        let unknown = unknown.unwrap();
        let sold = unknown.sold().unwrap();
        assert_eq!((sold.before, &sold.terms), (120 + period * (20 / period + 1), &None));
        let asked = Cell::new(0);
        let ask = |_| {
            asked.set(asked.get() + 1);
            Some(next.clone())
        };
        let (told, written) = Ended::of(&terms, ending(true), Some(&unknown), ask, dir.path());
        written.unwrap();
        let told = told.unwrap();
        let name = format!("sold-on-{}.json", next.id().unwrap());
        let sold = told.sold().unwrap();
        assert_eq!((sold.before, sold.terms.as_ref()), (120 + 4 * period, Some(&name)));
        let text = fs::read_to_string(dir.path().join(&name)).unwrap();
        assert_eq!(EscrowTerms::from_json(&text).unwrap(), next);
        let again = Ended::of(&terms, ending(true), Some(&told), ask, dir.path());
        assert_eq!((again.0, asked.get()), (Some(told), 1));
    }

    #[test]
    fn a_resale_is_told_also_where_its_terms_cannot_be_written() {
        let (terms, dir) = (terms(), tempfile::tempdir().unwrap());
        let file = dir.path().join("file");
        fs::write(&file, "no folder").unwrap();
        let (told, written) = Ended::of(&terms, ending(true), None, |_| Some(next()), &file);
        assert_eq!(told.unwrap().sold().unwrap().terms, None);
        assert_eq!(written.unwrap_err().rule(), "gateway-home");
    }
}
