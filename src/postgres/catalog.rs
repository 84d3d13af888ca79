//! What a database is beside its objects, which pg_dump leaves out: its properties, settings, grants, extensions' versions
//! and the roles that its objects name.
//!
//! The values are written as the SQL that would bring them about, without the database's name, which may differ. What is
//! as in every new database is not written, so that a fingerprint of today compares with one of last year. Nothing here
//! is a secret.

mod hidden;
mod roles;

use std::collections::BTreeSet;

use tokio_postgres::Row;

use super::lexer::quoted;
use super::snapshot::Snapshot;
use crate::compare::{Aspect, Fingerprint, Item};
use crate::error::Result;

pub(super) use roles::roles;

/// The object under which the database's own properties stand.
const DATABASE: &str = "DATABASE";

/// Adds the database's properties and extensions, and to `named` the roles that own it or have a say in it.
pub(super) async fn database(snapshot: &Snapshot, print: &mut Fingerprint, named: &mut BTreeSet<String>) -> Result<()> {
    properties(snapshot, print, named).await?;
    settings(snapshot, print, named).await?;
    grants(snapshot, print, named).await?;
    extensions(snapshot, print).await?;
    tablespaces(snapshot, print, named).await?;
    labels(snapshot, print, "pg_catalog.pg_database", "datname = pg_catalog.current_database()", None).await?;
    hidden::objects(snapshot, print).await
}

/// Returns whether an item comes from here and not from pg_dump's text.
pub(super) fn is_beside(item: &Item) -> bool {
    match item.aspect {
        Aspect::Extension | Aspect::Role | Aspect::Undumped => true,
        _ if ["ROLE ", "TABLESPACE "].iter().any(|kind| item.object.starts_with(kind)) => true,
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
         d.datconnlimit, r.rolname::text, pg_catalog.shobj_description(d.oid, 'pg_database'), {locale}, \
         s.spcname::text, d.datistemplate, \
         array(select p from pg_catalog.unnest(array['CREATE', 'CONNECT', 'TEMPORARY']) p where d.datacl is not null \
         and p not in (select a.privilege_type from pg_catalog.aclexplode(d.datacl) a where a.grantee = d.datdba)) \
         from pg_catalog.pg_database d join pg_catalog.pg_roles r on r.oid = d.datdba \
         join pg_catalog.pg_tablespace s on s.oid = d.dattablespace \
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
        if row.get::<_, &str>(8) != "pg_default" {
            add("TABLESPACE", row.get(8));
        }
        if row.get(9) {
            add("IS_TEMPLATE", "true");
        }
        print.add(Aspect::Owner, DATABASE, row.get::<_, &str>(4));
        named.insert(row.get(4));
        for privilege in row.get::<_, Vec<&str>>(10) {
            print.add(Aspect::Grants, DATABASE, format!("REVOKE {privilege} FROM OWNER"));
        }
        if let Some(comment) = row.get::<_, Option<&str>>(5) {
            print.add(Aspect::Comment, DATABASE, comment);
        }
    }
    Ok(())
}

async fn settings(snapshot: &Snapshot, print: &mut Fingerprint, named: &mut BTreeSet<String>) -> Result<()> {
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
    Ok(())
}

async fn grants(snapshot: &Snapshot, print: &mut Fingerprint, named: &mut BTreeSet<String>) -> Result<()> {
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
        grant(print, DATABASE, &row, named);
    }
    Ok(())
}

/// Adds a grant of a row with grantee, privilege and grant option.
fn grant(print: &mut Fingerprint, object: &str, row: &Row, named: &mut BTreeSet<String>) {
    let (role, privilege, option): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
    let grantee = if role.is_empty() { "PUBLIC".to_owned() } else { quoted(&role) };
    named.extend(Some(role).filter(|role| !role.is_empty()));
    let option = if option { " WITH GRANT OPTION" } else { "" };
    print.add(Aspect::Grants, object, format!("GRANT {privilege} TO {grantee}{option}"));
}

async fn extensions(snapshot: &Snapshot, print: &mut Fingerprint) -> Result<()> {
    for row in rows(snapshot, "select extname::text, extversion from pg_catalog.pg_extension").await? {
        print.add(Aspect::Extension, format!("EXTENSION {}", row.get::<_, &str>(0)), row.get::<_, &str>(1));
    }
    Ok(())
}

/// Adds the tablespaces that the database or something in it lies in.
async fn tablespaces(snapshot: &Snapshot, print: &mut Fingerprint, named: &mut BTreeSet<String>) -> Result<()> {
    let used = "with used as (select s.* from pg_catalog.pg_tablespace s where s.spcname !~ '^pg_' and s.oid in ( \
                select reltablespace from pg_catalog.pg_class union select dattablespace from pg_catalog.pg_database \
                where datname = pg_catalog.current_database())) ";
    let sql = format!(
        "{used} select s.spcname::text, r.rolname::text, coalesce(s.spcoptions, '{{}}'), \
         pg_catalog.shobj_description(s.oid, 'pg_tablespace') from used s \
         join pg_catalog.pg_roles r on r.oid = s.spcowner"
    );
    for row in rows(snapshot, &sql).await? {
        let object = format!("TABLESPACE {}", row.get::<_, &str>(0));
        print.add(Aspect::Owner, &*object, row.get::<_, &str>(1));
        named.insert(row.get(1));
        for option in row.get::<_, Vec<&str>>(2) {
            print.add(Aspect::Property, &*object, option);
        }
        if let Some(comment) = row.get::<_, Option<&str>>(3) {
            print.add(Aspect::Comment, &*object, comment);
        }
    }
    let sql = format!(
        "{used} select coalesce(g.rolname::text, ''), a.privilege_type, a.is_grantable, s.spcname::text \
         from used s cross join pg_catalog.aclexplode(s.spcacl) a \
         left join pg_catalog.pg_roles g on g.oid = a.grantee where a.grantee <> s.spcowner"
    );
    for row in rows(snapshot, &sql).await? {
        grant(print, &format!("TABLESPACE {}", row.get::<_, &str>(3)), &row, named);
    }
    Ok(())
}

/// Adds the security labels of what all databases share.
async fn labels(
    snapshot: &Snapshot,
    print: &mut Fingerprint,
    catalog: &str,
    which: &str,
    named: Option<&[&str]>,
) -> Result<()> {
    let name = if named.is_some() { "'ROLE ' || c.rolname" } else { "'DATABASE'" };
    // Only a superuser may read pg_authid; pg_roles has its names for everybody.
    let readable = if named.is_some() { "pg_catalog.pg_roles" } else { catalog };
    let sql = format!(
        "select {name}, l.provider, l.label from pg_catalog.pg_shseclabel l \
         join {readable} c on c.oid = l.objoid and l.classoid = '{catalog}'::regclass where {which}"
    );
    let session = snapshot.session();
    let found = match &named {
        Some(named) => session.client().query(&sql, &[named]).await,
        None => session.client().query(&sql, &[]).await,
    };
    for row in found.map_err(|e| session.error("could not read the security labels", &e))? {
        let label = format!("SECURITY LABEL FOR {} IS {}", row.get::<_, &str>(1), row.get::<_, &str>(2));
        print.add(Aspect::Undumped, row.get::<_, &str>(0), label);
    }
    Ok(())
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
