//! Lazy arrays and tables, computed in this process.
#![allow(clippy::unwrap_used)]

mod arrays;
mod bits;
mod local;
mod tables;
