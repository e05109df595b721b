//! One life of the fleet, from its plan: processes are started, hit and replaced, changes are told,
//! and at the end all must be done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::ids::{ConnectionId, ExternalId};
use common::job::{Job, Task};
use common::lifecycle::Lifecycle;
use scheduler::Reconcile;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use worker::crew::Crew;
use worker::pool;

use crate::fleet::{self, DRAIN};
use crate::plan::{Ask, BUSY, Blow, Change, Mood, Plan, RECORDS, Server, WORKERS, Who};
use crate::postgres::Key;
use crate::process::{Hands, Process, Upset};
use crate::world::{MS, START, Wire, World};

/// By then all must be done, ms: leases, back-offs and closed windows later.
const BOUND: u64 = BUSY + 120_000;
/// How long a graceful stop may take beyond the drain: what is under way at a store.
const GRACE: Duration = Duration::from_secs(6);

/// Tells a life to its end: the story, and the law that was broken, if any.
pub(crate) fn tell(plan: &Plan) -> (String, Option<String>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(plan.clone());
        live(&world).await;
        (world.story(), world.broken())
    })
}

async fn live(world: &Arc<World>) {
    let start = |life| world.tasks.spawn(life);
    for number in 0..WORKERS {
        drop(start(Box::pin(keep_worker(Arc::clone(world), number)) as Life));
    }
    drop(start(Box::pin(keep_scheduler(Arc::clone(world)))));
    for change in world.plan.changes.clone() {
        drop(start(Box::pin(change_and_tell(Arc::clone(world), change))));
    }
    for ask in world.plan.asks.clone() {
        drop(start(Box::pin(ask_for_look(Arc::clone(world), ask))));
    }
    for blow in world.plan.blows.clone() {
        drop(start(Box::pin(lose(Arc::clone(world), blow))));
    }
    world.until(BUSY).await;
    loop {
        sleep(Duration::from_millis(200)).await;
        if world.broken().is_some() {
            return;
        }
        let left = left(world);
        let Some(left) = left else { break };
        if world.now() > START + BOUND * MS {
            return world.break_law(left);
        }
    }
    world.tell("all is done");
    world.over.cancel();
    world.tasks.close();
    if timeout(DRAIN + GRACE * 2, world.tasks.wait()).await.is_err() {
        world.break_law("somebody does not end".to_owned());
    }
}

type Life = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is not done yet.
fn left(world: &World) -> Option<String> {
    if world.frozen.load(Ordering::Relaxed) > 0 {
        return Some("somebody is frozen".to_owned());
    }
    if world.on_their_way.load(Ordering::Relaxed) > 0 {
        return Some("notices are on their way".to_owned());
    }
    world.with(|state| {
        if state.postgres.open() > 0 {
            return Some(format!("{} notices are open", state.postgres.open()));
        }
        if !state.redis.is_empty() {
            return Some(format!("jobs are left: {}", state.redis.left()));
        }
        let wrong = state.vendor.versions().iter().find(|(record, version)| {
            state.postgres.version(record) != **version && !state.postgres.has_letter(record)
        });
        wrong.map(|(record, version)| {
            format!("{record:?} is {version}, not {}", state.postgres.version(record))
        })
    })
}

fn record(number: usize) -> Key {
    let (lane, kind, id) = RECORDS[number];
    let connection = ConnectionId(i32::try_from(lane).unwrap());
    (connection, kind.into(), ExternalId::new(id.to_string()))
}

/// Starts a worker again and again, whatever becomes of it, until all is over.
async fn keep_worker(world: Arc<World>, number: usize) {
    let hits = |blow: &&Blow| match blow {
        Blow::Kill { who, .. } | Blow::Freeze { who, .. } => *who == Who::Worker(number),
        Blow::Stop { worker, .. } => *worker == number,
        _ => false,
    };
    let blows: Vec<Blow> = world.plan.blows.iter().filter(hits).copied().collect();
    let mut blows = blows.into_iter();
    for life in 1.. {
        let blow = blows.next();
        let process = Process::new(&world, format!("w{number}.{life}"), blow.and_then(upset));
        let lifecycle = Lifecycle::manual(DRAIN);
        let worker = Arc::new(fleet::worker(&process));
        let (ended, mut end) = oneshot::channel();
        let stopped = lifecycle.clone();
        Hands(Arc::clone(&process)).spawn(Box::pin(async move {
            pool::run(&worker, &stopped).await;
            let _: Result<(), ()> = ended.send(());
        }));
        let (after, second) = match blow {
            Some(Blow::Stop { after, second, .. }) => (Some(after), second),
            _ => (None, None),
        };
        let stop = async {
            match after {
                Some(after) if world.is_busy() => sleep(Duration::from_millis(after)).await,
                _ => std::future::pending().await,
            }
        };
        let died = tokio::select! {
            biased;
            end = &mut end => Some(end.is_err()),
            () = world.over.cancelled() => None,
            () = stop => None,
        };
        match died {
            Some(true) => {}
            Some(false) => world.break_law(format!("{} ended by itself", process.name)),
            None => stop_worker(&world, &process, &lifecycle, end, second).await,
        }
        if world.over.is_cancelled() {
            return;
        }
        sleep(world.pause(1_500)).await;
    }
}

/// SIGTERM, and perhaps a second one: it ends in time.
async fn stop_worker(
    world: &World,
    process: &Process,
    lifecycle: &Lifecycle,
    mut end: oneshot::Receiver<()>,
    second: Option<u64>,
) {
    let name = &process.name;
    world.tell(format_args!("{name} is stopped"));
    lifecycle.stop();
    process.stop();
    let mut bound = DRAIN + GRACE;
    if let Some(second) = second {
        let second = Duration::from_millis(second);
        if timeout(second, &mut end).await.is_ok() {
            return world.tell(format_args!("{name} ended"));
        }
        world.tell(format_args!("{name} is stopped at once"));
        lifecycle.stop();
        bound = GRACE;
    }
    let asked = Instant::now();
    match timeout(bound, end).await {
        Ok(_) => world.tell(format_args!("{name} ended after {} ms", asked.elapsed().as_millis())),
        Err(_) => world.break_law(format!("{name} did not end within {bound:?}")),
    }
}

/// Starts the sweeper again and again.
async fn keep_scheduler(world: Arc<World>) {
    let hits = |blow: &&Blow| match blow {
        Blow::Kill { who, .. } | Blow::Freeze { who, .. } => *who == Who::Scheduler,
        _ => false,
    };
    let blows: Vec<Blow> = world.plan.blows.iter().filter(hits).copied().collect();
    let mut blows = blows.into_iter();
    // Where nothing goes wrong, nothing needs it.
    let every = Duration::from_secs(if world.plan.mood == Mood::Wild { 1 } else { 60 });
    for life in 1.. {
        let upset = blows.next().and_then(upset);
        let process = Process::new(&world, format!("s.{life}"), upset);
        let mut sweep = fleet::sweep(&process);
        let (ended, end) = oneshot::channel::<()>();
        Hands(Arc::clone(&process)).spawn(Box::pin(async move {
            // Held until this task ends.
            let _ended = ended;
            loop {
                if let Ok(changed @ 1..) = sweep.activate().await {
                    let process = Process::current();
                    process.world.tell(format_args!("{} sweeps up {changed}", process.name));
                }
                sleep(every).await;
            }
        }));
        tokio::select! {
            biased;
            _ = end => {}
            () = world.over.cancelled() => {
                process.die("with the rest");
                return;
            }
        }
        sleep(world.pause(1_500)).await;
    }
}

fn upset(blow: Blow) -> Option<Upset> {
    match blow {
        Blow::Kill { polls, .. } => Some(Upset::Die { polls }),
        Blow::Freeze { polls, ms, .. } => Some(Upset::Freeze { polls, ms }),
        _ => None,
    }
}

/// What becomes of Redis.
async fn lose(world: Arc<World>, blow: Blow) {
    let (at, flush) = match blow {
        Blow::Flush { at } => (at, true),
        Blow::Replace { at } => (at, false),
        _ => return,
    };
    world.until(at).await;
    let now = world.now();
    world.with(|state| {
        state.tell(now, format_args!("{blow:?}"));
        if flush { state.redis.flush(now) } else { state.redis.replace(now) }
    });
}

fn job((connection, record_type, external_id): &Key, priority: common::job::Priority) -> Job {
    let lane = fleet::lanes()[usize::try_from(connection.0).unwrap()].0.clone();
    let (record_type, external_id) = (record_type.clone(), external_id.clone());
    Job { lane, task: Task::Check { record_type, external_id }, priority, trace: String::new() }
}

/// The platform changes a record, and sends its notices until they are accepted; the ingress writes
/// each down, and then tries to enqueue it.
async fn change_and_tell(world: Arc<World>, change: Change) {
    let wire = Wire::default();
    world.on_their_way.fetch_add(1, Ordering::Relaxed);
    world.until(change.at).await;
    let record = record(change.record);
    let now = world.now();
    let version = world.with(|state| {
        let version = state.vendor.change(record.clone());
        state.tell(now, format_args!("{record:?} changes to {version}"));
        version
    });
    for _ in 0..change.notices {
        sleep(world.pause(600)).await;
        loop {
            let told = record.clone();
            let accepted = world.ask(&wire, Server::Postgres, move |state, now| {
                state.postgres.accept(told, version, now);
            });
            if accepted.await.is_some() {
                break;
            }
            // Answered 503: it comes again.
            sleep(Duration::from_millis(500)).await;
        }
        if !world.happens(world.plan.rates.lost_enqueues) {
            enqueue(&world, &wire, job(&record, common::job::Priority::Webhook)).await;
        }
    }
    world.on_their_way.fetch_sub(1, Ordering::Relaxed);
}

async fn ask_for_look(world: Arc<World>, ask: Ask) {
    world.until(ask.at).await;
    enqueue(&world, &Wire::default(), job(&record(ask.record), ask.priority)).await;
}

/// Where it fails, the sweeper will find the notice.
async fn enqueue(world: &Arc<World>, wire: &Wire, job: Job) {
    let lost = if world.is_busy() { world.plan.rates.lost_wakes } else { 0.0 };
    let enqueued = world.ask(wire, Server::Redis, move |state, now| {
        state.tell(now, format_args!("{:?} is enqueued as {:?}", job.task.job_id(), job.priority));
        state.enqueue(&[job], false, now, lost);
    });
    // Lost or not.
    let _: Option<()> = enqueued.await;
}
