//! The estimators and models here as linfa knows such: its datasets, its cross-validation, its composing.
//!
//! Nothing is computed here. Targets are real numbers, or what becomes one: `bool` is 0 and 1 for the binomial family.
//! A dataset's weights are sample weights; without, every row counts once. Offsets, exposure, trials and groups have
//! no place in linfa's datasets: fits with those take a [`Response`].
//!
//! ```
//! use linfa::{Dataset, traits::{Fit, Predict}};
//! use ndarray::{Array1, array};
//! use phalanx_glm::PoissonRegression;
//!
//! # fn main() -> phalanx_learn::Result<()> {
//! let data = Dataset::new(array![[0.], [1.], [2.], [3.]], array![1., 3., 8., 20.]);
//! let model = PoissonRegression::new().fit(&data)?;
//! let means: Array1<f64> = model.predict(&data);
//! assert!((means.sum() - 32.).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```

use linfa::{
    DatasetBase,
    dataset::{AsSingleTargets, Pr},
    traits::{Fit, PredictInplace},
};
use ndarray::{Array1, ArrayBase, Data, Ix2};
use phalanx_learn::{Error, Predict as _, Result};

use crate::{
    GammaRegression, Glm, GlmModel, HuberRegression, InverseGaussianRegression, LinearRegression, LogisticRegression,
    MultinomialModel, MultinomialRegression, NegativeBinomialRegression, PoissonRegression, Response,
    TweedieRegression,
};

/// A binomial model that answers linfa's probabilities: what `linfa::MultiClassModel` is composed of.
///
/// ```
/// use linfa::{Dataset, MultiClassModel, traits::{Fit, Predict}};
/// use ndarray::{Array1, array};
/// use phalanx_glm::{LogisticRegression, linfa_bridge::Probability};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let x = array![[0.], [1.], [2.], [3.], [4.], [5.]];
/// let data = Dataset::new(x, array![0, 0, 1, 1, 2, 2]).with_labels(&[0, 1, 2]);
/// let each = data.one_vs_all()?.into_iter().map(|(label, data)| {
///     let model = LogisticRegression::new().alpha(0.01).fit(&data)?;
///     Ok((label, Box::new(Probability::of(model)?) as Box<_>))
/// });
/// let model = MultiClassModel::new(each.collect::<phalanx_learn::Result<Vec<_>>>()?);
/// let labels: Array1<usize> = model.predict(&array![[-1.], [6.]]);
/// assert_eq!(labels, array![0, 2]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Probability(GlmModel);

impl Probability {
    /// The probability of 1 by a model of the binomial family.
    ///
    /// # Errors
    /// For a model of another family.
    pub fn of(model: GlmModel) -> Result<Self> {
        match model.family() {
            crate::Family::Binomial => Ok(Self(model)),
            family => Err(Error::NoProbabilities { model: format!("a {family} GlmModel") }),
        }
    }
}

macro_rules! fits {
    ($($name:ident -> $model:ident),* $(,)?) => {$(
        impl<D, T> Fit<ArrayBase<D, Ix2>, T, Error> for $name
        where
            D: Data<Elem = f64>,
            T: AsSingleTargets<Elem: Copy + Into<f64>>,
        {
            type Object = $model;

            /// The model of `phalanx_learn`'s [`Fit`](phalanx_learn::Fit) on the same rows, bit for bit.
            fn fit(&self, data: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<$model> {
                let y: Array1<f64> = data.as_single_targets().iter().map(|&y| y.into()).collect();
                let weights: Option<Array1<f64>> =
                    data.weights().map(|weights| weights.iter().map(|&w| f64::from(w)).collect());
                let response = Response::new(&y);
                let response = match &weights {
                    Some(weights) => response.sample_weight(weights),
                    None => response,
                };
                phalanx_learn::Fit::fit(self, data.records().view(), response)
            }
        }
    )*};
}

fits! {
    Glm -> GlmModel,
    LinearRegression -> GlmModel,
    LogisticRegression -> GlmModel,
    PoissonRegression -> GlmModel,
    GammaRegression -> GlmModel,
    InverseGaussianRegression -> GlmModel,
    TweedieRegression -> GlmModel,
    NegativeBinomialRegression -> GlmModel,
    HuberRegression -> GlmModel,
    MultinomialRegression -> MultinomialModel,
}

macro_rules! predicts {
    ($($model:ident: $answer:literal),* $(,)?) => {$(
        impl<D: Data<Elem = f64>> PredictInplace<ArrayBase<D, Ix2>, Array1<f64>> for $model {
            #[doc = concat!("Writes ", $answer, " of each row into `y`.")]
            ///
            /// # Panics
            /// linfa has no place for an error here: as its own models, this one panics where X has not the columns
            /// there were at fit, is not finite, or has not as many rows as `y`.
            fn predict_inplace(&self, x: &ArrayBase<D, Ix2>, y: &mut Array1<f64>) {
                assert_eq!(x.nrows(), y.len(), "X and y must have as many rows");
                y.assign(&self.predict(x.view()).unwrap_or_else(|error| panic!("{error}")));
            }

            fn default_target(&self, x: &ArrayBase<D, Ix2>) -> Array1<f64> {
                Array1::zeros(x.nrows())
            }
        }
    )*};
}

predicts! { GlmModel: "the mean", MultinomialModel: "the most probable class" }

impl<D: Data<Elem = f64>> PredictInplace<ArrayBase<D, Ix2>, Array1<Pr>> for Probability {
    /// Writes the probability of 1 of each row into `y`.
    ///
    /// # Panics
    /// As the model itself.
    fn predict_inplace(&self, x: &ArrayBase<D, Ix2>, y: &mut Array1<Pr>) {
        let mut means = self.0.default_target(x);
        self.0.predict_inplace(x, &mut means);
        assert_eq!(means.len(), y.len(), "X and y must have as many rows");
        y.iter_mut().zip(means).for_each(|(y, mean)| *y = Pr::new_unchecked(mean as f32));
    }

    fn default_target(&self, x: &ArrayBase<D, Ix2>) -> Array1<Pr> {
        Array1::from_elem(x.nrows(), Pr::new_unchecked(0.))
    }
}
