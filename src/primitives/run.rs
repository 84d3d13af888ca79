//! `run`: starts a program that the operator allows, without a shell.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rhai::{Array, Dynamic, Map};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout};

use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::process::{self, Program};
use crate::script::{Options, from_json};
use crate::secret::{self, Secret};

/// More belongs into a file.
const LIMIT: u64 = 1 << 20;
/// Variables that would turn an allowed program into another one.
const FORBIDDEN: [&str; 6] = ["PATH", "BASH_ENV", "ENV", "GCONV_PATH", "LD_", "DYLD_"];

pub(super) const RUN: Primitive = Primitive {
    name: "run",
    group: Group::Programs,
    effect: Effect::Writes(plan),
    signatures: &["run(command: array, options?: map) -> map"],
    manual: r#"
Starts a program without a shell and returns what became of it: `run(["pg_isready", "-h", "db"])`.

The operator decides which programs a script may start: `--allow-run pg_isready` (repeat for more), the variable
RUNNER_ALLOW_RUN, or `[run] programs = ["pg_isready"]` in runner.toml. Everything else is refused. A program that is allowed is
trusted with any argument, so think twice about shells, interpreters and whatever starts other programs.

The result is a map: `status`, `stdout` (at most 1 MiB) and `stderr` (its last lines), secrets masked. A status that is not
in `ok` (by default `[0]`) is an error. Options: `env` (a map; besides it the program sees only PATH, HOME, TMPDIR, USER
and SSH_AUTH_SOCK), `dir`, `timeout`, `input` (text or a secret), `ok`. A secret goes into `env` or `input`; in an argument
every user of the machine could read it, so that is refused. When the run is stopped the program is killed with all that it
started.

```rhai,no_run
let ready = run(["pg_isready", "-h", "db"], #{ timeout: "5s", ok: [0, 1, 2] });
check_eq("the server takes connections", ready.status, 0);
```

```rhai
try {
    run(["date", "--utc"]);
} catch (e) {
    check_eq("nobody allowed it", e.kind, "refused");
}
```
"#,
    work: |call| Ok(run(call)?),
};

/// What is to be started, and how.
struct Wanted {
    program: PathBuf,
    command: Vec<String>,
    env: Vec<(String, String)>,
    folder: Option<String>,
    timeout: Option<Duration>,
    input: Option<String>,
    ok: Vec<i64>,
}

fn wanted(call: &Call) -> Result<Wanted> {
    let command = command(call)?;
    let mut options = call.options(1)?;
    let wanted = Wanted {
        program: call.run().options.programs.allow(&command[0])?,
        env: variables(&mut options)?,
        folder: options.text("dir")?,
        timeout: options.duration("timeout")?,
        input: options.any("input").map(|value| held(&value, "input")).transpose()?,
        ok: statuses(&mut options)?,
        command,
    };
    options.finish()?;
    Ok(wanted)
}

fn command(call: &Call) -> Result<Vec<String>> {
    let mut command = Vec::new();
    for part in call.list(0)? {
        if part.is::<Secret>() {
            return Err(in_sight());
        }
        let text = if part.is_string() || part.is_int() {
            part.to_string()
        } else {
            return Err(call.wrong(0, "a list of texts"));
        };
        if secret::redact(&text) != text {
            return Err(in_sight());
        }
        command.push(text);
    }
    if command.is_empty() {
        return Err(Error::new(Kind::Usage, "there is nothing to run").hint("run([\"program\", \"argument\"])"));
    }
    Ok(command)
}

fn in_sight() -> Error {
    Error::new(Kind::Refused, "a secret is no argument of a program")
        .caused_by("every user of the machine can read arguments")
        .hint("give it in the option `env` or `input`")
}

fn variables(options: &mut Options) -> Result<Vec<(String, String)>> {
    let Some(given) = options.any("env") else { return Ok(Vec::new()) };
    let map = given.try_cast::<Map>().ok_or_else(|| Error::new(Kind::Usage, "the option `env` of run is a map"))?;
    map.into_iter()
        .map(|(name, value)| {
            let reserved = |taken: &&str| if taken.ends_with('_') { name.starts_with(*taken) } else { name == **taken };
            if name.is_empty() || name.contains(['=', '\0']) || FORBIDDEN.iter().any(reserved) {
                return Err(Error::new(Kind::Refused, format!("the variable {name} cannot be given to a program"))
                    .caused_by("it decides what runs"));
            }
            Ok((name.to_string(), held(&value, &name)?))
        })
        .collect()
}

/// Returns what a text or a secret holds.
fn held(value: &Dynamic, what: &str) -> Result<String> {
    if let Some(secret) = value.read_lock::<Secret>() {
        return Ok(secret.expose().to_owned());
    }
    match value.clone().into_string() {
        Ok(text) if !text.contains('\0') || what == "input" => Ok(text),
        _ => Err(Error::new(Kind::Usage, format!("`{what}` is a text or a secret"))),
    }
}

fn statuses(options: &mut Options) -> Result<Vec<i64>> {
    let wrong = || Error::new(Kind::Usage, "the option `ok` of run is a list of statuses: [0, 1]");
    match options.any("ok") {
        None => Ok(vec![0]),
        Some(value) => {
            let list = value.try_cast::<Array>().filter(|list| !list.is_empty()).ok_or_else(wrong)?;
            list.into_iter().map(|status| status.as_int().map_err(|_| wrong())).collect()
        }
    }
}

fn plan(call: &Call) -> Result<String> {
    if call.is_unknown(0) || call.is_unknown(1) {
        return Ok(format!("would run {}", call.shown(0)));
    }
    Ok(format!("would run {}", wanted(call)?.command.join(" ")))
}

fn run(call: &Call) -> Result<Dynamic> {
    let wanted = wanted(call)?;
    let began = Instant::now();
    let ending = match wanted.timeout {
        None => call.wait(to_the_end(&wanted))?,
        Some(limit) => call.wait(async {
            // Dropped, it is killed with all that it started.
            tokio::time::timeout(limit, to_the_end(&wanted)).await.unwrap_or_else(|_| Err(late(&wanted, limit)))
        })?,
    };
    let status = ending.status.code().map(i64::from);
    let name = &wanted.command[0];
    let facts = json!({
        "program": wanted.program,
        "command": wanted.command,
        "status": status,
        "seconds": began.elapsed().as_secs_f64(),
    });
    let Some(status) = status.filter(|status| wanted.ok.contains(status)) else {
        return Err(process::failure(name, ending.status, ending.stderr));
    };
    call.evidence(format!("{name} ended with status {status}"), facts);
    let stdout = String::from_utf8_lossy(&ending.stdout);
    Ok(from_json(json!({ "status": status, "stdout": secret::redact(&stdout), "stderr": ending.stderr })))
}

fn late(wanted: &Wanted, limit: Duration) -> Error {
    let limit = crate::units::duration(limit.as_secs_f64());
    Error::new(Kind::Timeout, format!("{} did not end within {limit}", wanted.command[0])).on(wanted.command[0].clone())
}

/// How a program ended.
struct Ending {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: String,
}

async fn to_the_end(wanted: &Wanted) -> Result<Ending> {
    let mut program = Program::new(&wanted.program).args(&wanted.command[1..]);
    for (name, value) in &wanted.env {
        program = program.env(name, value);
    }
    if let Some(folder) = &wanted.folder {
        program = program.folder(folder);
        if !Path::new(folder).is_dir() {
            return Err(Error::new(Kind::Missing, format!("there is no folder {folder}")).on(folder.clone()));
        }
    }
    if wanted.input.is_some() {
        program = program.with_stdin();
    }
    let mut running = program.start()?;
    let (stdin, stdout) = (running.stdin(), running.stdout());
    // Side by side: a program that is gone takes its children with it, and with them whoever holds its output.
    let ((), stdout, (status, stderr)) = tokio::try_join!(give(stdin, wanted), take(stdout, wanted), running.ended())?;
    Ok(Ending { status, stdout, stderr })
}

/// Gives the program its input. One that ends without reading it all has not failed by that.
async fn give(stdin: Option<ChildStdin>, wanted: &Wanted) -> Result<()> {
    let (Some(mut stdin), Some(input)) = (stdin, &wanted.input) else { return Ok(()) };
    match stdin.write_all(input.as_bytes()).await {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::Process, format!("could not write to {}", wanted.command[0])).because(&e))
        }
        _ => Ok(()),
    }
}

async fn take(stdout: Option<ChildStdout>, wanted: &Wanted) -> Result<Vec<u8>> {
    let (name, mut out) = (&wanted.command[0], Vec::new());
    let Some(stdout) = stdout else { return Ok(out) };
    let read = stdout.take(LIMIT + 1).read_to_end(&mut out).await;
    read.map_err(|e| Error::new(Kind::Process, format!("could not read from {name}")).because(&e))?;
    match out.len() as u64 > LIMIT {
        true => Err(Error::new(Kind::Process, format!("{name} printed more than 1 MiB"))
            .hint("let it write into a file, and read what is needed of it")),
        false => Ok(out),
    }
}
