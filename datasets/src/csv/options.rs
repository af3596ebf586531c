//! How a CSV file is to be read.

use super::cell::MISSING;

/// What to do with a column in which both numbers and texts stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mixed {
    /// Refuse it, naming the lines of the first text and the first number: most often the text is a slip.
    #[default]
    Refuse,
    /// Read it as categorical. Each such column costs one more indexing pass.
    Categorical,
}

/// How to read CSV files; made with [`new`](Self::new) and the setters, each named after its parameter.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `delimiter` | `,` | the byte between fields; left at its default, a file of one column that seems to have another delimiter is refused | ASCII, not a quote or newline |
/// | `header` | true | whether the first record names the columns; without, they are `column_1`, `column_2`, ... | |
/// | `categorical` | none | columns to read as categorical whatever they hold | names |
/// | `numeric` | none | columns in which a text is an error even if there is no number | names |
/// | `columns` | all | columns to read, in the file's order | names |
/// | `drop` | none | columns to leave out; their fields are not looked at | names |
/// | `missing` | [`MISSING`] | texts that mean "missing", instead of the known ones; an empty field and "nan" always do | any |
/// | `mixed` | [`Mixed::Refuse`] | what to do with a column of numbers and texts | |
/// | `max_levels` | 65,536 | levels a categorical column may have | 1 or more |
/// | `chunk_rows` | as many as take about 32 MB | rows of a chunk | multiple of [`PANEL`](phalanx_array::PANEL) |
///
/// A column is of numbers when all its fields but the missing ones are, categorical when none is. `true` and `false`
/// are texts. A column without any value is of numbers. Blanks around numbers and missing texts do not count; those
/// around other texts do. Levels are sorted: by value when all are numbers, otherwise as text.
///
/// ```
/// use phalanx_datasets::CsvOptions;
/// let options = CsvOptions::new().categorical(["hr", "mnth"]).drop(["casual", "registered"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    pub(crate) delimiter: Option<u8>,
    pub(crate) header: bool,
    pub(crate) categorical: Vec<String>,
    pub(crate) numeric: Vec<String>,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) drop: Vec<String>,
    pub(crate) missing: Vec<String>,
    pub(crate) mixed: Mixed,
    pub(crate) max_levels: usize,
    pub(crate) chunk_rows: Option<usize>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: None,
            header: true,
            categorical: Vec::new(),
            numeric: Vec::new(),
            columns: None,
            drop: Vec::new(),
            missing: MISSING.map(String::from).to_vec(),
            mixed: Mixed::Refuse,
            max_levels: 65_536,
            chunk_rows: None,
        }
    }
}

impl CsvOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The byte between fields. Default `,`.
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = Some(delimiter);
        self
    }

    /// Whether the first record names the columns. Default true.
    pub fn header(mut self, header: bool) -> Self {
        self.header = header;
        self
    }

    /// Columns to read as categorical whatever they hold. Default none.
    pub fn categorical<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.categorical = strings(names);
        self
    }

    /// Columns that must hold numbers. Default none.
    pub fn numeric<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.numeric = strings(names);
        self
    }

    /// The only columns to read, in the file's order. Default all.
    pub fn columns<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(strings(names));
        self
    }

    /// Columns to leave out. Default none.
    pub fn drop<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.drop = strings(names);
        self
    }

    /// Texts that mean "missing", instead of [`MISSING`].
    pub fn missing<S: Into<String>>(mut self, texts: impl IntoIterator<Item = S>) -> Self {
        self.missing = strings(texts);
        self
    }

    /// What to do with a column of numbers and texts. Default [`Mixed::Refuse`].
    pub fn mixed(mut self, mixed: Mixed) -> Self {
        self.mixed = mixed;
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

fn strings<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> Vec<String> {
    texts.into_iter().map(Into::into).collect()
}
