//! Shows people what is going on.
