//! How many statements are sent to Postgres, by what the client logs of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, registry};

/// Under which name the client logs.
const TARGET: &str = "sqlx::query";

/// Counts the statements that this thread sends while it is there. What else is logged is lost
/// meanwhile.
#[derive(Debug)]
pub struct Statements {
    sent: Arc<AtomicU64>,
    _guard: DefaultGuard,
}

#[derive(Debug)]
struct Count(Arc<AtomicU64>);

impl<S: Subscriber> Layer<S> for Count {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == TARGET && *metadata.level() <= Level::DEBUG
    }

    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Statements {
    /// From now on.
    pub fn count() -> Self {
        let sent = Arc::new(AtomicU64::new(0));
        let guard = tracing::subscriber::set_default(registry().with(Count(Arc::clone(&sent))));
        Self { sent, _guard: guard }
    }

    /// So far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}
