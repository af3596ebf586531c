//! What one trial does: learn from a part of the rows, judge by another.
//!
//! The functions are tasks, so they are the same here and on a worker. Data come whole, folds as a few numbers.

use std::{
    panic::{self, AssertUnwindSafe},
    time::Instant,
};

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use phalanx_array::Block;
use phalanx_engine::task;
use phalanx_learn::{
    Error, Estimator, Json, Model, Scorer, Splitter,
    metrics::Needs,
    split::{SplitRows, check_classes, subsample},
    validate,
};
use serde::{Deserialize, Serialize};

/// The scores of a trial and what it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialScore {
    /// The score on the rows that judge, one a metric.
    pub scores: Vec<f64>,
    /// The score on the rows that were learned from, one a metric; none where it was not asked for.
    pub train_scores: Vec<f64>,
    /// Seconds that fitting took.
    pub fit_seconds: f64,
    /// Seconds that predicting and scoring took, of the rows that judge.
    pub score_seconds: f64,
}

impl TrialScore {
    /// The score by one metric.
    pub fn new(score: f64, fit_seconds: f64, score_seconds: f64) -> Self {
        Self { scores: vec![score], train_scores: Vec::new(), fit_seconds, score_seconds }
    }
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

/// What all trials of a search share, as it travels to workers: how rows are split and how models are judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    /// How rows are split.
    pub cv: Splitter,
    /// The metrics, by names of [`Scorer`].
    pub scoring: Vec<String>,
    /// Whether the rows that were learned from are judged by too.
    pub return_train_score: bool,
    /// What the rows of a share are drawn by.
    pub seed: u64,
}

/// Which rows: small enough to travel with every trial.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FoldSpec {
    /// Which fold, from 0.
    pub fold: usize,
    /// Which share of its rows, above 0 to 1: a smaller budget's are among a larger one's.
    pub share: f64,
}

/// Rows that are here: X of shape (n_rows, n_features), y of length n_rows, and what else belongs to each row.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    pub(crate) x: ArrayView2<'a, f64>,
    pub(crate) y: ArrayView1<'a, f64>,
    pub(crate) groups: Option<ArrayView1<'a, f64>>,
}

impl<'a> Data<'a> {
    /// X and y.
    pub const fn new(x: ArrayView2<'a, f64>, y: ArrayView1<'a, f64>) -> Self {
        Self { x, y, groups: None }
    }

    /// Sets the group of each row, a number that rows of one group share, for splitters that part no group.
    #[must_use]
    pub const fn groups(mut self, groups: ArrayView1<'a, f64>) -> Self {
        self.groups = Some(groups);
        self
    }

    fn of_blocks(x: &'a Block, y: &'a Block, groups: &'a Block) -> Self {
        Self { x: x.view2(), y: y.view1(), groups: given(groups) }
    }

    fn split_rows(&self) -> SplitRows<'a> {
        let rows = SplitRows::new(self.x.nrows()).y(self.y);
        match self.groups {
            Some(groups) => rows.groups(groups),
            None => rows,
        }
    }
}

/// A block of nothing stands for what was not given.
fn given(block: &Block) -> Option<ArrayView1<'_, f64>> {
    let numbers = block.view1();
    (!numbers.is_empty()).then_some(numbers)
}

/// Runs one trial on data that are here.
pub fn evaluate(estimator: &dyn Estimator, data: &Data<'_>, fold: FoldSpec, judge: &Judge) -> TrialOutcome {
    // Caught here and not by whoever runs the task, so that a panic reads the same wherever it happened. Nothing
    // that the panic may have left half done is seen again: estimator and data are borrowed for reading only.
    let evaluated = panic::catch_unwind(AssertUnwindSafe(|| try_evaluate(estimator, data, fold, judge)));
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

/// [`evaluate`] on a worker.
#[task(name = "search.fit_and_score")]
pub(crate) fn fit_and_score(
    estimator: &Json<Box<dyn Estimator>>,
    x: &Block,
    y: &Block,
    groups: &Block,
    fold: FoldSpec,
    judge: &Judge,
) -> TrialOutcome {
    evaluate(&*estimator.0, &Data::of_blocks(x, y, groups), fold, judge)
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
    let model = Json(fit_all(&*estimator.0, &Data::new(x.view2(), y.view1()))?);
    Ok(Refitted { model, seconds: start.elapsed().as_secs_f64() })
}

/// The best candidate's model, of all rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Refitted {
    pub(crate) model: Json<Box<dyn Model>>,
    pub(crate) seconds: f64,
}

pub(crate) fn fit_all(estimator: &dyn Estimator, data: &Data<'_>) -> Result<Box<dyn Model>, Error> {
    estimator.fit_dyn(data.x, data.y)
}

/// Checks data that lie on a worker as a whole, so that what is wrong with them is said once and not by every
/// candidate.
#[task(name = "search.check_data")]
pub(crate) fn check_data(x: &Block, y: &Block, groups: &Block, judge: &Judge) -> Result<(), Error> {
    check(&Data::of_blocks(x, y, groups), judge)
}

/// Checks the data, that they can be split, and that every fold has what the metrics need.
pub(crate) fn check(data: &Data<'_>, judge: &Judge) -> Result<(), Error> {
    validate::fit_data(data.x, data.y)?;
    let folds = judge.cv.split(&data.split_rows())?;
    for name in &judge.scoring {
        let scorer: Scorer = name.parse()?;
        if scorer.needs() != Needs::Mean {
            check_classes(&folds, data.y, "train")?;
        }
        if scorer.needs_both_classes() {
            check_classes(&folds, data.y, "test")?;
        }
    }
    Ok(())
}

/// The rows of one part of a fold.
struct Part {
    x: Array2<f64>,
    y: Array1<f64>,
}

impl Part {
    fn of(data: &Data<'_>, rows: &[usize]) -> Self {
        Self { x: data.x.select(Axis(0), rows), y: data.y.select(Axis(0), rows) }
    }

    fn scores(&self, model: &dyn Model, scorers: &[Scorer]) -> Result<Vec<f64>, Error> {
        scorers.iter().map(|scorer| scorer.score_model(model, self.x.view(), self.y.view())).collect()
    }
}

fn try_evaluate(
    estimator: &dyn Estimator,
    data: &Data<'_>,
    FoldSpec { fold, share }: FoldSpec,
    judge: &Judge,
) -> Result<TrialScore, Error> {
    validate::same_length("X", data.x.nrows(), "y", data.y.len())?;
    let scorers: Vec<Scorer> = judge.scoring.iter().map(|name| name.parse()).collect::<Result<_, Error>>()?;
    let rows = judge.cv.fold(&data.split_rows(), fold)?;
    let train = Part::of(data, &subsample(&rows.train, share, judge.seed));
    let test = Part::of(data, &subsample(&rows.test, share, judge.seed));

    let start = Instant::now();
    let model = estimator.fit_dyn(train.x.view(), train.y.view())?;
    let fitted = Instant::now();
    let scores = test.scores(&*model, &scorers)?;
    let scored = Instant::now();
    let train_scores = if judge.return_train_score { train.scores(&*model, &scorers)? } else { Vec::new() };
    Ok(TrialScore {
        scores,
        train_scores,
        fit_seconds: (fitted - start).as_secs_f64(),
        score_seconds: (scored - fitted).as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phalanx_learn::{DummyRegressor, KFold};

    use super::*;

    #[test]
    fn a_fold_is_judged_by_what_the_others_teach() {
        let (x, y) = (array![[0.], [0.], [0.], [0.]], array![1., 3., 5., 9.]);
        let scoring = ["neg_mean_absolute_error", "max_error"].map(str::to_owned);
        let mut judge =
            Judge { cv: KFold::new(2).into(), scoring: scoring[..1].to_vec(), return_train_score: true, seed: 0 };
        let score = |fold, share, judge: &Judge| {
            let data = Data::new(x.view(), y.view());
            evaluate(&DummyRegressor::new(), &data, FoldSpec { fold, share }, judge).score().cloned()
        };
        let scores = |fold| score(fold, 1., &judge).map(|score| (score.scores, score.train_scores));
        assert_eq!(scores(0), Some((vec![-5.], vec![-2.])));
        assert_eq!(scores(1), Some((vec![-5.], vec![-1.])));
        assert_eq!(scores(2), None);
        // Half of two rows is one, on both sides.
        let half = score(0, 0.5, &judge).expect("a score");
        assert_eq!(half.train_scores, [0.]);
        judge.scoring = scoring.to_vec();
        assert_eq!(score(0, 1., &judge), None);
    }
}
