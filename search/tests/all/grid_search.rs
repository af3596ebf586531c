//! A search as its users see it: an estimator, a grid, and what comes out.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::ridge::{self, Ridge};
use ndarray::{Array1, Array2};
use phalanx_learn::{DummyRegressor, KFold, Pipeline, check::check_estimator, preprocess::StandardScaler};
use phalanx_search::{Error, GridSearch, ParamGrid};
use serde_json::json;

fn data() -> (Array2<f64>, Array1<f64>) {
    let x = Array2::from_shape_fn((23, 2), |(row, column)| ((row * (3 + 4 * column)) as f64).sin());
    let y = x.column(0).mapv(|value| 3. * value + 1.) + x.column(1).mapv(|value| value * value);
    (x, y)
}

#[test]
fn the_test_estimator_keeps_the_rules() {
    check_estimator(&Ridge { alpha: 0.5 }).unwrap();
}

/// numpy and scikit-learn's formulas by hand: `Ridge(alpha)` is (XᵀX + alpha I)⁻¹ Xᵀy on centred data.
#[test]
fn scores_are_those_of_fits_made_by_hand() {
    let (x, y) = data();
    let cv = KFold::new(4);
    let grid = ParamGrid::new().values("alpha", [0.01, 1., 100.]);
    let found = GridSearch::new(Ridge { alpha: 0. }, grid).cv(cv).scoring("mse").fit(x.view(), y.view()).unwrap();
    for (candidate, alpha) in found.cv_results.candidates().iter().zip([0.01, 1., 100.]) {
        for (fold, score) in cv.split(23).unwrap().into_iter().zip(candidate.test_scores()) {
            let rows = |rows: &[usize]| (x.select(ndarray::Axis(0), rows), y.select(ndarray::Axis(0), rows));
            let ((train_x, train_y), (test_x, test_y)) = (rows(&fold.train), rows(&fold.test));
            let predicted = ridge::fit_predict(alpha, train_x.view(), train_y.view(), test_x.view());
            let mse = (&predicted - &test_y).mapv(|error| error * error).mean().unwrap();
            assert!((score.unwrap() - mse).abs() < 1e-14, "{score:?}, expected {mse}");
        }
    }
    assert_eq!(found.cv_results.ranks(), [1, 2, 3]); // a loss: lower is better
    assert_eq!((found.best_index, &found.best_params["alpha"]), (0, &json!(0.01)));
    let everything = ridge::fit_predict(0.01, x.view(), y.view(), x.view());
    assert_eq!(found.best_model.unwrap().predict_dyn(x.view()).unwrap(), everything);
}

#[test]
fn a_failing_candidate_is_a_row_and_the_search_goes_on() {
    let (x, y) = data();
    let grid = ParamGrid::new().values("alpha", [json!(-1), json!("much"), json!(1)]);
    let found = GridSearch::new(Ridge { alpha: 0. }, grid).fit(x.view(), y.view()).unwrap();
    let errors: Vec<_> = found.cv_results.candidates().iter().map(|candidate| candidate.error()).collect();
    assert_eq!(errors, [Some("alpha is -1, expected 0 or more"), Some(r#"alpha is "much", expected a number"#), None]);
    assert_eq!(found.cv_results.ranks(), [2, 2, 1]);
    assert_eq!(found.best_index, 2);

    let grid = ParamGrid::new().values("alpha", [-1, -2]);
    let error = GridSearch::new(Ridge { alpha: 0. }, grid).fit(x.view(), y.view()).unwrap_err();
    assert_eq!(error.to_string(), "all 2 candidates failed, the first with: alpha is -1, expected 0 or more");
    let Error::AllFailed { results, .. } = error else { panic!("{error}") };
    assert_eq!(results.to_csv().lines().count(), 3);
}

#[test]
fn steps_of_a_pipeline_are_tuned_by_name() {
    let (x, y) = data();
    let pipeline = Pipeline::builder().step("scale", StandardScaler::new()).estimator("ridge", Ridge { alpha: 1. });
    let grid = ParamGrid::new().values("ridge__alpha", [0.1, 1.]).values("scale__with_std", [true, false]);
    let found = GridSearch::new(pipeline, grid).fit(x.view(), y.view()).unwrap();
    assert_eq!(found.cv_results.columns()[4..7], ["param_ridge__alpha", "param_scale__with_std", "params"]);
    assert_eq!(found.cv_results.candidates().len(), 4);
}

#[test]
fn mistakes_are_found_before_anything_runs() {
    let (x, y) = data();
    let grid = ParamGrid::new().values("alhpa", [1]);
    let error = GridSearch::new(Ridge { alpha: 0. }, grid).check().unwrap_err().to_string();
    assert_eq!(error, r#"Ridge has no parameter "alhpa" (did you mean "alpha"?); it has alpha"#);
    let search = GridSearch::new(Ridge { alpha: 0. }, ParamGrid::new().values("alpha", [1, 2]));
    assert_eq!(search.check().unwrap(), 10);
    let error = search.clone().scoring("r2_scor").check().unwrap_err().to_string();
    assert!(error.starts_with(r#"there is no metric "r2_scor" (did you mean "r2_score"?)"#), "{error}");
    let error = search.cv(KFold::new(24)).fit(x.view(), y.view()).unwrap_err().to_string();
    assert_eq!(error, "n_splits is 24, expected 2 to 23, the number of rows");
}

#[test]
fn progress_is_told_after_every_trial() {
    let (x, y) = data();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let search = GridSearch::new(DummyRegressor::new(), ParamGrid::new().values("strategy", ["mean", "mode"]));
    let search = search.refit(false).on_trial(move |progress| {
        assert_eq!(progress.done, counted.fetch_add(1, Ordering::Relaxed) + 1);
        assert_eq!(progress.best.is_some(), progress.done >= 5);
        assert_eq!((progress.total, progress.failed), (10, progress.done.saturating_sub(5)));
    });
    let found = search.fit(x.view(), y.view()).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 10);
    assert!(found.best_model.is_none() && found.refit_seconds.is_none());
}
