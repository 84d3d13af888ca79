//! The types of scripts that are not Rhai's own: their properties, with the words of the manual.

use rhai::{Dynamic, Engine, EvalAltResult, Map};

use super::handles::{self, Backup, Comparison, Database, Fingerprint, Inspection, PostgresDatabase, Server};
use crate::backups::Manifest;
use crate::error::Error;
use crate::script::{self, Raise, Time, Unknown};
use crate::secret::Secret;

/// A type's property for the manual and for "did you mean".
pub struct TypeNote {
    /// The type.
    pub of: &'static str,
    /// The property.
    pub name: &'static str,
    /// Its type.
    pub returns: &'static str,
    /// What it gives.
    pub gives: &'static str,
}

const fn note(of: &'static str, name: &'static str, returns: &'static str, gives: &'static str) -> TypeNote {
    TypeNote { of, name, returns, gives }
}

/// Every property of every type.
pub const PROPERTIES: &[TypeNote] = &[
    note("Duration", "seconds", "float", "the duration in seconds"),
    note("Database", "name", "string", "the database's name; for SQLite the file's"),
    note("Database", "engine", "string", "`postgres` or `sqlite`"),
    note("Database", "replaced", "string", "where a restore of this run kept what it replaced; empty where it did not"),
    note("Database", "version", "string", "the server's version; empty for SQLite"),
    note("Backup", "path", "string", "the file"),
    note("Backup", "engine", "string", "`postgres` or `sqlite`"),
    note("Backup", "format", "string", "how it is packed: `sql.gz`, `sql.zst`, `sql`, `custom`, `sqlite.gz`"),
    note("Backup", "size", "int", "the file's bytes"),
    note("Backup", "raw_size", "int", "the bytes before packing; needs a manifest, as all that follow"),
    note("Backup", "sha256", "string", "the file's SHA-256 by its manifest"),
    note("Backup", "taken_at", "Time", "the moment whose state it holds"),
    note("Backup", "database", "string", "the name of the database it was taken from"),
    note("Backup", "version", "string", "the version of the server it was taken from"),
    note("Backup", "tables", "map", "the rows of each table by its full name"),
    note("Backup", "whole", "bool", "whether it holds the whole database, neither a selection nor a masked copy"),
    note("Backup", "masked", "bool", "whether its manifest says that columns are masked; false without a manifest"),
    note("Comparison", "equal", "bool", "whether nothing differs and everything could be read"),
    note("Comparison", "summary", "string", "the verdict in one line"),
    note(
        "Comparison",
        "differences",
        "array",
        "a map for each difference: `object, what, change, expected, found, text`",
    ),
    note("Comparison", "tables", "int", "how many tables were compared"),
    note("Comparison", "rows", "int", "how many rows were compared"),
    note("Comparison", "checked", "array", "the levels that were checked: `structure`, `content`"),
    note(
        "Comparison",
        "row_differences",
        "array",
        "with `rows`, a map for each named row: `table, key, row, change, columns, times, text`, with `values: true` also `values`",
    ),
    note(
        "Comparison",
        "row_counts",
        "array",
        "with `rows`, a map for each searched table: `table, key, missing, extra, changed, exact, text`",
    ),
    note(
        "Comparison",
        "lawful",
        "array",
        "a map for each thing that may differ without damage: `object, what, reason, text`, where it does `expected, found`",
    ),
    note(
        "Comparison",
        "ignored",
        "array",
        "a map for each difference that `ignore` names: `object, what, reason, text`",
    ),
    note("Comparison", "not_used", "array", "the objects that `ignore` names and in which nothing differs"),
    note("Inspection", "whole", "bool", "whether nothing is wrong with the file"),
    note("Inspection", "proven", "bool", "whether it is also what its manifest says"),
    note("Inspection", "manifest", "bool", "whether it has a manifest"),
    note("Inspection", "summary", "string", "what was found, in one line"),
    note("Inspection", "checked", "array", "the levels that were checked: `file`, `parse`"),
    note("Integrity", "sound", "bool", "whether every rule was checked and holds"),
    note("Integrity", "summary", "string", "the verdict in one line"),
    note("Integrity", "problems", "array", "a map for each rule that does not hold: `object, what, text`"),
    note("Integrity", "not_checked", "array", "what was not checked, each with the reason"),
    note("Integrity", "checks", "int", "how many rules were checked"),
    note("Integrity", "tables", "int", "how many tables were read"),
    note("Integrity", "rows", "int", "how many rows they hold"),
    note("Fingerprint", "tables", "map", "the rows of each table by its full name"),
    note("Fingerprint", "rows", "int", "the rows of all tables"),
    note("Container", "name", "string", "its name"),
    note("Container", "id", "string", "its id, which no later container has"),
    note("Container", "image", "string", "the name of its image"),
    note("Container", "running", "bool", "whether it runs and is not paused"),
    note("Container", "state", "string", "its state in words: `exited with status 1, 2 hours ago`"),
    note("Container", "logs", "string", "the last 20 lines that it wrote, secrets masked"),
    note("Container", "host", "string", "`.host(5432)`: the address at which that port is reached from here"),
    note("Container", "port", "int", "`.port(5432)`: the port at which that port is reached from here"),
    note("Container", "address", "string", "`.address(5432)`: both of them, `127.0.0.1:49153`"),
    note("BackupSet", "name", "string", "its name: `system_backup_20261120_020000`"),
    note("BackupSet", "folder", "string", "its folder"),
    note("BackupSet", "taken_at", "Time", "when it was begun; `()` where nothing tells"),
    note("BackupSet", "components", "array", "the names of its components"),
    note("BackupSet", "path", "string", "`.path(\"database\")`: where a component lies"),
    note("BackupSet", "size", "int", "`.size(\"database\")`: the bytes of a component"),
    note("BackupSet", "files", "int", "`.files(\"models\")`: how many files a component holds"),
    note("BackupSet", "total_size", "int", "the bytes of all components"),
    note("BackupSet", "whole", "bool", "whether it can be used"),
    note("BackupSet", "state", "string", "`whole`, `failed`, `future` or `unreadable`"),
    note("BackupSet", "problem", "string", "what is wrong with it; empty when nothing is known"),
    note("BackupSet", "verified", "bool", "whether its last verification passed"),
    note("BackupSet", "pinned", "bool", "whether it stays for ever"),
    note("BackupSet", "summary", "string", "all that in one line"),
    note("Catalog", "folder", "string", "the folder"),
    note("Verification", "intact", "bool", "whether every listed file is there and unchanged"),
    note("Verification", "summary", "string", "the verdict in one line"),
    note("Verification", "files", "int", "how many files the list names"),
    note("Verification", "changed", "array", "the files with another content"),
    note("Verification", "missing", "array", "the files that are not there"),
    note("Verification", "unreadable", "array", "the files that could not be read, each with the reason"),
    note("Verification", "extra", "array", "the files in the folder that the list does not name"),
];

/// Returns the names of all properties.
pub fn property_names<'a>() -> impl Iterator<Item = &'a str> {
    PROPERTIES.iter().map(|p| p.name)
}

/// Teaches an engine our types.
pub fn register_types(engine: &mut Engine) {
    Unknown::register(engine);
    script::register_time(engine);
    handles::register(engine);
    // No `to_string`: a secret in a text shows its type's name and nothing else.
    engine.register_type_with_name::<Secret>("Secret");
    databases(engine);
    backups(engine);
    comparisons(engine);
}

fn databases(engine: &mut Engine) {
    engine.register_type_with_name::<Database>("Database").register_type_with_name::<Server>("Server");
    for name in ["to_string", "to_debug"] {
        engine.register_fn(name, |d: &mut Database| d.to_string());
        engine.register_fn(name, |s: &mut Server| s.to_string());
    }
    engine.register_get("name", |d: &mut Database| match d {
        Database::Postgres(PostgresDatabase { address, .. }) => address.database().to_owned(),
        Database::Sqlite(database, _) => database.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
    });
    engine.register_get("engine", |d: &mut Database| match d {
        Database::Postgres(_) => "postgres",
        Database::Sqlite(..) => "sqlite",
    });
    engine.register_get("replaced", |d: &mut Database| match d {
        Database::Postgres(database) => database.replaced.as_deref().unwrap_or_default().to_owned(),
        Database::Sqlite(..) => String::new(),
    });
    engine.register_get("version", |d: &mut Database| match d {
        Database::Postgres(database) => database.identity.version.clone(),
        Database::Sqlite(..) => String::new(),
    });
}

type Got<T> = Result<T, Box<EvalAltResult>>;

fn backups(engine: &mut Engine) {
    engine.register_type_with_name::<Backup>("Backup");
    for name in ["to_string", "to_debug"] {
        engine.register_fn(name, |b: &mut Backup| b.to_string());
    }
    engine.register_get("path", |b: &mut Backup| b.0.path().display().to_string());
    engine.register_get("format", |b: &mut Backup| b.0.format().word());
    engine.register_get("engine", |b: &mut Backup| engine_word(b.0.format().engine()));
    engine.register_get("size", |b: &mut Backup| -> Got<i64> {
        let size = crate::files::listing::size(b.0.path()).map_err(|e| property("size", e))?;
        Ok(size.cast_signed())
    });
    engine.register_get("raw_size", |b: &mut Backup| of_manifest(b, "raw_size", |m| m.raw_size.cast_signed()));
    engine.register_get("sha256", |b: &mut Backup| of_manifest(b, "sha256", |m| m.sha256.clone()));
    engine.register_get("taken_at", |b: &mut Backup| of_manifest(b, "taken_at", |m| Time(m.taken_at)));
    engine.register_get("database", |b: &mut Backup| of_manifest(b, "database", |m| m.source.database.clone()));
    engine.register_get("version", |b: &mut Backup| of_manifest(b, "version", |m| m.source.version.clone()));
    engine.register_get("tables", |b: &mut Backup| of_manifest(b, "tables", |m| table_rows(&m.fingerprint)));
    engine.register_get("masked", |b: &mut Backup| b.is_masked());
    engine.register_get("whole", |b: &mut Backup| of_manifest(b, "whole", Manifest::is_whole));
}

fn of_manifest<T>(backup: &Backup, what: &str, read: impl FnOnce(&Manifest) -> T) -> Got<T> {
    backup.0.need_manifest(&format!("tell `{what}`")).map(read).map_err(|e| property(what, e))
}

fn property(name: &str, error: Error) -> Box<EvalAltResult> {
    Raise::Ours(error).into_rhai(name)
}

fn engine_word(engine: crate::compare::Engine) -> &'static str {
    match engine {
        crate::compare::Engine::Postgres => "postgres",
        crate::compare::Engine::Sqlite => "sqlite",
    }
}

fn table_rows(print: &crate::compare::Fingerprint) -> Map {
    print.tables.iter().map(|(name, table)| (name.as_str().into(), Dynamic::from(table.rows.cast_signed()))).collect()
}

fn comparisons(engine: &mut Engine) {
    engine.register_type_with_name::<Comparison>("Comparison").register_type_with_name::<Fingerprint>("Fingerprint");
    for name in ["to_string", "to_debug"] {
        engine.register_fn(name, |c: &mut Comparison| c.to_string());
        engine.register_fn(name, |p: &mut Fingerprint| p.to_string());
    }
    engine.register_get("equal", |c: &mut Comparison| c.0.equal);
    engine.register_get("summary", |c: &mut Comparison| c.0.summary());
    engine.register_get("differences", |c: &mut Comparison| c.differences());
    engine.register_get("tables", |c: &mut Comparison| c.0.tables.cast_signed());
    engine.register_get("rows", |c: &mut Comparison| c.0.rows.cast_signed());
    engine.register_get("checked", |c: &mut Comparison| c.checked());
    engine.register_get("row_differences", |c: &mut Comparison| c.row_differences());
    engine.register_get("row_counts", |c: &mut Comparison| c.row_counts());
    engine.register_get("lawful", |c: &mut Comparison| c.lawful());
    engine.register_get("ignored", |c: &mut Comparison| c.ignored());
    engine.register_get("not_used", |c: &mut Comparison| c.not_used());
    engine.register_type_with_name::<Inspection>("Inspection");
    engine.register_fn("to_string", |i: &mut Inspection| i.to_string());
    engine.register_get("whole", |i: &mut Inspection| i.whole());
    engine.register_get("proven", |i: &mut Inspection| i.proven());
    engine.register_get("manifest", |i: &mut Inspection| i.proven());
    engine.register_get("summary", |i: &mut Inspection| i.to_string());
    engine.register_get("checked", |i: &mut Inspection| {
        let checked = i.seen().map(|s| s.checked.as_slice()).unwrap_or_default();
        checked.iter().map(|level| Dynamic::from(level.to_string())).collect::<rhai::Array>()
    });
    engine.register_get("tables", |p: &mut Fingerprint| table_rows(&p.0));
    engine.register_get("rows", |p: &mut Fingerprint| p.0.rows().cast_signed());
}
