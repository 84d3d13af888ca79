//! The transaction that brings a table back: what differs goes, rows are loaded, what is missing is made, all is proven.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use super::card::{self, Card, Change, Entry, INCOMING, differences, rank};
use super::others::{self, Others};
use super::reference::{self, Reference};
use super::rows::{self, Content};
use super::{Made, TableOptions};
use crate::backups::Backup;
use crate::cleanup::Ledger;
use crate::error::{Error, Kind, Result};
use crate::postgres::copy::full_name;
use crate::postgres::restore::database::beside;
use crate::postgres::restore::{Checked, RestoreTarget, definitions};
use crate::postgres::{Session, lexer};

/// How long the transaction waits for somebody else's lock. While it waits, others wait behind it.
const LOCK_WAIT: &str = "30s";

/// All that the transaction needs.
pub(super) struct Work<'a> {
    pub(super) checked: &'a Checked,
    pub(super) reference: &'a Reference,
    pub(super) backup: &'a Backup,
    pub(super) target: &'a RestoreTarget,
    pub(super) options: &'a TableOptions,
    pub(super) session: &'a Session,
    pub(super) ledger: &'a Arc<Ledger>,
    pub(super) version: u32,
}

impl Work<'_> {
    /// Does everything but the commit.
    pub(super) async fn run(&self) -> Result<Made> {
        self.begin().await?;
        let old = self.number().await?;
        // Before the locks: what somebody changes while we wait for them is a change during the restore as well.
        let watched = !self.options.others_may_change;
        let before = others::read(self.session, old.unwrap_or(0), 0, watched).await?;
        let found = match old {
            Some(old) => self.existing(old).await?,
            None => Card::new(),
        };
        let (wanted, left_out) = self.wanted(&found).await?;
        let mended = if old.is_some() { named(&differences(&wanted, &found)) } else { Vec::new() };
        let shape = differences(&only_shape(&wanted), &only_shape(&found));
        let kept = match old {
            Some(old) if self.options.keeps_replaced() => Some(self.keep(old).await?),
            _ => None,
        };
        if old.is_some() {
            self.clear(&wanted, &found, &shape).await?;
        }
        if old.is_none() || !shape.is_empty() {
            self.create().await?;
        }
        let number = self.number().await?.ok_or_else(|| Error::new(Kind::Bug, "the table was not made"))?;
        let last_before_rows = rank("constraint");
        self.make(&wanted, number, 0..last_before_rows).await?;
        let (content, columns) =
            rows::load(self.checked, &self.shown(), self.session, self.target.container(), self.ledger).await?;
        self.make(&wanted, number, last_before_rows..usize::MAX).await?;
        self.settle(&wanted, number).await?;
        self.prove_table(&wanted, number, &content, &columns).await?;
        let copy = match &kept {
            Some(kept) => reference::number(self.session, &self.reference.schema, kept).await?.unwrap_or(0),
            None => 0,
        };
        let after = others::read(self.session, number, copy, watched).await?;
        self.prove_others(&before, &after)?;
        let replaced = kept.map(|kept| full_name(Some(&self.reference.schema), &kept));
        let lost = self.lost().await?;
        let (table, rows, compared) = (self.shown(), content.rows, after.len());
        Ok(Made { table, rows, created: old.is_none(), replaced, mended, left_out, lost, compared })
    }

    fn shown(&self) -> String {
        self.reference.shown()
    }

    async fn number(&self) -> Result<Option<u32>> {
        reference::number(self.session, &self.reference.schema, &self.reference.name).await
    }

    async fn execute(&self, sql: &str, what: impl Fn() -> String) -> Result<()> {
        let done = self.session.client().batch_execute(sql).await;
        done.map_err(|e| self.refused(what(), &e))
    }

    fn refused(&self, what: String, error: &tokio_postgres::Error) -> Error {
        let made = self.session.error(what, error);
        match error.code() {
            Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => made
                .hint(format!("somebody held a lock for {LOCK_WAIT}; end that session or wait, nothing was changed"))
                .retryable(),
            Some(code) if *code == SqlState::FOREIGN_KEY_VIOLATION => made.hint(
                "rows of the two tables do not fit together any more; restore both from one backup, nothing was changed",
            ),
            _ => made,
        }
    }

    async fn begin(&self) -> Result<()> {
        // A server that works for nobody any more must notice it: it holds locks.
        let notice = if self.version >= 140_000 { "; SET LOCAL client_connection_check_interval = '2s'" } else { "" };
        let sql = format!("BEGIN; SET LOCAL lock_timeout = '{LOCK_WAIT}'; SET LOCAL row_security = off{notice}");
        self.execute(&sql, || "could not begin the restore".into()).await
    }

    /// Locks a table that is there with those that its keys lead to and come from, and reads its card.
    async fn existing(&self, number: u32) -> Result<Card> {
        let shown = self.shown();
        if !self.options.replace {
            return Err(Error::new(Kind::Refused, format!("table {shown} exists already"))
                .on(shown)
                .hint("pass replace: true to bring it back to what the backup holds"));
        }
        reference::refuse_unless_plain(self.session, number, &shown).await?;
        let sql = "select distinct r.oid::pg_catalog.regclass::text, r.oid <> $1 from pg_catalog.pg_constraint c, \
                   lateral (values (c.conrelid), (c.confrelid)) r(oid) \
                   where c.contype = 'f' and $1 in (c.conrelid, c.confrelid) order by 2, 1";
        let others = self.session.client().query(sql, &[&number]).await;
        let others = others.map_err(|e| self.session.error("could not list the foreign keys", &e))?;
        let mut names = vec![self.reference.quoted()];
        names.extend(others.iter().filter(|row| row.get(1)).map(|row| row.get::<_, String>(0)));
        let sql = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", names.join(", "));
        self.execute(&sql, || format!("could not lock table {shown} and those that it refers to")).await?;
        card::read(self.session, number, self.version).await
    }

    /// Returns what the table shall have: what the backup has, and the keys by which other tables refer to it now. Those
    /// of the backup whose table is not there are left out.
    async fn wanted(&self, found: &Card) -> Result<(Card, Vec<String>)> {
        let (mut wanted, mut left_out) = (Card::new(), Vec::new());
        for (key, entry) in &self.reference.card {
            let referring =
                entry.name.rsplit_once(" of ").map(|(_, table)| table).filter(|_| entry.kind.word == INCOMING);
            match referring {
                Some(table) if !self.is_there(table).await? => left_out.push(entry.shown()),
                _ => drop(wanted.insert(key.clone(), entry.clone())),
            }
        }
        let live = found.iter().filter(|(_, entry)| entry.kind.word == INCOMING);
        wanted.extend(live.map(|(key, entry)| (key.clone(), entry.clone())));
        Ok((wanted, left_out))
    }

    async fn is_there(&self, name: &str) -> Result<bool> {
        let found = self.session.client().query_one("select pg_catalog.to_regclass($1) is not null", &[&name]).await;
        found.map(|row| row.get(0)).map_err(|e| self.session.error(format!("could not look for {name}"), &e))
    }

    /// Copies the rows that make room into a table that only the owner may read: no policy guards it.
    async fn keep(&self, number: u32) -> Result<String> {
        let name = beside(&self.reference.name, "before", self.ledger.run());
        let (table, copy) =
            (self.reference.quoted(), format!("{}.{}", lexer::quoted(&self.reference.schema), lexer::quoted(&name)));
        let owner = "select r.rolname::text from pg_catalog.pg_class c join pg_catalog.pg_roles r on r.oid = c.relowner \
                     where c.oid = $1";
        let owner = self.session.client().query_one(owner, &[&number]).await;
        let owner: String = owner.map_err(|e| self.session.error("could not ask for the owner", &e))?.get(0);
        let sql = format!(
            "CREATE TABLE {copy} AS SELECT * FROM ONLY {table}; ALTER TABLE {copy} OWNER TO {}",
            lexer::quoted(&owner)
        );
        self.execute(&sql, || format!("could not keep what {} holds", self.shown())).await?;
        let made = reference::number(self.session, &self.reference.schema, &name).await?.unwrap_or(0);
        let card = card::read(self.session, made, self.version).await?;
        let grants: Vec<&Entry> = card.values().filter(|entry| entry.kind.word == "grants").collect();
        for entry in grants {
            self.execute(&entry.unmake, || format!("could not keep {name} to its owner")).await?;
        }
        Ok(name)
    }

    /// Takes away what is not as it shall be, and the rows. A table of another shape goes altogether.
    async fn clear(&self, wanted: &Card, found: &Card, shape: &[String]) -> Result<()> {
        for (key, entry) in found.iter().rev() {
            let same = wanted.get(key).is_some_and(|other| other.value == entry.value);
            let goes = match entry.kind.change {
                Change::Always => true,
                // A deferred check is made by triggers at the end; a key that is made anew is checked at once.
                Change::Remake => !same || entry.value.contains(" DEFERRABLE") || !shape.is_empty(),
                Change::Set | Change::Shape => false,
            };
            // What goes with the table need not go before it.
            if goes && (shape.is_empty() || entry.kind.word == INCOMING) {
                self.execute(&entry.unmake, || format!("could not take away {}", entry.shown())).await?;
            }
        }
        let table = self.reference.quoted();
        if shape.is_empty() {
            return self.execute(&format!("TRUNCATE TABLE ONLY {table}"), || "could not empty the table".into()).await;
        }
        let dropped = self.session.client().batch_execute(&format!("DROP TABLE {table}")).await;
        dropped.map_err(|e| {
            let made = self.refused(format!("table {} has another shape than in the backup", self.shown()), &e);
            if e.code() != Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) {
                return made;
            }
            let told =
                Error::new(Kind::Refused, format!("table {} has another shape than in the backup", self.shown()))
                    .on(self.shown())
                    .caused_by(shape.join("; "));
            told.caused_by_error(made).hint("drop what depends on it, restore the table, and make it again")
        })
    }

    /// Makes the bare table.
    async fn create(&self) -> Result<()> {
        for unit in self.reference.units(&self.checked.survey) {
            definitions::one(unit, self.session).await?;
        }
        let reset = "RESET default_tablespace; RESET default_table_access_method";
        self.execute(reset, || "could not reset the session".into()).await
    }

    /// Makes what is missing or differs, of some kinds.
    async fn make(&self, wanted: &Card, number: u32, ranks: std::ops::Range<usize>) -> Result<()> {
        let now = card::read(self.session, number, self.version).await?;
        for (key, entry) in wanted.iter().filter(|((rank, _), _)| ranks.contains(rank)) {
            let there = now.get(key);
            if entry.make.is_empty() || there.is_some_and(|there| there.value == entry.value) {
                continue;
            }
            let unmake = there.filter(|there| there.kind.change != Change::Set).map(|there| there.unmake.as_str());
            let sql = format!("{}; {}", unmake.unwrap_or_default(), entry.make);
            self.execute(&sql, || format!("could not restore {} of {}", entry.shown(), self.shown())).await?;
        }
        Ok(())
    }

    /// Gives the sequences their states, and takes those away that the backup does not have.
    async fn settle(&self, wanted: &Card, number: u32) -> Result<()> {
        for (name, (last, called)) in &self.reference.sequences {
            // RESTART gives the sequence a file of this transaction, so that what setval does can be taken back.
            let literal = lexer::literal(name);
            let sql = format!(
                "ALTER SEQUENCE {name} RESTART WITH {last}; \
                 SELECT pg_catalog.setval({literal}::pg_catalog.regclass, {last}, {called})"
            );
            self.execute(&sql, || format!("could not restore the state of sequence {name}")).await?;
        }
        let now = card::read(self.session, number, self.version).await?;
        for (_, extra) in now.iter().filter(|(key, e)| e.kind.word == "sequence" && !wanted.contains_key(*key)) {
            self.execute(&extra.unmake, || format!("could not take away {}", extra.shown())).await?;
        }
        let sql = format!("SET CONSTRAINTS ALL IMMEDIATE; ANALYZE {}", self.reference.quoted());
        self.execute(&sql, || "could not check what was put off".into()).await
    }

    /// The table must be what the backup holds.
    async fn prove_table(&self, wanted: &Card, number: u32, loaded: &Content, columns: &str) -> Result<()> {
        let mut wrong = differences(wanted, &card::read(self.session, number, self.version).await?);
        let states = reference::states(self.session, wanted).await?;
        if states != self.reference.sequences {
            wrong.push("the state of a sequence".into());
        }
        let stored = rows::stored(self.session, &self.reference.quoted(), columns).await?;
        if stored != *loaded {
            wrong.push(format!(
                "{} rows were loaded and {} are there, or one of them differs",
                loaded.rows, stored.rows
            ));
        }
        let told = self.backup.manifest().and_then(|manifest| manifest.fingerprint.tables.get(&self.shown()));
        if told.is_some_and(|told| (told.rows, told.sum) != (stored.rows, stored.sum)) {
            wrong.push("the rows are not those that the manifest speaks of".into());
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            Kind::Database,
            format!("table {} did not come back as it was saved; nothing was changed", self.shown()),
        )
        .on(self.shown())
        .caused_by(wrong.join("; ")))
    }

    /// Everything else must be what it was.
    fn prove_others(&self, before: &Others, after: &Others) -> Result<()> {
        let changed = others::changed(before, after);
        if changed.is_empty() {
            return Ok(());
        }
        let sentence = format!("something else changed while {} was restored; nothing was restored", self.shown());
        Err(Error::new(Kind::Refused, sentence).on(self.shown()).caused_by(changed.join("; ")).hint(
            "stop what writes to the database and restore again; or pass others: \"structure\", which looks at the objects \
             and not at the rows of other tables",
        ))
    }

    /// Returns what used the table when it was saved and is not there.
    async fn lost(&self) -> Result<Vec<String>> {
        let mut lost = Vec::new();
        for name in &self.reference.users {
            if !self.is_there(name).await? {
                lost.push(name.clone());
            }
        }
        Ok(lost)
    }
}

/// Returns differences without their values, which may be long.
fn named(differences: &[String]) -> Vec<String> {
    let short = |text: &String| match text.split_once(": expected `") {
        Some((name, _)) => format!("{name} differs"),
        None => text.clone(),
    };
    differences.iter().map(short).collect()
}

fn only_shape(card: &Card) -> Card {
    card.iter().filter(|(_, e)| e.kind.change == Change::Shape).map(|(k, e)| (k.clone(), e.clone())).collect()
}
