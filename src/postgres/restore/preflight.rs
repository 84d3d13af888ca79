//! What a restore needs of its target, asked before the first change: all that is missing is said at once.

use std::collections::BTreeSet;

use super::survey::Survey;
use super::{RestoreOptions, RestoreTarget, database};
use crate::backups::Manifest;
use crate::error::{Error, Kind, Result};
use crate::postgres::{Identity, Session};

/// Refuses what the rules forbid, then lists what the target lacks. Returns the roles that a throwaway server lacks.
pub(super) async fn check(
    session: &Session,
    target: &RestoreTarget,
    survey: &Survey,
    manifest: Option<&Manifest>,
    options: &RestoreOptions,
) -> Result<BTreeSet<String>> {
    let identity = session.identity().await?;
    refuse_the_source(&identity, target, manifest, options)?;
    refuse_a_newer_dump(&identity, survey, manifest)?;
    if database::exists(session, &options.database).await? && !options.replace {
        return Err(Error::new(Kind::Refused, format!("database {} exists already", options.database))
            .on(target.address().with_database(&options.database).to_string())
            .hint("restore under another name, or pass replace: true; the old database is kept until the new one is whole"));
    }
    let roles = missing(session, "select rolname::text from pg_catalog.pg_roles", &survey.roles).await?;
    let extensions =
        missing(session, "select name::text from pg_catalog.pg_available_extensions", &survey.extensions).await?;
    let tablespaces =
        missing(session, "select spcname::text from pg_catalog.pg_tablespace", &survey.tablespaces).await?;
    let creatable = if target.is_throwaway() { BTreeSet::new() } else { roles.clone() };
    let lacks = [("roles", &creatable), ("extensions", &extensions), ("tablespaces", &tablespaces)];
    let lacks: Vec<String> = lacks
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(kind, names)| format!("{kind} {}", names.iter().cloned().collect::<Vec<_>>().join(", ")))
        .collect();
    if lacks.is_empty() {
        return Ok(roles);
    }
    let server = target.address();
    Err(Error::new(Kind::Missing, format!("{}:{} lacks what the dump needs", server.host(), server.port()))
        .on(server.to_string())
        .caused_by(lacks.join("; "))
        .hint(hint(&creatable, &extensions, &tablespaces)))
}

fn hint(roles: &BTreeSet<String>, extensions: &BTreeSet<String>, tablespaces: &BTreeSet<String>) -> String {
    let mut steps = Vec::new();
    if !roles.is_empty() {
        steps.push("create the roles first, or restore into a sandbox, which makes them");
    }
    if !extensions.is_empty() {
        steps.push("install the extensions' packages, or use an image that has them");
    }
    if !tablespaces.is_empty() {
        steps.push("create the tablespaces, or dump with --no-tablespaces");
    }
    steps.join("; ")
}

/// A restore must never reach the database that the backup came from.
fn refuse_the_source(
    identity: &Identity,
    target: &RestoreTarget,
    manifest: Option<&Manifest>,
    options: &RestoreOptions,
) -> Result<()> {
    let Some(manifest) = manifest.filter(|_| !target.is_throwaway()) else { return Ok(()) };
    if manifest.source.database != options.database {
        return Ok(());
    }
    let refused = |why: &str| {
        Error::new(Kind::Refused, format!("database {} may be the one that was backed up", options.database))
            .on(target.address().with_database(&options.database).to_string())
            .caused_by(why)
            .hint("restore under another name or into a sandbox")
    };
    match (&manifest.source.system_identifier, &identity.system_identifier) {
        (Some(a), Some(b)) if a == b => Err(refused("server and name are those of the source")),
        (Some(_), Some(_)) => Ok(()),
        _ => Err(refused("it cannot be told whether this is the source's server")),
    }
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
