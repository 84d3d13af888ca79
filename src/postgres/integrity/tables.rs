//! The rules that each row keeps or breaks by itself: checks, NOT NULL, domains, generated columns, partition bounds.

use std::collections::BTreeMap;

use super::domains::Domains;
use super::{Check, Table};
use crate::error::Result;
use crate::postgres::lexer::quoted;

/// A statement has 1,664 columns at most.
const AT_ONCE: usize = 500;

const BOUNDS: &str = "the bounds of the partition";

/// A rule of one table.
pub(super) struct Rule {
    /// For people: `CHECK a_less_b`.
    pub shown: String,
    /// True for rows that break it.
    pub broken: String,
}

impl Check<'_> {
    /// Reads each table once and counts the rows that break its rules.
    pub(super) async fn rows(&mut self, tables: &[Table]) -> Result<()> {
        let domains = Domains::read(self).await?;
        let mut rules = self.checks().await?;
        self.columns(&domains, &mut rules).await?;
        for table in tables {
            let mut rules = rules.remove(&table.oid).unwrap_or_default();
            if table.is_partition {
                match self.bounds(table).await? {
                    Ok(Some(bound)) => rules.push(Rule { shown: BOUNDS.into(), broken: format!("not ({bound})") }),
                    Ok(None) => {}
                    Err(trouble) => self.note(&format!("TABLE {}", table.name), BOUNDS, Err(trouble)),
                }
            }
            self.table(table, &rules).await?;
        }
        Ok(())
    }

    async fn checks(&mut self) -> Result<BTreeMap<u32, Vec<Rule>>> {
        let enforced = if self.version >= 180_000 { "conenforced" } else { "true" };
        let sql = format!(
            "select c.conrelid, c.conname::text, pg_catalog.pg_get_expr(c.conbin, c.conrelid), c.convalidated, \
             c.conrelid::pg_catalog.regclass::text from pg_catalog.pg_constraint c \
             join pg_catalog.pg_class t on t.oid = c.conrelid \
             where c.contype = 'c' and t.relkind = 'r' and {enforced}"
        );
        let mut rules: BTreeMap<u32, Vec<Rule>> = BTreeMap::new();
        for row in self.query(&sql, &[]).await? {
            let (name, condition, valid): (&str, &str, bool) = (row.get(1), row.get(2), row.get(3));
            if !valid {
                let table: &str = row.get(4);
                self.found.no_check(format!("CHECK {name} of {table}"), "it is declared NOT VALID");
                continue;
            }
            let rule = Rule { shown: format!("CHECK {name}"), broken: format!("not ({condition})") };
            rules.entry(row.get(0)).or_default().push(rule);
        }
        Ok(rules)
    }

    /// Adds the rules of columns. A composite value of NULLs is no NULL, so IS NULL would be wrong.
    async fn columns(&mut self, domains: &Domains, rules: &mut BTreeMap<u32, Vec<Rule>>) -> Result<()> {
        let sql = "select a.attrelid, a.attname::text, a.attnotnull, a.atttypid, \
                   case when a.attgenerated = 's' then pg_catalog.pg_get_expr(d.adbin, d.adrelid) end, \
                   pg_catalog.format_type(a.atttypid, a.atttypmod) from pg_catalog.pg_attribute a \
                   join pg_catalog.pg_class t on t.oid = a.attrelid \
                   left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
                   where t.relkind = 'r' and a.attnum > 0 and not a.attisdropped order by 1, a.attnum";
        for row in self.query(sql, &[]).await? {
            let (name, kind): (&str, u32) = (row.get(1), row.get(3));
            let column = quoted(name);
            let rules = rules.entry(row.get(0)).or_default();
            if row.get(2) {
                let broken = format!("{column} is not distinct from null");
                rules.push(Rule { shown: format!("NOT NULL of {name}"), broken });
            }
            if let Some(expression) = row.get::<_, Option<&str>>(4) {
                // Equal values may be different texts (1.50 and 1.5), and some types have no equality at all.
                let of_type: &str = row.get(5);
                let broken = format!("({column})::text is distinct from (({expression})::{of_type})::text");
                rules.push(Rule { shown: format!("GENERATED of {name}"), broken });
            }
            rules.extend(domains.rules(&column, kind).into_iter().map(|mut rule| {
                rule.shown = format!("{} in {name}", rule.shown);
                rule
            }));
        }
        Ok(())
    }

    async fn table(&mut self, table: &Table, rules: &[Rule]) -> Result<()> {
        let object =
            format!("{} {}", if table.kind == b'm'.cast_signed() { "MATERIALIZED VIEW" } else { "TABLE" }, table.name);
        let mut whole = true;
        for rules in rules.chunks(AT_ONCE).chain(rules.is_empty().then_some(rules)) {
            match self.numbers(&counting(table, rules)).await? {
                Ok(numbers) => {
                    table.rows.set(Some(numbers[0]));
                    for (rule, broken) in rules.iter().zip(&numbers[1..]) {
                        self.note(&object, &rule.shown, Ok(*broken));
                    }
                }
                // One of them cannot be evaluated: which one, each tells by itself.
                Err(_) => {
                    whole = false;
                    for rule in rules {
                        let answer = self.numbers(&counting(table, std::slice::from_ref(rule))).await?;
                        self.note(&object, &rule.shown, answer.map(|numbers| numbers[1]));
                    }
                }
            }
        }
        if !whole {
            let answer = self.number(&counting(table, &[])).await?;
            table.rows.set(answer.as_ref().ok().copied());
            self.note(&object, "reading", answer.map(|_| 0));
        }
        let rows = table.rows.get().unwrap_or_default().unsigned_abs();
        self.found.tables += 1;
        self.found.rows += rows;
        self.progress.add(rows);
        Ok(())
    }
}

fn counting(table: &Table, rules: &[Rule]) -> String {
    let mut sql = "select pg_catalog.count(*)".to_owned();
    for rule in rules {
        sql.push_str(&format!(", pg_catalog.count(*) filter (where {})", rule.broken));
    }
    format!("{sql} from only {}", table.sql)
}
