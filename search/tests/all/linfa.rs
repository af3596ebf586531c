//! An estimator of linfa, registered by one line, is tuned here and on a cluster, and kept in a model file.

use linfa_elasticnet::{ElasticNet, ElasticNetError, ElasticNetParams, ElasticNetValidParams};
use ndarray::{Array1, Array2};
use phalanx_learn::{KFold, ModelFile, check::check_estimator, linfa_bridge, params};
use phalanx_runtime::{LocalOptions, blocking::Client};
use phalanx_search::{GridSearch, ParamGrid};
use serde_json::json;

phalanx_learn::linfa_estimator!(LinfaElasticNet, ElasticNetValidParams<f64> => LinfaElasticNetModel, ElasticNet<f64>, check = check);

/// linfa takes these parameters as checked, but a search sets them by name.
fn check(params: &ElasticNetValidParams<f64>) -> Result<(), ElasticNetError> {
    let again = ElasticNetParams::new().penalty(params.penalty()).l1_ratio(params.l1_ratio());
    linfa::ParamGuard::check(again.tolerance(params.tolerance())).map(|_| ())
}

fn estimator() -> LinfaElasticNet {
    LinfaElasticNet(linfa::ParamGuard::check(ElasticNetParams::new().tolerance(1e-9)).unwrap())
}

fn data() -> (Array2<f64>, Array1<f64>) {
    let x = Array2::from_shape_fn((1200, 4), |(row, column)| ((row * (3 + 4 * column)) as f64).sin());
    let y = x.column(0).mapv(|value| 3. * value + 1.) + x.column(2).mapv(|value| value * value);
    (x, y)
}

#[test]
fn it_keeps_what_every_estimator_keeps() {
    check_estimator(&estimator()).unwrap();
    let refused = params::set(&estimator(), [("penalty", -2.)]).unwrap();
    let (x, y) = data();
    let error = refused.fit_dyn(x.view(), y.view()).unwrap_err().to_string();
    assert!(error.starts_with("linfa: ") && error.contains("-2"), "{error}");
}

#[test]
fn it_is_tuned_on_a_cluster_with_the_bits_of_here_and_read_back_from_its_file() {
    let (x, y) = data();
    let grid = ParamGrid::new()
        .values("penalty", [json!(1e-3), json!(0.1), json!(-1.), json!(1.)])
        .values("l1_ratio", [0.1, 0.9]);
    let search = GridSearch::new(estimator(), grid).cv(KFold::new(3)).scoring("neg_mean_squared_error");
    let here = search.fit(x.view(), y.view()).unwrap();
    assert_eq!(here.best_params["penalty"], json!(1e-3));
    assert_eq!(here.cv_results.candidates().iter().filter(|candidate| candidate.error().is_some()).count(), 2);

    let options = LocalOptions { n_workers: 2, n_threads: Some(1), ..LocalOptions::default() };
    let client = Client::local_with(options).unwrap();
    let there = client.wait(search.fit_on(&client, &x, &y)).unwrap();
    assert_eq!((here.best_index, here.best_score.to_bits()), (there.best_index, there.best_score.to_bits()));

    let model = there.best_model.unwrap();
    let fitted = model.as_any().downcast_ref::<LinfaElasticNetModel>().unwrap();
    let by_linfa = linfa_bridge::predict(&fitted.fitted, 4, x.view()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.json");
    let names = ["a", "b", "c", "d"];
    ModelFile::of_matrix(&estimator(), &*model, names, "y", x.view()).unwrap().save(&path).unwrap();
    let back = ModelFile::load(&path).unwrap().model;
    assert_eq!(back.predict_dyn(x.view()).unwrap(), by_linfa);
}
