//! The rules between rows: foreign keys, unique keys, exclusion constraints.

use tokio_postgres::Row;

use super::{Check, Table, Trouble, full_name, sql_name};
use crate::error::Result;
use crate::postgres::lexer::quoted;

/// Comparing every row with every other one has no other bound.
const PATIENCE: &str = "30s";

impl Check<'_> {
    /// Looks for rows whose foreign key leads nowhere. A partitioned table is asked as a whole, so its partitions'
    /// own copies of the constraint are not.
    pub(super) async fn foreign_keys(&mut self) -> Result<()> {
        let enforced = if self.version >= 180_000 { "c.conenforced and not c.conperiod" } else { "true" };
        let sql = FOREIGN_KEYS.replace("{enforced}", enforced);
        for row in self.query(&sql, &[]).await? {
            let key = ForeignKey::read(&row);
            let object = format!("TABLE {}", full_name(&key.schema, &key.table));
            if !row.get::<_, bool>(1) {
                let what = format!("FOREIGN KEY {} of {}", key.name, full_name(&key.schema, &key.table));
                self.found.no_check(what, "it is declared NOT VALID");
                continue;
            }
            let answer = self.number(&key.orphans()).await?;
            let to = full_name(&key.to_schema, &key.to_table);
            self.note(&object, &format!("FOREIGN KEY {} to {to}", key.name), answer);
        }
        Ok(())
    }

    /// Looks for keys that stand more than once.
    pub(super) async fn unique(&mut self, tables: &[Table]) -> Result<()> {
        let distinct = if self.version >= 150_000 { "i.indnullsnotdistinct" } else { "false" };
        let sql = format!(
            "select i.indexrelid, i.indrelid, x.relname::text, i.indisprimary, {distinct}, \
             pg_catalog.pg_get_expr(i.indpred, i.indrelid), i.indnkeyatts::int from pg_catalog.pg_index i \
             join pg_catalog.pg_class x on x.oid = i.indexrelid \
             where i.indisunique and x.relkind = 'i' order by 1"
        );
        for row in self.query(&sql, &[]).await? {
            let Some(table) = tables.iter().find(|table| table.oid == row.get::<_, u32>(1)) else { continue };
            let (index, name): (u32, &str) = (row.get(0), row.get(2));
            let (keys, usual) = self.keys(index, row.get(6)).await?;
            if !usual {
                self.found.no_check(
                    format!("UNIQUE {name} of {}", table.name),
                    "its operators have an equality of their own",
                );
                continue;
            }
            let filled: Vec<String> = keys.iter().map(|key| format!("{key} is distinct from null")).collect();
            let filled = if row.get(4) { "true".to_owned() } else { filled.join(" and ") };
            let only = row.get::<_, Option<&str>>(5).unwrap_or("true");
            let sql = format!(
                "select pg_catalog.count(*) from (select from only {} where ({only}) and {filled} group by {} \
                 having pg_catalog.count(*) > 1) twice",
                table.sql,
                keys.join(", ")
            );
            let kind = if row.get(3) { "PRIMARY KEY" } else { "UNIQUE" };
            let answer = self.number(&sql).await?;
            self.note(&format!("TABLE {}", table.name), &format!("{kind} {name}: the same key again"), answer);
        }
        Ok(())
    }

    /// Returns the columns and expressions of an index with their collations, and whether its equality is that of the
    /// types.
    async fn keys(&self, index: u32, count: i32) -> Result<(Vec<String>, bool)> {
        let sql = "select pg_catalog.pg_get_indexdef(i.indexrelid, n, false), \
                   l.collname::text, ln.nspname::text, o.opcdefault or o.opcname::text ~ '_pattern_ops$' \
                   from pg_catalog.pg_index i cross join generate_series(1, $2::int4) n \
                   join pg_catalog.pg_opclass o on o.oid = i.indclass[n - 1] \
                   left join pg_catalog.pg_collation l on l.oid = i.indcollation[n - 1] \
                   left join pg_catalog.pg_namespace ln on ln.oid = l.collnamespace \
                   where i.indexrelid = $1 order by n";
        let rows = self.query(&sql.replace("generate_series", "pg_catalog.generate_series"), &[&index, &count]).await?;
        let key = |row: &Row| match (row.get::<_, Option<&str>>(2), row.get::<_, Option<&str>>(1)) {
            (Some(schema), Some(collation)) => {
                format!("({} collate {})", row.get::<_, &str>(0), sql_name(schema, collation))
            }
            _ => format!("({})", row.get::<_, &str>(0)),
        };
        Ok((rows.iter().map(key).collect(), rows.iter().all(|row| row.get(3))))
    }

    /// Looks for two rows that an exclusion constraint forbids, without its index where that is done in time.
    pub(super) async fn exclusions(&mut self) -> Result<()> {
        for row in self.query(EXCLUSIONS, &[]).await? {
            let (index, count): (u32, i32) = (row.get(1), row.get(5));
            let (keys, _) = self.keys(index, count).await?;
            let (schema, table): (&str, &str) = (row.get(2), row.get(3));
            let operators: Vec<&str> = row.get(4);
            let sql = exclusion(&sql_name(schema, table), row.get(6), &keys, &operators);
            let (object, name) = (format!("TABLE {}", full_name(schema, table)), row.get::<_, &str>(0));
            let answer = self.patiently(&sql, &object, name).await?;
            self.note(&object, &format!("EXCLUDE {name}: a pair of rows"), answer);
        }
        Ok(())
    }

    async fn patiently(&mut self, sql: &str, object: &str, name: &str) -> Result<Result<i64, Trouble>> {
        self.set(&format!("set statement_timeout = '{PATIENCE}'")).await?;
        let mut answer = self.number(sql).await?;
        self.set("set statement_timeout = 0").await?;
        if let Err(Trouble::NotRun(_)) = &answer {
            self.set("set enable_indexscan = on").await?;
            answer = self.number(sql).await?;
            self.set("set enable_indexscan = off").await?;
            let why = format!("without its index it takes longer than {PATIENCE}: the index was believed");
            self.found.no_check(format!("EXCLUDE {name} of {object} without its index"), why);
        }
        Ok(answer)
    }

    pub(super) async fn set(&self, sql: &str) -> Result<()> {
        let set = self.session.client().batch_execute(sql).await;
        set.map_err(|e| self.session.error("could not prepare a check", &e))
    }
}

fn exclusion(table: &str, only: Option<&str>, keys: &[String], operators: &[&str]) -> String {
    let named: Vec<String> = keys.iter().enumerate().map(|(i, key)| format!("{key} as k{i}")).collect();
    let rows = format!("select ctid as at, {} from only {table} where {}", named.join(", "), only.unwrap_or("true"));
    let pairs: Vec<String> = operators.iter().enumerate().map(|(i, op)| format!("a.k{i} {op} b.k{i}")).collect();
    format!("select pg_catalog.count(*) from ({rows}) a join ({rows}) b on {} and a.at < b.at", pairs.join(" and "))
}

/// What is needed of one foreign key.
struct ForeignKey {
    name: String,
    schema: String,
    table: String,
    to_schema: String,
    to_table: String,
    /// `f` where half a key is none.
    full: bool,
    only: &'static str,
    to_only: &'static str,
    columns: Vec<String>,
    to_columns: Vec<String>,
    operators: Vec<String>,
    /// Where both sides sort differently, the side that is referred to decides.
    collations: Vec<String>,
}

impl ForeignKey {
    fn read(row: &Row) -> Self {
        let only = |at: usize| if row.get::<_, i8>(at) == b'p'.cast_signed() { "" } else { "only " };
        Self {
            name: row.get(0),
            full: row.get::<_, i8>(2) == b'f'.cast_signed(),
            schema: row.get(3),
            table: row.get(4),
            only: only(5),
            to_schema: row.get(6),
            to_table: row.get(7),
            to_only: only(8),
            columns: row.get(9),
            to_columns: row.get(10),
            operators: row.get(11),
            collations: row.get(12),
        }
    }

    /// Returns the statement that counts rows without their counterpart.
    fn orphans(&self) -> String {
        let pairs: Vec<String> = (0..self.columns.len())
            .map(|i| {
                let (column, to) = (quoted(&self.columns[i]), quoted(&self.to_columns[i]));
                format!("b.{to} {} a.{column}{}", self.operators[i], self.collations[i])
            })
            .collect();
        let filled: Vec<String> =
            self.columns.iter().map(|column| format!("a.{} is distinct from null", quoted(column))).collect();
        format!(
            "select pg_catalog.count(*) from {}{} a left join {}{} b on {} where b.{} is not distinct from null and ({})",
            self.only,
            sql_name(&self.schema, &self.table),
            self.to_only,
            sql_name(&self.to_schema, &self.to_table),
            pairs.join(" and "),
            quoted(&self.to_columns[0]),
            filled.join(if self.full { " or " } else { " and " })
        )
    }
}

const FOREIGN_KEYS: &str = "select c.conname::text, c.convalidated, c.confmatchtype, \
     an.nspname::text, a.relname::text, a.relkind, bn.nspname::text, b.relname::text, b.relkind, k.columns, k.to_columns, \
     k.operators, k.collations from pg_catalog.pg_constraint c \
     join pg_catalog.pg_class a on a.oid = c.conrelid join pg_catalog.pg_namespace an on an.oid = a.relnamespace \
     join pg_catalog.pg_class b on b.oid = c.confrelid join pg_catalog.pg_namespace bn on bn.oid = b.relnamespace \
     cross join lateral (select pg_catalog.array_agg(f.attname::text order by n) columns, \
     pg_catalog.array_agg(t.attname::text order by n) to_columns, \
     pg_catalog.array_agg(pg_catalog.format('operator(%I.%s)', opn.nspname, o.oprname) order by n) operators, \
     pg_catalog.array_agg(case when f.attcollation <> t.attcollation and t.attcollation <> 0 \
     then pg_catalog.format(' collate %I.%I', ln.nspname, l.collname) else '' end order by n) collations \
     from pg_catalog.generate_subscripts(c.conkey, 1) n \
     join pg_catalog.pg_attribute f on f.attrelid = c.conrelid and f.attnum = c.conkey[n] \
     join pg_catalog.pg_attribute t on t.attrelid = c.confrelid and t.attnum = c.confkey[n] \
     join pg_catalog.pg_operator o on o.oid = c.conpfeqop[n] \
     join pg_catalog.pg_namespace opn on opn.oid = o.oprnamespace \
     left join pg_catalog.pg_collation l on l.oid = t.attcollation \
     left join pg_catalog.pg_namespace ln on ln.oid = l.collnamespace) k \
     where c.contype = 'f' and c.conparentid = 0 and {enforced} order by 4, 5, 1";

const EXCLUSIONS: &str = "select c.conname::text, c.conindid, n.nspname::text, t.relname::text, \
     (select pg_catalog.array_agg(pg_catalog.format('operator(%I.%s)', opn.nspname, o.oprname) order by k) \
     from pg_catalog.generate_subscripts(c.conexclop, 1) k join pg_catalog.pg_operator o on o.oid = c.conexclop[k] \
     join pg_catalog.pg_namespace opn on opn.oid = o.oprnamespace), i.indnkeyatts::int, \
     pg_catalog.pg_get_expr(i.indpred, i.indrelid) from pg_catalog.pg_constraint c \
     join pg_catalog.pg_index i on i.indexrelid = c.conindid join pg_catalog.pg_class t on t.oid = c.conrelid \
     join pg_catalog.pg_namespace n on n.oid = t.relnamespace where c.contype = 'x' and t.relkind = 'r' order by 3, 4, 1";
