//! Reads CSV into tables: an index first, then any rows, on any machine, at once.

mod cell;
mod index;
mod levels;
mod options;
mod piece;
mod read;
mod records;
mod source;

pub use cell::MISSING;
pub use index::{CsvColumn, CsvIndex};
pub use options::{CsvOptions, Mixed};
pub use read::{read_csv, read_table_here};
