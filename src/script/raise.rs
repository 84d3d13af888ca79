//! Raising: an error of ours becomes a map that a script can catch, and a thrown value becomes an error again.

use rhai::{Dynamic, EvalAltResult, Map, Position};

use crate::error::{Error, Kind};

/// What a primitive's work can end with: a value, an error of ours, or what a closure of the script threw.
pub type Raised<T> = Result<T, Raise>;

/// Why a primitive did not return.
pub enum Raise {
    /// We could not do it.
    Ours(Error),
    /// The script's own closure ended like this; it passes through unchanged.
    Script(Box<EvalAltResult>),
}

impl From<Error> for Raise {
    fn from(error: Error) -> Self {
        Raise::Ours(error)
    }
}

impl From<Box<EvalAltResult>> for Raise {
    fn from(error: Box<EvalAltResult>) -> Self {
        Raise::Script(error)
    }
}

impl Raise {
    /// Returns what Rhai is to throw. The position stays empty: Rhai fills in the place of the call.
    pub fn into_rhai(self, primitive: &str) -> Box<EvalAltResult> {
        match self {
            Raise::Script(error) => error,
            Raise::Ours(error) if matches!(error.kind(), Kind::Interrupted) => {
                EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into()
            }
            Raise::Ours(error) => EvalAltResult::ErrorRuntime(to_map(&error, primitive).into(), Position::NONE).into(),
        }
    }
}

/// The documented shape of what a script catches: `kind, primitive, message, hint, target, retryable`, and more where
/// it is known.
fn to_map(error: &Error, primitive: &str) -> Map {
    let text = |text: Option<&str>| text.map_or(Dynamic::UNIT, |t| t.to_owned().into());
    let mut map = Map::new();
    map.insert("kind".into(), error.kind().word().into());
    map.insert("primitive".into(), primitive.to_owned().into());
    map.insert("message".into(), error.message().to_owned().into());
    map.insert("hint".into(), text(error.next_step()));
    map.insert("target".into(), text(error.target()));
    map.insert("retryable".into(), error.is_retryable().into());
    map.insert("causes".into(), error.causes().iter().map(|c| c.clone().into()).collect::<Vec<Dynamic>>().into());
    map.insert("stderr".into(), text(error.stderr_tail()));
    map.insert("exit_code".into(), error.child_exit_code().map_or(Dynamic::UNIT, |c| i64::from(c).into()));
    map
}

/// Reads what a script threw: one of our maps, also when the script rethrew it, or anything else as its text.
pub fn thrown(value: &Dynamic) -> Error {
    let Some(map) = value.read_lock::<Map>().filter(|m| m.contains_key("kind") && m.contains_key("message")) else {
        return Error::new(Kind::Script, super::show(value));
    };
    let text = |key: &str| map.get(key).and_then(|v| v.clone().into_string().ok());
    let mut error = Error::new(kind(&text("kind").unwrap_or_default()), text("message").unwrap_or_default());
    for cause in map.get("causes").and_then(|c| c.clone().into_typed_array::<String>().ok()).unwrap_or_default() {
        error = error.caused_by(cause);
    }
    if let Some(target) = text("target") {
        error = error.on(target);
    }
    if let Some(hint) = text("hint") {
        error = error.hint(hint);
    }
    if let Some(stderr) = text("stderr") {
        error = error.stderr(stderr);
    }
    if map.get("retryable").and_then(|r| r.as_bool().ok()) == Some(true) {
        error = error.retryable();
    }
    let code = map.get("exit_code").and_then(|c| c.as_int().ok());
    error.exit_code(code.and_then(|c| i32::try_from(c).ok()))
}

fn kind(word: &str) -> Kind {
    const ALL: [Kind; 13] = [
        Kind::Usage,
        Kind::Script,
        Kind::Missing,
        Kind::Refused,
        Kind::Damaged,
        Kind::Database,
        Kind::Docker,
        Kind::Process,
        Kind::Io,
        Kind::Network,
        Kind::Timeout,
        Kind::Interrupted,
        Kind::Bug,
    ];
    ALL.into_iter().find(|k| k.word() == word).unwrap_or(Kind::Script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_being_thrown_and_caught() {
        let error = Error::new(Kind::Database, "could not restore x")
            .on("app@db:5432/x")
            .caused_by("role app_rw does not exist")
            .hint("create the role first")
            .stderr("pg_restore: error")
            .exit_code(Some(1))
            .retryable();
        let back = thrown(&to_map(&error, "restore").into());
        assert_eq!(format!("{back:?}"), format!("{error:?}"));
        assert_eq!((back.target(), back.child_exit_code(), back.is_retryable()), (error.target(), Some(1), true));
    }

    #[test]
    fn a_thrown_text_is_an_error_of_the_script() {
        let error = thrown(&"no invoices today".into());
        assert_eq!((error.kind(), error.message()), (Kind::Script, "no invoices today"));
    }
}
