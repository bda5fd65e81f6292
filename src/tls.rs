//! TLS of our own port: certificate, key, and the CA of clients, read again when the files change.
//!
//! A pair that does not fit together, or cannot be read, changes nothing: the one before stays, and
//! the log says so. So certificate and key may be replaced one after the other.

use std::{fs, io, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use axum_server::tls_rustls::RustlsConfig;
use metrics::gauge;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use url::{Host, Url};

use crate::telemetry;

mod expiry;

pub use expiry::expiry;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and what is between it and its CA; PEM.
    pub certificate: PathBuf,
    /// Its key; PEM.
    pub key: PathBuf,
    /// The CAs of clients, who then need a certificate; PEM.
    pub client_ca: Option<PathBuf>,
}

/// What is wrong with the files.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A file cannot be read.
    #[error("{setting}: cannot read the file: {cause}")]
    Unreadable {
        /// Which one.
        setting: &'static str,
        /// Why.
        cause: io::Error,
    },
    /// A file holds something else.
    #[error("{setting}: {what}")]
    Unfit {
        /// Which one.
        setting: &'static str,
        /// What is wrong.
        what: String,
    },
}

const CERTIFICATE: &str = "ALERTLOOP_TLS_CERT";
const KEY: &str = "ALERTLOOP_TLS_KEY";
const CLIENT_CA: &str = "ALERTLOOP_TLS_CLIENT_CA";

/// What the files hold.
struct Material {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Material {
    fn read(files: &Files) -> Result<Self, Fault> {
        let read =
            |setting, path| fs::read(path).map_err(|cause| Fault::Unreadable { setting, cause });
        Ok(Self {
            certificate: read(CERTIFICATE, &files.certificate)?,
            key: read(KEY, &files.key)?,
            client_ca: files.client_ca.as_ref().map(|path| read(CLIENT_CA, path)).transpose()?,
        })
    }

    /// Tells whether they have changed, and nothing else about them.
    fn hash(&self) -> blake3::Hash {
        let mut hash = blake3::Hasher::new();
        let client_ca = self.client_ca.as_deref().unwrap_or_default();
        for part in [&self.certificate, &self.key, client_ca] {
            hash.update(&part.len().to_le_bytes());
            hash.update(part);
        }
        hash.finalize()
    }

    /// The server's configuration; `lenient` asks for a client's certificate and needs none.
    fn server(&self, lenient: bool) -> Result<ServerConfig, Fault> {
        let unfit = |setting: &'static str, what: String| Fault::Unfit { setting, what };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|_| unfit(CERTIFICATE, "the file holds no PEM certificate".to_owned()))?;
        if chain.is_empty() {
            return Err(unfit(CERTIFICATE, "the file holds no PEM certificate".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| unfit(KEY, "the file holds no PEM private key".to_owned()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|fault| unfit(CERTIFICATE, fault.to_string()))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let no_ca = || unfit(CLIENT_CA, "the file holds no PEM certificate".to_owned());
                let mut roots = RootCertStore::empty();
                for ca in CertificateDer::pem_slice_iter(pem) {
                    let ca = ca.map_err(|_| no_ca())?;
                    roots.add(ca).map_err(|fault| unfit(CLIENT_CA, fault.to_string()))?;
                }
                if roots.is_empty() {
                    return Err(no_ca());
                }
                let clients =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let clients = if lenient { clients.allow_unauthenticated() } else { clients };
                let clients =
                    clients.build().map_err(|fault| unfit(CLIENT_CA, fault.to_string()))?;
                builder.with_client_cert_verifier(clients)
            }
        };
        let mut server = builder.with_single_cert(chain, key).map_err(|fault| {
            unfit(CERTIFICATE, format!("{fault}; it has to fit the key of {KEY}"))
        })?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(server)
    }
}

/// TLS as it is now.
#[derive(Clone)]
pub struct Tls {
    files: Files,
    /// For the network.
    strict: RustlsConfig,
    /// For this machine, whose health checks have no certificate.
    lenient: RustlsConfig,
    seen: blake3::Hash,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn load(files: Files) -> Result<Self, Fault> {
        let material = Material::read(&files)?;
        let config = |lenient| {
            material.server(lenient).map(|server| RustlsConfig::from_config(Arc::new(server)))
        };
        let (strict, lenient) = (config(false)?, config(true)?);
        tell(&material);
        Ok(Self { files, strict, lenient, seen: material.hash() })
    }

    /// What is spoken with somebody.
    #[must_use]
    pub fn config(&self, is_of_this_machine: bool) -> RustlsConfig {
        if is_of_this_machine { self.lenient.clone() } else { self.strict.clone() }
    }

    /// Reads the files again whenever they change, until `stop`.
    pub async fn watch(mut self, stop: CancellationToken) {
        let mut said = None;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let fault = tokio::task::block_in_place(|| self.look()).err();
            let fault = fault.map(|fault| fault.to_string());
            if let Some(fault) = &fault
                && said.as_ref() != Some(fault)
            {
                error!(
                    error = fault,
                    "the new TLS certificate cannot be used; the one before stays in use"
                );
            }
            said = fault;
        }
    }

    fn look(&mut self) -> Result<(), Fault> {
        let material = Material::read(&self.files)?;
        let hash = material.hash();
        if hash == self.seen {
            return Ok(());
        }
        let (strict, lenient) = (material.server(false)?, material.server(true)?);
        self.strict.reload_from_config(Arc::new(strict));
        self.lenient.reload_from_config(Arc::new(lenient));
        self.seen = hash;
        tell(&material);
        info!("the new TLS certificate is in use");
        Ok(())
    }
}

/// When the certificate ends, as a metric.
fn tell(material: &Material) {
    if let Some(end) = expiry(&material.certificate) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!(telemetry::CERTIFICATE_ENDS).set(end.as_second() as f64);
    }
}

/// Has a client that asks our own service on this machine take any certificate: it is for the name
/// that others use, and whoever can listen on a port of this machine needs none to deceive us.
pub fn trusting_this_machine(builder: reqwest::ClientBuilder, url: &Url) -> reqwest::ClientBuilder {
    let is_here = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).to_canonical().is_loopback(),
        _ => false,
    };
    builder.tls_danger_accept_invalid_certs(is_here)
}
