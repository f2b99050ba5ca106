//! What a joint round adds to the carrier (BIP 373), and at which stage.
//!
//! | stage | participants | nonces | parts |
//! |---|---|---|---|
//! | first, to the holder | the lock's | the miner's | none |
//! | second, to the miner | the lock's | both | the holder's |
//!
//! Without these fields the PSBT is compared as any other; they themselves are read and checked by
//! `musig/psbt.rs`. What is sent on is written anew from what was read.

use bitcoin::Psbt;
use bitcoin::psbt::Input;
use bitcoin::secp256k1::PublicKey;

use crate::error::{Culprit, Error, Result, Rule};
use crate::musig::{KeyContext, PartialSignature, PublicNonce, psbt};
use crate::script::lock::{LEAF, Path};
use crate::tx::draft::Draft;

/// Nothing of a round where there is none, and nothing ahead of its stage.
pub const ROUND: Rule = Rule::new(
    "policy-psbt-round",
    "a PSBT carries of a joint round what its stage has, and of none nothing",
    "begin a fresh round",
);

/// Types of participants, nonces and parts of an input (BIP 373).
pub(super) const FIELDS: [u8; 3] = [0x1a, 0x1b, 0x1c];

/// What participants have shown of one input's round, each field checked for its key.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Whose key is signed for.
    pub context: KeyContext,
    /// Nonces by participant.
    pub nonces: Vec<(PublicKey, PublicNonce)>,
    /// Partial signatures by participant, not yet verified.
    pub parts: Vec<(PublicKey, PartialSignature)>,
}

/// The keys that sign an input together.
pub fn context(draft: &Draft, number: usize) -> Result<KeyContext> {
    let spend = draft.spends().get(number).filter(|spend| spend.path == Path::Key);
    spend.and_then(|spend| spend.lock.key_path.clone()).ok_or_else(|| {
        let at = format_args!("{}, input {number}", draft.title());
        LEAF.misused(at, "a spend by the key path", "none")
    })
}

/// The carrier of a draft's rounds before anybody has added to it: the draft's PSBT, and who signs.
pub fn carrier(draft: &Draft) -> Result<Psbt> {
    let mut psbt = draft.psbt()?;
    for (number, input) in psbt.inputs.iter_mut().enumerate() {
        psbt::announce(input, &context(draft, number)?);
    }
    Ok(psbt)
}

/// Refuses a carrier that differs from ours in anything but nonces and parts, and reads these, by
/// input. What the rules of BIP 373 refuse is the sender's.
pub fn read(draft: &Draft, received: &Psbt, by: Culprit) -> Result<Vec<Shown>> {
    let [mut ours, mut theirs] = [carrier(draft)?, received.clone()];
    // The participants are compared with the others, by the rules of BIP 373.
    for psbt in [&mut ours, &mut theirs] {
        psbt.inputs.iter_mut().for_each(without_round);
    }
    draft.compare_with(&ours, &theirs, by)?;
    let inputs = received.inputs.iter().enumerate();
    inputs
        .map(|(number, input)| {
            let context = context(draft, number)?;
            let read = |input: &Input| {
                let (nonces, parts) =
                    (psbt::nonces(input, &context)?, psbt::parts(input, &context)?);
                Ok(Shown { context: context.clone(), nonces, parts })
            };
            read(input).map_err(|error: Error| {
                error.within(format_args!("{}, input {number}", draft.title()))
            })
        })
        .collect()
}

/// Refuses parts that their stage does not have: all of them, or those of `us`, who has made none.
pub fn no_parts(draft: &Draft, shown: &[Shown], us: Option<&PublicKey>, by: Culprit) -> Result<()> {
    for (number, shown) in shown.iter().enumerate() {
        let early = |(owner, _): &&(PublicKey, _)| us.is_none_or(|us| us == owner);
        if let Some((owner, _)) = shown.parts.iter().find(early) {
            let at = format_args!("{}, input {number}, partial signature", draft.title());
            return Err(ROUND.refuses(
                by,
                at,
                "none at this stage",
                format_args!("one of {owner}"),
            ));
        }
    }
    Ok(())
}

fn without_round(input: &mut Input) {
    input.unknown.retain(|key, _| !FIELDS.contains(&key.type_value));
}
