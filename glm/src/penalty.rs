//! The elastic net on one coefficient at a time: its value, its proximal step, and how far from optimal it is.
//!
//! Knows nothing of data. The intercept is a coefficient whose weights are zero.
//!
//! Source: N. Parikh, S. Boyd, *Proximal Algorithms* (2014), sections 6.5.2 and 6.5.3.

use serde::{Deserialize, Serialize};

/// The weights of `l1 |b| + l2/2 b²` on one coefficient.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Weights {
    pub(crate) l1: f64,
    pub(crate) l2: f64,
}

impl Weights {
    /// `alpha (l1_ratio |b| + (1 - l1_ratio)/2 b²)`.
    pub(crate) fn elastic_net(alpha: f64, l1_ratio: f64) -> Self {
        Self { l1: alpha * l1_ratio, l2: alpha * (1. - l1_ratio) }
    }

    /// The same penalty as a function of `scale` times the coefficient.
    pub(crate) fn scaled(self, scale: f64) -> Self {
        Self { l1: self.l1 / scale, l2: self.l2 / (scale * scale) }
    }

    pub(crate) fn value(self, b: f64) -> f64 {
        self.l1 * b.abs() + 0.5 * self.l2 * b * b
    }

    /// The minimiser of `penalty(b) + curvature/2 (b - v)²`.
    pub(crate) fn prox(self, v: f64, curvature: f64) -> f64 {
        let thick = curvature * v.abs() - self.l1;
        if thick <= 0. { 0. } else { thick.copysign(v) / (curvature + self.l2) }
    }

    /// How far `-gradient`, of the smooth part, is from the penalty's subdifferential at `b`: 0 at the optimum.
    pub(crate) fn violation(self, b: f64, gradient: f64) -> f64 {
        if b == 0. { (gradient.abs() - self.l1).max(0.) } else { (gradient + self.l2 * b + self.l1.copysign(b)).abs() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proximal_step_minimises() {
        let weights = Weights::elastic_net(0.8, 0.25);
        for v in [-3., -0.1, 0., 0.15, 2.] {
            let best = weights.prox(v, 1.7);
            let cost = |b: f64| weights.value(b) + 0.5 * 1.7 * (b - v) * (b - v);
            for other in (-400..400).map(|i| f64::from(i) * 0.01) {
                assert!(cost(best) <= cost(other) + 1e-15, "v {v}: {best} against {other}");
            }
        }
    }

    #[test]
    fn the_proximal_step_has_no_violation() {
        let weights = Weights::elastic_net(0.8, 0.25);
        for v in [-3., -0.1, 0.15, 2.] {
            let b = weights.prox(v, 1.7);
            assert!(weights.violation(b, 1.7 * (b - v)) < 1e-15, "v {v}");
        }
        assert!((weights.violation(0., 0.5) - 0.3).abs() < 1e-15);
    }

    #[test]
    fn without_l1_it_is_a_shrinkage_and_without_any_penalty_the_identity() {
        assert_eq!(Weights::elastic_net(1., 0.).prox(3., 2.), 2.);
        assert_eq!(Weights::default().prox(3., 2.), 3.);
    }

    #[test]
    fn scaling_the_coefficient_keeps_the_value() {
        let weights = Weights::elastic_net(0.3, 0.5);
        assert!((weights.scaled(4.).value(4. * 1.7) - weights.value(1.7)).abs() < 1e-15);
    }
}
