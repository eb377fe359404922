//! TLS connections to control ports.

use std::sync::{Arc, OnceLock};

use async_net::TcpStream;
use futures_rustls::client::TlsStream;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::{ClientConfig, RootCertStore};
use futures_rustls::TlsConnector;

type Boxed = Box<dyn std::error::Error + Send + Sync>;

pub(super) struct Tls {
    roots: RootCertStore,
    /// Created on first use.
    connector: OnceLock<TlsConnector>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            roots: webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
            connector: OnceLock::new(),
        }
    }
}

impl Tls {
    pub(super) fn add_root(&mut self, pem: &[u8]) -> Result<(), Boxed> {
        let before = self.roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            self.roots.add(certificate?)?;
        }
        if self.roots.len() == before {
            return Err("the PEM contains no certificate".into());
        }
        self.connector = OnceLock::new();
        Ok(())
    }

    pub(super) async fn connect(
        &self,
        host: &str,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Boxed> {
        let connector = match self.connector.get() {
            Some(connector) => connector,
            None => {
                let made = self.make()?;
                self.connector.get_or_init(|| made)
            }
        };
        Ok(connector.connect(ServerName::try_from(host.to_owned())?, socket).await?)
    }

    fn make(&self) -> Result<TlsConnector, Boxed> {
        // Name the provider explicitly, so that it does not matter whether the program installs
        // another one as the process default.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
