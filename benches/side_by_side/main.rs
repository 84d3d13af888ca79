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
use measure::{Pick, Samples};
use report::Report;

/// The share of a target below which the short form fails.
const DEMANDED: f64 = 0.5;
/// How often the short form runs again what fell below that, before it says so.
const DOUBTS: usize = 4;

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
    /// Runs only the lines whose names hold one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
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
    match bench(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => cannot(&why),
    }
}

/// Measures and reports; returns whether nothing fell below what the short form demands.
fn bench(args: &Args) -> Result<bool, String> {
    let pick = if args.quick { Pick::Fastest } else { Pick::Median };
    let named = |line: &Line| args.only.iter().any(|only| line.name.contains(only.as_str()));
    let wanted = |line: &&Line| args.only.is_empty() || named(line);
    let lines: Vec<&Line> = LINES.iter().filter(|line| !(args.quick && line.slow)).filter(wanted).collect();
    let mut small = Bench::new(args.scale, pick, &lines)?;
    small.rounds(args.rounds, &lines)?;
    if args.quick {
        small.doubt(&lines)?;
    }
    let small = small.finish();
    let large = if args.linear {
        let ours: Vec<&Line> = lines.iter().copied().filter(|line| line.ours && !line.slow).collect();
        let mut large = Bench::new(args.scale * 10.0, pick, &ours)?;
        large.rounds(2, &ours)?;
        Some(large.finish())
    } else {
        None
    };
    let report = Report::new(args.scale, args.rounds, &small, large.as_ref());
    print!("{report}");
    report.write(&args.json).map_err(|e| format!("{}: {e}", args.json.display()))?;
    // The long form is there to be read; only the short one judges.
    let fell = if args.quick { report.below(DEMANDED) } else { Vec::new() };
    for held in &fell {
        println!("below half of its target: {}: {held}", held.row);
    }
    Ok(fell.is_empty())
}

fn cannot(why: &str) -> ExitCode {
    eprintln!("the bench could not run: {why}");
    ExitCode::from(2)
}

/// An estate and what ran on it.
struct Bench {
    estate: Estate,
    samples: Samples,
}

impl Bench {
    /// Builds an estate for these lines.
    fn new(scale: f64, pick: Pick, lines: &[&Line]) -> Result<Self, String> {
        eprintln!("building an estate of scale {scale}");
        let estate = Estate::build(scale, lines.iter().any(|line| !line.ours))?;
        eprintln!("{estate}");
        Ok(Self { estate, samples: Samples::new(pick) })
    }

    /// Runs the lines, one after the other, round after round.
    fn rounds(&mut self, rounds: usize, lines: &[&Line]) -> Result<(), String> {
        for round in 1..=rounds {
            // The short form takes the fastest run, and has no time for a second one of the longest.
            let short = self.samples.pick() == Pick::Fastest && round > 1;
            for line in lines.iter().filter(|line| !(short && line.long)) {
                self.run(line, &format!("round {round} of {rounds}"))?;
            }
        }
        Ok(())
    }

    /// Runs again what fell below what is demanded. A machine that is busy with something else makes a run slower and never
    /// faster, so that what is fast enough shows it sooner or later.
    fn doubt(&mut self, lines: &[&Line]) -> Result<(), String> {
        for round in 1..=DOUBTS {
            let doubtful: Vec<&str> =
                Report::new(1.0, 0, &self.samples, None).below(DEMANDED).iter().flat_map(|held| held.lines).collect();
            for line in lines.iter().filter(|line| doubtful.contains(&line.name)) {
                self.run(line, &format!("once more, {round} of {DOUBTS}"))?;
            }
        }
        Ok(())
    }

    /// Removes the estate and returns what ran.
    fn finish(self) -> Samples {
        self.samples
    }

    fn run(&mut self, line: &Line, turn: &str) -> Result<(), String> {
        let ran = line.run(&self.estate).map_err(|why| format!("{}: {why}", line.name))?;
        if let Some(ran) = ran {
            eprintln!("{turn}: {:<22} {:>8.2} s", line.name, ran.seconds);
            self.samples.add(line.name, ran);
        }
        Ok(())
    }
}
