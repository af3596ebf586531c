//! Phalanx counts: lazy chunked arrays and tables, and the kernels on one block.

pub mod block;
pub mod chunks;
pub mod error;
pub mod kernel;
pub mod panel;
pub(crate) mod partial;
pub(crate) mod program;
pub mod schema;
pub mod simd;
pub mod table_block;

pub use block::Block;
pub use chunks::Chunks;
pub use error::{Error, Result};
pub use panel::PANEL;
pub use schema::{Field, Kind, Schema};
pub use table_block::{Column, MISSING, Mask, TableBlock};
