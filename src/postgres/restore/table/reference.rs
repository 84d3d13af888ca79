//! The reference: the definitions of a backup in a database of their own, where the server tells what belongs to a table.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::card::{self, Card};
use crate::backups::Backup;
use crate::cleanup::Ledger;
use crate::error::{Error, Kind, Result};
use crate::postgres::copy::full_name;
use crate::postgres::restore::database::Scratch;
use crate::postgres::restore::survey::{Survey, Unit};
use crate::postgres::restore::{
    Checked, RestoreOptions, RestoreTarget, definitions, preflight, roles, selection, sessions, settings, tables,
};
use crate::postgres::{Access, Session, lexer};

/// What is of no use in the reference, or would act by itself.
const LEFT_OUT: [&str; 3] = ["SUBSCRIPTION", "EVENT TRIGGER", "MATERIALIZED VIEW DATA"];

/// What the backup says about one table.
pub(super) struct Reference {
    scratch: Scratch,
    /// The table's schema and name, as they are.
    pub(super) schema: String,
    pub(super) name: String,
    /// All that belongs to it besides its rows.
    pub(super) card: Card,
    /// Its sequences with their states.
    pub(super) sequences: BTreeMap<String, State>,
    /// The views and the like that use it.
    pub(super) users: Vec<String>,
}

/// A sequence's last value, and whether it was given out.
pub(super) type State = (i64, bool);

/// Refuses a table that is more or less than a plain one, for which one table is not the whole story.
pub(super) async fn refuse_unless_plain(session: &Session, number: u32, shown: &str) -> Result<()> {
    let sql = "select case when c.relkind = 'p' then 'it is partitioned' when c.relkind = 'f' then 'it is a foreign table' \
               when c.relkind <> 'r' then 'it is no table' when c.relispartition then 'it is a part of a partitioned table' \
               when c.reloftype <> 0 then 'it is made of a type' \
               when exists (select from pg_catalog.pg_inherits i where c.oid in (i.inhrelid, i.inhparent)) \
               then 'it inherits from another table or is inherited' \
               when exists (select from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'e') \
               then 'it belongs to an extension' end from pg_catalog.pg_class c where c.oid = $1";
    let row = session.client().query_one(sql, &[&number]).await;
    let row = row.map_err(|e| session.error("could not look at the table", &e))?;
    match row.get::<_, Option<&str>>(0) {
        None => Ok(()),
        Some(why) => Err(Error::new(Kind::Refused, format!("table {shown} is not restored alone: {why}"))
            .on(shown)
            .hint("restore the whole database beside with restore_beside, and copy the rows that are missing")),
    }
}

/// Returns the number of a table by its schema and name.
pub(super) async fn number(session: &Session, schema: &str, name: &str) -> Result<Option<u32>> {
    let sql = "select c.oid from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
               where n.nspname = $1 and c.relname = $2";
    let found = session.client().query_opt(sql, &[&schema, &name]).await;
    found.map(|row| row.map(|row| row.get(0))).map_err(|e| session.error("could not look for the table", &e))
}

/// Reads the states of sequences by their names as statements have them.
pub(super) async fn states(session: &Session, card: &Card) -> Result<BTreeMap<String, State>> {
    let mut states = BTreeMap::new();
    for name in card.values().filter(|entry| entry.kind.word == "sequence").map(|entry| &entry.name) {
        let row = session.client().query_one(&format!("select last_value, is_called from {name}"), &[]).await;
        let row = row.map_err(|e| session.error(format!("could not read sequence {name}"), &e))?;
        states.insert(name.clone(), (row.get(0), row.get(1)));
    }
    Ok(states)
}

impl Reference {
    /// Makes it beside the target.
    pub(super) async fn make(
        checked: &Checked,
        backup: &Backup,
        target: &RestoreTarget,
        options: &RestoreOptions,
        table: &str,
        ledger: &Arc<Ledger>,
    ) -> Result<Self> {
        let admin = Session::open(target.address(), Access::Writable).await?;
        let (identity, survey) = (admin.identity().await?, &checked.survey);
        let missing = preflight::needs(&admin, &identity, target, survey, backup.manifest(), options).await?;
        roles::create(&admin, &missing.roles, backup.manifest()).await?;
        let locale = settings::locale(backup.manifest(), options, &survey.preamble);
        let scratch = Scratch::create(target, &options.database, &locale, ledger).await?;
        match told(&scratch, survey, backup, table, identity.version_num).await {
            Ok((schema, name, card, sequences, users)) => Ok(Self { scratch, schema, name, card, sequences, users }),
            Err(error) => {
                let _ = scratch.remove().await; // a removal that failed is reported by the final drain
                Err(error)
            }
        }
    }

    /// Returns the table's full name for people.
    pub(super) fn shown(&self) -> String {
        full_name(Some(&self.schema), &self.name)
    }

    /// Returns the table's name for statements.
    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", lexer::quoted(&self.schema), lexer::quoted(&self.name))
    }

    /// Returns the entries of the dump that make the bare table, its sequences and its defaults.
    pub(super) fn units<'a>(&self, survey: &'a Survey) -> Vec<&'a Unit> {
        let plain = format!("{}.{}", self.schema, self.name);
        let sequences: Vec<String> = self.sequences.keys().map(|name| bare(name)).collect();
        let ours = |unit: &&Unit| {
            let Some(name) = unit.shown.strip_prefix(&unit.kind).map(str::trim_start) else { return false };
            match unit.kind.as_str() {
                "TABLE" => name == plain,
                "DEFAULT" => unit.tables().first().is_some_and(|table| *table == self.shown()),
                "SEQUENCE" | "SEQUENCE OWNED BY" => sequences.iter().any(|sequence| sequence == name),
                _ => false,
            }
        };
        survey.before.iter().filter(ours).collect()
    }

    /// Removes it.
    pub(super) async fn remove(self) -> Result<()> {
        self.scratch.remove().await
    }
}

/// Returns `schema.name` without quotes, as the dump's comments have it.
fn bare(quoted: &str) -> String {
    let tokens = lexer::tokens(quoted, false);
    tokens.iter().map(|(_, text)| if *text == "." { ".".to_owned() } else { lexer::unquoted(text) }).collect()
}

type Told = (String, String, Card, BTreeMap<String, State>, Vec<String>);

/// Makes the definitions and asks the server about the table.
async fn told(scratch: &Scratch, survey: &Survey, backup: &Backup, table: &str, version: u32) -> Result<Told> {
    let sessions = sessions(&scratch.address(), survey, 2).await?;
    let Some(session) = sessions.first() else { return Err(Error::new(Kind::Bug, "there is no session")) };
    let partial = backup.manifest().is_some_and(|manifest| !manifest.is_whole());
    if partial {
        selection::make_schemas(survey, session).await?;
    }
    definitions::in_order(&survey.before.iter().collect::<Vec<_>>(), session).await?;
    let (there, _) = tables(session).await?;
    let all: Vec<(String, ())> = there.iter().map(|name| (name.clone(), ())).collect();
    let found = selection::resolve(table, &all)?;
    let (schema, name) = parts(session, &found).await?;
    let states_made = session.client().batch_execute(&survey.sequences.join("\n")).await;
    states_made.map_err(|e| session.error("could not restore the states of the sequences", &e))?;
    let (mut after, dangling) = selection::split(&survey.after, partial.then_some(&there));
    if let Some(key) = dangling.iter().find(|key| key.contains(&format!(" {schema}.{name} "))) {
        return Err(Error::new(
            Kind::Refused,
            format!("the backup of some tables does not hold the other side of {key}"),
        )
        .on(found)
        .hint("restore the table from a backup of the whole database"));
    }
    after.retain(|unit| !LEFT_OUT.contains(&unit.kind.as_str()));
    definitions::after_data(&after, &survey.tables, &sessions).await?;

    let asking = Session::open(&scratch.address(), Access::ReadOnly).await?;
    let number = number(&asking, &schema, &name).await?;
    let number = number.ok_or_else(|| Error::new(Kind::Bug, format!("table {found} vanished")))?;
    refuse_unless_plain(&asking, number, &found).await?;
    let card = card::read(&asking, number, version).await?;
    let sequences = states(&asking, &card).await?;
    let users = "select distinct c.oid::pg_catalog.regclass::text from pg_catalog.pg_depend d \
                 join pg_catalog.pg_rewrite r on r.oid = d.objid join pg_catalog.pg_class c on c.oid = r.ev_class \
                 where d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and d.refobjid = $1 and c.oid <> $1";
    let users = asking.client().query(users, &[&number]).await;
    let users = users.map_err(|e| asking.error("could not ask who uses the table", &e))?;
    Ok((schema, name, card, sequences, users.iter().map(|row| row.get(0)).collect()))
}

/// Returns schema and name of a table by its full name.
async fn parts(session: &Session, full: &str) -> Result<(String, String)> {
    let sql = "select n.nspname::text, c.relname::text from pg_catalog.pg_class c \
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'f')";
    let rows = session.client().query(sql, &[]).await;
    let rows = rows.map_err(|e| session.error("could not list the tables", &e))?;
    let found = rows.iter().map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)));
    let mut found = found.filter(|(schema, name)| full_name(Some(schema), name) == full);
    found.next().ok_or_else(|| Error::new(Kind::Bug, format!("table {full} vanished")))
}
