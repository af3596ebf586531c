//! The `phalanx` program as a library, so that users' own binaries have its commands and their own tasks.

pub mod args;
mod data;
pub mod error;
mod output;
mod sweep_file;
mod yaml;

pub use error::{Error, Result};
