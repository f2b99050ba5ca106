//! `hashmix wallet`: a person's own coins, through an Electrum server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcoin::{Amount, FeeRate};
use indicatif::ProgressBar;

use crate::amount::bounded;
use crate::chain::electrum::{CHUNK, Electrum, FEE_RATE};
use crate::cli::arguments::Home;
use crate::cli::headers::Progress;
use crate::cli::seed;
use crate::error::{Result, Rule};
use crate::header_sync::GuardedChain;
use crate::store::Store;
use crate::wallet::{Wallet, address_on};

/// The home folder is there or can be made.
pub const HOME: Rule = Rule::new(
    "wallet-home",
    "the home folder is a folder that can be made or is there",
    "check the path, its permissions and the disk",
);

/// The store's name in the home folder.
pub(crate) const STORE: &str = "store.sqlite";
/// Blocks within which an estimated fee is to confirm.
const SOON: u16 = 3;

/// An address that was never shown before.
pub fn address(home: &Home) -> Result<Vec<String>> {
    let (mut wallet, mut store) = open(home)?;
    Ok(vec![wallet.next_address(&mut store)?.to_string()])
}

/// What the wallet holds, after a synchronisation.
pub fn balance(home: &Home, url: &str) -> Result<Vec<String>> {
    let (mut wallet, mut store) = open(home)?;
    let chain = synchronise(&mut wallet, &mut store, home, url)?;
    let balance = wallet.balance();
    let height = chain.height();
    let mut lines = vec![
        format!("height     {height}"),
        format!("confirmed  {} sat", balance.confirmed.to_sat()),
    ];
    for (name, amount) in [
        ("immature", balance.immature),
        ("pending", balance.pending),
        ("reserved", balance.reserved),
    ] {
        if amount != Amount::ZERO {
            lines.push(format!("{name:<10} {} sat", amount.to_sat()));
        }
    }
    Ok(lines)
}

/// Pays `sat` to `to`, after a synchronisation.
pub fn send(
    home: &Home,
    url: &str,
    to: &str,
    sat: u64,
    fee_rate: Option<u64>,
) -> Result<Vec<String>> {
    let payee = address_on(home.network, to)?;
    let amount = bounded(Amount::from_sat(sat), "--sat")?;
    let stated = fee_rate.map(rate).transpose()?;
    let (mut wallet, mut store) = open(home)?;
    let chain = synchronise(&mut wallet, &mut store, home, url)?;
    let rate = match stated {
        Some(rate) => rate,
        None => chain.electrum().fee_rate(SOON)?.ok_or_else(|| {
            FEE_RATE.unavailable(
                format_args!("server {url}"),
                "an estimate",
                "none; use --fee-rate",
            )
        })?,
    };
    let txid = wallet.send(chain.electrum(), &mut store, &payee, amount, rate)?;
    Ok(vec![
        format!("sent  {sat} sat to {payee}"),
        format!("txid  {txid}"),
        format!("rate  {} sat/vB", rate.to_sat_per_vb_ceil()),
    ])
}

/// A fee rate within the bounds that an estimate has to keep too.
fn rate(sat_per_vb: u64) -> Result<FeeRate> {
    (1..=5_000)
        .contains(&sat_per_vb)
        .then(|| FeeRate::from_sat_per_vb(sat_per_vb))
        .flatten()
        .ok_or_else(|| FEE_RATE.misused("--fee-rate", "1 to 5000 sat/vB", sat_per_vb))
}

/// The wallet of a home, and the store it lies in.
pub(crate) fn open(home: &Home) -> Result<(Wallet, Store)> {
    let seed = seed::read(&home.seed())?;
    make(&home.home)?;
    let path: PathBuf = home.home.join(STORE);
    let mut store = Store::open(path)?;
    let master = seed.master(home.network.into())?;
    let wallet = Wallet::create_or_load(&mut store, *master.xpriv(), home.network)?;
    Ok((wallet, store))
}

/// Makes the folder for its owner alone; one that is there is left as it is.
pub(crate) fn make(home: &Path) -> Result<()> {
    if home.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(home).map_err(|error| HOME.unstored(home.display(), "a folder", error))
}

fn synchronise(
    wallet: &mut Wallet,
    store: &mut Store,
    home: &Home,
    url: &str,
) -> Result<GuardedChain> {
    let mut chain = GuardedChain::new(Electrum::connect(url, home.network)?);
    let mut progress = Progress::new();
    // A few headers are there at once; told is what takes a while.
    let synced = chain.sync(store, &mut |have, tip| {
        if tip > CHUNK {
            progress.show(have, tip);
        }
    });
    progress.end();
    synced?;
    // Drawn on a terminal alone; elsewhere it says nothing.
    let bar = ProgressBar::new_spinner().with_message(format!("reading the chain from {url}"));
    bar.enable_steady_tick(Duration::from_millis(120));
    let done = wallet.sync(&mut chain, store);
    bar.finish_and_clear();
    done.map(|()| chain)
}
