//! Joint signatures as their users make them, and every way in which a round goes wrong.

use std::str::FromStr;

use bitcoin::secp256k1::{Message, Secp256k1};

use super::*;

const MESSAGE: [u8; 32] = [7; 32];

fn secrets<const N: usize>() -> [SecretKey; N] {
    core::array::from_fn(|i| SecretKey::from_slice(&[u8::try_from(i).unwrap() + 1; 32]).unwrap())
}

fn public(key: &SecretKey) -> PublicKey {
    key.public_key(&Secp256k1::new())
}

fn path(text: &str) -> Vec<ChildNumber> {
    DerivationPath::from_str(text).unwrap().into()
}

fn root() -> Option<TapNodeHash> {
    Some(TapNodeHash::from_byte_array([9; 32]))
}

fn context(secrets: &[SecretKey]) -> KeyContext {
    let keys: Vec<PublicKey> = secrets.iter().map(public).collect();
    KeyContext::new(&keys, &path("2/7"), root()).unwrap()
}

/// Everybody's nonce, and the secret half of each in the same order.
fn round(
    context: &KeyContext,
    secrets: &[SecretKey],
    salt: u8,
) -> (Vec<SecretNonce>, Vec<(PublicKey, PublicNonce)>) {
    let make = |(i, key): (u8, &SecretKey)| {
        let (secret, shown) = nonce(context, key, MESSAGE, [i + salt; 32]).unwrap();
        (secret, (public(key), shown))
    };
    (1u8..).zip(secrets).map(make).unzip()
}

#[test]
fn all_participants_sign_as_one_key_whatever_their_number() {
    fn signs<const N: usize>() {
        let secrets = secrets::<N>();
        let context = context(&secrets);
        let (mine, shown) = round(&context, &secrets, 0);
        let session = Session::new(&context, &shown, MESSAGE).unwrap();
        let parts: Vec<_> = mine
            .into_iter()
            .zip(&secrets)
            .map(|(nonce, key)| (public(key), session.sign(nonce, key).unwrap()))
            .collect();
        let signature = session.aggregate(&parts).unwrap();
        // The other library agrees.
        let message = Message::from_digest(MESSAGE);
        let verified =
            Secp256k1::new().verify_schnorr(&signature, &message, &context.output_key().0);
        assert_eq!(verified, Ok(()), "{N} participants");
    }
    signs::<2>();
    signs::<3>();
    signs::<5>();
}

#[test]
fn the_order_of_the_keys_does_not_matter() {
    let [a, b, c] = secrets().map(|s| public(&s));
    let first = KeyContext::new(&[a, b, c], &path("0/1"), root()).unwrap();
    for keys in [[a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]] {
        assert_eq!(KeyContext::new(&keys, &path("0/1"), root()).unwrap(), first);
        assert_eq!(aggregate(&keys).unwrap(), first.plain_aggregate());
        assert_eq!(
            nums_xpub(&keys, NetworkKind::Test).unwrap(),
            nums_xpub(&[a, b, c], NetworkKind::Test).unwrap()
        );
    }
}

#[test]
fn the_internal_key_is_the_child_of_the_synthetic_xpub() {
    let secp = Secp256k1::new();
    let keys = secrets::<2>().map(|s| public(&s));
    let xpub = synthetic_xpub(&keys, NetworkKind::Test).unwrap();
    for steps in ["0/0", "1/5", "2/2147483647", "3/0/1", "9"] {
        let context = KeyContext::new(&keys, &path(steps), root()).unwrap();
        let child = xpub.derive_pub(&secp, &path(steps)).unwrap();
        assert_eq!(context.internal_key(), child.to_x_only_pub(), "{steps}");
        let output = bitcoin::key::TapTweak::tap_tweak(context.internal_key(), &secp, root());
        assert_eq!(context.output_key().0, output.0.to_x_only_public_key(), "{steps}");
        assert_eq!(context.output_key().1, output.1, "{steps}");
        assert_eq!(context.path(), DerivationPath::from(path(steps)));
    }
}

#[test]
fn an_unspendable_xpub_is_the_point_h_with_a_chain_code_of_the_participants() {
    let keys = secrets::<2>().map(|s| public(&s));
    let xpub = nums_xpub(&keys, NetworkKind::Main).unwrap();
    // BIP-341: H is SHA256 of the uncompressed generator, lifted to the curve.
    let one = SecretKey::from_slice(&{
        let mut one = [0; 32];
        one[31] = 1;
        one
    })
    .unwrap();
    let x = sha256(&public(&one).serialize_uncompressed());
    assert_eq!(xpub.public_key.serialize()[1..], x);
    assert_eq!(xpub.public_key.serialize()[0], 2);
    assert_eq!((xpub.depth, xpub.parent_fingerprint.to_bytes()), (0, [0; 4]));
    let [low, high] = if keys[0].serialize() < keys[1].serialize() {
        [keys[0], keys[1]]
    } else {
        [keys[1], keys[0]]
    };
    let joined = [low.serialize(), high.serialize()].concat();
    assert_eq!(*xpub.chain_code.as_bytes(), sha256(&joined));
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    bitcoin::hashes::sha256::Hash::hash(bytes).to_byte_array()
}

#[test]
fn one_participant_alone_and_a_key_twice_are_refused() {
    let [a, b] = secrets().map(|s| public(&s));
    let twice = "musig-duplicate";
    for (keys, rule) in [
        (vec![], "musig-participants"),
        (vec![a], "musig-participants"),
        (vec![a, a], twice),
        (vec![a, b, a], twice),
    ] {
        assert_eq!(aggregate(&keys).unwrap_err().rule(), rule);
        assert_eq!(synthetic_xpub(&keys, NetworkKind::Test).unwrap_err().rule(), rule);
        assert_eq!(nums_xpub(&keys, NetworkKind::Test).unwrap_err().rule(), rule);
        assert_eq!(KeyContext::new(&keys, &[], None).unwrap_err().rule(), rule);
    }
}

#[test]
fn a_hardened_step_or_a_path_too_deep_is_refused() {
    let keys = secrets::<2>().map(|s| public(&s));
    let hardened = KeyContext::new(&keys, &path("2h/0"), None).unwrap_err();
    assert_eq!(hardened.rule(), "musig-path");
    let deep = vec![ChildNumber::Normal { index: 0 }; 256];
    assert_eq!(KeyContext::new(&keys, &deep, None).unwrap_err().rule(), "musig-path");
    assert!(KeyContext::new(&keys, &deep[1..], None).is_ok());
}

#[test]
fn a_nonce_of_zeros_or_of_a_stranger_is_refused() {
    let secrets = secrets::<3>();
    let context = context(&secrets[..2]);
    let zeros = nonce(&context, &secrets[0], MESSAGE, [0; 32]).unwrap_err();
    assert_eq!(zeros.rule(), "musig-randomness");
    let stranger = nonce(&context, &secrets[2], MESSAGE, [1; 32]).unwrap_err();
    assert_eq!(stranger.rule(), "musig-signer");
}

#[test]
fn a_nonce_depends_on_randomness_message_and_key() {
    let secrets = secrets::<2>();
    let one = context(&secrets);
    let keys = secrets.map(|s| public(&s));
    let other = KeyContext::new(&keys, &path("2/8"), root()).unwrap();
    let [a, b] = secrets;
    let made: BTreeSet<PublicNonce> = [
        nonce(&one, &a, MESSAGE, [1; 32]),
        nonce(&one, &a, MESSAGE, [2; 32]),
        nonce(&one, &a, [8; 32], [1; 32]),
        nonce(&one, &b, MESSAGE, [1; 32]),
        nonce(&other, &a, MESSAGE, [1; 32]),
    ]
    .map(|n| n.unwrap().1)
    .into();
    assert_eq!(made.len(), 5);
}

#[test]
fn malformed_nonces_and_parts_are_refused() {
    let secrets = secrets::<2>();
    let (_, shown) = round(&context(&secrets), &secrets, 0);
    let good = shown[0].1.serialize();
    assert_eq!(PublicNonce::parse(&good).unwrap(), shown[0].1);
    let mut no_point = good;
    no_point[0] = 4;
    for bad in [&good[..65], &[good.as_slice(), &[0]].concat(), &no_point, &[0; 66], &[]] {
        assert_eq!(PublicNonce::parse(bad).unwrap_err().rule(), "musig-nonce");
    }
    assert!(PartialSignature::parse(&[1; 32]).is_ok());
    for bad in [&[1; 31][..], &[1; 33], &[0xff; 32], &[]] {
        assert_eq!(PartialSignature::parse(bad).unwrap_err().rule(), "musig-partial");
    }
}

#[test]
fn a_session_needs_one_nonce_of_each_participant_and_of_nobody_else() {
    let secrets = secrets::<3>();
    let pair = context(&secrets[..2]);
    let trio = context(&secrets);
    let (_, shown) = round(&trio, &secrets, 0);
    let refused = |context, nonces: &[_]| {
        Session::new(context, nonces, MESSAGE).unwrap_err().rule().to_owned()
    };
    assert_eq!(refused(&trio, &shown[..2]), "musig-nonce-set");
    assert_eq!(refused(&trio, &[]), "musig-nonce-set");
    assert_eq!(refused(&pair, &shown), "musig-nonce-set");
    assert_eq!(refused(&pair, &[shown[0], shown[1], shown[0]]), "musig-nonce-set");
}

#[test]
fn a_dead_nonce_in_our_name_is_refused() {
    let secrets = secrets::<2>();
    let context = context(&secrets);
    let (_, before) = round(&context, &secrets, 0);
    // A restart: the secret halves are new, the others still show our nonce of before.
    let (mut after, _) = round(&context, &secrets, 100);
    let session = Session::new(&context, &before, MESSAGE).unwrap();
    let refused = session.sign(after.remove(0), &secrets[0]).unwrap_err();
    assert_eq!(refused.rule(), "musig-nonce-dead");
}

#[test]
fn a_nonce_signs_only_what_it_was_made_for_and_only_by_its_owner() {
    let secrets = secrets::<2>();
    let one = context(&secrets);
    let keys = secrets.map(|s| public(&s));
    let other = KeyContext::new(&keys, &path("2/8"), root()).unwrap();
    let rule = |context: &KeyContext, message, key: &SecretKey| {
        let (mut mine, shown) = round(&one, &secrets, 0);
        let session = Session::new(context, &shown, message).unwrap();
        session.sign(mine.remove(0), key).map_err(|e| e.rule().to_owned())
    };
    assert!(rule(&one, MESSAGE, &secrets[0]).is_ok());
    assert_eq!(rule(&one, [8; 32], &secrets[0]), Err("musig-nonce-purpose".into()));
    assert_eq!(rule(&other, MESSAGE, &secrets[0]), Err("musig-nonce-purpose".into()));
    assert_eq!(rule(&one, MESSAGE, &secrets[1]), Err("musig-signer".into()));
    let stranger = SecretKey::from_slice(&[99; 32]).unwrap();
    assert_eq!(rule(&one, MESSAGE, &stranger), Err("musig-signer".into()));
}

#[test]
fn a_wrong_part_is_refused_with_the_name_of_its_signer() {
    let secrets = secrets::<2>();
    let context = context(&secrets);
    let (mine, shown) = round(&context, &secrets, 0);
    let session = Session::new(&context, &shown, MESSAGE).unwrap();
    let parts: Vec<_> = mine
        .into_iter()
        .zip(&secrets)
        .map(|(nonce, key)| (public(key), session.sign(nonce, key).unwrap()))
        .collect();
    let [(a, part_a), (b, part_b)] = parts[..] else { panic!("two parts") };
    let mut bytes = part_b.serialize();
    bytes[31] ^= 1;
    let changed = PartialSignature::parse(&bytes).unwrap();
    let refused = session.aggregate(&[(a, part_a), (b, changed)]).unwrap_err();
    assert_eq!(refused.rule(), "musig-partial-wrong");
    assert!(refused.fault().place.contains(&b.to_string()), "{refused}");
    let swapped = session.aggregate(&[(a, part_b), (b, part_a)]).unwrap_err();
    assert_eq!(swapped.rule(), "musig-partial-wrong");
    for few in [&parts[..1], &[], &[parts[0], parts[0]], &[parts[0], parts[1], parts[0]]] {
        assert_eq!(session.aggregate(few).unwrap_err().rule(), "musig-partial-set");
    }
    assert!(session.aggregate(&[(b, part_b), (a, part_a)]).is_ok());
}

#[test]
fn a_secret_nonce_shows_its_owner_and_nothing_else() {
    let secrets = secrets::<2>();
    let (mine, _) = round(&context(&secrets), &secrets, 0);
    let shown = format!("{:?}", mine[0]);
    assert_eq!(shown, format!("SecretNonce {{ owner: {:?}, .. }}", public(&secrets[0])));
}
