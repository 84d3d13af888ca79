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
