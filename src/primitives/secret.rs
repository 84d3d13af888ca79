//! `secret`: a value that can be used but never shown.

use std::path::Path;

use rhai::Dynamic;

use super::{Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

pub(super) const SECRET: Primitive = Primitive {
    name: "secret",
    group: Group::Inputs,
    effect: Effect::Reads,
    signatures: &["secret(name: string) -> Secret"],
    manual: r#"
Returns the secret in the variable NAME, or in the file that NAME_FILE names.

It can be given to `postgres`, `notify` and other verbs, but not printed, joined or compared: in a text it is its
type's name, and the value is masked in every log, report and error of the run.

```rhai,no_run
let db = postgres(#{ host: "db.example.com", user: "backup", password: secret("DB_PASSWORD"), database: "orders" });
```
"#,
    work: |call| Ok(Dynamic::from(secret(&call.text(0)?)?)),
};

/// Returns the secret in the variable `name`, or in the file that `name`_FILE names.
pub(super) fn secret(name: &str) -> Result<Secret> {
    if let Ok(value) = std::env::var(name) {
        return Ok(Secret::new(value));
    }
    let file = format!("{name}_FILE");
    let Ok(path) = std::env::var(&file) else {
        return Err(Error::new(Kind::Missing, format!("the secret {name} is not set"))
            .hint(format!("set the variable {name}, or {file} to a file that holds it")));
    };
    let path = Path::new(&path);
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the secret in", path, &e))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}
