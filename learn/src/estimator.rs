//! The typed faces of learning: what estimators and models can be asked, with the compiler checking the data's type.
//!
//! `fit` is a function call on data that is here; `fit_on` is a conversation with a cluster that can be awaited and
//! cancelled. There is no hidden default client. Both give the same model, bit for bit.

use phalanx_runtime::Client;

use crate::Result;

/// Learns from data that is here.
///
/// Estimators implement it for `(&Array2<f64>, &Array1<f64>)` and for `(ArrayView2<f64>, ArrayView1<f64>)`: X of
/// shape (n_rows, n_features), y of length n_rows.
///
/// ```
/// use ndarray::array;
/// use phalanx_learn::{DummyRegressor, Fit, Predict};
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let (x, y) = (array![[0.], [1.], [2.]], array![1., 2., 9.]);
/// let model = DummyRegressor::new().fit(&x, &y)?;
/// assert_eq!(model.predict(&x)?, array![4., 4., 4.]);
/// # Ok(())
/// # }
/// ```
pub trait Fit<X, Y> {
    /// What was learned, apart from what was asked for.
    type Model;

    /// Learns.
    ///
    /// # Errors
    /// When a parameter is out of its range, or the data are empty, do not fit together or are not finite.
    fn fit(&self, x: X, y: Y) -> Result<Self::Model>;
}

/// Learns from data that is on a cluster: lazy arrays and tables, persisted ones, or what else can be submitted.
///
/// The coefficients are those of [`Fit`] on the same data, bit for bit, however the data are cut and whoever
/// computes. Dropping the future takes the work back.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use phalanx_array::ChunkedArray;
/// use phalanx_learn::{FitOn, preprocess::StandardScaler};
/// use phalanx_runtime::blocking::Client;
///
/// let client = Client::local()?;
/// let x = ChunkedArray::random_normal(1, 10., 2., &[100_000, 3], 8192)?;
/// let scaler = client.wait(StandardScaler::new().fit_on(&client, &x, &()))?;
/// assert!((scaler.mean()[0] - 10.).abs() < 0.1 && (scaler.scale()[0] - 2.).abs() < 0.1);
/// # Ok(())
/// # }
/// ```
pub trait FitOn<X, Y> {
    /// What was learned, apart from what was asked for.
    type Model;

    /// Learns.
    ///
    /// # Errors
    /// As [`Fit::fit`], and what the cluster says: a task that failed, a scheduler that was lost.
    fn fit_on(&self, client: &Client, x: &X, y: &Y) -> impl Future<Output = Result<Self::Model>> + Send;
}

/// Predicts: at once for an array in memory, lazily for a chunked one.
pub trait Predict<X> {
    /// One number a row: `Array1<f64>` in memory, a lazy array where X is lazy.
    type Output;

    /// Predicts, a row of X at a time.
    ///
    /// # Errors
    /// When X has not the columns that the model learned from, or is not finite.
    fn predict(&self, x: X) -> Result<Self::Output>;
}

/// Changes data by what it learned before: scaling, encoding. At once in memory, lazily where X is lazy.
pub trait Transform<X> {
    /// The changed data.
    type Output;

    /// Changes the data.
    ///
    /// # Errors
    /// When X has not the columns that were there at fit, or holds what cannot be changed.
    fn transform(&self, x: X) -> Result<Self::Output>;
}
