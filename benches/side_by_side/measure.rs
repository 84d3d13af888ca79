//! One command line: how long it took, what it left, and the most memory it held, alone and with its children.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often memory is read. A pipeline's programs live for seconds; this is a hundredth of a core at most.
const EVERY: Duration = Duration::from_millis(20);

/// What one run of a command line was.
#[derive(Clone, Default)]
pub struct Ran {
    /// Wall time, or the part of it that the job is about.
    pub seconds: f64,
    /// Bytes that it left in its output folder.
    pub bytes: u64,
    /// The most that the program itself held, in KiB.
    pub own: u64,
    /// The most that it and its children held together, in KiB.
    pub tree: u64,
    /// The figures that it measured itself, by name, in seconds.
    pub measures: BTreeMap<String, f64>,
}

/// Which of a line's runs stands for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The one in the middle.
    Median,
    /// The fastest: what a busy machine changes least, where there are few runs.
    Fastest,
}

impl Pick {
    /// Returns the word for the table's head.
    pub fn word(self) -> &'static str {
        match self {
            Self::Median => "medians",
            Self::Fastest => "fastest",
        }
    }
}

/// All runs, by the name of their line.
pub struct Samples {
    runs: BTreeMap<&'static str, Vec<Ran>>,
    pick: Pick,
}

impl Samples {
    /// Starts without a run.
    pub fn new(pick: Pick) -> Self {
        Self { runs: BTreeMap::new(), pick }
    }

    /// Adds a run.
    pub fn add(&mut self, name: &'static str, ran: Ran) {
        self.runs.entry(name).or_default().push(ran);
    }

    /// Returns which run stands for a line.
    pub fn pick(&self) -> Pick {
        self.pick
    }

    /// Returns the seconds of a line, or of a figure that it measured itself (`line/figure`).
    pub fn seconds(&self, name: &str) -> Option<f64> {
        let (line, figure) = name.split_once('/').map_or((name, None), |(line, figure)| (line, Some(figure)));
        let runs = self.runs.get(line)?;
        let of = |ran: &Ran| figure.map_or(Some(ran.seconds), |figure| ran.measures.get(figure).copied());
        let mut all: Vec<f64> = runs.iter().filter_map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(if self.pick == Pick::Median { all.len() / 2 } else { 0 }).copied()
    }

    /// Returns the largest of a figure of a line's runs.
    pub fn most(&self, name: &str, of: impl Fn(&Ran) -> u64) -> Option<u64> {
        let line = name.split('/').next().unwrap_or(name);
        self.runs.get(line)?.iter().map(of).max()
    }

    /// Returns every run.
    pub fn all(&self) -> &BTreeMap<&'static str, Vec<Ran>> {
        &self.runs
    }
}

/// Runs a line in bash, where a pipe fails when any of its parts does.
pub fn run(line: &str, folder: &Path) -> Result<Ran, String> {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("set -euo pipefail; {line}")]).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begun = Instant::now();
    let child = command.spawn().map_err(|e| format!("bash: {e}"))?;
    let (pid, over) = (child.id(), AtomicBool::new(false));
    let (out, seconds, peak) = thread::scope(|scope| {
        let watch = scope.spawn(|| peak(pid, &over));
        let out = child.wait_with_output();
        let seconds = begun.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        (out, seconds, watch.join().unwrap_or_default())
    });
    let out = out.map_err(|e| e.to_string())?;
    if !out.status.success() {
        return Err(format!("{}: {line}\n{}", out.status, String::from_utf8_lossy(&out.stderr)));
    }
    let (own, tree) = peak;
    Ok(Ran { seconds, own, tree, ..Ran::default() })
}

/// Watches a program and its children until `over`; returns the most that it, and all of them together, held in KiB.
fn peak(pid: u32, over: &AtomicBool) -> (u64, u64) {
    let (mut own, mut tree) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        own = own.max(field(pid, "VmHWM:"));
        tree = tree.max(held(pid));
        thread::sleep(EVERY);
    }
    (own, tree.max(own))
}

/// Returns what a program and its children hold now, in KiB.
fn held(pid: u32) -> u64 {
    let mut sum = field(pid, "VmRSS:");
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return sum };
    for thread in threads.flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        sum += children.split_whitespace().filter_map(|child| child.parse().ok()).map(held).sum::<u64>();
    }
    sum
}

fn field(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
