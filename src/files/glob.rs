//! File patterns: `*` and `?` within a name, `**` across folders, `[a-z]`, `{gz,zst}`; `\` takes the next one literally.

use std::path::Path;

use crate::error::{Error, Kind, Result};

/// A pattern with more alternatives than this is a mistake.
const ALTERNATIVES: usize = 256;

/// A compiled pattern. One that does not compile is an error: it must never mean "everything".
#[derive(Debug, Clone)]
pub struct Glob {
    alternatives: Vec<Vec<Part>>,
    hidden: bool,
}

/// One name of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `**`: any number of folders.
    Folders,
    /// One name.
    Name(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    Any,
    Many,
    Class { not: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// Compiles a pattern in which, as in a shell, `*` and `?` pass over names that start with a dot.
    pub fn new(pattern: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::new(Kind::Usage, format!("the pattern {pattern:?} is wrong: {why}"))
                .hint(r"write \ before a character that is meant literally")
        };
        let mut alternatives = Vec::new();
        for one in braces(pattern).map_err(wrong)? {
            let parts: Vec<&str> = one.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
            alternatives.push(parts.into_iter().map(part).collect::<Result<_, _>>().map_err(wrong)?);
        }
        if alternatives.iter().any(Vec::is_empty) {
            return Err(wrong("it names nothing"));
        }
        Ok(Self { alternatives, hidden: false })
    }

    /// Lets `*` and `?` match names that start with a dot.
    pub fn with_hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Returns whether the pattern matches the whole path.
    pub fn matches(&self, path: &Path) -> bool {
        let names: Vec<String> = path.iter().map(|n| n.to_string_lossy().into_owned()).collect();
        self.alternatives.iter().any(|parts| self.path(parts, &names))
    }

    /// Returns whether something below the folder `path` may match.
    pub(crate) fn may_match_below(&self, path: &Path) -> bool {
        let names: Vec<String> = path.iter().map(|n| n.to_string_lossy().into_owned()).collect();
        self.alternatives.iter().any(|parts| self.prefix(parts, &names))
    }

    /// Returns whether the pattern is one name, which then counts in every folder.
    pub(crate) fn is_name(&self) -> bool {
        self.alternatives.iter().all(|parts| parts.len() == 1)
    }

    fn path(&self, parts: &[Part], names: &[String]) -> bool {
        match (parts.split_first(), names.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some((Part::Folders, rest)), None) => self.path(rest, names),
            (Some((Part::Folders, rest)), Some((name, below))) => {
                self.path(rest, names) || ((self.hidden || !name.starts_with('.')) && self.path(parts, below))
            }
            (Some(_), None) => false,
            (Some((Part::Name(tokens), rest)), Some((name, below))) => {
                self.name(tokens, name) && self.path(rest, below)
            }
        }
    }

    fn prefix(&self, parts: &[Part], names: &[String]) -> bool {
        match (parts.split_first(), names.split_first()) {
            (Some(_), None) => true,
            (None, _) => false,
            (Some((Part::Folders, rest)), Some((name, below))) => {
                ((self.hidden || !name.starts_with('.')) && self.prefix(parts, below)) || self.prefix(rest, names)
            }
            (Some((Part::Name(tokens), rest)), Some((name, below))) => {
                self.name(tokens, name) && self.prefix(rest, below)
            }
        }
    }

    fn name(&self, tokens: &[Token], name: &str) -> bool {
        let dot_meant = self.hidden || tokens.first() == Some(&Token::Char('.'));
        (dot_meant || !name.starts_with('.')) && matches(tokens, &name.chars().collect::<Vec<_>>())
    }
}

/// Matches without recursion: only the last `*` is ever tried again, so the work is at most tokens times characters.
fn matches(tokens: &[Token], name: &[char]) -> bool {
    let (mut t, mut n) = (0, 0);
    let mut again: Option<(usize, usize)> = None;
    while n < name.len() {
        match tokens.get(t) {
            Some(Token::Many) => {
                again = Some((t, n));
                t += 1;
            }
            Some(token) if one(token, name[n]) => (t, n) = (t + 1, n + 1),
            _ => match again {
                Some((star, from)) => {
                    again = Some((star, from + 1));
                    (t, n) = (star + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    tokens[t..].iter().all(|token| *token == Token::Many)
}

fn one(token: &Token, c: char) -> bool {
    match token {
        Token::Char(wanted) => *wanted == c,
        Token::Any => true,
        Token::Many => false,
        Token::Class { not, ranges } => ranges.iter().any(|(a, z)| (*a..=*z).contains(&c)) != *not,
    }
}

fn part(text: &str) -> Result<Part, &'static str> {
    if text == "**" {
        return Ok(Part::Folders);
    }
    let mut tokens = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Many,
            '?' => Token::Any,
            '\\' => Token::Char(chars.next().ok_or("it ends in a backslash")?),
            '[' => class(&mut chars)?,
            c => Token::Char(c),
        });
    }
    Ok(Part::Name(tokens))
}

fn class(chars: &mut std::str::Chars<'_>) -> Result<Token, &'static str> {
    const OPEN: &str = "a [ is not closed";
    let mut next = chars.next().ok_or(OPEN)?;
    let not = matches!(next, '!' | '^');
    if not {
        next = chars.next().ok_or(OPEN)?;
    }
    let mut ranges = Vec::new();
    loop {
        // A bracket in the first place is meant literally.
        if next == ']' && !ranges.is_empty() {
            return Ok(Token::Class { not, ranges });
        }
        let low = if next == '\\' { chars.next().ok_or(OPEN)? } else { next };
        let mut ahead = chars.clone();
        let high = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(high)) if high != ']' => {
                *chars = ahead;
                high
            }
            _ => low,
        };
        if high < low {
            return Err("a range in [ ] runs backwards");
        }
        ranges.push((low, high));
        next = chars.next().ok_or(OPEN)?;
    }
}

/// Writes out `a{b,c}d` as `abd` and `acd`.
fn braces(pattern: &str) -> Result<Vec<String>, &'static str> {
    let mut done = vec![String::new()];
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let next = chars.next().ok_or("it ends in a backslash")?;
                done.iter_mut().for_each(|text| text.extend(['\\', next]));
            }
            '{' => {
                let inner: String = chars.by_ref().take_while(|c| *c != '}').collect();
                let rest_starts = pattern.len() - chars.as_str().len();
                if !pattern[..rest_starts].ends_with('}') {
                    return Err("a { is not closed");
                }
                if inner.contains('{') {
                    return Err("braces within braces are not known");
                }
                let choices: Vec<&str> = inner.split(',').collect();
                done = done.iter().flat_map(|text| choices.iter().map(move |c| format!("{text}{c}"))).collect();
            }
            '}' => return Err("a } was not opened"),
            c => done.iter_mut().for_each(|text| text.push(c)),
        }
        if done.len() > ALTERNATIVES {
            return Err("its braces have too many alternatives");
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Glob::new(pattern).unwrap().matches(Path::new(path))
    }

    #[test]
    fn a_pattern_matches_as_in_a_shell() {
        for (pattern, yes, no) in [
            ("*.gz", "a.gz", "sub/a.gz"),
            ("**/*.gz", "a.gz", "a.gz.sha256"),
            ("**/*.gz", "x/y/a.gz", "x/.git/a.gz"),
            ("models/**", "models/a/b", "other/a"),
            ("v?.[0-9]", "vä.7", "v.7"),
            ("[!a]x", "bx", "ax"),
            ("[]]", "]", "["),
            ("*.sql.{gz,zst}", "d.sql.zst", "d.sql.bz2"),
            (r"\*", "*", "x"),
            (".*", ".env", "env"),
            ("*a*a*b", "xaxaxb", "xaxb"),
            ("./a//b", "a/b", "a"),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(!matches(pattern, no), "{pattern} {no}");
        }
    }

    #[test]
    fn hidden_names_are_matched_when_asked_for() {
        assert!(!matches("*", ".env"));
        assert!(Glob::new("**/*.log").unwrap().with_hidden().matches(Path::new(".x/.y.log")));
    }

    #[test]
    fn a_pattern_that_does_not_compile_is_an_error() {
        for pattern in ["", "[a", "a{b", "a}b", "x\\", "{a,{b}}", "[z-a]", "/"] {
            assert_eq!(Glob::new(pattern).unwrap_err().kind(), Kind::Usage, "{pattern}");
        }
    }

    #[test]
    fn a_nasty_pattern_ends_soon() {
        let name = "a".repeat(200);
        assert!(!matches(&format!("{}b", "*a".repeat(100)), &name));
    }
}
