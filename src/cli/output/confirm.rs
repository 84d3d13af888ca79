//! A question to a person: "no" unless somebody at a terminal says "yes" now.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use nix::fcntl::OFlag;

use crate::report::text::line;

/// How often a pending question looks whether the run was stopped.
const GLANCE: Duration = Duration::from_millis(50);

/// Returns whether a person can be asked.
pub fn can_ask() -> bool {
    terminal().is_some()
}

/// Asks at the terminal. Nobody there, no answer, or a run that `stopped` is a "no".
pub(super) fn confirm(question: &str, stopped: impl Fn() -> bool) -> bool {
    let Some(mut terminal) = terminal() else { return false };
    let Ok(mut answers) = terminal.try_clone() else { return false };
    ask(question, &mut answers, &mut terminal, stopped)
}

/// Opens the terminal for itself, without blocking: a read that waits for a line could not be interrupted, and the
/// flag must not reach the shell that shares our stdin.
fn terminal() -> Option<File> {
    let stdin = std::io::stdin().is_terminal().then_some("/dev/stdin");
    let open = |path| File::options().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).ok();
    ["/dev/tty"].into_iter().chain(stdin).find_map(open).filter(File::is_terminal)
}

fn ask(question: &str, answers: &mut impl Read, to: &mut impl Write, stopped: impl Fn() -> bool) -> bool {
    drain(answers);
    if write!(to, "{} [y/N] ", line(question)).and_then(|()| to.flush()).is_err() {
        return false;
    }
    let answer = read_line(answers, stopped);
    if answer.is_none() {
        let _ = writeln!(to); // the run goes on below the question
    }
    answer.is_some_and(|answer| matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Throws away what was typed before the question could be read.
fn drain(answers: &mut impl Read) {
    let mut typed = [0; 256];
    while matches!(answers.read(&mut typed), Ok(1..)) {}
}

fn read_line(answers: &mut impl Read, stopped: impl Fn() -> bool) -> Option<String> {
    let mut typed = Vec::new();
    let mut block = [0; 256];
    while !stopped() {
        match answers.read(&mut block) {
            Ok(0) => return None,
            Ok(n) => typed.extend_from_slice(&block[..n]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(GLANCE),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
        if typed.contains(&b'\n') {
            return String::from_utf8(typed).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;

    use super::*;

    /// A keyboard: each entry is what one read gives; none is "nothing typed yet".
    struct Keys(VecDeque<Option<&'static str>>);

    impl Read for Keys {
        fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
            match self.0.pop_front() {
                Some(Some(text)) => {
                    block[..text.len()].copy_from_slice(text.as_bytes());
                    Ok(text.len())
                }
                Some(None) => Err(ErrorKind::WouldBlock.into()),
                None => Ok(0),
            }
        }
    }

    fn answer(keys: &[Option<&'static str>]) -> (bool, String) {
        let mut to = Vec::new();
        let yes = ask("drop \"x\u{1b}\"?", &mut Keys(keys.iter().copied().collect()), &mut to, || false);
        (yes, String::from_utf8(to).unwrap())
    }

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        for (typed, expected) in [("y\n", true), ("YES\n", true), ("\n", false), ("n\n", false), ("yeah\n", false)] {
            assert_eq!(answer(&[None, Some(typed)]), (expected, "drop \"x\\u{1b}\"? [y/N] ".to_owned()), "{typed:?}");
        }
    }

    #[test]
    fn the_end_of_the_terminal_is_a_no() {
        assert!(!answer(&[]).0);
        assert!(!answer(&[None, Some("y")]).0);
    }

    #[test]
    fn what_was_typed_before_the_question_does_not_count() {
        assert!(!answer(&[Some("y\n"), None, Some("\n")]).0);
    }

    #[test]
    fn a_run_that_is_stopped_takes_no_for_an_answer() {
        let mut keys = Keys([None, Some("y\n")].into());
        assert!(!ask("go on?", &mut keys, &mut Vec::new(), || true));
    }
}
