//! The balance sheet: for each person, satoshis in = satoshis out + fees + what is left.
//!
//! What came in and went out is read from the transactions; what is left is what the person's own
//! wallet says. The two were never compared on the way, so that a satoshi lost anywhere shows.

use bitcoin::{Amount, OutPoint, TxOut};

use crate::amount;
use crate::engine::Sent;
use crate::error::Result;
use crate::facts::{Coin, Facts};
use crate::flow::escrow::terms::EscrowTerms;
use crate::party::Seat;

/// Whether an entry adds to a person's coins or takes from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Came in.
    In,
    /// Went to somebody else.
    Out,
    /// Went to the network as a fee.
    Fee,
}

/// One line of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which way it went.
    pub side: Side,
    /// What it was.
    pub what: String,
    /// How much (satoshis).
    pub amount: Amount,
}

/// One person's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whose.
    pub who: &'static str,
    /// Its lines.
    pub entries: Vec<Entry>,
    /// What his wallet holds at the end (satoshis).
    pub left: Amount,
}

impl Account {
    /// Sum of one side (satoshis).
    pub fn total(&self, side: Side) -> Result<Amount> {
        let entries = self.entries.iter().filter(|entry| entry.side == side);
        amount::sum(entries.map(|entry| entry.amount), self.who)
    }

    /// Whether what came in is what went out, was paid in fees, or is left.
    pub fn balances(&self) -> Result<bool> {
        let gone = [self.total(Side::Out)?, self.total(Side::Fee)?, self.left];
        Ok(self.total(Side::In)? == amount::sum(gone, self.who)?)
    }

    fn add(&mut self, side: Side, what: &str, amount: Amount) {
        if amount != Amount::ZERO {
            self.entries.push(Entry { side, what: what.to_owned(), amount });
        }
    }
}

/// The balance sheet of a deal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Miner, holder, federation, the rest of the network.
    pub accounts: Vec<Account>,
    /// Every subsidy of the chain (satoshis): what all accounts hold together.
    pub minted: Amount,
    /// Height of the tip.
    pub height: u32,
}

impl Ledger {
    /// Reads the accounts off the contract's transactions; `left` is what the wallets of miner,
    /// holder and federation hold, `outside` what was mined by nobody at the table.
    pub fn new(
        terms: &EscrowTerms,
        facts: &Facts,
        sent: &[(Seat, Sent)],
        outside: &[Coin],
        left: [Amount; 3],
    ) -> Result<Self> {
        let [of_miner, of_holder, of_federation] = left;
        let account = |who, left| Account { who, entries: Vec::new(), left };
        let mut miner = account("miner", of_miner);
        let mut holder = account("holder", of_holder);
        let mut federation = account("federation", of_federation);

        let service = terms.reward.miner.payout_script();
        let coinbases = facts.transactions.values().filter(|seen| seen.tx.is_coinbase());
        let shares = coinbases
            .flat_map(|seen| &seen.tx.output)
            .filter(|out| out.script_pubkey == service)
            .map(|out| out.value);
        miner.add(Side::In, "service shares of his blocks", amount::sum(shares, "service")?);

        for (seat, sent) in sent {
            let spent = spent(facts, sent)?;
            let ruling = match sent.title {
                "ruling" | "closing ruling" => terms.fees.ruling,
                _ => Amount::ZERO,
            };
            let title = format!("{} at height {}", sent.title, sent.height.saturating_add(1));
            let payer = if *seat == Seat::Miner { &mut miner } else { &mut holder };
            match sent.title {
                "sale" => {
                    payer.add(Side::In, "first coins", spent);
                    payer.add(Side::Out, "price into the escrow", terms.price);
                }
                "settlement" | "ruling" => {
                    let relocked = sent.tx.output.get(1).map_or(Amount::ZERO, |out| out.value);
                    let due = spent.checked_sub(relocked).unwrap_or(Amount::ZERO);
                    payer.add(Side::In, &format!("installments, {title}"), due);
                }
                "sweep" => payer.add(Side::In, "rewards", spent),
                _ => payer.add(Side::In, &format!("rest of the escrow, {title}"), spent),
            }
            payer.add(Side::Out, &format!("ruling fee, {title}"), ruling);
            payer.add(Side::Fee, &title, sent.fee);
            federation.add(Side::In, &format!("ruling fee, {title}"), ruling);
        }

        let mined = amount::sum(outside.iter().map(|coin| coin.txout.value), "network")?;
        let mut network = account("rest of the network", mined);
        network.add(Side::In, "subsidies and fees of its blocks", mined);
        let height = facts.tip();
        Ok(Self {
            accounts: vec![miner, holder, federation, network],
            minted: minted(height),
            height,
        })
    }

    /// Whether every account balances and together they hold what was minted.
    pub fn balances(&self) -> Result<bool> {
        for account in &self.accounts {
            if !account.balances()? {
                return Ok(false);
            }
        }
        let left = amount::sum(self.accounts.iter().map(|account| account.left), "ledger")?;
        Ok(left == self.minted)
    }
}

/// What a transaction spends, in satoshis: its outputs and its fee.
fn spent(facts: &Facts, sent: &Sent) -> Result<Amount> {
    let prevout = |outpoint: OutPoint| -> Option<&TxOut> {
        let vout = usize::try_from(outpoint.vout).ok()?;
        facts.transactions.get(&outpoint.txid)?.tx.output.get(vout)
    };
    let known: Option<Vec<Amount>> = sent
        .tx
        .input
        .iter()
        .map(|input| prevout(input.previous_output).map(|out| out.value))
        .collect();
    match known {
        Some(values) => amount::sum(values, sent.title),
        None => {
            let paid = sent.tx.output.iter().map(|out| out.value);
            amount::sum(paid.chain([sent.fee]), sent.title)
        }
    }
}

/// Every subsidy from height 1 to `height` on regtest: 50 BTC, halved every 150 blocks.
fn minted(height: u32) -> Amount {
    let subsidy = |height: u32| 5_000_000_000u64.checked_shr(height / 150).unwrap_or(0);
    Amount::from_sat((1..=height).map(subsidy).sum())
}
