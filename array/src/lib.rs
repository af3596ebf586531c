//! Phalanx counts: lazy chunked arrays and tables, and the kernels on one block.
//!
//! | read | to learn |
//! |---|---|
//! | [`ChunkedArray`] | arrays larger than one worker, cut into chunks |
//! | [`panel`] | why results have the same bits for any chunks and any workers |
//! | [`Table`], [`Schema`], [`TableBlock`] | named columns of numbers and categories |
//! | [`Block`], [`kernel`], [`simd`] | one piece in memory, and the functions that run on it |
//!
//! Nothing here runs a task, opens a file or knows a worker: operations describe graphs of the engine crate.

pub mod block;
mod chunked;
pub mod chunks;
mod elementwise;
pub mod error;
mod gram;
pub mod kernel;
pub mod panel;
mod partial;
mod program;
mod publish;
mod random;
mod reduce;
mod regrid;
mod reshape;
pub mod schema;
pub mod simd;
mod table;
pub mod table_block;
mod tasks;

pub use block::Block;
pub use chunked::{ChunkedArray, chunk_rows_for};
pub use chunks::Chunks;
pub use error::{Error, Result};
pub use panel::PANEL;
pub use schema::{Field, Kind, Schema};
pub use table::Table;
pub use table_block::{Column, MISSING, Mask, TableBlock};
