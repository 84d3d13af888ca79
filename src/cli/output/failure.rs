//! A failure on the terminal: the drawing of the report, with colours.

use super::look::Look;
use crate::report::failure::{Part, draw};
use crate::run::ScriptFailure;

/// Draws a failure; the text ends with a new line.
pub fn paint(failure: &ScriptFailure, look: Look) -> String {
    draw(failure).iter().map(|(part, text)| piece(*part, text, look)).collect()
}

fn piece(part: Part, text: &str, look: Look) -> String {
    // Colours end before the new line: some terminals paint the rest of the line otherwise.
    let (text, end) = text.strip_suffix('\n').map_or((text, ""), |text| (text, "\n"));
    let painted = match part {
        Part::Heading => heading(text, look),
        Part::Frame => look.dim(text),
        Part::Caret => look.bad(text),
        Part::Label => look.accent(text),
        Part::Text => text.to_owned(),
    };
    painted + end
}

/// Paints `error:` in red and what could not be done in bold.
fn heading(text: &str, look: Look) -> String {
    match text.split_once(": ") {
        Some((kind, message)) => format!("{} {}", look.bad(&format!("{kind}:")), look.bold(message)),
        None => look.bad(text),
    }
}

#[cfg(test)]
mod tests {
    use anstream::ColorChoice;

    use super::*;
    use crate::report::failure;

    fn sample() -> ScriptFailure {
        ScriptFailure {
            kind: "database".into(),
            message: "could not restore: x".into(),
            place: Some("a.rhai:9:1".into()),
            line: Some("restore(a, b)".into()),
            caret: Some((1, 7)),
            hint: Some("try again".into()),
            ..ScriptFailure::default()
        }
    }

    #[test]
    fn without_colours_it_is_the_drawing_of_the_report() {
        assert_eq!(paint(&sample(), Look::plain(true)), failure::plain(&sample()));
    }

    #[test]
    fn colours_change_nothing_but_the_colour() {
        let painted = paint(&sample(), Look::of_stderr(ColorChoice::Always));
        assert!(
            painted.starts_with("\u{1b}[1m\u{1b}[31merror:\u{1b}[0m \u{1b}[1mcould not restore: x\u{1b}[0m\n"),
            "{painted:?}"
        );
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), failure::plain(&sample()));
    }
}
