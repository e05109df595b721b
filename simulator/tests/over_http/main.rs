//! The platforms as a client meets them: over HTTP, from outside.

// The attribute tells clippy that helpers in here may unwrap as tests may.
#[cfg(test)]
mod client;
#[cfg(test)]
mod control;
#[cfg(test)]
mod discord;
#[cfg(test)]
mod discord_limits;
#[cfg(test)]
mod discord_webhooks;
#[cfg(test)]
mod eventbrite;
#[cfg(test)]
mod klaviyo;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod patreon;
#[cfg(test)]
mod patreon_webhooks;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod subscriptions;
#[cfg(test)]
mod universe;
#[cfg(test)]
mod webhooks;
