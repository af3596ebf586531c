//! The estimator that looks at nothing but y: the baseline that every other one must beat.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use phalanx_array::panel::{PANEL, Subtrees};
use serde::{Deserialize, Serialize};

use crate::{Error, Estimator, Fit, Model, Predict, Result, validate};

/// Predicts one number for every row, as scikit-learn's `DummyRegressor`.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `strategy` | `mean` | which number of y to predict | `mean`, `median` |
///
/// ```
/// use ndarray::array;
/// use phalanx_learn::{DummyRegressor, Fit, Predict, Strategy};
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let x = array![[0.], [0.], [0.], [0.]];
/// let model = DummyRegressor::new().strategy(Strategy::Median).fit(&x, &array![1., 2., 4., 100.])?;
/// assert_eq!(model.predict(&x)?, array![3., 3., 3., 3.]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DummyRegressor {
    /// Which number of y to predict.
    pub strategy: Strategy,
}

/// Which number of y a [`DummyRegressor`] predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The arithmetic mean, best in squared error.
    #[default]
    Mean,
    /// The middle value, the mean of the two middle ones for an even number; best in absolute error.
    Median,
}

/// What a [`DummyRegressor`] has learned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DummyModel {
    constant: f64,
    n_features: usize,
}

impl DummyRegressor {
    /// The mean of y.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets which number of y to predict.
    #[must_use]
    pub const fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }
}

impl DummyModel {
    /// The number it predicts.
    pub const fn constant(&self) -> f64 {
        self.constant
    }
}

impl Fit<ArrayView2<'_, f64>, ArrayView1<'_, f64>> for DummyRegressor {
    type Model = DummyModel;

    fn fit(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<DummyModel> {
        validate::fit_data(x, y)?;
        let constant = match self.strategy {
            Strategy::Mean => mean(y),
            Strategy::Median => median(y),
        };
        Ok(DummyModel { constant, n_features: x.ncols() })
    }
}

impl Fit<&Array2<f64>, &Array1<f64>> for DummyRegressor {
    type Model = DummyModel;

    fn fit(&self, x: &Array2<f64>, y: &Array1<f64>) -> Result<DummyModel> {
        self.fit(x.view(), y.view())
    }
}

impl Predict<ArrayView2<'_, f64>> for DummyModel {
    type Output = Array1<f64>;

    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        validate::predict_data(x, self.n_features)?;
        Ok(Array1::from_elem(x.nrows(), self.constant))
    }
}

impl Predict<&Array2<f64>> for DummyModel {
    type Output = Array1<f64>;

    fn predict(&self, x: &Array2<f64>) -> Result<Array1<f64>> {
        self.predict(x.view())
    }
}

#[typetag::serde]
impl Estimator for DummyRegressor {
    fn fit_dyn(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<Box<dyn Model>> {
        Ok(Box::new(self.fit(x, y)?))
    }

    fn fit_weighted_dyn(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView1<'_, f64>,
        sample_weight: ArrayView1<'_, f64>,
    ) -> Result<Box<dyn Model>> {
        validate::fit_data(x, y)?;
        validate::sample_weight(sample_weight, y.len())?;
        let constant = match self.strategy {
            Strategy::Mean => mean((&y * &sample_weight).view()) / mean(sample_weight),
            Strategy::Median => return Err(Error::parameter("strategy", "median", "mean where rows have weights")),
        };
        Ok(Box::new(DummyModel { constant, n_features: x.ncols() }))
    }
}

#[typetag::serde]
impl Model for DummyModel {
    fn n_features(&self) -> usize {
        self.n_features
    }

    fn predict_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        self.predict(x)
    }
}

/// Summed by panels, so that neither the layout of y nor how it may be cut shows in the last bit.
fn mean(y: ArrayView1<'_, f64>) -> f64 {
    let panels = y.axis_chunks_iter(Axis(0), PANEL).map(|panel| panel.iter().fold(0., |sum, value| sum + value));
    Subtrees::from_panels(0, panels).map_or(f64::NAN, Subtrees::finish) / y.len() as f64
}

fn median(y: ArrayView1<'_, f64>) -> f64 {
    let mut sorted = y.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}
