//! Phalanx learns: what an estimator is, and what every estimator needs around it.
//!
//! The crate knows the traits, metrics, splits, preprocessing, pipelines and the model file. It never knows a single
//! estimator's mathematics (that is glm's, ensemble's, ...), and it never schedules anything.
//!
//! Read it in this order:
//!
//! - [`estimator`]: the typed faces [`Fit`], [`FitOn`], [`Predict`], [`Transform`];
//! - [`erased`]: the object-safe [`Estimator`] and [`Model`], which cross the wire as [`Json`];
//! - [`params`]: parameters by name, as a sweep file or `--set` gives them;
//! - [`validate`]: the checks on data that every `fit` and `predict` begins with;
//! - [`metrics`]: how good predictions are, by function and by name;
//! - [`split`]: which rows a model learns from and which ones judge it;
//! - [`preprocess`], [`transformer`], [`pipeline`]: what happens to data before an estimator sees them;
//! - [`formula`]: a table's columns as a formula names them;
//! - [`lazy`]: fitted things on chunked arrays and tables;
//! - [`model_file`]: all that is needed to serve a model, and the proof that it is served right;
//! - `linfa_bridge`: linfa's estimators as estimators here, by one line;
//! - [`check`]: what every estimator must keep, as one call in its tests;
//! - [`dummy`]: the smallest real estimator, to read as an example.
//!
//! ```
//! use ndarray::array;
//! use phalanx_learn::{DummyRegressor, Estimator, params};
//!
//! # fn main() -> phalanx_learn::Result<()> {
//! let estimator: Box<dyn Estimator> = Box::new(DummyRegressor::new());
//! let estimator = params::set(&*estimator, [("strategy", "median")])?;
//! let model = estimator.fit_dyn(array![[0.], [1.], [2.]].view(), array![1., 2., 9.].view())?;
//! assert_eq!(model.predict_dyn(array![[7.]].view())?, array![2.]);
//! # Ok(())
//! # }
//! ```

pub mod check;
pub mod dummy;
pub mod erased;
pub mod error;
pub mod estimator;
pub mod files;
pub mod formula;
pub mod json;
pub mod lazy;
#[cfg(feature = "linfa")]
pub mod linfa_bridge;
pub mod metrics;
pub mod model_file;
pub mod params;
pub mod pipeline;
pub mod preprocess;
pub mod split;
mod tasks;
pub mod transformer;
pub mod validate;

pub use dummy::{DummyModel, DummyRegressor, Strategy};
pub use erased::{Estimator, Model};
pub use error::{Error, Result};
pub use estimator::{Fit, FitOn, Predict, Transform};
pub use json::Json;
pub use metrics::{Goal, Scorer};
pub use model_file::ModelFile;
pub use pipeline::Pipeline;
pub use split::{GroupKFold, KFold, Splitter, StratifiedKFold, TimeSeriesSplit};
pub use transformer::{FittedTransformer, Transformer};
