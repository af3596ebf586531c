//! The passes over one panel of rows: moments, and loss with gradient. Plain functions of numbers.
//!
//! A panel is row-major, at most [`PANEL`] rows. Every sum runs in an order that depends only on the panel, by the
//! array crate's kernels, so the bits are the same at any width of vector instructions.

use phalanx_array::{
    kernel::{
        self,
        inlined::{add_rows, dot, gemv, gemv_transposed, sum, sum_of_squares_around},
    },
    panel::{Combine, PANEL, Subtrees, n_panels},
    simd,
};
use serde::{Deserialize, Serialize};

use crate::{family::Family, solver::Coefficients};

/// Loss and gradient, summed over some rows, in the data's own coordinates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Sum of half the unit deviances, less what does not depend on the model; infinite where a mean overflows.
    pub loss: f64,
    /// Sum of `mean - y`: the derivative by the intercept.
    pub residual: f64,
    /// Xᵀ(mean - y): the derivative by the coefficients, length n_features; zeros where the loss is infinite.
    pub gradient: Vec<f64>,
    /// Whether every row's linear predictor has the sign of its class; false but for the binomial family.
    pub separated: bool,
}

/// Means and sums of squares of some rows, and the first value that no model can be fitted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// How many rows.
    pub n_rows: usize,
    /// Of each column, length n_features.
    pub x: Vec<Spread>,
    /// Of y.
    pub y: Spread,
    /// Sum of what half the deviance has beyond the loss.
    pub saturated: f64,
    /// The first bad value, in row order.
    pub bad: Option<BadValue>,
}

/// A mean and the sum of squared distances from it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// Sum of squared distances from the mean.
    pub squares: f64,
}

/// A value that no model can be fitted to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BadValue {
    /// The row, from 0.
    pub row: usize,
    /// The column of X, from 0; none for y.
    pub column: Option<usize>,
    /// The value.
    pub value: f64,
}

impl Combine for Evaluation {
    fn combine(mut self, right: Self) -> Self {
        self.loss += right.loss;
        self.residual += right.residual;
        self.gradient = self.gradient.combine(right.gradient);
        self.separated &= right.separated;
        self
    }
}

/// One evaluation a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evaluations(pub(crate) Vec<Evaluation>);

impl Combine for Evaluations {
    fn combine(self, right: Self) -> Self {
        Self(self.0.into_iter().zip(right.0).map(|(a, b)| a.combine(b)).collect())
    }
}

impl Spread {
    /// Chan, Golub, LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample variances".
    fn combine(self, n: f64, right: Self, n_right: f64) -> Self {
        let step = right.mean - self.mean;
        let share = n_right / (n + n_right);
        Self { mean: self.mean + step * share, squares: self.squares + right.squares + step * step * n * share }
    }

    /// The mean square: about the mean, or about 0.
    pub(crate) fn mean_square(self, n_rows: f64, centred: bool) -> f64 {
        let variance = self.squares / n_rows;
        if centred { variance } else { self.mean * self.mean + variance }
    }
}

impl Combine for Moments {
    fn combine(mut self, right: Self) -> Self {
        let (n, n_right) = (self.n_rows as f64, right.n_rows as f64);
        for (a, &b) in self.x.iter_mut().zip(&right.x) {
            *a = a.combine(n, b, n_right);
        }
        self.y = self.y.combine(n, right.y, n_right);
        self.saturated += right.saturated;
        self.n_rows += right.n_rows;
        self.bad = self.bad.or(right.bad);
        self
    }
}

/// Rows in memory: X row-major with `y.len()` rows, the first of them at the global panel `first_panel`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) x: &'a [f64],
    pub(crate) y: &'a [f64],
    pub(crate) n_features: usize,
    pub(crate) first_panel: usize,
}

impl<'a> Rows<'a> {
    /// The panels, with their global index, from the first to the last.
    pub(crate) fn panels(self) -> impl Iterator<Item = (usize, &'a [f64], &'a [f64])> {
        let p = self.n_features;
        (0..n_panels(self.y.len())).map(move |panel| {
            let (start, end) = (panel * PANEL, ((panel + 1) * PANEL).min(self.y.len()));
            (self.first_panel + panel, &self.x[start * p..end * p], &self.y[start..end])
        })
    }

    /// Some of these rows, beginning on a panel border.
    pub(crate) fn slice(self, rows: std::ops::Range<usize>) -> Self {
        let p = self.n_features;
        Self {
            x: &self.x[rows.start * p..rows.end * p],
            y: &self.y[rows.clone()],
            first_panel: self.first_panel + rows.start / PANEL,
            ..self
        }
    }

    /// Loss and gradient of every panel at every point, combined as far as these rows allow; none without rows.
    pub(crate) fn evaluate(self, family: Family, points: &[Coefficients]) -> Option<Subtrees<Evaluations>> {
        // All points look at a panel while it is in the cache.
        let panels = self.panels().map(|(_, x, y)| {
            let at = |point: &Coefficients| simd::dispatch(|| evaluate_panel(family, x, y, point));
            Evaluations(points.iter().map(at).collect())
        });
        Subtrees::from_panels(self.first_panel, panels)
    }

    /// The moments of every panel, combined as far as these rows allow; none without rows.
    pub(crate) fn moments(self, family: Family) -> Option<Subtrees<Moments>> {
        let p = self.n_features;
        let panels = self.panels().map(|(panel, x, y)| simd::dispatch(|| moments_panel(family, x, y, p, panel)));
        Subtrees::from_panels(self.first_panel, panels)
    }
}

#[inline(always)]
fn evaluate_panel(family: Family, x: &[f64], y: &[f64], at: &Coefficients) -> Evaluation {
    let n = y.len();
    let mut eta = [0.; PANEL];
    predict(x, &at.coef, at.intercept, &mut eta[..n]);
    let (loss, separated) = loss_of_panel(family, y, &mut eta[..n]);
    let residuals = &eta[..n];
    let mut gradient = vec![0.; at.coef.len()];
    if !loss.is_finite() {
        return Evaluation { loss: f64::INFINITY, residual: 0., gradient, separated: false };
    }
    gemv_transposed(x, residuals, &mut gradient);
    Evaluation { loss, residual: sum(residuals), gradient, separated }
}

/// The panel's loss, and whether it is separated; `eta` becomes the residuals. [`Family::row_loss`], a panel at a time.
#[inline(always)]
fn loss_of_panel(family: Family, y: &[f64], eta: &mut [f64]) -> (f64, bool) {
    let mut e = [0.; PANEL];
    let e = &mut e[..y.len()];
    match family {
        Family::Gaussian => {
            eta.iter_mut().zip(y).for_each(|(eta, y)| *eta -= y);
            (0.5 * dot(eta, eta), false)
        }
        Family::Binomial => {
            e.iter_mut().zip(&*eta).for_each(|(e, eta)| *e = -eta.abs());
            kernel::exp(e);
            // The loss is ln(1 + exp(-margin)) = ln(1 + e) + max(-margin, 0), where e = exp(-|margin|).
            let (mut separated, mut logs) = (true, [0.; PANEL]);
            let logs = &mut logs[..y.len()];
            for (((eta, e), log), &y) in eta.iter_mut().zip(&mut *e).zip(&mut *logs).zip(y) {
                let sign = 2. * y - 1.;
                let margin = sign * *eta;
                separated &= margin > 0.;
                *log = 1. + *e;
                *eta = -sign * if margin > 0. { *e } else { 1. } / (1. + *e);
                *e = (-margin).max(0.);
            }
            kernel::ln(logs);
            (sum(logs) + sum(e), separated)
        }
        Family::Poisson => {
            e.copy_from_slice(eta);
            kernel::exp(e);
            let y_eta = dot(y, eta);
            eta.iter_mut().zip(&*e).zip(y).for_each(|((eta, mean), y)| *eta = mean - y);
            (sum(e) - y_eta, false)
        }
    }
}

#[inline(always)]
fn moments_panel(family: Family, x: &[f64], y: &[f64], p: usize, panel: usize) -> Moments {
    let n = y.len() as f64;
    let mut means = vec![0.; p];
    add_rows(x, &mut means);
    means.iter_mut().for_each(|mean| *mean /= n);
    let mut squares = vec![0.; p];
    for row in x.chunks_exact(p) {
        for ((square, &x), &mean) in squares.iter_mut().zip(row).zip(&means) {
            *square += (x - mean) * (x - mean);
        }
    }
    let y_mean = sum(y) / n;
    let bad = y.iter().zip(x.chunks_exact(p)).enumerate().find_map(|(row, (&y, x))| {
        let row = panel * PANEL + row;
        let in_x = || x.iter().position(|x| !x.is_finite()).map(|j| BadValue { row, column: Some(j), value: x[j] });
        in_x().or_else(|| (!family.allows(y)).then_some(BadValue { row, column: None, value: y }))
    });
    Moments {
        n_rows: y.len(),
        x: means.into_iter().zip(squares).map(|(mean, squares)| Spread { mean, squares }).collect(),
        y: Spread { mean: y_mean, squares: sum_of_squares_around(y, y_mean) },
        saturated: y.iter().map(|&y| family.saturated(y)).sum(),
        bad,
    }
}

/// `out = X b + c`, a row of X being as long as b.
#[inline(always)]
pub(crate) fn predict(x: &[f64], b: &[f64], c: f64, out: &mut [f64]) {
    gemv(x, b, out);
    out.iter_mut().for_each(|out| *out += c);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers without a pattern that a kernel could get right by luck.
    fn noise(i: usize) -> f64 {
        ((i * 7919 + 13) % 1009) as f64 / 503. - 1.
    }

    fn rows(n: usize, p: usize) -> (Vec<f64>, Vec<f64>) {
        ((0..n * p).map(noise).collect(), (0..n).map(|i| f64::from(noise(i * 31) > 0.2)).collect())
    }

    fn evaluate(rows: Rows<'_>, family: Family, coef: &[f64], intercept: f64) -> Evaluation {
        let points = [Coefficients { coef: coef.to_vec(), intercept }];
        rows.evaluate(family, &points).expect("rows").finish().0.remove(0)
    }

    #[test]
    fn evaluation_is_the_sum_over_rows() {
        for (n, p) in [(1, 1), (7, 3), (256, 8), (1000, 13)] {
            let (x, y) = rows(n, p);
            let coef: Vec<f64> = (0..p).map(|j| noise(j + 5)).collect();
            for family in [Family::Gaussian, Family::Binomial, Family::Poisson] {
                let rows = Rows { x: &x, y: &y, n_features: p, first_panel: 0 };
                let got = evaluate(rows, family, &coef, 0.3);
                let (mut loss, mut residual, mut gradient) = (0., 0., vec![0.; p]);
                for (x, &y) in x.chunks_exact(p).zip(&y) {
                    let row = family.row_loss(y, 0.3 + x.iter().zip(&coef).map(|(x, b)| x * b).sum::<f64>());
                    loss += row.loss;
                    residual += row.residual;
                    gradient.iter_mut().zip(x).for_each(|(g, x)| *g += row.residual * x);
                }
                assert!((got.loss - loss).abs() < 1e-10 && (got.residual - residual).abs() < 1e-10, "{family} {n} {p}");
                for (a, b) in got.gradient.iter().zip(&gradient) {
                    assert!((a - b).abs() < 1e-10, "{family} {n} {p}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn any_cut_on_a_panel_border_gives_the_same_bits() {
        let p = 5;
        let (x, y) = rows(11 * PANEL + 17, p);
        let coef = [0.3, -0.2, 0.9, 1e-3, -2.];
        let whole = Rows { x: &x, y: &y, n_features: p, first_panel: 0 };
        for cut in [1, 4, 7, 11] {
            let at = cut * PANEL;
            let left = Rows { x: &x[..at * p], y: &y[..at], ..whole };
            let right = Rows { x: &x[at * p..], y: &y[at..], first_panel: cut, ..whole };
            let points = [0.1, -2.].map(|intercept| Coefficients { coef: coef.to_vec(), intercept });
            let joined = |rows: Rows<'_>| rows.evaluate(Family::Binomial, &points).expect("rows");
            assert_eq!(joined(left).merge(joined(right)).finish(), joined(whole).finish(), "cut at {cut}");
            let joined = |rows: Rows<'_>| rows.moments(Family::Binomial).expect("rows");
            assert_eq!(joined(left).merge(joined(right)).finish(), joined(whole).finish(), "cut at {cut}");
        }
    }

    #[test]
    fn moments_survive_a_large_offset() {
        let y: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i % 2)).collect();
        let rows = Rows { x: &y.clone(), y: &y, n_features: 1, first_panel: 0 };
        let moments = rows.moments(Family::Gaussian).expect("rows").finish();
        assert_eq!((moments.n_rows, moments.bad), (1000, None));
        for spread in [moments.y, moments.x[0]] {
            assert!((spread.mean - 1e9 - 0.5).abs() < 1e-6 && (spread.squares - 250.).abs() < 1e-6, "{spread:?}");
        }
    }

    #[test]
    fn the_first_bad_value_is_named_by_its_global_row() {
        let (mut x, mut y) = rows(600, 3);
        x[400 * 3 + 2] = f64::NAN;
        y[450] = 2.;
        let rows = Rows { x: &x, y: &y, n_features: 3, first_panel: 10 };
        let bad = rows.moments(Family::Binomial).expect("rows").finish().bad.expect("a bad value");
        assert_eq!((bad.row, bad.column), (10 * PANEL + 400, Some(2)));
        assert!(bad.value.is_nan());
    }

    #[test]
    fn an_overflowing_mean_is_an_infinite_loss_without_nan() {
        let got = Rows { x: &[1., 0.], y: &[1.], n_features: 2, first_panel: 0 };
        let got = evaluate(got, Family::Poisson, &[1000., 0.], 0.);
        assert_eq!(got, Evaluation { loss: f64::INFINITY, residual: 0., gradient: vec![0.; 2], separated: false });
    }

    #[test]
    fn separation_is_seen() {
        let rows = Rows { x: &[-1., 2., 3.], y: &[0., 1., 1.], n_features: 1, first_panel: 0 };
        let separated = |coef| evaluate(rows, Family::Binomial, &[coef], 0.).separated;
        assert_eq!([separated(1.), separated(0.), separated(-1.)], [true, false, false]);
    }
}
