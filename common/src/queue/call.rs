//! One call of a script: on the server that holds the shard, told which server that is.

use redis::{FromRedisValue, Script, ToRedisArgs};

use super::answer::QueueError;
use super::keys::{FORM, Keys, Shard};
use crate::link::{Fault, Links};

/// A call that is being put together. Its first argument is made when it is sent, since it names
/// the server (`clock.lua`).
pub(super) struct Call<'a> {
    script: &'a Script,
    shard: Shard,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
}

impl<'a> Call<'a> {
    /// With the shard's keys first. `wakes`: the script may have to wake a worker.
    pub(super) fn new(script: &'a Script, keys: &Keys, shard: Shard, wakes: bool) -> Self {
        let mut names = vec![keys.shard(shard)];
        if wakes {
            names.extend([keys.lanes(shard), keys.wake(shard), keys.urgent(shard)]);
        }
        Self { script, shard, keys: names, args: Vec::new() }
    }

    pub(super) fn keys(mut self, keys: impl IntoIterator<Item: Into<String>>) -> Self {
        self.keys.extend(keys.into_iter().map(Into::into));
        self
    }

    pub(super) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        arg.write_redis_args(&mut self.args);
        self
    }

    /// Sends it. A server that refuses because it no longer holds the shard has done nothing, so
    /// the one that does is asked once instead; nothing else is repeated.
    ///
    /// - `now_us`: tests pass a time.
    pub(super) async fn send<T: FromRedisValue>(
        &self,
        links: &Links,
        index_shards: u16,
        now_us: Option<u64>,
    ) -> Result<T, QueueError> {
        let link = links.get(self.shard.0.into()).ok_or(QueueError::UnknownShard(self.shard))?;
        let now = now_us.map(|now| format!(" {now}")).unwrap_or_default();
        let mut again = true;
        loop {
            let server = link.server().await?;
            let mut invocation = self.script.prepare_invoke();
            invocation.key(&self.keys);
            invocation
                .arg(format!("{}/{index_shards}/{FORM}{now}", server.run_id()))
                .arg(&self.args);
            match invocation.invoke_async(&mut server.connection()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let fault = Fault::from(error);
                    link.failed(&server, &fault);
                    if !(again && fault.is_redirect()) {
                        return Err(fault.into());
                    }
                    again = false;
                }
            }
        }
    }
}
