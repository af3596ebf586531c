//! What one trial does: learn from a part of the rows, judge by another.
//!
//! The functions are tasks, so they are the same here and on a worker. Data come whole, folds as a few numbers.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
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
    /// How long a trial may take; what takes longer has failed.
    pub trial_timeout: Option<Duration>,
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
    pub(crate) sample_weight: Option<ArrayView1<'a, f64>>,
}

impl<'a> Data<'a> {
    /// X and y.
    pub const fn new(x: ArrayView2<'a, f64>, y: ArrayView1<'a, f64>) -> Self {
        Self { x, y, groups: None, sample_weight: None }
    }

    /// Sets the group of each row, a number that rows of one group share, for splitters that part no group.
    #[must_use]
    pub const fn groups(mut self, groups: ArrayView1<'a, f64>) -> Self {
        self.groups = Some(groups);
        self
    }

    /// Sets how often each row counts, in fits and in scores; 0: the row is absent.
    #[must_use]
    pub const fn sample_weight(mut self, sample_weight: ArrayView1<'a, f64>) -> Self {
        self.sample_weight = Some(sample_weight);
        self
    }

    pub(crate) fn split_rows(&self) -> SplitRows<'a> {
        let rows = SplitRows::new(self.x.nrows()).y(self.y);
        match self.groups {
            Some(groups) => rows.groups(groups),
            None => rows,
        }
    }
}

/// The same as blocks, which travel and outlive who made them. A block of nothing stands for what was not given.
#[derive(Debug, Clone)]
pub(crate) struct Blocks {
    pub(crate) x: Block,
    pub(crate) y: Block,
    pub(crate) groups: Block,
    pub(crate) sample_weight: Block,
}

impl Blocks {
    pub(crate) fn of(data: &Data<'_>) -> Self {
        let copy = |given: Option<ArrayView1<'_, f64>>| given.map_or_else(nothing, Block::from);
        Self { x: data.x.into(), y: data.y.into(), groups: copy(data.groups), sample_weight: copy(data.sample_weight) }
    }

    pub(crate) fn view(&self) -> Data<'_> {
        let given = |block: &Block| !block.is_empty();
        Data {
            x: self.x.view2(),
            y: self.y.view1(),
            groups: given(&self.groups).then(|| self.groups.view1()),
            sample_weight: given(&self.sample_weight).then(|| self.sample_weight.view1()),
        }
    }
}

pub(crate) fn nothing() -> Block {
    Array1::<f64>::zeros(0).view().into()
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

/// The same for data that can be left behind: a trial that takes too long is not waited for. Nobody can interrupt it, so
/// it keeps a processor busy until it ends by itself.
pub(crate) fn evaluate_in_time(
    estimator: &dyn Estimator,
    data: &Blocks,
    fold: FoldSpec,
    judge: &Judge,
) -> TrialOutcome {
    let Some(limit) = judge.trial_timeout else { return evaluate(estimator, &data.view(), fold, judge) };
    let (sender, receiver) = mpsc::channel();
    let (estimator, data, judge) = (estimator.clone_box(), data.clone(), judge.clone());
    let run = move || {
        let outcome = evaluate(&*estimator, &data.view(), fold, &judge);
        // Nobody listens any more where it took too long.
        let _ = sender.send(outcome);
    };
    let failed = |message: String| TrialOutcome::Failed { message };
    match thread::Builder::new().name("trial".to_owned()).spawn(run) {
        Ok(_) => match receiver.recv_timeout(limit) {
            Ok(outcome) => outcome,
            Err(_) => failed(format!("it took longer than {} s, the limit of a trial", limit.as_secs_f64())),
        },
        Err(error) => failed(format!("no thread for the trial: {error}")),
    }
}

/// [`evaluate_in_time`] on a worker.
#[task(name = "search.fit_and_score")]
pub(crate) fn fit_and_score(
    estimator: &Json<Box<dyn Estimator>>,
    x: &Block,
    y: &Block,
    groups: &Block,
    sample_weight: &Block,
    fold: FoldSpec,
    judge: &Judge,
) -> TrialOutcome {
    evaluate_in_time(&*estimator.0, &blocks(x, y, groups, sample_weight), fold, judge)
}

/// Blocks are pointers to what they hold.
pub(crate) fn blocks(x: &Block, y: &Block, groups: &Block, sample_weight: &Block) -> Blocks {
    Blocks { x: x.clone(), y: y.clone(), groups: groups.clone(), sample_weight: sample_weight.clone() }
}

/// Puts data on a worker, wherever they come from.
#[task(name = "search.keep")]
pub(crate) fn keep(data: &Block) -> Block {
    data.clone()
}

/// Fits on all rows.
#[task(name = "search.refit")]
pub(crate) fn refit(
    estimator: &Json<Box<dyn Estimator>>,
    x: &Block,
    y: &Block,
    sample_weight: &Block,
) -> Result<Refitted, Error> {
    let start = Instant::now();
    let model = Json(fit_all(&*estimator.0, &blocks(x, y, &nothing(), sample_weight).view())?);
    Ok(Refitted { model, seconds: start.elapsed().as_secs_f64() })
}

/// The best candidate's model, of all rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Refitted {
    pub(crate) model: Json<Box<dyn Model>>,
    pub(crate) seconds: f64,
}

pub(crate) fn fit_all(estimator: &dyn Estimator, data: &Data<'_>) -> Result<Box<dyn Model>, Error> {
    match data.sample_weight {
        Some(weights) => estimator.fit_weighted_dyn(data.x, data.y, weights),
        None => estimator.fit_dyn(data.x, data.y),
    }
}

/// Checks data that lie on a worker as a whole, so that what is wrong with them is said once and not by every
/// candidate.
#[task(name = "search.check_data")]
pub(crate) fn check_data(
    x: &Block,
    y: &Block,
    groups: &Block,
    sample_weight: &Block,
    judge: &Judge,
) -> Result<(), Error> {
    check(&blocks(x, y, groups, sample_weight).view(), judge)
}

/// Checks the data, that they can be split, and that every fold has what the metrics need.
pub(crate) fn check(data: &Data<'_>, judge: &Judge) -> Result<(), Error> {
    validate::fit_data(data.x, data.y)?;
    if let Some(weights) = data.sample_weight {
        validate::sample_weight(weights, data.y.len())?;
    }
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

/// Some of the rows.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    x: Array2<f64>,
    y: Array1<f64>,
    groups: Option<Array1<f64>>,
    sample_weight: Option<Array1<f64>>,
}

impl Part {
    pub(crate) fn of(data: &Data<'_>, rows: &[usize]) -> Self {
        let some = |of: Option<ArrayView1<'_, f64>>| of.map(|of| of.select(Axis(0), rows));
        Self {
            x: data.x.select(Axis(0), rows),
            y: data.y.select(Axis(0), rows),
            groups: some(data.groups),
            sample_weight: some(data.sample_weight),
        }
    }

    pub(crate) fn view(&self) -> Data<'_> {
        Data {
            x: self.x.view(),
            y: self.y.view(),
            groups: self.groups.as_ref().map(Array1::view),
            sample_weight: self.sample_weight.as_ref().map(Array1::view),
        }
    }
}

/// The scores of a model, one a metric.
pub(crate) fn scores(model: &dyn Model, data: &Data<'_>, scoring: &[String]) -> Result<Vec<f64>, Error> {
    let score = |name: &String| {
        let scorer: Scorer = name.parse()?;
        scorer.score_model_weighted(model, data.x, data.y, data.sample_weight)
    };
    scoring.iter().map(score).collect()
}

fn try_evaluate(
    estimator: &dyn Estimator,
    data: &Data<'_>,
    FoldSpec { fold, share }: FoldSpec,
    judge: &Judge,
) -> Result<TrialScore, Error> {
    validate::same_length("X", data.x.nrows(), "y", data.y.len())?;
    let rows = judge.cv.fold(&data.split_rows(), fold)?;
    let train = Part::of(data, &subsample(&rows.train, share, judge.seed));
    let test = Part::of(data, &subsample(&rows.test, share, judge.seed));

    let start = Instant::now();
    let model = fit_all(estimator, &train.view())?;
    let fitted = Instant::now();
    let test_scores = scores(&*model, &test.view(), &judge.scoring)?;
    let scored = Instant::now();
    let train_scores = match judge.return_train_score {
        true => scores(&*model, &train.view(), &judge.scoring)?,
        false => Vec::new(),
    };
    Ok(TrialScore {
        scores: test_scores,
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
        let mut judge = Judge {
            cv: KFold::new(2).into(),
            scoring: scoring[..1].to_vec(),
            return_train_score: true,
            seed: 0,
            trial_timeout: None,
        };
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
