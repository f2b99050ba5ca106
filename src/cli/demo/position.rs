//! The second story: a position's life. Before it ends, the dossier is written and verified as a stranger
//! would do it, with the federation's hash and an Electrum server.

use std::path::Path;

use super::{begin, progress, tell};
use crate::cli::arguments::DossierArguments;
use crate::cli::position::reading::read;
use crate::cli::position::{folder, show, verify};
use crate::engine::evidence::write;
use crate::error::Result;
use crate::flow::position::dossier::Dossier;
use crate::rehearsal::deal::Moment;
use crate::rehearsal::life::{LAST_BLOCK, live};
use crate::work::evidence::Evidence;

/// Plays and tells it.
pub(super) fn run(world: &str, dir: &Path) -> Result<()> {
    let node = begin("A position's life", world)?;
    let bar = progress(LAST_BLOCK);
    let url = node.electrum_url();
    let mut verified = Ok(());
    let lived = live(&*node, dir, &mut |moment| match moment {
        Moment::Block { height, .. } => bar.set_position(u64::from(height)),
        Moment::Documents(dossier, evidence) => {
            verified = bar.suspend(|| checked(dir, &url, dossier, evidence));
        }
        moment => bar.suspend(|| tell(&moment)),
    });
    bar.finish_and_clear();
    verified.and(lived.map(|_| ()))
}

/// Writes the dossier as people hand it on, and verifies it by the commands.
fn checked(dir: &Path, url: &str, dossier: &Dossier, evidence: &[&Evidence]) -> Result<()> {
    let path = dir.join("handed on");
    folder::write(&path, dossier)?;
    for evidence in evidence {
        write(&path, evidence)?;
    }
    let arguments = DossierArguments {
        electrum: url.to_owned(),
        home: Some(dir.join("somebody")),
        federation: Some(dossier.terms().issuer.id()?),
    };
    println!("\n== Anyone may check ==");
    println!(
        "   A stranger has the dossier, a server, and the hash of the federation that he chose:"
    );
    println!("   hashmix position verify DOSSIER --electrum URL --home DIR --federation HASH\n");
    let reading = read(&arguments, &path)?;
    let mut lines = verify::proven(&reading, true)?;
    lines.push(String::new());
    lines.extend(verify::nobody_can_prove(&reading));
    lines.push(String::new());
    let drawing = dir.join("position.svg");
    lines.extend(show::show(&arguments, &path, Some(&drawing))?);
    for line in lines {
        println!("{}", format_args!("   {line}").to_string().trim_end());
    }
    reading.title.check()
}
