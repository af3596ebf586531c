//! The same answers from data in chunks, on workers.

use ndarray::Array1;
use phalanx_array::{ChunkedArray, PANEL};
use phalanx_glm::{ChunkedResponse, Family, Glm};
use phalanx_learn::FitOn;
use phalanx_runtime::{LocalOptions, blocking::Client};

use crate::{
    answers::{Answer, PENALISED, SOLVERS, UNPENALISED},
    designs::{Design, bikeshare, default, edge},
};

fn two_workers() -> Client {
    Client::local_with(LocalOptions { n_workers: 2, n_threads: Some(1), ..LocalOptions::default() }).unwrap()
}

fn chunked(values: &Array1<f64>, rows: usize) -> ChunkedArray {
    ChunkedArray::from_array(values, rows).unwrap()
}

fn x_of(design: &Design, rows: usize) -> ChunkedArray {
    ChunkedArray::from_array(&design.x, rows).unwrap()
}

#[test]
fn default_of_credit_cards_in_chunks() {
    let (client, case) = (two_workers(), "default_logit_full");
    let answer = Answer::of(case);
    let design = default(&answer.names());
    let (x, y) = (x_of(&design, 7 * PANEL), chunked(&design.y, 3 * PANEL));
    for solver in SOLVERS {
        let glm = Glm::new(Family::Binomial).solver(solver);
        let model = client.wait(glm.fit_on(&client, &x, &y)).unwrap();
        answer.hold_coefficients(case, &model, UNPENALISED.others);
        answer.hold_numbers(case, &model, UNPENALISED.numbers);
    }
}

#[test]
fn bikeshare_elastic_net_in_chunks() {
    let (client, case) = (two_workers(), "bikeshare_poisson_enet");
    let answer = Answer::of(case);
    let design = bikeshare(&answer.names()).standardised();
    let (x, y) = (x_of(&design, 5 * PANEL), chunked(&design.y, 5 * PANEL));
    let glm = Glm::new(Family::Poisson).alpha(0.5).l1_ratio(0.5);
    let model = client.wait(glm.fit_on(&client, &x, &y)).unwrap();
    answer.hold_coefficients(case, &model, PENALISED.irls);
    answer.hold_numbers(case, &model, PENALISED.numbers);
}

/// The rows eight times over with an eighth of the weight, so that there are several chunks.
#[test]
fn offsets_and_weights_in_chunks() {
    let (client, case) = (two_workers(), "edge_offset_and_weights_poisson");
    let answer = Answer::of(case);
    let design = edge("collinear", "y_pois", &answer.names());
    let rows: Vec<usize> = (0..8 * 200).map(|i| i % 200).collect();
    let by_row = |value: fn(usize) -> f64| rows.iter().map(|i| value(*i)).collect::<Array1<f64>>();
    let all = design.select(&rows);
    let (x, y) = (x_of(&all, 2 * PANEL), chunked(&all.y, PANEL));
    let offset = chunked(&by_row(|i| (i % 7) as f64 / 10.), 3 * PANEL);
    let weights = chunked(&by_row(|i| (i % 3) as f64 / 8.), PANEL);
    let response = ChunkedResponse::new(&y).offset(&offset).sample_weight(&weights);
    for solver in SOLVERS {
        let glm = Glm::new(Family::Poisson).solver(solver);
        let model = client.wait(glm.fit_on(&client, &x, &response)).unwrap();
        answer.hold_coefficients(case, &model, UNPENALISED.others);
        answer.hold_numbers(case, &model, UNPENALISED.numbers);
    }
}
