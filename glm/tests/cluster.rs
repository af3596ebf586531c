//! The same fit in memory and on clusters of one, two and three workers: the same bits.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2};
use phalanx_array::{ChunkedArray, PANEL};
use phalanx_glm::{Family, Glm, Solver};
use phalanx_learn::{Fit, FitOn, Predict};
use phalanx_runtime::{LocalOptions, blocking::Client};

#[test]
fn any_number_of_workers_gives_the_bits_of_memory() {
    let n = 40 * PANEL + 19;
    let noise = |i: usize| ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.;
    let x = Array2::from_shape_fn((n, 3), |(i, j)| noise(3 * i + j));
    let y: Array1<f64> = x.rows().into_iter().map(|row| (1. + row[0] - 0.5 * row[1]).exp().round()).collect();
    for solver in [Solver::GradientDescent, Solver::Admm] {
        let glm = Glm::new(Family::Poisson).alpha(0.01).l1_ratio(0.5).solver(solver);
        let expected = glm.fit(&x, &y).unwrap();
        assert!(expected.report().converged);
        for (n_workers, chunk_rows) in [(1, PANEL), (2, 3 * PANEL), (3, 16 * PANEL)] {
            let client =
                Client::local_with(LocalOptions { n_workers, n_threads: Some(1), ..LocalOptions::default() }).unwrap();
            let [lazy_x, lazy_y] =
                [ChunkedArray::from_array(&x, chunk_rows).unwrap(), ChunkedArray::from_array(&y, chunk_rows).unwrap()];
            let model = client.wait(glm.fit_on(&client, &lazy_x, &lazy_y)).unwrap();
            assert_eq!(model, expected, "{solver:?} on {n_workers} workers");
            let predicted = client.wait(client.compute(&model.predict(&lazy_x).unwrap())).unwrap();
            assert_eq!(predicted.into_dimensionality().unwrap(), expected.predict(&x).unwrap());
        }
    }
}

#[test]
fn what_is_wrong_with_the_data_is_said_as_in_memory() {
    let client = Client::local().unwrap();
    let x = ChunkedArray::random_normal(1, 0., 1., &[5 * PANEL, 2], PANEL).unwrap();
    let y = ChunkedArray::arange(-700., 1., 5 * PANEL, PANEL).unwrap();
    let error = client.wait(Glm::new(Family::Poisson).fit_on(&client, &x, &y)).unwrap_err();
    assert_eq!(error.to_string(), "poisson: y is -700 in row 0, expected 0 or more");
}
