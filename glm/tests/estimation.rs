//! Theta of the negative binomial and Tweedie's power, estimated, against statsmodels 0.15 on the data sets that are
//! vendored: its `NegativeBinomial` is fitted by Newton's method to a gradient of 1e-12; of Tweedie's power it has no
//! maximum likelihood, so there its `Tweedie(eql=False).loglike`, which is the series of Dunn and Smyth by scipy, was
//! made largest over power and dispersion, the coefficients refitted at each power.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2, array};
use phalanx_glm::{
    Family, Glm, GlmPath, NegativeBinomialRegression, PoissonRegression, Response, Solver, TweedieRegression,
};
use phalanx_learn::Fit;

/// Columns of a data set by name.
fn read(file: &str, target: &str, columns: &[&str], number: fn(&str) -> f64) -> (Array2<f64>, Array1<f64>) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/data").join(file);
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    let place = |name: &str| header.iter().position(|column| column == name).unwrap();
    let (target, places) = (place(target), columns.iter().map(|name| place(name)).collect::<Vec<_>>());
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.unwrap();
        y.push(number(&record[target]));
        x.extend(places.iter().map(|place| number(&record[*place])));
    }
    (Array2::from_shape_vec((y.len(), columns.len()), x).unwrap(), y.into())
}

fn number(text: &str) -> f64 {
    match text {
        "Yes" => 1.,
        "No" => 0.,
        number => number.parse().unwrap(),
    }
}

fn near(found: f64, expected: f64, tolerance: f64) {
    assert!((found / expected - 1.).abs() < tolerance, "{found} {expected}");
}

#[test]
fn theta_is_that_of_statsmodels_and_the_fit_that_at_theta() {
    let (x, y) = read("bikeshare.csv", "bikers", &["temp", "hum", "windspeed"], number);
    let model = NegativeBinomialRegression::new().estimate_theta(true).fit(&x, &y).unwrap();
    let report = model.report();
    let found = report.estimate.unwrap();
    let Family::NegativeBinomial { theta } = model.family() else { panic!("{}", model.family()) };
    near(theta, 1.075_612_637_315_625_4, 1e-8);
    // That of its alpha, 1/theta, is 0.012947159249249138.
    near(found.standard_error.unwrap() / (theta * theta), 0.012_947_159, 1e-5);
    near(found.log_likelihood.unwrap(), -50_504.022_543_354_484, 1e-12);
    let coefficients = [model.intercept(), model.coef()[0], model.coef()[1], model.coef()[2]];
    for (found, expected) in coefficients.into_iter().zip([4.526_437_48, 2.307_362_79, -1.291_031_43, 0.077_954_42]) {
        near(found, expected, 1e-7);
    }
    let inference = model.inference().unwrap();
    near(inference.log_likelihood.unwrap(), -50_504.022_543_354_484, 1e-12);
    near(inference.aic.unwrap(), 101_018.045_086_708_97, 1e-12);

    let at_theta = NegativeBinomialRegression::new().theta(theta).fit(&x, &y).unwrap();
    assert_eq!((model.coef(), model.intercept()), (at_theta.coef(), at_theta.intercept()));
    assert_eq!(report.null_deviance, at_theta.report().null_deviance);
    // Wherever it begins, and whoever fits the coefficients.
    let other = NegativeBinomialRegression::new().estimate_theta(true).theta(500.);
    for other in [other.clone(), other.solver(Solver::GradientDescent)] {
        let found = other.fit(&x, &y).unwrap().report().estimate.unwrap();
        let Family::NegativeBinomial { theta: other } = found.family else { panic!("{found:?}") };
        near(other, theta, 1e-8);
    }
}

#[test]
fn the_power_is_that_of_the_largest_likelihood() {
    let (mut x, y) = read("default.csv", "balance", &["student", "income"], number);
    x.column_mut(1).mapv_inplace(|income| income / 1000.);
    let model = TweedieRegression::new().estimate_power(true).fit(&x, &y).unwrap();
    let found = model.report().estimate.unwrap();
    let Family::Tweedie { power } = model.family() else { panic!("{}", model.family()) };
    near(power, 1.295_259_940_015_5, 1e-9);
    near(found.dispersion.unwrap(), 44.755_918_987_76, 1e-8);
    near(found.standard_error.unwrap(), 0.006_119_16, 1e-5);
    near(found.log_likelihood.unwrap(), -73_553.482_621_03, 1e-11);
    near(model.coef()[0], 0.250_094_660, 1e-7);
    // R's convention: the likelihood of Tweedie's families stays out of what is said of the coefficients.
    assert_eq!(model.inference().unwrap().log_likelihood, None);
}

#[test]
fn rows_repeated_are_rows_weighed_and_an_offset_counts() {
    let (x, y) = read("bikeshare.csv", "bikers", &["temp", "hum"], number);
    let n = 600;
    let weights: Array1<f64> = (0..n).map(|i| (i % 3) as f64).collect();
    let rows: Vec<usize> = (0..n).flat_map(|i| vec![i; i % 3]).collect();
    let (some, of) = (x.slice(ndarray::s![..n, ..]), y.slice(ndarray::s![..n]));
    let theta = |model: phalanx_glm::GlmModel| model.report().estimate.unwrap();
    let regression = NegativeBinomialRegression::new().estimate_theta(true);
    let weighed = theta(regression.fit(some, Response::new(of).sample_weight(weights.view())).unwrap());
    let repeated = regression.fit(&x.select(ndarray::Axis(0), &rows), &y.select(ndarray::Axis(0), &rows)).unwrap();
    let repeated = theta(repeated);
    near(weighed.log_likelihood.unwrap(), repeated.log_likelihood.unwrap(), 1e-10);
    near(weighed.standard_error.unwrap(), repeated.standard_error.unwrap(), 1e-7);
    // An offset that is a column's effect leaves theta as it is.
    let offset = some.column(0).mapv(|temp| 2. * temp);
    let plain = regression.fit(some, of).unwrap();
    let moved = regression.fit(some, Response::new(of).offset(offset.view())).unwrap();
    near(theta(moved.clone()).log_likelihood.unwrap(), theta(plain.clone()).log_likelihood.unwrap(), 1e-10);
    assert!((moved.coef()[0] + 2. - plain.coef()[0]).abs() < 1e-7);
}

#[test]
fn what_has_no_estimate_is_refused_by_name() {
    let (x, y) = (array![[0.], [1.], [2.], [3.], [4.], [5.]], array![1., 1., 2., 2., 3., 3.]);
    let message = |result: phalanx_learn::Result<phalanx_glm::GlmModel>| result.unwrap_err().to_string();
    assert_eq!(
        message(NegativeBinomialRegression::new().estimate_theta(true).fit(&x, &y)),
        "theta has no estimate: y scatters no more than a Poisson's around its means; use the poisson family"
    );
    let sizes = array![1., 2.3, 4.1, 7.9, 16.5, 30.];
    assert_eq!(
        message(TweedieRegression::new().estimate_power(true).power(3.).fit(&x, &sizes)),
        "power is 3, expected 1.01 to 1.99 to begin with where it is estimated"
    );
    assert_eq!(
        message(Glm { estimate_parameter: true, ..Glm::from(PoissonRegression::new()) }.fit(&x, &y)),
        "estimate_parameter is true, expected false for the poisson family"
    );
    let glm = Glm::new(Family::NegativeBinomial { theta: 1. }).estimate_parameter(true);
    assert_eq!(
        GlmPath::new(glm).fit(&x, Response::new(&y)).unwrap_err().to_string(),
        "estimate_parameter is true, expected false for a path"
    );
}
