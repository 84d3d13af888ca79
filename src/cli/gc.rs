//! `runner gc`: removes what killed runs left behind and, when asked, what runs set aside for a look.

use super::args::{Gc, Global};
use super::{answer, runtime};
use crate::cleanup::Sought;
use crate::engine;
use crate::error::Result;
use crate::run::exit;

pub(super) fn gc(args: &Gc, global: &Global) -> Result<u8> {
    let sought = if args.kept { Sought::SetAsideToo } else { Sought::LeftBehind };
    if args.dry_run {
        let found = engine::abandoned(&global.state_dir, sought)?;
        let lines: String = found.iter().map(|r| format!("would remove {} {}\n", r.kind, r.name)).collect();
        return answer(if lines.is_empty() { "nothing is left behind\n" } else { &lines });
    }
    let collected = runtime()?.block_on(engine::collect(&global.state_dir, sought))?;
    let mut text: String = collected.removed.iter().map(|r| format!("removed {} {}\n", r.kind, r.name)).collect();
    for left in &collected.left {
        let record = &left.record;
        text.push_str(&format!(
            "still there: {} {}: {}; remove it with: {}\n",
            record.kind, record.name, left.error, record.by_hand
        ));
    }
    answer(if text.is_empty() { "nothing is left behind\n" } else { &text })?;
    Ok(if collected.left.is_empty() { exit::PASSED } else { exit::LEFTOVERS })
}
