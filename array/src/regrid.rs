//! Cutting anew: chunks put together from pieces of other chunks.
//!
//! Slices, stacking and rechunking are one thing: rectangles of arrays laid down at places of a new array, whose
//! own chunks begin on its own panel borders. Plans are integers; [`Assembly::run`] copies the numbers.
//!
//! A chunk that takes little of much, as a row of an array that is cut into columns does, is made in two steps: each
//! source gives the rectangle that is wanted of it, and these are put together. So no task is given more than a few
//! times what it makes, however large the array is.

use std::{ops::Range, sync::Arc};

use phalanx_engine::graph::Delayed;
use serde::{Deserialize, Serialize};

use crate::{
    block::{Block, dims},
    chunked::{Shared, Stored, bytes_of},
    chunks::Chunks,
    tasks,
};

/// A chunk's sources may be so many times as large as it is before they are cut first.
const MOST_SOURCES: u64 = 3;

/// A rectangle of an array and where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) stored: Arc<Stored>,
    pub(crate) rows: Range<usize>,
    pub(crate) cols: Range<usize>,
    /// Row and column of the new array that the rectangle's first number gets.
    pub(crate) at: (usize, usize),
}

/// A chunk made of pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assembly {
    shape: Vec<usize>,
    pieces: Vec<Piece>,
}

/// A rectangle of one of the blocks that an [`Assembly`] is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Piece {
    rows: Range<usize>,
    cols: Range<usize>,
    at: (usize, usize),
}

impl Assembly {
    pub(crate) fn run(&self, blocks: &[Arc<Block>]) -> Result<Block, String> {
        let (n_rows, n_cols) = dims(&self.shape);
        let mut out = vec![0.0; n_rows * n_cols];
        for (piece, block) in self.pieces.iter().zip(blocks) {
            let (from, (block_rows, block_cols)) = (block.as_slice(), block.dims());
            let (to_row, to_col) = piece.at;
            let fits = piece.rows.end <= block_rows
                && piece.cols.end <= block_cols
                && to_row + piece.rows.len() <= n_rows
                && to_col + piece.cols.len() <= n_cols;
            if !fits {
                return Err(format!("piece {piece:?} does not fit from {:?} into {:?}", block.shape(), self.shape));
            }
            if piece.cols.len() == block_cols && block_cols == n_cols {
                let (from, to) = (piece.rows.start * n_cols..piece.rows.end * n_cols, to_row * n_cols);
                out[to..to + from.len()].copy_from_slice(&block.as_slice()[from]);
                continue;
            }
            for (row, to_row) in piece.rows.clone().zip(to_row..) {
                let from = &from[row * block_cols + piece.cols.start..row * block_cols + piece.cols.end];
                let to = to_row * n_cols + to_col;
                out[to..to + from.len()].copy_from_slice(from);
            }
        }
        Ok(Block::new(&self.shape, out))
    }
}

/// Describes the chunks of a new array, cut as `axes`, that `parts` fill.
pub(crate) fn assemble(axes: &[Chunks], parts: &[Part]) -> Stored {
    let one = Chunks::single(1);
    let (rows, cols) = (axes.first().unwrap_or(&one), axes.get(1).unwrap_or(&one));
    let mut blocks = Vec::with_capacity(rows.n_chunks() * cols.n_chunks());
    let mut constants = Shared::default();
    for chunk_rows in rows.ranges() {
        for chunk_cols in cols.ranges() {
            let shape: Vec<_> = [chunk_rows.len(), chunk_cols.len()][..axes.len()].to_vec();
            blocks.push(chunk(shape, &chunk_rows, &chunk_cols, parts, &mut constants));
        }
    }
    Stored::new(axes.to_vec(), blocks)
}

fn chunk(
    shape: Vec<usize>,
    rows: &Range<usize>,
    cols: &Range<usize>,
    parts: &[Part],
    constants: &mut Shared<Assembly>,
) -> Delayed<Block> {
    let one = Chunks::single(1);
    let (mut pieces, mut sources) = (Vec::new(), Vec::new());
    let mut n_source_bytes = 0;
    for part in parts {
        // The chunk's rows and columns that the part covers, counted in the array the part is from.
        let covered = |chunk: &Range<usize>, part: &Range<usize>, at: usize| {
            let (start, end) = (chunk.start.max(at), chunk.end.min(at + part.len()));
            (start < end).then(|| start - at + part.start..end - at + part.start)
        };
        let (Some(from_rows), Some(from_cols)) =
            (covered(rows, &part.rows, part.at.0), covered(cols, &part.cols, part.at.1))
        else {
            continue;
        };
        let axes = part.stored.axes();
        let (row_axis, col_axis) = (axes.first().unwrap_or(&one), axes.get(1).unwrap_or(&one));
        for (i, piece_rows) in row_axis.overlaps(from_rows) {
            for (j, piece_cols) in col_axis.overlaps(from_cols.clone()) {
                let source_row = row_axis.range(i).start + piece_rows.start;
                let source_col = col_axis.range(j).start + piece_cols.start;
                let at = (
                    source_row - part.rows.start + part.at.0 - rows.start,
                    source_col - part.cols.start + part.at.1 - cols.start,
                );
                let whole = piece_rows.len() == row_axis.range(i).len() && piece_cols.len() == col_axis.range(j).len();
                let source = part.stored.block(i, j);
                if whole
                    && piece_rows.len() == rows.len()
                    && piece_cols.len() == cols.len()
                    && axes.len() == shape.len()
                {
                    return source.clone();
                }
                pieces.push(Piece { rows: piece_rows.clone(), cols: piece_cols, at });
                sources.push((source.clone(), axes.len(), whole));
                n_source_bytes += bytes_of(&[row_axis.range(i).len(), col_axis.range(j).len()]);
            }
        }
    }
    let n_bytes = bytes_of(&shape);
    if pieces.len() > 1 && n_source_bytes > MOST_SOURCES * n_bytes {
        for (piece, (source, n_axes, whole)) in pieces.iter_mut().zip(&mut sources) {
            if !*whole {
                *source = cut_out(piece, source, *n_axes, constants);
            }
        }
    }
    let sources = sources.into_iter().map(|(source, ..)| source).collect::<Vec<_>>();
    let assembly = constants.get(Assembly { shape, pieces });
    tasks::assemble::delayed(assembly, sources).expected_bytes(n_bytes)
}

/// The rectangle of a source as a result of its own; the piece is all of it then.
fn cut_out(
    piece: &mut Piece,
    source: &Delayed<Block>,
    n_axes: usize,
    constants: &mut Shared<Assembly>,
) -> Delayed<Block> {
    let (n_rows, n_cols) = (piece.rows.len(), piece.cols.len());
    let shape: Vec<usize> = [n_rows, n_cols][..n_axes].to_vec();
    let n_bytes = bytes_of(&shape);
    let wanted = Piece { rows: piece.rows.clone(), cols: piece.cols.clone(), at: (0, 0) };
    (piece.rows, piece.cols) = (0..n_rows, 0..n_cols);
    let assembly = constants.get(Assembly { shape, pieces: vec![wanted] });
    tasks::assemble::delayed(assembly, vec![source.clone()]).expected_bytes(n_bytes)
}
