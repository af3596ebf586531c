//! The tree-structured Parzen estimator: what the good configurations have and the others have not.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{check_positive, out_of_range, parzen::Parzen};
use crate::{
    Result,
    space::{Distribution, Params, Space, Stream},
};

/// The tree-structured Parzen estimator (Bergstra, Bardenet, Bengio, Kégl 2011, "Algorithms for hyper-parameter
/// optimization", section 4), with the numbers that Optuna documents for its `TPESampler`.
///
/// Of n configurations with scores the best min(ceil(n / 10), 25) are the good ones. For each parameter, l(x) is a
/// density of the values that the good ones have and g(x) of those of the others: mixtures of truncated normals around
/// the values, or smoothed counts of categories. Of `n_ei_candidates` draws from l the one with the greatest l(x) / g(x)
/// is taken, which has the greatest expected improvement. Parameters are taken one by one, so one that is there only
/// under a condition learns from those that had it. What failed is the worst.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `n_trials` | 100 | how many configurations | 1 or more |
/// | `n_startup_trials` | 10 | how many are drawn from the space before there is a model | 0 or more |
/// | `n_ei_candidates` | 24 | draws from the good density, of which the best is taken | 1 or more |
/// | `prior_weight` | 1 | what the range itself weighs beside one value | above 0 |
/// | `batch_size` | 4 | configurations proposed from the same scores, which can run side by side | 1 or more |
///
/// Each batch follows from the scores of all batches before it, whichever workers gave them and when. A smaller one
/// learns more from each score and keeps fewer workers busy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tpe {
    /// How many configurations.
    pub n_trials: usize,
    /// How many are drawn from the space before there is a model.
    pub n_startup_trials: usize,
    /// Draws from the good density, of which the best is taken.
    pub n_ei_candidates: usize,
    /// What the range itself weighs beside one value.
    pub prior_weight: f64,
    /// Configurations proposed from the same scores.
    pub batch_size: usize,
}

impl Default for Tpe {
    fn default() -> Self {
        Self { n_trials: 100, n_startup_trials: 10, n_ei_candidates: 24, prior_weight: 1., batch_size: 4 }
    }
}

impl Tpe {
    /// So many configurations.
    pub fn new(n_trials: usize) -> Self {
        Self { n_trials, ..Self::default() }
    }

    /// Sets how many are drawn from the space before there is a model.
    #[must_use]
    pub const fn n_startup_trials(mut self, n_startup_trials: usize) -> Self {
        self.n_startup_trials = n_startup_trials;
        self
    }

    /// Sets how many draws from the good density there are.
    #[must_use]
    pub const fn n_ei_candidates(mut self, n_ei_candidates: usize) -> Self {
        self.n_ei_candidates = n_ei_candidates;
        self
    }

    /// Sets how many configurations are proposed from the same scores.
    #[must_use]
    pub const fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        check_positive("n_ei_candidates", self.n_ei_candidates)?;
        check_positive("batch_size", self.batch_size)?;
        if !(self.prior_weight > 0. && self.prior_weight.is_finite()) {
            return Err(out_of_range("prior_weight", self.prior_weight, "above 0"));
        }
        Ok(())
    }

    /// A configuration by what is known: numbers with their parameters, the best first.
    pub(super) fn propose(&self, space: &Space, seed: u64, number: usize, ranked: &[(usize, &Params)]) -> Params {
        let (good, bad) = ranked.split_at(n_good(ranked.len()));
        let (good, bad) = (by_age(good), by_age(bad));
        space.resolve(|name, distribution| {
            if let Distribution::Constant { value } = distribution {
                return value.clone();
            }
            let values = |of: &[(usize, &Params)]| {
                let seen: Vec<&Value> = of.iter().filter_map(|(_, params)| params.get(name)).collect();
                Parzen::new(distribution, &seen, self.prior_weight)
            };
            let (l, g) = (values(&good), values(&bad));
            let mut stream = Stream::new(seed, number, name);
            let mut best = (f64::NEG_INFINITY, None);
            for _ in 0..self.n_ei_candidates {
                let draw = l.draw(&mut stream);
                let gain = l.log_density(draw) - g.log_density(draw);
                if gain > best.0 || best.1.is_none() {
                    best = (gain, Some(draw));
                }
            }
            best.1.map_or_else(|| distribution.draw(&mut stream), |draw| l.value(distribution, draw))
        })
    }
}

/// By age, which weights go by.
fn by_age<'a>(ranked: &[(usize, &'a Params)]) -> Vec<(usize, &'a Params)> {
    let mut aged = ranked.to_vec();
    aged.sort_by_key(|(number, _)| *number);
    aged
}

/// Of n configurations so many are good.
fn n_good(n: usize) -> usize {
    n.div_ceil(10).min(25)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_good_and_at_most_25() {
        assert_eq!([0, 1, 10, 11, 250, 251, 1000].map(n_good), [0, 1, 1, 2, 25, 25, 25]);
    }

    #[test]
    fn what_the_good_have_is_proposed() {
        let space = Space::new().uniform("x", 0., 1.).choice("kind", ["a", "b", "c"]);
        let known: Vec<Params> = (0..50).map(|number| space.sample(1, number)).collect();
        let loss = |params: &Params| {
            let x = params["x"].as_f64().unwrap_or_default();
            (x - 0.3).abs() + if params["kind"] == "b" { 0. } else { 0.5 }
        };
        let mut ranked: Vec<(usize, &Params)> = known.iter().enumerate().collect();
        ranked.sort_by(|a, b| loss(a.1).total_cmp(&loss(b.1)));
        let proposed: Vec<Params> =
            (50..150).map(|number| Tpe::default().propose(&space, 1, number, &ranked)).collect();
        let mean = proposed.iter().map(loss).sum::<f64>() / 100.;
        let drawn = (50..150).map(|number| loss(&space.sample(1, number))).sum::<f64>() / 100.;
        assert!(mean < drawn / 4., "{mean}, by draws {drawn}");
    }
}
