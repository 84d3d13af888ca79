//! The options of every command, whose doc comments are the help text.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use super::output::{ColorChoice, Level};
use crate::error::{Error, Kind, Result};
use crate::units;

/// Backups and recovery drills as scripts.
///
/// `runner SCRIPT` runs a script: a path, or the name of a stock script.
#[derive(Parser)]
#[command(name = "runner", version, disable_help_subcommand = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 passed, 1 a check or objective failed, 2 could not run, 3 refused, \
    4 nothing verified (--require-checks), 5 passed with leftovers, 124 deadline, 130 interrupted, 143 terminated.")]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command understands.
#[derive(Args)]
pub(super) struct Global {
    /// Where runs keep their journals and evidence
    #[arg(long, global = true, env = "RUNNER_STATE_DIR", value_name = "DIR", default_value = ".runner")]
    pub(super) state_dir: PathBuf,
    /// Print one JSON document on stdout; everything else goes to stderr
    #[arg(long, global = true, env = "RUNNER_JSON")]
    pub(super) json: bool,
    /// Tell failures and the verdict only
    #[arg(short, long, global = true, env = "RUNNER_QUIET", conflicts_with = "verbose")]
    quiet: bool,
    /// Tell the facts behind each step, too
    #[arg(short, long, global = true, env = "RUNNER_VERBOSE")]
    verbose: bool,
    /// When to use colours; NO_COLOR is honoured
    #[arg(long, global = true, env = "RUNNER_COLOR", value_name = "WHEN", default_value = "auto")]
    color: Color,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl Global {
    pub(super) fn level(&self) -> Level {
        match (self.quiet, self.verbose) {
            (true, _) => Level::Quiet,
            (_, true) => Level::Verbose,
            _ => Level::Normal,
        }
    }

    pub(super) fn color(&self) -> ColorChoice {
        match self.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        }
    }
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Run a script: a path, or the name of a stock script
    Run(Run),
    /// Plant damages and show which of a script's checks see them
    Prove(Prove),
    /// Compile and lint scripts without running them
    Check(Check),
    /// Show a script's purpose and parameters
    Help(Help),
    /// List the stock scripts
    List,
    /// Copy a stock script to edit it
    Fork(Fork),
    /// Show the manual of the script verbs
    Docs(Docs),
    /// Back up a small estate and drill its recovery, with nothing installed
    Demo(Demo),
    /// List earlier runs
    History(History),
    /// Write the report of an earlier run
    Report(Report),
    /// Remove what killed runs left behind
    Gc(Gc),
    /// Make a pair of keys that sign backups and show who signed them
    Keygen(Keygen),
    /// Print a completion script for a shell
    Completions(Completions),
}

/// How a run is done.
#[derive(Args, Clone, Default)]
pub(super) struct How {
    /// Set a parameter of the script; repeat for more. The variable RUNNER_SET holds one a line
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    pub(super) set: Vec<(String, String)>,
    /// Announce effects instead of having them
    #[arg(long, env = "RUNNER_DRY_RUN")]
    pub(super) dry_run: bool,
    /// Write reports: html=FILE, junit=FILE, md=FILE, json=FILE, separated by commas
    #[arg(long, value_name = "FORMAT=FILE", value_delimiter = ',', value_parser = pair, env = "RUNNER_REPORT")]
    pub(super) report: Vec<(String, String)>,
    /// Agree to every question
    #[arg(long, env = "RUNNER_YES")]
    pub(super) yes: bool,
    /// Leave sandboxes and temporary folders for a look
    #[arg(long, env = "RUNNER_KEEP")]
    pub(super) keep: bool,
    /// Stop the run after this time: 90s, 15m, 2h
    #[arg(long, value_name = "TIME", value_parser = duration, env = "RUNNER_TIMEOUT")]
    pub(super) timeout: Option<Duration>,
    /// Move at most this much data in a second, all parts of the run together: 20MB
    #[arg(long, value_name = "SIZE", value_parser = size, env = "RUNNER_BANDWIDTH")]
    pub(super) bandwidth: Option<u64>,
    /// Let the script start this program; repeat for more. No other is ever started by a script
    #[arg(long = "allow-run", value_name = "PROGRAM", value_delimiter = ',', env = "RUNNER_ALLOW_RUN")]
    pub(super) allow_run: Vec<String>,
    /// Exit with 4 when nothing was verified
    #[arg(long, env = "RUNNER_REQUIRE_CHECKS")]
    pub(super) require_checks: bool,
    /// Sign each backup of this run with this key of `runner keygen`
    #[arg(long, value_name = "FILE.key", env = "RUNNER_SIGN")]
    pub(super) sign: Option<PathBuf>,
    /// Read only backups that one of these keys signed; repeat for more
    #[arg(long, value_name = "FILE.pub", value_delimiter = ',', env = "RUNNER_TRUST")]
    pub(super) trust: Vec<PathBuf>,
    /// What no script may write to
    #[arg(long, value_name = "FILE", default_value = "runner.toml", env = "RUNNER_CONFIG")]
    pub(super) config: PathBuf,
}

impl How {
    /// Returns the parameters that were set; the command line wins over the variable.
    pub(super) fn parameters(&self) -> Result<BTreeMap<String, String>> {
        let lines = std::env::var("RUNNER_SET").unwrap_or_default();
        let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
        let set = lines.map(pair).collect::<Result<Vec<_>, String>>();
        let set =
            set.map_err(|why| Error::new(Kind::Usage, "could not read the variable RUNNER_SET").caused_by(why))?;
        Ok(set.into_iter().chain(self.set.iter().cloned()).collect())
    }
}

#[derive(Args)]
pub(super) struct Run {
    /// A path, or a name from `runner list`
    pub(super) script: String,
    #[command(flatten)]
    pub(super) how: How,
    /// Run again whenever the script or something it imports is saved
    #[arg(long, env = "RUNNER_WATCH")]
    pub(super) watch: bool,
    /// Read files once a second instead of waiting for events, for network drives
    #[arg(long, requires = "watch", env = "RUNNER_POLL")]
    pub(super) poll: bool,
}

#[derive(Args)]
pub(super) struct Prove {
    /// A drill: a path, or a name from `runner list`
    pub(super) script: String,
    /// Plant only this damage, by its name; repeat for more
    #[arg(long, value_name = "NAME")]
    pub(super) damage: Vec<String>,
    #[command(flatten)]
    pub(super) how: How,
}

#[derive(Args)]
pub(super) struct Check {
    /// Paths, or names from `runner list`
    #[arg(required = true)]
    pub(super) scripts: Vec<String>,
}

#[derive(Args)]
pub(super) struct Help {
    /// A path, or a name from `runner list`
    pub(super) script: Option<String>,
}

#[derive(Args)]
pub(super) struct Fork {
    /// A name from `runner list`
    pub(super) name: String,
    /// The file to write; NAME.rhai here when it is left out
    pub(super) to: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Docs {
    /// One verb
    #[arg(conflicts_with_all = ["markdown", "definitions"])]
    pub(super) name: Option<String>,
    /// The whole manual as Markdown: docs/primitives.md
    #[arg(long)]
    pub(super) markdown: bool,
    /// The definitions for editors: runner.d.rhai
    #[arg(long, conflicts_with = "markdown")]
    pub(super) definitions: bool,
}

#[derive(Args)]
pub(super) struct Demo {
    /// Use PostgreSQL, in Docker or installed locally
    #[arg(long)]
    pub(super) postgres: bool,
    #[command(flatten)]
    pub(super) how: How,
}

#[derive(Args)]
pub(super) struct History {
    /// How many runs to list
    #[arg(short = 'n', long, default_value_t = 20)]
    pub(super) most: usize,
}

#[derive(Args)]
pub(super) struct Report {
    /// The run's id, or `latest`
    pub(super) run: String,
    /// The format: md, html, junit or json
    #[arg(long, default_value = "md")]
    pub(super) format: String,
}

#[derive(Args)]
pub(super) struct Gc {
    /// Show what would be removed
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Also remove what runs set aside for a look: `keep: true`, `--keep`
    #[arg(long)]
    pub(super) kept: bool,
}

#[derive(Args)]
pub(super) struct Keygen {
    /// What the files are called: NAME.key, which signs, and NAME.pub, which is trusted
    pub(super) name: PathBuf,
}

#[derive(Args)]
pub(super) struct Completions {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` has no `=`: write NAME=VALUE"))?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

fn size(text: &str) -> Result<u64, String> {
    match units::parse_size(text) {
        Ok(0) => Err("nothing could move: write a size such as 20MB".into()),
        Ok(bytes) => Ok(bytes),
        Err(e) => Err(format!("{e}; {}", e.next_step().unwrap_or_default())),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    units::parse_duration(text).map_err(|e| format!("{e}; {}", e.next_step().unwrap_or_default()))
}

/// Puts `run` before a script's name that stands where a command would.
pub(super) fn with_run(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut all: Vec<OsString> = arguments.into_iter().collect();
    let command = Cli::command();
    let run = command.find_subcommand("run").cloned().unwrap_or_default();
    let takes_value = |flag: &str| {
        let mut known = command.get_arguments().chain(run.get_arguments());
        known.any(|a| a.get_action().takes_values() && a.get_long().is_some_and(|l| flag.strip_prefix("--") == Some(l)))
    };
    let mut at = 1;
    while let Some(argument) = all.get(at).and_then(|a| a.to_str()) {
        if !argument.starts_with('-') {
            break;
        }
        at += if takes_value(argument) { 2 } else { 1 };
    }
    let named = |a: &OsString| command.get_subcommands().any(|c| a.to_str() == Some(c.get_name()));
    if all.get(at).is_some_and(|first| !named(first)) {
        all.insert(1, "run".into());
    }
    all
}

/// Returns the whole command, for help and completions.
pub(super) fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> String {
        let words = with_run(line.split(' ').map(OsString::from));
        words.iter().map(|w| w.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_script_is_run_without_saying_run() {
        assert_eq!(words("runner drill.rhai --watch"), "runner run drill.rhai --watch");
        assert_eq!(words("runner --set a=b drill"), "runner run --set a=b drill");
        assert_eq!(words("runner --json -q drill"), "runner run --json -q drill");
        assert_eq!(words("runner --state-dir=x list"), "runner --state-dir=x list");
        assert_eq!(words("runner --state-dir x list"), "runner --state-dir x list");
        assert_eq!(words("runner --version"), "runner --version");
        assert_eq!(words("runner run list"), "runner run list");
    }
}
