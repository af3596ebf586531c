//! Estimators and models as objects: what crosses the wire, lies in model files, and is tuned, bagged and served.
//!
//! Nobody above this crate needs to know which estimator it is. A type joins by one attribute, without a list:
//!
//! ```
//! use ndarray::{Array1, ArrayView1, ArrayView2};
//! use phalanx_learn::{Error, Estimator, Json, Model, Result, validate};
//! use serde::{Deserialize, Serialize};
//!
//! /// Always answers the same.
//! #[derive(Debug, Clone, Serialize, Deserialize)]
//! #[serde(default)]
//! struct Constant {
//!     answer: f64,
//! }
//!
//! impl Default for Constant {
//!     fn default() -> Self {
//!         Self { answer: 42. }
//!     }
//! }
//!
//! #[typetag::serde]
//! impl Estimator for Constant {
//!     fn fit_dyn(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<Box<dyn Model>> {
//!         validate::fit_data(x, y)?;
//!         Ok(Box::new(ConstantModel { answer: self.answer, n_features: x.ncols() }))
//!     }
//! }
//!
//! #[derive(Debug, Clone, Serialize, Deserialize)]
//! struct ConstantModel {
//!     answer: f64,
//!     n_features: usize,
//! }
//!
//! #[typetag::serde]
//! impl Model for ConstantModel {
//!     fn n_features(&self) -> usize {
//!         self.n_features
//!     }
//!
//!     fn predict_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
//!         validate::predict_data(x, self.n_features)?;
//!         Ok(Array1::from_elem(x.nrows(), self.answer))
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let text = r#"{"estimator": "Constant", "answer": 7}"#;
//! let estimator: Box<dyn Estimator> = phalanx_learn::json::from_text("an estimator", text)?;
//! let x = ndarray::array![[0.], [1.]];
//! let model = estimator.fit_dyn(x.view(), ndarray::array![0., 1.].view())?;
//! assert_eq!(model.predict_dyn(x.view())?, ndarray::array![7., 7.]);
//! # Ok(())
//! # }
//! ```
//!
//! A crate that is a dependency but never mentioned is not linked, and its estimators are then unknown by name.

use std::{any::Any, fmt};

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use crate::{Error, Result};

/// Something that can learn: parameters, and no data yet.
///
/// Its parameters are its `serde` fields; [`params`](crate::params) reads and changes them by name, so every field
/// is written (no `skip_serializing_if`) and the type carries `#[serde(default)]`. Setters never fail; `fit_dyn`
/// checks. In JSON, and across the wire inside [`Json`](crate::Json), the tag `estimator` names the type.
#[typetag::serde(tag = "estimator")]
pub trait Estimator: EstimatorObject + fmt::Debug + Send + Sync {
    /// Learns from X of shape (n_rows, n_features) and y of length n_rows; data may have any strides.
    ///
    /// # Errors
    /// When a parameter is out of its range, or the data are empty, do not fit together or are not finite.
    fn fit_dyn(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<Box<dyn Model>>;

    /// As [`fit_dyn`](Self::fit_dyn), each row counting as often as its weight says: one number a row, 0 or more, and 0
    /// as if the row were absent. Who can take weights answers it.
    ///
    /// # Errors
    /// As [`fit_dyn`](Self::fit_dyn), when a weight cannot be, and when the estimator takes none.
    fn fit_weighted_dyn(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView1<'_, f64>,
        sample_weight: ArrayView1<'_, f64>,
    ) -> Result<Box<dyn Model>> {
        let _ = (x, y, sample_weight);
        Err(Error::NoSampleWeights { estimator: self.name().to_owned() })
    }

    /// The name it is registered under.
    fn name(&self) -> &'static str {
        self.typetag_name()
    }
}

/// What an estimator has learned. In JSON the tag `model` names the type.
#[typetag::serde(tag = "model")]
pub trait Model: ModelObject + fmt::Debug + Send + Sync {
    /// How many columns it learned from.
    fn n_features(&self) -> usize;

    /// The prediction for each row of X: a regressor's mean of y, a classifier's class. A binomial GLM answers
    /// its mean, the probability of 1, as R and statsmodels do.
    ///
    /// # Errors
    /// When X has not [`n_features`](Self::n_features) columns or is not finite.
    fn predict_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>>;

    /// The probability of each class, shape (n_rows, n_classes), columns in the order of
    /// [`classes`](Self::classes).
    ///
    /// # Errors
    /// As [`predict_dyn`](Self::predict_dyn), and when the model is no classifier.
    fn predict_proba_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        let _ = x;
        Err(Error::NoProbabilities { model: self.name().to_owned() })
    }

    /// The classes in ascending order, empty for a regressor. Who answers some must answer
    /// [`predict_proba_dyn`](Self::predict_proba_dyn) too.
    fn classes(&self) -> Vec<f64> {
        Vec::new()
    }

    /// The certificate of the fit for people and programs: iterations, why it stopped, how far from the optimum.
    fn report(&self) -> serde_json::Value {
        serde_json::Value::Object(serde_json::Map::new())
    }

    /// The name it is registered under.
    fn name(&self) -> &'static str {
        self.typetag_name()
    }
}

/// The most probable class of each row; what [`Model::predict_dyn`] answers where the model gives no probabilities.
///
/// # Errors
/// As [`Model::predict_dyn`].
pub fn predict_class(model: &dyn Model, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
    let classes = model.classes();
    if classes.is_empty() {
        return model.predict_dyn(x);
    }
    let probabilities = model.predict_proba_dyn(x)?;
    // The first of equal ones wins, as NumPy's argmax has it.
    Ok(probabilities.map_axis(Axis(1), |row| {
        let best = row.iter().enumerate().fold((0, f64::NEG_INFINITY), |best, (class, &probability)| {
            if probability > best.1 { (class, probability) } else { best }
        });
        classes[best.0]
    }))
}

/// Cloning and downcasting for [`Estimator`] objects; implemented for every type that can be cloned.
pub trait EstimatorObject {
    /// A copy in a box.
    fn clone_box(&self) -> Box<dyn Estimator>;
    /// For `downcast_ref` to the estimator's own type.
    fn as_any(&self) -> &dyn Any;
}

impl<T: Estimator + Clone + 'static> EstimatorObject for T {
    fn clone_box(&self) -> Box<dyn Estimator> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Clone for Box<dyn Estimator> {
    fn clone(&self) -> Self {
        (**self).clone_box()
    }
}

/// Cloning and downcasting for [`Model`] objects; implemented for every type that can be cloned.
pub trait ModelObject {
    /// A copy in a box.
    fn clone_box(&self) -> Box<dyn Model>;
    /// For `downcast_ref` to the model's own type.
    fn as_any(&self) -> &dyn Any;
}

impl<T: Model + Clone + 'static> ModelObject for T {
    fn clone_box(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Clone for Box<dyn Model> {
    fn clone(&self) -> Self {
        (**self).clone_box()
    }
}
