//! Nested cross-validation: a whole search on the rows that each outer fold learns from, its winner judged by the others.
//!
//! A search's own best score is of the rows that chose the winner; this one is not (Varma and Simon 2006, "Bias in error
//! estimation when using cross-validation for model selection").

use ndarray::Axis;
use phalanx_array::Block;
use phalanx_engine::{graph::Delayed, task};
use phalanx_learn::{Error as LearnError, Json, Model, Splitter};
use phalanx_runtime::{Client, Remote};
use serde::{Deserialize, Serialize};

use crate::{
    Error, GridSearch, Result, Search,
    data::{DataOn, Put},
    search::own_message,
    space::Params,
    trial::{self, Data, Judge, Part},
};

/// What nested cross-validation found.
#[derive(Debug, Clone, PartialEq)]
pub struct NestedResult {
    /// The metrics by name, in the order of each fold's scores.
    pub metrics: Vec<String>,
    /// One an outer fold.
    pub folds: Vec<NestedFold>,
}

/// One outer fold.
#[derive(Debug, Clone, PartialEq)]
pub struct NestedFold {
    /// The parameters that won on the rows it learns from.
    pub best_params: Params,
    /// Their mean score in that search, by the metric that decides.
    pub inner_score: f64,
    /// The winner's scores on the rows that judge, one a metric.
    pub test_scores: Vec<f64>,
}

impl NestedResult {
    /// The mean over outer folds of each metric.
    pub fn mean_test_scores(&self) -> Vec<f64> {
        let of = |metric: usize| self.folds.iter().map(|fold| fold.test_scores[metric]).sum::<f64>();
        (0..self.metrics.len()).map(|metric| of(metric) / self.folds.len() as f64).collect()
    }

    /// The standard deviation over outer folds of each metric (ddof 0).
    pub fn std_test_scores(&self) -> Vec<f64> {
        let means = self.mean_test_scores();
        let of = |metric: usize| {
            let squares = self.folds.iter().map(|fold| (fold.test_scores[metric] - means[metric]).powi(2));
            (squares.sum::<f64>() / self.folds.len() as f64).sqrt()
        };
        (0..self.metrics.len()).map(of).collect()
    }
}

impl Search {
    /// Searches within each fold of `outer`, and judges the winner by the fold's other rows.
    ///
    /// # Errors
    /// As [`fit_data`](Self::fit_data), of any outer fold.
    ///
    /// ```
    /// use ndarray::{Array1, Array2};
    /// use phalanx_learn::{DummyRegressor, KFold};
    /// use phalanx_search::{Data, GridSearch, ParamGrid};
    ///
    /// # fn main() -> phalanx_search::Result<()> {
    /// let (x, y) = (Array2::zeros((12, 1)), Array1::from_iter((0..12).map(|row| f64::from(row % 5))));
    /// let grid = ParamGrid::new().values("strategy", ["mean", "median"]);
    /// let search = GridSearch::new(DummyRegressor::new(), grid).cv(KFold::new(2)).scoring("mse");
    /// let nested = search.nested(&Data::new(x.view(), y.view()), KFold::new(3))?;
    /// assert_eq!((nested.folds.len(), nested.mean_test_scores().len()), (3, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn nested(&self, data: &Data<'_>, outer: impl Into<Splitter>) -> Result<NestedResult> {
        let (search, judge) = self.outer(outer.into())?;
        trial::check(data, &judge)?;
        let mut folds = Vec::new();
        for fold in judge.cv.split(&data.split_rows())? {
            let (train, test) = (Part::of(data, &fold.train), Part::of(data, &fold.test));
            let found = search.fit_data(&train.view())?;
            let model = found.best_model.as_deref().ok_or_else(no_model)?;
            let test_scores = trial::scores(model, &test.view(), &judge.scoring)?;
            folds.push(NestedFold { best_params: found.best_params, inner_score: found.best_score, test_scores });
        }
        Ok(NestedResult { metrics: judge.scoring, folds })
    }

    /// The same on a cluster, with the same numbers.
    ///
    /// # Errors
    /// As [`fit_data_on`](Self::fit_data_on), of any outer fold.
    pub async fn nested_on(
        &self,
        client: &Client,
        data: DataOn<'_>,
        outer: impl Into<Splitter> + Send,
    ) -> Result<NestedResult> {
        let (search, judge) = self.outer(outer.into())?;
        let Put { x, y, groups, sample_weight } = data.put(client)?;
        let shared = Delayed::value(judge.clone());
        let checked = client.submit(&trial::check_data::delayed(&x, &y, &groups, &sample_weight, &shared)).await;
        checked.map_err(|error| own_message("search.check_data", error, |message| Error::Data { message }))?;
        let mut folds = Vec::new();
        for fold in 0..judge.cv.n_splits() {
            let rows = outer_fold::delayed(&x, &y, &groups, &sample_weight, &shared, fold);
            let part = |train: bool| {
                let of = |column: &Remote<Block>| select_numbers::delayed(column, &rows, train);
                [select_rows::delayed(&x, &rows, train), of(&y), of(&groups), of(&sample_weight)]
            };
            let [train_x, train_y, train_groups, train_weight] = part(true);
            let train = DataOn::new(&train_x, &train_y).groups(&train_groups).sample_weight(&train_weight);
            let found = search.fit_data_on(client, train).await?;
            let model = Json(found.best_model.ok_or_else(no_model)?);
            let [test_x, test_y, test_groups, test_weight] = part(false);
            let scores = score::delayed(model, &test_x, &test_y, &test_groups, &test_weight, &shared);
            let scores = client.submit(&scores).await;
            let test_scores =
                scores.map_err(|error| own_message("search.score", error, |message| Error::Data { message }))?;
            folds.push(NestedFold { best_params: found.best_params, inner_score: found.best_score, test_scores });
        }
        Ok(NestedResult { metrics: judge.scoring, folds })
    }

    /// The search within a fold, and what judges its winner.
    fn outer(&self, outer: Splitter) -> Result<(Self, Judge)> {
        let judge = Judge { cv: outer, return_train_score: false, ..self.judge()? };
        Ok((self.clone().refit(true), judge))
    }
}

impl GridSearch {
    /// As [`Search::nested`].
    ///
    /// # Errors
    /// As [`Search::nested`].
    pub fn nested(&self, data: &Data<'_>, outer: impl Into<Splitter>) -> Result<NestedResult> {
        self.as_search().nested(data, outer)
    }

    /// As [`Search::nested_on`].
    ///
    /// # Errors
    /// As [`Search::nested_on`].
    pub async fn nested_on(
        &self,
        client: &Client,
        data: DataOn<'_>,
        outer: impl Into<Splitter> + Send,
    ) -> Result<NestedResult> {
        self.as_search().nested_on(client, data, outer).await
    }
}

fn no_model() -> Error {
    Error::Refit { message: "there is no model".to_owned() }
}

/// The rows of an outer fold, on their way to who selects them.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct OuterFold {
    train: Vec<usize>,
    test: Vec<usize>,
}

impl OuterFold {
    fn part(&self, train: bool) -> &[usize] {
        if train { &self.train } else { &self.test }
    }
}

#[task(name = "search.outer_fold")]
fn outer_fold(
    x: &Block,
    y: &Block,
    groups: &Block,
    sample_weight: &Block,
    judge: &Judge,
    fold: usize,
) -> std::result::Result<OuterFold, LearnError> {
    let data = trial::blocks(x, y, groups, sample_weight);
    let fold = judge.cv.fold(&data.view().split_rows(), fold)?;
    Ok(OuterFold { train: fold.train, test: fold.test })
}

/// Some rows of X.
#[task(name = "search.select_rows")]
fn select_rows(x: &Block, rows: &OuterFold, train: bool) -> Block {
    x.view2().select(Axis(0), rows.part(train)).view().into()
}

/// Some numbers of a column; none of one that was not given.
#[task(name = "search.select_numbers")]
fn select_numbers(column: &Block, rows: &OuterFold, train: bool) -> Block {
    let numbers = column.view1();
    if numbers.is_empty() { column.clone() } else { numbers.select(Axis(0), rows.part(train)).view().into() }
}

/// How good a model is, one number a metric.
#[task(name = "search.score")]
fn score(
    model: &Json<Box<dyn Model>>,
    x: &Block,
    y: &Block,
    groups: &Block,
    sample_weight: &Block,
    judge: &Judge,
) -> std::result::Result<Vec<f64>, LearnError> {
    trial::scores(&*model.0, &trial::blocks(x, y, groups, sample_weight).view(), &judge.scoring)
}
