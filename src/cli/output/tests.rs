//! Whole runs as a person sees them.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressDrawTarget, TermLike};
use serde_json::json;

use super::plain::Plain;
use super::terminal::Terminal;
use super::*;
use crate::run::{Check, Event, Outcome, ScriptFailure};

fn at(t: f64, step: Option<usize>, event: Event) -> Moment {
    Moment { t, step, event }
}

fn begin(t: f64, parent: Option<usize>, id: usize, name: &str) -> Moment {
    at(t, parent, Event::StepStarted { id, name: name.into() })
}

fn end(t: f64, parent: Option<usize>, id: usize, name: &str, outcome: Outcome, detail: &str) -> Moment {
    at(t, parent, Event::StepEnded { id, name: name.into(), outcome, seconds: 1.25, detail: detail.into() })
}

fn check(step: Option<usize>, name: &str, passed: bool, detail: &str) -> Moment {
    at(4.0, step, Event::Checked(Check { name: name.into(), passed, detail: detail.into() }))
}

fn found(step: Option<usize>, primitive: &str, summary: &str) -> Moment {
    let facts = json!({"sha256": "9c41", "rows": 12, "checked": ["file"]});
    at(3.0, step, Event::Evidence { primitive: primitive.into(), summary: summary.into(), facts })
}

fn started(dry_run: bool) -> Moment {
    let started = Event::Started {
        run: "R1".into(),
        at: "2025-06-01T12:00:00Z".parse().unwrap(),
        script: "drill.rhai".into(),
        sources: Vec::new(),
        tool: "runner 0.1.0".into(),
        dry_run,
    };
    at(0.0, None, started)
}

fn ended(exit_code: u8, verdict: &str) -> Moment {
    let at_time = "2025-06-01T12:00:12Z".parse().unwrap();
    at(12.0, None, Event::Ended { at: at_time, exit_code, verdict: verdict.into(), seconds: 12.0 })
}

/// A drill with nested steps in which a check fails.
fn drill() -> Vec<Moment> {
    vec![
        started(false),
        at(0.0, None, Event::Parameter { name: "image".into(), value: "postgres 15".into(), given: true }),
        begin(0.1, None, 1, "inspect source"),
        found(Some(1), "dump", "14 tables"),
        end(1.0, None, 1, "inspect source", Outcome::Ok, ""),
        begin(1.0, None, 2, "drill"),
        begin(1.0, Some(2), 3, "restore"),
        found(Some(3), "restore", "117.0 MB"),
        end(2.0, Some(2), 3, "restore", Outcome::Ok, "second try"),
        begin(2.0, Some(2), 4, "compare"),
        check(Some(4), "every row is back", false, "orders: 3 rows missing\nusers: 1 row changed"),
        check(Some(4), "roles", true, ""),
        end(3.0, Some(2), 4, "compare", Outcome::Ok, ""),
        at(3.0, Some(2), Event::Skipped { name: "amcheck".into(), why: "not installed".into() }),
        end(4.0, None, 2, "drill", Outcome::Ok, ""),
        at(4.0, None, Event::Said { text: "old \u{1b}[2Jserver".into(), warning: true }),
        at(4.0, None, Event::Objective { name: "rto".into(), seconds: 12.3, limit: 1800.0, passed: true }),
        at(
            5.0,
            None,
            Event::Leftover {
                kind: "container".into(),
                name: "rn-x".into(),
                by_hand: "docker rm -f rn-x".into(),
                error: "the engine went away".into(),
            },
        ),
        ended(1, "failed: 1 of 3 checks"),
    ]
}

fn broken() -> Vec<Moment> {
    let failure = ScriptFailure {
        kind: "database".into(),
        message: "could not connect".into(),
        place: Some("drill.rhai:3:9".into()),
        line: Some("let x = postgres(url);".into()),
        caret: Some((9, 8)),
        step: Some("connect".into()),
        hint: Some("is the server up?".into()),
        ..ScriptFailure::default()
    };
    vec![
        started(false),
        begin(0.1, None, 1, "connect"),
        end(0.2, None, 1, "connect", Outcome::Failed, "could not connect"),
        at(0.2, None, Event::Broke(failure)),
        ended(2, "could not run to its end"),
    ]
}

/// A writer that many may share.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// The width of the terminal of these tests.
const WIDTH: usize = 120;

/// A terminal as a grid in which the cursor moves.
#[derive(Clone, Debug, Default)]
struct Grid(Arc<Mutex<Cells>>);

#[derive(Debug, Default)]
struct Cells {
    lines: Vec<Vec<char>>,
    line: usize,
    column: usize,
}

impl Cells {
    fn put(&mut self, c: char) {
        match c {
            '\r' => self.column = 0,
            '\n' => (self.line, self.column) = (self.line + 1, 0),
            _ => {
                if self.column == WIDTH {
                    (self.line, self.column) = (self.line + 1, 0);
                }
                let cell = self.column;
                let line = self.current();
                line.resize(line.len().max(cell + 1), ' ');
                line[cell] = c;
                self.column += 1;
            }
        }
    }

    fn current(&mut self) -> &mut Vec<char> {
        let height = self.lines.len().max(self.line + 1);
        self.lines.resize(height, Vec::new());
        &mut self.lines[self.line]
    }
}

impl Grid {
    fn change(&self, f: impl FnOnce(&mut Cells)) -> io::Result<()> {
        f(&mut self.0.lock().unwrap());
        Ok(())
    }

    fn text(&self) -> String {
        let cells = self.0.lock().unwrap();
        let lines: Vec<_> = cells.lines.iter().map(|line| line.iter().collect::<String>()).collect();
        let lines: Vec<_> = lines.iter().map(|line| line.trim_end()).collect();
        format!("{}\n", lines.join("\n").trim_end())
    }
}

impl Write for Grid {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_str(std::str::from_utf8(bytes).unwrap())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TermLike for Grid {
    fn width(&self) -> u16 {
        WIDTH as u16
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.change(|cells| cells.line = cells.line.saturating_sub(n))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.change(|cells| cells.line += n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.change(|cells| cells.column += n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.change(|cells| cells.column = cells.column.saturating_sub(n))
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.write_str("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.change(|cells| text.chars().for_each(|c| cells.put(c)))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.change(|cells| {
            cells.current().clear();
            cells.column = 0;
        })
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn terminal(look: Look, level: Level) -> (Terminal, Grid) {
    let grid = Grid::default();
    let bars = ProgressDrawTarget::term_like_with_hz(Box::new(grid.clone()), 100);
    (Terminal::new(Box::new(grid.clone()), bars, look, level), grid)
}

fn on_terminal(moments: &[Moment], look: Look, level: Level) -> String {
    let (terminal, grid) = terminal(look, level);
    moments.iter().for_each(|moment| terminal.happened(moment));
    grid.text()
}

fn in_lines(moments: &[Moment], level: Level) -> String {
    let to = Shared::default();
    let plain = Plain::new(Box::new(to.clone()), Look::plain(true), level, Duration::from_secs(10));
    moments.iter().for_each(|moment| plain.happened(moment));
    to.text()
}

/// Waits for something to be seen.
fn until(what: &str, seen: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !seen() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_terminal_shows_steps_checks_and_what_they_found() {
    assert_eq!(
        on_terminal(&drill(), Look::plain(true), Level::Normal),
        "\
drill.rhai · run R1
✓ inspect source                       1.2s  dump: 14 tables
▸ drill
  ✓ restore                            1.2s  second try · restore: 117.0 MB
  ▸ compare
    ✗ every row is back  orders: 3 rows missing
        users: 1 row changed
    ✓ roles
  ✓ compare                            1.2s
  ○ amcheck  not made: not installed
✓ drill                                1.2s
⚠ old \\u{1b}[2Jserver
✓ rto  12.3s of 30m
"
    );
}

#[test]
fn without_utf8_the_marks_are_words() {
    let text = on_terminal(&drill(), Look::plain(false), Level::Normal);
    assert!(text.is_ascii(), "{text}");
    assert!(text.contains("\n    FAILED every row is back") && text.contains("\n  skipped amcheck"), "{text}");
}

#[test]
fn verbose_shows_parameters_and_facts() {
    let text = on_terminal(&drill()[..5], Look::plain(true), Level::Verbose);
    assert_eq!(
        text,
        "\
drill.rhai · run R1
image = postgres 15
▸ inspect source
  · dump: 14 tables
    sha256: 9c41
    rows: 12
✓ inspect source                       1.2s
"
    );
}

#[test]
fn branches_that_mix_are_named_again() {
    let moments = [
        begin(0.0, None, 1, "left"),
        begin(0.0, None, 2, "right"),
        check(Some(1), "a", true, ""),
        check(Some(2), "b", true, ""),
        check(Some(1), "c", true, ""),
        end(1.0, None, 1, "left", Outcome::Ok, ""),
        end(1.0, None, 2, "right", Outcome::Interrupted, ""),
        ended(0, "x"),
    ];
    assert_eq!(
        on_terminal(&moments, Look::plain(true), Level::Normal),
        "\
▸ left
  ✓ a
▸ right
  ✓ b
▸ left
  ✓ c
✓ left                                 1.2s
✗ right                                1.2s  interrupted
"
    );
}

#[test]
fn a_dry_run_says_what_it_would_do() {
    let would = Event::Announced { primitive: "dump".into(), text: "write x.sql.gz".into() };
    let moments = [
        started(true),
        begin(0.1, None, 1, "back up"),
        at(0.2, Some(1), would),
        end(0.3, None, 1, "back up", Outcome::Planned, ""),
    ];
    assert_eq!(
        on_terminal(&moments, Look::plain(true), Level::Normal),
        "\
drill.rhai · run R1, dry run: effects are announced, not done
▸ back up
  would write x.sql.gz
· back up                              1.2s  planned
"
    );
}

#[test]
fn a_broken_run_shows_its_failure_below_its_step() {
    assert_eq!(
        on_terminal(&broken(), Look::plain(true), Level::Normal),
        "\
drill.rhai · run R1
✗ connect                              1.2s  could not connect
error: could not connect
 --> drill.rhai:3:9
  |
3 | let x = postgres(url);
  |         ^^^^^^^^
  = in step connect
hint: is the server up?
"
    );
}

#[test]
fn what_is_at_work_stands_below_and_goes_away() {
    let (terminal, grid) = terminal(Look::plain(true), Level::Normal);
    terminal.happened(&begin(0.0, None, 1, "back up"));
    until("the step is shown", || grid.text().contains(" back up  "));
    let progress = Progress::default();
    let shown = terminal.working("dump orders", &progress);
    progress.add(1_000_000);
    until("bytes are counted", || grid.text().contains("dump orders  1.00 MB"));
    progress.set_total(4_000_000);
    until("a bar is drawn", || grid.text().contains("1.00 MB/4.00 MB") && grid.text().contains("ETA"));
    drop(shown);
    terminal.happened(&end(1.0, None, 1, "back up", Outcome::Ok, ""));
    assert_eq!(grid.text(), "✓ back up                              1.2s\n");
}

#[test]
fn without_a_terminal_each_event_is_one_line() {
    assert_eq!(
        in_lines(&drill(), Level::Normal),
        "     0ms run       R1: drill.rhai
    0.1s step      started: inspect source
    3.0s found     inspect source: dump: 14 tables
    1.0s step      ok: inspect source: 1.2s
    1.0s step      started: drill
    1.0s step      started: drill / restore
    3.0s found     drill / restore: restore: 117.0 MB
    2.0s step      ok: drill / restore: 1.2s (second try)
    2.0s step      started: drill / compare
    4.0s check     FAILED: drill / compare: every row is back: orders: 3 rows missing\\nusers: 1 row changed
    4.0s check     passed: drill / compare: roles
    3.0s step      ok: drill / compare: 1.2s
    3.0s check     not made: drill: amcheck: not installed
    4.0s step      ok: drill: 1.2s
    4.0s warning   old \\u{1b}[2Jserver
    4.0s objective met: rto: 12.3s of 30m
"
    );
}

#[test]
fn quiet_tells_failures_only() {
    assert_eq!(
        in_lines(&drill(), Level::Quiet),
        "    4.0s check     FAILED: every row is back: orders: 3 rows missing\\nusers: 1 row changed\n"
    );
    let missed = at(4.0, None, Event::Objective { name: "rto".into(), seconds: 90.0, limit: 60.0, passed: false });
    assert_eq!(in_lines(&[missed], Level::Quiet), "    4.0s objective MISSED: rto: 1m 30s of 1m\n");
    assert!(in_lines(&broken(), Level::Quiet).starts_with("error: could not connect\n --> drill.rhai:3:9\n"));
}

#[test]
fn long_work_tells_how_far_it_is_and_short_work_is_silent() {
    let to = Shared::default();
    let plain = |every| Plain::new(Box::new(to.clone()), Look::plain(true), Level::Normal, every);
    drop(plain(Duration::from_secs(10)).working("dump", &Progress::default()));
    assert_eq!(to.text(), "");

    let progress = Progress::default();
    progress.set_total(4_000_000);
    progress.add(1_000_000);
    let shown = plain(Duration::from_millis(5)).working("dump \u{1b}x", &progress);
    until("progress is told", || to.text().lines().count() >= 2);
    drop(shown);
    let told = to.text();
    assert!(told.starts_with("         working   dump \\u{1b}x: 1.0 MB of 4.0 MB (25%), "), "{told}");
    assert_eq!(to.text(), told, "nothing is told after the end");
}

fn closing(moments: &[Moment], reports: &[&str], level: Level) -> String {
    let places =
        Places { evidence: ".runner/runs/R1".into(), reports: reports.iter().map(std::path::PathBuf::from).collect() };
    ending(&Report::of(moments), &places, level, Look::plain(true))
}

#[test]
fn the_closing_block_says_what_is_left_and_what_to_do_next() {
    assert_eq!(
        closing(&drill(), &["r.html", "r.xml"], Level::Normal),
        "\
FAILED: 1 of 3 checks
  2 of 3 checks and objectives hold; 1 could not be made; 4 steps in 12.0s
  levels: file; not checked: parse, restore, structure, content, integrity
  not checked: amcheck: not installed
  left behind: container rn-x: the engine went away
    remove it with: docker rm -f rn-x
  report: r.html, r.xml
  next: runner drill.rhai --set 'image=postgres 15' --keep, which leaves its sandboxes for a look
"
    );
    assert_eq!(
        closing(&drill(), &[], Level::Quiet),
        "\
FAILED: 1 of 3 checks
  left behind: container rn-x: the engine went away
    remove it with: docker rm -f rn-x
"
    );
}

#[test]
fn a_run_without_checks_does_not_close_as_a_pass() {
    assert_eq!(
        closing(&[started(false), ended(0, "done, without any check")], &[], Level::Normal),
        "\
NOTHING VERIFIED: done, without any check
  No check was made: this run verified nothing in 12.0s
  report: runner report R1 (evidence in .runner/runs/R1)
  next: add a check to the script: a run without one proves nothing
"
    );
}
