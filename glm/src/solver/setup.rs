//! What both solvers derive from their parameters and the data's moments: coordinates, weights, start, certificate.
//!
//! A point in working coordinates is a vector of length n_features + 1: the intercept of the centred columns
//! first, then the coefficients of the centred and scaled ones.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Ask, Coefficients, Solution};
use crate::{
    error::Error,
    family::Family,
    kernel::{Evaluation, Moments},
    penalty::Weights,
    report::{Report, StopReason},
};

/// What to solve and when to stop.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `family` | gaussian | distribution of y | |
/// | `alpha` | 0 | strength of the penalty | 0 or more |
/// | `l1_ratio` | 0 | its L1 share | 0 to 1 |
/// | `fit_intercept` | true | whether there is an intercept, never penalised | |
/// | `tol` | 1e-10 | relative optimality violation to stop at | above 0 |
/// | `max_iter` | 10000 | steps to stop after | 1 or more |
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Distribution of y.
    pub family: Family,
    /// Strength of the penalty.
    pub alpha: f64,
    /// Its L1 share.
    pub l1_ratio: f64,
    /// Whether there is an intercept.
    pub fit_intercept: bool,
    /// Relative optimality violation to stop at.
    pub tol: f64,
    /// Steps to stop after.
    pub max_iter: usize,
}

/// The centre and scale of each column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coordinates {
    /// What is subtracted from each column: its mean, or 0 without an intercept.
    pub(crate) centre: Vec<f64>,
    /// What each column is divided by: its root mean square about the centre; 0 marks a column without spread.
    pub(crate) scale: Vec<f64>,
    /// Whether the first coordinate is free, or held at 0.
    pub(crate) has_intercept: bool,
}

/// Everything that does not change while solving.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) spec: Spec,
    pub(crate) coordinates: Arc<Coordinates>,
    /// Of each working coordinate.
    pub(crate) weights: Vec<Weights>,
    pub(crate) n_rows: usize,
    /// The standard deviation of y, 1 where it has none: the unit of a gradient in working coordinates.
    pub(crate) unit: f64,
    /// The second derivative of the loss at the null model: the unit of a step length.
    pub(crate) curvature: f64,
    saturated: f64,
    null_deviance: f64,
}

/// Loss and gradient of the mean loss, in working coordinates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Local {
    pub(crate) loss: f64,
    pub(crate) gradient: Vec<f64>,
}

impl Default for Spec {
    fn default() -> Self {
        Self { family: Family::Gaussian, alpha: 0., l1_ratio: 0., fit_intercept: true, tol: 1e-10, max_iter: 10_000 }
    }
}

impl Coordinates {
    pub(crate) const fn n_features(&self) -> usize {
        self.scale.len()
    }

    /// Raw coefficients and intercept of a point.
    pub(crate) fn raw(&self, point: &[f64]) -> (Vec<f64>, f64) {
        let raw = |(&t, &scale): (&f64, &f64)| if scale > 0. { t / scale } else { 0. };
        let coef: Vec<f64> = point[1..].iter().zip(&self.scale).map(raw).collect();
        let shift: f64 = coef.iter().zip(&self.centre).map(|(b, m)| b * m).sum();
        (coef, if self.has_intercept { point[0] - shift } else { 0. })
    }

    /// The derivatives by the coordinates from those by the raw coefficients and intercept.
    fn gradient(&self, gradient: &[f64], residual: f64) -> Vec<f64> {
        let columns = gradient.iter().zip(&self.centre).zip(&self.scale);
        let scaled = columns.map(|((&g, &m), &s)| if s > 0. { (g - m * residual) / s } else { 0. });
        std::iter::once(if self.has_intercept { residual } else { 0. }).chain(scaled).collect()
    }

    /// Writes rows in working coordinates, a leading 1 for the intercept, row-major into `out`.
    pub(crate) fn write_rows(&self, x: &[f64], n_rows: usize, out: &mut Vec<f64>) {
        out.clear();
        let one = if self.has_intercept { 1. } else { 0. };
        // A column without spread becomes zeros, whatever its rounding leaves.
        let inverse: Vec<f64> = self.scale.iter().map(|&s| if s > 0. { 1. / s } else { 0. }).collect();
        let p = self.n_features();
        for row in (0..n_rows).map(|i| &x[i * p..(i + 1) * p]) {
            out.push(one);
            out.extend(row.iter().zip(&self.centre).zip(&inverse).map(|((x, m), i)| (x - m) * i));
        }
    }
}

impl Setup {
    pub(crate) fn new(spec: Spec, moments: &Moments) -> Result<Self, Error> {
        let n = moments.n_rows as f64;
        let centred = spec.fit_intercept;
        let mut scale = Vec::with_capacity(moments.x.len());
        for (column, spread) in moments.x.iter().enumerate() {
            let square = spread.mean_square(n, centred);
            if !square.is_finite() {
                return Err(Error::Overflow { what: format!("column {column} of X") });
            }
            // Below this the spread is the rounding of the numbers themselves.
            let flat = square.sqrt() <= 1e-12 * spread.mean.abs();
            scale.push(if flat { 0. } else { square.sqrt() });
        }
        let variance = moments.y.mean_square(n, centred);
        if !variance.is_finite() {
            return Err(Error::Overflow { what: "y".into() });
        }
        let centre = moments.x.iter().map(|spread| if centred { spread.mean } else { 0. }).collect();
        let elastic_net = Weights::elastic_net(spec.alpha, spec.l1_ratio);
        let weight = |&s: &f64| if s > 0. { elastic_net.scaled(s) } else { elastic_net };
        let weights = std::iter::once(Weights::default()).chain(scale.iter().map(weight)).collect();
        let mean = moments.y.mean;
        let (saturated, family) = (moments.saturated / n, spec.family);
        let null_mean = if centred { mean } else { family.mean(0.) };
        let null_deviance = match family {
            Family::Gaussian => moments.y.mean_square(n, centred) * n,
            Family::Binomial => {
                n * [(mean, 1.), (1. - mean, 0.)]
                    .map(|(share, y)| if share > 0. { share * family.unit_deviance(y, null_mean) } else { 0. })
                    .iter()
                    .sum::<f64>()
            }
            Family::Poisson if null_mean > 0. => 2. * n * (saturated - mean * null_mean.ln() + null_mean),
            Family::Poisson => 0.,
        };
        let curvature = match family {
            Family::Gaussian => 1.,
            Family::Binomial => null_mean * (1. - null_mean),
            Family::Poisson => null_mean,
        };
        Ok(Self {
            spec,
            coordinates: Arc::new(Coordinates { centre, scale, has_intercept: centred }),
            weights,
            n_rows: moments.n_rows,
            unit: if variance > 0. { variance.sqrt() } else { 1. },
            // One class has none at all, but still needs a step length.
            curvature: curvature.max(f64::MIN_POSITIVE.sqrt()),
            saturated,
            null_deviance,
        })
    }

    /// The null model, and whether it lies at infinity (then an end of the range short of it).
    pub(crate) fn start(&self, moments: &Moments) -> (Vec<f64>, bool) {
        let mut point = vec![0.; self.weights.len()];
        let mean = moments.y.mean;
        let unbounded = match self.spec.family {
            Family::Gaussian => false,
            Family::Binomial => mean == 0. || mean == 1.,
            Family::Poisson => mean == 0.,
        };
        if self.spec.fit_intercept {
            // The mean is as near to its bound as ten times the tolerance keeps distinguishable from it.
            let tiny = self.spec.tol.clamp(1e-15, 1e-6);
            let reachable = match self.spec.family {
                Family::Gaussian => mean,
                Family::Binomial => mean.clamp(tiny, 1. - tiny),
                Family::Poisson => mean.max(tiny),
            };
            point[0] = self.spec.family.link(if unbounded { reachable } else { mean });
        }
        (point, unbounded && self.spec.fit_intercept)
    }

    pub(crate) fn evaluate_at<'a>(&self, points: impl IntoIterator<Item = &'a Vec<f64>>) -> Ask {
        let raw = |point: &Vec<f64>| {
            let (coef, intercept) = self.coordinates.raw(point);
            Coefficients { coef, intercept }
        };
        Ask::Evaluate { points: points.into_iter().map(raw).collect() }
    }

    /// The mean loss in working coordinates; none where it is not finite.
    pub(crate) fn local(&self, evaluation: &Evaluation) -> Option<Local> {
        let n = self.n_rows as f64;
        let mut gradient = self.coordinates.gradient(&evaluation.gradient, evaluation.residual);
        gradient.iter_mut().for_each(|g| *g /= n);
        let loss = evaluation.loss / n;
        (loss.is_finite() && gradient.iter().all(|g| g.is_finite())).then_some(Local { loss, gradient })
    }

    /// The largest relative violation of the optimality conditions.
    pub(crate) fn kkt_relative(&self, point: &[f64], local: &Local) -> f64 {
        let violations = self.weights.iter().zip(point).zip(&local.gradient).map(|((w, &t), &g)| w.violation(t, g));
        violations.fold(0., f64::max) / self.unit
    }

    /// The answer, from the evaluation at it.
    pub(crate) fn solution(
        &self,
        point: &[f64],
        evaluation: &Evaluation,
        counts: Counts,
        stop: StopReason,
    ) -> Solution {
        let n = self.n_rows as f64;
        let (coef, intercept) = self.coordinates.raw(point);
        let elastic_net = Weights::elastic_net(self.spec.alpha, self.spec.l1_ratio);
        let penalty: f64 = coef.iter().map(|&b| elastic_net.value(b)).sum();
        let half_deviance = evaluation.loss / n + self.saturated;
        let kkt_relative = self.local(evaluation).map_or(f64::MAX, |local| self.kkt_relative(point, &local));
        let by_intercept = if self.spec.fit_intercept { evaluation.residual.abs() / n } else { 0. };
        let kkt_residual = coef.iter().zip(&evaluation.gradient).map(|(&b, g)| elastic_net.violation(b, g / n));
        Solution {
            report: Report {
                converged: match stop {
                    StopReason::Optimal => true,
                    // What the data's conditioning leaves of f64.
                    StopReason::Precision => kkt_relative <= self.spec.tol.max(1e-8),
                    _ => false,
                },
                stop,
                n_iter: counts.n_iter,
                n_passes: counts.n_passes,
                kkt_residual: kkt_residual.fold(by_intercept, f64::max),
                kkt_relative,
                objective: half_deviance + penalty,
                deviance: 2. * n * half_deviance,
                null_deviance: self.null_deviance,
                n_rows: self.n_rows,
            },
            coef,
            intercept,
        }
    }
}

/// How much work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) n_iter: usize,
    pub(crate) n_passes: usize,
}
