//! `runner history`: earlier runs, newest first.

use super::answer;
use super::args::{Global, History};
use super::report::runs;
use crate::error::Result;
use crate::report::Report;
use crate::run::read_journal;
use crate::units;

pub(super) fn history(args: &History, global: &Global) -> Result<u8> {
    let folders = runs(&global.state_dir)?;
    let reports = folders.iter().rev().take(args.most).filter_map(|f| read_journal(f).ok()).map(|m| Report::of(&m));
    if global.json {
        let lines: String = reports.map(|r| r.to_json() + "\n").collect();
        return answer(&lines);
    }
    let lines: String = reports
        .map(|r| {
            let code = r.exit_code.map_or("-".to_owned(), |code| code.to_string());
            format!("{}  {code:>3}  {:>8}  {}  {}\n", r.run, units::duration(r.seconds), r.script, r.verdict)
        })
        .collect();
    answer(if lines.is_empty() { "no runs yet\n" } else { &lines })
}
