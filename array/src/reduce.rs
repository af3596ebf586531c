//! Reductions and products of lazy arrays, as trees of tasks.
//!
//! Chunk tasks hand on the maximal complete subtrees of the fixed tree over panels; combine tasks join up to
//! [`FAN_IN`] neighbours. How the graph is shaped never shows in a result.

use phalanx_engine::graph::Delayed;

use crate::{
    block::Block,
    chunked::{ChunkedArray, Shared, Stored, bytes_of, chunk_shape},
    chunks::Chunks,
    error::{Error, Result},
    partial::{Contraction, Finish, Kind, PartialTrees, Reduction},
    tasks,
};

/// How many partial results one task combines.
const FAN_IN: usize = 8;

impl ChunkedArray {
    /// The sum of all numbers: over the first axis, then over the second. 0 for none.
    ///
    /// # Errors
    /// None for the arrays there are today.
    pub fn sum(&self) -> Result<Self> {
        self.reduce_all("sum", Kind::Sum, Finish::Plain)
    }

    /// The mean of all numbers.
    ///
    /// # Errors
    /// When there are none.
    pub fn mean(&self) -> Result<Self> {
        let count = self.shape().iter().product();
        self.reduce_all("mean", Kind::Sum, Finish::Mean { count })
    }

    /// The smallest number; NaN where there is one.
    ///
    /// # Errors
    /// When there are no numbers.
    pub fn min(&self) -> Result<Self> {
        self.reduce_all("min", Kind::Min, Finish::Plain)
    }

    /// The largest number; NaN where there is one.
    ///
    /// # Errors
    /// When there are no numbers.
    pub fn max(&self) -> Result<Self> {
        self.reduce_all("max", Kind::Max, Finish::Plain)
    }

    /// The variance of all numbers, with `ddof` degrees of freedom taken away: 0 for a population (NumPy's
    /// default), 1 for a sample.
    ///
    /// # Errors
    /// When there are no numbers, or `ddof` is negative or not finite.
    pub fn var(&self, ddof: f64) -> Result<Self> {
        check_ddof(ddof)?;
        self.reduce_all("var", Kind::Moments, Finish::Variance { ddof })
    }

    /// The square root of [`var`](Self::var).
    ///
    /// # Errors
    /// As [`var`](Self::var).
    pub fn std(&self, ddof: f64) -> Result<Self> {
        check_ddof(ddof)?;
        self.reduce_all("std", Kind::Moments, Finish::Std { ddof })
    }

    /// Sums over an axis, which goes.
    ///
    /// # Errors
    /// When there is no such axis.
    pub fn sum_axis(&self, axis: usize) -> Result<Self> {
        self.reduce_axis("sum", Kind::Sum, Finish::Plain, axis)
    }

    /// Means over an axis, which goes.
    ///
    /// # Errors
    /// When there is no such axis, or it is empty.
    pub fn mean_axis(&self, axis: usize) -> Result<Self> {
        let count = self.shape().get(axis).copied().unwrap_or(0);
        self.reduce_axis("mean", Kind::Sum, Finish::Mean { count }, axis)
    }

    /// Smallest numbers along an axis, which goes.
    ///
    /// # Errors
    /// When there is no such axis, or it is empty.
    pub fn min_axis(&self, axis: usize) -> Result<Self> {
        self.reduce_axis("min", Kind::Min, Finish::Plain, axis)
    }

    /// Largest numbers along an axis, which goes.
    ///
    /// # Errors
    /// When there is no such axis, or it is empty.
    pub fn max_axis(&self, axis: usize) -> Result<Self> {
        self.reduce_axis("max", Kind::Max, Finish::Plain, axis)
    }

    /// Variances along an axis, which goes; see [`var`](Self::var).
    ///
    /// # Errors
    /// When there is no such axis, it is empty, or `ddof` is negative or not finite.
    pub fn var_axis(&self, axis: usize, ddof: f64) -> Result<Self> {
        check_ddof(ddof)?;
        self.reduce_axis("var", Kind::Moments, Finish::Variance { ddof }, axis)
    }

    /// Standard deviations along an axis, which goes; see [`var`](Self::var).
    ///
    /// # Errors
    /// As [`var_axis`](Self::var_axis).
    pub fn std_axis(&self, axis: usize, ddof: f64) -> Result<Self> {
        check_ddof(ddof)?;
        self.reduce_axis("std", Kind::Moments, Finish::Std { ddof }, axis)
    }

    /// The product with a vector or a matrix: the last axis of `self` with the first of `other`.
    ///
    /// Neither operand is copied for a transpose: `x.t().dot(&r)` reads `x` as it lies.
    ///
    /// ```
    /// # fn main() -> phalanx_array::Result<()> {
    /// use phalanx_array::ChunkedArray;
    /// let x = ChunkedArray::random_normal(1, 0.0, 1.0, &[10_000, 5], 1024)?;
    /// let w = ChunkedArray::ones(&[5], 5)?;
    /// let residual = x.dot(&w)? - 1.0;
    /// assert_eq!(x.t().dot(&residual)?.shape(), [5]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the lengths of the contracted axes differ, or an operand has no axes.
    pub fn dot(&self, other: &Self) -> Result<Self> {
        let (left, right) = (self.shape(), other.shape());
        if left.is_empty() || right.is_empty() {
            return Err(Error::Axes { operation: "dot", n_axes: 0, hint: "multiply by a number with *" });
        }
        if left[left.len() - 1] != right[0] {
            let hint = "the last axis of the first must be as long as the first axis of the second; t() transposes";
            return Err(Error::Shapes { operation: "dot", left, right, hint });
        }
        match (left.len(), right.len()) {
            (1, 2) => other.t().dot(self),
            _ => Ok(self.contract(other)),
        }
    }

    /// Rows and columns are known to fit; the left has two axes, or both have one.
    fn contract(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.clone(), other.clone());
        let (left_axis, right_axis) = (left.n_axes() - 1, 0);
        let n_numbers = |array: &Self| array.shape().iter().product::<usize>();
        // The smaller array is cut as the larger one.
        if n_numbers(&left) >= n_numbers(&right) {
            right = right.cut_axis_as(right_axis, &left.axes()[left_axis]);
        } else {
            left = left.cut_axis_as(left_axis, &right.axes()[right_axis]);
        }
        let (left_axes, right_axes) = (left.axes(), right.axes());
        let contracted = left_axes[left_axis].clone();
        let axes: Vec<Chunks> = left_axes[..left_axis].iter().chain(&right_axes[1..]).cloned().collect();
        if contracted.is_empty() {
            return Self::new(axes, crate::program::Program::constant(0.0), Vec::new());
        }
        // Chunks as they lie; a transpose only tells which of their axes is contracted.
        let (left_stored, right_stored) = (left.expression.stored(), right.expression.stored());
        let left_block = |i: usize, c: usize| match (left.n_axes(), left.transposed) {
            (1, _) | (2, true) => left_stored.block(c, i),
            _ => left_stored.block(i, c),
        };
        let right_block =
            |c: usize, j: usize| if right.transposed { right_stored.block(j, c) } else { right_stored.block(c, j) };
        let n_left = if left_axis == 1 { left_axes[0].n_chunks() } else { 1 };
        let n_right = right_axes.get(1).map_or(1, Chunks::n_chunks);
        let how = |c| {
            let (left_transposed, right_transposed) = (left.transposed, right.transposed);
            Contraction { left_transposed, right_transposed, first_panel: contracted.first_panel(c) }
        };
        let hows: Vec<_> = (0..contracted.n_chunks()).map(|c| Delayed::value(how(c))).collect();
        let plain = Delayed::value(Finish::Plain);
        let mut shapes = Shared::default();
        let mut blocks = Vec::with_capacity(n_left * n_right);
        for i in 0..n_left {
            for j in 0..n_right {
                // The grid of the result has the left's kept axis first, where there is one.
                let shape = if left_axis == 1 { chunk_shape(&axes, i, j) } else { chunk_shape(&axes, j, 0) };
                let n_bytes = bytes_of(&shape);
                let part = |c: usize| {
                    tasks::contract::delayed(left_block(i, c), right_block(c, j), &hows[c]).expected_bytes(n_bytes)
                };
                let parts = (0..contracted.n_chunks()).map(part).collect();
                blocks.push(tree(parts, n_bytes, &plain, &shapes.get(shape)));
            }
        }
        Self::from_stored(Stored::new(axes, blocks))
    }

    fn cut_axis_as(&self, axis: usize, chunks: &Chunks) -> Self {
        let mut axes = self.axes();
        axes[axis] = chunks.clone();
        self.cut_as(&axes)
    }

    fn reduce_axis(&self, operation: &'static str, kind: Kind, finish: Finish, axis: usize) -> Result<Self> {
        let axis = self.base_axis(axis)?;
        let base = self.base();
        let axes = &base.expression.axes;
        let kept: Vec<Chunks> = axes.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, c)| c.clone()).collect();
        let contracted = &axes[axis];
        if contracted.is_empty() {
            return match kind {
                Kind::Sum if finish == Finish::Plain => {
                    Ok(Self::new(kept, crate::program::Program::constant(0.0), Vec::new()))
                }
                _ => Err(Error::Empty { operation, shape: self.shape() }),
            };
        }
        let fused = base.expression.fused();
        let program = Delayed::value(fused.program.clone());
        let single_column = axes.get(1).is_none_or(|cols| cols.len() == 1);
        let finish = Delayed::value(finish);
        let mut shapes = Shared::default();
        let blocks = (0..kept.first().map_or(1, Chunks::n_chunks)).map(|k| {
            let part = |c: usize| {
                let (i, j) = if axis == 0 { (c, k) } else { (k, c) };
                let shape = chunk_shape(axes, i, j);
                let reduction = Reduction { kind, shape, axis, first_panel: contracted.first_panel(c), single_column };
                tasks::reduce::delayed(&program, reduction, fused.inputs_of(i, j))
            };
            let shape = chunk_shape(&kept, k, 0);
            let n_bytes = bytes_of(&shape);
            tree((0..contracted.n_chunks()).map(part).collect(), n_bytes, &finish, &shapes.get(shape))
        });
        let blocks = blocks.collect();
        Ok(Self::from_stored(Stored::new(kept, blocks)))
    }

    /// Over the first axis, then over the second, of the array as it lies.
    fn reduce_all(&self, operation: &'static str, kind: Kind, finish: Finish) -> Result<Self> {
        let shape = self.shape();
        let base = self.base();
        match (base.n_axes(), kind) {
            (0, _) => {
                Self::new(vec![Chunks::single(1)], base.expression.program.clone(), base.expression.inputs.clone())
                    .reduce_axis(operation, kind, finish, 0)
            }
            (1, _) => base.reduce_axis(operation, kind, finish, 0),
            _ if shape.contains(&0) && (kind, finish) != (Kind::Sum, Finish::Plain) => {
                Err(Error::Empty { operation, shape })
            }
            (_, Kind::Moments) => Ok(base.reduce_moments(finish)?),
            _ => base.reduce_axis(operation, kind, Finish::Plain, 0)?.reduce_axis(operation, kind, finish, 0),
        }
    }

    fn reduce_moments(&self, finish: Finish) -> Result<Self> {
        let rows = self.reduce_axis("var", Kind::Moments, Finish::Moments, 0)?;
        let count = Delayed::value(self.shape()[0]);
        let cols = &rows.expression.axes[0];
        let part = |(j, moments): (usize, &Delayed<Block>)| {
            tasks::reduce_moments::delayed(moments, &count, cols.first_panel(j))
        };
        let parts = rows.blocks().iter().enumerate().map(part).collect();
        let block = tree(parts, bytes_of(&[]), &Delayed::value(finish), &Delayed::value(vec![]));
        Ok(Self::from_stored(Stored::new(vec![], vec![block])))
    }
}

/// Combines neighbours until one task can finish.
fn tree(
    mut parts: Vec<Delayed<PartialTrees>>,
    n_bytes: u64,
    finish: &Delayed<Finish>,
    shape: &Delayed<Vec<usize>>,
) -> Delayed<Block> {
    while parts.len() > FAN_IN {
        parts = parts.chunks(FAN_IN).map(|parts| tasks::combine::delayed(parts).expected_bytes(n_bytes)).collect();
    }
    tasks::finish::delayed(parts, finish, shape).expected_bytes(n_bytes)
}

fn check_ddof(ddof: f64) -> Result<()> {
    if ddof.is_finite() && ddof >= 0.0 {
        return Ok(());
    }
    Err(Error::Parameter { name: "ddof", value: ddof.to_string(), expected: "a finite number, 0 or more" })
}
