//! Certificates for a test, made on the spot in a folder of its own.

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::crypto::ring::default_provider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;

/// An authority, and a folder with its certificate (`ca.pem`) and those it vouches for: `server`, `client`, `expired`
/// and `elsewhere`, which is for another name, each as `.pem` and `.key`.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // No two have the same name: peers look for those who vouch by it.
        let folder = TempDir::new().unwrap();
        params.distinguished_name.push(DnType::CommonName, folder.path().to_str().unwrap());
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let authority = Self { folder, issuer: Issuer::new(params, key), certificate };
        authority.vouch_for("server", &["localhost", "127.0.0.1"], 4000);
        authority.vouch_for("client", &["client"], 4000);
        authority.vouch_for("expired", &["localhost", "127.0.0.1"], 2001);
        authority.vouch_for("elsewhere", &["example.org"], 4000);
        authority
    }

    /// Writes a certificate for `names` that ends in `year`, and its key.
    pub(crate) fn vouch_for(&self, file: &str, names: &[&str], year: i32) {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, file);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.folder.path().join(format!("{file}.pem")), certificate.pem()).unwrap();
        fs::write(self.folder.path().join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    /// Writes a certificate as `openssl req -x509` makes one, and its key: self-signed, and that of an authority.
    pub(crate) fn sign_itself(&self, file: &str, names: &[&str], year: i32) {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "self-signed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(self.folder.path().join(format!("{file}.pem")), certificate.pem()).unwrap();
        fs::write(self.folder.path().join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.folder.path().join(file).to_str().unwrap().to_owned()
    }

    /// What a peer needs that believes this authority.
    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        self.client_config_for(rustls::DEFAULT_VERSIONS)
    }

    /// The same for these versions of TLS.
    pub(crate) fn client_config_for(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }

    /// A client that shows the certificate in `certificate` and signs with the key in `key`, whether it belongs to it or not.
    pub(crate) fn client_config_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        certificate: &str,
        key: &str,
    ) -> Arc<ClientConfig> {
        let certificate = CertificateDer::from_pem_file(self.path(certificate)).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path(key)).unwrap();
        let key = CertifiedKey::new(vec![certificate], default_provider().key_provider.load_private_key(key).unwrap());
        let mut config = (*self.client_config_for(versions)).clone();
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(key));
        Arc::new(config)
    }

    /// The configuration of a server with these versions of TLS, which may send data before the client's Finished.
    pub(crate) fn server_config_for(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
        let certificate = CertificateDer::from_pem_file(self.path("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_no_client_auth();
        let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
        config.send_half_rtt_data = true;
        Arc::new(config)
    }
}
