//! Does a resale that validators signed stand for the miner's signature of the contract that it made?

use bitcoin::Amount;
use hashmix::error::Result;
use hashmix::flow::escrow::coins::Locked;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::sale::terms::{Guard, OfferBody};
use hashmix::party::Seat;
use hashmix::validator::registration::{Registration, digest};
use hashmix::validator::resold::{BEFORE, CHAIN, DERIVED, Resold};

use crate::case::{V0, V1};
use crate::examine::Bench;
use crate::market::{agreed, buyer, resale};
use crate::world::Play;

/// What comes to a desk, the contract before as the desk knows it, and the chain.
#[derive(Clone)]
struct Brought {
    registration: Registration,
    before: Option<EscrowTerms>,
    /// Other new terms, where they are held to the contract before alone.
    instead: Option<EscrowTerms>,
    play: Play,
}

impl Bench for Brought {
    fn verdict(&self) -> Result<()> {
        self.registration.check()?;
        let resold = self.registration.resale.as_ref().unwrap();
        let terms = self.instead.as_ref().unwrap_or(&self.registration.terms);
        resold.check_before(terms, self.before.as_ref())?;
        let before = Locked::new(self.play.world.terms.clone()).unwrap();
        resold.check_chain(&before, &self.play.world.facts())
    }
}

/// Signed by its holder alone.
fn registration(terms: EscrowTerms, resold: Resold) -> Registration {
    let id = digest(terms.id().unwrap());
    let mut registration = Registration::new(terms);
    registration.add(Seat::Holder, buyer().sign_digest(id).unwrap()).unwrap();
    registration.resale = Some(Box::new(resold));
    registration
}

/// Six blocks lie on the resale.
fn brought() -> Brought {
    let mut request = resale();
    let asked = request.asked();
    request.play.act(V0);
    assert_eq!(request.play.act(V1).len(), 1);
    let terms = asked.offer.offer.contract(&asked.acceptance.acceptance.holder).unwrap();
    let (offer, acceptance) = (asked.offer, asked.acceptance);
    let tip = request.play.world.tip();
    request.play.world.mine_to(tip + 6);
    let before = Some(request.play.world.terms.clone());
    let registration = registration(terms, Resold { offer, acceptance });
    Brought { registration, before, instead: None, play: request.play }
}

impl Brought {
    /// The same terms with a sale that was agreed on otherwise.
    fn of(&mut self, change: impl FnOnce(&mut OfferBody)) {
        let mut body = self.registration.resale.as_ref().unwrap().offer.offer.clone();
        change(&mut body);
        let asked = agreed(body, 2);
        let (offer, acceptance) = (asked.offer, asked.acceptance);
        self.registration.resale = Some(Box::new(Resold { offer, acceptance }));
    }

    fn terms(&mut self, change: impl FnOnce(&mut EscrowTerms)) {
        let mut terms = self.registration.terms.clone();
        change(&mut terms);
        let resold = self.registration.resale.clone().unwrap();
        self.registration = registration(terms, *resold);
    }
}

examine! {
    derived: DERIVED, "refused (sender)", brought {
        accepts {
            what_offer_and_acceptance_make => |_| {},
        }
        refuses {
            a_satoshi_more => |b| b.terms(|terms| terms.price += Amount::ONE_SAT),
            a_lock_that_changes_later => |b| b.terms(|terms| {
                terms.tenure.as_mut().unwrap().earlier[0].until += 1;
            }),
            a_sale_that_the_miner_signs => |b| b.of(|body| {
                body.resale.as_mut().unwrap().guard = Guard::Miner;
            }),
            a_first_sale => |b| b.of(|body| body.resale = None),
            another_sale => |b| b.of(|body| body.resale.as_mut().unwrap().switch = 5),
        }
    }
    before: BEFORE, "refused (sender)", brought {
        accepts {
            the_contract_that_was_sold => |_| {},
        }
        refuses {
            none => |b| b.before = None,
            another_of_the_same_people => |b| b.before.as_mut().unwrap().fees.cap += 1,
            the_new_one_itself => |b| b.before = Some(b.registration.terms.clone()),
            for_terms_of_another_lineage => |b| {
                let mut other = b.registration.terms.clone();
                other.fees.cap += 1;
                b.instead = Some(other);
            },
        }
    }
    chain: CHAIN, "unavailable", brought {
        accepts {
            as_deep_as_states_are_signed_on => |b| {
                assert_eq!(b.play.world.terms.delays.state_depth, 6);
            },
        }
        refuses {
            a_block_less => |b| {
                let tip = b.play.world.tip();
                b.play.world.rewind_to(tip - 1);
            },
            in_no_block_yet => |b| {
                let tip = b.play.world.tip();
                b.play.world.rewind_to(tip - 6);
            },
            never_sent => |b| b.play = resale().play,
            ended_by_another_sale => |b| b.of(|body| body.price += Amount::ONE_SAT),
        }
    }
}
