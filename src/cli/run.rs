//! `runner run`: one script to its verdict, or again and again with `--watch`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::args::{Global, How, Run as Args};
use super::output::{Output, Places, can_ask};
use super::watch::{Used, Watcher};
use super::{answer, runtime};
use crate::cleanup::Sought;
use crate::engine::{self, Script};
use crate::error::{Error, Kind, Result};
use crate::files::atomic;
use crate::report::{Format, Report};
use crate::run::{Configuration, Listener, Options, Programs, Run, Stop, Why, exit};
use crate::signing::{Signer, Trust};

/// Runs a script.
pub(super) fn run(args: &Args, global: &Global) -> Result<u8> {
    let stage = Stage::open(&args.how, global)?;
    if args.watch { stage.watch(&args.script, args.poll) } else { stage.once(&args.script) }
}

/// What runs of one command share: the terminal, the runtime, the signals.
pub(super) struct Stage<'a> {
    how: &'a How,
    global: &'a Global,
    output: Arc<Output>,
    runtime: tokio::runtime::Runtime,
    /// The run that a signal stops.
    current: Arc<Mutex<Option<Stop>>>,
    /// Ends the watching.
    ended: CancellationToken,
}

impl<'a> Stage<'a> {
    pub(super) fn open(how: &'a How, global: &'a Global) -> Result<Self> {
        let stage = Self {
            how,
            global,
            output: Output::open(global.level(), global.color()),
            runtime: runtime()?,
            current: Arc::default(),
            ended: CancellationToken::new(),
        };
        stage.listen_to_signals()?;
        Ok(stage)
    }

    /// Runs a script once and returns the exit code.
    pub(super) fn once(&self, name: &str) -> Result<u8> {
        let Some(script) = self.compile(name) else { return Ok(exit::BROKE) };
        let run = self.begin(self.options_for(&script)?, self.output.clone())?;
        let told = self.tell_when_stopping(&run.stop);
        let verdict = engine::execute(&script, &run);
        told.abort();
        let report = Report::of(&run.journal.moments());
        let reports = self.write_reports(&report, &run);
        let places = Places { evidence: run.folder.clone(), reports: reports.as_ref().cloned().unwrap_or_default() };
        self.output.ending(&report, &places);
        if self.global.json {
            answer(&format!("{}\n", report.to_json()))?;
        }
        reports?;
        Ok(verdict.exit_code)
    }

    /// Compiles a script, or tells why it does not compile.
    pub(super) fn compile(&self, name: &str) -> Option<Script> {
        Script::compile(name).map_err(|failure| self.output.broken(&failure)).ok()
    }

    /// Reads what the command line asks of a script's runs, and clears up after killed ones.
    pub(super) fn options_for(&self, script: &Script) -> Result<Options> {
        let set = self.how.parameters()?;
        script.accept(&set)?;
        let options = self.options(set)?;
        if !options.dry_run {
            self.collect();
        }
        Ok(options)
    }

    /// Starts a run that signals stop.
    pub(super) fn begin(&self, options: Options, listener: Arc<dyn Listener>) -> Result<Arc<Run>> {
        let run = Run::start(options, listener, self.runtime.handle().clone())?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.stop.clone());
        if self.ended.is_cancelled() {
            run.stop.stop(Why::Interrupted); // the signal came before there was a run
        }
        Ok(run)
    }

    /// Tells something beside the runs.
    pub(super) fn notice(&self, text: &str) {
        self.output.notice(text);
    }

    /// Returns the exit code of the signal or deadline that stopped the current run.
    pub(super) fn stopped(&self) -> Option<u8> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().and_then(Stop::why).map(|why| match why {
            Why::Interrupted => exit::INTERRUPTED,
            Why::Terminated => exit::TERMINATED,
            Why::Deadline => exit::DEADLINE,
        })
    }

    /// Runs a script, and again after each save that changes it or what it imports. A save during a run leads to one
    /// more run after it: the watcher compares contents with those that the run used.
    fn watch(&self, name: &str, polling: bool) -> Result<u8> {
        let mut watcher = Watcher::new([], polling);
        loop {
            let files = used_files(name);
            let code = self.once(name).unwrap_or_else(|error| {
                self.output.error(&error);
                exit::BROKE
            });
            if self.ended.is_cancelled() {
                return Ok(if code == exit::TERMINATED { code } else { exit::INTERRUPTED });
            }
            watcher.set(files);
            self.output.notice("watching: save the script to run it again, Ctrl-C to end");
            match self.runtime.block_on(watcher.changed(&self.ended)) {
                None => return Ok(exit::INTERRUPTED),
                Some(changed) => {
                    let names: Vec<_> =
                        changed.iter().filter_map(|p| p.file_name()).map(|n| n.to_string_lossy()).collect();
                    self.output.notice(&format!("{} changed", names.join(", ")));
                }
            }
        }
    }

    fn options(&self, set: BTreeMap<String, String>) -> Result<Options> {
        let configuration = Configuration::read(&self.how.config)?;
        let allowed = self.how.allow_run.iter().cloned().chain(configuration.run.programs);
        Ok(Options {
            set,
            dry_run: self.how.dry_run,
            yes: self.how.yes,
            interactive: can_ask(),
            keep: self.how.keep,
            require_checks: self.how.require_checks,
            timeout: self.how.timeout,
            bandwidth: self.how.bandwidth,
            state_dir: self.global.state_dir.clone(),
            protection: configuration.protect,
            programs: Programs::new(allowed)?,
            signer: self.how.sign.as_deref().map(Signer::read).transpose()?.map(Arc::new),
            trust: Arc::new(Trust::read(&self.how.trust)?),
            proving: None,
        })
    }

    /// Removes what killed runs left behind. What cannot be removed is said and does not stop the run.
    fn collect(&self) {
        match self.runtime.block_on(engine::collect(&self.global.state_dir, Sought::LeftBehind)) {
            Ok(collected) => {
                for record in collected.removed {
                    self.output
                        .notice(&format!("removed {} {}, left by a run that was killed", record.kind, record.name));
                }
                for left in collected.left {
                    let (kind, name, hand) = (left.record.kind, left.record.name, left.record.by_hand);
                    self.output
                        .notice(&format!("an earlier run left {kind} {name}: {}; remove it with: {hand}", left.error));
                }
            }
            Err(error) => self.output.error(&error),
        }
    }

    /// Writes the evidence's own reports and those that were asked for.
    fn write_reports(&self, report: &Report, run: &Run) -> Result<Vec<std::path::PathBuf>> {
        let own = [(Format::Json, run.folder.join("report.json")), (Format::Markdown, run.folder.join("report.md"))];
        let asked = self.how.report.iter().map(|(format, path)| Ok((format.parse::<Format>()?, path.into())));
        let asked = asked.collect::<Result<Vec<(Format, std::path::PathBuf)>>>()?;
        let mut written = Vec::new();
        for (format, path) in own.into_iter().chain(asked) {
            atomic::write(&path, report.write(format)?.as_bytes())?;
            written.push(path);
        }
        Ok(written.split_off(1)) // the JSON in the evidence folder is for programs
    }

    /// Says that the run is being stopped, whatever the reason is: a question that waits is then answered with no.
    fn tell_when_stopping(&self, stop: &Stop) -> tokio::task::JoinHandle<()> {
        let (output, stop, token) = (self.output.clone(), stop.clone(), stop.token().clone());
        self.runtime.spawn(async move {
            token.cancelled().await;
            let why = stop.why().map_or("stopped", Why::word);
            output.stopping(&format!("{why}: cleaning up; Ctrl-C once more leaves things as they are"));
        })
    }

    /// The first signal stops the run, which then cleans up; the second one ends the cleanup, too.
    fn listen_to_signals(&self) -> Result<()> {
        let (output, current, ended) = (self.output.clone(), self.current.clone(), self.ended.clone());
        let signals = self.runtime.block_on(async { Signals::open() })?;
        self.runtime.spawn(async move {
            let mut signals = signals;
            loop {
                let why = signals.next().await;
                let stop = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if ended.is_cancelled() {
                    output.notice("the cleanup is abandoned");
                    stop.iter().for_each(Stop::abandon_cleanup);
                    continue;
                }
                ended.cancel();
                stop.iter().for_each(|s| s.stop(why));
            }
        });
        Ok(())
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn open() -> Result<Self> {
        let open = |kind| signal(kind).map_err(|e| Error::new(Kind::Io, "could not listen to signals").because(&e));
        Ok(Self {
            interrupt: open(SignalKind::interrupt())?,
            terminate: open(SignalKind::terminate())?,
            hangup: open(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Why {
        tokio::select! {
            _ = self.interrupt.recv() => Why::Interrupted,
            _ = self.terminate.recv() => Why::Terminated,
            _ = self.hangup.recv() => Why::Terminated,
        }
    }
}

/// Returns the files of a script with the contents that a run is about to use.
fn used_files(name: &str) -> Vec<Used> {
    engine::files_to_watch(name).into_iter().map(|(path, sha256)| Used { path, sha256 }).collect()
}
