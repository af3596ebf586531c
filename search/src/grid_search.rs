//! The plain search: every candidate of a grid.

use std::time::Duration;

use ndarray::{ArrayView1, ArrayView2};
use phalanx_learn::{Estimator, Splitter};
use phalanx_runtime::Client;

use crate::{
    Result, Search, SearchResult,
    data::{DataOn, WholeBlock},
    plan::Progress,
    space::ParamGrids,
    trial::Data,
};

/// Tries every candidate of a grid on every fold, and fits the best one on all rows.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `estimator` | | what is tuned | any estimator |
/// | `grid` | | parameters with the values to try, or a list of such grids | parameters of the estimator |
/// | `cv` | 5 contiguous folds | which rows judge | any [`Splitter`] |
/// | `scoring` | `r2` | what is best | a name of [`Scorer`](phalanx_learn::Scorer) |
/// | `refit` | true | fit the best candidate on all rows | |
/// | `metrics`, `refit_by` | that of `scoring` | several metrics, and which of them decides | names of scorers |
/// | `return_train_score` | false | score the rows that were learned from too | |
/// | `error_score` | none | what stands for the scores of a fold that failed | any number |
/// | `on_trial` | none | called after each trial with the progress | |
///
/// It is a [`Search`] of [`Method::Grid`](crate::Method::Grid) that takes its candidates from grids.
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
#[derive(Debug, Clone)]
pub struct GridSearch(Search);

impl GridSearch {
    /// All candidates of a grid, or of a list of grids, for an estimator, by [`scoring`](Self::scoring) `r2` on 5
    /// contiguous folds.
    pub fn new(estimator: impl Estimator + 'static, grid: impl Into<ParamGrids>) -> Self {
        Self::boxed(Box::new(estimator), grid)
    }

    /// The same for an estimator in a box.
    pub fn boxed(estimator: Box<dyn Estimator>, grid: impl Into<ParamGrids>) -> Self {
        Self(Search::of_grids(estimator, grid.into()))
    }

    /// Sets which rows judge.
    #[must_use]
    pub fn cv(self, cv: impl Into<Splitter>) -> Self {
        Self(self.0.cv(cv))
    }

    /// Sets what is best, by a name of [`Scorer`](phalanx_learn::Scorer).
    #[must_use]
    pub fn scoring(self, scoring: impl Into<String>) -> Self {
        Self(self.0.scoring(scoring))
    }

    /// Sets several metrics; the first decides, unless [`refit_by`](Self::refit_by) says another.
    #[must_use]
    pub fn metrics<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        Self(self.0.metrics(names))
    }

    /// Sets which of several metrics decides.
    #[must_use]
    pub fn refit_by(self, name: impl Into<String>) -> Self {
        Self(self.0.refit_by(name))
    }

    /// Sets whether the best candidate is fitted on all rows.
    #[must_use]
    pub fn refit(self, refit: bool) -> Self {
        Self(self.0.refit(refit))
    }

    /// Sets whether the rows that were learned from are scored too.
    #[must_use]
    pub fn return_train_score(self, return_train_score: bool) -> Self {
        Self(self.0.return_train_score(return_train_score))
    }

    /// Sets what stands for the scores of a fold that failed; without one its candidate has no mean and the last rank.
    #[must_use]
    pub fn error_score(self, error_score: f64) -> Self {
        Self(self.0.error_score(error_score))
    }

    /// Sets what is called after each trial.
    #[must_use]
    pub fn on_trial(self, on_trial: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        Self(self.0.on_trial(on_trial))
    }

    /// Sets how long the fit and the scores of one fold may take; see [`Search::trial_timeout`].
    #[must_use]
    pub fn trial_timeout(self, limit: Duration) -> Self {
        Self(self.0.trial_timeout(limit))
    }

    pub(crate) const fn as_search(&self) -> &Search {
        &self.0
    }

    /// As [`Search::check`].
    ///
    /// # Errors
    /// When the metric or a parameter is unknown (with the nearest name), or a parameter has no values.
    pub fn check(&self) -> Result<usize> {
        self.0.check()
    }

    /// As [`Search::fit`].
    ///
    /// # Errors
    /// As [`Search::fit`].
    pub fn fit(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<SearchResult> {
        self.0.fit(x, y)
    }

    /// As [`Search::fit_data`].
    ///
    /// # Errors
    /// As [`Search::fit`].
    pub fn fit_data(&self, data: &Data<'_>) -> Result<SearchResult> {
        self.0.fit_data(data)
    }

    /// As [`Search::fit_on`].
    ///
    /// # Errors
    /// As [`Search::fit_on`].
    pub async fn fit_on<X: WholeBlock, Y: WholeBlock>(&self, client: &Client, x: &X, y: &Y) -> Result<SearchResult> {
        self.0.fit_on(client, x, y).await
    }

    /// As [`Search::fit_data_on`].
    ///
    /// # Errors
    /// As [`Search::fit_on`].
    pub async fn fit_data_on(&self, client: &Client, data: DataOn<'_>) -> Result<SearchResult> {
        self.0.fit_data_on(client, data).await
    }
}

impl From<GridSearch> for Search {
    fn from(search: GridSearch) -> Self {
        search.0
    }
}
