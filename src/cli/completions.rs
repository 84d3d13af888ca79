//! `runner completions`: a completion script for a shell.

use super::answer;
use super::args::{Completions, command};
use crate::error::Result;

pub(super) fn completions(args: &Completions) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "runner", &mut script);
    answer(&String::from_utf8_lossy(&script))
}
