//! Servers that speak TLS and ask for certificates, all signed by an authority of the test.

use std::collections::BTreeMap;

use common::config::Config;
use common::link::{Address, Fault, Link};
use redis_servers::{Server, Tls, words};

use super::wait_for;

/// Reached by the URL with our own certificate.
pub(crate) fn address_of(tls: &Tls, url: &str) -> Address {
    address(tls, url, "ca.pem", "client").unwrap()
}

/// As a process has it from its configuration.
fn address(tls: &Tls, url: &str, ca: &str, client: &str) -> Result<Address, String> {
    let mut file = format!("[redis]\nca_file = {:?}\n", tls.file(ca));
    if !client.is_empty() {
        let (cert, key) = (tls.file(&format!("{client}.pem")), tls.file(&format!("{client}.key")));
        file = format!("{file}cert_file = {cert:?}\nkey_file = {key:?}\n");
    }
    let environment = BTreeMap::from([
        ("REDIS_URL".to_owned(), url.to_owned()),
        ("DATABASE_URL".to_owned(), "postgres://127.0.0.1:1/none".to_owned()),
    ]);
    let config = Config::from_parts(Some(("test.toml", &file)), &environment).unwrap();
    config.redis.address().map_err(|error| error.to_string())
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
        let address = address(&tls, &url, ca, client).unwrap();
        wait_for(async { Link::new(&address, "key").unwrap().server().await.map(drop) })
    };
    assert!(reach("ca.pem", "client").is_ok());
    let unknown = reach("other-ca.pem", "client").unwrap_err();
    assert!(unknown.to_string().contains("certificate"), "{unknown}");
    for client in ["", "stranger"] {
        let refused = reach("ca.pem", client).unwrap_err();
        assert!(matches!(refused, Fault::Away(_)), "{refused}");
    }
    let error = address(&tls, &url, "missing.pem", "client").unwrap_err();
    assert!(error.starts_with("redis.ca_file: ") && error.contains("missing.pem"), "{error}");
    let error = address(&tls, &url, "server.key", "client").map(drop);
    assert!(error.is_err() || reach("server.key", "client").is_err(), "a key is no authority");
}
