//! What a gateway tells about itself: one document, for people, for other programs, for Prometheus.

use std::fmt::Write;

use bitcoin::{BlockHash, Txid};
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Result, Rule};
use crate::flow::position::proof::Stage;
use crate::gateway::rates::in_words;
use crate::id::{CertificateDigest, PositionId, TermsId};

/// A status is one we can read.
pub const FORM: Rule = Rule::new(
    "gateway-status-form",
    "a gateway's status is JSON with the fields of `hashmix gateway status 1`",
    "name the status address of a gateway of this version",
);

/// The first field of a status.
pub const STATUS_FORMAT: &str = "hashmix gateway status 1";

/// Everything that is worth knowing of a gateway at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// [`STATUS_FORMAT`].
    pub format: String,
    /// Seconds since it began.
    pub up: u64,
    /// Whether machines have work.
    pub work: Work,
    /// Our nodes, the preferred one first.
    pub nodes: Vec<NodeStatus>,
    /// The machines that are connected.
    pub machines: Vec<Machine>,
    /// Hashes a second of all machines over 5 minutes, an hour, a day.
    pub rates: [u64; 3],
    /// The lowest hash that was found, if any was.
    pub best: Option<BlockHash>,
    /// Finds that were accepted.
    pub accepted: u64,
    /// Finds that were refused, by reason.
    pub rejected: Vec<(String, u64)>,
    /// Connections that were closed for their conduct.
    pub banned: u64,
    /// What is kept for each position.
    pub positions: Vec<PositionStatus>,
    /// Blocks that were found, the last one first.
    pub blocks: Vec<FoundBlock>,
}

/// Whether machines have work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Work {
    /// They mine on a template.
    On {
        /// The height of the block that is looked for.
        height: u32,
        /// Seconds since the template came.
        age: u64,
        /// The node that gave it.
        node: String,
    },
    /// There is nothing to mine on.
    Paused {
        /// Why.
        why: String,
    },
}

/// A node of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeStatus {
    /// Where it is.
    pub url: String,
    /// The height of the block that it would have us look for, if it answers.
    pub height: Option<u32>,
    /// What it said, or that it said nothing, if it does not answer.
    pub away: Option<String>,
}

/// A machine that is connected.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Its user name.
    pub user: String,
    /// Its firmware, as it names itself.
    pub firmware: String,
    /// Where it connects from.
    pub address: String,
    /// Hashes a second, over five minutes.
    pub rate: u64,
    /// Seconds since its last find, if it had one.
    pub last: Option<u64>,
    /// Finds that were accepted.
    pub accepted: u64,
    /// Finds that were refused.
    pub rejected: u64,
    /// What an operator should look at, if anything.
    pub trouble: Option<String>,
}

/// What is kept for a position.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionStatus {
    /// Which one.
    pub position: PositionId,
    /// Who is mined for.
    pub payee: String,
    /// What it proves, if it is not issued yet.
    #[serde(default)]
    pub stage: Option<StageStatus>,
    /// The slice that machines work on (1-based), if the term runs.
    pub slice: Option<u32>,
    /// Slices in the term.
    pub slices: u32,
    /// Shares of that slice so far.
    pub shares: u64,
    /// Shares that the agreed rate yields in a slice.
    pub expected: u32,
    /// Blocks of that slice that are found, of all it has.
    pub blocks: (u32, u32),
    /// The next height whose coinbase pays another lock, because the holder changes there.
    #[serde(default)]
    pub lock_changes: Option<u32>,
    /// What has sold the contract on, if its successor's terms are not named yet.
    #[serde(default)]
    pub sold_on: Option<SoldOn>,
    /// What has ended the contract, if it is no resale: a transaction in a block.
    #[serde(default)]
    pub closed: Option<Closed>,
    /// The certificate that was sealed last.
    pub sealed: Option<SealedSlice>,
    /// What keeps the sealing, if anything does.
    pub trouble: Option<String>,
}

/// A resale that ended the contract which is mined for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoldOn {
    /// The transaction.
    pub by: Txid,
    /// The first height whose coinbase pays another lock, if `terms` are known; the first that may, if
    /// not.
    pub before: u32,
    /// The file in the gateway's folder that has the new contract's terms, if the resale told them.
    #[serde(default)]
    pub terms: Option<String>,
}

impl core::fmt::Display for SoldOn {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { by, before, terms } = self;
        match terms {
            Some(terms) => {
                let last = before.saturating_sub(1);
                write!(
                    f,
                    "sold on by {by}: the old lock counts up to height {last}; name {terms} in place \
                     of the old terms before height {before}, or blocks from there on count for nobody"
                )
            }
            None => write!(
                f,
                "sold on by {by}: the old lock counts until the sale's switch, at height {before} or \
                 later; name the terms of the new contract before height {before}, or blocks from the \
                 switch on count for nobody"
            ),
        }
    }
}

/// A transaction that ended the contract which is mined for, and is no resale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// The transaction.
    pub by: Txid,
    /// The height of its block.
    pub height: u32,
}

impl core::fmt::Display for Closed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { by, height } = self;
        write!(
            f,
            "closed by {by} at height {height}: nobody pays for this work; take the position out"
        )
    }
}

/// A certificate that was sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedSlice {
    /// The slice (1-based).
    pub slice: u32,
    /// Its name.
    pub digest: CertificateDigest,
    /// Its shares.
    pub shares: u64,
    /// Validators that have given a receipt.
    pub receipts: usize,
    /// What the miner does with it, where the gateway does not say it for him.
    #[serde(default)]
    pub next: Option<String>,
}

/// What a position proves before it is issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageStatus {
    /// The id of the position's terms.
    pub terms: TermsId,
    /// Which of the two.
    pub stage: Stage,
    /// First and last height of its slice.
    pub heights: (u32, u32),
    /// The fewest shares that prove the rate, if the slice's blocks take 600 s each.
    pub least: u64,
    /// The height from which the coinbase pays the miner again.
    pub paid_until: u32,
}

/// A block that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundBlock {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// What the nodes made of it, each as it answered.
    pub judged: Vec<String>,
}

impl Status {
    /// Reads a status.
    pub fn from_json(text: &str) -> Result<Self> {
        let refuse = |found: &dyn core::fmt::Display| {
            FORM.refuses(Culprit::Server, "status", STATUS_FORMAT, found)
        };
        let status: Self = serde_json::from_str(text).map_err(|error| refuse(&error))?;
        if status.format != STATUS_FORMAT {
            return Err(refuse(&status.format));
        }
        Ok(status)
    }

    /// The status as JSON.
    pub fn to_json(&self) -> String {
        // Strings and numbers always have a JSON form.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// In the text format of Prometheus, version 0.0.4.
    pub fn to_metrics(&self) -> String {
        let mut text = String::new();
        let mut put = |name: &str, kind: &str, about: &str, rows: &[(String, String)]| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP hashmix_{name} {about}\n# TYPE hashmix_{name} {kind}");
            for (labels, value) in rows {
                let _ = writeln!(text, "hashmix_{name}{labels} {value}");
            }
        };
        let one = |value: String| vec![(String::new(), value)];
        let (working, height, age) = match &self.work {
            Work::On { height, age, .. } => (1, *height, *age),
            Work::Paused { .. } => (0, 0, 0),
        };
        put("up_seconds", "gauge", "Seconds since the gateway began.", &one(self.up.to_string()));
        put("working", "gauge", "1 if machines have work.", &one(working.to_string()));
        put("template_height", "gauge", "Height that is mined for.", &one(height.to_string()));
        put("template_age_seconds", "gauge", "Age of the template.", &one(age.to_string()));
        let machines = self.machines.len().to_string();
        put("machines", "gauge", "Machines that are connected.", &one(machines));
        let spans = ["5m", "1h", "24h"].iter().zip(self.rates);
        let rates: Vec<_> =
            spans.map(|(span, rate)| (format!("{{span=\"{span}\"}}"), rate.to_string())).collect();
        put("hashrate", "gauge", "Hashes a second, from accepted finds.", &rates);
        let accepted = one(self.accepted.to_string());
        put("finds_accepted_total", "counter", "Finds that were accepted.", &accepted);
        let rejected: Vec<_> = self
            .rejected
            .iter()
            .map(|(reason, count)| (format!("{{reason=\"{}\"}}", label(reason)), count.to_string()))
            .collect();
        put("finds_rejected_total", "counter", "Finds that were refused, by reason.", &rejected);
        let banned = one(self.banned.to_string());
        put("banned_total", "counter", "Connections closed for their conduct.", &banned);
        let of = |value: &dyn Fn(&PositionStatus) -> u64| -> Vec<(String, String)> {
            let label = |p: &PositionStatus| {
                format!("{{position=\"{}\",payee=\"{}\"}}", p.position, label(&p.payee))
            };
            self.positions.iter().map(|p| (label(p), value(p).to_string())).collect()
        };
        put("slice", "gauge", "Slice that is worked on.", &of(&|p| p.slice.unwrap_or(0).into()));
        put("slice_shares", "gauge", "Shares of that slice so far.", &of(&|p| p.shares));
        let expected = of(&|p| p.expected.into());
        put("slice_expected", "gauge", "Shares that the agreed rate yields in a slice.", &expected);
        let sold = of(&|p| p.sold_on.as_ref().map_or(0, |sold| sold.before.into()));
        let about =
            "Height before which the next contract's terms must be named; 0 if not sold on.";
        put("sold_on_height", "gauge", about, &sold);
        let closed = of(&|p| p.closed.map_or(0, |closed| closed.height.into()));
        let about =
            "Height of the block that closed the contract; 0 if none did, or it was sold on.";
        put("closed_height", "gauge", about, &closed);
        let sealed = of(&|p| p.sealed.as_ref().map_or(0, |sealed| sealed.slice.into()));
        put("sealed_slice", "gauge", "Slice that was sealed last.", &sealed);
        let receipts = of(&|p| {
            p.sealed.as_ref().map_or(0, |sealed| u64::try_from(sealed.receipts).unwrap_or(0))
        });
        put("sealed_receipts", "gauge", "Receipts of that slice.", &receipts);
        let blocks = one(self.blocks.len().to_string());
        put("blocks", "gauge", "Blocks that were found and are remembered.", &blocks);
        text
    }

    /// For people, on a page of 100 columns.
    pub fn in_words(&self) -> Vec<String> {
        let mut lines = vec![match &self.work {
            Work::On { height, age, node } => {
                format!("work       on height {height}, template {age} s old, of {node}")
            }
            Work::Paused { why } => format!("work       paused: {why}"),
        }];
        for node in &self.nodes {
            let state = match (&node.away, node.height) {
                (Some(why), _) => format!("away: {why}"),
                (None, Some(height)) => format!("offers height {height}"),
                (None, None) => "not heard of yet".to_owned(),
            };
            lines.push(format!("node       {}: {state}", node.url));
        }
        let [short, hour, day] = self.rates.map(in_words);
        lines.push(format!("rate       {short} over 5 min, {hour} over 1 h, {day} over 24 h"));
        if let Some(best) = self.best {
            lines.push(format!("best       {best}"));
        }
        let reasons: Vec<String> = self
            .rejected
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        let reasons = if reasons.is_empty() { "none".to_owned() } else { reasons.join(", ") };
        lines.push(format!("finds      {} accepted; refused: {reasons}", self.accepted));
        for block in &self.blocks {
            let judged = block.judged.join("; ");
            lines.push(format!("block      {} at height {}: {judged}", block.hash, block.height));
        }
        for position in &self.positions {
            lines.extend(position.in_words());
        }
        lines.push(format!("machines   {} connected, {} banned", self.machines.len(), self.banned));
        if !self.machines.is_empty() {
            lines.push(format!(
                "  {:<24} {:>10} {:>8} {:>8} {:>9}  firmware, trouble",
                "user", "rate", "accepted", "refused", "last find"
            ));
        }
        for machine in &self.machines {
            let last = machine.last.map_or("none".to_owned(), |seconds| format!("{seconds} s"));
            let trouble = machine.trouble.as_deref().map(|why| format!(": {why}"));
            lines.push(format!(
                "  {:<24} {:>10} {:>8} {:>8} {:>9}  {}{}",
                machine.user,
                in_words(machine.rate),
                machine.accepted,
                machine.rejected,
                last,
                machine.firmware,
                trouble.unwrap_or_default()
            ));
        }
        lines
    }
}

impl PositionStatus {
    fn in_words(&self) -> Vec<String> {
        let mut lines = vec![format!("position   {} ({})", self.position, self.payee)];
        if let Some(StageStatus { terms, stage, heights: (first, last), least, paid_until }) =
            &self.stage
        {
            lines.push(format!("  {stage} of terms {terms}"));
            lines.push(format!(
                "           heights {first} to {last}, lock paid to height {paid_until}; at least \
                 {least} of {} shares if a block takes 600 s",
                self.expected
            ));
        }
        match self.slice {
            None if self.stage.is_some() => {
                lines.push("  slice    not at this height".to_owned());
            }
            Some(slice) => lines.push(format!(
                "  slice    {slice} of {}: {} shares of {} expected, {} of {} blocks",
                self.slices, self.shares, self.expected, self.blocks.0, self.blocks.1
            )),
            None => lines.push("  slice    the term does not run at this height".to_owned()),
        }
        if let Some(height) = self.lock_changes {
            lines.push(format!("  lock     the next holder's from height {height} on"));
        }
        lines.extend(self.sold_on.iter().map(|sold| format!("  sale     {sold}")));
        lines.extend(self.closed.map(|closed| format!("  close    {closed}")));
        if let Some(sealed) = &self.sealed {
            lines.push(format!(
                "  sealed   slice {}: {} shares, {} receipts, {}",
                sealed.slice, sealed.shares, sealed.receipts, sealed.digest
            ));
        }
        let next = self.sealed.as_ref().and_then(|sealed| sealed.next.as_ref());
        lines.extend(next.map(|next| format!("  next     {next}")));
        lines.extend(self.trouble.iter().map(|why| format!("  trouble  {why}")));
        lines
    }
}

/// A label's value as Prometheus reads it.
fn label(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c => vec![c],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    fn position() -> PositionStatus {
        PositionStatus {
            position: PositionId([3; 32]),
            payee: "alice".to_owned(),
            stage: None,
            slice: None,
            slices: 12,
            shares: 0,
            expected: 24,
            blocks: (0, 12),
            lock_changes: None,
            sold_on: None,
            closed: None,
            sealed: None,
            trouble: None,
        }
    }

    fn status(position: PositionStatus) -> Status {
        Status {
            format: STATUS_FORMAT.to_owned(),
            up: 1,
            work: Work::Paused { why: "a test".to_owned() },
            nodes: Vec::new(),
            machines: Vec::new(),
            rates: [0; 3],
            best: None,
            accepted: 0,
            rejected: Vec::new(),
            banned: 0,
            positions: vec![position],
            blocks: Vec::new(),
        }
    }

    fn metric(status: &Status, name: &str) -> String {
        let metrics = status.to_metrics();
        let line = metrics.lines().find(|line| line.starts_with(&format!("hashmix_{name}{{")));
        line.unwrap().rsplit_once(' ').unwrap().1.to_owned()
    }

    #[test]
    fn a_close_is_told_with_its_height_in_words_and_metrics() {
        let none = status(position());
        assert!(!none.in_words().join("\n").contains("close"));
        assert_eq!(metric(&none, "closed_height"), "0");
        let by = Txid::from_byte_array([7; 32]);
        let closed =
            status(PositionStatus { closed: Some(Closed { by, height: 140 }), ..position() });
        let words = format!(
            "  close    closed by {by} at height 140: nobody pays for this work; take the position out"
        );
        assert!(closed.in_words().contains(&words), "{:?}", closed.in_words());
        assert_eq!(metric(&closed, "closed_height"), "140");
        assert_eq!(metric(&closed, "sold_on_height"), "0");
        assert_eq!(
            Status::from_json(&closed.to_json()).unwrap().positions[0].closed,
            closed.positions[0].closed
        );
    }

    #[test]
    fn a_resale_says_up_to_where_the_old_lock_counts_if_its_terms_are_known() {
        let by = Txid::from_byte_array([7; 32]);
        let unknown = SoldOn { by, before: 144, terms: None };
        assert!(
            unknown.to_string().contains("counts until the sale's switch, at height 144 or later")
        );
        let terms = Some("sold-on-abc.json".to_owned());
        let known = SoldOn { terms, ..unknown.clone() };
        let said = known.to_string();
        assert!(
            said.contains("the old lock counts up to height 143; name sold-on-abc.json"),
            "{said}"
        );
        let told = status(PositionStatus { sold_on: Some(known.clone()), ..position() });
        assert!(told.in_words().contains(&format!("  sale     {known}")));
        assert_eq!(metric(&told, "sold_on_height"), "144");
        assert_eq!(Status::from_json(&told.to_json()).unwrap().positions[0].sold_on, Some(known));
        // What an older gateway says has no terms.
        let old = status(PositionStatus { sold_on: Some(unknown.clone()), ..position() }).to_json();
        let old = old.replace(",\n        \"terms\": null", "");
        assert!(!old.contains("\"terms\""), "{old}");
        assert_eq!(Status::from_json(&old).unwrap().positions[0].sold_on, Some(unknown));
    }
}
