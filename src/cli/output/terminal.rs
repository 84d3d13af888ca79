//! Output on a terminal: the story in lines, and below it what is at work right now.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Level;
use super::look::Look;
use super::story::Story;
use super::ticker::Ticker;
use crate::progress::Progress;
use crate::report::text::line;
use crate::run::{Event, Moment};

/// How often spinners turn and bars grow.
const FRAME: Duration = Duration::from_millis(100);

const STEP: &str = "{prefix}{spinner} {msg}  {elapsed}";
const COUNTED: &str = "{prefix}{spinner} {msg}  {decimal_bytes}  {decimal_bytes_per_sec}";
const BAR: &str =
    "{prefix}{spinner} {msg}  {bar:20} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  ETA {eta}";

/// A terminal.
pub(super) struct Terminal {
    look: Look,
    bars: MultiProgress,
    to: Mutex<Box<dyn Write + Send>>,
    state: Mutex<State>,
}

struct State {
    story: Story,
    running: BTreeMap<usize, (ProgressBar, usize)>,
}

impl Terminal {
    /// Opens a terminal; `to` and `bars` are two ways to the same one.
    pub(super) fn new(to: Box<dyn Write + Send>, bars: ProgressDrawTarget, look: Look, level: Level) -> Self {
        let state = State { story: Story::new(look, level), running: BTreeMap::new() };
        Self { look, bars: MultiProgress::with_draw_target(bars), to: Mutex::new(to), state: Mutex::new(state) }
    }

    pub(super) fn happened(&self, moment: &Moment) {
        let mut state = self.lock();
        let lines = state.story.tell(moment);
        if !lines.is_empty() {
            self.write(&format!("{}\n", lines.join("\n")));
        }
        match &moment.event {
            Event::StepStarted { id, name } => self.begin_step(&mut state, *id, moment.step, name),
            Event::StepEnded { id, .. } => {
                if let Some((bar, _)) = state.running.remove(id) {
                    self.end(&bar);
                }
            }
            Event::Ended { .. } => std::mem::take(&mut state.running).values().for_each(|(bar, _)| self.end(bar)),
            _ => {}
        }
    }

    fn begin_step(&self, state: &mut State, id: usize, parent: Option<usize>, name: &str) {
        let around = parent.and_then(|id| state.running.get(&id));
        let depth = around.map_or(0, |(_, depth)| depth + 1);
        let bar = ProgressBar::hidden().with_style(self.style(STEP)).with_message(line(name));
        let bar = match around {
            Some((around, _)) => self.bars.insert_after(around, bar),
            None => self.bars.add(bar),
        };
        bar.set_prefix("  ".repeat(depth));
        bar.enable_steady_tick(FRAME);
        state.running.insert(id, (bar, depth));
    }

    /// Shows a bar while what comes back lives; a count of bytes where nobody knows how many there will be.
    pub(super) fn working(&self, label: &str, progress: &Progress) -> Box<dyn Send> {
        let bar = self.bars.add(ProgressBar::hidden().with_style(self.style(COUNTED)).with_message(line(label)));
        bar.set_prefix("  ".repeat(self.lock().running.values().map(|(_, depth)| depth + 1).max().unwrap_or(0)));
        let with_bar = self.style(BAR);
        let ticker = {
            let (bar, progress) = (bar.clone(), progress.clone());
            Ticker::start(FRAME, move || {
                let total = progress.total();
                if total > 0 && bar.length() != Some(total) {
                    bar.set_style(with_bar.clone());
                    bar.set_length(total);
                }
                bar.set_position(progress.done());
                bar.tick();
            })
        };
        Box::new(Working { _ticker: ticker, _shown: Shown { bar, bars: self.bars.clone() } })
    }

    /// Writes lines above whatever is at work. They go past the bars' own `println`, which fills each line with blanks
    /// and leaves the cursor at its end.
    pub(super) fn write(&self, text: &str) {
        self.suspend(|| {
            let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody can be told that stderr is gone; the journal has it all.
            let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
        });
    }

    /// Takes what is at work away while `f` has the terminal.
    pub(super) fn suspend<T>(&self, f: impl FnOnce() -> T) -> T {
        self.bars.suspend(f)
    }

    fn end(&self, bar: &ProgressBar) {
        bar.finish_and_clear();
        self.bars.remove(bar);
    }

    fn style(&self, template: &str) -> ProgressStyle {
        let style = ProgressStyle::with_template(template).expect("the templates are ours and tested");
        if self.look.unicode() {
            style.progress_chars("█▉▊▋▌▍▎▏░").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
        } else {
            style.progress_chars("#>-").tick_chars("|/-\\ ")
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bar of some work. The ticker ends first, so that it cannot bring the bar back.
struct Working {
    _ticker: Ticker,
    _shown: Shown,
}

struct Shown {
    bar: ProgressBar,
    bars: MultiProgress,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        self.bars.remove(&self.bar);
    }
}
