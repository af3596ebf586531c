//! Both solvers against scikit-learn and glum on real data, to 1e-6 and better.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{Design, bikeshare, churn, hitters};
use phalanx_glm::{Family, Glm, GlmModel, Solver, StopReason};
use phalanx_learn::Fit;
use serde::Deserialize;

#[derive(Deserialize)]
struct Answer {
    intercept: f64,
    coef: BTreeMap<String, f64>,
    objective: Option<f64>,
    deviance: Option<f64>,
    mean_deviance: Option<f64>,
}

fn check(case: &str, load: fn(&[String]) -> Design, glm: impl Fn(f64) -> Glm) {
    let mut answers: BTreeMap<String, Answer> = serde_json::from_str(include_str!("data/answers.json")).unwrap();
    let answer = answers.remove(case).unwrap();
    let names: Vec<String> = answer.coef.keys().cloned().collect();
    let design = load(&names).standardised();
    let n = design.y.len() as f64;
    let models = [Solver::Irls, Solver::GradientDescent, Solver::Admm]
        .map(|solver| glm(n).solver(solver).fit(&design.x, &design.y).unwrap());
    let apart = |coef: &[f64], other: &[f64]| coef.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0., f64::max);
    for model in &models {
        let report = model.report();
        let expected: Vec<f64> = answer.coef.values().copied().collect();
        let error = apart(&all(model), &[expected, vec![answer.intercept]].concat());
        assert!(error < 1e-6, "{case}: {error:e}");
        assert_eq!((report.converged, report.stop), (true, StopReason::Optimal), "{case}");
        assert!(report.kkt_residual < 1e-7, "{case}: {report:?}");
        let relative = |found: f64, expected: Option<f64>| expected.is_none_or(|e| (found / e - 1.).abs() < 1e-9);
        assert!(relative(report.objective, answer.objective), "{case}: {report:?}");
        // The deviance moves in first order with the coefficients, and the answers have seven digits.
        let loose = |found: f64, expected: Option<f64>| expected.is_none_or(|e| (found / e - 1.).abs() < 1e-7);
        assert!(loose(report.deviance, answer.deviance), "{case}: {report:?}");
        assert!(loose(report.deviance / n, answer.mean_deviance), "{case}: {report:?}");
    }
    let between = apart(&all(&models[0]), &all(&models[1]));
    assert!(between < 1e-7, "{case}: the solvers differ by {between:e}");
}

fn all(model: &GlmModel) -> Vec<f64> {
    model.coef().iter().copied().chain([model.intercept()]).collect()
}

#[test]
fn bikeshare_poisson_elastic_net() {
    check("bikeshare_poisson_enet", bikeshare, |_| Glm::new(Family::Poisson).alpha(0.5).l1_ratio(0.5));
}

#[test]
fn bikeshare_poisson_ridge() {
    check("bikeshare_poisson_l2", bikeshare, |_| Glm::new(Family::Poisson).alpha(0.1));
}

#[test]
fn hitters_elastic_net() {
    check("hitters_enet", hitters, |_| Glm::new(Family::Gaussian).alpha(5.).l1_ratio(0.5));
}

#[test]
fn churn_logistic_ridge() {
    check("churn_logit_l2_C0.1", churn, |n| Glm::new(Family::Binomial).alpha(1. / (n * 0.1)));
}

#[test]
fn churn_logistic_lasso() {
    check("churn_logit_l1_C0.02", churn, |n| Glm::new(Family::Binomial).alpha(1. / (n * 0.02)).l1_ratio(1.));
}

/// Longley's data, the hardest of NIST's that f64 can do: certified values of the Statistical Reference Datasets.
#[test]
fn longley_least_squares() {
    let certified = [
        15.061_872_271_373_3,
        -0.358_191_792_925_910e-1,
        -2.020_229_803_816_83,
        -1.033_226_867_173_59,
        -0.511_041_056_535_807e-1,
        1_829.151_464_613_55,
    ];
    let design = common::longley();
    for solver in [Solver::GradientDescent, Solver::Admm] {
        let model = Glm::default().solver(solver).fit(&design.x, &design.y).unwrap();
        assert!(model.report().converged, "{:?}", model.report());
        for (found, certified) in model.coef().iter().zip(certified) {
            assert!((found / certified - 1.).abs() < 1e-6, "{solver:?}: {found} for {certified}");
        }
        assert!((model.intercept() / -3_482_258.634_595_82 - 1.).abs() < 1e-6, "{}", model.intercept());
    }
}

/// Raw columns, from 1 to 14,000 in size, without a penalty: slow for a solver that minds their units.
#[test]
fn hitters_least_squares_on_raw_columns() {
    let answers: BTreeMap<String, Answer> = serde_json::from_str(include_str!("data/answers.json")).unwrap();
    let design = hitters(&answers["hitters_enet"].coef.keys().cloned().collect::<Vec<_>>());
    let models = [Solver::GradientDescent, Solver::Admm]
        .map(|solver| Glm::default().solver(solver).fit(&design.x, &design.y).unwrap());
    assert!(models.iter().all(|model| model.report().converged));
    for (a, b) in models[0].coef().iter().zip(models[1].coef()) {
        assert!((a / b - 1.).abs() < 1e-6, "{a} {b}");
    }
}
