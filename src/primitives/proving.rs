//! What verbs do while a script is proven: they plant the run's damage, and leave nothing outside the run's own things.

use std::path::{Path, PathBuf};

use super::Call;
use super::handles::{Database, Standing};
use crate::backups::{Backup, checksum_path, manifest_path, plant_in_file};
use crate::error::{Error, Kind, Result};
use crate::files::temp_folder::temp_folder;
use crate::postgres;
use crate::run::{Event, Place, Planted, Proving};
use crate::signing::signature_path;
use crate::sqlite;

/// The verbs with effects that a proof does: what they make goes with the run. All others are only announced.
const DONE: [&str; 7] = ["container", "dump", "execute", "restore", "sandbox", "scratch", "temp_dir"];

/// Returns whether a verb's effect is only announced.
pub(super) fn announces(call: &Call, verb: &str) -> bool {
    call.run().options.proving.is_some() && !DONE.contains(&verb)
}

/// Refuses what a proof cannot do without leaving something behind.
pub(super) fn refuse(call: &Call, verb: &str) -> Result<()> {
    if call.run().options.proving.is_none() {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("runner prove does not run {verb}: it would leave something behind"))
        .hint("prove a script that restores a backup: a drill, a verification"))
}

/// Returns where a dump goes: in a proof into a folder that goes with the run.
pub(super) fn place_of_dump(call: &Call, to: PathBuf) -> Result<PathBuf> {
    match &call.run().options.proving {
        None => Ok(to),
        Some(_) => Ok(folder(call)?.join(to.file_name().unwrap_or_default())),
    }
}

/// Damages the file of a new dump, where that is what the run plants, and opens it again as a later run would: what this
/// run still knows of it must not help.
pub(super) fn into_new_file(call: &Call, backup: Backup) -> Result<Backup> {
    match &call.run().options.proving {
        Some(proving) if proving.plants_in(Place::File) => {
            damage_file(call, proving, backup.path())?;
            Backup::open(backup.path())
        }
        _ => Ok(backup),
    }
}

/// Returns the file that a verb reads for a backup: in a proof that damages files a damaged copy, the same each time.
pub(super) fn stand_in(call: &Call, path: &Path) -> Result<PathBuf> {
    let Some(proving) = &call.run().options.proving else { return Ok(path.to_owned()) };
    if let Some(copy) = proving.stand_in_of(path) {
        return Ok(copy);
    }
    let to = match proving.planted() {
        Planted::NotReached if proving.plants_in(Place::File) => {
            let to = folder(call)?.join(path.file_name().unwrap_or_default());
            copy_all(path, &to)?;
            damage_file(call, proving, &to)?;
            to
        }
        _ => path.to_owned(),
    };
    proving.stand_in(path, to.clone());
    Ok(to)
}

fn damage_file(call: &Call, proving: &Proving, path: &Path) -> Result<()> {
    let Some(plant) = proving.take(Place::File) else { return Ok(()) };
    let done = plant_in_file(path, plant.title)?;
    proving.stand_in(path, path.to_owned());
    note(call, proving, done);
    Ok(())
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let beside = [manifest_path as fn(&Path) -> PathBuf, checksum_path, |path| signature_path(&manifest_path(path))];
    std::fs::copy(from, to).map_err(|e| Error::io("copy", from, &e))?;
    for beside in beside {
        if beside(from).symlink_metadata().is_ok() {
            std::fs::copy(beside(from), beside(to)).map_err(|e| Error::io("copy", &beside(from), &e))?;
        }
    }
    Ok(())
}

fn folder(call: &Call) -> Result<PathBuf> {
    let (folder, _goes_with_the_run) = call.wait(temp_folder(&call.run().ledger, &std::env::temp_dir(), "proof"))?;
    Ok(folder)
}

/// Damages a database that was just restored, if it is this run's own and the damage is of that kind.
pub(super) fn into_copy(call: &Call, copy: &Database) -> Result<()> {
    let Some(proving) = &call.run().options.proving else { return Ok(()) };
    let ours = matches!(copy, Database::Postgres(p) if p.standing == Standing::Ours)
        || matches!(copy, Database::Sqlite(_, Standing::Ours));
    if !ours {
        return Ok(());
    }
    proving.count_restore();
    let Some(plant) = proving.take(Place::Restored) else { return Ok(()) };
    let done = match copy {
        Database::Postgres(copy) => call.wait(postgres::plant(&copy.address, plant.title)),
        Database::Sqlite(copy, _) => {
            let copy = copy.clone();
            call.on_thread(move |cancel| sqlite::plant(&copy, plant.title, cancel))
        }
    };
    match done {
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => proving.note(Planted::NotTaken(error.to_string())),
        Ok(done) => note(call, proving, done),
    }
    Ok(())
}

fn note(call: &Call, proving: &Proving, done: Option<String>) {
    let text = done.as_deref().map_or("nothing to damage in this way".into(), |done| format!("planted: {done}"));
    call.run().journal.record(Event::Said { text, warning: true });
    proving.note(done.map_or(Planted::NothingToDamage, Planted::Done));
}
