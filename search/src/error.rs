//! What can go wrong with a whole search; what goes wrong with one candidate is a row of its results.

use crate::results::CvResults;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter of the grid without values.
    #[error("the grid gives no values for {name}, expected at least one")]
    NoValues {
        /// The parameter.
        name: String,
    },
    /// A space or a list of grids with nothing in it.
    #[error("there are no parameters to try, expected at least one")]
    EmptySpace,
    /// A parameter of a space whose numbers or conditions cannot be.
    #[error("parameter {parameter}: {problem}")]
    Space {
        /// The parameter.
        parameter: String,
        /// What is wrong, with the value and what was expected.
        problem: String,
    },
    /// No candidate could be scored on all folds.
    #[error("all {} candidates failed, the first with: {message}", .results.candidates().len())]
    AllFailed {
        /// The error of the first candidate.
        message: String,
        /// What is known of all of them.
        results: Box<CvResults>,
    },
    /// An outcome was told of a trial that was not asked for, or told twice.
    #[error("the plan does not wait for candidate {candidate}, fold {fold}")]
    NotWaitedFor {
        /// The candidate, from 0.
        candidate: usize,
        /// The fold, from 0.
        fold: usize,
    },
    /// A score was told of a candidate that was not handed out, or told twice.
    #[error("the method does not wait for candidate {number}")]
    CandidateNotWaitedFor {
        /// The candidate, from 0.
        number: usize,
    },
    /// More configurations were given than the method tries.
    #[error("{given} configurations are given, but n_trials is {n_trials}; give fewer or raise n_trials")]
    TooManyGiven {
        /// How many were given.
        given: usize,
        /// How many are tried.
        n_trials: usize,
    },
    /// What learning refuses: an unknown parameter or metric, too few rows for the folds.
    #[error(transparent)]
    Learn(#[from] phalanx_learn::Error),
    /// The winner could not be fitted on all rows.
    #[error("refitting the best candidate failed: {message}")]
    Refit {
        /// What the estimator said.
        message: String,
    },
    /// The data do not lie as they should, found where they are.
    #[error("{message}")]
    Data {
        /// What is wrong with them.
        message: String,
    },
    /// What the cluster says: data that could not be read, a scheduler that was lost.
    #[error(transparent)]
    Cluster(#[from] phalanx_runtime::Error),
    /// The results could not be written.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}
