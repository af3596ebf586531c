//! Loss and gradient at a few points, in one pass, in working coordinates.

use phalanx_array::{
    kernel::inlined::sum,
    panel::{Combine, PANEL, Subtrees},
    simd::{self, LANES},
};
use serde::{Deserialize, Serialize};

use super::{Panel, Rows, Stride};
use crate::{loss::Loss, solver::Coordinates};

/// Loss and gradient, summed over some rows, in working coordinates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Sum of weight times half the unit deviance, less what does not depend on the model; infinite where the family
    /// has no such mean.
    pub loss: f64,
    /// Its derivatives: by the intercept, then by each coefficient; zeros where the loss is infinite.
    pub gradient: Vec<f64>,
    /// Whether every row's linear predictor has the sign of its class; false but for the binomial family.
    pub separated: bool,
}

impl Combine for Evaluation {
    fn combine(mut self, right: Self) -> Self {
        self.loss += right.loss;
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

impl Rows<'_> {
    /// Loss and gradient of every panel at every point, combined as far as these rows allow; none without rows.
    ///
    /// Panels that the stride leaves out count as nothing.
    pub(crate) fn evaluate(
        self,
        loss: Loss,
        coordinates: &Coordinates,
        points: &[Vec<f64>],
        stride: Stride,
    ) -> Option<Subtrees<Evaluations>> {
        // Per unit of the raw columns about their centres.
        let coefs: Vec<Vec<f64>> = points.iter().map(|point| coordinates.slopes(point)).collect();
        // All points look at a panel while it is in the cache.
        let panels = self.panels().map(|panel| {
            let at = |(point, coef): (&Vec<f64>, &Vec<f64>)| {
                if stride.takes(panel.index) {
                    simd::dispatch(
                        #[inline(always)]
                        || evaluate_panel(loss, panel, coordinates, point[0], coef),
                    )
                } else {
                    Evaluation { loss: 0., gradient: vec![0.; point.len()], separated: true }
                }
            };
            Evaluations(points.iter().zip(&coefs).map(at).collect())
        });
        Subtrees::from_panels(self.first_panel, panels)
    }
}

#[inline(always)]
fn evaluate_panel(loss: Loss, panel: Panel<'_>, coordinates: &Coordinates, intercept: f64, coef: &[f64]) -> Evaluation {
    let (n, centre) = (panel.y.len(), &coordinates.centre[..]);
    let mut eta = [0.; PANEL];
    let eta = &mut eta[..n];
    gemv_around(panel.x, centre, coef, eta);
    add_constants(eta, intercept, panel.offset);
    let found = loss.panel(panel.y, panel.weights, eta, None);
    let mut gradient = vec![0.; coef.len() + 1];
    if !found.loss.is_finite() {
        return Evaluation { loss: f64::INFINITY, gradient, separated: false };
    }
    let (by_intercept, by_coef) = gradient.split_at_mut(1);
    let residual = sum(eta);
    gemv_transposed_around(panel.x, centre, eta, by_coef);
    coordinates.scale_gradient(by_coef);
    by_intercept[0] = if coordinates.has_intercept { residual } else { 0. };
    Evaluation { loss: found.loss, gradient, separated: found.separated }
}

/// `eta += intercept + offset`.
#[inline(always)]
pub(crate) fn add_constants(eta: &mut [f64], intercept: f64, offset: Option<&[f64]>) {
    match offset {
        None => eta.iter_mut().for_each(|eta| *eta += intercept),
        Some(offset) => eta.iter_mut().zip(offset).for_each(|(eta, offset)| *eta += intercept + offset),
    }
}

/// `out = X b + c`, a row of X being as long as b.
#[inline(always)]
pub(crate) fn predict(x: &[f64], b: &[f64], c: f64, out: &mut [f64]) {
    phalanx_array::kernel::inlined::gemv(x, b, out);
    out.iter_mut().for_each(|out| *out += c);
}

/// `out[i] = (x[i, :] - centre) . w`, so that no digits are lost where a column's mean is far above its spread.
#[inline(always)]
fn gemv_around(x: &[f64], centre: &[f64], w: &[f64], out: &mut [f64]) {
    for (out, row) in out.iter_mut().zip(x.chunks_exact(w.len())) {
        let mut lanes = [0.; LANES];
        let (row, row_end) = row.as_chunks::<LANES>();
        let (centre, centre_end) = centre.as_chunks::<LANES>();
        let (w, w_end) = w.as_chunks::<LANES>();
        for ((x, m), w) in row.iter().zip(centre).zip(w) {
            for lane in 0..LANES {
                lanes[lane] += (x[lane] - m[lane]) * w[lane];
            }
        }
        for (lane, ((x, m), w)) in lanes.iter_mut().zip(row_end.iter().zip(centre_end).zip(w_end)) {
            *lane += (x - m) * w;
        }
        *out = sum(&lanes);
    }
}

/// `out += (x - centre)' r`: row after row, four at a time, so that `out` is read and written once for all of them.
#[inline(always)]
fn gemv_transposed_around(x: &[f64], centre: &[f64], r: &[f64], out: &mut [f64]) {
    const ROWS: usize = 4;
    let n = out.len();
    let (groups, last) = r.as_chunks::<ROWS>();
    for (r, x) in groups.iter().zip(x.chunks_exact(ROWS * n)) {
        let (a, rest) = x.split_at(n);
        let (b, rest) = rest.split_at(n);
        let (c, d) = rest.split_at(n);
        for (((((out, m), a), b), c), d) in out.iter_mut().zip(centre).zip(a).zip(b).zip(c).zip(d) {
            let sum = *out + r[0] * (a - m);
            let sum = sum + r[1] * (b - m);
            let sum = sum + r[2] * (c - m);
            *out = sum + r[3] * (d - m);
        }
    }
    for (r, x) in last.iter().zip(x[groups.len() * ROWS * n..].chunks_exact(n)) {
        for ((out, m), x) in out.iter_mut().zip(centre).zip(x) {
            *out += r * (x - m);
        }
    }
}

/// The dot product, for tests that hold sums against it.
#[cfg(test)]
pub(crate) fn plain_dot(a: &[f64], b: &[f64]) -> f64 {
    phalanx_array::kernel::dot(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        family::Family,
        kernel::testing::{Sample, noise},
        loss::tests::all,
    };

    fn coordinates(p: usize) -> Coordinates {
        Coordinates {
            centre: (0..p).map(|j| j as f64 - 0.1).collect(),
            scale: (0..p).map(|j| 1. + j as f64).collect(),
            has_intercept: true,
        }
    }

    fn evaluate(rows: Rows<'_>, loss: Loss, coordinates: &Coordinates, point: &[f64]) -> Evaluation {
        rows.evaluate(loss, coordinates, &[point.to_vec()], Stride::ALL).expect("rows").finish().0.remove(0)
    }

    #[test]
    fn evaluation_is_the_sum_over_rows() {
        for (n, p) in [(1, 1), (7, 3), (256, 8), (1000, 13)] {
            let sample = Sample::new(n, p);
            let coordinates = coordinates(p);
            let point: Vec<f64> = (0..=p).map(|j| 0.4 * noise(j + 5) / (p as f64).sqrt()).collect();
            for (loss, _) in all().into_iter().filter(|(loss, _)| loss.family.allows(0.)) {
                for weighted in [false, true] {
                    let rows = sample.rows(weighted);
                    let got = evaluate(rows, loss, &coordinates, &point);
                    let (mut total, mut gradient) = (0., vec![0.; p + 1]);
                    for i in 0..n {
                        let working = |j: usize| (rows.x[i * p + j] - coordinates.centre[j]) / coordinates.scale[j];
                        let z: Vec<f64> = std::iter::once(1.).chain((0..p).map(working)).collect();
                        let offset = rows.offset.map_or(0., |offset| offset[i]);
                        let w = rows.weights.map_or(1., |weights| weights[i]);
                        let row = loss.row(rows.y[i], plain_dot(&z, &point) + offset);
                        if w > 0. {
                            total += w * row.loss;
                        }
                        gradient.iter_mut().zip(&z).for_each(|(g, z)| *g += w * row.residual * z);
                    }
                    if total.is_infinite() {
                        assert_eq!(got.loss, total, "{loss:?}");
                        continue;
                    }
                    assert!((got.loss - total).abs() < 1e-10 * (1. + total.abs()), "{loss:?} {n} {p}");
                    for (a, b) in got.gradient.iter().zip(&gradient) {
                        assert!((a - b).abs() < 1e-9 * (1. + b.abs()), "{loss:?} {n} {p}: {a} {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn any_cut_on_a_panel_border_gives_the_same_bits() {
        let p = 5;
        let sample = Sample::new(11 * PANEL + 17, p);
        let coordinates = coordinates(p);
        let points = [0.1, -2.].map(|intercept| vec![intercept, 0.3, -0.2, 0.9, 1e-3, -2.]);
        for stride in [Stride::ALL, Stride(3)] {
            let whole = sample.rows(true);
            let joined =
                |rows: Rows<'_>| rows.evaluate(Family::Binomial.into(), &coordinates, &points, stride).expect("rows");
            for cut in [1, 4, 7, 11] {
                let (left, right) = (whole.slice(0..cut * PANEL), whole.slice(cut * PANEL..whole.y.len()));
                assert_eq!(joined(left).merge(joined(right)).finish(), joined(whole).finish(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn an_overflowing_mean_is_an_infinite_loss_without_nan() {
        let rows = Rows::plain(&[1., 0.], &[1.], 2);
        let plain = Coordinates { centre: vec![0.; 2], scale: vec![1.; 2], has_intercept: true };
        let got = evaluate(rows, Family::Poisson.into(), &plain, &[0., 1000., 0.]);
        assert_eq!(got, Evaluation { loss: f64::INFINITY, gradient: vec![0.; 3], separated: false });
    }

    #[test]
    fn separation_is_seen() {
        let rows = Rows::plain(&[-1., 2., 3.], &[0., 1., 1.], 1);
        let plain = Coordinates { centre: vec![0.], scale: vec![1.], has_intercept: true };
        let separated = |coef| evaluate(rows, Family::Binomial.into(), &plain, &[0., coef]).separated;
        assert_eq!([separated(1.), separated(0.), separated(-1.)], [true, false, false]);
    }
}
