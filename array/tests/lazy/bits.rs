//! The same numbers, bit for bit, however an array is cut and wherever its parts have been.

use crate::local::Local;
use ndarray::{Array1, Array2, ArrayD};
use phalanx_array::{ChunkedArray, Chunks, PANEL, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// 43 whole panels and a ragged end.
const ROWS: usize = 43 * PANEL + 77;

fn matrix(rows: usize, cols: usize, seed: u64) -> Array2<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Numbers of very different sizes: any change of the order of additions shows.
    Array2::from_shape_simple_fn((rows, cols), || {
        random.random_range(-1.0..1.0_f64) * 10_f64.powi(random.random_range(-6..6))
    })
}

fn bits(array: &ArrayD<f64>) -> (Vec<usize>, Vec<u64>) {
    (array.shape().to_vec(), array.iter().map(|x| x.to_bits()).collect())
}

/// Every way of cutting an axis that the test tries.
fn cuts(len: usize) -> Vec<Chunks> {
    let mut cuts: Vec<_> = [1, 3, 16, 1000].map(|panels| Chunks::of_panels(len, panels)).into();
    let uneven = [2, 1, 7, 5].map(|panels| panels * PANEL);
    let rest = len - uneven.iter().sum::<usize>().min(len);
    if rest > 0 {
        cuts.push(Chunks::from_sizes(&[&uneven[..], &[rest]].concat()).unwrap());
    }
    cuts
}

/// Everything that is summed somewhere, of a tall matrix `x`, a vector `r` as long and `w` as wide.
fn everything(x: &ChunkedArray, r: &ChunkedArray, w: &ChunkedArray) -> Result<Vec<ChunkedArray>> {
    let fused = (x * 2.0 + w).abs().ln();
    let mut all = Vec::new();
    for array in [x, &fused, &x.t(), r] {
        all.extend([array.sum()?, array.mean()?, array.min()?, array.max()?, array.var(1.0)?, array.std(0.0)?]);
        for axis in 0..array.n_axes() {
            all.extend([array.sum_axis(axis)?, array.mean_axis(axis)?, array.max_axis(axis)?]);
            all.extend([array.min_axis(axis)?, array.var_axis(axis, 0.0)?, array.std_axis(axis, 1.0)?]);
        }
    }
    all.extend([x.dot(w)?, x.t().dot(r)?, r.dot(x)?, w.dot(&x.t())?, x.t().dot(x)?, r.dot(r)?]);
    all.extend([x.slice_rows(300..ROWS - 5)?.t().dot(&r.slice_rows(300..ROWS - 5)?)?]);
    all.extend([ChunkedArray::vstack(&[x, x])?.sum_axis(0)?, ChunkedArray::hstack(&[x, x])?.sum_axis(1)?]);
    all.extend([x.t().dot(&(x - &x.mean_axis(0)?))?]);
    Ok(all)
}

/// Rows against columns meet everywhere, and yet nothing is given all of it.
#[test]
fn no_task_of_an_array_and_its_transpose_is_given_more_than_a_few_chunks() {
    let n = 8 * PANEL + 100;
    let x = matrix(n, n, 5);
    let symmetric = |chunk_rows: usize| {
        let x = ChunkedArray::from_array(x.view(), chunk_rows).unwrap();
        &x + &x.t()
    };
    let mut whole = Local::default();
    let expected = bits(&whole.compute(&symmetric(n)));
    let strip = (PANEL * n * size_of::<f64>()) as u64;
    let mut cut = Local::default();
    assert_eq!(bits(&cut.compute(&symmetric(PANEL))), expected);
    assert!(cut.most_input < 3 * strip, "{} bytes for chunks of {strip}", cut.most_input);
    // Also where each chunk meets a few others only.
    for (rows, cols) in [(2 * PANEL, PANEL), (PANEL, 4 * PANEL), (n, PANEL)] {
        let cut = ChunkedArray::from_array(x.view(), PANEL).unwrap().rechunk(&[rows, cols]).unwrap();
        let mut local = Local::default();
        assert_eq!(bits(&local.compute(&cut)), bits(&x.clone().into_dyn()));
        assert!(local.most_input < 5 * (rows.min(n) * cols * size_of::<f64>()) as u64 + strip, "{rows}, {cols}");
    }
}

#[test]
fn any_chunking_of_the_rows_gives_the_same_bits() {
    let (x, r, w) = (matrix(ROWS, 5, 1), matrix(ROWS, 1, 2), matrix(5, 1, 3));
    let (r, w) = (Array1::from_iter(r), Array1::from_iter(w));
    let mut expected: Option<Vec<_>> = None;
    for rows in cuts(ROWS) {
        for travel in [false, true] {
            let x = ChunkedArray::from_array(x.view(), ROWS).unwrap();
            let x = x.rechunk_as(&[rows.clone(), Chunks::single(5)]).unwrap();
            let r = ChunkedArray::from_array(r.view(), 5 * PANEL).unwrap();
            let w = ChunkedArray::from_array(w.view(), PANEL).unwrap();
            let mut local = Local::with_travel(travel);
            let all = everything(&x, &r, &w).unwrap();
            let found: Vec<_> = all.iter().map(|array| bits(&local.compute(array))).collect();
            let expected = expected.get_or_insert_with(|| found.clone());
            for (place, (found, expected)) in found.iter().zip(&*expected).enumerate() {
                assert_eq!(found, expected, "result {place} with rows cut as {rows:?}");
            }
        }
    }
}

#[test]
fn any_chunking_of_both_axes_gives_the_same_bits() {
    let (n, m) = (3 * PANEL + 11, 41 * PANEL + 1);
    let (x, y, v) = (matrix(n, m, 1), matrix(m, 3, 2), Array1::from_iter(matrix(m, 1, 3)));
    let mut expected: Option<Vec<_>> = None;
    for (rows, cols) in cuts(m)
        .into_iter()
        .map(|cols| (Chunks::of_panels(n, 2), cols))
        .chain([(Chunks::of_panels(n, 1), Chunks::of_panels(m, 1)), (Chunks::single(n), Chunks::of_panels(m, 3))])
    {
        let x = ChunkedArray::from_array(x.view(), n).unwrap().rechunk_as(&[rows.clone(), cols.clone()]).unwrap();
        let y = ChunkedArray::from_array(y.view(), 2 * PANEL).unwrap();
        let v = ChunkedArray::from_array(v.view(), m).unwrap();
        let mut local = Local::default();
        let all = [
            x.dot(&v).unwrap(),
            x.dot(&y).unwrap(),
            y.t().dot(&x.t()).unwrap(),
            v.dot(&x.t()).unwrap(),
            x.sum().unwrap(),
            x.var(0.0).unwrap(),
            x.t().sum().unwrap(),
            x.mean_axis(0).unwrap(),
            x.mean_axis(1).unwrap(),
            x.var_axis(1, 1.0).unwrap(),
            x.t().var_axis(1, 1.0).unwrap(),
            x.max().unwrap(),
            (&x * 3.0 - 1.0).sum_axis(1).unwrap(),
            x.slice_columns(300..m).unwrap().sum_axis(1).unwrap(),
        ];
        let found: Vec<_> = all.iter().map(|array| bits(&local.compute(array))).collect();
        let expected = expected.get_or_insert_with(|| found.clone());
        for (place, (found, expected)) in found.iter().zip(&*expected).enumerate() {
            assert_eq!(found, expected, "result {place} with chunks {rows:?} x {cols:?}");
        }
    }
}

#[test]
fn a_column_gives_the_bits_of_the_vector_it_is() {
    let x = ChunkedArray::from_array(matrix(ROWS, 1, 4), 3 * PANEL).unwrap();
    let v = x.column(0).unwrap();
    for (a, b) in [(x.sum(), v.sum()), (x.var(1.0), v.var(1.0)), (x.mean(), v.mean())] {
        let (a, b) = (crate::local::compute(&a.unwrap()), crate::local::compute(&b.unwrap()));
        assert_eq!(bits(&a), bits(&b));
    }
}

#[test]
fn what_was_persisted_gives_the_same_bits_as_what_was_not() {
    let x = ChunkedArray::from_array(matrix(ROWS, 4, 5), 2 * PANEL).unwrap();
    let r = ChunkedArray::from_array(Array1::from_iter(matrix(ROWS, 1, 6)), 2 * PANEL).unwrap();
    let mut local = Local::with_travel(true);
    for y in [x.clone(), x.t(), (&x * 2.0).exp(), (&x.t() + 1.0).abs()] {
        let kept = local.persist(&y);
        let product = |y: &ChunkedArray| if y.n_rows() == ROWS { y.t().dot(&r) } else { y.dot(&r) };
        let (lazy, kept_product) = (product(&y).unwrap(), product(&kept).unwrap());
        assert_eq!(bits(&local.compute(&kept)), bits(&local.compute(&y)));
        assert_eq!(bits(&local.compute(&kept_product)), bits(&local.compute(&lazy)));
        assert_eq!(bits(&local.compute(&kept.sum().unwrap())), bits(&local.compute(&y.sum().unwrap())));
    }
}

#[test]
fn random_numbers_do_not_depend_on_chunks() {
    let draw = |chunk| crate::local::compute(&ChunkedArray::random_normal(7, 1.0, 2.0, &[ROWS, 3], chunk).unwrap());
    let expected = draw(PANEL);
    for chunk in [3 * PANEL, 16 * PANEL, ROWS] {
        assert_eq!(draw(chunk), expected);
    }
    let n = expected.len() as f64;
    let (mean, var) = (expected.sum() / n, expected.var(0.0));
    assert!((mean - 1.0).abs() < 4.0 * 2.0 / n.sqrt() && (var - 4.0).abs() < 0.2, "mean {mean}, variance {var}");
    let uniform = |seed| crate::local::compute(&ChunkedArray::random_uniform(seed, -1.0, 3.0, &[ROWS], PANEL).unwrap());
    assert!(uniform(1).iter().all(|x| (-1.0..3.0).contains(x)));
    assert!((uniform(1).mean().unwrap() - 1.0).abs() < 0.05);
    assert_ne!(uniform(1), uniform(2));
}
