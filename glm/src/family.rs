//! How y scatters around its mean, as one row sees it: loss, derivative, deviance.
//!
//! Each family comes with its canonical link, so the derivative of the loss by the linear predictor is always
//! `mean - y`. Nothing here knows of columns, coefficients or penalties.
//!
//! Formulas: P. McCullagh, J. A. Nelder, *Generalized Linear Models*, 2nd ed. (1989), table 2.1 and section 2.3.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How y scatters around its mean, with the canonical link.
///
/// | family | y | link, eta = | unit deviance |
/// |---|---|---|---|
/// | `gaussian` | any number | mu | (y - mu)² |
/// | `binomial` | 0 or 1 | ln(mu / (1 - mu)) | -2 ln mu for y = 1, -2 ln(1 - mu) for y = 0 |
/// | `poisson` | 0 or more | ln mu | 2 (y ln(y / mu) - y + mu) |
///
/// ```
/// use phalanx_glm::Family;
/// assert_eq!(Family::Binomial.mean(0.), 0.5);
/// assert_eq!(Family::Gaussian.unit_deviance(1., 3.), 4.);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Least squares: the identity link.
    #[default]
    Gaussian,
    /// Logistic regression: y is 0 or 1, the logit link.
    Binomial,
    /// Counts: y is 0 or more, not necessarily whole, the log link.
    Poisson,
}

/// What one row adds to the objective at one linear predictor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RowLoss {
    /// Half the unit deviance, less [`Family::saturated`], which does not depend on the model.
    pub(crate) loss: f64,
    /// The derivative of the loss by the linear predictor, `mean - y`.
    pub(crate) residual: f64,
}

impl Family {
    /// The mean of y at a linear predictor: the inverse link.
    #[inline]
    pub fn mean(self, eta: f64) -> f64 {
        match self {
            Self::Gaussian => eta,
            Self::Binomial => sigmoid(eta),
            Self::Poisson => eta.exp(),
        }
    }

    /// The linear predictor of a mean; infinite at a mean on the border.
    pub fn link(self, mean: f64) -> f64 {
        match self {
            Self::Gaussian => mean,
            Self::Binomial => mean.ln() - (-mean).ln_1p(),
            Self::Poisson => mean.ln(),
        }
    }

    /// Twice what a row's log-likelihood lacks to that of a perfect fit.
    pub fn unit_deviance(self, y: f64, mean: f64) -> f64 {
        match self {
            Self::Gaussian => (y - mean) * (y - mean),
            Self::Binomial => -2. * if y > 0.5 { mean.ln() } else { (-mean).ln_1p() },
            Self::Poisson => {
                let ratio = if y > 0. { y * (y / mean).ln() } else { 0. };
                2. * (ratio - y + mean)
            }
        }
    }

    /// Its name in parameters and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Binomial => "binomial",
            Self::Poisson => "poisson",
        }
    }

    /// What y may be, in words.
    pub const fn expects(self) -> &'static str {
        match self {
            Self::Gaussian => "a finite number",
            Self::Binomial => "0 or 1",
            Self::Poisson => "0 or more",
        }
    }

    /// Whether y is a value that the family can give.
    #[inline]
    pub fn allows(self, y: f64) -> bool {
        match self {
            Self::Gaussian => y.is_finite(),
            Self::Binomial => y == 0. || y == 1.,
            Self::Poisson => y.is_finite() && y >= 0.,
        }
    }

    /// Half the unit deviance and its derivative, without overflow where the answer is finite.
    #[inline]
    pub(crate) fn row_loss(self, y: f64, eta: f64) -> RowLoss {
        match self {
            Self::Gaussian => {
                let residual = eta - y;
                RowLoss { loss: 0.5 * residual * residual, residual }
            }
            Self::Binomial => {
                // In the margin, neither class loses digits near its own certainty.
                let sign = if y > 0.5 { 1. } else { -1. };
                let margin = sign * eta;
                let e = (-margin.abs()).exp();
                let wrong = if margin > 0. { e / (1. + e) } else { 1. / (1. + e) };
                RowLoss { loss: (-margin).max(0.) + e.ln_1p(), residual: -sign * wrong }
            }
            Self::Poisson => {
                let mean = eta.exp();
                RowLoss { loss: mean - y * eta, residual: mean - y }
            }
        }
    }

    /// The part of half the unit deviance that [`row_loss`](Self::row_loss) leaves out.
    #[inline]
    pub(crate) fn saturated(self, y: f64) -> f64 {
        match self {
            Self::Gaussian | Self::Binomial => 0.,
            Self::Poisson => {
                if y > 0. {
                    y * y.ln() - y
                } else {
                    0.
                }
            }
        }
    }

    /// The second derivative of the loss by the linear predictor: the variance of y.
    #[inline]
    pub(crate) fn curvature(self, eta: f64) -> f64 {
        match self {
            Self::Gaussian => 1.,
            Self::Binomial => {
                let e = (-eta.abs()).exp();
                e / ((1. + e) * (1. + e))
            }
            Self::Poisson => eta.exp(),
        }
    }

    /// What the loss at `eta + delta` exceeds its tangent at `eta` by.
    ///
    /// For a small `delta` this is far below the rounding of the loss itself; it is computed to full relative
    /// precision, so that a minimum can be found to full precision too.
    #[inline]
    pub(crate) fn remainder(self, eta: f64, delta: f64) -> f64 {
        match self {
            Self::Gaussian => 0.5 * delta * delta,
            Self::Binomial => {
                if delta.abs() < 1e-4 {
                    let variance = self.curvature(eta);
                    let skew = variance * -(0.5 * eta).tanh();
                    delta * delta * (0.5 * variance + delta * skew / 6.)
                } else if delta.abs() < 1. {
                    (sigmoid(eta) * delta.exp_m1()).ln_1p() - sigmoid(eta) * delta
                } else {
                    softplus(eta + delta) - softplus(eta) - sigmoid(eta) * delta
                }
            }
            Self::Poisson => {
                let mean = eta.exp();
                if delta.abs() < 1e-4 {
                    mean * delta * delta * (0.5 + delta / 6.)
                } else {
                    mean * (delta.exp_m1() - delta)
                }
            }
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[inline]
fn sigmoid(eta: f64) -> f64 {
    let e = (-eta.abs()).exp();
    if eta > 0. { 1. / (1. + e) } else { e / (1. + e) }
}

/// ln(1 + exp(x)).
#[inline]
fn softplus(x: f64) -> f64 {
    x.max(0.) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Family; 3] = [Family::Gaussian, Family::Binomial, Family::Poisson];

    fn close(a: f64, b: f64, tolerance: f64) -> bool {
        (a - b).abs() <= tolerance * (1. + a.abs().max(b.abs()))
    }

    #[test]
    fn the_loss_is_half_the_unit_deviance() {
        for (family, ys) in ALL.into_iter().zip([[-1.5, 2.], [0., 1.], [0., 3.]]) {
            for y in ys {
                for eta in [-2., -0.3, 0., 1.7] {
                    let half = 0.5 * family.unit_deviance(y, family.mean(eta));
                    let loss = family.row_loss(y, eta).loss + family.saturated(y);
                    assert!(close(half, loss, 1e-14), "{family} y {y} eta {eta}: {half} {loss}");
                }
            }
        }
    }

    #[test]
    fn the_derivatives_are_those_of_the_loss() {
        let h = 1e-5;
        for family in ALL {
            for eta in [-3., -0.2, 0.4, 2.5] {
                let loss = |eta| family.row_loss(1., eta).loss;
                let residual = |eta| family.row_loss(1., eta).residual;
                let (slope, bend) =
                    ((loss(eta + h) - loss(eta - h)) / (2. * h), (residual(eta + h) - residual(eta - h)) / (2. * h));
                assert!(close(slope, residual(eta), 1e-8), "{family} {eta}");
                assert!(close(bend, family.curvature(eta), 1e-8), "{family} {eta}");
                assert!(close(residual(eta), family.mean(eta) - 1., 1e-15), "{family} {eta}");
            }
        }
    }

    #[test]
    fn the_remainder_is_continuous_and_precise() {
        for family in ALL {
            for eta in [-2., 0.5, 3.] {
                let base = family.row_loss(1., eta);
                for delta in [-2.5, -0.7, -0.01, 0.02, 0.9, 1.1] {
                    let plain = family.row_loss(1., eta + delta).loss - base.loss - base.residual * delta;
                    assert!(close(plain, family.remainder(eta, delta), 1e-14), "{family} {eta} {delta}");
                }
                for (below, above) in [(0.999_999e-4, 1.000_001e-4), (0.999_999, 1.000_001)] {
                    let ratio = family.remainder(eta, below) / family.remainder(eta, above);
                    assert!(close(ratio, 1., 1e-5), "{family} {eta} {below}: {ratio}");
                }
                let tiny = family.remainder(eta, 1e-12) / (0.5 * family.curvature(eta) * 1e-24);
                assert!(close(tiny, 1., 1e-9), "{family} {eta}: {tiny}");
            }
        }
    }

    #[test]
    fn far_predictors_neither_overflow_nor_lose_the_tail() {
        let far = Family::Binomial.row_loss(0., 800.);
        assert_eq!((far.loss, far.residual), (800., 1.));
        let sure = Family::Binomial.row_loss(1., 40.);
        assert_eq!((sure.loss, sure.residual), ((-40_f64).exp(), -(-40_f64).exp()));
        assert_eq!(Family::Poisson.row_loss(0., -800.).loss, 0.);
    }

    #[test]
    fn the_link_undoes_the_mean() {
        for family in ALL {
            assert!(close(family.link(family.mean(0.7)), 0.7, 1e-15), "{family}");
        }
    }
}
