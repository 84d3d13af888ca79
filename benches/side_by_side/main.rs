//! Side by side: the seeds' command lines and ours do the same jobs on the same data, in turn, in one go.
//!
//! Only ratios are compared with targets: the machine may be slow or busy, but it is so for both.

#![allow(clippy::print_stdout, unreachable_pub)]

mod estate;
mod jobs;
mod measure;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use estate::Estate;
use jobs::{LINES, Line};
use measure::{Pick, Ran, Samples};

/// Measures the seeds' command lines and ours in turn.
#[derive(Parser)]
struct Args {
    /// How much data: 1 is a database of about 500 MB and 300 MB of files.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// How often each line runs.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The better of two rounds, without what is only for orientation; fails only where a ratio falls below half of its target.
    #[arg(long)]
    quick: bool,
    /// Adds our jobs on ten times the data, for what memory and time do there.
    #[arg(long)]
    linear: bool,
    /// Runs only the lines whose names hold this.
    #[arg(long)]
    only: Option<String>,
    /// Writes the text of the estate's database here and ends: what `--bench codecs` reads.
    #[arg(long)]
    text: Option<PathBuf>,
    /// Where the figures are written as JSON.
    #[arg(long, default_value = "target/side_by_side.json")]
    json: PathBuf,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let mut args = Args::parse();
    if args.quick {
        (args.scale, args.rounds) = (1.0, 2);
    }
    if let Some(to) = &args.text {
        let written = Estate::build(args.scale, false).and_then(|estate| estate.write_text(to));
        return written.map_or_else(|why| cannot(&why), |()| ExitCode::SUCCESS);
    }
    let pick = if args.quick { Pick::Fastest } else { Pick::Median };
    let wanted = |line: &&Line| args.only.as_ref().is_none_or(|only| line.name.contains(only.as_str()));
    let lines: Vec<&Line> = LINES.iter().filter(|line| !(args.quick && line.slow)).filter(wanted).collect();
    let small = match measured(args.scale, args.rounds, pick, &lines) {
        Ok(samples) => samples,
        Err(why) => return cannot(&why),
    };
    let large = if args.linear {
        let ours: Vec<&Line> = lines.iter().copied().filter(|line| line.ours && !line.slow).collect();
        match measured(args.scale * 10.0, 2, pick, &ours) {
            Ok(samples) => Some(samples),
            Err(why) => return cannot(&why),
        }
    } else {
        None
    };
    let report = report::Report::new(args.scale, args.rounds, &small, large.as_ref());
    print!("{report}");
    if let Err(e) = report.write(&args.json) {
        return cannot(&format!("{}: {e}", args.json.display()));
    }
    // The long form is there to be read; only the short one judges.
    let fell = if args.quick { report.fell_below(0.5) } else { Vec::new() };
    for line in &fell {
        println!("below half of its target: {line}");
    }
    if fell.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cannot(why: &str) -> ExitCode {
    eprintln!("the bench could not run: {why}");
    ExitCode::from(2)
}

/// Builds an estate and runs the lines on it, one after the other, round after round.
fn measured(scale: f64, rounds: usize, pick: Pick, lines: &[&Line]) -> Result<Samples, String> {
    eprintln!("building an estate of scale {scale}");
    let estate = Estate::build(scale, lines.iter().any(|line| !line.ours))?;
    eprintln!("{estate}");
    let mut samples = Samples::new(pick);
    for round in 1..=rounds {
        // The short form takes the fastest run, and has no time for a second one of the longest.
        let short = pick == Pick::Fastest && round > 1;
        for line in lines.iter().filter(|line| !(short && line.long)) {
            let ran: Ran = match line.run(&estate) {
                Ok(Some(ran)) => ran,
                Ok(None) => continue,
                Err(why) => return Err(format!("{}: {why}", line.name)),
            };
            eprintln!("round {round} of {rounds}: {:<22} {:>8.2} s", line.name, ran.seconds);
            samples.add(line.name, ran);
        }
    }
    Ok(samples)
}
