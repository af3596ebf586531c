//! The `phalanx` program as its users meet it: commands in, files and exit codes out.

mod bad_input;
mod cluster;
mod commands;
mod keys;
mod seeing;
mod support;
