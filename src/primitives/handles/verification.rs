//! `Verification`: what `verify_checksums` and `verify_files` found.

use std::path::Path;
use std::sync::Arc;

use rhai::{Dynamic, Engine};

use crate::compare::{Extent, Level, Verified};
use crate::files::checksums::{self, Checked, Verdict};
use crate::files::shown;

/// The verdict on a checksum list.
#[derive(Debug, Clone)]
pub(crate) struct Verification(Arc<checksums::Verification>);

impl From<checksums::Verification> for Verification {
    fn from(found: checksums::Verification) -> Self {
        Self(Arc::new(found))
    }
}

impl Verification {
    /// Returns whether every listed file is there and unchanged.
    pub(crate) fn intact(&self) -> bool {
        self.0.intact()
    }

    /// Returns the verdict in one line.
    pub(crate) fn summary(&self) -> String {
        self.0.summary()
    }

    /// Returns the facts for the journal, under the name of what was verified.
    pub(crate) fn facts(&self, what: &str, name: &str) -> serde_json::Value {
        serde_json::json!({
            what: name,
            "intact": self.intact(),
            "files": self.files(),
            "changed": self.changed(),
            "missing": self.missing(),
            "unreadable": self.unreadable(),
            "extra": self.extra(),
        })
    }

    /// Returns what was verified: these levels, of every file that the list names.
    pub(crate) fn verified(&self, levels: &[Level], bytes: u64) -> Verified {
        let extent = Extent { files: self.files() as u64, bytes, ..Extent::default() };
        let verified = Verified::held(levels, extent).only_if(self.intact());
        self.unreadable().iter().fold(verified, |verified, file| verified.without(file, "it could not be read"))
    }

    /// Returns how many files the list names.
    pub(crate) fn files(&self) -> usize {
        self.0.files.len()
    }

    /// Returns the files with another content, and those of which something else differs, with what that is.
    pub(crate) fn changed(&self) -> Vec<String> {
        self.listed(|file| match &file.verdict {
            Verdict::Changed { .. } => Some(shown(&file.path)),
            Verdict::Differs { why } => Some(format!("{}: {why}", shown(&file.path))),
            _ => None,
        })
    }

    /// Returns the files that are not there.
    pub(crate) fn missing(&self) -> Vec<String> {
        self.listed(|file| (file.verdict == Verdict::Missing).then(|| shown(&file.path)))
    }

    /// Returns the files that could not be read, each with the reason.
    pub(crate) fn unreadable(&self) -> Vec<String> {
        self.listed(|file| match &file.verdict {
            Verdict::Unreadable { why } => Some(format!("{}: {why}", shown(&file.path))),
            _ => None,
        })
    }

    /// Returns the files in the folder that the list does not name.
    pub(crate) fn extra(&self) -> Vec<String> {
        self.0.extra.iter().map(|path| shown(Path::new(path))).collect()
    }

    fn listed(&self, pick: impl Fn(&Checked) -> Option<String>) -> Vec<String> {
        self.0.files.iter().filter_map(pick).collect()
    }
}

/// Teaches an engine the type.
pub(in crate::primitives) fn register(engine: &mut Engine) {
    let list = |texts: Vec<String>| texts.into_iter().map(Dynamic::from).collect::<rhai::Array>();
    engine
        .register_type_with_name::<Verification>("Verification")
        .register_get("intact", |v: &mut Verification| v.intact())
        .register_get("summary", |v: &mut Verification| v.summary())
        .register_get("files", |v: &mut Verification| i64::try_from(v.files()).unwrap_or(i64::MAX))
        .register_get("changed", move |v: &mut Verification| list(v.changed()))
        .register_get("missing", move |v: &mut Verification| list(v.missing()))
        .register_get("unreadable", move |v: &mut Verification| list(v.unreadable()))
        .register_get("extra", move |v: &mut Verification| list(v.extra()))
        .register_fn("to_string", |v: &mut Verification| v.to_string())
        .register_fn("to_debug", |v: &mut Verification| v.to_string());
}

impl std::fmt::Display for Verification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.summary())
    }
}
