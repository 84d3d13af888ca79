//! What pg_dump says about each object in a comment before its statements.

use crate::backups::Section;

/// One entry of a dump's table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as pg_dump shows it: `customers`, `f(integer)`, `TABLE customers` for a grant.
    pub name: String,
    /// The kind of entry: `TABLE`, `TABLE DATA`, `INDEX`, `ACL`, …
    pub kind: String,
    /// The schema, where the object is in one.
    pub schema: Option<String>,
    /// The owner, where there is one.
    pub owner: Option<String>,
}

impl Entry {
    /// Reads `-- Name: …; Type: …; Schema: …; Owner: …`.
    ///
    /// A name may hold any of these words, so they are looked for from the end.
    pub fn parse(comment: &str) -> Option<Self> {
        let text =
            comment.strip_prefix("-- Data for ").or_else(|| comment.strip_prefix("-- "))?.strip_prefix("Name: ")?;
        let (text, owner) = text.rsplit_once("; Owner: ").or_else(|| text.rsplit_once("; Owner:"))?;
        let (text, schema) = text.rsplit_once("; Schema: ")?;
        let (name, kind) = text.rsplit_once("; Type: ")?;
        let owner = owner.rsplit_once("; Tablespace: ").map_or(owner, |(owner, _)| owner);
        let given = |text: &str| (!matches!(text.trim(), "" | "-")).then(|| text.to_owned());
        Some(Self { name: name.to_owned(), kind: kind.to_owned(), schema: given(schema), owner: given(owner) })
    }

    /// Returns whether the entry holds rows, large objects or a sequence's state.
    pub fn is_data(&self) -> bool {
        matches!(self.kind.as_str(), "TABLE DATA" | "SEQUENCE SET" | "BLOBS" | "LARGE OBJECTS" | "BLOB DATA")
    }

    /// Returns the section of the entry; `after_data` says that data was seen before it. In pg_dump's text grants,
    /// comments and the like stand where their object stands or at the end, so the place decides.
    pub fn section(&self, after_data: bool) -> Section {
        const LATE: [&str; 12] = [
            "CONSTRAINT",
            "FK CONSTRAINT",
            "CHECK CONSTRAINT",
            "INDEX",
            "INDEX ATTACH",
            "TRIGGER",
            "EVENT TRIGGER",
            "POLICY",
            "ROW SECURITY",
            "PUBLICATION",
            "PUBLICATION TABLE",
            "MATERIALIZED VIEW DATA",
        ];
        match () {
            () if self.is_data() => Section::Data,
            () if after_data || LATE.contains(&self.kind.as_str()) => Section::PostData,
            () => Section::PreData,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_from_its_end() {
        let entry = Entry::parse("-- Data for Name: a; Type: b; Type: TABLE DATA; Schema: app; Owner: me").unwrap();
        assert_eq!((entry.name.as_str(), entry.kind.as_str()), ("a; Type: b", "TABLE DATA"));
        assert_eq!((entry.schema.as_deref(), entry.owner.as_deref()), (Some("app"), Some("me")));
        let entry = Entry::parse("-- Name: EXTENSION hstore; Type: COMMENT; Schema: -; Owner: ").unwrap();
        assert_eq!((entry.schema, entry.owner), (None, None));
        let entry = Entry::parse("-- Name: t; Type: TABLE; Schema: s; Owner: o; Tablespace: fast").unwrap();
        assert_eq!(entry.owner.as_deref(), Some("o"));
        assert_eq!(Entry::parse("-- PostgreSQL database dump"), None);
    }
}
