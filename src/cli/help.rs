//! `runner help`: what a script is for and which parameters it has.

use super::answer;
use super::args::{Global, Help, command};
use super::output::Output;
use crate::engine::Script;
use crate::error::Result;
use crate::run::exit;

pub(super) fn help(args: &Help, global: &Global) -> Result<u8> {
    let Some(name) = &args.script else {
        return answer(&command().render_long_help().to_string());
    };
    let script = match Script::compile(name) {
        Ok(script) => script,
        Err(failure) => {
            Output::open(global.level(), global.color()).broken(&failure);
            return Ok(exit::BROKE);
        }
    };
    let mut text = script.head().to_owned();
    if script.parameters.is_empty() {
        text.push_str("\nNo parameters.\n");
    } else {
        text.push_str("\nParameters (--set NAME=VALUE):\n");
        let width = script.parameters.iter().map(|p| p.name.chars().count()).max().unwrap_or(0);
        for p in &script.parameters {
            let default = if p.default.is_empty() { "empty" } else { &p.default };
            text.push_str(&format!("  {:width$}  {} [{default}]\n", p.name, p.help));
        }
    }
    answer(&text)
}
