//! A PSBT that somebody has sent, and the draft that the receiver has rebuilt himself.

use bitcoin::bip32::{DerivationPath, Fingerprint, Xpub};
use bitcoin::psbt::raw::{Key, ProprietaryKey};
use bitcoin::taproot::{ControlBlock, LeafVersion};
use bitcoin::{Amount, Psbt, ScriptBuf, TxOut, taproot};
use hashmix::error::{Culprit, Result};
use hashmix::facts::Coin;
use hashmix::flow::dispute;
use hashmix::flow::escrow::txs::{TRUC, exit, settlement};
use hashmix::flow::reward::state::sweepable;
use hashmix::flow::reward::txs::{self, SweepPath};
use hashmix::party::Seat;
use hashmix::script::lock::Path;
use hashmix::tx::carrier::{self, round};
use hashmix::tx::draft::{Draft, Spend, Title};
use std::collections::BTreeMap;

use crate::case::sweep_for_the_holder;
use crate::examine::Bench;
use crate::maps::{Maps, apart, together};
use crate::world::{coin_of, outcome, terms};

/// What was received, honest to begin with.
pub(crate) struct Received {
    pub(crate) draft: Draft,
    pub(crate) psbt: Psbt,
    /// The bytes of a file, where it is more than its fields.
    pub(crate) bytes: Option<Vec<u8>>,
}

impl Bench for Received {
    fn verdict(&self) -> Result<()> {
        let by = Culprit::Holder;
        let read = match &self.bytes {
            Some(bytes) => carrier::read(bytes, by)?,
            None => self.psbt.clone(),
        };
        match self.draft.spends()[0].path {
            Path::Key => {
                let shown = round::read(&self.draft, &read, by)?;
                round::no_parts(&self.draft, &shown, None, by)
            }
            _ => self.draft.compare(&read, by),
        }
    }
}

impl Received {
    fn of(draft: Draft) -> Self {
        let psbt = match draft.spends()[0].path {
            Path::Key => round::carrier(&draft).unwrap(),
            _ => draft.psbt().unwrap(),
        };
        Self { draft, psbt, bytes: None }
    }

    /// It comes as bytes, and these are changed.
    pub(crate) fn write(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.bytes.insert(self.psbt.serialize()));
    }

    /// It comes as text, and this is changed.
    pub(crate) fn write_text(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.bytes.insert(self.psbt.to_string().into_bytes()));
    }

    /// It comes as bytes, and the fields of its maps are changed as they stand there.
    pub(crate) fn rewrite(&mut self, change: impl FnOnce(&mut Maps)) {
        let mut maps = apart(&self.psbt.serialize()).unwrap();
        change(&mut maps);
        self.bytes = Some(together(&maps));
    }
}

/// A ruling on a re-lock, for the miner: one input, three outputs.
pub(crate) fn ruling() -> Received {
    let coin = coin_of(&terms(), 1, Amount::from_sat(40_000_000));
    let outcome = outcome(3, 35_000_000, false);
    Received::of(dispute::txs::ruling(&terms(), &coin, outcome, Seat::Miner, 2).unwrap())
}

/// A close for the holder: one input, holder and federation.
pub(crate) fn close() -> Received {
    let coin = coin_of(&terms(), 0, Amount::from_sat(60_000_000));
    let outcome = outcome(1, 0, true);
    Received::of(dispute::txs::ruling(&terms(), &coin, outcome, Seat::Holder, 9).unwrap())
}

/// A sweep of three rewards.
pub(crate) fn sweep() -> Received {
    sweep_of(|_| {})
}

/// A sweep of three rewards, other ones.
pub(crate) fn sweep_of(change: impl FnOnce(&mut Vec<Coin>)) -> Received {
    let play = sweep_for_the_holder().play;
    let mut coins = sweepable(&play.world.terms, &play.world.facts()).unwrap();
    coins.truncate(3);
    change(&mut coins);
    let draft = txs::sweep(&play.world.terms.reward, SweepPath::HolderRuling, &coins, 2);
    Received::of(draft.unwrap())
}

/// The holder's exit, which waits for height and depth.
pub(crate) fn holders_exit() -> Received {
    let coin = coin_of(&terms(), 1, Amount::from_sat(40_000_000));
    Received::of(exit(&terms(), &coin, Seat::Holder, 2).unwrap())
}

/// A settlement by the key path: the carrier of its round, with the participants.
pub(crate) fn joint() -> Received {
    let coin = coin_of(&terms(), 1, Amount::from_sat(40_000_000));
    let outcome = outcome(3, 35_000_000, false);
    Received::of(settlement(&terms(), &coin, outcome, Path::Key, 2, None).unwrap())
}

/// Two escrow outputs to the miner, in two outputs of these satoshis.
pub(crate) fn two_and_two(values: [u64; 2]) -> Received {
    let spends = [1, 2].map(|index| {
        let coin = coin_of(&terms(), index, Amount::from_sat(50_000));
        let prevout = coin.txout();
        Spend { outpoint: coin.outpoint, prevout, lock: coin.lock, path: Path::MinerRuling }
    });
    let script_pubkey = terms().reward.miner.payout_script();
    let outputs = values.map(|value| TxOut {
        value: Amount::from_sat(value),
        script_pubkey: script_pubkey.clone(),
    });
    Received::of(Draft::new(Title("pair"), TRUC, 70, spends.into(), outputs.into()).unwrap())
}

/// A leaf of the escrow lock of an index, as an input shows it.
pub(crate) fn leaf(index: u32, path: Path) -> BTreeMap<ControlBlock, (ScriptBuf, LeafVersion)> {
    let lock = coin_of(&terms(), index, Amount::from_sat(50_000)).lock;
    let leaf = lock.leaf(path).unwrap();
    [(leaf.control.clone(), (leaf.script.clone(), LeafVersion::TapScript))].into()
}

/// Some script.
pub(crate) fn script() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

/// The miner's account, which the terms hold.
pub(crate) fn xpub() -> Xpub {
    let account = terms().reward.miner.record.leaf.to_string();
    account.rsplit(']').next().unwrap().parse().unwrap()
}

/// Where a key comes from.
pub(crate) fn source() -> (Fingerprint, DerivationPath) {
    (Fingerprint::from([1; 4]), DerivationPath::master())
}

/// Some signature.
pub(crate) fn signature() -> taproot::Signature {
    taproot::Signature::from_slice(&[7; 64]).unwrap()
}

/// A field of one software.
pub(crate) fn own(prefix: &[u8]) -> ProprietaryKey {
    ProprietaryKey { prefix: prefix.to_vec(), subtype: 0, key: vec![1] }
}

/// Adds a field of this type.
pub(crate) fn put(fields: &mut BTreeMap<Key, Vec<u8>>, type_value: u8) {
    fields.insert(Key { type_value, key: vec![] }, vec![1]);
}
