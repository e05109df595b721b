//! Settling what has ended: of the batches of one lane that end together, one settles all, so that
//! many short jobs do not stand in Redis' way one by one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::ids::{Fence, Lane};
use common::job::JobId;
use common::link::Fault;
use common::queue::{Outcome, PermitReport, QueueError, Settlement};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::task::yield_now;

/// Batches that are settled with one call, and jobs, but for what one batch alone has.
const BATCHES: usize = 64;
const JOBS: usize = 200;

/// A batch that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Of its lease.
    pub fence: Fence,
    /// What became of its jobs.
    pub outcomes: Vec<(JobId, Outcome)>,
    /// What became of its permits.
    pub permits: Vec<PermitReport>,
}

/// Everything in this process that has ended and is not settled.
#[derive(Debug, Default)]
pub struct Settling(Mutex<HashMap<Lane, Arc<Desk>>>);

#[derive(Debug, Default)]
struct Desk {
    /// Held while a call is under way. Whoever gets it next settles what has ended meanwhile.
    turn: tokio::sync::Mutex<()>,
    waiting: Mutex<VecDeque<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    ended: Ended,
    told: oneshot::Sender<Answer>,
}

/// How many jobs had lost their lease.
type Answer = Result<usize, Arc<QueueError>>;

impl Ended {
    /// As the queue takes it.
    pub fn settlement(&self) -> Settlement<'_> {
        let Self { fence, outcomes, permits } = self;
        Settlement { fence: *fence, outcomes, permits }
    }
}

impl Settling {
    /// Settles a batch, alone or with others of its lane: `send` gets them all, and answers with the
    /// jobs of each that had lost their lease. Returns how many of this one's had.
    ///
    /// # Errors
    ///
    /// That of `send`, for all it was given.
    pub async fn settle<F>(
        &self,
        lane: &Lane,
        ended: Ended,
        send: impl Fn(Vec<Ended>) -> F,
    ) -> Result<usize, Arc<QueueError>>
    where
        F: Future<Output = Result<Vec<Vec<JobId>>, QueueError>>,
    {
        let desk = self.desk(lane);
        let (told, mut answer) = oneshot::channel();
        desk.lock().push_back(Waiting { ended, told });
        let _turn = desk.turn.lock().await;
        // What ends at this moment gets here first.
        yield_now().await;
        loop {
            match answer.try_recv() {
                Ok(answer) => return answer,
                // Whoever sent it was dropped meanwhile.
                Err(TryRecvError::Closed) => return Err(Arc::new(Fault::Silent.into())),
                Err(TryRecvError::Empty) => {
                    let (ended, told): (_, Vec<_>) =
                        desk.first().into_iter().map(|it| (it.ended, it.told)).unzip();
                    tell(told, send(ended).await);
                }
            }
        }
    }

    fn desk(&self, lane: &Lane) -> Arc<Desk> {
        let mut desks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(desk) = desks.get(lane) {
            return Arc::clone(desk);
        }
        Arc::clone(desks.entry(lane.clone()).or_default())
    }
}

impl Desk {
    /// As many as go together, the first at any rate.
    fn first(&self) -> Vec<Waiting> {
        let mut waiting = self.lock();
        let (mut jobs, mut batches) = (0, 0);
        for next in waiting.iter().take(BATCHES) {
            jobs += next.ended.outcomes.len();
            if batches > 0 && jobs > JOBS {
                break;
            }
            batches += 1;
        }
        waiting.drain(..batches).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever was dropped does not need it.
fn tell(told: Vec<oneshot::Sender<Answer>>, answer: Result<Vec<Vec<JobId>>, QueueError>) {
    match answer {
        Ok(lost) => {
            for (told, lost) in told.into_iter().zip(lost) {
                drop(told.send(Ok(lost.len())));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for told in told {
                drop(told.send(Err(Arc::clone(&error))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    /// What was sent, the fences of each call.
    #[derive(Default)]
    struct Sent(Mutex<Vec<Vec<i64>>>);

    impl Sent {
        /// The queue: it knows no lease with a fence below 0, and fails from 1,000 on.
        async fn send(&self, ended: Vec<Ended>) -> Result<Vec<Vec<JobId>>, QueueError> {
            self.0.lock().unwrap().push(ended.iter().map(|it| it.fence.0).collect());
            // The way there and back.
            yield_now().await;
            let lost = |it: &Ended| {
                let ids = it.outcomes.iter().map(|(id, _)| id.clone());
                if it.fence.0 < 0 { ids.collect() } else { Vec::new() }
            };
            if ended.iter().any(|it| it.fence.0 >= 1_000) {
                return Err(Fault::Silent.into());
            }
            Ok(ended.iter().map(lost).collect())
        }
    }

    fn lane() -> Lane {
        "klaviyo/main".parse().unwrap()
    }

    fn ended(fence: i64, jobs: usize) -> Ended {
        let id = JobId::from("profile:a");
        let outcomes = vec![(id, Outcome::Ack); jobs];
        Ended { fence: Fence(fence), outcomes, permits: Vec::new() }
    }

    async fn settle(batches: &[(i64, usize)]) -> (Vec<Vec<i64>>, Vec<Option<usize>>) {
        let (settling, sent, lane) = (Settling::default(), Sent::default(), lane());
        let one = async |&(fence, jobs): &(i64, usize)| {
            settling.settle(&lane, ended(fence, jobs), |all| sent.send(all)).await.ok()
        };
        let answers = join_all(batches.iter().map(one)).await;
        (sent.0.into_inner().unwrap(), answers)
    }

    #[tokio::test]
    async fn what_ends_together_is_settled_together() {
        let (sent, answers) = settle(&[(1, 1), (2, 1), (-3, 2), (4, 1)]).await;
        assert_eq!(sent, [[1, 2, -3, 4]]);
        assert_eq!(answers, [Some(0), Some(0), Some(2), Some(0)], "each hears of its own");
    }

    #[tokio::test]
    async fn a_call_takes_so_many_jobs_and_no_more() {
        let (sent, answers) = settle(&[(1, 150), (2, 50), (3, 1), (4, 300), (5, 1)]).await;
        assert_eq!(sent, [&[1, 2][..], &[3], &[4], &[5]]);
        assert_eq!(answers, [Some(0); 5]);
    }

    #[tokio::test]
    async fn an_error_is_told_to_all_it_concerns() {
        let (sent, answers) = settle(&[(1, 1), (1_000, 200), (3, 1)]).await;
        assert_eq!(sent, [[1], [1_000], [3]]);
        assert_eq!(answers, [Some(0), None, Some(0)]);
    }

    #[tokio::test]
    async fn whoever_is_dropped_while_it_sends_keeps_nobody_else_waiting() {
        let (settling, sent, lane) = (Settling::default(), Sent::default(), lane());
        let stuck = settling.settle(&lane, ended(1, 1), |_| std::future::pending());
        let mut stuck = Box::pin(stuck);
        let with_it = settling.settle(&lane, ended(2, 1), |all| sent.send(all));
        let mut with_it = Box::pin(with_it);
        for _ in 0..3 {
            assert!(futures_util::poll!(&mut stuck).is_pending());
            assert!(futures_util::poll!(&mut with_it).is_pending());
        }
        drop(stuck);
        assert!(with_it.await.is_err(), "it cannot know what became of it");
        let after = settling.settle(&lane, ended(3, 1), |all| sent.send(all)).await;
        assert!(matches!(after, Ok(0)));
    }
}
