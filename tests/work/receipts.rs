//! Receipts: of whom, for what, and in time.

use std::collections::BTreeMap;

use bitcoin::secp256k1::{Keypair, Secp256k1, SecretKey};
use bitcoin::{Amount, BlockHash};
use hashmix::error::{Culprit, Result, Rule};
use hashmix::headers::Headers;
use hashmix::id::PositionId;
use hashmix::work::certificate::Certificate;
use hashmix::work::evidence::{Evidence, SealedCertificate, Yardstick};
use hashmix::work::receipt::{Receipt, SIGNATURE, Subject, VALIDATOR, message};
use hashmix::work::verdict::{Measure, verdict};

use crate::examine::Bench;
use crate::world::{POSITION, TIP, certificate, chain, terms};

/// What is not sealed in time is not refused: it counts for nothing.
pub(crate) const IN_TIME: Rule = Rule::new(
    "test-sealed-in-time",
    "a certificate counts if k validators have receipted it by the receipt span",
    "send it in time",
);

/// Slice 3 ends at height 22; receipts count until 25, a digest in a block until 27.
const END: u32 = 22;

fn keypair(validator: u8) -> Keypair {
    Keypair::from_secret_key(
        &Secp256k1::new(),
        &SecretKey::from_slice(&[validator + 1; 32]).unwrap(),
    )
}

fn receipt(validator: u8, position: PositionId, subject: Subject, tip: BlockHash) -> Receipt {
    let message = message(position, &subject, tip);
    let signature = Secp256k1::new().sign_schnorr_no_aux_rand(&message, &keypair(validator));
    Receipt { validator, position, subject, tip, signature }
}

/// A certificate, receipts of two of three validators, and perhaps its digest in a block.
struct Receipted {
    headers: Headers,
    certificate: Certificate,
    receipts: Vec<Receipt>,
    proven: Option<u32>,
}

fn receipted() -> Receipted {
    let headers = chain(TIP);
    let certificate = certificate(&headers, 3, 6);
    let mut case = Receipted { headers, certificate, receipts: Vec::new(), proven: None };
    case.at([END, END]);
    case
}

impl Receipted {
    fn subject(&self) -> Subject {
        Subject::Certificate { slice: self.certificate.slice, digest: self.certificate.digest() }
    }

    /// Two validators have seen it at these heights.
    fn at(&mut self, heights: [u32; 2]) {
        let tip = |height| self.headers.hash(height).unwrap();
        let subject = self.subject();
        let given =
            (0u8..).zip(heights).map(|(v, height)| receipt(v, POSITION, subject, tip(height)));
        self.receipts = given.collect();
    }
}

impl Bench for Receipted {
    fn verdict(&self) -> Result<()> {
        let ruling_keys: Vec<_> = (0..3).map(|v| keypair(v).x_only_public_key().0).collect();
        let checked = self.receipts.iter().try_for_each(|receipt| receipt.check(&ruling_keys));
        let yardstick = Yardstick { terms: terms(), ruling_keys };
        let proofs: BTreeMap<_, _> =
            self.proven.iter().map(|height| (self.certificate.digest(), *height)).collect();
        let measure = Measure {
            yardstick: &yardstick,
            price: Amount::from_sat(6_000),
            k: 2,
            headers: &self.headers,
            proofs: &proofs,
        };
        let sealed = SealedCertificate {
            certificate: self.certificate.clone(),
            receipts: self.receipts.clone(),
        };
        // The same whether it is remembered or not.
        let counted = [
            Evidence::new(POSITION).with(vec![sealed.clone()]),
            Evidence::remembering(POSITION, yardstick.clone()).with(vec![sealed]),
        ]
        .map(|evidence| verdict(&measure, 1, &evidence).unwrap().periods[1].shares);
        assert_eq!(counted[0], counted[1]);
        let seal = || IN_TIME.refuses(Culprit::Sender, "verdict", "6 shares", counted[0]);
        if counted[0] == 6 && checked.is_ok() {
            return Ok(());
        }
        assert_eq!(counted[0], 0);
        checked.and(Err(seal()))
    }
}

examine! {
    in_time: IN_TIME, "refused (sender)", receipted {
        accepts {
            by_the_last_height => |r| r.at([END + 3, END + 3]),
            by_a_digest_in_a_block => |r| { r.at([END + 4, END + 4]); r.proven = Some(END + 5) },
        }
        refuses {
            one_block_too_late => |r| r.at([END + 4, END + 4]),
            the_second_of_two_too_late => |r| r.at([END, END + 4]),
            a_digest_in_a_block_too_late => |r| { r.receipts.clear(); r.proven = Some(END + 6) },
            nobody_has_seen_it => |r| r.receipts.clear(),
            one_validator_twice => |r| r.receipts[1] = r.receipts[0].clone(),
            a_tip_that_nobody_knows => |r| {
                r.receipts[1] = receipt(1, POSITION, r.subject(), r.certificate.shares[0].hash());
            },
            a_receipt_of_another_certificate => |r| {
                let mut other = r.certificate.clone();
                other.shares.pop();
                let subject = Subject::Certificate { slice: 3, digest: other.digest() };
                r.receipts[1] = receipt(1, POSITION, subject, r.headers.hash(END).unwrap());
            },
            receipts_for_another_position => |r| {
                let tip = r.headers.hash(END).unwrap();
                r.receipts[1] = receipt(1, PositionId([8; 32]), r.subject(), tip);
            },
        }
    }
    signature: SIGNATURE, "refused (validator 1)", receipted {
        accepts {
            another_validator_of_the_federation => |r| {
                r.receipts[1] = receipt(2, POSITION, r.subject(), r.receipts[1].tip);
            },
        }
        refuses {
            in_another_validators_name => |r| {
                r.receipts[1] = Receipt { validator: 1, ..r.receipts[0].clone() };
            },
            dated_back => |r| {
                r.at([END, END + 4]);
                r.receipts[1].tip = r.headers.hash(END).unwrap();
            },
        }
    }
    validator: VALIDATOR, "refused (sender)", receipted {
        accepts {
            all_three_of_the_federation => |r| {
                r.receipts.push(receipt(2, POSITION, r.subject(), r.receipts[1].tip));
            },
        }
        refuses {
            a_fourth_of_three => |r| r.receipts[1] = receipt(3, POSITION, r.subject(), r.receipts[1].tip),
            the_last_number_there_is => |r| r.receipts[1].validator = 255,
        }
    }
}
