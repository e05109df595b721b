//! A process: tasks that are polled together, and freeze and die together.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::ids::Lane;
use common::job::JobId;
use futures_util::future::BoxFuture;
use tokio::time::sleep;
use worker::crew::Crew;

use crate::world::{MS, Wire, World};

thread_local! {
    /// The process of the task that is being polled.
    static CURRENT: RefCell<Option<Arc<Process>>> = const { RefCell::new(None) };
}

/// What happens to a process before its `polls`th poll.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upset {
    Die { polls: u64 },
    Freeze { polls: u64, ms: u64 },
}

pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) world: Arc<World>,
    pub(crate) redis: Wire,
    pub(crate) postgres: Wire,
    /// Until when it may use the permits that it has, us, by lane and kind.
    permits: Mutex<BTreeMap<(Lane, String), Vec<u64>>>,
    /// When it was told to stop, us; 0 before.
    stopped: AtomicU64,
    life: Mutex<Life>,
}

#[derive(Debug)]
struct Life {
    dead: bool,
    frozen: bool,
    polls: u64,
    upset: Option<Upset>,
    /// How to reach its tasks.
    wakers: BTreeMap<u64, Waker>,
    tasks: u64,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Process {
    pub(crate) fn new(world: &Arc<World>, name: String, upset: Option<Upset>) -> Arc<Self> {
        let life =
            Life { dead: false, frozen: false, polls: 0, upset, wakers: BTreeMap::new(), tasks: 0 };
        Arc::new(Self {
            name,
            world: Arc::clone(world),
            redis: Wire::default(),
            postgres: Wire::default(),
            permits: Mutex::default(),
            stopped: AtomicU64::new(0),
            life: Mutex::new(life),
        })
    }

    /// That of the code that runs now.
    pub(crate) fn current() -> Arc<Self> {
        CURRENT.with_borrow(Clone::clone).expect("only processes do this")
    }

    /// Dies at once: nothing of it is polled any more.
    pub(crate) fn die(&self, why: &str) {
        self.world.tell(format_args!("{} dies: {why}", self.name));
        let mut life = self.life();
        life.dead = true;
        std::mem::take(&mut life.wakers).into_values().for_each(Waker::wake);
    }

    fn freeze(self: &Arc<Self>, ms: u64) {
        self.world.tell(format_args!("{} freezes for {ms} ms", self.name));
        self.world.frozen.fetch_add(1, Ordering::Relaxed);
        let process = Arc::clone(self);
        self.world.tasks.spawn(async move {
            sleep(Duration::from_millis(ms)).await;
            process.world.tell(format_args!("{} goes on", process.name));
            process.world.frozen.fetch_sub(1, Ordering::Relaxed);
            let mut life = process.life();
            life.frozen = false;
            std::mem::take(&mut life.wakers).into_values().for_each(Waker::wake);
        });
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be done before a poll.
    fn upset(&self) -> Option<Upset> {
        let mut life = self.life();
        life.polls += 1;
        let due = life.upset.filter(|upset| match upset {
            Upset::Die { polls } | Upset::Freeze { polls, .. } => *polls <= life.polls,
        })?;
        life.upset = None;
        Some(due).filter(|_| self.world.is_busy())
    }
}

/// A [`Crew`] of one process.
#[derive(Clone, Debug)]
pub(crate) struct Hands(pub Arc<Process>);

impl Crew for Hands {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let process = Arc::clone(&self.0);
        let id = {
            let mut life = process.life();
            life.tasks += 1;
            life.tasks
        };
        let tasks = process.world.tasks.clone();
        tasks.spawn(Guarded { process, id, task: Some(task) });
    }
}

/// A task of a process.
struct Guarded {
    process: Arc<Process>,
    id: u64,
    task: Option<BoxFuture<'static, ()>>,
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let process = Arc::clone(&self.process);
        if process.life().dead {
            self.task = None;
            return Poll::Ready(());
        }
        process.life().wakers.insert(self.id, cx.waker().clone());
        if process.life().frozen {
            return Poll::Pending;
        }
        match process.upset() {
            Some(Upset::Die { polls }) => {
                process.die(&format!("before poll {polls}"));
                self.task = None;
                return Poll::Ready(());
            }
            Some(Upset::Freeze { ms, .. }) => {
                process.life().frozen = true;
                process.freeze(ms);
                return Poll::Pending;
            }
            None => {}
        }
        let Some(task) = self.task.as_mut() else { return Poll::Ready(()) };
        let outer = CURRENT.replace(Some(Arc::clone(&process)));
        let polled = task.as_mut().poll(cx);
        CURRENT.set(outer);
        let over = polled.is_ready() || process.life().dead;
        if over {
            self.task = None;
            process.life().wakers.remove(&self.id);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Process {
    /// It has a permit.
    pub(crate) fn has_permit(&self, lane: &Lane, kind: &str, use_by: u64) {
        let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        permits.entry((lane.clone(), kind.to_owned())).or_default().push(use_by);
    }

    /// The law that each request has a permit of its own that may still be used.
    pub(crate) fn pays(&self, lane: &Lane, kind: &str) {
        let now = self.world.now();
        let paid = {
            let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
            let permits = permits.entry((lane.clone(), kind.to_owned())).or_default();
            permits.retain(|use_by| now < *use_by);
            let first = permits.iter().enumerate().min_by_key(|(_, use_by)| **use_by);
            first.map(|(first, _)| first).map(|first| permits.swap_remove(first))
        };
        if paid.is_none() {
            self.world.break_law(format!("{} asks {lane} without a permit", self.name));
        }
    }

    /// It is told to stop.
    pub(crate) fn stop(&self) {
        self.stopped.fetch_max(self.world.now(), Ordering::Relaxed);
    }

    /// The law that nobody claims any more once it was told to stop.
    pub(crate) fn may_claim(&self) {
        let stopped = self.stopped.load(Ordering::Relaxed);
        if stopped > 0 && self.world.now() > stopped {
            self.world.break_law(format!("{} was stopped, and claims", self.name));
        }
    }

    /// The law that nobody begins anything for a job after the end of its lease.
    pub(crate) fn holds(&self, lane: &Lane, id: &JobId, what: &str) {
        let now = self.world.now();
        let until = self.world.with(|state| state.redis.may_work_until(&self.name, lane, id));
        if until <= now {
            let ms = (now - until) / MS;
            self.world.break_law(format!("{} {what} {id:?}, {ms} ms too late", self.name));
        }
    }
}
