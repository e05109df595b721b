//! When bulk runs start by themselves, and which ticks were taken.
