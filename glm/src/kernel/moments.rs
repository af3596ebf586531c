//! Means and sums of squares, and the first value that no model can be fitted to.

use phalanx_array::{
    kernel::inlined::{add_rows, dot, gemv_transposed, sum, sum_of_squares_around},
    panel::{Combine, PANEL, Subtrees},
    simd,
};
use serde::{Deserialize, Serialize};

use super::{Panel, Rows, sum_of};
use crate::loss::Loss;

/// Weighted means and sums of squares of some rows, and the first value that no model can be fitted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// How many rows.
    pub n_rows: usize,
    /// How many of them have a weight above 0.
    pub n_used: usize,
    /// Sum of the weights.
    pub sum_weights: f64,
    /// Of each column, length n_features.
    pub x: Vec<Spread>,
    /// Of y.
    pub y: Spread,
    /// The mean of the offset.
    pub offset: f64,
    /// Weighted sum of what half the deviance has beyond the loss.
    pub saturated: f64,
    /// The first bad value, in row order.
    pub bad: Option<BadValue>,
}

/// A mean and the sum of squared distances from it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// Weighted sum of squared distances from the mean.
    pub squares: f64,
}

/// A value that no model can be fitted to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BadValue {
    /// The row, from 0.
    pub row: usize,
    /// Where in the row.
    pub place: Place,
    /// The value.
    pub value: f64,
}

/// A place in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// A column of X, from 0.
    X(usize),
    /// The target.
    Y,
    /// The sample weight.
    Weight,
    /// The offset.
    Offset,
    /// The fold of a cross-validation.
    Fold,
}

impl Spread {
    /// Chan, Golub, LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample variances".
    fn combine(self, n: f64, right: Self, share: f64) -> Self {
        let step = right.mean - self.mean;
        Self { mean: self.mean + step * share, squares: self.squares + right.squares + step * step * n * share }
    }

    /// The mean square: about the mean, or about 0.
    pub(crate) fn mean_square(self, sum_weights: f64, centred: bool) -> f64 {
        let variance = self.squares / sum_weights;
        if centred { variance } else { self.mean * self.mean + variance }
    }
}

/// The share of the right one of two weights; a half where there is none, so that means stay numbers.
pub(super) fn share(left: f64, right: f64) -> f64 {
    if left + right > 0. { right / (left + right) } else { 0.5 }
}

impl Combine for Moments {
    fn combine(mut self, right: Self) -> Self {
        let (n, share) = (self.sum_weights, share(self.sum_weights, right.sum_weights));
        for (a, &b) in self.x.iter_mut().zip(&right.x) {
            *a = a.combine(n, b, share);
        }
        self.y = self.y.combine(n, right.y, share);
        self.offset += (right.offset - self.offset) * share;
        self.saturated += right.saturated;
        self.n_rows += right.n_rows;
        self.n_used += right.n_used;
        self.sum_weights += right.sum_weights;
        self.bad = self.bad.or(right.bad);
        self
    }
}

impl Rows<'_> {
    /// The moments of every panel, combined as far as these rows allow; none without rows.
    pub(crate) fn moments(self, loss: Loss, shares: bool) -> Option<Subtrees<Moments>> {
        let p = self.n_features;
        let panels = self.panels().map(|panel| {
            simd::dispatch(
                #[inline(always)]
                || moments_panel(loss, panel, p, shares),
            )
        });
        Subtrees::from_panels(self.first_panel, panels)
    }
}

#[inline(always)]
pub(super) fn moments_panel(loss: Loss, panel: Panel<'_>, p: usize, shares: bool) -> Moments {
    let Panel { x, y, weights, offset, .. } = panel;
    let total = sum_of(weights, y.len());
    let means = column_means(x, p, weights, total);
    let mut squares = vec![0.; p];
    for (i, row) in x.chunks_exact(p.max(1)).enumerate() {
        let w = weights.map_or(1., |weights| weights[i]);
        for ((square, &x), &mean) in squares.iter_mut().zip(row).zip(&means) {
            *square += w * ((x - mean) * (x - mean));
        }
    }
    let mean_of = |values: &[f64]| {
        let sum = weights.map_or_else(|| sum(values), |weights| dot(values, weights));
        if total > 0. { sum / total } else { 0. }
    };
    let y_mean = mean_of(y);
    let y_squares = match weights {
        None => sum_of_squares_around(y, y_mean),
        Some(weights) => y.iter().zip(weights).map(|(y, w)| w * (y - y_mean) * (y - y_mean)).sum(),
    };
    let bad = bad_value(loss, panel, &means, total, shares);
    let saturated = |i: usize| weights.map_or(1., |weights| weights[i]) * loss.saturated(y[i]);
    Moments {
        n_rows: y.len(),
        n_used: weights.map_or(y.len(), |weights| weights.iter().filter(|w| **w > 0.).count()),
        sum_weights: total,
        x: means.into_iter().zip(squares).map(|(mean, squares)| Spread { mean, squares }).collect(),
        y: Spread { mean: y_mean, squares: y_squares },
        offset: offset.map_or(0., mean_of),
        saturated: (0..y.len()).map(saturated).sum(),
        bad,
    }
}

/// The weighted mean of each column; zeros without weight.
#[inline(always)]
pub(super) fn column_means(x: &[f64], p: usize, weights: Option<&[f64]>, total: f64) -> Vec<f64> {
    let mut means = vec![0.; p];
    if p == 0 {
        return means;
    }
    match weights {
        None => add_rows(x, &mut means),
        Some(weights) => gemv_transposed(x, weights, &mut means),
    }
    means.iter_mut().for_each(|mean| *mean = if total > 0. { *mean / total } else { 0. });
    means
}

/// The first value of a panel that no model can be fitted to, given the columns' means by this weight; `shares` allows
/// shares of trials as y.
#[inline(always)]
pub(super) fn bad_value(loss: Loss, panel: Panel<'_>, means: &[f64], total: f64, shares: bool) -> Option<BadValue> {
    let (Panel { index, x, y, weights, offset, .. }, p) = (panel, means.len());
    // One sum is quick, and is a number only where every term is; so is a mean, of any weights but none.
    let finite = |values: &[f64]| sum(values).is_finite();
    let x_fine = if total > 0. { means.iter().all(|mean| mean.is_finite()) } else { finite(x) };
    let y_fine =
        |y: f64| loss.family.allows(y) && (shares || loss.family != crate::Family::Binomial || y == 0. || y == 1.);
    let weights_fine = |w: f64| w.is_finite() && w >= 0.;
    // Without a way out, so that several are looked at together.
    if x_fine
        && y.iter().fold(true, |fine, &y| fine & y_fine(y))
        && weights.is_none_or(|weights| weights.iter().all(|&w| weights_fine(w)))
        && offset.is_none_or(finite)
    {
        return None;
    }
    (0..y.len()).find_map(|i| {
        let bad = |place, value| Some(BadValue { row: index * PANEL + i, place, value });
        let row = &x[i * p..(i + 1) * p];
        if let Some(j) = row.iter().position(|x| !x.is_finite()) {
            return bad(Place::X(j), row[j]);
        }
        if !y_fine(y[i]) {
            return bad(Place::Y, y[i]);
        }
        if let Some(&w) = weights.map(|weights| &weights[i]).filter(|w| !weights_fine(**w)) {
            return bad(Place::Weight, w);
        }
        offset.map(|offset| offset[i]).filter(|o| !o.is_finite()).and_then(|o| bad(Place::Offset, o))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{family::Family, kernel::testing::Sample};

    const GAUSSIAN: Loss = Loss { family: Family::Gaussian, link: crate::Link::Identity };

    #[test]
    fn moments_survive_a_large_offset() {
        let y: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i % 2)).collect();
        let moments = Rows::plain(&y.clone(), &y, 1).moments(GAUSSIAN, false).expect("rows").finish();
        assert_eq!((moments.n_rows, moments.bad), (1000, None));
        for spread in [moments.y, moments.x[0]] {
            assert!((spread.mean - 1e9 - 0.5).abs() < 1e-6 && (spread.squares - 250.).abs() < 1e-6, "{spread:?}");
        }
    }

    #[test]
    fn a_weight_counts_as_often_as_it_says() {
        let sample = Sample::new(700, 3);
        let whole: Vec<f64> = sample.weights.iter().map(|w| 2. * w).collect();
        let rows = Rows { weights: Some(&whole), ..sample.rows(false) };
        let weighted = rows.moments(GAUSSIAN, false).expect("rows").finish();
        let mut repeated = (Vec::new(), Vec::new());
        for (i, &w) in whole.iter().enumerate() {
            for _ in 0..w as usize {
                repeated.0.extend(&sample.x[3 * i..3 * i + 3]);
                repeated.1.push(sample.y[i]);
            }
        }
        let plain = Rows::plain(&repeated.0, &repeated.1, 3).moments(GAUSSIAN, false).expect("rows").finish();
        assert_eq!(weighted.sum_weights, plain.n_rows as f64);
        assert_eq!(weighted.n_used, whole.iter().filter(|w| **w > 0.).count());
        for (a, b) in weighted.x.iter().chain([&weighted.y]).zip(plain.x.iter().chain([&plain.y])) {
            assert!((a.mean - b.mean).abs() < 1e-12 && (a.squares - b.squares).abs() < 1e-9, "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_panel_without_weight_changes_nothing() {
        let sample = Sample::new(2 * PANEL, 2);
        let weights: Vec<f64> = (0..2 * PANEL).map(|i| f64::from(i >= PANEL)).collect();
        let whole = Rows { weights: Some(&weights), ..sample.rows(false) };
        let found = whole.moments(GAUSSIAN, false).expect("rows").finish();
        let half = whole.slice(PANEL..2 * PANEL).moments(GAUSSIAN, false).expect("rows").finish();
        assert_eq!(found, Moments { n_rows: 2 * PANEL, ..half });
    }

    #[test]
    fn any_cut_on_a_panel_border_gives_the_same_bits() {
        let sample = Sample::new(11 * PANEL + 17, 5);
        let whole = sample.rows(true);
        let joined = |rows: Rows<'_>| rows.moments(GAUSSIAN, false).expect("rows");
        for cut in [1, 4, 7, 11] {
            let (left, right) = (whole.slice(0..cut * PANEL), whole.slice(cut * PANEL..whole.y.len()));
            assert_eq!(joined(left).merge(joined(right)).finish(), joined(whole).finish(), "cut at {cut}");
        }
    }

    #[test]
    fn the_first_bad_value_is_named_by_its_global_row() {
        let bad = |change: &dyn Fn(&mut Sample), shares| {
            let mut sample = Sample::new(600, 3);
            change(&mut sample);
            let rows = Rows { first_panel: 10, ..sample.rows(true) };
            rows.moments(Family::Binomial.into(), shares).expect("rows").finish().bad
        };
        assert_eq!(bad(&|_| {}, false), None);
        let found = bad(&|sample| (sample.x[400 * 3 + 2], sample.y[450]) = (f64::NAN, 2.), false).expect("bad");
        assert_eq!((found.row, found.place), (10 * PANEL + 400, Place::X(2)));
        assert!(found.value.is_nan());
        let at = |row, place, value| Some(BadValue { row: 10 * PANEL + row, place, value });
        assert_eq!(bad(&|sample| sample.y[450] = 0.5, false), at(450, Place::Y, 0.5));
        assert_eq!(bad(&|sample| sample.y[450] = 0.5, true), None);
        assert_eq!(bad(&|sample| sample.weights[7] = -1., false), at(7, Place::Weight, -1.));
        assert_eq!(bad(&|sample| sample.offset[8] = f64::INFINITY, false), at(8, Place::Offset, f64::INFINITY));
        // Finite numbers whose sum is not are no mistake.
        assert_eq!(bad(&|sample| sample.x[..2].fill(f64::MAX), false), None);
    }
}
