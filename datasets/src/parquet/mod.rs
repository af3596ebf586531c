//! Reads Parquet into tables and arrays: the footers first, then any rows, on any machine, at once.

mod cursor;
mod index;
mod options;
mod positioned;
mod read;
mod source;
mod write;

pub use index::{ParquetColumn, ParquetIndex};
pub use options::ParquetOptions;
pub use read::read_parquet;
pub use write::write_parquet;
