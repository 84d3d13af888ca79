//! The one error of the project: what failed, on what, why, and what to do next.

use std::fmt;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure this is. Scripts read it as `e.kind`; the exit code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The call itself is wrong: an option, a type, a value.
    Usage,
    /// The script does not compile or broke off.
    Script,
    /// A file, table, container or program is not there.
    Missing,
    /// A safety rule forbids it.
    Refused,
    /// A backup, archive or manifest is not what it says it is.
    Damaged,
    /// The database said no, or went away.
    Database,
    /// The Docker Engine said no, or went away.
    Docker,
    /// A child process failed or was killed.
    Process,
    /// A file could not be read or written.
    Io,
    /// A host could not be reached or answered wrongly.
    Network,
    /// A deadline passed.
    Timeout,
    /// The run was asked to stop.
    Interrupted,
    /// Ours: report it.
    Bug,
}

impl Kind {
    /// Returns the word that scripts and reports use.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Usage => "usage",
            Kind::Script => "script",
            Kind::Missing => "missing",
            Kind::Refused => "refused",
            Kind::Damaged => "damaged",
            Kind::Database => "database",
            Kind::Docker => "docker",
            Kind::Process => "process",
            Kind::Io => "io",
            Kind::Network => "network",
            Kind::Timeout => "timeout",
            Kind::Interrupted => "interrupted",
            Kind::Bug => "bug",
        }
    }
}

/// A failure with its facts. Thing and sentence are set where it is made; cause and next step where they are known.
#[derive(Clone)]
pub struct Error(Box<Facts>);

#[derive(Clone)]
struct Facts {
    kind: Kind,
    message: String,
    target: Option<String>,
    causes: Vec<String>,
    hint: Option<String>,
    stderr: Option<String>,
    exit_code: Option<i32>,
    retryable: bool,
}

impl Error {
    /// Makes an error. `message` says what could not be done, in lower case and without a full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Facts {
            kind,
            message: message.into(),
            target: None,
            causes: Vec::new(),
            hint: None,
            stderr: None,
            exit_code: None,
            retryable: false,
        }))
    }

    /// Makes an error about a file or folder.
    pub fn io(doing: &str, path: &std::path::Path, cause: &std::io::Error) -> Self {
        let kind = if cause.kind() == std::io::ErrorKind::NotFound { Kind::Missing } else { Kind::Io };
        Self::new(kind, format!("could not {doing} {}", path.display())).on(path.display().to_string()).because(cause)
    }

    /// Returns the error of ours that travelled through `io::Read` or `io::Write`, as it was.
    pub fn carried(by: &std::io::Error) -> Option<Self> {
        by.get_ref().and_then(|inner| inner.downcast_ref::<Self>()).cloned()
    }

    /// Names the thing it happened to: a path, a database, a container.
    pub fn on(mut self, target: impl Into<String>) -> Self {
        self.0.target = Some(target.into());
        self
    }

    /// Adds a cause with all of its own sources.
    pub fn because(mut self, cause: &(dyn std::error::Error + '_)) -> Self {
        let mut next = Some(cause);
        while let Some(cause) = next {
            let text = cause.to_string();
            // Many libraries repeat their source in their own text.
            if !self.0.causes.last().is_some_and(|last| last.ends_with(&text)) {
                self.0.causes.push(text);
            }
            next = cause.source();
        }
        self
    }

    /// Adds a cause that is only known as text.
    pub fn caused_by(mut self, cause: impl Into<String>) -> Self {
        self.0.causes.push(cause.into());
        self
    }

    /// Adds one of our own errors as the cause and keeps its hint, stderr and code where this one has none.
    pub fn caused_by_error(mut self, cause: Error) -> Self {
        let inner = *cause.0;
        self.0.causes.push(inner.message);
        self.0.causes.extend(inner.causes);
        self.0.hint = self.0.hint.or(inner.hint);
        self.0.stderr = self.0.stderr.or(inner.stderr);
        self.0.exit_code = self.0.exit_code.or(inner.exit_code);
        self.0.target = self.0.target.or(inner.target);
        self
    }

    /// Says what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Keeps the last lines that a child wrote to stderr.
    pub fn stderr(mut self, tail: impl Into<String>) -> Self {
        let tail = tail.into();
        self.0.stderr = (!tail.trim().is_empty()).then_some(tail);
        self
    }

    /// Keeps the exit status of a child.
    pub fn exit_code(mut self, code: Option<i32>) -> Self {
        self.0.exit_code = code;
        self
    }

    /// Says that trying again may help.
    pub fn retryable(mut self) -> Self {
        self.0.retryable = true;
        self
    }

    /// Returns the sort of failure.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the sentence that says what could not be done.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the thing it happened to.
    pub fn target(&self) -> Option<&str> {
        self.0.target.as_deref()
    }

    /// Returns the causes, nearest first.
    pub fn causes(&self) -> &[String] {
        &self.0.causes
    }

    /// Returns the next step.
    pub fn next_step(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Returns the last lines of a child's stderr.
    pub fn stderr_tail(&self) -> Option<&str> {
        self.0.stderr.as_deref()
    }

    /// Returns the exit status of the child that failed.
    pub fn child_exit_code(&self) -> Option<i32> {
        self.0.exit_code
    }

    /// Returns whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for cause in &self.0.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} error: {self}", self.0.kind.word())?;
        if let Some(stderr) = &self.0.stderr {
            write!(f, "\nstderr: {stderr}")?;
        }
        if let Some(hint) = &self.0.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_thing_cause_and_next_step() {
        let disk = std::io::Error::from_raw_os_error(28);
        let error = Error::io("write", std::path::Path::new("/b/x.sql.gz"), &disk).hint("free some space");
        assert_eq!(error.kind(), Kind::Io);
        assert_eq!(error.target(), Some("/b/x.sql.gz"));
        assert!(error.to_string().starts_with("could not write /b/x.sql.gz: No space left"), "{error}");
        assert_eq!(error.next_step(), Some("free some space"));
    }

    #[test]
    fn a_missing_file_is_its_own_kind() {
        let absent = std::fs::File::open("/nowhere/at/all").unwrap_err();
        assert_eq!(Error::io("open", std::path::Path::new("/nowhere/at/all"), &absent).kind(), Kind::Missing);
    }
}
