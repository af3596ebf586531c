//! Steps before a model: splines in a least squares fit are patsy's.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Axis};
use phalanx_glm::LinearRegression;
use phalanx_learn::{Estimator, Pipeline, preprocess::NaturalSpline};

const LONGLEY: &str = include_str!("../../datasets/data/longley.csv");

/// Fitted employment by patsy 1.0's `cr(GNP, df=5) - 1` and numpy.linalg.lstsq; natural splines with their intercept
/// have one column more, and the same knots.
const FITTED: [f64; 16] = [
    60270.273079,
    60694.902235,
    60669.793844,
    61235.900942,
    62820.248369,
    63723.223368,
    64682.408031,
    64565.264048,
    66151.57846,
    66925.911422,
    67634.573318,
    67684.366691,
    68703.563464,
    69210.397924,
    69599.11036,
    70500.484444,
];

#[test]
fn a_spline_fits_what_patsy_fits() {
    let rows = LONGLEY.lines().skip(1).map(|line| line.split(',').map(|cell| cell.parse::<f64>().unwrap()).collect());
    let rows: Vec<Vec<f64>> = rows.collect();
    let y: Array1<f64> = rows.iter().map(|row| row[0]).collect();
    let x: Array1<f64> = rows.iter().map(|row| row[2]).collect();
    let x = x.insert_axis(Axis(1));
    let pipeline =
        Pipeline::builder().step("spline", NaturalSpline::new().df(4)).estimator("model", LinearRegression::new());
    let fitted = pipeline.fit_dyn(x.view(), y.view()).unwrap().predict_dyn(x.view()).unwrap();
    for (found, expected) in fitted.iter().zip(FITTED) {
        assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
    }
}
