//! What readers and generators promise, seen from outside: one program, so that it links once.

#![allow(clippy::unwrap_used)]

mod csv_errors;
mod csv_texts;
mod fuzz;
mod known;
mod support;
