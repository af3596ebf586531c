//! What a parameter's values are drawn from, and how a draw is made.
//!
//! A draw depends on the search's seed, the number of the configuration and the parameter's name, and on nothing else:
//! not on what other parameters there are, nor on what was drawn before.

use std::f64::consts::TAU;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// What a parameter's values are drawn from.
///
/// | variant | a draw | range of its numbers |
/// |---|---|---|
/// | `Constant` | `value` | |
/// | `Categorical` | one of `values`, all alike or with `probabilities` | one or more values; probabilities sum to 1 |
/// | `Uniform` | uniform in [`min`, `max`] | `min` <= `max` |
/// | `LogUniform` | exp of a uniform in [ln `min`, ln `max`] | 0 < `min` <= `max` |
/// | `IntUniform` | one of `min`, `min` + `step`, ... up to `max`, all alike | `min` <= `max`, `step` 1 or more |
/// | `IntLogUniform` | exp of a uniform in [ln(`min` - 1/2), ln(`max` + 1/2)], rounded | 1 <= `min` <= `max` |
/// | `Normal` | normal of mean `mu` and standard deviation `sigma` | `sigma` above 0 |
/// | `LogNormal` | exp of such a normal | `sigma` above 0 |
///
/// With a `q`, a draw of real numbers is rounded to the nearest multiple of `q`, and of `Uniform` and `LogUniform` to
/// one within [`min`, `max`].
///
/// ```
/// use phalanx_search::space::Distribution;
/// let alpha = Distribution::LogUniform { min: 1e-4, max: 1., q: None };
/// let text = serde_json::to_string(&alpha).unwrap();
/// assert_eq!(text, r#"{"log_uniform":{"min":0.0001,"max":1.0,"q":null}}"#);
/// assert_eq!(serde_json::from_str::<Distribution>(&text).unwrap(), alpha);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Distribution {
    /// Always the same.
    Constant {
        /// The value.
        value: Value,
    },
    /// One of some values.
    Categorical {
        /// The values, in an order that grids keep.
        values: Vec<Value>,
        /// How probable each is; none where all are alike.
        #[serde(default)]
        probabilities: Option<Vec<f64>>,
    },
    /// A real number, all in a range alike.
    Uniform {
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
        /// What it is a multiple of.
        #[serde(default)]
        q: Option<f64>,
    },
    /// A real number whose logarithm is uniform.
    LogUniform {
        /// The least, itself and not its logarithm.
        min: f64,
        /// The greatest, itself and not its logarithm.
        max: f64,
        /// What it is a multiple of.
        #[serde(default)]
        q: Option<f64>,
    },
    /// A whole number, all in a range alike.
    IntUniform {
        /// The least.
        min: i64,
        /// The greatest; with a step, the greatest at most.
        max: i64,
        /// How far they are apart.
        #[serde(default = "one")]
        step: i64,
    },
    /// A whole number whose logarithm is uniform, but for its rounding.
    IntLogUniform {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A normal number.
    Normal {
        /// Its mean.
        mu: f64,
        /// Its standard deviation.
        sigma: f64,
        /// What it is a multiple of.
        #[serde(default)]
        q: Option<f64>,
    },
    /// A number whose logarithm is normal.
    LogNormal {
        /// The mean of its logarithm.
        mu: f64,
        /// The standard deviation of its logarithm.
        sigma: f64,
        /// What it is a multiple of.
        #[serde(default)]
        q: Option<f64>,
    },
}

const fn one() -> i64 {
    1
}

impl Distribution {
    /// Some values, all alike.
    pub fn choice<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::Categorical { values: values.into_iter().map(Into::into).collect(), probabilities: None }
    }

    /// The values, where they can be listed: of constants and categories.
    pub fn values(&self) -> Option<&[Value]> {
        match self {
            Self::Constant { value } => Some(std::slice::from_ref(value)),
            Self::Categorical { values, .. } => Some(values),
            _ => None,
        }
    }

    /// Checks the numbers of the table above.
    pub(crate) fn check(&self, name: &str) -> Result<()> {
        let wrong = |problem: String| Err(Error::Space { parameter: name.to_owned(), problem });
        match self {
            Self::Constant { .. } => Ok(()),
            Self::Categorical { values, .. } if values.is_empty() => Err(Error::NoValues { name: name.to_owned() }),
            Self::Categorical { values, probabilities: Some(all) } => {
                if all.len() != values.len() {
                    return wrong(format!("there are {} probabilities for {} values", all.len(), values.len()));
                }
                if let Some(one) = all.iter().find(|one| !(0. ..=1.).contains(*one)) {
                    return wrong(format!("a probability is {one}, expected 0 to 1"));
                }
                let sum: f64 = all.iter().sum();
                if (sum - 1.).abs() > 1e-6 {
                    return wrong(format!("the probabilities sum to {sum}, expected 1"));
                }
                Ok(())
            }
            Self::Categorical { probabilities: None, .. } => Ok(()),
            &Self::Uniform { min, max, q } | &Self::LogUniform { min, max, q } => {
                if !(min.is_finite() && max.is_finite() && min <= max) {
                    return wrong(format!("min is {min} and max is {max}, expected finite numbers, min not above max"));
                }
                if matches!(self, Self::LogUniform { .. }) && min <= 0. {
                    return wrong(format!("min is {min}, expected above 0 for a logarithm"));
                }
                check_q(name, q)?;
                match q {
                    Some(q) if multiples(min, max, q).is_empty() => {
                        wrong(format!("no multiple of q, {q}, is between min, {min}, and max, {max}"))
                    }
                    _ => Ok(()),
                }
            }
            &Self::IntUniform { min, max, step } => {
                if min > max {
                    return wrong(format!("min is {min} and max is {max}, expected min not above max"));
                }
                if step < 1 {
                    return wrong(format!("step is {step}, expected 1 or more"));
                }
                Ok(())
            }
            &Self::IntLogUniform { min, max } => {
                if min < 1 || min > max {
                    return wrong(format!("min is {min} and max is {max}, expected 1 <= min <= max"));
                }
                Ok(())
            }
            &Self::Normal { mu, sigma, q } | &Self::LogNormal { mu, sigma, q } => {
                if !(mu.is_finite() && sigma.is_finite() && sigma > 0.) {
                    return wrong(format!("mu is {mu} and sigma is {sigma}, expected finite numbers, sigma above 0"));
                }
                check_q(name, q)
            }
        }
    }

    /// One value.
    pub(crate) fn draw(&self, stream: &mut Stream) -> Value {
        match self {
            Self::Constant { value } => value.clone(),
            Self::Categorical { values, probabilities } => {
                let weights = probabilities.clone().unwrap_or_else(|| vec![1.; values.len()]);
                values[stream.index(&weights)].clone()
            }
            &Self::Uniform { min, max, .. } => self.value(min + (max - min) * stream.unit()),
            &Self::LogUniform { min, max, .. } => {
                let (low, high) = (libm::log(min), libm::log(max));
                self.value(libm::exp(low + (high - low) * stream.unit()))
            }
            &Self::IntUniform { min, max, step } => {
                let places = (max.abs_diff(min) / step.unsigned_abs()).saturating_add(1);
                // Whole arithmetic: a place is within the range, whatever the range is.
                let place = stream.below(places);
                min.wrapping_add_unsigned(place.wrapping_mul(step.unsigned_abs())).into()
            }
            &Self::IntLogUniform { min, max } => {
                let (low, high) = (libm::log(min as f64 - 0.5), libm::log(max as f64 + 0.5));
                self.value(libm::exp(low + (high - low) * stream.unit()))
            }
            &Self::Normal { mu, sigma, .. } => self.value(mu + sigma * stream.normal()),
            &Self::LogNormal { mu, sigma, .. } => self.value(libm::exp(mu + sigma * stream.normal())),
        }
    }

    /// The first and the last of values that are steps apart, and the step; logarithms have none.
    pub(crate) fn steps(&self) -> Option<(f64, f64, f64)> {
        match *self {
            Self::Uniform { min, max, q: Some(q) } => {
                let within = multiples(min, max, q);
                Some((within.first * q, within.last * q, q))
            }
            Self::IntUniform { min, max, step } => {
                let last = max.abs_diff(min) / step.unsigned_abs();
                Some((min as f64, min as f64 + last as f64 * step as f64, step as f64))
            }
            _ => None,
        }
    }

    /// A real number near what may be drawn as a value: within its range, rounded to its grid.
    pub(crate) fn value(&self, number: f64) -> Value {
        match *self {
            Self::Uniform { min, max, q: Some(q) } | Self::LogUniform { min, max, q: Some(q) } => {
                let within = multiples(min, max, q);
                multiple((number / q).round().clamp(within.first, within.last), q).into()
            }
            Self::Uniform { min, max, q: None } | Self::LogUniform { min, max, q: None } => {
                number.clamp(min, max).into()
            }
            Self::IntUniform { min, max, step } => {
                let last = (max.abs_diff(min) / step.unsigned_abs()) as f64;
                let place = ((number - min as f64) / step as f64).round().clamp(0., last);
                min.saturating_add((place as i64).saturating_mul(step)).min(max).into()
            }
            Self::IntLogUniform { min, max } => (number.round() as i64).clamp(min, max).into(),
            Self::Normal { q: Some(q), .. } | Self::LogNormal { q: Some(q), .. } => {
                multiple((number / q).round(), q).into()
            }
            _ => number.into(),
        }
    }
}

fn check_q(name: &str, q: Option<f64>) -> Result<()> {
    match q {
        Some(q) if !(q > 0. && q.is_finite()) => {
            Err(Error::Space { parameter: name.to_owned(), problem: format!("q is {q}, expected above 0") })
        }
        _ => Ok(()),
    }
}

/// Which multiples of a number lie in a range.
struct Multiples {
    first: f64,
    last: f64,
}

impl Multiples {
    fn is_empty(&self) -> bool {
        self.first > self.last
    }
}

fn multiples(min: f64, max: f64, q: f64) -> Multiples {
    // A bound that is a multiple but for its last bits counts.
    let near = |place: f64| if (place - place.round()).abs() < 1e-9 { Some(place.round()) } else { None };
    let (low, high) = (min / q, max / q);
    Multiples { first: near(low).unwrap_or_else(|| low.ceil()), last: near(high).unwrap_or_else(|| high.floor()) }
}

/// `place` times `q`; of tenths and the like the number that is written so, 0.3 and not 0.30000000000000004.
fn multiple(place: f64, q: f64) -> f64 {
    let parts = (1. / q).round();
    let exact = parts >= 1. && (parts * q - 1.).abs() < 1e-12;
    // A zero has no sign here.
    (if exact { place / parts } else { place * q }) + 0.
}

/// Random numbers for one parameter of one configuration.
#[derive(Debug)]
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    /// The numbers that belong to a seed, a configuration and a parameter's name.
    pub(crate) fn new(seed: u64, number: usize, name: &str) -> Self {
        // FNV-1a, which is written down and never changes.
        let name = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&(number as u64).to_le_bytes());
        key[16..24].copy_from_slice(&name.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A uniform number in [0, 1), of 53 bits.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1. / (1_u64 << 53) as f64)
    }

    /// A standard normal number, by Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        let (radius, angle) = (1. - self.unit(), self.unit());
        (-2. * libm::log(radius)).sqrt() * libm::cos(TAU * angle)
    }

    /// A whole number below `n`, which is above 0, all alike but for one part in 2^64 / n.
    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// A place of a list, as probable as its weight says.
    pub(crate) fn index(&mut self, weights: &[f64]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f64>();
        for (place, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0. {
                return place;
            }
        }
        // Rounding may leave a crumb: it belongs to the last place that can be drawn.
        weights.iter().rposition(|weight| *weight > 0.).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn draws(distribution: &Distribution, n: usize) -> Vec<Value> {
        distribution.check("p").expect("good");
        (0..n).map(|number| distribution.draw(&mut Stream::new(7, number, "p"))).collect()
    }

    fn numbers(distribution: &Distribution) -> Vec<f64> {
        draws(distribution, 4000).iter().map(|value| value.as_f64().expect("a number")).collect()
    }

    fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
        let values: Vec<f64> = values.into_iter().collect();
        values.iter().sum::<f64>() / values.len() as f64
    }

    /// Means and spreads within four standard errors of what the formulas say.
    #[test]
    fn draws_have_the_moments_of_their_distribution() {
        let close = |value: f64, expected: f64, spread: f64| {
            let bound = 4. * spread / 4000_f64.sqrt();
            assert!((value - expected).abs() < bound, "{value}, expected {expected} within {bound}");
        };
        let uniform = numbers(&Distribution::Uniform { min: -1., max: 3., q: None });
        assert!(uniform.iter().all(|x| (-1. ..=3.).contains(x)));
        close(mean(uniform), 1., 4. / 12_f64.sqrt());
        let logs = numbers(&Distribution::LogUniform { min: 1e-4, max: 1., q: None });
        assert!(logs.iter().all(|x| (1e-4..=1.).contains(x)));
        close(mean(logs.iter().map(|x| x.log10())), -2., 4. / 12_f64.sqrt());
        let normal = numbers(&Distribution::Normal { mu: 5., sigma: 2., q: None });
        close(mean(normal.iter().copied()), 5., 2.);
        close(mean(normal.iter().map(|x| (x - 5.) * (x - 5.))), 4., 4. * 2_f64.sqrt());
        close(mean(numbers(&Distribution::LogNormal { mu: 1., sigma: 0.5, q: None }).iter().map(|x| x.ln())), 1., 0.5);
        let ints = numbers(&Distribution::IntUniform { min: -2, max: 2, step: 1 });
        for whole in -2..=2 {
            close(mean(ints.iter().map(|x| f64::from(u8::from(*x == f64::from(whole))))), 0.2, 0.4);
        }
        let two = Distribution::Categorical {
            values: vec![json!("a"), json!("b"), json!("c")],
            probabilities: Some(vec![0.75, 0., 0.25]),
        };
        let drawn = draws(&two, 4000);
        assert!(!drawn.contains(&json!("b")));
        close(mean(drawn.iter().map(|x| f64::from(u8::from(*x == json!("a"))))), 0.75, 0.75_f64.sqrt() / 2.);
        let octaves = numbers(&Distribution::IntLogUniform { min: 1, max: 64 });
        assert!(octaves.iter().all(|x| x.fract() == 0. && (1. ..=64.).contains(x)));
        let below = (8.5_f64 / 0.5).ln() / (64.5_f64 / 0.5).ln();
        close(mean(octaves.iter().map(|x| f64::from(u8::from(*x <= 8.)))), below, 0.5);
    }

    #[test]
    fn steps_are_kept_and_written_as_people_write_them() {
        let tenths: std::collections::BTreeSet<String> =
            draws(&Distribution::Uniform { min: 0.1, max: 0.45, q: Some(0.1) }, 200)
                .iter()
                .map(Value::to_string)
                .collect();
        assert_eq!(Vec::from_iter(tenths), ["0.1", "0.2", "0.3", "0.4"]);
        let steps: std::collections::BTreeSet<i64> = draws(&Distribution::IntUniform { min: 1, max: 12, step: 5 }, 200)
            .iter()
            .map(|value| value.as_i64().expect("whole"))
            .collect();
        assert_eq!(Vec::from_iter(steps), [1, 6, 11]);
        let whole = draws(&Distribution::Normal { mu: 0., sigma: 3., q: Some(2.) }, 50);
        assert!(whole.iter().all(|value| value.as_f64().expect("a number") % 2. == 0.), "{whole:?}");
        let far = Distribution::IntUniform { min: i64::MIN, max: i64::MAX, step: 1 };
        assert!(draws(&far, 100).iter().all(Value::is_i64));
    }

    /// A list of trials is a promise to who comes back to it.
    #[test]
    fn draws_are_the_same_for_ever() {
        let drawn = |number| {
            let mut stream = Stream::new(0, number, "alpha");
            (stream.unit(), Distribution::IntUniform { min: 0, max: 99, step: 1 }.draw(&mut stream))
        };
        assert_eq!(drawn(0), drawn(0));
        assert_ne!(drawn(0), drawn(1));
        assert_ne!(Stream::new(0, 0, "alpha").unit(), Stream::new(1, 0, "alpha").unit());
        assert_ne!(Stream::new(0, 0, "alpha").unit(), Stream::new(0, 0, "beta").unit());
    }

    #[test]
    fn what_cannot_be_drawn_is_refused_with_its_numbers() {
        let refused = |distribution: Distribution| distribution.check("alpha").expect_err("refused").to_string();
        assert_eq!(
            refused(Distribution::Uniform { min: 2., max: 1., q: None }),
            "parameter alpha: min is 2 and max is 1, expected finite numbers, min not above max"
        );
        assert_eq!(
            refused(Distribution::LogUniform { min: 0., max: 1., q: None }),
            "parameter alpha: min is 0, expected above 0 for a logarithm"
        );
        assert_eq!(
            refused(Distribution::Uniform { min: 0.1, max: 0.2, q: Some(1.) }),
            "parameter alpha: no multiple of q, 1, is between min, 0.1, and max, 0.2"
        );
        assert_eq!(
            refused(Distribution::Normal { mu: 0., sigma: 0., q: None }),
            "parameter alpha: mu is 0 and sigma is 0, expected finite numbers, sigma above 0"
        );
        let halves =
            Distribution::Categorical { values: vec![json!(1), json!(2)], probabilities: Some(vec![0.5, 0.6]) };
        assert_eq!(refused(halves), "parameter alpha: the probabilities sum to 1.1, expected 1");
        assert_eq!(
            refused(Distribution::choice(Vec::<f64>::new())),
            "the grid gives no values for alpha, expected at least one"
        );
        assert_eq!(
            refused(Distribution::IntLogUniform { min: 0, max: 4 }),
            "parameter alpha: min is 0 and max is 4, expected 1 <= min <= max"
        );
    }
}
