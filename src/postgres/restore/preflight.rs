//! What a restore needs of its target, asked before the first change: all that is missing is said at once.

use std::collections::BTreeSet;

use super::survey::Survey;
use super::{RestoreOptions, RestoreTarget, database, tablespaces};
use crate::backups::Manifest;
use crate::error::{Error, Kind, Result};
use crate::postgres::{Identity, Session};

/// What a throwaway server lacks and is given.
pub(super) struct Lacks {
    pub roles: BTreeSet<String>,
    pub tablespaces: BTreeSet<String>,
}

/// Refuses what the rules forbid, as far as the backup's manifest and the server can tell. Returns who answered.
pub(super) async fn allowed(
    session: &Session,
    target: &RestoreTarget,
    manifest: Option<&Manifest>,
    options: &RestoreOptions,
) -> Result<Identity> {
    let identity = session.identity().await?;
    refuse_the_source(&identity, target, manifest, options)?;
    if database::exists(session, &options.database).await? {
        if !options.replace {
            return Err(database::taken(target.address(), &options.database));
        }
        refuse_without_rights(session, target, &options.database).await?;
    }
    Ok(identity)
}

/// Refuses what the rules forbid, then lists what the target lacks. Returns what a throwaway server will be given.
pub(super) async fn check(
    session: &Session,
    target: &RestoreTarget,
    survey: &Survey,
    manifest: Option<&Manifest>,
    options: &RestoreOptions,
) -> Result<Lacks> {
    let identity = allowed(session, target, manifest, options).await?;
    needs(session, &identity, target, survey, manifest, options).await
}

/// Lists what the server lacks for a dump's definitions. Returns what a throwaway server will be given.
pub(super) async fn needs(
    session: &Session,
    identity: &Identity,
    target: &RestoreTarget,
    survey: &Survey,
    manifest: Option<&Manifest>,
    options: &RestoreOptions,
) -> Result<Lacks> {
    refuse_a_newer_dump(identity, survey, manifest)?;
    let roles = missing(session, "select rolname::text from pg_catalog.pg_roles", &survey.roles).await?;
    let extensions =
        missing(session, "select name::text from pg_catalog.pg_available_extensions", &survey.extensions).await?;
    let mut wanted = survey.tablespaces.clone();
    wanted.extend(tablespaces::of_database(manifest));
    let tablespaces = missing(session, "select spcname::text from pg_catalog.pg_tablespace", &wanted).await?;
    let given = Lacks { roles, tablespaces };
    let roles = if target.is_throwaway() || options.roles { BTreeSet::new() } else { given.roles.clone() };
    let in_place = target.is_throwaway() && tablespaces::creatable(session).await?;
    let tablespaces = if in_place { BTreeSet::new() } else { given.tablespaces.clone() };
    let lacks = [("roles", &roles), ("extensions", &extensions), ("tablespaces", &tablespaces)];
    let lacks: Vec<String> = lacks
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(kind, names)| format!("{kind} {}", names.iter().cloned().collect::<Vec<_>>().join(", ")))
        .collect();
    if lacks.is_empty() {
        return Ok(given);
    }
    let server = target.address();
    Err(Error::new(Kind::Missing, format!("{}:{} lacks what the dump needs", server.host(), server.port()))
        .on(server.to_string())
        .caused_by(lacks.join("; "))
        .hint(hint(&roles, &extensions, &tablespaces)))
}

fn hint(roles: &BTreeSet<String>, extensions: &BTreeSet<String>, tablespaces: &BTreeSet<String>) -> String {
    let mut steps = Vec::new();
    if !roles.is_empty() {
        steps.push(
            "create the roles first, pass roles: true to have them made without passwords, or restore into a sandbox",
        );
    }
    if !extensions.is_empty() {
        steps.push("install the extensions' packages, or use an image that has them");
    }
    if !tablespaces.is_empty() {
        steps.push("create the tablespaces, or dump with --no-tablespaces");
    }
    steps.join("; ")
}

/// A restore reaches the database that the backup came from only where the script says that it means that.
pub(super) fn refuse_the_source(
    identity: &Identity,
    target: &RestoreTarget,
    manifest: Option<&Manifest>,
    options: &RestoreOptions,
) -> Result<()> {
    let Some(manifest) = manifest.filter(|_| !target.is_throwaway() && !options.in_place) else { return Ok(()) };
    if manifest.source.database != options.database {
        return Ok(());
    }
    let refused = |why: &str| {
        Error::new(Kind::Refused, format!("database {} may be the one that was backed up", options.database))
            .on(target.address().with_database(&options.database).to_string())
            .caused_by(why)
            .hint(
                "restore under another name or into a sandbox; to put that very database back to what it was, say \
                 in_place: true (in a stock script --set in_place=true): what it holds now is kept",
            )
    };
    match (&manifest.source.system_identifier, &identity.system_identifier) {
        (Some(a), Some(b)) if a == b => Err(refused("server and name are those of the source")),
        (Some(_), Some(_)) => Ok(()),
        _ => Err(refused("it cannot be told whether this is the source's server")),
    }
}

/// The names change at the end: who may not change them learns it now.
async fn refuse_without_rights(session: &Session, target: &RestoreTarget, database: &str) -> Result<()> {
    let sql = "select r.rolsuper or (r.rolcreatedb and pg_catalog.pg_has_role(d.datdba, 'USAGE')) \
               from pg_catalog.pg_roles r, pg_catalog.pg_database d \
               where r.rolname = current_user and d.datname = $1";
    let row = session.client().query_opt(sql, &[&database]).await;
    let row = row.map_err(|e| session.error("could not ask whether the database may be replaced", &e))?;
    if row.is_some_and(|row| row.get(0)) {
        return Ok(());
    }
    let role = target.address().user();
    Err(Error::new(Kind::Refused, format!("role {role} may not replace database {database}"))
        .on(target.address().with_database(database).to_string())
        .hint("the role needs CREATEDB, and to own the database or be a member of its owner"))
}

fn refuse_a_newer_dump(identity: &Identity, survey: &Survey, manifest: Option<&Manifest>) -> Result<()> {
    let version = manifest.map(|m| m.source.version.as_str()).or(survey.dumped_from.as_deref());
    let Some(major) = version.and_then(|v| v.split('.').next()?.parse::<u32>().ok()) else { return Ok(()) };
    if major <= identity.major() {
        return Ok(());
    }
    let sentence = format!("a dump of PostgreSQL {major} does not restore into PostgreSQL {}", identity.version);
    Err(Error::new(Kind::Refused, sentence)
        .hint(format!("use a server of version {major}, for instance image postgres:{major}")))
}

async fn missing(session: &Session, all: &str, wanted: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    if wanted.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows = session.client().query(all, &[]).await;
    let rows = rows.map_err(|e| session.error("could not ask the target what it has", &e))?;
    let there: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(wanted.difference(&there).cloned().collect())
}
