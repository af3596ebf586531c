//! Cuts indexed files into chunks and reads them: here, or as tasks.

use std::{env, fs, ops::Range, process, sync::Arc};

use phalanx_array::{Chunks, Field, PANEL, Schema, Table, TableBlock};
use phalanx_engine::{graph::Delayed, task};
use serde::{Deserialize, Serialize};

use super::{
    index::{CsvColumn, CsvIndex, FileIndex},
    options::CsvOptions,
    piece::{Columns, Layout, Piece},
};
use crate::{
    error::{Error, Result},
    parallel::try_map,
    paths::Paths,
};

/// How large the blocks of a chunk are unless the caller says how many rows.
pub(crate) const CHUNK_BYTES: usize = 32 << 20;

/// A table of the rows of CSV files, plain or gzip, in the order of the files.
///
/// The files are indexed at once, where this is called: one pass that finds the columns, the levels and every error
/// in the text. The table is lazy: its chunks are read when they are computed, by the workers, which therefore must
/// find the files under the same (absolute) paths. A worker reads a plain file by byte ranges, many chunks at once; a
/// gzip file is decompressed once, in one task, however many chunks it has.
///
/// Chunks begin at multiples of [`PANEL`] of the rows of all files together, and may span files.
///
/// # Errors
/// Whatever is wrong with the files, with file and line; see [`CsvIndex::of`].
///
/// ```
/// # fn main() -> phalanx_datasets::Result<()> {
/// use phalanx_datasets::{CsvOptions, read_csv};
/// # let folder = std::env::temp_dir().join(format!("phalanx-read-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// std::fs::write(folder.join("2011.csv"), "weather,bikers\nclear,16\nrain,3\n").unwrap();
/// std::fs::write(folder.join("2012.csv"), "weather,bikers\nsnow,\n").unwrap();
/// let table = read_csv(folder.join("*.csv"), &CsvOptions::new().chunk_rows(256))?;
/// assert_eq!(table.n_rows(), 3);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok(())
/// # }
/// ```
pub fn read_csv(paths: impl Into<Paths>, options: &CsvOptions) -> Result<Table> {
    CsvIndex::of(paths, options)?.table(options.chunk_rows)
}

/// The same rows in this process, at once, without a cluster: the columns' names and levels, and their values.
///
/// # Errors
/// As [`read_csv`].
///
/// ```
/// # fn main() -> phalanx_datasets::Result<()> {
/// use phalanx_datasets::{CsvOptions, read_table_here};
/// # let path = std::env::temp_dir().join(format!("phalanx-here-{}.csv", std::process::id()));
/// std::fs::write(&path, "weather,bikers\nclear,16\nrain,3\n").unwrap();
/// let (schema, block) = read_table_here(&path, &CsvOptions::new())?;
/// assert_eq!(block.column(schema.position("bikers")?).numbers(), Some(&[16., 3.][..]));
/// # std::fs::remove_file(&path).unwrap();
/// # Ok(())
/// # }
/// ```
pub fn read_table_here(paths: impl Into<Paths>, options: &CsvOptions) -> Result<(Schema, TableBlock)> {
    let index = CsvIndex::of(paths, options)?;
    let block = index.read_here()?;
    Ok((index.schema()?, block))
}

impl CsvIndex {
    /// The columns' names, kinds and levels.
    ///
    /// # Errors
    /// None that an index made by [`of`](Self::of) could have.
    pub fn schema(&self) -> Result<Schema> {
        let field = |column: &CsvColumn| match &column.levels {
            None => Field::number(&column.name),
            Some(levels) => Field::categorical(&column.name, levels),
        };
        Ok(Schema::new(self.columns.iter().map(field).collect())?)
    }

    /// A lazy table of all rows in chunks of `chunk_rows`, or of about 32 MB.
    ///
    /// # Errors
    /// When `chunk_rows` is not a multiple of [`PANEL`].
    pub fn table(&self, chunk_rows: Option<usize>) -> Result<Table> {
        let (sizes, blocks) = self.delayed_blocks(self.rows_per_chunk(chunk_rows)?);
        Ok(Table::new(self.schema()?, Chunks::from_sizes(&sizes)?, blocks)?)
    }

    /// All rows, read by the threads of this process.
    ///
    /// # Errors
    /// When a file cannot be read any more, or has changed.
    pub fn read_here(&self) -> Result<TableBlock> {
        let layout = Layout::of(self);
        let rows = self.rows_per_chunk(None)? as u64;
        let pieces = self.files.iter().flat_map(|file| {
            // To find a row in a gzip file, all before it is decompressed; so one thread reads it all.
            let step = if file.gzip { file.n_rows.max(1) } else { rows };
            (0..file.n_rows).step_by(step as usize).map(move |row| Piece::of(file, row..file.n_rows.min(row + step)))
        });
        let pieces: Vec<Piece> = pieces.collect();
        let blocks = try_map(&pieces, |piece| {
            let mut columns = Columns::new(&layout, piece.n_rows);
            piece.read(&layout, &mut columns)?;
            columns.finish()
        })?;
        if blocks.is_empty() { Columns::new(&layout, 0).finish() } else { Ok(TableBlock::concatenate(&blocks)?) }
    }

    /// All rows of the one text that was indexed.
    pub(crate) fn read_text(&self, text: &[u8]) -> Result<TableBlock> {
        let layout = Layout::of(self);
        let mut columns = Columns::new(&layout, self.n_rows() as usize);
        for file in &self.files {
            let start = file.marks.first().map_or(file.end, |mark| mark.offset) as usize;
            Piece::of(file, 0..file.n_rows).read_text(&text[start..], &layout, &mut columns)?;
        }
        columns.finish()
    }

    /// The rows of every chunk, and the calls that read them.
    fn delayed_blocks(&self, chunk_rows: usize) -> (Vec<usize>, Vec<Delayed<TableBlock>>) {
        let chunks = self.cut(chunk_rows as u64);
        let layout = Delayed::value(Layout::of(self));
        let read = |plan: ChunkPlan, inputs| {
            let n_bytes = plan.n_rows() as u64 * self.row_bytes();
            read_csv_chunk::delayed(plan, &layout, inputs).expected_bytes(n_bytes)
        };
        // A gzip file that several chunks have part of is decompressed once, by a task of its own.
        let whole: Vec<Option<Delayed<TableBlock>>> = (0..self.files.len())
            .map(|at| {
                let file = &self.files[at];
                let n_chunks = chunks.iter().filter(|cuts| cuts.iter().any(|cut| cut.file == at)).count();
                let parts = vec![Part::Rows(Piece::of(file, 0..file.n_rows))];
                (file.gzip && n_chunks > 1).then(|| read(ChunkPlan { parts }, Vec::new()))
            })
            .collect();
        let plans = chunks.iter().map(|cuts| {
            let mut inputs = Vec::new();
            let parts = cuts.iter().map(|Cut { file, rows }| match &whole[*file] {
                None => Part::Rows(Piece::of(&self.files[*file], rows.clone())),
                Some(block) => {
                    inputs.push(block.clone());
                    Part::Of { input: inputs.len() - 1, rows: rows.start as usize..rows.end as usize }
                }
            });
            (ChunkPlan { parts: parts.collect() }, inputs)
        });
        plans.map(|(plan, inputs)| (plan.n_rows(), read(plan, inputs))).unzip()
    }

    /// Cuts all files' rows at multiples of `chunk_rows`; a table without rows is one chunk without parts.
    fn cut(&self, chunk_rows: u64) -> Vec<Vec<Cut>> {
        let mut chunks = vec![Vec::new()];
        let mut room = chunk_rows;
        for (file, FileIndex { n_rows, .. }) in self.files.iter().enumerate() {
            let mut row = 0;
            while row < *n_rows {
                if room == 0 {
                    chunks.push(Vec::new());
                    room = chunk_rows;
                }
                let end = n_rows.min(&(row + room)).to_owned();
                if let Some(chunk) = chunks.last_mut() {
                    chunk.push(Cut { file, rows: row..end });
                }
                room -= end - row;
                row = end;
            }
        }
        chunks
    }

    fn rows_per_chunk(&self, asked: Option<usize>) -> Result<usize> {
        match asked {
            Some(rows) => crate::check_chunk_rows(rows).map(|()| rows),
            None => Ok((CHUNK_BYTES / self.row_bytes() as usize / PANEL).max(1) * PANEL),
        }
    }

    /// Bytes of a row in memory.
    fn row_bytes(&self) -> u64 {
        self.columns.iter().map(|column| if column.levels.is_some() { 4 } else { 8 }).sum::<u64>().max(1)
    }
}

/// Neighbouring rows of one file that lie in one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cut {
    file: usize,
    rows: Range<u64>,
}

/// Where a chunk's rows come from, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkPlan {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    /// Rows to read.
    Rows(Piece),
    /// Rows of a block that another task has read.
    Of { input: usize, rows: Range<usize> },
}

impl ChunkPlan {
    fn n_rows(&self) -> usize {
        let n_rows = |part: &Part| match part {
            Part::Rows(piece) => piece.n_rows,
            Part::Of { rows, .. } => rows.len(),
        };
        self.parts.iter().map(n_rows).sum()
    }
}

/// Reads one chunk, where it is called.
#[task(name = "datasets.read_csv_chunk")]
pub(crate) fn read_csv_chunk(plan: &ChunkPlan, layout: &Layout, inputs: &[Arc<TableBlock>]) -> Result<TableBlock> {
    let n_new = plan.parts.iter().map(|part| if let Part::Rows(piece) = part { piece.n_rows } else { 0 }).sum();
    let mut columns = Columns::new(layout, n_new);
    let mut blocks = Vec::new();
    for part in &plan.parts {
        match part {
            Part::Rows(piece) => piece.read(layout, &mut columns).map_err(on_this_worker)?,
            Part::Of { input, rows } => {
                // What was read so far stands above the slice.
                let above = std::mem::replace(&mut columns, Columns::new(layout, 0));
                blocks.extend([above.finish()?, inputs[*input].rows(rows.clone())]);
            }
        }
    }
    if !blocks.is_empty() {
        blocks.push(columns.finish()?);
        return Ok(TableBlock::concatenate(&blocks)?);
    }
    columns.finish()
}

/// A path that is right where it was indexed may be wrong here, so the message says where here is.
pub(crate) fn on_this_worker(error: Error) -> Error {
    match error {
        Error::Read { path, source } => Error::WorkerRead { path, host: host(), process: process::id(), source },
        other => other,
    }
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| env::var("HOSTNAME").ok())
        .or_else(|| env::var("COMPUTERNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}
