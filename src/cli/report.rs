//! `runner report`: the report of an earlier run, made anew from its journal.

use std::path::{Path, PathBuf};

use super::answer;
use super::args::{Global, Report as Args};
use crate::error::{Error, Kind, Result};
use crate::report::{Format, Report};
use crate::run::{read_journal, runs_folder};
use crate::script::did_you_mean;

pub(super) fn report(args: &Args, global: &Global) -> Result<u8> {
    let format: Format = if global.json { Format::Json } else { args.format.parse()? };
    let folders = runs(&global.state_dir)?;
    let found = match args.run.as_str() {
        "latest" => folders.last(),
        id => folders.iter().find(|f| name(f) == id),
    };
    let folder = found.ok_or_else(|| {
        let error =
            Error::new(Kind::Missing, format!("there is no run {} in {}", args.run, global.state_dir.display()));
        let near = did_you_mean(&args.run, folders.iter().map(|f| name(f)));
        error.hint(near.unwrap_or_else(|| "`runner history` lists them".into()))
    })?;
    answer(&Report::of(&read_journal(folder)?).write(format)?)
}

/// Returns the folders of all runs, oldest first.
pub(super) fn runs(state_dir: &Path) -> Result<Vec<PathBuf>> {
    let folder = runs_folder(state_dir);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", &folder, &e)),
    };
    let mut runs: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_dir()).collect();
    runs.sort();
    Ok(runs)
}

fn name(folder: &Path) -> &str {
    folder.file_name().and_then(|n| n.to_str()).unwrap_or_default()
}
