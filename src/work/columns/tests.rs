//! Certificates in columns: what comes back, how long it is, and that nothing else is read.

use bitcoin::hashes::Hash;
use bitcoin::{Amount, TxOut};
use proptest::prelude::*;

use super::*;
use crate::work::certificate::FORMAT;
use crate::work::extended_job::{ExtendedJob, Extranonce, Find};
use crate::work::samples::{POSITION, certificate, chain, payouts, script, template, terms};

const GOLDEN_JSON: &str = include_str!("../../../fixtures/work/certificate.json");
const GOLDEN: &str = include_str!("../../../fixtures/work/certificate.columns.hex");
const GOLDEN_FARM: &str = include_str!("../../../fixtures/work/farm.columns.hex");
/// Computed from the file by a second implementation (see `fixtures/README.md`).
const GOLDEN_DIGESTS: [&str; 2] = [
    "3436a5746cbed0c69f394fd480024dbedee734898606aa62274501286aa89a0d",
    "9da63c9c8fc62ff020f27807fa82b226ef085eb314bb36c2dd6be4753a0dbc7f",
];

fn unhex(text: &str) -> Vec<u8> {
    bitcoin::hex::FromHex::from_hex(text.trim()).unwrap()
}

fn refused(bytes: &[u8]) -> &'static str {
    let error = Certificate::several_from_bytes(bytes).unwrap_err();
    println!("{error}");
    error.rule()
}

/// A share whose row holds nothing but its nonce.
fn plain() -> Share {
    let mut share = many(1, 1).shares.remove(0);
    share.header.version = Version::from_consensus(0x2000_0000);
    share
}

/// A job on some block that pays the terms' lock, with room for 12 bytes.
fn job(parent: u8, reward: u64) -> ExtendedJob {
    let mut template = template(BlockHash::from_byte_array([parent; 32]), 20, 1_700_000_000);
    template.reward = Amount::from_sat(reward);
    ExtendedJob::new(&template, 12, &payouts(&terms(), template.reward)).unwrap()
}

/// Finds of a job as a machine makes them, by what `seed` says.
fn find(seed: u64) -> Find {
    let mixed = hash::double(&seed.to_le_bytes());
    let number = |at: usize| u32::from_le_bytes(mixed[at..at + 4].try_into().unwrap());
    Find {
        extranonce: Extranonce::new(&[1, 2, 3, mixed[0] & 7], &mixed[4..12]).unwrap(),
        version: 0x2000_0000 | (number(12) & 0x1fff_e000).cast_signed(),
        time: 1_700_000_000 + number(16) % 120,
        nonce: number(20),
    }
}

/// As many shares of as many jobs; whether they are low enough is not asked here.
fn many(jobs: u32, each: u32) -> Certificate {
    let shares = (0..jobs).flat_map(|number| {
        let job = job((number / 4) as u8, 5_000_000_000 + u64::from(number));
        (0..each).map(move |i| job.share(&find(u64::from(number * 100_000 + i))).unwrap())
    });
    Certificate::new(POSITION, 3, shares).unwrap()
}

#[test]
fn a_certificate_comes_back_with_its_digest() {
    let (terms, headers) = (terms(), chain(45));
    for count in [0, 1, 5, 64] {
        let whole = certificate(&terms, &headers, 3, count);
        let read = Certificate::from_bytes(&whole.to_bytes()).unwrap();
        assert_eq!(read, whole);
        assert_eq!(read.digest(), whole.digest());
    }
}

#[test]
fn a_share_of_a_known_template_takes_at_most_24_bytes() {
    for (jobs, each) in [(1, 400), (12, 100), (300, 40)] {
        let whole = many(jobs, each);
        let rows = whole.to_bytes().len() - many(jobs, 1).to_bytes().len();
        let more = (jobs * (each - 1)) as usize;
        assert!(rows <= 24 * more, "{jobs} jobs: {rows} bytes for {more} shares");
        assert_eq!(Certificate::from_bytes(&whole.to_bytes()).unwrap(), whole);
    }
}

#[test]
fn the_table_and_all_of_400_shares_take_at_most_24_bytes_a_share() {
    let whole = many(1, 400);
    let length = whole.to_bytes().len();
    assert!(length <= 24 * 400, "{length}");
}

#[test]
fn parts_of_jobs_that_are_the_same_as_in_the_job_before_are_written_once() {
    // Four jobs on a block differ in the reward alone.
    let one = many(1, 2).to_bytes().len();
    let four = many(4, 2).to_bytes().len();
    let more = four - one;
    // Two amounts and a commitment stand in 130 bytes; neither parent, outputs nor branch.
    assert!(more < 2 * 3 * 24 + 3 * 100, "{more}");
}

#[test]
fn a_slice_of_thirty_shares_over_thirty_templates_takes_a_branch_a_share_and_little_more() {
    let shares = (0..30u8).map(|number| {
        let mut job = job(number / 3, 5_000_000_000 + u64::from(number) * 7_919);
        let node = |level: u8| hash::double(&[number, level]);
        job.branch = (0..12).map(|l| TxMerkleNode::from_byte_array(node(l))).collect();
        job.share(&find(u64::from(number))).unwrap()
    });
    let whole = Certificate::new(POSITION, 3, shares).unwrap();
    let bytes = whole.to_bytes();
    assert_eq!(Certificate::from_bytes(&bytes).unwrap(), whole);
    let beside = bytes.len() / 30 - 12 * 32;
    assert!(beside < 130, "{beside} bytes a share beside its branch");
}

#[test]
fn jobs_that_repeat_a_long_coinbase_are_refused_before_they_unfold() {
    let mut share = plain();
    share.coinbase.resize(60_000, 0);
    let root = hash::fold(hash::double(&share.coinbase), &share.branch).unwrap();
    share.header.merkle_root = TxMerkleNode::from_byte_array(root);
    let one = Certificate::new(POSITION, 3, [share.clone()]).unwrap();
    let (entries, _) = jobs(&one.shares, &[false]);
    let (mut first, mut again) = (Vec::new(), Vec::new());
    entries[0].write(None, &mut first);
    entries[0].write(Some(&entries[0]), &mut again);
    let bytes = one.to_bytes();
    let mut many = bytes[..42].to_vec();
    compact(&mut many, 2_000);
    many.extend(first);
    (1..2_000).for_each(|_| many.extend(&again));
    many.extend(&bytes[bytes.len() - 8..]);
    assert!(many.len() < 200_000, "{}", many.len());
    assert_eq!(refused(&many), "work-columns-size");
}

#[test]
fn shares_that_nobody_knows_the_job_of_come_back_too() {
    let (terms, headers) = (terms(), chain(45));
    let mut whole = certificate(&terms, &headers, 3, 12);
    // Not tied, not parsed, too different, of no length, with a twin in the branch.
    whole.shares[0].header.merkle_root = TxMerkleNode::from_byte_array([9; 32]);
    whole.shares[1].coinbase = vec![7; 90];
    whole.shares[2].coinbase.clear();
    whole.shares[3].coinbase[42 + 7] ^= 1;
    whole.shares[4].branch.clear();
    let leaf = TxMerkleNode::from_byte_array(hash::double(&whole.shares[5].coinbase));
    whole.shares[5].branch = vec![leaf];
    whole.shares[6].coinbase[0] ^= 1;
    whole.shares[6].coinbase[100] ^= 1;
    let whole = Certificate::new(POSITION, 3, whole.shares).unwrap();
    assert_eq!(Certificate::from_bytes(&whole.to_bytes()).unwrap(), whole);
}

#[test]
fn coinbases_that_differ_in_more_than_an_extra_nonce_are_jobs_of_their_own() {
    let mut coinbase = many(1, 1).shares.remove(0).coinbase;
    coinbase[41] = 60;
    coinbase.splice(42..42 + 15, [0; 60]);
    let share = |first: u8, last: u8| {
        let mut share = many(1, 1).shares.remove(0);
        share.coinbase = coinbase.clone();
        (share.coinbase[44], share.coinbase[80]) = (first, last);
        let root = hash::fold(hash::double(&share.coinbase), &share.branch).unwrap();
        share.header.merkle_root = TxMerkleNode::from_byte_array(root);
        share
    };
    let shares = [share(1, 1), share(2, 2), share(3, 3)];
    let far = Certificate::new(POSITION, 3, shares).unwrap();
    let (entries, _) = jobs(&far.shares, &[false; 3]);
    assert_eq!(entries.iter().map(|entry| entry.room).collect::<Vec<_>>(), [0, 0, 0]);
    assert_eq!(Certificate::from_bytes(&far.to_bytes()).unwrap(), far);
}

#[test]
fn a_file_of_several_positions_gives_each_its_certificate_and_digest() {
    let one = many(2, 3);
    let other = Certificate { position: PositionId([8; 32]), slice: 9, ..one.clone() };
    let third = Certificate { slice: 4, ..one.clone() };
    let all = [one.clone(), third, other.clone()];
    let bytes = Certificate::several_to_bytes(&[other, all[0].clone(), all[1].clone()]).unwrap();
    assert_eq!(Certificate::several_from_bytes(&bytes).unwrap(), all);
    assert_eq!(bytes.len(), one.to_bytes().len() + 2 * 36);
    assert_eq!(Certificate::from_bytes(&bytes).unwrap_err().rule(), "work-columns-same");
    let digests: Vec<_> = all.iter().map(Certificate::digest).collect();
    assert!(digests[0] != digests[1] && digests[1] != digests[2]);
}

#[test]
fn certificates_with_other_shares_do_not_share_a_file() {
    let one = many(2, 3);
    let shorter = Certificate {
        position: PositionId([8; 32]),
        shares: one.shares[1..].to_vec(),
        ..one.clone()
    };
    for several in [vec![], vec![one.clone(), one.clone()], vec![one, shorter]] {
        let refused = Certificate::several_to_bytes(&several).unwrap_err();
        assert_eq!(refused.rule(), "work-columns-same");
    }
}

#[test]
fn a_file_is_read_in_either_form() {
    let one = many(2, 3);
    assert_eq!(Certificate::read(&one.to_bytes()).unwrap(), one);
    assert_eq!(Certificate::read(one.to_json().as_bytes()).unwrap(), one);
    for bad in [&b""[..], b"HMX", b"\xff\xfe", b"{}"] {
        assert_eq!(Certificate::read(bad).unwrap_err().rule(), FORMAT.id);
    }
    assert_eq!(Certificate::read(b"HMXC").unwrap_err().rule(), "work-columns-form");
}

#[test]
fn the_pinned_files_are_read_and_written_so_for_ever() {
    let certificate = Certificate::from_json(GOLDEN_JSON).unwrap();
    assert_eq!(certificate.to_bytes(), unhex(GOLDEN));
    assert_eq!(Certificate::from_bytes(&unhex(GOLDEN)).unwrap(), certificate);
    let farm = Certificate::several_from_bytes(&unhex(GOLDEN_FARM)).unwrap();
    assert_eq!(farm[0].position, PositionId([7; 32]));
    assert_eq!((farm[0].slice, farm[1].slice, farm[0].shares.len()), (3, 5, 6));
    assert_eq!(Certificate::several_to_bytes(&farm).unwrap(), unhex(GOLDEN_FARM));
    let digests: Vec<_> = farm.iter().map(|one| one.digest().to_string()).collect();
    assert_eq!(digests, GOLDEN_DIGESTS);
}

#[test]
fn a_list_out_of_order_or_with_a_share_twice_is_refused() {
    let mut wrong = many(2, 3);
    wrong.shares.swap(1, 2);
    assert_eq!(refused(&wrong.to_bytes()), "work-certificate-order");
    wrong.shares[2] = wrong.shares[1].clone();
    wrong
        .shares
        .sort_by_key(|share| Certificate::new(POSITION, 0, [share.clone()]).unwrap().digest());
    assert!(["work-share-twice", "work-certificate-order"].contains(&refused(&wrong.to_bytes())));
}

#[test]
fn every_cut_and_every_byte_more_is_refused() {
    for bytes in [unhex(GOLDEN), unhex(GOLDEN_FARM), many(3, 4).to_bytes()] {
        for end in 0..bytes.len() {
            let rule = refused(&bytes[..end]);
            assert!(
                ["work-columns-form", "work-columns-canonical"].contains(&rule),
                "{end} {rule}"
            );
        }
        assert_eq!(refused(&[bytes, vec![0]].concat()), "work-columns-form");
    }
}

/// One file in which every part is changed by hand: whatever is read is written again the same.
#[test]
fn no_changed_byte_makes_another_file_of_the_same_shares() {
    for bytes in [unhex(GOLDEN), unhex(GOLDEN_FARM)] {
        let shares = Certificate::several_from_bytes(&bytes).unwrap();
        for place in 0..bytes.len() {
            for change in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                let mut other = bytes.clone();
                other[place] ^= change;
                if let Ok(read) = Certificate::several_from_bytes(&other) {
                    assert_ne!(read, shares, "byte {place}");
                    assert_eq!(Certificate::several_to_bytes(&read).unwrap(), other);
                }
            }
        }
    }
}

#[test]
fn another_way_of_writing_the_same_shares_is_refused() {
    // Two jobs of one block, the second of which leaves out its parent; written out, it is refused.
    let whole = many(2, 2);
    let bytes = whole.to_bytes();
    let first = 4 + 1 + 1 + 36 + 1;
    assert_eq!(bytes[first], 0);
    let entry = {
        let (entries, _) = jobs(&whole.shares, &[false; 4]);
        let mut out = Vec::new();
        entries[0].write(None, &mut out);
        out.len()
    };
    let second = first + entry;
    assert_eq!(bytes[second] & SAME_PARENT, SAME_PARENT);
    let mut long = bytes.clone();
    long[second] ^= SAME_PARENT;
    let parent = long[first + 1..first + 33].to_vec();
    long.splice(second + 1..second + 1, parent);
    assert_eq!(refused(&long), "work-columns-canonical");
    // A start that is longer than it says, the rest told again.
    let mut short = bytes.clone();
    let before = second + 1;
    let (start, length) = (usize::from(short[before]), short[before + 2]);
    assert!(start < 0xfd && length < 0xfc);
    let last = jobs(&whole.shares, &[false; 4]).0[0].prefix[start - 1];
    (short[before], short[before + 2]) = (short[before] - 1, length + 1);
    short.insert(before + 3, last);
    assert_eq!(refused(&short), "work-columns-canonical");
    // A job that no share names: the second once more, all of it as in the job before.
    let (entries, _) = jobs(&whole.shares, &[false; 4]);
    let mut last = Vec::new();
    entries[1].write(Some(&entries[0]), &mut last);
    let mut again = vec![SAME_PARENT | SAME_BITS | SAME_BRANCH];
    differing(&mut again, entries[1].prefix, entries[1].prefix);
    again.push(entries[1].room as u8);
    differing(&mut again, entries[1].suffix, entries[1].suffix);
    again.extend(entries[1].time.to_le_bytes());
    let mut unused = bytes.clone();
    unused[first - 1] += 1;
    let end = second + last.len();
    unused.splice(end..end, again);
    assert_eq!(refused(&unused), "work-columns-canonical");
    // A root that follows anyway.
    let mut stated = bytes.clone();
    stated[first] |= ROOT_STATED;
    let root = whole.shares[0].header.merkle_root.to_byte_array();
    stated.splice(second - 4..second - 4, root);
    assert!(["work-columns-canonical", "work-certificate-order"].contains(&refused(&stated)));
    // Positions out of order, and one twice.
    let other = Certificate { position: PositionId([6; 32]), ..whole.clone() };
    let farm = Certificate::several_to_bytes(&[whole, other]).unwrap();
    let mut swapped = farm.clone();
    swapped[6..78].rotate_left(36);
    assert_eq!(refused(&swapped), "work-columns-form");
    let mut twice = farm;
    twice.copy_within(6..42, 42);
    assert_eq!(refused(&twice), "work-columns-form");
}

#[test]
fn a_small_file_that_would_unfold_to_gigabytes_is_refused_before_it_does() {
    // A coinbase of 60,000 bytes and 40,000 shares of it, 4 bytes each.
    let long = |count: usize| {
        let mut share = plain();
        share.coinbase.resize(60_000, 0);
        let root = hash::fold(hash::double(&share.coinbase), &share.branch).unwrap();
        share.header.merkle_root = TxMerkleNode::from_byte_array(root);
        let one = Certificate::new(POSITION, 3, [share]).unwrap().to_bytes();
        // The columns of one share: count, nonce, three widths of nothing.
        let mut bytes = one[..one.len() - 8].to_vec();
        compact(&mut bytes, count);
        (0..count as u32).for_each(|nonce| bytes.extend(nonce.to_le_bytes()));
        bytes.extend([0; 3]);
        bytes
    };
    assert_eq!(refused(&long(40_000)), "work-columns-size");
    // The same with few shares is read, and refused for their order.
    assert_ne!(refused(&long(20)), "work-columns-size");
    let huge = vec![0; LONGEST_FILE + 1];
    assert_eq!(refused(&huge), "work-columns-size");
}

#[test]
fn a_count_that_the_file_is_too_short_for_is_refused() {
    let bytes = Certificate::new(POSITION, 3, [plain()]).unwrap().to_bytes();
    // Positions, jobs, shares.
    let shares = bytes.len() - 8;
    for place in [5, 42, shares] {
        let mut wrong = bytes.clone();
        wrong.splice(place..=place, [0xfe, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(refused(&wrong), "work-columns-form", "{place}");
        wrong.splice(place..place + 5, [0xfd, 1, 0]);
        assert_eq!(refused(&wrong), "work-columns-form", "{place}");
    }
}

/// A coinbase that is like others in some parts.
fn coinbases() -> impl Strategy<Value = Vec<u8>> {
    let real = (0u8..3, any::<[u8; 12]>(), 0u64..3).prop_map(|(tag, nonce, more)| {
        let outputs = vec![TxOut { value: Amount::from_sat(more), script_pubkey: script(tag) }];
        let mut template = template(BlockHash::all_zeros(), 20, 0);
        template.reward = Amount::from_sat(more);
        let job = ExtendedJob::new(&template, 12, &outputs).unwrap();
        job.coinbase(&Extranonce::new(&[], &nonce).unwrap())
    });
    prop_oneof![4 => real, 1 => proptest::collection::vec(any::<u8>(), 0..120)]
}

prop_compose! {
    fn any_share()(
        coinbase in coinbases(),
        branch in proptest::collection::vec(0u8..2, 0..4),
        numbers in (any::<i32>(), 0u8..2, any::<u32>(), 0u32..2, any::<u32>()),
        tied in 0u8..8,
    ) -> Share {
        let (version, parent, time, bits, nonce) = numbers;
        let branch: Vec<_> = branch.iter().map(|b| TxMerkleNode::from_byte_array([*b; 32])).collect();
        let root = hash::fold(hash::double(&coinbase), &branch).filter(|_| tied > 0);
        Share {
            header: Header {
                version: Version::from_consensus(version),
                prev_blockhash: BlockHash::from_byte_array([parent; 32]),
                merkle_root: TxMerkleNode::from_byte_array(root.unwrap_or([tied; 32])),
                time,
                bits: CompactTarget::from_consensus(bits),
                nonce,
            },
            coinbase,
            branch,
        }
    }
}

proptest! {
    #[test]
    fn whatever_shares_come_back_as_they_were(
        shares in proptest::collection::vec(any_share(), 0..24),
        slice in any::<u32>(),
    ) {
        let Ok(whole) = Certificate::new(POSITION, slice, shares) else { return Ok(()) };
        let bytes = whole.to_bytes();
        prop_assert_eq!(Certificate::from_bytes(&bytes).unwrap(), whole);
    }

    #[test]
    fn whatever_is_read_is_the_one_way_of_writing_it(
        shares in proptest::collection::vec(any_share(), 0..8),
        place in any::<prop::sample::Index>(),
        change in 1u8..,
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let Ok(whole) = Certificate::new(POSITION, 0, shares) else { return Ok(()) };
        let mut bytes = whole.to_bytes();
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(read) = Certificate::several_from_bytes(&bytes) {
            prop_assert_eq!(Certificate::several_to_bytes(&read).unwrap(), bytes);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let after = [&MAGIC[..], &[FORM_VERSION], &bytes].concat();
        for bytes in [bytes, after] {
            if let Ok(read) = Certificate::several_from_bytes(&bytes) {
                prop_assert_eq!(Certificate::several_to_bytes(&read).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn every_version_survives_being_turned(version in any::<i32>()) {
        let version = Version::from_consensus(version);
        prop_assert_eq!(unrolled(rolled(version)), version);
        let bip320 = Version::from_consensus(0x2000_0000 | (version.to_consensus() & 0x1fff_e000));
        prop_assert!(rolled(bip320) < 1 << 16);
    }
}
