//! `hashmix gateway`: machines in front, Bitcoin Core behind, and the shares of positions kept.
//!
//! On a terminal there is a live line with the slice's progress, and the log passes above it;
//! anywhere else the log alone is written, a line for each thing that happened, to standard error.

use core::ops::RangeInclusive;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bitcoin::{Network, Script};
use indicatif::{ProgressBar, ProgressStyle};
use zeroize::Zeroizing;

use crate::chain::core::{Auth, Node};
use crate::chain::electrum::Electrum;
use crate::cli::arguments::{GatewayArguments, Home};
use crate::cli::{file, position, secret, seed};
use crate::engine::SEAT;
use crate::error::{Error, Result, Rule};
use crate::flow::escrow::terms::{EscrowTerms, TERMS_MAX_BYTES};
use crate::flow::position::proof::{Stage, foreseen};
use crate::gateway::agreed::{Agreed, Position, RECORD};
use crate::gateway::before::{Before, in_order};
use crate::gateway::config::{BeforeEntry, CONFIG_MAX_BYTES, Config, NodeEntry, PositionEntry};
use crate::gateway::foreman::{Gateway, Settings};
use crate::gateway::plan::{Payee, Plan};
use crate::gateway::rates::in_words;
use crate::gateway::sealing::{Seals, Signs};
use crate::gateway::status::{Status, Work};
use crate::gateway::window::STATUS_PATH;
use crate::http::Address;
use crate::sign::seed::Seed;
use crate::sign::software::SoftwareSigner;
use crate::store::Store;
use crate::validator::stop;
use crate::wallet::address_on;
use crate::work::agreement::WorkTerms;

/// A gateway's status can be asked for.
pub const STATUS: Rule = Rule::new(
    "gateway-status",
    "a gateway tells its status at http://host:port",
    "name the address that stands under `status` in the gateway's file, and start the gateway",
);

/// The dossier that a gateway writes to is the position's.
pub const DOSSIER: Rule = Rule::new(
    "gateway-config-dossier",
    "a dossier in a gateway's file is that of the position whose terms are named beside it",
    "name the dossier's folder beside the terms of its own contract, or leave `dossier` out",
);

/// Longest password, and the longest status that is read, in bytes.
const LONGEST_PASSWORD: usize = 1_024;
const LONGEST_STATUS: usize = 16 << 20;
/// Time for a status.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the live line is drawn anew.
const LIVE: Duration = Duration::from_secs(1);

/// Runs until told to stop.
pub fn run(arguments: &GatewayArguments) -> Result<Vec<String>> {
    let (settings, plan, seals) = read(&arguments.home, &arguments.config)?;
    // Whoever cannot be asked now keeps no machine waiting.
    look_ahead(&plan, &arguments.home, &seals.electrum)?;
    let stop = told_to_stop();
    let gateway = Gateway::start(settings, plan, seals)?;
    let log = Log::new();
    log.line(&format!("machines connect to stratum+tcp://{}", gateway.address()));
    for payee in gateway.payees() {
        log.line(&format!("  user {payee}.WORKER, any password"));
    }
    if let Some(address) = gateway.window() {
        log.line(&format!("status at http://{address}{STATUS_PATH}, metrics at /metrics"));
    }
    let mut drawn = Instant::now();
    while !stop.load(Ordering::Relaxed) && !gateway.has_failed() {
        if let Some(line) = gateway.notice(Duration::from_millis(200)) {
            log.line(&line);
        }
        if log.live.is_some() && drawn.elapsed() >= LIVE {
            drawn = Instant::now();
            log.draw(&gateway.status());
        }
    }
    log.line("stopping: machines are let go, finds are put on the disk");
    gateway.stop()?;
    log.line("stopped");
    Ok(Vec::new())
}

/// What the file says, without starting anything: whom each coinbase will pay.
pub fn check(arguments: &GatewayArguments) -> Result<Vec<String>> {
    let text = file::text(&arguments.config, CONFIG_MAX_BYTES)?;
    let config = Config::from_json(&text).map_err(|e| e.within(arguments.config.display()))?;
    let (plan, before) = plan(&config, arguments.home.network, folder(&arguments.config))?;
    dossiers(&config, &plan, folder(&arguments.config))?;
    plan.rehearse()?;
    let mut lines = vec![
        format!("machines   stratum+tcp://{}", config.listen),
        format!("nodes      {}", config.nodes.len()),
    ];
    for payee in plan.payees() {
        lines.push(format!(
            "payee      {}, coinbase of {} bytes at most",
            payee.name, payee.longest
        ));
        for (place, weight) in &payee.positions {
            let Some(position) = plan.positions().get(*place) else { continue };
            let calendar = position.work.calendar();
            lines.push(format!("  position {}", position.id));
            lines.extend(stage(position)?);
            lines.push(format!(
                "    weight {weight}, heights {} to {}, {} shares a slice of {} blocks",
                calendar.begin(),
                calendar.end(),
                position.work.expected,
                calendar.slice
            ));
            lines.extend(locks(&position.work));
            let named = plan.places().iter().zip(&before);
            let named = named.filter(|(places, _)| places.contains(place));
            for Before { terms, .. } in named.flat_map(|(_, before)| before) {
                lines.push(format!("    behind contract {}", terms.id()?));
            }
            if position.work.service_ppm > 0 {
                lines.push(format!(
                    "    behind {:x}, {} ppm",
                    position.work.service, position.work.service_ppm
                ));
            }
        }
        if let Some((script, weight)) = &payee.own {
            lines.push(format!("  own part weight {weight}, {script:x}"));
        }
    }
    lines.extend(look_ahead(&plan, &arguments.home, &config.electrum)?);
    Ok(lines)
}

/// What a position proves before it is issued, and with how many shares.
fn stage(position: &Position) -> Result<Vec<String>> {
    let Some((terms, stage)) = position.proof() else { return Ok(Vec::new()) };
    let (least, id) = (foreseen(terms)?, terms.id()?);
    let mut lines = vec![
        format!("    {stage} of terms {id}"),
        format!(
            "    at least {} of {} shares if the slice takes {} s",
            least.shares, least.expected, least.seconds
        ),
    ];
    let (from, start) = (Stage::Binding.last(terms).saturating_add(1), terms.delivery.start);
    if stage == Stage::Binding && from < start {
        let to = start.saturating_sub(1);
        lines.push(format!(
            "    the lock is paid on at heights {from} to {to}, which count for nothing"
        ));
    }
    Ok(lines)
}

/// Refuses a position of which nothing can be proven any more, if the Electrum server tells; says what it
/// tells. Contracts need no look: before and after their terms the miner mines for himself.
fn look_ahead(plan: &Plan, home: &Home, electrum: &str) -> Result<Option<String>> {
    if plan.positions().iter().all(|position| position.proof().is_none()) {
        return Ok(None);
    }
    let tip = Electrum::connect(electrum, home.network).and_then(|electrum| electrum.tip());
    let tip = match tip {
        Ok((tip, _)) => tip,
        Err(error @ Error::Unavailable(_)) => {
            return Ok(Some(format!("chain      not looked at: {error}")));
        }
        Err(error) => return Err(error),
    };
    let path = home.home.join("store.sqlite");
    let store = if path.exists() { Some(Store::open(path)?) } else { None };
    for position in plan.positions() {
        let kept = match &store {
            Some(store) => {
                let id = position.id.as_bytes();
                !(store.finds(id)?.is_empty() && store.certificate_names(id)?.is_empty())
            }
            None => false,
        };
        position.check_ahead(tip, kept)?;
    }
    Ok(Some(format!("chain      tip at height {tip}")))
}

/// The lock that the position's coinbases pay; where the holder changes, each with its heights.
fn locks(work: &WorkTerms) -> Vec<String> {
    let locks = work.locks();
    let one = locks.len() == 1;
    let line = |(heights, lock): (RangeInclusive<u32>, &Script)| match one {
        true => format!("    lock   {lock:x}"),
        false => format!("    lock   {lock:x}, heights {} to {}", heights.start(), heights.end()),
    };
    locks.into_iter().map(line).collect()
}

/// Asks a running gateway how it does.
pub fn status(url: &str, json: bool) -> Result<Vec<String>> {
    let address =
        Address::parse(url).ok_or_else(|| STATUS.misused("--url", "http://host:port", url))?;
    let (code, body) = address
        .get(STATUS_PATH, "", PATIENCE, LONGEST_STATUS)
        .map_err(|trouble| STATUS.unavailable(url, "a status", trouble))?;
    let text = String::from_utf8_lossy(&body);
    if code != 200 {
        return Err(STATUS.unavailable(url, "a status", format_args!("HTTP {code}")));
    }
    let status = Status::from_json(&text).map_err(|error| error.within(url))?;
    Ok(if json { vec![status.to_json().trim_end().to_owned()] } else { status.in_words() })
}

fn folder(config: &Path) -> &Path {
    config.parent().unwrap_or(Path::new("."))
}

/// Everything that a gateway starts with, read from its file and what that names.
fn read(home: &Home, path: &Path) -> Result<(Settings, Plan, Seals)> {
    let text = file::text(path, CONFIG_MAX_BYTES)?;
    let config = Config::from_json(&text).map_err(|error| error.within(path.display()))?;
    let (network, folder) = (home.network, folder(path));
    let (plan, before) = plan(&config, network, folder)?;
    let nodes = config.nodes.iter().map(|entry| node(entry, folder)).collect::<Result<_>>()?;
    let entries = config.payees.iter().flat_map(|payee| &payee.positions);
    let mut positions: Vec<Option<Signs>> = Vec::new();
    let dossiers = dossiers(&config, &plan, folder)?;
    for ((entry, places), before) in entries.zip(plan.places()).zip(before) {
        let signs = entry.record.map(|record| Signs {
            record,
            before,
            validators: entry.validators.clone(),
            relay: entry.relay.as_ref().map(|relay| folder.join(relay)),
        });
        positions.extend(places.clone().map(|_| signs.clone()));
    }
    // A gateway that seals nothing asks for no secrets.
    let signs = positions.iter().any(Option::is_some);
    let seed = if signs { Some(seed::read(&home.seed())?) } else { None };
    for (position, signs) in plan.positions().iter().zip(&positions) {
        if let (Some(signs), Some(seed)) = (signs, &seed) {
            check_record(position, seed, signs.record)?;
        }
    }
    let electrum = config.electrum.clone();
    let seals = Seals { network, home: home.home.clone(), electrum, seed, positions, dossiers };
    let settings = Settings {
        network,
        home: home.home.clone(),
        listen: config.listen,
        status: config.status,
        gateway: config.gateway,
        shares_per_minute: config.shares_per_minute,
        nodes,
    };
    Ok((settings, plan, seals))
}

/// The dossier of each position of the plan, if the file names one; refused if it is of another position.
fn dossiers(config: &Config, plan: &Plan, folder: &Path) -> Result<Vec<Option<PathBuf>>> {
    let entries = config.payees.iter().flat_map(|payee| &payee.positions);
    let mut dossiers = Vec::new();
    for (entry, places) in entries.zip(plan.places()) {
        let path = entry.dossier.as_ref().map(|dossier| folder.join(dossier));
        if let Some(path) = &path {
            let held = position::folder::read(path)?.bare().position();
            for place in places.clone() {
                let ours = plan.positions().get(place).map(|position| position.id);
                if ours != Some(held) {
                    let expected = ours.map(|ours| ours.to_string()).unwrap_or_default();
                    return Err(DOSSIER.misused(path.display(), expected, held));
                }
            }
        }
        dossiers.extend(places.clone().map(|_| path.clone()));
    }
    Ok(dossiers)
}

/// Refuses a record that is not the miner's in the position's terms.
fn check_record(position: &Position, seed: &Seed, record: u32) -> Result<()> {
    let network = position.network();
    let Some(terms) = position.contract() else { return Ok(()) };
    let ours = SoftwareSigner::new(seed.record(network, record)?, network)?.keys().communication;
    let agreed = terms.reward.miner.record.communication;
    match ours == agreed {
        true => Ok(()),
        false => {
            Err(SEAT.misused(format_args!("record {record} for {}", position.id), agreed, ours))
        }
    }
}

/// Terms that an entry names, a contract's or a position's.
fn agreed(entry: &PositionEntry, folder: &Path) -> Result<Agreed> {
    let path = folder.join(&entry.terms);
    let text = file::text(&path, TERMS_MAX_BYTES)?;
    let agreed = Agreed::from_json(&text).map_err(|error| error.within(path.display()))?;
    let alone = entry.record.is_none() && entry.validators.is_empty() && entry.relay.is_none();
    let alone = alone && entry.dossier.is_none();
    if matches!(agreed, Agreed::Position(_)) && !alone {
        return Err(RECORD.misused(
            path.display(),
            "terms alone",
            "record, validators, relay or dossier",
        ));
    }
    Ok(agreed)
}

/// The contracts before the one that an entry names, in their order.
fn before(entry: &PositionEntry, newest: &Agreed, folder: &Path) -> Result<Vec<Before>> {
    let read = |named: &BeforeEntry| {
        let (path, relay) = match named {
            BeforeEntry::Terms(path) => (path, entry.relay.as_ref()),
            BeforeEntry::Apart { terms, relay } => (terms, Some(relay)),
        };
        let path = folder.join(path);
        let text = file::text(&path, TERMS_MAX_BYTES)?;
        let terms = EscrowTerms::from_json(&text).map_err(|e| e.within(path.display()))?;
        Ok(Before { terms, relay: relay.map(|relay| folder.join(relay)) })
    };
    let contracts = entry.before.iter().map(read).collect::<Result<_>>()?;
    in_order(newest, contracts).map_err(|error| error.within(folder.join(&entry.terms).display()))
}

/// The payees of the file, with the terms that it names; and for each of these the contracts before.
fn plan(config: &Config, network: Network, folder: &Path) -> Result<(Plan, Vec<Vec<Before>>)> {
    let (mut all, mut payees, mut all_before) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &config.payees {
        let mut positions = Vec::new();
        for position in &entry.positions {
            positions.push((all.len(), position.weight));
            let newest = agreed(position, folder)?;
            all_before.push(before(position, &newest, folder)?);
            all.push(newest);
        }
        let own = match &entry.own {
            Some(own) => {
                let address = own.address.clone().assume_checked().to_string();
                Some((address_on(network, &address)?.script_pubkey(), own.weight))
            }
            None => None,
        };
        let (name, longest) = (entry.name.clone(), entry.coinbase_bytes);
        payees.push(Payee { name, positions, own, longest });
    }
    Ok((Plan::new(network, all, payees)?, all_before))
}

fn node(entry: &NodeEntry, folder: &Path) -> Result<Node> {
    let auth = match (&entry.cookie, &entry.user, &entry.password_file) {
        (_, Some(user), Some(path)) => {
            let password: Zeroizing<String> = secret::text(&folder.join(path), LONGEST_PASSWORD)?;
            Auth::Password { user: user.clone(), password: password.trim_end().to_owned() }
        }
        (cookie, ..) => {
            Auth::Cookie(cookie.as_ref().map_or_else(PathBuf::new, |cookie| folder.join(cookie)))
        }
    };
    Ok(Node { url: entry.url.clone(), auth })
}

/// Becomes true when the process is told to stop.
fn told_to_stop() -> Arc<AtomicBool> {
    let told = Arc::new(AtomicBool::new(false));
    let tell = told.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Without a runtime the signal ends the process at once, and nothing but a second of finds
        // is lost.
        if let Ok(runtime) = runtime {
            runtime.block_on(stop::told_to_stop());
            tell.store(true, Ordering::Relaxed);
            // Whoever says it again means at once.
            runtime.block_on(stop::told_to_stop());
            std::process::exit(1);
        }
    });
    told
}

/// The log, and the live line below it on a terminal.
struct Log {
    live: Option<ProgressBar>,
}

impl Log {
    fn new() -> Self {
        let live = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg} [{bar:24}] {pos}/{len} shares");
            let bar = ProgressBar::new(1);
            match style {
                Ok(style) => bar.with_style(style.progress_chars("=> ")),
                Err(_) => bar,
            }
        });
        Self { live }
    }

    fn line(&self, line: &str) {
        match &self.live {
            Some(bar) => bar.println(line),
            // Whoever closed standard error wants no log.
            None => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }

    /// Draws the slice of the first position that runs, and what keeps the machines idle.
    fn draw(&self, status: &Status) {
        let Some(bar) = &self.live else { return };
        let machines = status.machines.len();
        let rate = in_words(status.rates[0]);
        let work = match &status.work {
            Work::On { height, .. } => format!("height {height}"),
            Work::Paused { why } => format!("no work ({:.60})", why),
        };
        let running = status.positions.iter().find(|position| position.slice.is_some());
        let slice = match running {
            Some(position) => {
                bar.set_length(u64::from(position.expected).max(position.shares));
                bar.set_position(position.shares);
                let number = position.slice.unwrap_or(0);
                match &position.stage {
                    Some(stage) => stage.stage.to_string(),
                    None => format!("slice {number}/{}", position.slices),
                }
            }
            None => "no slice".to_owned(),
        };
        bar.set_message(format!("{work}, {machines} machines, {rate}, {slice}"));
    }
}
