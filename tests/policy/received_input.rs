//! An input of a received PSBT says which output it spends, under which key and root, by which leaf,
//! and nothing else.

use bitcoin::hashes::{Hash, hash160, ripemd160, sha256, sha256d};
use bitcoin::psbt::Input;
use bitcoin::taproot::{LeafVersion, TapLeafHash, TapNodeHash};
use bitcoin::{EcdsaSighashType, ScriptBuf, TapSighashType, Witness, ecdsa, secp256k1};
use hashmix::script::lock::Path;
use hashmix::tx::carrier::input::{
    ANNEX, CONTROL_BLOCK, ECDSA, FINAL, INTERNAL_KEY, KEY_SIGNATURE, LEAF_FOREIGN, LEAF_MISSING,
    LEAF_OTHER, LEAF_SIGNATURE, LEAF_VERSION, MERKLE_ROOT, ORIGIN, PREIMAGE, PREVIOUS, SCRIPTS,
    SIGHASH, UTXO_AMOUNT, UTXO_MISSING, UTXO_SCRIPT,
};

use crate::case::shift;
use crate::received::{
    Received, close, holders_exit, joint, leaf, ruling, script, signature, source, sweep,
    two_and_two, xpub,
};

impl Received {
    /// The last input, whose lies are the easiest to overlook.
    fn last(&mut self) -> &mut Input {
        self.psbt.inputs.last_mut().unwrap()
    }

    fn first(&mut self) -> &mut Input {
        &mut self.psbt.inputs[0]
    }
}

/// Two inputs of two locks.
fn pair() -> Received {
    two_and_two([40_000, 41_000])
}

fn signed(kind: EcdsaSighashType) -> ecdsa::Signature {
    let signature = secp256k1::ecdsa::Signature::from_compact(&[1; 64]).unwrap();
    ecdsa::Signature { signature, sighash_type: kind }
}

examine! {
    utxo_missing: UTXO_MISSING, "refused (holder)", sweep {
        accepts {
            in_each_of_three_inputs => |_| {},
        }
        refuses {
            in_the_first => |r| r.first().witness_utxo = None,
            in_the_last => |r| r.last().witness_utxo = None,
        }
    }
    utxo_amount: UTXO_AMOUNT, "refused (holder)", ruling {
        accepts {
            to_the_satoshi => |_| {},
        }
        refuses {
            a_satoshi_more => |r| shift(&mut r.last().witness_utxo.as_mut().unwrap().value, 1),
            a_satoshi_less => |r| shift(&mut r.last().witness_utxo.as_mut().unwrap().value, -1),
            two_rewards_that_differ_by_a_satoshi => |r| {
                *r = sweep();
                shift(&mut r.first().witness_utxo.as_mut().unwrap().value, 1);
                shift(&mut r.last().witness_utxo.as_mut().unwrap().value, -1);
            },
        }
    }
    utxo_script: UTXO_SCRIPT, "refused (holder)", pair {
        accepts {
            the_lock_of_each_index => |_| {},
        }
        refuses {
            the_lock_of_the_other_input => |r| {
                r.last().witness_utxo = r.first().witness_utxo.clone();
            },
            none => |r| {
                r.first().witness_utxo.as_mut().unwrap().script_pubkey = ScriptBuf::new();
            },
        }
    }
    previous: PREVIOUS, "refused (holder)", ruling {
        accepts {
            none => |_| {},
        }
        refuses {
            some_transaction => |r| r.last().non_witness_utxo = Some(r.psbt.unsigned_tx.clone()),
            one_in_the_last_of_three => |r| {
                *r = sweep();
                r.last().non_witness_utxo = Some(r.psbt.unsigned_tx.clone());
            },
        }
    }
    sighash: SIGHASH, "refused (holder)", ruling {
        accepts {
            none => |_| {},
        }
        refuses {
            the_default_said_aloud => |r| {
                r.last().sighash_type = Some(TapSighashType::Default.into());
            },
            all => |r| r.last().sighash_type = Some(TapSighashType::All.into()),
            single_and_anyone_can_pay => |r| {
                r.last().sighash_type = Some(TapSighashType::SinglePlusAnyoneCanPay.into());
            },
        }
    }
    internal_key: INTERNAL_KEY, "refused (holder)", pair {
        accepts {
            that_of_each_lock => |_| {},
        }
        refuses {
            none => |r| r.last().tap_internal_key = None,
            a_partys_own => |r| r.last().tap_internal_key = Some(xpub().to_x_only_pub()),
            that_of_the_other_input => |r| r.last().tap_internal_key = r.first().tap_internal_key,
        }
    }
    merkle_root: MERKLE_ROOT, "refused (holder)", pair {
        accepts {
            that_of_each_lock => |_| {},
        }
        refuses {
            none => |r| r.first().tap_merkle_root = None,
            that_of_the_other_input => |r| r.first().tap_merkle_root = r.last().tap_merkle_root,
            zeros => |r| r.last().tap_merkle_root = Some(TapNodeHash::all_zeros()),
        }
    }
    leaf_missing: LEAF_MISSING, "refused (holder)", ruling {
        accepts {
            the_one_that_is_signed => |_| {},
            none_on_the_key_path => |r| *r = joint(),
        }
        refuses {
            none => |r| r.last().tap_scripts.clear(),
            none_in_the_last_of_three => |r| {
                *r = sweep();
                r.last().tap_scripts.clear();
            },
        }
    }
    leaf_foreign: LEAF_FOREIGN, "refused (holder)", pair {
        accepts {
            a_leaf_of_each_lock => |_| {},
        }
        refuses {
            the_leaf_of_the_other_input => |r| {
                r.last().tap_scripts = r.first().tap_scripts.clone();
            },
            anybodys_script_under_the_control_block => |r| {
                r.last().tap_scripts.values_mut().for_each(|leaf| leaf.0 = script());
            },
            an_empty_script => |r| {
                r.last().tap_scripts.values_mut().for_each(|leaf| leaf.0 = ScriptBuf::new());
            },
            a_strangers_leaf_beside_ours => |r| r.last().tap_scripts.extend(leaf(5, Path::Agreed)),
        }
    }
    leaf_other: LEAF_OTHER, "refused (holder)", ruling {
        accepts {
            the_miners_ruling_leaf => |_| {},
            the_holders_ruling_leaf => |r| *r = close(),
            the_holders_exit => |r| *r = holders_exit(),
        }
        refuses {
            an_exit_in_its_place => |r| r.last().tap_scripts = leaf(1, Path::MinerExit),
            an_exit_beside_it => |r| r.last().tap_scripts.extend(leaf(1, Path::HolderExit)),
            the_other_sides_ruling => |r| r.last().tap_scripts = leaf(1, Path::HolderRuling),
            one_on_the_key_path => |r| {
                *r = joint();
                r.last().tap_scripts = leaf(1, Path::Agreed);
            },
        }
    }
    leaf_version: LEAF_VERSION, "refused (holder)", ruling {
        accepts {
            that_of_tapscript => |_| {},
        }
        refuses {
            the_next_one => |r| {
                let version = LeafVersion::from_consensus(0xc2).unwrap();
                r.last().tap_scripts.values_mut().for_each(|leaf| leaf.1 = version);
            },
            one_that_cannot_be_an_annex => |r| {
                let version = LeafVersion::from_consensus(0x66).unwrap();
                r.last().tap_scripts.values_mut().for_each(|leaf| leaf.1 = version);
            },
        }
    }
    control_block: CONTROL_BLOCK, "refused (holder)", ruling {
        accepts {
            that_of_the_leaf => |_| {},
        }
        refuses {
            that_of_another_leaf => |r| {
                let other = leaf(1, Path::MinerExit).into_keys().next().unwrap();
                let ours = std::mem::take(&mut r.last().tap_scripts).into_values();
                r.last().tap_scripts = ours.map(|leaf| (other.clone(), leaf)).collect();
            },
            with_the_other_parity => |r| {
                let ours = std::mem::take(&mut r.last().tap_scripts).into_iter();
                let turned = ours.map(|(mut control, leaf)| {
                    let parity = control.output_key_parity.to_u8() ^ 1;
                    control.output_key_parity = secp256k1::Parity::from_u8(parity).unwrap();
                    (control, leaf)
                });
                r.last().tap_scripts = turned.collect();
            },
            that_of_the_same_leaf_at_the_next_index => |r| {
                let next = leaf(2, Path::MinerRuling).into_keys().next().unwrap();
                let ours = std::mem::take(&mut r.last().tap_scripts).into_values();
                r.last().tap_scripts = ours.map(|leaf| (next.clone(), leaf)).collect();
            },
        }
    }
    origin: ORIGIN, "refused (holder)", ruling {
        accepts {
            none => |_| {},
        }
        refuses {
            a_partys_true_key => |r| {
                let key = xpub().to_x_only_pub();
                r.last().tap_key_origins.insert(key, (Vec::new(), source()));
            },
            one_of_before_taproot => |r| {
                r.last().bip32_derivation.insert(xpub().public_key, source());
            },
        }
    }
    key_signature: KEY_SIGNATURE, "refused (holder)", ruling {
        accepts {
            none => |_| {},
        }
        refuses {
            one_on_a_leaf => |r| r.last().tap_key_sig = Some(signature()),
            one_on_the_key_path => |r| {
                *r = joint();
                r.last().tap_key_sig = Some(signature());
            },
        }
    }
    leaf_signature: LEAF_SIGNATURE, "refused (holder)", ruling {
        accepts {
            none => |_| {},
        }
        refuses {
            one_of_the_leaf_that_is_signed => |r| {
                let script = r.last().tap_scripts.values().next().unwrap().0.clone();
                let hash = TapLeafHash::from_script(&script, LeafVersion::TapScript);
                r.last().tap_script_sigs.insert((xpub().to_x_only_pub(), hash), signature());
            },
            one_of_no_leaf => |r| {
                let hash = TapLeafHash::all_zeros();
                r.last().tap_script_sigs.insert((xpub().to_x_only_pub(), hash), signature());
            },
        }
    }
    ecdsa_signature: ECDSA, "refused (holder)", ruling {
        accepts {
            none => |_| {},
        }
        refuses {
            one_of_everything => |r| {
                let key = xpub().public_key.into();
                r.last().partial_sigs.insert(key, signed(EcdsaSighashType::All));
            },
            one_of_nothing_in_the_last_of_three => |r| {
                *r = sweep();
                let key = xpub().public_key.into();
                r.last().partial_sigs.insert(key, signed(EcdsaSighashType::None));
            },
        }
    }
    annex: ANNEX, "refused (holder)", ruling {
        accepts {
            no_witness => |_| {},
        }
        refuses {
            the_shortest => |r| {
                r.last().final_script_witness = Some(Witness::from_slice(&[&[7; 64][..], &[0x50]]));
            },
            one_with_a_message => |r| {
                let elements = [&[7; 64][..], &[0x50, 1, 2, 3]];
                r.last().final_script_witness = Some(Witness::from_slice(&elements));
            },
            one_behind_a_leaf => |r| {
                let elements = [&[7; 64][..], &[0x51], &[0xc0; 33], &[0x50]];
                r.last().final_script_witness = Some(Witness::from_slice(&elements));
            },
        }
    }
    finished: FINAL, "refused (holder)", ruling {
        accepts {
            nothing => |_| {},
        }
        refuses {
            a_witness => |r| r.last().final_script_witness = Some(Witness::from_slice(&[[7; 64]])),
            an_empty_witness => |r| r.last().final_script_witness = Some(Witness::new()),
            a_single_element_that_begins_like_an_annex => |r| {
                r.last().final_script_witness = Some(Witness::from_slice(&[[0x50]]));
            },
            a_script => |r| r.last().final_script_sig = Some(script()),
        }
    }
    scripts: SCRIPTS, "refused (holder)", ruling {
        accepts {
            none => |_| {},
        }
        refuses {
            a_redeem_script => |r| r.last().redeem_script = Some(script()),
            a_witness_script => |r| r.last().witness_script = Some(script()),
        }
    }
    preimage: PREIMAGE, "refused (holder)", ruling {
        accepts {
            none => |_| {},
        }
        refuses {
            of_ripemd160 => |r| {
                r.last().ripemd160_preimages.insert(ripemd160::Hash::hash(&[1]), vec![1]);
            },
            of_sha256 => |r| {
                r.last().sha256_preimages.insert(sha256::Hash::hash(&[1]), vec![1]);
            },
            of_hash160 => |r| {
                r.last().hash160_preimages.insert(hash160::Hash::hash(&[1]), vec![1]);
            },
            of_hash256 => |r| {
                r.last().hash256_preimages.insert(sha256d::Hash::hash(&[1]), vec![1]);
            },
        }
    }
}
