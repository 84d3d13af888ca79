//! `env`: a variable of the environment.

use super::{Effect, Group, Primitive};
use crate::error::{Error, Kind};

pub(super) const ENV: Primitive = Primitive {
    name: "env",
    group: Group::Inputs,
    effect: Effect::Reads,
    signatures: &["env(name: string, default?: string) -> string"],
    manual: r#"
Returns a variable of the environment, or the default.

Without a default an unset variable is an error. Passwords belong into `secret`, which hides them.

```rhai
let host = env("DB_HOST", "localhost");
check("a host is set", host.len() > 0);
```
"#,
    work: |call| {
        let name = call.text(0)?;
        match std::env::var(&name) {
            Ok(value) => Ok(value.into()),
            Err(_) if call.arguments().len() == 2 => Ok(call.text(1)?.into()),
            Err(cause) => Err(Error::new(Kind::Missing, format!("the variable {name} is not set"))
                .because(&cause)
                .hint(format!("set {name}, or give a default: env(\"{name}\", \"…\")"))
                .into()),
        }
    },
};
