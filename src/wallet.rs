//! A person's own coins: addresses, balance, payments into contracts and out.
//!
//! `bdk_wallet` keeps the books (BIP-86, account `m/86h/ch/0h`), our [`Store`] keeps them on disk,
//! and a [`GuardedChain`] tells what the chain holds, with its checks. Coins inside contracts are not
//! the wallet's: the flows find those by their scripts.
//!
//! | step | on disk before |
//! |---|---|
//! | an address is shown | the index behind it |
//! | a synchronisation returns | what it found |
//! | a funding transaction leaves the process | its reserved coins and change address, committed by the caller together with the events that speak of it ([`Wallet::take_staged`], [`Store::append`]) |
//!
//! **Reserved coins.** [`Wallet::fund`] signs a transaction that may be sent much later, or never.
//! Its inputs are reserved from that moment, on disk as soon as the caller commits, so that no
//! second contract is promised the same coins; [`Wallet::release`] gives them back.
//!
//! Funding spends confirmed coins alone, largest first, and puts the change last: the same books
//! give the same transaction, and no stranger's unconfirmed parent can void a contract's funding.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use bdk_wallet::chain::{BlockId, CheckPoint, ConfirmationBlockTime, TxUpdate};
use bdk_wallet::coin_selection::LargestFirstCoinSelection;
use bdk_wallet::error::CreateTxError;
use bdk_wallet::template::Bip86;
use bdk_wallet::{
    ChangeSet, CreateWithPersistError, KeychainKind, LoadError, LoadWithPersistError,
    PersistedWallet, TxOrdering, Update,
};
use bitcoin::address::NetworkUnchecked;
use bitcoin::bip32::Xpriv;
use bitcoin::key::TapTweak;
use bitcoin::psbt::Psbt;
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::{
    Address, Amount, BlockHash, FeeRate, Network, NetworkKind, ScriptBuf, TapSighashType,
    Transaction, TxOut, Txid, taproot,
};
use miniscript::psbt::PsbtExt;

use crate::chain::electrum::{Electrum, NETWORK, STEADY};
use crate::error::{Culprit, Error, Result, Rule};
use crate::facts::{Coin, Facts};
use crate::header_sync::GuardedChain;
use crate::store::Store;

mod purse;

/// The key belongs to the network.
pub const KEY_NETWORK: Rule = Rule::new(
    "wallet-key-network",
    "a wallet's key and its network belong together",
    "derive the key for this network",
);
/// The store holds this wallet and no other.
pub const SAME_WALLET: Rule = Rule::new(
    "wallet-same",
    "the store holds the wallet of this seed on this network",
    "use the seed and network the store was made with, or another store",
);
/// An address can be read.
pub const ADDRESS: Rule =
    Rule::new("wallet-address", "an address is well-formed", "copy the whole address again");
/// An address belongs to the network.
pub const ADDRESS_NETWORK: Rule = Rule::new(
    "wallet-address-network",
    "coins are sent to addresses of their own network",
    "ask the payee for an address of this network",
);
/// There is enough to spend.
pub const FUNDS: Rule = Rule::new(
    "wallet-funds",
    "confirmed, mature and unreserved coins cover the outputs and the fee",
    "receive coins or wait for confirmations",
);
/// An output is worth spending.
pub const DUST: Rule = Rule::new(
    "wallet-dust",
    "each output is above the dust limit and all are at most 21 million bitcoin",
    "change the amount",
);
/// A transaction can be built and signed.
pub const BUILD: Rule = Rule::new(
    "wallet-build",
    "a payment has outputs, a sensible fee, and is signed by the wallet's keys alone",
    "correct the payment",
);
/// The server knows at least the chain that the wallet knows.
pub const BEHIND: Rule = Rule::new(
    "wallet-server-behind",
    "the server's chain reaches the height that the wallet has seen",
    "wait until the server has caught up, or ask another one",
);

/// Unused scripts that are looked at behind the last used one (BIP-44's gap limit).
const GAP: u32 = 20;

/// Headers read below the wallet's tip, so that a usual reorg is inside the run.
const REORG_SPAN: u32 = 20;

const KEYCHAINS: [KeychainKind; 2] = [KeychainKind::External, KeychainKind::Internal];

/// What the wallet holds, in satoshis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// In a block, and mature.
    pub confirmed: Amount,
    /// Paid by a coinbase that has fewer than 100 blocks.
    pub immature: Amount,
    /// Waiting in the mempool.
    pub pending: Amount,
    /// The part of `confirmed` that is reserved for transactions that were signed.
    pub reserved: Amount,
}

/// A BIP-86 wallet of one seed on one network.
pub struct Wallet {
    inner: PersistedWallet<Store>,
    master: Xpriv,
}

impl Drop for Wallet {
    fn drop(&mut self) {
        // Ours is erased; bdk_wallet keeps another one in its descriptors, which it gives back to
        // the system as they are.
        self.master.private_key.non_secure_erase();
        self.master.chain_code = [0; 32].into();
    }
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of every log.
        f.debug_struct("Wallet").field("network", &self.network()).finish_non_exhaustive()
    }
}

impl Wallet {
    /// The wallet of the seed's master key `master`: the one in `store`, or a new one.
    ///
    /// Refused if the store holds another seed's wallet, or one of another network.
    pub fn create_or_load(store: &mut Store, master: Xpriv, network: Network) -> Result<Self> {
        if master.network != NetworkKind::from(network) {
            return Err(KEY_NETWORK.refuses(
                Culprit::Sender,
                "master key",
                network,
                match master.network {
                    NetworkKind::Main => "a mainnet key",
                    NetworkKind::Test => "a key of a test network",
                },
            ));
        }
        let [external, internal] = KEYCHAINS.map(|keychain| Bip86(master, keychain));
        let loaded = bdk_wallet::Wallet::load()
            .descriptor(KeychainKind::External, Some(external.clone()))
            .descriptor(KeychainKind::Internal, Some(internal.clone()))
            .check_network(network)
            .load_wallet(store)
            .map_err(|error| match error {
                LoadWithPersistError::Persist(error) => error,
                LoadWithPersistError::InvalidChangeSet(LoadError::Mismatch(found)) => SAME_WALLET
                    .refuses(
                        Culprit::Sender,
                        "wallet in the store",
                        format_args!("this seed on {network}"),
                        found,
                    ),
                LoadWithPersistError::InvalidChangeSet(found) => {
                    SAME_WALLET.unstored("wallet in the store", "a whole wallet", found)
                }
            })?;
        let inner = match loaded {
            Some(inner) => inner,
            None => bdk_wallet::Wallet::create(external, internal)
                .network(network)
                .create_wallet(store)
                .map_err(|error| match error {
                    CreateWithPersistError::Persist(error) => error,
                    CreateWithPersistError::DataAlreadyExists(_) => {
                        SAME_WALLET.unstored("wallet in the store", "none yet", "one")
                    }
                    CreateWithPersistError::Descriptor(error) => {
                        KEY_NETWORK.broken("BIP-86 descriptor", network, error)
                    }
                })?,
        };
        Ok(Self { inner, master })
    }

    /// The wallet's network.
    pub fn network(&self) -> Network {
        self.inner.network()
    }

    /// An address that was never shown before; its index is on disk before it is returned.
    pub fn next_address(&mut self, store: &mut Store) -> Result<Address> {
        let address = self.inner.reveal_next_address(KeychainKind::External).address;
        self.inner.persist(store)?;
        Ok(address)
    }

    /// Reads what the chain holds for the wallet, and stores it.
    pub fn sync(&mut self, chain: &mut GuardedChain, store: &mut Store) -> Result<()> {
        if chain.network() != self.network() {
            let (ours, theirs) = (self.network(), chain.network());
            return Err(NETWORK.unavailable("server of the wallet", ours, theirs));
        }
        let (tip, _) = chain.electrum().tip()?;
        let known = self.inner.latest_checkpoint().height();
        // Before the first synchronisation there is nothing to join: what lies lower is read where a
        // transaction needs it.
        let join = if known == 0 { tip } else { known.min(tip) };
        let first = join.saturating_sub(REORG_SPAN);
        let mut last = KEYCHAINS.map(|keychain| self.inner.derivation_index(keychain));
        let (facts, used) = loop {
            let scripts = self.scripts(last);
            let all: Vec<ScriptBuf> = scripts.keys().cloned().collect();
            let facts = chain.facts(store, &all, first)?;
            let used = last_used(&facts, &scripts);
            // A script used behind the gap's start moves the gap: look further.
            let further = [used[0].max(last[0]), used[1].max(last[1])];
            if further == last {
                break (facts, used);
            }
            last = further;
        };
        let chain_update = self.chain_update(chain, &facts)?;
        let mut update = Update { chain: Some(chain_update), ..Update::default() };
        update.tx_update = self.tx_update(&facts);
        for (keychain, index) in KEYCHAINS.into_iter().zip(used) {
            if let Some(index) = index {
                update.last_active_indices.insert(keychain, index);
            }
        }
        self.inner
            .apply_update(update)
            .map_err(|e| STEADY.unavailable("wallet's view of the chain", "one chain", e))?;
        self.inner.persist(store)?;
        Ok(())
    }

    /// What the wallet holds, as of the last synchronisation.
    pub fn balance(&self) -> Balance {
        let total = self.inner.balance();
        let reserved = self
            .inner
            .list_unspent()
            .filter(|coin| {
                coin.chain_position.is_confirmed() && self.inner.is_outpoint_locked(coin.outpoint)
            })
            .map(|coin| coin.txout.value)
            .sum();
        Balance {
            confirmed: total.confirmed,
            immature: total.immature,
            pending: total.trusted_pending + total.untrusted_pending,
            reserved,
        }
    }

    /// The wallet's unspent coins, reserved ones too, oldest first.
    pub fn coins(&self) -> Vec<Coin> {
        let mut coins: Vec<Coin> = self
            .inner
            .list_unspent()
            .map(|coin| Coin {
                outpoint: coin.outpoint,
                height: coin.chain_position.confirmation_height_upper_bound(),
                coinbase: self
                    .inner
                    .get_tx(coin.outpoint.txid)
                    .is_some_and(|tx| tx.tx_node.tx.is_coinbase()),
                txout: coin.txout,
                spender: None,
            })
            .collect();
        coins.sort_by_key(|coin| (coin.height.unwrap_or(u32::MAX), coin.outpoint));
        coins
    }

    /// Builds and signs a transaction that pays `outputs` in this order, change behind them, and
    /// reserves its coins. Nothing is stored or sent: the caller commits [`Wallet::take_staged`]
    /// together with his events, and only then sends.
    pub fn fund(&mut self, outputs: &[TxOut], fee_rate: FeeRate) -> Result<Transaction> {
        let total = outputs
            .iter()
            .try_fold(Amount::ZERO, |sum, out| sum.checked_add(out.value))
            .filter(|sum| *sum <= Amount::MAX_MONEY);
        let Some(total) = total else {
            return Err(DUST.refuses(
                Culprit::Sender,
                "sum of the outputs",
                format_args!("at most {}", Amount::MAX_MONEY),
                "more",
            ));
        };
        let mut builder = self.inner.build_tx().coin_selection(LargestFirstCoinSelection);
        builder.ordering(TxOrdering::Untouched).fee_rate(fee_rate).exclude_unconfirmed();
        for output in outputs {
            builder.add_recipient(output.script_pubkey.clone(), output.value);
        }
        let mut psbt = builder.finish().map_err(|error| self.unbuilt(error, total))?;
        let unsigned = |found: String| BUILD.broken("funding transaction", "signed inputs", found);
        // Every input is a BIP-86 output of ours: one key, no leaves, nothing else to sign.
        self.sign(&mut psbt).map_err(|error| unsigned(error.to_string()))?;
        psbt.finalize_mut(self.inner.secp_ctx())
            .map_err(|errors| unsigned(format!("{errors:?}")))?;
        let tx = psbt.extract_tx().map_err(|e| {
            BUILD.refuses(Culprit::Sender, "funding transaction", "a sensible fee", e)
        })?;
        for input in &tx.input {
            self.inner.lock_outpoint(input.previous_output);
        }
        Ok(tx)
    }

    /// Signs every input of a transaction of ours by its BIP-86 key. BIP 340 without auxiliary
    /// randomness: the same transaction gets the same signatures.
    fn sign(&self, psbt: &mut Psbt) -> std::result::Result<(), Box<dyn std::error::Error>> {
        let secp = self.inner.secp_ctx();
        let prevouts: Vec<TxOut> =
            psbt.inputs.iter().filter_map(|input| input.witness_utxo.clone()).collect();
        let mut cache = SighashCache::new(psbt.unsigned_tx.clone());
        for (place, input) in psbt.inputs.iter_mut().enumerate() {
            let internal = input.tap_internal_key.ok_or("an input without an internal key")?;
            let (_, (_, path)) =
                input.tap_key_origins.get(&internal).ok_or("an input without an origin")?;
            let mut key = self.master.derive_priv(secp, path)?;
            let mut keypair = key.to_keypair(secp).tap_tweak(secp, None).to_keypair();
            let sighash = cache.taproot_key_spend_signature_hash(
                place,
                &Prevouts::All(&prevouts),
                TapSighashType::Default,
            )?;
            let signature = secp.sign_schnorr_no_aux_rand(&sighash.into(), &keypair);
            key.private_key.non_secure_erase();
            keypair.non_secure_erase();
            input.tap_key_sig =
                Some(taproot::Signature { signature, sighash_type: TapSighashType::Default });
        }
        Ok(())
    }

    /// Gives back the coins that a transaction of [`Wallet::fund`] reserved; staged like it.
    pub fn release(&mut self, tx: &Transaction) {
        for input in &tx.input {
            self.inner.unlock_outpoint(input.previous_output);
        }
    }

    /// The changes since the last commit, for [`Store::append`]. If that fails, hand them back
    /// through [`Wallet::restage`].
    pub fn take_staged(&mut self) -> Option<ChangeSet> {
        self.inner.take_staged()
    }

    /// Takes changes back that could not be committed.
    pub fn restage(&mut self, changes: ChangeSet) {
        use bdk_wallet::chain::Merge;
        let newer = self.inner.take_staged();
        let mut all = changes;
        if let Some(newer) = newer {
            all.merge(newer);
        }
        match self.inner.staged_mut() {
            Some(stage) => *stage = all,
            // The library hands out its stage only while something is in it: lay a stone there,
            // a lock and its undoing, which leaves no trace once it is replaced.
            None => {
                let stone = bitcoin::OutPoint::null();
                self.inner.lock_outpoint(stone);
                self.inner.unlock_outpoint(stone);
                if let Some(stage) = self.inner.staged_mut() {
                    *stage = all;
                }
            }
        }
    }

    /// Pays `amount` to `address` and sends the transaction.
    ///
    /// If the network refuses it, or does not answer, its coins are free again; in the second case
    /// it may have arrived all the same: synchronise and look before paying again.
    pub fn send(
        &mut self,
        chain: &Electrum,
        store: &mut Store,
        address: &Address,
        amount: Amount,
        fee_rate: FeeRate,
    ) -> Result<Txid> {
        let output = TxOut { value: amount, script_pubkey: address.script_pubkey() };
        let tx = self.fund(&[output], fee_rate)?;
        self.inner.persist(store)?;
        let sent = chain.broadcast(&tx);
        // Once sent, the next synchronisation sees the coins as spent.
        if sent.is_err() {
            self.release(&tx);
            self.inner.persist(store)?;
        }
        sent
    }

    /// The scripts to watch, up to the gap behind index `last` of each keychain.
    fn scripts(&self, last: [Option<u32>; 2]) -> BTreeMap<ScriptBuf, (usize, u32)> {
        let mut scripts = BTreeMap::new();
        for (place, (keychain, last)) in KEYCHAINS.into_iter().zip(last).enumerate() {
            let count = last.map_or(0, |last| last.saturating_add(1)).saturating_add(GAP);
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            for (index, script) in self.inner.unbounded_spk_iter(keychain).take(count) {
                scripts.insert(script, (place, index));
            }
        }
        scripts
    }

    /// What `facts` say about transactions, in the library's words.
    fn tx_update(&self, facts: &Facts) -> TxUpdate<ConfirmationBlockTime> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let mut update = TxUpdate::default();
        for (txid, seen) in &facts.transactions {
            update.txs.push(seen.tx.clone().into());
            let block = seen.height.and_then(|height| {
                Some((height, facts.headers.hash(height)?, facts.headers.header(height)?.time))
            });
            match block {
                Some((height, hash, time)) => {
                    let block_id = BlockId { height, hash };
                    let confirmation_time = u64::from(time);
                    let anchor = ConfirmationBlockTime { block_id, confirmation_time };
                    update.anchors.insert((anchor, *txid));
                }
                None => {
                    update.seen_ats.insert((*txid, now));
                }
            }
        }
        // What the server no longer names is gone: replaced, expired, or lost in a reorg.
        for tx in self.inner.transactions() {
            let txid = tx.tx_node.txid;
            if !facts.transactions.contains_key(&txid) {
                update.evicted_ats.insert((txid, now));
            }
        }
        update
    }

    /// The blocks that join the wallet's chain to the server's: down to the highest one that both
    /// have, each block the wallet holds above it, each block of a transaction, and the tip.
    fn chain_update(&self, chain: &GuardedChain, facts: &Facts) -> Result<CheckPoint> {
        let tip = facts.tip();
        let mut headers = facts.headers.clone();
        let mut blocks: BTreeMap<u32, BlockHash> = BTreeMap::new();
        let mut reorganised = false;
        let mut above = None;
        for held in self.inner.latest_checkpoint().iter() {
            let height = held.height();
            if height > tip {
                above = Some(height);
                continue;
            }
            // Height 0 is the network's own; the connection was checked against it.
            let now = if height == 0 {
                held.hash()
            } else {
                if height < headers.first() {
                    headers = chain.headers(height)?;
                }
                headers.hash(height).unwrap_or(held.hash())
            };
            blocks.insert(height, now);
            if now == held.hash() {
                break;
            }
            reorganised = true;
        }
        if let (Some(height), false) = (above, reorganised) {
            return Err(BEHIND.unavailable(
                "server of the wallet",
                format_args!("a tip at height {height} or above"),
                format_args!("height {tip}"),
            ));
        }
        let heights: BTreeSet<u32> =
            facts.transactions.values().filter_map(|seen| seen.height).chain([tip]).collect();
        for height in heights {
            if let Some(hash) = headers.hash(height) {
                blocks.insert(height, hash);
            }
        }
        let blocks = blocks.into_iter().map(|(height, hash)| BlockId { height, hash });
        CheckPoint::from_block_ids(blocks)
            .map_err(|_| STEADY.broken("wallet's view of the chain", "rising heights", "none"))
    }

    /// Why the library could not build a payment of `total`.
    fn unbuilt(&self, error: CreateTxError, total: Amount) -> Error {
        match error {
            CreateTxError::CoinSelection(short) => {
                let held = self.balance();
                FUNDS.refuses(
                    Culprit::Sender,
                    format_args!("payment of {total}"),
                    format_args!("{} with the fee", short.needed),
                    format_args!(
                        "{} to spend (confirmed {}, of it reserved {}; immature {}, pending {})",
                        short.available, held.confirmed, held.reserved, held.immature, held.pending
                    ),
                )
            }
            CreateTxError::OutputBelowDustLimit(place) => DUST.refuses(
                Culprit::Sender,
                format_args!("output {place}"),
                "more than dust",
                "less than it costs to spend",
            ),
            other => BUILD.refuses(Culprit::Sender, "funding transaction", "a payment", other),
        }
    }
}

/// The highest index of each keychain that a transaction pays.
fn last_used(facts: &Facts, scripts: &BTreeMap<ScriptBuf, (usize, u32)>) -> [Option<u32>; 2] {
    let mut used = [None; 2];
    for output in facts.transactions.values().flat_map(|seen| &seen.tx.output) {
        if let Some((place, index)) = scripts.get(&output.script_pubkey) {
            used[*place] = used[*place].max(Some(*index));
        }
    }
    used
}

/// Reads `text` as an address of `network`; one of another network is refused by name.
pub fn address_on(network: Network, text: &str) -> Result<Address> {
    let address: Address<NetworkUnchecked> = text.trim().parse().map_err(|e| {
        ADDRESS.refuses(Culprit::Sender, format_args!("address {text}"), network, e)
    })?;
    if address.is_valid_for_network(network) {
        return Ok(address.assume_checked());
    }
    let networks: Vec<String> =
        [Network::Bitcoin, Network::Testnet, Network::Testnet4, Network::Signet, Network::Regtest]
            .into_iter()
            .filter(|other| address.is_valid_for_network(*other))
            .map(|other| other.to_string())
            .collect();
    Err(ADDRESS_NETWORK.refuses(
        Culprit::Sender,
        format_args!("address {text}"),
        network,
        networks.join(" or "),
    ))
}

mod proof;
#[cfg(test)]
mod tests;
