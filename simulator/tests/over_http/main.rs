//! The platforms as a client meets them: over HTTP, from outside.

// The attribute tells clippy that helpers in here may unwrap as tests may.
#[cfg(test)]
mod client;
#[cfg(test)]
mod control;
#[cfg(test)]
mod eventbrite;
#[cfg(test)]
mod klaviyo;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod webhooks;
