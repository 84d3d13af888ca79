//! The formats by name, as `--report html=F,junit=F,md=F` asks for them.

use super::Report;
use crate::error::{Error, Kind, Result};

/// A format that a report is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For programs.
    Json,
    /// For CI servers.
    Junit,
    /// For CI job pages and auditors.
    Markdown,
    /// For people: to keep, mail and print.
    Html,
}

impl std::str::FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "json" => Ok(Format::Json),
            "junit" | "xml" => Ok(Format::Junit),
            "md" | "markdown" => Ok(Format::Markdown),
            "html" => Ok(Format::Html),
            _ => Err(Error::new(Kind::Usage, format!("`{name}` is not a report format"))
                .hint("write json=FILE, junit=FILE, md=FILE or html=FILE")),
        }
    }
}

impl Report {
    /// Writes the report in one of the formats.
    ///
    /// # Errors
    /// When the XML library refuses, which would be a bug.
    pub fn write(&self, format: Format) -> Result<String> {
        match format {
            Format::Json => Ok(self.to_json()),
            Format::Junit => self.to_junit(),
            Format::Markdown => Ok(self.to_markdown()),
            Format::Html => Ok(self.to_html()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn each_name_writes_its_format() {
        let report = Report::of(&samples::passed_drill());
        for (name, begin) in [("json", "{"), ("junit", "<?xml"), ("md", "# "), ("html", "<!doctype html>")] {
            assert!(report.write(name.parse().unwrap()).unwrap().starts_with(begin), "{name}");
        }
        assert_eq!("pdf".parse::<Format>().unwrap_err().kind(), Kind::Usage);
    }
}
