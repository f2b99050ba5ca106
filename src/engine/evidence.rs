//! Evidence as files of a dossier: certificates and receipts under `certificates/` and `receipts/`, named
//! by what is in them, so that whoever writes the same paper twice writes one file.
//!
//! ```text
//!  certificates/00001-<digest>.hmxc                        slice (0-based) and digest of the certificate
//!  receipts/00001-<digest>-<validator>-<hash>.json         the same of its subject; hash of the receipt
//! ```
//! Nothing here is judged: a verdict weighs what it finds, and passes over what proves nothing.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use bitcoin::hashes::{Hash, sha256};

use crate::error::{Result, Rule};
use crate::work::certificate::Certificate;
use crate::work::evidence::Evidence;
use crate::work::receipt::{Receipt, Subject};

/// Evidence can be kept in a dossier.
pub const KEPT: Rule = Rule::new(
    "dossier-evidence",
    "certificates and receipts can be written into the folders of a dossier",
    "check the dossier's path, its permissions and the space on the disk; what was written is whole",
);

/// The folder of certificates.
pub const CERTIFICATES: &str = "certificates";
/// The folder of receipts.
pub const RECEIPTS: &str = "receipts";

/// Writes what the dossier lacks of the evidence; answers with the number of certificates and of receipts
/// that were written.
pub fn write(dossier: &Path, evidence: &Evidence) -> Result<[usize; 2]> {
    let [mut certificates, mut receipts] = [0usize; 2];
    for sealed in evidence.certificates() {
        let fresh = write_certificate(dossier, &sealed.certificate)?;
        certificates = certificates.saturating_add(usize::from(fresh));
        for receipt in &sealed.receipts {
            let fresh = write_receipt(dossier, receipt)?;
            receipts = receipts.saturating_add(usize::from(fresh));
        }
    }
    Ok([certificates, receipts])
}

/// Writes a certificate; whether it was not there.
pub fn write_certificate(dossier: &Path, certificate: &Certificate) -> Result<bool> {
    let name = format!("{:05}-{}.hmxc", certificate.slice, certificate.digest());
    put(&dossier.join(CERTIFICATES), &name, || certificate.to_bytes())
}

/// Writes a receipt; whether it was not there.
pub fn write_receipt(dossier: &Path, receipt: &Receipt) -> Result<bool> {
    let text = receipt.to_json();
    let hash = sha256::Hash::hash(text.as_bytes()).to_string();
    let (validator, hash) = (receipt.validator, hash.get(..16).unwrap_or(&hash));
    let name = match receipt.subject {
        Subject::Certificate { slice, digest } => {
            let digest = digest.to_string();
            let digest = digest.get(..16).unwrap_or(&digest);
            format!("{slice:05}-{digest}-{validator}-{hash}.json")
        }
        _ => format!("other-{validator}-{hash}.json"),
    };
    put(&dossier.join(RECEIPTS), &name, || text.into_bytes())
}

/// A file whose name says what is in it: what is there under it is the same.
fn put(folder: &Path, name: &str, bytes: impl FnOnce() -> Vec<u8>) -> Result<bool> {
    let path = folder.join(name);
    if path.exists() {
        return Ok(false);
    }
    // A name that begins with a point is nobody's evidence; and ours alone, whoever else writes here.
    let draft = folder.join(format!(".{name}.{}.new", std::process::id()));
    let write = || {
        fs::create_dir_all(folder)?;
        let mut file = File::create(&draft)?;
        file.write_all(&bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &path)
    };
    write().map(|()| true).map_err(|error| KEPT.unstored(path.display(), "a new file", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::samples::{chain, receipt};

    #[test]
    fn a_paper_is_written_once_and_never_into_what_is_no_folder() {
        let (dir, headers) = (tempfile::tempdir().unwrap(), chain(20));
        let digest = crate::id::CertificateDigest([9; 32]);
        let subject = Subject::Certificate { slice: 3, digest };
        let [one, other] = [0, 1].map(|n| receipt(n, subject, headers.hash(20).unwrap()));
        assert!(write_receipt(dir.path(), &one).unwrap());
        assert!(!write_receipt(dir.path(), &one).unwrap());
        assert!(write_receipt(dir.path(), &other).unwrap());
        let names = fs::read_dir(dir.path().join(RECEIPTS)).unwrap();
        let texts = names.map(|name| fs::read_to_string(name.unwrap().path()).unwrap());
        let mut read: Vec<Receipt> = texts.map(|text| Receipt::from_json(&text).unwrap()).collect();
        read.sort_by_key(|receipt| receipt.validator);
        assert_eq!(read, [one.clone(), other]);

        let file = dir.path().join("file");
        fs::write(&file, "no folder").unwrap();
        fs::create_dir(dir.path().join("half")).unwrap();
        fs::write(dir.path().join("half").join(RECEIPTS), "no folder either").unwrap();
        for place in [file, dir.path().join("half")] {
            let refused = write_receipt(&place, &one).unwrap_err();
            assert_eq!((refused.rule(), refused.exit_code()), ("dossier-evidence", 7));
        }
    }
}
