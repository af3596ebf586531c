//! Reads the footers of Parquet files, and of text columns the dictionaries, so that any rows can later be read.
//!
//! The footers say how many rows there are and what the columns hold. The levels of a text column stand in its
//! dictionary pages; only where a column is not wholly in dictionaries are its values read.

use std::path::{Path, PathBuf};

use parquet::{
    basic::{Encoding, PageType},
    column::page::Page,
    file::metadata::ColumnChunkMetaData,
};
use phalanx_array::{Field, Schema, schema::nearest};
use serde::{Deserialize, Serialize};

use super::{
    cursor::Cursor,
    options::ParquetOptions,
    source::{Leaf, Meaning, Source, explained, guarded},
};
use crate::{
    csv::{levels, levels::LevelSet, shown},
    error::{Error, Result},
    parallel::try_map,
    paths::Paths,
};

/// Rows that are looked at together when levels are collected.
const STEP: usize = 4096;

/// What the footers of Parquet files say: columns and rows.
///
/// ```
/// # fn main() -> phalanx_datasets::Result<()> {
/// use ndarray::array;
/// use phalanx_datasets::{ParquetIndex, ParquetOptions, write_parquet};
/// # let folder = std::env::temp_dir().join(format!("phalanx-parquet-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let path = folder.join("bikes.parquet");
/// write_parquet(&path, &["hour", "bikers"], [array![[0., 16.], [1., f64::NAN], [2., 32.]]])?;
/// let index = ParquetIndex::of(&path, &ParquetOptions::new())?;
/// assert_eq!(index.n_rows(), 3);
/// assert_eq!(index.columns()[1].name(), "bikers");
/// assert_eq!(index.columns()[1].levels(), None);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParquetIndex {
    pub(crate) files: Vec<FileIndex>,
    pub(crate) columns: Vec<ParquetColumn>,
}

/// A column of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParquetColumn {
    pub(crate) name: String,
    /// The levels of a categorical column, sorted; none for numbers.
    pub(crate) levels: Option<Vec<String>>,
}

/// One file, and by what it is known again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileIndex {
    pub(crate) path: PathBuf,
    pub(crate) n_bytes: u64,
    /// The checksum of the footer.
    pub(crate) footer: u32,
    pub(crate) n_rows: u64,
}

impl ParquetIndex {
    /// Indexes files where they are, in this process; several files and columns at once.
    ///
    /// # Errors
    /// Files that are missing, cannot be read or are no whole Parquet files; columns of kinds that are not read, or
    /// that differ between files; names in `options` that no column has.
    pub fn of(paths: impl Into<Paths>, options: &ParquetOptions) -> Result<Self> {
        Self::of_files(&paths.into().resolve()?, options)
    }

    pub(crate) fn of_files(paths: &[PathBuf], options: &ParquetOptions) -> Result<Self> {
        check(options)?;
        let sources = try_map(paths, |path| Source::open(path))?;
        let [first, others @ ..] = &sources[..] else { return Err(Error::NoFiles) };
        let columns = choose(&first.leaves(), &first.path, options)?;
        for other in others {
            same_columns(&columns, first, other, options)?;
        }
        let wanted = columns.iter().filter(|column| column.levels.is_some());
        let wanted: Vec<_> = wanted.flat_map(|column| sources.iter().map(move |source| (column, source))).collect();
        let mut found = try_map(&wanted, |(column, source)| {
            guarded(&source.path, || levels_of(&column.name, source, options.max_levels))
        })?
        .into_iter();
        let mut all = Vec::new();
        for mut column in columns {
            if let Some(levels) = &mut column.levels {
                levels.extend(found.by_ref().take(sources.len()).flatten());
                levels::sort(levels);
                if let Some(text) = levels.get(options.max_levels) {
                    let (path, text) = (first.path.clone(), shown(text.as_bytes()));
                    return Err(too_many(path, &column.name, text, options.max_levels));
                }
            }
            all.push(column);
        }
        let file = |source: &Source| FileIndex {
            path: source.path.clone(),
            n_bytes: source.n_bytes,
            footer: source.footer,
            n_rows: source.n_rows(),
        };
        Ok(Self { files: sources.iter().map(file).collect(), columns: all })
    }

    /// Rows of all files together.
    pub fn n_rows(&self) -> u64 {
        self.files.iter().map(|file| file.n_rows).sum()
    }

    /// The columns, in the first file's order.
    pub fn columns(&self) -> &[ParquetColumn] {
        &self.columns
    }

    /// The same rows with some of the columns, in the order named: nothing of the others is read.
    ///
    /// # Errors
    /// When a column is not there, or named twice.
    pub fn select<S: AsRef<str>>(&self, names: &[S]) -> Result<Self> {
        // The schema's own errors.
        let schema = self.schema()?;
        let places = names.iter().map(|name| schema.position(name.as_ref())).collect::<Result<Vec<_>, _>>()?;
        schema.select(&places)?;
        let columns = places.into_iter().map(|place| self.columns[place].clone()).collect();
        Ok(Self { files: self.files.clone(), columns })
    }

    /// Bytes of a row in memory.
    pub fn row_bytes(&self) -> u64 {
        self.columns.iter().map(|column| if column.levels.is_some() { 4 } else { 8 }).sum::<u64>().max(1)
    }

    /// The files, absolute, in the order of their rows.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// The columns' names, kinds and levels.
    ///
    /// # Errors
    /// None that an index made by [`of`](Self::of) could have.
    pub fn schema(&self) -> Result<Schema> {
        let field = |column: &ParquetColumn| match &column.levels {
            None => Field::number(&column.name),
            Some(levels) => Field::categorical(&column.name, levels),
        };
        Ok(Schema::new(self.columns.iter().map(field).collect())?)
    }
}

impl ParquetColumn {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sorted levels of a categorical column, as the dictionaries have them; none for a column of numbers.
    pub fn levels(&self) -> Option<&[String]> {
        self.levels.as_deref()
    }
}

fn check(options: &ParquetOptions) -> Result<()> {
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

/// The columns that `options` ask for, those of texts without their levels yet.
fn choose(leaves: &[Leaf], path: &Path, options: &ParquetOptions) -> Result<Vec<ParquetColumn>> {
    for (place, leaf) in leaves.iter().enumerate() {
        if let Some(first) = leaves[..place].iter().position(|other| other.name == leaf.name) {
            let (path, name) = (path.to_owned(), leaf.name.clone());
            return Err(Error::DuplicateName { path, name, first: first + 1, second: place + 1 });
        }
    }
    let asked = options.columns.iter().flatten().chain(&options.drop).chain(&options.categorical);
    for name in asked.chain(&options.numeric) {
        if !leaves.iter().any(|leaf| leaf.name == *name) {
            let names = leaves.iter().map(|leaf| leaf.name.as_str());
            let hint = match nearest(name, names.clone()) {
                Some(near) => format!("; did you mean {near:?}?"),
                None => format!("; it has {}", crate::csv::listed(&names.map(String::from).collect::<Vec<_>>())),
            };
            return Err(Error::UnknownColumn { name: name.clone(), path: path.to_owned(), hint });
        }
    }
    let wanted = leaves.iter().filter(|leaf| is_wanted(&leaf.name, options));
    let columns: Vec<_> = wanted.map(|leaf| column(leaf, path, options)).collect::<Result<_>>()?;
    if columns.is_empty() { Err(Error::NoColumns { path: path.to_owned() }) } else { Ok(columns) }
}

fn is_wanted(name: &String, options: &ParquetOptions) -> bool {
    options.columns.as_ref().is_none_or(|columns| columns.contains(name)) && !options.drop.contains(name)
}

fn column(leaf: &Leaf, path: &Path, options: &ParquetOptions) -> Result<ParquetColumn> {
    let refused = |found: &str, expected| Error::ColumnType {
        path: path.to_owned(),
        column: leaf.name.clone(),
        found: found.to_owned(),
        expected,
    };
    let meaning = leaf.meaning.as_ref().map_err(|found| refused(found, "numbers or texts"))?;
    let is_text = *meaning == Meaning::Text;
    if is_text && options.numeric.contains(&leaf.name) {
        return Err(refused("texts", "numbers"));
    }
    let is_categorical = is_text || options.categorical.contains(&leaf.name);
    Ok(ParquetColumn { name: leaf.name.clone(), levels: is_categorical.then(Vec::new) })
}

/// Holds a file against the first one: the same columns of the same kinds, in any order.
fn same_columns(columns: &[ParquetColumn], first: &Source, other: &Source, options: &ParquetOptions) -> Result<()> {
    let differs = |column: &str, found: &str, expected: &str| Error::ColumnDiffers {
        path: other.path.clone(),
        first: first.path.clone(),
        column: column.to_owned(),
        found: found.to_owned(),
        expected: expected.to_owned(),
    };
    let kind = |column: &ParquetColumn| if column.levels.is_some() { "categorical" } else { "numeric" };
    let leaves = other.leaves();
    for expected in columns {
        let Some(leaf) = leaves.iter().find(|leaf| leaf.name == expected.name) else {
            return Err(differs(&expected.name, "missing", kind(expected)));
        };
        let found = column(leaf, &other.path, options)?;
        if kind(&found) != kind(expected) {
            return Err(differs(&expected.name, kind(&found), kind(expected)));
        }
    }
    let is_new = |leaf: &&Leaf| is_wanted(&leaf.name, options) && !columns.iter().any(|known| known.name == leaf.name);
    match leaves.iter().find(is_new) {
        Some(leaf) => Err(differs(&leaf.name, "there", "missing")),
        None => Ok(()),
    }
}

/// The levels of a column of one file, in no order.
fn levels_of(name: &str, source: &Source, max_levels: usize) -> Result<Vec<String>> {
    let leaves = source.leaves();
    let leaf = leaves.iter().find(|leaf| leaf.name == name);
    let Some(Leaf { place, meaning: Ok(meaning), .. }) = leaf else { return Ok(Vec::new()) };
    let mut levels = LevelSet::default();
    let mut see = |text: &[u8]| -> Result<()> {
        if levels.has(text) {
            return Ok(());
        }
        let Ok(level) = std::str::from_utf8(text) else {
            let (path, column, text) = (source.path.clone(), name.to_owned(), shown(text));
            return Err(Error::TextNotUtf8 { path, column, text });
        };
        levels.add(level);
        if levels.len() > max_levels {
            return Err(too_many(source.path.clone(), name, shown(text), max_levels));
        }
        Ok(())
    };
    for (group, about) in source.groups().iter().enumerate() {
        let told = |error| explained(error, &source.path);
        if *meaning == Meaning::Text && is_all_dictionary(about.column(*place)) {
            let page = source.pages(group, *place)?.get_next_page().map_err(told)?;
            if let Some(Page::DictionaryPage { buf, num_values, .. }) = page {
                let texts = plain_texts(&buf, num_values as usize);
                texts.ok_or_else(|| source.broken("a dictionary is cut short"))?.into_iter().try_for_each(&mut see)?;
                continue;
            }
        }
        let cursor = Cursor::new(source.values(group, *place)?, *meaning);
        let mut cursor = cursor.ok_or_else(|| source.broken("a column changes its type"))?;
        let n_rows = about.num_rows().unsigned_abs() as usize;
        for start in (0..n_rows).step_by(STEP) {
            cursor.read(STEP.min(n_rows - start)).map_err(told)?;
            let mut result = Ok(());
            cursor.texts(|_, text| {
                if let (Some(text), Ok(())) = (text, &result) {
                    result = see(text);
                }
            });
            result?;
        }
    }
    Ok(levels.into_texts().collect())
}

/// Whether every value of a column of a row group is known to stand in its dictionary.
fn is_all_dictionary(column: &ColumnChunkMetaData) -> bool {
    let Some(pages) = column.page_encoding_stats() else { return false };
    let mut data = pages.iter().filter(|page| page.page_type != PageType::DICTIONARY_PAGE).peekable();
    data.peek().is_some()
        && data.all(|page| matches!(page.encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY))
}

/// The texts of a dictionary: each with its length before it, in 4 bytes.
fn plain_texts(mut bytes: &[u8], n_values: usize) -> Option<Vec<&[u8]>> {
    let mut texts = Vec::new();
    for _ in 0..n_values {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        texts.push(text);
        bytes = rest;
    }
    Some(texts)
}

fn too_many(path: PathBuf, column: &str, text: String, max_levels: usize) -> Error {
    Error::TooManyLevels { path, column: column.to_owned(), text, max_levels }
}
