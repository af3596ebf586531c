//! Lazy arrays give what ndarray gives.

use crate::local::{Local, compute};
use ndarray::{Array1, Array2, ArrayD, Axis, IxDyn, array, concatenate, s};
use phalanx_array::{Block, ChunkedArray, Chunks, Error, PANEL};
use phalanx_engine::graph::Delayed;

const N: usize = 5 * PANEL + 19;
const M: usize = 2 * PANEL + 3;

fn matrix() -> Array2<f64> {
    Array2::from_shape_fn((N, M), |(i, j)| ((i * 31 + j * 17) % 1009) as f64 / 100.0 - 5.0)
}

fn vector(n: usize) -> Array1<f64> {
    Array1::from_shape_fn(n, |i| ((i * 7919) % 997) as f64 / 500.0 - 1.0)
}

fn chunked(x: &Array2<f64>) -> ChunkedArray {
    ChunkedArray::from_array(x, 2 * PANEL).unwrap().rechunk(&[2 * PANEL, PANEL]).unwrap()
}

#[track_caller]
fn assert_close<D: ndarray::Dimension>(found: &ChunkedArray, expected: &ndarray::Array<f64, D>) {
    assert_eq!(found.shape(), expected.shape());
    let found = compute(found);
    assert_eq!(found.shape(), expected.shape());
    let scale = expected.iter().fold(1.0_f64, |a, b| a.max(b.abs()));
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-12 * scale || (a.is_nan() && b.is_nan()), "{a} is not {b}");
    }
}

#[test]
fn an_array_comes_home_as_it_was() {
    let x = matrix();
    assert_eq!(compute(&chunked(&x)), x.clone().into_dyn());
    assert_eq!(compute(&chunked(&x).t()), x.t().to_owned().into_dyn());
    assert_eq!(compute(&ChunkedArray::from_array(vector(N), PANEL).unwrap()), vector(N).into_dyn());
    assert_eq!(compute(&ChunkedArray::from_array(3.5, PANEL).unwrap()), ArrayD::from_elem(IxDyn(&[]), 3.5));
    let empty = ChunkedArray::zeros(&[0, 3], PANEL).unwrap();
    assert_eq!(compute(&empty).shape(), [0, 3]);
}

#[test]
fn arithmetic_is_fused_into_one_task_a_chunk() {
    let x = matrix();
    let a = ChunkedArray::from_array(&x, 2 * PANEL).unwrap();
    let y = ((&a - 1.0) * &a / 2.0).exp().sqrt() + 3.0 - (2.0 / (a.abs() + 1.0)) * -&a;
    let expected = x.mapv(|x| ((x - 1.0) * x / 2.0).exp().sqrt() + 3.0 - (2.0 / (x.abs() + 1.0)) * -x);
    assert_close(&y, &expected);
    let mut local = Local::default();
    local.compute(&y);
    assert_eq!(local.calls, ["array.evaluate"; 3]);
}

#[test]
fn arithmetic_is_fused_into_the_reduction_that_follows() {
    let a = ChunkedArray::from_array(matrix(), 2 * PANEL).unwrap();
    let mut local = Local::default();
    local.compute(&(&a * 2.0 + 1.0).sum_axis(0).unwrap());
    assert_eq!(local.calls, ["array.reduce", "array.reduce", "array.reduce", "array.finish"]);
}

#[test]
fn functions_of_one_number() {
    let x = matrix();
    let a = chunked(&x);
    assert_close(&(a.abs() + 0.1).ln(), &x.mapv(|x| (x.abs() + 0.1).ln()));
    assert_close(&a.powi(3), &x.mapv(|x| x.powi(3)));
    assert_close(&(&a + 10.0).recip(), &x.mapv(|x| (x + 10.0).recip()));
    assert_close(&a.clip(-1.0, 2.0), &x.mapv(|x| x.clamp(-1.0, 2.0)));
    assert_close(&a.maximum(&(-&a)).unwrap(), &x.mapv(f64::abs));
    assert_close(&a.minimum(&(-&a)).unwrap(), &x.mapv(|x| -x.abs()));
}

#[test]
fn rows_columns_and_numbers_are_broadcast() {
    let (x, row, column) = (matrix(), vector(M), vector(N));
    let a = chunked(&x);
    let b = ChunkedArray::from_array(&row, M).unwrap();
    let c = ChunkedArray::from_array(&column, PANEL).unwrap().insert_axis(1).unwrap();
    let column = column.insert_axis(Axis(1));
    assert_close(&(&a + &b), &(&x + &row));
    assert_close(&(&b - &a), &(&row - &x));
    assert_close(&(&a * &c), &(&x * &column));
    assert_close(&(&c / &b.exp()), &(&column / &row.mapv(f64::exp)));
    assert_close(&(a.t() * &c.t()), &(x.t().to_owned() * column.t()));
    assert_close(&(&a - &a.mean().unwrap()), &(&x - x.mean().unwrap()));
    assert_close(&(a.t() - a.mean().unwrap()), &(&x.t() - x.mean().unwrap()));
    let standardised = (&a - &a.mean_axis(0).unwrap()) / a.std_axis(0, 0.0).unwrap();
    assert_close(&standardised, &((&x - &x.mean_axis(Axis(0)).unwrap()) / x.std_axis(Axis(0), 0.0)));
}

#[test]
fn what_is_broadcast_is_computed_once() {
    let a = ChunkedArray::from_array(matrix(), PANEL).unwrap();
    let row = ChunkedArray::from_array(vector(M), M).unwrap();
    let mut local = Local::default();
    local.compute(&(&a + row.exp()));
    assert_eq!(local.calls.len(), 1 + a.n_chunks(), "exp of the row once, then one task a chunk");
}

#[test]
fn an_array_and_its_transpose_are_added() {
    let n = 2 * PANEL + 9;
    let x = matrix().slice(s![..n, ..n.min(M)]).to_owned();
    let x = concatenate![Axis(1), x, Array2::ones((n, n - x.ncols()))];
    let a = ChunkedArray::from_array(&x, n).unwrap().rechunk(&[PANEL, PANEL]).unwrap();
    assert_close(&(&a + &a.t()), &(&x + &x.t()));
    assert_close(&(a.t() + a.t()).t(), &(&x + &x));
    let tall = a.rechunk(&[PANEL, n]).unwrap();
    assert_close(&(&tall + &tall.t()), &(&x + &x.t()));
}

#[test]
fn reductions() {
    let x = matrix();
    for (a, x) in [(chunked(&x), x.clone()), (chunked(&x).t(), x.t().to_owned())] {
        let number = |value: f64| ArrayD::from_elem(IxDyn(&[]), value);
        assert_close(&a.sum().unwrap(), &number(x.sum()));
        assert_close(&a.mean().unwrap(), &number(x.mean().unwrap()));
        assert_close(&a.var(1.0).unwrap(), &number(x.var(1.0)));
        assert_close(&a.std(0.0).unwrap(), &number(x.std(0.0)));
        assert_close(&a.min().unwrap(), &number(x.iter().copied().fold(f64::INFINITY, f64::min)));
        assert_close(&a.max().unwrap(), &number(x.iter().copied().fold(f64::NEG_INFINITY, f64::max)));
        for axis in 0..2 {
            assert_close(&a.sum_axis(axis).unwrap(), &x.sum_axis(Axis(axis)));
            assert_close(&a.mean_axis(axis).unwrap(), &x.mean_axis(Axis(axis)).unwrap());
            assert_close(&a.var_axis(axis, 1.0).unwrap(), &x.var_axis(Axis(axis), 1.0));
            assert_close(&a.std_axis(axis, 0.0).unwrap(), &x.std_axis(Axis(axis), 0.0));
            assert_close(&a.min_axis(axis).unwrap(), &x.fold_axis(Axis(axis), f64::INFINITY, |a, b| a.min(*b)));
            assert_close(&a.max_axis(axis).unwrap(), &x.fold_axis(Axis(axis), f64::NEG_INFINITY, |a, b| a.max(*b)));
        }
    }
    let v = vector(N);
    let a = ChunkedArray::from_array(&v, PANEL).unwrap();
    assert_close(&a.var(1.0).unwrap(), &ndarray::arr0(v.var(1.0)));
    assert_eq!(compute(&a.sum().unwrap().to_scalar().unwrap()), compute(&a.sum_axis(0).unwrap())[[]]);
}

#[test]
fn the_variance_of_numbers_far_from_zero_is_right() {
    let x = vector(N).mapv(|x| x + 1e9);
    let a = ChunkedArray::from_array(&x, 2 * PANEL).unwrap();
    let (found, expected) = (compute(&a.var(0.0).unwrap())[[]], vector(N).var(0.0));
    assert!((found / expected - 1.0).abs() < 1e-6, "{found} is not {expected}");
}

#[test]
fn a_nan_shows_in_every_reduction() {
    let mut x = matrix();
    x[[700, 300]] = f64::NAN;
    let a = chunked(&x);
    for array in [a.sum(), a.mean(), a.min(), a.max(), a.var(0.0)] {
        assert!(compute(&array.unwrap())[[]].is_nan());
    }
    let nans = |array: ChunkedArray| compute(&array).iter().filter(|x| x.is_nan()).count();
    assert_eq!((nans(a.max_axis(0).unwrap()), nans(a.min_axis(1).unwrap())), (1, 1));
}

#[test]
fn products() {
    let x = matrix();
    let (w, r) = (vector(M), vector(N));
    let a = chunked(&x);
    let (cw, cr) = (ChunkedArray::from_array(&w, PANEL).unwrap(), ChunkedArray::from_array(&r, N).unwrap());
    assert_close(&a.dot(&cw).unwrap(), &x.dot(&w));
    assert_close(&a.t().dot(&cr).unwrap(), &x.t().dot(&r));
    assert_close(&cr.dot(&a).unwrap(), &r.dot(&x));
    assert_close(&cw.dot(&a.t()).unwrap(), &x.dot(&w));
    assert_close(&cw.dot(&cw).unwrap(), &ndarray::arr0(w.dot(&w)));
    assert_close(&a.t().dot(&a).unwrap(), &x.t().dot(&x));
    assert_close(&a.dot(&a.t()).unwrap(), &x.dot(&x.t()));
    let y = x.slice(s![..M, ..7]).to_owned();
    let b = ChunkedArray::from_array(&y, M).unwrap();
    assert_close(&a.dot(&b).unwrap(), &x.dot(&y));
    assert_close(&b.t().dot(&a.t()).unwrap(), &y.t().dot(&x.t()));
    assert_close(&(&a * 2.0).dot(&b).unwrap(), &(&x * 2.0).dot(&y));
    let none = ChunkedArray::zeros(&[0, 3], PANEL).unwrap();
    assert_close(&none.t().dot(&none).unwrap(), &Array2::zeros((3, 3)));
    assert_close(&none.dot(&ChunkedArray::ones(&[3], 3).unwrap()).unwrap(), &Array1::zeros(0));
}

#[test]
fn slices_have_their_own_panels() {
    let x = matrix();
    let a = chunked(&x);
    let rows = a.slice_rows(100..1200).unwrap();
    assert_eq!(rows.axes()[0].sizes(), [512, 512, 76]);
    assert_close(&rows, &x.slice(s![100..1200, ..]).to_owned());
    assert_close(&a.slice_columns(5..300).unwrap(), &x.slice(s![.., 5..300]).to_owned());
    assert_close(&a.t().slice_rows(5..300).unwrap(), &x.t().slice(s![5..300, ..]).to_owned());
    assert_close(&a.slice_rows(7..7).unwrap(), &x.slice(s![7..7, ..]).to_owned());
    assert_close(&a.column(M - 1).unwrap(), &x.column(M - 1).to_owned());
    assert_close(
        &ChunkedArray::full(&[N], 2.0, PANEL).unwrap().slice_rows(3..900).unwrap(),
        &Array1::from_elem(897, 2.0),
    );
}

#[test]
fn arrays_are_stacked() {
    let x = matrix();
    let a = chunked(&x);
    let b = ChunkedArray::from_array(x.slice(s![..300, ..]), PANEL).unwrap();
    let stacked = ChunkedArray::vstack(&[&b, &a, &b]).unwrap();
    assert!(stacked.axes()[0].sizes()[..7].iter().all(|size| *size == PANEL));
    let part = x.slice(s![..300, ..]);
    assert_close(&stacked, &concatenate![Axis(0), part, x, part]);
    let beside = ChunkedArray::hstack(&[&a, &a.slice_columns(1..3).unwrap()]).unwrap();
    assert_close(&beside, &concatenate![Axis(1), x, x.slice(s![.., 1..3])]);
    let v = ChunkedArray::from_array(vector(300), PANEL).unwrap();
    assert_close(&ChunkedArray::hstack(&[&v, &v]).unwrap(), &concatenate![Axis(0), vector(300), vector(300)]);
    assert_eq!(ChunkedArray::vstack(&[&v, &v]).unwrap().shape(), [2, 300]);
    assert_close(&ChunkedArray::vstack(&[&a.t(), &a.t()]).unwrap(), &concatenate![Axis(0), x.t(), x.t()]);
}

#[test]
fn chunks_that_stay_as_they_are_cost_no_task() {
    let a = ChunkedArray::from_array(matrix(), PANEL).unwrap();
    let mut local = Local::default();
    local.compute(&a.slice_rows(0..4 * PANEL).unwrap());
    assert_eq!(local.calls, [""; 0]);
    local.compute(&a.rechunk(&[4 * PANEL, M]).unwrap());
    assert_eq!(local.calls, ["array.assemble"; 2]);
}

#[test]
fn arrays_in_different_chunks_are_combined() {
    let x = matrix();
    let (a, b) = (chunked(&x), ChunkedArray::from_array(&x, 3 * PANEL).unwrap());
    assert_close(&(&a + &b), &(&x + &x));
    assert_close(&(&b * &(&a + 1.0)), &(&x * &(&x + 1.0)));
    assert_eq!((&a + &b).axes(), a.axes());
}

#[test]
fn ranges_and_constants() {
    let a = ChunkedArray::arange(1.0, 0.5, N, PANEL).unwrap();
    assert_close(&a, &Array1::from_shape_fn(N, |i| 1.0 + 0.5 * i as f64));
    let b = ChunkedArray::ones(&[N, 2], PANEL).unwrap();
    assert_close(&(&b + &b), &Array2::from_elem((N, 2), 2.0));
    assert_close(&b.t().sum_axis(1).unwrap(), &Array1::from_elem(2, N as f64));
}

#[test]
fn long_chains_stay_right() {
    let x = vector(2 * PANEL);
    let a = ChunkedArray::from_array(&x, PANEL).unwrap();
    let (mut y, mut expected) = (a.clone(), x.clone());
    for _ in 0..100 {
        y = (&y * &a) * 0.5 + 1.0;
        expected = (&expected * &x) * 0.5 + 1.0;
    }
    assert_close(&y, &expected);
}

#[test]
fn blocks_are_handed_out_and_taken_back() {
    let x = matrix();
    let a = chunked(&x);
    let again = ChunkedArray::from_blocks(a.axes(), a.blocks()).unwrap();
    assert_close(&again, &x);
    let rows: Vec<Block> = a.row_blocks().iter().map(compute).collect();
    assert_eq!(rows.iter().map(|block| block.shape()[1]).collect::<Vec<_>>(), [M; 3]);
    assert!(ChunkedArray::from_blocks(vec![Chunks::single(3)], vec![]).is_err());
    let wrong = ChunkedArray::from_blocks(vec![Chunks::single(3)], vec![Delayed::value(Block::scalar(1.0))]).unwrap();
    let values = vec![phalanx_engine::value::Value::new(Block::scalar(1.0))];
    assert!(phalanx_engine::graph::Collection::assemble(&wrong, values).is_err());
}

#[test]
fn what_cannot_be_done_is_said_with_what_can() {
    let x = ChunkedArray::from_array(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], 2).unwrap();
    let message = |result: phalanx_array::Result<ChunkedArray>| result.unwrap_err().to_string();
    assert_eq!(
        message(x.try_add(&ChunkedArray::ones(&[2], 2).unwrap())),
        "addition needs shapes that fit: [2, 3] and [2] do not; lengths must be equal or 1, counted from the last \
         axis; insert_axis(1) makes a column"
    );
    assert_eq!(
        message(x.dot(&x)),
        "dot needs shapes that fit: [2, 3] and [2, 3] do not; the last axis of the first must be as long as the \
         first axis of the second; t() transposes"
    );
    assert_eq!(message(x.sum_axis(2)), "axis is 2, expected less than 2, the number of axes");
    assert_eq!(message(x.slice_rows(1..5)), "the range 1..5 does not lie within 0..2");
    assert_eq!(message(x.var(-1.0)), "ddof is -1, expected a finite number, 0 or more");
    assert_eq!(
        message(ChunkedArray::zeros(&[1000, 3], 100)),
        "chunk 0 has 100 rows, expected a multiple of 256: only the last chunk of an axis may be ragged"
    );
    assert_eq!(
        message(ChunkedArray::zeros(&[0], 256).unwrap().mean()),
        "mean of no numbers is not defined: the array has shape [0]"
    );
    assert!(matches!(x.insert_axis(0), Err(Error::Axes { .. })));
    assert!(matches!(ChunkedArray::zeros(&[1, 1, 1], 256), Err(Error::Axes { .. })));
    assert!(matches!(ChunkedArray::vstack(&[]), Err(Error::Empty { .. })));
    assert!(x.to_scalar().is_err());
}

#[test]
#[should_panic(expected = "addition needs shapes that fit")]
fn operators_panic_where_shapes_do_not_fit() {
    let _ = ChunkedArray::ones(&[3], 3).unwrap() + ChunkedArray::ones(&[2], 2).unwrap();
}

#[test]
fn descriptions_go_from_thread_to_thread() {
    fn travels<T: Send + Sync + Unpin + std::fmt::Debug>() {}
    travels::<ChunkedArray>();
    travels::<phalanx_array::Table>();
    travels::<Block>();
    travels::<phalanx_array::TableBlock>();
    travels::<Chunks>();
    travels::<phalanx_array::Schema>();
    travels::<Error>();
    travels::<phalanx_array::panel::Subtrees<Block>>();
}
