//! Who sits at the contracts, with and without a key path, and the coins that they spend.

use std::sync::LazyLock;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::schnorr;
use bitcoin::{Amount, Network, OutPoint, ScriptBuf, TapSighash, TxOut, Txid};
use hashmix::facts::Coin;
use hashmix::flow::escrow::coins::{EscrowCoin, lock};
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::escrow::txs::Outcome;
use hashmix::flow::reward;
use hashmix::party::Seat;
use hashmix::rehearsal::people::{self, Payouts};
use hashmix::script::lock::Path;
use hashmix::script::template::{Account, Variant};
use hashmix::sign::software::{LeafAccount, SoftwareSigner};
use hashmix::tx::draft::Draft;

const NETWORK: Network = Network::Regtest;

static MUSIG: LazyLock<EscrowTerms> = LazyLock::new(|| agreed(Variant::Musig));
static NUMS: LazyLock<EscrowTerms> = LazyLock::new(|| agreed(Variant::Nums));
static MUSIG_ELSEWHERE: LazyLock<EscrowTerms> = LazyLock::new(|| on_main(terms(Variant::Musig)));
static NUMS_ELSEWHERE: LazyLock<EscrowTerms> = LazyLock::new(|| on_main(terms(Variant::Nums)));

/// The contract of a variant.
pub(crate) fn terms(variant: Variant) -> &'static EscrowTerms {
    match variant {
        Variant::Musig => &MUSIG,
        Variant::Nums => &NUMS,
    }
}

/// The same contract of the same people on the main network.
pub(crate) fn elsewhere(variant: Variant) -> &'static EscrowTerms {
    match variant {
        Variant::Musig => &MUSIG_ELSEWHERE,
        Variant::Nums => &NUMS_ELSEWHERE,
    }
}

fn agreed(variant: Variant) -> EscrowTerms {
    people::terms(variant, 20, &payouts(NETWORK)).unwrap()
}

fn payouts(network: Network) -> Payouts {
    let address = |seat| people::signer(seat, network).unwrap().address();
    Payouts {
        miner: address(Seat::Miner),
        holder: address(Seat::Holder),
        federation: address(Seat::Validator(0)),
    }
}

fn on_main(terms: &EscrowTerms) -> EscrowTerms {
    let network = Network::Bitcoin;
    let Payouts { miner, holder, federation } = payouts(network);
    let mut terms = terms.clone();
    terms.reward.network = network;
    terms.reward.miner = people::record_of(Seat::Miner, network, miner).unwrap();
    terms.reward.holder = people::record_of(Seat::Holder, network, holder).unwrap();
    terms.reward.federation = people::federation(network, &federation).unwrap();
    terms
}

/// A seat's signer, fresh from its seed: two of them sign the same with the same bytes.
pub(crate) fn signer(seat: Seat) -> SoftwareSigner {
    people::signer(seat, NETWORK).unwrap()
}

/// Signs every input with the seat's key of its leaf.
pub(crate) fn sign(draft: &Draft, seat: Seat) -> Vec<schnorr::Signature> {
    let signer = signer(seat);
    let inputs = draft.spends().iter().enumerate();
    inputs
        .map(|(number, spend)| {
            let leaf = spend.lock.leaf(spend.path).unwrap();
            let key = leaf.keys.iter().find(|key| key.seat == seat).expect("a key of the leaf");
            let account = match key.account {
                Account::Exit => LeafAccount::Exit,
                Account::Leaf | Account::Musig => LeafAccount::Leaf,
            };
            let sighash = TapSighash::from_byte_array(draft.sighash(number).unwrap());
            signer.sign_leaf(account, &key.steps, sighash).unwrap().1
        })
        .collect()
}

/// Who signs a leaf: first whoever receives the PSBT, a validator where there are any.
pub(crate) fn signers(path: Path) -> Vec<Seat> {
    let validators = [Seat::Validator(0), Seat::Validator(1)];
    match path {
        Path::Key | Path::Agreed => vec![Seat::Holder, Seat::Miner],
        Path::MinerRuling => validators.into_iter().chain([Seat::Miner]).collect(),
        Path::HolderRuling => validators.into_iter().chain([Seat::Holder]).collect(),
        Path::HolderExit => vec![Seat::Holder],
        Path::MinerExit => vec![Seat::Miner],
        Path::Federation => validators.to_vec(),
    }
}

/// A transaction that is told apart by its number.
pub(crate) fn txid(number: u32) -> Txid {
    Txid::from_byte_array(sha256::Hash::hash(&number.to_le_bytes()).to_byte_array())
}

/// An escrow output after `index` settlements that holds `sat`.
pub(crate) fn escrow(terms: &EscrowTerms, index: u32, sat: u64) -> EscrowCoin {
    EscrowCoin {
        outpoint: OutPoint::new(txid(index), 1),
        index,
        value: Amount::from_sat(sat),
        height: Some(50),
        lock: lock(terms, index).unwrap(),
    }
}

/// `count` mature rewards, no two alike.
pub(crate) fn rewards(terms: &EscrowTerms, count: u32) -> Vec<Coin> {
    let script = reward::coins::lock(&terms.reward).unwrap().script_pubkey;
    (0..count)
        .map(|number| Coin {
            outpoint: OutPoint::new(txid(100 + number), 0),
            txout: TxOut {
                value: Amount::from_sat(40_000_000 + u64::from(number)),
                script_pubkey: script.clone(),
            },
            height: Some(30 + number),
            coinbase: true,
            spender: None,
        })
        .collect()
}

/// An outcome through a period (0-based).
pub(crate) fn outcome(period: u32, earned: u64, closes: bool) -> Outcome {
    Outcome { period, earned: Amount::from_sat(earned), closes }
}

/// Where a thief is paid: a script that nobody at the table has.
pub(crate) fn thief() -> ScriptBuf {
    people::network_script().unwrap()
}
