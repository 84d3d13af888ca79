//! `runner fork`: a stock script to edit, with a note of what it came from.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::answer;
use super::args::Fork;
use crate::engine::{stock_names, stock_text};
use crate::error::{Error, Kind, Result};
use crate::files::atomic::AtomicFile;
use crate::files::digest::Digest;
use crate::script::did_you_mean;

/// How the note begins that a fork ends with.
const NOTE: &str = "// forked from ";

pub(super) fn fork(args: &Fork) -> Result<u8> {
    let text = stock_text(&args.name).ok_or_else(|| {
        let error = Error::new(Kind::Missing, format!("there is no stock script {}", args.name));
        error.hint(did_you_mean(&args.name, stock_names()).unwrap_or_else(|| "`runner list` names them".into()))
    })?;
    let to = args.to.clone().unwrap_or_else(|| PathBuf::from(format!("{}.rhai", args.name)));
    let version = env!("CARGO_PKG_VERSION");
    let note = format!("{NOTE}{} of runner {version}, sha256 {}\n", args.name, Digest::of(text.as_bytes()));
    let mut file = AtomicFile::create(&to)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.write_all(note.as_bytes()))
        .map_err(|e| Error::io("write", &to, &e))?;
    file.commit()?;
    answer(&format!("wrote {0}\nrun it with: runner {0} --watch\n", to.display()))
}

/// A script that says which stock script it came from.
pub(super) struct Forked {
    /// The stock script's name.
    pub(super) from: String,
    /// Whether the stock script is another one now than it was then.
    pub(super) lags: bool,
}

impl Forked {
    /// Reads the note of a script; nothing where it has none.
    pub(super) fn read(script: &Path) -> Option<Self> {
        let text = crate::files::listing::read_text(script).ok()?;
        let note = text.lines().rev().find_map(|line| line.strip_prefix(NOTE))?;
        let (from, rest) = note.split_once(" of runner ")?;
        let (_, then) = rest.split_once(", sha256 ")?;
        let now = stock_text(from).map(|text| Digest::of(text.as_bytes()).to_string());
        Some(Self { from: from.to_owned(), lags: now.as_deref() != Some(then.trim()) })
    }
}
