//! Cutting anew: chunks put together from pieces of other chunks.
//!
//! Slices, stacking and rechunking are one thing: rectangles of arrays laid down at places of a new array, whose
//! own chunks begin on its own panel borders. Plans are integers; [`Assembly::run`] copies the numbers.
//!
//! A chunk that takes little of much, as a row of an array that is cut into columns does, is made in two steps: each
//! source gives the rectangles that are wanted of it, and these are put together. So no task is given more than a few
//! times what it makes, however large the array is.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

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
/// As many are cut out of one block at most. A graph is run so that what few need is given to them all at once.
const FAN_OUT: usize = 4;

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
    let mut plans = Vec::with_capacity(rows.n_chunks() * cols.n_chunks());
    for chunk_rows in rows.ranges() {
        for chunk_cols in cols.ranges() {
            let shape: Vec<_> = [chunk_rows.len(), chunk_cols.len()][..axes.len()].to_vec();
            plans.push(plan(shape, &chunk_rows, &chunk_cols, parts));
        }
    }
    cut_first(&mut plans);
    let mut constants = Shared::default();
    Stored::new(axes.to_vec(), plans.into_iter().map(|plan| plan.described(&mut constants)).collect())
}

/// How a chunk is made.
enum Plan {
    /// It is there.
    Is(Delayed<Block>),
    Made {
        shape: Vec<usize>,
        pieces: Vec<Piece>,
        sources: Vec<Source>,
    },
}

/// What a piece is taken from.
struct Source {
    block: Delayed<Block>,
    shape: Vec<usize>,
    /// Which block of which part it is.
    place: (usize, usize, usize),
}

/// A piece, and what it is taken from.
type Taker<'a> = (&'a mut Piece, &'a mut Source);

impl Plan {
    fn described(self, constants: &mut Shared<Assembly>) -> Delayed<Block> {
        match self {
            Self::Is(block) => block,
            Self::Made { shape, pieces, sources } => {
                let n_bytes = bytes_of(&shape);
                let sources: Vec<_> = sources.into_iter().map(|source| source.block).collect();
                tasks::assemble::delayed(constants.get(Assembly { shape, pieces }), sources).expected_bytes(n_bytes)
            }
        }
    }
}

fn plan(shape: Vec<usize>, rows: &Range<usize>, cols: &Range<usize>, parts: &[Part]) -> Plan {
    let one = Chunks::single(1);
    let (mut pieces, mut sources) = (Vec::new(), Vec::new());
    for (number, part) in parts.iter().enumerate() {
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
                let source_shape = [row_axis.range(i).len(), col_axis.range(j).len()][..axes.len()].to_vec();
                let block = part.stored.block(i, j).clone();
                if source_shape == shape && (piece_rows.len(), piece_cols.len()) == dims(&shape) {
                    return Plan::Is(block);
                }
                pieces.push(Piece { rows: piece_rows.clone(), cols: piece_cols, at });
                sources.push(Source { block, shape: source_shape, place: (number, i, j) });
            }
        }
    }
    Plan::Made { shape, pieces, sources }
}

/// Where chunks take little of much, has what they take cut out of the sources before.
fn cut_first(plans: &mut [Plan]) {
    let mut wanted: BTreeMap<_, Vec<Taker<'_>>> = BTreeMap::new();
    for plan in plans {
        let Plan::Made { shape, pieces, sources } = plan else { continue };
        let n_bytes: u64 = sources.iter().map(|source| bytes_of(&source.shape)).sum();
        if pieces.len() < 2 || n_bytes <= MOST_SOURCES * bytes_of(shape) {
            continue;
        }
        for (piece, source) in pieces.iter_mut().zip(sources) {
            if (piece.rows.len(), piece.cols.len()) != dims(&source.shape) {
                wanted.entry(source.place).or_default().push((piece, source));
            }
        }
    }
    let mut constants = Shared::default();
    for mut takers in wanted.into_values() {
        cut_out(&mut takers, &mut constants);
    }
}

/// Gives each of those that take from one block a block of what it takes. Many do not all take from the block itself,
/// but from a few large pieces of it: so it need not be kept, or read from disk again, for each of them.
fn cut_out(takers: &mut [Taker<'_>], constants: &mut Shared<Assembly>) {
    let n_groups = takers.len().min(FAN_OUT);
    for group in takers.chunks_mut(takers.len().div_ceil(n_groups.max(1)).max(1)) {
        let Some((first, source)) = group.first() else { continue };
        let covers = |all: &Range<usize>, one: &Range<usize>| all.start.min(one.start)..all.end.max(one.end);
        let (mut rows, mut cols) = (first.rows.clone(), first.cols.clone());
        for (piece, _) in group.iter() {
            (rows, cols) = (covers(&rows, &piece.rows), covers(&cols, &piece.cols));
        }
        let (n_rows, n_cols) = (rows.len(), cols.len());
        let whole = (n_rows, n_cols) == dims(&source.shape);
        if !whole {
            let shape: Vec<usize> = [n_rows, n_cols][..source.shape.len()].to_vec();
            let n_bytes = bytes_of(&shape);
            let pieces = vec![Piece { rows: rows.clone(), cols: cols.clone(), at: (0, 0) }];
            let cut = constants.get(Assembly { shape: shape.clone(), pieces });
            let block = tasks::assemble::delayed(cut, vec![source.block.clone()]).expected_bytes(n_bytes);
            for (piece, source) in group.iter_mut() {
                piece.rows = piece.rows.start - rows.start..piece.rows.end - rows.start;
                piece.cols = piece.cols.start - cols.start..piece.cols.end - cols.start;
                (source.block, source.shape) = (block.clone(), shape.clone());
            }
        }
        if group.len() > 1 {
            cut_out(group, constants);
        }
    }
}
