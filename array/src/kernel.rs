//! The functions on plain numbers that everything else is built from: dots, products, sums, extremes, exp and ln.
//!
//! Matrices are row-major slices with a number of columns. Each function fixes the order of its additions: a sum
//! or dot over a slice keeps [`LANES`](crate::simd::LANES) partial sums by index modulo `LANES`, a sum over rows adds row after row.
//! Nothing is known here of panels, chunks or tasks.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, linalg::general_mat_mul};

pub use crate::gram::Gram;
use crate::simd::dispatch;

/// Sum of products, for slices of one length.
///
/// ```
/// assert_eq!(phalanx_array::kernel::dot(&[1.0, 2.0], &[3.0, 4.0]), 11.0);
/// ```
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    dispatch(
        #[inline(always)]
        || inlined::dot(a, b),
    )
}

/// Sum.
pub fn sum(a: &[f64]) -> f64 {
    dispatch(
        #[inline(always)]
        || inlined::sum(a),
    )
}

/// Sum of squares.
pub fn sum_of_squares(a: &[f64]) -> f64 {
    dispatch(
        #[inline(always)]
        || inlined::dot(a, a),
    )
}

/// Sum of squared distances from `center`.
pub fn sum_of_squares_around(a: &[f64], center: f64) -> f64 {
    dispatch(
        #[inline(always)]
        || inlined::sum_of_squares_around(a, center),
    )
}

/// The smallest number, NaN when there is one, infinity for nothing.
///
/// ```
/// use phalanx_array::kernel::min;
/// assert_eq!(min(&[2.0, -1.0]), -1.0);
/// assert!(min(&[2.0, f64::NAN]).is_nan());
/// ```
pub fn min(a: &[f64]) -> f64 {
    dispatch(
        #[inline(always)]
        || inlined::extreme::<false>(a),
    )
}

/// The largest number, NaN when there is one, minus infinity for nothing.
pub fn max(a: &[f64]) -> f64 {
    dispatch(
        #[inline(always)]
        || inlined::extreme::<true>(a),
    )
}

/// `out[i] = x[i, :] . w`, for `x` of `out.len()` rows and `w.len()` columns.
///
/// ```
/// let x = [1.0, 2.0, 3.0, 4.0];
/// let mut out = [0.0; 2];
/// phalanx_array::kernel::gemv(&x, &[1.0, -1.0], &mut out);
/// assert_eq!(out, [-1.0, -1.0]);
/// ```
pub fn gemv(x: &[f64], w: &[f64], out: &mut [f64]) {
    dispatch(
        #[inline(always)]
        || inlined::gemv(x, w, out),
    );
}

/// `out += x' r`, for `x` of `r.len()` rows and `out.len()` columns: row after row, so that `x` is read once.
///
/// ```
/// let x = [1.0, 2.0, 3.0, 4.0];
/// let mut out = [0.0; 2];
/// phalanx_array::kernel::gemv_transposed(&x, &[1.0, 10.0], &mut out);
/// assert_eq!(out, [31.0, 42.0]);
/// ```
pub fn gemv_transposed(x: &[f64], r: &[f64], out: &mut [f64]) {
    dispatch(
        #[inline(always)]
        || inlined::gemv_transposed(x, r, out),
    );
}

/// `out += the sum of the rows of x`, row after row.
pub fn add_rows(x: &[f64], out: &mut [f64]) {
    dispatch(
        #[inline(always)]
        || inlined::add_rows(x, out),
    );
}

/// The transpose of `x`, a matrix of `n_cols` columns: in squares that fit in the nearest cache both ways.
///
/// ```
/// let mut out = [0.0; 6];
/// phalanx_array::kernel::transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, &mut out);
/// assert_eq!(out, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
/// ```
///
/// # Panics
/// When `x` and `out` are not of one length.
pub fn transpose(x: &[f64], n_cols: usize, out: &mut [f64]) {
    const SIDE: usize = 16;
    assert_eq!(x.len(), out.len(), "a transpose has as many numbers");
    let n_rows = x.len().checked_div(n_cols).unwrap_or(0);
    for first_row in (0..n_rows).step_by(SIDE) {
        let last_row = n_rows.min(first_row + SIDE);
        for first_col in (0..n_cols).step_by(SIDE) {
            for col in first_col..n_cols.min(first_col + SIDE) {
                let out = &mut out[col * n_rows + first_row..col * n_rows + last_row];
                for (out, row) in out.iter_mut().zip(x[first_row * n_cols..].chunks(n_cols)) {
                    *out = row[col];
                }
            }
        }
    }
}

/// `a b`. Every element is summed in the order of the contracted axis, whatever the layout of the operands.
pub fn gemm(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut out = Array2::zeros((a.nrows(), b.ncols()));
    gemm_into(a, b, out.view_mut());
    out
}

/// `out = a b`.
pub fn gemm_into(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>, mut out: ArrayViewMut2<'_, f64>) {
    general_mat_mul(1.0, &a, &b, 0.0, &mut out);
}

/// Replaces every number by its exponential, within one unit in the last place.
///
/// The same bits on every machine, and several at a time, which the C library's function is not.
///
/// ```
/// let mut a = [0.0, 1.0, f64::NEG_INFINITY];
/// phalanx_array::kernel::exp(&mut a);
/// assert_eq!((a[0], a[2]), (1.0, 0.0));
/// assert!((a[1] / std::f64::consts::E - 1.0).abs() <= f64::EPSILON);
/// ```
pub fn exp(a: &mut [f64]) {
    dispatch(
        #[inline(always)]
        || a.iter_mut().for_each(|x| *x = inlined::exp(*x)),
    );
}

/// Replaces every number by its natural logarithm, within one unit in the last place.
///
/// ```
/// let mut a = [1.0, 0.0, -1.0];
/// phalanx_array::kernel::ln(&mut a);
/// assert_eq!(a[..2], [0.0, f64::NEG_INFINITY]);
/// assert!(a[2].is_nan());
/// ```
pub fn ln(a: &mut [f64]) {
    dispatch(
        #[inline(always)]
        || a.iter_mut().for_each(|x| *x = inlined::ln(*x)),
    );
}

/// The same functions without dispatch, to be fused into larger kernels inside
/// [`simd::dispatch`](crate::simd::dispatch).
pub mod inlined {
    use crate::simd::LANES;

    /// Adds the lanes as a balanced tree.
    #[inline(always)]
    fn fold(lanes: [f64; LANES]) -> f64 {
        let [a, b, c, d, e, f, g, h] = lanes;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }

    /// See [`dot`](super::dot).
    #[inline(always)]
    pub fn dot(a: &[f64], b: &[f64]) -> f64 {
        let mut lanes = [0.0; LANES];
        let ((a, a_end), (b, b_end)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                lanes[lane] += a[lane] * b[lane];
            }
        }
        for (lane, (a, b)) in lanes.iter_mut().zip(a_end.iter().zip(b_end)) {
            *lane += a * b;
        }
        fold(lanes)
    }

    /// See [`sum`](super::sum).
    #[inline(always)]
    pub fn sum(a: &[f64]) -> f64 {
        let mut lanes = [0.0; LANES];
        let (a, end) = a.as_chunks::<LANES>();
        for a in a {
            for lane in 0..LANES {
                lanes[lane] += a[lane];
            }
        }
        for (lane, a) in lanes.iter_mut().zip(end) {
            *lane += a;
        }
        fold(lanes)
    }

    /// See [`sum_of_squares_around`](super::sum_of_squares_around).
    #[inline(always)]
    pub fn sum_of_squares_around(a: &[f64], center: f64) -> f64 {
        let mut lanes = [0.0; LANES];
        let (a, end) = a.as_chunks::<LANES>();
        for a in a {
            for lane in 0..LANES {
                let d = a[lane] - center;
                lanes[lane] += d * d;
            }
        }
        for (lane, a) in lanes.iter_mut().zip(end) {
            let d = a - center;
            *lane += d * d;
        }
        fold(lanes)
    }

    /// The larger (`MAX`) or smaller of two numbers; NaN when one is NaN.
    #[inline(always)]
    pub fn extreme_of<const MAX: bool>(a: f64, b: f64) -> f64 {
        let b_wins = if MAX { b > a } else { b < a };
        // A NaN wins, and nothing wins against it.
        if b_wins | b.is_nan() { b } else { a }
    }

    /// See [`min`](super::min) and [`max`](super::max).
    #[inline(always)]
    pub fn extreme<const MAX: bool>(a: &[f64]) -> f64 {
        let worst = if MAX { f64::NEG_INFINITY } else { f64::INFINITY };
        let mut lanes = [worst; LANES];
        let (a, end) = a.as_chunks::<LANES>();
        for a in a {
            for lane in 0..LANES {
                lanes[lane] = extreme_of::<MAX>(lanes[lane], a[lane]);
            }
        }
        let mut best = worst;
        for a in lanes.iter().chain(end) {
            best = extreme_of::<MAX>(best, *a);
        }
        best
    }

    /// `out += scale * a`.
    #[inline(always)]
    pub fn axpy(scale: f64, a: &[f64], out: &mut [f64]) {
        for (out, a) in out.iter_mut().zip(a) {
            *out += scale * a;
        }
    }

    /// See [`gemv`](super::gemv).
    #[inline(always)]
    pub fn gemv(x: &[f64], w: &[f64], out: &mut [f64]) {
        if w.is_empty() {
            out.fill(0.0);
            return;
        }
        for (out, row) in out.iter_mut().zip(x.chunks_exact(w.len())) {
            *out = dot(row, w);
        }
    }

    /// See [`gemv_transposed`](super::gemv_transposed).
    #[inline(always)]
    pub fn gemv_transposed(x: &[f64], r: &[f64], out: &mut [f64]) {
        accumulate_rows(x, out, |row| r[row], |out, x, r| out + r * x);
    }

    /// See [`add_rows`](super::add_rows).
    #[inline(always)]
    pub fn add_rows(x: &[f64], out: &mut [f64]) {
        accumulate_rows(x, out, |_| 1.0, |out, x, _| out + x);
    }

    /// `out = step(out, x[row, :], weight(row))` for one row after the other; four at a time, so that `out` is read
    /// and written once for all of them.
    #[inline(always)]
    fn accumulate_rows(x: &[f64], out: &mut [f64], weight: impl Fn(usize) -> f64, step: impl Fn(f64, f64, f64) -> f64) {
        const ROWS: usize = 4;
        const HALF: usize = LANES / 2;
        let n = out.len();
        if n == 0 {
            return;
        }
        let mut groups = x.chunks_exact(ROWS * n);
        let mut first = 0;
        for group in groups.by_ref() {
            let weights: [f64; ROWS] = std::array::from_fn(|row| weight(first + row));
            let rows: [&[f64]; ROWS] = std::array::from_fn(|row| &group[row * n..(row + 1) * n]);
            let (out, rows) = accumulate_tiles::<LANES, ROWS>(out, rows, &weights, &step);
            let (out, rows) = accumulate_tiles::<HALF, ROWS>(out, rows, &weights, &step);
            accumulate_tiles::<1, ROWS>(out, rows, &weights, &step);
            first += ROWS;
        }
        for (row, x) in (first..).zip(groups.remainder().chunks_exact(n)) {
            let weight = weight(row);
            for (out, x) in out.iter_mut().zip(x) {
                *out = step(*out, *x, weight);
            }
        }
    }

    /// The same of as many columns as tiles of a width hold; what is left of `out` and of the rows.
    #[inline(always)]
    fn accumulate_tiles<'o, 'r, const WIDTH: usize, const ROWS: usize>(
        out: &'o mut [f64],
        rows: [&'r [f64]; ROWS],
        weights: &[f64; ROWS],
        step: &impl Fn(f64, f64, f64) -> f64,
    ) -> (&'o mut [f64], [&'r [f64]; ROWS]) {
        let (wide, end) = out.as_chunks_mut::<WIDTH>();
        let tiles = rows.map(|row| &row.as_chunks::<WIDTH>().0[..wide.len()]);
        let ends = rows.map(|row| &row[wide.len() * WIDTH..]);
        for (place, out) in wide.iter_mut().enumerate() {
            let mut sum = *out;
            for row in 0..ROWS {
                let x = &tiles[row][place];
                for lane in 0..WIDTH {
                    sum[lane] = step(sum[lane], x[lane], weights[row]);
                }
            }
            *out = sum;
        }
        (end, ends)
    }

    const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LN2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
    /// Adding and subtracting it rounds to a whole number, and leaves that number in the low bits in between.
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52

    /// 2^k for whole k in -1022..=1023.
    #[inline(always)]
    fn power_of_two(k: f64) -> f64 {
        f64::from_bits(((k + ROUND).to_bits() << 52).wrapping_add(1023 << 52))
    }

    /// The exponential, branch-free so that loops over it become vector code.
    ///
    /// exp(x) = 2^k exp(r) with |r| <= ln(2)/2, as in fdlibm's `e_exp.c`; exp(r) by its Taylor series, whose term
    /// of degree 14 is below 5e-18 there.
    #[inline(always)]
    pub fn exp(x: f64) -> f64 {
        // Beyond these the result is infinity or zero; comparisons that are false for NaN let it through.
        let x = if x > 710.0 { 710.0 } else { x };
        let x = if x < -746.0 { -746.0 } else { x };
        let k = (x * std::f64::consts::LOG2_E + ROUND) - ROUND;
        let r = (x - k * LN2_HIGH) - k * LN2_LOW;
        let mut q = 1.0 / 6_227_020_800.0;
        q = q * r + 1.0 / 479_001_600.0;
        q = q * r + 1.0 / 39_916_800.0;
        q = q * r + 1.0 / 3_628_800.0;
        q = q * r + 1.0 / 362_880.0;
        q = q * r + 1.0 / 40_320.0;
        q = q * r + 1.0 / 5_040.0;
        q = q * r + 1.0 / 720.0;
        q = q * r + 1.0 / 120.0;
        q = q * r + 1.0 / 24.0;
        q = q * r + 1.0 / 6.0;
        q = q * r + 0.5;
        let exp_r = 1.0 + (r + (r * r) * q);
        // In two steps, because 2^k alone overflows or vanishes at both ends of the range.
        let half = (k * 0.5 + ROUND) - ROUND;
        (exp_r * power_of_two(half)) * power_of_two(k - half)
    }

    /// The natural logarithm, branch-free so that loops over it become vector code.
    ///
    /// The reduction and the polynomial of fdlibm's `e_log.c`: x = 2^k (1 + f), s = f / (2 + f).
    #[inline(always)]
    pub fn ln(x: f64) -> f64 {
        const SUBNORMAL_SCALE: f64 = 18_014_398_509_481_984.0; // 2^54
        let tiny = x < f64::MIN_POSITIVE;
        let scaled = if tiny { x * SUBNORMAL_SCALE } else { x };
        // Shifts the mantissa to sqrt(1/2) .. sqrt(2): 0x3fe6a09e_667f3bcd is sqrt(1/2).
        let shifted = scaled.to_bits().wrapping_sub(0x3fe6_a09e_667f_3bcd);
        // The exponent, 0 .. 4095 around 2048, as a number: its bits under those of 2^52.
        let biased = (shifted.wrapping_add(1 << 63)) >> 52;
        let k = f64::from_bits(biased | 0x4330_0000_0000_0000) - 4_503_599_627_370_496.0 - 2048.0;
        let mantissa = (shifted & 0x000f_ffff_ffff_ffff).wrapping_add(0x3fe6_a09e_667f_3bcd);
        let f = f64::from_bits(mantissa) - 1.0;
        let k = if tiny { k - 54.0 } else { k };
        let s = f / (2.0 + f);
        let z = s * s;
        let w = z * z;
        let even = w * (0.399_999_999_994_094_2 + w * (0.222_221_984_321_497_84 + w * 0.153_138_376_992_093_73));
        let odd = z
            * (0.666_666_666_666_673_5
                + w * (0.285_714_287_436_623_9 + w * (0.181_835_721_616_180_5 + w * 0.147_981_986_051_165_86)));
        let half_square = 0.5 * f * f;
        let result = k * LN2_HIGH - ((half_square - (s * (half_square + (even + odd)) + k * LN2_LOW)) - f);
        let result = if x == 0.0 { f64::NEG_INFINITY } else { result };
        let result = if x < 0.0 { f64::NAN } else { result };
        // Infinity and NaN are their own logarithms.
        if (x == f64::INFINITY) | x.is_nan() { x } else { result }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn numbers(n: usize, seed: u64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| random.random_range(-1.0..1.0)).collect()
    }

    fn ulps(a: f64, b: f64) -> u64 {
        if a == b { 0 } else { a.to_bits().abs_diff(b.to_bits()) }
    }

    #[test]
    fn sums_have_the_same_bits_with_and_without_vector_instructions() {
        for n in [0, 1, 7, 8, 9, 255, 256] {
            let (a, b) = (numbers(n, 1), numbers(n, 2));
            assert_eq!(dot(&a, &b).to_bits(), inlined::dot(&a, &b).to_bits(), "{n}");
            assert_eq!(sum(&a).to_bits(), inlined::sum(&a).to_bits(), "{n}");
        }
    }

    #[test]
    fn sums_are_right() {
        let (a, b) = (numbers(1003, 1), numbers(1003, 2));
        assert!((dot(&a, &b) - a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>()).abs() < 1e-12);
        assert!((sum(&a) - a.iter().sum::<f64>()).abs() < 1e-12);
        assert!((sum_of_squares_around(&a, 0.5) - a.iter().map(|a| (a - 0.5).powi(2)).sum::<f64>()).abs() < 1e-12);
        assert_eq!(min(&a), a.iter().copied().fold(f64::INFINITY, f64::min));
        assert_eq!(max(&a), a.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    }

    #[test]
    fn a_nan_anywhere_is_the_extreme() {
        for n in [1, 8, 9, 20] {
            for place in 0..n {
                let mut a = numbers(n, 3);
                a[place] = f64::NAN;
                assert!(min(&a).is_nan() && max(&a).is_nan(), "{place} of {n}");
            }
        }
    }

    #[test]
    fn products_with_a_vector_match_the_matrix_product() {
        for (rows, cols) in [(1, 1), (5, 3), (256, 50), (7, 0)] {
            let x = Array2::from_shape_vec((rows, cols), numbers(rows * cols, 4)).unwrap();
            let (w, r) = (numbers(cols, 5), numbers(rows, 6));
            let mut xw = vec![1.0; rows];
            gemv(x.as_slice().unwrap(), &w, &mut xw);
            let expected = x.dot(&ndarray::aview1(&w));
            assert!(xw.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-13));
            let mut xr = vec![0.0; cols];
            gemv_transposed(x.as_slice().unwrap(), &r, &mut xr);
            let expected = x.t().dot(&ndarray::aview1(&r));
            assert!(xr.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-13));
            let mut sums = vec![0.0; cols];
            add_rows(x.as_slice().unwrap(), &mut sums);
            let expected = x.sum_axis(ndarray::Axis(0));
            assert!(sums.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-13));
        }
    }

    #[test]
    fn a_product_with_the_transpose_adds_row_after_row() {
        let (rows, cols) = (27, 13);
        let (x, r) = (numbers(rows * cols, 7), numbers(rows, 8));
        let mut expected = vec![0.0; cols];
        for (r, row) in r.iter().zip(x.chunks(cols)) {
            inlined::axpy(*r, row, &mut expected);
        }
        let mut out = vec![0.0; cols];
        gemv_transposed(&x, &r, &mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn a_transpose_swaps_rows_and_columns() {
        for (rows, cols) in [(1, 1), (0, 3), (3, 0), (5, 40), (16, 16), (33, 17)] {
            let x = Array2::from_shape_vec((rows, cols), numbers(rows * cols, 4)).unwrap();
            let mut out = vec![0.0; rows * cols];
            transpose(x.as_slice().unwrap(), cols, &mut out);
            assert_eq!(out, x.t().iter().copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_matrix_product_does_not_depend_on_layout_or_on_its_other_rows() {
        let a = Array2::from_shape_vec((70, 256), numbers(70 * 256, 9)).unwrap();
        let b = Array2::from_shape_vec((256, 33), numbers(256 * 33, 10)).unwrap();
        let whole = gemm(a.view(), b.view());
        let columns_first = a.t().as_standard_layout().into_owned();
        assert_eq!(gemm(columns_first.t(), b.view()), whole);
        let part = gemm(a.slice(ndarray::s![13..16, ..]), b.slice(ndarray::s![.., 5..7]));
        assert_eq!(part, whole.slice(ndarray::s![13..16, 5..7]));
    }

    #[test]
    fn exp_is_within_one_unit_in_the_last_place() {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        for _ in 0..200_000 {
            let x = random.random_range(-708.0..709.7);
            assert!(ulps(inlined::exp(x), x.exp()) <= 1, "exp({x}) = {} not {}", inlined::exp(x), x.exp());
        }
        for (x, y) in [(710.0, f64::INFINITY), (f64::INFINITY, f64::INFINITY), (-800.0, 0.0), (-0.0, 1.0)] {
            assert_eq!(inlined::exp(x), y, "exp({x})");
        }
        assert!(inlined::exp(f64::NAN).is_nan());
        let subnormal = -740.0_f64;
        assert!((inlined::exp(subnormal) / subnormal.exp() - 1.0).abs() < 0.1);
    }

    #[test]
    fn ln_is_within_one_unit_in_the_last_place() {
        let mut random = ChaCha8Rng::seed_from_u64(12);
        for _ in 0..200_000 {
            let x = f64::from_bits(random.random_range(1..0x7ff0_0000_0000_0000));
            assert!(ulps(inlined::ln(x), x.ln()) <= 1, "ln({x:e}) = {} not {}", inlined::ln(x), x.ln());
            let x = random.random_range(0.5..2.0_f64);
            assert!((inlined::ln(x) - x.ln()).abs() <= f64::EPSILON * x.ln().abs(), "ln({x})");
        }
        assert!(inlined::ln(f64::NAN).is_nan() && inlined::ln(-1.0).is_nan());
        assert_eq!([0.0, 1.0, f64::INFINITY].map(inlined::ln), [f64::NEG_INFINITY, 0.0, f64::INFINITY]);
    }

    #[test]
    fn slices_get_the_same_bits_as_single_numbers() {
        let a = numbers(1001, 13);
        let mut b = a.clone();
        exp(&mut b);
        assert!(a.iter().zip(&b).all(|(a, b)| inlined::exp(*a).to_bits() == b.to_bits()));
    }
}
