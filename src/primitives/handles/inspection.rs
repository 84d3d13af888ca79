//! An inspection as a script holds it.

use std::sync::Arc;

use crate::backups;
use crate::compare::{Extent, Level, Verified};
use crate::units;

/// What reading a backup to its end showed.
#[derive(Clone)]
pub(crate) struct Inspection(Arc<Seen>);

enum Seen {
    Read(backups::Inspection),
    Damaged(String),
}

impl Inspection {
    /// Takes what was seen of a file in which nothing is wrong.
    pub(crate) fn read(inspection: backups::Inspection) -> Self {
        Self(Arc::new(Seen::Read(inspection)))
    }

    /// Takes what is wrong with a file.
    pub(crate) fn damaged(why: String) -> Self {
        Self(Arc::new(Seen::Damaged(why)))
    }

    /// Returns what was seen; nothing of a damaged file counts.
    pub(crate) fn seen(&self) -> Option<&backups::Inspection> {
        match &*self.0 {
            Seen::Read(inspection) => Some(inspection),
            Seen::Damaged(_) => None,
        }
    }

    /// Returns whether nothing is wrong with the file. One that nothing could read to its end is not whole.
    pub(crate) fn whole(&self) -> bool {
        self.seen().is_some_and(backups::Inspection::whole)
    }

    /// Returns whether the file is what its manifest says. Without a manifest there is nothing to prove it by.
    pub(crate) fn proven(&self) -> bool {
        self.seen().is_some_and(|i| i.agreed_with.contains(&"manifest"))
    }

    /// Returns what the inspection verified. It asks for file and parse in one reading: of a damaged file neither holds.
    pub(crate) fn verified(&self) -> Verified {
        match &*self.0 {
            Seen::Read(inspection) => inspection.verified(),
            Seen::Damaged(_) => Verified::held(&[Level::File, Level::Parse], Extent::default()).only_if(false),
        }
    }

    /// Returns the facts for the journal.
    pub(crate) fn facts(&self) -> serde_json::Value {
        match &*self.0 {
            Seen::Read(inspection) => serde_json::to_value(inspection).unwrap_or_default(),
            Seen::Damaged(why) => serde_json::json!({ "damaged": why }),
        }
    }
}

impl std::fmt::Display for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.0 {
            Seen::Damaged(why) => f.write_str(why),
            Seen::Read(i) if !i.whole() => {
                let unread = i.not_checked.iter().find(|(what, _)| what == "parse");
                let why = unread.map_or("nothing read it as a dump", |(_, why)| why);
                write!(f, "not proven to be whole: {why}")
            }
            Seen::Read(i) if i.agreed_with.is_empty() => {
                write!(f, "{} read to the end, with nothing to compare it with", units::size(i.size))
            }
            Seen::Read(i) => {
                write!(f, "{} read to the end, in agreement with its {}", units::size(i.size), i.agreed_with.join(", "))
            }
        }
    }
}
