#![doc = include_str!("../README.md")]
//!
//! # The crates
//!
//! | module | what is in it |
//! |---|---|
//! | [`engine`] | task graphs and `#[task]`; the machines that decide |
//! | [`runtime`] | clients, local clusters, scheduler and worker |
//! | [`array`](mod@array) | lazy chunked arrays and tables |
//! | [`datasets`] | reading CSV, generators, small real data |
//! | [`learn`] | what an estimator is: traits, metrics, folds, pipelines, the model file |
//! | [`glm`] | generalised linear models |
//! | [`search`] | choosing hyperparameters |
#![cfg_attr(feature = "cli", doc = "| [`cli`] | the commands of the `phalanx` program |")]

// A crate that is never mentioned is not linked, and its tasks would be unknown by name; these lines mention all.
#[doc(inline)]
pub use phalanx_array as array;
#[cfg(feature = "cli")]
#[doc(inline)]
pub use phalanx_cli as cli;
#[doc(inline)]
pub use phalanx_datasets as datasets;
#[doc(inline)]
pub use phalanx_engine as engine;
pub use phalanx_engine::task;
#[doc(inline)]
pub use phalanx_glm as glm;
#[doc(inline)]
pub use phalanx_learn as learn;
#[doc(inline)]
pub use phalanx_runtime as runtime;
pub use phalanx_runtime::init;
#[doc(inline)]
pub use phalanx_search as search;

/// What most programs use, in one line: `use phalanx::prelude::*;`.
pub mod prelude {
    pub use phalanx_array::ChunkedArray;
    pub use phalanx_engine::{actor::ActorState, graph::Delayed, task};
    pub use phalanx_glm::{
        Family, GammaRegression, Glm, GlmPath, LinearRegression, Link, LogisticRegression, MultinomialRegression,
        PoissonRegression, Response, TweedieRegression,
    };
    pub use phalanx_learn::{Estimator, Fit, KFold, Model, Pipeline, Predict, preprocess::StandardScaler};
    pub use phalanx_runtime::{Client, LocalCluster, blocking};
    pub use phalanx_search::{GridSearch, ParamGrid, Search, Space};
}
