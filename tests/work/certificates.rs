//! Certificates as files: each share once, in order, whole, and no more than the terms foresee.

use bitcoin::hashes::Hash;
use hashmix::error::Result;
use hashmix::headers::Headers;
use hashmix::id::PositionId;
use hashmix::work::certificate::{COUNT, Certificate, FORMAT, LONGEST_FILE, ORDER, TWICE, UNITE};
use hashmix::work::columns::{CANONICAL, FORM, SAME, SIZE};

use crate::examine::Bench;
use crate::world::{POSITION, TIP, certificate, chain, shares, terms};

/// A certificate in a file.
struct Filed {
    headers: Headers,
    certificate: Certificate,
    /// Whether it is in columns.
    columns: bool,
    /// What becomes of the file on the way.
    way: Box<dyn Fn(Vec<u8>) -> Vec<u8>>,
    /// Further certificates of the slice.
    others: Vec<Certificate>,
    /// Further certificates in the same file.
    beside: Vec<Certificate>,
}

impl Bench for Filed {
    fn verdict(&self) -> Result<()> {
        let file = match (self.columns, self.beside.is_empty()) {
            (false, _) => self.certificate.to_json().into_bytes(),
            (true, true) => self.certificate.to_bytes(),
            (true, false) => {
                let all = [std::slice::from_ref(&self.certificate), &self.beside].concat();
                Certificate::several_to_bytes(&all)?
            }
        };
        for read in Certificate::read_several(&(self.way)(file))? {
            let all = [vec![read], self.others.clone()].concat();
            Certificate::unite(&all)?.check(&terms(), &self.headers)?;
        }
        Ok(())
    }
}

impl Filed {
    /// The file's bytes, changed on the way.
    fn on_the_way(&mut self, change: impl Fn(&mut Vec<u8>) + 'static) {
        self.way = Box::new(move |mut bytes| {
            change(&mut bytes);
            bytes
        });
    }

    /// The text, changed on the way.
    fn replaced(&mut self, old: &'static str, new: &'static str) {
        self.way = Box::new(move |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(old), "{old}");
            text.replacen(old, new, 1).into_bytes()
        });
    }
}

fn json() -> Filed {
    let headers = chain(TIP);
    Filed {
        certificate: certificate(&headers, 3, 6),
        headers,
        columns: false,
        way: Box::new(|bytes| bytes),
        others: Vec::new(),
        beside: Vec::new(),
    }
}

fn columns() -> Filed {
    Filed { columns: true, ..json() }
}

/// So many shares of slice 3.
fn of(count: usize) -> Certificate {
    certificate(&chain(TIP), 3, count)
}

/// Where the count of shares stands in a file of a certificate whose shares have one job.
fn count_place(filed: &Filed) -> usize {
    // Behind it: a nonce and one byte each, and the widths of three columns of nothing.
    let shares = filed.certificate.shares.len();
    filed.certificate.to_bytes().len() - shares * 4 - 3 - 1
}

examine! {
    order: ORDER, "refused (sender)", json {
        accepts {
            given_in_any_order => |f| {
                let mut shares = f.certificate.shares.clone();
                shares.reverse();
                f.certificate = Certificate::new(POSITION, 3, shares).unwrap();
            },
        }
        refuses {
            two_changed_places => |f| f.certificate.shares.swap(1, 2),
            the_other_way_round => |f| f.certificate.shares.reverse(),
            in_columns_too => |f| { f.columns = true; f.certificate.shares.swap(0, 5) },
        }
    }
    twice: TWICE, "refused (sender)", json {
        accepts {
            a_share_of_two_certificates_that_are_united => |f| f.others = vec![f.certificate.clone()],
        }
        refuses {
            the_same_share_again => |f| {
                f.certificate.shares.insert(1, f.certificate.shares[0].clone());
            },
            the_same_header_with_another_coinbase => |f| {
                let mut other = f.certificate.shares[2].clone();
                other.coinbase.push(0);
                f.certificate.shares.insert(3, other);
            },
            in_columns_too => |f| {
                f.columns = true;
                f.certificate.shares.insert(6, f.certificate.shares[5].clone());
            },
            another_coinbase_in_another_certificate => |f| {
                let mut lie = f.certificate.clone();
                lie.shares[2].coinbase.push(0);
                f.others = vec![lie];
            },
        }
    }
    count: COUNT, "refused (miner)", json {
        accepts {
            four_times_the_expected_shares => |f| f.certificate = of(64),
        }
        refuses {
            one_more => |f| f.certificate = of(65),
            many_more => |f| f.certificate = of(100),
        }
    }
    unite: UNITE, "refused (sender)", json {
        accepts {
            other_shares_of_the_slice => |f| {
                let more = shares(&f.headers, 22, 4);
                f.others = vec![Certificate::new(POSITION, 3, more).unwrap()];
            },
        }
        refuses {
            another_slice => |f| f.others = vec![certificate(&f.headers, 4, 1)],
            another_position => |f| {
                f.others = vec![Certificate { position: PositionId([8; 32]), ..of(1) }];
            },
        }
    }
    format: FORMAT, "refused (sender)", json {
        accepts {
            blanks_around_it => |f| f.on_the_way(|b| b.extend(b"  \n")),
        }
        refuses {
            truncated => |f| f.on_the_way(|b| b.truncate(b.len() / 2)),
            nothing => |f| f.on_the_way(Vec::clear),
            a_later_form => |f| f.replaced("certificate 1", "certificate 2"),
            a_field_more => |f| f.replaced("\"slice\"", "\"more\": 1, \"slice\""),
            too_long => |f| f.on_the_way(|b| b.resize(LONGEST_FILE + 1, b' ')),
            no_text => |f| f.on_the_way(|b| b.insert(9, 0xff)),
        }
    }
    form: FORM, "refused (sender)", columns {
        accepts {
            no_share_at_all => |f| f.certificate.shares.clear(),
        }
        refuses {
            truncated => |f| f.on_the_way(|b| b.truncate(b.len() - 1)),
            truncated_to_its_beginning => |f| f.on_the_way(|b| b.truncate(4)),
            a_byte_behind => |f| f.on_the_way(|b| b.push(0)),
            a_later_form => |f| f.on_the_way(|b| b[4] = 2),
            more_shares_than_there_are => |f| {
                let place = count_place(f);
                f.on_the_way(move |b| b[place] += 1);
            },
            a_count_of_four_billion => |f| {
                let place = count_place(f);
                f.on_the_way(move |b| drop(b.splice(place..=place, [0xfe, 255, 255, 255, 255])));
            },
            a_count_that_is_not_minimal => |f| {
                let place = count_place(f);
                f.on_the_way(move |b| drop(b.splice(place..=place, [0xfd, 6, 0])));
            },
        }
    }
    canonical: CANONICAL, "refused (sender)", columns {
        accepts {
            the_way_in_which_it_is_written => |f| f.on_the_way(|_| ()),
        }
        refuses {
            a_job_twice => |f| {
                let length = u8::try_from(f.certificate.shares[0].coinbase.len()).unwrap();
                f.on_the_way(move |b| {
                    // All of it as in the job before: no extra nonce, the same time.
                    let end = b.len() - 6 * 4 - 4;
                    let time = b[end - 4..end].to_vec();
                    b[42] += 1;
                    b.splice(end..end, [vec![7, length, 0, 0, 0, 0, 0, 0], time].concat());
                });
            },
            a_root_that_follows_anyway => |f| {
                let root = f.certificate.shares[0].header.merkle_root.to_byte_array();
                f.on_the_way(move |b| {
                    let time = b.len() - 6 * 4 - 4 - 4;
                    b[43] |= 8;
                    b.splice(time..time, root);
                });
            },
        }
    }
    size: SIZE, "refused (sender)", columns {
        accepts {
            as_many_shares_as_the_terms_allow => |f| f.certificate = of(64),
        }
        refuses {
            a_file_of_64_mebibytes_and_a_byte => |f| f.on_the_way(|b| b.resize(LONGEST_FILE + 1, 0)),
            a_small_one_that_unfolds_to_gigabytes => |f| f.on_the_way(|b| {
                let place = b.len() - 6 * 4 - 3 - 1;
                b.truncate(place);
                b.extend([0xfe, 0, 0, 16, 0]);
                b.resize(b.len() + 4 * 0x10_0000 + 3, 0);
            }),
        }
    }
    same: SAME, "refused (sender)", columns {
        accepts {
            the_same_shares_of_another_position => |f| {
                f.others.clear();
                f.beside = vec![Certificate { position: PositionId([8; 32]), ..f.certificate.clone() }];
            },
        }
        refuses {
            other_shares => |f| {
                f.beside = vec![Certificate { position: PositionId([8; 32]), ..of(5) }];
            },
            the_same_position_again => |f| f.beside = vec![f.certificate.clone()],
        }
    }
}
