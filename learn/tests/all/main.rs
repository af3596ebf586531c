//! What the crate promises across its modules, in one program.

#![allow(clippy::unwrap_used)]

mod formula;
mod lazy;
mod metrics_binary;
mod missing;
mod steps;
