//! The least rights that suffice: the contract runs as the user that docs/OPERATING.md describes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::link::{Address, Link};

use redis_servers::{PASSWORD, Rights, Sentinels, Server, as_user, lines};

use super::wait_for;

#[test]
fn the_user_has_the_commands_of_the_scripts_and_hardly_any_other() {
    let mut used = BTreeSet::new();
    let scripts = |folder| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|ending| ending == "lua"))
    };
    for file in scripts("src/queue/lua").chain(scripts("src/fleet/budget")) {
        let text = fs::read_to_string(file).unwrap();
        let calls = text.split("redis.call(\"").skip(1);
        used.extend(calls.map(|call| call.split('"').next().unwrap().to_lowercase()));
    }
    // To run scripts, to know the server, and to wait.
    used.extend(["evalsha", "script|load", "info", "blpop", "bzpopmin"].map(str::to_owned));
    let line = Rights::Server.line();
    let given: BTreeSet<String> =
        line.split(' ').filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect();
    assert_eq!(given, used);
}

/// The sample for Compose gives what the documented line gives, and nobody else anything.
#[test]
fn the_file_of_users_in_deploy_has_the_same_rights() {
    let file = include_str!("../../../../deploy/redis_users.acl.example");
    let documented = lines("ACL SETUSER syncline reset ").next().unwrap();
    let rights = documented.strip_prefix("ACL SETUSER syncline reset ").unwrap();
    let users: Vec<&str> = file.lines().collect();
    assert_eq!(
        users,
        [
            "user default off",
            "user health on nopass resetchannels +ping",
            &format!("user syncline {rights}"),
        ]
    );
}

#[test]
fn the_user_can_do_nothing_else() {
    let server = wait_for(Server::start(&[]));
    wait_for(Rights::Server.give([&server]));
    let client = redis::Client::open(as_user(&server.url())).unwrap();
    wait_for(async {
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        for command in [
            "FLUSHALL",
            "FLUSHDB",
            "KEYS *",
            "SCAN 0",
            "CONFIG GET *",
            "CONFIG SET maxmemory 1",
            "SHUTDOWN",
            "ACL LIST",
            "CLIENT LIST",
            "MONITOR",
            "REPLICAOF NO ONE",
            "EVAL return 0",
            "SCRIPT FLUSH",
            "GET {s0}:shard",
            "SET {s0}:x 1",
            "DEL {s0}:shard",
            "PUBLISH channel message",
            "CLUSTER RESET",
        ] {
            let mut words = command.split(' ');
            let mut asked = redis::cmd(words.next().unwrap());
            for word in words {
                asked.arg(word);
            }
            let error = asked.exec_async(&mut connection).await.unwrap_err();
            assert_eq!(error.code(), Some("NOPERM"), "{command}: {error}");
        }
        let mut foreign = redis::cmd("HGET");
        let error = foreign.arg("other").arg("f").exec_async(&mut connection).await.unwrap_err();
        assert_eq!(error.code(), Some("NOPERM"), "keys of others: {error}");
    });
}

#[test]
fn the_sentinels_user_can_ask_who_is_the_master_and_do_nothing_else() {
    let sentinels = wait_for(Sentinels::start());
    let url = wait_for(sentinels.url_for_users());
    let reach = |url: &str| {
        let address: Address = url.parse().unwrap();
        wait_for(async { Link::new(&address, "{s0}:shard").unwrap().server().await.map(drop) })
    };
    reach(&url).unwrap();
    let wrong = url.replace("sentinel_password=", "sentinel_password=not-");
    assert!(reach(&wrong).is_err(), "the sentinels ask for it");
    let client = redis::Client::open(sentinels.url_of_one("syncline-sentinel", PASSWORD)).unwrap();
    wait_for(async {
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        for command in ["SENTINEL RESET *", "SENTINEL FAILOVER main", "ACL LIST", "SHUTDOWN"] {
            let mut words = command.split(' ');
            let mut asked = redis::cmd(words.next().unwrap());
            let error = asked.arg(words.collect::<Vec<_>>()).exec_async(&mut connection).await;
            let error = error.unwrap_err();
            assert_eq!(error.code(), Some("NOPERM"), "{command}: {error}");
        }
    });
}
