//! Reductions and contractions of one chunk: a kernel once a panel, and the subtrees a chunk can complete.
//!
//! Here is the one place that says in which order numbers are added: rows of a panel one after the other where
//! columns stay apart, [`LANES`](crate::simd::LANES) partial sums along a row or a vector. Which chunk it is, is
//! known only by the global index of its first panel.

use ndarray::{Axis, Slice};
use phalanx_engine::{
    data::{Data, DataError},
    value::Portable,
};
use serde::{Deserialize, Serialize};

use crate::{
    block::{Block, broken, decode_header, dims, encode_header},
    kernel::{self, inlined},
    panel::{Combine, Node, PANEL, Subtrees, n_panels},
    program::Evaluator,
    simd::dispatch,
};

/// What a reduction computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Sum,
    Min,
    Max,
    /// Count, mean and sum of squared distances from the mean.
    Moments,
}

/// A reduction's result over some panels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Partial {
    kind: Kind,
    /// How many numbers went into each moment.
    count: f64,
    /// One axis; for moments a row of means and a row of squares.
    block: Block,
}

impl Partial {
    pub(crate) const fn sum(block: Block) -> Self {
        Self { kind: Kind::Sum, count: 0.0, block }
    }
}

impl Combine for Partial {
    fn combine(self, right: Self) -> Self {
        assert_eq!((self.kind, self.block.shape()), (right.kind, right.block.shape()), "partial results must match");
        let (kind, n_a, n_b) = (self.kind, self.count, right.count);
        let mut block = self.block;
        match kind {
            Kind::Sum => block = block.combine(right.block),
            Kind::Min => extremes::<false>(block.as_mut_slice(), right.block.as_slice()),
            Kind::Max => extremes::<true>(block.as_mut_slice(), right.block.as_slice()),
            Kind::Moments => {
                let m = block.len() / 2;
                let (mean, square) = block.as_mut_slice().split_at_mut(m);
                let (other_mean, other_square) = right.block.as_slice().split_at(m);
                merge_moments(n_a, (mean, square), n_b, (other_mean, other_square));
            }
        }
        Self { kind, count: n_a + n_b, block }
    }
}

fn merge_moments(n_a: f64, (mean, square): (&mut [f64], &mut [f64]), n_b: f64, other: (&[f64], &[f64])) {
    dispatch(
        #[inline(always)]
        || {
            for (((mean, square), b_mean), b_square) in mean.iter_mut().zip(square).zip(other.0).zip(other.1) {
                [*mean, *square] = merged_moments(n_a, [*mean, *square], n_b, [*b_mean, *b_square]);
            }
        },
    );
}

/// The mean and the sum of squares around it of two groups together: Chan, Golub and LeVeque, "Updating formulae
/// and a pairwise algorithm for computing sample variances" (1979).
#[inline(always)]
fn merged_moments(n_a: f64, [mean, square]: [f64; 2], n_b: f64, [b_mean, b_square]: [f64; 2]) -> [f64; 2] {
    let share = n_b / (n_a + n_b);
    let delta = b_mean - mean;
    [mean + delta * share, (square + b_square) + delta * delta * (n_a * share)]
}

/// A [`Partial`] of one number, or one mean and square, without memory of its own: a chunk of a vector has
/// thousands of panels.
#[derive(Debug, Clone, Copy)]
struct Few {
    kind: Kind,
    count: f64,
    numbers: [f64; 2],
}

impl Few {
    /// Of the numbers of one panel.
    fn of(kind: Kind, panel: &[f64]) -> Self {
        let first = |number| [number, 0.0];
        let numbers = match kind {
            Kind::Sum => first(kernel::sum(panel)),
            Kind::Min => first(kernel::min(panel)),
            Kind::Max => first(kernel::max(panel)),
            Kind::Moments => {
                let mean = kernel::sum(panel) / panel.len() as f64;
                [mean, kernel::sum_of_squares_around(panel, mean)]
            }
        };
        Self { kind, count: panel.len() as f64, numbers }
    }
}

impl Combine for Few {
    /// Exactly as [`Partial`]s are combined.
    fn combine(self, right: Self) -> Self {
        let ([a, _], [b, _]) = (self.numbers, right.numbers);
        let numbers = match self.kind {
            Kind::Sum => [a + b, 0.0],
            Kind::Min => [inlined::extreme_of::<false>(a, b), 0.0],
            Kind::Max => [inlined::extreme_of::<true>(a, b), 0.0],
            Kind::Moments => merged_moments(self.count, self.numbers, right.count, right.numbers),
        };
        Self { kind: self.kind, count: self.count + right.count, numbers }
    }
}

impl From<Few> for Partial {
    fn from(Few { kind, count, numbers }: Few) -> Self {
        let width = if kind == Kind::Moments { 2 } else { 1 };
        Self { kind, count, block: numbers[..width].to_vec().into() }
    }
}

fn extremes<const MAX: bool>(a: &mut [f64], b: &[f64]) {
    dispatch(
        #[inline(always)]
        || a.iter_mut().zip(b).for_each(|(a, b)| *a = inlined::extreme_of::<MAX>(*a, *b)),
    );
}

/// A chunk's partial results: what reduction tasks hand on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PartialTrees(pub(crate) Subtrees<Partial>);

impl PartialTrees {
    /// Joins neighbouring chunks, left to right.
    pub(crate) fn merge(parts: &[impl AsRef<Self>]) -> Result<Self, String> {
        let parts = parts.iter().map(|part| part.as_ref().0.clone());
        Subtrees::merge_all(parts).map(Self).ok_or_else(|| "no partial results to combine".into())
    }
}

/// What becomes of the combined partial results.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Finish {
    /// As they are.
    Plain,
    /// The sum over the number of summands.
    Mean {
        count: usize,
    },
    Variance {
        ddof: f64,
    },
    Std {
        ddof: f64,
    },
    /// A row of means and a row of squares, to be reduced once more.
    Moments,
}

impl Finish {
    pub(crate) fn apply(self, parts: Subtrees<Partial>, shape: &[usize]) -> Block {
        let Partial { count, mut block, .. } = parts.finish();
        let m = block.len() / 2;
        match self {
            Self::Plain => {}
            Self::Mean { count } => {
                let count = count as f64;
                block.as_mut_slice().iter_mut().for_each(|sum| *sum /= count);
            }
            Self::Variance { ddof } | Self::Std { ddof } => {
                let freedom = count - ddof;
                // As NumPy: no degrees of freedom left is 0/0 or x/0, never a negative variance.
                let freedom = if freedom > 0.0 { freedom } else { 0.0 };
                let variance = |square: &f64| square / freedom;
                let root = matches!(self, Self::Std { .. });
                let squares = &block.as_slice()[m..];
                let values: Vec<_> = squares.iter().map(variance).map(|v| if root { v.sqrt() } else { v }).collect();
                block = values.into();
            }
            Self::Moments => return block.reshape(&[2, m]),
        }
        block.reshape(shape)
    }
}

/// How a chunk is reduced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reduction {
    pub(crate) kind: Kind,
    /// Shape of the chunk.
    pub(crate) shape: Vec<usize>,
    /// The axis that goes, 0 or 1.
    pub(crate) axis: usize,
    /// Global index, along that axis, of the chunk's first panel.
    pub(crate) first_panel: usize,
    /// Whether the whole array (and not only this chunk) is one column: then it is added up as a vector is.
    pub(crate) single_column: bool,
}

/// Reduces a chunk that `values` makes.
pub(crate) fn reduce(values: &mut Evaluator<'_>, reduction: &Reduction) -> Result<PartialTrees, String> {
    let Reduction { kind, first_panel, .. } = *reduction;
    let (n_rows, n_cols) = dims(&reduction.shape);
    let mut scratch = Vec::new();
    let panels = (0..n_rows).step_by(PANEL).map(|start| start..n_rows.min(start + PANEL));
    if reduction.axis == 1 {
        collect(first_panel, reduce_columns(values, kind, n_rows, n_cols))
    } else if reduction.shape.len() == 1 || reduction.single_column {
        collect(first_panel, panels.map(|rows| Few::of(kind, values.range(rows, &mut scratch))))
    } else {
        let panel = |rows: std::ops::Range<usize>| {
            let numbers = values.range(rows.start * n_cols..rows.end * n_cols, &mut scratch);
            reduce_rows(kind, numbers, rows.len(), n_cols)
        };
        collect(first_panel, panels.map(panel))
    }
}

/// The subtrees of a chunk's panels.
fn collect<T: Combine + Into<Partial>>(
    first_panel: usize,
    panels: impl IntoIterator<Item = T>,
) -> Result<PartialTrees, String> {
    let trees = Subtrees::from_panels(first_panel, panels).ok_or("the chunk has no panels")?;
    Ok(PartialTrees(trees.map(Into::into)))
}

/// One result for each column of a panel.
fn reduce_rows(kind: Kind, panel: &[f64], n_rows: usize, n_cols: usize) -> Partial {
    let count = n_rows as f64;
    let mut out = vec![0.0; n_cols];
    match kind {
        Kind::Sum => kernel::add_rows(panel, &mut out),
        Kind::Min => {
            out.fill(f64::INFINITY);
            panel.chunks_exact(n_cols.max(1)).for_each(|row| extremes::<false>(&mut out, row));
        }
        Kind::Max => {
            out.fill(f64::NEG_INFINITY);
            panel.chunks_exact(n_cols.max(1)).for_each(|row| extremes::<true>(&mut out, row));
        }
        Kind::Moments => {
            kernel::add_rows(panel, &mut out);
            out.iter_mut().for_each(|sum| *sum /= count);
            out.resize(2 * n_cols, 0.0);
            let (mean, square) = out.split_at_mut(n_cols);
            dispatch(
                #[inline(always)]
                || {
                    for row in panel.chunks_exact(n_cols.max(1)) {
                        for ((square, mean), x) in square.iter_mut().zip(&*mean).zip(row) {
                            let d = x - mean;
                            *square += d * d;
                        }
                    }
                },
            );
        }
    }
    Partial { kind, count, block: out.into() }
}

/// One result for each row and each panel of columns.
fn reduce_columns(values: &mut Evaluator<'_>, kind: Kind, n_rows: usize, n_cols: usize) -> Vec<Partial> {
    let mut scratch = Vec::new();
    let width = if kind == Kind::Moments { 2 } else { 1 };
    let mut out = vec![vec![0.0; width * n_rows]; n_panels(n_cols)];
    for start in (0..n_rows).step_by(PANEL) {
        let rows = start..n_rows.min(start + PANEL);
        let tile = values.range(rows.start * n_cols..rows.end * n_cols, &mut scratch);
        for (row, numbers) in rows.zip(tile.chunks_exact(n_cols.max(1))) {
            for (panel, out) in numbers.chunks(PANEL).zip(&mut out) {
                let [first, second] = Few::of(kind, panel).numbers;
                out[row] = first;
                if width == 2 {
                    out[n_rows + row] = second;
                }
            }
        }
    }
    let count = |panel: usize| (n_cols - panel * PANEL).min(PANEL) as f64;
    out.into_iter().enumerate().map(|(panel, out)| Partial { kind, count: count(panel), block: out.into() }).collect()
}

/// Reduces a row of means and a row of squares, each of `count` numbers, to one mean and one square a panel.
pub(crate) fn reduce_moments(moments: &Block, count: usize, first_panel: usize) -> Result<PartialTrees, String> {
    let (means, squares) = moments.as_slice().split_at(moments.len() / 2);
    let count = count as f64;
    let panels = means.chunks(PANEL).zip(squares.chunks(PANEL)).map(|(means, squares)| {
        let n = means.len() as f64;
        let mean = kernel::sum(means) / n;
        let square = kernel::sum(squares) + count * kernel::sum_of_squares_around(means, mean);
        Few { kind: Kind::Moments, count: count * n, numbers: [mean, square] }
    });
    collect(first_panel, panels)
}

/// How two chunks are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contraction {
    /// Whether the left chunk is contracted over its rows.
    pub(crate) left_transposed: bool,
    /// Whether the right chunk is contracted over its columns.
    pub(crate) right_transposed: bool,
    /// Global index, along the contracted axis, of the chunks' first panel.
    pub(crate) first_panel: usize,
}

/// Multiplies two chunks panel by panel of the contracted axis.
pub(crate) fn contract(left: &Block, right: &Block, how: &Contraction) -> Result<PartialTrees, String> {
    let contracted = |block: &Block, over_rows: bool| if over_rows { block.dims().0 } else { block.dims().1 };
    let left_over_rows = how.left_transposed || left.n_axes() == 1;
    let right_over_rows = !how.right_transposed;
    let n = contracted(left, left_over_rows);
    if n != contracted(right, right_over_rows) {
        return Err(format!("chunks of shapes {:?} and {:?} cannot be multiplied", left.shape(), right.shape()));
    }
    let panel = |place: usize| place * PANEL..n.min((place + 1) * PANEL);
    // Products are combined as they come, so that only a path of the tree is in memory.
    let panels = 0..n_panels(n);
    match (left.n_axes(), right.n_axes()) {
        (1, 1) => {
            let (a, b) = (left.as_slice(), right.as_slice());
            let product =
                |p| Few { kind: Kind::Sum, count: 0.0, numbers: [kernel::dot(&a[panel(p)], &b[panel(p)]), 0.0] };
            collect(how.first_panel, panels.map(product))
        }
        (2, 1) if left_over_rows => {
            let (a, b, n_cols) = (left.as_slice(), right.as_slice(), left.dims().1);
            let product = |p| {
                let rows = panel(p);
                let mut out = vec![0.0; n_cols];
                kernel::gemv_transposed(&a[rows.start * n_cols..rows.end * n_cols], &b[rows], &mut out);
                Partial::sum(out.into())
            };
            collect(how.first_panel, panels.map(product))
        }
        (2, 1) => {
            let (a, b, n_rows) = (left.as_slice(), right.as_slice(), left.dims().0);
            let mut out = vec![vec![0.0; n_rows]; n_panels(n)];
            dispatch(
                #[inline(always)]
                || {
                    for (row, numbers) in a.chunks_exact(n.max(1)).enumerate() {
                        for ((a, b), out) in numbers.chunks(PANEL).zip(b.chunks(PANEL)).zip(&mut out) {
                            out[row] = inlined::dot(a, b);
                        }
                    }
                },
            );
            collect(how.first_panel, out.into_iter().map(|out| Partial::sum(out.into())))
        }
        (2, 2) => {
            let (a, b) = (left.view2(), right.view2());
            let a = if left_over_rows { a.reversed_axes() } else { a };
            let b = if right_over_rows { b } else { b.reversed_axes() };
            let part = |p| (a.slice_axis(Axis(1), Slice::from(panel(p))), b.slice_axis(Axis(0), Slice::from(panel(p))));
            collect(how.first_panel, panels.map(part).map(|(a, b)| Partial::sum(kernel::gemm(a, b).into())))
        }
        (a, b) => Err(format!("a product of chunks of {a} and {b} axes is not known")),
    }
}

impl AsRef<Self> for PartialTrees {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// A node of the tree without its numbers.
type NodeHeader = (u8, usize, Kind, f64, Vec<usize>);

impl Portable for PartialTrees {
    fn encode(&self) -> Result<Data, DataError> {
        let nodes = self.0.nodes();
        let header = |node: &Node<Partial>| -> NodeHeader {
            let Partial { kind, count, block } = &node.value;
            (node.level, node.index, *kind, *count, block.shape().to_vec())
        };
        let headers: Vec<NodeHeader> = nodes.iter().map(header).collect();
        let buffers = nodes.iter().map(|node| node.value.block.to_buffer()).collect();
        Ok(Data { header: encode_header(&headers)?, buffers })
    }

    fn decode(data: Data) -> Result<Self, DataError> {
        let headers: Vec<NodeHeader> = decode_header(&data.header)?;
        if headers.len() != data.buffers.len() {
            return Err(broken(format!("{} buffers for {} nodes", data.buffers.len(), headers.len())));
        }
        let read = |((level, index, kind, count, shape), buffer): (NodeHeader, _)| {
            let block = Block::from_buffer(&shape, buffer)?;
            Ok(Node { level, index, value: Partial { kind, count, block } })
        };
        let nodes = headers.into_iter().zip(data.buffers).map(read).collect::<Result<Vec<_>, DataError>>()?;
        Subtrees::try_from(nodes).map(Self).map_err(|message| broken(message.into()))
    }

    fn n_bytes(&self) -> u64 {
        self.0.nodes().iter().map(|node| node.value.block.n_bytes() + 32).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use phalanx_engine::data::BufferMut;
    use rand::{Rng, RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn partial_results_travel() {
        let (a, b) = (Block::new(&[700, 2], vec![0.5; 1400]), Block::new(&[700], vec![2.0; 700]));
        let how = Contraction { left_transposed: true, right_transposed: false, first_panel: 3 };
        let trees = contract(&a, &b, &how).unwrap();
        assert_eq!(trees.0.range(), 3..6);
        assert_eq!(PartialTrees::decode(trees.encode().unwrap()).unwrap(), trees);
        assert_eq!(Finish::Plain.apply(trees.0, &[2]).as_slice(), [700.0, 700.0]);
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50_000 {
            let mut header = vec![0; random.random_range(0..24)];
            random.fill_bytes(&mut header);
            header.iter_mut().for_each(|byte| *byte %= random.random_range(1..=255));
            let buffers = (0..random.random_range(0..3)).map(|_| BufferMut::zeroed(8).freeze()).collect();
            let _ = PartialTrees::decode(Data { header, buffers });
        }
    }
}
