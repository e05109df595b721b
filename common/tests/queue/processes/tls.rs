//! A server that speaks TLS and asks for certificates, all signed by an authority of the test.

use std::collections::BTreeMap;
use std::path::Path;

use common::config::Config;
use common::link::{Address, Fault, Link};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::server::{Server, program};
use super::{until, wait_for};
use crate::place::Place;

pub(crate) struct Tls {
    server: Server,
    files: TempDir,
}

impl Tls {
    /// `None` when this Redis was built without TLS.
    pub(crate) async fn start() -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        write_certificates(files.path());
        let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
        // The plain port stays open for the test's own questions.
        let (ca, cert, key) = (path("ca.pem"), path("server.pem"), path("server.key"));
        let port = Server::spawn(&program(), &[]).port.to_string();
        let mut server = Server::spawn(
            &program(),
            &[
                "--tls-port",
                &port,
                "--tls-ca-cert-file",
                &ca,
                "--tls-cert-file",
                &cert,
                "--tls-key-file",
                &key,
                "--tls-auth-clients",
                "yes",
            ],
        );
        let mut ended = false;
        until("the server answers or ends", async || {
            ended = server.has_ended();
            ended || server.ask::<String>("PING").await.is_ok()
        })
        .await;
        (!ended).then_some(Self { server, files })
    }

    pub(crate) fn place(&self) -> Place {
        let address = self.address("ca.pem", "client").unwrap();
        Place { address: address.clone(), admin: address, shards: 1 }
    }

    /// As a process has it from its configuration.
    fn address(&self, ca: &str, client: &str) -> Result<Address, String> {
        let path = |name: &str| self.files.path().join(name).display().to_string();
        let mut file = format!("[redis]\nca_file = {:?}\n", path(ca));
        if !client.is_empty() {
            let (cert, key) = (path(&format!("{client}.pem")), path(&format!("{client}.key")));
            file = format!("{file}cert_file = {cert:?}\nkey_file = {key:?}\n");
        }
        let port = self.server.tls_port();
        let environment = BTreeMap::from([
            ("REDIS_URL".to_owned(), format!("rediss://127.0.0.1:{port}")),
            ("DATABASE_URL".to_owned(), "postgres://127.0.0.1:1/none".to_owned()),
        ]);
        let config = Config::from_parts(Some(("test.toml", &file)), &environment).unwrap();
        config.redis.address().map_err(|error| error.to_string())
    }
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
    let Some(tls) = wait_for(Tls::start()) else {
        eprintln!("skipped: this Redis was built without TLS");
        return;
    };
    let reach = |ca: &str, client: &str| {
        let address = tls.address(ca, client).unwrap();
        wait_for(async { Link::new(&address, "key").unwrap().server().await.map(drop) })
    };
    assert!(reach("ca.pem", "client").is_ok());
    let unknown = reach("other-ca.pem", "client").unwrap_err();
    assert!(unknown.to_string().contains("certificate"), "{unknown}");
    for client in ["", "stranger"] {
        let refused = reach("ca.pem", client).unwrap_err();
        assert!(matches!(refused, Fault::Away(_)), "{refused}");
    }
    let error = tls.address("missing.pem", "client").unwrap_err();
    assert!(error.starts_with("redis.ca_file: ") && error.contains("missing.pem"), "{error}");
    let error = tls.address("server.key", "client").map(drop);
    assert!(error.is_err() || reach("server.key", "client").is_err(), "a key is no authority");
}
