//! Generalised linear models: families, links and penalties; what the data say of the coefficients; paths of penalties.
//!
//! The crate has the three parts of every Phalanx crate. [`solver`] holds the machines, which ask for loss, gradient,
//! second derivatives or block solutions and are told them; `kernel` holds the passes over a panel of rows that answer;
//! `fit` drives a machine over arrays in memory and `cluster` over chunked arrays. Both drivers cut the rows at the same borders
//! and add in the same order, so the same solver gives the same coefficients, bit for bit, here and on a cluster.
//!
//! Nothing here knows of files, of tables, or of how a hyperparameter is chosen.
//!
//! ```
//! use ndarray::array;
//! use phalanx_glm::{LinearRegression, Solver};
//! use phalanx_learn::{Fit, Predict};
//!
//! # fn main() -> phalanx_learn::Result<()> {
//! let x = array![[1., 0.], [2., 1.], [3., 0.], [4., 1.]];
//! let y = array![2., 5., 6., 9.];
//! let lasso = LinearRegression::new().alpha(0.1).l1_ratio(1.);
//! let model = lasso.fit(&x, &y)?;
//! assert!(model.report().converged && model.report().kkt_residual < 1e-8);
//! let other = lasso.solver(Solver::Admm).fit(&x, &y)?;
//! assert!((&model.coef() - &other.coef()).iter().all(|d| d.abs() < 1e-7));
//! assert_eq!(model.predict(&x)?.len(), 4);
//! # Ok(())
//! # }
//! ```
//!
//! The same on a cluster, here one of threads:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use phalanx_array::ChunkedArray;
//! use phalanx_glm::LinearRegression;
//! use phalanx_learn::FitOn;
//! use phalanx_runtime::blocking::Client;
//!
//! let client = Client::local()?;
//! let x = ChunkedArray::random_normal(1, 0., 1., &[10_000, 3], 1024)?;
//! let y = x.column(0)? * 2.;
//! let model = client.wait(LinearRegression::new().fit_on(&client, &x, &y))?;
//! assert!((model.coef()[0] - 2.).abs() < 1e-8);
//! # Ok(())
//! # }
//! ```

mod cluster;
pub mod design;
pub mod error;
pub mod family;
mod fit;
mod group;
pub mod inference;
mod kernel;
#[cfg(feature = "linfa")]
pub mod linfa_bridge;
pub mod link;
mod loss;
pub mod model;
pub mod multinomial;
pub mod named;
pub mod params;
pub mod path;
mod penalty;
pub mod pooled;
pub mod report;
pub mod response;
pub mod solver;
mod special;
pub mod stream;

pub use design::{ChunkedDesign, Design, DesignColumns};
pub use error::Error;
pub use family::Family;
pub use inference::{Covariance, Inference, LikelihoodRatio, WeightsKind};
pub use kernel::{BadValue, Place, Spread};
pub use link::Link;
pub use model::{GlmModel, Prediction};
pub use multinomial::{ClassWeights, MultinomialModel, MultinomialRegression};
pub use named::{
    GammaRegression, HuberRegression, InverseGaussianRegression, LinearRegression, LogisticRegression,
    NegativeBinomialRegression, PoissonRegression, QuantileRegression, TweedieRegression,
};
pub use params::{Glm, Solver};
pub use path::{GlmPath, PathModel, Select};
pub use pooled::{GroupCoefficients, PooledGlm, PooledModel};
pub use report::{ParameterEstimate, Report, StopReason};
pub use response::{ChunkedResponse, Response};
pub use solver::{ClassWeight, CvCurve, PathPoint};
pub use stream::{GlmStream, SeenChunk};
