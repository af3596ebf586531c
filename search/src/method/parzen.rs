//! Densities of a parameter's good and bad values, for the tree-structured Parzen estimator.
//!
//! Real and whole parameters have a mixture of truncated normals, one around each value that was seen and one around the
//! middle of the range; categories have counts. Logarithmic parameters live in their logarithm. Knows one parameter and
//! the values of it, nothing of scores.

use serde_json::Value;

use crate::space::{Distribution, Stream, same};

/// The density of a parameter, by values that were seen of it.
#[derive(Debug)]
pub(super) enum Parzen {
    /// The probability of each category.
    Categories(Vec<f64>),
    Numbers(Mixture),
}

/// Truncated normals over an axis, which may be a logarithm's.
#[derive(Debug)]
pub(super) struct Mixture {
    axis: Axis,
    kernels: Vec<Kernel>,
}

/// The axis of a numeric parameter: its range, how far values are apart, and whether it is of logarithms.
#[derive(Debug, Clone, Copy)]
struct Axis {
    low: f64,
    high: f64,
    step: Option<f64>,
    is_log: bool,
    /// Where values are expected before any is seen, and how far around.
    prior: (f64, f64),
}

#[derive(Debug, Clone, Copy)]
struct Kernel {
    mu: f64,
    sigma: f64,
    weight: f64,
    /// Its mass below `low` and below `high`.
    below: (f64, f64),
    /// The logarithm of what stands before the exponential: weight / (sigma * mass within the range).
    log_scale: f64,
}

impl Parzen {
    /// The density by the values seen, in the order in which they were tried: the latest 25 count alike, the others the
    /// less the older they are (Optuna's `default_weights`).
    pub(super) fn new(distribution: &Distribution, seen: &[&Value], prior_weight: f64) -> Self {
        let mut weights = weights(seen.len());
        weights.push(if seen.is_empty() { 1. } else { prior_weight });
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        match Axis::of(distribution) {
            None => Self::Categories(categories(distribution, seen, &weights, prior_weight)),
            Some(axis) => {
                let places: Vec<f64> = seen.iter().filter_map(|value| axis.place(value)).collect();
                // A value of another kind, given by hand, says nothing of numbers.
                let weights = if places.len() == seen.len() { weights } else { vec![1.; places.len() + 1] };
                Self::Numbers(Mixture::new(axis, &places, &weights))
            }
        }
    }

    /// A draw: a place of the categories, or a number on the axis.
    pub(super) fn draw(&self, stream: &mut Stream) -> f64 {
        match self {
            Self::Categories(probabilities) => stream.index(probabilities) as f64,
            Self::Numbers(mixture) => mixture.draw(stream),
        }
    }

    /// The logarithm of the density at a draw.
    pub(super) fn log_density(&self, draw: f64) -> f64 {
        match self {
            Self::Categories(probabilities) => libm::log(probabilities[draw as usize]),
            Self::Numbers(mixture) => mixture.log_density(draw),
        }
    }

    /// The value that a draw stands for.
    pub(super) fn value(&self, distribution: &Distribution, draw: f64) -> Value {
        match self {
            Self::Categories(_) => {
                distribution.values().and_then(|values| values.get(draw as usize)).cloned().unwrap_or_default()
            }
            Self::Numbers(mixture) => distribution.value(mixture.axis.number(draw)),
        }
    }
}

/// What each of n values weighs, the oldest first.
fn weights(n: usize) -> Vec<f64> {
    let n_ramp = n.saturating_sub(25);
    // From 1/n to 1, both ends included, as NumPy's `linspace`.
    let ramp = (0..n_ramp).map(|i| {
        let least = 1. / n as f64;
        if n_ramp == 1 { least } else { least + (1. - least) * i as f64 / (n_ramp - 1) as f64 }
    });
    ramp.chain(std::iter::repeat_n(1., n - n_ramp)).collect()
}

/// Each value seen is a kernel that has its own category and a little of all others; what it gives to others follows
/// their probabilities in the space.
fn categories(distribution: &Distribution, seen: &[&Value], weights: &[f64], prior_weight: f64) -> Vec<f64> {
    let values = distribution.values().unwrap_or_default();
    let prior = match distribution {
        Distribution::Categorical { probabilities: Some(all), .. } => all.clone(),
        _ => vec![1. / values.len() as f64; values.len()],
    };
    let n_kernels = weights.len() as f64;
    let share = prior_weight / n_kernels * values.len() as f64;
    let mut mixed: Vec<f64> = prior.iter().map(|p| weights[seen.len()] * p).collect();
    for (seen, weight) in seen.iter().zip(weights) {
        let place = values.iter().position(|value| same(value, seen));
        let total = share + f64::from(u8::from(place.is_some()));
        for (category, (mixed, prior)) in mixed.iter_mut().zip(&prior).enumerate() {
            let own = f64::from(u8::from(place == Some(category)));
            *mixed += weight * (share * prior + own) / total;
        }
    }
    mixed
}

impl Axis {
    /// None for what has no axis: categories and constants.
    fn of(distribution: &Distribution) -> Option<Self> {
        let range = |low: f64, high: f64, step: Option<f64>, is_log: bool| Self {
            low,
            high,
            step,
            is_log,
            prior: (f64::midpoint(low, high), high - low),
        };
        Some(match *distribution {
            Distribution::Constant { .. } | Distribution::Categorical { .. } => return None,
            Distribution::Uniform { q: Some(_), .. } | Distribution::IntUniform { .. } => {
                let (first, last, step) = distribution.steps()?;
                // Half a step around, so that the outermost values are as wide as the others.
                range(first - step / 2., last + step / 2., Some(step), false)
            }
            Distribution::Uniform { min, max, q: None } => range(min, max, None, false),
            Distribution::LogUniform { min, max, .. } => range(libm::log(min), libm::log(max), None, true),
            Distribution::IntLogUniform { min, max } => {
                range(libm::log(min as f64 - 0.5), libm::log(max as f64 + 0.5), None, true)
            }
            Distribution::Normal { mu, sigma, q } => {
                Self { low: f64::NEG_INFINITY, high: f64::INFINITY, step: q, is_log: false, prior: (mu, sigma) }
            }
            Distribution::LogNormal { mu, sigma, .. } => {
                Self { low: f64::NEG_INFINITY, high: f64::INFINITY, step: None, is_log: true, prior: (mu, sigma) }
            }
        })
    }

    /// Where a value is on the axis; none for what is no number of it.
    fn place(&self, value: &Value) -> Option<f64> {
        let number = value.as_f64()?;
        let place = if self.is_log { libm::log(number) } else { number };
        (!place.is_nan()).then(|| place.clamp(self.low.max(-f64::MAX), self.high.min(f64::MAX)))
    }

    /// The number that stands at a place.
    fn number(&self, place: f64) -> f64 {
        if self.is_log { libm::exp(place) } else { place }
    }
}

impl Mixture {
    /// A kernel around each place and one around the middle of the range, as wide as the range. A kernel is as wide as
    /// the way to its farther neighbour, among them the middle (Bergstra et al. 2011, section 4.2; at the outer ends the
    /// way to the only neighbour, where there are two or more), but not narrower than the range / min(100, 2 + n)
    /// (the "magic clip" of hyperopt and Optuna, n the number of places) nor wider than the range.
    fn new(axis: Axis, places: &[f64], weights: &[f64]) -> Self {
        let (middle, range) = axis.prior;
        let mut sorted: Vec<(f64, usize)> = places.iter().copied().zip(0..).collect();
        sorted.push((middle, places.len()));
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (least, n) = (range / 100_f64.min(2. + places.len() as f64), sorted.len());
        let mut sigmas = vec![range; n];
        for (at, &(place, number)) in sorted.iter().enumerate() {
            let before = if at > 0 { sorted[at - 1].0 } else { axis.low };
            let after = if at + 1 < n { sorted[at + 1].0 } else { axis.high };
            let sigma = match (place - before, after - place) {
                (_, after) if at == 0 && n > 1 => after,
                (before, _) if at + 1 == n && n > 1 => before,
                (before, after) => before.max(after),
            };
            sigmas[number] = sigma.clamp(least, range);
        }
        sigmas[places.len()] = range;
        let kernels = places.iter().copied().chain([middle]).zip(sigmas).zip(weights).map(|((mu, sigma), &weight)| {
            // A range of one number leaves no width: any will do.
            let sigma = if sigma > 0. { sigma } else { 1. };
            let below = (mass((axis.low - mu) / sigma), mass((axis.high - mu) / sigma));
            let within = (below.1 - below.0).max(f64::MIN_POSITIVE);
            Kernel { mu, sigma, weight, below, log_scale: libm::log(weight / (sigma * within)) }
        });
        Self { axis, kernels: kernels.collect() }
    }

    fn draw(&self, stream: &mut Stream) -> f64 {
        let weights: Vec<f64> = self.kernels.iter().map(|kernel| kernel.weight).collect();
        let kernel = self.kernels[stream.index(&weights)];
        let (low, high) = kernel.below;
        let place = kernel.mu + kernel.sigma * quantile(low + (high - low) * stream.unit());
        let place = place.clamp(self.axis.low, self.axis.high);
        let Some(step) = self.axis.step else { return place };
        // The range begins and ends half a step beside the outermost values; without one, steps count from 0.
        if !self.axis.low.is_finite() {
            return (place / step).round() * step;
        }
        let first = self.axis.low + step / 2.;
        let last = ((self.axis.high - self.axis.low) / step).round() - 1.;
        first + ((place - first) / step).round().clamp(0., last) * step
    }

    fn log_density(&self, place: f64) -> f64 {
        if let Some(step) = self.axis.step {
            let (low, high) = (self.axis.low.max(place - step / 2.), self.axis.high.min(place + step / 2.));
            let share = |kernel: &Kernel| {
                let of_step = mass((high - kernel.mu) / kernel.sigma) - mass((low - kernel.mu) / kernel.sigma);
                kernel.weight * of_step / (kernel.below.1 - kernel.below.0).max(f64::MIN_POSITIVE)
            };
            return libm::log(self.kernels.iter().map(share).sum::<f64>().max(f64::MIN_POSITIVE));
        }
        // The normal's constant is in every density alike, and cancels.
        let log = |kernel: &Kernel| {
            let z = (place - kernel.mu) / kernel.sigma;
            kernel.log_scale - 0.5 * z * z
        };
        let most = self.kernels.iter().map(log).fold(f64::NEG_INFINITY, f64::max);
        if most == f64::NEG_INFINITY {
            return most;
        }
        // What is e^-40 of the largest decides nothing.
        let terms = self.kernels.iter().map(|kernel| log(kernel) - most).filter(|term| *term > -40.);
        most + libm::log(terms.map(libm::exp).sum::<f64>())
    }
}

/// The standard normal distribution function.
fn mass(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

/// Its inverse, by halving: where a density is drawn from, 1e-12 is more than enough.
fn quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-9., 9.);
    for _ in 0..45 {
        let middle = f64::midpoint(low, high);
        if mass(middle) < p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn density(distribution: &Distribution, seen: &[Value]) -> Parzen {
        Parzen::new(distribution, &seen.iter().collect::<Vec<_>>(), 1.)
    }

    #[test]
    fn weights_are_optunas() {
        assert_eq!(weights(3), [1., 1., 1.]);
        let ramp = weights(28);
        assert_eq!((ramp[0], ramp[1], ramp[2], ramp[3]), (1. / 28., 1. / 28. + (27. / 28.) / 2., 1., 1.));
        assert_eq!(weights(0), [0.; 0]);
    }

    #[test]
    fn kernels_have_the_widths_of_their_neighbours() {
        let axis = Distribution::Uniform { min: 0., max: 10., q: None };
        let Parzen::Numbers(mixture) = density(&axis, &[json!(1), json!(9), json!(4)]) else { panic!("numbers") };
        // Sorted with the middle: 1, 4, 5, 9; the least is 10 / min(100, 2 + 3) = 2.
        let sigmas: Vec<f64> = mixture.kernels.iter().map(|kernel| kernel.sigma).collect();
        assert_eq!(sigmas, [3., 4., 3., 10.]);
        assert!(mixture.kernels.iter().all(|kernel| kernel.weight == 0.25));
    }

    /// A density is one: its sum over the range is 1, but for the normal's constant where there are no steps.
    #[test]
    fn densities_sum_to_one() {
        let whole = Distribution::IntUniform { min: 3, max: 21, step: 3 };
        let seen = [json!(6), json!(6), json!(18)];
        let steps = density(&whole, &seen);
        let sum: f64 = (1..=7).map(|step| steps.log_density(f64::from(3 * step)).exp()).sum();
        assert!((sum - 1.).abs() < 1e-12, "{sum}");
        let logs = density(&Distribution::LogUniform { min: 1e-3, max: 10., q: None }, &[json!(0.1), json!(0.2)]);
        let (low, high) = (1e-3_f64.ln(), 10_f64.ln());
        let n = 20_000;
        let width = (high - low) / f64::from(n);
        let sum: f64 = (0..n).map(|i| logs.log_density(low + (f64::from(i) + 0.5) * width).exp() * width).sum();
        assert!((sum / (2. * std::f64::consts::PI).sqrt() - 1.).abs() < 1e-6, "{sum}");
        let words = Distribution::Categorical {
            values: vec![json!("a"), json!("b"), json!("c")],
            probabilities: Some(vec![0.5, 0.25, 0.25]),
        };
        let Parzen::Categories(all) = density(&words, &[json!("b"), json!("b")]) else { panic!("categories") };
        assert!((all.iter().sum::<f64>() - 1.).abs() < 1e-12 && all[1] > all[0] && all[0] > all[2], "{all:?}");
    }

    #[test]
    fn draws_follow_the_density_and_stay_in_the_range() {
        let axis = Distribution::Uniform { min: 0., max: 1., q: None };
        let near = density(&axis, &vec![json!(0.8); 40]);
        let draws: Vec<f64> = (0..2000).map(|i| near.draw(&mut Stream::new(1, i, "x"))).collect();
        assert!(draws.iter().all(|x| (0. ..=1.).contains(x)));
        let close = draws.iter().filter(|x| (**x - 0.8).abs() < 0.1).count();
        assert!(close > 1800, "{close}");
        let whole = Distribution::IntUniform { min: 1, max: 4, step: 1 };
        let parzen = density(&whole, &[json!(2)]);
        for i in 0..200 {
            let value = parzen.value(&whole, parzen.draw(&mut Stream::new(1, i, "x")));
            assert!((1..=4).contains(&value.as_i64().expect("whole")), "{value}");
        }
        let free = Distribution::Normal { mu: 100., sigma: 1., q: None };
        let draw = density(&free, &[]).draw(&mut Stream::new(1, 0, "x"));
        assert!((draw - 100.).abs() < 9., "{draw}");
        let one = Distribution::Uniform { min: 2., max: 2., q: None };
        let parzen = density(&one, &[json!(2.)]);
        assert_eq!(parzen.value(&one, parzen.draw(&mut Stream::new(1, 0, "x"))), json!(2.));
    }
}
