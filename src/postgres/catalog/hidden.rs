//! What is in a database and in no dump of it: objects among PostgreSQL's own, and keys that are switched off.
//!
//! A restored copy lacks the first and has the second switched on, so neither may go unsaid.

use super::{Snapshot, rows};
use crate::compare::{Aspect, Fingerprint};
use crate::error::Result;

/// Adds them.
pub(super) async fn objects(snapshot: &Snapshot, print: &mut Fingerprint) -> Result<()> {
    for row in rows(snapshot, PLANTED).await? {
        let object = format!("{} {}", row.get::<_, &str>(0).to_uppercase(), row.get::<_, &str>(1));
        print.add(Aspect::Undumped, object, format!("is among PostgreSQL's own objects: {}", row.get::<_, &str>(2)));
    }
    for row in rows(snapshot, SWITCHED_OFF).await? {
        let value =
            format!("the triggers of constraint {} are switched off: {}", row.get::<_, &str>(1), row.get::<_, &str>(2));
        print.add(Aspect::Undumped, format!("TABLE {}", row.get::<_, &str>(0)), value);
    }
    Ok(())
}

/// Objects that initdb did not make, in the schemas that pg_dump leaves out, and that are no extension's. An
/// information_schema that was made anew by hand, as release notes sometimes ask for, is not one by one.
const PLANTED: &str = "select i.type, i.identity, x.what from ( \
     select 'pg_catalog.pg_class'::regclass as class, oid, relnamespace as schema, '' as what from pg_catalog.pg_class \
     where relkind not in ('i', 'I', 't') \
     union all select 'pg_catalog.pg_proc'::regclass, oid, pronamespace, pg_catalog.md5(prosrc) from pg_catalog.pg_proc \
     union all select 'pg_catalog.pg_type'::regclass, oid, typnamespace, '' from pg_catalog.pg_type \
     where typrelid = 0 and typelem = 0 \
     union all select 'pg_catalog.pg_operator'::regclass, oid, oprnamespace, '' from pg_catalog.pg_operator) x, \
     pg_catalog.pg_identify_object(x.class, x.oid, 0) i \
     where x.oid >= 16384 and x.schema < 16384 and x.schema::regnamespace::text in ('pg_catalog', 'information_schema') \
     and not exists (select from pg_catalog.pg_depend d where d.classid = x.class and d.objid = x.oid and d.deptype = 'e')";

const SWITCHED_OFF: &str = "select t.tgrelid::regclass::text, c.conname::text, pg_catalog.string_agg(t.tgenabled::text, '' \
     order by t.tgtype, t.tgenabled) from pg_catalog.pg_trigger t join pg_catalog.pg_constraint c on c.oid = t.tgconstraint \
     where t.tgisinternal and t.tgenabled <> 'O' group by 1, 2";
