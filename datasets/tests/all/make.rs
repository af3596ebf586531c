//! Generators: the same numbers for any chunking, and the truth that they promise.

use ndarray::{Array1, Array2, s};
use phalanx_array::PANEL;
use phalanx_datasets::{Make, make_classification, make_counts, make_regression};

use crate::compute::compute;

fn all() -> [Make; 3] {
    [
        make_regression(1000, 4).noise(2.).bias(1.).seed(3),
        make_classification(1000, 4).flip_y(0.1).seed(3),
        make_counts(1000, 4).bias(0.5).seed(3),
    ]
}

#[test]
fn any_chunking_gives_the_numbers_of_memory() {
    for make in all() {
        let here = make.in_memory().unwrap();
        for chunk_rows in [PANEL, 2 * PANEL, 3 * PANEL, 1000, 4096] {
            let there = make.chunks(chunk_rows).unwrap();
            assert_eq!((&there.coef, there.bias), (&here.coef, here.bias));
            let (x, y) = compute(&(there.x, there.y)).unwrap().output;
            assert_eq!(x.into_dimensionality().unwrap(), here.x, "{make:?} in chunks of {chunk_rows}");
            assert_eq!(y.into_dimensionality().unwrap(), here.y, "{make:?} in chunks of {chunk_rows}");
        }
    }
}

#[test]
fn more_rows_leave_the_first_as_they_are() {
    for (few, many) in [
        (make_regression(300, 3).noise(1.), make_regression(900, 3).noise(1.)),
        (make_counts(300, 3), make_counts(900, 3)),
    ] {
        let (few, many) = (few.in_memory().unwrap(), many.in_memory().unwrap());
        assert_eq!(few.x, many.x.slice(s![..300, ..]));
        assert_eq!(few.y, many.y.slice(s![..300]));
    }
}

#[test]
fn a_seed_is_one_problem() {
    let made = |seed| make_regression(10, 3).seed(seed).in_memory().unwrap();
    assert_eq!(made(1), made(1));
    assert_ne!(made(1).x, made(2).x);
    assert_ne!(made(1).coef, made(2).coef);
}

#[test]
fn without_noise_a_regression_is_exactly_linear() {
    let made = make_regression(500, 20).n_informative(3).bias(-2.).seed(5).in_memory().unwrap();
    assert_eq!(made.coef.iter().filter(|&&b| b != 0.).count(), 3);
    let expected: Array1<f64> = made.x.dot(&made.coef) + made.bias;
    assert!((&made.y - &expected).iter().all(|d| d.abs() < 1e-10));
}

#[test]
fn moments_are_those_of_the_documentation() {
    let n = 100_000;
    let made = make_regression(n, 3).noise(2.).seed(1).in_memory().unwrap();
    let noise: Array1<f64> = &made.y - &made.x.dot(&made.coef);
    // Five standard errors.
    let bound = 5. / (n as f64).sqrt();
    assert!(noise.mean().unwrap().abs() < 2. * bound && (noise.std(1.) - 2.).abs() < 2. * bound);
    let x: &Array2<f64> = &made.x;
    assert!(x.mean().unwrap().abs() < bound && (x.std(1.) - 1.).abs() < bound);

    let made = make_classification(n, 3).scale(2.).seed(1).in_memory().unwrap();
    let chance = made.x.dot(&made.coef).mapv(|eta| 1. / (1. + (-eta).exp()));
    assert!((made.y.mean().unwrap() - chance.mean().unwrap()).abs() < bound);

    let made = make_counts(n, 3).bias(1.).seed(1).in_memory().unwrap();
    let rate = made.x.dot(&made.coef).mapv(|eta| (eta + 1.).exp());
    let spread = rate.mean().unwrap().sqrt();
    assert!((made.y.mean().unwrap() - rate.mean().unwrap()).abs() < bound * spread);

    let made = make_classification(n, 1).scale(0.).flip_y(1.).seed(2).in_memory().unwrap();
    assert!((made.y.mean().unwrap() - 0.5).abs() < bound);
}

#[test]
fn empty_and_single_problems() {
    let made = make_regression(0, 3).in_memory().unwrap();
    assert_eq!((made.x.dim(), made.y.len()), ((0, 3), 0));
    let none = make_counts(5, 2).n_informative(0).in_memory().unwrap();
    assert_eq!(none.coef, Array1::<f64>::zeros(2));
    let large = make_counts(100, 1).bias(60.).in_memory().unwrap();
    assert!(large.y.iter().all(|y| *y > 1e20));
}

#[test]
fn parameters_out_of_range() {
    let told = |make: Make| make.in_memory().unwrap_err().to_string();
    assert_eq!(told(make_regression(1, 0)), "n_features is 0, expected 1 or more");
    assert_eq!(
        told(make_regression(1, 3).n_informative(4)),
        "n_informative is 4, expected 0 to 3, the number of features"
    );
    assert_eq!(told(make_regression(1, 3).noise(-1.)), "noise is -1, expected 0 or more");
    assert_eq!(told(make_regression(1, 3).scale(f64::NAN)), "scale is NaN, expected 0 or more");
    assert_eq!(told(make_regression(1, 3).bias(f64::INFINITY)), "bias is inf, expected a finite number");
    assert_eq!(told(make_classification(1, 3).flip_y(1.5)), "flip_y is 1.5, expected 0 to 1");
    assert_eq!(told(make_counts(1, 3).noise(1.)), "noise is 1, expected 0, as make_counts has no noise");
    assert_eq!(
        make_counts(1000, 3).chunks(100).unwrap_err().to_string(),
        "chunk_rows is 100, expected a multiple of 256, 256 at least"
    );
}
