//! The HTML report: one file without scripts, fonts or pictures from elsewhere, to be kept, mailed and printed.
//!
//! Every text goes through [`escaped`], and a policy in the page forbids scripts and loads besides.

use std::fmt::Write;

use super::words::{facts_in_words, outcome_word};
use super::{Coverage, Mood, Note, Reached, Report, Step, failure, levels, text};
use crate::compare::Level;
use crate::units;

/// How much of one fact is shown.
const FACT_LIMIT: usize = 400;

const STYLE: &str = "
:root { --ink: #1c2024; --dim: #60666c; --line: #d8dce0; --good: #18794e; --careful: #ad5700; --bad: #c62a2f; --bar: #3b82c4; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { border-left: .5rem solid; padding-left: .8rem; } h2 { margin-top: 2.2rem; font-size: 1.15rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; white-space: pre-wrap; } th { color: var(--dim); font-weight: 500; }
code, pre { font: 13px/1.45 ui-monospace, monospace; } pre { background: #f4f5f6; padding: .8rem; white-space: pre-wrap; }
.good { color: var(--good); } .careful { color: var(--careful); } .bad { color: var(--bad); } .dim { color: var(--dim); }
.axis { width: 40%; } .axis div { background: var(--bar); min-width: 2px; height: .8rem; margin-top: .35rem; }
.axis .failed { background: var(--bad); } .axis .open { background: var(--careful); } .facts { margin: 0; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } h2 { break-after: avoid; } tr, pre { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
";

impl Report {
    /// Writes the report as one HTML page.
    pub fn to_html(&self) -> String {
        let body = [
            head(self),
            failures(self),
            verified(self),
            checks(self),
            objectives(self),
            announced(self),
            leftovers(self),
            steps(self),
            evidence(self),
            messages(self),
            parameters(self),
            sources(self),
        ];
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{}: {}</title>\n<style>{STYLE}</style>\n\
             </head>\n<body>\n{}</body>\n</html>\n",
            self.status.word(),
            escaped(&self.script),
            body.concat()
        )
    }
}

fn head(report: &Report) -> String {
    let mut out = element("h1", mood(report.status.mood()), &escaped(&report.headline()));
    out += &element("p", "", &format!("<strong>{}.</strong>", escaped(&report.basis())));
    out.push_str(&table(&[], report.about().into_iter().map(|(name, value)| [cell("dim", name), cell("", &value)])));
    out
}

fn failures(report: &Report) -> String {
    let drawn = report.failures.iter().map(|f| element("pre", "", &escaped(&failure::plain(f))));
    section("Why it broke off", drawn.collect())
}

fn verified(report: &Report) -> String {
    if report.coverage.is_empty() {
        return String::new();
    }
    let mut out = table(&["level", "result", "asked by", ""], report.levels.iter().map(reached));
    out += &element("p", "", &format!("Touched: {}", escaped(&report.touched())));
    let names = Level::ALL.map(|level| level.to_string());
    let headings: Vec<_> = std::iter::once("what").chain(names.iter().map(String::as_str)).chain(["touched"]).collect();
    out += &table(&headings, report.coverage.iter().map(|c| levels(report, c)));
    for (title, headings, notes) in report.coverage_notes() {
        out += &element("h3", "", title);
        out += &table(&headings, notes.into_iter().map(|Note { what, text }| [cell("", &what), cell("", &text)]));
    }
    section("What was verified, and how far", out)
}

fn levels(report: &Report, coverage: &Coverage) -> Vec<String> {
    let step = report.path(coverage.step);
    let what = cell("", format!("{step}\n{}: {}", coverage.primitive, coverage.summary).trim_start());
    let marks = Level::ALL.map(|level| mark(coverage.outcome(level), ""));
    std::iter::once(what).chain(marks).chain([cell("", &coverage.extent.to_string())]).collect()
}

fn reached(reached: &Reached) -> [String; 4] {
    let Reached { level, result, by, why } = reached;
    [cell("", &level.to_string()), mark(*result, result.word()), cell("dim", &by.join("\n")), cell("", why)]
}

/// Writes a cell with the mark of what came of a level, and a word.
fn mark(result: levels::Outcome, word: &str) -> String {
    let (class, sign) = match result {
        levels::Outcome::Held => ("good", "✓"),
        levels::Outcome::Failed => ("bad", "✗"),
        levels::Outcome::NotChecked => ("dim", "–"),
    };
    cell(class, format!("{sign} {word}").trim_end())
}

fn checks(report: &Report) -> String {
    let made = report.checks.iter().map(|c| {
        let result = if c.passed { cell("good", "✓ passed") } else { cell("bad", "✗ failed") };
        [result, cell("", &c.name), cell("", &c.detail), cell("dim", &report.path(c.step))]
    });
    let skipped = report.skipped.iter().map(|s| {
        [cell("careful", "– not made"), cell("", &s.name), cell("", &s.why), cell("dim", &report.path(s.step))]
    });
    section("Checks", table(&["result", "check", "what was seen", "step"], made.chain(skipped)))
}

fn objectives(report: &Report) -> String {
    let held = report.objectives.iter().map(|o| {
        let result = if o.passed { cell("good", "✓ met") } else { cell("bad", "✗ missed") };
        [result, cell("", &o.name), cell("", &units::duration(o.seconds)), cell("", &units::duration(o.limit))]
    });
    let free = report.measures.iter().filter(|m| report.objectives.iter().all(|o| o.name != m.name));
    let free = free.map(|m| {
        [cell("dim", "measured"), cell("", &m.name), cell("", &units::duration(m.seconds)), cell("dim", "none")]
    });
    section("Objectives", table(&["result", "objective", "measured", "target"], held.chain(free)))
}

fn announced(report: &Report) -> String {
    let rows =
        report.announced.iter().map(|a| [code(&a.primitive), cell("", &a.text), cell("dim", &report.path(a.step))]);
    section("What it would do", table(&["verb", "effect", "step"], rows))
}

fn leftovers(report: &Report) -> String {
    let rows = report
        .leftovers
        .iter()
        .map(|l| [cell("", &format!("{} {}", l.kind, l.name)), cell("", &l.error), code(&l.by_hand)]);
    section("Left behind", table(&["what", "why", "remove it with"], rows))
}

fn steps(report: &Report) -> String {
    let rows = report.steps.iter().map(|step| {
        let name = format!("{}{}", "\u{2003}".repeat(step.depth), step.name);
        let took = step.seconds.map_or("?".to_owned(), units::duration);
        let outcome = cell(if step.is_bad() { "bad" } else { "dim" }, outcome_word(step.outcome));
        [cell("", &name), outcome, cell("", &took), bar(step, report.seconds), cell("", &step.detail)]
    });
    let axis = format!("0 to {}", units::duration(report.seconds));
    section("Steps", table(&["step", "outcome", "took", &axis, ""], rows))
}

/// Draws when a step was at work, between the begin and the end of the run.
fn bar(step: &Step, whole: f64) -> String {
    let percent = |seconds: f64| if whole > 0.0 { (seconds / whole * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    let left = percent(step.started);
    let width = percent(step.seconds.unwrap_or(whole - step.started)).min(100.0 - left);
    let class = match step.outcome {
        None => "open",
        Some(_) if step.is_bad() => "failed",
        Some(_) => "done",
    };
    format!("<td class=\"axis\"><div class=\"{class}\" style=\"margin-left:{left:.2}%;width:{width:.2}%\"></div></td>")
}

fn evidence(report: &Report) -> String {
    let rows = report.evidence.iter().map(|e| {
        let facts: Vec<_> = facts_in_words(&e.facts).iter().map(|fact| text::clipped(fact, FACT_LIMIT)).collect();
        [cell("dim", &report.path(e.step)), code(&e.primitive), cell("", &e.summary), code(&facts.join("\n"))]
    });
    section("Evidence", table(&["step", "verb", "what it found", "facts"], rows))
}

fn messages(report: &Report) -> String {
    let rows = report.messages.iter().map(|m| {
        let class = if m.warning { "careful" } else { "" };
        [cell("dim", &units::duration(m.at)), cell(class, if m.warning { "warning" } else { "" }), cell("", &m.text)]
    });
    section("What the script said", table(&["after", "", "text"], rows))
}

fn parameters(report: &Report) -> String {
    let rows = report
        .parameters
        .iter()
        .map(|p| [code(&p.name), code(&p.value), cell("dim", if p.given { "given" } else { "default" })]);
    section("Parameters", table(&["name", "value", "from"], rows))
}

fn sources(report: &Report) -> String {
    let rows = report.sources.iter().map(|s| [code(&s.file), code(&s.sha256)]);
    section("Sources", table(&["file", "SHA-256"], rows))
}

fn mood(mood: Mood) -> &'static str {
    match mood {
        Mood::Good => "good",
        Mood::Careful => "careful",
        Mood::Bad => "bad",
    }
}

/// Writes a section, or nothing where there is nothing to say.
fn section(title: &str, inside: String) -> String {
    if inside.is_empty() { inside } else { element("h2", "", title) + inside.as_str() }
}

/// Writes a table of finished cells, or nothing without a row.
fn table<Row: AsRef<[String]>>(headings: &[&str], rows: impl IntoIterator<Item = Row>) -> String {
    let mut body = String::new();
    for row in rows {
        let _ = writeln!(body, "<tr>{}</tr>", row.as_ref().concat()); // writing to a text cannot fail
    }
    if body.is_empty() {
        return body;
    }
    let headings: String = headings.iter().map(|heading| format!("<th>{}</th>", escaped(heading))).collect();
    let head = if headings.is_empty() { headings } else { format!("<tr>{headings}</tr>\n") };
    format!("<table>\n{head}{body}</table>\n")
}

/// Writes a table cell that holds `text`.
fn cell(class: &str, text: &str) -> String {
    element("td", class, &escaped(text)).trim_end().to_owned()
}

/// Writes a table cell that holds `text` as code.
fn code(text: &str) -> String {
    format!("<td><code>{}</code></td>", escaped(text))
}

/// Writes an element around HTML. Name and class are ours.
fn element(name: &str, class: &str, inside: &str) -> String {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    format!("<{name}{class}>{inside}</{name}>\n")
}

/// Escapes a text for elements and for attributes in double or single quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::run::Moment;

    fn page(moments: &[Moment]) -> String {
        Report::of(moments).to_html()
    }

    #[test]
    fn the_page_shows_verdict_levels_and_steps() {
        let page = page(&samples::passed_drill());
        for part in [
            "<h1 class=\"good\">PASSED: 2 checks, 1 skipped</h1>",
            "<p><strong>2 of 2 checks and objectives hold; 1 could not be made.</strong></p>",
            "<tr><td>drill › compare\ncompare: 12 tables, 1,000,000 rows</td><td class=\"dim\">–</td>",
            "<tr><td>integrity</td><td>amcheck is not installed</td></tr>",
            "<tr><td class=\"good\">✓ met</td><td>rto</td><td>12.3s</td><td>30m</td></tr>",
            "<div class=\"done\" style=\"margin-left:5.88%;width:62.75%\"></div>",
            "<tr><td><code>scripts/drill.rhai</code></td><td><code>9c41</code></td></tr>",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn hostile_names_stay_text() {
        let page = page(&samples::failed_drill());
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"));
        for harm in ["<script", "javascript:", "<a ", "<img", "\u{1b}", "\u{202e}"] {
            assert!(!page.contains(harm), "{harm:?} came through");
        }
        assert!(page.contains("docker rm -f rn-x"));
    }

    #[test]
    fn every_element_is_closed() {
        for moments in [samples::failed_drill(), samples::broken_run(), samples::killed_run(), samples::dry_run()] {
            let page = page(&moments);
            for name in ["table", "tr", "td", "th", "h1", "h2", "p", "pre", "code", "div", "strong", "body", "html"] {
                let open = page.matches(&format!("<{name}>")).count() + page.matches(&format!("<{name} ")).count();
                assert_eq!(open, page.matches(&format!("</{name}>")).count(), "{name}");
            }
        }
    }

    #[test]
    fn a_run_without_checks_is_not_green() {
        for moments in [samples::unchecked_run(), samples::dry_run(), Vec::new()] {
            let page = page(&moments);
            assert!(!page.contains("class=\"good\"") && !page.contains("✓"), "{page}");
        }
        assert!(page(&samples::unchecked_run()).contains("No check was made: this run verified nothing"));
    }

    #[test]
    fn a_step_without_an_end_reaches_to_the_end_of_the_axis() {
        let page = page(&samples::killed_run());
        assert!(page.contains("<div class=\"open\" style=\"margin-left:4.00%;width:96.00%\">"), "{page}");
    }
}
