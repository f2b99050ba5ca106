//! The bytes of a received PSBT, the fields of the whole, those of outputs, and those of a round.

use bitcoin::bip32::Xpub;
use bitcoin::psbt::Output;
use bitcoin::psbt::raw::Key;
use bitcoin::taproot::TaprootBuilder;
use hashmix::tx::carrier::output::HINT;
use hashmix::tx::carrier::round::ROUND;
use hashmix::tx::carrier::{
    FORM, MAPS, PROPRIETARY, SHORTEST, TRAILING, TWICE, UNKNOWN, V2, VERSION, XPUB,
};

use crate::received::{
    Received, close, joint, own, put, ruling, script, source, sweep, two_and_two, xpub,
};

impl Received {
    fn xpub(&mut self, key: Xpub) {
        self.psbt.xpub.insert(key, source());
    }
}

examine! {
    form: FORM, "refused (holder)", ruling {
        accepts {
            bytes => |r| r.write(|_| {}),
            text => |r| r.write_text(|_| {}),
            text_with_an_end_of_line => |r| r.write_text(|text| text.push(b'\n')),
        }
        refuses {
            nothing => |r| r.write(Vec::clear),
            a_byte_less => |r| r.write(|bytes| bytes.truncate(bytes.len() - 1)),
            a_byte_less_of_the_text => |r| r.write_text(|text| text.truncate(text.len() - 1)),
            another_magic => |r| r.write(|bytes| bytes[0] = b'P'),
            more_than_four_megabytes => |r| r.write(|bytes| bytes.resize(4_000_001, 0)),
            a_byte_behind_the_witness_utxo => |r| r.rewrite(|maps| {
                let field = maps[1].iter_mut().find(|(key, _)| key == &[1]).unwrap();
                field.1.push(0);
            }),
            a_map_of_an_output_less => |r| r.rewrite(|maps| drop(maps.pop())),
        }
    }
    trailing: TRAILING, "refused (holder)", ruling {
        accepts {
            the_last_map_at_the_end => |r| r.write(|_| {}),
        }
        refuses {
            a_byte => |r| r.write(|bytes| bytes.push(0)),
            itself_once_more => |r| {
                r.write(|bytes| bytes.extend_from_within(..));
            },
            a_map_of_an_output_more => |r| r.rewrite(|maps| maps.push(Vec::new())),
        }
    }
    shortest: SHORTEST, "refused (holder)", ruling {
        accepts {
            fields_of_each_map_in_reverse => |r| r.rewrite(|maps| {
                maps.iter_mut().for_each(|map| map.reverse());
            }),
        }
        refuses {
            the_version_said_aloud => |r| r.rewrite(|maps| {
                maps[0].push((vec![0xfb], vec![0; 4]));
            }),
            the_version_said_aloud_before_all => |r| r.rewrite(|maps| {
                maps[0].insert(0, (vec![0xfb], vec![0; 4]));
            }),
        }
    }
    twice: TWICE, "refused (holder)", ruling {
        accepts {
            the_same_type_in_two_maps => |r| {
                *r = sweep();
                r.write(|_| {});
            },
        }
        refuses {
            the_transaction => |r| r.rewrite(|maps| {
                let again = maps[0][0].clone();
                maps[0].push(again);
            }),
            a_field_of_an_input => |r| r.rewrite(|maps| {
                let again = maps[1][0].clone();
                maps[1].push(again);
            }),
            a_field_of_an_input_with_another_value => |r| r.rewrite(|maps| {
                let mut again = maps[1].iter().find(|(key, _)| key == &[0x17]).unwrap().clone();
                again.1 = xpub().to_x_only_pub().serialize().to_vec();
                maps[1].push(again);
            }),
        }
    }
    version: VERSION, "refused (holder)", ruling {
        accepts {
            zero => |r| r.psbt.version = 0,
        }
        refuses {
            one => |r| r.psbt.version = 1,
            two => |r| r.psbt.version = 2,
            two_in_writing => |r| r.rewrite(|maps| {
                maps[0].push((vec![0xfb], vec![2, 0, 0, 0]));
            }),
            the_highest_number => |r| r.psbt.version = u32::MAX,
        }
    }
    maps: MAPS, "refused (holder)", ruling {
        accepts {
            one_and_three => |_| {},
            three_and_one => |r| *r = sweep(),
        }
        refuses {
            an_input_less => |r| drop(r.psbt.inputs.pop()),
            an_input_more => |r| r.psbt.inputs.push(r.psbt.inputs[0].clone()),
            an_output_less => |r| drop(r.psbt.outputs.pop()),
            an_output_more => |r| r.psbt.outputs.push(Output::default()),
        }
    }
    extended_key: XPUB, "refused (holder)", ruling {
        accepts {
            none => |r| r.psbt.xpub.clear(),
        }
        refuses {
            a_partys_true_one => |r| r.xpub(xpub()),
            one_of_another_depth => |r| {
                let mut key = xpub();
                key.depth += 1;
                r.xpub(key);
            },
        }
    }
    version_two: V2, "refused (holder)", ruling {
        accepts {
            none_in_writing => |r| r.write(|_| {}),
        }
        refuses {
            a_version_of_the_transaction => |r| put(&mut r.psbt.unknown, 0x02),
            what_may_be_changed => |r| put(&mut r.psbt.unknown, 0x06),
            an_outpoint => |r| put(&mut r.psbt.inputs[0].unknown, 0x0e),
            a_height_to_wait_for => |r| put(&mut r.psbt.inputs[0].unknown, 0x12),
            an_amount => |r| put(&mut r.psbt.outputs[2].unknown, 0x03),
            a_script => |r| put(&mut r.psbt.outputs[0].unknown, 0x04),
        }
    }
    proprietary: PROPRIETARY, "refused (holder)", ruling {
        accepts {
            none => |r| r.psbt.proprietary.clear(),
        }
        refuses {
            of_the_whole => |r| drop(r.psbt.proprietary.insert(own(b"wallet"), vec![1])),
            our_own_in_an_input => |r| {
                r.psbt.inputs[0].proprietary.insert(own(b"hashmix"), vec![1]);
            },
            without_a_name_in_an_output => |r| {
                r.psbt.outputs[1].proprietary.insert(own(b""), vec![]);
            },
        }
    }
    unknown: UNKNOWN, "refused (holder)", ruling {
        accepts {
            none => |r| r.psbt.unknown.clear(),
        }
        refuses {
            of_the_whole => |r| put(&mut r.psbt.unknown, 0x7f),
            of_an_input => |r| put(&mut r.psbt.inputs[0].unknown, 0x19),
            of_an_output => |r| put(&mut r.psbt.outputs[2].unknown, 0x08),
            without_a_value => |r| {
                let key = Key { type_value: 0x7f, key: vec![1] };
                r.psbt.inputs[0].unknown.insert(key, Vec::new());
            },
        }
    }
    hint: HINT, "refused (holder)", ruling {
        accepts {
            none => |_| {},
            none_of_a_close => |r| *r = close(),
        }
        refuses {
            a_redeem_script => |r| r.psbt.outputs[0].redeem_script = Some(script()),
            a_witness_script => |r| r.psbt.outputs[0].witness_script = Some(script()),
            an_internal_key => |r| {
                r.psbt.outputs[1].tap_internal_key = Some(xpub().to_x_only_pub());
            },
            a_tree => |r| {
                let tree = TaprootBuilder::new().add_leaf(0, script()).unwrap();
                r.psbt.outputs[1].tap_tree = Some(tree.try_into_taptree().unwrap());
            },
            the_origin_of_a_key => |r| {
                let key = xpub().to_x_only_pub();
                r.psbt.outputs[2].tap_key_origins.insert(key, (Vec::new(), source()));
            },
            the_origin_of_a_key_of_before_taproot => |r| {
                r.psbt.outputs[2].bip32_derivation.insert(xpub().public_key, source());
            },
        }
    }
    round: ROUND, "refused (holder)", ruling {
        accepts {
            none_on_a_leaf => |_| {},
            participants_on_the_key_path => |r| *r = joint(),
        }
        refuses {
            participants_on_a_leaf => |r| put(&mut r.psbt.inputs[0].unknown, 0x1a),
            a_nonce_on_a_leaf => |r| put(&mut r.psbt.inputs[0].unknown, 0x1b),
            a_part_on_a_leaf => |r| put(&mut r.psbt.inputs[0].unknown, 0x1c),
            a_part_in_the_last_of_two => |r| {
                *r = two_and_two([40_000, 41_000]);
                put(&mut r.psbt.inputs[1].unknown, 0x1c);
            },
        }
    }
}
