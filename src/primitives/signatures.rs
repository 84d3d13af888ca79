//! What verbs do about signatures: the lists of a run with a key get one, and a run that trusts keys asks for one.

use std::path::Path;

use crate::backups::{self, BackupSet, Inspection};
use crate::error::{Error, Kind, Result};
use crate::run::Run;
use crate::signing::signature_path;

/// Signs a backup's manifest, which names the file's SHA-256.
pub(super) fn sign_backup(run: &Run, backup: &backups::Backup) -> Result<()> {
    match (&run.options.signer, backup.manifest()) {
        (Some(signer), Some(manifest)) => signer.sign(&backups::manifest_path(backup.path()), &manifest.to_text()?),
        _ => Ok(()),
    }
}

/// Signs a set's metadata, which name the SHA-256 of the list of its files.
pub(super) fn sign_set(run: &Run, set: &BackupSet) -> Result<()> {
    match &run.options.signer {
        Some(signer) if set.is_good() => set.sign(signer),
        _ => Ok(()),
    }
}

/// Opens a backup that a trusted key signed, or any where the run names no key.
pub(super) fn open(run: &Run, path: &Path) -> Result<backups::Backup> {
    backups::Backup::open_signed(path, &run.options.trust)
}

/// Adds to an inspection who signed the backup. The signature is the manifest's, and the content is the one that this
/// manifest names: another file at the same place, put there meanwhile, is told from it.
pub(super) fn look_at(run: &Run, path: &Path, inspection: &mut Inspection) -> Result<()> {
    if !inspection.agreed_with.contains(&"manifest") {
        return Ok(());
    }
    if run.options.trust.is_empty() {
        let signed = signature_path(&backups::manifest_path(path)).symlink_metadata().is_ok();
        let why = if signed {
            "nobody looked at its signature: --trust NAME.pub does"
        } else {
            "it is not signed, which shows accidents and not a hand that can write both files: --sign NAME.key"
        };
        inspection.not_checked.push(("signature".into(), why.into()));
        return Ok(());
    }
    let opened = open(run, path)?;
    let same = opened.manifest().is_some_and(|m| m.sha256.eq_ignore_ascii_case(&inspection.sha256.to_string()));
    if !same {
        return Err(Error::new(Kind::Damaged, format!("{} changed while it was read", path.display())));
    }
    inspection.agreed_with.push("signature");
    Ok(())
}
