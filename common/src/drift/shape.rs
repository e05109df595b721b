//! Which fields of a record count.
/// Fields that count.
#[derive(Debug)]
pub struct Shape;
