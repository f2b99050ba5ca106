//! Requests and questions that a desk reads before it looks anything up.

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use hashmix::error::{Culprit, Result};
use hashmix::flow::word::Word;
use hashmix::flow::{Event, reward};
use hashmix::id::TermsId;
use hashmix::party::Seat;
use hashmix::validator::query::{self, Query, Tips};
use hashmix::validator::request::{
    FORM, KEYS, MOST_KEYS, MOST_WORDS, REQUEST_MAX_BYTES, Request, SEAT, SIGNATURE, SIZE, WORD,
    WORDS, check_keys,
};

use crate::desk::{early, id, request, sign, terms, zeros};
use crate::examine::Bench;
use crate::world::signer;

/// Whose desk it is.
const OURS: Seat = Seat::Validator(0);

/// A request before a desk that knows its contract.
struct Letter {
    request: Request,
    /// What becomes of its text on the way.
    way: fn(String) -> String,
    longest: usize,
}

impl Bench for Letter {
    fn verdict(&self) -> Result<()> {
        let text = (self.way)(self.request.to_json().unwrap());
        let read = Request::from_json(&text, self.longest)?;
        read.check_sender(&terms(), OURS)?;
        read.check_words(&terms())
    }
}

impl Letter {
    /// The sender signs something else.
    fn signed(&mut self, change: impl FnOnce(&mut Request)) {
        change(&mut self.request);
        sign(&mut self.request);
    }

    /// A second word, of which something was changed after its speaker signed it.
    fn forged(&mut self, change: impl FnOnce(&mut Word)) {
        let mut word = early(2);
        change(&mut word);
        self.signed(|request| request.words.push(word));
    }
}

fn letter() -> Letter {
    let request = request(Seat::Miner, "a", vec![early(1)]);
    Letter { request, way: |text| text, longest: REQUEST_MAX_BYTES }
}

/// How many requests a seat has made.
struct Used(u64);

impl Bench for Used {
    fn verdict(&self) -> Result<()> {
        check_keys(self.0, Culprit::Miner)
    }
}

fn a_few() -> Used {
    Used(3)
}

/// A question that somebody has signed.
struct Question {
    query: Query,
    /// What becomes of its header on the way.
    way: fn(String) -> String,
    ours: Seat,
    asked: &'static str,
    tips: Tips,
}

impl Bench for Question {
    fn verdict(&self) -> Result<()> {
        let read = Query::from_header(&(self.way)(self.query.to_header()))?;
        read.check(&terms(), self.ours, self.asked, &self.tips)
    }
}

const ASKED: &str = "/v1/contracts/words?after=3";

fn block(number: u8) -> BlockHash {
    BlockHash::from_byte_array([number; 32])
}

/// A question of a seat about a contract, with a tip.
fn query(contract: TermsId, from: Seat, tip: BlockHash) -> Query {
    let digest = Query::message(contract, from, OURS, ASKED, tip).unwrap();
    Query { from, tip, signature: signer(from).sign_digest(digest).unwrap() }
}

fn question() -> Question {
    let query = query(id(), Seat::Validator(1), block(1));
    let mut tips = Tips::default();
    tips.tell(block(1));
    Question { query, way: |text| text, ours: OURS, asked: ASKED, tips }
}

impl Question {
    /// The desk tells so many more tips.
    fn later(&mut self, tips: u8) {
        (0..tips).for_each(|number| self.tips.tell(block(2 + number)));
    }
}

examine! {
    size: SIZE, "refused (sender)", letter {
        accepts {
            the_longest => |l| l.longest = l.request.to_json().unwrap().len(),
        }
        refuses {
            one_byte_more => |l| l.longest = l.request.to_json().unwrap().len() - 1,
            a_blank_behind_the_longest => |l| {
                l.longest = l.request.to_json().unwrap().len();
                l.way = |text| text + " ";
            },
            one_that_is_no_json_either => |l| l.way = |_| "[".repeat(REQUEST_MAX_BYTES + 1),
        }
    }
    form: FORM, "refused (sender)", letter {
        accepts {
            blanks_around_it => |l| l.way = |text| format!("\n {text} \n"),
            the_shortest_key => |l| l.signed(|request| request.key = "~".to_owned()),
            the_longest_key => |l| l.signed(|request| request.key = "k".repeat(64)),
        }
        refuses {
            nothing => |l| l.way = |_| String::new(),
            a_later_form => |l| l.request.format = "hashmix request 2".to_owned(),
            a_field_too_many => |l| l.way = |text| text.replacen('{', "{\"more\":1,", 1),
            a_field_of_another_name => |l| l.way = |text| text.replace("\"key\"", "\"kee\""),
            a_key_too_long => |l| l.signed(|request| request.key = "k".repeat(65)),
            a_key_of_two_lines => |l| l.signed(|request| request.key = "a\nb".to_owned()),
            a_key_beyond_ascii => |l| l.signed(|request| request.key = "é".to_owned()),
            an_expected_transaction_that_is_none => |l| {
                l.signed(|request| request.psbt = Some("AAAA".to_owned()));
            },
        }
    }
    seat: SEAT, "refused (sender)", letter {
        accepts {
            the_holder => |l| l.signed(|request| request.from = Seat::Holder),
            another_validator => |l| l.signed(|request| request.from = Seat::Validator(2)),
        }
        refuses {
            the_desks_own_validator => |l| l.signed(|request| request.from = OURS),
            the_place_behind_the_last => |l| l.request.from = Seat::Validator(3),
            the_highest_number => |l| l.request.from = Seat::Validator(u8::MAX),
        }
    }
    signature: SIGNATURE, "refused (sender)", letter {
        accepts {
            another_key_signed_anew => |l| l.signed(|request| request.key = "b".to_owned()),
            other_words_signed_anew => |l| l.signed(|request| request.words.clear()),
        }
        refuses {
            another_seat => |l| l.request.from = Seat::Holder,
            another_contract => |l| l.request.contract = TermsId([1; 32]),
            another_key => |l| l.request.key = "b".to_owned(),
            a_word_left_out => |l| l.request.words.clear(),
            a_word_added => |l| l.request.words.push(early(2)),
            zeros_in_its_place => |l| l.request.signature = zeros(),
        }
    }
    words: WORDS, "refused (miner)", letter {
        accepts {
            none => |l| l.signed(|request| request.words.clear()),
            sixty_four => |l| l.signed(|request| request.words = vec![early(1); MOST_WORDS]),
        }
        refuses {
            sixty_five => |l| l.signed(|request| request.words = vec![early(1); MOST_WORDS + 1]),
            sixty_five_of_another_sender by "refused (holder)" => |l| l.signed(|request| {
                request.from = Seat::Holder;
                request.words = vec![early(1); MOST_WORDS + 1];
            }),
        }
    }
    word: WORD, "refused (miner)", letter {
        accepts {
            one_that_somebody_else_said => |l| l.signed(|request| {
                let event = Event::Reward(reward::state::Event::CloseAsked);
                request.words.push(crate::desk::word(Seat::Holder, event));
            }),
            a_second_one => |l| l.forged(|_| {}),
        }
        refuses {
            of_another_speaker => |l| l.forged(|word| word.from = Seat::Holder),
            of_nobody => |l| l.forged(|word| word.from = Seat::Validator(9)),
            of_another_contract => |l| l.forged(|word| word.contract = TermsId([1; 32])),
            of_a_later_form => |l| l.forged(|word| word.format = "hashmix word 2".to_owned()),
            of_another_content => |l| l.forged(|word| word.event = early(3).event),
            unsigned => |l| l.forged(|word| word.signature = zeros()),
        }
    }
    keys: KEYS, "refused (miner)", a_few {
        accepts {
            the_first => |used| used.0 = 0,
            the_last => |used| used.0 = MOST_KEYS - 1,
        }
        refuses {
            one_more => |used| used.0 = MOST_KEYS,
            the_highest_number => |used| used.0 = u64::MAX,
        }
    }
    query_form: query::FORM, "refused (sender)", question {
        accepts {
            of_the_miner => |q| q.query = query(id(), Seat::Miner, block(1)),
            of_the_last_validator => |q| q.query = query(id(), Seat::Validator(2), block(1)),
        }
        refuses {
            set_apart_by_commas => |q| q.way = |text| text.replace(' ', ","),
            set_apart_by_two_blanks => |q| q.way = |text| text.replace(' ', "  "),
            a_part_too_many => |q| q.way = |text| text + " more",
            a_validator_without_a_number => |q| q.way = |text| text.replace("-1 ", " "),
            a_number_too_high => |q| q.way = |text| text.replace("-1 ", "-256 "),
            an_unknown_seat => |q| q.way = |text| text.replace("validator-1", "nobody"),
            a_signature_too_short => |q| q.way = |mut text| {
                text.pop();
                text
            },
        }
    }
    query_tip: query::TIP, "refused (sender)", question {
        accepts {
            the_same_tip_told_again => |q| q.tips.tell(block(1)),
            eleven_tips_later => |q| q.later(11),
        }
        refuses {
            twelve_tips_later => |q| q.later(12),
            one_that_was_never_told => |q| {
                q.query = query(id(), Seat::Validator(1), block(99));
            },
            before_any_was_told => |q| q.tips = Tips::default(),
        }
    }
    query_signature: query::SIGNATURE, "refused (sender)", question {
        accepts {
            of_the_holder => |q| q.query = query(id(), Seat::Holder, block(1)),
        }
        refuses {
            of_another_seat => |q| q.query.from = Seat::Holder,
            for_another_question => |q| q.asked = "/v1/contracts/words?after=2",
            for_another_desk => |q| q.ours = Seat::Validator(2),
            about_another_contract => |q| {
                q.query = query(TermsId([1; 32]), Seat::Validator(1), block(1));
            },
            with_another_tip => |q| {
                q.tips.tell(block(2));
                q.query.tip = block(2);
            },
            zeros_in_its_place => |q| q.query.signature = zeros(),
        }
    }
}
