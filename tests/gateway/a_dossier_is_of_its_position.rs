//! A dossier in a gateway's file: taken for the position whose terms stand beside it, and for no other.

use std::path::{Path, PathBuf};
use std::process::Command;

use hashmix::cli::position::folder;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::id::PositionId;
use serde_json::json;

/// What `hashmix gateway check` says of these terms beside a dossier.
fn check(dir: &Path, terms: &EscrowTerms, dossier: &Path) -> (Option<i32>, String) {
    std::fs::write(dir.join("terms.json"), serde_json::to_string(terms).unwrap()).unwrap();
    let config = json!({
        "format": "hashmix gateway 1",
        "listen": "127.0.0.1:0",
        "nodes": [{ "url": "http://127.0.0.1:1", "cookie": "cookie" }],
        "electrum": "tcp://127.0.0.1:1",
        "payees": [{
            "name": "alice",
            "positions": [{ "terms": "terms.json", "dossier": dossier }],
        }],
    });
    std::fs::write(dir.join("gateway.json"), config.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hashmix"));
    command.args(["gateway", "check", "--network", "regtest", "--home"]).arg(dir.join("home"));
    let output = command.arg("--config").arg(dir.join("gateway.json")).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn a_dossier_of_another_position_or_of_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dossier = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/dossier/good");
    let papers = folder::read(&dossier).unwrap();
    let mut sold = papers
        .papers()
        .iter()
        .filter_map(|paper| paper.transfer.contract(papers.bare().terms()).unwrap());
    let terms = sold.next().unwrap();
    let (code, said) = check(dir.path(), &terms, &dossier);
    assert_eq!(code, Some(0), "{said}");
    let mut foreign = terms.clone();
    foreign.tenure.as_mut().unwrap().position = PositionId([9; 32]);
    let mut without = terms.clone();
    without.tenure = None;
    for other in [&foreign, &without] {
        let (code, said) = check(dir.path(), other, &dossier);
        assert!(code != Some(0) && said.contains("[gateway-config-dossier]"), "{said}");
    }
    let (code, said) = check(dir.path(), &terms, &dir.path().join("none"));
    assert!(code != Some(0) && said.contains("[title-folder]"), "{said}");
}
