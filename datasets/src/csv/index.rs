//! Reads CSV files through once, so that any rows can later be found without reading what stands before them.
//!
//! The index records every column's name, kind, levels and missing values, and for every 256th row where it begins
//! (never inside quotes) with a checksum of the rows that follow. All that can be wrong with a file shows here, with
//! its line; whoever reads rows later only compares checksums.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use phalanx_array::{PANEL, schema::nearest};
use serde::{Deserialize, Serialize};

use super::{
    cell::{Cell, Missing, number, shown},
    levels::{self, LevelSet},
    options::{CsvOptions, Mixed},
    records::{Broken, Mark, Records},
    source::Source,
};
use crate::{
    error::{Error, Result},
    parallel::try_map,
    paths::Paths,
};

/// What one pass over CSV files finds out: columns, rows, and where rows begin.
///
/// ```
/// # fn main() -> phalanx_datasets::Result<()> {
/// use phalanx_datasets::{CsvIndex, CsvOptions};
/// # let folder = std::env::temp_dir().join(format!("phalanx-index-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let path = folder.join("bikes.csv");
/// std::fs::write(&path, "hour,weather,bikers\n0,clear,16\n1,rain,\n2,clear,32\n").unwrap();
/// let index = CsvIndex::of(&path, &CsvOptions::new())?;
/// assert_eq!(index.n_rows(), 3);
/// assert_eq!(index.columns()[1].levels(), Some(&["clear".to_owned(), "rain".to_owned()][..]));
/// assert_eq!(index.columns()[2].n_missing(), 1);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvIndex {
    pub(crate) files: Vec<FileIndex>,
    pub(crate) columns: Vec<CsvColumn>,
    pub(crate) format: Format,
}

/// A column of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvColumn {
    pub(crate) name: String,
    /// The place among the file's fields.
    pub(crate) position: usize,
    /// The levels of a categorical column, sorted; none for numbers.
    pub(crate) levels: Option<Vec<String>>,
    pub(crate) n_missing: u64,
}

/// How the text of the files is cut and read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Format {
    pub(crate) delimiter: u8,
    pub(crate) missing: Vec<String>,
}

/// Where the rows of one file are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileIndex {
    pub(crate) path: PathBuf,
    pub(crate) gzip: bool,
    /// The length on disk.
    pub(crate) n_bytes: u64,
    pub(crate) n_rows: u64,
    /// Of the rows 0, PANEL, 2 * PANEL, ... of this file.
    pub(crate) marks: Vec<Mark>,
    /// The length of the text, decompressed.
    pub(crate) end: u64,
}

impl CsvIndex {
    /// Indexes files where they are, in this process; several files at once when there are several.
    ///
    /// # Errors
    /// Whatever is wrong with a file's text, with file and line; files that are missing or cannot be read; columns
    /// that differ between files; names in `options` that no column has.
    pub fn of(paths: impl Into<Paths>, options: &CsvOptions) -> Result<Self> {
        Self::of_files(&paths.into().resolve()?, options)
    }

    /// Rows of all files together.
    pub fn n_rows(&self) -> u64 {
        self.files.iter().map(|file| file.n_rows).sum()
    }

    /// The columns, in the files' order.
    pub fn columns(&self) -> &[CsvColumn] {
        &self.columns
    }

    /// The files, absolute, in the order of their rows.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    pub(crate) fn of_files(files: &[PathBuf], options: &CsvOptions) -> Result<Self> {
        Self::repeat_for_mixed(options, |options| merge(try_map(files, |path| scan_file(path, options))?, options))
    }

    /// Indexes a text that is in memory, called `path` in messages.
    pub(crate) fn of_text(text: &[u8], path: &Path, options: &CsvOptions) -> Result<Self> {
        Self::repeat_for_mixed(options, |options| {
            let file = FileIndex {
                path: path.to_owned(),
                gzip: false,
                n_bytes: text.len() as u64,
                n_rows: 0,
                marks: Vec::new(),
                end: 0,
            };
            merge(vec![scan(text, file, options)?], options)
        })
    }

    /// Goes over the files again when a column turns out to be mixed, now with all its texts as levels.
    fn repeat_for_mixed(options: &CsvOptions, pass: impl Fn(&CsvOptions) -> Result<Self>) -> Result<Self> {
        check(options)?;
        let mut options = options.clone();
        loop {
            match pass(&options) {
                Err(Error::Mixed { column, .. }) if options.mixed == Mixed::Categorical => {
                    options.categorical.push(column);
                }
                result => return result,
            }
        }
    }
}

impl CsvColumn {
    /// The name in the header.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sorted levels of a categorical column; none for a column of numbers.
    pub fn levels(&self) -> Option<&[String]> {
        self.levels.as_deref()
    }

    /// How many fields are missing.
    pub const fn n_missing(&self) -> u64 {
        self.n_missing
    }
}

/// What the pass over one file found.
struct FileScan {
    file: FileIndex,
    names: Vec<String>,
    columns: Vec<ColumnScan>,
}

/// A column while it is read through.
struct ColumnScan {
    name: String,
    position: usize,
    asked: Option<Asked>,
    first_number: Option<u64>,
    first_text: Option<(u64, String)>,
    levels: LevelSet,
    n_missing: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Number,
    Categorical,
}

fn check(options: &CsvOptions) -> Result<()> {
    if let Some(delimiter) = options.delimiter
        && (!delimiter.is_ascii() || matches!(delimiter, b'"' | b'\n' | b'\r'))
    {
        return Err(Error::Parameter {
            name: "delimiter",
            value: format!("{:?}", char::from(delimiter)),
            expected: "an ASCII character other than a quote or a newline".into(),
        });
    }
    if options.max_levels == 0 {
        return Err(Error::Parameter { name: "max_levels", value: "0".into(), expected: "1 or more".into() });
    }
    if let Some(rows) = options.chunk_rows {
        crate::check_chunk_rows(rows)?;
    }
    match options.categorical.iter().find(|name| options.numeric.contains(name)) {
        Some(name) => Err(Error::BothKinds { name: name.clone() }),
        None => Ok(()),
    }
}

fn scan_file(path: &Path, options: &CsvOptions) -> Result<FileScan> {
    let source = Source::open(path)?;
    let file = FileIndex {
        path: path.to_owned(),
        gzip: source.gzip,
        n_bytes: source.n_bytes,
        n_rows: 0,
        marks: Vec::new(),
        end: 0,
    };
    let text = source.text_from(0).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    scan(text, file, options)
}

/// The pass over one file.
fn scan<R: Read>(text: R, mut file: FileIndex, options: &CsvOptions) -> Result<FileScan> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let path = file.path.clone();
    let broken = |error| explain(error, &path);
    let missing = Missing::new(&options.missing);
    let mut records = Records::new(text, options.delimiter.unwrap_or(b','));
    if records.peek().map_err(|error| broken(error.into()))?.starts_with(BYTE_ORDER_MARK) {
        records.skip(BYTE_ORDER_MARK.len());
    }
    if !records.find().map_err(|error| broken(error.into()))? {
        return Err(Error::Empty { path });
    }
    let mut names = Vec::new();
    let mut columns = Vec::new();
    if options.header {
        records.read().map_err(broken)?;
        names = header(&records, &path, options)?;
        columns = choose(&names, &path, options)?;
    }
    while records.find().map_err(|error| broken(error.into()))? {
        if file.n_rows.is_multiple_of(PANEL as u64) {
            set_mark(&mut file, &mut records);
        }
        records.read().map_err(broken)?;
        if names.is_empty() {
            names = (1..=records.n_fields()).map(|place| format!("column_{place}")).collect();
            columns = choose(&names, &path, options)?;
        }
        if records.n_fields() != names.len() {
            let (line, found) = (records.line(), records.n_fields());
            return Err(Error::Ragged { path, line, found, expected: names.len() });
        }
        for column in &mut columns {
            column.see(records.field(column.position), records.line(), &missing, &path, options.max_levels)?;
        }
        file.n_rows += 1;
    }
    close_mark(&mut file, &mut records);
    Ok(FileScan { file, names, columns })
}

fn explain(error: Broken, path: &Path) -> Error {
    let path = path.to_owned();
    match error {
        Broken::Io(source) => Error::Read { path, source },
        Broken::Unclosed { line } => Error::Unclosed { path, line },
        Broken::TooLong { line } => Error::TooLong { path, line },
    }
}

/// Marks the row that begins here, and gives the mark before it the checksum of its rows.
fn set_mark<R: Read>(file: &mut FileIndex, records: &mut Records<R>) {
    close_mark(file, records);
    file.marks.push(Mark { offset: records.offset(), crc: 0 });
}

fn close_mark<R: Read>(file: &mut FileIndex, records: &mut Records<R>) {
    let crc = records.take_crc();
    if let Some(mark) = file.marks.last_mut() {
        mark.crc = crc;
    }
    file.end = records.offset();
}

/// The column names of the record at hand, checked.
fn header<R: Read>(records: &Records<R>, path: &Path, options: &CsvOptions) -> Result<Vec<String>> {
    let path = || path.to_owned();
    let line = records.line();
    let mut names = Vec::new();
    for (place, field) in (0..records.n_fields()).map(|at| (at + 1, records.field(at))) {
        let Ok(name) = std::str::from_utf8(field) else {
            return Err(Error::NotUtf8 { path: path(), line, column: place.to_string(), text: shown(field) });
        };
        if let Some(first) = names.iter().position(|known| known == name)
            && !name.is_empty()
        {
            return Err(Error::DuplicateName { path: path(), name: name.to_owned(), first: first + 1, second: place });
        }
        names.push(name.to_owned());
    }
    if names.iter().all(|name| number(name.as_bytes()).is_some()) {
        return Err(Error::NoHeader { path: path(), line });
    }
    if let Some(unnamed) = names.iter().position(|name| name.trim().is_empty()) {
        return Err(Error::NoName { path: path(), column: unnamed + 1 });
    }
    if let [name] = names.as_slice()
        && options.delimiter.is_none()
        && let Some(found) = name.chars().find(|c| matches!(c, ';' | '\t' | '|'))
    {
        return Err(Error::Delimiter { path: path(), name: shown(name.as_bytes()), found });
    }
    Ok(names)
}

/// The columns that `options` ask for.
fn choose(names: &[String], path: &Path, options: &CsvOptions) -> Result<Vec<ColumnScan>> {
    let asked = options.columns.iter().flatten().chain(&options.drop).chain(&options.categorical);
    for name in asked.chain(&options.numeric) {
        if !names.contains(name) {
            let hint = match nearest(name, names.iter().map(String::as_str)) {
                Some(near) => format!("; did you mean {near:?}?"),
                None => format!("; it has {}", listed(names)),
            };
            return Err(Error::UnknownColumn { name: name.clone(), path: path.to_owned(), hint });
        }
    }
    let wanted = |name: &String| {
        options.columns.as_ref().is_none_or(|columns| columns.contains(name)) && !options.drop.contains(name)
    };
    let columns: Vec<ColumnScan> = names
        .iter()
        .enumerate()
        .filter(|(_, name)| wanted(name))
        .map(|(position, name)| ColumnScan {
            name: name.clone(),
            position,
            asked: if options.categorical.contains(name) {
                Some(Asked::Categorical)
            } else if options.numeric.contains(name) {
                Some(Asked::Number)
            } else {
                None
            },
            first_number: None,
            first_text: None,
            levels: LevelSet::default(),
            n_missing: 0,
        })
        .collect();
    if columns.is_empty() { Err(Error::NoColumns { path: path.to_owned() }) } else { Ok(columns) }
}

pub(crate) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut text = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}

impl ColumnScan {
    /// Takes note of one field.
    fn see(&mut self, field: &[u8], line: u64, missing: &Missing, path: &Path, max_levels: usize) -> Result<()> {
        let may_be_text = self.first_text.is_some() || self.asked == Some(Asked::Categorical);
        if may_be_text && self.levels.has(field) {
            return Ok(());
        }
        if self.asked == Some(Asked::Categorical) {
            if missing.is(field) {
                self.n_missing += 1;
                return Ok(());
            }
            return self.add_level(field, line, path, max_levels);
        }
        match missing.cell(field) {
            Cell::Missing => self.n_missing += 1,
            Cell::Number(_) => {
                if self.first_number.is_none() {
                    self.first_number = Some(line);
                    self.refuse_mixed(path, path)?;
                }
            }
            Cell::Text(text) if self.asked == Some(Asked::Number) => {
                let (path, column) = (path.to_owned(), self.name.clone());
                return Err(Error::TextInNumber { path, line, column, text: shown(text) });
            }
            Cell::Text(text) => {
                self.add_level(text, line, path, max_levels)?;
                if self.first_text.is_none() {
                    self.first_text = Some((line, shown(text)));
                    self.refuse_mixed(path, path)?;
                }
            }
        }
        Ok(())
    }

    fn add_level(&mut self, field: &[u8], line: u64, path: &Path, max_levels: usize) -> Result<()> {
        let error = |column: &str| (path.to_owned(), column.to_owned(), shown(field));
        let Ok(level) = std::str::from_utf8(field) else {
            let (path, column, text) = error(&self.name);
            return Err(Error::NotUtf8 { path, line, column, text });
        };
        self.levels.add(level);
        if self.levels.len() > max_levels {
            let (path, column, text) = error(&self.name);
            return Err(Error::TooManyLevels { path, column, text, max_levels });
        }
        Ok(())
    }

    /// An error when both a number and a text were seen, in the files named.
    fn refuse_mixed(&self, number_path: &Path, text_path: &Path) -> Result<()> {
        match (self.first_number, &self.first_text) {
            (Some(number_line), Some((text_line, text))) => Err(Error::Mixed {
                column: self.name.clone(),
                text_path: text_path.to_owned(),
                text_line: *text_line,
                text: text.clone(),
                number_path: number_path.to_owned(),
                number_line,
            }),
            _ => Ok(()),
        }
    }
}

/// Puts what was found in each file together: the same columns, all levels.
fn merge(scans: Vec<FileScan>, options: &CsvOptions) -> Result<CsvIndex> {
    let format = Format { delimiter: options.delimiter.unwrap_or(b','), missing: options.missing.clone() };
    let mut files: Vec<FileIndex> = Vec::new();
    let mut first_names: Vec<String> = Vec::new();
    let mut columns: Vec<MergedColumn> = Vec::new();
    for scan in scans {
        if let Some(first) = files.first() {
            same_names(&first.path, &first_names, &scan.file.path, &scan.names)?;
        } else {
            first_names = scan.names;
            columns = scan.columns.iter().map(MergedColumn::like).collect();
        }
        for (merged, column) in columns.iter_mut().zip(scan.columns) {
            merged.add(column, &scan.file.path, options.max_levels)?;
        }
        files.push(scan.file);
    }
    Ok(CsvIndex { files, columns: columns.into_iter().map(MergedColumn::finish).collect(), format })
}

fn same_names(first: &Path, expected: &[String], path: &Path, found: &[String]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let at = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let shown = |names: &[String]| names.get(at).map_or("missing".to_owned(), |name| format!("{name:?}"));
    Err(Error::HeaderDiffers {
        path: path.to_owned(),
        first: first.to_owned(),
        column: at + 1,
        found: shown(found),
        expected: shown(expected),
    })
}

/// A column over several files.
struct MergedColumn {
    seen: ColumnScan,
    number_path: PathBuf,
    text_path: PathBuf,
    levels: Vec<String>,
}

impl MergedColumn {
    fn like(column: &ColumnScan) -> Self {
        Self {
            seen: ColumnScan {
                name: column.name.clone(),
                position: column.position,
                asked: column.asked,
                first_number: None,
                first_text: None,
                levels: LevelSet::default(),
                n_missing: 0,
            },
            number_path: PathBuf::new(),
            text_path: PathBuf::new(),
            levels: Vec::new(),
        }
    }

    fn add(&mut self, column: ColumnScan, path: &Path, max_levels: usize) -> Result<()> {
        self.seen.n_missing += column.n_missing;
        if let (None, Some(line)) = (self.seen.first_number, column.first_number) {
            self.seen.first_number = Some(line);
            path.clone_into(&mut self.number_path);
        }
        if let (None, Some(found)) = (&self.seen.first_text, column.first_text) {
            self.seen.first_text = Some(found);
            path.clone_into(&mut self.text_path);
        }
        self.seen.refuse_mixed(&self.number_path, &self.text_path)?;
        self.levels.extend(column.levels.into_texts());
        levels::sort(&mut self.levels);
        if self.levels.len() > max_levels {
            let (column, text) = (self.seen.name.clone(), shown(self.levels[max_levels].as_bytes()));
            return Err(Error::TooManyLevels { path: path.to_owned(), column, text, max_levels });
        }
        Ok(())
    }

    fn finish(self) -> CsvColumn {
        let categorical = self.seen.asked == Some(Asked::Categorical) || self.seen.first_text.is_some();
        CsvColumn {
            name: self.seen.name,
            position: self.seen.position,
            levels: categorical.then_some(self.levels),
            n_missing: self.seen.n_missing,
        }
    }
}
