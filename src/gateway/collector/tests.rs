//! The collector on a small chain: what is kept, sealed, left out, and found again.

use bitcoin::block::Version;
use bitcoin::{Network, TxOut};

use super::*;
use crate::gateway::job::Claim;
use crate::work::agreement::Profile;
use crate::work::extended_job::Extranonce;
use crate::work::farm::{Farm, Rest, Stake};
use crate::work::samples::{GENESIS_TIME, chain, mine, payouts, run, script, template, terms};
use crate::work::share::hash_target;

/// The last height that both chains of a reorg have.
const FORK: u32 = 20;
const TIP: u32 = 60;

fn held() -> Vec<Held> {
    let other = WorkTerms { lock: script(11), service: script(12), ..terms() };
    vec![
        Held { position: PositionId([7; 32]), terms: terms() },
        Held { position: PositionId([8; 32]), terms: other.check(Profile::Regtest).unwrap() },
    ]
}

fn collector(store: Store) -> Collector {
    Collector::open(store, held()).unwrap()
}

/// The job of the block at `height`, for the first position alone.
fn solo(headers: &Headers, height: u32) -> Arc<Job> {
    job(headers, height, 1, |reward| payouts(&terms(), reward), &[1])
}

/// The job of the block at `height`, half of which pays each position.
fn shared(headers: &Headers, height: u32) -> Arc<Job> {
    let stake = |held: Held| Stake {
        lock: held.terms.lock,
        service: held.terms.service,
        service_ppm: held.terms.service_ppm,
        weight: 1,
    };
    let farm = Farm::new(held().into_iter().map(stake).collect(), Rest::Stake(0)).unwrap();
    job(headers, height, 2, |reward| farm.payouts(reward).unwrap(), &[2, 2])
}

/// A job that pays a part (one in so many) to each of the first positions.
fn job(
    headers: &Headers,
    height: u32,
    payee: usize,
    pay: impl Fn(bitcoin::Amount) -> Vec<TxOut>,
    parts: &[u64],
) -> Arc<Job> {
    let template =
        template(headers.hash(height - 1).unwrap(), height, headers.header(height).unwrap().time);
    let work = ExtendedJob::new(&template, 12, &pay(template.reward)).unwrap();
    let slice = terms().calendar().slice_of(height).unwrap();
    let claim = |(position, part): (usize, &u64)| {
        let target = hash_target(terms().target, template.reward / *part, template.reward);
        Claim { position, slice, target }
    };
    let claims = parts.iter().enumerate().map(claim).collect();
    // Unique for height and payee, as the gateway's numbers are; the chain is part of the parent.
    let id = u64::from_le_bytes(template.parent.as_byte_array()[..8].try_into().unwrap());
    let id = id.wrapping_add(payee as u64);
    Arc::new(Job { id, payee, work, template: Arc::new(template), earliest: 0, claims })
}

/// The first `count` finds of a job that are shares of the position at `place`.
fn finds(job: &Job, place: usize, count: usize) -> Vec<(Find, BlockHash)> {
    let claim = job.claims.iter().find(|claim| claim.position == place).unwrap();
    let all = (0u32..).map(|nonce| Find {
        extranonce: Extranonce::new(&[1, 2, 3, 4], &u64::from(nonce % 3).to_le_bytes()).unwrap(),
        version: Version::from_consensus(0x2000_0000 | (nonce as i32 % 5) << 13).to_consensus(),
        time: job.template.time + nonce % 7,
        nonce,
    });
    all.map(|find| (find, job.work.share(&find).unwrap().hash()))
        .filter(|(_, hash)| claim.target.is_met_by(*hash))
        .take(count)
        .collect()
}

fn keep(collector: &mut Collector, job: &Arc<Job>, finds: &[(Find, BlockHash)]) -> usize {
    finds.iter().map(|(find, hash)| collector.keep(job, find, *hash)).sum()
}

fn seal(collector: &mut Collector, position: usize, slice: u32, headers: &Headers) -> Sealing {
    collector.seal(position, slice, headers).unwrap().unwrap()
}

#[test]
fn a_find_is_kept_for_each_position_that_it_is_a_share_of_and_once() {
    let headers = chain(TIP);
    let mut collector = collector(Store::open_in_memory().unwrap());
    let job = shared(&headers, 19);
    let found = finds(&job, 0, 5);
    assert_eq!(keep(&mut collector, &job, &found), 10);
    assert_eq!(keep(&mut collector, &job, &found), 0);
    // Above the target, it is nobody's.
    let mut high = found[0].1.to_byte_array();
    high[31] = 0xff;
    assert_eq!(collector.keep(&job, &found[0].0, BlockHash::from_byte_array(high)), 0);
    let both = [0, 1].map(|position| OpenSlice {
        position,
        slice: 2,
        shares: 5,
        dropped: 0,
        late: 0,
        certificates: 0,
    });
    assert_eq!(collector.open_slices(), both);
    // Claims of positions and slices that nobody holds are passed over.
    let mut strange = (*job).clone();
    strange.claims[0].position = 2;
    strange.claims[1].slice = 12;
    let found = finds(&job, 0, 6);
    assert_eq!(keep(&mut collector, &Arc::new(strange), &found[5..]), 0);
}

#[test]
fn no_more_is_kept_than_the_terms_allow_and_the_rest_is_counted() {
    let headers = chain(22);
    let mut collector = collector(Store::open_in_memory().unwrap());
    let job = solo(&headers, 19);
    let found = finds(&job, 0, 70);
    assert_eq!(keep(&mut collector, &job, &found), 64);
    let open = collector.open_slices()[0];
    assert_eq!((open.shares, open.dropped), (64, 6));
    // What was dropped and comes again was counted.
    assert_eq!(keep(&mut collector, &job, &found), 0);
    assert_eq!(collector.open_slices()[0].dropped, 6);
    let sealed = seal(&mut collector, 0, 2, &headers);
    assert_eq!(sealed.certificate.check(&terms(), &headers).unwrap().len(), 64);
    // All certificates of the slice together list no more.
    assert_eq!(keep(&mut collector, &job, &finds(&job, 0, 72)), 0);
    let open = collector.open_slices()[0];
    assert_eq!((open.shares, open.dropped, open.late), (0, 8, 2));
}

#[test]
fn a_flush_writes_what_is_new_and_nothing_again() {
    let headers = chain(TIP);
    let mut collector = collector(Store::open_in_memory().unwrap());
    let job = solo(&headers, 19);
    let found = finds(&job, 0, 30);
    let mut lengths = Vec::new();
    for part in found.chunks(10) {
        keep(&mut collector, &job, part);
        collector.flush().unwrap();
        lengths
            .push(collector.store.finds(&[7; 32]).unwrap().iter().map(|r| r.finds.len()).collect());
    }
    let rows: &Vec<usize> = &lengths[2];
    assert_eq!((rows.len(), &rows[..1], &rows[..2]), (3, &lengths[0][..], &lengths[1][..]));
    // Sealed, they are gone; what is left over lies in one row.
    seal(&mut collector, 0, 2, &headers);
    let row = collector.store.finds(&[7; 32]).unwrap().remove(0);
    assert_eq!((row.slice, row.finds), (2, vec![]));
}

#[test]
fn what_was_flushed_is_there_again_and_what_was_not_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let headers = chain(TIP);
    let mut first = collector(Store::open(&path).unwrap());
    let (one, other) = (shared(&headers, 19), solo(&headers, 20));
    keep(&mut first, &one, &finds(&one, 0, 4));
    assert_eq!(first.flush().unwrap(), 2);
    assert_eq!(first.flush().unwrap(), 0);
    let found = finds(&other, 0, 7);
    keep(&mut first, &other, &found[..5]);
    assert_eq!(first.flush().unwrap(), 1);
    let before = first.open_slices();
    keep(&mut first, &other, &found[5..]);
    drop(first);
    let mut second = collector(Store::open(&path).unwrap());
    assert_eq!(second.open_slices(), before);
    // It goes on where it stopped: what it knows is not kept again.
    assert_eq!(keep(&mut second, &other, &found), 2);
    assert_eq!(second.flush().unwrap(), 1);
    let sealed = seal(&mut second, 0, 2, &headers);
    assert_eq!(sealed.certificate.check(&terms(), &headers).unwrap().len(), 11);
}

#[test]
fn a_job_is_stored_once_for_all_positions_and_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let headers = chain(TIP);
    let job = shared(&headers, 19);
    for round in 0..3 {
        let mut collector = collector(Store::open(&path).unwrap());
        keep(&mut collector, &job, &finds(&job, 0, 2 + round));
        collector.flush().unwrap();
    }
    let store = Store::open(&path).unwrap();
    assert!(store.job(1).unwrap().is_some());
    assert_eq!(store.job(2).unwrap(), None);
}

#[test]
fn a_sealed_certificate_is_what_validators_check_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let headers = chain(22);
    let mut before = collector(Store::open(&path).unwrap());
    let job = shared(&headers, 19);
    let found = finds(&job, 0, 9);
    keep(&mut before, &job, &found[..6]);
    for (position, held) in held().iter().enumerate() {
        let Sealing { certificate, number, left_out } = seal(&mut before, position, 2, &headers);
        assert_eq!((certificate.position, certificate.slice, number), (held.position, 2, 0));
        assert_eq!(certificate.check(&held.terms, &headers).unwrap().len(), 6);
        assert!(left_out.is_empty());
        assert_eq!(before.certificates(position, 2).unwrap(), [certificate]);
        assert_eq!(before.seal(position, 2, &headers).unwrap(), None);
    }
    let sealed = before.sealed().unwrap();
    assert_eq!(
        sealed.iter().map(|s| (s.position, s.slice, s.number)).collect::<Vec<_>>(),
        [(0, 2, 0), (1, 2, 0)]
    );
    // Both positions list the same shares, so one file holds both.
    let both: Vec<_> = (0..2).flat_map(|p| before.certificates(p, 2).unwrap()).collect();
    Certificate::several_to_bytes(&both).unwrap();
    // What comes now is late, and kept; what is listed and comes again is neither.
    assert_eq!(keep(&mut before, &job, &found), 6);
    let open = before.open_slices()[0];
    assert_eq!((open.shares, open.late), (3, 3));
    before.flush().unwrap();
    drop(before);
    let mut after = collector(Store::open(&path).unwrap());
    assert_eq!(after.sealed().unwrap(), sealed);
    assert_eq!(after.certificates(0, 2).unwrap(), both[..1]);
    assert_eq!(after.open_slices()[0], open);
    assert_eq!(keep(&mut after, &job, &found), 0);
    assert_eq!(after.open_slices()[0], open);
    // Late ones go into a second certificate, as long as receipts count for it.
    let until = terms().calendar().receipts_until(2).unwrap();
    assert_eq!(after.left_out(until), [(0, 2), (1, 2)]);
    assert!(after.left_out(until + 1).is_empty());
    let second = seal(&mut after, 0, 2, &headers);
    assert_eq!((second.number, second.certificate.shares.len()), (1, 3));
    let united = Certificate::unite(&after.certificates(0, 2).unwrap()).unwrap();
    assert_eq!(united.check(&terms(), &headers).unwrap().len(), 9);
}

#[test]
fn what_comes_while_a_draft_is_weighed_stays() {
    let headers = chain(TIP);
    let mut collector = collector(Store::open_in_memory().unwrap());
    let job = solo(&headers, 19);
    let found = finds(&job, 0, 5);
    keep(&mut collector, &job, &found[..3]);
    let (one, two) = (collector.draft(0, 2).unwrap(), collector.draft(0, 2).unwrap());
    keep(&mut collector, &job, &found[3..]);
    let weighed = one.weigh(&headers).unwrap().unwrap();
    let sealing = collector.freeze(weighed).unwrap().unwrap();
    assert_eq!(sealing.certificate.shares.len(), 3);
    assert_eq!(collector.open_slices()[0].shares, 2);
    // The other draft is of the same number: it comes too late.
    let weighed = two.weigh(&headers).unwrap().unwrap();
    assert_eq!(collector.freeze(weighed).unwrap(), None);
    assert_eq!(seal(&mut collector, 0, 2, &headers).certificate.shares.len(), 2);
    assert!(collector.draft(0, 2).is_none());
}

#[test]
fn a_slice_in_which_nothing_counts_is_due_until_its_receipts_are() {
    let headers = chain(TIP);
    let mut collector = collector(Store::open_in_memory().unwrap());
    let mut job = (*solo(&headers, 19)).clone();
    // On a block that nobody has.
    job.work.parent = BlockHash::from_byte_array([9; 32]);
    let job = Arc::new(job);
    keep(&mut collector, &job, &finds(&job, 0, 2));
    assert_eq!(collector.seal(0, 2, &headers).unwrap(), None);
    let until = terms().calendar().receipts_until(2).unwrap();
    assert_eq!(collector.due(until, 0), [(0, 2)]);
    assert!(collector.due(until + 1, 0).is_empty());
}

#[test]
fn a_slice_is_due_when_its_end_is_deep_enough() {
    let headers = chain(TIP);
    let mut collector = collector(Store::open_in_memory().unwrap());
    // Slice 2 ends at height 20, slice 3 at 22.
    for height in [19, 21] {
        let job = solo(&headers, height);
        keep(&mut collector, &job, &finds(&job, 0, 2));
    }
    assert!(collector.due(21, 2).is_empty());
    assert_eq!(collector.due(22, 2), [(0, 2)]);
    assert_eq!(collector.due(23, 1), [(0, 2), (0, 3)]);
    assert_eq!(collector.due(22, 0), [(0, 2), (0, 3)]);
    seal(&mut collector, 0, 2, &headers);
    assert_eq!(collector.due(24, 2), [(0, 3)]);
    assert!(collector.left_out(24).is_empty());
}

#[test]
fn shares_that_a_reorg_took_are_left_out_and_sealed_when_it_is_taken_back() {
    let headers = chain(TIP);
    let mut headers_run = run(FORK, 600);
    for height in FORK + 1..=TIP {
        let parent = headers_run.last().unwrap().block_hash();
        headers_run.push(mine(parent, GENESIS_TIME + height * 600, 9));
    }
    let other = Headers::new(Network::Regtest, 0, headers_run).unwrap();
    let mut collector = collector(Store::open_in_memory().unwrap());
    // Slice 3 has the heights 21 and 22: the first on the fork, the second on a block of each chain.
    let jobs = [solo(&headers, 21), solo(&headers, 22), solo(&other, 22)];
    for (job, count) in jobs.iter().zip([2, 3, 4]) {
        keep(&mut collector, job, &finds(job, 0, count));
    }
    let first = seal(&mut collector, 0, 3, &headers);
    assert_eq!(first.certificate.check(&terms(), &headers).unwrap().len(), 5);
    assert_eq!(first.left_out, [("work-share-parent", 4)].into());
    assert_eq!(collector.left_out(FORK + 4), [(0, 3)]);
    assert_eq!(collector.seal(0, 3, &headers).unwrap(), None);
    // The chain changes: what was left out counts now, and the first certificate stays as it was.
    let second = seal(&mut collector, 0, 3, &other);
    assert_eq!((second.number, second.certificate.shares.len()), (1, 4));
    second.certificate.check(&terms(), &other).unwrap();
    assert!(collector.left_out(FORK + 4).is_empty());
    let both = collector.certificates(0, 3).unwrap();
    assert_eq!(both, [first.certificate, second.certificate]);
    let united = Certificate::unite(&both).unwrap();
    let counts = |chain| united.weigh(&terms(), chain).iter().filter(|w| w.is_ok()).count();
    assert_eq!((counts(&headers), counts(&other)), (5, 6));
}

#[test]
fn nothing_is_sealed_while_headers_are_missing() {
    let headers = chain(TIP);
    let mut collector = collector(Store::open_in_memory().unwrap());
    let job = solo(&headers, 20);
    keep(&mut collector, &job, &finds(&job, 0, 3));
    let missing = collector.seal(0, 2, &chain(19)).unwrap_err();
    assert_eq!((missing.rule(), missing.exit_code()), ("headers-known", 5));
    assert!(collector.sealed().unwrap().is_empty());
    assert_eq!(seal(&mut collector, 0, 2, &chain(20)).certificate.shares.len(), 3);
    // Nothing was found for these.
    assert_eq!(collector.seal(0, 1, &headers).unwrap(), None);
    assert_eq!(collector.seal(5, 2, &headers).unwrap(), None);
}

#[test]
fn two_gateways_of_one_position_unite_their_certificates() {
    let headers = chain(TIP);
    let job = solo(&headers, 20);
    let found = finds(&job, 0, 8);
    let sealed = |part: &[(Find, BlockHash)]| {
        let mut one = collector(Store::open_in_memory().unwrap());
        keep(&mut one, &job, part);
        seal(&mut one, 0, 2, &headers).certificate
    };
    let united = Certificate::unite(&[sealed(&found[..6]), sealed(&found[4..])]).unwrap();
    assert_eq!(united, sealed(&found));
    assert_eq!(united.check(&terms(), &headers).unwrap().len(), 8);
}

#[test]
fn a_position_that_is_named_twice_is_refused() {
    let twice = [held(), held()].concat();
    let refused = Collector::open(Store::open_in_memory().unwrap(), twice).unwrap_err();
    assert_eq!((refused.rule(), refused.exit_code()), ("gateway-position-twice", 2));
    for held in [vec![], held()] {
        Collector::open(Store::open_in_memory().unwrap(), held).unwrap();
    }
}

#[test]
fn a_damaged_row_is_refused_by_name() {
    let row = |finds: &[u8]| FindsRow {
        position: [7; 32],
        slice: 2,
        dropped: 0,
        late: 0,
        finds: finds.to_vec(),
    };
    let unknown = KeptFind {
        job: 9,
        find: Find {
            extranonce: Extranonce::new(&[], &[]).unwrap(),
            version: 1,
            time: 1,
            nonce: 1,
        },
    };
    for bad in [vec![9], vec![1, 2, 3], finds_to_bytes(&[unknown].into())] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        Store::open(&path).unwrap().keep_finds(&[], |_| vec![row(&bad)]).unwrap();
        let refused = Collector::open(Store::open(&path).unwrap(), held()).unwrap_err();
        assert_eq!((refused.rule(), refused.exit_code()), ("store-damaged", 7));
        assert!(refused.fault().place.contains("slice 2"), "{refused}");
    }
}

#[test]
fn jobs_that_no_kept_share_is_of_are_let_go() {
    let headers = chain(TIP);
    let mut collector = collector(Store::open_in_memory().unwrap());
    for height in 15..39 {
        let job = shared(&headers, height);
        keep(&mut collector, &job, &finds(&job, 0, 2));
    }
    assert_eq!(collector.jobs.known.len(), 24);
    for open in collector.open_slices() {
        seal(&mut collector, open.position, open.slice, &headers);
    }
    assert!(collector.jobs.known.is_empty() && collector.jobs.running.is_empty());
    assert_eq!(collector.certificates(1, 4).unwrap()[0].shares.len(), 4);
    assert!(collector.jobs.known.is_empty() && collector.jobs.stored.is_empty());
}
