//! Data that break careless solvers: all must give the right answer, or say why there is none, and never hang.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2, Axis, array, concatenate};
use phalanx_glm::{Family, Glm, GlmModel, LogisticRegression, PoissonRegression, Report, Solver, StopReason};
use phalanx_learn::{Fit, Predict, params};

const FAMILIES: [Family; 3] = [Family::Gaussian, Family::Binomial, Family::Poisson];
const SOLVERS: [Solver; 3] = [Solver::Irls, Solver::GradientDescent, Solver::Admm];

/// Numbers in -1..1 without a pattern.
fn noise(i: usize) -> f64 {
    ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.
}

fn columns(n: usize, p: usize) -> Array2<f64> {
    Array2::from_shape_fn((n, p), |(i, j)| noise(i * p + j + 17 * j))
}

/// A y that the first two columns explain in part.
fn target(x: &Array2<f64>, family: Family) -> Array1<f64> {
    let rows = x.rows().into_iter().enumerate();
    rows.map(|(i, row)| {
        let eta = 0.8 * row[0] - 0.5 * row[1] + 0.9 * noise(29 * i + 3);
        match family {
            Family::Gaussian => 3. + eta,
            Family::Binomial => f64::from(eta > 0.1),
            _ => (1. + eta).exp().round(),
        }
    })
    .collect()
}

fn every(glm: &Glm, x: &Array2<f64>, y: &Array1<f64>) -> [GlmModel; 3] {
    SOLVERS.map(|solver| glm.clone().solver(solver).fit(x, y).unwrap())
}

/// Fits with every solver; they must converge to the same coefficients.
fn same(glm: &Glm, x: &Array2<f64>, y: &Array1<f64>) -> GlmModel {
    let [a, b, c] = every(glm, x, y);
    for model in [&a, &b, &c] {
        assert!(model.report().converged, "{glm:?}: {:?}", model.report());
        let rounding = 1e-13 * (1. + y.iter().fold(0_f64, |m, y| m.max(y.abs())));
        let (own, reported) = (kkt(glm, model, x, y), model.report().kkt_residual);
        assert!((own - reported).abs() < rounding, "{glm:?}: {own:e} {reported:e}");
    }
    let scale = 1. + a.coef().iter().fold(0_f64, |m, b| m.max(b.abs()));
    for other in [b, c] {
        let apart = (&a.coef() - &other.coef()).iter().fold(0_f64, |m, d| m.max(d.abs()));
        assert!(apart < 1e-6 * scale, "{glm:?}: {:?} {:?}", a.coef(), other.coef());
    }
    a
}

/// The optimality conditions, written down once more from their definition.
fn kkt(glm: &Glm, model: &GlmModel, x: &Array2<f64>, y: &Array1<f64>) -> f64 {
    let residuals = model.predict(x).unwrap() - y;
    let n = y.len() as f64;
    let (l1, l2) = (glm.alpha * glm.l1_ratio, glm.alpha * (1. - glm.l1_ratio));
    let gradient = x.t().dot(&residuals) / n;
    let columns = gradient
        .iter()
        .zip(model.coef())
        .map(|(g, &b)| if b == 0. { (g.abs() - l1).max(0.) } else { (g + l2 * b + l1 * b.signum()).abs() });
    columns.fold(if glm.fit_intercept { (residuals.sum() / n).abs() } else { 0. }, f64::max)
}

fn stops(glm: &Glm, x: &Array2<f64>, y: &Array1<f64>) -> [(bool, StopReason); 3] {
    every(glm, x, y).map(|model| {
        let &Report { converged, stop, objective, .. } = model.report();
        assert!(objective.is_finite() && model.coef().iter().all(|b| b.is_finite()) && model.intercept().is_finite());
        (converged, stop)
    })
}

#[test]
fn penalties_of_every_kind_in_every_family() {
    let x = columns(700, 6);
    for family in FAMILIES {
        let y = target(&x, family);
        for (alpha, l1_ratio) in [(0., 0.), (0.1, 0.), (0.05, 1.), (0.05, 0.3)] {
            for fit_intercept in [true, false] {
                same(&Glm::new(family).alpha(alpha).l1_ratio(l1_ratio).fit_intercept(fit_intercept), &x, &y);
            }
        }
    }
}

#[test]
fn a_constant_column_gets_nothing() {
    let x = columns(300, 3);
    let constant = Array2::from_elem((300, 1), 0.1);
    let with = concatenate![Axis(1), x, constant];
    for family in FAMILIES {
        let y = target(&x, family);
        for alpha in [0., 0.02] {
            let glm = Glm::new(family).alpha(alpha).l1_ratio(0.5);
            let (with, without) = (same(&glm, &with, &y), same(&glm, &x, &y));
            assert_eq!(with.coef()[3], 0.);
            assert!((&with.coef().slice(ndarray::s![..3]) - &without.coef()).iter().all(|d| d.abs() < 1e-7));
        }
    }
}

#[test]
fn columns_of_any_unit_converge_as_quickly() {
    let x = columns(500, 3);
    let mut odd = x.clone();
    odd.column_mut(0).mapv_inplace(|x| x * 1e-8);
    odd.column_mut(1).mapv_inplace(|x| 1e10 + x * 1e8);
    for family in FAMILIES {
        let y = target(&x, family);
        let [plain, scaled] = [&x, &odd].map(|x| every(&Glm::new(family), x, &y));
        for (plain, scaled) in plain.iter().zip(&scaled) {
            assert!(scaled.report().converged, "{:?}", scaled.report());
            assert!(scaled.report().n_iter <= plain.report().n_iter + 3, "{:?}", scaled.report());
            let apart = scaled.predict(&odd).unwrap() - plain.predict(&x).unwrap();
            assert!(apart.iter().all(|d| d.abs() < 1e-6), "{family}");
        }
    }
}

#[test]
fn collinear_columns() {
    let mut x = columns(200, 3);
    let sum = &x.column(0) + &x.column(1);
    x.column_mut(2).assign(&sum);
    for family in FAMILIES {
        let y = target(&x, family);
        same(&Glm::new(family).alpha(0.01), &x, &y);
        same(&Glm::new(family).alpha(0.01).l1_ratio(0.9), &x, &y);
        // Without a penalty the coefficients are not unique, but what they predict is.
        let models = every(&Glm::new(family), &x, &y);
        for model in &models {
            assert!(model.report().converged, "{:?}", model.report());
            let apart = model.predict(&x).unwrap() - models[0].predict(&x).unwrap();
            assert!(apart.iter().all(|d| d.abs() < 1e-6), "{family}");
        }
        // The solver that sees the columns' products leaves out the last of them and names it.
        assert_eq!((models[0].coef()[2], &models[0].report().collinear_columns), (0., &vec![2]), "{family}");
    }
}

#[test]
fn more_columns_than_rows() {
    let x = columns(20, 50);
    let y = target(&x, Family::Gaussian);
    same(&Glm::default().alpha(0.1), &x, &y);
    // Some columns are each other's copies here: which of them the lasso takes is open, and what it costs is not.
    let lasso = every(&Glm::default().alpha(0.1).l1_ratio(1.), &x, &y);
    for model in &lasso {
        assert!((model.report().objective / lasso[0].report().objective - 1.).abs() < 1e-12);
        assert!(model.report().converged && model.coef().iter().filter(|b| **b != 0.).count() < 20);
    }
    for model in every(&Glm::default(), &x, &y) {
        assert!(model.report().converged && model.report().deviance < 1e-12, "{:?}", model.report());
    }
}

#[test]
fn a_huge_penalty_leaves_the_null_model() {
    let x = columns(100, 3);
    for family in FAMILIES {
        let y = target(&x, family);
        let model = same(&Glm::new(family).alpha(1e6).l1_ratio(0.5), &x, &y);
        assert_eq!(model.coef().to_vec(), [0.; 3]);
        assert!((family.mean(model.intercept()) - y.mean().unwrap()).abs() < 1e-12);
        let report = model.report();
        assert!((report.deviance / report.null_deviance - 1.).abs() < 1e-12, "{report:?}");
        assert!(report.n_iter <= 1, "{report:?}");
    }
}

#[test]
fn the_null_deviance_is_that_of_the_mean() {
    let x = columns(100, 3);
    for family in FAMILIES {
        let y = target(&x, family);
        let model = Glm::new(family).fit(&x, &y).unwrap();
        let of = |mean: &Array1<f64>| y.iter().zip(mean).map(|(&y, &m)| family.unit_deviance(y, m)).sum::<f64>();
        let null = of(&Array1::from_elem(100, y.mean().unwrap()));
        assert!((model.report().null_deviance / null - 1.).abs() < 1e-12, "{family}: {null} {:?}", model.report());
        assert!((model.report().deviance / of(&model.predict(&x).unwrap()) - 1.).abs() < 1e-10, "{family}");
        let through_0 = Glm::new(family).fit_intercept(false).fit(&x, &y).unwrap();
        let null = of(&Array1::from_elem(100, family.mean(0.)));
        assert!((through_0.report().null_deviance / null - 1.).abs() < 1e-12, "{family}: {null} {through_0:?}");
    }
}

#[test]
fn counts_that_are_all_zero_and_classes_that_are_all_one() {
    let x = columns(50, 2);
    for (family, y) in [(Family::Poisson, 0.), (Family::Binomial, 0.), (Family::Binomial, 1.)] {
        let y = Array1::from_elem(50, y);
        for alpha in [0., 0.1] {
            let glm = Glm::new(family).alpha(alpha);
            assert_eq!(stops(&glm, &x, &y), [(false, StopReason::OneClass); 3], "{family}");
            for model in every(&glm, &x, &y) {
                assert!(model.predict(&x).unwrap().iter().all(|mean| (mean - y[0]).abs() < 1e-9), "{family}");
            }
        }
    }
    // Without an intercept a penalty keeps the coefficients finite.
    let glm = Glm::new(Family::Binomial).alpha(0.1).fit_intercept(false);
    same(&glm, &x, &Array1::ones(50));
}

#[test]
fn separable_classes_need_a_penalty() {
    let x = columns(60, 2);
    let y: Array1<f64> = x.column(0).iter().map(|&x| f64::from(x > 0.1)).collect();
    assert_eq!(stops(&Glm::new(Family::Binomial), &x, &y), [(false, StopReason::Separable); 3]);
    same(&Glm::new(Family::Binomial).alpha(0.01), &x, &y);
    same(&Glm::new(Family::Binomial).alpha(0.01).l1_ratio(1.), &x, &y);
}

#[test]
fn a_y_without_spread_and_a_single_row() {
    let x = columns(40, 2);
    for family in [Family::Gaussian, Family::Poisson] {
        let model = same(&Glm::new(family), &x, &Array1::from_elem(40, 7.));
        assert!((family.mean(model.intercept()) - 7.).abs() < 1e-9);
        assert!(model.coef().iter().all(|b| b.abs() < 1e-9));
    }
    let model = same(&Glm::default(), &array![[3., 4.]], &array![5.]);
    assert_eq!((model.coef().to_vec(), model.intercept()), (vec![0., 0.], 5.));
}

#[test]
fn the_unit_of_y_does_not_matter() {
    let x = columns(300, 4);
    let y = target(&x, Family::Gaussian);
    let glm = Glm::default().alpha(0.1).l1_ratio(0.5);
    let plain = same(&glm, &x, &y);
    for unit in [1e-9, 1e9] {
        // The L2 part does not scale with y, the L1 part does.
        let scaled = glm.clone().alpha(0.05 * (unit + 1.)).l1_ratio(unit / (unit + 1.));
        let model = same(&scaled, &x, &(unit * &y));
        assert!((&model.coef() / unit - plain.coef()).iter().all(|d| d.abs() < 1e-6), "{unit}");
    }
}

#[test]
fn heavy_tails_overflow_nothing() {
    let mut x = columns(400, 2);
    let mut y = target(&x, Family::Poisson);
    x[[3, 0]] = 60.;
    y[3] = 1e6;
    x[[7, 1]] = -80.;
    let [irls, first, second] = stops(&Glm::new(Family::Poisson).alpha(1e-3), &x, &y);
    assert!(irls.0, "{irls:?}");
    for (converged, stop) in [first, second] {
        assert!(converged || stop == StopReason::MaxIter, "{stop:?}");
    }
}

#[test]
fn the_number_of_blocks_changes_the_way_and_not_the_place() {
    let x = columns(3000, 5);
    for family in FAMILIES {
        let y = target(&x, family);
        let fit = |n_blocks| {
            let glm = Glm::new(family).alpha(0.02).l1_ratio(0.5).solver(Solver::Admm).n_blocks(n_blocks);
            glm.fit(&x, &y).unwrap()
        };
        let one = fit(1);
        for n_blocks in [2, 5, 12, 1000] {
            let model = fit(n_blocks);
            assert!(model.report().converged, "{family} {n_blocks}: {:?}", model.report());
            assert!((&model.coef() - &one.coef()).iter().all(|d| d.abs() < 1e-8), "{family} {n_blocks}");
        }
    }
}

#[test]
fn any_layout_of_x_gives_the_same_bits() {
    let x = columns(600, 5);
    let y = target(&x, Family::Gaussian);
    let glm = Glm::default().alpha(0.1);
    let by_columns = x.t().as_standard_layout().into_owned();
    let strided = concatenate![Axis(1), x, x];
    let expected = glm.fit(&x, &y).unwrap();
    assert_eq!(glm.fit(by_columns.t(), y.view()).unwrap(), expected);
    assert_eq!(glm.fit(strided.slice(ndarray::s![.., ..5]), y.view()).unwrap(), expected);
}

#[test]
fn too_few_steps_are_reported() {
    let x = columns(300, 4);
    for family in FAMILIES {
        let y = target(&x, family);
        let mut expected = [(false, StopReason::MaxIter); 3];
        if family == Family::Gaussian {
            // Least squares is one step.
            expected[0] = (true, StopReason::Optimal);
        }
        assert_eq!(stops(&Glm::new(family).max_iter(1).tol(1e-14), &x, &y), expected);
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let x = columns(10, 2);
    let y = target(&x, Family::Gaussian);
    let said = |glm: Glm, x: &Array2<f64>, y: &Array1<f64>| {
        let [a, b, c] = SOLVERS.map(|solver| glm.clone().solver(solver).fit(x, y).unwrap_err().to_string());
        assert_eq!((&a, &a), (&b, &c));
        a
    };
    assert_eq!(said(Glm::default().alpha(-1.), &x, &y), "alpha is -1, expected 0 or more");
    assert_eq!(said(Glm::default().alpha(f64::NAN), &x, &y), "alpha is NaN, expected 0 or more");
    assert_eq!(said(Glm::default().l1_ratio(1.5), &x, &y), "l1_ratio is 1.5, expected 0 to 1");
    assert_eq!(said(Glm::default().tol(0.), &x, &y), "tol is 0, expected above 0 and below 1");
    assert_eq!(said(Glm::default().max_iter(0), &x, &y), "max_iter is 0, expected 1 or more");
    assert_eq!(said(Glm::default().n_blocks(0), &x, &y), "n_blocks is 0, expected 1 or more");
    let short = array![1., 2.];
    assert_eq!(said(Glm::default(), &x, &short), "X has 10 rows and y has 2; they must agree");
    let empty = Array2::zeros((0, 2));
    assert_eq!(said(Glm::default(), &empty, &array![]), "X is empty, expected at least one row and one column");
    let mut bad = x.clone();
    bad[[4, 1]] = f64::NAN;
    assert_eq!(said(Glm::default(), &bad, &y), "X has NaN in row 4, column 1; drop or fill such rows first");
    let mut bad = y.clone();
    bad[6] = f64::INFINITY;
    assert_eq!(said(Glm::default(), &x, &bad), "y has inf in row 6; drop or fill such rows first");
    bad[6] = 2.;
    let zeros = Array1::from_shape_fn(10, |i| if i == 6 { 2. } else { 0. });
    assert_eq!(said(Glm::new(Family::Binomial), &x, &zeros), "binomial: y is 2 in row 6, expected 0 or 1");
    assert_eq!(said(Glm::new(Family::Poisson), &x, &-&zeros), "poisson: y is -2 in row 6, expected 0 or more");
    let huge = &x * 1e200;
    assert_eq!(
        said(Glm::default(), &huge, &y),
        "column 0 of X is too large to square in f64; divide it by a constant first"
    );
    let model = Glm::default().fit(&x, &y).unwrap();
    assert_eq!(
        model.predict(&columns(3, 5)).unwrap_err().to_string(),
        "X has 5 columns, but the model was fitted on 2"
    );
    assert!(model.predict_proba(x.view()).unwrap_err().to_string().starts_with("a gaussian GlmModel gives no prob"));
}

#[test]
fn plain_names_are_the_families_and_know_no_other_parameter() {
    let x = columns(200, 3);
    let y = target(&x, Family::Binomial);
    let named = LogisticRegression::new().alpha(0.1).l1_ratio(0.5).fit(&x, &y).unwrap();
    assert_eq!(named, Glm::new(Family::Binomial).alpha(0.1).l1_ratio(0.5).fit(&x, &y).unwrap());
    let changed = params::set(&PoissonRegression::new(), [("alpha", 0.5)]).unwrap();
    assert_eq!(params::get(&*changed).unwrap()["alpha"], 0.5);
    let message = params::set(&PoissonRegression::new(), [("alhpa", 0.5)]).unwrap_err().to_string();
    assert!(message.contains(r#"did you mean "alpha""#), "{message}");
    let family = params::set(&Glm::default(), [("family", "weibull")]).unwrap_err().to_string();
    assert!(
        family.starts_with(r#"family is "weibull", expected one of `gaussian`, `binomial`, `poisson`"#),
        "{family}"
    );
    assert!(serde_json::from_str::<Glm>(r#"{"alpha": 1, "lambda": 2}"#).is_err());
    assert_eq!(serde_json::from_str::<Glm>(r#"{"solver": "admm"}"#).unwrap(), Glm::default().solver(Solver::Admm));
}
