//! Jobs that were given up.
