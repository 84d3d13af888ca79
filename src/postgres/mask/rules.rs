//! What may be masked how: names and ways that a script gives, held against the catalogue before pg_dump starts.
//!
//! What would break types, keys or constraints is refused here, where it can be known; what only the data decide, the
//! restore proves.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Row;

use super::key::Key;
use super::shape::{DIGITS, Shape, WIDEST};
use super::{Filter, Mask, Masking, Way};
use crate::error::{Error, Kind, Result};
use crate::postgres::address::Address;
use crate::postgres::copy::full_name;
use crate::postgres::lexer::{Token, shown, tokens, unquoted};
use crate::postgres::selection::Selected;
use crate::postgres::session::{Access, Session};
use crate::postgres::snapshot::Snapshot;

/// Hashes in a unique column that are shorter than this would meet by chance.
const SHORTEST_UNIQUE: usize = 16;

/// Holds a mask against the catalogue. `selected` are the tables of the dump; none means all.
pub(in crate::postgres) async fn resolve(
    snapshot: &Snapshot,
    address: &Address,
    mask: &Mask,
    selected: &[Selected],
) -> Result<Masking> {
    let key = Key::new(mask.key.as_ref())?;
    let all = Column::all(snapshot).await?;
    let mut chosen: BTreeMap<(u32, i16), (&Column, &Way)> = BTreeMap::new();
    let mut listed = BTreeMap::new();
    for (text, way) in &mask.columns {
        let column = find(&all, text)?;
        let (table, name) = (column.table_name(), column.full_name());
        if !selected.is_empty() && !selected.iter().any(|s| s.name == table) {
            return Err(refused(&column.full_name(), "its table is not among `tables`"));
        }
        listed.insert(name, way.word().to_owned());
        for column in with_children(&all, column) {
            if let Some((_, other)) = chosen.insert((column.table, column.number), (column, way))
                && other != way
            {
                return Err(Error::new(Kind::Usage, format!("{} is masked in two ways", column.full_name())));
            }
        }
    }
    let facts = Facts::read(snapshot, chosen.keys().map(|(table, _)| *table).collect()).await?;
    let trial = Session::open(address, Access::ReadOnly).await?;
    let mut filters = BTreeMap::new();
    for (at, (column, way)) in &chosen {
        facts.refuse(column, way)?;
        let filter = filter(column, way, &trial).await?;
        facts.refuse_hash(column, &filter)?;
        filters.insert(*at, filter);
    }
    facts.refuse_torn_keys(&all, &filters, selected)?;
    facts.try_checks(&chosen, &filters, &key, &trial).await?;
    let mut tables: BTreeMap<String, BTreeMap<String, Filter>> = BTreeMap::new();
    let mut expected = BTreeSet::new();
    for (at, (column, _)) in &chosen {
        // Of a partitioned table no rows come by, of an extension's maybe none.
        if column.kind == "r" && !column.extension {
            expected.insert(column.table_name());
        }
        if let Some(filter) = filters.remove(at) {
            tables.entry(column.table_name()).or_default().insert(column.name.clone(), filter);
        }
    }
    Ok(Masking { key, tables, expected, columns: listed })
}

fn refused(column: &str, why: impl Into<String>) -> Error {
    Error::new(Kind::Refused, format!("{column} cannot be masked so")).on(column).caused_by(why)
}

/// A column of a table.
struct Column {
    table: u32,
    number: i16,
    schema: String,
    relation: String,
    name: String,
    /// `r` for a table, `p` for a partitioned one.
    kind: String,
    parents: Vec<u32>,
    type_shown: String,
    /// The type behind a domain.
    base: String,
    base_kind: String,
    modifier: i32,
    domain_rules: bool,
    not_null: bool,
    generated: bool,
    partition_key: bool,
    extension: bool,
}

impl Column {
    async fn all(snapshot: &Snapshot) -> Result<Vec<Self>> {
        let sql = "with recursive base(start, oid, modifier, rules, not_null) as ( \
             select t.oid, t.oid, -1, false, false from pg_catalog.pg_type t \
             where t.oid in (select atttypid from pg_catalog.pg_attribute) \
             union all \
             select b.start, t.typbasetype, t.typtypmod, b.rules or exists (select 1 from pg_catalog.pg_constraint k \
             where k.contypid = t.oid and k.contype = 'c'), b.not_null or t.typnotnull \
             from base b join pg_catalog.pg_type t on t.oid = b.oid where t.typtype = 'd') \
             select c.oid, a.attnum, n.nspname::text, c.relname::text, a.attname::text, c.relkind::text, \
             array(select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid = c.oid), \
             pg_catalog.format_type(a.atttypid, a.atttypmod), \
             case when tn.nspname = 'pg_catalog' or t.typname = 'citext' then t.typname::text else '' end, \
             t.typtype::text, case when b.start = b.oid then a.atttypmod else b.modifier end, b.rules, \
             a.attnotnull or b.not_null, coalesce(pg_catalog.to_jsonb(a) ->> 'attgenerated', '') <> '', \
             exists (select 1 from pg_catalog.pg_partitioned_table p where p.partrelid = c.oid \
             and a.attnum = any(p.partattrs::int2[])), \
             exists (select 1 from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::regclass \
             and d.objid = c.oid and d.deptype = 'e') \
             from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
             join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
             join base b on b.start = a.atttypid join pg_catalog.pg_type t on t.oid = b.oid and t.typtype <> 'd' \
             join pg_catalog.pg_namespace tn on tn.oid = t.typnamespace \
             where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'";
        let read = |row: &Row| Self {
            table: row.get(0),
            number: row.get(1),
            schema: row.get(2),
            relation: row.get(3),
            name: row.get(4),
            kind: row.get(5),
            parents: row.get(6),
            type_shown: row.get(7),
            base: row.get(8),
            base_kind: row.get(9),
            modifier: row.get(10),
            domain_rules: row.get(11),
            not_null: row.get(12),
            generated: row.get(13),
            partition_key: row.get(14),
            extension: row.get(15),
        };
        Ok(rows(snapshot, sql, &[]).await?.iter().map(read).collect())
    }

    fn table_name(&self) -> String {
        full_name(Some(&self.schema), &self.relation)
    }

    fn full_name(&self) -> String {
        format!("{}.{}", self.table_name(), shown(&self.name))
    }
}

/// Finds the column that a person writes as `table.column` or `schema.table.column`.
fn find<'a>(all: &'a [Column], text: &str) -> Result<&'a Column> {
    let parts = tokens(text, false);
    let names: Vec<String> = parts.iter().step_by(2).map(|(_, name)| unquoted(name)).collect();
    let plain = parts.iter().enumerate().all(|(at, (token, text))| match at % 2 {
        0 => matches!(token, Token::Word | Token::Quoted),
        _ => *text == ".",
    });
    let (schema, table, column) = match names.as_slice() {
        [table, column] if plain && parts.len() == 3 => (None, table, column),
        [schema, table, column] if plain && parts.len() == 5 => (Some(schema), table, column),
        _ => {
            return Err(Error::new(Kind::Usage, format!("{text} is no name of a column"))
                .hint("write table.column or schema.table.column, in double quotes where SQL needs them"));
        }
    };
    let fits = |c: &&Column| c.relation == *table && c.name == *column && schema.is_none_or(|s| *s == c.schema);
    let mut found = all.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(column), None) => Ok(column),
        (Some(a), Some(b)) => Err(Error::new(Kind::Usage, format!("several schemas have a column {text}"))
            .hint(format!("write {} or {}", a.full_name(), b.full_name()))),
        (None, _) => Err(unknown(all, text)),
    }
}

fn unknown(all: &[Column], text: &str) -> Error {
    let error = Error::new(Kind::Missing, format!("there is no column {text}"));
    let like = |column: &&Column| {
        let (full, short) = (column.full_name(), format!("{}.{}", shown(&column.relation), shown(&column.name)));
        (strsim::jaro_winkler(&full, text).max(strsim::jaro_winkler(&short, text)) * 1000.0) as u32
    };
    match all.iter().max_by_key(like) {
        Some(near) => error.hint(format!("did you mean {}?", near.full_name())),
        None => error.hint("the database has no tables"),
    }
}

/// Returns a column with those of the same name in partitions and children, whose rows are dumped apart.
fn with_children<'a>(all: &'a [Column], column: &'a Column) -> Vec<&'a Column> {
    let mut found = vec![column];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        for child in all.iter().filter(|c| c.name == column.name && c.parents.contains(&parent.table)) {
            if !found.iter().any(|known| known.table == child.table) {
                found.push(child);
            }
        }
        at += 1;
    }
    found
}

/// Returns what becomes of a column's values.
async fn filter(column: &Column, way: &Way, trial: &Session) -> Result<Filter> {
    match way {
        Way::Null => Ok(Filter::Null),
        Way::Hash => shape(column).map(Filter::Hash),
        Way::Text(text) => fixed(column, text, trial).await.map(Filter::Fixed),
    }
}

/// Returns the form of a hash in the column's type, or refuses the type.
fn shape(column: &Column) -> Result<Shape> {
    let length = usize::try_from(column.modifier - 4).ok();
    let fraction = u32::try_from(column.modifier).unwrap_or(6).min(6);
    let unfit = |why: &str| {
        refused(&column.full_name(), format!("it is of type {}, {why}", column.type_shown))
            .hint("mask it by null or by a fixed text, if its values may not leave")
    };
    let text = |fold, pad| Shape::Text { length: length.unwrap_or(DIGITS).min(DIGITS), fold, pad };
    if column.domain_rules {
        return Err(unfit("a domain whose rules a hash may break"));
    }
    Ok(match column.base.as_str() {
        "text" | "varchar" => text(false, None),
        "citext" => text(true, None),
        "bpchar" => text(false, Some(length.unwrap_or(0))),
        "uuid" => Shape::Uuid,
        "int2" => Shape::Whole { bits: 16 },
        "int4" => Shape::Whole { bits: 32 },
        "int8" => Shape::Whole { bits: 64 },
        "numeric" if column.modifier < 4 => Shape::Number,
        "numeric" => {
            let (digits, scale) = ((column.modifier - 4) >> 16 & 0xffff, (column.modifier - 4) & 0x7ff);
            let (digits, scale) = (digits.unsigned_abs(), scale.unsigned_abs());
            if digits > WIDEST || scale > digits {
                return Err(unfit("and hashes are made for up to 38 digits, the point among them"));
            }
            Shape::Decimal { digits, scale }
        }
        "date" => Shape::Date,
        "timestamp" => Shape::Moment { fraction, zone: false },
        "timestamptz" => Shape::Moment { fraction, zone: true },
        "bytea" => Shape::Bytes,
        "json" | "jsonb" => Shape::Json,
        _ => return Err(unfit("which has no hash")),
    })
}

/// Returns a fixed text as the server writes it in the column's type, in COPY's spelling.
async fn fixed(column: &Column, text: &str, trial: &Session) -> Result<Vec<u8>> {
    let unfit = |why: String| refused(&column.full_name(), why);
    let ours = !column.base.is_empty() || column.base_kind == "e";
    if !ours || column.domain_rules {
        return Err(unfit(format!(
            "it is of type {}, which may run code of its own to read a text",
            column.type_shown
        )));
    }
    if text.contains('\0') {
        return Err(unfit("no text of PostgreSQL holds a NUL".into()));
    }
    let longest = usize::try_from(column.modifier - 4).ok().filter(|_| matches!(&*column.base, "varchar" | "bpchar"));
    if longest.is_some_and(|longest| text.chars().count() > longest) {
        return Err(unfit(format!("the fixed text is longer than {}", column.type_shown)));
    }
    let sql = format!("select pg_catalog.format('%s', $1::text::{})", column.type_shown);
    let row = trial.client().query_one(&sql, &[&text]).await.map_err(|e| {
        Error::new(Kind::Refused, format!("{} cannot be masked so", column.full_name()))
            .on(column.full_name())
            .caused_by_error(trial.error(format!("the fixed text is no {}", column.type_shown), &e))
    })?;
    Ok(escaped(row.get(0)))
}

/// Writes a value as COPY does.
fn escaped(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            8 => out.extend_from_slice(b"\\b"),
            11 => out.extend_from_slice(b"\\v"),
            12 => out.extend_from_slice(b"\\f"),
            plain => out.push(plain),
        }
    }
    out
}

/// A key that points from one column to another.
struct Link {
    name: String,
    from: (u32, i16),
    to: (u32, i16),
}

/// A rule that one column alone must keep.
struct Check {
    column: (u32, i16),
    name: String,
    expression: String,
}

/// What the catalogue says about the masked tables.
struct Facts {
    /// Columns of unique indexes, with whether the index takes NULL for a value.
    unique: Vec<((u32, i16), bool)>,
    primary: BTreeSet<(u32, i16)>,
    links: Vec<Link>,
    checks: Vec<Check>,
}

impl Facts {
    async fn read(snapshot: &Snapshot, tables: Vec<u32>) -> Result<Self> {
        let (mut unique, mut primary) = (Vec::new(), BTreeSet::new());
        // An expression or a condition on a column leaves a dependency on it.
        let sql = "select i.indrelid, a.attnum, i.indisprimary, \
                   coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) \
                   from pg_catalog.pg_index i join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum > 0 \
                   where i.indrelid = any($1) and (i.indisunique or i.indisexclusion) and ( \
                   a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1]) \
                   or exists (select 1 from pg_catalog.pg_depend d where d.objid = i.indexrelid \
                   and d.classid = 'pg_catalog.pg_class'::regclass and d.refobjid = i.indrelid \
                   and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjsubid = a.attnum \
                   and not a.attnum = any(i.indkey::int2[])))";
        for row in rows(snapshot, sql, &tables).await? {
            let at = (row.get(0), row.get(1));
            unique.push((at, row.get(3)));
            primary.extend(row.get::<_, bool>(2).then_some(at));
        }
        let sql = "select k.conname::text, k.conrelid, p.a, k.confrelid, p.b from pg_catalog.pg_constraint k, \
                   unnest(k.conkey, k.confkey) p(a, b) \
                   where k.contype = 'f' and (k.conrelid = any($1) or k.confrelid = any($1))";
        let link = |row: &Row| Link { name: row.get(0), from: (row.get(1), row.get(2)), to: (row.get(3), row.get(4)) };
        let links = rows(snapshot, sql, &tables).await?.iter().map(link).collect();
        // A rule with a function of a user's is not tried: it would run here, with the rights of the backup.
        let sql = "select k.conrelid, k.conkey[1], k.conname::text, pg_catalog.pg_get_expr(k.conbin, k.conrelid) \
                   from pg_catalog.pg_constraint k where k.contype = 'c' and k.conrelid = any($1) \
                   and pg_catalog.array_length(k.conkey, 1) = 1 \
                   and not exists (select 1 from pg_catalog.pg_depend d where d.objid = k.oid \
                   and d.classid = 'pg_catalog.pg_constraint'::regclass \
                   and d.refclassid <> 'pg_catalog.pg_class'::regclass)";
        let check = |row: &Row| Check { column: (row.get(0), row.get(1)), name: row.get(2), expression: row.get(3) };
        let checks = rows(snapshot, sql, &tables).await?.iter().map(check).collect();
        Ok(Self { unique, primary, links, checks })
    }

    /// Refuses what the way would break whatever the values are.
    fn refuse(&self, column: &Column, way: &Way) -> Result<()> {
        let at = (column.table, column.number);
        let no = |why: &str| Err(refused(&column.full_name(), why));
        let unique = self.unique.iter().find(|(key, _)| *key == at);
        let is_key = self.primary.contains(&at) || self.links.iter().any(|link| link.from == at || link.to == at);
        match way {
            _ if column.generated => no("it is generated: mask the columns that it is made of"),
            _ if column.partition_key => no("it decides in which partition a row lies"),
            Way::Null if column.not_null => {
                no("it is NOT NULL").map_err(|e| e.hint("mask it by hash or by a fixed text"))
            }
            Way::Null if is_key => no("it is part of a key").map_err(|e| e.hint("mask it by hash")),
            Way::Null if unique.is_some_and(|(_, nulls)| *nulls) => no("NULL may stand in it once only"),
            Way::Text(_) if unique.is_some() => {
                no("it is unique, and a fixed text is not").map_err(|e| e.hint("mask it by hash"))
            }
            Way::Text(_) if is_key => no("it is part of a foreign key").map_err(|e| e.hint("mask it by hash")),
            _ => Ok(()),
        }
    }

    /// Refuses hashes that would not stay different.
    fn refuse_hash(&self, column: &Column, filter: &Filter) -> Result<()> {
        let at = (column.table, column.number);
        let length = match filter {
            Filter::Hash(Shape::Text { length, .. }) => *length,
            _ => return Ok(()),
        };
        let unique = self.unique.iter().any(|(key, _)| *key == at);
        match unique && length < SHORTEST_UNIQUE {
            true => Err(refused(
                &column.full_name(),
                format!("it is unique, and {} is too short for hashes that stay different", column.type_shown),
            )),
            false => Ok(()),
        }
    }

    /// Refuses a key of which only one end would be masked, or the two ends in two ways.
    fn refuse_torn_keys(
        &self,
        all: &[Column],
        filters: &BTreeMap<(u32, i16), Filter>,
        selected: &[Selected],
    ) -> Result<()> {
        let column = |at: (u32, i16)| all.iter().find(|c| (c.table, c.number) == at);
        let is_dumped = |c: &Column| selected.is_empty() || selected.iter().any(|s| s.name == c.table_name());
        for link in self.links.iter().filter(|link| filters.get(&link.from) != filters.get(&link.to)) {
            let (Some(from), Some(to)) = (column(link.from), column(link.to)) else { continue };
            if !is_dumped(from) || !is_dumped(to) {
                continue;
            }
            let (from, to) = (from, to);
            let names =
                format!("{} points at {} (foreign key {})", from.full_name(), to.full_name(), shown(&link.name));
            let (masked, other) = if filters.contains_key(&link.from) { (from, to) } else { (to, from) };
            let hint = match filters.contains_key(&link.from) && filters.contains_key(&link.to) {
                true => format!(
                    "both need one way and one type: they are of types {} and {}",
                    from.type_shown, to.type_shown
                ),
                false => format!("mask {} in the same way, or leave both as they are", other.full_name()),
            };
            return Err(refused(&masked.full_name(), names).hint(hint));
        }
        Ok(())
    }

    /// Tries one masked value on each rule that names the column alone.
    async fn try_checks(
        &self,
        chosen: &BTreeMap<(u32, i16), (&Column, &Way)>,
        filters: &BTreeMap<(u32, i16), Filter>,
        key: &Key,
        trial: &Session,
    ) -> Result<()> {
        for check in &self.checks {
            let (Some((column, way)), Some(filter)) = (chosen.get(&check.column), filters.get(&check.column)) else {
                continue;
            };
            let Some(sample) = sample(column, way, filter, key) else { continue };
            let name = crate::postgres::lexer::quoted(&column.name);
            let sql = format!(
                "select ({}) is false from (select $1::text::{} as {name}) masked",
                check.expression, column.type_shown
            );
            // A rule that cannot be tried is left to the restore.
            let broken = trial.client().query_one(&sql, &[&sample]).await.is_ok_and(|row| row.get(0));
            if broken {
                let why = format!("the masked value would break its rule {}", shown(&check.name));
                return Err(refused(&column.full_name(), why));
            }
        }
        Ok(())
    }
}

/// Returns a masked value as text, for a trial; nothing where the type needs a value to start from that we do not make.
fn sample(column: &Column, way: &Way, filter: &Filter, key: &Key) -> Option<Option<String>> {
    match (way, filter) {
        (Way::Null, _) => Some(None),
        (Way::Text(text), _) => Some(Some(text.clone())),
        (Way::Hash, Filter::Hash(shape @ (Shape::Text { .. } | Shape::Json | Shape::Uuid)))
            if !column.base.is_empty() =>
        {
            let mut out = Vec::new();
            shape.masked(key, b"sample", &mut out)?;
            String::from_utf8(out).ok().map(Some)
        }
        _ => None,
    }
}

async fn rows(snapshot: &Snapshot, sql: &str, tables: &[u32]) -> Result<Vec<Row>> {
    let session = snapshot.session();
    let found = match tables {
        [] => session.client().query(sql, &[]).await,
        _ => session.client().query(sql, &[&tables]).await,
    };
    found.map_err(|e| session.error("could not read what the columns are", &e))
}
