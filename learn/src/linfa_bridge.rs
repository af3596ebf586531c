//! linfa's estimators as estimators of this workspace: what is tuned here, on a cluster, and kept in a model file.
//!
//! An estimator of linfa is a type with serde, which learns from a [`DatasetBase`]; its model has serde too. One line,
//! [`linfa_estimator!`](crate::linfa_estimator), puts both into types of the caller's crate that are registered by
//! name. What linfa's estimator computes is not known here: it is given the rows, one after the other, and asked.

use std::fmt;

use linfa::{
    DatasetBase,
    dataset::Records,
    traits::{Fit, PredictInplace},
};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use crate::{Error, Result, validate};

/// Registers an estimator of linfa, so that it is tuned, bagged and kept like any other here.
///
/// `linfa_estimator!(Name, Params => ModelName, Model)` makes two public types: `Name`, whose one field is linfa's
/// parameters and whose parameters by name are theirs, and `ModelName`, a registered model around linfa's. `Params`
/// learns real numbers from real numbers, and both have serde: of most of linfa's crates under their feature `serde`,
/// and often on the *checked* parameters only, as linfa-elasticnet's `ElasticNetValidParams`. linfa takes such as
/// checked already, so a last argument `check = function` says, of every value that is set by name, what is wrong:
/// a function from `&Params` to `Result<(), E>` where `E` can be shown.
///
/// The caller's crate depends on `serde`, `typetag` and `linfa`, as for any estimator of its own.
///
/// ```
/// use linfa::{DatasetBase, traits::{Fit, PredictInplace}};
/// use ndarray::{Array1, Array2, array};
/// use phalanx_learn::{Estimator, check::check_estimator, params};
/// use serde::{Deserialize, Serialize};
///
/// // What a crate of linfa's kind brings.
/// #[derive(Debug, Clone, Serialize, Deserialize)]
/// pub struct Shrunken { share: f64 }
///
/// #[derive(Debug, Clone, Serialize, Deserialize)]
/// pub struct ShrunkenModel(f64);
///
/// impl Fit<Array2<f64>, Array1<f64>, linfa::Error> for Shrunken {
///     type Object = ShrunkenModel;
///     fn fit(&self, data: &DatasetBase<Array2<f64>, Array1<f64>>) -> Result<ShrunkenModel, linfa::Error> {
///         Ok(ShrunkenModel(self.share * data.targets().sum() / data.targets().len() as f64))
///     }
/// }
///
/// impl PredictInplace<Array2<f64>, Array1<f64>> for ShrunkenModel {
///     fn predict_inplace(&self, _: &Array2<f64>, y: &mut Array1<f64>) { y.fill(self.0); }
///     fn default_target(&self, x: &Array2<f64>) -> Array1<f64> { Array1::zeros(x.nrows()) }
/// }
///
/// // The one line.
/// phalanx_learn::linfa_estimator!(ShrunkenMean, Shrunken => ShrunkenMeanModel, ShrunkenModel);
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let estimator = params::set(&ShrunkenMean(Shrunken { share: 1. }), [("share", 0.5)])?;
/// let model = estimator.fit_dyn(array![[0.], [1.]].view(), array![4., 8.].view())?;
/// assert_eq!(model.predict_dyn(array![[7.]].view())?, array![3.]);
/// check_estimator(&*estimator)?;
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! linfa_estimator {
    ($name:ident, $params:ty => $model_name:ident, $model:ty $(, check = $check:expr)? $(,)?) => {
        #[doc = concat!("linfa's `", stringify!($params), "`, by name.")]
        #[derive(Debug, Clone, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $params);

        #[doc = concat!("What [`", stringify!($name), "`] has learned: linfa's `", stringify!($model), "`.")]
        #[derive(Debug, Clone, ::serde::Serialize, ::serde::Deserialize)]
        pub struct $model_name {
            n_features: usize,
            /// linfa's model.
            pub fitted: $model,
        }

        #[::typetag::serde]
        impl $crate::Estimator for $name {
            fn fit_dyn(
                &self,
                x: $crate::linfa_bridge::ndarray::ArrayView2<'_, f64>,
                y: $crate::linfa_bridge::ndarray::ArrayView1<'_, f64>,
            ) -> $crate::Result<::std::boxed::Box<dyn $crate::Model>> {
                $($crate::linfa_bridge::checked($check, &self.0)?;)?
                let fitted = $crate::linfa_bridge::fit(&self.0, x, y)?;
                Ok(::std::boxed::Box::new($model_name { n_features: x.ncols(), fitted }))
            }
        }

        #[::typetag::serde]
        impl $crate::Model for $model_name {
            fn n_features(&self) -> usize {
                self.n_features
            }

            fn predict_dyn(
                &self,
                x: $crate::linfa_bridge::ndarray::ArrayView2<'_, f64>,
            ) -> $crate::Result<$crate::linfa_bridge::ndarray::Array1<f64>> {
                $crate::linfa_bridge::predict(&self.fitted, self.n_features, x)
            }
        }
    };
}

#[doc(hidden)]
pub use ndarray;

/// What a check of parameters says, as an error of this crate; for [`linfa_estimator!`](crate::linfa_estimator).
///
/// # Errors
/// When the check says that something is wrong.
pub fn checked<P, E: fmt::Display>(check: impl FnOnce(&P) -> Result<(), E>, params: &P) -> Result<()> {
    check(params).map_err(|problem| Error::Linfa { problem: problem.to_string() })
}

/// Lets an estimator of linfa learn, after the checks that every estimator here begins with.
///
/// # Errors
/// When the data are empty, do not fit together or are not finite, and what linfa's estimator says.
pub fn fit<P, E>(params: &P, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<P::Object>
where
    P: Fit<Array2<f64>, Array1<f64>, E>,
    E: std::error::Error + From<linfa::Error>,
{
    validate::fit_data(x, y)?;
    // linfa's estimators add up in the order of memory: one layout gives one answer.
    let data = DatasetBase::new(row_major(x), Array1::from_iter(y.iter().copied()));
    params.fit(&data).map_err(|error| Error::Linfa { problem: error.to_string() })
}

/// The prediction of a model of linfa for each row, after the checks that every model here begins with.
///
/// # Errors
/// When X has not `n_features` columns or is not finite.
pub fn predict<M>(model: &M, n_features: usize, x: ArrayView2<'_, f64>) -> Result<Array1<f64>>
where
    M: PredictInplace<Array2<f64>, Array1<f64>>,
{
    validate::predict_data(x, n_features)?;
    let x = row_major(x);
    let mut y = Array1::zeros(x.nsamples());
    model.predict_inplace(&x, &mut y);
    Ok(y)
}

impl From<linfa::Error> for Error {
    fn from(error: linfa::Error) -> Self {
        Self::Linfa { problem: error.to_string() }
    }
}

fn row_major(x: ArrayView2<'_, f64>) -> Array2<f64> {
    x.as_standard_layout().into_owned()
}
