//! `runner check`: compiles and lints scripts without any effect.

use super::answer;
use super::args::{Check, Global};
use super::output::Output;
use crate::engine::Script;
use crate::error::Result;
use crate::run::exit;

pub(super) fn check(args: &Check, global: &Global) -> Result<u8> {
    let output = Output::open(global.level(), global.color());
    let mut code = exit::PASSED;
    for name in &args.scripts {
        match Script::compile(name) {
            Err(failure) => {
                output.broken(&failure);
                code = exit::BROKE;
            }
            Ok(script) if script.findings.is_empty() => {
                answer(&format!("{}: no findings\n", script.origin.shown()))?;
            }
            Ok(script) => {
                for finding in &script.findings {
                    let hint = finding.hint.as_ref().map_or(String::new(), |hint| format!(" ({hint})"));
                    answer(&format!("{}: {}{hint}\n", finding.place, finding.message))?;
                }
                code = exit::BROKE;
            }
        }
    }
    Ok(code)
}
