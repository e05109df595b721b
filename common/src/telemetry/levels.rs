//! Gauges of what only the leader knows: told again with every export, until they are forgotten. A
//! usual gauge repeats its last value for as long as its process lives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// Names and values of attributes.
type Attributes = Vec<(&'static str, String)>;
type Known = Arc<Mutex<HashMap<Attributes, f64>>>;

/// The last value for each set of attributes.
#[derive(Clone, Debug)]
pub(super) struct Levels(Known);

impl Levels {
    pub(super) fn new(
        meter: &Meter,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        let levels = Self(Known::default());
        let told = levels.clone();
        // The meter keeps the callback, and with it the values.
        let _gauge = meter
            .f64_observable_gauge(name)
            .with_unit(unit)
            .with_description(description)
            .with_callback(move |observer| {
                for (attributes, level) in told.lock().iter() {
                    let attributes: Vec<KeyValue> = attributes
                        .iter()
                        .map(|(name, value)| KeyValue::new(*name, value.clone()))
                        .collect();
                    observer.observe(*level, &attributes);
                }
            })
            .build();
        levels
    }

    /// - `attributes`: few and bounded, as of any metric.
    pub(super) fn record(&self, level: f64, attributes: &[(&'static str, &str)]) {
        let attributes = attributes.iter().map(|&(name, value)| (name, value.to_owned())).collect();
        self.lock().insert(attributes, level);
    }

    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Attributes, f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
