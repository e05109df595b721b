//! Memory for the bodies that are being read, all together.

use axum::http::{HeaderMap, header};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes are counted in units of so many: a semaphore counts up to 2^29 on 32 bits.
const UNIT_BYTES: usize = 1024;

/// What bodies may take.
#[derive(Debug)]
pub(crate) struct Memory(Semaphore);

impl Memory {
    /// - `bytes`: for all bodies together.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Semaphore::new(bytes.div_ceil(UNIT_BYTES).min(Semaphore::MAX_PERMITS)))
    }

    /// Room for a body: for as much as its sender announces, `most_bytes` otherwise. `None` when
    /// there is none now.
    pub(crate) fn reserve(
        &self,
        headers: &HeaderMap,
        most_bytes: usize,
    ) -> Option<SemaphorePermit<'_>> {
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        // What is longer than allowed is refused when it is read; it is never held.
        let bytes = announced.unwrap_or(most_bytes).min(most_bytes);
        self.0.try_acquire_many(u32::try_from(bytes.div_ceil(UNIT_BYTES)).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(length: Option<usize>) -> HeaderMap {
        let pair = length.map(|length| (header::CONTENT_LENGTH, length.into()));
        HeaderMap::from_iter(pair)
    }

    #[test]
    fn who_announces_little_is_counted_little_and_who_announces_nothing_the_most() {
        let memory = Memory::new(10 * UNIT_BYTES);
        let small: Vec<_> =
            (0..6).map(|_| memory.reserve(&headers(Some(100)), 4 * UNIT_BYTES)).collect();
        assert!(small.iter().all(Option::is_some));
        let unknown = memory.reserve(&headers(None), 4 * UNIT_BYTES);
        assert!(unknown.is_some());
        assert!(memory.reserve(&headers(Some(1)), 4 * UNIT_BYTES).is_none());
        drop(unknown);
        assert!(memory.reserve(&headers(Some(usize::MAX)), 4 * UNIT_BYTES).is_some());
    }
}
