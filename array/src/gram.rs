//! Products of columns with columns, A'A: half of what a general matrix product would do, since the result is symmetric.
//!
//! Every element is summed over the rows in their order, 64 of them at a time, by fused multiply-add where the
//! processor has it; the same bits at any width of the registers. Nothing is known here of panels or weights.

use crate::simd::{self, LANES};

/// Rows whose columns lie in the nearest cache while tiles of the result are summed.
const ROWS: usize = 64;

/// Columns that a tile of the result is high: its sums are then half of the registers of 256 bits that there are.
const HIGH: usize = 4;

/// Eight neighbouring columns of one row.
type Lanes = [f64; LANES];

/// Adds up A'A for the rows of a matrix, any number of them at a time.
///
/// ```
/// use phalanx_array::kernel::Gram;
///
/// let mut packed = [0.; 3];
/// Gram::new(2).add(&[1., 2., 3., 4.], &mut packed);
/// assert_eq!(packed, [10., 14., 20.]); // the lower triangle, row after row, of [[10, 14], [14, 20]]
/// ```
#[derive(Debug, Clone)]
pub struct Gram {
    n_cols: usize,
    /// For each eight columns the rows at hand; zeros beyond the last column.
    tiles: Vec<Lanes>,
}

impl Gram {
    /// For matrices of so many columns.
    pub fn new(n_cols: usize) -> Self {
        Self { n_cols, tiles: vec![[0.; LANES]; n_cols.div_ceil(LANES) * ROWS] }
    }

    /// `packed += a' a`: `a` row-major, `packed` the lower triangle of the result, row after row.
    ///
    /// # Panics
    /// When `packed` is shorter than the triangle.
    pub fn add(&mut self, a: &[f64], packed: &mut [f64]) {
        if self.n_cols == 0 {
            return;
        }
        let fused = simd::has_fused_multiply_add();
        simd::dispatch(
            #[inline(always)]
            || {
                if fused { self.add_tiles::<true>(a, packed) } else { self.add_tiles::<false>(a, packed) }
            },
        );
    }

    #[inline(always)]
    fn add_tiles<const FUSED: bool>(&mut self, a: &[f64], packed: &mut [f64]) {
        let q = self.n_cols;
        for rows in a.chunks(ROWS * q) {
            let n = rows.len() / q;
            for (r, row) in rows.chunks_exact(q).enumerate() {
                let (whole, end) = row.as_chunks::<LANES>();
                for (tile, lanes) in whole.iter().enumerate() {
                    self.tiles[tile * ROWS + r] = *lanes;
                }
                if !end.is_empty() {
                    self.tiles[whole.len() * ROWS + r][..end.len()].copy_from_slice(end);
                }
            }
            for (i, left) in self.tiles.chunks_exact(ROWS).enumerate() {
                for (j, right) in self.tiles.chunks_exact(ROWS).enumerate().take(i + 1) {
                    for high in (0..LANES).step_by(HIGH) {
                        let sums = product::<FUSED>(&left[..n], &right[..n], high);
                        for (row, sums) in (i * LANES + high..q).zip(&sums) {
                            let first = j * LANES;
                            let begin = row * (row + 1) / 2 + first;
                            let last = (row + 1 - first).min(LANES);
                            packed[begin..begin + last].iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
                        }
                    }
                }
            }
        }
    }
}

/// `HIGH` columns of the left, from the one at `high` on, times eight of the right.
#[inline(always)]
fn product<const FUSED: bool>(left: &[Lanes], right: &[Lanes], high: usize) -> [Lanes; HIGH] {
    let mut sums = [[0.; LANES]; HIGH];
    for (left, right) in left.iter().zip(right) {
        for i in 0..HIGH {
            let a = left[high + i];
            for lane in 0..LANES {
                sums[i][lane] =
                    if FUSED { a.mul_add(right[lane], sums[i][lane]) } else { a * right[lane] + sums[i][lane] };
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * 7919 + 13) % 1009) as f64 / 503. - 1.).collect()
    }

    #[test]
    fn it_is_the_sum_of_products() {
        for (n, q) in [(1, 1), (3, 7), (64, 8), (65, 9), (256, 17), (130, 51)] {
            let a = numbers(n * q);
            let mut packed = vec![1.; q * (q + 1) / 2];
            let mut gram = Gram::new(q);
            gram.add(&a, &mut packed);
            let mut place = 0;
            for i in 0..q {
                for j in 0..=i {
                    let sum: f64 = a.chunks(q).map(|row| row[i] * row[j]).sum();
                    assert!((packed[place] - 1. - sum).abs() < 1e-11, "{n} {q} {i} {j}");
                    place += 1;
                }
            }
        }
        Gram::new(0).add(&[], &mut []);
    }

    #[test]
    fn what_was_there_before_does_not_matter() {
        let (n, q) = (150, 21);
        let (a, b) = (numbers(n * q), numbers(n * q + 5));
        let sums = |gram: &mut Gram| {
            let mut packed = vec![0.; q * (q + 1) / 2];
            gram.add(&a, &mut packed);
            packed
        };
        let mut gram = Gram::new(q);
        let first = sums(&mut gram);
        gram.add(&b[5..], &mut vec![0.; q * (q + 1) / 2]);
        assert_eq!(sums(&mut gram), first);
    }
}
