//! Fits to designs against fits to the same numbers in one dense array.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2};
use phalanx_array::{Block, ChunkedArray, PANEL};
use phalanx_learn::{Fit, Predict};
use sprs::TriMat;

use super::{ChunkedDesign, Design, chunked};
use crate::{
    ChunkedResponse, ClassWeight, Covariance, Family, Glm, GlmModel, GlmPath, Response, Solver,
    cluster::tests::{Here, wait},
};

fn noise(i: usize) -> f64 {
    ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.
}

/// Two dense columns, a category of 12 levels, 5 sparse columns of which one is constant, a category of 4 levels.
fn design(n: usize) -> Design {
    let dense = Array2::from_shape_fn((n, 2), |(i, j)| 10. * j as f64 + (1. + 3. * j as f64) * noise(2 * i + j));
    let levels = |k: u32, seed: usize| -> Vec<u32> {
        (0..n).map(|i| ((noise(i * seed + 3) + 1.) * 0.5 * f64::from(k)) as u32 % k).collect()
    };
    let mut words = TriMat::new((n, 5));
    for i in 0..n {
        words.add_triplet(i, 2, 3.5);
        for j in [0, 1, 3, 4] {
            if noise(i * 5 + j * 101) > 0.4 {
                words.add_triplet(i, j, 1. + 2. * noise(i + 7 * j));
            }
        }
    }
    Design::new()
        .dense(dense)
        .and_then(|x| x.categorical(&levels(12, 5), 12, Some(3)))
        .and_then(|x| x.sparse(&words.to_csr()))
        .and_then(|x| x.categorical(&levels(4, 11), 4, Some(0)))
        .unwrap()
}

fn target(x: &Design, family: Family) -> Array1<f64> {
    let x = x.to_array();
    let eta = |i: usize| {
        let row = x.row(i);
        let sum: f64 = row.iter().enumerate().map(|(j, x)| x * noise(j * 53 + 1)).sum();
        0.1 * sum + 0.4 * noise(31 * i + 7)
    };
    let etas = Array1::from_shape_fn(x.nrows(), eta);
    let middle = etas.mean().unwrap();
    (0..x.nrows())
        .map(|i| {
            let eta = etas[i] - middle;
            match family {
                Family::Gaussian => eta,
                Family::Binomial => f64::from(eta > 0.4 * noise(i * 3)),
                Family::Gamma => eta.exp() + 0.1,
                _ => eta.exp().round(),
            }
        })
        .collect()
}

/// Weights, with zeros, an offset and groups.
fn extras(n: usize) -> [Array1<f64>; 3] {
    let column = |of: fn(usize) -> f64| (0..n).map(of).collect();
    [column(|i| ((i * 7) % 4) as f64), column(|i| ((i * 13) % 17) as f64 / 40.), column(|i| ((i * 5) % 23) as f64)]
}

fn assert_near(found: &GlmModel, expected: &GlmModel, tolerance: f64, what: &str) {
    assert!(found.report().converged && expected.report().converged, "{what}: {:?}", found.report());
    let far = |a: f64, b: f64| (a - b).abs() > tolerance * b.abs().max(1.);
    for (j, (a, b)) in found.coef().iter().zip(expected.coef()).enumerate() {
        assert!(!far(*a, *b), "{what}, column {j}: {a} {b}");
    }
    assert!(!far(found.intercept(), expected.intercept()), "{what}");
    let (a, b) = (found.report(), expected.report());
    assert_eq!((&a.constant_columns, &a.collinear_columns), (&b.constant_columns, &b.collinear_columns), "{what}");
    assert!(!far(a.deviance, b.deviance) && !far(a.null_deviance, b.null_deviance), "{what}");
}

#[test]
fn fits_are_those_of_the_dense_array() {
    let x = design(9 * PANEL + 31);
    let dense = x.to_array();
    let [weights, offset, _] = extras(x.n_rows());
    for family in [Family::Gaussian, Family::Binomial, Family::Poisson, Family::Gamma] {
        let y = target(&x, family);
        for (alpha, l1_ratio) in [(0., 0.), (0.01, 0.), (0.003, 0.5)] {
            let glm = Glm::new(family).alpha(alpha).l1_ratio(l1_ratio).tol(1e-11);
            let both = |glm: &Glm, weighted: bool, what: &str| {
                let mut response = Response::new(&y);
                if weighted {
                    response = response.sample_weight(&weights).offset(&offset);
                }
                let expected = glm.fit(&dense, response.clone()).unwrap();
                assert_near(&glm.fit(&x, response).unwrap(), &expected, 1e-8, &format!("{family} {alpha} {what}"));
            };
            both(&glm, false, "plain");
            both(&glm.clone().solver(Solver::GradientDescent), true, "gradient descent");
            both(&glm.clone().fit_intercept(false), true, "no intercept");
            both(&Glm { standardize: true, lower: vec![Some(-0.05); x.n_features()], ..glm }, true, "bounded");
        }
    }
}

#[test]
fn inference_is_that_of_the_dense_array() {
    let x = design(5 * PANEL);
    let dense = x.to_array();
    let [weights, _, groups] = extras(x.n_rows());
    for family in [Family::Gaussian, Family::Poisson] {
        let y = target(&x, family);
        let response = Response::new(&y).sample_weight(&weights).groups(&groups);
        for covariance in [Covariance::Nonrobust, Covariance::Hc1, Covariance::Clustered] {
            let glm = Glm::new(family).covariance(covariance);
            let of = |model: GlmModel| {
                let inference = model.inference().unwrap();
                (inference.aic, inference.dispersion, inference.standard_errors())
            };
            let (a, b) = (of(glm.fit(&x, response.clone()).unwrap()), of(glm.fit(&dense, response.clone()).unwrap()));
            let near = |a: f64, b: f64| a.is_nan() && b.is_nan() || (a - b).abs() < 1e-7 * b.abs().max(1e-3);
            assert!(near(a.0.unwrap(), b.0.unwrap()) && near(a.1, b.1), "{family} {covariance:?}");
            assert!(a.2.iter().zip(&b.2).all(|(a, b)| near(*a, *b)), "{family} {covariance:?}: {a:?} {b:?}");
        }
    }
}

#[test]
fn paths_are_those_of_the_dense_array_and_chunks_give_their_bits() {
    let n = 9 * PANEL + 31;
    let x = design(n);
    let dense = x.to_array();
    let [weights, offset, _] = extras(n);
    for family in [Family::Gaussian, Family::Binomial] {
        let y = target(&x, family);
        let balanced = (family == Family::Binomial).then_some(ClassWeight::Balanced);
        let glm = Glm { class_weight: balanced, ..Glm::new(family).l1_ratio(0.8) };
        let path = GlmPath::new(glm).n_lambdas(8).lambda_min_ratio(0.01).cv(4);
        let response = Response::new(&y).sample_weight(&weights).offset(&offset);
        let expected = path.fit(&dense, response.clone()).unwrap();
        let found = path.fit(&x, response).unwrap();
        for (a, b) in found.points().iter().zip(expected.points()) {
            assert!((a.lambda - b.lambda).abs() < 1e-9 * b.lambda);
            assert!(a.coef.iter().zip(&b.coef).all(|(a, b)| (a - b).abs() < 1e-6), "{family} {a:?} {b:?}");
        }
        let (a, b) = (found.cv().unwrap(), expected.cv().unwrap());
        assert!(a.mean.iter().zip(&b.mean).all(|(a, b)| (a - b).abs() < 1e-6 * b), "{family} {a:?} {b:?}");
        assert_eq!((a.min, a.one_se), (b.min, b.one_se));
        let lazy = ChunkedDesign::from_design(&x, 3 * PANEL).unwrap();
        let [y, weights, offset] = [&y, &weights, &offset].map(|column| chunks(column, 2 * PANEL));
        let response = ChunkedResponse::new(&y).sample_weight(&weights).offset(&offset);
        assert_eq!(wait(chunked::go_path(&Here, &path, &lazy, &response)).unwrap(), found, "{family}");
    }
}

fn chunks(column: &Array1<f64>, rows: usize) -> ChunkedArray {
    ChunkedArray::from_array(Block::from(column), rows).unwrap()
}

#[test]
fn any_chunks_give_the_bits_of_memory() {
    let n = 19 * PANEL + 77;
    let x = design(n);
    let [weights, offset, groups] = extras(n);
    for (family, solver, covariance) in [
        (Family::Gaussian, Solver::Irls, Covariance::Clustered),
        (Family::Binomial, Solver::GradientDescent, Covariance::Nonrobust),
        (Family::Poisson, Solver::Auto, Covariance::Hc1),
    ] {
        let y = target(&x, family);
        let glm = Glm { covariance, ..Glm::new(family).solver(solver) };
        let response = Response::new(&y).sample_weight(&weights).offset(&offset).groups(&groups);
        let expected = glm.fit(&x, response).unwrap();
        for chunk in [PANEL, 5 * PANEL, n] {
            let lazy = ChunkedDesign::from_design(&x, chunk).unwrap();
            let [y, weights, offset, groups] = [&y, &weights, &offset, &groups].map(|column| chunks(column, 3 * PANEL));
            let response = ChunkedResponse::new(&y).sample_weight(&weights).offset(&offset).groups(&groups);
            let found = wait(chunked::fit_glm(&Here, &glm, &lazy, &response)).unwrap();
            assert_eq!(found, expected, "{family} in chunks of {chunk}");
        }
    }
}

#[test]
fn bad_numbers_are_named_by_row_and_column() {
    let n = 3 * PANEL;
    let mut words = TriMat::new((n, 3));
    (0..n).for_each(|i| words.add_triplet(i, i % 3, if i == 300 { f64::INFINITY } else { 1. }));
    let y = Array1::from_shape_fn(n, |i| f64::from(i % 5 == 0));
    let codes: Vec<u32> = (0..n as u32).map(|i| i % 4).collect();
    let x = Design::new().categorical(&codes, 4, None).and_then(|x| x.sparse(&words.to_csr())).unwrap();
    let message = "X has inf in row 300, column 4; drop or fill such rows first";
    let glm = Glm::new(Family::Poisson).alpha(0.1);
    assert_eq!(glm.fit(&x, &y).unwrap_err().to_string(), message);
    let lazy = ChunkedDesign::from_design(&x, PANEL).unwrap();
    let response = ChunkedResponse::new(&chunks(&y, PANEL));
    assert_eq!(wait(chunked::fit_glm(&Here, &glm, &lazy, &response)).unwrap_err().to_string(), message);
    let dense = Array2::from_elem((n, 1), f64::NAN);
    let first = Design::new().categorical(&codes, 4, None).and_then(|x| x.dense(dense)).unwrap();
    assert!(glm.fit(&first, &y).unwrap_err().to_string().starts_with("X has NaN in row 0, column 4;"));
    // At prediction as at fit.
    let fine = Design::new().categorical(&codes, 7, None).unwrap();
    let model = glm.fit(&fine, &y).unwrap();
    assert_eq!(model.predict(&x).unwrap_err().to_string(), message);
    let narrow = Design::new().categorical(&codes, 4, None).unwrap();
    let refused = "X has 4 columns, but the model was fitted on 7";
    assert_eq!(model.predict(&narrow).unwrap_err().to_string(), refused);
    assert_eq!(model.predict(&ChunkedDesign::from_design(&narrow, PANEL).unwrap()).unwrap_err().to_string(), refused);
}

#[test]
fn what_a_design_cannot_do_is_refused() {
    let codes: Vec<u32> = (0..PANEL as u32).map(|i| i % 4).collect();
    let x = Design::new().categorical(&codes, 4, None).unwrap();
    let y = Array1::from_shape_fn(PANEL, |i| f64::from(i % 3 == 0));
    let message = |result: phalanx_learn::Result<GlmModel>| result.unwrap_err().to_string();
    let glm = Glm::new(Family::Binomial).alpha(0.1);
    assert_eq!(
        message(glm.clone().solver(Solver::Admm).fit(&x, &y)),
        "solver is admm, expected irls or gradient_descent for a design; other solvers take one dense array"
    );
    assert!(message(glm.fit(&Design::new(), &y)).contains("X is empty"));
    assert!(message(glm.fit(&x.rows(0..0), &Array1::zeros(0))).contains("X is empty"));
    assert!(message(glm.fit(&x.rows(0..9), &y)).contains("X has 9 rows and y has 256"));
    let other = ChunkedDesign::from_blocks(
        phalanx_array::Chunks::single(PANEL),
        Design::new().categorical(&[], 5, None).unwrap().columns(),
        vec![phalanx_engine::graph::Delayed::value(x)],
    );
    let response = ChunkedResponse::new(&chunks(&y, PANEL));
    let refused = message(wait(chunked::fit_glm(&Here, &glm, &other.unwrap(), &response)));
    assert!(refused.contains("a chunk of the design is one of 4 columns, 4 sparse, expected"), "{refused}");
}

#[test]
fn a_level_of_nearly_every_row_and_one_of_none_are_fitted() {
    let n = 8 * PANEL;
    // Level 1 has three rows, level 2 none.
    let codes: Vec<u32> = (0..n).map(|i| u32::from(i % 700 == 5)).collect();
    let x = Design::new().categorical(&codes, 3, None).unwrap();
    let y = Array1::from_shape_fn(n, |i| 1e3 + noise(i) + f64::from(codes[i]));
    let glm = Glm::new(Family::Gaussian);
    let (found, expected) = (glm.fit(&x, &y).unwrap(), glm.fit(&x.to_array(), &y).unwrap());
    assert_near(&found, &expected, 1e-8, "levels");
    assert_eq!((&found.report().constant_columns[..], &found.report().collinear_columns[..]), (&[2][..], &[1][..]));
}

#[test]
fn tables_become_designs_of_the_encoder_s_columns() {
    use phalanx_array::{Column, Field, Schema, Table, TableBlock};
    use phalanx_learn::{Transform, preprocess::TableEncoder};

    let n = 3 * PANEL;
    let levels: Vec<String> = (0..60).map(|level| format!("l{level}")).collect();
    let fields = [Field::number("a"), Field::categorical("c", levels), Field::number("b"), Field::number("d")];
    let schema = Schema::new(fields.to_vec()).unwrap();
    let numbers = |seed: usize| Column::number((0..n).map(|i| noise(i * seed + 1)).collect());
    let codes = (0..n as u32).map(|i| i * i % 59).collect();
    let block = TableBlock::new(vec![numbers(3), Column::categorical(codes), numbers(7), numbers(11)]).unwrap();
    let encoder = TableEncoder::new().reference("c", "l4").fit((&schema, &block), ()).unwrap();
    let expected = encoder.transform((&schema, &block)).unwrap();
    let x = Design::from_table(&encoder, (&schema, &block), 0).unwrap();
    assert_eq!(x.to_array(), expected);
    assert!(x.columns().n_sparse() == expected.ncols() - 3 && x.n_bytes() == (n * (3 * 8 + 4)) as u64);
    let y = Array1::from_shape_fn(n, |i| 2. + noise(i * 5));
    let glm = Glm::new(Family::Gamma).alpha(0.01);
    let lazy = ChunkedDesign::from_table(&encoder, &Table::from_block(schema, block, PANEL).unwrap()).unwrap();
    let response = ChunkedResponse::new(&chunks(&y, PANEL));
    assert_eq!(wait(chunked::fit_glm(&Here, &glm, &lazy, &response)).unwrap(), glm.fit(&x, &y).unwrap());
}
