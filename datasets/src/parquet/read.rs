//! Cuts the rows of Parquet files into chunks and reads them as tasks: as tables, or as numbers row by row.

use std::{ops::Range, path::PathBuf};

use phalanx_array::{Block, ChunkedArray, Chunks, Column, MISSING, PANEL, Table, TableBlock};
use phalanx_engine::{graph::Delayed, task};
use serde::{Deserialize, Serialize};

use super::{
    cursor::Cursor,
    index::{FileIndex, ParquetColumn, ParquetIndex},
    options::ParquetOptions,
    source::{Source, explained, guarded},
};
use crate::{
    csv::{CHUNK_BYTES, levels::Codes, on_this_worker, shown},
    error::{Error, Result},
    parallel::try_map,
    paths::Paths,
};

/// Numbers that are read of all columns together before the next rows, so that rows are put together in cache.
const STEP_NUMBERS: usize = 16 << 10;

/// A table of the rows of Parquet files, in the order of the files.
///
/// The footers are read at once, where this is called, and of text columns the dictionaries. The table is lazy: its
/// chunks are read when they are computed, by the workers, which therefore must find the files under the same
/// (absolute) paths. Only the columns that are asked for are read.
///
/// Chunks begin at multiples of [`PANEL`] of the rows of all files together, and may span row groups and files. Within
/// a row group, pages that hold rows of other chunks alone are not decoded. Compression by Snappy, LZ4, zstd and gzip
/// is known.
///
/// # Errors
/// See [`ParquetIndex::of`].
///
/// ```
/// # fn main() -> phalanx_datasets::Result<()> {
/// use ndarray::array;
/// use phalanx_datasets::{ParquetOptions, read_parquet, write_parquet};
/// # let folder = std::env::temp_dir().join(format!("phalanx-read-parquet-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// write_parquet(folder.join("2011.parquet"), &["hour", "bikers"], [array![[0., 16.], [1., 3.]]])?;
/// write_parquet(folder.join("2012.parquet"), &["hour", "bikers"], [array![[0., 8.]]])?;
/// let table = read_parquet(folder.join("*.parquet"), &ParquetOptions::new().chunk_rows(256))?;
/// assert_eq!(table.n_rows(), 3);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok(())
/// # }
/// ```
pub fn read_parquet(paths: impl Into<Paths>, options: &ParquetOptions) -> Result<Table> {
    ParquetIndex::of(paths, options)?.table(options.chunk_rows)
}

impl ParquetIndex {
    /// A lazy table of all rows in chunks of `chunk_rows`, or of about 32 MB.
    ///
    /// # Errors
    /// When `chunk_rows` is not a multiple of [`PANEL`].
    pub fn table(&self, chunk_rows: Option<usize>) -> Result<Table> {
        let layout = Delayed::value(Layout(self.columns.clone()));
        let row_bytes = self.row_bytes();
        let (sizes, blocks) = self
            .chunks(chunk_rows)?
            .into_iter()
            .map(|chunk| {
                let n_rows = chunk.n_rows();
                (n_rows, read_parquet_chunk::delayed(chunk, &layout).expected_bytes(n_rows as u64 * row_bytes))
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        Ok(Table::new(self.schema()?, Chunks::from_sizes(&sizes)?, blocks)?)
    }

    /// A lazy matrix of columns of numbers, in the order named, in the chunks that [`table`](Self::table) has.
    ///
    /// Each chunk is read row by row in one task, and of the file these columns alone: what is read again in every
    /// pass over data larger than memory.
    ///
    /// # Errors
    /// When `chunk_rows` is not a multiple of [`PANEL`], or a column is not there or not of numbers.
    ///
    /// ```
    /// # fn main() -> phalanx_datasets::Result<()> {
    /// use ndarray::array;
    /// use phalanx_datasets::{ParquetIndex, ParquetOptions, write_parquet};
    /// # let path = std::env::temp_dir().join(format!("phalanx-numbers-{}.parquet", std::process::id()));
    /// write_parquet(&path, &["a", "b", "y"], [array![[1., 2., 3.], [4., 5., 6.]]])?;
    /// let index = ParquetIndex::of(&path, &ParquetOptions::new())?;
    /// assert_eq!(index.numbers(&["b", "a"], None)?.shape(), [2, 2]);
    /// assert_eq!(index.column("y", None)?.shape(), [2]);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok(())
    /// # }
    /// ```
    pub fn numbers<S: AsRef<str>>(&self, names: &[S], chunk_rows: Option<usize>) -> Result<ChunkedArray> {
        self.array(names.iter().map(|name| name.as_ref().to_owned()).collect(), chunk_rows, false)
    }

    /// A lazy column of numbers, in the chunks that [`table`](Self::table) has.
    ///
    /// # Errors
    /// As [`numbers`](Self::numbers).
    pub fn column(&self, name: &str, chunk_rows: Option<usize>) -> Result<ChunkedArray> {
        self.array(vec![name.to_owned()], chunk_rows, true)
    }

    /// All rows, read by the threads of this process.
    ///
    /// # Errors
    /// When a file cannot be read any more, has changed, or is broken.
    pub fn read_here(&self) -> Result<TableBlock> {
        let chunks = self.chunks(None)?;
        let blocks = try_map(&chunks, |chunk| read_chunk(chunk, &self.columns))?;
        Ok(TableBlock::concatenate(&blocks)?)
    }

    fn array(&self, names: Vec<String>, chunk_rows: Option<usize>, is_vector: bool) -> Result<ChunkedArray> {
        // The table's own errors: no such column, or one of categories.
        let schema = self.schema()?;
        for name in &names {
            if schema.field(name)?.kind != phalanx_array::Kind::Number {
                return Err(Error::Array(phalanx_array::Error::ColumnKind {
                    name: name.clone(),
                    found: "categorical",
                    expected: "numeric",
                    hint: "read it as a table and encode it",
                }));
            }
        }
        let row_bytes = 8 * names.len() as u64;
        let width = names.len();
        let names = Delayed::value(Names { names, is_vector });
        let (sizes, blocks) = self
            .chunks(chunk_rows)?
            .into_iter()
            .map(|chunk| {
                let n_rows = chunk.n_rows();
                let block = read_parquet_numbers::delayed(chunk, &names);
                (n_rows, block.expected_bytes(n_rows as u64 * row_bytes))
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        let mut axes = vec![Chunks::from_sizes(&sizes)?];
        if !is_vector {
            axes.push(Chunks::single(width));
        }
        Ok(ChunkedArray::from_reads(axes, blocks)?)
    }

    /// Cuts all files' rows at multiples of `chunk_rows`; files without rows are one chunk without parts.
    fn chunks(&self, chunk_rows: Option<usize>) -> Result<Vec<Chunk>> {
        let size = match chunk_rows {
            Some(rows) => crate::check_chunk_rows(rows).map(|()| rows)?,
            None => (CHUNK_BYTES / self.row_bytes() as usize / PANEL).max(1) * PANEL,
        } as u64;
        let mut chunks = vec![Chunk::default()];
        let mut room = size;
        for file in &self.files {
            let mut row = 0;
            while row < file.n_rows {
                if room == 0 {
                    chunks.push(Chunk::default());
                    room = size;
                }
                let end = file.n_rows.min(row + room);
                if let Some(chunk) = chunks.last_mut() {
                    chunk.pieces.push(Piece::of(file, row..end));
                }
                room -= end - row;
                row = end;
            }
        }
        Ok(chunks)
    }
}

/// Where a chunk's rows are, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Chunk {
    pieces: Vec<Piece>,
}

/// Neighbouring rows of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Piece {
    path: PathBuf,
    n_bytes: u64,
    footer: u32,
    rows: Range<u64>,
}

/// The columns of a table, the same for every chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout(Vec<ParquetColumn>);

/// The columns of a matrix, or the one of a vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names {
    names: Vec<String>,
    is_vector: bool,
}

impl Chunk {
    fn n_rows(&self) -> usize {
        self.pieces.iter().map(Piece::n_rows).sum()
    }
}

impl Piece {
    fn of(file: &FileIndex, rows: Range<u64>) -> Self {
        Self { path: file.path.clone(), n_bytes: file.n_bytes, footer: file.footer, rows }
    }

    fn n_rows(&self) -> usize {
        (self.rows.end - self.rows.start) as usize
    }

    /// Opens the file and reads the rows of columns, all columns of a few rows before the next rows; `each` is given how
    /// many rows these are and where they stand in each column.
    fn read<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
        mut each: impl FnMut(usize, &[Cursor]) -> Result<()>,
    ) -> Result<()> {
        let source = Source::open(&self.path)?;
        if (source.n_bytes, source.footer) != (self.n_bytes, self.footer) {
            let what = if source.n_bytes == self.n_bytes {
                "its footer is another".into()
            } else {
                format!("it had {} bytes and now has {}", self.n_bytes, source.n_bytes)
            };
            return Err(Error::Changed { path: self.path.clone(), what });
        }
        let told = |error| explained(error, &self.path);
        let leaves = source.leaves();
        let places: Vec<_> = names
            .map(|name| {
                let leaf = leaves.iter().find(|leaf| leaf.name == name);
                leaf.and_then(|leaf| Some((leaf.place, *leaf.meaning.as_ref().ok()?)))
                    .ok_or_else(|| source.broken(format!("its column {name:?} is gone")))
            })
            .collect::<Result<_>>()?;
        let step = (STEP_NUMBERS / places.len().max(1)).next_multiple_of(PANEL);
        let (mut start, mut rows) = (0, self.rows.clone());
        for (group, about) in source.groups().iter().enumerate() {
            let end = start + about.num_rows().unsigned_abs();
            if rows.start < end.min(rows.end) {
                let (skip, n_rows) = ((rows.start - start) as usize, (end.min(rows.end) - rows.start) as usize);
                let mut cursors = Vec::with_capacity(places.len());
                for &(place, meaning) in &places {
                    let cursor = Cursor::new(source.values(group, place)?, meaning);
                    let mut cursor = cursor.ok_or_else(|| source.broken("a column changes its type"))?;
                    if skip > 0 {
                        cursor.skip(skip).map_err(told)?;
                    }
                    cursors.push(cursor);
                }
                for done in (0..n_rows).step_by(step) {
                    let n_rows = step.min(n_rows - done);
                    cursors.iter_mut().try_for_each(|cursor| cursor.read(n_rows)).map_err(told)?;
                    each(n_rows, &cursors)?;
                }
                rows.start += n_rows as u64;
            }
            start = end;
        }
        Ok(())
    }
}

/// Reads one chunk of a table, where it is called.
#[task(name = "datasets.read_parquet_chunk")]
pub(crate) fn read_parquet_chunk(chunk: &Chunk, layout: &Layout) -> Result<TableBlock> {
    read_chunk(chunk, &layout.0).map_err(on_this_worker)
}

/// Reads one chunk of columns of numbers, row by row, where it is called.
#[task(name = "datasets.read_parquet_numbers")]
pub(crate) fn read_parquet_numbers(chunk: &Chunk, names: &Names) -> Result<Block> {
    read_numbers(chunk, names).map_err(on_this_worker)
}

/// The values of one column of a table.
enum Cells<'a> {
    Numbers(Vec<f64>),
    Codes(Vec<u32>, Codes, &'a str),
}

impl<'a> Cells<'a> {
    /// Adds the rows that were read; of a text that is no level, the column and the text.
    fn add(&mut self, cursor: &Cursor) -> Result<(), (&'a str, String)> {
        match self {
            Cells::Numbers(values) => {
                match cursor.doubles() {
                    Some(doubles) => values.extend_from_slice(doubles),
                    None => cursor.numbers(|_, value| values.push(value)),
                }
                Ok(())
            }
            Cells::Codes(codes, levels, name) => {
                let mut unknown = None;
                cursor.texts(|_, text| {
                    codes.push(text.map_or(MISSING, |text| {
                        levels.get(text).unwrap_or_else(|| {
                            unknown = Some(shown(text));
                            MISSING
                        })
                    }));
                });
                unknown.map_or(Ok(()), |text| Err((*name, text)))
            }
        }
    }
}

fn read_chunk(chunk: &Chunk, columns: &[ParquetColumn]) -> Result<TableBlock> {
    let n_rows = chunk.n_rows();
    let mut all: Vec<Cells<'_>> = columns
        .iter()
        .map(|column| match &column.levels {
            None => Cells::Numbers(Vec::with_capacity(n_rows)),
            Some(levels) => Cells::Codes(Vec::with_capacity(n_rows), Codes::new(levels), &column.name),
        })
        .collect();
    for piece in &chunk.pieces {
        let names = columns.iter().map(|column| column.name.as_str());
        guarded(&piece.path, || {
            piece.read(names, |_, cursors| {
                let changed = |name: &str, text| Error::Changed {
                    path: piece.path.clone(),
                    what: format!("column {name:?} has {text}, which was not there"),
                };
                all.iter_mut()
                    .zip(cursors)
                    .try_for_each(|(cells, cursor)| cells.add(cursor).map_err(|(name, text)| changed(name, text)))
            })
        })?;
    }
    let columns = all.into_iter().map(|cells| match cells {
        Cells::Numbers(values) => Column::number(values),
        Cells::Codes(codes, ..) => Column::categorical(codes),
    });
    Ok(TableBlock::new(columns.collect())?)
}

fn read_numbers(chunk: &Chunk, Names { names, is_vector }: &Names) -> Result<Block> {
    let (n_rows, width) = (chunk.n_rows(), names.len());
    let mut numbers = vec![0.; n_rows * width];
    let mut first_row = 0;
    for piece in &chunk.pieces {
        let end = first_row + piece.n_rows();
        let part = &mut numbers[first_row * width..end * width];
        guarded(&piece.path, || {
            let mut rest = part;
            piece.read(names.iter().map(String::as_str), |n_rows, cursors| {
                let (rows, after) = std::mem::take(&mut rest).split_at_mut(n_rows * width);
                side_by_side(cursors, rows);
                rest = after;
                Ok(())
            })
        })?;
        first_row = end;
    }
    let shape = [n_rows, width];
    Ok(Block::new(if *is_vector { &shape[..1] } else { &shape }, numbers))
}

/// Writes the rows that were read of each column next to each other, row after row.
fn side_by_side(cursors: &[Cursor], rows: &mut [f64]) {
    let width = cursors.len();
    let mut column = 0;
    while column < width {
        let rest = &cursors[column..];
        column += if tile::<8>(rest, rows, width, column) {
            8
        } else if tile::<4>(rest, rows, width, column) {
            4
        } else {
            cursors[column].numbers(|row, value| rows[row * width + column] = value);
            1
        };
    }
}

/// The same for the next `N` columns at once, so that their places in a row are written together; false where there are
/// not so many, or they are not all doubles.
fn tile<const N: usize>(cursors: &[Cursor], rows: &mut [f64], width: usize, column: usize) -> bool {
    let n_rows = rows.len() / width;
    let mut columns = [&[][..]; N];
    let Some(cursors) = cursors.first_chunk::<N>() else { return false };
    for (values, cursor) in columns.iter_mut().zip(cursors) {
        match cursor.doubles() {
            Some(doubles) if doubles.len() == n_rows => *values = doubles,
            _ => return false,
        }
    }
    for (i, row) in rows.chunks_exact_mut(width).enumerate() {
        for (number, values) in row[column..column + N].iter_mut().zip(&columns) {
            *number = values[i];
        }
    }
    true
}
