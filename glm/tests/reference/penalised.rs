//! Ridge, lasso and elastic net against scikit-learn, glum, glmnet, a textbook and scipy.

use phalanx_glm::{Family, Glm};

use crate::{
    answers::{Answer, PENALISED, UNPENALISED, Within, check},
    designs::{Design, bikeshare, churn, hitters, prostate},
};

/// The cases of standardised columns.
fn check_standardised(case: &str, load: fn(&[String]) -> Design, glm: impl Fn(f64) -> Glm) {
    let design = load(&Answer::of(case).names()).standardised();
    let models = check(case, &glm(design.y.len() as f64), &design, PENALISED);
    for other in &models[1..] {
        let apart = (&models[0].coef() - &other.coef()).iter().fold(0_f64, |most, d| most.max(d.abs()));
        assert!(apart < 1e-7, "{case}: the solvers differ by {apart:e}");
    }
}

#[test]
fn bikeshare_poisson_elastic_net() {
    check_standardised("bikeshare_poisson_enet", bikeshare, |_| Glm::new(Family::Poisson).alpha(0.5).l1_ratio(0.5));
}

#[test]
fn bikeshare_poisson_ridge() {
    check_standardised("bikeshare_poisson_l2", bikeshare, |_| Glm::new(Family::Poisson).alpha(0.1));
}

#[test]
fn hitters_elastic_net() {
    check_standardised("hitters_enet", hitters, |_| Glm::new(Family::Gaussian).alpha(5.).l1_ratio(0.5));
}

#[test]
fn churn_logistic_ridge() {
    check_standardised("churn_logit_l2_C0.1", churn, |n| Glm::new(Family::Binomial).alpha(1. / (n * 0.1)));
}

#[test]
fn churn_logistic_lasso() {
    let glm = |n| Glm::new(Family::Binomial).alpha(1. / (n * 0.02)).l1_ratio(1.);
    check_standardised("churn_logit_l1_C0.02", churn, glm);
}

/// *The Elements of Statistical Learning*, table 3.3, printed to three digits and computed to eight.
#[test]
fn table_of_the_elements_of_statistical_learning() {
    let within = Within { irls: 1e-8, others: 1e-7, numbers: 1e-8 };
    let design = prostate(&Answer::of("esl_prostate_ls").names());
    check("esl_prostate_ls", &Glm::default(), &design, within);
    let strength = |case: &str| Answer::of(case).strength.unwrap();
    let lasso = Glm::default().alpha(strength("esl_prostate_lasso")).l1_ratio(1.).standardize(true);
    check("esl_prostate_lasso", &lasso, &design, within);
    // The book's ridge is on the sum of squares, ours on half their mean.
    let n = design.y.len() as f64;
    let ridge = Glm::default().alpha(strength("esl_prostate_ridge") / n).standardize(true);
    check("esl_prostate_ridge", &ridge, &design, within);
}

#[test]
fn lasso_of_standardised_columns_as_glmnet() {
    for step in [2, 10, 25, 50] {
        let case = format!("R_glmnet_prostate_lasso_{step}");
        let answer = Answer::of(&case);
        let glm = Glm::default().alpha(answer.strength.unwrap()).l1_ratio(1.).standardize(true);
        check(&case, &glm, &prostate(&answer.names()), Within { irls: 1e-7, others: 1e-7, numbers: 0. });
    }
}

/// glmnet divides y by its standard deviation first, so its lambda of squares is ours times that.
#[test]
fn ridge_of_standardised_columns_as_glmnet() {
    for step in [5, 30, 49] {
        let case = format!("R_glmnet_prostate_ridge_{step}");
        let answer = Answer::of(&case);
        let design = prostate(&answer.names());
        let glm = Glm::default().alpha(answer.strength.unwrap() / design.y.std(0.)).standardize(true);
        check(&case, &glm, &design, Within { irls: 1e-7, others: 1e-7, numbers: 0. });
    }
}

/// Four columns lie at a bound; the rest are what they are because of it.
#[test]
fn bounded_coefficients_as_scipy() {
    for (case, alpha, n_bounded) in [("prostate_bounded_least_squares", 0., 3), ("prostate_bounded_ridge", 0.1, 1)] {
        let design = prostate(&Answer::of(case).names());
        let glm = Glm::default().alpha(alpha).lower(vec![-0.1; 8]).upper(vec![0.4; 8]);
        for model in check(case, &glm, &design, UNPENALISED) {
            let at_bound = model.coef().iter().filter(|b| **b == -0.1 || **b == 0.4).count();
            assert_eq!(at_bound, n_bounded, "{case}: {:?}", model.coef());
        }
    }
}
