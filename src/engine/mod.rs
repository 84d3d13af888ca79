//! One run of one script: compile, execute, cancel, clean up, judge.

mod build;
mod collect;
mod definitions;
mod failure;
mod lint;
mod manual;
mod prove;
mod resolve;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use jiff::Timestamp;
use rhai::{AST, Engine, EvalAltResult, Scope};

pub use collect::{Collected, abandoned, collect};
pub use definitions::definitions;
pub use lint::Finding;
pub use manual::{manual, manual_contents, manual_of};
pub use prove::{Attempt, Outcome, Proof, plants, prove};
pub use resolve::{Loader, Origin, Source, stock_names, stock_text};

use crate::cleanup::Leftover;
use crate::error::{Error, Kind, Result};
use crate::primitives::{Host, Parameter};
use crate::report;
use crate::run::{Event, Run, ScriptFailure, Verdict, Why};
use crate::units;

/// Closures nest on this stack; see [`build::LIMITS`].
const STACK: usize = 64 << 20;

/// A script, compiled with everything that it imports.
pub struct Script {
    /// Where it came from.
    pub origin: Origin,
    /// Its parameters and those of what it imports, in the order in which they appear.
    pub parameters: Vec<Parameter>,
    /// What is wrong with it although it compiles.
    pub findings: Vec<Finding>,
    head: String,
    loader: Loader,
    ast: AST,
}

impl Script {
    /// Resolves and compiles a script by its path or, for a stock script, its name. Nothing is run.
    ///
    /// # Errors
    /// The failure with the script's line, when it or an import does not compile.
    pub fn compile(name: &str) -> Result<Self, Box<ScriptFailure>> {
        Self::load(Loader::new(name).map_err(|e| Box::new(report::failure::of(&e)))?)
    }

    /// Compiles a stock script, whatever lies in the folder.
    ///
    /// # Errors
    /// As [`Script::compile`].
    pub fn compile_stock(name: &str) -> Result<Self, Box<ScriptFailure>> {
        Self::load(Loader::stock(name))
    }

    fn load(loader: Loader) -> Result<Self, Box<ScriptFailure>> {
        let engine = build::compiler(&loader);
        let origin = loader.main().clone();
        let ast = loader.compile_all(&engine).map_err(|e| Box::new(failure::explain(&e, &loader, &engine)))?;
        let (parameters, findings) = lint::read(&loader, &engine);
        let head = head(&loader.sources().first().map(|s| s.text.clone()).unwrap_or_default());
        Ok(Self { origin, parameters, findings, head, loader, ast })
    }

    /// Returns the comment at the script's head: its purpose, what it needs, what it changes.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// Returns the files that the script consists of: itself first, then what it imports.
    pub fn sources(&self) -> Vec<Source> {
        self.loader.sources()
    }

    /// Refuses values for parameters that the script does not have.
    pub fn accept(&self, set: &std::collections::BTreeMap<String, String>) -> Result<()> {
        for name in set.keys() {
            if !self.parameters.iter().any(|p| p.name == *name) {
                let error = Error::new(Kind::Usage, format!("the script has no parameter `{name}`"));
                let hint = crate::script::did_you_mean(name, self.parameters.iter().map(|p| p.name.as_str()));
                return Err(
                    error.hint(hint.unwrap_or_else(|| format!("runner help {} lists them", self.origin.called())))
                );
            }
        }
        Ok(())
    }
}

/// Returns the files of a script that may not even compile, with the SHA-256 of each that is there: what a watcher
/// looks at.
pub fn files_to_watch(name: &str) -> Vec<(PathBuf, Option<String>)> {
    let Ok(loader) = Loader::new(name) else { return vec![(PathBuf::from(name), None)] };
    let engine = build::compiler(&loader);
    let _ = loader.compile_all(&engine); // a failure still tells which files were looked for
    loader.watched()
}

/// Returns the text of the comment lines that a script starts with.
fn head(text: &str) -> String {
    let lines = text.lines().take_while(|l| l.starts_with("//")).map(|l| l.trim_start_matches(['/', '!']).trim_end());
    lines.map(|l| format!("{}\n", l.strip_prefix(' ').unwrap_or(l))).collect()
}

/// Runs a compiled script to its end, whatever that is, cleans up and returns the verdict.
pub fn execute(script: &Script, run: &Arc<Run>) -> Verdict {
    let sources = script.sources().into_iter().map(|s| (s.origin.shown(), s.sha256)).collect();
    run.journal.record(Event::Started {
        run: run.id.clone(),
        at: run.started_at,
        script: script.origin.called(),
        sources,
        tool: concat!("runner ", env!("CARGO_PKG_VERSION")).into(),
        dry_run: run.options.dry_run,
    });
    if let Some(pace) = &run.pace {
        let text = format!("bandwidth: at most {} move in a second", units::size(pace.limit()));
        run.journal.record(Event::Said { text, warning: false });
    }
    keep_sources(script, run);
    let timer = run.options.timeout.map(|limit| {
        let stop = run.stop.clone();
        run.runtime.spawn(async move {
            tokio::time::sleep(limit).await;
            stop.stop(Why::Deadline);
        })
    });
    let worked = thread::scope(|scope| {
        let worker =
            thread::Builder::new().name("script".into()).stack_size(STACK).spawn_scoped(scope, || work(script, run));
        worker.map(|w| w.join().is_ok()).unwrap_or(false)
    });
    if !worked {
        let bug = Error::new(Kind::Bug, "the script's thread broke: this is our bug")
            .hint("please report it with the run's journal");
        run.journal.record(Event::Broke(report::failure::of(&bug)));
    }
    if let Some(timer) = timer {
        timer.abort();
    }
    if let Some(pace) = &run.pace {
        let text = format!(
            "bandwidth: {} moved, at most {} in a second",
            units::size(pace.moved()),
            units::size(pace.limit())
        );
        run.journal.record(Event::Said { text, warning: false });
    }
    clean_up(run);
    judge(run)
}

/// Runs the script, then what it put off. Both need the same engine and the same thread.
fn work(script: &Script, run: &Arc<Run>) {
    let host = Host::new(Arc::clone(run));
    let engine = build::engine(&script.loader, &host);
    let result = engine.run_ast_with_scope(&mut Scope::new(), &script.ast);
    note_end(result, script, run, &engine);
    run.stop.begin_cleanup();
    while let Some(deferred) = host.next_deferred() {
        if let Err(error) = deferred.run(&engine) {
            let explained = failure::explain(&error, &script.loader, &engine);
            run.journal.record(Event::Broke(explained));
        }
    }
    host.keep_what_stays();
}

fn note_end(result: Result<(), Box<EvalAltResult>>, script: &Script, run: &Run, engine: &Engine) {
    let Err(error) = result else { return };
    if run.options.dry_run && failure::is_branch_on_unknown(&error) {
        let explained = failure::explain(&error, &script.loader, engine);
        let place = explained.place.unwrap_or_default();
        let text = format!("unknown from {place} on: it depends on what only a real run knows");
        run.journal.record(Event::Announced { primitive: "branch".into(), text });
        return;
    }
    let explained = match run.stop.why() {
        Some(why) => failure::stopped(why, &run.journal.moments()),
        None => failure::explain(&error, &script.loader, engine),
    };
    run.journal.record(Event::Broke(explained));
}

/// Removes what the run made. A second Ctrl-C ends the waiting; what is then still there is listed.
fn clean_up(run: &Arc<Run>) {
    run.stop.begin_cleanup();
    run.runtime.block_on(async {
        tokio::select! {
            _ = run.clean_up() => {}
            () = run.stop.cleanup_token().cancelled() => {
                for record in run.ledger.remaining() {
                    let error = Error::new(Kind::Interrupted, "the cleanup was abandoned");
                    run.note_leftover(&Leftover { record, error });
                }
            }
        }
    });
}

fn judge(run: &Run) -> Verdict {
    if let Some(lost) = run.journal.lost() {
        run.journal.record(Event::Broke(report::failure::of(&lost)));
    }
    let verdict = Verdict::of(&run.journal.moments(), run.stop.why(), run.options.require_checks, run.options.dry_run);
    run.journal.record(Event::Ended {
        at: Timestamp::now(),
        exit_code: verdict.exit_code,
        verdict: verdict.words.clone(),
        seconds: run.elapsed().as_secs_f64(),
    });
    verdict
}

/// Keeps the very text that ran with the evidence: a script edited later must not explain an old verdict.
fn keep_sources(script: &Script, run: &Run) {
    for (n, source) in script.sources().iter().enumerate() {
        let name = source.origin.file_name();
        let to = run.folder.join("scripts").join(format!("{n:02}_{name}"));
        if let Err(error) = crate::files::atomic::write(&to, source.text.as_bytes()) {
            run.journal
                .record(Event::Said { text: format!("the script was not kept as evidence: {error}"), warning: true });
        }
    }
}
