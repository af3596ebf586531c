//! The normal equations of least squares, from means and cross products alone.

use phalanx_array::kernel::dot;

use super::{
    model::{Minimum, Packed, minimise_some},
    screening,
    setup::{Coordinates, Local, Setup},
};
use crate::kernel::Scatter;

/// A relative violation that is more than rounding.
const VIOLATES: f64 = 1e-12;

/// Loss and gradient of least squares at any point, in working coordinates.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Normal {
    /// The mean products of the working columns, packed.
    pub(crate) hessian: Vec<f64>,
    /// Their mean products with y, the intercept's as 0.
    moment: Vec<f64>,
    /// The mean square of y, about its mean where there is an intercept.
    square: f64,
    /// Where the intercept is least.
    intercept: f64,
}

impl Normal {
    pub(crate) fn new(scatter: &Scatter, coordinates: &Coordinates) -> Self {
        let (p, total) = (coordinates.n_features(), scatter.sum_weights);
        let inverse: Vec<f64> = coordinates.scale.iter().map(|&s| if s > 0. { 1. / s } else { 0. }).collect();
        let centred = coordinates.has_intercept;
        // Without an intercept products are about 0 and not about the means.
        let about = |i: usize, j: usize| {
            let shift = if centred { 0. } else { scatter.means[i] * scatter.means[j] };
            scatter.product(i, j) / total + shift
        };
        let mut hessian = Vec::with_capacity((p + 1) * (p + 2) / 2);
        hessian.push(if centred { 1. } else { 0. });
        for i in 0..p {
            hessian.push(0.);
            hessian.extend((0..=i).map(|j| about(i, j) * inverse[i] * inverse[j]));
        }
        let moment = std::iter::once(0.).chain((0..p).map(|i| about(i, p) * inverse[i])).collect();
        let intercept = if centred { scatter.means[p] } else { 0. };
        Self { hessian, moment, square: about(p, p), intercept }
    }

    /// The point without slopes.
    pub(crate) fn origin(&self) -> Vec<f64> {
        let mut x = vec![0.; self.moment.len()];
        x[0] = self.intercept;
        x
    }

    /// The minimum under a penalty, found from a point whose intercept is least.
    pub(crate) fn minimise(&self, x: &[f64], setup: &Setup) -> Minimum {
        setup.minimise(Packed(&self.hessian), &self.local(x).gradient, x)
    }

    /// The minimum under a penalty, with loss and gradient there, found from that under another. Where most is held at 0
    /// only the coordinates that the strong rule keeps are looked at, and those that turn out to be needed.
    pub(crate) fn screened(&self, was: &Setup, setup: &Setup, x: &[f64], local: Local) -> (Vec<f64>, Local) {
        if !setup.is_screened() {
            let point = setup.minimise(Packed(&self.hessian), &local.gradient, x).point;
            let local = self.local(&point);
            return (point, local);
        }
        let mut live = screening::strong(&was.weights, &setup.weights, x, &local.gradient);
        let (mut x, mut local) = (x.to_vec(), local);
        loop {
            let part = Packed(&self.hessian).part(&live);
            x = minimise_some(Packed(&part), &local.gradient, &x, &setup.weights, &live).point;
            local = self.local(&x);
            let violations = setup.violations(&x, &local);
            let violates = |j: &usize| violations[*j] > VIOLATES && live.binary_search(j).is_err();
            let violators: Vec<usize> = (0..x.len()).filter(violates).collect();
            if violators.is_empty() {
                return (x, local);
            }
            live.extend(violators);
            live.sort_unstable();
        }
    }

    /// Loss and gradient at a point whose intercept is least.
    pub(crate) fn local(&self, point: &[f64]) -> Local {
        let mut slopes = point.to_vec();
        slopes[0] = 0.;
        let fitted = Packed(&self.hessian).times(&slopes);
        let explained = 2. * dot(&self.moment, &slopes) - dot(&fitted, &slopes);
        let gradient = fitted.iter().zip(&self.moment).map(|(h, m)| h - m).collect();
        Local { loss: 0.5 * (self.square - explained).max(0.), gradient }
    }

    /// Whether so much of y is explained at a loss that its digits have cancelled.
    pub(crate) fn cancels(&self, loss: f64) -> bool {
        2. * loss < 1e-5 * self.square
    }
}

/// The weighted sum of squared residuals of some rows, given raw coefficients.
pub(crate) fn squared_residuals(scatter: &Scatter, coef: &[f64], intercept: f64) -> f64 {
    let p = coef.len();
    let live: Vec<usize> = (0..p).filter(|&j| coef[j] != 0.).collect();
    let mut squares = scatter.product(p, p);
    for (place, &i) in live.iter().enumerate() {
        squares -= 2. * coef[i] * scatter.product(i, p);
        squares += coef[i] * coef[i] * scatter.product(i, i);
        for &j in &live[..place] {
            squares += 2. * coef[i] * coef[j] * scatter.product(i, j);
        }
    }
    let shift = scatter.means[p] - intercept - coef.iter().zip(&scatter.means).map(|(b, m)| b * m).sum::<f64>();
    squares.max(0.) + scatter.sum_weights * shift * shift
}
