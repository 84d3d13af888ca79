//! The table and the JSON: medians, ratios, targets, sizes and memory.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use crate::jobs::{ROWS, Target};
use crate::measure::{Ran, Samples};

/// Peak memory that no job of ours may pass, in KiB.
const MEMORY: u64 = 64 << 10;
/// How much more than ten times the time ten times the data may take.
const LINEAR: f64 = 1.1;

/// One comparison with a target.
pub struct Held {
    /// The job.
    pub row: &'static str,
    /// The lines that it was measured by.
    pub lines: [&'static str; 2],
    what: String,
    figure: f64,
    target: f64,
    /// Larger is better.
    up: bool,
}

impl Held {
    fn is_met(&self) -> bool {
        if self.up { self.figure >= self.target } else { self.figure <= self.target }
    }

    /// How much of the target was reached: 1 is all of it.
    fn share(&self) -> f64 {
        if self.up { self.figure / self.target } else { self.target / self.figure }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.up { "≥" } else { "≤" };
        let met = if self.is_met() { "met" } else { "not met" };
        write!(f, "{}: {:.2} (target {sign} {}): {met}", self.what, self.figure, self.target)
    }
}

/// What was measured.
pub struct Report<'a> {
    scale: f64,
    rounds: usize,
    small: &'a Samples,
    large: Option<&'a Samples>,
    held: Vec<Held>,
}

impl<'a> Report<'a> {
    /// Holds samples against the targets.
    pub fn new(scale: f64, rounds: usize, small: &'a Samples, large: Option<&'a Samples>) -> Self {
        let mut held = Vec::new();
        for row in &ROWS {
            held.extend(row.targets.iter().filter_map(|target| hold(row.name, row.ours, target, small)));
            for (samples, at) in [(Some(small), scale), (large, scale * 10.0)] {
                let most = samples.and_then(|samples| samples.most(row.ours, |ran| ran.own));
                held.extend(most.map(|most| Held {
                    row: row.name,
                    lines: [line(row.ours); 2],
                    what: format!("peak memory in MiB at scale {at}"),
                    figure: most as f64 / 1024.0,
                    target: (MEMORY / 1024) as f64,
                    up: false,
                }));
            }
            if let (Some(one), Some(ten)) = (small.seconds(row.ours), large.and_then(|large| large.seconds(row.ours))) {
                let what = "time at ten times the data ÷ 10".to_owned();
                held.push(Held {
                    row: row.name,
                    lines: [line(row.ours); 2],
                    what,
                    figure: ten / one / 10.0,
                    target: LINEAR,
                    up: false,
                });
            }
        }
        Self { scale, rounds, small, large, held }
    }

    /// Returns the comparisons that reached less than a share of their target.
    pub fn below(&self, share: f64) -> Vec<&Held> {
        self.held.iter().filter(|held| held.share() < share).collect()
    }

    /// Writes the figures of every run.
    pub fn write(&self, to: &Path) -> std::io::Result<()> {
        let runs = |samples: &Samples| {
            let lines = samples.all().iter().map(|(name, runs)| ((*name).to_owned(), runs.iter().map(run).collect()));
            Value::Object(lines.collect())
        };
        let held = self.held.iter().map(|held| {
            json!({ "job": held.row, "what": held.what, "figure": held.figure, "target": held.target, "met": held.is_met() })
        });
        let all = json!({
            "scale": self.scale,
            "rounds": self.rounds,
            "targets": held.collect::<Vec<_>>(),
            "runs": runs(self.small),
            "runs_at_ten_times": self.large.map(runs),
        });
        let text = serde_json::to_string_pretty(&all).map_err(std::io::Error::other)?;
        std::fs::write(to, text)
    }
}

fn run(ran: &Ran) -> Value {
    json!({
        "seconds": ran.seconds, "bytes": ran.bytes, "own_kib": ran.own, "tree_kib": ran.tree, "measures": ran.measures,
    })
}

/// Returns the line of a figure that it measured itself.
fn line(name: &'static str) -> &'static str {
    name.split_once('/').map_or(name, |(line, _)| line)
}

fn hold(row: &'static str, ours: &'static str, target: &Target, samples: &Samples) -> Option<Held> {
    let time = samples.seconds(ours)?;
    let bytes = |name: &str| samples.most(name, |ran| ran.bytes).map(|bytes| bytes as f64);
    let lines = |other| [line(ours), line(other)];
    let held = match target {
        Target::Faster(target, other) => {
            let what = format!("times as fast as «{other}»");
            Held { row, lines: lines(other), what, figure: samples.seconds(other)? / time, target: *target, up: true }
        }
        Target::Limit(target, other) => {
            let what = format!("times as long as «{other}»");
            Held { row, lines: lines(other), what, figure: time / samples.seconds(other)?, target: *target, up: false }
        }
        Target::Size(target, other) => {
            let what = format!("times the size of «{other}»");
            Held { row, lines: lines(other), what, figure: bytes(ours)? / bytes(other)?, target: *target, up: false }
        }
    };
    Some(held)
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pick = self.small.pick().word();
        writeln!(f, "## Lines, {pick} of {} rounds at scale {}\n", self.rounds, self.scale)?;
        writeln!(
            f,
            "| line | seconds | MB written | own peak MiB | with children MiB |\n| --- | --- | --- | --- | --- |"
        )?;
        for name in self.small.all().keys() {
            let most = |of: fn(&Ran) -> u64| self.small.most(name, of).unwrap_or(0) as f64;
            writeln!(
                f,
                "| {name} | {:.2} | {:.1} | {:.0} | {:.0} |",
                self.small.seconds(name).unwrap_or(0.0),
                most(|ran| ran.bytes) / 1e6,
                most(|ran| ran.own) / 1024.0,
                most(|ran| ran.tree) / 1024.0,
            )?;
        }
        writeln!(f, "\n## Jobs against their targets\n")?;
        writeln!(f, "| job | figure | target | met |\n| --- | --- | --- | --- |")?;
        for held in &self.held {
            let (sign, met) = (if held.up { "≥" } else { "≤" }, if held.is_met() { "yes" } else { "**no**" });
            writeln!(f, "| {} | {:.2} {} | {sign} {} | {met} |", held.row, held.figure, held.what, held.target)?;
        }
        for row in ROWS.iter().filter(|row| self.small.seconds(row.ours).is_none()) {
            writeln!(f, "| {} | not measured: this machine lacks what it needs | | |", row.name)?;
        }
        Ok(())
    }
}
