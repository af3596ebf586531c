//! The elastic net and bounds on one coefficient at a time: value, proximal step, and how far from optimal it is.
//!
//! Knows nothing of data. The intercept is a coefficient whose weights are zero.
//!
//! Source: N. Parikh, S. Boyd, *Proximal Algorithms* (2014), sections 6.5.2 and 6.5.3; a bound cuts a convex function
//! of one variable, so the minimum within bounds is the nearest point to the one without.

use serde::{Deserialize, Serialize};

/// What is penalised and how strongly, column by column.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `alpha` | 0 | strength | 0 or more |
/// | `l1_ratio` | 0 | the L1 share | 0 to 1 |
/// | `factors` | 1 each | multiplies a column's penalty; 0 leaves it free | 0 or more |
/// | `lower`, `upper` | none | bounds of the coefficients, in the data's units | `lower` <= 0 <= `upper` |
/// | `standardize` | false | penalise coefficients of columns divided by their standard deviation | |
/// | `groups` | none | columns of one number share an L1 part, sqrt(size) times the Euclidean norm of their coefficients | |
///
/// Lists are empty or hold one number a column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Penalty {
    /// Strength.
    pub alpha: f64,
    /// The L1 share.
    pub l1_ratio: f64,
    /// What multiplies each column's penalty.
    pub factors: Vec<f64>,
    /// Least coefficients.
    pub lower: Vec<f64>,
    /// Largest coefficients.
    pub upper: Vec<f64>,
    /// Whether the penalty is on the coefficients of standardised columns.
    pub standardize: bool,
    /// Which group each column is of.
    pub groups: Vec<usize>,
}

/// The weights of `l1 |b| + l2/2 b²` on one coefficient, and its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Weights {
    pub(crate) l1: f64,
    pub(crate) l2: f64,
    /// The largest numbers there are where it is free.
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { l1: 0., l2: 0., lower: -f64::MAX, upper: f64::MAX }
    }
}

impl Penalty {
    /// `alpha (l1_ratio |b| + (1 - l1_ratio)/2 b²)` on every column.
    pub fn elastic_net(alpha: f64, l1_ratio: f64) -> Self {
        Self { alpha, l1_ratio, ..Self::default() }
    }

    /// The weights of one column's coefficient, in the data's units, but for the L1 part that its group has; `deviation`
    /// is the column's standard deviation.
    pub(crate) fn weights(&self, column: usize, deviation: f64) -> Weights {
        let factor = self.factors.get(column).copied().unwrap_or(1.) * self.alpha;
        let unit = if self.standardize { deviation } else { 1. };
        Weights {
            l1: if self.is_grouped(column) { 0. } else { factor * self.l1_ratio * unit },
            l2: factor * (1. - self.l1_ratio) * unit * unit,
            lower: self.lower.get(column).copied().unwrap_or(-f64::MAX).max(-f64::MAX),
            upper: self.upper.get(column).copied().unwrap_or(f64::MAX).min(f64::MAX),
        }
    }

    /// Whether nothing holds any coefficient.
    pub(crate) fn is_none(&self) -> bool {
        let zero = |factor: &f64| *factor == 0.;
        let free = self.alpha == 0. || (!self.factors.is_empty() && self.factors.iter().all(zero));
        free && self.lower.is_empty() && self.upper.is_empty()
    }
}

impl Weights {
    /// The same penalty as a function of `scale` times the coefficient.
    pub(crate) fn scaled(self, scale: f64) -> Self {
        let bound = |b: f64| (b * scale).clamp(-f64::MAX, f64::MAX);
        let (lower, upper) = (
            if self.lower == -f64::MAX { self.lower } else { bound(self.lower) },
            if self.upper == f64::MAX { self.upper } else { bound(self.upper) },
        );
        Self { l1: self.l1 / scale, l2: self.l2 / (scale * scale), lower, upper }
    }

    /// Whether it has no kinks and no ends.
    pub(crate) fn is_smooth(self) -> bool {
        self.l1 == 0. && self.is_unbounded()
    }

    pub(crate) fn is_unbounded(self) -> bool {
        self.lower == -f64::MAX && self.upper == f64::MAX
    }

    pub(crate) fn value(self, b: f64) -> f64 {
        self.l1 * b.abs() + 0.5 * self.l2 * b * b
    }

    /// The minimiser of `penalty(b) + curvature/2 (b - v)²` within the bounds.
    #[inline]
    pub(crate) fn prox(self, v: f64, curvature: f64) -> f64 {
        let thick = curvature * v.abs() - self.l1;
        let free = if thick <= 0. { 0. } else { thick.copysign(v) / (curvature + self.l2) };
        free.clamp(self.lower, self.upper)
    }

    /// How far the objective is from being least at `b`, whose smooth part has this gradient: 0 at the optimum.
    ///
    /// The one-sided derivatives decide: none may point down to where `b` may go.
    #[inline]
    pub(crate) fn violation(self, b: f64, gradient: f64) -> f64 {
        let smooth = gradient + self.l2 * b;
        let up = smooth + if b >= 0. { self.l1 } else { -self.l1 };
        let down = smooth + if b > 0. { self.l1 } else { -self.l1 };
        let upwards = if b < self.upper { -up } else { 0. };
        let downwards = if b > self.lower { down } else { 0. };
        upwards.max(downwards).max(0.)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elastic_net(alpha: f64, l1_ratio: f64) -> Weights {
        Penalty::elastic_net(alpha, l1_ratio).weights(0, 1.)
    }

    #[test]
    fn the_proximal_step_minimises_within_the_bounds() {
        for (lower, upper) in [(-f64::MAX, f64::MAX), (-0.3, 0.5), (0., 0.2)] {
            let weights = Weights { lower, upper, ..elastic_net(0.8, 0.25) };
            for v in [-3., -0.1, 0., 0.15, 2.] {
                let best = weights.prox(v, 1.7);
                let cost = |b: f64| weights.value(b) + 0.5 * 1.7 * (b - v) * (b - v);
                for other in (-400..400).map(|i| f64::from(i) * 0.01).filter(|b| (lower..=upper).contains(b)) {
                    assert!(cost(best) <= cost(other) + 1e-15, "v {v}: {best} against {other}");
                }
                assert!(weights.violation(best, 1.7 * (best - v)) < 1e-15, "v {v}");
            }
        }
    }

    #[test]
    fn what_is_not_optimal_is_seen() {
        let weights = elastic_net(0.8, 0.25);
        assert!((weights.violation(0., 0.5) - 0.3).abs() < 1e-15);
        let bounded = Weights { lower: 0., upper: 1., ..Weights::default() };
        assert_eq!([bounded.violation(0., 2.), bounded.violation(0., -2.)], [0., 2.]);
        assert_eq!([bounded.violation(1., 2.), bounded.violation(1., -2.)], [2., 0.]);
        assert_eq!(bounded.violation(0.5, -2.), 2.);
    }

    #[test]
    fn without_l1_it_is_a_shrinkage_and_without_any_penalty_the_identity() {
        assert_eq!(elastic_net(1., 0.).prox(3., 2.), 2.);
        assert_eq!(Weights::default().prox(3., 2.), 3.);
    }

    #[test]
    fn scaling_the_coefficient_keeps_the_value_and_the_bounds() {
        let weights = Weights { upper: 2., ..elastic_net(0.3, 0.5) };
        assert!((weights.scaled(4.).value(4. * 1.7) - weights.value(1.7)).abs() < 1e-15);
        assert_eq!((weights.scaled(4.).lower, weights.scaled(4.).upper), (-f64::MAX, 8.));
    }

    #[test]
    fn standardising_is_a_penalty_on_other_units() {
        let raw = Penalty { standardize: true, factors: vec![1., 3.], ..Penalty::elastic_net(0.4, 0.5) };
        let plain = Penalty { standardize: false, ..raw.clone() };
        let (on_standard, at) = (plain.weights(1, 7.), raw.weights(1, 7.));
        assert!((on_standard.value(7. * 0.3) - at.value(0.3)).abs() < 1e-15);
        assert_eq!(plain.weights(1, 7.).l1, 3. * plain.weights(0, 7.).l1);
        assert!(Penalty { factors: vec![0., 0.], ..plain }.is_none());
    }
}
