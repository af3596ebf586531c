//! Searches as their users see them, in one program.

#![allow(clippy::unwrap_used)]

mod cluster;
mod grid_search;
mod linfa;
mod ridge;
mod search;
