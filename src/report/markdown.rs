//! The Markdown report, for a CI job page and for an auditor: the verdict first, then what it rests on.
//!
//! Names come from databases that may be hostile, so every text is escaped: no link, image, mention or tag of theirs
//! comes to life, and no cell breaks its table.

use super::words::{facts_in_words, outcome_word};
use super::{Coverage, Mood, Note, Reached, Report, Step, failure, levels, text};
use crate::compare::Level;
use crate::units;

/// How much of one fact is shown.
const FACT_LIMIT: usize = 120;

impl Report {
    /// Writes the report as Markdown.
    pub fn to_markdown(&self) -> String {
        let sections = [
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
        sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

fn head(report: &Report) -> String {
    let mut out = format!("# {} {}\n\n", mark(report.status.mood()), escaped(&report.headline()));
    out += &format!("**{}.**\n\n", escaped(&report.basis()));
    let about = report.about().into_iter().map(|(name, value)| [name.to_owned(), escaped(&value)]);
    out.push_str(&table(&["", ""], about));
    out
}

fn failures(report: &Report) -> String {
    section("Why it broke off", report.failures.iter().map(|f| fenced(&failure::plain(f))))
}

/// What was verified, and how far: one row a comparison or inspection, one column a level.
fn verified(report: &Report) -> String {
    if report.coverage.is_empty() {
        return String::new();
    }
    let mut out = String::from("## What was verified, and how far\n\n");
    out += &table(&["level", "result", "asked by", ""], report.levels.iter().map(reached));
    out += &format!("\nTouched: {}\n\n", escaped(&report.touched()));
    let names = Level::ALL.map(|level| level.to_string());
    let headings: Vec<_> = std::iter::once("what").chain(names.iter().map(String::as_str)).chain(["touched"]).collect();
    out += &table(&headings, report.coverage.iter().map(|c| levels(report, c)));
    for (title, headings, notes) in report.coverage_notes() {
        out += &format!("\n**{title}**\n\n");
        out.push_str(&table(&headings, notes.into_iter().map(|Note { what, text }| [escaped(&what), escaped(&text)])));
    }
    out
}

fn levels(report: &Report, coverage: &Coverage) -> Vec<String> {
    let what = [report.path(coverage.step), coverage.primitive.clone(), coverage.summary.clone()];
    let what: Vec<_> = what.into_iter().filter(|part| !part.is_empty()).collect();
    let marks = Level::ALL.map(|level| mark_of(coverage.outcome(level)).to_owned());
    std::iter::once(escaped(&what.join(": "))).chain(marks).chain([escaped(&coverage.extent.to_string())]).collect()
}

/// One level of the run: what came of it, who asked for it, and what is wrong or why nobody did.
fn reached(reached: &Reached) -> [String; 4] {
    let Reached { level, result, by, why } = reached;
    let result_word = format!("{} {}", mark_of(*result), result.word());
    [level.to_string(), result_word, escaped(&by.join("; ")), escaped(why)]
}

fn mark_of(result: levels::Outcome) -> &'static str {
    match result {
        levels::Outcome::Held => "✓",
        levels::Outcome::Failed => "✗",
        levels::Outcome::NotChecked => "–",
    }
}

fn checks(report: &Report) -> String {
    let made = report.checks.iter().map(|c| {
        let result = if c.passed { "✓ passed" } else { "✗ **failed**" };
        [result.to_owned(), escaped(&c.name), escaped(&c.detail), escaped(&report.path(c.step))]
    });
    let skipped = report
        .skipped
        .iter()
        .map(|s| ["– not made".to_owned(), escaped(&s.name), escaped(&s.why), escaped(&report.path(s.step))]);
    table_section("Checks", &["result", "check", "what was seen", "step"], made.chain(skipped))
}

fn objectives(report: &Report) -> String {
    let held = report.objectives.iter().map(|o| {
        let result = if o.passed { "✓ met" } else { "✗ **missed**" };
        [result.to_owned(), escaped(&o.name), units::duration(o.seconds), units::duration(o.limit)]
    });
    let free = report.measures.iter().filter(|m| report.objectives.iter().all(|o| o.name != m.name));
    let free = free.map(|m| ["measured".to_owned(), escaped(&m.name), units::duration(m.seconds), "none".to_owned()]);
    table_section("Objectives", &["result", "objective", "measured", "target"], held.chain(free))
}

fn announced(report: &Report) -> String {
    let rows = report.announced.iter().map(|a| [code(&a.primitive), escaped(&a.text), escaped(&report.path(a.step))]);
    table_section("What it would do", &["verb", "effect", "step"], rows)
}

fn leftovers(report: &Report) -> String {
    let rows = report
        .leftovers
        .iter()
        .map(|l| [format!("{} {}", escaped(&l.kind), code(&l.name)), escaped(&l.error), code(&l.by_hand)]);
    table_section("Left behind", &["what", "why", "remove it with"], rows)
}

fn steps(report: &Report) -> String {
    let rows = report.steps.iter().map(|step| {
        [step_name(step), outcome_word(step.outcome).to_owned(), started(step), took(step), escaped(&step.detail)]
    });
    table_section("Steps", &["step", "outcome", "began after", "took", ""], rows)
}

fn step_name(step: &Step) -> String {
    format!("{}{}", "&emsp;".repeat(step.depth), escaped(&step.name))
}

fn started(step: &Step) -> String {
    units::duration(step.started)
}

fn took(step: &Step) -> String {
    step.seconds.map_or("?".to_owned(), units::duration)
}

fn evidence(report: &Report) -> String {
    let rows = report.evidence.iter().map(|e| {
        let facts = facts_in_words(&e.facts);
        let facts: Vec<_> = facts.iter().map(|fact| code(&text::clipped(fact, FACT_LIMIT))).collect();
        [escaped(&report.path(e.step)), code(&e.primitive), escaped(&e.summary), facts.join("<br>")]
    });
    table_section("Evidence", &["step", "verb", "what it found", "facts"], rows)
}

fn messages(report: &Report) -> String {
    let rows = report.messages.iter().map(|m| {
        let sort = if m.warning { "⚠ warning" } else { "" };
        [units::duration(m.at), sort.to_owned(), escaped(&m.text)]
    });
    table_section("What the script said", &["after", "", "text"], rows)
}

fn parameters(report: &Report) -> String {
    let rows = report
        .parameters
        .iter()
        .map(|p| [code(&p.name), code(&p.value), if p.given { "given" } else { "default" }.to_owned()]);
    table_section("Parameters", &["name", "value", "from"], rows)
}

fn sources(report: &Report) -> String {
    let rows = report.sources.iter().map(|s| [code(&s.file), code(&s.sha256)]);
    table_section("Sources", &["file", "SHA-256"], rows)
}

fn mark(mood: Mood) -> &'static str {
    match mood {
        Mood::Good => "✅",
        Mood::Careful => "⚠️",
        Mood::Bad => "❌",
    }
}

fn section(title: &str, parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<_> = parts.collect();
    if parts.is_empty() { String::new() } else { format!("## {title}\n\n{}", parts.join("\n")) }
}

fn table_section<const N: usize>(title: &str, headings: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut rows = rows.peekable();
    if rows.peek().is_none() { String::new() } else { format!("## {title}\n\n{}", table(headings, rows)) }
}

/// Writes a table. The cells are Markdown already.
fn table<Row: AsRef<[String]>>(headings: &[&str], rows: impl IntoIterator<Item = Row>) -> String {
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let mut out = line(headings.to_vec());
    out.push_str(&line(vec!["---"; headings.len()]));
    for row in rows {
        out.push_str(&line(row.as_ref().iter().map(String::as_str).collect()));
    }
    out
}

/// Escapes a text so that it stands for itself wherever Markdown may come.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '\n' => out += "<br>",
            // GitHub looks for mentions in the finished page, where an escape is gone; a comment stays in between.
            '@' => out += "@<!-- -->",
            // Addresses become links without any mark-up.
            ':' if chars.peek() == Some(&'/') => out += "&#58;",
            '.' if before == 'w' => out += "&#46;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '$' | '!' => out.extend(['\\', c]),
            _ => out.push(c),
        }
        before = c;
    }
    out
}

/// Writes a text as code that a table cell can hold.
fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    // HTML instead of backticks: no number of backticks in the text can end it.
    format!("<code>{}</code>", escaped(text))
}

/// Writes lines as they are, in a fence that is longer than any in them.
fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn the_verdict_comes_first_and_everything_it_rests_on_follows() {
        assert_eq!(
            Report::of(&samples::passed_drill()).to_markdown(),
            r#"# ✅ PASSED: 2 checks, 1 skipped

**2 of 2 checks and objectives hold; 1 could not be made.**

|  |  |
| --- | --- |
| script | scripts/drill.rhai |
| run | 20250601-120000-abcd |
| by | runner 0.1.0 |
| started | 2025-06-01T12:00:00Z |
| ended | 2025-06-01T12:00:20Z |
| took | 5.1s |
| exit code | 0 |

## What was verified, and how far

| level | result | asked by |  |
| --- | --- | --- | --- |
| file | – not checked |  | nothing in this run asked for it |
| parse | – not checked |  | nothing in this run asked for it |
| restore | ✓ held | drill › compare: compare |  |
| structure | ✓ held | drill › compare: compare |  |
| content | ✓ held | drill › compare: compare |  |
| integrity | – not checked |  | nothing in this run asked for it |

Touched: 12 tables, 85 columns, 1,000,000 rows, 117.0 MB

| what | file | parse | restore | structure | content | integrity | touched |
| --- | --- | --- | --- | --- | --- | --- | --- |
| drill › compare: compare: 12 tables, 1,000,000 rows | – | – | ✓ | ✓ | ✓ | – | 12 tables, 85 columns, 1,000,000 rows, 117.0 MB |

**Not checked**

| what | why |
| --- | --- |
| integrity | amcheck is not installed |

**Declared lawful**

| what | why |
| --- | --- |
| MATERIALIZED VIEW app.totals: rows | refreshed by the restore |

**Declared lawful, not needed**

| object |  |
| --- | --- |
| table app.gone | nothing differed in it |

**Differs without damage**

| what | why |
| --- | --- |
| MATERIALIZED VIEW app.sums: content changed, expected 3 rows, found 4 rows | the restore refreshed it |

**In no backup**

| what | why |
| --- | --- |
| DATABASE: planner statistics | no backup holds them |

## Checks

| result | check | what was seen | step |
| --- | --- | --- | --- |
| ✓ passed | every row is back | 12 tables, 1,000,000 rows | drill |
| – not made | amcheck | not installed | drill |

## Objectives

| result | objective | measured | target |
| --- | --- | --- | --- |
| ✓ met | rto | 12.3s | 30m |

## Steps

| step | outcome | began after | took |  |
| --- | --- | --- | --- | --- |
| drill | ok | 0.2s | 4.7s |  |
| &emsp;restore | ok | 0.3s | 3.2s |  |
| &emsp;compare | ok | 3.5s | 1.1s |  |

## Evidence

| step | verb | what it found | facts |
| --- | --- | --- | --- |
| drill › restore | <code>restore</code> | 117.0 MB in 12 tables | <code>bytes: 117000000</code><br><code>sha256: ab12</code> |
"#
            .to_owned()
                + tail().as_str()
        );
    }

    /// The compare step's facts and the end of the report, which the drills share.
    fn tail() -> String {
        let all = Report::of(&samples::passed_drill()).to_markdown();
        let at = all.find("| drill › compare | <code>compare</code>").unwrap();
        assert!(all[at..].contains("<code>equal: true</code>"));
        assert!(all.ends_with(
            "| <code>scripts/drill.rhai</code> | <code>9c41</code> |\n| <code>std/checks</code> | <code>77aa</code> |\n"
        ));
        all[at..].to_owned()
    }

    #[test]
    fn hostile_names_stay_text() {
        let markdown = Report::of(&samples::failed_drill()).to_markdown();
        assert!(markdown.starts_with("# ❌ FAILED"));
        let unescaped =
            ["\\[", "\\]", "\\`", "\\#"].iter().fold(markdown.clone(), |text, escape| text.replace(escape, ""));
        for harm in ["<script>", "](http", "://", "@ops", "\u{1b}", "\u{202e}", "\n# big", "`b`"] {
            assert!(!unescaped.contains(harm), "{harm:?} came through");
        }
        assert!(markdown.contains("| rows changed, expected 12, found 11 |"));
        assert!(markdown.contains(": id=17 | missing |") && markdown.contains("| 1 row missing, 1 row changed |"));
        let checks = markdown.split("## ").find(|s| s.starts_with("Checks")).unwrap();
        for row in checks.lines().skip(2).filter(|l| !l.is_empty()) {
            assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
        }
    }

    #[test]
    fn a_run_without_checks_does_not_look_like_a_verification() {
        let markdown = Report::of(&samples::unchecked_run()).to_markdown();
        assert!(markdown.starts_with("# ⚠️ NOTHING VERIFIED: done, without any check\n\n**No check was made"));
        assert!(!markdown.contains('✅') && !markdown.contains('✓'));
        assert!(Report::of(&samples::dry_run()).to_markdown().starts_with("# ⚠️ DRY RUN"));
        assert!(Report::of(&samples::killed_run()).to_markdown().starts_with("# ❌ NO END"));
    }

    #[test]
    fn a_broken_run_shows_the_line_it_broke_at() {
        let markdown = Report::of(&samples::broken_run()).to_markdown();
        assert!(
            markdown.contains("```text\nerror: could not connect to db:5432\n --> scripts/drill.rhai:3:9\n"),
            "{markdown}"
        );
        assert_eq!(fenced("a ```` b"), "`````text\na ```` b\n`````\n");
    }
}
