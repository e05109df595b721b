//! Servers that speak TLS and ask for certificates, all signed by an authority of the test.

use std::collections::BTreeMap;
use std::path::Path;

use common::config::Config;
use common::link::{Address, Fault, Link};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::server::{Server, free_port, program};
use super::{until, wait_for};

/// Certificates, and servers that want to see them.
pub(crate) struct Tls {
    files: TempDir,
}

impl Tls {
    /// `None` when this Redis was built without TLS.
    pub(crate) async fn new() -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        write_certificates(files.path());
        let tls = Self { files };
        let settings = tls.settings();
        let mut server = Server::spawn(&program(), &words(&settings));
        let mut ended = false;
        until("the server answers or ends", async || {
            ended = server.has_ended();
            ended || server.ask::<String>("PING").await.is_ok()
        })
        .await;
        (!ended).then_some(tls)
    }

    /// Of a server that speaks TLS to everybody, on a port beside the plain one, which stays open for
    /// the test's own questions: name, value, name, value.
    pub(crate) fn settings(&self) -> Vec<String> {
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

    fn file(&self, name: &str) -> String {
        self.files.path().join(name).to_str().unwrap().to_owned()
    }

    /// Reached by the URL with our own certificate.
    pub(crate) fn address_of(&self, url: &str) -> Address {
        self.address(url, "ca.pem", "client").unwrap()
    }

    /// As a process has it from its configuration.
    fn address(&self, url: &str, ca: &str, client: &str) -> Result<Address, String> {
        let mut file = format!("[redis]\nca_file = {:?}\n", self.file(ca));
        if !client.is_empty() {
            let (cert, key) =
                (self.file(&format!("{client}.pem")), self.file(&format!("{client}.key")));
            file = format!("{file}cert_file = {cert:?}\nkey_file = {key:?}\n");
        }
        let environment = BTreeMap::from([
            ("REDIS_URL".to_owned(), url.to_owned()),
            ("DATABASE_URL".to_owned(), "postgres://127.0.0.1:1/none".to_owned()),
        ]);
        let config = Config::from_parts(Some(("test.toml", &file)), &environment).unwrap();
        config.redis.address().map_err(|error| error.to_string())
    }
}

/// As settings of a server are given.
pub(crate) fn words(settings: &[String]) -> Vec<&str> {
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

#[test]
fn only_the_right_certificates_open_the_door() {
    let Some(tls) = wait_for(Tls::new()) else {
        eprintln!("skipped: this Redis was built without TLS");
        return;
    };
    let server = wait_for(Server::start(&words(&tls.settings())));
    let url = server.tls_url();
    let reach = |ca: &str, client: &str| {
        let address = tls.address(&url, ca, client).unwrap();
        wait_for(async { Link::new(&address, "key").unwrap().server().await.map(drop) })
    };
    assert!(reach("ca.pem", "client").is_ok());
    let unknown = reach("other-ca.pem", "client").unwrap_err();
    assert!(unknown.to_string().contains("certificate"), "{unknown}");
    for client in ["", "stranger"] {
        let refused = reach("ca.pem", client).unwrap_err();
        assert!(matches!(refused, Fault::Away(_)), "{refused}");
    }
    let error = tls.address(&url, "missing.pem", "client").unwrap_err();
    assert!(error.starts_with("redis.ca_file: ") && error.contains("missing.pem"), "{error}");
    let error = tls.address(&url, "server.key", "client").map(drop);
    assert!(error.is_err() || reach("server.key", "client").is_err(), "a key is no authority");
}
