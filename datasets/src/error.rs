//! What can go wrong with data, in words for the person who has the file.

use std::{io, path::PathBuf};

/// Why data could not be read or made.
///
/// Every message is one line that says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that is not there.
    #[error("there is no file {}{hint}", path.display())]
    NotFound {
        /// The file that was asked for.
        path: PathBuf,
        /// What may have been meant, as the end of the sentence.
        hint: String,
    },
    /// A pattern that no file matches.
    #[error("no file matches {pattern}")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// A pattern that is not one.
    #[error("{pattern} is not a file pattern: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An empty list of files.
    #[error("no data files were given")]
    NoFiles,
    /// A directory where a file was expected.
    #[error("{} is a directory, expected a file; for all files in it say {}", path.display(), path.join("*.csv").display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// A file that cannot be opened or read here.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that a worker cannot read.
    #[error(
        "cannot read {} on host {host}, process {process}: {source}; \
         data files are read by the workers, so each must find them under the same path", path.display()
    )]
    WorkerRead {
        /// The file.
        path: PathBuf,
        /// The worker's host.
        host: String,
        /// The worker's process id.
        process: u32,
        /// What the system says.
        source: io::Error,
    },
    /// A file whose bytes are not those that were indexed.
    #[error("{} has changed since it was indexed ({what}); read it again from the start", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// How it is seen.
        what: String,
    },
    /// A file in a format that this reader does not know.
    #[error("{} is {format}, expected CSV, plain or gzip", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it is.
        format: &'static str,
    },
    /// A file without a single record.
    #[error("{} is empty, expected a line of column names", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A first record that looks like data.
    #[error(
        "line {line} of {} has no column names, only numbers; if the file has no header, say so (header = false)",
        path.display()
    )]
    NoHeader {
        /// The file.
        path: PathBuf,
        /// The header's line.
        line: u64,
    },
    /// A column without a name.
    #[error(
        "column {column} of {} has no name; if it is a row index, write the file without it \
         (pandas: index=False, R: row.names=FALSE)", path.display()
    )]
    NoName {
        /// The file.
        path: PathBuf,
        /// The column's place, from 1.
        column: usize,
    },
    /// Two columns of one name.
    #[error("columns {first} and {second} of {} are both called {name:?}; every column needs its own name", path.display())]
    DuplicateName {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// The place of the first, from 1.
        first: usize,
        /// The place of the second, from 1.
        second: usize,
    },
    /// A file that seems to have another delimiter.
    #[error(
        "{} has one column, called {name}; if its fields are separated by {found:?}, set the delimiter to it, \
         otherwise set the delimiter to ','", path.display()
    )]
    Delimiter {
        /// The file.
        path: PathBuf,
        /// The only column's name, in quotes.
        name: String,
        /// The delimiter that the name holds.
        found: char,
    },
    /// A record with too many or too few fields.
    #[error("line {line} of {} has {found} fields, expected {expected} as in its first line", path.display())]
    Ragged {
        /// The file.
        path: PathBuf,
        /// The physical line on which the record begins.
        line: u64,
        /// The fields it has.
        found: usize,
        /// The fields of the header.
        expected: usize,
    },
    /// Text that is not UTF-8.
    #[error("line {line} of {}, column {column:?}: {text} is not UTF-8; convert the file to UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The physical line on which the record begins.
        line: u64,
        /// The column's name, or its place in the header.
        column: String,
        /// What can be read of the text, in quotes.
        text: String,
    },
    /// A quote that is never closed.
    #[error("the record that begins on line {line} of {} opens a quote that is never closed", path.display())]
    Unclosed {
        /// The file.
        path: PathBuf,
        /// The physical line on which the record begins.
        line: u64,
    },
    /// A record of absurd length.
    #[error(
        "the record that begins on line {line} of {} is longer than 64 MiB; is a quote left open there?",
        path.display()
    )]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The physical line on which the record begins.
        line: u64,
    },
    /// Text in a column that was said to be numeric.
    #[error("line {line} of {}, column {column:?}: {text} is not a number", path.display())]
    TextInNumber {
        /// The file.
        path: PathBuf,
        /// The physical line on which the record begins.
        line: u64,
        /// The column's name.
        column: String,
        /// The text, in quotes.
        text: String,
    },
    /// A column in which both numbers and texts stand.
    #[error(
        "line {text_line} of {}, column {column:?}: {text} is not a number, but the column has numbers \
         (first on line {number_line} of {}); correct it, name it a missing value, or make the column categorical",
        text_path.display(), number_path.display()
    )]
    Mixed {
        /// The column's name.
        column: String,
        /// The file with the first text.
        text_path: PathBuf,
        /// The physical line on which the record with the first text begins.
        text_line: u64,
        /// The text, in quotes.
        text: String,
        /// The file with the first number.
        number_path: PathBuf,
        /// The physical line on which the record with the first number begins.
        number_line: u64,
    },
    /// A categorical column that has nearly as many values as rows.
    #[error(
        "column {column:?} of {} has more than {max_levels} levels, {text} among them; \
         leave the column out (drop), or raise max_levels", path.display()
    )]
    TooManyLevels {
        /// The file.
        path: PathBuf,
        /// The column's name.
        column: String,
        /// The level that is one too many, in quotes.
        text: String,
        /// The limit.
        max_levels: usize,
    },
    /// A column that no file has.
    #[error("there is no column {name:?} in {}{hint}", path.display())]
    UnknownColumn {
        /// The name that was asked for.
        name: String,
        /// The file.
        path: PathBuf,
        /// What may have been meant, as the end of the sentence.
        hint: String,
    },
    /// A column that is asked to be both.
    #[error("column {name:?} is named both categorical and numeric, expected one of them")]
    BothKinds {
        /// The column.
        name: String,
    },
    /// No column is left to read.
    #[error("no column of {} is left to read; name fewer in drop", path.display())]
    NoColumns {
        /// The file.
        path: PathBuf,
    },
    /// Files with different columns.
    #[error(
        "{} does not have the columns of {}: its column {column} is {found}, expected {expected}",
        path.display(), first.display()
    )]
    HeaderDiffers {
        /// The file that differs.
        path: PathBuf,
        /// The first file.
        first: PathBuf,
        /// The first column that differs, from 1.
        column: usize,
        /// What the file has there, in quotes, or "missing".
        found: String,
        /// What the first file has there, in quotes, or "missing".
        expected: String,
    },
    /// A Parquet file that is damaged, cut short, or was never finished.
    #[error("{} is not a whole Parquet file: {reason}; write it again", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A column whose values are of a kind that cannot be read as asked.
    #[error(
        "column {column:?} of {} holds {found}, expected {expected}; leave it out (drop), or write it as {expected}",
        path.display()
    )]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column's name.
        column: String,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// Files in which a column differs.
    #[error(
        "{} does not have the columns of {}: its column {column:?} is {found}, expected {expected}",
        path.display(), first.display()
    )]
    ColumnDiffers {
        /// The file that differs.
        path: PathBuf,
        /// The first file.
        first: PathBuf,
        /// The column's name.
        column: String,
        /// What it is there: its kind, or "missing".
        found: String,
        /// What it is in the first file.
        expected: String,
    },
    /// A text of a column that is not UTF-8.
    #[error("column {column:?} of {}: {text} is not UTF-8", path.display())]
    TextNotUtf8 {
        /// The file.
        path: PathBuf,
        /// The column's name.
        column: String,
        /// What can be read of the text, in quotes.
        text: String,
    },
    /// Files of two formats.
    #[error("{} is Parquet and {} is not; expected files of one format", parquet.display(), csv.display())]
    MixedFormats {
        /// The first Parquet file.
        parquet: PathBuf,
        /// The first other file.
        csv: PathBuf,
    },
    /// A file that cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A parameter out of its range.
    #[error("{name} is {value}, expected {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should have been.
        expected: String,
    },
    /// What the table or array crate refused.
    #[error(transparent)]
    Array(#[from] phalanx_array::Error),
}

/// What reading and making data give.
pub type Result<T, E = Error> = std::result::Result<T, E>;
