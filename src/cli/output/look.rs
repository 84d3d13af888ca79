//! How things look: colours where they are wanted, and marks that the terminal can show.

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Effects, Style};

/// Colours and marks of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    color: bool,
    unicode: bool,
}

/// A mark at the begin of a line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mark {
    /// It holds, it is done.
    Good,
    /// It does not.
    Bad,
    /// It could not be made.
    Skipped,
    /// There is something to know.
    Warning,
    /// A step that has more below it.
    Open,
    /// A note.
    Note,
}

impl Look {
    /// Returns the look of stderr: NO_COLOR, CLICOLOR_FORCE and TERM count where `choice` leaves it open.
    pub fn of_stderr(choice: ColorChoice) -> Self {
        let choice = match choice {
            ColorChoice::Auto => AutoStream::choice(&std::io::stderr()),
            chosen => chosen,
        };
        Self { color: choice != ColorChoice::Never, unicode: is_utf8(|name| std::env::var(name).ok()) }
    }

    /// Returns a look without colours.
    pub fn plain(unicode: bool) -> Self {
        Self { color: false, unicode }
    }

    /// Returns whether marks beyond ASCII can be shown.
    pub(super) fn unicode(self) -> bool {
        self.unicode
    }

    pub(super) fn good(self, text: &str) -> String {
        self.paint(AnsiColor::Green.on_default(), text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.paint(AnsiColor::Red.on_default() | Effects::BOLD, text)
    }

    pub(super) fn careful(self, text: &str) -> String {
        self.paint(AnsiColor::Yellow.on_default(), text)
    }

    pub(super) fn accent(self, text: &str) -> String {
        self.paint(AnsiColor::Cyan.on_default(), text)
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    /// Returns a mark with its colour.
    pub(super) fn mark(self, mark: Mark) -> String {
        let (unicode, ascii) = match mark {
            Mark::Good => ("✓", "ok"),
            Mark::Bad => ("✗", "FAILED"),
            Mark::Skipped => ("○", "skipped"),
            Mark::Warning => ("⚠", "warning:"),
            Mark::Open => ("▸", ">"),
            Mark::Note => ("·", "-"),
        };
        let text = if self.unicode { unicode } else { ascii };
        match mark {
            Mark::Good => self.good(text),
            Mark::Bad => self.bad(text),
            Mark::Skipped | Mark::Warning => self.careful(text),
            Mark::Open | Mark::Note => self.dim(text),
        }
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.color && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Returns whether the locale is UTF-8: the first of the three that is set decides.
fn is_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        let locale = |all: &'static [(&'static str, &'static str)]| {
            is_utf8(|name| all.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
        };
        assert!(locale(&[("LANG", "en_GB.UTF-8")]) && locale(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]));
        assert!(!locale(&[("LC_ALL", "C"), ("LANG", "en_GB.UTF-8")]) && !locale(&[]));
    }

    #[test]
    fn colours_come_only_when_they_are_wanted() {
        let look = Look { color: true, unicode: true };
        assert_eq!(look.mark(Mark::Good), "\u{1b}[32m✓\u{1b}[0m");
        assert_eq!(Look::plain(true).mark(Mark::Good), "✓");
        assert_eq!(Look::plain(false).mark(Mark::Bad), "FAILED");
    }
}
