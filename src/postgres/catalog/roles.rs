//! The roles that a database's objects name: their attributes, settings, memberships and rights on parameters.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use ring::hmac;
use ring::rand::SystemRandom;
use tokio_postgres::{Error, Row};

use super::{Snapshot, labels, setting};
use crate::compare::{Aspect, Fingerprint};
use crate::error::{Kind, Result};
use crate::postgres::lexer::quoted;

/// The named roles and those that they are members of.
const CLOSURE: &str = "with recursive named(oid) as ( \
     select oid from pg_catalog.pg_roles where rolname::text = any($1) \
     union select m.roleid from pg_catalog.pg_auth_members m join named n on n.oid = m.member) ";

/// Adds what makes the roles and those that they are members of. PostgreSQL's own roles, which start with `pg_`, are the
/// same everywhere. Of the one that initdb made only the attributes count: its settings, comment and password are the
/// server's. With `passwords`, eight digits of a keyed digest tell whether the stored verifiers are the same.
pub(in crate::postgres) async fn roles(
    snapshot: &Snapshot,
    named: &BTreeSet<String>,
    passwords: bool,
    print: &mut Fingerprint,
) -> Result<()> {
    let names: Vec<&str> = named.iter().map(String::as_str).collect();
    let names = names.as_slice();
    attributes(snapshot, names, print).await?;
    memberships(snapshot, names, print).await?;
    if snapshot.identity().version_num >= 150_000 {
        parameters(snapshot, names, print).await?;
    }
    labels(snapshot, print, "pg_catalog.pg_authid", "c.rolname::text = any($1)", Some(names)).await?;
    if passwords {
        verifiers(snapshot, names, print).await?;
    }
    Ok(())
}

async fn attributes(snapshot: &Snapshot, names: &[&str], print: &mut Fingerprint) -> Result<()> {
    let sql = format!(
        "{CLOSURE} select r.rolname::text, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, \
         r.rolreplication, r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil::text, coalesce(s.setconfig, '{{}}'), \
         pg_catalog.shobj_description(r.oid, 'pg_authid'), r.oid = 10::oid \
         from pg_catalog.pg_roles r join named n on n.oid = r.oid \
         left join pg_catalog.pg_db_role_setting s on s.setrole = r.oid and s.setdatabase = 0 \
         where r.rolname !~ '^pg_'"
    );
    for row in query(snapshot, &sql, names).await? {
        let object = format!("ROLE {}", row.get::<_, &str>(0));
        print.add(Aspect::Role, &*object, words(&row));
        if row.get(12) {
            continue;
        }
        for text in row.get::<_, Vec<&str>>(10) {
            print.add(Aspect::Role, &*object, setting(text));
        }
        if let Some(comment) = row.get::<_, Option<&str>>(11) {
            print.add(Aspect::Comment, &*object, comment);
        }
    }
    Ok(())
}

async fn memberships(snapshot: &Snapshot, names: &[&str], print: &mut Fingerprint) -> Result<()> {
    let sql = format!(
        "{CLOSURE} select distinct r.rolname::text, g.rolname::text, m.admin_option \
         from pg_catalog.pg_auth_members m join named n on n.oid = m.member \
         join pg_catalog.pg_roles r on r.oid = m.member join pg_catalog.pg_roles g on g.oid = m.roleid \
         where r.rolname !~ '^pg_'"
    );
    for row in query(snapshot, &sql, names).await? {
        let option = if row.get(2) { " WITH ADMIN OPTION" } else { "" };
        let value = format!("GRANT {} TO IT{option}", quoted(row.get(1)));
        print.add(Aspect::Role, format!("ROLE {}", row.get::<_, &str>(0)), value);
    }
    Ok(())
}

async fn parameters(snapshot: &Snapshot, names: &[&str], print: &mut Fingerprint) -> Result<()> {
    let sql = format!(
        "{CLOSURE} select r.rolname::text, a.privilege_type, a.is_grantable, p.parname from pg_catalog.pg_parameter_acl p \
         cross join pg_catalog.aclexplode(p.paracl) a join named n on n.oid = a.grantee \
         join pg_catalog.pg_roles r on r.oid = a.grantee where r.oid <> 10::oid"
    );
    for row in query(snapshot, &sql, names).await? {
        let option = if row.get(2) { " WITH GRANT OPTION" } else { "" };
        let (privilege, parameter): (&str, &str) = (row.get(1), row.get(3));
        let value = format!("GRANT {privilege} ON PARAMETER {parameter} TO IT{option}");
        print.add(Aspect::Grants, format!("ROLE {}", row.get::<_, &str>(0)), value);
    }
    Ok(())
}

async fn verifiers(snapshot: &Snapshot, names: &[&str], print: &mut Fingerprint) -> Result<()> {
    let sql = format!(
        "{CLOSURE} select r.rolname::text, r.rolpassword from pg_catalog.pg_authid r join named n on n.oid = r.oid \
         where r.rolname !~ '^pg_' and r.oid <> 10::oid"
    );
    for row in query(snapshot, &sql, names).await? {
        let value = match row.get::<_, Option<&str>>(1) {
            None => "PASSWORD none".to_owned(),
            Some(verifier) => {
                let tag = hmac::sign(key()?, verifier.as_bytes());
                tag.as_ref()[..4].iter().fold("PASSWORD masked ".to_owned(), |text, byte| format!("{text}{byte:02x}"))
            }
        };
        print.add(Aspect::Undumped, format!("ROLE {}", row.get::<_, &str>(0)), value);
    }
    Ok(())
}

/// Returns a key that only this process has. Without one, whoever reads a report could try guesses of the password
/// against the digits.
fn key() -> Result<&'static hmac::Key> {
    static KEY: OnceLock<Option<hmac::Key>> = OnceLock::new();
    let key = KEY.get_or_init(|| hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok());
    key.as_ref().ok_or_else(|| {
        crate::error::Error::new(Kind::Io, "the system gives no random numbers to compare passwords with")
    })
}

/// Returns a role's attributes as CREATE ROLE takes them.
fn words(row: &Row) -> String {
    const FLAGS: [&str; 7] = ["SUPERUSER", "INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS"];
    let mut words: Vec<String> =
        (1..).zip(FLAGS).map(|(i, flag)| format!("{}{flag}", if row.get(i) { "" } else { "NO" })).collect();
    let is_first: bool = row.get(12);
    words.push(format!("CONNECTION LIMIT {}", if is_first { -1 } else { row.get::<_, i32>(8) }));
    if let Some(until) = row.get::<_, Option<&str>>(9).filter(|_| !is_first) {
        words.push(format!("VALID UNTIL '{until}'"));
    }
    words.join(" ")
}

async fn query(snapshot: &Snapshot, sql: &str, names: &[&str]) -> Result<Vec<Row>> {
    let session = snapshot.session();
    let failed = |e: Error| session.error("could not read the roles", &e);
    session.client().query(sql, &[&names]).await.map_err(failed)
}
