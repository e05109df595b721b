//! Webhooks offered at a fixed rate, whatever becomes of those before.
//!
//! On a thread of its own, over connections that are kept, with bytes that need no making: it is not to
//! be who offers that is too slow.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use tests::config_file::EVENTBRITE_ENDPOINT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How often what is due meanwhile is offered.
const TICKS_A_SECOND: u32 = 200;
/// How long an answer may take; after that there is none.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than any head of an answer to a webhook.
const ANSWER_BYTES_MAX: usize = 1024;
/// The first order that is named. All have ten digits, so that all webhooks are of one length.
const FIRST_ORDER: u64 = 1_000_000_001;

/// How much is offered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) a_second: u32,
    pub(crate) seconds: u32,
    /// Each has one webhook under way at the most, as the connection of a platform has.
    pub(crate) connections: u32,
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Webhooks that were written to a connection in the time,
    pub(crate) offered: u64,
    /// which was so long.
    pub(crate) took: Duration,
    /// The orders whose webhooks were answered 2xx.
    pub(crate) accepted: BTreeSet<String>,
    /// Answered 503.
    pub(crate) shed: u64,
    /// Answered otherwise.
    pub(crate) refused: u64,
    /// Not answered: the connection ended first, or it took too long.
    pub(crate) unanswered: u64,
    /// The longest wait for an answer.
    pub(crate) slowest: Duration,
}

/// Offers webhooks to the ingress at this address, each of an order that no other names, and waits for
/// the answers.
pub(crate) async fn offer(ingress: SocketAddr, rate: Rate) -> anyhow::Result<Tally> {
    let (done, tally) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let offered = runtime.context("a runtime").map(|own| own.block_on(all(ingress, rate)));
        drop(done.send(offered.and_then(|tally| tally)));
    });
    tally.await.context("it panicked")?
}

async fn all(ingress: SocketAddr, rate: Rate) -> anyhow::Result<Tally> {
    // A permit is a webhook that is due.
    let due = Arc::new(Semaphore::new(0));
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut senders = JoinSet::new();
    for _ in 0..rate.connections {
        let sender = Sender::connect(ingress).await?;
        senders.spawn(sender.run(Arc::clone(&due), Arc::clone(&tally)));
    }
    let per_tick = usize::try_from(rate.a_second / TICKS_A_SECOND)?;
    let mut clock = interval(Duration::from_secs(1) / TICKS_A_SECOND);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begun = Instant::now();
    for _ in 0..rate.seconds * TICKS_A_SECOND {
        clock.tick().await;
        due.add_permits(per_tick);
    }
    // What no connection was free for by now was never offered.
    due.close();
    let took = begun.elapsed();
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    let mut tally = std::mem::take(&mut *lock(&tally));
    tally.took = took;
    Ok(tally)
}

/// One connection, opened again when it ends.
struct Sender {
    ingress: SocketAddr,
    stream: TcpStream,
}

impl Sender {
    async fn connect(ingress: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(ingress).await.context("a connection to the ingress")?;
        stream.set_nodelay(true)?;
        Ok(Self { ingress, stream })
    }

    async fn run(mut self, due: Arc<Semaphore>, tally: Arc<Mutex<Tally>>) -> anyhow::Result<()> {
        while let Ok(permit) = due.acquire().await {
            permit.forget();
            let number = {
                let mut tally = lock(&tally);
                tally.offered += 1;
                tally.offered
            };
            let order = (FIRST_ORDER + number).to_string();
            let begun = Instant::now();
            let answer = timeout(PATIENCE, self.ask(&order)).await;
            let answered = matches!(answer, Ok(Ok(_)));
            {
                let mut tally = lock(&tally);
                tally.slowest = tally.slowest.max(begun.elapsed());
                match answer {
                    Ok(Ok(200..300)) => drop(tally.accepted.insert(order)),
                    Ok(Ok(503)) => tally.shed += 1,
                    Ok(Ok(_)) => tally.refused += 1,
                    Ok(Err(_)) | Err(_) => tally.unanswered += 1,
                }
            }
            if !answered {
                self = Self::connect(self.ingress).await?;
            }
        }
        Ok(())
    }

    /// The status of the answer. All answers to webhooks are without a body.
    async fn ask(&mut self, order: &str) -> anyhow::Result<u16> {
        self.stream.write_all(webhook(order).as_bytes()).await?;
        let mut answer = [0; ANSWER_BYTES_MAX];
        let mut length = 0;
        while !answer[..length].ends_with(b"\r\n\r\n") {
            let read = self.stream.read(&mut answer[length..]).await?;
            if read == 0 {
                bail!(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            length += read;
        }
        let status = answer[..length].get("HTTP/1.1 ".len().."HTTP/1.1 503".len());
        Ok(std::str::from_utf8(status.context("an answer")?)?.parse()?)
    }
}

/// As Eventbrite sends it.
fn webhook(order: &str) -> String {
    let body = format!(
        r#"{{"api_url":"https://www.eventbriteapi.com/v3/orders/{order}/","config":{{"action":"order.updated","user_id":"1","webhook_id":"1"}}}}"#
    );
    let length = body.len();
    format!(
        "POST /webhooks/eventbrite/{EVENTBRITE_ENDPOINT} HTTP/1.1\r\nhost: ingress\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
