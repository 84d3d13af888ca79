//! `sandbox`: a throwaway server.

use rhai::Dynamic;

use super::handles::{Sandbox, Server};
use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::postgres::{self, Provider, SandboxOptions};
use crate::script::did_you_mean;
use crate::sqlite;

pub(super) const SANDBOX: Primitive = Primitive {
    name: "sandbox",
    group: Group::Databases,
    effect: Effect::Writes(|call| plan(call, 0)),
    signatures: &["sandbox(options?: map) -> Server"],
    manual: r#"
Makes a throwaway server, which is removed at the end of the run, however it ends.

Options: `provider` is "docker", "local" (a private cluster of the installed PostgreSQL) or "auto", which takes Docker
when it has the image or can pull it, else the local programs; `image` (default "postgres:15"), `name`, `port` on
127.0.0.1, `memory` ("2GB"), `timeout` until it answers; `keep` leaves it and says how to reach and remove it; `engine:
"sqlite"` makes a folder for SQLite databases instead. Prefer `with_sandbox`, which removes it as soon as it can.

```rhai
let server = sandbox(#{ engine: "sqlite" });
let db = server.database("scratch");
execute(db, "create table t (n integer)");
check_eq("it is empty", query_value(db, "select count(*) from t"), 0);
```
"#,
    work: |call| {
        let wanted = wanted(call, 0)?;
        let server = start(call, &wanted)?;
        if wanted.keep || call.run().options.keep {
            call.host().keep_at_end(server.clone());
        }
        Ok(Dynamic::from(server))
    },
};

/// A sandbox as it was asked for.
pub(super) struct Wanted {
    pub(super) keep: bool,
    sqlite: bool,
    options: SandboxOptions,
}

/// Reads the options of a sandbox.
pub(super) fn wanted(call: &Call, at: usize) -> Result<Wanted> {
    let mut given = call.options(at)?;
    let engine = given.text("engine")?.unwrap_or_else(|| "postgres".into());
    let sqlite = match engine.as_str() {
        "postgres" => false,
        "sqlite" => true,
        other => return Err(one_of("engine", other, &["postgres", "sqlite"])),
    };
    let default = SandboxOptions::default();
    let provider = match given.text("provider")? {
        None => default.provider,
        Some(word) => {
            Provider::from_word(&word).ok_or_else(|| one_of("provider", &word, &["auto", "docker", "local"]))?
        }
    };
    let options = SandboxOptions {
        provider,
        image: given.text("image")?.filter(|i| !i.is_empty()).unwrap_or(default.image),
        name: given.text("name")?,
        port: given.port("port")?,
        memory: given.size("memory")?.unwrap_or(default.memory),
        start_limit: given.duration("timeout")?.unwrap_or(default.start_limit),
        ..SandboxOptions::default()
    };
    let keep = given.flag("keep")?;
    given.finish()?;
    Ok(Wanted { keep, sqlite, options })
}

fn one_of(option: &str, found: &str, known: &[&str]) -> Error {
    let error = Error::new(Kind::Usage, format!("`{found}` is no {option}: it is one of {}", known.join(", ")));
    match did_you_mean(found, known.iter().copied()) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Says what would be made.
pub(super) fn plan(call: &Call, at: usize) -> Result<String> {
    if crate::script::Unknown::is_in(&call.any(at)) {
        return Ok("would make a throwaway server".into());
    }
    let wanted = wanted(call, at)?;
    Ok(match (wanted.sqlite, wanted.options.provider) {
        (true, _) => "would make a folder for throwaway SQLite databases".into(),
        (false, Provider::Local) => "would make a private PostgreSQL cluster".into(),
        (false, Provider::Docker) => format!("would start a container of {}", wanted.options.image),
        (false, Provider::Auto) => {
            format!("would start a container of {}, or a private PostgreSQL cluster", wanted.options.image)
        }
    })
}

/// Makes the server and waits until it answers.
pub(super) fn start(call: &Call, wanted: &Wanted) -> Result<Server> {
    let run = call.run();
    let working = run.journal.working("sandbox");
    let server = call.wait(async {
        let sandbox = if wanted.sqlite {
            Sandbox::Sqlite(sqlite::Sandbox::start(&run.ledger, &std::env::temp_dir()).await?)
        } else {
            Sandbox::Postgres(
                postgres::Sandbox::start(&wanted.options, &call.host().docker, &run.ledger, &working.progress).await?,
            )
        };
        Ok(Server::new(sandbox))
    })?;
    drop(working);
    call.evidence(server.to_string(), serde_json::json!({ "server": server.to_string() }));
    Ok(server)
}
