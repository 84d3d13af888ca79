//! `dump`: backs a database up into a file.

use std::path::{Path, PathBuf};

use rhai::{Dynamic, Map};

use super::handles::{Backup, Database};
use super::{Call, Effect, Group, Primitive};
use crate::backups::Format;
use crate::error::{Error, Kind, Result};
use crate::postgres::{self, DumpRequest};
use crate::script::{Options, Unknown, did_you_mean};
use crate::sqlite;

pub(super) const DUMP: Primitive = Primitive {
    name: "dump",
    group: Group::Primitives,
    effect: Effect::Writes(plan),
    signatures: &["dump(source: Database, to: string|map) -> Backup"],
    manual: r#"
Backs a database up into a file, with a manifest and a checksum beside it.

`to` is the file, or a map: `to`, `format` ("sql.gz", "sql.zst", "sql", "custom", "sqlite.gz"; by default what the name
ends in), `tables` (only these), `jobs`. A file of that name that is there already is an error. `NAME.sql.gz` is
pg_dump's own text once it is unzipped. The manifest holds the fingerprint: the content of every table, each object's
definition, owner and grants, the state of each sequence, taken in the same snapshot as the dump. Nothing has its final
name until it is whole and pg_dump ended well.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text)");
    execute(db, "insert into users (name) values ('ada'), ('grace')");
    let saved = dump(db, temp_dir() + "/shop.sqlite.gz");
    check_eq("users in the backup", saved.rows("users"), 2);
});
```
"#,
    work: |call| Ok(Dynamic::from(dump(call)?)),
};

struct Wanted {
    to: PathBuf,
    format: Format,
    tables: Vec<String>,
    jobs: Option<usize>,
}

fn wanted(call: &Call) -> Result<Wanted> {
    let given = call.any(1);
    let mut options = if given.is::<Map>() {
        call.options(1)?
    } else {
        let to = call.text(1)?;
        Options::new("dump", Dynamic::from(Map::from([("to".into(), to.into())])))?
    };
    let to = PathBuf::from(options.needed("to")?);
    let wanted = Wanted {
        format: format(&to, options.text("format")?)?,
        tables: options.texts("tables")?,
        jobs: options.count("jobs")?,
        to,
    };
    options.finish()?;
    Ok(wanted)
}

fn format(to: &Path, word: Option<String>) -> Result<Format> {
    const KNOWN: [&str; 5] = ["sql.gz", "sql.zst", "sql", "custom", "sqlite.gz"];
    let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match word {
        Some(word) => Format::from_word(&word).ok_or_else(|| {
            let error = Error::new(Kind::Usage, format!("`{word}` is no format"));
            error.hint(did_you_mean(&word, KNOWN).unwrap_or_default())
        }),
        None => Format::of_name(&name).ok_or_else(|| {
            Error::new(Kind::Usage, format!("the name {name} does not tell the format"))
                .hint("end it in .sql.gz, .sql.zst, .sql, .dump or .sqlite.gz, or give `format`")
        }),
    }
}

fn plan(call: &Call) -> Result<String> {
    if Unknown::is_in(&call.any(1)) {
        return Ok(format!("would dump {} into a file", call.shown(0)));
    }
    let wanted = wanted(call)?;
    Ok(format!("would dump {} to {} ({})", call.shown(0), wanted.to.display(), wanted.format))
}

fn dump(call: &Call) -> Result<Backup> {
    let source: Database = call.handle(0, "a Database")?;
    let Wanted { to, format, tables, jobs } = wanted(call)?;
    let run = call.run();
    let writing = call.writing(&to)?;
    let working = run.journal.working("dump");
    let progress = working.progress.clone();
    let backup = match source {
        Database::Postgres(source) => {
            let request = DumpRequest { source: source.address, to, format, tables, jobs };
            call.wait(postgres::dump(&request, &progress, &run.ledger))?
        }
        Database::Sqlite(..) if !tables.is_empty() => {
            return Err(Error::new(Kind::Usage, "a SQLite database is dumped whole").hint("leave `tables` out"));
        }
        Database::Sqlite(..) if format != Format::SqliteGz => {
            return Err(Error::new(Kind::Usage, format!("a SQLite database cannot be dumped as {format}"))
                .hint("end the name in .sqlite.gz"));
        }
        Database::Sqlite(source, _) => call.on_thread(move |cancel| sqlite::dump(&source, &to, &progress, cancel))?,
    };
    drop(working);
    call.written(writing)?;
    let backup = Backup::new(backup);
    let summary = format!("{backup}: {}", backup.summary());
    call.evidence(summary, backup.facts());
    Ok(backup)
}
