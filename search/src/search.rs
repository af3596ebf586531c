//! The drivers of a search: the same plan, the same trials, here or on a cluster, and so the same numbers.

use std::{
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use ndarray::{ArrayView1, ArrayView2};
use phalanx_engine::{graph::Delayed, task::TaskError};
use phalanx_learn::{Error as LearnError, Estimator, Json, Model, Scorer, Splitter, params};
use phalanx_runtime::{AsCompleted, Client, Error as ClusterError, Remote};
use serde_json::Value;

use crate::{
    Error, Result,
    data::{DataOn, Put, WholeBlock},
    method::{self, Machine, Method},
    plan::{Judging, Plan, Progress, Trial},
    results::CvResults,
    space::{ParamGrids, Params, Space},
    trial::{self, Blocks, Data, FoldSpec, Judge, TrialOutcome},
};

/// Tries what a method chooses from a space on every fold, and fits the best one on all rows.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `estimator` | | what is tuned | any estimator |
/// | `method` | | what is tried | any [`Method`] |
/// | `space` | | what the parameters may be | parameters of the estimator |
/// | `seed` | 0 | what draws follow from | any |
/// | `enqueue` | none | configurations to begin with; what they leave open is drawn | at most as many as are tried |
/// | `cv` | 5 contiguous folds | which rows judge | any [`Splitter`] |
/// | `scoring` | `r2` | what is best | a name of [`Scorer`] |
/// | `metrics` | those of `scoring` | several metrics at once | names of [`Scorer`] |
/// | `refit_by` | the first | which of several metrics decides | one of them |
/// | `refit` | true | fit the best candidate on all rows | |
/// | `return_train_score` | false | score the rows that were learned from too | |
/// | `error_score` | none | what stands for the scores of a fold that failed | any number |
/// | `trial_timeout` | none | how long the fit and the scores of one fold may take; what takes longer has failed | above 0 |
/// | `on_trial` | none | called after each trial with the progress | |
///
/// A candidate that fails, by an error or a panic, is a row of the results with its error; the search goes on. For one
/// seed the list of candidates, their scores and the winner are the same here and on a cluster of any size.
///
/// ```
/// use ndarray::array;
/// use phalanx_learn::{DummyRegressor, KFold};
/// use phalanx_search::{Search, Space, method::Random};
///
/// # fn main() -> phalanx_search::Result<()> {
/// let (x, y) = (array![[0.], [0.], [0.], [0.], [0.], [0.]], array![1., 2., 90., 2., 1., 2.]);
/// let space = Space::new().choice("strategy", ["mean", "median"]);
/// let found = Search::new(DummyRegressor::new(), Random::new(8), space)
///     .seed(42)
///     .cv(KFold::new(3))
///     .metrics(["neg_mean_absolute_error", "mse"])
///     .fit(x.view(), y.view())?;
/// assert_eq!(found.best_params["strategy"], "median");
/// assert_eq!(found.cv_results.candidates().len(), 8);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Search {
    estimator: Box<dyn Estimator>,
    source: Source,
    seed: u64,
    given: Vec<Params>,
    cv: Splitter,
    scoring: Vec<String>,
    refit_by: Option<String>,
    refit: bool,
    return_train_score: bool,
    error_score: Option<f64>,
    trial_timeout: Option<Duration>,
    on_trial: Option<OnTrial>,
}

type OnTrial = Arc<dyn Fn(&Progress) + Send + Sync>;

/// What is tried.
#[derive(Debug, Clone)]
enum Source {
    Grids(ParamGrids),
    Method(Method, Space),
}

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

/// A search that is under way.
struct Running<'a> {
    search: &'a Search,
    judge: Judge,
    plan: Plan,
    /// The estimator of the latest candidate, whose folds come one after the other, or why there is none.
    latest: Option<(usize, Tuned)>,
}

/// The estimator of a candidate, or why there is none.
type Tuned = Result<Box<dyn Estimator>, String>;

/// The estimator of a candidate as it travels.
type Sent = Delayed<Json<Box<dyn Estimator>>>;

/// A trial that has to be run.
struct Job {
    trial: Trial,
    fold: FoldSpec,
    estimator: Box<dyn Estimator>,
}

impl Search {
    /// What a method chooses from a space for an estimator, by [`scoring`](Self::scoring) `r2` on 5 contiguous folds.
    pub fn new(estimator: impl Estimator + 'static, method: impl Into<Method>, space: Space) -> Self {
        Self::boxed(Box::new(estimator), method, space)
    }

    /// The same for an estimator in a box.
    pub fn boxed(estimator: Box<dyn Estimator>, method: impl Into<Method>, space: Space) -> Self {
        Self::of(estimator, Source::Method(method.into(), space))
    }

    pub(crate) fn of_grids(estimator: Box<dyn Estimator>, grids: ParamGrids) -> Self {
        Self::of(estimator, Source::Grids(grids))
    }

    fn of(estimator: Box<dyn Estimator>, source: Source) -> Self {
        Self {
            estimator,
            source,
            seed: 0,
            given: Vec::new(),
            cv: Splitter::default(),
            scoring: vec!["r2".to_owned()],
            refit_by: None,
            refit: true,
            return_train_score: false,
            error_score: None,
            trial_timeout: None,
            on_trial: None,
        }
    }

    /// Sets what draws follow from.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Adds a configuration to begin with; what it leaves open is drawn. It counts among those that are tried.
    #[must_use]
    pub fn enqueue<N: Into<String>, V: Into<Value>>(mut self, params: impl IntoIterator<Item = (N, V)>) -> Self {
        self.given.push(params.into_iter().map(|(name, value)| (name.into(), value.into())).collect());
        self
    }

    /// Sets which rows judge.
    #[must_use]
    pub fn cv(mut self, cv: impl Into<Splitter>) -> Self {
        self.cv = cv.into();
        self
    }

    /// Sets what is best, by a name of [`Scorer`].
    #[must_use]
    pub fn scoring(self, scoring: impl Into<String>) -> Self {
        self.metrics([scoring])
    }

    /// Sets several metrics, by names of [`Scorer`]; the first decides, unless [`refit_by`](Self::refit_by) says
    /// another.
    #[must_use]
    pub fn metrics<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.scoring = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets which of several metrics decides.
    #[must_use]
    pub fn refit_by(mut self, name: impl Into<String>) -> Self {
        self.refit_by = Some(name.into());
        self
    }

    /// Sets whether the best candidate is fitted on all rows.
    #[must_use]
    pub const fn refit(mut self, refit: bool) -> Self {
        self.refit = refit;
        self
    }

    /// Sets whether the rows that were learned from are scored too.
    #[must_use]
    pub const fn return_train_score(mut self, return_train_score: bool) -> Self {
        self.return_train_score = return_train_score;
        self
    }

    /// Sets what stands for the scores of a fold that failed; without one its candidate has no mean and the last rank.
    #[must_use]
    pub const fn error_score(mut self, error_score: f64) -> Self {
        self.error_score = Some(error_score);
        self
    }

    /// Sets how long the fit and the scores of one fold may take. What takes longer is a failure and is not waited for,
    /// but keeps a processor busy until it ends by itself. With a limit the winner may depend on the machine's speed.
    #[must_use]
    pub const fn trial_timeout(mut self, limit: Duration) -> Self {
        self.trial_timeout = Some(limit);
        self
    }

    /// Sets what is called after each trial.
    #[must_use]
    pub fn on_trial(mut self, on_trial: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.on_trial = Some(Arc::new(on_trial));
        self
    }

    /// Checks all that can be checked without data: the metrics, the method, the space and its names; gives the number
    /// of trials, where that follows from scores the number that is expected.
    ///
    /// # Errors
    /// When a metric or a parameter is unknown (with the nearest name), a parameter has no values or cannot be drawn,
    /// or a number of the method is out of its range.
    pub fn check(&self) -> Result<usize> {
        Ok(self.start()?.plan.progress().total)
    }

    /// Searches here, one trial after the other. X is (n_rows, n_features), y has n_rows numbers.
    ///
    /// # Errors
    /// As [`check`](Self::check); when the data are empty, do not fit together, are not finite or cannot be split;
    /// [`Error::AllFailed`]; when the refit fails.
    pub fn fit(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<SearchResult> {
        self.fit_data(&Data::new(x.reborrow(), y.reborrow()))
    }

    /// As [`fit`](Self::fit), with what else belongs to each row.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fit_data(&self, data: &Data<'_>) -> Result<SearchResult> {
        let mut running = self.start()?;
        trial::check(data, &running.judge)?;
        // A trial that may be left behind has data of its own.
        let owned = self.trial_timeout.map(|_| Blocks::of(data));
        while let Some(Job { trial, fold, estimator }) = running.next()? {
            let outcome = match &owned {
                Some(owned) => trial::evaluate_in_time(&*estimator, owned, fold, &running.judge),
                None => trial::evaluate(&*estimator, data, fold, &running.judge),
            };
            running.tell(trial, outcome)?;
        }
        let mut found = running.finish()?;
        if self.refit {
            let start = Instant::now();
            let model = trial::fit_all(&*found.best_estimator, data);
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
        self.fit_data_on(client, DataOn::new(x, y)).await
    }

    /// As [`fit_on`](Self::fit_on), with what else belongs to each row.
    ///
    /// # Errors
    /// As [`fit_on`](Self::fit_on).
    pub async fn fit_data_on(&self, client: &Client, data: DataOn<'_>) -> Result<SearchResult> {
        let mut running = self.start()?;
        let Put { x, y, groups, sample_weight } = data.put(client)?;
        // All trials share one.
        let judge = Delayed::value(running.judge.clone());
        let checked = client.submit(&trial::check_data::delayed(&x, &y, &groups, &sample_weight, &judge)).await;
        checked.map_err(|error| own_message("search.check_data", error, |message| Error::Data { message }))?;

        let mut places: BTreeMap<_, Trial> = BTreeMap::new();
        let mut latest: Option<(usize, Sent)> = None;
        let mut completed = Vec::new();
        loop {
            let (mut trials, mut calls) = (Vec::new(), Vec::new());
            while let Some(Job { trial, fold, estimator }) = running.next()? {
                // The folds of a candidate share its estimator.
                if latest.as_ref().is_none_or(|(candidate, _)| *candidate != trial.candidate) {
                    latest = Some((trial.candidate, Delayed::value(Json(estimator))));
                }
                let Some((_, estimator)) = &latest else { continue };
                calls.push(trial::fit_and_score::delayed(estimator, &x, &y, &groups, &sample_weight, fold, &judge));
                trials.push(trial);
            }
            if !calls.is_empty() {
                let remotes = client.submit_all(&calls);
                places.extend(remotes.iter().map(Remote::task).zip(trials));
                completed.push(client.as_completed(remotes));
            }
            let Some(remote) = next_of(&mut completed).await else { break };
            let outcome = match remote.get().await {
                Ok(outcome) => TrialOutcome::clone(&outcome),
                // Whatever it does to its workers, a candidate is only a row.
                Err(ClusterError::Task { source: TaskError::KilledWorkers { deaths, .. } }) => {
                    TrialOutcome::Failed { message: format!("it killed all {} workers it ran on", deaths.len()) }
                }
                Err(error) => return Err(error.into()),
            };
            let trial = places.remove(&remote.task()).ok_or(ClusterError::SchedulerLost)?;
            running.tell(trial, outcome)?;
        }

        let mut found = running.finish()?;
        if self.refit {
            let estimator = Json(found.best_estimator.clone());
            let refitted = client.submit(&trial::refit::delayed(estimator, &x, &y, &sample_weight)).await;
            let refitted =
                refitted.map_err(|error| own_message("search.refit", error, |message| Error::Refit { message }))?;
            (found.best_model, found.refit_seconds) = (Some(refitted.model.0), Some(refitted.seconds));
        }
        Ok(found)
    }

    fn start(&self) -> Result<Running<'_>> {
        let judging = self.judging()?;
        let machine = self.machine(&judging)?;
        let judge = self.judge()?;
        let plan = Plan::of(machine, self.cv.n_splits(), judging);
        Ok(Running { search: self, judge, plan, latest: None })
    }

    /// What all trials share.
    pub(crate) fn judge(&self) -> Result<Judge> {
        Ok(Judge {
            cv: self.cv.clone(),
            scoring: self.judging()?.metrics.into_iter().map(|(name, _)| name).collect(),
            return_train_score: self.return_train_score,
            seed: self.seed,
            trial_timeout: self.trial_timeout,
        })
    }

    fn judging(&self) -> Result<Judging> {
        let scorers: Vec<Scorer> = self.scoring.iter().map(|name| name.parse()).collect::<Result<_, LearnError>>()?;
        let metrics: Vec<_> = scorers.iter().map(|scorer| (scorer.name().to_owned(), scorer.goal())).collect();
        if metrics.is_empty() {
            return Err(LearnError::parameter("scoring", "empty", "one metric or more").into());
        }
        let primary = match &self.refit_by {
            None => 0,
            Some(name) => {
                let wanted: Scorer = name.parse()?;
                let known = || metrics.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
                let place = metrics.iter().position(|(name, _)| name == wanted.name());
                place.ok_or_else(|| LearnError::parameter("refit_by", name, format!("one of {}", known())))?
            }
        };
        Ok(Judging { metrics, primary, error_score: self.error_score })
    }

    fn machine(&self, judging: &Judging) -> Result<Box<dyn Machine>> {
        match &self.source {
            Source::Grids(grids) => {
                let mut candidates = self.given.clone();
                candidates.extend(grids.candidates()?);
                for candidate in &candidates {
                    self.check_names(candidate.iter())?;
                }
                Ok(method::listed(candidates))
            }
            Source::Method(method, space) => {
                let drawn = space.sample(self.seed, 0);
                // A parameter that is not there in this draw is looked for by its name all the same.
                let named = space.parameters().keys().map(|name| (name, drawn.get(name).unwrap_or(&Value::Null)));
                self.check_names(named)?;
                for given in &self.given {
                    self.check_names(given.iter())?;
                }
                if let Some(resource) = method.resource_param() {
                    if space.parameters().contains_key(resource) {
                        let problem = "it is what budgets are of, so it cannot be searched too".to_owned();
                        return Err(Error::Space { parameter: resource.to_owned(), problem });
                    }
                    self.check_names([(&resource.to_owned(), &Value::Null)])?;
                }
                method.machine(space, self.seed, &self.given, judging.goal())
            }
        }
    }

    /// A value that cannot be is its candidate's failure; a name that cannot be is a mistake of the search.
    fn check_names<'p>(&self, params: impl IntoIterator<Item = (&'p String, &'p Value)>) -> Result<()> {
        let known = params::get(&*self.estimator)?;
        let mut replaced: Vec<&str> = Vec::new();
        for (name, value) in params {
            // Steps that are replaced whole bring parameters of their own.
            let is_of_a_step = replaced.iter().any(|step| name.starts_with(&format!("{step}__")));
            if known.contains_key(name) || is_of_a_step {
                replaced.push(name);
                continue;
            }
            if let Err(error @ LearnError::UnknownParameter { .. }) =
                params::set(&*self.estimator, [(name, value.clone())])
            {
                return Err(error.into());
            }
        }
        Ok(())
    }
}

impl Running<'_> {
    /// The next trial that has to be run; those of candidates that have no estimator are told at once.
    fn next(&mut self) -> Result<Option<Job>> {
        while let Some(trial) = self.plan.ask() {
            let Some(candidate) = self.plan.candidate(trial.candidate) else { continue };
            let fold = FoldSpec { fold: trial.fold, share: candidate.budget.map_or(1., |budget| budget.share()) };
            let latest = match self.latest.take() {
                Some(latest) if latest.0 == trial.candidate => latest,
                _ => {
                    let estimator = params::set(&*self.search.estimator, candidate.params.clone());
                    (trial.candidate, estimator.map_err(|error| error.to_string()))
                }
            };
            let (_, estimator) = self.latest.insert(latest);
            match estimator {
                Ok(estimator) => return Ok(Some(Job { trial, fold, estimator: estimator.clone() })),
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
        if !self.plan.is_done() {
            return Err(ClusterError::SchedulerLost.into());
        }
        let cv_results = self.plan.into_results();
        let best = cv_results.best_index().and_then(|index| {
            let candidate = &cv_results.candidates()[index];
            Some((index, candidate.mean_test_score()?, candidate.params().clone()))
        });
        let Some((best_index, best_score, best_params)) = best else {
            let first = cv_results.candidates().first().and_then(|candidate| candidate.error());
            let message = first.unwrap_or("there are none").to_owned();
            return Err(Error::AllFailed { message, results: Box::new(cv_results) });
        };
        let best_estimator = params::set(&*self.search.estimator, best_params.clone())?;
        let (best_model, refit_seconds) = (None, None);
        Ok(SearchResult { cv_results, best_index, best_params, best_score, best_estimator, best_model, refit_seconds })
    }
}

/// The next result of any of some streams; none after the last of all, or when they end early.
async fn next_of<T>(streams: &mut Vec<AsCompleted<T>>) -> Option<Remote<T>> {
    poll_fn(|context| {
        streams.retain(|stream| stream.n_left() > 0);
        if streams.is_empty() {
            return Poll::Ready(None);
        }
        for stream in streams.iter_mut() {
            if let Poll::Ready(remote) = pin!(stream.next()).poll(context) {
                return Poll::Ready(remote);
            }
        }
        Poll::Pending
    })
    .await
}

/// What a task of ours said, without where it ran; any other error as it is.
pub(crate) fn own_message(function: &str, error: ClusterError, own: impl FnOnce(String) -> Error) -> Error {
    match error {
        ClusterError::Task { source: TaskError::Failed { function: failed, message, .. } } if failed == function => {
            own(message)
        }
        error => error.into(),
    }
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search")
            .field("estimator", &self.estimator)
            .field("source", &self.source)
            .field("seed", &self.seed)
            .field("given", &self.given)
            .field("cv", &self.cv)
            .field("scoring", &self.scoring)
            .field("refit", &self.refit)
            .finish_non_exhaustive()
    }
}
