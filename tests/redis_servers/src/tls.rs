//! Servers that speak TLS and ask for certificates, all signed by an authority of the test.

use std::path::Path;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::server::{Server, free_port, program};
use super::until;

/// Certificates for servers and for us, and one of a stranger.
#[derive(Debug)]
pub struct Tls {
    files: TempDir,
}

impl Tls {
    /// `None` when this Redis was built without TLS.
    pub async fn new() -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        write_certificates(files.path());
        // One that does not know the setting does not start; a port may have been taken meanwhile.
        for _ in 0..3 {
            let mut server = Server::spawn(&program(), &["--tls-auth-clients", "yes"]);
            let mut ended = false;
            until("the server answers or ends", async || {
                ended = server.has_ended();
                ended || server.ask::<String>("PING").await.is_ok()
            })
            .await;
            if !ended {
                return Some(Self { files });
            }
        }
        None
    }

    /// Of a server that speaks TLS to everybody, on a port beside the plain one, which stays open for
    /// the test's own questions: name, value, name, value.
    pub fn settings(&self) -> Vec<String> {
        let (port, file) = (free_port().to_string(), |name| self.file(name));
        let settings = [
            ("--tls-port", port),
            ("--tls-ca-cert-file", file("ca.pem")),
            ("--tls-cert-file", file("server.pem")),
            ("--tls-key-file", file("server.key")),
            ("--tls-auth-clients", "yes".to_owned()),
            ("--tls-replication", "yes".to_owned()),
        ];
        settings.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// The path of a certificate or a key: `ca.pem`, `client.pem`, `client.key` and so on.
    pub fn file(&self, name: &str) -> String {
        self.files.path().join(name).to_str().unwrap().to_owned()
    }
}

/// As settings of a server are given.
pub fn words(settings: &[String]) -> Vec<&str> {
    settings.iter().map(String::as_str).collect()
}

/// `ca`, and signed by it `server` and `client`; `stranger`, which another one has signed.
fn write_certificates(folder: &Path) {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate, Issuer::new(params, key))
    };
    let write = |name: &str, certificate: &Certificate, key: Option<&KeyPair>| {
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        if let Some(key) = key {
            std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
    };
    let (ca, ours) = authority("authority of the test");
    let (other_ca, others) = authority("another authority");
    write("ca", &ca, None);
    write("other-ca", &other_ca, None);
    for (name, issuer) in [("server", &ours), ("client", &ours), ("stranger", &others)] {
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        write(name, &certificate, Some(&key));
    }
}
