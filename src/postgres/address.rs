//! Where a PostgreSQL database is and who asks: read from a URL or a `key=value` text, shown without the password.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::secret::{Secret, printable};

/// PostgreSQL's own port.
pub const DEFAULT_PORT: u16 = 5432;

/// The machine or the socket folder that a server listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A host name or an IP address.
    Name(String),
    /// The folder of a Unix socket.
    Socket(PathBuf),
}

impl Host {
    /// Takes a host as libpq writes it: what starts with a slash is a socket folder.
    pub fn new(text: &str) -> Self {
        if text.starts_with('/') { Self::Socket(text.into()) } else { Self::Name(text.to_owned()) }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) if name.contains(':') => write!(f, "[{}]", printable(name, false)),
            Host::Name(name) => f.write_str(&printable(name, false)),
            Host::Socket(folder) => f.write_str(&printable(&folder.display().to_string(), false)),
        }
    }
}

/// How a connection is protected, in libpq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS where the server offers it.
    Prefer,
    /// TLS, whoever the server is.
    Require,
    /// TLS, and the certificate must be valid for the host.
    VerifyFull,
}

impl TlsMode {
    /// Returns libpq's word.
    pub fn word(self) -> &'static str {
        match self {
            TlsMode::Disable => "disable",
            TlsMode::Prefer => "prefer",
            TlsMode::Require => "require",
            TlsMode::VerifyFull => "verify-full",
        }
    }

    /// Reads libpq's word.
    pub fn parse(text: &str) -> Result<Self> {
        [Self::Disable, Self::Prefer, Self::Require, Self::VerifyFull]
            .into_iter()
            .find(|m| m.word() == text)
            .ok_or_else(|| {
                wrong(format!("sslmode {text} is not known"))
                    .hint("sslmode is one of disable, prefer, require, verify-full")
            })
    }
}

/// A database and how to reach it. It has no `Debug`: it holds a password.
#[derive(Clone)]
pub struct Address {
    host: Host,
    port: u16,
    user: String,
    password: Option<Secret>,
    database: String,
    tls: TlsMode,
    root_cert: Option<PathBuf>,
    container: Option<String>,
}

impl Address {
    /// Reads `postgres://user:password@host:port/database?sslmode=…` or `host=… port=… user=… dbname=…`.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let parts = match text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
            Some(rest) => url_parts(rest)?,
            None => conninfo_parts(text)?,
        };
        // The password first: no later error may show it.
        let password =
            parts.iter().rev().find(|(key, _)| key == "password").map(|(_, value)| Secret::new(value.as_str()));
        let mut address = Self::new(Host::Name(String::new()), DEFAULT_PORT, "", password, "");
        for (key, value) in parts {
            address.set(&key, value)?;
        }
        address.checked()
    }

    /// Makes an address from its parts; TLS is used where the server offers it.
    pub fn new(host: Host, port: u16, user: &str, password: Option<Secret>, database: &str) -> Self {
        Self {
            host,
            port,
            user: user.to_owned(),
            password,
            database: database.to_owned(),
            tls: TlsMode::Prefer,
            root_cert: None,
            container: None,
        }
    }

    /// Returns the address of another database on the same server.
    pub fn with_database(&self, name: &str) -> Self {
        Self { database: name.to_owned(), ..self.clone() }
    }

    /// Returns the address with another protection.
    pub fn with_tls(self, tls: TlsMode) -> Self {
        Self { tls, ..self }
    }

    /// Says that the server runs in this container, whose own programs may be used.
    pub fn in_container(self, container_id: impl Into<String>) -> Self {
        Self { container: Some(container_id.into()), ..self }
    }

    /// Returns the host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the role that asks.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the password, if there is one.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// Returns the database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Returns the protection of the connection.
    pub fn tls(&self) -> TlsMode {
        self.tls
    }

    /// Returns the file with the certificates to trust, where the system's are not meant.
    pub fn root_cert(&self) -> Option<&Path> {
        self.root_cert.as_deref()
    }

    /// Returns the id of the container that the server runs in, where that is known.
    pub fn container(&self) -> Option<&str> {
        self.container.as_deref()
    }

    /// Returns the address for a libpq program, every value quoted and without the password. A bare database name would
    /// not do: libpq reads one that holds a `=` as a connection string.
    pub fn conninfo(&self) -> String {
        let host = match &self.host {
            Host::Name(name) => name.clone(),
            Host::Socket(folder) => folder.display().to_string(),
        };
        let mut parts = vec![
            ("host", host),
            ("port", self.port.to_string()),
            ("user", self.user.clone()),
            ("dbname", self.database.clone()),
            ("sslmode", self.tls.word().to_owned()),
        ];
        if let Some(file) = &self.root_cert {
            parts.push(("sslrootcert", file.display().to_string()));
        }
        let quote = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
        parts.iter().map(|(key, value)| format!("{key}='{}'", quote(value))).collect::<Vec<_>>().join(" ")
    }

    fn set(&mut self, key: &str, value: String) -> Result<()> {
        match key {
            "host" | "hostaddr" => self.host = Host::new(&value),
            "port" => self.port = value.parse().map_err(|_| wrong("the port is not a number from 1 to 65535"))?,
            "user" => self.user = value,
            "password" => {}
            "dbname" => self.database = value,
            "sslmode" => self.tls = TlsMode::parse(&value)?,
            "sslrootcert" => self.root_cert = Some(value.into()),
            _ => {
                return Err(wrong(format!("the parameter {} is not known", printable(key, false)))
                    .hint("known are host, port, user, password, dbname, sslmode and sslrootcert"));
            }
        }
        Ok(())
    }

    /// Nothing is taken from the shell: a forgotten part must not mean another database.
    fn checked(self) -> Result<Self> {
        let missing = match &self {
            Self { host: Host::Name(name), .. } if name.is_empty() => "host",
            Self { user, .. } if user.is_empty() => "user",
            Self { database, .. } if database.is_empty() => "database",
            Self { port: 0, .. } => "port",
            _ => return Ok(self),
        };
        Err(wrong(format!("the address names no {missing}"))
            .hint("write postgres://user:password@host:port/database; PGHOST and its like are not read"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", printable(&self.user, false), self.host, self.port, printable(&self.database, false))
    }
}

type Parts = Vec<(String, String)>;

fn wrong(what: impl Into<String>) -> Error {
    Error::new(Kind::Usage, what)
}

/// Splits what follows `postgres://`. No part of the text goes into an error: any of it may be the password.
fn url_parts(rest: &str) -> Result<Parts> {
    let mut parts = Vec::new();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (who, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = who.split_once(':').map_or((who, None), |(user, password)| (user, Some(password)));
    let mut add = |key: &str, text: &str| -> Result<()> {
        if !text.is_empty() {
            parts.push((key.to_owned(), percent_decoded(text)?));
        }
        Ok(())
    };
    add("password", password.unwrap_or(""))?;
    add("user", user)?;
    let (host, port) = host_and_port(place)?;
    add("host", host)?;
    add("port", port)?;
    add("dbname", database)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| wrong("a parameter of the address has no value"))?;
        parts.push((percent_decoded(key)?, percent_decoded(value)?));
    }
    Ok(parts)
}

fn host_and_port(place: &str) -> Result<(&str, &str)> {
    let unclear =
        || wrong("the address does not say host:port clearly").hint("write special characters of a password as %XX");
    let (host, port) = match place.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']').ok_or_else(unclear)?;
            (host, if after.is_empty() { "" } else { after.strip_prefix(':').ok_or_else(unclear)? })
        }
        None => place.split_once(':').unwrap_or((place, "")),
    };
    if port.contains(':') || place.contains(',') {
        return Err(unclear());
    }
    Ok((host, port))
}

fn percent_decoded(text: &str) -> Result<String> {
    let malformed = || wrong("the address holds a malformed %XX");
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| (b as char).to_digit(16)).ok_or_else(malformed);
        let value = digit()? * 16 + digit()?;
        out.push(u8::try_from(value).map_err(|_| malformed())?);
    }
    let text = String::from_utf8(out).map_err(|_| malformed())?;
    if text.contains('\0') { Err(malformed()) } else { Ok(text) }
}

/// Splits `key=value key='quoted value'`.
fn conninfo_parts(text: &str) -> Result<Parts> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(|| {
            wrong("the address is neither a postgres:// URL nor key=value pairs")
                .hint("write postgres://user:password@host:port/database")
        })?;
        let (value, left) = conninfo_value(after.trim_start())?;
        parts.push((key.trim().to_owned(), value));
        rest = left.trim_start();
    }
    Ok(parts)
}

fn conninfo_value(text: &str) -> Result<(String, &str)> {
    let quoted = text.strip_prefix('\'');
    let inner = quoted.unwrap_or(text);
    let mut value = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, next)| next)),
            '\'' if quoted.is_some() => return Ok((value, &inner[at + 1..])),
            c if quoted.is_none() && c.is_whitespace() => return Ok((value, &inner[at..])),
            c => value.push(c),
        }
    }
    if quoted.is_some() { Err(wrong("a quote in the address is not closed")) } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Address::parse(text).unwrap().to_string()
    }

    fn refusal(text: &str) -> String {
        match Address::parse(text) {
            Ok(address) => panic!("{address} was accepted"),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn a_url_and_key_value_pairs_mean_the_same() {
        let url = Address::parse("postgres://app:p%40ss%2Fword@db.example.com:6432/orders?sslmode=require").unwrap();
        assert_eq!(url.to_string(), "app@db.example.com:6432/orders");
        assert_eq!(url.password().unwrap().expose(), "p@ss/word");
        assert_eq!(url.tls(), TlsMode::Require);
        let pairs = "host=db.example.com port = 6432 user=app password='p@ss/word' dbname=orders sslmode=require";
        let pairs = Address::parse(pairs).unwrap();
        assert_eq!(pairs.conninfo(), url.conninfo());
        assert_eq!(pairs.password().unwrap().expose(), "p@ss/word");
    }

    #[test]
    fn a_socket_folder_and_ipv6_are_hosts() {
        assert_eq!(shown("postgres://app@%2Frun%2Fpg/orders"), "app@/run/pg:5432/orders");
        assert_eq!(shown("postgres://app@/orders?host=/run/pg"), "app@/run/pg:5432/orders");
        assert_eq!(shown("postgres://app@[::1]:5433/orders"), "app@[::1]:5433/orders");
    }

    #[test]
    fn what_is_unknown_or_missing_is_an_error() {
        assert!(refusal("postgres://app@h/d?sslmod=require").contains("the parameter sslmod is not known"));
        assert!(refusal("postgres://app@h/d?sslmode=maybe").contains("sslmode maybe is not known"));
        assert!(refusal("postgres://h/d").contains("names no user"));
        assert!(refusal("postgres://app@h").contains("names no database"));
        assert!(refusal("host=h user=app dbname='d").contains("not closed"));
        assert!(refusal("orders").contains("neither a postgres:// URL"));
    }

    #[test]
    fn no_error_shows_the_password() {
        for text in
            ["postgres://app:canary:canary1@h:x/d", "postgres://app:can/ary@h/d", "postgres://app:canary%zz@h/d"]
        {
            let error = refusal(text);
            assert!(!error.contains("canary") && !error.contains("ary@h"), "{error}");
        }
    }

    #[test]
    fn a_hostile_database_name_stays_a_name() {
        let address = Address::new(Host::new("h"), 1, "u", None, "a=b host='/evil' \\");
        assert!(address.conninfo().contains(r"dbname='a=b host=\'/evil\' \\'"), "{}", address.conninfo());
    }
}
