//! Paths and cross-validation: every place is what a fit by itself finds, and every error what separate fits make.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2, Axis};
use phalanx_glm::{CvCurve, Family, Glm, GlmPath, Response, Select, Solver};
use phalanx_learn::{Fit, Predict};

fn noise(i: usize) -> f64 {
    ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.
}

fn design(n: usize) -> Array2<f64> {
    Array2::from_shape_fn((n, 4), |(i, k)| noise(i * i * (k + 2) + 31 * i + 17 * k) + 0.3 * k as f64)
}

fn target(x: &Array2<f64>, family: Family) -> Array1<f64> {
    let rows = x.rows().into_iter().enumerate();
    rows.map(|(i, row)| {
        let eta = 0.8 * row[0] - 0.5 * row[1] + 0.6 * noise(29 * i + 3);
        match family {
            Family::Gaussian => eta,
            Family::Binomial => f64::from(eta > 0.1),
            Family::Poisson => (0.5 + eta).exp().floor(),
            _ => (0.5 + eta).exp(),
        }
    })
    .collect()
}

/// The curve, from one fit of [`Glm`] a fold and strength.
fn by_hand(
    glm: &Glm,
    lambdas: &[f64],
    x: &Array2<f64>,
    y: &Array1<f64>,
    folds: &Array1<f64>,
    k: usize,
) -> Vec<Vec<f64>> {
    let pick = |keep: &dyn Fn(usize) -> bool| -> Vec<usize> { (0..y.len()).filter(|i| keep(*i)).collect() };
    (0..k)
        .map(|fold| {
            let train = pick(&|i| folds[i] as usize != fold);
            let test = pick(&|i| folds[i] as usize == fold);
            let of = |rows: &[usize]| (x.select(Axis(0), rows), y.select(Axis(0), rows));
            let ((x, y), (x_test, y_test)) = (of(&train), of(&test));
            let error = |lambda: &f64| {
                let model = glm.clone().alpha(*lambda).fit(&x, &y).unwrap();
                let means = model.predict(&x_test).unwrap();
                y_test.iter().zip(&means).map(|(&y, &mean)| glm.family.unit_deviance(y, mean)).sum::<f64>()
            };
            lambdas.iter().map(error).collect()
        })
        .collect()
}

#[test]
fn every_family_s_curve_is_that_of_separate_fits() {
    let x = design(700);
    let folds: Array1<f64> = (0..700).map(|i| ((i * 7 + i / 11) % 5) as f64).collect();
    for family in [Family::Gaussian, Family::Binomial, Family::Poisson, Family::Gamma] {
        for standardize in [false, true] {
            let y = target(&x, family);
            let glm = Glm::new(family).l1_ratio(0.7).standardize(standardize).penalty_factor([1., 2., 0., 0.5]);
            let path = GlmPath::new(glm.clone()).n_lambdas(8).cv(5).tol(1e-10);
            let model = path.fit(&x, Response::new(&y).folds(&folds)).unwrap();
            let CvCurve { lambda, mean, sd, .. } = model.cv().unwrap();
            for (point, &lambda) in model.points().iter().zip(lambda) {
                let alone = glm.clone().alpha(lambda).fit(&x, &y).unwrap();
                let apart = alone.coef().iter().zip(&point.coef).map(|(a, b)| (a - b).abs()).fold(0., f64::max);
                assert!(
                    apart < 1e-7 && (alone.report().deviance / point.deviance - 1.).abs() < 1e-8,
                    "{family}: {apart}"
                );
            }
            // Nothing but the free column is in the model at the first, and something at the second.
            assert!(model.points()[0].coef.iter().enumerate().all(|(j, b)| j == 2 || b.abs() < 1e-9), "{family}");
            assert!(model.points()[1].coef.iter().enumerate().any(|(j, b)| j != 2 && *b != 0.), "{family}");
            let errors = by_hand(&glm, lambda, &x, &y, &folds, 5);
            let sizes: Vec<f64> = (0..5).map(|k| folds.iter().filter(|f| **f == f64::from(k)).count() as f64).collect();
            for at in 0..8 {
                let total: f64 = errors.iter().map(|errors| errors[at]).sum();
                assert!((mean[at] / (total / 700.) - 1.).abs() < 1e-7, "{family} {at}: {} {}", mean[at], total / 700.);
                let squares: f64 = (0..5).map(|k| sizes[k] * (errors[k][at] / sizes[k] - mean[at]).powi(2)).sum();
                assert!((sd[at] / (squares / 700. / 4.).sqrt() - 1.).abs() < 1e-5, "{family} {at}");
            }
        }
    }
}

#[test]
fn one_standard_error_is_the_largest_penalty_within_it() {
    let x = design(400);
    let y = target(&x, Family::Gaussian);
    let path = GlmPath::new(Glm::new(Family::Gaussian).l1_ratio(1.)).cv(10).seed(3);
    let (min, one_se) = (path.fit(&x, &y).unwrap(), path.clone().select(Select::OneSe).fit(&x, &y).unwrap());
    let curve = min.cv().unwrap();
    assert_eq!((min.chosen_place(), one_se.chosen_place()), (curve.min, curve.one_se));
    assert_eq!(min.n_passes(), 1);
    let bound = curve.mean[curve.min] + curve.sd[curve.min];
    assert!(curve.one_se < curve.min && curve.mean[curve.one_se] <= bound && curve.mean[curve.one_se - 1] > bound);
    assert!(curve.mean.iter().all(|mean| *mean >= curve.mean[curve.min]));
    // Another seed draws other folds, the same seed the same.
    assert_ne!(path.clone().seed(4).fit(&x, &y).unwrap().cv().unwrap().mean, curve.mean);
    assert_eq!(path.fit(&x, &y).unwrap(), min);
}

#[test]
fn of_two_copies_of_a_column_none_is_nearly_zero() {
    let x = design(300);
    let twice = ndarray::concatenate![Axis(1), x, x];
    for family in [Family::Gaussian, Family::Binomial] {
        let model = GlmPath::new(Glm::new(family).l1_ratio(1.)).fit(&twice, &target(&x, family)).unwrap();
        for point in model.points() {
            assert!(point.coef.iter().all(|b| *b == 0. || b.abs() > 1e-9), "{family}: {point:?}");
        }
    }
}

#[test]
fn a_path_needs_few_passes() {
    let x = design(3000);
    for family in [Family::Binomial, Family::Poisson] {
        let model = GlmPath::new(Glm::new(family).l1_ratio(1.)).cv(10).fit(&x, &target(&x, family)).unwrap();
        assert!(model.points().iter().all(|point| point.converged));
        // A hundred places, ten folds beside them.
        assert!(model.n_passes() < 600, "{family}: {}", model.n_passes());
    }
}

#[test]
fn what_cannot_be_a_path_is_refused() {
    let x = design(50);
    let y = target(&x, Family::Poisson);
    let said = |path: GlmPath, response: Response<'_>| path.fit(&x, response).unwrap_err().to_string();
    let path = || GlmPath::new(Glm::new(Family::Poisson).l1_ratio(1.));
    assert_eq!(said(path().n_lambdas(0), Response::new(&y)), "n_lambdas is 0, expected 1 or more");
    assert_eq!(said(path().cv(2), Response::new(&y)), "cv is 2, expected 0 for none, or 3 folds or more");
    assert_eq!(said(path().cv(51), Response::new(&y)), "n_splits is 51, expected 2 to 50, the number of rows");
    assert_eq!(
        said(path().lambdas([0.1, 0.2]), Response::new(&y)),
        "lambdas is 0.2 after 0.1, expected each smaller than the one before"
    );
    let mut folds = Array1::from_iter((0..50).map(|i| f64::from(i % 5)));
    folds[7] = 5.5;
    let bad = said(path().cv(5), Response::new(&y).folds(&folds));
    assert_eq!(bad, "poisson: the fold is 5.5 in row 7, expected a whole number from 0, or 1, to the number of folds");
    let zeros = said(path(), Response::new(&Array1::zeros(50)));
    assert_eq!(zeros, "poisson: y is 0 in every row, so there is no finite optimum and no path to it");
    let constant = GlmPath::new(Glm::default()).fit(&x, &Array1::from_elem(50, 2.)).unwrap_err().to_string();
    assert!(constant.starts_with("no penalised column says anything of y"), "{constant}");
    // The solver is not looked at.
    let irls = path().n_lambdas(3).fit(&x, &y).unwrap();
    let glm = Glm::new(Family::Poisson).l1_ratio(1.).solver(Solver::Admm);
    assert_eq!(GlmPath::new(glm).n_lambdas(3).fit(&x, &y).unwrap(), irls);
}

/// More columns than rows have a say in: the matrices are of the few that the strong rule and the conditions ask for, and
/// every place is the optimum of all columns all the same.
#[test]
fn columns_that_are_screened_out_come_back_where_they_belong() {
    let (n, p) = (300, 120);
    // Neighbours are strongly correlated, which is where the strong rule may be wrong.
    let x = Array2::from_shape_fn((n, p), |(i, k)| {
        noise(i * i * 7 + 31 * i) + 0.4 * noise(i * (k / 3 + 5) + 17 * k) + 0.3 * noise(i * (k + 2) + 7 * k * k)
    });
    for family in [Family::Binomial, Family::Poisson] {
        let y = target(&x, family);
        let glm = Glm::new(family).l1_ratio(0.9).standardize(true);
        let path = GlmPath::new(glm.clone()).n_lambdas(15).lambda_min_ratio(0.02).tol(1e-9).fit(&x, &y).unwrap();
        let mut sizes = Vec::new();
        for point in path.points() {
            assert!(point.converged && point.kkt_relative <= 1e-9, "{family} {point:?}");
            let alone = glm.clone().alpha(point.lambda).solver(Solver::Irls).fit(&x, &y).unwrap();
            assert!(alone.coef().iter().zip(&point.coef).all(|(a, b)| (a - b).abs() < 1e-5), "{family}");
            sizes.push(point.coef.iter().filter(|b| **b != 0.).count());
        }
        assert!(sizes[0] == 0 && sizes.iter().any(|n| (1..p / 4).contains(n)), "{family} {sizes:?}");
    }
}
