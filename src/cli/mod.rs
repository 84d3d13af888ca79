//! The command line: words on the terminal, options and exit code.

mod args;
mod check;
mod completions;
mod demo;
mod docs;
mod fork;
mod gc;
mod help;
mod history;
mod keygen;
mod list;
pub mod output;
mod prove;
mod report;
mod run;
pub mod watch;

use std::ffi::OsString;
use std::io::Write;

use clap::Parser;

use crate::error::{Error, Kind, Result};
use crate::run::exit;
use args::{Cli, Command, Global};
use output::Output;

/// Reads the command line, does what it says and returns the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args::with_run(arguments)) {
        Ok(cli) => cli,
        Err(message) => {
            let _ = message.print(); // a closed terminal is nobody to tell
            return u8::try_from(message.exit_code()).unwrap_or(exit::BROKE);
        }
    };
    let global = cli.global;
    dispatch(cli.command, &global).unwrap_or_else(|error| {
        Output::open(global.level(), global.color()).error(&error);
        if error.kind() == Kind::Refused { exit::REFUSED } else { exit::BROKE }
    })
}

fn dispatch(command: Command, global: &Global) -> Result<u8> {
    match command {
        Command::Run(args) => run::run(&args, global),
        Command::Prove(args) => prove::prove(&args, global),
        Command::Check(args) => check::check(&args, global),
        Command::Help(args) => help::help(&args, global),
        Command::List => list::list(),
        Command::Fork(args) => fork::fork(&args),
        Command::Docs(args) => docs::docs(&args),
        Command::Demo(args) => demo::demo(&args, global),
        Command::History(args) => history::history(&args, global),
        Command::Report(args) => report::report(&args, global),
        Command::Gc(args) => gc::gc(&args, global),
        Command::Keygen(args) => keygen::keygen(&args),
        Command::Completions(args) => completions::completions(&args),
    }
}

/// Writes an answer to stdout. A reader that went away (`| head`) has what it wanted.
fn answer(text: &str) -> Result<u8> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    match written {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::Io, "could not write to stdout").because(&e))
        }
        _ => Ok(exit::PASSED),
    }
}

/// Starts the runtime that serves the primitives.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::new(Kind::Io, "could not start the runtime").because(&e))
}
