//! Partial pooling: its two ends are fits that others make, its middle is an explicit minimisation by SciPy.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2, Axis};
use phalanx_array::{Block, ChunkedArray, PANEL};
use phalanx_glm::{ChunkedResponse, Family, Glm, GlmModel, PooledGlm, PooledModel, Response};
use phalanx_learn::{Fit, FitOn, Predict};
use phalanx_runtime::{LocalOptions, blocking::Client};

/// Bikes rented an hour by temperature, humidity and wind, and the hour of the day.
fn bikes() -> (Array2<f64>, Array1<f64>, Array1<f64>) {
    let mut reader =
        csv::Reader::from_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../datasets/data/bikeshare.csv")).unwrap();
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let place = |name: &str| names.iter().position(|other| other == name).unwrap();
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    let column = |name: &str| -> Array1<f64> { records.iter().map(|r| r[place(name)].parse().unwrap()).collect() };
    let x = ndarray::stack(Axis(1), &["temp", "hum", "windspeed"].map(column).each_ref().map(|c| c.view()));
    (x.unwrap().as_standard_layout().into_owned(), column("bikers"), column("hr"))
}

#[track_caller]
fn close(found: (f64, &[f64]), expected: (f64, &[f64]), by: f64) {
    let pairs = found.1.iter().zip(expected.1).chain([(&found.0, &expected.0)]);
    for (a, b) in pairs {
        assert!((a - b).abs() <= by * b.abs().max(1.), "{found:?} {expected:?}");
    }
}

fn global(model: &PooledModel) -> (f64, Vec<f64>) {
    (model.global().intercept(), model.global().coef().to_vec())
}

/// Made by scipy.optimize.minimize (trust-exact, gtol 1e-12) over all 100 coefficients at once, columns standardised
/// with numpy's std, then five of Newton's steps; its gradient ends at 5e-15.
#[test]
fn the_middle_is_what_scipy_minimises_on_the_bikes_of_each_hour() {
    let (x, y, hours) = bikes();
    let expected = [
        (
            2000.,
            0.,
            18.185_038_348_379_862,
            [4.156611030771984, 1.7445196417285103, -0.5395657843282533, -0.3029185593644395],
            [3.2022143562116465, 1.835776365340315, -1.6339644815941143, 0.3865568380535363],
            [5.0939233574289, 1.6733130360040138, -0.26262626595689936, -0.3339979241020591],
        ),
        (
            20_000.,
            0.05,
            26.794_873_707_636_953,
            [4.419700694723853, 1.7254502784626229, -0.7353944022818345, -0.07918761019020275],
            [4.20118858384681, 1.7662921443474997, -1.720282478952033, 0.7730912223995031],
            [4.975550181649997, 1.9179608574983895, -0.6070453423039873, -0.14912298656089276],
        ),
    ];
    for (pooling, alpha, objective, all, night, evening) in expected {
        let pooled = PooledGlm::new(Glm::new(Family::Poisson).alpha(alpha)).pooling(pooling);
        let model = pooled.fit(&x, Response::new(&y).groups(&hours)).unwrap();
        let report = model.report();
        assert!(report.converged && report.kkt_relative < 1e-10 && report.n_iter < 15, "{report:?}");
        assert!((report.objective - objective).abs() < 1e-10 * objective, "{report:?}");
        let (intercept, coef) = global(&model);
        close((intercept, &coef), (all[0], &all[1..]), 1e-7);
        for (hour, expected) in [(3., night), (17., evening)] {
            let group = model.group(hour).unwrap();
            close((group.intercept, &group.coef), (expected[0], &expected[1..]), 1e-7);
        }
        assert_eq!(model.groups().len(), 24);
    }
}

fn data(family: Family) -> (Array2<f64>, Array1<f64>, Array1<f64>) {
    // A hash, so that no column hangs on another.
    let noise = |i: usize| {
        let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 32)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.
    };
    let n = 9 * PANEL + 50;
    let x = Array2::from_shape_fn((n, 3), |(i, j)| (1. + j as f64) * noise(3 * i + j) + 4. * j as f64);
    let groups: Array1<f64> = (0..n).map(|i| ((i * i) % 5) as f64 * 1.5 - 1.5).collect();
    let y = (0..n).map(|i| {
        let own = groups[i] / 4.;
        let eta = 0.3 + own + (0.6 - own) * x[[i, 0]] - 0.2 * (x[[i, 1]] - 4.) + 0.4 * noise(31 * i + 7);
        match family {
            Family::Binomial => f64::from(eta > 3. * noise(17 * i + 3)),
            Family::Gaussian => eta,
            _ => eta.exp().round(),
        }
    });
    let y = y.collect();
    (x, y, groups)
}

#[test]
fn little_pooling_is_a_fit_a_group_and_much_is_one_fit_of_all() {
    for family in [Family::Gaussian, Family::Poisson, Family::Binomial] {
        let (x, y, groups) = data(family);
        let weights: Array1<f64> = (0..y.len()).map(|i| (1 + i % 3) as f64).collect();
        let response = || Response::new(&y).groups(&groups).sample_weight(&weights);
        let glm = Glm::new(family);
        let own = |group: f64| -> GlmModel {
            let rows: Vec<usize> = (0..y.len()).filter(|row| groups[*row] == group).collect();
            let [y, weights] = [&y, &weights].map(|all| all.select(Axis(0), &rows));
            glm.fit(&x.select(Axis(0), &rows), Response::new(&y).sample_weight(&weights)).unwrap()
        };
        let local = PooledGlm::new(glm.clone()).pooling(1e-7).fit(&x, response()).unwrap();
        assert!(local.report().converged, "{family}: {:?}", local.report());
        for group in local.groups() {
            let alone = own(group.group);
            close((group.intercept, &group.coef), (alone.intercept(), &alone.coef().to_vec()), 1e-6);
        }
        // And the model of all is then the mean of theirs, at the columns' means.
        let mean = local.groups().iter().map(|group| group.coef[0]).sum::<f64>() / local.groups().len() as f64;
        assert!((local.global().coef()[0] - mean).abs() < 1e-6, "{family}");

        for glm in [glm.clone(), glm.clone().alpha(0.05).l1_ratio(0.7)] {
            let whole = glm.fit(&x, response()).unwrap();
            let one = PooledGlm::new(glm).pooling(1e12).fit(&x, response()).unwrap();
            assert!(one.report().converged, "{family}: {:?}", one.report());
            let (intercept, coef) = global(&one);
            close((intercept, &coef), (whole.intercept(), &whole.coef().to_vec()), 1e-6);
            for group in one.groups() {
                close((group.intercept, &group.coef), (whole.intercept(), &whole.coef().to_vec()), 1e-6);
            }
        }
    }
}

#[test]
fn groups_across_chunks_give_the_bits_of_memory_on_any_number_of_workers() {
    let (x, y, groups) = data(Family::Poisson);
    let offset: Array1<f64> = (0..y.len()).map(|i| (i % 7) as f64 / 10.).collect();
    let pooled = PooledGlm::new(Glm::new(Family::Poisson).alpha(0.01).l1_ratio(0.5)).pooling(40.);
    let expected = pooled.fit(&x, Response::new(&y).groups(&groups).offset(&offset)).unwrap();
    assert!(expected.report().converged);
    for (n_workers, chunk) in [(1, PANEL), (3, 4 * PANEL)] {
        let client =
            Client::local_with(LocalOptions { n_workers, n_threads: Some(1), ..LocalOptions::default() }).unwrap();
        let [x, y, groups, offset] = [Block::from(&x), Block::from(&y), Block::from(&groups), Block::from(&offset)]
            .map(|block| ChunkedArray::from_array(block, chunk).unwrap());
        let response = ChunkedResponse::new(&y).groups(&groups).offset(&offset);
        let found = client.wait(pooled.fit_on(&client, &x, &response)).unwrap();
        assert_eq!(found, expected, "{n_workers} workers");
    }
}

#[test]
fn rows_are_predicted_by_their_group_and_else_by_all() {
    let (x, y, groups) = data(Family::Gaussian);
    let model = PooledGlm::new(Glm::default()).pooling(100.).fit(&x, Response::new(&y).groups(&groups)).unwrap();
    let text = serde_json::to_string(&model).unwrap();
    assert_eq!(serde_json::from_str::<PooledModel>(&text).unwrap(), model);
    let rows = x.slice(ndarray::s![..3, ..]);
    let found = model.predict(rows, ndarray::array![0., 99., f64::NAN].view()).unwrap();
    let all = model.global().predict(rows).unwrap();
    assert_eq!((found[1], found[2]), (all[1], all[2]));
    let own = model.group(-0.).unwrap();
    let by_hand = own.intercept + rows.row(0).iter().zip(&own.coef).map(|(x, b)| x * b).sum::<f64>();
    assert!((found[0] - by_hand).abs() < 1e-12 && found[0] != all[0]);
    let wrong = model.predict(x.slice(ndarray::s![..3, ..2]), groups.slice(ndarray::s![..3])).unwrap_err();
    assert_eq!(wrong.to_string(), "X has 2 columns, but the model was fitted on 3");
}

#[test]
fn what_cannot_be_pooled_is_refused() {
    let (x, y, groups) = data(Family::Poisson);
    let glm = Glm::new(Family::Poisson);
    let refused = |pooled: PooledGlm, response: Response<'_>| pooled.fit(&x, response).unwrap_err().to_string();
    let new = || PooledGlm::new(glm.clone());
    let with = || Response::new(&y).groups(&groups);
    assert_eq!(refused(new().pooling(0.), with()), "pooling is 0, expected a number above 0");
    assert_eq!(refused(new(), Response::new(&y)), "groups is missing, expected a number a row, in the response");
    let zeros = Array1::zeros(y.len());
    let refused = refused(new(), Response::new(&zeros).groups(&groups));
    assert_eq!(refused, "poisson: y has one value only, at the end of its range, so there is no finite optimum");
}
