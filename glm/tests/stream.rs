//! Rows a chunk at a time: held against fits to all of them at once.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2, Axis, concatenate, s};
use phalanx_array::{Block, ChunkedArray, PANEL};
use phalanx_glm::{ChunkedResponse, Covariance, Family, Glm, GlmModel, GlmStream, LinearRegression, Response, Solver};
use phalanx_learn::{Fit, Model};
use phalanx_runtime::{LocalOptions, blocking::Client};

fn data(n: usize, family: Family) -> (Array2<f64>, Array1<f64>) {
    // A linear congruential generator.
    let mut state = 7_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let x = Array2::from_shape_fn((n, 4), |(_, j)| (1. + j as f64) * (2. * draw() - 1.) + 10. * j as f64);
    let y = x.rows().into_iter().map(|row| {
        let eta = 0.7 * row[0] - 0.3 * (row[1] - 10.) + 0.1 * (row[3] - 30.);
        match family {
            Family::Binomial => f64::from(draw() < 1. / (1. + (-eta).exp())),
            Family::Gaussian => eta + draw() - 0.5,
            // A mean of exp(eta), at least: y is whole.
            _ => (eta.exp() * 2. * draw()).round(),
        }
    });
    let y = y.collect();
    (x, y)
}

fn fed(glm: &Glm, x: &Array2<f64>, y: &Array1<f64>, borders: &[usize]) -> GlmStream {
    let mut stream = glm.stream();
    for (i, rows) in borders.windows(2).enumerate() {
        let rows = rows[0]..rows[1];
        stream.add(&format!("day {i}"), x.slice(s![rows.clone(), ..]), Response::new(y.slice(s![rows]))).unwrap();
        // A nightly job: the state is a file in between.
        stream = serde_json::from_str(&serde_json::to_string(&stream).unwrap()).unwrap();
    }
    stream
}

fn terms(model: &GlmModel) -> Array1<f64> {
    let mut terms = model.coef().to_vec();
    terms.push(model.intercept());
    terms.into()
}

#[track_caller]
fn close(a: &GlmModel, b: &GlmModel, by: f64) {
    for (a, b) in terms(a).iter().zip(&terms(b)) {
        assert!((a - b).abs() <= by * b.abs().max(1.), "{a} {b}");
    }
}

#[test]
fn least_squares_of_whole_panels_is_the_fit_to_all_rows_bit_for_bit() {
    let n = 7 * PANEL + 33;
    let (x, y) = data(n, Family::Gaussian);
    for glm in [Glm::default(), Glm::default().alpha(0.05).l1_ratio(0.5), Glm::default().alpha(0.1).standardize(true)] {
        let stream = fed(&glm, &x, &y, &[0, 2 * PANEL, 3 * PANEL, 6 * PANEL, n]);
        let (found, expected) = (stream.model().unwrap(), glm.fit(&x, &y).unwrap());
        assert_eq!(terms(&found), terms(&expected));
        assert_eq!(found.report().objective, expected.report().objective);
        assert!(found.report().converged);
        let seen = &found.report().chunks;
        assert_eq!(seen.iter().map(|chunk| chunk.n_rows).collect::<Vec<_>>(), [512, 256, 768, 289]);
        if let (Some(a), Some(b)) = (found.inference(), expected.inference()) {
            for (a, b) in a.standard_errors().iter().zip(&b.standard_errors()) {
                assert!((a - b).abs() <= 1e-10 * b, "{a} {b}");
            }
            assert!((a.aic.unwrap() - b.aic.unwrap()).abs() < 1e-8);
        }
        // Chunks of any number of rows: to rounding.
        close(&fed(&glm, &x, &y, &[0, 100, 401, 402, 1500, n]).model().unwrap(), &expected, 1e-12);
    }
}

#[test]
fn a_retracted_chunk_leaves_what_weights_of_0_leave() {
    let n = 5 * PANEL;
    let (x, y) = data(n, Family::Gaussian);
    let glm = Glm::default().alpha(0.01).l1_ratio(0.3);
    let gone = PANEL..3 * PANEL;
    let mut stream = fed(&glm, &x, &y, &[0, gone.start, gone.end, n]);
    stream.retract("day 1").unwrap();
    let weights: Array1<f64> = (0..n).map(|row| f64::from(!gone.contains(&row))).collect();
    let absent = glm.fit(&x, Response::new(&y).sample_weight(&weights)).unwrap();
    assert_eq!(terms(&stream.model().unwrap()), terms(&absent));
    let rest = concatenate![Axis(0), x.slice(s![..gone.start, ..]), x.slice(s![gone.end.., ..])];
    let y_rest = concatenate![Axis(0), y.slice(s![..gone.start]), y.slice(s![gone.end..])];
    close(&stream.model().unwrap(), &glm.fit(&rest, &y_rest).unwrap(), 1e-12);
    let present: Vec<_> = stream.chunks().iter().map(|chunk| (chunk.id.as_str(), chunk.is_present)).collect();
    assert_eq!(present, [("day 0", true), ("day 1", false), ("day 2", true)]);

    // It may come back, and then counts where it comes.
    stream.add("day 1", x.slice(s![gone.clone(), ..]), Response::new(y.slice(s![gone]))).unwrap();
    close(&stream.model().unwrap(), &glm.fit(&x, &y).unwrap(), 1e-12);
}

#[test]
fn renewable_estimates_stay_within_a_fraction_of_a_standard_error() {
    let n = 20_000;
    for family in [Family::Poisson, Family::Binomial] {
        let (x, y) = data(n, family);
        let glm = Glm::new(family);
        let whole = glm.fit(&x, &y).unwrap();
        let errors = whole.inference().unwrap().standard_errors();
        let errors = concatenate![Axis(0), errors.slice(s![1..]), errors.slice(s![..1])];
        let borders: Vec<usize> = (0..=20).map(|i| i * n / 20).collect();
        let mut stream = fed(&glm, &x, &y, &borders);
        let found = stream.model().unwrap();
        let far = (&terms(&found) - &terms(&whole)) / &errors;
        let far = far.iter().fold(0_f64, |most, far| most.max(far.abs()));
        assert!(far < 0.02 && found.report().converged, "{family}: {far} {:?}", found.report());
        assert_eq!((found.report().n_rows, found.report().chunks.len()), (n, 20));
        assert!((found.report().deviance / whole.report().deviance - 1.).abs() < 1e-3);
        assert!(far > 0., "it is an approximation");

        // The rows again: the exact optimum, sooner than from nothing.
        stream.refit("all", x.view(), Response::new(&y)).unwrap();
        let again = stream.model().unwrap();
        close(&again, &whole, 1e-8);
        assert!(again.report().n_passes < whole.report().n_passes + 1, "{:?}", again.report());
        assert_eq!(stream.chunks().len(), 1);
        // One chunk is exact too.
        close(&fed(&glm, &x, &y, &[0, n]).model().unwrap(), &whole, 1e-9);
    }
}

#[test]
fn renewable_estimates_know_penalties_and_bounds() {
    let n = 20_000;
    let (x, y) = data(n, Family::Poisson);
    for glm in [
        Glm::new(Family::Poisson).alpha(0.05).l1_ratio(1.),
        Glm::new(Family::Poisson).alpha(0.02).standardize(true),
        Glm::new(Family::Poisson).lower(vec![0.; 4]),
    ] {
        let whole = glm.fit(&x, &y).unwrap();
        let found = fed(&glm, &x, &y, &[0, 4000, 9000, 15_000, n]).model().unwrap();
        close(&found, &whole, 0.02);
        let zeros = |model: &GlmModel| model.coef().iter().map(|b| *b == 0.).collect::<Vec<_>>();
        assert_eq!(zeros(&found), zeros(&whole));
    }
}

#[test]
fn chunks_on_a_cluster_leave_the_bits_of_memory() {
    let n = 6 * PANEL + 40;
    let options = LocalOptions { n_workers: 3, n_threads: Some(1), ..LocalOptions::default() };
    let client = Client::local_with(options).unwrap();
    for family in [Family::Gaussian, Family::Poisson] {
        let (x, y) = data(n, family);
        let glm = Glm::new(family).alpha(0.01);
        let cut = 4 * PANEL;
        let expected = fed(&glm, &x, &y, &[0, cut, n]);
        let mut found = glm.stream();
        for (i, rows) in [0..cut, cut..n].into_iter().enumerate() {
            let [x, y] = [Block::from(x.slice(s![rows.clone(), ..])), Block::from(y.slice(s![rows]))]
                .map(|block| ChunkedArray::from_array(block, PANEL).unwrap());
            let response = ChunkedResponse::new(&y);
            client.wait(found.add_on(&client, &format!("day {i}"), &x, &response)).unwrap();
        }
        assert_eq!(found, expected, "{family}");
    }
}

#[test]
fn what_a_stream_cannot_do_is_refused_and_changes_nothing() {
    let (x, y) = data(300, Family::Gaussian);
    let refused = |glm: Glm| glm.stream().partial_fit(x.view(), Response::new(&y)).unwrap_err().to_string();
    assert_eq!(refused(Glm::default().alpha(-1.)), "alpha is -1, expected 0 or more");
    let admm = refused(Glm::default().solver(Solver::Admm));
    assert_eq!(admm, "solver is admm, expected irls for a stream, or auto of up to 2,000 columns");
    assert!(refused(Glm::default().covariance(Covariance::Hc1)).starts_with("covariance is "));

    let mut stream = GlmStream::new(LinearRegression::new());
    assert_eq!(stream.model().unwrap_err().to_string(), "X is empty, expected at least one row and one column");
    stream.add("a", x.view(), Response::new(&y)).unwrap();
    let before = stream.clone();
    let mut bad = x.clone();
    bad[[257, 2]] = f64::NAN;
    let refused = stream.partial_fit(bad.view(), Response::new(&y)).unwrap_err().to_string();
    assert_eq!(refused, "X has NaN in row 257, column 2; drop or fill such rows first");
    let refused = stream.add("a", x.view(), Response::new(&y)).unwrap_err().to_string();
    assert_eq!(refused, r#"id is "a", expected a name that no chunk present has"#);
    let refused = stream.add("b", x.slice(s![.., ..3]), Response::new(&y)).unwrap_err().to_string();
    assert_eq!(refused, "X has 3 columns, but the model was fitted on 4");
    let refused = stream.retract("c").unwrap_err().to_string();
    assert_eq!(refused, r#"id is "c", expected one of a"#);
    assert_eq!(stream, before);

    let (mut x, y) = data(600, Family::Poisson);
    x.slice_mut(s![..300, 1]).fill(1.);
    let mut stream = Glm::new(Family::Poisson).alpha(0.1).stream();
    stream.partial_fit(x.slice(s![..300, ..]), Response::new(y.slice(s![..300]))).unwrap();
    let refused = stream.retract("0").unwrap_err().to_string();
    assert!(refused.starts_with("family is poisson, expected gaussian with the identity link"), "{refused}");
    let refused = stream.partial_fit(x.slice(s![300.., ..]), Response::new(y.slice(s![300..]))).unwrap_err();
    assert!(refused.to_string().starts_with("column 1 of X had one value in the first chunk"), "{refused}");
}

#[test]
fn the_model_file_says_which_chunks_were_seen() {
    let (x, y) = data(600, Family::Gaussian);
    let model = fed(&Glm::default(), &x, &y, &[0, 256, 600]).model().unwrap();
    let report = Model::report(&model);
    assert_eq!((&report["chunks"][1]["id"], &report["chunks"][1]["n_rows"]), (&"day 1".into(), &344.into()));
}
