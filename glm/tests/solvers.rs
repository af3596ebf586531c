//! argmin's solvers find the optimum that Newton's method finds, on the data sets that are vendored.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2, array};
use phalanx_glm::{Family, Glm, Link, Solver};
use phalanx_learn::Fit;

fn read(file: &str, columns: &[&str]) -> (Array2<f64>, Array1<f64>) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/data").join(file);
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    let places: Vec<usize> =
        columns.iter().map(|name| header.iter().position(|column| column == *name).unwrap()).collect();
    let number = |text: &str| match text {
        "Yes" => 1.,
        "No" => 0.,
        number => number.parse().unwrap(),
    };
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.unwrap();
        y.push(number(&record[places[0]]));
        x.extend(places[1..].iter().map(|place| number(&record[*place])));
    }
    (Array2::from_shape_vec((y.len(), columns.len() - 1), x).unwrap(), y.into())
}

/// Agreement with Newton's method, in so many passes at most.
fn check(glm: &Glm, x: &Array2<f64>, y: &Array1<f64>, most: [usize; 2]) {
    let expected = glm.clone().solver(Solver::Irls).fit(x, y).unwrap();
    assert!(expected.report().converged, "{:?}", expected.report());
    for (solver, most) in [Solver::Lbfgs, Solver::NewtonCg].into_iter().zip(most) {
        let found = glm.clone().solver(solver).tol(1e-11).fit(x, y).unwrap();
        let report = found.report();
        assert!(report.converged && report.n_passes <= most, "{:?} {} {solver:?} {report:?}", glm.family, glm.alpha);
        assert!((report.objective / expected.report().objective - 1.).abs() < 1e-12, "{solver:?} {report:?}");
        let near = |a: f64, b: f64| (a / b - 1.).abs() < 1e-8;
        assert!(near(found.intercept(), expected.intercept()), "{solver:?} {}", found.intercept());
        for (a, b) in found.coef().iter().zip(expected.coef()) {
            assert!(near(*a, *b), "{solver:?}: {} {}", found.coef(), expected.coef());
        }
    }
}

#[test]
fn they_find_what_newtons_method_finds() {
    let (x, y) = read("default.csv", &["default", "student", "balance", "income"]);
    for alpha in [0., 1e-3] {
        check(&Glm::new(Family::Binomial).alpha(alpha), &x, &y, [20, 20]);
    }
    check(&Glm { link: Some(Link::Probit), ..Glm::new(Family::Binomial) }, &x, &y, [20, 20]);
    let (x, y) = read("bikeshare.csv", &["bikers", "temp", "hum", "windspeed", "hr"]);
    for family in [Family::Poisson, Family::NegativeBinomial { theta: 1. }, Family::Gamma, Family::Gaussian] {
        for alpha in [0., 0.01] {
            check(&Glm::new(family).alpha(alpha), &x, &y, [20, 20]);
        }
    }
}

#[test]
fn kinks_and_bounds_are_refused_with_the_solver_to_use() {
    let (x, y) = (array![[0.], [1.], [2.], [4.]], array![1., 1., 5., 2.]);
    let message = |glm: &Glm| glm.fit(&x, &y).unwrap_err().to_string();
    let glm = Glm::new(Family::Gaussian).solver(Solver::Lbfgs);
    assert_eq!(
        message(&glm.clone().alpha(0.1).l1_ratio(0.5)),
        "solver is lbfgs, expected irls, gradient_descent or admm for a penalty with an L1 share"
    );
    assert_eq!(
        message(&glm.clone().solver(Solver::NewtonCg).lower([Some(0.)])),
        "solver is newton_cg, expected irls, gradient_descent or admm for bounded coefficients"
    );
    // Without a penalty its share is of nothing.
    assert!(glm.l1_ratio(1.).fit(&x, &y).unwrap().report().converged);
}
