//! Families and links beyond the usual ones, weights, offsets, exposures and trials against statsmodels.

use ndarray::Array1;
use phalanx_glm::{Family, Glm, Link, Response};
use phalanx_learn::Fit;

use crate::{
    answers::{Answer, PENALISED, SOLVERS, UNPENALISED, check, check_response},
    designs::{Design, bikeshare, default, edge, hotel},
};

/// Counts with their two columns.
fn counts(case: &str) -> Design {
    edge("collinear", "y_pois", &Answer::of(case).names())
}

fn by_row(value: impl Fn(usize) -> f64) -> Array1<f64> {
    (0..200).map(value).collect()
}

#[test]
fn counts_that_scatter_more_than_their_mean() {
    for (case, family) in [
        ("edge_tweedie_1.5", Family::Tweedie { power: 1.5 }),
        ("edge_negative_binomial_2.5", Family::NegativeBinomial { theta: 2.5 }),
    ] {
        check(case, &Glm::new(family), &counts(case), UNPENALISED);
    }
}

#[test]
fn inverse_gaussian_with_the_log_link() {
    let case = "hotel_inverse_gaussian_log";
    check(case, &Glm::new(Family::InverseGaussian), &hotel(&Answer::of(case).names()), UNPENALISED);
}

#[test]
fn links_of_probabilities() {
    for (case, link) in [("default_probit_balance", Link::Probit), ("default_cloglog_balance", Link::Cloglog)] {
        let glm = Glm { link: Some(link), ..Glm::new(Family::Binomial) };
        check(case, &glm, &default(&Answer::of(case).names()), UNPENALISED);
    }
}

#[test]
fn links_that_some_linear_predictors_have_no_mean_under() {
    for (case, family, link) in [
        ("bikeshare_gamma_inverse", Family::Gamma, Link::Inverse),
        ("bikeshare_poisson_sqrt", Family::Poisson, Link::Sqrt),
    ] {
        let glm = Glm { link: Some(link), ..Glm::new(family) };
        check(case, &glm, &bikeshare(&Answer::of(case).names()), UNPENALISED);
    }
}

#[test]
fn exposure_is_what_counts_were_counted_on() {
    let case = "edge_exposure_poisson";
    let (design, exposure) = (counts(case), by_row(|i| 1. + (i % 5) as f64));
    let glm = Glm::new(Family::Poisson);
    check_response(case, &glm, &design, &Response::new(&design.y).exposure(&exposure), UNPENALISED);
    // Its logarithm is an offset.
    let offset = exposure.ln();
    check_response(case, &glm, &design, &Response::new(&design.y).offset(&offset), UNPENALISED);
}

#[test]
fn offsets_and_weights_go_together() {
    let case = "edge_offset_and_weights_poisson";
    let (design, offset) = (counts(case), by_row(|i| (i % 7) as f64 / 10.));
    let weights = by_row(|i| (i % 3) as f64);
    let response = Response::new(&design.y).offset(&offset).sample_weight(&weights);
    check_response(case, &Glm::new(Family::Poisson), &design, &response, UNPENALISED);
}

#[test]
fn successes_of_trials() {
    let case = "edge_trials_logit";
    let design = counts(case);
    let trials = &design.y + by_row(|i| 1. + (i % 4) as f64);
    let response = Response::new(&design.y).trials(&trials);
    check_response(case, &Glm::new(Family::Binomial), &design, &response, UNPENALISED);
}

#[test]
fn weights_as_in_statsmodels_and_scikit_learn() {
    let weights = by_row(|i| (i % 3) as f64);
    let design = counts("edge_weights_poisson");
    let response = Response::new(&design.y).sample_weight(&weights);
    check_response("edge_weights_poisson", &Glm::new(Family::Poisson), &design, &response, UNPENALISED);
    let design = edge("collinear", "y_bin", &design.names);
    let response = Response::new(&design.y).sample_weight(&weights);
    let glm = Glm::new(Family::Binomial).alpha(1. / weights.sum());
    check_response("edge_weights_logit_l2", &glm, &design, &response, PENALISED);
}

#[test]
fn a_weight_of_two_is_the_row_twice_and_of_zero_is_no_row() {
    let design = counts("edge_weights_poisson");
    let weights = by_row(|i| (i % 3) as f64);
    let rows: Vec<usize> = (0..200).flat_map(|i| std::iter::repeat_n(i, i % 3)).collect();
    let repeated = design.select(&rows);
    for solver in SOLVERS {
        let glm = Glm::new(Family::Poisson).solver(solver);
        let weighted = glm.fit(&design.x, Response::new(&design.y).sample_weight(&weights)).unwrap();
        let plain = glm.fit(&repeated.x, &repeated.y).unwrap();
        assert!((&weighted.coef() - &plain.coef()).iter().all(|d| d.abs() < 1e-8), "{solver:?}");
        assert!((weighted.report().deviance / plain.report().deviance - 1.).abs() < 1e-12, "{solver:?}");
        assert_eq!(weighted.report().sum_weights, 199., "{solver:?}");
        assert_eq!(weighted.report().n_rows, 133, "{solver:?}");
    }
}
