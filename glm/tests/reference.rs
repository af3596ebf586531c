//! Both solvers against scikit-learn and glum on real data, to 1e-6 and better.
#![allow(clippy::unwrap_used)]

mod common;

use std::{collections::BTreeMap, time::Instant};

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
    let models = [Solver::GradientDescent, Solver::Admm].map(|solver| {
        let start = Instant::now();
        let model = glm(n).solver(solver).fit(&design.x, &design.y).unwrap();
        println!("{case} {solver:?}: {:?} {:?}", start.elapsed(), model.report());
        model
    });
    let apart = |coef: &[f64], other: &[f64]| coef.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0., f64::max);
    for model in &models {
        let report = model.report();
        let expected: Vec<f64> = answer.coef.values().copied().collect();
        let error = apart(&all(model), &[expected, vec![answer.intercept]].concat());
        println!("  error {error:e}");
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
    println!("  between {between:e}");
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
