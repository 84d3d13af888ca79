//! `postgres`: opens a PostgreSQL database.

use rhai::{Dynamic, Map};

use super::handles::{Database, PostgresDatabase, Standing};
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::postgres::{Address, DEFAULT_PORT, Host, Overrides, TlsMode, find_postgres_container};
use crate::script::Options;
use crate::secret::Secret;

pub(super) const POSTGRES: Primitive = Primitive {
    name: "postgres",
    group: Group::Databases,
    effect: Effect::Reads,
    signatures: &["postgres(where: string|Secret|map, options?: map) -> Database"],
    manual: r#"
Opens a PostgreSQL database, read-only.

`where` is a URL, or a map: `container` (a running container by its exact name; user, password and database come from
its configuration), or `host`, `port`, `user`, `password`, `database`, `sslmode`. A host that begins with `/` is the
folder of a socket. The environment (PGHOST and others) has no say.

The handle reads and never writes; what it names can never be a target in this run. With `writable: true` it may be
written, unless runner.toml protects it, it is a source of this run, or its server does not say who it is.

```rhai,no_run
let orders = postgres("postgres://backup@db.example.com:5432/orders");
let shop = postgres(#{ container: "shop_postgres" });
let pool = postgres(#{ host: "10.0.0.5", user: "backup", password: secret("DB_PASSWORD"), database: "pool" });
```
"#,
    work: |call| Ok(Dynamic::from(open(call)?)),
};

fn open(call: &Call) -> Result<Database> {
    let mut options = call.options(1)?;
    let writable = options.flag("writable")?;
    options.finish()?;
    let address = address(call)?;
    let standing = if writable { Standing::Writable } else { Standing::Source };
    let database = Database::Postgres(call.wait(PostgresDatabase::open(address, standing))?);
    if writable {
        database.may_write(&call.run().guard)?;
    } else {
        database.protect(&call.run().guard)?;
    }
    note(call, &database, writable);
    Ok(database)
}

fn note(call: &Call, database: &Database, writable: bool) {
    let Database::Postgres(PostgresDatabase { identity, .. }) = database else { return };
    let how = if writable { "writable" } else { "read-only" };
    call.evidence(
        format!("{database}, PostgreSQL {}, {how}", identity.version),
        serde_json::json!({
            "address": database.to_string(),
            "version": identity.version,
            "system_identifier": identity.system_identifier,
            "writable": writable,
        }),
    );
}

/// Reads where the database is.
fn address(call: &Call) -> Result<Address> {
    let place = call.any(0);
    if let Some(secret) = place.read_lock::<Secret>() {
        return Address::parse(secret.expose());
    }
    if place.is_string() {
        return Address::parse(&place.to_string());
    }
    if !place.is::<Map>() {
        return Err(call.wrong(0, "a URL or a map"));
    }
    let mut options = call.options(0)?;
    let address = match options.text("container")? {
        Some(name) => in_container(call, &name, &mut options)?,
        None => on_host(&mut options)?,
    };
    options.finish()?;
    Ok(address)
}

fn in_container(call: &Call, name: &str, options: &mut Options) -> Result<Address> {
    let known = Overrides {
        user: options.text("user")?,
        password: options.secret("password")?,
        database: options.text("database")?,
        port: options.port("port")?,
    };
    let ledger = call.run().ledger.clone();
    call.wait(async { find_postgres_container(&call.host().docker, name, &known, &ledger).await })
}

fn on_host(options: &mut Options) -> Result<Address> {
    let host = options.text("host")?.unwrap_or_else(|| "localhost".into());
    let port = options.port("port")?.unwrap_or(DEFAULT_PORT);
    let (user, password) = (options.needed("user")?, options.secret("password")?);
    let database = options.text("database")?.unwrap_or_else(|| user.clone());
    let address = Address::new(Host::new(&host), port, &user, password, &database);
    match options.text("sslmode")? {
        None => Ok(address),
        Some(word) => Ok(address.with_tls(TlsMode::parse(&word)?)),
    }
}
