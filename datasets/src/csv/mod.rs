//! Reads CSV into tables: an index first, then any rows, on any machine, at once.

mod cell;
mod index;
pub(crate) mod levels;
mod options;
mod piece;
mod read;
mod records;
mod source;

pub use cell::MISSING;
pub(crate) use cell::shown;
pub(crate) use index::listed;
pub use index::{CsvColumn, CsvIndex};
pub use options::{CsvOptions, Mixed};
pub(crate) use read::{CHUNK_BYTES, on_this_worker};
pub use read::{read_csv, read_table_here};
