//! The policy files, and what becomes of them once people have taken their seats.
//!
//! A file under `descriptors/` is a wallet policy whose placeholders are seats (`@miner.leaf`) and
//! whose numbers are terms (`$k`). [`Template::fill`] numbers the placeholders by first appearance,
//! as BIP 388 demands, and spreads `@validators.leaf` over the federation, so one reviewed file
//! serves a federation of any size.

use bitcoin::Network;
use bitcoin::bip32::Xpub;
use bitcoin::secp256k1::PublicKey;
use serde::{Deserialize, Serialize};

use crate::error::{Culprit, Result, Rule};
use crate::keys::KeyExpression;
use crate::musig;
use crate::party::{Federation, Record, Seat};

/// A policy file is complete and its placeholders have people.
pub const POLICY: Rule = Rule::new(
    "script-policy",
    "a policy file names only seats and numbers that the terms fill",
    "restore the file under descriptors/",
);

/// Whether the key path is open (MuSig2) or closed (an unspendable internal key).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// Miner and holder sign the key path together (BIP 327).
    Musig,
    /// No key path: the internal key is the BIP-341 point H, for signers without MuSig2.
    Nums,
}

/// Which of a record's accounts a placeholder means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    /// Signs the key path together with the other side.
    Musig,
    /// Signs script leaves.
    Leaf,
    /// Signs the solitary exits.
    Exit,
}

/// The people of one contract.
#[derive(Clone, Copy, Debug)]
pub struct Seats<'a> {
    /// The miner's record.
    pub miner: &'a Record,
    /// The holder's record.
    pub holder: &'a Record,
    /// The federation.
    pub federation: &'a Federation,
}

impl<'a> Seats<'a> {
    /// The record that fills `seat`.
    pub fn record(&self, seat: Seat) -> Option<&'a Record> {
        match seat {
            Seat::Miner => Some(self.miner),
            Seat::Holder => Some(self.holder),
            Seat::Validator(place) => self.federation.validators.get(usize::from(place)),
        }
    }

    /// The account key that `seat` signs `account` with.
    pub fn key(&self, seat: Seat, account: Account) -> Option<&'a KeyExpression> {
        let body = &self.record(seat)?.record;
        Some(match account {
            Account::Musig => &body.musig,
            Account::Leaf => &body.leaf,
            Account::Exit => &body.exit,
        })
    }
}

/// One of the policy files, not yet filled.
#[derive(Clone, Copy, Debug)]
pub struct Template(&'static str);

/// The reward lock's file in a variant.
pub const fn reward(variant: Variant) -> Template {
    Template(match variant {
        Variant::Musig => include_str!("../../descriptors/reward-musig.policy"),
        Variant::Nums => include_str!("../../descriptors/reward-nums.policy"),
    })
}

/// The escrow lock's file in a variant.
pub const fn escrow(variant: Variant) -> Template {
    Template(match variant {
        Variant::Musig => include_str!("../../descriptors/escrow-musig.policy"),
        Variant::Nums => include_str!("../../descriptors/escrow-nums.policy"),
    })
}

/// The file of the script that a federation issues positions from.
pub const fn issuer() -> Template {
    Template(include_str!("../../descriptors/issuer.policy"))
}

/// The file of the script where seals end.
pub const fn retirement() -> Template {
    Template(include_str!("../../descriptors/retirement.policy"))
}

/// The seal's file; [`crate::script::seal`] fills it, for its commitment is no number.
pub const fn seal() -> Template {
    Template(include_str!("../../descriptors/seal.policy"))
}

/// A filled template in its three forms. All have the same addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// BIP-388 descriptor template: `@0`, `@1`, … by first appearance.
    pub template: String,
    /// The key expressions that `@0`, `@1`, … stand for, with the seat and account of each. The
    /// unspendable key of the `nums` variant has neither.
    pub keys: Keys,
    /// Descriptor with `musig()` (BIP 390), both branches, without checksum.
    pub musig_form: String,
    /// Descriptor with the BIP-328 synthetic xpub in place of `musig()`, for miniscript and
    /// bdk_wallet, without checksum.
    pub xpub_form: String,
}

impl Template {
    /// The policy alone: comments and layout removed.
    pub fn text(&self) -> String {
        self.0
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(str::chars)
            .filter(|c| !c.is_whitespace())
            .collect()
    }

    /// Puts people and numbers in place. `numbers` maps names such as `reward_exit` to values;
    /// `k` is the federation's own.
    pub fn fill(
        &self,
        seats: Seats<'_>,
        numbers: &[(&str, u32)],
        network: Network,
    ) -> Result<Policy> {
        let all = [("k", u32::from(seats.federation.threshold))];
        let policy = self.numbered(numbers.iter().chain(&all));
        let people = People { federation: seats.federation, parties: Some(seats) };
        let (template, keys) = people.fill(&policy, network)?;
        let texts: Vec<&str> = keys.iter().map(|(text, _)| text.as_str()).collect();
        let musig_form = numbered(&template, &texts);
        let xpub_form = match template.strip_prefix("tr(musig(@0,@1)") {
            Some(rest) => numbered(&format!("tr({}{rest}", synthetic(seats, network)?), &texts),
            None => musig_form.clone(),
        };
        Ok(Policy { template, keys, musig_form, xpub_form })
    }

    /// Puts a federation alone in place: a script that no miner and no holder has a key in.
    pub fn fill_federation(&self, federation: &Federation, network: Network) -> Result<Policy> {
        let policy = self.numbered(&[("k", u32::from(federation.threshold))]);
        let people = People { federation, parties: None };
        let (template, keys) = people.fill(&policy, network)?;
        let texts: Vec<&str> = keys.iter().map(|(text, _)| text.as_str()).collect();
        let form = numbered(&template, &texts);
        Ok(Policy { template, keys, musig_form: form.clone(), xpub_form: form })
    }

    /// The policy with its numbers in place.
    fn numbered<'n>(&self, numbers: impl IntoIterator<Item = &'n (&'n str, u32)>) -> String {
        let mut policy = self.text();
        // Longer names first, so that `$k` cannot eat the head of another.
        let mut all: Vec<_> = numbers.into_iter().collect();
        all.sort_by_key(|(name, _)| core::cmp::Reverse(name.len()));
        for (name, value) in all {
            policy = policy.replace(&format!("${name}"), &value.to_string());
        }
        policy
    }
}

/// Who can stand in a policy.
#[derive(Clone, Copy)]
struct People<'a> {
    federation: &'a Federation,
    /// Miner and holder beside it, if there are any.
    parties: Option<Seats<'a>>,
}

impl<'a> People<'a> {
    fn key(&self, seat: Seat, account: Account) -> Option<&'a KeyExpression> {
        match (self.parties, seat) {
            (Some(seats), _) => seats.key(seat, account),
            (None, Seat::Validator(place)) if account == Account::Leaf => {
                self.federation.validators.get(usize::from(place)).map(|record| &record.record.leaf)
            }
            _ => None,
        }
    }

    /// Whose keys an unspendable key is named after.
    fn named(&self) -> Vec<PublicKey> {
        match self.parties {
            Some(seats) => participants(seats).to_vec(),
            None => self.federation.validators.iter().map(|v| v.record.leaf.public_key()).collect(),
        }
    }

    /// The template with placeholders by first appearance, and the keys that they stand for.
    fn fill(self, policy: &str, network: Network) -> Result<(String, Keys)> {
        let mut filled = Fill { people: self, network, keys: Vec::new(), out: String::new() };
        filled.run(policy)?;
        Ok((filled.out, filled.keys))
    }
}

/// Key expressions, with the seat and account of each.
type Keys = Vec<(String, Option<(Seat, Account)>)>;

/// The two keys that the key path aggregates (or, unspendable, is named after).
pub(crate) fn participants(seats: Seats<'_>) -> [PublicKey; 2] {
    [seats.miner.record.musig.public_key(), seats.holder.record.musig.public_key()]
}

fn synthetic(seats: Seats<'_>, network: Network) -> Result<Xpub> {
    musig::synthetic_xpub(&participants(seats), network)
}

/// Replaces `@n` by the n-th key and `/**` by `/<0;1>/*`.
fn numbered(template: &str, keys: &[&str]) -> String {
    let mut out = template.to_owned();
    // From the highest number down, so that @1 cannot eat the head of @12.
    for (number, key) in keys.iter().enumerate().rev() {
        out = out.replace(&format!("@{number}"), key);
    }
    out.replace("/**", "/<0;1>/*")
}

struct Fill<'a> {
    people: People<'a>,
    network: Network,
    keys: Keys,
    out: String,
}

impl Fill<'_> {
    fn run(&mut self, policy: &str) -> Result<()> {
        let mut rest = policy;
        while let Some((before, after)) = rest.split_once('@') {
            self.out.push_str(before);
            let end = after.find(|c: char| !c.is_ascii_alphabetic() && c != '.').unwrap_or(0);
            let (name, tail) = after.split_at(end);
            rest = match name.strip_prefix("validators.") {
                Some(_) => {
                    let end = tail.find([',', ')']).unwrap_or(0);
                    let (path, behind) = tail.split_at(end);
                    for place in 0..self.people.federation.validators.len() {
                        if place > 0 {
                            self.out.push(',');
                        }
                        let seat = Seat::Validator(u8::try_from(place).unwrap_or(u8::MAX));
                        self.person(seat, Account::Leaf, name)?;
                        self.out.push_str(path);
                    }
                    behind
                }
                None => {
                    self.placeholder(name)?;
                    tail
                }
            };
        }
        self.out.push_str(rest);
        match self.out.contains('$') {
            true => Err(refuse(&self.out)),
            false => Ok(()),
        }
    }

    fn placeholder(&mut self, name: &str) -> Result<()> {
        match name {
            "miner.musig" => self.person(Seat::Miner, Account::Musig, name),
            "miner.leaf" => self.person(Seat::Miner, Account::Leaf, name),
            "miner.exit" => self.person(Seat::Miner, Account::Exit, name),
            "holder.musig" => self.person(Seat::Holder, Account::Musig, name),
            "holder.leaf" => self.person(Seat::Holder, Account::Leaf, name),
            "holder.exit" => self.person(Seat::Holder, Account::Exit, name),
            "unspendable" => {
                let xpub = musig::nums_xpub(&self.people.named(), self.network)?;
                self.number(xpub.to_string(), None);
                Ok(())
            }
            _ => Err(refuse(name)),
        }
    }

    fn person(&mut self, seat: Seat, account: Account, name: &str) -> Result<()> {
        let key = self.people.key(seat, account).ok_or_else(|| refuse(name))?;
        key.check_network(self.network, name)?;
        // Terms refuse records that share a key; here it would merge two people into one seat.
        for (_, owner) in &self.keys {
            let Some((other, its)) = owner.filter(|owner| *owner != (seat, account)) else {
                continue;
            };
            if self.people.key(other, its).is_some_and(|known| known.xpub() == key.xpub()) {
                return Err(POLICY.refuses(
                    seat.into(),
                    format_args!("{name} of {seat}"),
                    "a key used nowhere else",
                    format_args!("that of {other}"),
                ));
            }
        }
        self.number(key.to_string(), Some((seat, account)));
        Ok(())
    }

    fn number(&mut self, key: String, owner: Option<(Seat, Account)>) {
        let place = self.keys.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            self.keys.push((key, owner));
            self.keys.len().saturating_sub(1)
        });
        self.out.push_str(&format!("@{place}"));
    }
}

fn refuse(found: &str) -> crate::error::Error {
    POLICY.refuses(Culprit::Sender, "policy file", "seats and numbers of the terms", found)
}

#[cfg(test)]
pub(in crate::script) mod tests;
