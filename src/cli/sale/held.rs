//! Which seal somebody holds, and what he does with it alone: `hashmix sale withdraw`, `sale retire`.
//!
//! A dossier says all of it: whose the seal is, where, under which number and contract. Who has none
//! says it himself, and is refused by the chain where he errs.

use bitcoin::OutPoint;

use crate::cli::arguments::{MoveArguments, RetireArguments, SealArguments};
use crate::cli::position::folder;
use crate::cli::sale::title::Telling;
use crate::cli::sale::{COMPLETE, again, opened, read_position};
use crate::cli::terms;
use crate::engine::title::Judged;
use crate::engine::trade::{Moved, Trader};
use crate::error::{Culprit, Result};
use crate::flow::escrow::terms::EscrowTerms;
use crate::flow::position::dossier::Transfer;
use crate::flow::position::terms::PositionTerms;
use crate::flow::position::txs::position;
use crate::flow::sale::coins::SEAL_MOVED;
use crate::flow::sale::terms::Held;
use crate::flow::sale::title::held;
use crate::flow::sale::txs::Seal;
use crate::id::PositionId;

/// The seal that the arguments name, and how it is held.
pub(super) struct Named {
    pub(super) terms: PositionTerms,
    pub(super) contract: Option<EscrowTerms>,
    pub(super) id: PositionId,
    pub(super) held: Held,
    pub(super) seal: OutPoint,
}

impl Named {
    fn seal(&self) -> Seal<'_> {
        let Self { terms, held, .. } = self;
        Seal { terms, position: self.id, held, outpoint: self.seal }
    }
}

/// The seal that the arguments name; a dossier's is asked for over the trader's connection.
pub(super) fn named(trader: &mut Trader, arguments: &SealArguments) -> Result<Named> {
    if let Some(path) = &arguments.dossier {
        let papers = folder::read(path)?;
        let judged = trader.title(&papers).map_err(|error| error.within(path.display()))?;
        let Judged { dossier, title, .. } = judged;
        title.check().map_err(|error| error.within(path.display()))?;
        let seal = title.seal().ok_or_else(|| {
            SEAL_MOVED.refuses(Culprit::Holder, path.display(), "a seal", title.standing)
        })?;
        return Ok(Named {
            terms: dossier.terms().clone(),
            contract: title.contract().map(|sold| sold.terms.clone()),
            id: title.issued.position,
            held: held(&dossier, &title),
            seal,
        });
    }
    let (Some(path), Some(seal)) = (&arguments.position, arguments.seal) else {
        let expected = "--dossier, or --position and --seal";
        return Err(COMPLETE.misused("sale", expected, "neither"));
    };
    let position_terms = read_position(path)?;
    let contract = arguments.contract.as_deref().map(terms::read).transpose()?;
    let tenure = contract.as_ref().and_then(|contract| contract.tenure.as_ref());
    let stated = arguments.id.as_deref().map(str::parse::<PositionId>).transpose()?;
    // What was issued alone has the txid of its issue; what was issued in a batch is named.
    let issued = position(seal.txid, seal.vout, 1);
    let id = tenure.map(|tenure| tenure.position).or(stated).unwrap_or(issued);
    let record = match &contract {
        Some(contract) => contract.reward.holder.clone(),
        None => position_terms.reward.holder.clone(),
    };
    let withdrawn = arguments.withdrawn.unwrap_or(0);
    let number = tenure.map_or(0, |tenure| tenure.transfer).saturating_add(withdrawn);
    let sale = contract.as_ref().map(EscrowTerms::id).transpose()?;
    let held = Held { record, number, sale };
    Ok(Named { terms: position_terms, contract, id, held, seal })
}

/// Moves a seal to its holder under the next number.
pub(super) fn withdraw(arguments: &MoveArguments) -> Result<Vec<String>> {
    let (mut trader, signer) = opened(&arguments.trade)?;
    let mut lines = again(&trader);
    let named = named(&mut trader, &arguments.seal)?;
    let seal = named.seal();
    let kept = seal.withdrawn();
    let transfer = Transfer::new(named.id, kept.number, kept.record, None);
    let telling = Telling::of(arguments.seal.dossier.as_deref(), Some(transfer))?;
    let moved = trader.withdraw(&seal, &signer, arguments.fee_rate)?;
    let txid = moved.tx.compute_txid();
    lines.extend(sent(&moved));
    lines.extend([
        format!("seal  {txid}:0, transfer {}", kept.number),
        "void  every offer of the seal where it was, once this is confirmed".to_owned(),
    ]);
    lines.extend(telling.map(Telling::write).transpose()?);
    Ok(lines)
}

/// Moves a seal to the retirement script, once nothing is left of its position.
pub(super) fn retire(arguments: &RetireArguments) -> Result<Vec<String>> {
    let RetireArguments { moves: arguments, anyway } = arguments;
    let (mut trader, signer) = opened(&arguments.trade)?;
    let mut lines = again(&trader);
    let named = named(&mut trader, &arguments.seal)?;
    let remaining = trader.remaining(&named.terms, named.contract.as_ref())?;
    let over = remaining.check();
    if !anyway {
        over.clone()?;
    }
    let moved = trader.retire(&named.seal(), &signer, arguments.fee_rate)?;
    lines.extend(sent(&moved));
    lines.extend([
        format!("left     {remaining}"),
        format!("retired  position {}; nobody holds it any more", named.id),
    ]);
    if over.is_err() {
        lines.push(
            "careful  the position was not over: nobody can ever buy what was left of it"
                .to_owned(),
        );
    }
    Ok(lines)
}

/// What was sent, and whether it was before.
fn sent(moved: &Moved) -> Vec<String> {
    let txid = moved.tx.compute_txid();
    match (moved.already, moved.replaces) {
        (Some(rate), _) => vec![format!(
            "sent  {txid}, already sent at {rate} sat/vB; to replace it name a higher --fee-rate"
        )],
        (None, Some(before)) => vec![format!("sent  {txid}, in the place of {before}")],
        (None, None) => vec![format!("sent  {txid}")],
    }
}
