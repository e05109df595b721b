//! What a Redis is asked, as it tells it itself.

use std::pin::Pin;

use common::queue::{Keys, Shard};
use futures_util::{Stream, StreamExt};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

/// One command about the keys of one shard, or of a script that was called with these.
pub(super) struct Asked {
    /// A script asked for it.
    pub(super) by_script: bool,
    /// The command and what follows it, as MONITOR quotes them.
    pub(super) words: Vec<String>,
}

/// The commands that a Redis gets for one set of keys: from outside, and inside scripts.
pub(super) struct Monitor {
    lines: Pin<Box<dyn Stream<Item = String> + Send>>,
    redis: MultiplexedConnection,
    shard: String,
}

impl Monitor {
    /// Of the test's Redis.
    pub(super) async fn of(redis: &MultiplexedConnection, keys: &Keys) -> Self {
        let url = std::env::var("REDIS_URL").unwrap();
        let monitor = redis::Client::open(url).unwrap().get_async_monitor().await.unwrap();
        // Also the key that has no form.
        let shard = keys.shard(Shard(0)).trim_end_matches("shard").to_owned();
        Self { lines: Box::pin(monitor.into_on_message()), redis: redis.clone(), shard }
    }

    /// Those since the last call.
    pub(super) async fn asked(&mut self) -> Vec<Asked> {
        let last = format!("{}end", self.shard);
        let () = self.redis.exists(&last).await.unwrap();
        let (mut asked, mut ours) = (Vec::new(), false);
        while let Some(line) = self.lines.next().await {
            if line.contains(&last) {
                break;
            }
            // 1767225600.000000 [0 lua] "HGET" "{s0}:shard" "clock"
            let (who, words) = line.split_once("] \"").unwrap();
            let by_script = who.ends_with(" lua");
            // What a script asks for follows its own call, whatever it is about.
            ours = if by_script { ours } else { line.contains(&self.shard) };
            if ours {
                let words = words.trim_end_matches('"').split("\" \"").map(str::to_owned);
                asked.push(Asked { by_script, words: words.collect() });
            }
        }
        asked
    }

    /// How many since the last call: (from outside, in scripts).
    pub(super) async fn count(&mut self) -> (usize, usize) {
        let asked = self.asked().await;
        let inside = asked.iter().filter(|asked| asked.by_script).count();
        (asked.len() - inside, inside)
    }
}
