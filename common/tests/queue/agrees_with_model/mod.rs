//! Random operations on Redis and on the model: equal answers, and the laws that follow. Between any
//! two of them a worker may die, an answer may be lost, the clock may stand still or jump, and all of
//! Redis may be gone.

mod both;
mod laws;
mod operations;

use proptest::prelude::*;

use crate::{block_on, cases};
use both::Both;
use operations::{floors, limits, op};

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn redis_and_model_agree_on_every_operation(
        first in limits(),
        second in limits(),
        floors in floors(),
        ops in prop::collection::vec(op(), 1..100),
    ) {
        block_on(async {
            let mut both = Both::new([first, second], floors).await;
            for op in ops {
                both.run(op).await?;
            }
            both.drain().await?;
            both.check_windows()
        })?;
    }
}
