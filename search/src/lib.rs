//! Phalanx searches: which parameters of an estimator predict best on rows that it has not seen.
//!
//! The crate knows spaces, methods, trials and their results, over any [`Estimator`](phalanx_learn::Estimator). It never
//! knows which estimator it tunes, and its machines ([`method`], [`Plan`]) never know where the trials run.
//!
//! Read it in this order:
//!
//! - [`space`]: what may vary;
//! - [`method`]: how what is tried is chosen, and the machines that choose;
//! - [`plan`]: the machine that hands out trials and takes their scores;
//! - [`trial`]: what one trial does, here or on a worker;
//! - [`results`]: scikit-learn's `cv_results_`, and `results.csv`;
//! - [`data`]: data on a cluster;
//! - [`search`]: the drivers, here and on a cluster;
//! - [`grid_search`]: the plain search;
//! - [`nested`]: how good the winner of a search is on rows that no search has seen.

pub mod data;
pub mod error;
pub mod grid_search;
pub mod method;
pub mod nested;
pub mod plan;
pub mod results;
pub mod search;
pub mod space;
pub mod trial;

pub use data::{DataOn, WholeBlock};
pub use error::{Error, Result};
pub use grid_search::GridSearch;
pub use method::Method;
pub use nested::{NestedFold, NestedResult};
pub use plan::{Plan, Progress, Trial};
pub use results::{CandidateResult, CvResults};
pub use search::{Search, SearchResult};
pub use space::{ParamGrid, ParamGrids, Params, Space};
pub use trial::{Data, TrialOutcome, TrialScore};
