//! The benchmarks still measure what they say: quickly, and without a word on how fast it was.

use std::env;

use clap::ValueEnum;
use common::store;
use sqlx::PgPool;
use tests::bench::crew::Stores;
use tests::bench::effort::Effort;
use tests::bench::figure::Figures;
use tests::bench::{self, Part};
use tests::scene::database_url;

#[sqlx::test(migrations = false)]
async fn quick_figures_are_all_measured(db: PgPool) -> anyhow::Result<()> {
    store::migrate(&db).await?;
    let stores = Stores { redis_url: env::var("REDIS_URL")?, database_url: database_url(&db) };
    let mut figures = Figures::default();
    bench::queue(&stores, &Effort::quick(1), None, Part::value_variants(), &mut figures).await?;

    for figure in figures.all() {
        let spread = figure.spread().unwrap();
        // An idle fleet may well send nothing while it is watched, and other tests use the
        // server's time and memory.
        assert!(spread.median.is_finite(), "{}: {spread:?}", figure.name);
    }
    let to_reach = figures.all().iter().filter(|figure| figure.reach.is_some()).count();
    assert_eq!(to_reach, 10, "{:?}", figures.all());
    Ok(())
}
