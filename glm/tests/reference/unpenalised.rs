//! Plain regressions against statsmodels, R and NIST's certified values.

use phalanx_glm::{Family, Glm};

use crate::{
    answers::{Answer, UNPENALISED, Within, check, every},
    designs::{bikeshare, churn, default, hitters, hotel, longley},
};

/// Hours, months and weather as columns of 0 and 1, each level against the first.
#[test]
fn bikeshare_counts_and_squares() {
    for (case, family) in [("bikeshare_poisson", Family::Poisson), ("bikeshare_gaussian", Family::Gaussian)] {
        check(case, &Glm::new(family), &bikeshare(&Answer::of(case).names()), UNPENALISED);
    }
}

#[test]
fn default_of_credit_cards() {
    for case in ["default_logit_balance", "default_logit_full"] {
        check(case, &Glm::new(Family::Binomial), &default(&Answer::of(case).names()), UNPENALISED);
    }
}

#[test]
fn churn_as_in_r() {
    let case = "R_glm_churn_logit";
    check(case, &Glm::new(Family::Binomial), &churn(&Answer::of(case).names()), UNPENALISED);
}

#[test]
fn salaries_of_baseball_players() {
    check("hitters_gaussian", &Glm::default(), &hitters(&Answer::of("hitters_gaussian").names()), UNPENALISED);
}

/// Raw columns, from 1 to 14,000 in size: slow for a solver that minds their units.
#[test]
fn the_solvers_agree_on_raw_columns_of_many_sizes() {
    let design = hitters(&Answer::of("hitters_enet").names());
    let [first, others @ ..] = every(&Glm::default(), &design);
    for other in others {
        for (a, b) in first.coef().iter().zip(other.coef()) {
            assert!((a / b - 1.).abs() < 1e-6, "{a} {b}");
        }
    }
}

#[test]
fn hotel_rates_scatter_as_gamma() {
    check("hotel_gamma_log", &Glm::new(Family::Gamma), &hotel(&Answer::of("hotel_gamma_log").names()), UNPENALISED);
}

/// Longley's data, the hardest of NIST's that f64 can do: certified values of the Statistical Reference Datasets.
#[test]
fn longley_as_certified() {
    let within = Within { irls: 1e-10, others: 1e-6, numbers: 0. };
    let answer = Answer::of("nist_longley_certified");
    for model in check("nist_longley_certified", &Glm::default(), &longley(&answer.names()), within) {
        // Some are as small as 0.03: those are held in proportion too.
        for (found, certified) in model.coef().iter().zip(answer.coef.values()) {
            assert!((found / certified - 1.).abs() < 1e-6, "{found} for {certified}");
        }
    }
}
