//! How y scatters around its mean: the families, what y may be, variance and deviance.
//!
//! Nothing here knows of columns, coefficients or penalties; what a family and a link are together is a
//! [`Loss`](crate::loss::Loss).
//!
//! Formulas: P. McCullagh, J. A. Nelder, *Generalized Linear Models*, 2nd ed. (1989), table 2.1 and section 2.3;
//! B. Jørgensen, *The Theory of Dispersion Models* (1997), chapter 4, for Tweedie's; J. M. Hilbe, *Negative Binomial
//! Regression*, 2nd ed. (2011), chapter 8; P. J. Huber, "Robust estimation of a location parameter" (1964).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::link::Link;

/// How y scatters around its mean.
///
/// | family | y | canonical or usual link | unit deviance d(y, mu) | variance |
/// |---|---|---|---|---|
/// | `gaussian` | any number | identity | (y - mu)² | 1 |
/// | `binomial` | 0 or 1, or a share of trials | logit | 2 (y ln(y/mu) + (1-y) ln((1-y)/(1-mu))) | mu (1 - mu) |
/// | `poisson` | 0 or more | log | 2 (y ln(y/mu) - y + mu) | mu |
/// | `gamma` | above 0 | log (canonical: inverse) | 2 (-ln(y/mu) + (y - mu)/mu) | mu² |
/// | `tweedie` | 0 or more; above 0 from power 2 on; any number below power 0 | log | see below | mu^power |
/// | `negative_binomial` | 0 or more | log | 2 (y ln(y/mu) - (y+theta) ln((y+theta)/(mu+theta))) | mu + mu²/theta |
/// | `inverse_gaussian` | above 0 | log (canonical: mu^-2) | (y - mu)²/(y mu²) | mu³ |
/// | `quantile` | any number | identity | 2 max(q r, (q - 1) r), r = y - mu | 1 |
/// | `smooth_quantile` | any number | identity | the same, smoothed by a uniform kernel within the bandwidth | 1 |
/// | `huber` | any number | identity | r² within delta, 2 delta abs(r) - delta² beyond, r = y - mu | 1 |
///
/// Tweedie's unit deviance is 2 (y^(2-p)/((1-p)(2-p)) - y mu^(1-p)/(1-p) + mu^(2-p)/(2-p)); its power p is 0
/// (gaussian), 1 (Poisson), between 1 and 2 (sums of gamma sizes, with zeros), 2 (gamma), 3 (inverse gaussian) or any
/// other number that is not between 0 and 1. `theta` is R's, 1/alpha of statsmodels. `delta` is in units of y.
/// What a quantile family calls the mean is the quantile of y, a share q of the rows lying below it; its loss is the
/// pinball loss (R. Koenker, G. Bassett, "Regression quantiles" (1978)).
///
/// ```
/// use phalanx_glm::Family;
/// assert_eq!(Family::Gaussian.unit_deviance(1., 3.), 4.);
/// assert_eq!(Family::Tweedie { power: 1.5 }.variance(4.), 8.);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Family {
    /// Least squares.
    #[default]
    Gaussian,
    /// Two classes, y being 0 or 1, or successes of some trials.
    Binomial,
    /// Counts: y is 0 or more, not necessarily whole.
    Poisson,
    /// Sizes: y is above 0, its standard deviation in proportion to its mean.
    Gamma,
    /// Between Poisson and gamma, or beyond: the variance is a power of the mean.
    Tweedie {
        /// The power of the mean.
        power: f64,
    },
    /// Counts that scatter more than Poisson's.
    NegativeBinomial {
        /// The variance is mu + mu²/theta; R's theta.
        theta: f64,
    },
    /// Sizes with a longer tail than gamma's.
    InverseGaussian,
    /// Quantiles of y instead of its mean: half the unit deviance is the pinball loss.
    Quantile {
        /// The share of rows below, above 0 and below 1.
        quantile: f64,
    },
    /// The same with the loss smoothed (M. Fernandes, E. Guerre, E. Horta, "Smoothing quantile regressions" (2021)): a
    /// parabola where a residual is within the bandwidth.
    SmoothQuantile {
        /// The share of rows below, above 0 and below 1.
        quantile: f64,
        /// Half the width of the uniform kernel, in units of y, above 0.
        bandwidth: f64,
    },
    /// Least squares that large residuals pull on with bounded force.
    Huber {
        /// The residual beyond which the force is constant, in units of y.
        delta: f64,
    },
}

impl Family {
    /// The link that is used where none is named: the canonical one, but log for gamma, Tweedie's families, the
    /// negative binomial and the inverse gaussian, whose canonical links allow means that they cannot have.
    pub const fn default_link(self) -> Link {
        match self {
            Self::Gaussian | Self::Huber { .. } | Self::Quantile { .. } | Self::SmoothQuantile { .. } => Link::Identity,
            Self::Binomial => Link::Logit,
            Self::Poisson
            | Self::Gamma
            | Self::Tweedie { .. }
            | Self::NegativeBinomial { .. }
            | Self::InverseGaussian => Link::Log,
        }
    }

    /// The mean of y at a linear predictor under the [default link](Self::default_link).
    pub fn mean(self, eta: f64) -> f64 {
        self.default_link().mean(eta)
    }

    /// The variance of y at a mean, but for the dispersion.
    pub fn variance(self, mu: f64) -> f64 {
        match self {
            Self::Binomial => mu * (1. - mu),
            Self::NegativeBinomial { theta } => mu + mu * mu / theta,
            Self::Gaussian | Self::Huber { .. } | Self::Quantile { .. } | Self::SmoothQuantile { .. } => 1.,
            Self::Poisson => mu,
            Self::Gamma => mu * mu,
            Self::InverseGaussian => mu * mu * mu,
            Self::Tweedie { power } => mu.powf(power),
        }
    }

    /// Twice what a row's log-likelihood lacks to that of a perfect fit, dispersion 1.
    pub fn unit_deviance(self, y: f64, mu: f64) -> f64 {
        // The limit of y ln(y / m) at y = 0.
        let y_log = |y: f64, m: f64| if y > 0. { y * (y / m).ln() } else { 0. };
        match self {
            Self::Gaussian => (y - mu) * (y - mu),
            Self::Binomial => 2. * (y_log(y, mu) + if y < 1. { (1. - y) * ((-y).ln_1p() - (-mu).ln_1p()) } else { 0. }),
            Self::Poisson => 2. * (y_log(y, mu) - y + mu),
            Self::Gamma => 2. * ((y - mu) / mu - (y / mu).ln()),
            Self::InverseGaussian => (y - mu) * (y - mu) / (y * mu * mu),
            Self::NegativeBinomial { theta } => {
                // The ratio of the two sums is as good as 1 where theta is large.
                2. * (y_log(y, mu) - (y + theta) * ((y - mu) / (mu + theta)).ln_1p())
            }
            Self::Tweedie { power } => match power {
                0. => Self::Gaussian.unit_deviance(y, mu),
                1. => Self::Poisson.unit_deviance(y, mu),
                2. => Self::Gamma.unit_deviance(y, mu),
                3. => Self::InverseGaussian.unit_deviance(y, mu),
                p => {
                    // Below power 0 a negative y has no such term.
                    let of_y = y.max(0.).powf(2. - p) / ((1. - p) * (2. - p));
                    2. * (of_y - y * mu.powf(1. - p) / (1. - p) + mu.powf(2. - p) / (2. - p))
                }
            },
            Self::Quantile { quantile } => 2. * pinball(quantile, y - mu),
            Self::SmoothQuantile { quantile, bandwidth } => 2. * smooth_pinball(quantile, bandwidth, y - mu),
            Self::Huber { delta } => {
                let r = (y - mu).abs();
                if r <= delta { r * r } else { 2. * delta * r - delta * delta }
            }
        }
    }

    /// Its name in parameters and messages, without its parameter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Binomial => "binomial",
            Self::Poisson => "poisson",
            Self::Gamma => "gamma",
            Self::Tweedie { .. } => "tweedie",
            Self::NegativeBinomial { .. } => "negative_binomial",
            Self::InverseGaussian => "inverse_gaussian",
            Self::Quantile { .. } => "quantile",
            Self::SmoothQuantile { .. } => "smooth_quantile",
            Self::Huber { .. } => "huber",
        }
    }

    /// What y may be, in words.
    pub const fn expects(self) -> &'static str {
        match self {
            Self::Gaussian | Self::Huber { .. } | Self::Quantile { .. } | Self::SmoothQuantile { .. } => {
                "a finite number"
            }
            Self::Binomial => "0 or 1",
            Self::Poisson | Self::NegativeBinomial { .. } => "0 or more",
            Self::Gamma | Self::InverseGaussian => "above 0",
            Self::Tweedie { power } => {
                if power <= 0. {
                    "a finite number"
                } else if power < 2. {
                    "0 or more"
                } else {
                    "above 0"
                }
            }
        }
    }

    /// Whether y is a value that the family can give; of the binomial family, a share of trials too.
    #[inline]
    pub fn allows(self, y: f64) -> bool {
        y.is_finite()
            && match self {
                Self::Gaussian | Self::Huber { .. } | Self::Quantile { .. } | Self::SmoothQuantile { .. } => true,
                Self::Binomial => (0. ..=1.).contains(&y),
                Self::Poisson | Self::NegativeBinomial { .. } => y >= 0.,
                Self::Gamma | Self::InverseGaussian => y > 0.,
                Self::Tweedie { power } => power <= 0. || y > 0. || (power < 2. && y == 0.),
            }
    }

    /// Whether the dispersion is 1 by definition: then statistics are z, elsewhere t.
    pub const fn has_unit_dispersion(self) -> bool {
        matches!(self, Self::Binomial | Self::Poisson | Self::NegativeBinomial { .. })
    }

    /// Whether a mean is one that the family can have.
    #[inline]
    pub(crate) fn allows_mean(self, mu: f64) -> bool {
        match self {
            Self::Gaussian | Self::Huber { .. } | Self::Quantile { .. } | Self::SmoothQuantile { .. } => mu.is_finite(),
            Self::Binomial => mu > 0. && mu < 1.,
            _ => mu > 0. && mu < f64::INFINITY,
        }
    }

    /// The power of the mean that is the variance, where it is one.
    pub(crate) const fn power(self) -> Option<f64> {
        match self {
            Self::Gaussian => Some(0.),
            Self::Poisson => Some(1.),
            Self::Gamma => Some(2.),
            Self::InverseGaussian => Some(3.),
            Self::Tweedie { power } => Some(power),
            Self::Binomial
            | Self::NegativeBinomial { .. }
            | Self::Huber { .. }
            | Self::Quantile { .. }
            | Self::SmoothQuantile { .. } => None,
        }
    }

    /// What is wrong with its parameter, as (name, value, what was expected).
    pub(crate) fn problem(self) -> Option<(&'static str, f64, &'static str)> {
        match self {
            Self::Tweedie { power } if !power.is_finite() || (power > 0. && power < 1.) => {
                Some(("power", power, "0 or less, or 1 or more"))
            }
            Self::NegativeBinomial { theta } if !(theta > 0. && theta.is_finite()) => {
                Some(("theta", theta, "a number above 0"))
            }
            Self::Quantile { quantile } | Self::SmoothQuantile { quantile, .. }
                if !(quantile > 0. && quantile < 1.) =>
            {
                Some(("quantile", quantile, "above 0 and below 1"))
            }
            Self::SmoothQuantile { bandwidth, .. } if !(bandwidth > 0. && bandwidth.is_finite()) => {
                Some(("bandwidth", bandwidth, "a number above 0"))
            }
            Self::Huber { delta } if !(delta > 0. && delta.is_finite()) => Some(("delta", delta, "a number above 0")),
            _ => None,
        }
    }
}

/// The pinball loss of a residual.
#[inline]
pub(crate) fn pinball(quantile: f64, residual: f64) -> f64 {
    if residual >= 0. { quantile * residual } else { (quantile - 1.) * residual }
}

/// The same, smoothed by a uniform kernel.
#[inline]
pub(crate) fn smooth_pinball(quantile: f64, bandwidth: f64, residual: f64) -> f64 {
    let r = residual;
    if r.abs() <= bandwidth {
        0.25 * (r * (r / bandwidth) + bandwidth) + (quantile - 0.5) * r
    } else {
        pinball(quantile, r)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tweedie { power } => write!(f, "tweedie({power})"),
            Self::NegativeBinomial { theta } => write!(f, "negative_binomial({theta})"),
            Self::Huber { delta } => write!(f, "huber({delta})"),
            Self::Quantile { quantile } => write!(f, "quantile({quantile})"),
            Self::SmoothQuantile { quantile, bandwidth } => write!(f, "smooth_quantile({quantile}, {bandwidth})"),
            other => f.write_str(other.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tweedie_is_the_families_between_which_it_lies() {
        for (power, family) in
            [(0., Family::Gaussian), (1., Family::Poisson), (2., Family::Gamma), (3., Family::InverseGaussian)]
        {
            for (y, mu) in [(0.5, 2.), (3., 1.5), (2., 2.)] {
                let (exact, near) = (family.unit_deviance(y, mu), Family::Tweedie { power: power + 1e-7 });
                assert_eq!(Family::Tweedie { power }.unit_deviance(y, mu), exact, "{family}");
                assert!((near.unit_deviance(y, mu) - exact).abs() < 1e-5, "{family} {y} {mu}");
            }
        }
    }

    #[test]
    fn the_negative_binomial_of_a_large_theta_is_poisson() {
        for (y, mu) in [(0., 2.), (3., 1.5), (20., 30.)] {
            let [poisson, near] =
                [Family::Poisson, Family::NegativeBinomial { theta: 1e12 }].map(|family| family.unit_deviance(y, mu));
            assert!((near / poisson - 1.).abs() < 1e-9, "{y} {mu}: {near} {poisson}");
        }
    }

    #[test]
    fn deviances_are_zero_at_a_perfect_fit_and_variances_their_curvature_there() {
        let families = [
            Family::Gaussian,
            Family::Poisson,
            Family::Gamma,
            Family::InverseGaussian,
            Family::Binomial,
            Family::Tweedie { power: 1.5 },
            Family::Tweedie { power: 2.5 },
            Family::Tweedie { power: -1. },
            Family::NegativeBinomial { theta: 2.5 },
            Family::Huber { delta: 1. },
        ];
        for family in families {
            let (y, h) = (0.4, 1e-4);
            let [low, at, high] = [y - h, y, y + h].map(|mu| family.unit_deviance(y, mu));
            assert!(at.abs() < 1e-15, "{family}: {at}");
            let curvature = (high - 2. * at + low) / (h * h) / 2.;
            assert!((curvature * family.variance(y) - 1.).abs() < 1e-5, "{family}: {curvature}");
        }
    }

    #[test]
    fn y_is_held_to_its_range() {
        let allows = |family: Family| [-1., 0., 0.5, 1., 2., f64::NAN].map(|y| family.allows(y));
        assert_eq!(allows(Family::Gaussian), [true, true, true, true, true, false]);
        assert_eq!(allows(Family::Binomial), [false, true, true, true, false, false]);
        assert_eq!(allows(Family::Tweedie { power: 1.5 }), [false, true, true, true, true, false]);
        assert_eq!(allows(Family::Gamma), [false, false, true, true, true, false]);
        assert_eq!(allows(Family::Tweedie { power: 2. }), allows(Family::Gamma));
    }

    #[test]
    fn a_parameter_out_of_its_range_is_named() {
        assert_eq!(Family::Tweedie { power: 0.5 }.problem(), Some(("power", 0.5, "0 or less, or 1 or more")));
        assert_eq!(Family::NegativeBinomial { theta: 0. }.problem(), Some(("theta", 0., "a number above 0")));
        assert_eq!(Family::Tweedie { power: -2. }.problem(), None);
    }
}
