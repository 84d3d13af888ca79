//! docs/what-verified-means.md holds the tables of the fixtures.

use crate::{files, plants};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/what-verified-means.md");

/// Returns the page with the text between a pair of marks in the place of what stands there.
fn with(page: &str, mark: &str, text: &str) -> String {
    let (start, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->"));
    let (before, rest) = page.split_once(&start).unwrap_or_else(|| panic!("the page has no {mark}"));
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{start}{text}{end}{after}")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(" ; ", ", ")
}

fn databases() -> String {
    const LEVELS: [&str; 3] = ["structure", "content", "integrity"];
    let mut rows = String::from(
        "| damage | structure | content | integrity | the message names |\n| --- | --- | --- | --- | --- |\n",
    );
    let mut seen = [0; 3];
    let plants = plants::plants();
    for plant in &plants {
        let expected = plants::expected(&plant.id).unwrap();
        let mut cells = Vec::new();
        for (level, seen) in LEVELS.iter().zip(&mut seen) {
            let sees = expected.levels.split('+').any(|word| word == *level);
            *seen += usize::from(sees);
            cells.push(if sees { "yes" } else { "" });
        }
        let names = match expected.levels.as_str() {
            "none" => "no level sees it".to_owned(),
            "lawful" => format!("{}, as a lawful difference", expected.object),
            _ => expected.object,
        };
        rows.push_str(&format!("| {} {} | {} | {} |\n", plant.id, cell(&plant.title), cells.join(" | "), cell(&names)));
    }
    let [structure, content, integrity] = seen;
    format!(
        "Of {} damages, structure sees {structure}, content {content}, integrity {integrity}.\n\n{rows}",
        plants.len()
    )
}

fn damaged_files() -> String {
    let mut rows = String::from("| damage | refused by | in the words |\n| --- | --- | --- |\n");
    for [id, title, name, who, words] in files::table() {
        rows.push_str(&format!("| {id} {}: {name} | {} | {} |\n", cell(title), who.replace('+', ", "), cell(words)));
    }
    rows
}

#[test]
fn the_tables_of_the_page_are_those_of_the_fixtures() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let right = with(&with(&page, "damages", &databases()), "files", &damaged_files());
    if std::env::var_os("RUNNER_WRITE_DOCS").is_some() {
        std::fs::write(PAGE, &right).unwrap();
    } else {
        assert!(page == right, "run this test with RUNNER_WRITE_DOCS=1 and commit what it writes");
    }
}
