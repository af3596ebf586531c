//! Designs and sparse matrices: the same bits on any number of workers, and scikit-learn's answers on CSR input.
#![allow(clippy::unwrap_used)]

use ndarray::Array1;
use phalanx_array::{ChunkedArray, PANEL};
use phalanx_glm::{ChunkedDesign, Design, Family, Glm, GlmModel};
use phalanx_learn::{Fit, FitOn, Predict};
use phalanx_runtime::{LocalOptions, blocking::Client};
use sprs::{CsMat, TriMat};

const N: usize = 300;
const P: usize = 12;

fn noise(i: usize) -> f64 {
    ((i * 7919 + 13) % 1009) as f64 / 503. - 1.
}

/// A matrix of which a fifth is there, and a linear predictor with noise.
fn matrix() -> (CsMat<f64>, Array1<f64>) {
    let mut x = TriMat::new((N, P));
    let mut eta = Array1::zeros(N);
    for i in 0..N {
        for j in 0..P {
            let value = noise(i * P + j * 31 + j * j);
            if value > 0.6 {
                let value = value * (1. + (j % 3) as f64);
                x.add_triplet(i, j, value);
                eta[i] += value * (0.5 - 0.1 * j as f64);
            }
        }
        eta[i] += 0.5 * noise(i * 17 + 5);
    }
    (x.to_csr(), eta)
}

fn assert_near(model: &GlmModel, intercept: f64, coef: [f64; P], tolerance: f64) {
    assert!(model.report().converged);
    assert!((model.intercept() - intercept).abs() < tolerance, "{}", model.intercept());
    for (a, b) in model.coef().iter().zip(coef) {
        assert!((a - b).abs() < tolerance, "{a} {b}");
    }
}

/// scikit-learn 1.9.1 on the same matrix: `LogisticRegression(C=1/(n*0.01), solver='newton-cholesky', tol=1e-14)`,
/// `PoissonRegressor(alpha=0.02, solver='newton-cholesky', tol=1e-14)` and
/// `ElasticNet(alpha=0.02, l1_ratio=0.5, tol=1e-15)`, the last on `scipy.sparse.csr_matrix`.
#[test]
fn sparse_matrices_give_the_answers_of_scikit_learn() {
    let (x, eta) = matrix();
    assert_eq!(x.nnz(), 721);
    let y = eta.mapv(|eta| f64::from(eta > 0.1));
    let model = Glm::new(Family::Binomial).alpha(0.01).fit(&x, &y).unwrap();
    let coef = [
        0.11581658425537715,
        1.8713916546526104,
        0.11496567890189392,
        0.2734625818772497,
        -0.5169730682944952,
        -0.4549255916229015,
        -0.48172551068599434,
        -0.5775438353753077,
        -0.5427052460216549,
        -1.0577246074808417,
        -0.9411917437847885,
        -0.4954517444528005,
    ];
    assert_near(&model, -0.6359798200133626, coef, 1e-8);
    let y = eta.mapv(|eta| eta.clamp(-3., 3.).exp().floor());
    let model = Glm::new(Family::Poisson).alpha(0.02).fit(&x, &y).unwrap();
    let coef = [
        0.24379724538264985,
        0.9371336221829918,
        0.3785790306321401,
        0.40381430869133783,
        -0.3637585773208123,
        -0.3900294349189456,
        -0.13322807160448435,
        -0.29588135963295414,
        -0.46281401769923564,
        -0.6312161663809672,
        -0.6960529179841591,
        -0.5568878775972727,
    ];
    assert_near(&model, -1.0662535366225683, coef, 1e-6);
    let model = Glm::new(Family::Gaussian).alpha(0.02).l1_ratio(0.5).fit(&x, &eta).unwrap();
    let coef = [
        0.10627310443741941,
        0.43659996717558314,
        0.38989020902763544,
        0.013390608080231028,
        0.,
        0.,
        -0.08833036997159102,
        -0.06710428086526521,
        -0.30931644694909016,
        -0.18339643899425304,
        -0.4083595638748973,
        -0.5614723329604112,
    ];
    assert_near(&model, -0.05814526056066671, coef, 1e-8);
}

#[test]
fn any_number_of_workers_gives_the_bits_of_memory() {
    let n = 30 * PANEL + 19;
    let wide = |i: usize| ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.;
    let dense = ndarray::Array2::from_shape_fn((n, 2), |(i, j)| wide(2 * i + j));
    let codes: Vec<u32> = (0..n).map(|i| (i * i % 97) as u32).collect();
    let y = Array1::from_shape_fn(n, |i| (1. + dense[[i, 0]] + 0.01 * f64::from(codes[i])).exp().round());
    let x = Design::new().dense(&dense).unwrap().categorical(&codes, 97, Some(0)).unwrap();
    let glm = Glm::new(Family::Poisson).alpha(0.01).l1_ratio(0.5);
    let expected = glm.fit(&x, &y).unwrap();
    assert!(expected.report().converged);
    for (n_workers, chunk_rows) in [(1, PANEL), (2, 3 * PANEL), (3, 16 * PANEL)] {
        let client =
            Client::local_with(LocalOptions { n_workers, n_threads: Some(1), ..LocalOptions::default() }).unwrap();
        let lazy_x = ChunkedDesign::from_design(&x, chunk_rows).unwrap();
        let lazy_y = ChunkedArray::from_array(&y, 2 * PANEL).unwrap();
        let model = client.wait(glm.fit_on(&client, &lazy_x, &lazy_y)).unwrap();
        assert_eq!(model, expected, "on {n_workers} workers");
        let predicted = client.wait(client.compute(&model.predict(&lazy_x).unwrap())).unwrap();
        assert_eq!(predicted.into_dimensionality().unwrap(), expected.predict(&x).unwrap());
    }
}
