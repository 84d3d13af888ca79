//! One connection: pinned settings, so that no role, database or shell decides how a value is written.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};

use super::address::{Address, Host, TlsMode};
use super::identity::Identity;
use super::tls;
use crate::error::{Error, Kind, Result};

/// The name by which an operator finds our sessions in `pg_stat_activity`.
const APPLICATION_NAME: &str = "runner";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// A peer that is gone is noticed after this, even while we send.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(60);

/// What every session pins. A role's own timeouts would end a snapshot that a long dump needs.
const PINNED: &str = "-c DateStyle=ISO,YMD -c IntervalStyle=postgres -c TimeZone=UTC -c extra_float_digits=3 \
                      -c bytea_output=hex -c quote_all_identifiers=off -c statement_timeout=0 \
                      -c idle_in_transaction_session_timeout=0";

/// What a session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Every transaction starts read-only.
    ReadOnly,
    /// Writes are allowed.
    Writable,
}

/// An open connection. Dropping it closes it.
pub struct Session {
    client: Client,
    connection: JoinHandle<Result<(), tokio_postgres::Error>>,
    shown: String,
}

impl Session {
    /// Connects for our own statements, which name every object with its schema: `search_path` is empty.
    pub async fn open(address: &Address, access: Access) -> Result<Self> {
        Self::connect(address, access, " -c search_path=").await
    }

    /// Connects for a user's statements: `search_path` is the role's and the database's own.
    pub async fn open_for_user(address: &Address, access: Access) -> Result<Self> {
        Self::connect(address, access, "").await
    }

    async fn connect(address: &Address, access: Access, extra: &str) -> Result<Self> {
        let mut options = format!("{PINNED}{extra}");
        if access == Access::ReadOnly {
            options.push_str(" -c default_transaction_read_only=on");
        }
        let tls = tls::connector(address)?;
        let (client, connection) =
            config(address, &options).connect(tls).await.map_err(|e| connect_error(address, &e))?;
        Ok(Self { client, connection: tokio::spawn(connection), shown: address.to_string() })
    }

    /// Returns the client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the client for a transaction, which borrows it alone.
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Returns which server and database this is.
    pub async fn identity(&self) -> Result<Identity> {
        Identity::read(&self.client).await.map_err(|e| e.on(self.shown.clone()))
    }

    /// Fails unless the server still answers.
    pub async fn alive(&self) -> Result<()> {
        self.client.simple_query("select 1").await.map(drop).map_err(|e| self.error("the connection was lost", &e))
    }

    /// Makes an error about this database from one of the server's.
    pub fn error(&self, what: impl Into<String>, cause: &tokio_postgres::Error) -> Error {
        database_error(what, cause).on(self.shown.clone())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Makes an error from one of the server's, with its detail and hint.
pub(super) fn database_error(what: impl Into<String>, cause: &tokio_postgres::Error) -> Error {
    let Some(db) = cause.as_db_error() else {
        return Error::new(Kind::Database, what).because(cause);
    };
    let mut error = Error::new(Kind::Database, what).caused_by(format!("{} ({})", db.message(), db.code().code()));
    if let Some(detail) = db.detail() {
        error = error.caused_by(detail);
    }
    match db.hint() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn config(address: &Address, options: &str) -> Config {
    let mut config = Config::new();
    match address.host() {
        Host::Name(name) => config.host(name),
        Host::Socket(folder) => config.host_path(folder),
    };
    if let Some(password) = address.password() {
        config.password(password.expose());
    }
    config
        .port(address.port())
        .user(address.user())
        .dbname(address.database())
        .options(options)
        .application_name(APPLICATION_NAME)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES)
        .ssl_mode(match address.tls() {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyFull => SslMode::Require,
        });
    config
}

fn connect_error(address: &Address, cause: &tokio_postgres::Error) -> Error {
    let what = format!("could not connect to {address}");
    if cause.as_db_error().is_some() {
        let error = database_error(what, cause).on(address.to_string());
        return match server_hint(address, cause.code()) {
            Some(hint) => error.hint(hint),
            None => error,
        };
    }
    let error = Error::new(Kind::Network, what).on(address.to_string()).because(cause);
    // tokio-postgres has no kind of error for this one.
    if error.causes().iter().any(|cause| cause.contains("password missing")) {
        return error.hint("the server asks for a password; the address has none");
    }
    match network_hint(address, cause) {
        Some(hint) => error.hint(hint).retryable(),
        None => error,
    }
}

fn server_hint(address: &Address, code: Option<&SqlState>) -> Option<String> {
    let (database, user) = (address.database(), address.user());
    Some(match code? {
        c if *c == SqlState::INVALID_PASSWORD => format!("check the password of {user}"),
        c if *c == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            format!("check that the role {user} exists and that pg_hba.conf lets it in")
        }
        c if *c == SqlState::INVALID_CATALOG_NAME => {
            format!("create the database {database} or correct its name; `psql -l` lists what is there")
        }
        c if *c == SqlState::TOO_MANY_CONNECTIONS => "close sessions or raise max_connections".into(),
        c if *c == SqlState::CANNOT_CONNECT_NOW => "the server starts or stops; try again".into(),
        _ => return None,
    })
}

fn network_hint(address: &Address, cause: &tokio_postgres::Error) -> Option<String> {
    let mut next = std::error::Error::source(cause);
    while let Some(source) = next {
        if let Some(io) = source.downcast_ref::<std::io::Error>() {
            return match (io.kind(), address.host()) {
                (std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::NotFound, _) => {
                    Some(format!("nothing listens on port {} there; is the server running?", address.port()))
                }
                (std::io::ErrorKind::TimedOut, _) => {
                    Some("is the host right, and does a firewall let us through?".into())
                }
                _ => None,
            };
        }
        next = source.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::test_cluster::TestCluster;
    use crate::secret::Secret;

    async fn refusal(address: &Address) -> Error {
        Session::open(address, Access::ReadOnly).await.err().expect("nobody is there")
    }

    #[tokio::test]
    async fn a_session_is_pinned_and_read_only_unless_it_was_asked_to_write() {
        let cluster = TestCluster::start();
        cluster
            .execute(
                "postgres",
                "alter database postgres set datestyle = 'German'; alter role postgres set search_path = 'x'",
            )
            .await;
        let session = Session::open(&cluster.address("postgres"), Access::ReadOnly).await.unwrap();
        let row = session.client().query_one("show datestyle", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "ISO, YMD");
        let row = session.client().query_one("select current_setting('search_path')", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "");
        let error = session.client().batch_execute("create table t()").await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
        let user = Session::open_for_user(&cluster.address("postgres"), Access::Writable).await.unwrap();
        let row = user.client().query_one("select current_setting('search_path')", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "x");
    }

    #[tokio::test]
    async fn a_session_knows_its_server_and_says_when_it_may_not() {
        let cluster = TestCluster::start();
        let identity = cluster.session("postgres").await.identity().await.unwrap();
        assert_eq!(identity.database, "postgres");
        assert!(identity.system_identifier.as_deref().is_some_and(|id| id.parse::<u64>().is_ok()));
        assert_eq!(identity.major(), identity.version.split('.').next().unwrap().parse::<u32>().unwrap());
        assert_eq!(identity.same_database(&identity), Some(true));

        cluster
            .execute("postgres", "create role weak login; revoke execute on function pg_control_system() from public")
            .await;
        let weak = Address::new(cluster.address("x").host().clone(), 5432, "weak", None, "postgres");
        let unknown = Session::open(&weak, Access::ReadOnly).await.unwrap().identity().await.unwrap();
        assert_eq!(unknown.system_identifier, None);
        assert_eq!(unknown.same_database(&identity), None);
    }

    #[tokio::test]
    async fn an_error_names_the_address_the_cause_and_the_next_step() {
        let cluster = TestCluster::start();
        let error = refusal(&cluster.address("nosuch")).await;
        assert_eq!(error.kind(), Kind::Database);
        assert!(error.to_string().contains("database \"nosuch\" does not exist (3D000)"), "{error}");
        assert!(
            error.message().ends_with("/nosuch") && error.next_step().unwrap().contains("create the database nosuch")
        );

        cluster.execute("postgres", "create role locked login password 'canary-right'").await;
        let locked = |password: Option<&str>| {
            let host = cluster.address("x").host().clone();
            Address::new(host, 5432, "locked", password.map(Secret::new), "postgres")
        };
        assert!(Session::open(&locked(Some("canary-right")), Access::ReadOnly).await.is_ok());
        let error = refusal(&locked(Some("canary-wrong"))).await;
        assert_eq!(error.next_step(), Some("check the password of locked"));
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        let error = refusal(&locked(None)).await;
        assert_eq!(error.next_step(), Some("the server asks for a password; the address has none"), "{error:?}");

        let closed = Address::new(Host::new("127.0.0.1"), 1, "app", None, "orders");
        let error = refusal(&closed).await;
        assert_eq!(error.kind(), Kind::Network);
        assert!(
            error.to_string().contains("app@127.0.0.1:1/orders") && error.to_string().contains("refused"),
            "{error}"
        );
        assert!(error.next_step().unwrap().contains("nothing listens on port 1"));
    }
}
