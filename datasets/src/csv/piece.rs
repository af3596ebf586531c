//! Rows of one file, found by the index and read into columns.

use std::{
    io::{self, Read},
    ops::Range,
    path::PathBuf,
};

use flate2::Crc;
use phalanx_array::{Column, MISSING, PANEL, TableBlock};
use serde::{Deserialize, Serialize};

use super::{
    cell::{Cell, Missing},
    index::{CsvColumn, CsvIndex, FileIndex, Format},
    levels::Codes,
    records::{Cutter, Mark, Slices},
    source::Source,
};
use crate::error::{Error, Result};

/// Neighbouring rows of one file: the panels that hold them, and which of the panels' rows they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) path: PathBuf,
    gzip: bool,
    n_bytes: u64,
    marks: Vec<Mark>,
    /// Where the last panel ends.
    end: u64,
    /// Rows of the first panel before the piece.
    skip: usize,
    pub(crate) n_rows: usize,
}

impl Piece {
    /// The given rows, counted from the file's first.
    pub(crate) fn of(file: &FileIndex, rows: Range<u64>) -> Self {
        let panel = PANEL as u64;
        let (first, last) = ((rows.start / panel) as usize, rows.end.div_ceil(panel) as usize);
        Self {
            path: file.path.clone(),
            gzip: file.gzip,
            n_bytes: file.n_bytes,
            marks: file.marks[first..last].to_vec(),
            end: file.marks.get(last).map_or(file.end, |mark| mark.offset),
            skip: (rows.start - first as u64 * panel) as usize,
            n_rows: (rows.end - rows.start) as usize,
        }
    }

    /// Opens the file and reads the rows.
    pub(crate) fn read(&self, layout: &Layout, columns: &mut Columns) -> Result<()> {
        let source = Source::open(&self.path)?;
        if (source.n_bytes, source.gzip) != (self.n_bytes, self.gzip) {
            return Err(self.changed(format!("it had {} bytes and now has {}", self.n_bytes, source.n_bytes)));
        }
        let start = self.marks.first().map_or(self.end, |mark| mark.offset);
        let text = source.text_from(start).map_err(|source| Error::Read { path: self.path.clone(), source })?;
        self.read_text(text, layout, columns)
    }

    /// Reads the rows from a text that begins at the first mark.
    pub(crate) fn read_text<R: Read>(&self, mut text: R, layout: &Layout, columns: &mut Columns) -> Result<()> {
        let mut panel = Vec::new();
        let mut cutter = Cutter::new(layout.format.delimiter);
        let (mut skip, mut left) = (self.skip, self.n_rows);
        let ends = self.marks.iter().skip(1).map(|mark| mark.offset).chain([self.end]);
        for (mark, end) in self.marks.iter().zip(ends) {
            panel.resize((end - mark.offset) as usize, 0);
            text.read_exact(&mut panel).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => self.changed("it has become shorter".into()),
                _ => Error::Read { path: self.path.clone(), source: error },
            })?;
            // Only text that is known to be what was indexed is looked into, so nothing below can be wrong with it.
            let mut crc = Crc::new();
            crc.update(&panel);
            if crc.sum() != mark.crc {
                return Err(self.changed(format!("its bytes {} to {end} are others", mark.offset)));
            }
            let mut slices = Slices::new(&mut cutter, &panel);
            while left > 0 && slices.read() {
                if skip > 0 {
                    skip -= 1;
                } else {
                    columns.push(&slices, layout).ok_or_else(|| self.changed("a row is another".into()))?;
                    left -= 1;
                }
            }
        }
        if left == 0 { Ok(()) } else { Err(self.changed(format!("{left} rows are gone"))) }
    }

    fn changed(&self, what: String) -> Error {
        Error::Changed { path: self.path.clone(), what }
    }
}

/// The columns to read, the same for every chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) columns: Vec<CsvColumn>,
    pub(crate) format: Format,
}

impl Layout {
    pub(crate) fn of(index: &CsvIndex) -> Self {
        Self { columns: index.columns.clone(), format: index.format.clone() }
    }
}

/// Columns that rows are added to.
#[derive(Debug)]
pub(crate) struct Columns {
    columns: Vec<Cells>,
    missing: Missing,
}

/// The values of one column.
#[derive(Debug)]
enum Cells {
    /// Missing ones are NaN.
    Numbers(Vec<f64>),
    /// Missing ones are [`MISSING`].
    Codes(Vec<u32>, Codes),
}

impl Columns {
    /// No rows yet, and room for `n_rows`.
    pub(crate) fn new(layout: &Layout, n_rows: usize) -> Self {
        let columns = layout.columns.iter().map(|column| match &column.levels {
            None => Cells::Numbers(Vec::with_capacity(n_rows)),
            Some(levels) => Cells::Codes(Vec::with_capacity(n_rows), Codes::new(levels)),
        });
        Self { columns: columns.collect(), missing: Missing::new(&layout.format.missing) }
    }

    /// The columns as a block.
    pub(crate) fn finish(self) -> Result<TableBlock> {
        let columns = self.columns.into_iter().map(|cells| match cells {
            Cells::Numbers(values) => Column::number(values),
            Cells::Codes(codes, _) => Column::categorical(codes),
        });
        Ok(TableBlock::new(columns.collect())?)
    }

    /// Adds the record at hand; `None` when it is not what the index says.
    fn push(&mut self, record: &Slices<'_>, layout: &Layout) -> Option<()> {
        for (cells, column) in self.columns.iter_mut().zip(&layout.columns) {
            if column.position >= record.n_fields() {
                return None;
            }
            let field = record.field(column.position);
            match cells {
                Cells::Numbers(values) => values.push(match self.missing.cell(field) {
                    Cell::Missing => f64::NAN,
                    Cell::Number(value) => value,
                    Cell::Text(_) => return None,
                }),
                Cells::Codes(codes, levels) => codes.push(match levels.get(field) {
                    Some(code) => code,
                    None if self.missing.is(field) => MISSING,
                    None => return None,
                }),
            }
        }
        Some(())
    }
}
