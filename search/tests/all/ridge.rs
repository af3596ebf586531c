//! A ridge regression on two columns, solved by hand: an estimator that depends on its parameter.

use ndarray::{Array1, ArrayView1, ArrayView2, Axis};
use phalanx_learn::{Error, Estimator, Model, Result, validate};
use serde::{Deserialize, Serialize};

/// (XᵀX + alpha I)⁻¹ Xᵀy on centred data, for any number of columns by elimination.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ridge {
    pub(crate) alpha: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct RidgeModel {
    intercept: f64,
    coefficients: Vec<f64>,
}

#[typetag::serde]
impl Estimator for Ridge {
    fn fit_dyn(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<Box<dyn Model>> {
        if self.alpha < 0. {
            return Err(Error::parameter("alpha", self.alpha, "0 or more"));
        }
        validate::fit_data(x, y)?;
        Ok(Box::new(solve(self.alpha, x, y)))
    }
}

#[typetag::serde]
impl Model for RidgeModel {
    fn n_features(&self) -> usize {
        self.coefficients.len()
    }

    fn predict_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        validate::predict_data(x, self.coefficients.len())?;
        let dot = |row: ArrayView1<'_, f64>| row.iter().zip(&self.coefficients).map(|(x, b)| x * b).sum::<f64>();
        Ok(x.map_axis(Axis(1), |row| self.intercept + dot(row)))
    }
}

pub(crate) fn fit_predict(
    alpha: f64,
    x: ArrayView2<'_, f64>,
    y: ArrayView1<'_, f64>,
    test: ArrayView2<'_, f64>,
) -> Array1<f64> {
    solve(alpha, x, y).predict_dyn(test).unwrap()
}

fn solve(alpha: f64, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> RidgeModel {
    // One layout, so that sums have one order.
    let x = x.as_standard_layout();
    let y = y.to_owned();
    let (x_mean, y_mean) = (x.mean_axis(Axis(0)).unwrap(), y.mean().unwrap());
    let (x, y) = (&x - &x_mean, &y - y_mean);
    let mut system = x.t().dot(&x);
    system.diag_mut().mapv_inplace(|value| value + alpha);
    let mut b = x.t().dot(&y);
    for pivot in 0..b.len() {
        for row in 0..b.len() {
            if row != pivot {
                let factor = system[(row, pivot)] / system[(pivot, pivot)];
                for column in 0..b.len() {
                    system[(row, column)] -= factor * system[(pivot, column)];
                }
                b[row] -= factor * b[pivot];
            }
        }
    }
    let coefficients: Vec<f64> = b.iter().zip(system.diag()).map(|(b, pivot)| b / pivot).collect();
    let intercept = y_mean - x_mean.iter().zip(&coefficients).map(|(mean, b)| mean * b).sum::<f64>();
    RidgeModel { intercept, coefficients }
}

/// Panics when it is told to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Nervous {
    pub(crate) panics: bool,
}

#[typetag::serde]
impl Estimator for Nervous {
    fn fit_dyn(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<Box<dyn Model>> {
        assert!(!self.panics, "too many people");
        Ridge { alpha: 1. }.fit_dyn(x, y)
    }
}

/// Sleeps for ever when it is told to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Sleepy {
    pub(crate) sleeps: bool,
}

#[typetag::serde]
impl Estimator for Sleepy {
    fn fit_dyn(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<Box<dyn Model>> {
        if self.sleeps {
            loop {
                std::thread::park();
            }
        }
        Ridge { alpha: 1. }.fit_dyn(x, y)
    }
}
