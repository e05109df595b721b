//! The queue: what waits, who holds it, and how much quota is left; an index in Redis over what
//! Postgres knows. Every operation is one script in one round trip, on the server's clock.

mod answer;
mod book;
mod call;
mod claim;
mod explain;
mod index;
mod keys;
mod lanes;
mod lease;
pub mod model;
mod port;
mod redis;
mod scripts;
mod settings;
mod settle;
mod waiter;
mod wire;

pub use answer::{Claimed, Depths, Enqueued, Epoch, Ledger, QueueError};
pub use book::LaneBook;
pub use explain::{Explained, Held, Hold, Standing, What};
pub use keys::{Keys, Shard};
pub use lease::{Batch, Leased, Outcome, PermitReport};
pub use port::{Queue, Wakes};
pub use redis::RedisQueue;
pub use settings::QueueSettings;
pub use settle::Settlement;
pub use waiter::Waiter;
