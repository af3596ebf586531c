//! The certificate of a fit: how it went, why it stopped, and how far from the optimum it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{family::Family, stream::SeenChunk};

/// How a fit went. `converged` is true only where `kkt_relative` proves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whether the coefficients are optimal to the tolerance, or as nearly as f64 allows.
    pub converged: bool,
    /// Why the solver stopped.
    pub stop: StopReason,
    /// Which solver, and why it was chosen.
    pub solver: String,
    /// Steps of the solver.
    pub n_iter: usize,
    /// Rounds over all rows: what is asked of every chunk once. A round of ADMM's block solves counts as one, though
    /// each block reads its rows a few times.
    pub n_passes: usize,
    /// The largest violation of the optimality conditions of the objective, intercept included: the distance of
    /// minus the loss's gradient from the penalty's subdifferential, in the data's own units. 0 at the optimum.
    pub kkt_residual: f64,
    /// The same without units, which `tol` is compared with: in standardised columns, over a row's typical derivative at the null model, which for
    /// least squares is y's standard deviation.
    pub kkt_relative: f64,
    /// Weighted mean of half the unit deviances, plus the penalty.
    pub objective: f64,
    /// Weighted sum of the unit deviances.
    pub deviance: f64,
    /// Deviance of the model that has an intercept only (or, where none is fitted, no term at all).
    pub null_deviance: f64,
    /// How many rows were fitted: those with a weight above 0.
    pub n_rows: usize,
    /// Sum of their weights.
    pub sum_weights: f64,
    /// Columns that have one value only, from 0: their coefficients are 0.
    pub constant_columns: Vec<usize>,
    /// Columns that earlier ones sum to, from 0: without a penalty their coefficients are 0, as R leaves them out. Only
    /// iteratively reweighted least squares looks; other solvers spread the coefficient over such columns.
    pub collinear_columns: Vec<usize>,
    /// Rows of the binomial family whose mean is as good as 0 or 1; none where the solver does not look.
    pub n_saturated: Option<usize>,
    /// Condition of the matrix of second derivatives of the objective, in standardised columns, without collinear ones;
    /// of the last one that the solver had. Digits that a coefficient may have lost are its logarithm. None where the
    /// solver has no such matrix.
    pub condition: Option<f64>,
    /// How far the objective is above that of the dual, which bounds its least value from below: where the loss is convex,
    /// something is penalised and nothing bounded; and of quantiles.
    pub duality_gap: Option<f64>,
    /// The chunks of rows that a [`GlmStream`](crate::GlmStream) has seen; none elsewhere.
    #[serde(default)]
    pub chunks: Vec<SeenChunk>,
    /// The family's own parameter, where it was estimated.
    #[serde(default)]
    pub estimate: Option<ParameterEstimate>,
}

/// The family's own parameter, estimated by maximum likelihood at the means of the fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ParameterEstimate {
    /// The family with the parameter found.
    pub family: Family,
    /// The parameter's standard error by its observed information, the means as they are; none where the likelihood is
    /// not curved, or the fit did not converge.
    pub standard_error: Option<f64>,
    /// The dispersion of maximum likelihood, of Tweedie's families; standard errors of coefficients are by Pearson's.
    pub dispersion: Option<f64>,
    /// ln of the likelihood at both; none where the fit did not converge.
    pub log_likelihood: Option<f64>,
    /// How often coefficients and parameter were estimated in turn.
    pub n_turns: usize,
}

/// Why a solver stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// The optimality conditions hold to the tolerance.
    Optimal,
    /// No step changes the coefficients any more: f64 has no better ones.
    Precision,
    /// `max_iter` steps were not enough.
    MaxIter,
    /// y has one value only, at the end of its range: the intercept grows without bound.
    OneClass,
    /// The columns separate the classes and nothing is penalised: the coefficients grow without bound.
    Separable,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Optimal => "the optimality conditions hold to the tolerance",
            Self::Precision => "no step changes the coefficients any more; a larger tol would stop here as optimal",
            Self::MaxIter => "max_iter steps were not enough; raise max_iter or tol, or penalise more",
            Self::OneClass => "y has only one value, at the end of its range, so the intercept has no finite optimum",
            Self::Separable => {
                "the columns separate the classes, so there is no finite optimum; set alpha above 0 to have one"
            }
        })
    }
}
