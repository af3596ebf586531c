//! One call for every format: which one a file has is told by its first bytes, never by its name.

use std::{fs::File, io::Read, path::Path};

use phalanx_array::Table;

use crate::{
    csv::{CsvIndex, CsvOptions},
    error::{Error, Result},
    parquet::{ParquetIndex, ParquetOptions},
    paths::Paths,
};

/// A table of the rows of CSV or Parquet files, in the order of the files: [`read_csv`](crate::read_csv) or
/// [`read_parquet`](crate::read_parquet), whichever the files are.
///
/// Files that begin with `PAR1` are Parquet, all others CSV. Of the options only what both formats have is looked at
/// for Parquet: columns, kinds, `max_levels` and `chunk_rows`.
///
/// # Errors
/// When files of both formats are among them, and as the two calls.
///
/// ```
/// # fn main() -> phalanx_datasets::Result<()> {
/// use ndarray::array;
/// use phalanx_datasets::{CsvOptions, read_table, write_parquet};
/// # let path = std::env::temp_dir().join(format!("phalanx-table-{}.parquet", std::process::id()));
/// write_parquet(&path, &["hour", "bikers"], [array![[0., 16.], [1., 3.]]])?;
/// assert_eq!(read_table(&path, &CsvOptions::new())?.n_rows(), 2);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok(())
/// # }
/// ```
pub fn read_table(paths: impl Into<Paths>, options: &CsvOptions) -> Result<Table> {
    index_table(paths, options)?.table(options.chunk_rows)
}

/// What files of either format hold, before any row of them is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableIndex {
    /// CSV, plain or compressed.
    Csv(CsvIndex),
    /// Parquet, of which any rows and columns are quickly read, again and again.
    Parquet(ParquetIndex),
}

impl TableIndex {
    /// A lazy table of all rows in chunks of `chunk_rows`, or of about 32 MB.
    ///
    /// # Errors
    /// When `chunk_rows` is not a multiple of [`PANEL`](phalanx_array::PANEL).
    pub fn table(&self, chunk_rows: Option<usize>) -> Result<Table> {
        match self {
            Self::Csv(index) => index.table(chunk_rows),
            Self::Parquet(index) => index.table(chunk_rows),
        }
    }
}

/// Indexes files of either format, as [`read_table`] does before it describes how they are read.
///
/// # Errors
/// As [`read_table`].
///
/// ```
/// # fn main() -> phalanx_datasets::Result<()> {
/// use ndarray::array;
/// use phalanx_datasets::{CsvOptions, TableIndex, index_table, write_parquet};
/// # let path = std::env::temp_dir().join(format!("phalanx-index-{}.parquet", std::process::id()));
/// write_parquet(&path, &["hour", "bikers"], [array![[0., 16.], [1., 3.]]])?;
/// let TableIndex::Parquet(index) = index_table(&path, &CsvOptions::new())? else { panic!("it is Parquet") };
/// assert_eq!(index.select(&["bikers"])?.table(None)?.schema().names().collect::<Vec<_>>(), ["bikers"]);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok(())
/// # }
/// ```
pub fn index_table(paths: impl Into<Paths>, options: &CsvOptions) -> Result<TableIndex> {
    let files = paths.into().resolve()?;
    let is_parquet = files.iter().map(|path| is_parquet(path)).collect::<Result<Vec<_>>>()?;
    let of = |parquet: bool| is_parquet.iter().position(|is| *is == parquet).map(|place| files[place].clone());
    match (of(true), of(false)) {
        (Some(parquet), Some(csv)) => Err(Error::MixedFormats { parquet, csv }),
        (Some(_), None) => Ok(TableIndex::Parquet(ParquetIndex::of_files(&files, &ParquetOptions::from(options))?)),
        (None, _) => Ok(TableIndex::Csv(CsvIndex::of_files(&files, options)?)),
    }
}

/// Whether a file is Parquet. One that is called so and is not is refused: read as text it would be called odder things.
fn is_parquet(path: &Path) -> Result<bool> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let mut head = Vec::new();
    File::open(path).map_err(read)?.take(4).read_to_end(&mut head).map_err(read)?;
    let is_named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
    match (head == b"PAR1", is_named) {
        (false, true) => Err(Error::Broken { path: path.to_owned(), reason: "it does not begin with PAR1".into() }),
        (is_parquet, _) => Ok(is_parquet),
    }
}
