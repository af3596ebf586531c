//! What of a Parquet file is to be read.

use crate::csv::CsvOptions;

/// How to read Parquet files; made with [`new`](Self::new) and the setters, each named after its parameter.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `categorical` | none | columns to read as categorical whatever they hold; of numbers, the levels are the numbers as text | names |
/// | `numeric` | none | columns in which texts are an error | names |
/// | `columns` | all | columns to read, in the first file's order; nothing of the others is read | names |
/// | `drop` | none | columns to leave out; nothing of them is read | names |
/// | `max_levels` | 65,536 | levels a categorical column may have | 1 or more |
/// | `chunk_rows` | as many as take about 32 MB | rows of a chunk | multiple of [`PANEL`](phalanx_array::PANEL) |
///
/// Integers of any width (beyond 2^53 rounded), floats, booleans (0 and 1) and decimals are numbers; texts and enums
/// are categorical, their levels sorted as those of CSV. Nulls and NaN are missing. Dates, times, nested and binary
/// columns are refused by name where they are asked for.
///
/// ```
/// use phalanx_datasets::ParquetOptions;
/// let options = ParquetOptions::new().categorical(["hr", "mnth"]).drop(["casual", "registered"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParquetOptions {
    pub(crate) categorical: Vec<String>,
    pub(crate) numeric: Vec<String>,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) drop: Vec<String>,
    pub(crate) max_levels: usize,
    pub(crate) chunk_rows: Option<usize>,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self::from(&CsvOptions::new())
    }
}

/// What both formats have; what only text needs (delimiter, header, missing texts) is left behind.
impl From<&CsvOptions> for ParquetOptions {
    fn from(options: &CsvOptions) -> Self {
        Self {
            categorical: options.categorical.clone(),
            numeric: options.numeric.clone(),
            columns: options.columns.clone(),
            drop: options.drop.clone(),
            max_levels: options.max_levels,
            chunk_rows: options.chunk_rows,
        }
    }
}

impl ParquetOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Columns to read as categorical whatever they hold. Default none.
    pub fn categorical<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.categorical = names.into_iter().map(Into::into).collect();
        self
    }

    /// Columns that must hold numbers. Default none.
    pub fn numeric<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.numeric = names.into_iter().map(Into::into).collect();
        self
    }

    /// The only columns to read, in the first file's order. Default all.
    pub fn columns<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Columns to leave out. Default none.
    pub fn drop<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.drop = names.into_iter().map(Into::into).collect();
        self
    }

    /// How many levels a categorical column may have. Default 65,536.
    pub fn max_levels(mut self, max_levels: usize) -> Self {
        self.max_levels = max_levels;
        self
    }

    /// Rows of a chunk, a multiple of [`PANEL`](phalanx_array::PANEL). Default: as many as take about 32 MB.
    pub fn chunk_rows(mut self, rows: usize) -> Self {
        self.chunk_rows = Some(rows);
        self
    }
}
