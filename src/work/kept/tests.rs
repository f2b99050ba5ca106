//! Rows of finds: what comes back, how long they are, and that nothing else is read.

use proptest::prelude::*;

use super::*;
use crate::work::samples::{payouts, template, terms};

fn job(length: u8) -> ExtendedJob {
    let template = template(BlockHash::from_byte_array([3; 32]), 20, 1_700_000_000);
    ExtendedJob::new(&template, length, &payouts(&terms(), template.reward)).unwrap()
}

#[test]
fn a_job_survives_its_bytes_and_is_named_by_them() {
    for length in [0, 12, 32] {
        let bytes = job_to_bytes(&job(length));
        assert_eq!(job_from_bytes(&bytes), Some(job(length)));
        for end in 0..bytes.len() {
            assert_ne!(job_from_bytes(&bytes[..end]), Some(job(length)));
        }
        assert_eq!(job_from_bytes(&[&bytes[..], &[0]].concat()), None);
    }
    assert_ne!(job_digest(&job_to_bytes(&job(4))), job_digest(&job_to_bytes(&job(5))));
}

/// A find as a machine makes it: 12 random bytes, 16 random bits of version, two hours.
fn any_find(jobs: u32) -> impl Strategy<Value = KeptFind> {
    let chosen = (any::<[u8; 12]>(), 0i32..0x1_0000, 0u32..7_200, any::<u32>());
    (0..jobs, chosen).prop_map(|(job, (bytes, version, time, nonce))| KeptFind {
        job: 3_000_000_000 + job,
        find: Find {
            extranonce: Extranonce::new(&[], &bytes).unwrap(),
            version: 0x2000_0000 | version << 13,
            time: 1_700_000_000 + time,
            nonce,
        },
    })
}

prop_compose! {
    fn strange_find()(
        job in any::<u32>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..33),
        version in any::<i32>(),
        time in any::<u32>(),
        nonce in any::<u32>(),
    ) -> KeptFind {
        let extranonce = Extranonce::new(&bytes, &[]).unwrap();
        KeptFind { job, find: Find { extranonce, version, time, nonce } }
    }
}

proptest! {
    #[test]
    fn thirty_finds_of_as_many_jobs_take_at_most_22_bytes_each(
        finds in proptest::collection::btree_set(any_find(240), 30),
    ) {
        let row = finds_to_bytes(&finds);
        prop_assert!(row.len() <= 22 * finds.len(), "{}", row.len());
        prop_assert_eq!(finds_from_bytes(&row), Some(finds));
    }

    #[test]
    fn whatever_finds_come_back_as_they_were(
        finds in proptest::collection::btree_set(strange_find(), 0..20),
        place in any::<prop::sample::Index>(),
        change in 1u8..,
    ) {
        let row = finds_to_bytes(&finds);
        prop_assert_eq!(finds_from_bytes(&row), Some(finds));
        for end in 0..row.len() {
            prop_assert_eq!(finds_from_bytes(&row[..end]), None);
        }
        let mut other = row;
        let place = place.index(other.len());
        other[place] ^= change;
        if let Some(read) = finds_from_bytes(&other) {
            prop_assert_eq!(finds_to_bytes(&read), other);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = job_from_bytes(&bytes);
        if let Some(read) = finds_from_bytes(&bytes) {
            prop_assert_eq!(finds_to_bytes(&read), bytes);
        }
    }
}
