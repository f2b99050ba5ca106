//! `hashmix rules`: every rule by which something can be refused.
//!
//! The list is complete: a test reads the sources and fails for a rule that is missing here.

use crate::error::{Result, Rule};
use crate::{
    amount, canonical, chain, cli, engine, facts, flow, guard, header_sync, headers, id, keys,
    message, musig, party, policy, relay, script, sign, store, tx, validator, wallet, work,
};

/// A rule has an id.
pub const KNOWN: Rule =
    Rule::new("cli-rule", "a rule that is asked for exists", "see `hashmix rules` for all of them");

/// Every rule, by the module that applies it.
pub fn all() -> Vec<Rule> {
    let mut rules = Vec::new();
    rules.extend([amount::LIMIT]);
    rules.extend([canonical::NUMBER]);
    rules.extend([
        chain::electrum::NETWORK,
        chain::electrum::ANSWER,
        chain::electrum::STEADY,
        chain::electrum::TRANSACTION,
        chain::electrum::NOT_64,
        chain::electrum::BROADCAST,
        chain::electrum::FEE_RATE,
        chain::electrum::CROWDED,
        chain::electrum::BRANCH,
        chain::electrum::URL,
        chain::electrum::SERVER,
    ]);
    #[cfg(feature = "core")]
    rules.extend([
        chain::core::NODE,
        chain::core::AUTH,
        chain::core::NETWORK,
        chain::core::ANSWER,
        chain::core::ASKED,
        chain::core::BLOCK,
        chain::core::BROADCAST,
        chain::core::URL,
        chain::core::TEMPLATE,
    ]);
    #[cfg(feature = "regtest")]
    rules.extend([chain::embedded::STARTS, chain::embedded::BLOCK, chain::embedded::REORG]);
    rules.extend([cli::ARGUMENTS, cli::OUTPUT]);
    rules.extend([cli::certificate::POSITION, cli::certificate::RECEIPT]);
    rules.extend([
        cli::position::folder::FOLDER,
        cli::position::evidence::OURS,
        engine::evidence::KEPT,
        cli::position::SOLD,
    ]);
    rules.extend([cli::dossier::FOLDER, cli::dossier::STORED, cli::show::HEADERS, cli::show::OVER]);
    rules.extend([
        validator::answer::FORM,
        validator::desk::HOME,
        validator::desk::OURS,
        validator::desk::BUSY,
        validator::expected::PSBT,
        validator::limits::RATE,
        validator::limits::BUSY,
        validator::limits::ROUTE,
        validator::limits::BODY,
        validator::limits::LISTEN,
        validator::limits::PEER,
        validator::query::FORM,
        validator::query::TIP,
        validator::query::SIGNATURE,
        validator::registration::FORM,
        validator::registration::SIZE,
        validator::registration::WAY,
        validator::registration::SIGNED,
        validator::sold::DERIVED,
        validator::sold::BEFORE,
        validator::sold::CHAIN,
        validator::sold::SOLD,
        validator::registration::MEMBER,
        validator::registration::ISSUED,
        validator::registration::FIRST,
        validator::registration::NETWORK,
        validator::registration::APART,
        validator::registration::ALIVE,
        validator::request::SIZE,
        validator::request::FORM,
        validator::request::CONTRACT,
        validator::request::SEAT,
        validator::request::SIGNATURE,
        validator::request::KEY,
        validator::request::KEYS,
        validator::request::WORDS,
        validator::request::WORD,
        validator::request::BACKLOG,
    ]);
    rules.extend([cli::validator::GRANTED, cli::validator::SEAT]);
    #[cfg(feature = "core")]
    rules.extend([cli::validator::COOKIE]);
    #[cfg(feature = "regtest")]
    rules.extend([cli::demo::FOLDER, cli::demo::BALANCE]);
    rules.extend([
        cli::descriptor::FORM,
        cli::descriptor::CHECKSUM,
        cli::descriptor::SANE,
        cli::descriptor::PUBLIC,
        cli::descriptor::NETWORK,
        cli::descriptor::OURS,
    ]);
    rules.extend([cli::file::READABLE, cli::file::TEXT, cli::file::FREE, cli::file::WRITABLE]);
    rules.extend([
        cli::psbt::FORM,
        cli::psbt::PREVOUT,
        cli::psbt::AMOUNTS,
        cli::psbt::OURS,
        cli::psbt::HINTS,
        cli::psbt::SIGNATURE,
        cli::psbt::SEAL,
    ]);
    rules.extend([cli::rules::KNOWN]);
    rules.extend([cli::sale::COMPLETE]);
    #[cfg(feature = "core")]
    rules.extend([cli::sale::REGISTERED]);
    rules.extend([cli::contract::NETWORK, cli::contract::BEFORE]);
    rules.extend([cli::secret::PRIVATE, cli::secret::TWICE]);
    rules.extend([cli::terminal::PRESENT]);
    rules.extend([cli::terms::INDEX, cli::terms::CHECKSUM]);
    rules.extend([cli::wallet::HOME]);
    rules.extend([cli::simulate::CLAIMS]);
    rules.extend([cli::work::ARGUMENT, cli::work::ADDRESS_NETWORK]);
    rules.extend([engine::SEAT, engine::POSSIBLE, engine::READABLE, engine::WALLET]);
    rules.extend([engine::joint::ROUND]);
    rules.extend([
        engine::trade::SIGNER,
        engine::trade::TURN,
        engine::trade::JUDGED,
        engine::trade::KNOWN,
        engine::trade::FREE,
        engine::trade::OWN,
        engine::trade::RELEASED,
        engine::trade::FOREIGN,
        engine::trade::REPLACES,
        engine::trade::RETIRE,
        engine::title::BUSY,
    ]);
    rules.extend([flow::SPEAKER]);
    rules.extend([
        flow::position::terms::FORM,
        flow::position::terms::SEAL,
        flow::position::terms::ISSUER,
        flow::position::terms::SLICES,
        flow::position::terms::EFFICIENCY,
        flow::position::proof::RECEIPTS,
        flow::position::terms::SIZE,
        flow::position::terms::WINDOW,
        flow::position::txs::BATCH,
        flow::position::txs::FUNDED,
        flow::position::txs::INSCRIBED,
        script::envelope::TEXT,
        flow::position::enrolment::PROOF,
        flow::position::enrolment::REGISTERED,
        flow::position::proof::CAPACITY,
        flow::position::proof::CERTIFICATE,
        flow::position::state::ORDER,
        flow::position::state::AGAIN,
        flow::position::state::LOCK,
        flow::position::state::EARLY,
        flow::position::state::FUNDING,
        flow::position::state::ONCE,
        flow::position::dead::DEAD,
        flow::position::papers::WAITS,
        engine::issuing::record::SCRIPT,
        engine::issuing::record::RECORD,
        engine::issuing::COPY,
        engine::issuing::FILES,
        flow::position::state::JUDGED,
        flow::position::state::TOGETHER,
        cli::position::NUMBERS,
        cli::position::PAID_FOR,
    ]);
    rules.extend([tx::satoshi::FOLLOWED]);
    rules.extend([
        flow::dispute::state::TIMELY,
        flow::dispute::state::AGAIN,
        flow::dispute::state::OPENED,
        flow::dispute::state::HEARD,
        flow::dispute::state::JUST,
    ]);
    rules.extend([flow::escrow::outcome::VERDICT]);
    rules.extend([flow::escrow::state::PRESENT, flow::escrow::state::RIPE]);
    rules.extend([
        flow::escrow::terms::FORM,
        flow::escrow::terms::PROFILE,
        flow::escrow::terms::DELAYS,
        flow::escrow::terms::PRICE,
        flow::escrow::terms::FEES,
        flow::escrow::terms::PAYEES,
        flow::escrow::terms::PERIOD,
        flow::escrow::terms::TENURE,
    ]);
    rules.extend([flow::escrow::txs::DUE, flow::escrow::txs::HOLDER, flow::escrow::txs::OUTCOME]);
    rules.extend([
        flow::reward::state::AGAIN,
        flow::reward::state::ASKED,
        flow::reward::state::POSITION,
        flow::reward::state::CARRIED,
    ]);
    rules.extend([
        flow::resale::state::PRESENT,
        flow::resale::state::ASKED,
        flow::resale::state::AGAIN,
        flow::resale::state::HEARD,
        flow::resale::state::JUST,
        flow::resale::terms::LEFT,
        flow::resale::txs::CONSENTED,
    ]);
    rules.extend([
        flow::position::dossier::FORM,
        flow::position::dossier::BATCH,
        flow::position::dossier::POSITION,
        flow::position::dossier::NUMBERS,
        flow::position::title::ISSUED,
        flow::position::title::SIGNED,
        flow::position::title::CONFIRMED,
        flow::position::title::FEDERATION,
        flow::position::title::OPENS,
        flow::position::title::UNOPENED,
        flow::position::title::LOST,
        flow::position::title::RETIRED,
        flow::position::title::MOVES,
        flow::position::title::LOCKS,
    ]);
    rules.extend([flow::reward::terms::SERVICE]);
    rules.extend([flow::reward::txs::SWEEPABLE]);
    rules.extend([
        flow::sale::coins::EXPIRED,
        flow::sale::coins::LAST,
        flow::sale::coins::SEAL_MOVED,
        flow::sale::coins::ESCROW_MOVED,
        flow::sale::coins::COIN,
        flow::sale::coins::COIN_TWICE,
        flow::sale::consent::INPUTS,
        flow::sale::money::MONEY,
        flow::sale::state::ORDER,
        flow::sale::state::ANSWERS,
        flow::sale::terms::FORM,
        flow::sale::terms::SELLER,
        flow::sale::terms::NOTICE,
        flow::sale::terms::RESALE,
        flow::sale::terms::SWITCH,
        flow::sale::terms::SPAN,
        flow::sale::terms::ACCEPTS,
        flow::sale::title::TITLE,
        flow::sale::txs::FUNDS,
    ]);
    rules.extend([flow::word::FORM, flow::word::CONTRACT, flow::word::SEAT]);
    #[cfg(feature = "gateway")]
    rules.extend([
        cli::gateway::STATUS,
        cli::gateway::DOSSIER,
        crate::gateway::agreed::PAST,
        crate::gateway::agreed::RECORD,
        crate::gateway::before::BEFORE,
        crate::gateway::collector::ONCE,
        crate::gateway::config::FORM,
        crate::gateway::config::PAYEES,
        crate::gateway::config::NODES,
        crate::gateway::config::BEFORE,
        crate::gateway::floor::HOME,
        crate::gateway::plan::NETWORK,
        crate::gateway::settings::PAYEE,
        crate::gateway::settings::LISTEN,
        crate::gateway::status::FORM,
        crate::gateway::window::LISTEN,
    ]);
    rules.extend([
        guard::ANCHOR,
        guard::PARENT,
        guard::BITS,
        guard::WORK,
        guard::TIME,
        guard::TIMEWARP,
        guard::VERSION,
        guard::CHECKPOINT,
        guard::LEAST_WORK,
        guard::VOUCHED,
        guard::PIN,
    ]);
    rules.extend([header_sync::FUTURE, header_sync::SEQUENCE, header_sync::COMMON]);
    rules.extend([facts::OMITTED, facts::view::TIP]);
    rules.extend([header_sync::LATEST, header_sync::FRESH]);
    rules.extend([headers::LINKED, headers::WORK, headers::BITS, headers::TIME, headers::KNOWN]);
    rules.extend([id::HEX]);
    rules.extend([keys::EXPRESSION, keys::NETWORK, keys::HARDENED]);
    rules.extend([message::TEXT, message::DIGEST]);
    rules.extend([
        musig::PARTICIPANTS,
        musig::DUPLICATE,
        musig::PATH,
        musig::TWEAK,
        musig::RANDOMNESS,
        musig::SIGNER,
        musig::NONCE,
        musig::NONCE_SET,
        musig::NONCE_DEAD,
        musig::NONCE_PURPOSE,
        musig::PARTIAL,
        musig::PARTIAL_SET,
        musig::PARTIAL_WRONG,
        musig::SIGNATURE,
    ]);
    rules.extend([
        musig::psbt::FIELD,
        musig::psbt::LISTED,
        musig::psbt::SPENDS,
        musig::psbt::FOREIGN,
        musig::psbt::CONFLICT,
    ]);
    rules.extend([
        party::DISTINCT,
        party::NETWORK,
        party::ROLE,
        party::CONTRACT,
        party::MAJORITY,
        party::FORM,
    ]);
    #[cfg(feature = "regtest")]
    rules.extend([
        crate::rehearsal::deal::WALLETS,
        crate::rehearsal::life::STORY,
        crate::rehearsal::machines::FOUND,
    ]);
    #[cfg(feature = "regtest")]
    rules.extend([
        crate::rehearsal::daemons::FOUND,
        crate::rehearsal::daemons::RUNS,
        crate::rehearsal::reorg::DEPTH,
        crate::rehearsal::world::NAMED,
    ]);
    #[cfg(all(feature = "regtest", feature = "gateway"))]
    rules.extend([crate::rehearsal::stratum::TALKS]);
    rules.extend(policy::rules().into_iter().map(|reasoned| reasoned.rule));
    rules.extend([relay::folder::FOLDER, relay::folder::MESSAGE, relay::seat::BUSY]);
    rules.extend([script::lock::SANE, script::lock::LEAF, script::lock::SIGNED]);
    rules.extend([script::template::POLICY]);
    rules.extend([sign::RANDOMNESS]);
    rules.extend([
        sign::sealed::SEALED,
        sign::sealed::PASSPHRASE,
        sign::sealed::RECIPIENT,
        sign::sealed::STRETCH,
        sign::sealed::FORM,
    ]);
    rules.extend([sign::seed::WORDS, sign::seed::RECORD, sign::seed::DERIVES]);
    rules.extend([sign::software::PATH, sign::software::FAULTY]);
    rules.extend([
        store::WRITABLE,
        store::NOT_A_STORE,
        store::FOREIGN,
        store::VERSION,
        store::BUSY,
        store::FULL,
        store::DAMAGED,
        store::DISK,
        store::APPEND_ONLY,
        store::MEMORY_CONFLICT,
        store::CHANGES,
        store::HEADER_RUN,
        store::WALLET_IDENTITY,
    ]);
    rules.extend(tx::carrier::RULES);
    rules.extend([tx::draft::BUILT]);
    rules.extend([tx::exchange::SEAL_MOVES, tx::exchange::COIN]);
    rules.extend([tx::signed::SIGNATURE]);
    rules.extend([
        wallet::KEY_NETWORK,
        wallet::SAME_WALLET,
        wallet::ADDRESS,
        wallet::ADDRESS_NETWORK,
        wallet::FUNDS,
        wallet::DUST,
        wallet::BUILD,
        wallet::BEHIND,
    ]);
    rules.extend([
        work::agreement::SPANS,
        work::agreement::TERM,
        work::agreement::SHARES,
        work::agreement::SERVICE,
        work::agreement::CAP,
        work::agreement::LOCK,
        work::agreement::CRITICAL,
        work::agreement::TENURE,
        work::agreement::PROFILE,
    ]);
    rules.extend([
        work::certificate::FORMAT,
        work::certificate::ORDER,
        work::certificate::TWICE,
        work::certificate::COUNT,
        work::certificate::UNITE,
    ]);
    rules.extend([
        work::coinbase::FORM,
        work::coinbase::TRAILING,
        work::coinbase::LENGTH,
        work::coinbase::INPUT,
        work::coinbase::SCRIPT,
        work::coinbase::HEIGHT,
        work::coinbase::FINAL,
        work::coinbase::PAY_LOCK,
        work::coinbase::PAY_HOLDER,
        work::coinbase::PAY_SERVICE,
        work::coinbase::PAY_TOTAL,
    ]);
    rules.extend([
        work::columns::FORM,
        work::columns::CANONICAL,
        work::columns::SIZE,
        work::columns::SAME,
    ]);
    rules.extend([work::credit::PERIOD]);
    rules.extend([
        work::farm::STAKES,
        work::farm::LOCK,
        work::farm::APART,
        work::farm::SPENDABLE,
        work::farm::PART,
        work::farm::LENGTH,
    ]);
    rules.extend([work::odds::SIZE, work::odds::ALPHA]);
    rules.extend([work::receipt::SIGNATURE, work::receipt::VALIDATOR, work::receipt::FORMAT]);
    rules.extend([
        work::share::NETWORK,
        work::share::PARENT,
        work::share::SLICE,
        work::share::BITS,
        work::share::TIME,
        work::share::VERSION,
        work::share::ROOT,
        work::share::DEPTH,
        work::share::TWIN,
        work::share::TARGET,
    ]);
    rules.extend([work::share_file::FORMAT, work::share_file::HASH]);
    rules.extend([work::template::COINBASE_SCRIPT, work::template::COINBASE_TOTAL]);
    rules.extend([work::verdict::DEPTH]);
    rules.sort_by_key(|rule| rule.id);
    rules
}

/// The rules whose id begins with `about`, with advice; all of them without, if it is left out.
pub fn list(about: Option<&str>, markdown: bool) -> Result<Vec<String>> {
    let rules = all();
    if markdown {
        return Ok(document(&rules));
    }
    let Some(about) = about else {
        return Ok(rules.iter().map(|rule| format!("{:<28} {}", rule.id, rule.says)).collect());
    };
    let found: Vec<String> = rules
        .iter()
        .filter(|rule| rule.id.starts_with(about))
        .flat_map(|rule| {
            [
                rule.id.to_owned(),
                format!("  demands  {}", rule.says),
                format!("  advice   {}", rule.advice),
            ]
        })
        .collect();
    match found.is_empty() {
        true => Err(KNOWN.misused("rules", "the beginning of a rule's id", about)),
        false => Ok(found),
    }
}

/// The rules as docs/rules.md.
fn document(rules: &[Rule]) -> Vec<String> {
    let mut lines: Vec<String> = [
        "# Rules",
        "",
        "Everything that can be refused is refused by one of these rules. The id stands in brackets in",
        "the error's line and never changes its meaning. Written by `just rules`; do not edit.",
        "",
        "| id | what it demands | what to do |",
        "|---|---|---|",
    ]
    .map(str::to_owned)
    .to_vec();
    let cell = |text: &str| text.replace('|', "\\|");
    lines.extend(
        rules
            .iter()
            .map(|rule| format!("| `{}` | {} | {} |", rule.id, cell(rule.says), cell(rule.advice))),
    );
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The ids behind every `Rule::new(` of the sources, tests' own left out.
    fn written(folder: &Path, ids: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                written(&path, ids);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let found = text
                    .split(concat!("Rule::", "new("))
                    .skip(1)
                    .filter_map(|behind| behind.trim_start().strip_prefix('"')?.split('"').next())
                    .filter(|id| !id.starts_with("test-") && !id.is_empty());
                ids.extend(found.map(str::to_owned));
            }
        }
    }

    #[cfg(all(feature = "regtest", feature = "gateway"))]
    #[test]
    fn every_rule_of_the_sources_is_listed() {
        let mut ids = BTreeSet::new();
        written(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut ids);
        let listed: BTreeSet<String> = all().iter().map(|rule| rule.id.to_owned()).collect();
        let missing: Vec<_> = ids.difference(&listed).collect();
        assert!(missing.is_empty(), "list them in src/cli/rules.rs: {missing:?}");
        assert!(ids.len() > 100, "only {} found", ids.len());
    }

    #[test]
    fn no_two_rules_share_an_id_and_every_id_reads_area_name() {
        let rules = all();
        let ids: BTreeSet<&str> = rules.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), rules.len());
        for id in ids {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(id.contains('-') && id.chars().all(plain), "{id}");
        }
    }

    #[cfg(all(feature = "regtest", feature = "gateway"))]
    #[test]
    fn the_document_of_all_rules_is_fresh() {
        let fresh: String = document(&all()).iter().map(|line| format!("{line}\n")).collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rules.md");
        let kept = std::fs::read_to_string(path).unwrap();
        assert!(kept == fresh, "docs/rules.md is stale: run `just rules`");
    }

    #[test]
    fn a_rule_that_does_not_exist_is_refused() {
        assert_eq!(list(Some("no-such"), false).unwrap_err().rule(), "cli-rule");
        let lines = list(Some("work-branch-root"), false).unwrap();
        assert_eq!(lines.len(), 3);
    }
}
