//! The derivatives of ln Γ, which the likelihoods of counts and of sums of gamma sizes are made of.
//!
//! Formulas: M. Abramowitz, I. Stegun, *Handbook of Mathematical Functions* (1964), 6.3.5, 6.3.18, 6.4.6 and 6.4.12.

/// Beyond this the asymptotic series below are exact to f64.
const FAR: f64 = 12.;

/// ψ(x), the first derivative of ln Γ, for x above 0.
pub(crate) fn digamma(mut x: f64) -> f64 {
    let mut near = 0.;
    while x < FAR {
        near -= 1. / x;
        x += 1.;
    }
    let inverse = 1. / x;
    let square = inverse * inverse;
    // B_2k / 2k, from the last.
    let series = [1. / 12., -1. / 120., 1. / 252., -1. / 240., 1. / 132., -691. / 32_760., 1. / 12.];
    let tail = series.into_iter().rev().fold(0., |sum, term| (sum + term) * square);
    near + x.ln() - 0.5 * inverse - tail
}

/// ψ'(x), the second derivative of ln Γ, for x above 0.
pub(crate) fn trigamma(mut x: f64) -> f64 {
    let mut near = 0.;
    while x < FAR {
        near += 1. / (x * x);
        x += 1.;
    }
    let inverse = 1. / x;
    let square = inverse * inverse;
    // B_2k, from the last.
    let series = [1. / 6., -1. / 30., 1. / 42., -1. / 30., 5. / 66., -691. / 2_730., 7. / 6.];
    let tail = series.into_iter().rev().fold(0., |sum, term| (sum + term) * square);
    near + inverse * (1. + 0.5 * inverse + tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_known_values() {
        // ψ(1) = -γ, ψ(1/2) = -γ - 2 ln 2, ψ'(1) = π²/6, ψ'(1/2) = π²/2.
        let gamma = 0.577_215_664_901_532_9;
        let square = std::f64::consts::PI * std::f64::consts::PI;
        for (found, expected) in [
            (digamma(1.), -gamma),
            (digamma(0.5), -gamma - 2. * 2_f64.ln()),
            (digamma(1e-3), -1_000.575_571_931_810_3),
            (trigamma(1.), square / 6.),
            (trigamma(0.5), square / 2.),
            (trigamma(40.), 0.025_315_103_841_291_032),
        ] {
            assert!((found / expected - 1.).abs() < 1e-14, "{found} {expected}");
        }
    }

    #[test]
    fn they_are_the_derivatives_of_the_logarithm_of_gamma() {
        for x in [0.03, 0.7, 2.5, 11.9, 12.1, 300.] {
            let h = 1e-5 * x;
            let slope = (libm::lgamma(x + h) - libm::lgamma(x - h)) / (2. * h);
            assert!((slope - digamma(x)).abs() < 1e-6 * (1. + slope.abs()), "{x}");
            let bend = (digamma(x + h) - digamma(x - h)) / (2. * h);
            assert!((bend / trigamma(x) - 1.).abs() < 1e-6, "{x}");
        }
    }
}
