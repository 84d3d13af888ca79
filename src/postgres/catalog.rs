//! What a database is beside its objects, which pg_dump leaves out: its properties, settings, grants, extensions' versions
//! and the roles that its objects name.
//!
//! The values are written as the SQL that would bring them about, without the database's name, which may differ. Nothing
//! here is a secret: passwords of roles are never read.

use std::collections::BTreeSet;

use tokio_postgres::Row;

use super::lexer::quoted;
use super::snapshot::Snapshot;
use crate::compare::{Aspect, Fingerprint, Item};
use crate::error::Result;

/// The object under which the database's own properties stand.
const DATABASE: &str = "DATABASE";

/// Adds the database's properties and extensions, and to `named` the roles that own it or have a say in it.
pub(super) async fn database(snapshot: &Snapshot, print: &mut Fingerprint, named: &mut BTreeSet<String>) -> Result<()> {
    properties(snapshot, print, named).await?;
    for row in rows(
        snapshot,
        "select coalesce(r.rolname::text, ''), s.setting from pg_catalog.pg_db_role_setting x \
         join pg_catalog.pg_database d on d.oid = x.setdatabase and d.datname = pg_catalog.current_database() \
         left join pg_catalog.pg_roles r on r.oid = x.setrole, unnest(x.setconfig) s(setting)",
    )
    .await?
    {
        let role: String = row.get(0);
        let object = if role.is_empty() { DATABASE.to_owned() } else { format!("ROLE {role} IN DATABASE") };
        print.add(Aspect::Property, object, setting(row.get(1)));
        named.extend(Some(role).filter(|role| !role.is_empty()));
    }
    for row in rows(
        snapshot,
        "select coalesce(g.rolname::text, ''), a.privilege_type, a.is_grantable \
         from pg_catalog.pg_database d, \
         pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a \
         left join pg_catalog.pg_roles g on g.oid = a.grantee \
         where d.datname = pg_catalog.current_database() and a.grantee <> d.datdba",
    )
    .await?
    {
        let (role, privilege, option): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
        let grantee = if role.is_empty() { "PUBLIC".to_owned() } else { quoted(&role) };
        named.extend(Some(role).filter(|role| !role.is_empty()));
        let option = if option { " WITH GRANT OPTION" } else { "" };
        print.add(Aspect::Grants, DATABASE, format!("GRANT {privilege} TO {grantee}{option}"));
    }
    for row in rows(snapshot, "select extname::text, extversion from pg_catalog.pg_extension").await? {
        print.add(Aspect::Extension, format!("EXTENSION {}", row.get::<_, &str>(0)), row.get::<_, &str>(1));
    }
    Ok(())
}

/// Returns whether an item comes from here and not from pg_dump's text.
pub(super) fn is_beside(item: &Item) -> bool {
    match item.aspect {
        Aspect::Extension | Aspect::Role => true,
        Aspect::Property if item.object.starts_with("ROLE ") => true,
        _ => item.object == DATABASE,
    }
}

async fn properties(snapshot: &Snapshot, print: &mut Fingerprint, named: &mut BTreeSet<String>) -> Result<()> {
    let version = snapshot.identity().version_num;
    let locale = match version {
        170_000.. => "d.datlocprovider::text, d.datlocale",
        150_000.. => "d.datlocprovider::text, d.daticulocale",
        _ => "'c', null::text",
    };
    let sql = format!(
        "select pg_catalog.pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text, \
         d.datconnlimit, r.rolname::text, pg_catalog.shobj_description(d.oid, 'pg_database'), {locale} \
         from pg_catalog.pg_database d join pg_catalog.pg_roles r on r.oid = d.datdba \
         where d.datname = pg_catalog.current_database()"
    );
    for row in rows(snapshot, &sql).await? {
        let mut add = |name: &str, value: &str| print.add(Aspect::Property, DATABASE, format!("{name} {value}"));
        add("ENCODING", row.get(0));
        add("LC_COLLATE", row.get(1));
        add("LC_CTYPE", row.get(2));
        add("CONNECTION LIMIT", &row.get::<_, i32>(3).to_string());
        add("LOCALE_PROVIDER", row.get(6));
        if let Some(locale) = row.get::<_, Option<&str>>(7) {
            add("LOCALE", locale);
        }
        print.add(Aspect::Owner, DATABASE, row.get::<_, &str>(4));
        named.insert(row.get(4));
        if let Some(comment) = row.get::<_, Option<&str>>(5) {
            print.add(Aspect::Comment, DATABASE, comment);
        }
    }
    Ok(())
}

/// Adds the attributes, settings and memberships of roles and of those that they are members of. PostgreSQL's own roles,
/// which start with `pg_`, are the same everywhere.
pub(super) async fn roles(snapshot: &Snapshot, named: &BTreeSet<String>, print: &mut Fingerprint) -> Result<()> {
    let names: Vec<&str> = named.iter().map(String::as_str).collect();
    let client = snapshot.session().client();
    let closure = "with recursive named(oid) as ( \
                   select oid from pg_catalog.pg_roles where rolname::text = any($1) \
                   union select m.roleid from pg_catalog.pg_auth_members m join named n on n.oid = m.member) ";
    let failed = |e: tokio_postgres::Error| snapshot.session().error("could not read the roles", &e);
    let sql = format!(
        "{closure} select r.rolname::text, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, \
         r.rolreplication, r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil::text, coalesce(s.setconfig, '{{}}') \
         from pg_catalog.pg_roles r join named n on n.oid = r.oid \
         left join pg_catalog.pg_db_role_setting s on s.setrole = r.oid and s.setdatabase = 0 \
         where r.rolname !~ '^pg_'"
    );
    for row in client.query(&sql, &[&names]).await.map_err(failed)? {
        let object = format!("ROLE {}", row.get::<_, &str>(0));
        print.add(Aspect::Role, &*object, attributes(&row));
        for text in row.get::<_, Vec<&str>>(10) {
            print.add(Aspect::Role, &*object, setting(text));
        }
    }
    let sql = format!(
        "{closure} select distinct r.rolname::text, g.rolname::text, m.admin_option \
         from pg_catalog.pg_auth_members m join named n on n.oid = m.member \
         join pg_catalog.pg_roles r on r.oid = m.member join pg_catalog.pg_roles g on g.oid = m.roleid \
         where r.rolname !~ '^pg_'"
    );
    for row in client.query(&sql, &[&names]).await.map_err(failed)? {
        let option = if row.get(2) { " WITH ADMIN OPTION" } else { "" };
        let value = format!("GRANT {} TO IT{option}", quoted(row.get(1)));
        print.add(Aspect::Role, format!("ROLE {}", row.get::<_, &str>(0)), value);
    }
    Ok(())
}

/// Returns a role's attributes as CREATE ROLE takes them.
fn attributes(row: &Row) -> String {
    const FLAGS: [&str; 7] = ["SUPERUSER", "INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS"];
    let mut words: Vec<String> =
        (1..).zip(FLAGS).map(|(i, flag)| format!("{}{flag}", if row.get(i) { "" } else { "NO" })).collect();
    words.push(format!("CONNECTION LIMIT {}", row.get::<_, i32>(8)));
    if let Some(until) = row.get::<_, Option<&str>>(9) {
        words.push(format!("VALID UNTIL '{until}'"));
    }
    words.join(" ")
}

/// Returns `SET name TO value` for `name=value`.
fn setting(text: &str) -> String {
    match text.split_once('=') {
        Some((name, value)) => format!("SET {name} TO {value}"),
        None => text.to_owned(),
    }
}

async fn rows(snapshot: &Snapshot, sql: &str) -> Result<Vec<Row>> {
    let session = snapshot.session();
    session.client().query(sql, &[]).await.map_err(|e| session.error("could not read the database's properties", &e))
}
