//! `hashmix record`: a person's keys for one contract, made from a seed and signed as a whole.

use std::path::PathBuf;

use crate::cli::arguments::RecordArguments;
use crate::cli::file::{self, Readers};
use crate::cli::seed;
use crate::error::Result;
use crate::party::{RECORD_MAX_BYTES, Record, check_distinct};
use crate::sign::record::record;
use crate::sign::software::SoftwareSigner;
use crate::wallet::address_on;

/// Makes record `number` of the seed, checks it as its receiver will, and writes it.
pub fn new(arguments: &RecordArguments) -> Result<Vec<String>> {
    let RecordArguments { network, number, .. } = *arguments;
    let payout = address_on(network, &arguments.payout)?;
    let secrets = seed::read(&arguments.source)?.record(network, number)?;
    let signer = SoftwareSigner::new(secrets, network)?;
    let role = arguments.role.into();
    let record = record(&signer, role, network, &arguments.contract, payout.into_unchecked())?;
    record.check()?;
    let text = record.to_json();
    let Some(out) = &arguments.out else {
        return Ok(text.lines().map(str::to_owned).collect());
    };
    file::write(out, text.as_bytes(), Readers::Anyone)?;
    let mut lines = describe(&record)?;
    lines.insert(0, format!("record   {}", out.display()));
    lines.push(format!("next     never use number {number} of this seed for another contract"));
    Ok(lines)
}

/// Checks each record, and that no two of them share a key.
pub fn check(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut records = Vec::new();
    for path in files {
        let text = file::text(path, RECORD_MAX_BYTES)?;
        let record = Record::from_json(&text).map_err(|error| error.within(path.display()))?;
        lines.push(format!("record   {}", path.display()));
        lines.extend(describe(&record)?);
        records.push(record);
    }
    check_distinct(&records)?;
    lines.push(match records.len() {
        1 => "checked  keys, network, address, signature".to_owned(),
        n => format!("checked  keys, networks, addresses, signatures; no two of {n} share a key"),
    });
    Ok(lines)
}

fn describe(record: &Record) -> Result<Vec<String>> {
    let body = &record.record;
    Ok(vec![
        format!("  id       {}", record.id()?),
        format!("  seat     {} of \"{}\" on {}", body.role, body.contract, body.network),
        format!("  paid at  {}", body.payout.assume_checked_ref()),
    ])
}
