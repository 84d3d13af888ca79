//! Everything in a database that does not belong to one table: each object as the catalog has it, each other table's
//! rows, each other sequence. Asked twice in one transaction, it proves that nothing else changed.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::postgres::{Session, lexer};

/// Catalogs with the columns that tell the object, those of the relation that it belongs to, and what may change by
/// itself: statistics, the place on the disk, flags that are only hints.
const CATALOGS: &[(&str, &str, &str, &str, &str)] = &[
    (
        "pg_class",
        "x.oid",
        "0",
        "x.oid",
        "{relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid,relfilenode,relhastriggers,relhasindex}",
    ),
    ("pg_attribute", "x.attrelid", "x.attnum", "x.attrelid", "{}"),
    ("pg_attrdef", "x.oid", "0", "x.adrelid", "{}"),
    ("pg_index", "x.indexrelid", "0", "x.indrelid", "{indcheckxmin}"),
    ("pg_trigger", "x.oid", "0", "x.tgrelid", "{}"),
    ("pg_rewrite", "x.oid", "0", "x.ev_class", "{}"),
    ("pg_policy", "x.oid", "0", "x.polrelid", "{}"),
    ("pg_sequence", "x.seqrelid", "0", "x.seqrelid", "{}"),
    ("pg_statistic_ext", "x.oid", "0", "x.stxrelid", "{}"),
    ("pg_publication_rel", "x.oid", "0", "x.prrelid", "{}"),
    ("pg_inherits", "x.inhrelid", "x.inhseqno", "x.inhrelid", "{}"),
    ("pg_foreign_table", "x.ftrelid", "0", "x.ftrelid", "{}"),
    (
        "pg_type",
        "x.oid",
        "0",
        "coalesce(nullif(x.typrelid, 0), (select e.typrelid from pg_catalog.pg_type e where e.oid = x.typelem))",
        "{}",
    ),
    ("pg_proc", "x.oid", "0", "null::oid", "{}"),
    ("pg_namespace", "x.oid", "0", "null::oid", "{}"),
    ("pg_enum", "x.oid", "0", "null::oid", "{}"),
    ("pg_extension", "x.oid", "0", "null::oid", "{}"),
    ("pg_event_trigger", "x.oid", "0", "null::oid", "{}"),
    ("pg_publication", "x.oid", "0", "null::oid", "{}"),
    ("pg_default_acl", "x.oid", "0", "null::oid", "{}"),
    ("pg_foreign_server", "x.oid", "0", "null::oid", "{}"),
    ("pg_largeobject_metadata", "x.oid", "0", "null::oid", "{}"),
];

/// Relations to pass over: the table `$1` with its indexes, its overflow and its sequences, the copy `$2` of what it was,
/// and what other sessions hold for themselves.
const OURS: &str = "with recursive ours(oid) as ( \
    select c.oid from pg_catalog.pg_class c where c.oid in ($1, $2) or c.relpersistence = 't' \
    union select r.oid from ours o, lateral ( \
    select c.reltoastrelid as oid from pg_catalog.pg_class c where c.oid = o.oid and c.reltoastrelid <> 0 \
    union all select i.indexrelid from pg_catalog.pg_index i where i.indrelid = o.oid \
    union all select d.objid from pg_catalog.pg_depend d join pg_catalog.pg_class s on s.oid = d.objid and s.relkind = 'S' \
    where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
    and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = o.oid) r) ";

/// What people call an object, with a digest of what it is.
pub(super) type Others = BTreeMap<String, String>;

/// Reads everything that does not belong to a table, nor to a copy of it. Without `rows`, only the objects.
pub(super) async fn read(session: &Session, table: u32, copy: u32, rows: bool) -> Result<Others> {
    let mut each: Vec<String> = CATALOGS.iter().map(objects).collect();
    each.extend([CONSTRAINTS.to_owned(), COMMENTS.to_owned()]);
    let sql = format!("{OURS}{OWN} {}", each.join(" union all "));
    let found = session.client().query(&sql, &[&table, &copy]).await;
    let found = found.map_err(|e| session.error("could not read the objects of the database", &e))?;
    let mut others: Others = found.iter().map(|row| (row.get(0), row.get(1))).collect();
    if rows {
        contents(session, table, copy, &mut others).await?;
    }
    Ok(others)
}

/// Returns the question for the objects of one catalog.
fn objects((catalog, object, part, relation, volatile): &(&str, &str, &str, &str, &str)) -> String {
    let ((class, described, described_part), own) = (described(catalog, object, part), only(catalog));
    format!(
        "select coalesce(pg_catalog.pg_describe_object('pg_catalog.{class}'::pg_catalog.regclass, {described}, \
         {described_part}), '{catalog}') || ' [{catalog} ' || {object} || ' ' || {part} || ']', \
         pg_catalog.md5((pg_catalog.to_jsonb(x) - '{volatile}'::text[])::text) from pg_catalog.{catalog} x \
         where {object} >= 16384 {own} and ({relation} is null or {relation} not in (select oid from ours))"
    )
}

/// Returns which rows of a catalog count.
fn only(catalog: &str) -> &'static str {
    match catalog {
        "pg_trigger" => "and not x.tgisinternal",
        "pg_attribute" => "and x.attnum > 0 and not x.attisdropped",
        "pg_namespace" => "and x.nspname !~ '^pg_'",
        _ => "",
    }
}

/// Returns by which object people know a row of a catalog.
fn described<'a>(catalog: &'a str, object: &'a str, part: &'a str) -> (&'a str, &'a str, &'a str) {
    match catalog {
        "pg_attribute" => ("pg_class", object, part),
        "pg_index" | "pg_sequence" | "pg_inherits" | "pg_foreign_table" => ("pg_class", object, "0"),
        "pg_enum" => ("pg_type", "x.enumtypid", "0"),
        "pg_largeobject_metadata" => ("pg_largeobject", object, "0"),
        other => (other, object, part),
    }
}

/// What has a comment and belongs to those relations.
const OWN: &str = ", own(oid) as (select oid from ours \
    union all select c.oid from pg_catalog.pg_constraint c where c.conrelid in (select oid from ours) \
    or c.confrelid in (select oid from ours) \
    union all select t.oid from pg_catalog.pg_trigger t where t.tgrelid in (select oid from ours) \
    union all select r.oid from pg_catalog.pg_rewrite r where r.ev_class in (select oid from ours) \
    union all select p.oid from pg_catalog.pg_policy p where p.polrelid in (select oid from ours) \
    union all select s.oid from pg_catalog.pg_statistic_ext s where s.stxrelid in (select oid from ours))";

/// A key between two tables belongs to both.
const CONSTRAINTS: &str = "select pg_catalog.pg_describe_object('pg_catalog.pg_constraint'::pg_catalog.regclass, x.oid, 0) \
    || ' [' || x.oid || ']', pg_catalog.md5(pg_catalog.to_jsonb(x)::text) from pg_catalog.pg_constraint x \
    where x.oid >= 16384 and x.conrelid not in (select oid from ours) and x.confrelid not in (select oid from ours)";

const COMMENTS: &str = "select pg_catalog.concat_ws(' ', 'comment on', \
    coalesce(pg_catalog.pg_describe_object(x.classoid, x.objoid, x.objsubid), x.objoid::text)), \
    pg_catalog.md5(x.description) from pg_catalog.pg_description x \
    where x.objoid >= 16384 and x.objoid not in (select oid from own)";

/// Rows as the sums of two 64-bit hashes of each; sequences with their state.
async fn contents(session: &Session, table: u32, copy: u32, others: &mut Others) -> Result<()> {
    let sql = format!(
        "{OURS} select n.nspname::text, c.relname::text, c.relkind::text from pg_catalog.pg_class c \
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where c.relkind in ('r', 'm', 'S') and (c.relkind <> 'm' or c.relispopulated) \
         and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.oid not in (select oid from ours)"
    );
    let found = session.client().query(&sql, &[&table, &copy]).await;
    for row in found.map_err(|e| session.error("could not list the other tables", &e))? {
        let (schema, name, kind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let quoted = format!("{}.{}", lexer::quoted(&schema), lexer::quoted(&name));
        let (word, sql) = if kind == "S" {
            ("sequence", format!("select '', last_value || ' ' || is_called from {quoted}"))
        } else {
            let sum = |seed: u8| {
                format!("pg_catalog.sum(pg_catalog.hashtextextended((runner_row.*)::text, {seed})::numeric)")
            };
            let digest = format!("pg_catalog.concat_ws(' ', pg_catalog.count(*), {}, {})", sum(0), sum(7));
            ("the rows of", format!("select '', {digest} from only {quoted} runner_row"))
        };
        let digest = session.client().query_one(&sql, &[]).await;
        let digest =
            digest.map_err(|e| session.error(format!("could not read {quoted}, to prove that it stays"), &e))?;
        others.insert(format!("{word} {quoted}"), digest.get(1));
    }
    Ok(())
}

/// Returns what differs, without the numbers that only make names unique.
pub(super) fn changed(before: &Others, after: &Others) -> Vec<String> {
    let mut names: Vec<&String> =
        before.iter().filter(|(name, digest)| after.get(*name) != Some(*digest)).map(|(n, _)| n).collect();
    names.extend(after.keys().filter(|name| !before.contains_key(*name)));
    let mut shown: Vec<String> = names.iter().map(|n| n.split(" [").next().unwrap_or(n).to_owned()).collect();
    shown.sort();
    shown.dedup();
    shown
}
