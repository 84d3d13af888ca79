//! Indexes against their tables: by PostgreSQL's own checker where it can be had, else by counting through the index.

use std::collections::BTreeMap;

use super::{Check, Table, Trouble, full_name};
use crate::error::Result;
use crate::postgres::lexer::{literal, quoted, shown};

/// The checker's place while we have it.
const BORROWED: &str = "runner_amcheck";

/// One index that has entries.
struct Index {
    oid: u32,
    name: String,
    table: u32,
    method: String,
    /// What makes the planner read this index and no table: its order and its predicate.
    order: String,
    predicate: Option<String>,
    short: String,
}

impl Check<'_> {
    /// Holds every index against its table.
    pub(super) async fn indexes(&mut self, tables: &[Table], may_install: bool) -> Result<()> {
        let indexes = self.valid_indexes().await?;
        let mut others: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for index in indexes.iter().filter(|index| index.method != "btree") {
            others.entry(&index.method).or_default().push(&index.name);
        }
        for (method, names) in others {
            let why = "PostgreSQL has no check for this kind of index";
            self.found.no_check(format!("{method} indexes {}", names.join(", ")), why);
        }
        let trees: Vec<&Index> = indexes.iter().filter(|index| index.method == "btree").collect();
        let borrowed = match self.installed().await? {
            Some(_) => false,
            None => may_install && self.borrow_checker().await,
        };
        match if borrowed { Some(BORROWED.to_owned()) } else { self.installed().await? } {
            Some(schema) => self.by_checker(&quoted(&schema), &trees, tables, borrowed).await?,
            None => self.by_counting(&trees, tables).await?,
        }
        if borrowed { self.set("rollback").await } else { Ok(()) }
    }

    async fn valid_indexes(&self) -> Result<Vec<Index>> {
        let sql = "select x.oid, n.nspname::text, x.relname::text, i.indrelid, m.amname::text, \
                   pg_catalog.pg_get_expr(i.indpred, i.indrelid), \
                   array(select pg_catalog.pg_get_indexdef(x.oid, k, false) from pg_catalog.generate_series(1, i.indnkeyatts::int) k), \
                   array(select i.indoption[k - 1]::int from pg_catalog.generate_series(1, i.indnkeyatts::int) k) \
                   from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid \
                   join pg_catalog.pg_class t on t.oid = i.indrelid join pg_catalog.pg_am m on m.oid = x.relam \
                   join pg_catalog.pg_namespace n on n.oid = x.relnamespace \
                   where x.relkind = 'i' and t.relkind in ('r', 'm') and i.indisvalid and i.indisready and i.indislive \
                   and n.nspname !~ '^pg_(toast|temp|catalog)' and n.nspname <> 'information_schema' order by 2, 3";
        let rows = self.query(sql, &[]).await?;
        Ok(rows
            .iter()
            .map(|row| {
                let (keys, options): (Vec<&str>, Vec<i32>) = (row.get(6), row.get(7));
                let direction = |option: i32| match option & 3 {
                    0 => "asc nulls last",
                    1 => "desc nulls last",
                    2 => "asc nulls first",
                    _ => "desc nulls first",
                };
                let order: Vec<String> =
                    keys.iter().zip(options).map(|(key, option)| format!("({key}) {}", direction(option))).collect();
                Index {
                    oid: row.get(0),
                    name: full_name(row.get(1), row.get(2)),
                    short: row.get(2),
                    table: row.get(3),
                    method: row.get(4),
                    predicate: row.get(5),
                    order: order.join(", "),
                }
            })
            .collect())
    }

    /// Returns the schema of amcheck where we may use it.
    async fn installed(&self) -> Result<Option<String>> {
        let sql = "select n.nspname::text from pg_catalog.pg_extension e \
                   join pg_catalog.pg_namespace n on n.oid = e.extnamespace \
                   join pg_catalog.pg_proc p on p.pronamespace = n.oid and p.proname = 'bt_index_check' and p.pronargs = 2 \
                   where e.extname = 'amcheck' and pg_catalog.has_function_privilege(p.oid, 'execute')";
        Ok(self.query(sql, &[]).await?.first().map(|row| row.get(0)))
    }

    /// Installs the checker in a transaction that is never committed. Event triggers must not see it.
    async fn borrow_checker(&self) -> bool {
        let sql = format!(
            "begin; set local session_replication_role = replica; create schema {BORROWED}; \
             create extension amcheck schema {BORROWED}; savepoint checked"
        );
        let borrowed = self.session.client().batch_execute(&sql).await.is_ok();
        if !borrowed {
            let _ = self.session.client().batch_execute("rollback").await; // there may be nothing to roll back
        }
        borrowed
    }

    async fn by_checker(&mut self, schema: &str, indexes: &[&Index], tables: &[Table], borrowed: bool) -> Result<()> {
        for index in indexes {
            let sql =
                format!("select pg_catalog.count({schema}.bt_index_check({}::oid::regclass, true)::text)", index.oid);
            let answer = self.guarded(&sql, borrowed).await?;
            let object = format!("INDEX {}", index.name);
            if let Err(Trouble::Broken(why)) = &answer {
                self.found.problem(&*object, format!("it disagrees with its table: {why}"));
            } else {
                self.note(&object, "agreement with its table", answer.map(|_| 0));
            }
        }
        if self.version < 140_000 {
            self.found.no_check("the pages of tables", "amcheck looks at them from PostgreSQL 14 on");
            return Ok(());
        }
        for table in tables {
            if !table.heap {
                self.found.no_check(format!("the pages of table {}", table.name), "they are of another access method");
                continue;
            }
            let sql = format!(
                "select pg_catalog.count(*) from {schema}.verify_heapam({}::oid::regclass, check_toast => true)",
                literal(&table.oid.to_string())
            );
            let answer = self.guarded(&sql, borrowed).await?;
            self.note(&format!("TABLE {}", table.name), "the form of its pages", answer);
        }
        Ok(())
    }

    /// In a transaction an error would end everything that follows.
    async fn guarded(&self, sql: &str, borrowed: bool) -> Result<Result<i64, Trouble>> {
        let answer = self.number(sql).await?;
        if borrowed && answer.is_err() {
            self.set("rollback to savepoint checked").await?;
        }
        Ok(answer)
    }

    /// Counts the entries of each index that the planner reads when it is asked for the index's own order.
    async fn by_counting(&mut self, indexes: &[&Index], tables: &[Table]) -> Result<()> {
        let mut unread = Vec::new();
        for index in indexes {
            let Some(table) = tables.iter().find(|table| table.oid == index.table) else { continue };
            // Both counts are of one moment, whatever is written meanwhile.
            self.set("begin isolation level repeatable read read only").await?;
            let answer = self.counted(index, table).await?;
            self.set("rollback").await?;
            match answer {
                Some(answer) => self.note(&format!("INDEX {}", index.name), "agreement with its table", answer),
                None => unread.push(index.name.as_str()),
            }
        }
        let why = "amcheck is not installed, so the entries were only counted";
        self.found.no_check("the order and the keys of btree indexes", why);
        if !unread.is_empty() {
            let why = "amcheck is not installed, and no query can be made to read them";
            self.found.no_check(format!("indexes {}", unread.join(", ")), why);
        }
        Ok(())
    }

    /// Returns by how many rows table and index disagree; nothing when the planner takes another way.
    async fn counted(&self, index: &Index, table: &Table) -> Result<Option<Result<i64, Trouble>>> {
        let only = index.predicate.as_deref().unwrap_or("true");
        let whole = format!("select pg_catalog.count(*) from only {} where {only}", table.sql);
        let rows = match self.number(&whole).await? {
            Ok(rows) => rows,
            Err(trouble) => return Ok(Some(Err(trouble))),
        };
        self.set(THROUGH_AN_INDEX).await?;
        let entries = format!("select from only {} where {only} order by {} offset 0", table.sql, index.order);
        let entries = format!("select pg_catalog.count(*) from ({entries}) entries");
        let plan = self.session.client().query(&format!("explain (costs off) {entries}"), &[]).await;
        let lines: Vec<String> = plan.iter().flatten().map(|line| line.get(0)).collect();
        let name = format!(" using {} on ", shown(&index.short));
        if !lines.iter().any(|line| line.contains(&name)) {
            return Ok(None);
        }
        Ok(Some(self.number(&entries).await?.map(|entries| (rows - entries).abs())))
    }
}

/// The one way that is left leads through an index.
const THROUGH_AN_INDEX: &str = "set local enable_seqscan = off; set local enable_sort = off; \
                                set local enable_indexscan = on; set local enable_indexonlyscan = on";
