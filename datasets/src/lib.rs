//! Data to start with: readers and generators.
//!
//! | read | to learn |
//! |---|---|
//! | [`read_csv`], [`read_table_here`] | CSV files as a table, on a cluster or here |
//! | [`CsvOptions`] | delimiters, missing values, kinds of columns |
//! | [`CsvIndex`] | what one pass over the files finds out |
//! | [`read_parquet`], [`ParquetOptions`], [`ParquetIndex`] | the same for Parquet; matrices of its columns |
//! | [`read_table`] | CSV or Parquet, whichever the files are |
//! | [`write_parquet`] | numbers as a Parquet file |
//! | [`make_regression`], [`make_classification`], [`make_counts`] | problems whose truth is known |
//! | [`known`] | small real data sets, built in |
//!
//! Nothing here knows a client or a worker: lazy tables and arrays are descriptions, which a client computes.

pub mod csv;
pub mod error;
pub mod known;
pub mod make;
mod parallel;
pub mod parquet;
mod paths;
mod table;

pub use csv::{CsvColumn, CsvIndex, CsvOptions, Mixed, read_csv, read_table_here};
pub use error::{Error, Result};
pub use make::{Made, Make, make_classification, make_counts, make_regression};
pub use parquet::{ParquetColumn, ParquetIndex, ParquetOptions, read_parquet, write_parquet};
pub use paths::Paths;
pub use table::{TableIndex, index_table, read_table};

/// Chunks begin on panel borders, or the same data would not give the same bits for every chunking.
fn check_chunk_rows(rows: usize) -> Result<()> {
    let panel = phalanx_array::PANEL;
    if rows > 0 && rows.is_multiple_of(panel) {
        return Ok(());
    }
    let expected = match rows / panel * panel {
        0 => format!("a multiple of {panel}, {panel} at least"),
        below => format!("a multiple of {panel}, such as {below} or {}", below + panel),
    };
    Err(Error::Parameter { name: "chunk_rows", value: rows.to_string(), expected })
}
