//! `hashmix sale register`: the registration of a contract that was bought.

use std::path::Path;

use crate::cli::file::{self, Readers};
use crate::cli::sale::{read_acceptance, read_offer};
use crate::error::Result;
use crate::validator::registration::Registration;

/// Makes the registration out of offer and acceptance: nobody signs it, the chain shows the sale.
pub(super) fn register(offer: &Path, acceptance: &Path, out: &Path) -> Result<Vec<String>> {
    let offer = read_offer(offer)?;
    let acceptance = read_acceptance(acceptance, &offer)?;
    let registration = Registration::of_sale(offer, acceptance)?;
    let id = registration.check()?;
    file::write(out, registration.to_json()?.as_bytes(), Readers::Anyone)?;
    let validators = registration.terms.reward.federation.validators.len();
    Ok(vec![
        format!("registration  {}", out.display()),
        format!("contract      {id}"),
        format!(
            "next          once a block holds the sale, each of the {validators} validators: hashmix validator register"
        ),
    ])
}
