//! The promise of design and README: the same data give the same bits for any chunks, any number of workers, and any
//! loss of one, on real clusters.

#![allow(clippy::unwrap_used)]

use ndarray::ArrayD;
use phalanx::{
    array::{ChunkedArray, panel::PANEL},
    datasets::{make_classification, make_counts, make_regression},
    glm::{GlmModel, Solver},
    learn::FitOn,
    prelude::*,
    runtime::LocalOptions,
};

/// More than 40 panels and a ragged end.
const N_ROWS: usize = 43 * PANEL + 77;
/// Panels in a chunk.
const CHUNKS: [usize; 3] = [1, 3, 16];

/// Clusters of one, two and three workers in this process, and of two that talk through TCP.
fn clusters() -> Vec<LocalCluster> {
    let through_tcp = LocalOptions {
        n_workers: 2,
        n_threads: Some(1),
        listen: Some("tcp://127.0.0.1:0".into()),
        ..LocalOptions::default()
    };
    let mut clusters: Vec<_> = (1..=3).map(|n_workers| LocalCluster::threads(n_workers, 1).unwrap()).collect();
    clusters.push(LocalCluster::start(through_tcp).unwrap());
    clusters
}

fn bits(array: &ArrayD<f64>) -> (Vec<usize>, Vec<u64>) {
    (array.shape().to_vec(), array.iter().map(|number| number.to_bits()).collect())
}

/// One of everything that adds up over rows, columns or both.
fn results(chunk_rows: usize) -> Vec<ChunkedArray> {
    let x = ChunkedArray::random_normal(1, 3., 2., &[N_ROWS, 5], chunk_rows).unwrap();
    let y = ChunkedArray::random_uniform(2, -1., 1., &[N_ROWS], chunk_rows).unwrap();
    let centred = (&x - &x.mean_axis(0).unwrap()) / &x.std_axis(0, 1.).unwrap();
    vec![
        x.sum().unwrap(),
        x.mean_axis(0).unwrap(),
        x.var(0.).unwrap(),
        x.min_axis(0).unwrap(),
        x.max().unwrap(),
        x.sum_axis(1).unwrap().sum().unwrap(),
        x.t().dot(&y).unwrap(),
        y.dot(&y).unwrap(),
        centred.t().dot(&centred).unwrap(),
        centred.slice_rows(100..N_ROWS - 300).unwrap().exp().sum_axis(0).unwrap(),
        ChunkedArray::vstack(&[&x.slice_rows(0..1000).unwrap(), &centred]).unwrap().var_axis(0, 0.).unwrap(),
    ]
}

#[tokio::test]
async fn arrays_have_the_same_bits_for_any_chunks_and_workers() {
    let mut expected = None;
    for cluster in clusters() {
        let client = cluster.client().await.unwrap();
        for n_panels in CHUNKS {
            let computed = client.compute(&results(n_panels * PANEL)).await.unwrap();
            let found: Vec<_> = computed.iter().map(bits).collect();
            assert_eq!(found, *expected.get_or_insert_with(|| found.clone()), "chunks of {n_panels} panels");
        }
        drop(client);
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn models_have_the_same_bits_in_memory_and_for_any_chunks_and_workers() {
    let seen = |model: &GlmModel| {
        let errors = model.inference().map(|inference| inference.standard_errors().mapv(f64::to_bits));
        (model.intercept().to_bits(), model.coef().mapv(f64::to_bits), errors)
    };
    let clusters = clusters();
    let mut clients = Vec::new();
    for cluster in &clusters {
        clients.push(cluster.client().await.unwrap());
    }
    for solver in [Solver::Irls, Solver::GradientDescent, Solver::Admm, Solver::Lbfgs, Solver::NewtonCg] {
        // L-BFGS and Newton-CG are for penalties without L1.
        let share = if matches!(solver, Solver::Lbfgs | Solver::NewtonCg) { 0. } else { 1. };
        let problem = make_regression(N_ROWS, 4).noise(1.).seed(3);
        let gaussian = LinearRegression::new().alpha(0.1).l1_ratio(0.5 * share).solver(solver);
        let here = problem.in_memory().unwrap();
        let expected = seen(&gaussian.fit(&here.x, &here.y).unwrap());
        for n_panels in CHUNKS {
            let there = problem.chunks(n_panels * PANEL).unwrap();
            for client in &clients {
                let model = gaussian.fit_on(client, &there.x, &there.y).await.unwrap();
                assert_eq!(seen(&model), expected, "gaussian by {solver:?}, chunks of {n_panels} panels");
            }
        }
        // The other families by one layout each: their kernels differ, their way through the cluster does not.
        let binomial = LogisticRegression::new().alpha(0.01).l1_ratio(share).solver(solver);
        let problem = make_classification(N_ROWS, 4).seed(3);
        let (here, there) = (problem.in_memory().unwrap(), problem.chunks(3 * PANEL).unwrap());
        let model = binomial.fit_on(&clients[2], &there.x, &there.y).await.unwrap();
        assert_eq!(seen(&model), seen(&binomial.fit(&here.x, &here.y).unwrap()), "binomial by {solver:?}");
        let poisson = PoissonRegression::new().solver(solver);
        let problem = make_counts(N_ROWS, 4).seed(3);
        let (here, there) = (problem.in_memory().unwrap(), problem.chunks(PANEL).unwrap());
        let model = poisson.fit_on(&clients[3], &there.x, &there.y).await.unwrap();
        assert_eq!(seen(&model), seen(&poisson.fit(&here.x, &here.y).unwrap()), "Poisson by {solver:?}");
    }
}
