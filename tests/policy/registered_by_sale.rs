//! Does the sale of an issued position register the contract that it has made?

use bitcoin::{Amount, OutPoint, TxOut};
use hashmix::error::Result;
use hashmix::flow::escrow::coins::Locked;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::position::coins::POSTAGE;
use hashmix::flow::sale::terms::{Guard, Held, Offer, OfferBody, Resale};
use hashmix::party::Seat;
use hashmix::rehearsal::people;
use hashmix::validator::registration::Registration;
use hashmix::validator::sold::{BEFORE, CHAIN, DERIVED, SOLD, Sold};

use crate::case::{V0, V1};
use crate::examine::Bench;
use crate::market::{agreed, body, buyer, market, paying, resale, somebody};
use crate::world::{FULL, INSTALLMENT, Play, outcome};

/// What comes to a desk, the contract before as the desk knows it, and the chain.
#[derive(Clone)]
pub(crate) struct Brought {
    pub(crate) registration: Registration,
    before: Option<EscrowTerms>,
    /// Other new terms, where they are held to the contract before alone.
    instead: Option<EscrowTerms>,
    play: Play,
}

impl Bench for Brought {
    fn verdict(&self) -> Result<()> {
        self.registration.check()?;
        let (sale, facts) = (self.sale(), self.play.world.facts());
        let Some(resale) = sale.without_miner() else { return sale.check_sold(&facts) };
        let terms = self.instead.as_ref().unwrap_or(&self.registration.terms);
        Sold::check_before(resale, terms, self.before.as_ref())?;
        sale.check_chain(&Locked::new(self.play.world.terms.clone()).unwrap(), &facts)
    }
}

/// A resale that validators signed; six blocks lie on it.
fn without_miner() -> Brought {
    let mut request = resale();
    let asked = request.asked();
    request.play.act(V0);
    assert_eq!(request.play.act(V1).len(), 1);
    let tip = request.play.world.tip();
    request.play.world.mine_to(tip + 6);
    let before = Some(request.play.world.terms.clone());
    let registration = Registration::of_sale(asked.offer, asked.acceptance).unwrap();
    Brought { registration, before, instead: None, play: request.play }
}

/// The chain before anything is sold on, and an offer that the miner signs.
fn offered() -> (Play, OfferBody) {
    let play = market(FULL);
    let mut body = body(&play, outcome(0, INSTALLMENT, false));
    body.resale.as_mut().unwrap().guard = Guard::Miner;
    (play, body)
}

/// A sale that nobody has sent yet.
fn agreed_on(play: Play, body: OfferBody) -> Brought {
    let asked = agreed(body, 2);
    let registration = Registration::of_sale(asked.offer, asked.acceptance).unwrap();
    Brought { registration, before: None, instead: None, play }
}

/// A resale that the miner signed too, in a block.
pub(crate) fn sold() -> Brought {
    let (play, body) = offered();
    let mut sold = agreed_on(play, body);
    sold.send();
    sold.mine();
    sold
}

/// What the first holder sells first, in a block.
fn first_sale() -> Brought {
    let (play, mut body) = offered();
    let first = somebody(&people::name(Seat::Miner), 1);
    let record = body.terms.reward.holder.clone();
    body.seller = Held { record, number: 1, sale: None };
    (body.first, body.resale) = (4, None);
    let signature = first.sign_digest(body.id().unwrap().0).unwrap();
    let offer = Offer { offer: body.clone(), signature };
    let acceptance = agreed(body, 2).acceptance;
    let registration = Registration::of_sale(offer, acceptance).unwrap();
    let mut sold = Brought { registration, before: None, instead: None, play };
    sold.send();
    sold.mine();
    sold
}

impl Brought {
    fn sale(&self) -> &Sold {
        self.registration.sale.as_ref().unwrap()
    }

    /// The exchange is with the network. Its txid is the same whoever signed it, and with whatever.
    fn send(&mut self) {
        let exchange = self.sale().bargain().unwrap().exchange;
        self.play.world.send(exchange.psbt().unwrap().unsigned_tx);
    }

    fn mine(&mut self) {
        let tip = self.play.world.tip();
        self.play.world.mine_to(tip + 1);
    }

    /// The same terms with a sale that was agreed on otherwise.
    fn of(&mut self, change: impl FnOnce(&mut OfferBody)) {
        let mut body = self.sale().offer.offer.clone();
        change(&mut body);
        let asked = agreed(body, 2);
        let (offer, acceptance) = (asked.offer, asked.acceptance);
        self.registration.sale = Some(Box::new(Sold { offer, acceptance }));
    }

    /// Another resale, sent and mined: the transaction is what it says, on outputs that are not.
    fn lies(&mut self, change: impl FnOnce(&mut Play, &mut Resale)) {
        let (mut play, mut body) = offered();
        change(&mut play, body.resale.as_mut().unwrap());
        *self = agreed_on(play, body);
        self.send();
        self.mine();
    }
}

/// A coin of the seller's own, in a block.
fn own_coin(play: &mut Play) -> OutPoint {
    let value = play.world.coin().value;
    let coin = paying(vec![TxOut { value, script_pubkey: buyer().address().script_pubkey() }], 9);
    let outpoint = OutPoint::new(coin.compute_txid(), 0);
    play.world.send(coin);
    play.world.mine_to(play.world.tip() + 1);
    outpoint
}

examine! {
    derived: DERIVED, "refused (sender)", without_miner {
        accepts {
            what_offer_and_acceptance_make => |_| {},
            what_a_first_sale_makes => |b| *b = first_sale(),
        }
        refuses {
            a_satoshi_more => |b| b.registration.terms.price += Amount::ONE_SAT,
            a_lock_that_changes_later => |b| {
                b.registration.terms.tenure.as_mut().unwrap().earlier[0].until += 1;
            },
            another_sale => |b| b.of(|body| body.resale.as_mut().unwrap().switch = 5),
        }
    }
    before: BEFORE, "refused (sender)", without_miner {
        accepts {
            the_contract_that_was_sold => |_| {},
            none_where_the_miner_has_signed => |b| *b = sold(),
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
    chain: CHAIN, "unavailable", without_miner {
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
    sold: SOLD, "unavailable", sold {
        accepts {
            a_resale_in_the_last_block => |_| {},
            a_first_sale_in_the_last_block => |b| *b = first_sale(),
        }
        refuses {
            in_no_block_yet => |b| {
                let tip = b.play.world.tip();
                b.play.world.rewind_to(tip - 1);
            },
            never_sent => |b| b.play = offered().0,
            another_sale_of_the_same_seal => |b| b.of(|body| body.price += Amount::ONE_SAT),
            a_coin_of_the_sellers_in_place_of_the_escrow by "refused (sender)" => |b| {
                b.lies(|play, resale| resale.escrow = own_coin(play));
            },
            another_amount_than_the_escrow_holds by "refused (sender)" => |b| {
                b.lies(|_, resale| resale.value -= POSTAGE);
            },
        }
    }
}
