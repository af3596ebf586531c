//! Quantile regression against scikit-learn 1.9 (`QuantileRegressor(solver="highs")`, feasibility tolerances 1e-10) on
//! the data sets that are vendored; statsmodels' `QuantReg` ends 1e-10 above the first of these objectives.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2, array};
use phalanx_glm::{Covariance, Family, Glm, GlmPath, QuantileRegression, Response, Solver};
use phalanx_learn::{Fit, Predict};

/// Columns of a data set by name, the target first, of rows that have it.
fn read(file: &str, columns: &[&str]) -> (Array2<f64>, Array1<f64>) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/data").join(file);
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    let places: Vec<usize> =
        columns.iter().map(|name| header.iter().position(|column| column == *name).unwrap()).collect();
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.unwrap();
        let Ok(target) = record[places[0]].parse::<f64>() else { continue };
        y.push(target);
        x.extend(places[1..].iter().map(|place| record[*place].parse::<f64>().unwrap()));
    }
    (Array2::from_shape_vec((y.len(), columns.len() - 1), x).unwrap(), y.into())
}

fn pinball(quantile: f64, y: &Array1<f64>, fitted: &Array1<f64>) -> f64 {
    let loss = |(y, at): (&f64, &f64)| (quantile * (y - at)).max((quantile - 1.) * (y - at));
    y.iter().zip(fitted).map(loss).sum::<f64>() / y.len() as f64
}

/// Quantile, alpha, the least objective, and where it is.
type Case = (f64, f64, f64, &'static [f64]);

fn check(x: &Array2<f64>, y: &Array1<f64>, cases: &[Case]) {
    for &(quantile, alpha, objective, terms) in cases {
        let model = QuantileRegression::new().quantile(quantile).alpha(alpha).l1_ratio(1.).fit(x, y).unwrap();
        let report = model.report();
        let by_hand = pinball(quantile, y, &model.predict(x).unwrap()) + alpha * model.coef().mapv(f64::abs).sum();
        assert!(report.converged, "{quantile} {alpha}: {report:?}");
        assert!((report.objective / by_hand - 1.).abs() < 1e-12, "{quantile} {alpha}: {report:?} {by_hand}");
        let gap = report.duality_gap.unwrap() / objective;
        assert!(gap <= 1e-9, "{quantile} {alpha}: {report:?}");
        // Not above scikit-learn's by more than the gap says, and not below the least.
        assert!((report.objective / objective - 1.).abs() < gap + 1e-11, "{quantile} {alpha}: {report:?} {objective}");
        let found: Vec<f64> = std::iter::once(model.intercept()).chain(model.coef().iter().copied()).collect();
        for (found, expected) in found.iter().zip(terms) {
            assert!((found - expected).abs() < 1e-5 * (1. + expected.abs()), "{quantile} {alpha} {found} {expected}");
        }
        let share = y.iter().zip(&model.predict(x).unwrap()).filter(|(y, at)| y < at).count() as f64 / y.len() as f64;
        assert!((share - quantile).abs() < 0.04, "{share}");
        assert!(report.n_passes < 60, "{quantile} {alpha}: {report:?}");
    }
}

#[test]
fn bike_rides_are_scikit_learns() {
    let (x, y) = read("bikeshare.csv", &["bikers", "temp", "hum", "windspeed", "hr"]);
    check(
        &x,
        &y,
        &[
            (
                0.1,
                0.,
                12.227_711_218_448_4,
                &[-2.216_203_889, 83.461_193_179, -57.841_208_672, -0.015_513_834, 2.934_310_808],
            ),
            (
                0.5,
                0.,
                38.420_977_489_541_8,
                &[31.849_292_446, 217.504_031_237, -129.452_306_155, -17.765_158_187, 5.746_499_069],
            ),
            (0.5, 0.5, 48.333_219_412_166_8, &[33., 0., 0., 0., 6.454_545_454_55]),
            (
                0.9,
                0.,
                22.624_675_780_474_6,
                &[55.012_996_218, 468.292_492_492, -152.044_388_412, -22.814_935_011, 9.202_539_726],
            ),
            (0.9, 0.5, 29.446_350_491_613_6, &[346., 0., 0., 0., 0.]),
        ],
    );
}

#[test]
fn salaries_are_scikit_learns() {
    let (x, y) = read("hitters.csv", &["Salary", "AtBat", "Hits", "HmRun", "Walks", "Years", "CRuns"]);
    assert_eq!(y.len(), 263);
    check(
        &x,
        &y,
        &[
            (
                0.25,
                0.,
                76.584_830_852_357_5,
                &[
                    -37.635_621_926,
                    -0.578_423_623,
                    2.966_745_148,
                    -1.202_089_422,
                    1.858_914_756,
                    10.255_130_204,
                    0.377_069_437,
                ],
            ),
            (0.25, 2., 80.802_554_243_278_7, &[16.422_925_006, 0.198_236_661, 0., 0., 0., 0., 0.601_460_290]),
            (
                0.5,
                0.,
                109.503_462_479_349,
                &[
                    -49.056_511_253,
                    -1.103_723_527,
                    5.660_194_977,
                    0.499_282_741,
                    2.106_195_872,
                    8.996_832_248,
                    0.561_902_951,
                ],
            ),
            (0.5, 2., 117.461_230_031_094, &[-81.558_870_679, 0.753_860_703, 0., 0., 0., 0., 0.720_241_734]),
        ],
    );
}

#[test]
fn offsets_weights_elastic_nets_and_bounds_have_a_certificate_too() {
    let (x, y) = read("hitters.csv", &["Salary", "AtBat", "Hits", "HmRun", "Walks", "Years", "CRuns"]);
    let offset = x.column(1).mapv(|hits| 2. * hits);
    let regression = QuantileRegression::new().quantile(0.3);
    let plain = regression.fit(&x, &y).unwrap();
    let moved = regression.fit(&x, Response::new(&y).offset(&offset)).unwrap();
    assert!((moved.coef()[1] + 2. - plain.coef()[1]).abs() < 1e-5, "{} {}", moved.coef(), plain.coef());
    let weights: Array1<f64> = (0..y.len()).map(|i| (i % 3) as f64).collect();
    let rows: Vec<usize> = (0..y.len()).flat_map(|i| vec![i; i % 3]).collect();
    let weighed = regression.fit(&x, Response::new(&y).sample_weight(&weights)).unwrap();
    let repeated = regression.fit(&x.select(ndarray::Axis(0), &rows), &y.select(ndarray::Axis(0), &rows)).unwrap();
    assert!((weighed.report().objective / repeated.report().objective - 1.).abs() < 1e-9);
    for held in [
        regression.clone().alpha(0.5).l1_ratio(0.5),
        regression.clone().alpha(0.5),
        regression.clone().lower([Some(0.); 6]),
        regression.clone().alpha(2.).l1_ratio(1.).standardize(true),
        regression.clone().fit_intercept(false),
    ] {
        let report = held.fit(&x, &y).unwrap().report().clone();
        assert!(report.converged && report.duality_gap.is_some_and(|gap| gap < 1e-8 * report.objective), "{report:?}");
    }
}

#[test]
fn what_has_no_second_derivatives_is_refused_by_name() {
    let (x, y) = (array![[0.], [1.], [2.], [3.]], array![1., 1., 5., 2.]);
    let median = QuantileRegression::new();
    let message = |regression: &QuantileRegression| regression.fit(&x, &y).unwrap_err().to_string();
    for (solver, name) in
        [(Solver::Irls, "irls"), (Solver::GradientDescent, "gradient_descent"), (Solver::Admm, "admm")]
    {
        let refused = message(&median.clone().solver(solver));
        assert_eq!(refused, format!("solver is {name}, expected auto for the quantile family"));
    }
    assert_eq!(
        message(&median.clone().covariance(Covariance::Hc1)),
        "covariance is hc1, expected nonrobust, as there are no standard errors for the quantile family"
    );
    assert_eq!(message(&median.clone().quantile(1.)), "quantile is 1, expected above 0 and below 1");
    let glm = Glm::new(Family::Quantile { quantile: 0.5 });
    assert!(
        GlmPath::new(glm).fit(&x, Response::new(&y)).unwrap_err().to_string().starts_with("family is quantile(0.5)")
    );
    assert!(median.fit(&x, &y).unwrap().inference().is_none());
    // A target without spread is its own answer.
    let flat = median.fit(&x, &array![2., 2., 2., 2.]).unwrap();
    assert!(flat.report().converged && flat.coef()[0].abs() < 1e-12 && (flat.intercept() - 2.).abs() < 1e-12);
}

#[test]
fn the_smoothed_loss_is_a_family_of_its_own() {
    let (x, y) = read("hitters.csv", &["Salary", "AtBat", "Hits"]);
    let glm = Glm::new(Family::SmoothQuantile { quantile: 0.5, bandwidth: 50. });
    let models = [Solver::Irls, Solver::GradientDescent].map(|solver| glm.clone().solver(solver).fit(&x, &y).unwrap());
    assert!(models.iter().all(|model| model.report().converged));
    assert!((models[0].report().objective / models[1].report().objective - 1.).abs() < 1e-12);
    let exact = QuantileRegression::new().fit(&x, &y).unwrap();
    let above = models[0].report().objective - exact.report().objective;
    assert!(above > 0. && above < 0.25 * 50., "{above}");
}
