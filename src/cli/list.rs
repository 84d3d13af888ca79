//! `runner list`: the stock scripts, and the forks in this folder.

use std::path::Path;

use super::answer;
use super::fork::Forked;
use crate::engine::{Script, stock_names};
use crate::error::Result;

pub(super) fn list() -> Result<u8> {
    let width = stock_names().map(str::len).max().unwrap_or(0);
    let mut text = String::new();
    for name in stock_names() {
        let purpose = Script::compile_stock(name).map(|s| s.head().lines().next().unwrap_or_default().to_owned());
        text.push_str(&format!("{name:width$}  {}\n", purpose.unwrap_or_default()));
    }
    text.push_str("\n`runner help NAME` shows the parameters, `runner fork NAME` copies one to edit.\n");
    let forks = forks();
    if !forks.is_empty() {
        text.push_str("\nForks in this folder:\n");
        text.push_str(&forks.concat());
    }
    answer(&text)
}

/// Tells of each script in the working folder that was forked whether the stock script moved on.
fn forks() -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(".")).into_iter().flatten();
    let mut scripts: Vec<_> =
        entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|e| e == "rhai")).collect();
    scripts.sort();
    let told = scripts.iter().filter_map(|script| {
        let fork = Forked::read(script)?;
        let name = script.file_name()?.to_string_lossy().into_owned();
        let stand =
            if fork.lags { "the stock script changed since: compare them with `runner fork`" } else { "up to date" };
        Some(format!("{name}  forked from {}, {stand}\n", fork.from))
    });
    told.collect()
}
