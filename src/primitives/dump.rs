//! `dump`: backs a database up into a file.

use std::path::{Path, PathBuf};

use rhai::{Dynamic, Map};

use super::handles::{Backup, Database, PostgresDatabase, Standing};
use super::{Call, Effect, Group, Primitive, proving, signatures};
use crate::backups::Format;
use crate::error::{Error, Kind, Result};
use crate::postgres::{self, DumpRequest, Mask, Way};
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
ends in), `tables` (only these), `jobs`, `mask` and `mask_key`, `matviews` (false does not read the content of materialized
views, which no dump holds and the fingerprint notes). A file of that name that is there already is an error.
`NAME.sql.gz` is pg_dump's own text once it is unzipped. The manifest holds the fingerprint: the content of every table, each
object's definition, owner and grants, the state of each sequence, taken in the same snapshot as the dump. Nothing has its
final name until it is whole and pg_dump ended well.

`jobs` is how many threads hash and pack, six at most, by default one for each core. From four on, several pg_dumps write the
rows of large tables at the same time, all of one moment: one for each two jobs. `jobs: 1` asks least of a busy server.

`mask` makes a copy for test systems: `mask: #{ "users.email": "hash", "app.users.phone": "null", "users.name":
"text:REDACTED" }` replaces the values of columns before anything is written, in partitions and children, too. A hash is
a value of the column's own type, the same for the same value, so joins, unique and foreign keys stay valid; NULL stays
NULL. Its key is made for this dump and never kept; `mask_key`, a secret of 16 characters or more, makes hashes the same in
every dump. What would break a type, a key or a rule is refused before pg_dump starts. Only the named columns are masked:
not copies of their values in other columns, large objects or definitions. The manifest says what is masked, and such a
backup never passes as `whole`. PostgreSQL only, and not in the format custom.

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
    matviews: bool,
    mask: Option<Mask>,
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
        matviews: options.flag_or_yes("matviews")?,
        mask: mask(&mut options)?,
        to,
    };
    options.finish()?;
    Ok(wanted)
}

fn mask(options: &mut Options) -> Result<Option<Mask>> {
    let wanted = options.any("mask");
    let columns = wanted.as_ref().map(|value| {
        let pairs = value.read_lock::<Map>().map(|map| map.iter().map(way).collect::<Result<Vec<_>>>());
        pairs.unwrap_or_else(|| Err(Error::new(Kind::Usage, "the option `mask` of dump is a map of columns and ways")))
    });
    let columns = columns.transpose()?;
    let key = options.secret("mask_key")?;
    match columns {
        Some(columns) if columns.is_empty() => Err(Error::new(Kind::Usage, "`mask` names no column").hint(
            "leave it out if nothing is to be masked; a copy that was meant to be masked must not pass unmasked",
        )),
        Some(columns) => Ok(Some(Mask { columns, key })),
        None if key.is_some() => Err(Error::new(Kind::Usage, "`mask_key` is given without `mask`")),
        None => Ok(None),
    }
}

fn way((column, way): (&rhai::Identifier, &Dynamic)) -> Result<(String, Way)> {
    let text = way.clone().into_string().map_err(|_| {
        Error::new(Kind::Usage, format!("the way to mask {column} is a text")).hint("null, hash or text:WORDS")
    })?;
    Ok((column.to_string(), Way::parse(&text).map_err(|e| e.on(column.to_string()))?))
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
    let masked = wanted.mask.iter().flat_map(|mask| &mask.columns).map(|(column, _)| column.as_str());
    let masked = masked.collect::<Vec<_>>().join(", ");
    let masked = if masked.is_empty() { masked } else { format!(", masking {masked}") };
    Ok(format!("would dump {} to {} ({}){masked}", call.shown(0), wanted.to.display(), wanted.format))
}

fn dump(call: &Call) -> Result<Backup> {
    let source: Database = call.handle(0, "a Database")?;
    let Wanted { to, format, tables, jobs, mask, matviews } = wanted(call)?;
    let to = proving::place_of_dump(call, to)?;
    let run = call.run();
    if let Database::Postgres(PostgresDatabase { standing: Standing::Source | Standing::Writable, .. }) = source {
        source.protect(&run.guard)?;
    }
    let writing = call.writing(&to)?;
    let working = run.journal.working("dump");
    let progress = working.progress.clone();
    let backup = match source {
        Database::Postgres(source) => {
            let request = DumpRequest { source: source.address, to, format, tables, jobs, mask, matviews };
            call.wait(postgres::dump(&request, &progress, &run.ledger))?
        }
        Database::Sqlite(..) if mask.is_some() => {
            return Err(Error::new(Kind::Refused, "columns of a SQLite database cannot be masked")
                .hint("masking works on pg_dump's text: only PostgreSQL has it"));
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
    signatures::sign_backup(run, &backup)?;
    call.written(writing)?;
    let backup = Backup::new(proving::into_new_file(call, backup)?);
    call.accessed(backup.0.path());
    let summary = format!("{backup}: {}", backup.summary());
    call.evidence(summary, backup.facts());
    Ok(backup)
}
