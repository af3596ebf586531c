//! What readers and generators promise, seen from outside: one program, so that it links once.

#![allow(clippy::unwrap_used)]

mod compute;
mod csv_chunks;
mod csv_errors;
mod csv_texts;
mod fuzz;
mod known;
mod make;
mod parquet;
mod support;
