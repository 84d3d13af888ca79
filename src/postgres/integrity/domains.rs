//! The rules of domains, wherever a column holds a value of one: by itself, in an array, in a composite value.

use std::collections::BTreeMap;

use super::Check;
use super::tables::Rule;
use crate::error::Result;
use crate::postgres::lexer::quoted;

/// Types do not nest deeper than anybody reads.
const DEEPEST: u32 = 8;

/// The types that a value of a domain may stand in.
pub(super) struct Domains(BTreeMap<u32, Kind>);

enum Kind {
    Domain {
        name: String,
        /// The type that it is a domain of, which may be a domain.
        over: u32,
        /// The type that its values have in the end.
        base: u32,
        base_sql: String,
        not_null: bool,
        checks: Vec<(String, String)>,
    },
    Array(u32),
    Composite(Vec<(String, u32)>),
}

impl Domains {
    pub(super) async fn read(check: &mut Check<'_>) -> Result<Self> {
        let mut kinds = BTreeMap::new();
        let arrays = "select oid, typelem from pg_catalog.pg_type where typelem <> 0 and typlen = -1";
        for row in check.query(arrays, &[]).await? {
            kinds.insert(row.get(0), Kind::Array(row.get(1)));
        }
        let composites = "select t.oid, a.attname::text, a.atttypid from pg_catalog.pg_type t \
                          join pg_catalog.pg_attribute a on a.attrelid = t.typrelid \
                          where t.typtype = 'c' and t.oid >= 16384 and a.attnum > 0 and not a.attisdropped \
                          order by t.oid, a.attnum";
        for row in check.query(composites, &[]).await? {
            let kind = kinds.entry(row.get(0)).or_insert(Kind::Composite(Vec::new()));
            if let Kind::Composite(fields) = kind {
                fields.push((row.get(1), row.get(2)));
            }
        }
        for row in check.query(DOMAINS, &[]).await? {
            let (name, over, base) = (row.get(1), row.get(5), row.get(2));
            let (base_sql, not_null) = (row.get(3), row.get(4));
            kinds.insert(row.get(0), Kind::Domain { name, over, base, base_sql, not_null, checks: Vec::new() });
        }
        let checks = "select contypid, conname::text, pg_catalog.pg_get_expr(conbin, 0), convalidated, \
                      contypid::pg_catalog.regtype::text from pg_catalog.pg_constraint \
                      where contypid <> 0 and contype = 'c' order by 1, 2";
        for row in check.query(checks, &[]).await? {
            if !row.get::<_, bool>(3) {
                let what = format!("CHECK {} of DOMAIN {}", row.get::<_, &str>(1), row.get::<_, &str>(4));
                check.found.no_check(what, "it is declared NOT VALID");
            } else if let Some(Kind::Domain { checks, .. }) = kinds.get_mut(&row.get(0)) {
                checks.push((row.get(1), row.get(2)));
            }
        }
        Ok(Self(kinds))
    }

    /// Returns the rules that a value of a type must keep.
    pub(super) fn rules(&self, value: &str, kind: u32) -> Vec<Rule> {
        let mut rules = Vec::new();
        self.collect(value, kind, 0, &mut rules);
        rules
    }

    fn collect(&self, value: &str, kind: u32, depth: u32, rules: &mut Vec<Rule>) {
        if depth > DEEPEST {
            return;
        }
        match self.0.get(&kind) {
            None => {}
            Some(Kind::Domain { name, over, base, base_sql, not_null, checks }) => {
                let based = format!("({value})::{base_sql}");
                if *not_null {
                    let broken = format!("{value} is not distinct from null");
                    rules.push(Rule { shown: format!("NOT NULL of DOMAIN {name}"), broken });
                }
                for (check, condition) in checks {
                    let broken = format!("exists (select from (select {based} as value) v where not ({condition}))");
                    rules.push(Rule { shown: format!("CHECK {check} of DOMAIN {name}"), broken });
                }
                // A domain over a domain has the rules of both.
                let next = if over == base { based.as_str() } else { value };
                self.collect(next, *over, depth + 1, rules);
            }
            Some(Kind::Composite(fields)) => {
                for (field, kind) in fields {
                    let mut inner = Vec::new();
                    self.collect(&format!("({value}).{}", quoted(field)), *kind, depth + 1, &mut inner);
                    // A value that is NULL has no fields.
                    rules.extend(inner.into_iter().map(|rule| Rule {
                        broken: format!("(({value}) is distinct from null and {})", rule.broken),
                        ..rule
                    }));
                }
            }
            Some(Kind::Array(element)) => {
                let item = format!("u{depth}");
                // A function that returns rows gives their fields as columns: the row is named by the table.
                let one = if matches!(self.0.get(element), Some(Kind::Composite(_))) {
                    item.clone()
                } else {
                    format!("{item}.x")
                };
                let list = if one == item { item.clone() } else { format!("{item}(x)") };
                let mut inner = Vec::new();
                self.collect(&one, *element, depth + 1, &mut inner);
                rules.extend(inner.into_iter().map(|rule| Rule {
                    broken: format!("exists (select from pg_catalog.unnest({value}) as {list} where {})", rule.broken),
                    ..rule
                }));
            }
        }
    }
}

/// The domains with the type that each is one of in the end: a cast to anything in between would check it.
const DOMAINS: &str = "with recursive up(oid, base, typmod, level) as ( \
     select oid, typbasetype, typtypmod, 1 from pg_catalog.pg_type where typtype = 'd' \
     union all select u.oid, t.typbasetype, t.typtypmod, u.level + 1 from up u \
     join pg_catalog.pg_type t on t.oid = u.base where t.typtype = 'd') \
     select distinct on (t.oid) t.oid, t.oid::pg_catalog.regtype::text, u.base, \
     pg_catalog.format_type(u.base, u.typmod), t.typnotnull, t.typbasetype \
     from up u join pg_catalog.pg_type t on t.oid = u.oid order by t.oid, u.level desc";
