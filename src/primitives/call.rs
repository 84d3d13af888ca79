//! One call of a verb: its arguments read by type, and the ways to wait for work without losing the way to stop.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rhai::{Dynamic, FnPtr, NativeCallContext};
use tokio_util::sync::CancellationToken;

use super::handles::show;
use super::{Host, Primitive};
use crate::backups::access;
use crate::cleanup::Ticket;
use crate::compare::Verified;
use crate::error::{Error, Kind, Result};
use crate::files::unfinished;
use crate::progress::Progress;
use crate::run::{Event, Run, current};
use crate::script::{self, Options, Raised};

/// How long a stop waits for work on a thread to see it.
const GRACE: Duration = Duration::from_secs(2);

/// One call of a verb.
pub struct Call<'a> {
    primitive: &'static Primitive,
    host: &'a Arc<Host>,
    context: &'a NativeCallContext<'a>,
    arguments: Vec<Dynamic>,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        primitive: &'static Primitive,
        host: &'a Arc<Host>,
        context: &'a NativeCallContext<'a>,
        arguments: Vec<Dynamic>,
    ) -> Self {
        // A captured variable arrives as a shared cell: take what it holds, so that no lock outlives the reading.
        let arguments = arguments.into_iter().map(Dynamic::flatten).collect();
        Self { primitive, host, context, arguments }
    }

    /// Returns the run.
    pub fn run(&self) -> &Arc<Run> {
        &self.host.run
    }

    /// Returns what the verbs of this script share.
    pub fn host(&self) -> &Arc<Host> {
        self.host
    }

    /// Returns the place of the call.
    pub fn context(&self) -> &NativeCallContext<'a> {
        self.context
    }

    /// Returns the arguments.
    pub fn arguments(&self) -> &[Dynamic] {
        &self.arguments
    }

    /// Returns one argument, unit where it was left out.
    pub fn any(&self, at: usize) -> Dynamic {
        self.arguments.get(at).cloned().unwrap_or(Dynamic::UNIT)
    }

    /// Returns one argument as a person would write it, for announcements and messages.
    pub fn shown(&self, at: usize) -> String {
        show(&self.any(at))
    }

    /// Returns a text.
    pub fn text(&self, at: usize) -> Result<String> {
        let value = self.any(at);
        if value.is_string() { Ok(value.to_string()) } else { Err(self.wrong(at, "a string")) }
    }

    /// Returns a truth.
    pub fn truth(&self, at: usize) -> Result<bool> {
        self.any(at).as_bool().map_err(|_| self.wrong(at, "true or false"))
    }

    /// Returns a closure.
    pub fn closure(&self, at: usize) -> Result<FnPtr> {
        self.any(at).try_cast::<FnPtr>().ok_or_else(|| self.wrong(at, "a closure: || { … }"))
    }

    /// Returns a list.
    pub fn list(&self, at: usize) -> Result<rhai::Array> {
        self.any(at).try_cast::<rhai::Array>().ok_or_else(|| self.wrong(at, "a list: [ … ]"))
    }

    /// Returns a value of one of our own types.
    pub fn handle<T: rhai::Variant + Clone>(&self, at: usize, wanted: &str) -> Result<T> {
        self.any(at).try_cast::<T>().ok_or_else(|| self.wrong(at, wanted))
    }

    /// Returns the option map at a place; one that was left out is empty.
    pub fn options(&self, at: usize) -> Result<Options> {
        Options::new(self.primitive.name, self.any(at))
    }

    /// Returns the error for an argument of the wrong type.
    pub fn wrong(&self, at: usize, wanted: &str) -> Error {
        const ORDINALS: [&str; 4] = ["first", "second", "third", "fourth"];
        let found = match self.arguments.get(at) {
            None => "nothing".to_owned(),
            Some(value) => format!("{} `{}`", script::type_word(value), show(value)),
        };
        let name = self.primitive.name;
        Error::new(
            Kind::Usage,
            format!("the {} argument of {name} is {wanted}, not {found}", ORDINALS.get(at).unwrap_or(&"last")),
        )
        .hint(format!("it is called as {}", self.primitive.signatures.join(" or ")))
    }

    /// Returns the token that ends this call: the branch's, the step's or the run's.
    pub fn token(&self) -> CancellationToken {
        token(self.run())
    }

    /// Journals that `to` is about to be written, so that a run that is killed half way can be tidied up after. The
    /// record is taken back with [`Call::written`]; where the work fails, at the end of the run.
    pub fn writing(&self, to: &Path) -> Result<Ticket> {
        self.wait(unfinished::announce(&self.run().ledger, to))
    }

    /// Takes the record of [`Call::writing`] back.
    pub fn written(&self, ticket: Ticket) -> Result<()> {
        self.wait(ticket.remove())
    }

    /// Journals what the verb found or made: one line for people, and the facts.
    pub fn evidence(&self, summary: String, facts: serde_json::Value) {
        self.run().journal.record(Event::Evidence { primitive: self.primitive.name.to_owned(), summary, facts });
    }

    /// Journals what the verb found together with what it verified, which every report reads in this one shape.
    pub fn verified(&self, summary: String, mut facts: serde_json::Value, verified: &Verified) {
        if let (Some(facts), Ok(serde_json::Value::Object(told))) =
            (facts.as_object_mut(), serde_json::to_value(verified))
        {
            facts.extend(told);
        }
        self.evidence(summary, facts);
    }

    /// Notes in the access log beside a backup what this call does with it. The work goes on where that cannot be written,
    /// and the operator is warned: a backup that is needed must not fail for its log.
    pub fn accessed(&self, backup: &Path) {
        if let Err(error) = self.note_access(backup) {
            self.warn(format!("nobody will know that {} touched it: {error}", self.primitive.name));
        }
    }

    /// Notes in the access log that a backup is about to be removed or to lose its protection; without that line it stays.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn will_lose(&self, backup: &Path) -> Result<()> {
        self.note_access(backup)
    }

    fn note_access(&self, backup: &Path) -> Result<()> {
        let run = self.run();
        // What the run itself made and removes again is nobody's backup.
        let is_own = backup.to_string_lossy().contains(&format!("runner-{}", run.id));
        // A dry run changes nothing, and a proof leaves nothing outside of its own folders.
        let quiet = run.options.dry_run || run.options.proving.is_some();
        if is_own || quiet { Ok(()) } else { access::note(backup, self.primitive.name, &run.id) }
    }

    /// Warns the operator.
    pub fn warn(&self, text: impl Into<String>) {
        self.run().journal.record(Event::Said { text: text.into(), warning: true });
    }

    /// Waits for a future. A stop drops it at once, wherever it is.
    pub fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        wait(self.run(), work)
    }

    /// Does blocking work on a thread of its own, and shows the bytes that it counts under a label meanwhile. A stop
    /// ends the waiting soon; work that does not look at its token by then ends by itself.
    pub fn on_thread_with<T: Send + 'static>(
        &self,
        label: &str,
        work: impl FnOnce(&Progress, &CancellationToken) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shown = self.run().journal.working(label);
        let progress = shown.progress.clone();
        self.on_thread(move |cancel| work(&progress, cancel))
    }

    /// Does blocking work on a thread of its own, with a token that says when to end.
    pub fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&CancellationToken) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let stopped = self.token();
        let token = stopped.child_token();
        let _ended = token.clone().drop_guard();
        self.run().runtime.block_on(async {
            let mut working = tokio::task::spawn_blocking(move || work(&token));
            tokio::select! {
                biased;
                () = stopped.cancelled() => {
                    // Cleanup would race with work that still writes into what it removes.
                    let _ = tokio::time::timeout(GRACE, working).await; // too late or not, the run is over
                    Err(interrupted())
                }
                done = &mut working => done.map_err(|panic| {
                    Error::new(Kind::Bug, "work on a thread panicked: this is our bug").because(&panic)
                })?,
            }
        })
    }

    /// Calls a closure of the script.
    pub fn call(&self, closure: &FnPtr, arguments: impl rhai::FuncArgs) -> Raised<Dynamic> {
        Ok(closure.call_within_context::<Dynamic>(self.context, arguments)?)
    }
}

/// Waits for a future on behalf of the script's thread. A stop drops it at once, wherever it is.
pub(super) fn wait<T>(run: &Run, work: impl Future<Output = Result<T>>) -> Result<T> {
    let token = token(run);
    run.runtime.block_on(async {
        tokio::select! {
            biased;
            () = token.cancelled() => Err(interrupted()),
            result = work => result,
        }
    })
}

fn token(run: &Run) -> CancellationToken {
    current().token.unwrap_or_else(|| run.stop.token().clone())
}

/// Returns the error of work that was stopped.
pub(super) fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted")
}
