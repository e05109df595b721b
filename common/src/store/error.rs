//! Why the store could not do what it was asked.

use super::bulk_runs::RunId;

/// Why the store could not do what it was asked, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database failed or is away; nothing was written. Worth another attempt.
    #[error("the database did not do it")]
    Database(#[from] sqlx::Error),
    /// The address of the database cannot be parsed. It is not repeated here: it has a password.
    #[error(
        "the database address is not one: expected postgres://user:password@host:port/database"
    )]
    Address,
    /// The schema could not be brought up to date.
    #[error("the schema could not be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The page was written already, or the run has ended: give the page up and write nothing.
    #[error("bulk run {0} has moved on")]
    RunMovedOn(RunId),
    /// More looks than one write may carry; a bug of the caller.
    #[error("{looks} looks in one write, {max} are allowed")]
    TooManyLooks {
        /// As passed.
        looks: usize,
        /// [`super::records::MAX_LOOKS`].
        max: usize,
    },
    /// A statement did not touch the rows that it must; a bug here. Roll back.
    #[error("{actual} rows of {table} written where {expected} were due")]
    RowCount {
        /// The table.
        table: &'static str,
        /// Rows that it should have touched.
        expected: usize,
        /// Rows that it touched.
        actual: u64,
    },
}

impl StoreError {
    /// `Ok` when a statement touched as many rows as it must.
    pub(super) fn expect_rows(
        table: &'static str,
        expected: usize,
        actual: u64,
    ) -> Result<(), Self> {
        if u64::try_from(expected).is_ok_and(|expected| expected == actual) {
            Ok(())
        } else {
            Err(Self::RowCount { table, expected, actual })
        }
    }
}
