//! Test certificates, generated in a temporary directory.

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::crypto::ring::default_provider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;

/// An authority, and a directory with its certificate (`ca.pem`) and those it has issued: `server`, `client`, `expired`
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
        // Names are unique: peers find an issuer by its name.
        let folder = TempDir::new().unwrap();
        params.distinguished_name.push(DnType::CommonName, folder.path().to_str().unwrap());
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let authority = Self { folder, issuer: Issuer::new(params, key), certificate };
        authority.issue("server", &["localhost", "127.0.0.1"], 4000);
        authority.issue("client", &["client"], 4000);
        authority.issue("expired", &["localhost", "127.0.0.1"], 2001);
        authority.issue("elsewhere", &["example.org"], 4000);
        authority
    }

    /// Issues a certificate for `names` that expires in `year`, and writes it with its key.
    pub(crate) fn issue(&self, file: &str, names: &[&str], year: i32) {
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

    /// Writes a certificate and its key as `openssl req -x509` makes them: self-signed, with the CA flag.
    pub(crate) fn self_sign(&self, file: &str, names: &[&str], year: i32) {
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

    /// The configuration of a client that trusts this authority.
    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        self.client_config_for(rustls::DEFAULT_VERSIONS)
    }

    /// The same for these TLS versions.
    pub(crate) fn client_config_for(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }

    /// A client that presents `certificate` and signs with `key`, which need not belong to it.
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

    /// The configuration of a server with these TLS versions, which may send data before the client's Finished.
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
