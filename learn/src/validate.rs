//! The checks on data that every `fit` and every `predict` begins with, so that all estimators say them alike.

use ndarray::{ArrayView1, ArrayView2};

use crate::{Error, Result};

/// What `fit` asks of its data: as many rows in X as in y, at least one row and one column, every number finite.
///
/// # Errors
/// The first thing that is wrong, with its row and column counted from 0.
///
/// ```
/// use ndarray::array;
/// use phalanx_learn::validate::fit_data;
///
/// let x = array![[1., 2.], [3., f64::NAN]];
/// let error = fit_data(x.view(), array![1., 2.].view()).unwrap_err();
/// assert_eq!(error.to_string(), "X has NaN in row 1, column 1; drop or fill such rows first");
/// ```
pub fn fit_data(x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<()> {
    if x.is_empty() {
        return Err(Error::Empty { what: "X" });
    }
    same_length("X", x.nrows(), "y", y.len())?;
    finite_matrix("X", x)?;
    finite_vector("y", y)
}

/// What `predict` asks of its data: the columns there were at fit, every number finite. No rows are no mistake.
///
/// # Errors
/// The first thing that is wrong, with its row and column counted from 0.
pub fn predict_data(x: ArrayView2<'_, f64>, n_features: usize) -> Result<()> {
    if x.ncols() != n_features {
        return Err(Error::NFeatures { expected: n_features, found: x.ncols() });
    }
    finite_matrix("X", x)
}

/// Two things that belong together have one length.
///
/// # Errors
/// When they have not.
pub fn same_length(left: &'static str, n_left: usize, right: &'static str, n_right: usize) -> Result<()> {
    if n_left == n_right { Ok(()) } else { Err(Error::Length { left, n_left, right, n_right }) }
}

/// Every number of a matrix is finite.
///
/// # Errors
/// The first that is not, in row order.
pub fn finite_matrix(what: &'static str, x: ArrayView2<'_, f64>) -> Result<()> {
    for (row, values) in x.rows().into_iter().enumerate() {
        if let Some((column, &value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { what, row, column: Some(column), value });
        }
    }
    Ok(())
}

/// Every number of a vector is finite.
///
/// # Errors
/// The first that is not.
pub fn finite_vector(what: &'static str, y: ArrayView1<'_, f64>) -> Result<()> {
    match y.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((row, &value)) => Err(Error::NotFinite { what, row, column: None, value }),
        None => Ok(()),
    }
}

/// Weights of rows: as many as rows, finite, none below 0 and one above.
///
/// # Errors
/// The first thing that is wrong.
pub fn sample_weight(weights: ArrayView1<'_, f64>, n_rows: usize) -> Result<()> {
    same_length("y", n_rows, "sample_weight", weights.len())?;
    finite_vector("sample_weight", weights)?;
    if let Some((row, weight)) = weights.iter().enumerate().find(|(_, weight)| **weight < 0.) {
        return Err(Error::parameter("sample_weight", format!("{weight} in row {row}"), "0 or more"));
    }
    if weights.iter().all(|weight| *weight == 0.) {
        return Err(Error::parameter("sample_weight", "0 in every row", "above 0 in one or more"));
    }
    Ok(())
}
