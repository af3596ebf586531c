//! Other views of a lazy array: transposed, sliced, stacked, cut elsewhere.

use std::ops::Range;

use crate::{
    chunked::{ChunkedArray, Stored},
    chunks::Chunks,
    error::{Error, Result},
    regrid::{self, Part},
    tasks,
};

impl ChunkedArray {
    /// The transpose; nothing is copied until numbers of both are combined. An array of one axis is its own.
    #[must_use]
    pub fn t(&self) -> Self {
        let mut result = self.clone();
        result.transposed = self.n_axes() == 2 && !self.transposed;
        result
    }

    /// The same array in chunks of `sizes[axis]` along each axis.
    ///
    /// ```
    /// # use phalanx_array::ChunkedArray;
    /// let x = ChunkedArray::zeros(&[2000, 600], 1024).unwrap().rechunk(&[512, 256]).unwrap();
    /// assert_eq!(x.n_chunks(), 12);
    /// ```
    ///
    /// # Errors
    /// When there is not one size an axis, or one is no positive multiple of [`PANEL`](crate::PANEL) (unless one
    /// chunk holds the whole axis).
    pub fn rechunk(&self, sizes: &[usize]) -> Result<Self> {
        let shape = self.shape();
        if sizes.len() != shape.len() {
            let hint = "give one chunk size for each axis";
            return Err(Error::Shapes { operation: "rechunk", left: shape, right: sizes.to_vec(), hint });
        }
        let axes: Vec<_> =
            shape.iter().zip(sizes).map(|(len, size)| Chunks::uniform(*len, *size)).collect::<Result<_>>()?;
        Ok(self.cut_as(&axes))
    }

    /// The same array with each axis cut as given.
    ///
    /// # Errors
    /// When there is not one an axis, or one is of another length.
    pub fn rechunk_as(&self, axes: &[Chunks]) -> Result<Self> {
        let (left, right): (_, Vec<_>) = (self.shape(), axes.iter().map(Chunks::len).collect());
        if left != right {
            let hint = "give the cuts of every axis";
            return Err(Error::Shapes { operation: "rechunk_as", left, right, hint });
        }
        Ok(self.cut_as(axes))
    }

    /// Rows `rows.start` up to `rows.end`. They are an array of their own: panels are counted from its first row.
    ///
    /// # Errors
    /// When the range reaches beyond the rows, or there are no axes.
    pub fn slice_rows(&self, rows: Range<usize>) -> Result<Self> {
        self.slice_axis(0, rows)
    }

    /// Columns `cols.start` up to `cols.end`.
    ///
    /// # Errors
    /// When the range reaches beyond the columns, or there are fewer than two axes.
    pub fn slice_columns(&self, cols: Range<usize>) -> Result<Self> {
        self.slice_axis(1, cols)
    }

    /// One column, as an array of one axis.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn column(&self, col: usize) -> Result<Self> {
        let column = self.slice_columns(col..col + 1)?.settled();
        let rows = column.expression.axes[0].clone();
        Ok(column.reshaped(vec![rows]))
    }

    /// The same numbers with one more axis, of length 1, at place `axis` (0 or 1): a vector as a row or a column.
    ///
    /// # Errors
    /// When the array has two axes already, or `axis` is larger than the number of axes.
    pub fn insert_axis(&self, axis: usize) -> Result<Self> {
        let n_axes = self.n_axes();
        if n_axes == 2 {
            let hint = "arrays have at most two axes";
            return Err(Error::Axes { operation: "insert_axis", n_axes, hint });
        }
        if axis > n_axes {
            return Err(Error::NoAxis { axis, n_axes: n_axes + 1 });
        }
        let mut axes = self.expression.axes.clone();
        axes.insert(axis, Chunks::single(1));
        Ok(self.reshaped(axes))
    }

    /// Arrays one after the other along an axis. The result is cut as the first one is.
    ///
    /// # Errors
    /// When there are none, there is no such axis, or the other axes differ.
    pub fn concatenate(arrays: &[&Self], axis: usize) -> Result<Self> {
        let [first, rest @ ..] = arrays else {
            return Err(Error::Empty { operation: "concatenate", shape: vec![] });
        };
        let (left, n_axes) = (first.shape(), first.n_axes());
        if axis >= n_axes {
            return Err(Error::NoAxis { axis, n_axes });
        }
        let mut total = left[axis];
        for other in rest {
            let right = other.shape();
            if right.len() != n_axes || (0..n_axes).any(|i| i != axis && left[i] != right[i]) {
                let hint = "all axes but the stacked one must be of the same lengths";
                return Err(Error::Shapes { operation: "concatenate", left, right, hint });
            }
            total += right[axis];
        }
        let mut axes = first.axes();
        axes[axis] = axes[axis].like(total);
        let mut at = [0, 0];
        let parts: Vec<_> = arrays
            .iter()
            .map(|array| {
                let stored = array.stored();
                let [rows, cols] = stored.dims();
                let part = Part { stored, rows: 0..rows, cols: 0..cols, at: (at[0], at[1]) };
                at[axis] += array.shape()[axis];
                part
            })
            .collect();
        Ok(Self::from_stored(regrid::assemble(&axes, &parts)))
    }

    /// Arrays one below the other; vectors become rows.
    ///
    /// # Errors
    /// As [`concatenate`](Self::concatenate).
    pub fn vstack(arrays: &[&Self]) -> Result<Self> {
        let rows: Vec<_> = arrays
            .iter()
            .map(|array| if array.n_axes() == 1 { array.insert_axis(0) } else { Ok((*array).clone()) })
            .collect::<Result<_>>()?;
        Self::concatenate(&rows.iter().collect::<Vec<_>>(), 0)
    }

    /// Arrays side by side; vectors are joined end to end.
    ///
    /// # Errors
    /// As [`concatenate`](Self::concatenate).
    pub fn hstack(arrays: &[&Self]) -> Result<Self> {
        let axis = arrays.first().map_or(0, |first| first.n_axes().saturating_sub(1));
        Self::concatenate(arrays, axis)
    }

    fn slice_axis(&self, axis: usize, range: Range<usize>) -> Result<Self> {
        let axis = self.base_axis(axis)?;
        let own = &self.expression.axes;
        let len = own[axis].len();
        if range.start > range.end || range.end > len {
            return Err(Error::Range { start: range.start, end: range.end, len });
        }
        if range == (0..len) {
            return Ok(self.clone());
        }
        let mut axes = own.clone();
        axes[axis] = own[axis].like(range.len());
        let mut result = if self.expression.inputs.is_empty() {
            Self::new(axes, self.expression.program.clone(), Vec::new())
        } else {
            let stored = self.expression.stored();
            let [n_rows, n_cols] = stored.dims();
            let (rows, cols) = if axis == 0 { (range, 0..n_cols) } else { (0..n_rows, range) };
            Self::from_stored(regrid::assemble(&axes, &[Part { stored, rows, cols, at: (0, 0) }]))
        };
        result.transposed = self.transposed;
        Ok(result)
    }

    /// The same chunks in other shapes; `axes` must have as many chunks, of as many numbers.
    fn reshaped(&self, axes: Vec<Chunks>) -> Self {
        let stored = self.expression.stored();
        let blocks = crate::chunked::grid(stored.axes()).zip(crate::chunked::grid(&axes)).map(|((i, j), (k, l))| {
            tasks::reshape::delayed(stored.block(i, j), crate::chunked::chunk_shape(&axes, k, l))
        });
        let blocks = blocks.collect();
        Self::from_stored(Stored::new(axes, blocks))
    }
}
