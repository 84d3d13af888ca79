//! What a script verb is: its name, its effect, its manual and its work.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, FuncRegistration, Module, NativeCallContext};

use super::{Call, Host, proving};
use crate::error::{Error, Kind, Result};
use crate::run::Event;
use crate::script::{Raise, Raised, Unknown};

/// The chapter of the manual that a verb stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Parameters, environment, secrets.
    Inputs,
    /// Steps, branches, waiting, messages.
    Flow,
    /// Checks, measures, objectives.
    Verdict,
    /// Handles to databases, servers and sandboxes.
    Databases,
    /// The work itself.
    Primitives,
    /// Backup sets and catalogs.
    Sets,
    /// Files and folders.
    Files,
    /// Docker's volumes and the services of Compose.
    Docker,
    /// Git repositories.
    Git,
    /// Questions to services.
    Http,
    /// Programs that the operator allows.
    Programs,
}

impl Group {
    /// Returns the chapter's title.
    pub fn title(self) -> &'static str {
        match self {
            Group::Inputs => "Inputs",
            Group::Flow => "Flow",
            Group::Verdict => "Verdict",
            Group::Databases => "Databases",
            Group::Primitives => "Backup, restore, compare",
            Group::Sets => "Backup sets",
            Group::Files => "Files",
            Group::Docker => "Volumes and services",
            Group::Git => "Git",
            Group::Http => "HTTP",
            Group::Programs => "Programs",
        }
    }
}

/// What a verb does to the world, which decides what a dry run does with it.
#[derive(Clone, Copy)]
pub enum Effect {
    /// It only reads: a dry run does it.
    Reads,
    /// It changes something: a dry run calls this instead, which checks the arguments and says what would happen.
    Writes(fn(&Call) -> Result<String>),
    /// It steers the script or notes something in the journal, and knows about dry runs itself.
    Steers,
}

/// One verb.
pub struct Primitive {
    /// Its name in scripts.
    pub name: &'static str,
    /// Its chapter.
    pub group: Group,
    /// What it does to the world.
    pub effect: Effect,
    /// How it can be called: `checksum(path: string) -> string`; an optional parameter ends in `?`.
    pub signatures: &'static [&'static str],
    /// The first line says what it does; the rest explains; fenced `rhai` blocks are examples that tests run.
    pub manual: &'static str,
    /// The work.
    pub work: fn(&Call) -> Raised<Dynamic>,
}

/// How signatures call a parameter that is the path of something to read.
const PATHS: [&str; 8] = ["path", "file", "folder", "archive", "pattern", "from", "repo", "bundle"];

/// A signature, taken apart.
pub struct Signature {
    /// The parameters with their types, in order.
    pub parameters: Vec<(&'static str, &'static str)>,
    /// How many of them must be given.
    pub needed: usize,
    /// What comes back.
    pub returns: &'static str,
}

impl Signature {
    /// Takes a signature of the catalogue apart.
    pub fn parse(text: &'static str) -> Self {
        let (head, returns) = text.rsplit_once(" -> ").unwrap_or((text, "()"));
        let inside = head.split_once('(').map_or("", |(_, rest)| rest.strip_suffix(')').unwrap_or(rest));
        let parameters: Vec<_> =
            inside.split(", ").filter(|p| !p.is_empty()).map(|p| p.split_once(": ").unwrap_or((p, "any"))).collect();
        let needed = parameters.iter().take_while(|(name, _)| !name.ends_with('?')).count();
        Self { parameters, needed, returns }
    }
}

impl Primitive {
    /// Returns what it does, in one line.
    pub fn summary(&self) -> &'static str {
        self.manual.trim_start().lines().next().unwrap_or_default()
    }

    /// Registers the verb for each number of arguments that its signatures allow. Without a host it can be compiled
    /// against, but not called.
    pub fn register(&'static self, module: &mut Module, host: Option<&Arc<Host>>) {
        let mut done = Vec::new();
        for text in self.signatures {
            let signature = Signature::parse(text);
            for arity in signature.needed..=signature.parameters.len() {
                if !done.contains(&arity) {
                    done.push(arity);
                    self.register_arity(module, host, arity, &signature);
                }
            }
        }
    }

    /// All parameters are dynamic: the verb reads them itself, so that a wrong one gets an error that names what was
    /// wanted, and an unknown one of a dry run gets through.
    fn register_arity(
        &'static self,
        module: &mut Module,
        host: Option<&Arc<Host>>,
        arity: usize,
        signature: &Signature,
    ) {
        let mut info: Vec<String> =
            signature.parameters.iter().take(arity).map(|(n, t)| format!("{}: {t}", n.trim_end_matches('?'))).collect();
        info.push(signature.returns.to_owned());
        let comments: Vec<String> =
            self.manual.trim().lines().map(|l| format!("/// {l}").trim_end().to_owned()).collect();
        let registration =
            FuncRegistration::new(self.name).with_volatility(true).with_params_info(info).with_comments(comments);
        let host = host.cloned();
        macro_rules! set {
            ($($arg:ident),*) => {
                registration.set_into_module(module, move |context: NativeCallContext, $($arg: Dynamic),*| {
                    match &host {
                        Some(host) => self.call(host, &context, vec![$($arg),*]),
                        None => Err("this engine only compiles".into()),
                    }
                })
            };
        }
        match arity {
            0 => set!(),
            1 => set!(a),
            2 => set!(a, b),
            3 => set!(a, b, c),
            _ => set!(a, b, c, d),
        };
    }

    /// Does the work of one call, whatever happens in it.
    pub fn call(
        &'static self,
        host: &Arc<Host>,
        context: &NativeCallContext,
        arguments: Vec<Dynamic>,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let call = Call::new(self, host, context, arguments);
        // A panic would unwind through Rhai, past every `catch` and past our cleanup of this call.
        let done = catch_unwind(AssertUnwindSafe(|| self.decide(&call)));
        let done = done.unwrap_or_else(|panic| Err(Raise::Ours(bug(self.name, &*panic))));
        done.map_err(|raise| raise.into_rhai(self.name))
    }

    /// Does the work, or in a dry run what stands for it.
    fn decide(&'static self, call: &Call) -> Raised<Dynamic> {
        let dry_run = call.run().options.dry_run;
        match self.effect {
            Effect::Writes(plan) if dry_run || proving::announces(call, self.name) => {
                let text = plan(call)?;
                call.run().journal.record(Event::Announced { primitive: self.name.to_owned(), text });
                Ok(Unknown::of(self.name))
            }
            Effect::Reads if (dry_run || call.run().options.proving.is_some()) && self.reads_unknown(call) => {
                Ok(Unknown::of(self.name))
            }
            _ => (self.work)(call),
        }
    }

    /// Returns whether a dry run cannot know what a call reads: an argument is unknown, or an effect that was only
    /// announced would have changed the file.
    fn reads_unknown(&'static self, call: &Call) -> bool {
        let changed = |text: &'static str| {
            let parameters = Signature::parse(text).parameters;
            (0..parameters.len()).any(|at| PATHS.contains(&parameters[at].0) && call.is_changed(at))
        };
        (0..call.arguments().len()).any(|at| call.is_unknown(at)) || self.signatures.iter().any(|text| changed(text))
    }
}

fn bug(primitive: &str, panic: &(dyn std::any::Any + Send)) -> Error {
    let text =
        panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
    Error::new(Kind::Bug, format!("{primitive} broke inside runner: this is our bug"))
        .caused_by(text.unwrap_or_else(|| "panic without a message".into()))
        .hint("please report it with the run's journal; your script is not at fault")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Options, Run, Silent};

    static BREAKS: Primitive = Primitive {
        name: "breaks",
        group: Group::Flow,
        effect: Effect::Reads,
        signatures: &["breaks() -> ()"],
        manual: "Breaks.",
        work: |_| panic!("wires crossed"),
    };

    #[test]
    fn a_panic_becomes_an_error_that_owns_up() {
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let options = Options { state_dir: folder.path().to_owned(), ..Options::default() };
        let run = Run::start(options, Arc::new(Silent), runtime.handle().clone()).unwrap();
        let mut module = Module::new();
        BREAKS.register(&mut module, Some(&Host::new(run)));
        let mut engine = rhai::Engine::new();
        engine.register_global_module(module.into());
        let script =
            "let told = (); try { breaks(); } catch (e) { told = `${e.kind}: ${e.message}: ${e.causes[0]}`; } told";
        let told = engine.eval::<String>(script).unwrap();
        assert_eq!(told, "bug: breaks broke inside runner: this is our bug: wires crossed");
    }

    #[test]
    fn a_signature_is_taken_apart() {
        let signature = Signature::parse("restore(backup: Backup, into: Server|Database, options?: map) -> Database");
        assert_eq!(signature.parameters.len(), 3);
        assert_eq!((signature.needed, signature.returns), (2, "Database"));
        assert_eq!(Signature::parse("now() -> Time").parameters.len(), 0);
    }
}
