//! The group lasso: held against a proximal gradient in NumPy (and its gaussian case against skglm 0.5's `GroupBCD`), by
//! every solver that takes it, on paths, in chunks, and through its refusals.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2};
use phalanx_array::{ChunkedArray, PANEL};
use phalanx_glm::{ChunkedResponse, Family, Glm, GlmPath, Solver};
use phalanx_learn::{Fit, FitOn};
use phalanx_runtime::blocking::Client;

const GROUPS: [usize; 8] = [0, 0, 1, 1, 2, 2, 2, 3];

fn noise(i: usize, by: usize, add: usize, of: usize) -> f64 {
    ((i * by + add) % of) as f64 / of as f64 - 0.5
}

/// Rows of 8 columns in different units, and the linear predictor.
fn data(n_rows: usize) -> (Array2<f64>, Array1<f64>) {
    let (units, shifts) = ([1., 2., 0.5, 3., 1., 1., 0.2, 1.], [0., 1., 0., 0., -2., 0., 0., 0.]);
    let x = Array2::from_shape_fn((n_rows, 8), |(i, j)| {
        (((i * 7919 + j * 104_729 + i * j * 31) % 1009) as f64 / 1009. - 0.5) * units[j] + shifts[j]
    });
    let eta = x.rows().into_iter().map(|r| 1.2 * r[0] - 0.8 * r[1] + 0.3 * r[3] + r[4] + 2.2).collect();
    (x, eta)
}

fn target(eta: &Array1<f64>, family: Family) -> Array1<f64> {
    let rows = eta.iter().enumerate().map(|(i, eta)| (eta, noise(i, 104_729, 77, 997)));
    rows.map(|(eta, noise)| match family {
        Family::Poisson => ((0.7 * eta).exp() + noise + 0.5).round_ties_even().max(0.),
        Family::Binomial => f64::from(eta + 2. * noise > 0.2),
        _ => eta + noise,
    })
    .collect()
}

fn glm(family: Family, alpha: f64, l1_ratio: f64, standardize: bool) -> Glm {
    Glm::new(family).alpha(alpha).l1_ratio(l1_ratio).standardize(standardize).penalty_groups(GROUPS)
}

/// Family, alpha, l1_ratio and standardize; coefficients, intercept and objective.
type Case = (Family, f64, f64, bool, [f64; 8], f64, f64);

#[test]
fn every_family_finds_what_numpy_finds() {
    let cases: [Case; 5] = [
        (
            Family::Gaussian,
            0.03,
            1.,
            false,
            [
                0.761_017_674_75,
                -0.543_452_937_78,
                0.070_935_167_528,
                0.246_951_455_587,
                0.452_422_404_831,
                -0.127_507_093_21,
                -0.083_210_205_185,
                0.,
            ],
            0.774_704_638_284,
            0.131_767_274_828_677,
        ),
        (
            Family::Gaussian,
            0.05,
            0.6,
            true,
            [
                1.020_782_987_528,
                -0.566_272_417_898,
                0.297_981_463_961,
                0.191_171_043_927,
                0.687_828_846_047,
                -0.128_341_422_866,
                -1.783_487_281_835,
                -0.026_436_502_509,
            ],
            1.262_384_227_386,
            0.075_513_676_927_417,
        ),
        (
            Family::Poisson,
            0.03,
            1.,
            false,
            [0.005_680_947_872, -0.005_479_965_426, 0., 0., 0., 0., 0., 0.],
            0.070_173_897_106,
            f64::NAN,
        ),
        (
            Family::Binomial,
            0.004,
            1.,
            false,
            [
                3.047_543_312_99,
                -0.684_434_803_901,
                0.691_185_479_759,
                0.740_802_762_969,
                3.953_203_575_571,
                -3.038_291_572_811,
                -1.092_695_659_714,
                0.,
            ],
            3.952_222_381_707,
            0.186_877_391_075_946,
        ),
        (
            Family::Poisson,
            0.05,
            0.5,
            true,
            [
                0.261_815_228_263,
                -0.089_833_561_957,
                -0.012_190_705_471,
                0.009_842_097_95,
                0.163_725_378_485,
                -0.098_163_149_53,
                -0.585_011_860_522,
                0.,
            ],
            0.452_092_949_825,
            f64::NAN,
        ),
    ];
    let (x, eta) = data(60);
    for (family, alpha, l1_ratio, standardize, coef, intercept, objective) in cases {
        let y = target(&eta, family);
        for solver in [Solver::Auto, Solver::GradientDescent] {
            let model = glm(family, alpha, l1_ratio, standardize).solver(solver).fit(&x, &y).unwrap();
            let report = model.report();
            assert!(report.converged && report.kkt_relative < 1e-10, "{family} {report:?}");
            for (found, expected) in model.coef().iter().zip(coef) {
                // The peer stops at steps of 1e-16, 1e-8 of the optimum in the flattest of these.
                assert!((found - expected).abs() < 2e-8, "{family} {solver:?}: {:?}", model.coef());
                assert_eq!(*found == 0., expected == 0., "{family} {solver:?}");
            }
            assert!((model.intercept() - intercept).abs() < 2e-8, "{family} {}", model.intercept());
            // The peer leaves out the part of the deviance that hangs on y alone, which is 0 but for Poisson's.
            assert!(objective.is_nan() || (report.objective - objective).abs() < 1e-12, "{family}");
            assert!(report.duality_gap.is_some_and(|gap| gap < 1e-9), "{family} {solver:?} {report:?}");
        }
    }
}

#[test]
fn a_path_begins_where_the_first_group_comes_in_and_its_places_are_single_fits() {
    let (x, eta) = data(60);
    for family in [Family::Gaussian, Family::Binomial] {
        let y = target(&eta, family);
        let path = GlmPath::new(glm(family, 0., 1., true))
            .n_lambdas(12)
            .lambda_min_ratio(0.01)
            .tol(1e-10)
            .fit(&x, &y)
            .unwrap();
        let live = |coef: &[f64]| {
            let groups: std::collections::BTreeSet<_> =
                coef.iter().zip(GROUPS).filter(|(b, _)| **b != 0.).map(|(_, group)| group).collect();
            groups
        };
        assert!(live(&path.points()[0].coef).is_empty() && !live(&path.points()[1].coef).is_empty());
        for point in path.points() {
            let alone = glm(family, point.lambda, 1., true).fit(&x, &y).unwrap();
            assert!(
                alone.coef().iter().zip(&point.coef).all(|(a, b)| (a - b).abs() < 1e-6 * a.abs().max(1.)),
                "{family}"
            );
            for group in live(&point.coef) {
                assert!(point.coef.iter().zip(GROUPS).all(|(b, of)| of != group || *b != 0.));
            }
        }
    }
}

#[test]
fn groups_of_one_are_the_lasso_and_chunks_change_no_bit() {
    let (x, eta) = data(3 * PANEL + 7);
    let y = target(&eta, Family::Poisson);
    let plain = Glm::new(Family::Poisson).alpha(0.02).l1_ratio(0.8);
    let alone = plain.clone().penalty_groups((10..18).collect::<Vec<_>>()).fit(&x, &y).unwrap();
    assert_eq!(alone.coef(), plain.fit(&x, &y).unwrap().coef());

    let client = Client::local().unwrap();
    let grouped = glm(Family::Poisson, 0.02, 0.8, true);
    let here = grouped.fit(&x, &y).unwrap();
    let chunks = ChunkedArray::from_array(&x, PANEL).unwrap();
    let response = ChunkedResponse::new(&ChunkedArray::from_array(&y, PANEL).unwrap());
    let there = client.wait(grouped.fit_on(&client, &chunks, &response)).unwrap();
    assert_eq!((here.coef(), here.intercept()), (there.coef(), there.intercept()));
}

#[test]
fn what_does_not_go_with_groups_is_refused_by_name() {
    let (x, eta) = data(60);
    let y = target(&eta, Family::Gaussian);
    let groups = || glm(Family::Gaussian, 0.1, 1., false);
    let said = |glm: Glm| glm.fit(&x, &y).unwrap_err().to_string();
    assert_eq!(
        said(groups().penalty_groups([0, 1])),
        "penalty_groups is a list of 2, expected one number for each of the 8 columns"
    );
    assert_eq!(
        said(groups().solver(Solver::Admm)),
        "penalty_groups is given, expected auto, irls or gradient_descent for the solver beside them"
    );
    assert_eq!(said(groups().lower([0.; 8])), "penalty_groups is given, expected none beside lower or upper");
    assert_eq!(
        said(groups().penalty_factor([1., 2., 1., 1., 1., 1., 1., 1.])),
        "penalty_factor, column 1, is 2, expected 1, as column 0 of its group has"
    );
}
