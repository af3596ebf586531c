//! Loss, gradient and the matrix of second derivatives at one point, in one pass, in working coordinates.

use phalanx_array::{
    kernel::{
        Gram,
        inlined::{gemv, gemv_transposed},
    },
    panel::{Combine, PANEL, Subtrees},
    simd,
};
use serde::{Deserialize, Serialize};

use super::{Panel, Rows, Stride, evaluate::add_constants, sum_of};
use crate::{
    family::Family,
    link::Link,
    loss::{Curvature, Loss},
    solver::Coordinates,
};

/// Below this share of the curvature at the null model a row says nothing any more: its mean is at the end of its range.
const SATURATED: f64 = 1e-8;

/// The loss around a point, summed over some rows, in working coordinates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quadratic {
    /// Sum of the weights of the rows that were looked at.
    pub sum_weights: f64,
    /// Sum of weight times loss; infinite where the family has no such mean.
    pub loss: f64,
    /// Its first derivatives: by the intercept, then by each coefficient.
    pub gradient: Vec<f64>,
    /// Its second derivatives, or what stands for them: the lower triangle, row after row.
    pub hessian: Vec<f64>,
    /// Whether every row's linear predictor has the sign of its class; false but for the binomial family.
    pub separated: bool,
    /// Rows of the binomial family whose mean is as good as 0 or 1.
    pub n_saturated: usize,
}

impl Combine for Quadratic {
    fn combine(mut self, right: Self) -> Self {
        self.sum_weights += right.sum_weights;
        self.loss += right.loss;
        self.gradient = self.gradient.combine(right.gradient);
        self.hessian = self.hessian.combine(right.hessian);
        self.separated &= right.separated;
        self.n_saturated += right.n_saturated;
        self
    }
}

/// What is reused from panel to panel.
struct Scratch {
    design: Vec<f64>,
    gram: Gram,
}

impl Rows<'_> {
    /// The quadratic of every panel at a point, combined as far as these rows allow; none without rows.
    ///
    /// Panels that the stride leaves out count as nothing.
    pub(crate) fn quadratic(
        self,
        loss: Loss,
        coordinates: &Coordinates,
        point: &[f64],
        curvature: Curvature,
        stride: Stride,
    ) -> Option<Subtrees<Quadratic>> {
        let q = point.len();
        let mut scratch = Scratch { design: Vec::with_capacity(PANEL * q), gram: Gram::new(q) };
        let panels = self.panels().map(|panel| {
            if stride.takes(panel.index) {
                simd::dispatch(
                    #[inline(always)]
                    || quadratic_panel(loss, panel, coordinates, point, curvature, &mut scratch),
                )
            } else {
                Quadratic {
                    sum_weights: 0.,
                    loss: 0.,
                    gradient: vec![0.; q],
                    hessian: vec![0.; q * (q + 1) / 2],
                    separated: true,
                    n_saturated: 0,
                }
            }
        });
        Subtrees::from_panels(self.first_panel, panels)
    }
}

#[inline(always)]
fn quadratic_panel(
    loss: Loss,
    panel: Panel<'_>,
    coordinates: &Coordinates,
    point: &[f64],
    curvature: Curvature,
    scratch: &mut Scratch,
) -> Quadratic {
    let (n, q) = (panel.y.len(), point.len());
    let sum_weights = sum_of(panel.weights, n);
    coordinates.write_rows(panel.x, n, &mut scratch.design);
    let (mut eta, mut bends) = ([0.; PANEL], [0.; PANEL]);
    let (eta, bends) = (&mut eta[..n], &mut bends[..n]);
    gemv(&scratch.design, point, eta);
    add_constants(eta, 0., panel.offset);
    let by_curvature = loss.link == Link::Logit;
    let mut saturated = if by_curvature { 0 } else { n_saturated(loss, panel.weights, eta, &[]) };
    let found = loss.panel(panel.y, panel.weights, eta, Some((curvature, bends)));
    let mut gradient = vec![0.; q];
    let mut hessian = vec![0.; q * (q + 1) / 2];
    if !found.loss.is_finite() {
        return Quadratic { sum_weights, loss: f64::INFINITY, gradient, hessian, separated: false, n_saturated: 0 };
    }
    gemv_transposed(&scratch.design, eta, &mut gradient);
    if by_curvature {
        saturated = n_saturated(loss, panel.weights, &[], bends);
    }
    for (row, bend) in scratch.design.chunks_exact_mut(q).zip(&*bends) {
        let root = bend.sqrt();
        row.iter_mut().for_each(|x| *x *= root);
    }
    scratch.gram.add(&scratch.design, &mut hessian);
    Quadratic { sum_weights, loss: found.loss, gradient, hessian, separated: found.separated, n_saturated: saturated }
}

/// Rows of the binomial family whose mean is as good as 0 or 1: by the curvature under the logit. Under other links a
/// row's curvature is 0 at means well inside their range too, and the linear predictors tell.
pub(super) fn n_saturated(loss: Loss, weights: Option<&[f64]>, eta: &[f64], bends: &[f64]) -> usize {
    if loss.family != Family::Binomial {
        return 0;
    }
    let weight = |i: usize| weights.map_or(1., |weights| weights[i]);
    if loss.link == Link::Logit {
        return bends
            .iter()
            .enumerate()
            .filter(|(i, bend)| weight(*i) > 0. && **bend <= weight(*i) * SATURATED)
            .count();
    }
    let is_saturated = |mu: f64| mu * (1. - mu) <= SATURATED;
    eta.iter().enumerate().filter(|(i, eta)| weight(*i) > 0. && is_saturated(loss.link.mean(**eta))).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing::Sample;

    #[test]
    fn it_is_the_evaluation_and_its_derivative() {
        let sample = Sample::new(3 * PANEL + 40, 4);
        let coordinates =
            Coordinates { centre: vec![0.1, 1., 2., 3.], scale: vec![1., 2., 3., 4.], has_intercept: true };
        let point = [0.2, -0.1, 0.3, 0.05, -0.2];
        let h = 1e-5;
        for loss in [
            Loss::from(Family::Binomial),
            Loss::from(Family::Poisson),
            Loss { family: Family::Binomial, link: Link::Cloglog },
        ] {
            let rows = sample.rows(true);
            let at = |point: &[f64]| {
                let points = [point.to_vec()];
                rows.evaluate(loss, &coordinates, &points, Stride::ALL).expect("rows").finish().0.remove(0)
            };
            let found = rows.quadratic(loss, &coordinates, &point, Curvature::Observed, Stride::ALL);
            let (found, here) = (found.expect("rows").finish(), at(&point));
            assert!((found.loss - here.loss).abs() < 1e-9);
            for (j, (a, b)) in found.gradient.iter().zip(&here.gradient).enumerate() {
                assert!((a - b).abs() < 1e-9, "{loss:?}");
                let shifted = |by: f64| {
                    let mut point = point;
                    point[j] += by;
                    at(&point).gradient
                };
                let (low, high) = (shifted(-h), shifted(h));
                for i in j..5 {
                    let bend = (high[i] - low[i]) / (2. * h);
                    let packed = found.hessian[i * (i + 1) / 2 + j];
                    assert!((bend - packed).abs() < 1e-4 * (1. + packed.abs()), "{loss:?} {i} {j}: {bend} {packed}");
                }
            }
        }
    }

    #[test]
    fn only_means_at_the_end_of_their_range_are_saturated() {
        let (x, y) = ([0., 1., 0., 1.], [0., 0., 1., 1.]);
        let rows = Rows::plain(&x, &y, 1);
        let coordinates = Coordinates { centre: vec![0.], scale: vec![1.], has_intercept: true };
        // The second and the fourth row are at the end.
        for (link, point) in [
            (Link::Logit, [0.5, 30.]),
            (Link::Probit, [0.5, 8.]),
            (Link::Cloglog, [-0.5, 4.]),
            (Link::Log, [-0.5, 0.5 - 1e-10]),
            (Link::Identity, [0.5, 0.5 - 1e-10]),
        ] {
            let loss = Loss { family: Family::Binomial, link };
            for curvature in [Curvature::Observed, Curvature::Expected] {
                let n_saturated = |point: &[f64]| {
                    let found = rows.quadratic(loss, &coordinates, point, curvature, Stride::ALL);
                    found.expect("rows").finish().n_saturated
                };
                assert_eq!((n_saturated(&[point[0], 0.]), n_saturated(&point)), (0, 2), "{link:?} {curvature:?}");
            }
        }
    }

    #[test]
    fn any_cut_on_a_panel_border_gives_the_same_bits() {
        let sample = Sample::new(11 * PANEL + 17, 3);
        let coordinates = Coordinates { centre: vec![0., 1., 2.], scale: vec![1., 2., 3.], has_intercept: true };
        for stride in [Stride::ALL, Stride(4)] {
            let joined = |rows: Rows<'_>| {
                let point = [0.1, 0.2, -0.3, 0.4];
                rows.quadratic(Family::Binomial.into(), &coordinates, &point, Curvature::Observed, stride)
                    .expect("rows")
            };
            let whole = sample.rows(true);
            for cut in [1, 4, 7, 11] {
                let (left, right) = (whole.slice(0..cut * PANEL), whole.slice(cut * PANEL..whole.y.len()));
                assert_eq!(joined(left).merge(joined(right)).finish(), joined(whole).finish(), "cut at {cut}");
            }
        }
    }
}
