//! Searches by every method and splitter: the same list of candidates, scores and winner here and on clusters.

use crate::ridge::{Ridge, Sleepy};
use ndarray::{Array1, Array2};
use phalanx_learn::{
    DummyRegressor, GroupKFold, KFold, Splitter, StratifiedKFold, TimeSeriesSplit,
    split::{PredefinedSplit, PurgedKFold, ShuffleSplit},
};
use phalanx_runtime::{LocalOptions, blocking::Client};
use phalanx_search::{
    Data, DataOn, GridSearch, Method, ParamGrid, Search, SearchResult, Space,
    method::{Asha, Hyperband, Proposals, Random, SuccessiveHalving, Tpe},
};
use serde_json::json;

const N_ROWS: usize = 300;

fn data() -> (Array2<f64>, Array1<f64>) {
    let x = Array2::from_shape_fn((N_ROWS, 3), |(row, column)| ((row * (3 + 4 * column)) as f64).sin());
    let y = x.column(0).mapv(|value| 3. * value + 1.) + x.column(2).mapv(|value| value * value);
    (x, y)
}

fn groups() -> Array1<f64> {
    Array1::from_shape_fn(N_ROWS, |row| (row % 7) as f64)
}

fn space() -> Space {
    Space::new().log_uniform("alpha", 1e-3, 1e3)
}

fn client(n_workers: usize) -> Client {
    Client::local_with(LocalOptions { n_workers, n_threads: Some(1), ..LocalOptions::default() }).unwrap()
}

/// All that does not depend on the clock: the table without its four columns of times, and the winner.
fn numbers(found: &SearchResult) -> (Vec<Vec<String>>, usize, u64, String) {
    let results = &found.cv_results;
    let times: Vec<bool> = results.columns().iter().map(|name| name.ends_with("_time")).collect();
    let row = |candidate: usize| {
        let cells = results.row(candidate).into_iter().zip(&times);
        cells.filter(|(_, is_time)| !**is_time).map(|(cell, _)| cell).collect::<Vec<_>>()
    };
    let table = (0..results.candidates().len()).map(row).collect();
    let model = serde_json::to_string(found.best_model.as_ref().unwrap()).unwrap();
    (table, found.best_index, found.best_score.to_bits(), model)
}

#[test]
fn every_method_finds_the_same_on_any_number_of_workers() {
    let (x, y) = data();
    let listed = Space::new().choice("alpha", [json!(0.1), json!(-2), json!(10.), json!(1000.)]);
    let methods: [(Method, Space, usize); 7] = [
        (Method::Grid, listed.clone(), 4),
        (Random::new(9).into(), space(), 9),
        (Tpe::new(14).n_startup_trials(4).into(), space(), 14),
        (SuccessiveHalving::grid().eta(2.).into(), listed, 7),
        (SuccessiveHalving::new(9).into(), space(), 13),
        (Hyperband::new(9).into(), space(), 22),
        (Asha::new(0, 9).batch_size(3).proposals(Proposals::Tpe(Tpe::new(9).n_startup_trials(3))).into(), space(), 0),
    ];
    for (method, space, n_candidates) in methods {
        let search = Search::new(Ridge { alpha: 0. }, method.clone(), space)
            .seed(7)
            .cv(KFold::new(3).shuffle(1))
            .metrics(["neg_mean_squared_error", "r2"])
            .return_train_score(true);
        let here = search.fit(x.view(), y.view()).unwrap();
        if n_candidates > 0 {
            assert_eq!(here.cv_results.candidates().len(), n_candidates, "{method:?}");
        }
        assert_eq!(here.cv_results.ranks()[here.best_index], 1);
        for n_workers in [1, 3] {
            let client = client(n_workers);
            let there = client.wait(search.fit_on(&client, &x, &y)).unwrap();
            assert_eq!(numbers(&there), numbers(&here), "{method:?}, {n_workers} workers");
        }
    }
}

#[test]
fn every_splitter_gives_the_same_here_and_there() {
    let (x, _) = data();
    let y = groups().mapv(|group| f64::from(u8::from(group > 2.)));
    let groups = groups();
    let splitters: [Splitter; 7] = [
        KFold::new(3).into(),
        StratifiedKFold::new(4).shuffle(3).into(),
        GroupKFold::new(3).into(),
        ShuffleSplit::new(2).seed(5).into(),
        TimeSeriesSplit::new(3).gap(4).into(),
        PurgedKFold::new(3).horizon(2).embargo(5).into(),
        PredefinedSplit::new((0..N_ROWS as i64).map(|row| row % 4 - 1)).into(),
    ];
    let client = client(2);
    for cv in splitters {
        let search = Search::new(Ridge { alpha: 0. }, Random::new(3), space()).cv(cv.clone());
        let here = search.fit_data(&Data::new(x.view(), y.view()).groups(groups.view())).unwrap();
        let there = client.wait(search.fit_data_on(&client, DataOn::new(&x, &y).groups(&groups))).unwrap();
        assert_eq!(numbers(&here), numbers(&there), "{cv:?}");
        assert_eq!(here.cv_results.n_splits(), cv.n_splits());
    }
    let search = Search::new(Ridge { alpha: 0. }, Random::new(3), space()).cv(GroupKFold::new(3));
    let here = search.fit(x.view(), y.view()).unwrap_err().to_string();
    assert_eq!(here, "GroupKFold needs groups, one number a row");
    assert_eq!(client.wait(search.fit_on(&client, &x, &y)).unwrap_err().to_string(), here);
}

/// scikit-learn's `HalvingRandomSearchCV` learns from, and judges by, a share of each fold's rows too.
#[test]
fn a_budget_of_rows_is_a_share_of_each_fold() {
    let (x, y) = data();
    let search = Search::new(Ridge { alpha: 0. }, Hyperband::new(9), space()).cv(KFold::new(3));
    let found = search.fit(x.view(), y.view()).unwrap();
    let results = &found.cv_results;
    assert_eq!(results.columns()[..3], ["iter", "n_resources", "bracket"]);
    let best = results.candidates()[found.best_index].candidate().budget.unwrap();
    assert_eq!((best.resource, best.share()), (9, 1.));
    // On all rows a configuration has the score that it has in a search without budgets.
    let whole =
        GridSearch::new(Ridge { alpha: 0. }, ParamGrid::new().values("alpha", [found.best_params["alpha"].clone()]))
            .cv(KFold::new(3))
            .fit(x.view(), y.view())
            .unwrap();
    assert_eq!(whole.best_score.to_bits(), found.best_score.to_bits());
}

#[test]
fn several_metrics_and_the_one_that_decides() {
    let (x, y) = data();
    let grid = ParamGrid::new().values("alpha", [json!(1e3), json!(1.), json!(-1)]);
    let search = GridSearch::new(Ridge { alpha: 0. }, grid).metrics(["r2", "mse"]).refit_by("mean_squared_error");
    let found = search.fit(x.view(), y.view()).unwrap();
    let results = &found.cv_results;
    assert_eq!((found.best_index, results.ranks(), results.ranks_of(0)), (1, &[2, 1, 3][..], &[2, 1, 3][..]));
    assert_eq!(found.best_score, results.candidates()[1].mean_test_score().unwrap());
    assert!(results.columns().contains(&"mean_test_r2_score".to_owned()), "{:?}", results.columns());
    let kept = search.clone().error_score(1e9).fit(x.view(), y.view()).unwrap();
    assert_eq!(kept.cv_results.candidates()[2].mean_test_score(), Some(1e9));
    let error = search.refit_by("mae").check().unwrap_err().to_string();
    assert_eq!(error, "refit_by is mae, expected one of r2_score, mean_squared_error");
}

#[test]
fn what_is_enqueued_is_tried_first() {
    let (x, y) = data();
    let search = Search::new(Ridge { alpha: 0. }, Tpe::new(5), space()).enqueue([("alpha", 0.25)]);
    let found = search.fit(x.view(), y.view()).unwrap();
    assert_eq!(found.cv_results.candidates()[0].params()["alpha"], json!(0.25));
    assert_eq!(found.cv_results.candidates().len(), 5);
}

#[test]
fn mistakes_are_said_before_anything_runs() {
    let (x, y) = data();
    let refused = |search: Search| search.fit(x.view(), y.view()).unwrap_err().to_string();
    let of = |space: Space| Search::new(Ridge { alpha: 0. }, Random::new(3), space);
    assert_eq!(
        refused(of(Space::new().uniform("alhpa", 0., 1.))),
        r#"Ridge has no parameter "alhpa" (did you mean "alpha"?); it has alpha"#
    );
    assert_eq!(refused(of(Space::new())), "there are no parameters to try, expected at least one");
    assert_eq!(
        refused(of(space()).enqueue([("alfa", 1.)])),
        r#"Ridge has no parameter "alfa" (did you mean "alpha"?); it has alpha"#
    );
    let of_alpha = Hyperband::new(9).resource(phalanx_search::method::Resource::Param("alpha".to_owned()));
    assert_eq!(
        refused(Search::new(Ridge { alpha: 0. }, of_alpha, space())),
        "parameter alpha: it is what budgets are of, so it cannot be searched too"
    );
    assert_eq!(
        refused(Search::new(Ridge { alpha: 0. }, Hyperband::new(9).eta(0.5), space())),
        "eta is 0.5, expected above 1"
    );
    let sorted = Array1::from_shape_fn(N_ROWS, |row| f64::from(u8::from(row > 250)));
    let classes = of(space()).scoring("roc_auc").cv(KFold::new(3));
    assert_eq!(
        classes.fit(x.view(), sorted.view()).unwrap_err().to_string(),
        "fold 2 has only class 0 in its train part; stratify the folds, shuffle them or take fewer"
    );
}

#[test]
fn weights_count_in_fits_and_scores_here_and_there() {
    let (x, y) = data();
    let weights = Array1::from_shape_fn(N_ROWS, |row| (row % 3) as f64);
    let grid = || ParamGrid::new().values("strategy", ["mean", "median"]);
    let search = GridSearch::new(DummyRegressor::new(), grid()).cv(KFold::new(2)).scoring("mse");
    let data = Data::new(x.view(), y.view()).sample_weight(weights.view());
    let here = search.fit_data(&data).unwrap();
    let client = client(2);
    let there = client.wait(search.fit_data_on(&client, DataOn::new(&x, &y).sample_weight(&weights))).unwrap();
    assert_eq!(numbers(&here), numbers(&there));
    // A weight of 2 is a row that is there twice, one of 0 is none; folds are of 150 rows, so halves stay halves.
    let rows: Vec<usize> = (0..N_ROWS).flat_map(|row| std::iter::repeat_n(row, row % 3)).collect();
    let repeated = |half: usize| rows.iter().copied().filter(move |row| row / 150 == half);
    let mean = |half: usize| repeated(half).map(|row| y[row]).sum::<f64>() / repeated(half).count() as f64;
    let mse = |half: usize| {
        repeated(half).map(|row| (y[row] - mean(1 - half)).powi(2)).sum::<f64>() / repeated(half).count() as f64
    };
    for (score, half) in here.cv_results.candidates()[0].test_scores().into_iter().zip([0, 1]) {
        assert!((score.unwrap() - mse(half)).abs() < 1e-12, "{score:?}, expected {}", mse(half));
    }
    assert_eq!(
        here.cv_results.candidates()[1].error(),
        Some("strategy is median, expected mean where rows have weights")
    );
    let ridge = Search::new(Ridge { alpha: 0. }, Random::new(2), space());
    let error = ridge.fit_data(&data).unwrap_err().to_string();
    assert!(error.ends_with("Ridge takes no sample weights; leave them out or choose another estimator"), "{error}");
    let wrong = -&weights;
    let wrong = search.fit_data(&Data::new(x.view(), y.view()).sample_weight(wrong.view())).unwrap_err().to_string();
    assert_eq!(wrong, "sample_weight is -1 in row 1, expected 0 or more");
}

#[test]
fn a_nested_search_is_judged_by_rows_that_no_search_has_seen() {
    let (x, y) = data();
    let groups = groups();
    let search =
        Search::new(Ridge { alpha: 0. }, Random::new(4), space()).cv(GroupKFold::new(2)).metrics(["mse", "r2"]);
    let data = Data::new(x.view(), y.view()).groups(groups.view());
    let here = search.nested(&data, GroupKFold::new(3)).unwrap();
    let client = client(2);
    let there = search.nested_on(&client, DataOn::new(&x, &y).groups(&groups), GroupKFold::new(3));
    assert_eq!(client.wait(there).unwrap(), here);
    // One fold by hand.
    let rows = phalanx_learn::split::SplitRows::new(N_ROWS).groups(groups.view());
    let fold = &GroupKFold::new(3).split(&rows).unwrap()[1];
    let of = |rows: &[usize]| (x.select(ndarray::Axis(0), rows), y.select(ndarray::Axis(0), rows));
    let ((train_x, train_y), (test_x, test_y)) = (of(&fold.train), of(&fold.test));
    let alpha = here.folds[1].best_params["alpha"].as_f64().unwrap();
    let predicted = crate::ridge::fit_predict(alpha, train_x.view(), train_y.view(), test_x.view());
    let mse = (&predicted - &test_y).mapv(|error| error * error).mean().unwrap();
    assert!((here.folds[1].test_scores[0] - mse).abs() < 1e-13);
    assert_eq!(here.metrics, ["mean_squared_error", "r2_score"]);
    assert!(here.mean_test_scores()[1] > 0. && here.std_test_scores()[1] >= 0.);
}

/// The slow candidate never ends by itself, so nothing but the limit can end the search.
#[test]
fn a_trial_that_takes_too_long_is_a_failure() {
    let (x, y) = data();
    let grid = ParamGrid::new().values("sleeps", [true, false]);
    let search = GridSearch::new(Sleepy { sleeps: false }, grid)
        .cv(KFold::new(2))
        .trial_timeout(std::time::Duration::from_millis(400));
    let here = search.fit(x.view(), y.view()).unwrap();
    let said = "it took longer than 0.4 s, the limit of a trial";
    assert_eq!(here.cv_results.candidates()[0].error(), Some(said));
    assert_eq!(here.best_index, 1);
    let client = client(2);
    let there = client.wait(search.fit_on(&client, &x, &y)).unwrap();
    assert_eq!(numbers(&there), numbers(&here));
}
