//! Damages for a restored copy: each finds its object in whatever database it meets, and changes just that.

use super::{Access, Address, Session};
use crate::error::Result;

/// A damage: its title, and a query that writes the statement which does it. No row means that there is nothing to damage.
struct Damage {
    title: &'static str,
    find: &'static str,
}

/// What the queries below look through: tables with rows, columns that no key, index or check needs, and schemas, all of
/// the user's own. Everything has an order, so that a proof plants the same thing each time.
const FIELD: &str = "
with spaces as (
    select oid, nspname from pg_catalog.pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
), relations as (
    select c.*, pg_catalog.format('%I.%I', s.nspname, c.relname) as name from pg_catalog.pg_class c join spaces s on s.oid = c.relnamespace
    where not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
    order by s.nspname, c.relname
), tables as (
    select * from relations where relkind = 'r' and pg_catalog.pg_relation_size(oid) > 0
), columns as (
    select t.name as relation, pg_catalog.quote_ident(a.attname) as name, a.* from tables t join pg_catalog.pg_attribute a on a.attrelid = t.oid
    where a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
), free as (
    select * from columns c
    where not exists (select from pg_catalog.pg_constraint k where k.conrelid = c.attrelid and c.attnum = any (k.conkey))
      and not exists (select from pg_catalog.pg_constraint k where k.confrelid = c.attrelid and c.attnum = any (k.confkey))
      and not exists (select from pg_catalog.pg_index i where i.indrelid = c.attrelid and (c.attnum = any (i.indkey) or 0 = any (i.indkey)))
), constraints as (
    select t.name as relation, pg_catalog.quote_ident(k.conname) as name, k.* from tables t join pg_catalog.pg_constraint k on k.conrelid = t.oid
    where not exists (select from pg_catalog.pg_inherits i where i.inhrelid = t.oid)
    order by t.name, k.conname
)
";

const DAMAGES: &[Damage] = &[
    Damage {
        title: "row lost",
        find: "select format('delete from %s where ctid = (select ctid from %1$s limit 1)', name) from tables",
    },
    Damage { title: "table emptied", find: "select format('delete from %s', name) from tables" },
    Damage {
        title: "row twice",
        find: "select format('insert into %s select * from %1$s limit 1', t.name) from tables t where not exists (select from pg_catalog.pg_index i where i.indrelid = t.oid and (i.indisunique or i.indisexclusion)) and not exists (select from pg_catalog.pg_attribute a where a.attrelid = t.oid and (a.attgenerated <> '' or a.attidentity <> ''))",
    },
    Damage {
        title: "one character of a text changed",
        find: "select format('update %s set %s = %2$s || ''.'' where ctid = (select ctid from %1$s where %2$s is not null limit 1)', relation, name) from free where atttypid = 'text'::regtype",
    },
    Damage {
        title: "number changed by one",
        find: "select format('update %s set %s = %2$s + 1 where ctid = (select ctid from %1$s where %2$s is not null limit 1)', relation, name) from free where atttypid in ('int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'float8'::regtype)",
    },
    Damage {
        title: "moment moved by an hour",
        find: "select format('update %s set %s = %2$s + interval ''1 hour'' where ctid = (select ctid from %1$s where %2$s < ''infinity'' limit 1)', relation, name) from free where atttypid in ('timestamp'::regtype, 'timestamptz'::regtype)",
    },
    Damage {
        title: "value became NULL",
        find: "select format('update %s set %s = null where ctid = (select ctid from %1$s where %2$s is not null limit 1)', relation, name) from free where not attnotnull",
    },
    Damage {
        title: "empty text became NULL",
        find: "select format('update %s set %s = null where ctid = (select ctid from %1$s where %2$s = '''' limit 1)', relation, name) from free where not attnotnull and atttypid in ('text'::regtype, 'varchar'::regtype)",
    },
    Damage {
        title: "foreign key points nowhere",
        find: "select format('update %s set %s = (select max(%2$s) from %1$s) + 987654321 where ctid = (select ctid from %1$s where %2$s is not null limit 1)', k.relation, c.name) from constraints k join columns c on c.attrelid = k.conrelid and array[c.attnum] = k.conkey where k.contype = 'f' and c.atttypid in ('int4'::regtype, 'int8'::regtype)",
    },
    Damage {
        title: "column lost",
        find: "select format('alter table %s drop column %s cascade', relation, name) from free where not exists (select from pg_catalog.pg_inherits i where i.inhrelid = attrelid) order by attrelid, attnum desc",
    },
    Damage {
        title: "index lost",
        find: "select format('drop index %s', r.name) from relations r join pg_catalog.pg_index i on i.indexrelid = r.oid where not exists (select from pg_catalog.pg_constraint k where k.conindid = r.oid) and not exists (select from pg_catalog.pg_inherits h where h.inhrelid = r.oid) and not i.indisreplident",
    },
    Damage {
        title: "index not valid",
        find: "select format('update pg_catalog.pg_index set indisvalid = false where indexrelid = %s', r.oid) from relations r join pg_catalog.pg_index i on i.indexrelid = r.oid where not exists (select from pg_catalog.pg_constraint k where k.conindid = r.oid) and not exists (select from pg_catalog.pg_inherits h where h.inhrelid = r.oid) and not i.indisreplident",
    },
    Damage {
        title: "primary key lost",
        find: "select format('alter table %s drop constraint %s cascade', relation, name) from constraints where contype = 'p'",
    },
    Damage {
        title: "unique constraint lost",
        find: "select format('alter table %s drop constraint %s cascade', relation, name) from constraints where contype = 'u'",
    },
    Damage {
        title: "foreign key lost",
        find: "select format('alter table %s drop constraint %s', relation, name) from constraints where contype = 'f'",
    },
    Damage {
        title: "check lost",
        find: "select format('alter table %s drop constraint %s', relation, name) from constraints where contype = 'c'",
    },
    Damage {
        title: "NOT NULL lost",
        find: "select format('alter table %s alter %s drop not null', c.relation, c.name) from columns c where c.attnotnull and c.attidentity = '' and not exists (select from pg_catalog.pg_inherits i where i.inhrelid = c.attrelid) and not exists (select from pg_catalog.pg_constraint k where k.conrelid = c.attrelid and k.contype = 'p' and c.attnum = any (k.conkey))",
    },
    Damage {
        title: "default lost",
        find: "select format('alter table %s alter %s drop default', relation, name) from columns where atthasdef and attidentity = ''",
    },
    Damage {
        title: "sequence behind",
        find: "select format('select pg_catalog.setval(%L, %s, false)', r.name, s.seqmin) from relations r join pg_catalog.pg_sequence s on s.seqrelid = r.oid where pg_catalog.pg_sequence_last_value(r.oid) > s.seqmin",
    },
    Damage {
        title: "grant lost",
        find: "select format('revoke all on %s from %I', r.name, g.rolname) from relations r, aclexplode(r.relacl) a join pg_catalog.pg_roles g on g.oid = a.grantee where a.grantee <> r.relowner and r.relkind in ('r', 'p', 'v', 'm')",
    },
    Damage {
        title: "grant to everybody",
        find: "select format('grant select on %s to public', name) from tables where not exists (select from aclexplode(relacl) a where a.grantee = 0)",
    },
    Damage {
        title: "owner changed",
        find: "select format('alter table %s owner to current_user', name) from tables where relowner <> (select oid from pg_catalog.pg_roles where rolname = current_user)",
    },
    Damage {
        title: "function changed",
        find: "select format('alter function %s cost 4242', p.oid::regprocedure) from pg_catalog.pg_proc p join spaces s on s.oid = p.pronamespace where p.prokind = 'f' and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e') order by p.oid",
    },
    Damage {
        title: "view lost",
        find: "select format('drop view %s cascade', name) from relations where relkind = 'v'",
    },
    Damage {
        title: "trigger disabled",
        find: "select format('alter table %s disable trigger %I', t.name, g.tgname) from tables t join pg_catalog.pg_trigger g on g.tgrelid = t.oid where not g.tgisinternal and g.tgparentid = 0",
    },
    Damage {
        title: "row security off",
        find: "select format('alter table %s disable row level security', name) from tables where relrowsecurity",
    },
    Damage {
        title: "policy lost",
        find: "select format('drop policy %I on %s', p.polname, t.name) from tables t join pg_catalog.pg_policy p on p.polrelid = t.oid",
    },
    Damage {
        title: "comment lost",
        find: "select format('comment on table %s is null', t.name) from tables t where pg_catalog.obj_description(t.oid, 'pg_class') is not null",
    },
    Damage {
        title: "extension lost",
        find: "select format('drop extension %I cascade', extname) from pg_catalog.pg_extension where extname <> 'plpgsql' order by extname",
    },
    Damage {
        title: "large object changed",
        find: "select format('select pg_catalog.lo_put(%s, 0, ''\\x00ff'')', oid) from pg_catalog.pg_largeobject_metadata order by oid",
    },
    Damage {
        title: "table that nobody knows",
        find: "select format('create table %I.zz_planted (id integer)', nspname) from spaces order by nspname",
    },
    Damage {
        title: "setting of the database changed",
        find: "select format('alter database %I set work_mem = ''4242kB''', current_database())",
    },
];

/// Returns the titles of the damages.
pub fn plant_titles() -> impl Iterator<Item = &'static str> {
    DAMAGES.iter().map(|damage| damage.title)
}

/// Plants one damage in a database of this run's own and returns the statement that did it; `None` where there is nothing
/// of the kind to damage.
///
/// # Errors
/// When the server refuses the statement.
pub async fn plant(address: &Address, title: &str) -> Result<Option<String>> {
    let Some(damage) = DAMAGES.iter().find(|damage| damage.title == title) else { return Ok(None) };
    let session = Session::open(address, Access::Writable).await?;
    let client = session.client();
    let wrong = |e: &tokio_postgres::Error| session.error(format!("could not plant the damage {title}"), e);
    // Triggers and foreign keys would keep the damage out; the catalogue is open to its superuser in a throwaway copy.
    let open = "set session_replication_role = replica; set allow_system_table_mods = on; set search_path = pg_catalog";
    client.batch_execute(open).await.map_err(|e| wrong(&e))?;
    for row in client.query(&format!("{FIELD} {}", damage.find), &[]).await.map_err(|e| wrong(&e))? {
        let statement: String = row.get(0);
        let changed = client.execute(&statement, &[]).await.map_err(|e| wrong(&e))?;
        let changes_rows = ["delete", "update", "insert"].iter().any(|word| statement.starts_with(word));
        if !changes_rows || changed > 0 {
            return Ok(Some(statement));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cleanup::Ledger;
    use crate::compare::{Scope, compare};
    use crate::postgres::fingerprint;
    use crate::postgres::test_cluster::TestCluster;
    use crate::progress::Progress;

    /// What the rich schema has no object for.
    const NOTHING_THERE: [&str; 1] = ["grant lost"];

    #[tokio::test]
    async fn each_damage_is_planted_in_a_rich_database_and_seen_by_its_fingerprint() {
        let cluster = TestCluster::start();
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::create("plants", folder.path()).unwrap();
        cluster.execute("postgres", "create role app_ro; create role app_owner").await;
        cluster.execute("postgres", "create database src").await;
        cluster.psql("src", Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/rich.sql")));
        cluster
            .execute("src", "alter table app.orders owner to app_owner; create index by_total on app.orders (total); create table app.moments as select now() as at")
            .await;
        let held = |address: Address| {
            let ledger = &ledger;
            async move { fingerprint(&address, &[], &Progress::default(), ledger).await.unwrap() }
        };
        let original = held(cluster.address("src")).await;
        let mut nothing = Vec::new();
        for title in plant_titles() {
            cluster.execute("postgres", "drop database if exists mut").await;
            cluster.execute("postgres", "create database mut template src").await;
            match plant(&cluster.address("mut"), title).await.unwrap() {
                None => nothing.push(title),
                Some(statement) => {
                    let seen = compare(&original, &held(cluster.address("mut")).await, &Scope::default()).unwrap();
                    assert!(!seen.equal, "{title} is not seen: {statement}");
                }
            }
        }
        nothing.retain(|title| !NOTHING_THERE.contains(title));
        assert_eq!(nothing, Vec::<&str>::new());
        assert_eq!(plant(&cluster.address("src"), "no such damage").await.unwrap(), None);
    }
}
