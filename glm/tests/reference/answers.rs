//! What other programs answered, and how near a model must come to it.
//!
//! The file holds more than is compared here: standard errors, p values, log-likelihoods. A quantity that models learn
//! to tell is a field of [`Answer`] and a line of [`Answer::numbers`].

use std::{collections::BTreeMap, sync::LazyLock};

use phalanx_glm::{Glm, GlmModel, Response, Solver, StopReason};
use phalanx_learn::Fit;
use serde::Deserialize;

use crate::designs::Design;

/// Least squares to rounding first, then those that come near step by step.
pub const SOLVERS: [Solver; 3] = [Solver::Irls, Solver::GradientDescent, Solver::Admm];

/// How far apart numbers that should be equal are allowed to be.
#[derive(Debug, Clone, Copy)]
pub struct Within {
    /// Coefficients of Newton's method, against the larger of 1 and their size.
    pub irls: f64,
    /// Coefficients of the solvers that stop at a small gradient, however flat the objective is there.
    pub others: f64,
    /// Deviances and objectives, in proportion.
    pub numbers: f64,
}

/// Without a penalty other programs' answers have ten digits and more.
pub const UNPENALISED: Within = Within { irls: 1e-8, others: 1e-6, numbers: 1e-8 };
/// With a penalty they have seven, and deviances move in first order with the coefficients.
pub const PENALISED: Within = Within { irls: 1e-6, others: 1e-6, numbers: 1e-7 };

/// What one program said of one case; none where it did not say.
#[derive(Debug, Clone, Deserialize)]
pub struct Answer {
    pub intercept: f64,
    /// By the columns' names, in whose order designs are made.
    pub coef: BTreeMap<String, f64>,
    /// The strength of the penalty, where the other program chose it: glmnet's lambda, scikit-learn's alpha.
    pub strength: Option<f64>,
    pub fitted_first5: Option<Vec<f64>>,
    objective: Option<f64>,
    deviance: Option<f64>,
    mean_deviance: Option<f64>,
    null_deviance: Option<f64>,
}

static ANSWERS: LazyLock<BTreeMap<String, Answer>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../data/answers.json")).unwrap());

impl Answer {
    pub fn of(case: &str) -> Self {
        ANSWERS.get(case).unwrap_or_else(|| panic!("no answer to {case}")).clone()
    }

    /// The columns that the design has.
    pub fn names(&self) -> Vec<String> {
        self.coef.keys().cloned().collect()
    }

    /// What was said of the fit as a whole, with what the model says: (name, found, expected).
    fn numbers(&self, model: &GlmModel) -> Vec<(&'static str, f64, f64)> {
        let report = model.report();
        let known = [
            ("objective", report.objective, self.objective),
            ("deviance", report.deviance, self.deviance),
            ("mean deviance", report.deviance / report.sum_weights, self.mean_deviance),
            ("null deviance", report.null_deviance, self.null_deviance),
        ];
        known.into_iter().filter_map(|(name, found, expected)| Some((name, found, expected?))).collect()
    }

    /// Coefficients, the intercept last, against the larger of 1 and their size.
    pub fn hold_coefficients(&self, what: &str, model: &GlmModel, within: f64) {
        let named =
            self.coef.iter().zip(model.coef()).map(|((name, expected), found)| (name.as_str(), *found, *expected));
        for (name, found, expected) in named.chain([("the intercept", model.intercept(), self.intercept)]) {
            let error = (found - expected).abs() / expected.abs().max(1.);
            assert!(error <= within, "{what}: {name} is {found} and not {expected}, {error:e} apart");
        }
    }

    /// Deviances and the like, in proportion.
    pub fn hold_numbers(&self, what: &str, model: &GlmModel, within: f64) {
        for (name, found, expected) in self.numbers(model) {
            let error = (found / expected - 1.).abs();
            assert!(error <= within, "{what}: the {name} is {found} and not {expected}, {error:e} apart");
        }
    }
}

/// Fits with every solver; each must converge.
pub fn every(glm: &Glm, design: &Design) -> [GlmModel; 3] {
    SOLVERS.map(|solver| {
        let model = glm.clone().solver(solver).fit(&design.x, &design.y).unwrap();
        assert!(model.report().converged, "{solver:?}: {:?}", model.report());
        model
    })
}

/// Fits with every solver; each must converge to what the other program found.
pub fn check(case: &str, glm: &Glm, design: &Design, within: Within) -> [GlmModel; 3] {
    check_response(case, glm, design, &Response::new(&design.y), within)
}

/// As [`check`], with weights and whatever else belongs to the rows.
pub fn check_response(
    case: &str,
    glm: &Glm,
    design: &Design,
    response: &Response<'_>,
    within: Within,
) -> [GlmModel; 3] {
    let answer = Answer::of(case);
    SOLVERS.map(|solver| {
        let what = format!("{case}, {solver:?}");
        let model = glm.clone().solver(solver).fit(&design.x, response.clone()).unwrap();
        let report = model.report();
        assert_eq!((report.converged, report.stop), (true, StopReason::Optimal), "{what}: {report:?}");
        assert!(report.kkt_relative <= glm.tol, "{what}: {report:?}");
        answer.hold_coefficients(&what, &model, if solver == Solver::Irls { within.irls } else { within.others });
        answer.hold_numbers(&what, &model, within.numbers);
        model
    })
}
