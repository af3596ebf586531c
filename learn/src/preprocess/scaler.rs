//! Columns of mean 0 and standard deviation 1.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use phalanx_array::panel::{Combine, PANEL, Subtrees};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Fit, Result, Transform,
    transformer::{FittedTransformer, Transformer},
    validate,
};

/// Subtracts each column's mean and divides by its standard deviation (of the population: ddof 0), as
/// scikit-learn's `StandardScaler`.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `with_mean` | true | subtract the mean | |
/// | `with_std` | true | divide by the standard deviation | |
///
/// A constant column has scale 1. Mean and variance come from one pass: each panel's squared distances from
/// its own mean, corrected for what rounding left of that mean, are joined in the fixed tree by the pairwise rule
/// of Chan, Golub and LeVeque (1983).
///
/// ```
/// use ndarray::array;
/// use phalanx_learn::{Fit, Transform, preprocess::StandardScaler};
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let x = array![[1., 7.], [3., 7.]];
/// let scaler = StandardScaler::new().fit(&x, ())?;
/// assert_eq!(scaler.transform(&x)?, array![[-1., 0.], [1., 0.]]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StandardScaler {
    /// Subtract the mean.
    pub with_mean: bool,
    /// Divide by the standard deviation.
    pub with_std: bool,
}

/// What a [`StandardScaler`] has learned: a mean and a scale for each column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Columns", into = "Columns")]
pub struct FittedStandardScaler {
    mean: Array1<f64>,
    scale: Array1<f64>,
}

/// The form in files and on the wire.
#[derive(Serialize, Deserialize)]
struct Columns {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Default for StandardScaler {
    fn default() -> Self {
        Self { with_mean: true, with_std: true }
    }
}

impl StandardScaler {
    /// Mean 0, standard deviation 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the mean is subtracted.
    #[must_use]
    pub const fn with_mean(mut self, with_mean: bool) -> Self {
        self.with_mean = with_mean;
        self
    }

    /// Sets whether to divide by the standard deviation.
    #[must_use]
    pub const fn with_std(mut self, with_std: bool) -> Self {
        self.with_std = with_std;
        self
    }

    pub(crate) fn learn(self, moments: Subtrees<Moments>) -> FittedStandardScaler {
        let Moments { n, sum, squares } = moments.finish();
        let mean: Array1<f64> = sum.iter().map(|sum| sum / n).collect();
        let scale = squares.iter().zip(&mean).map(|(squares, mean)| {
            let variance = squares / n;
            // What rounding alone can make of a constant column, by scikit-learn's `_is_constant_feature`.
            let noise = n * f64::EPSILON * variance + (n * mean * f64::EPSILON).powi(2);
            if !self.with_std || variance <= noise { 1. } else { variance.sqrt() }
        });
        let scale = scale.collect();
        FittedStandardScaler { mean: if self.with_mean { mean } else { mean * 0. }, scale }
    }
}

impl FittedStandardScaler {
    /// The mean of each column; 0 where it is not subtracted.
    pub const fn mean(&self) -> &Array1<f64> {
        &self.mean
    }

    /// What each column is divided by; 1 where it is not, or where the column is constant.
    pub const fn scale(&self) -> &Array1<f64> {
        &self.scale
    }
}

impl Fit<ArrayView2<'_, f64>, ()> for StandardScaler {
    type Model = FittedStandardScaler;

    fn fit(&self, x: ArrayView2<'_, f64>, (): ()) -> Result<FittedStandardScaler> {
        Ok(self.learn(moments(x, 0)?))
    }
}

impl Fit<&Array2<f64>, ()> for StandardScaler {
    type Model = FittedStandardScaler;

    fn fit(&self, x: &Array2<f64>, (): ()) -> Result<FittedStandardScaler> {
        self.fit(x.view(), ())
    }
}

impl Transform<ArrayView2<'_, f64>> for FittedStandardScaler {
    type Output = Array2<f64>;

    fn transform(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        validate::predict_data(x, self.mean.len())?;
        Ok((&x - &self.mean) / &self.scale)
    }
}

impl Transform<&Array2<f64>> for FittedStandardScaler {
    type Output = Array2<f64>;

    fn transform(&self, x: &Array2<f64>) -> Result<Array2<f64>> {
        self.transform(x.view())
    }
}

#[typetag::serde]
impl Transformer for StandardScaler {
    fn fit_transformer(&self, x: ArrayView2<'_, f64>, _: ArrayView1<'_, f64>) -> Result<Box<dyn FittedTransformer>> {
        Ok(Box::new(self.fit(x, ())?))
    }
}

#[typetag::serde]
impl FittedTransformer for FittedStandardScaler {
    fn n_features(&self) -> usize {
        self.mean.len()
    }

    fn transform_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.transform(x)
    }
}

impl From<FittedStandardScaler> for Columns {
    fn from(scaler: FittedStandardScaler) -> Self {
        Self { mean: scaler.mean.to_vec(), scale: scaler.scale.to_vec() }
    }
}

impl TryFrom<Columns> for FittedStandardScaler {
    type Error = String;

    fn try_from(Columns { mean, scale }: Columns) -> Result<Self, String> {
        if mean.len() != scale.len() {
            return Err(format!("a scaler of {} means has {} scales", mean.len(), scale.len()));
        }
        Ok(Self { mean: mean.into(), scale: scale.into() })
    }
}

/// What is known of the columns in some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moments {
    n: f64,
    sum: Vec<f64>,
    /// The sum of squared distances from the mean of these rows.
    squares: Vec<f64>,
}

impl Combine for Moments {
    fn combine(mut self, right: Self) -> Self {
        let weight = self.n * right.n / (self.n + right.n);
        for (column, (sum, squares)) in self.sum.iter_mut().zip(&mut self.squares).enumerate() {
            let apart = right.sum[column] / right.n - *sum / self.n;
            *squares += right.squares[column] + apart * apart * weight;
            *sum += right.sum[column];
        }
        self.n += right.n;
        self
    }
}

/// The moments of each panel, the first of which is the whole's number `first_panel`.
pub(crate) fn moments(x: ArrayView2<'_, f64>, first_panel: usize) -> Result<Subtrees<Moments>> {
    validate::finite_matrix("X", x)?;
    let panels = x.axis_chunks_iter(Axis(0), PANEL).map(|panel| {
        let mut sum = vec![0.; x.ncols()];
        for row in panel.rows() {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        let n = panel.nrows() as f64;
        let mean: Vec<f64> = sum.iter().map(|sum| sum / n).collect();
        let (mut squares, mut rest) = (vec![0.; x.ncols()], vec![0.; x.ncols()]);
        for row in panel.rows() {
            for (column, value) in row.iter().enumerate() {
                let distance = value - mean[column];
                squares[column] += distance * distance;
                rest[column] += distance;
            }
        }
        squares.iter_mut().zip(rest).for_each(|(squares, rest)| *squares -= rest * rest / n);
        Moments { n, sum, squares }
    });
    if x.ncols() == 0 {
        return Err(Error::Empty { what: "X" });
    }
    Subtrees::from_panels(first_panel, panels).ok_or(Error::Empty { what: "X" })
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_column_that_only_rounding_varies_is_constant() {
        let x = Array2::from_shape_fn((1000, 2), |(row, column)| match column {
            0 => 1e8 + 0.1,
            _ => (row % 2) as f64,
        });
        let scaler = StandardScaler::new().fit(&x, ()).expect("a scaler");
        assert_eq!(scaler.scale(), array![1., 0.5]);
    }

    #[test]
    fn each_half_can_be_left_out() {
        let x = array![[1.], [3.], [8.]];
        let shifted = StandardScaler::new().with_std(false).fit(&x, ()).expect("a scaler");
        assert_eq!(shifted.transform(&x).expect("one column"), array![[-3.], [-1.], [4.]]);
        let scaled = StandardScaler::new().with_mean(false).fit(&x, ()).expect("a scaler");
        assert_eq!(scaled.mean(), array![0.]);
        assert_eq!(scaled.scale(), array![(26_f64 / 3.).sqrt()]);
    }

    #[test]
    fn it_survives_the_wire_and_refuses_what_does_not_fit() {
        let scaler = StandardScaler::new().fit(&array![[0.1], [0.7]], ()).expect("a scaler");
        let text = serde_json::to_string(&scaler).expect("JSON");
        assert_eq!(serde_json::from_str::<FittedStandardScaler>(&text).expect("the same"), scaler);
        let error = serde_json::from_str::<FittedStandardScaler>(r#"{"mean": [1], "scale": []}"#).expect_err("refused");
        assert_eq!(error.to_string(), "a scaler of 1 means has 0 scales");
    }
}
