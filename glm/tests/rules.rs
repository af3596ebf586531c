//! Every estimator of the crate keeps the rules that all estimators keep.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2};
use phalanx_glm::{
    Family, GammaRegression, Glm, GlmPath, HuberRegression, InverseGaussianRegression, LinearRegression, Link,
    LogisticRegression, NegativeBinomialRegression, PoissonRegression, Solver, TweedieRegression,
};
use phalanx_learn::{
    Estimator,
    check::{check_estimator, check_estimator_on},
};

#[test]
fn estimators_of_zeros_and_ones_keep_the_rules() {
    let bounded =
        LinearRegression::new().lower([0.; 3]).upper([Some(0.3), None, Some(1.)]).penalty_factor([1., 0., 2.]);
    let probit = Glm { link: Some(Link::Probit), ..Glm::new(Family::Binomial) };
    let all: Vec<Box<dyn Estimator>> = vec![
        Box::new(LinearRegression::new()),
        Box::new(bounded),
        Box::new(LogisticRegression::new()),
        Box::new(LogisticRegression::new().alpha(0.01).l1_ratio(1.).solver(Solver::Admm)),
        Box::new(probit),
        Box::new(PoissonRegression::new().standardize(true).alpha(0.1)),
        Box::new(TweedieRegression::new()),
        Box::new(NegativeBinomialRegression::new().theta(2.)),
        Box::new(HuberRegression::new().delta(0.4)),
        Box::new(GlmPath::new(Glm::new(Family::Binomial).l1_ratio(0.5)).n_lambdas(7).cv(3)),
    ];
    for estimator in all {
        check_estimator(&*estimator).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn estimators_of_sizes_keep_the_rules() {
    let noise = |i: usize| ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.;
    let x = Array2::from_shape_fn((600, 3), |(i, k)| noise(i * i * (k + 2) + 31 * i + 17 * k));
    let y: Array1<f64> =
        (0..600).map(|i| (0.4 * x[[i, 0]] - 0.7 * x[[i, 1]] + 0.5 * noise(29 * i + 3)).exp()).collect();
    let all: [Box<dyn Estimator>; 3] = [
        Box::new(GammaRegression::new()),
        Box::new(InverseGaussianRegression::new().alpha(0.1)),
        Box::new(Glm { link: Some(Link::Power(-2.)), ..Glm::new(Family::InverseGaussian) }),
    ];
    for estimator in all {
        check_estimator_on(&*estimator, x.view(), y.view()).unwrap_or_else(|error| panic!("{error}"));
    }
}
