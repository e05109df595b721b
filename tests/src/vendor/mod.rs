//! The proof of the quotas by experiment: a vendor that counts strictly, clients in processes of
//! their own behind a network that jitters and stalls, and the usual limiters beside ours.

pub mod client;
pub mod counter;
pub mod gate;
pub mod latency;
pub mod plan;
pub mod platforms;
pub mod server;
pub mod table;
pub mod trial;
