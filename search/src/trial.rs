//! What one trial does: learn from all folds but one, judge by that one.
//!
//! The functions are tasks, so they are the same here and on a worker. Data come whole, folds as a few numbers.

use std::{
    panic::{self, AssertUnwindSafe},
    time::Instant,
};

use ndarray::{ArrayView1, ArrayView2, Axis};
use phalanx_array::Block;
use phalanx_engine::task;
use phalanx_learn::{Error, Estimator, Json, KFold, Model, Scorer, validate};
use serde::{Deserialize, Serialize};

/// The score of a trial and what it took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrialScore {
    /// The score on the fold that was left out.
    pub score: f64,
    /// Seconds that fitting took.
    pub fit_seconds: f64,
    /// Seconds that predicting and scoring took.
    pub score_seconds: f64,
}

/// What became of a trial. A failure is a value, not a failed task: the search goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TrialOutcome {
    /// It was scored.
    Scored(TrialScore),
    /// It could not be fitted, or not be scored.
    Failed {
        /// What the estimator or the metric said.
        message: String,
    },
}

impl TrialOutcome {
    /// The score, where there is one.
    pub const fn score(&self) -> Option<&TrialScore> {
        match self {
            Self::Scored(score) => Some(score),
            Self::Failed { .. } => None,
        }
    }

    /// The error, where there is one.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Scored(_) => None,
            Self::Failed { message } => Some(message),
        }
    }
}

/// Which rows to judge by: small enough to travel with every trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldSpec {
    /// How the rows are split.
    pub cv: KFold,
    /// Which fold is left out to judge by, from 0.
    pub fold: usize,
}

/// Runs one trial on data that are here. `x` is (n_rows, n_features), `y` has n_rows numbers.
pub fn evaluate(
    estimator: &dyn Estimator,
    x: ArrayView2<'_, f64>,
    y: ArrayView1<'_, f64>,
    fold: FoldSpec,
    scorer: Scorer,
) -> TrialOutcome {
    // Caught here and not by whoever runs the task, so that a panic reads the same wherever it happened. Nothing
    // that the panic may have left half done is seen again: estimator and data are borrowed for reading only.
    let evaluated = panic::catch_unwind(AssertUnwindSafe(|| try_evaluate(estimator, x, y, fold, scorer)));
    match evaluated {
        Ok(Ok(score)) => TrialOutcome::Scored(score),
        Ok(Err(error)) => TrialOutcome::Failed { message: error.to_string() },
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            TrialOutcome::Failed { message: format!("it panicked: {}", text.unwrap_or_else(|| "no message".into())) }
        }
    }
}

/// [`evaluate`] on a worker. Fails, other than by its outcome, only when the scorer's name is unknown there.
#[task(name = "search.fit_and_score")]
pub(crate) fn fit_and_score(
    estimator: &Json<Box<dyn Estimator>>,
    x: &Block,
    y: &Block,
    fold: FoldSpec,
    scorer: String,
) -> Result<TrialOutcome, Error> {
    Ok(evaluate(&*estimator.0, x.view2(), y.view1(), fold, scorer.parse()?))
}

/// Puts data on a worker, wherever they come from.
#[task(name = "search.keep")]
pub(crate) fn keep(data: &Block) -> Block {
    data.clone()
}

/// Fits on all rows.
#[task(name = "search.refit")]
pub(crate) fn refit(estimator: &Json<Box<dyn Estimator>>, x: &Block, y: &Block) -> Result<Refitted, Error> {
    let start = Instant::now();
    let model = Json(estimator.0.fit_dyn(x.view2(), y.view1())?);
    Ok(Refitted { model, seconds: start.elapsed().as_secs_f64() })
}

/// The best candidate's model, of all rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Refitted {
    pub(crate) model: Json<Box<dyn Model>>,
    pub(crate) seconds: f64,
}

/// Checks data that lie on a worker as a whole, so that what is wrong with them is said once and not by every
/// candidate.
#[task(name = "search.check_data")]
pub(crate) fn check_data(x: &Block, y: &Block, cv: KFold) -> Result<(), Error> {
    check(x.view2(), y.view1(), cv)
}

pub(crate) fn check(x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>, cv: KFold) -> Result<(), Error> {
    validate::fit_data(x, y)?;
    cv.check(x.nrows())
}

fn try_evaluate(
    estimator: &dyn Estimator,
    x: ArrayView2<'_, f64>,
    y: ArrayView1<'_, f64>,
    FoldSpec { cv, fold }: FoldSpec,
    scorer: Scorer,
) -> Result<TrialScore, Error> {
    validate::same_length("X", x.nrows(), "y", y.len())?;
    let fold = cv.fold(x.nrows(), fold)?;
    let rows = |rows: &[usize]| (x.select(Axis(0), rows), y.select(Axis(0), rows));
    let (train_x, train_y) = rows(&fold.train);
    let (test_x, test_y) = rows(&fold.test);

    let start = Instant::now();
    let model = estimator.fit_dyn(train_x.view(), train_y.view())?;
    let fitted = Instant::now();
    let score = scorer.score_model(&*model, test_x.view(), test_y.view())?;
    let scored = Instant::now();
    Ok(TrialScore {
        score,
        fit_seconds: (fitted - start).as_secs_f64(),
        score_seconds: (scored - fitted).as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phalanx_learn::DummyRegressor;

    use super::*;

    #[test]
    fn a_fold_is_judged_by_what_the_others_teach() {
        let x = array![[0.], [0.], [0.], [0.]];
        let y = array![1., 3., 5., 9.];
        let score = |fold| {
            let scorer = "neg_mean_absolute_error".parse().expect("known");
            let fold = FoldSpec { cv: KFold::new(2), fold };
            evaluate(&DummyRegressor::new(), x.view(), y.view(), fold, scorer).score().map(|score| score.score)
        };
        assert_eq!([score(0), score(1), score(2)], [Some(-5.), Some(-5.), None]);
    }
}
