//! Means and centred cross products of all columns and y: all that least squares needs, in one pass.

use phalanx_array::{
    kernel::Gram,
    panel::{Combine, PANEL, Subtrees},
    simd,
};
use serde::{Deserialize, Serialize};

use super::{
    Panel, Rows,
    moments::{BadValue, bad_value, share},
    sum_of,
};
use crate::loss::Loss;

/// Weighted means and centred cross products of some rows; the last variable is y less the offset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scatter {
    /// How many rows.
    pub n_rows: usize,
    /// How many of them have a weight above 0.
    pub n_used: usize,
    /// Sum of the weights.
    pub sum_weights: f64,
    /// Length n_features + 1.
    pub means: Vec<f64>,
    /// Weighted sums of products of distances from the means: the lower triangle, row after row.
    pub products: Vec<f64>,
    /// The first bad value, in row order.
    pub bad: Option<BadValue>,
}

impl Combine for Scatter {
    /// Chan, Golub, LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample variances", for
    /// products as for squares.
    fn combine(mut self, right: Self) -> Self {
        let share = share(self.sum_weights, right.sum_weights);
        let steps: Vec<f64> = right.means.iter().zip(&self.means).map(|(b, a)| b - a).collect();
        let factor = self.sum_weights * share;
        let mut place = 0;
        for i in 0..steps.len() {
            let step = factor * steps[i];
            for other in &steps[..=i] {
                self.products[place] += right.products[place] + step * other;
                place += 1;
            }
        }
        self.means.iter_mut().zip(&steps).for_each(|(mean, step)| *mean += step * share);
        self.n_rows += right.n_rows;
        self.n_used += right.n_used;
        self.sum_weights += right.sum_weights;
        self.bad = self.bad.or(right.bad);
        self
    }
}

impl Scatter {
    /// The sum of products of two variables.
    pub(crate) fn product(&self, i: usize, j: usize) -> f64 {
        let (i, j) = (i.max(j), i.min(j));
        self.products[i * (i + 1) / 2 + j]
    }
}

impl Rows<'_> {
    /// The scatter of every panel, combined as far as these rows allow; none without rows.
    pub(crate) fn scatter(self, loss: Loss) -> Option<Subtrees<Scatter>> {
        let p = self.n_features;
        let (mut design, mut gram) = (Vec::with_capacity(PANEL * (p + 1)), Gram::new(p + 1));
        let panels = self.panels().map(|panel| {
            simd::dispatch(
                #[inline(always)]
                || scatter_panel(loss, panel, p, &mut design, &mut gram),
            )
        });
        Subtrees::from_panels(self.first_panel, panels)
    }
}

#[inline(always)]
pub(super) fn scatter_panel(loss: Loss, panel: Panel<'_>, p: usize, design: &mut Vec<f64>, gram: &mut Gram) -> Scatter {
    let Panel { x, y, weights, offset, .. } = panel;
    let (n, q) = (y.len(), p + 1);
    let total = sum_of(weights, n);
    let target = |i: usize| y[i] - offset.map_or(0., |offset| offset[i]);
    let mut means = super::moments::column_means(x, p, weights, total);
    let sum: f64 = (0..n).map(|i| weights.map_or(1., |weights| weights[i]) * target(i)).sum();
    means.push(if total > 0. { sum / total } else { 0. });
    let bad = bad_value(loss, panel, &means[..p], total, false);
    // Written once, about the means: a copy of the rows would cost as much as the products of a few columns.
    design.resize(n * q, 0.);
    for (i, (out, row)) in design.chunks_exact_mut(q).zip(x.chunks_exact(p.max(1))).enumerate() {
        let root = weights.map_or(1., |weights| weights[i].sqrt());
        let (out, last) = out.split_at_mut(p);
        last[0] = (target(i) - means[p]) * root;
        match weights {
            None => out.iter_mut().zip(row).zip(&means).for_each(|((out, x), mean)| *out = x - mean),
            Some(_) => out.iter_mut().zip(row).zip(&means).for_each(|((out, x), mean)| *out = (x - mean) * root),
        }
    }
    let mut products = vec![0.; q * (q + 1) / 2];
    gram.add(design, &mut products);
    Scatter {
        n_rows: y.len(),
        n_used: weights.map_or(n, |weights| weights.iter().filter(|w| **w > 0.).count()),
        sum_weights: total,
        means,
        products,
        bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{family::Family, kernel::testing::Sample};

    #[test]
    fn its_diagonal_and_means_are_the_moments() {
        let sample = Sample::new(5 * PANEL + 3, 4);
        for weighted in [false, true] {
            let rows = Rows { offset: None, ..sample.rows(weighted) };
            let scatter = rows.scatter(Family::Gaussian.into()).expect("rows").finish();
            let moments = rows.moments(Family::Gaussian.into(), false).expect("rows").finish();
            assert_eq!(
                (scatter.n_rows, scatter.n_used, scatter.sum_weights),
                (moments.n_rows, moments.n_used, moments.sum_weights)
            );
            for (j, spread) in moments.x.iter().chain([&moments.y]).enumerate() {
                assert!((scatter.means[j] - spread.mean).abs() < 1e-12);
                assert!((scatter.product(j, j) - spread.squares).abs() < 1e-9 * spread.squares);
            }
        }
    }

    #[test]
    fn any_cut_on_a_panel_border_gives_the_same_bits() {
        let sample = Sample::new(11 * PANEL + 17, 3);
        let joined = |rows: Rows<'_>| rows.scatter(Family::Gaussian.into()).expect("rows");
        let whole = sample.rows(true);
        for cut in [1, 4, 7, 11] {
            let (left, right) = (whole.slice(0..cut * PANEL), whole.slice(cut * PANEL..whole.y.len()));
            assert_eq!(joined(left).merge(joined(right)).finish(), joined(whole).finish(), "cut at {cut}");
        }
    }

    #[test]
    fn products_survive_a_large_offset() {
        let n = 1000;
        let x: Vec<f64> = (0..n).map(|i| 1e9 + f64::from(i % 2)).collect();
        let y: Vec<f64> = (0..n).map(|i| 1e9 - f64::from(i % 2)).collect();
        let scatter = Rows::plain(&x, &y, 1).scatter(Family::Gaussian.into()).expect("rows").finish();
        assert!((scatter.product(0, 1) + 250.).abs() < 1e-5, "{scatter:?}");
    }
}
