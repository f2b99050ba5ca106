//! A position is sold while its gateway rests: under the next contract the gateway says what it has sealed
//! under the one before, and the holder carries over the receipts.

use std::cell::RefCell;

use hashmix::engine::Engine;
use hashmix::flow::escrow::terms::{EscrowTerms, Tenure};
use hashmix::flow::reward;
use hashmix::gateway::foreman::Gateway;
use hashmix::gateway::plan::{Payee, Plan};
use hashmix::gateway::sealing::Signs;
use hashmix::id::CertificateDigest;
use hashmix::party::Seat;
use hashmix::rehearsal::people::Person;
use hashmix::rehearsal::stratum::Habits;
use hashmix::script::template::Variant;
use hashmix::work::agreement::Earlier;
use hashmix::work::receipt::Subject;

use crate::site::{NETWORK, START, Site, machine, mine_to, position, until, works_on};

/// The next contract of the position: another lock, paid from the third period on.
fn next(before: &EscrowTerms) -> EscrowTerms {
    let lock = reward::coins::lock(&before.reward).unwrap().script_pubkey;
    let mut next = before.clone();
    next.reward.variant = Variant::Nums;
    next.tenure = Some(Tenure {
        position: before.position().unwrap(),
        transfer: 2,
        first: 0,
        earlier: vec![Earlier { until: 2, lock }],
    });
    next.check().unwrap();
    next
}

/// A gateway at the same place that mines for, and seals, the next contract.
fn gateway(site: &Site, terms: &EscrowTerms) -> Gateway {
    let alice = Payee { name: "alice".into(), positions: vec![(0, 1)], own: None, longest: 250 };
    let plan = Plan::new(NETWORK, vec![terms.clone()], vec![alice]).unwrap();
    let relay = Some(site.dir.path().join("messages"));
    let signs = Signs { record: 0, before: Vec::new(), validators: Vec::new(), relay };
    site.gateway_of(vec![site.node()], plan, vec![Some(signs)])
}

fn receipts(engine: &Engine, digest: CertificateDigest) -> usize {
    let subject = Subject::Certificate { slice: 0, digest };
    engine.contract().evidence().receipts(&subject).len()
}

fn knows(engine: &Engine, digest: CertificateDigest) -> bool {
    engine.contract().evidence().digests().any(|(known, _)| known == digest)
}

#[test]
fn what_was_sealed_and_receipted_before_a_sale_counts_after_it() {
    let site = Site::new();
    let after = next(&site.terms);

    // Under the contract before a slice is sealed, and receipted by all three.
    let validators: Vec<_> = (0..3).map(|n| RefCell::new(site.sits(Seat::Validator(n)))).collect();
    let first = site.gateway();
    works_on(&first, START);
    mine_to(&first, &mut machine(&first, Habits::BITAXE), START + 12, 1);
    let count = || {
        validators.iter().for_each(|validator| drop(validator.borrow_mut().step().unwrap()));
        position(&first).sealed.map_or(0, |sealed| sealed.receipts)
    };
    until("three receipts", count, |receipts| *receipts == 3);
    let digest = position(&first).sealed.unwrap().digest;
    first.stop().unwrap();
    drop(validators);
    let mut holder = site.sits(Seat::Holder);
    holder.step().unwrap();
    assert_eq!((knows(&holder, digest), receipts(&holder, digest)), (true, 3));
    let evidence = holder.contract().evidence().clone();
    drop(holder);

    // No validator gives another receipt so late.
    site.mine(6);
    let second = gateway(&site, &after);
    works_on(&second, START + 19);
    let person = Person::new(Seat::Holder, site.dir.path()).unwrap();
    let holder = RefCell::new(person.sit(&after, &site.world, site.dir.path()).unwrap());
    let heard = || {
        holder.borrow_mut().step().unwrap();
        knows(&holder.borrow(), digest)
    };
    until("the certificate", heard, |heard| *heard);
    let mut holder = holder.into_inner();
    assert_eq!(receipts(&holder, digest), 0);
    // The certificate is known: one word with the receipts is left to say.
    assert_eq!(holder.carry(&evidence).unwrap(), 1);
    assert_eq!((holder.carry(&evidence).unwrap(), receipts(&holder, digest)), (0, 3));
    holder.step().unwrap();
    second.stop().unwrap();

    // And everybody else hears it.
    let person = Person::new(Seat::Validator(2), site.dir.path()).unwrap();
    let mut validator = person.sit(&after, &site.world, site.dir.path()).unwrap();
    validator.step().unwrap();
    assert_eq!((knows(&validator, digest), receipts(&validator, digest)), (true, 3));
}
