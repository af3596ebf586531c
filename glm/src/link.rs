//! How the mean of y hangs on the linear predictor: links, their inverses, and the derivatives of those.
//!
//! Knows nothing of how y scatters around its mean. Formulas: P. McCullagh, J. A. Nelder, *Generalized Linear Models*,
//! 2nd ed. (1989), section 2.2.3 and 4.3.1.

use std::fmt;

use phalanx_array::kernel::inlined::{exp, ln};
use serde::{Deserialize, Serialize};

/// How the linear predictor eta follows from the mean mu.
///
/// | link | eta | mean | means it can give |
/// |---|---|---|---|
/// | `identity` | mu | eta | any number |
/// | `log` | ln mu | exp(eta) | above 0 |
/// | `logit` | ln(mu / (1 - mu)) | 1 / (1 + exp(-eta)) | between 0 and 1 |
/// | `probit` | the standard normal quantile of mu | Phi(eta) | between 0 and 1 |
/// | `cloglog` | ln(-ln(1 - mu)) | 1 - exp(-exp(eta)) | between 0 and 1 |
/// | `inverse` | 1 / mu | 1 / eta | any number but 0 |
/// | `sqrt` | sqrt(mu) | eta², eta being 0 or more | 0 or more |
/// | `power` | mu^power, ln mu for 0 | eta^(1/power), eta being above 0 | above 0 |
///
/// ```
/// use phalanx_glm::Link;
/// assert_eq!(Link::Power(-1.).mean(4.), Link::Inverse.mean(4.));
/// assert_eq!(Link::Sqrt.of_mean(9.), 3.);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// eta = mu.
    Identity,
    /// eta = ln mu.
    Log,
    /// eta = ln(mu / (1 - mu)).
    Logit,
    /// eta = the standard normal quantile of mu.
    Probit,
    /// eta = ln(-ln(1 - mu)), the complementary log-log.
    Cloglog,
    /// eta = 1 / mu.
    Inverse,
    /// eta = sqrt(mu).
    Sqrt,
    /// eta = mu to this power.
    Power(f64),
}

/// The mean and its derivatives by the linear predictor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mean {
    pub(crate) mu: f64,
    pub(crate) first: f64,
    pub(crate) second: f64,
}

impl Link {
    /// The mean at a linear predictor; NaN where the link gives none.
    pub fn mean(self, eta: f64) -> f64 {
        self.at(eta).mu
    }

    /// The linear predictor of a mean; infinite or NaN where the link has none.
    pub fn of_mean(self, mu: f64) -> f64 {
        match self {
            Self::Identity => mu,
            Self::Log => mu.ln(),
            Self::Logit => mu.ln() - (-mu).ln_1p(),
            Self::Probit => normal_quantile(mu),
            Self::Cloglog => (-(-mu).ln_1p()).ln(),
            Self::Inverse => 1. / mu,
            Self::Sqrt => mu.sqrt(),
            Self::Power(power) => {
                if power == 0. {
                    mu.ln()
                } else {
                    mu.powf(power)
                }
            }
        }
    }

    /// Its name in parameters and messages, without the power.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Log => "log",
            Self::Logit => "logit",
            Self::Probit => "probit",
            Self::Cloglog => "cloglog",
            Self::Inverse => "inverse",
            Self::Sqrt => "sqrt",
            Self::Power(_) => "power",
        }
    }

    /// The mean and its derivatives; NaN outside of the link's range.
    #[inline]
    pub(crate) fn at(self, eta: f64) -> Mean {
        match self {
            Self::Identity => Mean { mu: eta, first: 1., second: 0. },
            Self::Log => {
                let mu = exp(eta);
                Mean { mu, first: mu, second: mu }
            }
            Self::Logit => {
                let e = exp(-eta.abs());
                let mu = if eta > 0. { 1. / (1. + e) } else { e / (1. + e) };
                let first = e / ((1. + e) * (1. + e));
                Mean { mu, first, second: -first * libm::tanh(0.5 * eta) }
            }
            Self::Probit => {
                let density = normal_density(eta);
                Mean {
                    mu: 0.5 * libm::erfc(-eta * std::f64::consts::FRAC_1_SQRT_2),
                    first: density,
                    second: -eta * density,
                }
            }
            Self::Cloglog => {
                let hazard = exp(eta);
                let first = exp(eta - hazard);
                Mean { mu: -libm::expm1(-hazard), first, second: first * (1. - hazard) }
            }
            Self::Inverse => {
                let mu = 1. / eta;
                Mean { mu, first: -mu * mu, second: 2. * mu * mu * mu }
            }
            Self::Sqrt if eta >= 0. => Mean { mu: eta * eta, first: 2. * eta, second: 2. },
            Self::Power(0.) => Self::Log.at(eta),
            Self::Power(power) if eta > 0. => {
                let root = 1. / power;
                let mu = exp(root * ln(eta));
                Mean { mu, first: root * mu / eta, second: root * (root - 1.) * mu / (eta * eta) }
            }
            Self::Sqrt | Self::Power(_) => Mean { mu: f64::NAN, first: f64::NAN, second: f64::NAN },
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Power(power) => write!(f, "power({power})"),
            other => f.write_str(other.name()),
        }
    }
}

#[inline]
fn normal_density(x: f64) -> f64 {
    const FACTOR: f64 = 0.398_942_280_401_432_7; // 1 / sqrt(2 pi)
    FACTOR * exp(-0.5 * x * x)
}

/// The standard normal quantile, by Newton's and Halley's steps on the distribution function from statrs' start.
fn normal_quantile(p: f64) -> f64 {
    use statrs::distribution::ContinuousCDF;
    if !(0. ..=1.).contains(&p) {
        return f64::NAN;
    }
    let mut x = statrs::distribution::Normal::standard().inverse_cdf(p);
    if !x.is_finite() {
        return x;
    }
    for _ in 0..2 {
        // In the tail that p lies in, so that no digits cancel.
        let tail = 0.5 * libm::erfc(x.abs() * std::f64::consts::FRAC_1_SQRT_2);
        let error = if x < 0. { tail - p } else { (1. - p) - tail };
        let step = error / normal_density(x);
        let step = step / (1. + 0.5 * x * step);
        if step.is_finite() {
            x -= step;
        }
    }
    x
}

/// ln Phi(x) and the derivative of it, exact far into the lower tail where Phi itself is 0.
#[inline]
pub(crate) fn log_normal(x: f64) -> (f64, f64) {
    if x < -37. {
        // The asymptotic series of Mills' ratio (Abramowitz and Stegun 26.2.12), whose next term is below 1e-15 here.
        let t = 1. / (x * x);
        let series = 1. - t * (1. - t * (3. - t * (15. - t * (105. - t * 945.))));
        let half_log_two_pi = 0.918_938_533_204_672_8;
        return (-0.5 * x * x - half_log_two_pi - ln(-x) + ln(series), -x / series);
    }
    let probability = 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
    // Near 1 the logarithm is that of what is missing.
    let log =
        if x > 1. { libm::log1p(-0.5 * libm::erfc(x * std::f64::consts::FRAC_1_SQRT_2)) } else { ln(probability) };
    (log, normal_density(x) / probability)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Link; 9] = [
        Link::Identity,
        Link::Log,
        Link::Logit,
        Link::Probit,
        Link::Cloglog,
        Link::Inverse,
        Link::Sqrt,
        Link::Power(0.),
        Link::Power(-2.),
    ];

    #[test]
    fn the_link_undoes_the_mean() {
        for link in ALL {
            for eta in [0.2, 0.7, 1.9] {
                assert!((link.of_mean(link.mean(eta)) - eta).abs() < 1e-13, "{link} {eta}");
            }
        }
    }

    #[test]
    fn the_derivatives_are_those_of_the_mean() {
        let h = 1e-5;
        for link in ALL {
            for eta in [0.3, 0.8, 1.7] {
                let [low, at, high] = [eta - h, eta, eta + h].map(|eta| link.at(eta));
                assert!(
                    ((high.mu - low.mu) / (2. * h) - at.first).abs() < 1e-8 * (1. + at.first.abs()),
                    "{link} {eta}"
                );
                let second = (high.first - low.first) / (2. * h);
                assert!((second - at.second).abs() < 1e-7 * (1. + at.second.abs()), "{link} {eta}");
            }
        }
    }

    #[test]
    fn a_probit_keeps_its_digits_in_both_tails() {
        // scipy.stats.norm.logcdf(-5), (-40), (3); norm.ppf(1e-10).
        for (x, expected) in
            [(-5., -15.064_998_393_988_726), (-40., -804.608_442_013_754), (3., -0.001_350_809_964_748_202_4)]
        {
            assert!((log_normal(x).0 / expected - 1.).abs() < 1e-13, "{x}: {}", log_normal(x).0);
        }
        let (left, right) = (log_normal(-37.000_001), log_normal(-36.999_999));
        assert!((left.1 - right.1).abs() < 1e-5, "{left:?} {right:?}");
        assert!((Link::Probit.of_mean(1e-10) + 6.361_340_902_404_056).abs() < 1e-12);
    }

    #[test]
    fn outside_of_its_range_there_is_no_mean() {
        assert!(Link::Sqrt.mean(-1.).is_nan() && Link::Power(2.).mean(-0.5).is_nan());
        assert!(Link::Power(0.5).of_mean(4.) == 2. && Link::Identity.mean(-3.) == -3.);
    }
}
