//! A family with a link, as one row sees them: the loss at a linear predictor and its derivatives.
//!
//! The loss is half the unit deviance, less [`saturated`](Loss::saturated), which does not depend on the model. It is
//! infinite where the link gives a mean that the family cannot have. Nothing here knows of columns, coefficients or
//! penalties.

use phalanx_array::{
    kernel::inlined::{dot, exp, ln, sum},
    panel::PANEL,
};
use serde::{Deserialize, Serialize};

use crate::{
    family::{Family, pinball, smooth_pinball},
    link::{Link, log_normal},
};

/// A family and a link.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// How y scatters around its mean.
    pub family: Family,
    /// How the mean hangs on the linear predictor.
    pub link: Link,
}

/// What one row adds to the objective at one linear predictor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    pub(crate) loss: f64,
    /// The derivative of the loss by the linear predictor.
    pub(crate) residual: f64,
    /// The second derivative.
    pub(crate) observed: f64,
    /// Its expectation over y, the Fisher information; for Huber's loss the weight of iterated least squares.
    pub(crate) expected: f64,
}

/// Which second derivatives a quadratic model is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curvature {
    /// Those of the loss, and the expected ones where those are negative: Newton's method.
    Observed,
    /// Their expectations: Fisher's scoring.
    Expected,
}

/// What a panel of rows adds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PanelLoss {
    /// Sum of weight times loss.
    pub(crate) loss: f64,
    /// Whether every row's linear predictor has the sign of its class; false but for 0-or-1 rows of the binomial
    /// family with the logit link.
    pub(crate) separated: bool,
}

impl From<Family> for Loss {
    fn from(family: Family) -> Self {
        Self { family, link: family.default_link() }
    }
}

const NOWHERE: Row = Row { loss: f64::INFINITY, residual: 0., observed: 0., expected: 0. };

/// Writes what an expression gives of every row. A macro and not a function of a closure: what is called through one is
/// compiled without the instructions that the panel is dispatched to.
macro_rules! each {
    ($kind:expr, $rows:expr, |$y:ident, $eta:ident| $row:expr) => {{
        let (y, eta, losses, bends) = $rows;
        let rows = eta.iter_mut().zip(y).zip(losses.iter_mut().zip(bends.iter_mut()));
        match $kind {
            Curvature::Observed => {
                for ((place, &$y), (loss, bend)) in rows {
                    let $eta = *place;
                    let row = $row;
                    (*place, *loss) = (row.residual, row.loss);
                    *bend = if row.observed >= 0. { row.observed } else { row.expected };
                }
            }
            Curvature::Expected => {
                for ((place, &$y), (loss, bend)) in rows {
                    let $eta = *place;
                    let row = $row;
                    (*place, *loss, *bend) = (row.residual, row.loss, row.expected);
                }
            }
        }
    }};
}

impl Loss {
    /// Whether every row's loss is known to be convex in the linear predictor, whatever y is.
    pub(crate) fn is_convex(self) -> bool {
        match (self.family, self.link) {
            (
                Family::Gaussian | Family::Huber { .. } | Family::Quantile { .. } | Family::SmoothQuantile { .. },
                Link::Identity,
            ) => true,
            (Family::Binomial, Link::Logit | Link::Probit | Link::Cloglog) => true,
            (Family::Poisson, Link::Log | Link::Identity | Link::Sqrt) => true,
            (Family::NegativeBinomial { .. } | Family::Gamma, Link::Log) | (Family::Gamma, Link::Inverse) => true,
            (Family::Tweedie { power }, Link::Log) => (1. ..=2.).contains(&power),
            (Family::InverseGaussian, Link::Power(power)) => power == -2.,
            _ => false,
        }
    }

    /// The part of half the unit deviance that the loss leaves out.
    #[inline]
    pub(crate) fn saturated(self, y: f64) -> f64 {
        // The limits at 0.
        let y_log = |y: f64| if y > 0. { y * y.ln() } else { 0. };
        match self.family {
            Family::Gaussian | Family::Huber { .. } | Family::Quantile { .. } | Family::SmoothQuantile { .. } => 0.,
            Family::Binomial => y_log(y) + y_log(1. - y),
            Family::NegativeBinomial { theta } => y_log(y) - (y + theta) * (y / theta).ln_1p(),
            family => match family.power().unwrap_or_default() {
                0. => 0.,
                1. => y_log(y) - y,
                2. => -1. - y.ln(),
                3. => 0.5 / y,
                p => y.max(0.).powf(2. - p) / ((1. - p) * (2. - p)),
            },
        }
    }

    /// The loss and its derivatives, without overflow where the answer is finite.
    #[inline]
    pub(crate) fn row(self, y: f64, eta: f64) -> Row {
        match (self.family, self.link) {
            (Family::Gaussian, Link::Identity) => gaussian(y, eta),
            (Family::Binomial, Link::Logit) => logit(y, eta),
            (Family::Binomial, Link::Probit) => probit(y, eta),
            (Family::Binomial, Link::Cloglog) => cloglog(y, eta),
            (Family::Poisson, Link::Log) => poisson(y, eta),
            (Family::Gamma, Link::Log) => gamma(y, eta),
            (Family::NegativeBinomial { theta }, Link::Log) => negative_binomial(theta, y, eta),
            (Family::InverseGaussian, Link::Log) => tweedie(3., y, eta),
            (Family::Tweedie { power }, Link::Log) => match power {
                1. => poisson(y, eta),
                2. => gamma(y, eta),
                power => tweedie(power, y, eta),
            },
            _ => self.through_mean(y, eta),
        }
    }

    /// By the chain rule: the loss by the mean, and the mean by the linear predictor.
    fn through_mean(self, y: f64, eta: f64) -> Row {
        let mean = self.link.at(eta);
        let mu = mean.mu;
        if !self.family.allows_mean(mu) {
            return NOWHERE;
        }
        let (loss, first, second) = match self.family {
            Family::Binomial => {
                let loss =
                    -(if y > 0. { y * ln(mu) } else { 0. }) - if y < 1. { (1. - y) * libm::log1p(-mu) } else { 0. };
                let variance = mu * (1. - mu);
                (loss, (mu - y) / variance, y / (mu * mu) + (1. - y) / ((1. - mu) * (1. - mu)))
            }
            Family::NegativeBinomial { theta } => {
                let loss = (y + theta) * ln_1p(mu / theta) - if y > 0. { y * ln(mu) } else { 0. };
                let ratio = (y + theta) / ((mu + theta) * (mu + theta));
                (loss, (mu - y) / self.family.variance(mu), y / (mu * mu) - ratio)
            }
            Family::Huber { delta } => {
                let r = mu - y;
                if r.abs() <= delta {
                    (0.5 * r * r, r, 1.)
                } else {
                    (delta * r.abs() - 0.5 * delta * delta, delta.copysign(r), 0.)
                }
            }
            Family::Quantile { quantile } => {
                let r = y - mu;
                (pinball(quantile, r), if r > 0. { -quantile } else { 1. - quantile }, 0.)
            }
            Family::SmoothQuantile { quantile, bandwidth } => {
                let r = y - mu;
                let slope = (0.5 * (r / bandwidth)).clamp(-0.5, 0.5) + (quantile - 0.5);
                let bend = if r.abs() <= bandwidth { 0.5 / bandwidth } else { 0. };
                (smooth_pinball(quantile, bandwidth, r), -slope, bend)
            }
            family => {
                let p = family.power().unwrap_or_default();
                let log = ln(mu);
                let loss = match p {
                    0. => 0.5 * (y - mu) * (y - mu),
                    1. => mu - y * log,
                    2. => log + y / mu,
                    p => exp((2. - p) * log) / (2. - p) - y * exp((1. - p) * log) / (1. - p),
                };
                // 1 / variance.
                let inverse = if p == 0. { 1. } else { exp(-p * log) };
                let bend = if p == 0. { 0. } else { p * (mu - y) / mu };
                (loss, (mu - y) * inverse, (1. - bend) * inverse)
            }
        };
        if !loss.is_finite() {
            return NOWHERE;
        }
        let slope = mean.first * mean.first;
        let expected = match self.family {
            Family::Huber { delta } => slope * (delta / (mu - y).abs()).min(1.),
            Family::Quantile { .. } => 0.,
            Family::SmoothQuantile { bandwidth, .. } => slope * 0.5 / (mu - y).abs().max(bandwidth),
            family => slope / family.variance(mu),
        };
        Row { loss, residual: first * mean.first, observed: second * slope + first * mean.second, expected }
    }

    /// What the loss at `eta + delta` exceeds its tangent at `eta` by.
    ///
    /// For a small `delta` this is far below the rounding of the loss itself; it is computed to nearly full relative
    /// precision, so that a minimum can be found to full precision too.
    #[inline]
    pub(crate) fn remainder(self, y: f64, eta: f64, delta: f64) -> f64 {
        match (self.family, self.link) {
            (Family::Gaussian, Link::Identity) => 0.5 * delta * delta,
            (Family::Binomial, Link::Logit) if delta.abs() >= 1e-4 => {
                if delta.abs() < 1. {
                    (sigmoid(eta) * delta.exp_m1()).ln_1p() - sigmoid(eta) * delta
                } else {
                    softplus(eta + delta) - softplus(eta) - sigmoid(eta) * delta
                }
            }
            (Family::Poisson, Link::Log) if delta.abs() >= 1e-4 => eta.exp() * (delta.exp_m1() - delta),
            _ => {
                let here = self.row(y, eta);
                let there = self.row(y, eta + delta);
                if delta.abs() < 1e-4 {
                    // Taylor's series; the third derivative is how the second one changes.
                    delta * delta * (0.5 * here.observed + (there.observed - here.observed) / 6.)
                } else {
                    there.loss - here.loss - here.residual * delta
                }
            }
        }
    }

    /// A panel at a time: `eta` becomes weight times residual, `curvature` weight times second derivative.
    #[inline(always)]
    pub(crate) fn panel(
        self,
        y: &[f64],
        weights: Option<&[f64]>,
        eta: &mut [f64],
        curvature: Option<(Curvature, &mut [f64])>,
    ) -> PanelLoss {
        let mut losses = [0.; PANEL];
        let losses = &mut losses[..y.len()];
        let mut unused = [0.; PANEL];
        let (kind, bends) = match curvature {
            Some((kind, bends)) => (kind, bends),
            None => (Curvature::Observed, &mut unused[..y.len()]),
        };
        // The choice is made outside of the loops, so that each of the frequent ones becomes vector code.
        let rows = (y, &mut *eta, &mut *losses, &mut *bends);
        match (self.family, self.link) {
            (Family::Gaussian, Link::Identity) => each!(kind, rows, |y, eta| gaussian(y, eta)),
            (Family::Binomial, Link::Logit) => each!(kind, rows, |y, eta| logit(y, eta)),
            (Family::Poisson, Link::Log) => each!(kind, rows, |y, eta| poisson(y, eta)),
            (Family::Gamma, Link::Log) => each!(kind, rows, |y, eta| gamma(y, eta)),
            (Family::Tweedie { power }, Link::Log) if power != 1. && power != 2. => {
                each!(kind, rows, |y, eta| tweedie(power, y, eta));
            }
            (Family::NegativeBinomial { theta }, Link::Log) => {
                each!(kind, rows, |y, eta| negative_binomial(theta, y, eta));
            }
            _ => each!(kind, rows, |y, eta| self.row(y, eta)),
        }
        // A residual points away from the class, so a row on the right side has one below a half.
        let mut separated = self.family == Family::Binomial && self.link == Link::Logit;
        match weights {
            None => {
                if separated {
                    separated = eta.iter().zip(y).all(|(r, y)| r.abs() < 0.5 && (*y == 0. || *y == 1.));
                }
                PanelLoss { loss: sum(losses), separated }
            }
            Some(weights) => {
                if separated {
                    let mut rows = eta.iter().zip(y).zip(weights);
                    separated = rows.all(|((r, y), w)| *w == 0. || (r.abs() < 0.5 && (*y == 0. || *y == 1.)));
                }
                for (((r, bend), loss), w) in eta.iter_mut().zip(&mut *bends).zip(&mut *losses).zip(weights) {
                    *r *= w;
                    *bend *= w;
                    // A row without weight is absent, whatever its loss.
                    *loss = if *w == 0. { 0. } else { *loss };
                }
                PanelLoss { loss: dot(losses, weights), separated }
            }
        }
    }
}

#[inline(always)]
fn gaussian(y: f64, eta: f64) -> Row {
    let residual = eta - y;
    Row { loss: 0.5 * residual * residual, residual, observed: 1., expected: 1. }
}

/// -ln of the probability of y, a share: in terms of exp(-|eta|), so that neither class loses digits near its own
/// certainty.
#[inline(always)]
fn logit(y: f64, eta: f64) -> Row {
    let e = exp(-eta.abs());
    let positive = eta > 0.;
    let inverse = 1. / (1. + e);
    let small = e * inverse;
    // The probabilities of 1 and of 0.
    let (p, q) = if positive { (inverse, small) } else { (small, inverse) };
    // ln(1 + e) plus the margin by which eta is on the wrong side.
    let wrong = if positive { (1. - y) * eta } else { -y * eta };
    let variance = small * inverse;
    Row { loss: ln(1. + e) + wrong, residual: (1. - y) * p - y * q, observed: variance, expected: variance }
}

#[inline]
fn probit(y: f64, eta: f64) -> Row {
    let ((log_p, of_p), (log_q, of_q)) = (log_normal(eta), log_normal(-eta));
    // d/deta of Mills' inverse ratio r(eta) is -r (eta + r).
    Row {
        loss: -(if y > 0. { y * log_p } else { 0. }) - if y < 1. { (1. - y) * log_q } else { 0. },
        residual: (1. - y) * of_q - y * of_p,
        observed: y * of_p * (of_p + eta) + (1. - y) * of_q * (of_q - eta),
        expected: of_p * of_q,
    }
}

#[inline]
fn cloglog(y: f64, eta: f64) -> Row {
    let hazard = exp(eta);
    // The derivative of ln(1 - exp(-hazard)).
    let q = if hazard < 1e-300 { 1. } else { hazard / libm::expm1(hazard) };
    let log_p = if hazard < 1e-17 { eta } else { ln(-libm::expm1(-hazard)) };
    let loss = (1. - y) * hazard - if y > 0. { y * log_p } else { 0. };
    if !loss.is_finite() {
        return NOWHERE;
    }
    Row {
        loss,
        residual: (1. - y) * hazard - y * q,
        observed: (1. - y) * hazard - y * q * (1. - hazard - q),
        expected: hazard * q,
    }
}

#[inline(always)]
fn poisson(y: f64, eta: f64) -> Row {
    let mu = exp(eta);
    Row { loss: mu - y * eta, residual: mu - y, observed: mu, expected: mu }
}

#[inline(always)]
fn gamma(y: f64, eta: f64) -> Row {
    let ratio = y * exp(-eta);
    Row { loss: eta + ratio, residual: 1. - ratio, observed: ratio, expected: 1. }
}

#[inline(always)]
fn tweedie(power: f64, y: f64, eta: f64) -> Row {
    let (low, high) = (y * exp((1. - power) * eta), exp((2. - power) * eta));
    Row {
        loss: high / (2. - power) - low / (1. - power),
        residual: high - low,
        observed: (2. - power) * high - (1. - power) * low,
        expected: high,
    }
}

#[inline(always)]
fn negative_binomial(theta: f64, y: f64, eta: f64) -> Row {
    // Beyond this a mean is as good as infinite, and its logarithm is its linear predictor.
    const FAR: f64 = 600.;
    let mu = exp(if eta > FAR { FAR } else { eta });
    let ratio = mu / theta;
    let rest = 1. / (1. + ratio);
    let share = ratio * rest;
    // ln(1 + mu / theta), in which theta may be so large that it is a Poisson's mu / theta.
    let log = ln_1p(ratio) + if eta > FAR { eta - FAR } else { 0. };
    Row {
        loss: (y + theta) * log - y * eta,
        residual: theta * share - y * rest,
        observed: (y + theta) * share * rest,
        expected: theta * share,
    }
}

/// ln(1 + x) without loss of digits near 0 (W. Kahan's correction of the rounding in 1 + x), branch-free.
#[inline(always)]
fn ln_1p(x: f64) -> f64 {
    let sum = 1. + x;
    let rounded = sum - 1.;
    if rounded == 0. { x } else { ln(sum) * (x / rounded) }
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
pub(crate) mod tests {
    use super::*;

    /// Every family with every link that suits it, with three values of y.
    pub(crate) fn all() -> Vec<(Loss, [f64; 3])> {
        let shares = [0., 0.3, 1.];
        let (counts, sizes, any) = ([0., 1., 3.], [0.2, 1., 4.], [-1.5, 0.4, 2.]);
        let mut all = vec![
            (Loss::from(Family::Gaussian), any),
            (Loss { family: Family::Gaussian, link: Link::Log }, any),
            (Loss::from(Family::Huber { delta: 0.8 }), any),
            (Loss::from(Family::SmoothQuantile { quantile: 0.3, bandwidth: 0.8 }), any),
            (Loss { family: Family::Poisson, link: Link::Identity }, counts),
            (Loss { family: Family::Poisson, link: Link::Sqrt }, counts),
            (Loss { family: Family::Gamma, link: Link::Inverse }, sizes),
            (Loss { family: Family::Gamma, link: Link::Identity }, sizes),
            (Loss { family: Family::InverseGaussian, link: Link::Power(-2.) }, sizes),
            (Loss { family: Family::NegativeBinomial { theta: 2. }, link: Link::Sqrt }, counts),
            (Loss { family: Family::Tweedie { power: 1.4 }, link: Link::Power(0.5) }, counts),
        ];
        for link in [Link::Logit, Link::Probit, Link::Cloglog, Link::Identity, Link::Log] {
            all.push((Loss { family: Family::Binomial, link }, shares));
        }
        for family in [Family::Poisson, Family::NegativeBinomial { theta: 0.7 }, Family::Tweedie { power: 1.6 }] {
            all.push((Loss::from(family), counts));
        }
        for family in [Family::Gamma, Family::InverseGaussian, Family::Tweedie { power: 2.5 }] {
            all.push((Loss::from(family), sizes));
        }
        all
    }

    /// Predictors at which each of them has a mean.
    fn etas(loss: Loss) -> [f64; 3] {
        match (loss.family, loss.link) {
            (Family::Binomial, Link::Identity) => [0.1, 0.5, 0.8],
            (Family::Binomial, Link::Log) => [-3., -0.7, -0.1],
            (_, Link::Inverse | Link::Sqrt | Link::Identity | Link::Power(_)) => [0.3, 0.9, 2.],
            _ => [-2., 0.3, 1.7],
        }
    }

    fn close(a: f64, b: f64, tolerance: f64) -> bool {
        (a - b).abs() <= tolerance * (1. + a.abs().max(b.abs()))
    }

    #[test]
    fn the_loss_is_half_the_unit_deviance() {
        for (loss, ys) in all() {
            for y in ys {
                for eta in etas(loss) {
                    let half = 0.5 * loss.family.unit_deviance(y, loss.link.mean(eta));
                    let found = loss.row(y, eta).loss + loss.saturated(y);
                    assert!(close(half, found, 1e-13), "{loss:?} y {y} eta {eta}: {half} {found}");
                }
            }
        }
    }

    #[test]
    fn the_derivatives_are_those_of_the_loss() {
        let h = 1e-5;
        for (loss, ys) in all() {
            for y in ys {
                for eta in etas(loss) {
                    let [low, at, high] = [eta - h, eta, eta + h].map(|eta| loss.row(y, eta));
                    let (slope, bend) = ((high.loss - low.loss) / (2. * h), (high.residual - low.residual) / (2. * h));
                    assert!(close(slope, at.residual, 1e-7), "{loss:?} {y} {eta}: {slope} {at:?}");
                    assert!(close(bend, at.observed, 1e-6), "{loss:?} {y} {eta}: {bend} {at:?}");
                }
            }
        }
    }

    #[test]
    fn the_expected_curvature_is_the_squared_slope_over_the_variance() {
        let has_kinks = |loss: Loss| matches!(loss.family, Family::Huber { .. } | Family::SmoothQuantile { .. });
        for (loss, ys) in all().into_iter().filter(|(loss, _)| !has_kinks(*loss)) {
            for eta in etas(loss) {
                let mean = loss.link.at(eta);
                let fisher = mean.first * mean.first / loss.family.variance(mean.mu);
                for y in ys {
                    assert!(close(fisher, loss.row(y, eta).expected, 1e-12), "{loss:?} {eta}");
                }
            }
        }
    }

    #[test]
    fn the_remainder_is_continuous_and_precise() {
        for (loss, ys) in all() {
            if matches!(loss.family, Family::Huber { .. } | Family::SmoothQuantile { .. }) {
                continue;
            }
            let (y, eta) = (ys[1], etas(loss)[1]);
            let base = loss.row(y, eta);
            for delta in [-0.05, -0.001, 0.02] {
                let plain = loss.row(y, eta + delta).loss - base.loss - base.residual * delta;
                assert!(close(plain, loss.remainder(y, eta, delta), 1e-14), "{loss:?} {delta}");
            }
            let ratio = loss.remainder(y, eta, 0.999_999e-4) / loss.remainder(y, eta, 1.000_001e-4);
            assert!(close(ratio, 1., 1e-4), "{loss:?}: {ratio}");
            let tiny = loss.remainder(y, eta, 1e-12) / (0.5 * base.observed * 1e-24);
            assert!(close(tiny, 1., 1e-9), "{loss:?}: {tiny}");
        }
    }

    #[test]
    fn far_predictors_neither_overflow_nor_lose_the_tail() {
        let far = Loss::from(Family::Binomial).row(0., 800.);
        assert_eq!((far.loss, far.residual), (800., 1.));
        let sure = Loss::from(Family::Binomial).row(1., 40.);
        assert!((sure.residual / -(-40_f64).exp() - 1.).abs() < 1e-15, "{sure:?}");
        assert_eq!(Loss::from(Family::Poisson).row(0., -800.).loss, 0.);
        let negative_binomial = Loss::from(Family::NegativeBinomial { theta: 2. }).row(3., 900.);
        assert!((negative_binomial.loss - 1800. + 5. * 2_f64.ln()).abs() < 1e-9, "{negative_binomial:?}");
        // With a huge theta it is Poisson's.
        let near = Loss::from(Family::NegativeBinomial { theta: 1e14 });
        let (found, poisson) = (near.row(3., 0.7), Loss::from(Family::Poisson).row(3., 0.7));
        assert!((found.loss - poisson.loss).abs() < 1e-12 && (found.residual - poisson.residual).abs() < 1e-12);
        assert!((near.saturated(3.) - Loss::from(Family::Poisson).saturated(3.)).abs() < 1e-12);
        let probit = Loss { family: Family::Binomial, link: Link::Probit }.row(1., -60.);
        assert!((probit.residual + 60.).abs() < 0.02 && probit.observed > 0.9, "{probit:?}");
        let hopeless = Loss { family: Family::Poisson, link: Link::Identity }.row(1., -1.);
        assert_eq!(hopeless, NOWHERE);
    }

    #[test]
    fn a_panel_is_its_rows() {
        for (loss, ys) in all() {
            let y: Vec<f64> = (0..13).map(|i| ys[i % 3]).collect();
            let eta: Vec<f64> = (0..13).map(|i| etas(loss)[(i / 3) % 3]).collect();
            let weights: Vec<f64> = (0..13).map(|i| f64::from(i % 4) * 0.5).collect();
            for kind in [Curvature::Observed, Curvature::Expected] {
                let (mut residuals, mut bends) = (eta.clone(), vec![0.; 13]);
                let found = loss.panel(&y, Some(&weights), &mut residuals, Some((kind, &mut bends)));
                let mut total = 0.;
                for i in 0..13 {
                    let row = loss.row(y[i], eta[i]);
                    let bend =
                        if kind == Curvature::Observed && row.observed >= 0. { row.observed } else { row.expected };
                    total += weights[i] * row.loss;
                    assert!(close(residuals[i], weights[i] * row.residual, 1e-14), "{loss:?}");
                    assert!(close(bends[i], weights[i] * bend, 1e-14), "{loss:?} {}: {} {bend}", y[i], bends[i]);
                }
                assert!(close(found.loss, total, 1e-13), "{loss:?}");
            }
        }
    }
}
