//! Data on which careless programs divide by zero, overflow or go on for ever.

use ndarray::{Array1, Array2, array};
use phalanx_glm::{Family, Glm, GlmModel, Response, Solver, StopReason};
use phalanx_learn::{Fit, Predict};

use crate::{
    answers::{Answer, PENALISED, SOLVERS, UNPENALISED, Within, check, every},
    designs::{Design, edge},
};

/// What each family's y is called in the files.
const FAMILIES: [(Family, &str); 3] =
    [(Family::Gaussian, "y_gauss"), (Family::Binomial, "y_bin"), (Family::Poisson, "y_pois")];

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// Fits that need not converge.
fn fits(glm: &Glm, design: &Design) -> [GlmModel; 3] {
    SOLVERS.map(|solver| {
        let model = glm.clone().solver(solver).fit(&design.x, &design.y).unwrap();
        assert!(model.coef().iter().chain([&model.intercept()]).all(|b| b.is_finite()), "{solver:?}: {model:?}");
        model
    })
}

/// The third column is the sum of the others: many coefficients fit best, the means are the same for all of them.
#[test]
fn the_means_of_collinear_columns_are_unique() {
    for (family, y) in FAMILIES {
        let case = format!("edge_collinear_{}", family.name());
        let answer = Answer::of(&case);
        let design = edge("collinear", y, &answer.names());
        let models = every(&Glm::new(family), &design);
        for (model, solver) in models.iter().zip(SOLVERS) {
            answer.hold_numbers(&format!("{case}, {solver:?}"), model, 1e-8);
            let means = model.predict(&design.x).unwrap();
            for (found, expected) in means.iter().zip(answer.fitted_first5.as_ref().unwrap()) {
                assert!((found - expected).abs() < 1e-8, "{case}, {solver:?}: {found} for {expected}");
            }
        }
        // The one solver that sees the products of columns leaves out the third, as R does.
        answer.hold_coefficients(&case, &models[0], 1e-8);
        assert_eq!(models[0].report().collinear_columns, [2]);
        assert_eq!(models[0].coef()[2], 0.);
    }
}

#[test]
fn a_penalty_makes_collinear_columns_unique() {
    let names = Answer::of("edge_collinear_ridge").names();
    let design = edge("collinear", "y_gauss", &names);
    check("edge_collinear_ridge", &Glm::default().alpha(1. / 200.), &design, PENALISED);
    let design = edge("collinear", "y_bin", &names);
    check("edge_collinear_logit_l2", &Glm::new(Family::Binomial).alpha(1. / 200.), &design, PENALISED);
}

#[test]
fn a_constant_column_gets_nothing_and_is_named() {
    for (case, y, glm, within) in [
        ("edge_constant_least_squares", "y_gauss", Glm::default(), UNPENALISED),
        ("edge_constant_lasso", "y_gauss", Glm::default().alpha(0.05).l1_ratio(1.), PENALISED),
        ("edge_constant_logit_l2", "y_bin", Glm::new(Family::Binomial).alpha(1. / 200.), PENALISED),
    ] {
        let answer = Answer::of(case);
        let design = edge("constant_col", y, &answer.names());
        let constant = design.names.iter().position(|name| name == "const3").unwrap();
        for model in check(case, &glm, &design, within) {
            assert_eq!(model.coef()[constant], 0., "{case}");
            assert_eq!(model.report().constant_columns, [constant], "{case}");
        }
    }
}

#[test]
fn separable_classes_are_named_as_such_and_told_apart() {
    let design = edge("separable", "y", &strings(&["x", "z"]));
    for model in fits(&Glm::new(Family::Binomial), &design) {
        let report = model.report();
        assert_eq!((report.converged, report.stop), (false, StopReason::Separable), "{report:?}");
        assert_eq!(model.predict_class(design.x.view()).unwrap(), design.y);
    }
}

#[test]
fn a_penalty_makes_separable_classes_finite() {
    let design = edge("separable", "y", &strings(&["x", "z"]));
    let n = design.y.len() as f64;
    for (case, c, l1_ratio) in [("l2_C0.1", 0.1, 0.), ("l2_C1.0", 1., 0.), ("l2_C100.0", 100., 0.), ("l1_C1", 1., 1.)] {
        let glm = Glm::new(Family::Binomial).alpha(1. / (n * c)).l1_ratio(l1_ratio);
        check(&format!("edge_separable_{case}"), &glm, &design, PENALISED);
    }
}

/// The intercept's optimum is minus infinity, with a penalty too, since the intercept has none.
#[test]
fn counts_that_are_all_zero_are_predicted_as_such() {
    let design = edge("allzero_counts", "y", &strings(&["x1", "x2"]));
    for alpha in [0., 1.] {
        for model in fits(&Glm::new(Family::Poisson).alpha(alpha), &design) {
            let report = model.report();
            assert_eq!((report.converged, report.stop), (false, StopReason::OneClass), "{report:?}");
            assert!(report.deviance.abs() < 1e-6 && report.null_deviance.abs() < 1e-6, "{report:?}");
            assert!(model.coef().iter().all(|b| b.abs() < 1e-6), "{:?}", model.coef());
            let means = model.predict(&design.x).unwrap();
            assert!(means.iter().all(|mean| (0. ..1e-6).contains(mean)), "{means}");
        }
    }
}

#[test]
fn more_columns_than_rows_under_a_penalty() {
    for (case, glm) in [
        ("edge_n20_p50_ridge1", Glm::default().alpha(1. / 20.)),
        ("edge_n20_p50_lasso01", Glm::default().alpha(0.1).l1_ratio(1.)),
    ] {
        let answer = Answer::of(case);
        let zeros = answer.coef.values().filter(|b| **b == 0.).count();
        for model in check(case, &glm, &edge("n20_p50", "y", &answer.names()), PENALISED) {
            assert_eq!(model.coef().iter().filter(|b| **b == 0.).count(), zeros, "{case}");
        }
    }
}

#[test]
fn more_columns_than_rows_fit_every_row() {
    let design = edge("n20_p50", "y", &Answer::of("edge_n20_p50_ridge1").names());
    for model in every(&Glm::default(), &design) {
        let apart = (&model.predict(&design.x).unwrap() - &design.y).iter().fold(0_f64, |most, d| most.max(d.abs()));
        assert!(apart < 1e-8, "{apart:e}: {:?}", model.report());
        assert!(model.report().deviance < 1e-15, "{:?}", model.report());
    }
}

/// Columns of size 1e-8, of size 1e8 about 1e10, and of size 1: held in proportion.
#[test]
fn columns_of_sizes_sixteen_digits_apart() {
    for (family, y) in FAMILIES {
        let case = format!("edge_scales_{}", family.name());
        let answer = Answer::of(&case);
        let design = edge("scales", y, &answer.names());
        for model in check(&case, &Glm::new(family), &design, Within { irls: 1e-8, others: 1e-6, numbers: 1e-8 }) {
            for (found, expected) in model.coef().iter().zip(answer.coef.values()) {
                assert!((found / expected - 1.).abs() < 1e-5, "{case}: {found} for {expected}");
            }
        }
    }
}

fn said(solver: Solver, glm: &Glm, x: &Array2<f64>, response: Response<'_>) -> String {
    glm.clone().solver(solver).fit(x, response).unwrap_err().to_string()
}

#[test]
fn numbers_that_are_none_are_named_by_row_and_column() {
    let design = edge("nan_inf", "y", &strings(&["x1", "x2"]));
    let glm = Glm::new(Family::Binomial);
    let mut filled = design.x.clone();
    filled[[7, 1]] = 0.;
    let row_without = Array1::from_shape_fn(30, |i| f64::from(i != 7));
    for solver in SOLVERS {
        let plain = || Response::new(&design.y);
        assert_eq!(
            said(solver, &glm, &design.x, plain()),
            "X has NaN in row 7, column 1; drop or fill such rows first"
        );
        assert_eq!(said(solver, &glm, &filled, plain()), "X has inf in row 19, column 0; drop or fill such rows first");
        // A row of weight 0 is held to the same.
        let message = said(solver, &glm, &design.x, plain().sample_weight(&row_without));
        assert_eq!(message, "X has NaN in row 7, column 1; drop or fill such rows first");
    }
}

#[test]
fn weights_trials_and_exposures_out_of_range_are_named() {
    let design = edge("collinear", "y_bin", &strings(&["x1", "x2"]));
    let x = &design.x;
    let one = Array1::ones(200);
    let with = |value: f64| {
        let mut values: Array1<f64> = one.clone();
        values[5] = value;
        values
    };
    let (negative, nan, zero, half) = (with(-1.), with(f64::NAN), with(0.), with(0.5));
    let (none, short) = (Array1::zeros(200), array![1., 2.]);
    let (binomial, poisson) = (Glm::new(Family::Binomial), Glm::new(Family::Poisson));
    let y = || Response::new(&design.y);
    for solver in SOLVERS {
        let messages = [
            said(solver, &binomial, x, y().sample_weight(&negative)),
            said(solver, &binomial, x, y().sample_weight(&nan)),
            said(solver, &binomial, x, y().sample_weight(&none)),
            said(solver, &binomial, x, y().sample_weight(&short)),
            said(solver, &binomial, x, y().trials(&half)),
            said(solver, &poisson, x, y().exposure(&zero)),
            said(solver, &poisson, x, y().offset(&nan)),
            said(solver, &poisson, x, y().trials(&one)),
        ];
        let expected = [
            "binomial: the sample weight is -1 in row 5, expected 0 or more",
            "the sample weight has NaN in row 5; drop or fill such rows first",
            "the weights sum to 0, so no row is left to learn from; give at least one row a weight above 0",
            "X has 200 rows and sample_weight has 2; they must agree",
            "binomial: trials is 0.5 in row 5, expected a whole number, 0 or more",
            "log link: exposure is 0 in row 5, expected a number above 0",
            "the offset has NaN in row 5; drop or fill such rows first",
            "trials is given, expected none for the poisson family",
        ];
        assert_eq!(messages, expected, "{solver:?}");
    }
}
