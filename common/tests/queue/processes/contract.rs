//! The stories of the queue once more, on Redis as people run it, as a user with the least rights.

use redis_servers::{Cluster, Rights, Sentinels, Server, Tls, as_user, program_in, words};

use super::wait_for;
use crate::place::Place;
use crate::stories::CONTRACT;

#[test]
fn the_contract_holds_on_a_cluster_of_three_nodes() {
    let cluster = wait_for(Cluster::start(false));
    let address = wait_for(cluster.url_for_users()).parse().unwrap();
    Place { address, shards: 8, ..Place::at(&cluster.url()) }.run(CONTRACT);
    for node in &cluster.masters {
        let calls = wait_for(node.info("total_commands_processed"));
        assert!(calls.parse::<u32>().unwrap() > 50, "every node has had work");
    }
}

#[test]
fn the_contract_holds_behind_sentinels() {
    let sentinels = wait_for(Sentinels::start());
    let url = wait_for(sentinels.url_for_users());
    let place = Place { address: url.parse().unwrap(), ..Place::at(&sentinels.url()) };
    place.run(CONTRACT);
}

/// Certificates for a test, where this Redis knows what to do with them.
fn tls() -> Option<Tls> {
    let tls = wait_for(Tls::new());
    if tls.is_none() {
        eprintln!("skipped: this Redis was built without TLS");
    }
    tls
}

#[test]
fn the_contract_holds_over_tls_with_client_certificates() {
    let Some(tls) = tls() else { return };
    let server = wait_for(Server::start(&words(&tls.settings())));
    wait_for(Rights::Server.give([&server]));
    let url = server.tls_url();
    Place::over_tls(&tls, &as_user(&url), &url).run(CONTRACT);
}

#[test]
fn the_contract_holds_on_a_cluster_over_tls() {
    let Some(tls) = tls() else { return };
    let cluster = wait_for(Cluster::over_tls(&tls));
    let url = wait_for(cluster.url_for_users());
    Place { shards: 8, ..Place::over_tls(&tls, &url, &cluster.url()) }.run(CONTRACT);
}

#[test]
fn the_contract_holds_behind_sentinels_over_tls() {
    let Some(tls) = tls() else { return };
    let sentinels = wait_for(Sentinels::over_tls(&tls));
    let url = wait_for(sentinels.url_for_users());
    Place::over_tls(&tls, &url, &sentinels.url()).run(CONTRACT);
}

#[test]
fn the_contract_holds_on_a_unix_socket() {
    let server = wait_for(Server::start(&["--unixsocket", "socket"]));
    let socket = server.folder.path().join("socket");
    wait_for(Rights::Server.give([&server]));
    Place::as_user(&format!("unix://{}", socket.display())).run(CONTRACT);
}

#[test]
fn the_contract_holds_on_valkey() {
    on_a_server_of("SYNCLINE_VALKEY_SERVER", "valkey_version", "8.");
}

#[test]
fn the_contract_holds_on_the_oldest_redis() {
    on_a_server_of("SYNCLINE_OLDEST_REDIS_SERVER", "redis_version", "6.2.");
}

fn on_a_server_of(variable: &str, field: &str, version: &str) {
    let Some(program) = program_in(variable) else { return };
    let server = wait_for(Server::of(&program, &[]));
    let told = wait_for(server.info(field));
    assert!(told.starts_with(version), "{told}");
    wait_for(Rights::Server.give([&server]));
    Place::as_user(&server.url()).run(CONTRACT);
}

#[test]
fn no_story_is_left_out() {
    let stories: usize = [
        include_str!("../stories/jobs.rs"),
        include_str!("../stories/leases.rs"),
        include_str!("../stories/ledgers.rs"),
        include_str!("../stories/order.rs"),
        include_str!("../stories/quotas.rs"),
        include_str!("../stories/waking.rs"),
    ]
    .iter()
    .map(|file| file.matches("\n#[tokio::test]\n").count())
    .sum();
    // What things cost is not for every server, but for what a job takes.
    assert_eq!(CONTRACT.len(), stories + 1, "the list in stories/mod.rs has them all");
}
