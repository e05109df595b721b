//! A private Redis, or Valkey: an index that may be lost, so it writes nothing to disk.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use crate::{account::Account, secret, server::Server, setup::Programs, signals::Signals};

const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Starts it with its files in `folder`; returns its address with the password in it.
pub fn start(
    programs: &Programs,
    folder: &Path,
    signals: &Signals,
) -> anyhow::Result<(Server, String)> {
    let account = &programs.account;
    let files = account.create_folders(folder)?;
    let password = secret::random()?;
    let file = folder.join("redis.conf");
    let (server, port) = Server::start(
        folder,
        signals,
        |port| {
            write_settings(account, &file, port, &password)?;
            let mut command = account.command(&programs.redis, &files);
            command.arg(&file);
            Ok(command)
        },
        |port| answers(port, &password),
    )?;
    Ok((server, format!("redis://default:{password}@127.0.0.1:{port}/")))
}

fn write_settings(account: &Account, file: &Path, port: u16, password: &str) -> anyhow::Result<()> {
    // A queue must never lose a key to eviction. Longer lists than these are searched faster as a table.
    // Relative paths are below the folder it starts in.
    let settings = format!(
        "bind 127.0.0.1\n\
         port {port}\n\
         requirepass {password}\n\
         daemonize no\n\
         dir ./\n\
         save \"\"\n\
         appendonly no\n\
         maxmemory-policy noeviction\n\
         hash-max-ziplist-entries 32\n\
         zset-max-ziplist-entries 32\n"
    );
    account.write_secret(file, &settings)
}

/// Whether the server on `port` knows our password, and so is ours.
fn answers(port: u16, password: &str) -> bool {
    let exchange = || {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.write_all(format!("AUTH {password}\r\nPING\r\n").as_bytes())?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    exchange().is_ok_and(|answer| &answer == b"+OK\r\n+PONG\r\n")
}
