//! Turns platforms' webhooks into work.
