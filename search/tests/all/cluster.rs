//! A search gives the same results here and on a cluster, whatever the cluster is and however the data lie.

use std::sync::{Arc, Mutex};

use crate::ridge::{Nervous, Ridge};
use ndarray::{Array1, Array2};
use phalanx_array::{Block, ChunkedArray};
use phalanx_engine::graph::Delayed;
use phalanx_learn::KFold;
use phalanx_runtime::{LocalOptions, blocking::Client};
use phalanx_search::{CvResults, GridSearch, ParamGrid, SearchResult};
use serde_json::json;

const N_ROWS: usize = 1500;

fn data() -> (Array2<f64>, Array1<f64>) {
    let x = Array2::from_shape_fn((N_ROWS, 3), |(row, column)| ((row * (3 + 4 * column)) as f64).sin());
    let y = x.column(0).mapv(|value| 3. * value + 1.) + x.column(2).mapv(|value| value * value);
    (x, y)
}

fn search() -> GridSearch {
    let grid = ParamGrid::new().values("alpha", [json!(0.1), json!(-2), json!("x"), json!(10.), json!(1000.)]);
    GridSearch::new(Ridge { alpha: 0. }, grid).cv(KFold::new(4).shuffle(3)).scoring("neg_mean_squared_error")
}

fn client(n_workers: usize) -> Client {
    Client::local_with(LocalOptions { n_workers, n_threads: Some(1), ..LocalOptions::default() }).unwrap()
}

/// The table without its times, which are the first four columns.
fn numbers(results: &CvResults) -> Vec<Vec<String>> {
    (0..results.candidates().len()).map(|candidate| results.row(candidate)[4..].to_vec()).collect()
}

#[track_caller]
fn same(found: &SearchResult, expected: &SearchResult) {
    assert_eq!(numbers(&found.cv_results), numbers(&expected.cv_results));
    let of = |found: &SearchResult| {
        let model = found.best_model.as_ref().map(|model| serde_json::to_string(model).unwrap());
        (found.best_index, found.best_params.clone(), found.best_score.to_bits(), model)
    };
    assert_eq!(of(found), of(expected));
}

#[test]
fn any_number_of_workers_and_any_form_of_the_data_give_the_same() {
    let (x, y) = data();
    let expected = search().fit(x.view(), y.view()).unwrap();
    let errors: Vec<_> = expected.cv_results.candidates().iter().filter_map(|candidate| candidate.error()).collect();
    assert_eq!(errors, ["alpha is -2, expected 0 or more", r#"alpha is "x", expected a number"#]);

    for n_workers in [1, 2, 3] {
        let client = client(n_workers);
        same(&client.wait(search().fit_on(&client, &x, &y)).unwrap(), &expected);
        let chunked = |array: Block| ChunkedArray::from_array(array, 256).unwrap();
        let (lazy_x, lazy_y) = (chunked(x.view().into()), chunked(y.view().into()));
        same(&client.wait(search().fit_on(&client, &lazy_x, &lazy_y)).unwrap(), &expected);
        let delayed_y: Delayed<Block> = Delayed::value(y.view().into());
        same(&client.wait(search().fit_on(&client, &x, &delayed_y)).unwrap(), &expected);
    }
}

#[test]
fn progress_counts_to_the_end() {
    let (x, y) = data();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let search = search().on_trial(move |progress| noted.lock().unwrap().push(progress.clone()));
    let client = client(2);
    let found = client.wait(search.fit_on(&client, &x, &y)).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().map(|progress| progress.done).collect::<Vec<_>>(), Vec::from_iter(1..=20));
    let last = seen.last().unwrap();
    assert_eq!((last.failed, last.best.as_ref().unwrap().score), (8, found.best_score));
}

#[test]
fn a_panic_is_a_row_and_reads_the_same_everywhere() {
    let (x, y) = data();
    let grid = ParamGrid::new().values("panics", [true, false]);
    let search = GridSearch::new(Nervous { panics: false }, grid).cv(KFold::new(2));
    let here = search.fit(x.view(), y.view()).unwrap();
    assert_eq!(here.cv_results.candidates()[0].error(), Some("it panicked: too many people"));
    assert_eq!(here.cv_results.ranks(), [2, 1]);
    let client = client(1);
    same(&client.wait(search.fit_on(&client, &x, &y)).unwrap(), &here);
}

#[test]
fn what_is_wrong_with_the_data_is_said_once_and_as_it_is_here() {
    let (mut x, y) = data();
    let client = client(1);
    let cv = search().cv(KFold::new(N_ROWS + 1));
    let here = cv.fit(x.view(), y.view()).unwrap_err().to_string();
    assert_eq!(client.wait(cv.fit_on(&client, &x, &y)).unwrap_err().to_string(), here);
    x[(1200, 1)] = f64::NAN;
    let error = client.wait(search().fit_on(&client, &x, &y)).unwrap_err().to_string();
    assert_eq!(error, "X has NaN in row 1200, column 1; drop or fill such rows first");
}
