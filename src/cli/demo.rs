//! `runner demo`: the main job on an estate that it makes itself.

use jiff::Timestamp;

use super::args::{Demo, Global};
use super::run::Stage;
use crate::error::Result;

pub(super) fn demo(args: &Demo, global: &Global) -> Result<u8> {
    let mut how = args.how.clone();
    how.require_checks = true;
    // To the millisecond: two demonstrations in one second are two estates.
    let estate = Timestamp::now().strftime("estate_%Y%m%d_%H%M%S_%3f").to_string();
    how.set.push(("folder".into(), global.state_dir.join("demo").join(estate).display().to_string()));
    let script = if args.postgres { "demo_postgres" } else { "demo" };
    Stage::open(&how, global)?.once(script)
}
