//! The world of tests: a folder with scripts, and whole runs of them in process.

use std::sync::Arc;

use crate::engine::{Script, execute};
use crate::run::{Event, Moment, Options, Run, ScriptFailure, Silent, Stop, Verdict};

/// A folder with scripts, and runs of them.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) runtime: tokio::runtime::Runtime,
}

pub(crate) struct Ended {
    pub(crate) verdict: Verdict,
    pub(crate) moments: Vec<Moment>,
}

impl World {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { folder: tempfile::tempdir().unwrap(), runtime }
    }

    pub(crate) fn with(script: &str) -> Self {
        Self::new().file("main.rhai", script)
    }

    /// Writes a file; `$TEST` in its text stands for the folder.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("$TEST", &self.folder.path().display().to_string())).unwrap();
        self
    }

    pub(crate) fn path(&self) -> String {
        self.folder.path().join("main.rhai").display().to_string()
    }

    pub(crate) fn compile(&self) -> Result<Script, Box<ScriptFailure>> {
        Script::compile(&self.path())
    }

    pub(crate) fn run(&self) -> Ended {
        self.run_with(Options::default(), |_| {})
    }

    pub(crate) fn run_with(&self, options: Options, meanwhile: impl FnOnce(&Stop)) -> Ended {
        let options = Options { state_dir: self.folder.path().join("state"), ..options };
        let run = Run::start(options, Arc::new(Silent), self.runtime.handle().clone()).unwrap();
        let script = self.compile().unwrap_or_else(|f| panic!("{}: {:?}", f.message, f.place));
        meanwhile(&run.stop);
        let verdict = execute(&script, &run);
        Ended { verdict, moments: run.journal.moments() }
    }
}

impl Ended {
    pub(crate) fn failure(&self) -> &ScriptFailure {
        let broke = self.moments.iter().find_map(|m| match &m.event {
            Event::Broke(failure) => Some(failure),
            _ => None,
        });
        broke.expect("the script did not break off")
    }

    pub(crate) fn said(&self) -> Vec<&str> {
        let said = self.moments.iter().filter_map(|m| match &m.event {
            Event::Said { text, .. } => Some(text.as_str()),
            _ => None,
        });
        said.collect()
    }

    pub(crate) fn announced(&self) -> Vec<String> {
        let announced = self.moments.iter().filter_map(|m| match &m.event {
            Event::Announced { primitive, text } => Some(format!("{primitive}: {text}")),
            _ => None,
        });
        announced.collect()
    }

    /// Returns the facts that a verb journaled.
    pub(crate) fn evidence(&self, verb: &str) -> Vec<&serde_json::Value> {
        let facts = self.moments.iter().filter_map(|m| match &m.event {
            Event::Evidence { primitive, facts, .. } if primitive == verb => Some(facts),
            _ => None,
        });
        facts.collect()
    }
}

/// Cuts the world's own folder out of a text.
pub(crate) fn bare(world: &World, text: &str) -> String {
    text.replace(&format!("{}/", world.folder.path().display()), "")
}
