//! Why a script broke off, drawn once for the terminal and for every report: thing, place, cause, next step.

use super::text::{block, line};
use crate::error::Error;
use crate::run::ScriptFailure;

/// How wide a tab of the script is drawn.
const TAB: &str = "    ";

/// What a piece of a drawn failure is, so that whoever shows it can choose a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `error:` and what could not be done.
    Heading,
    /// Marks and bars around the script's line.
    Frame,
    /// The caret below the script's line.
    Caret,
    /// `caused by:`, `hint:`.
    Label,
    /// Everything else.
    Text,
}

/// Draws a failure as pieces; all of them in a row are the whole text, which ends with a new line.
pub fn draw(failure: &ScriptFailure) -> Vec<(Part, String)> {
    let failure = cleaned(failure);
    let mut out = vec![(Part::Heading, format!("{}: {}\n", heading(&failure.kind), failure.message))];
    let number = failure.place.as_deref().map(line_number).unwrap_or_default();
    let margin = " ".repeat(number.len());
    if let Some(place) = &failure.place {
        out.push((Part::Frame, format!("{margin}--> ")));
        out.push((Part::Text, format!("{place}\n")));
    }
    if let Some(code) = &failure.line {
        script_line(&mut out, &number, code, failure.caret);
    }
    let mut notes = failure.step.iter().map(|step| ("in step", step)).collect::<Vec<_>>();
    notes.extend(failure.calls.iter().rev().map(|call| ("called by", call)));
    for (label, note) in notes {
        out.push((Part::Frame, format!("{margin} = ")));
        out.push((Part::Text, format!("{label} {note}\n")));
    }
    for cause in &failure.causes {
        labelled(&mut out, "caused by", cause);
    }
    if let Some(stderr) = &failure.stderr {
        out.push((Part::Label, "its last words:\n".to_owned()));
        out.extend(
            stderr.trim_end().lines().flat_map(|l| [(Part::Frame, "  | ".into()), (Part::Text, format!("{l}\n"))]),
        );
    }
    if let Some(hint) = &failure.hint {
        labelled(&mut out, "hint", hint);
    }
    out
}

/// Draws a failure as plain text.
pub fn plain(failure: &ScriptFailure) -> String {
    draw(failure).into_iter().map(|(_, text)| text).collect()
}

/// Makes a failure of an error that no script is to blame for.
pub fn of(error: &Error) -> ScriptFailure {
    ScriptFailure {
        kind: error.kind().word().to_owned(),
        message: error.message().to_owned(),
        causes: error.causes().to_vec(),
        stderr: error.stderr_tail().map(str::to_owned),
        hint: error.next_step().map(str::to_owned),
        ..ScriptFailure::default()
    }
}

/// Cleans the texts of a failure, and moves the caret along with the script's line.
pub(super) fn cleaned(failure: &ScriptFailure) -> ScriptFailure {
    let code = failure.line.as_deref().map(|code| code_line(code, failure.caret));
    ScriptFailure {
        kind: line(&failure.kind),
        message: block(&failure.message),
        place: failure.place.as_deref().map(line),
        caret: code.as_ref().and_then(|(_, caret)| *caret),
        line: code.map(|(code, _)| code),
        calls: failure.calls.iter().map(|call| line(call)).collect(),
        step: failure.step.as_deref().map(line),
        causes: failure.causes.iter().map(|cause| block(cause)).collect(),
        stderr: failure.stderr.as_deref().map(block),
        hint: failure.hint.as_deref().map(block),
    }
}

/// Cleans a line of a script; what stands before and below the caret may become longer.
fn code_line(code: &str, caret: Option<(usize, usize)>) -> (String, Option<(usize, usize)>) {
    let clean = |part: &str| line(&part.replace('\t', TAB));
    let whole = clean(code);
    let caret = caret.map(|(column, width)| {
        let before: String = code.chars().take(column.saturating_sub(1)).collect();
        let below: String = code.chars().skip(column.saturating_sub(1)).take(width).collect();
        let length = |part: &str| clean(part).chars().count();
        (length(&before) + 1, length(&below).max(1))
    });
    (whole, caret)
}

fn heading(kind: &str) -> &str {
    match kind {
        "refused" => "refused",
        "interrupted" => "interrupted",
        "bug" => "error (a bug of runner, please report it)",
        _ => "error",
    }
}

/// Returns `14` of `scripts/drill.rhai:14:5`.
fn line_number(place: &str) -> String {
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let numbers: Vec<_> = place.rsplit(':').take(2).filter(digits).collect();
    numbers.last().copied().unwrap_or_default().to_owned()
}

fn script_line(out: &mut Vec<(Part, String)>, number: &str, code: &str, caret: Option<(usize, usize)>) {
    let margin = " ".repeat(number.len());
    out.push((Part::Frame, format!("{margin} |\n{number} | ")));
    out.push((Part::Text, format!("{}\n", code.trim_end())));
    if let Some((column, width)) = caret {
        out.push((Part::Frame, format!("{margin} | ")));
        out.push((Part::Caret, format!("{}{}\n", " ".repeat(column.saturating_sub(1)), "^".repeat(width))));
    }
}

/// Writes `label: text`, with further lines below the text.
fn labelled(out: &mut Vec<(Part, String)>, label: &str, text: &str) {
    let indent = " ".repeat(label.len() + 2);
    out.push((Part::Label, format!("{label}: ")));
    out.push((Part::Text, format!("{}\n", text.trim_end().replace('\n', &format!("\n{indent}")))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_thing_place_cause_and_next_step() {
        let failure = ScriptFailure {
            kind: "database".into(),
            message: "could not restore dump \"orders\" into database \"drill_orders\"".into(),
            place: Some("scripts/nightly-drill.rhai:14:5".into()),
            line: Some("\trestore(source, server)".into()),
            caret: Some((2, 7)),
            calls: vec!["main at scripts/nightly-drill.rhai:3:1".into()],
            step: Some("restore".into()),
            causes: vec!["pg_restore exited with status 1".into(), "role \"app_rw\" does not exist\nat line 7".into()],
            stderr: Some("pg_restore: error: one\npg_restore: error: two\n".into()),
            hint: Some("create the role first, or pass owner: false".into()),
        };
        assert_eq!(
            plain(&failure),
            r#"error: could not restore dump "orders" into database "drill_orders"
  --> scripts/nightly-drill.rhai:14:5
   |
14 |     restore(source, server)
   |     ^^^^^^^
   = in step restore
   = called by main at scripts/nightly-drill.rhai:3:1
caused by: pg_restore exited with status 1
caused by: role "app_rw" does not exist
           at line 7
its last words:
  | pg_restore: error: one
  | pg_restore: error: two
hint: create the role first, or pass owner: false
"#
        );
    }

    #[test]
    fn an_error_without_a_place_is_drawn_without_a_frame() {
        let failure = ScriptFailure { kind: "refused".into(), message: "m".into(), ..ScriptFailure::default() };
        assert_eq!(plain(&failure), "refused: m\n");
    }

    #[test]
    fn a_hostile_line_keeps_its_caret_and_loses_its_escapes() {
        let failure = ScriptFailure {
            kind: "script".into(),
            message: "\u{1b}[2Jgone".into(),
            place: Some("a.rhai:1:3".into()),
            line: Some("\u{7}\tx".into()),
            caret: Some((3, 1)),
            ..ScriptFailure::default()
        };
        let text = plain(&failure);
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text}");
        assert!(text.ends_with("1 | \\u{7}    x\n  |          ^\n"), "{text}");
        assert_eq!(cleaned(&cleaned(&failure)), cleaned(&failure));
    }
}
