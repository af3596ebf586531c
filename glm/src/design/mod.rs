//! A design matrix that is dense in some columns and sparse in others.
//!
//! A category of a thousand levels is a thousand columns of which each row has one: here it takes four bytes a row.
//! What is fitted to a design, and where its rows lie, the matrix itself does not know.

#[cfg(test)]
mod agreement;
mod chunked;
mod fits;
mod local;
mod portable;
mod predict;
mod tasks;

use std::{ops::Range, sync::Arc};

use phalanx_array::{Block, Schema, TableBlock};
use phalanx_learn::{
    Error, Result,
    preprocess::{EncodedPart, FittedTableEncoder},
    validate,
};
use serde::{Deserialize, Serialize};
use sprs::CsMat;

pub use self::chunked::ChunkedDesign;
use crate::kernel::{Entries, Layout, NO_CODE};

/// Rows of dense columns, of sparse ones and of categories, in the order in which they were added.
///
/// Estimators fit to `&Design` as to an array, with the same answer up to rounding, and models predict from it. Only
/// what is there takes memory and time: 8 bytes a number of a dense column, 12 an entry of a sparse one, and 4 a row
/// of a category, however many levels it has.
///
/// Sparse columns are not centred before they are multiplied with each other, as that would fill them. So a column
/// whose numbers are large against their spread, as years are, loses digits in a sparse part and belongs in a dense
/// one.
///
/// ```
/// use ndarray::array;
/// use phalanx_glm::{Design, PoissonRegression};
/// use phalanx_learn::{Fit, Predict};
/// use sprs::TriMat;
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let age = array![[0.1], [0.5], [0.3], [0.9], [0.2], [0.7]];
/// let region = [0, 1, 2, 2, 1, 0]; // of 3 levels, the first being the reference
/// let mut words = TriMat::new((6, 4));
/// for (row, word) in [(0, 3), (2, 1), (3, 1), (5, 0)] {
///     words.add_triplet(row, word, 1.);
/// }
/// let x = Design::new().dense(&age)?.categorical(&region, 3, Some(0))?.sparse(&words.to_csr())?;
/// assert_eq!((x.n_rows(), x.n_features()), (6, 1 + 2 + 4));
/// let y = array![1., 2., 4., 7., 2., 1.];
/// let model = PoissonRegression::new().alpha(0.1).fit(&x, &y)?;
/// let dense = PoissonRegression::new().alpha(0.1).fit(&x.to_array(), &y)?;
/// for (a, b) in model.coef().iter().zip(dense.coef()) {
///     assert!((a - b).abs() < 1e-8);
/// }
/// assert_eq!(model.predict(&x)?.len(), 6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    layout: Arc<Layout>,
    /// None where there are no columns yet.
    n_rows: Option<usize>,
    dense: Block,
    codes: Arc<Vec<u32>>,
    starts: Arc<Vec<u64>>,
    columns: Arc<Vec<u32>>,
    values: Arc<Vec<f64>>,
}

/// Which columns a [`Design`] has: how many, and which are sparse.
///
/// ```
/// use phalanx_glm::Design;
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let part = Design::new().categorical(&[0, 2], 3, None)?;
/// assert_eq!(part.columns().n_features(), 3);
/// assert_eq!(part.columns(), Design::new().categorical(&[1], 3, None)?.columns());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DesignColumns(Arc<Layout>);

impl Default for Design {
    fn default() -> Self {
        Self {
            layout: Arc::default(),
            n_rows: None,
            dense: Block::new(&[0], Vec::new()),
            codes: Arc::default(),
            starts: Arc::default(),
            columns: Arc::default(),
            values: Arc::default(),
        }
    }
}

impl Design {
    /// No columns yet; the first part says how many rows there are.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the columns of a dense array. An array that is given away in row-major layout, as the only dense part, is
    /// not copied.
    ///
    /// # Errors
    /// When it has not as many rows as the parts before.
    pub fn dense(mut self, x: impl Into<Block>) -> Result<Self> {
        let x: Block = x.into();
        let (n, p) = x.dims();
        self.expect_rows(n)?;
        let layout = Arc::make_mut(&mut self.layout);
        let before = layout.dense.len();
        layout.dense.extend(added(layout.n_features, p)?);
        layout.n_features += p;
        self.dense = if before == 0 {
            x.reshape(&[n, p])
        } else {
            let mut both = Vec::with_capacity(n * (before + p));
            for row in 0..n {
                both.extend_from_slice(&self.dense.as_slice()[row * before..(row + 1) * before]);
                both.extend_from_slice(&x.as_slice()[row * p..(row + 1) * p]);
            }
            Block::new(&[n, before + p], both)
        };
        Ok(self)
    }

    /// Adds the columns of a sparse matrix; one that is not stored by rows is turned first.
    ///
    /// # Errors
    /// When it has not as many rows as the parts before.
    pub fn sparse(mut self, x: &CsMat<f64>) -> Result<Self> {
        let turned;
        let x = if x.is_csr() {
            x
        } else {
            turned = x.to_csr();
            &turned
        };
        self.expect_rows(x.rows())?;
        let first = self.add_sparse(x.cols())?;
        let room = self.values.len() + x.nnz();
        let (mut starts, mut columns, mut values) =
            (Vec::with_capacity(x.rows() + 1), Vec::with_capacity(room), Vec::with_capacity(room));
        starts.push(0);
        for (row, entries) in x.outer_iterator().enumerate() {
            if let Some(range) = self.entries_of(row) {
                columns.extend_from_slice(&self.columns[range.clone()]);
                values.extend_from_slice(&self.values[range]);
            }
            for (column, &value) in entries.iter() {
                columns.push(first + column as u32);
                values.push(value);
            }
            starts.push(values.len() as u64);
        }
        (self.starts, self.columns, self.values) = (Arc::new(starts), Arc::new(columns), Arc::new(values));
        Ok(self)
    }

    /// Adds a column of 0 and 1 for each of `n_levels` levels, but for the reference level where there is one; a
    /// row's code is the number of its level, from 0.
    ///
    /// # Errors
    /// When there are not as many codes as the parts before have rows, a code is no level, or the reference is none.
    pub fn categorical(mut self, codes: &[u32], n_levels: usize, reference: Option<usize>) -> Result<Self> {
        self.expect_rows(codes.len())?;
        if let Some(reference) = reference.filter(|reference| *reference >= n_levels) {
            return Err(Error::parameter("reference", reference, format!("a level, below {n_levels}")));
        }
        let column = self.layout.n_features;
        if let Some((row, code)) = codes.iter().enumerate().find(|(_, code)| **code as usize >= n_levels) {
            let found = if *code == phalanx_array::MISSING { "missing".to_owned() } else { code.to_string() };
            let place = format!("the code in row {row} of the category whose columns begin with {column}");
            return Err(Error::parameter(place, found, format!("a level, 0 to {}", n_levels.saturating_sub(1))));
        }
        let first = self.add_sparse(n_levels - usize::from(reference.is_some()))?;
        let own = |code: u32| match reference {
            Some(reference) if code as usize == reference => NO_CODE,
            Some(reference) if code as usize > reference => first + code - 1,
            _ => first + code,
        };
        let before = self.layout.n_codes;
        self.codes = Arc::new(if before == 0 {
            codes.iter().map(|&code| own(code)).collect()
        } else {
            let mut all = Vec::with_capacity(codes.len() * (before + 1));
            for (others, &code) in self.codes.chunks_exact(before).zip(codes) {
                all.extend_from_slice(others);
                all.push(own(code));
            }
            all
        });
        Arc::make_mut(&mut self.layout).n_codes += 1;
        Ok(self)
    }

    /// The columns that an encoder makes of a table's, in its order, categories as codes; `first_row` is where the
    /// block begins in the whole table, for errors.
    ///
    /// # Errors
    /// As [`FittedTableEncoder::encode`].
    pub fn from_table(
        encoder: &FittedTableEncoder,
        (schema, block): (&Schema, &TableBlock),
        first_row: usize,
    ) -> Result<Self> {
        let mut design = Self::new();
        // Neighbours that are numbers become one part.
        let mut pending: Vec<Vec<f64>> = Vec::new();
        for part in encoder.encode_parts(schema, block, first_row)? {
            match part {
                EncodedPart::Numbers(numbers) => pending.push(numbers),
                EncodedPart::Codes { codes, n_features } => {
                    design = design.columns_of(&mut pending)?;
                    design = design.categorical(&codes, n_features + 1, Some(n_features))?;
                }
            }
        }
        design.columns_of(&mut pending)
    }

    /// Adds columns of numbers, if there are any.
    fn columns_of(self, columns: &mut Vec<Vec<f64>>) -> Result<Self> {
        let Some(first) = columns.first() else { return Ok(self) };
        let x = ndarray::Array2::from_shape_fn((first.len(), columns.len()), |(row, column)| columns[column][row]);
        columns.clear();
        self.dense(x)
    }

    /// How many rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows.unwrap_or_default()
    }

    /// How many columns, of all parts together.
    pub fn n_features(&self) -> usize {
        self.layout.n_features
    }

    /// Which columns there are.
    pub fn columns(&self) -> DesignColumns {
        DesignColumns(Arc::clone(&self.layout))
    }

    /// Some of the rows.
    ///
    /// # Panics
    /// When `rows` reaches beyond the last.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>) -> Self {
        assert!(rows.end <= self.n_rows(), "rows {rows:?} of a design of {} rows", self.n_rows());
        let n_codes = self.layout.n_codes;
        let mut part = Self {
            layout: Arc::clone(&self.layout),
            n_rows: Some(rows.len()),
            codes: Arc::new(self.codes[rows.start * n_codes..rows.end * n_codes].to_vec()),
            ..Self::default()
        };
        if !self.layout.dense.is_empty() {
            part.dense = self.dense.rows(rows.clone());
        }
        if let Some(starts) = self.starts.get(rows.start..=rows.end) {
            let (first, last) = (starts[0], starts[rows.len()]);
            part.starts = Arc::new(starts.iter().map(|start| start - first).collect());
            part.columns = Arc::new(self.columns[first as usize..last as usize].to_vec());
            part.values = Arc::new(self.values[first as usize..last as usize].to_vec());
        }
        part
    }

    /// The same as a dense array of shape (n_rows, n_features), zeros and all.
    pub fn to_array(&self) -> ndarray::Array2<f64> {
        let mut out = ndarray::Array2::zeros((self.n_rows(), self.n_features()));
        let width = self.layout.dense.len();
        for (row, mut out) in out.rows_mut().into_iter().enumerate() {
            for (j, &column) in self.layout.dense.iter().enumerate() {
                out[column as usize] = self.dense.as_slice()[row * width + j];
            }
            self.entries().each(row, |column, value| out[self.layout.sparse[column as usize] as usize] = value);
        }
        out
    }

    /// Bytes of numbers, codes and indices.
    pub fn n_bytes(&self) -> u64 {
        let Self { dense, codes, starts, columns, values, .. } = self;
        (8 * (dense.len() + starts.len() + values.len()) + 4 * (codes.len() + columns.len())) as u64
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The dense part, row-major.
    pub(crate) fn dense_part(&self) -> ndarray::ArrayView2<'_, f64> {
        let shape = (self.n_rows(), self.layout.dense.len());
        match ndarray::ArrayView2::from_shape(shape, if shape.1 == 0 { &[] } else { self.dense.as_slice() }) {
            Ok(view) => view,
            Err(_) => unreachable!("the dense part has all rows"),
        }
    }

    pub(crate) fn entries(&self) -> Entries<'_> {
        Entries {
            n_codes: self.layout.n_codes,
            codes: &self.codes,
            starts: &self.starts,
            columns: &self.columns,
            values: &self.values,
        }
    }

    fn entries_of(&self, row: usize) -> Option<Range<usize>> {
        let range = self.starts.get(row..row + 2)?;
        Some(range[0] as usize..range[1] as usize)
    }

    fn expect_rows(&mut self, n: usize) -> Result<()> {
        validate::same_length("the design", *self.n_rows.get_or_insert(n), "its next part", n)
    }

    /// Adds sparse columns; the number of the first among the sparse ones.
    fn add_sparse(&mut self, n: usize) -> Result<u32> {
        let layout = Arc::make_mut(&mut self.layout);
        let first = layout.sparse.len() as u32;
        layout.sparse.extend(added(layout.n_features, n)?);
        layout.n_features += n;
        Ok(first)
    }
}

/// The numbers of columns that are added.
fn added(before: usize, n: usize) -> Result<Range<u32>> {
    let end = before.checked_add(n).and_then(|end| u32::try_from(end).ok()).filter(|end| *end < u32::MAX);
    let end = end.ok_or_else(|| Error::parameter("X", format!("{before} and {n} columns"), "below 4,294,967,295"))?;
    Ok(end - n as u32..end)
}

impl DesignColumns {
    /// How many.
    pub fn n_features(&self) -> usize {
        self.0.n_features
    }

    /// How many of them are sparse, those of categories among them.
    pub fn n_sparse(&self) -> usize {
        self.0.sparse.len()
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.0
    }

    /// The sparse ones, neighbours together.
    pub(crate) fn sparse_ranges(&self) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for &column in &self.0.sparse {
            let column = column as usize;
            match ranges.last_mut().filter(|range| range.end == column) {
                Some(range) => range.end = column + 1,
                None => ranges.push(column..column + 1),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ndarray::array;
    use phalanx_array::MISSING;
    use sprs::TriMat;

    use super::*;

    fn sparse(rows: usize, columns: usize, entries: &[(usize, usize, f64)]) -> CsMat<f64> {
        let mut matrix = TriMat::new((rows, columns));
        entries.iter().for_each(|&(row, column, value)| matrix.add_triplet(row, column, value));
        matrix.to_csr()
    }

    #[test]
    fn parts_lie_in_the_order_in_which_they_were_added() {
        let design = Design::new()
            .categorical(&[0, 2, 1], 3, Some(1))
            .and_then(|x| x.dense(array![[5.], [6.], [7.]]))
            .and_then(|x| x.sparse(&sparse(3, 2, &[(0, 1, 8.), (2, 0, 9.)])))
            .and_then(|x| x.categorical(&[1, 0, 0], 2, None))
            .and_then(|x| x.dense(&array![[1.], [2.], [3.]]))
            .and_then(|x| x.sparse(&sparse(3, 1, &[(2, 0, 4.)]).to_csc()))
            .unwrap();
        let expected = array![
            [1., 0., 5., 0., 8., 0., 1., 1., 0.],
            [0., 1., 6., 0., 0., 1., 0., 2., 0.],
            [0., 0., 7., 9., 0., 1., 0., 3., 4.],
        ];
        assert_eq!(design.to_array(), expected);
        assert_eq!(design.rows(1..3).to_array(), expected.slice(ndarray::s![1.., ..]));
        assert_eq!(design.columns().sparse_ranges(), [0..2, 3..7, 8..9]);
        assert_eq!((design.n_features(), design.columns().n_sparse()), (9, 7));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let message = |result: Result<Design>| result.unwrap_err().to_string();
        let three = || Design::new().dense(array![[5.], [6.], [7.]]).unwrap();
        assert_eq!(
            message(three().categorical(&[0, 1], 2, None)),
            "the design has 3 rows and its next part has 2; they must agree"
        );
        assert!(message(three().sparse(&sparse(2, 2, &[]))).contains("its next part has 2"));
        assert!(message(three().dense(array![[5.]])).contains("its next part has 1"));
        assert_eq!(
            message(three().categorical(&[0, 4, 1], 4, None)),
            "the code in row 1 of the category whose columns begin with 1 is 4, expected a level, 0 to 3"
        );
        assert!(message(three().categorical(&[0, MISSING, 1], 4, None)).contains("is missing, expected"));
        assert_eq!(message(three().categorical(&[0, 0, 0], 2, Some(2))), "reference is 2, expected a level, below 2");
    }
}
