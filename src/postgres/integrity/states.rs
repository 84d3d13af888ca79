//! What the catalogue itself says is not in force: invalid indexes, switched-off keys, outdated collations.

use super::{Check, full_name};
use crate::error::Result;

impl Check<'_> {
    /// Reads the states.
    pub(super) async fn states(&mut self) -> Result<()> {
        self.found.checks += 4;
        let indexes = "select n.nspname::text, x.relname::text, i.indisvalid, i.indisready from pg_catalog.pg_index i \
                       join pg_catalog.pg_class x on x.oid = i.indexrelid \
                       join pg_catalog.pg_namespace n on n.oid = x.relnamespace \
                       where not (i.indisvalid and i.indisready and i.indislive) and n.nspname !~ '^pg_temp' order by 1, 2";
        for row in self.query(indexes, &[]).await? {
            let what = match (row.get(2), row.get(3)) {
                (_, false) => "it is not ready: no new row is entered",
                (false, true) => "it is not valid: no query uses it, and a dump leaves it out",
                (true, true) => "it is being dropped",
            };
            self.found.problem(format!("INDEX {}", full_name(row.get(0), row.get(1))), what);
        }
        for row in self.query(PARTITIONS, &[]).await? {
            self.found.problem(
                format!("TABLE {}", full_name(row.get(0), row.get(1))),
                "it is a partition without bounds or table",
            );
        }
        for row in self.query(TRIGGERS, &[]).await? {
            let (constraint, there, off): (&str, i64, i64) = (row.get(2), row.get(3), row.get(4));
            let what = match off {
                0 => format!("FOREIGN KEY {constraint} is not enforced: it has {there} of its 4 triggers"),
                _ => format!("constraint {constraint} is not enforced: {off} of its triggers are switched off"),
            };
            self.found.problem(format!("TABLE {}", full_name(row.get(0), row.get(1))), what);
        }
        for row in self.query(COLLATIONS, &[]).await? {
            let what = format!(
                "it was recorded with version {}, the system has {}: indexes on such text may be in the wrong order",
                row.get::<_, &str>(2),
                row.get::<_, &str>(3)
            );
            self.found.problem(format!("COLLATION {}", full_name(row.get(0), row.get(1))), what);
        }
        if self.version >= 150_000 {
            for row in self.query(DATABASE, &[]).await? {
                let what = format!(
                    "its collation was recorded with version {}, the system has {}: indexes on text may be in the wrong order",
                    row.get::<_, &str>(0),
                    row.get::<_, &str>(1)
                );
                self.found.problem("DATABASE", what);
            }
        }
        Ok(())
    }
}

/// Tables that are partitions by half.
const PARTITIONS: &str = "select n.nspname::text, c.relname::text from pg_catalog.pg_class c \
     join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relispartition and c.relkind in ('r', 'p', 'f') \
     and (c.relpartbound is null or not exists (select from pg_catalog.pg_inherits where inhrelid = c.oid)) order by 1, 2";

/// Constraints whose triggers are switched off, and foreign keys between plain tables that lack one.
const TRIGGERS: &str = "select n.nspname::text, t.relname::text, c.conname::text, pg_catalog.count(g.oid), \
     pg_catalog.count(*) filter (where g.tgenabled in ('D', 'R')) from pg_catalog.pg_constraint c \
     join pg_catalog.pg_class t on t.oid = c.conrelid join pg_catalog.pg_namespace n on n.oid = t.relnamespace \
     left join pg_catalog.pg_class r on r.oid = c.confrelid \
     left join pg_catalog.pg_trigger g on g.tgconstraint = c.oid and g.tgisinternal \
     where c.contype in ('f', 'p', 'u', 'x') group by n.nspname, t.relname, c.oid, c.conname, c.contype, t.relkind, r.relkind \
     having pg_catalog.count(*) filter (where g.tgenabled in ('D', 'R')) > 0 \
     or c.contype = 'f' and c.conparentid = 0 and t.relkind = 'r' and r.relkind = 'r' and pg_catalog.count(g.oid) <> 4 \
     order by 1, 2, 3";

const COLLATIONS: &str = "select n.nspname::text, c.collname::text, c.collversion, \
     pg_catalog.pg_collation_actual_version(c.oid) from pg_catalog.pg_collation c \
     join pg_catalog.pg_namespace n on n.oid = c.collnamespace \
     where c.collversion <> pg_catalog.pg_collation_actual_version(c.oid) \
     and exists (select from pg_catalog.pg_attribute a where a.attcollation = c.oid and a.attrelid >= 16384) order by 1, 2";

const DATABASE: &str = "select datcollversion, pg_catalog.pg_database_collation_actual_version(oid) \
     from pg_catalog.pg_database where datname = pg_catalog.current_database() \
     and datcollversion <> pg_catalog.pg_database_collation_actual_version(oid)";
