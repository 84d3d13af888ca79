//! TLS for PostgreSQL connections, with libpq's meaning of each sslmode.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{Address, TlsMode};
use crate::error::{Error, Kind, Result};

/// Returns the TLS that an address asks for.
pub(super) fn connector(address: &Address) -> Result<MakeRustlsConnect> {
    match (address.tls(), address.root_cert()) {
        // Like libpq: a named file of authorities is checked even under `require`.
        (TlsMode::VerifyFull | TlsMode::Require, Some(file)) => trusted(file),
        (TlsMode::VerifyFull, None) => native(),
        (TlsMode::Disable | TlsMode::Prefer | TlsMode::Require, _) => anyone(),
    }
}

fn native() -> Result<MakeRustlsConnect> {
    MakeRustlsConnect::with_native_certs().map(|(tls, _)| tls).map_err(|errors| {
        let error = Error::new(Kind::Network, "could not load the system's certificates")
            .hint("install ca-certificates or name a file with sslrootcert=…");
        errors.iter().fold(error, |error, cause| error.caused_by(cause.to_string()))
    })
}

fn trusted(file: &std::path::Path) -> Result<MakeRustlsConnect> {
    let unreadable = || Error::new(Kind::Usage, format!("could not read certificates from {}", file.display()));
    let certs = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| unreadable().because(&e))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certs);
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|e| unreadable().because(&e))?;
    config(provider, verifier)
}

fn anyone() -> Result<MakeRustlsConnect> {
    let provider = Arc::new(ring::default_provider());
    config(Arc::clone(&provider), Arc::new(Anyone(provider)))
}

fn config(provider: Arc<CryptoProvider>, verifier: Arc<dyn ServerCertVerifier>) -> Result<MakeRustlsConnect> {
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::new(Kind::Bug, "could not set up TLS").because(&e))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Accepts every certificate, which is what libpq's `require` and `prefer` promise: no reader on the wire, but no word
/// about who answers. The handshake's signature is still checked.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::Result;
    use crate::postgres::test_cluster::TestCluster;
    use crate::postgres::{Access, Address, Session};

    /// Makes a certificate for `localhost` that signs itself.
    fn certificate(cluster: &TestCluster) -> bool {
        let [key, cert] = ["key.pem", "cert.pem"].map(|name| cluster.folder().join(name));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args([
                "-addext",
                "subjectAltName=DNS:localhost",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
            ])
            .arg(&key)
            .arg("-out")
            .arg(&cert)
            .output();
        let made = made.is_ok_and(|out| out.status.success());
        if made {
            cluster.give(&key);
            cluster.give(&cert);
        }
        made
    }

    /// Connects and returns whether the server sees TLS.
    async fn encrypted(port: u16, host: &str, options: &str) -> Result<bool> {
        let url = format!("postgres://postgres@{host}:{port}/postgres?{options}");
        let session = Session::open(&Address::parse(&url)?, Access::ReadOnly).await?;
        let row = session.client().query_one("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[]).await;
        Ok(row.unwrap().get(0))
    }

    #[tokio::test]
    async fn each_sslmode_means_what_libpq_means() {
        // Bound and let go: another process could take it, and then the server does not start.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut made = false;
        let cluster = TestCluster::start_with(|cluster| {
            made = certificate(cluster);
            let folder = cluster.folder().display();
            let tls = format!("-c ssl=on -c ssl_cert_file={folder}/cert.pem -c ssl_key_file={folder}/key.pem");
            format!("-c listen_addresses=127.0.0.1 -c port={port} {}", if made { tls } else { String::new() })
        });
        if !made {
            assert!(std::env::var_os("CI").is_none(), "not run: there is no openssl");
            return eprintln!("not run: there is no openssl");
        }
        let cert = cluster.folder().join("cert.pem");
        assert!(!encrypted(port, "127.0.0.1", "sslmode=disable").await.unwrap());
        assert!(encrypted(port, "127.0.0.1", "sslmode=prefer").await.unwrap());
        assert!(encrypted(port, "127.0.0.1", "sslmode=require").await.unwrap());
        let ours = format!("sslmode=verify-full&sslrootcert={}", cert.display());
        assert!(encrypted(port, "localhost", &ours).await.unwrap());
        for (host, options) in [("127.0.0.1", ours.as_str()), ("localhost", "sslmode=verify-full")] {
            let error = encrypted(port, host, options).await.unwrap_err().to_string();
            assert!(error.contains("certificate"), "{host} {options}: {error}");
        }
    }
}
