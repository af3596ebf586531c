//! The drivers of a search: the same plan, the same trials, here or on a cluster, and so the same numbers.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Instant};

use ndarray::{Array, ArrayView1, ArrayView2, Dimension};
use phalanx_array::{Block, ChunkedArray, Chunks};
use phalanx_engine::{graph::Delayed, task::TaskError};
use phalanx_learn::{Error as LearnError, Estimator, Json, KFold, Model, Scorer, params};
use phalanx_runtime::{Client, Error as ClusterError, Remote};

use crate::{
    Error, Result,
    plan::{Plan, Progress, Trial},
    results::CvResults,
    space::{ParamGrid, Params},
    trial::{self, FoldSpec, TrialOutcome},
};

/// Tries every candidate of a grid on every fold, and fits the best one on all rows.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `estimator` | | what is tuned | any estimator |
/// | `grid` | | parameters with the values to try | parameters of the estimator |
/// | `cv` | 5 contiguous folds | which rows judge | 2 folds to one a row |
/// | `scoring` | `r2` | what is best | a name of [`Scorer`] |
/// | `refit` | true | fit the best candidate on all rows | |
/// | `on_trial` | none | called after each trial with the progress | |
///
/// A candidate that fails, by an error or a panic, is a row of the results with its error; the search goes on.
///
/// ```
/// use ndarray::array;
/// use phalanx_learn::{DummyRegressor, KFold};
/// use phalanx_search::{GridSearch, ParamGrid};
///
/// # fn main() -> phalanx_search::Result<()> {
/// let (x, y) = (array![[0.], [0.], [0.], [0.], [0.], [0.]], array![1., 2., 90., 2., 1., 2.]);
/// let grid = ParamGrid::new().values("strategy", ["mean", "median"]);
/// let found = GridSearch::new(DummyRegressor::new(), grid)
///     .cv(KFold::new(3))
///     .scoring("neg_mean_absolute_error")
///     .fit(x.view(), y.view())?;
/// assert_eq!(found.best_params["strategy"], "median");
/// assert_eq!(found.best_model.expect("refitted").predict_dyn(x.view())?[0], 2.);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct GridSearch {
    estimator: Box<dyn Estimator>,
    grid: ParamGrid,
    cv: KFold,
    scoring: String,
    refit: bool,
    on_trial: Option<OnTrial>,
}

type OnTrial = Arc<dyn Fn(&Progress) + Send + Sync>;

/// What a search found.
#[derive(Debug, Clone)]
pub struct SearchResult {
    /// Every candidate with its scores.
    pub cv_results: CvResults,
    /// Which candidate is best, from 0; of equals the first.
    pub best_index: usize,
    /// Its parameters.
    pub best_params: Params,
    /// Its mean score over the folds.
    pub best_score: f64,
    /// The estimator with its parameters.
    pub best_estimator: Box<dyn Estimator>,
    /// What it learned from all rows, where `refit` asked for that.
    pub best_model: Option<Box<dyn Model>>,
    /// Seconds that the refit took.
    pub refit_seconds: Option<f64>,
}

/// A search that is under way: the plan, and the estimator of each candidate or why there is none.
struct Running<'a> {
    search: &'a GridSearch,
    scorer: Scorer,
    plan: Plan,
    estimators: Vec<Result<Box<dyn Estimator>, String>>,
}

impl GridSearch {
    /// All candidates of a grid for an estimator, by [`scoring`](Self::scoring) `r2` on 5 contiguous folds.
    pub fn new(estimator: impl Estimator + 'static, grid: ParamGrid) -> Self {
        Self::boxed(Box::new(estimator), grid)
    }

    /// The same for an estimator in a box.
    pub fn boxed(estimator: Box<dyn Estimator>, grid: ParamGrid) -> Self {
        Self { estimator, grid, cv: KFold::default(), scoring: "r2".to_owned(), refit: true, on_trial: None }
    }

    /// Sets which rows judge.
    #[must_use]
    pub const fn cv(mut self, cv: KFold) -> Self {
        self.cv = cv;
        self
    }

    /// Sets what is best, by a name of [`Scorer`].
    #[must_use]
    pub fn scoring(mut self, scoring: impl Into<String>) -> Self {
        self.scoring = scoring.into();
        self
    }

    /// Sets whether the best candidate is fitted on all rows.
    #[must_use]
    pub const fn refit(mut self, refit: bool) -> Self {
        self.refit = refit;
        self
    }

    /// Sets what is called after each trial.
    #[must_use]
    pub fn on_trial(mut self, on_trial: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.on_trial = Some(Arc::new(on_trial));
        self
    }

    /// Checks all that can be checked without data: the metric, the grid and its names; gives the number of trials.
    ///
    /// # Errors
    /// When the metric or a parameter is unknown (with the nearest name), or a parameter has no values.
    pub fn check(&self) -> Result<usize> {
        Ok(self.start()?.plan.progress().total)
    }

    /// Searches here, one trial after the other. X is (n_rows, n_features), y has n_rows numbers.
    ///
    /// # Errors
    /// As [`check`](Self::check); when the data are empty, do not fit together, are not finite or have fewer rows
    /// than folds; [`Error::AllFailed`]; when the refit fails.
    pub fn fit(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<SearchResult> {
        let mut running = self.start()?;
        trial::check(x, y, self.cv)?;
        while let Some((trial, estimator)) = running.next()? {
            let fold = FoldSpec { cv: self.cv, fold: trial.fold };
            let outcome = trial::evaluate(&*estimator, x, y, fold, running.scorer);
            running.tell(trial, outcome)?;
        }
        let mut found = running.finish()?;
        if self.refit {
            let start = Instant::now();
            let model = found.best_estimator.fit_dyn(x, y);
            found.best_model = Some(model.map_err(|error| Error::Refit { message: error.to_string() })?);
            found.refit_seconds = Some(start.elapsed().as_secs_f64());
        }
        Ok(found)
    }

    /// Searches on a cluster: each trial is a task. X and y are put there once; the numbers are those of
    /// [`fit`](Self::fit), in whatever order the trials end.
    ///
    /// Dropping the future takes the work back.
    ///
    /// # Errors
    /// As [`fit`](Self::fit); when the data cannot be made where they are; when the scheduler is lost. A worker that
    /// is lost is no error: what it had is done again.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ndarray::array;
    /// use phalanx_learn::{DummyRegressor, KFold};
    /// use phalanx_runtime::blocking::Client;
    /// use phalanx_search::{GridSearch, ParamGrid};
    ///
    /// let client = Client::local()?;
    /// let (x, y) = (array![[0.], [0.], [0.], [0.]], array![1., 2., 3., 4.]);
    /// let grid = ParamGrid::new().values("strategy", ["mean", "median"]);
    /// let search = GridSearch::new(DummyRegressor::new(), grid).cv(KFold::new(2)).scoring("mse");
    /// let found = client.wait(search.fit_on(&client, &x, &y))?;
    /// assert_eq!(found.best_score, search.fit(x.view(), y.view())?.best_score);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn fit_on<X: WholeBlock, Y: WholeBlock>(&self, client: &Client, x: &X, y: &Y) -> Result<SearchResult> {
        let mut running = self.start()?;
        let put = |data: Delayed<Block>| client.submit(&trial::keep::delayed(data));
        let (x, y) = (put(x.whole_block()?), put(y.whole_block()?));
        let checked = client.submit(&trial::check_data::delayed(&x, &y, self.cv)).await;
        checked.map_err(|error| own_message("search.check_data", error, |message| Error::Data { message }))?;

        let scorer = Delayed::value(running.scorer.name().to_owned());
        let (mut trials, mut calls) = (Vec::new(), Vec::new());
        let mut estimators = BTreeMap::new();
        while let Some((trial, estimator)) = running.next()? {
            // The folds of a candidate share its estimator.
            let estimator = &*estimators.entry(trial.candidate).or_insert_with(|| Delayed::value(Json(estimator)));
            let fold = FoldSpec { cv: self.cv, fold: trial.fold };
            calls.push(trial::fit_and_score::delayed(estimator, &x, &y, fold, &scorer));
            trials.push(trial);
        }
        let remotes = client.submit_all(&calls);
        let places: BTreeMap<_, _> = remotes.iter().map(Remote::task).zip(trials).collect();
        let mut completed = client.as_completed(remotes);
        while let Some(remote) = completed.next().await {
            let outcome = match remote.get().await {
                Ok(outcome) => TrialOutcome::clone(&outcome),
                // Whatever it does to its workers, a candidate is only a row.
                Err(ClusterError::Task { source: TaskError::KilledWorkers { deaths, .. } }) => {
                    TrialOutcome::Failed { message: format!("it killed all {} workers it ran on", deaths.len()) }
                }
                Err(error) => return Err(error.into()),
            };
            let trial = places.get(&remote.task()).ok_or(ClusterError::SchedulerLost)?;
            running.tell(*trial, outcome)?;
        }

        let mut found = running.finish()?;
        if self.refit {
            let estimator = Json(found.best_estimator.clone());
            let refitted = client.submit(&trial::refit::delayed(estimator, &x, &y)).await;
            let refitted =
                refitted.map_err(|error| own_message("search.refit", error, |message| Error::Refit { message }))?;
            (found.best_model, found.refit_seconds) = (Some(refitted.model.0), Some(refitted.seconds));
        }
        Ok(found)
    }

    fn start(&self) -> Result<Running<'_>> {
        let scorer: Scorer = self.scoring.parse()?;
        let candidates = self.grid.candidates()?;
        let estimators = candidates.iter().map(|candidate| match params::set(&*self.estimator, candidate.clone()) {
            Ok(estimator) => Ok(Ok(estimator)),
            // A value that cannot be is this candidate's failure; a name that cannot be is a mistake in the grid.
            Err(error @ LearnError::Parameter { .. }) => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        });
        let estimators = estimators.collect::<Result<Vec<_>, LearnError>>()?;
        let plan = Plan::new(candidates, self.cv.n_splits, scorer.goal());
        Ok(Running { search: self, scorer, plan, estimators })
    }
}

impl Running<'_> {
    /// The next trial that has to be run; those of candidates that have no estimator are told at once.
    fn next(&mut self) -> Result<Option<(Trial, Box<dyn Estimator>)>> {
        while let Some(trial) = self.plan.ask() {
            match &self.estimators[trial.candidate] {
                Ok(estimator) => return Ok(Some((trial, estimator.clone()))),
                Err(message) => {
                    let message = message.clone();
                    self.tell(trial, TrialOutcome::Failed { message })?;
                }
            }
        }
        Ok(None)
    }

    fn tell(&mut self, trial: Trial, outcome: TrialOutcome) -> Result<()> {
        self.plan.tell(trial, outcome)?;
        if let Some(on_trial) = &self.search.on_trial {
            on_trial(&self.plan.progress());
        }
        Ok(())
    }

    /// What was found, not yet refitted.
    fn finish(self) -> Result<SearchResult> {
        let cv_results = self.plan.into_results();
        let best = cv_results.best_index().and_then(|index| {
            let score = cv_results.candidates()[index].mean_test_score()?;
            Some((index, score, self.estimators[index].as_ref().ok()?.clone()))
        });
        let Some((best_index, best_score, best_estimator)) = best else {
            let first = cv_results.candidates().first().and_then(|candidate| candidate.error());
            let message = first.unwrap_or("there are none").to_owned();
            return Err(Error::AllFailed { message, results: Box::new(cv_results) });
        };
        let best_params = cv_results.candidates()[best_index].params().clone();
        let (best_model, refit_seconds) = (None, None);
        Ok(SearchResult { cv_results, best_index, best_params, best_score, best_estimator, best_model, refit_seconds })
    }
}

/// Data that a search on a cluster can take, to lie there as one block.
pub trait WholeBlock: Sync {
    /// The data as one block.
    ///
    /// # Errors
    /// When they cannot be put together.
    fn whole_block(&self) -> Result<Delayed<Block>>;
}

impl<D: Dimension> WholeBlock for Array<f64, D> {
    fn whole_block(&self) -> Result<Delayed<Block>> {
        Ok(Delayed::value(self.view().into()))
    }
}

impl WholeBlock for Delayed<Block> {
    fn whole_block(&self) -> Result<Delayed<Block>> {
        Ok(self.clone())
    }
}

impl WholeBlock for ChunkedArray {
    fn whole_block(&self) -> Result<Delayed<Block>> {
        let whole = self.rechunk_as(&self.shape().into_iter().map(Chunks::single).collect::<Vec<_>>());
        let blocks = whole.map_err(LearnError::from)?.blocks();
        blocks.into_iter().next().ok_or_else(|| LearnError::Empty { what: "the array" }.into())
    }
}

/// What a task of ours said, without where it ran; any other error as it is.
fn own_message(function: &str, error: ClusterError, own: impl FnOnce(String) -> Error) -> Error {
    match error {
        ClusterError::Task { source: TaskError::Failed { function: failed, message, .. } } if failed == function => {
            own(message)
        }
        error => error.into(),
    }
}

impl fmt::Debug for GridSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { estimator, grid, cv, scoring, refit, on_trial: _ } = self;
        f.debug_struct("GridSearch")
            .field("estimator", estimator)
            .field("grid", grid)
            .field("cv", cv)
            .field("scoring", scoring)
            .field("refit", refit)
            .finish_non_exhaustive()
    }
}
