//! The log-likelihood as a function of the family's own parameter, with its derivatives: what theta of the negative
//! binomial and the power of Tweedie's families are estimated by, at means that stay where they are.
//!
//! Formulas: W. Venables, B. Ripley, *Modern Applied Statistics with S*, 4th ed. (2002), section 7.4, for theta;
//! P. Dunn, G. Smyth, "Series evaluation of Tweedie exponential dispersion model densities" (2005), sections 2 and 4,
//! for the power: the density is a sum over how many gamma sizes there were, whose terms have these derivatives each.

use phalanx_array::{
    kernel::inlined::gemv,
    panel::{Combine, PANEL, Subtrees},
    simd,
};
use serde::{Deserialize, Serialize};

use super::{Panel, Rows, evaluate::add_constants};
use crate::{
    family::Family,
    link::Link,
    solver::Coordinates,
    special::{digamma, trigamma},
};

/// Terms of the series below this logarithm of their share are left out: together they are below rounding.
const NEGLIGIBLE: f64 = -40.;

/// Up to here the logarithms of a whole y's factors are added one by one, which loses no digits where theta is large.
const FEW: f64 = 64.;

/// What a family's own parameters are, as an optimiser sees them, and where the means are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShapeAt {
    /// The family with the parameter to look at.
    pub family: Family,
    /// The dispersion, of Tweedie's families.
    pub dispersion: f64,
    /// The link.
    pub link: Link,
    /// Where the working coordinates lie.
    pub coordinates: std::sync::Arc<Coordinates>,
    /// The model whose means they are, in working coordinates, the intercept first.
    pub point: Vec<f64>,
}

/// The log-likelihood and its derivatives, summed over some rows.
///
/// The negative binomial has one parameter, ln theta; Tweedie's families have two, the power and ln dispersion.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Shape {
    /// The log-likelihood.
    pub log_likelihood: f64,
    /// Its first derivatives; 0 for a parameter that there is not.
    pub first: [f64; 2],
    /// Its second ones: of the first parameter, of both, of the second.
    pub second: [f64; 3],
}

impl Combine for Shape {
    fn combine(self, right: Self) -> Self {
        self.plus(right, 1.)
    }
}

impl Shape {
    fn plus(self, other: Self, weight: f64) -> Self {
        let ([a, b], [c, d]) = (self.first, other.first);
        let ([aa, ab, bb], [cc, cd, dd]) = (self.second, other.second);
        Self {
            log_likelihood: self.log_likelihood + weight * other.log_likelihood,
            first: [a + weight * c, b + weight * d],
            second: [aa + weight * cc, ab + weight * cd, bb + weight * dd],
        }
    }

    fn of_row(at: &ShapeAt, y: f64, mu: f64) -> Self {
        match at.family {
            Family::NegativeBinomial { theta } => negative_binomial(theta, y, mu),
            Family::Tweedie { power } => tweedie(power, at.dispersion, y, mu),
            _ => Self::default(),
        }
    }
}

impl Rows<'_> {
    /// The sums of every panel, combined as far as these rows allow; none without rows.
    pub(crate) fn shape(self, at: &ShapeAt) -> Option<Subtrees<Shape>> {
        let mut design = Vec::with_capacity(PANEL * at.point.len());
        let panels = self.panels().map(|panel| shape_panel(at, panel, &mut design));
        Subtrees::from_panels(self.first_panel, panels)
    }
}

fn shape_panel(at: &ShapeAt, panel: Panel<'_>, design: &mut Vec<f64>) -> Shape {
    let n = panel.y.len();
    let mut eta = [0.; PANEL];
    let eta = &mut eta[..n];
    simd::dispatch(
        #[inline(always)]
        || {
            at.coordinates.write_rows(panel.x, n, design);
            gemv(design, &at.point, eta);
        },
    );
    add_constants(eta, 0., panel.offset);
    let mut sums = Shape::default();
    for (i, (y, eta)) in panel.y.iter().zip(&*eta).enumerate() {
        let weight = panel.weights.map_or(1., |weights| weights[i]);
        if weight > 0. {
            sums = sums.plus(Shape::of_row(at, *y, at.link.mean(*eta)), weight);
        }
    }
    sums
}

fn negative_binomial(theta: f64, y: f64, mu: f64) -> Shape {
    let log = (mu / theta).ln_1p();
    // ln Γ(y + theta) - ln Γ(theta) - y ln theta, and the first two derivatives without the last term.
    let (rise, first, second) = if y <= FEW && y.fract() == 0. {
        (0..y as u32).fold((0., 0., 0.), |(rise, first, second), k| {
            let k = f64::from(k);
            let inverse = 1. / (theta + k);
            (rise + (k / theta).ln_1p(), first + inverse, second - inverse * inverse)
        })
    } else {
        let rise = libm::lgamma(y + theta) - libm::lgamma(theta) - y * theta.ln();
        (rise, digamma(y + theta) - digamma(theta), trigamma(y + theta) - trigamma(theta))
    };
    let of_y = if y > 0. { y * mu.ln() } else { 0. };
    let total = mu + theta;
    let score = first - log + (mu - y) / total;
    let bend = second + mu / (theta * total) + (y - mu) / (total * total);
    Shape {
        log_likelihood: rise - libm::lgamma(y + 1.) + of_y - (y + theta) * log,
        first: [theta * score, 0.],
        second: [theta * (score + theta * bend), 0., 0.],
    }
}

fn tweedie(p: f64, dispersion: f64, y: f64, mu: f64) -> Shape {
    let log = mu.ln();
    // The exponent over the dispersion, y mu^(1-p) / (1-p) - mu^(2-p) / (2-p), and its derivatives by p.
    let falls = |value: f64, to: f64| {
        let first = value * (1. / to - log);
        [value, first, first * (1. / to - log) + value / (to * to)]
    };
    let size = falls(y * ((1. - p) * log).exp() / (1. - p), 1. - p);
    let count = falls(((2. - p) * log).exp() / (2. - p), 2. - p);
    let [value, first, second] = [0, 1, 2].map(|k| (size[k] - count[k]) / dispersion);
    let exponent = Shape { log_likelihood: value, first: [first, -value], second: [second, -first, value] };
    if y > 0. { exponent.plus(series(p, dispersion, y), 1.) } else { exponent }
}

/// The logarithm of the density's series over y, and its derivatives.
fn series(p: f64, dispersion: f64, y: f64) -> Shape {
    // A sum of j gamma sizes has the shape j a; 1 / (p - 1) is 1 + a.
    let (up, down) = (p - 1., 2. - p);
    let a = down / up;
    let (first_a, second_a) = (-1. / (up * up), 2. / (up * up * up));
    let (log_y, log_up, log_dispersion) = (y.ln(), up.ln(), dispersion.ln());
    // The logarithm of term j is j z - ln j! - ln Γ(j a).
    let base = log_y - log_up - log_dispersion;
    let z = a * base - log_dispersion - down.ln();
    let first_z = first_a * base - a / up + 1. / down;
    let second_z = second_a * base - 2. * first_a / up + a / (up * up) + 1. / (down * down);
    let term = |j: f64| j * z - libm::lgamma(j + 1.) - libm::lgamma(j * a);
    let peak = ((2. - p) * log_y - log_dispersion - down.ln()).exp().round().max(1.);
    let (top, mut sums) = (term(peak), [0.; 7]);
    let mut add = |j: f64| {
        let above = term(j) - top;
        let share = above.exp();
        let (psi, psi_1) = (digamma(j * a), trigamma(j * a));
        let by_p = j * (first_z - first_a * psi);
        let bend = j * (second_z - second_a * psi - first_a * first_a * j * psi_1);
        let values = [1., by_p, by_p * by_p, bend, j, j * j, j * by_p];
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += share * value);
        above
    };
    // The terms rise to the peak and fall beyond it.
    let mut j = peak;
    while add(j) > NEGLIGIBLE {
        j += 1.;
    }
    j = peak - 1.;
    while j >= 1. && add(j) > NEGLIGIBLE {
        j -= 1.;
    }
    let [total, sums @ ..] = sums;
    let [by_p, square, bend, count, count_square, cross] = sums.map(|sum| sum / total);
    // The derivative of term j by ln dispersion is -j (1 + a), whose derivative by p is -j a'.
    let scale = 1. + a;
    Shape {
        log_likelihood: top + total.ln() - log_y,
        first: [by_p, -scale * count],
        second: [
            bend + square - by_p * by_p,
            -first_a * count - scale * (cross - count * by_p),
            scale * scale * (count_square - count * count),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, tolerance: f64) -> bool {
        (a - b).abs() <= tolerance * (1. + a.abs().max(b.abs()))
    }

    /// The derivatives against differences of the value, both by an optimiser's parameters.
    fn check(value: impl Fn(f64, f64) -> Shape, [u, v]: [f64; 2], what: &str) {
        let h = 1e-4;
        let at = value(u, v);
        let [left, right, low, high] = [value(u - h, v), value(u + h, v), value(u, v - h), value(u, v + h)];
        let slope = |a: Shape, b: Shape| (b.log_likelihood - a.log_likelihood) / (2. * h);
        assert!(close(slope(left, right), at.first[0], 2e-6), "{what} {at:?} {}", slope(left, right));
        assert!(close(slope(low, high), at.first[1], 2e-6), "{what} {at:?} {}", slope(low, high));
        let bend = |k: usize, a: Shape, b: Shape| (b.first[k] - a.first[k]) / (2. * h);
        let bends = [bend(0, left, right), bend(1, left, right), bend(1, low, high)];
        assert!(bends.iter().zip(at.second).all(|(a, b)| close(*a, b, 2e-5)), "{what} {at:?} {bends:?}");
    }

    #[test]
    fn the_derivatives_are_those_of_the_likelihood() {
        for (y, mu) in [(0., 0.7), (1., 3.), (7., 2.5), (90., 60.), (2.5, 3.)] {
            for theta in [0.2_f64, 3., 500.] {
                check(|u, _| negative_binomial(u.exp(), y, mu), [theta.ln(), 0.], &format!("{y} {mu} {theta}"));
            }
            for (p, dispersion) in [(1.2, 0.8_f64), (1.5, 2.), (1.85, 0.1)] {
                check(|u, v| tweedie(u, v.exp(), y, mu), [p, dispersion.ln()], &format!("{y} {mu} {p} {dispersion}"));
            }
        }
    }

    #[test]
    fn the_negative_binomial_is_the_likelihood_that_its_parts_make() {
        for (y, theta) in [(3., 1.7), (64., 0.3), (65., 0.3), (4.5, 2.)] {
            let mu = 2.2_f64;
            let rise = libm::lgamma(y + theta) - libm::lgamma(theta) - libm::lgamma(y + 1.);
            let expected = rise + theta * (theta / (mu + theta)).ln() + y * (mu / (mu + theta)).ln();
            assert!(close(negative_binomial(theta, y, mu).log_likelihood, expected, 1e-13), "{y} {theta}");
        }
    }

    /// By `scipy.special.wright_bessel`, as statsmodels' `Tweedie(eql=False).loglike_obs` has it.
    #[test]
    fn tweedies_density_is_statsmodels() {
        for (p, dispersion, y, mu, expected) in TWEEDIE {
            let found = tweedie(p, dispersion, y, mu).log_likelihood;
            assert!(close(found, expected, 1e-12), "{p} {dispersion} {y} {mu}: {found} {expected}");
        }
    }

    const TWEEDIE: [(f64, f64, f64, f64, f64); 5] = [
        (1.2, 0.8, 0.0, 0.7, -1.174_622_885_390_696),
        (1.5, 2.0, 3.0, 2.5, -2.234_740_066_827_044_7),
        (1.5, 0.05, 40.0, 20.0, -32.880_362_852_540_26),
        (1.85, 0.1, 2.0, 3.0, -1.249_844_586_854_862_9),
        (1.1, 1.5, 7.3, 6.0, -2.309_789_368_874_419_3),
    ];
}
