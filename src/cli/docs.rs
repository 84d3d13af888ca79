//! `runner docs`: the manual of the script verbs.

use super::answer;
use super::args::Docs;
use crate::engine;
use crate::error::Result;

pub(super) fn docs(args: &Docs) -> Result<u8> {
    match &args.name {
        _ if args.definitions => answer(&engine::definitions()),
        _ if args.markdown => answer(&engine::manual()),
        Some(name) => answer(&engine::manual_of(name)?),
        None => answer(&engine::manual_contents()),
    }
}
