//! The inner product that ADMM measures disagreement in: one in which the loss bends alike in all directions.
//!
//! The augmenting term of ADMM may be |x - z|² in any fixed metric (S. Boyd et al., "Distributed optimization and
//! statistical learning via the alternating direction method of multipliers" (2011), section 3.4.2). In that of the
//! second derivatives every coordinate of blocks that are alike converges at the same rate, however the columns hang
//! together; with the identity the rate is that of the worst direction. It knows no rows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::model::Cholesky;
use crate::kernel::Quadratic;

/// The share of the typical curvature that every direction has at least, as those that a sample says nothing of.
const RIDGE: f64 = 1e-3;
/// The same for the coordinates themselves, which are scaled to a typical curvature.
const LEAST_DIAGONAL: f64 = 0.1;

/// A positive matrix M = LL'.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// A number times the identity.
    Uniform(f64),
    /// L, the lower triangle, row after row.
    Factor(Arc<Vec<f64>>),
}

impl Metric {
    /// The matrix of second derivatives of a mean loss; none where it has none that are finite.
    pub(super) fn of(quadratic: &Quadratic, curvature: f64) -> Option<Self> {
        let (size, total) = (quadratic.gradient.len(), quadratic.sum_weights);
        let usable = quadratic.loss.is_finite() && total > 0. && quadratic.hessian.iter().all(|h| h.is_finite());
        if !usable {
            return None;
        }
        let element = |i: usize, j: usize| {
            let h = quadratic.hessian[i * (i + 1) / 2 + j] / total;
            if i == j { (h + RIDGE * curvature).max(LEAST_DIAGONAL * curvature) } else { h }
        };
        let cholesky = Cholesky::new(size, element);
        cholesky.collinear.is_empty().then(|| Self::Factor(Arc::new(cholesky.packed())))
    }

    /// Its element, by row and column of its lower triangle, times a number.
    pub(super) fn packed(&self, size: usize, times: f64) -> Vec<f64> {
        let element = |i: usize, j: usize| match self {
            Self::Uniform(scale) => {
                if i == j {
                    *scale
                } else {
                    0.
                }
            }
            Self::Factor(factor) => {
                let (a, b) = (&factor[i * (i + 1) / 2..], &factor[j * (j + 1) / 2..]);
                a[..=j].iter().zip(b).map(|(a, b)| a * b).sum()
            }
        };
        (0..size).flat_map(|i| (0..=i).map(move |j| (i, j))).map(|(i, j)| times * element(i, j)).collect()
    }

    /// M v.
    pub(super) fn times(&self, v: &[f64]) -> Vec<f64> {
        match self {
            Self::Uniform(scale) => v.iter().map(|v| scale * v).collect(),
            Self::Factor(factor) => {
                let inner = self.spread(v);
                rows(factor, v.len()).map(|row| row.iter().zip(&inner).map(|(l, w)| l * w).sum()).collect()
            }
        }
    }

    /// M⁻¹ g.
    pub(super) fn solve(&self, g: &[f64]) -> Vec<f64> {
        self.unwhiten(self.whiten(g.to_vec()))
    }

    /// |v| in this metric, squared.
    pub(super) fn square(&self, v: &[f64]) -> f64 {
        match self {
            Self::Uniform(scale) => scale * v.iter().map(|v| v * v).sum::<f64>(),
            Self::Factor(_) => self.spread(v).iter().map(|w| w * w).sum(),
        }
    }

    /// L⁻¹ g: what a gradient is where the metric is the identity.
    pub(super) fn whiten(&self, mut g: Vec<f64>) -> Vec<f64> {
        match self {
            Self::Uniform(scale) => g.iter_mut().for_each(|g| *g /= scale.sqrt()),
            Self::Factor(factor) => {
                let mut begin = 0;
                for i in 0..g.len() {
                    let row = &factor[begin..=begin + i];
                    let sum: f64 = row[..i].iter().zip(&g).map(|(l, x)| l * x).sum();
                    g[i] = (g[i] - sum) / row[i];
                    begin += i + 1;
                }
            }
        }
        g
    }

    /// L⁻ᵀ w: the step that is w where the metric is the identity.
    pub(super) fn unwhiten(&self, mut w: Vec<f64>) -> Vec<f64> {
        match self {
            Self::Uniform(scale) => w.iter_mut().for_each(|w| *w /= scale.sqrt()),
            Self::Factor(factor) => {
                for i in (0..w.len()).rev() {
                    let row = &factor[i * (i + 1) / 2..=i * (i + 1) / 2 + i];
                    w[i] /= row[i];
                    let value = w[i];
                    w[..i].iter_mut().zip(row).for_each(|(w, l)| *w -= l * value);
                }
            }
        }
        w
    }

    /// The mean of the diagonal.
    pub(super) fn typical(&self, size: usize) -> f64 {
        match self {
            Self::Uniform(scale) => *scale,
            Self::Factor(factor) => factor.iter().map(|l| l * l).sum::<f64>() / size as f64,
        }
    }

    /// L' v, of a factor.
    fn spread(&self, v: &[f64]) -> Vec<f64> {
        let Self::Factor(factor) = self else { return v.to_vec() };
        let mut out = vec![0.; v.len()];
        for (row, v) in rows(factor, v.len()).zip(v) {
            out.iter_mut().zip(row).for_each(|(out, l)| *out += l * v);
        }
        out
    }
}

/// The rows of a lower triangle.
fn rows(packed: &[f64], size: usize) -> impl Iterator<Item = &[f64]> {
    (0..size).map(|i| &packed[i * (i + 1) / 2..=i * (i + 1) / 2 + i])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quadratic(hessian: Vec<f64>, size: usize) -> Quadratic {
        Quadratic { sum_weights: 2., loss: 1., gradient: vec![0.; size], hessian, separated: false, n_saturated: 0 }
    }

    #[test]
    fn a_factor_is_the_matrix_and_its_inverse() {
        // Twice [[4, 2, 0.6], [2, 5, 1], [0.6, 1, 3]].
        let metric = Metric::of(&quadratic(vec![8., 4., 10., 1.2, 2., 6.], 3), 0.).expect("positive");
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-14);
        assert!(near(&metric.packed(3, 1.), &[4., 2., 5., 0.6, 1., 3.]));
        let v = [1., -2., 0.5];
        let product = metric.times(&v);
        assert!(near(&product, &[0.3, -7.5, 0.1]), "{product:?}");
        assert!(near(&metric.solve(&product), &v));
        let square: f64 = v.iter().zip(&product).map(|(v, p)| v * p).sum();
        assert!((metric.square(&v) - square).abs() < 1e-14);
        let white = metric.whiten(product);
        assert!((white.iter().map(|w| w * w).sum::<f64>() - square).abs() < 1e-14);
        assert!(near(&metric.unwhiten(white), &v));
    }

    #[test]
    fn the_identity_is_one_too() {
        let metric = Metric::Uniform(4.);
        assert_eq!(metric.packed(2, 0.5), [2., 0., 2.]);
        assert_eq!((metric.times(&[1., 2.]), metric.solve(&[4., 8.])), (vec![4., 8.], vec![1., 2.]));
        assert_eq!((metric.square(&[1., 2.]), metric.whiten(vec![2., 4.])), (20., vec![1., 2.]));
    }

    #[test]
    fn directions_that_are_not_seen_have_some_curvature() {
        let metric = Metric::of(&quadratic(vec![2., 2., 2., 0., 0., 0.], 3), 1.).expect("positive");
        assert!(metric.square(&[1., -1., 0.]) >= 1e-3 && (metric.square(&[0., 0., 1.]) - 0.1).abs() < 1e-15);
        assert_eq!(Metric::of(&quadratic(vec![f64::NAN], 1), 1.), None);
    }
}
