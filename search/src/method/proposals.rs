//! Where configurations come from: a list, draws, or a model of the scores so far.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{check_positive, tpe::Tpe};
use crate::{
    Error, Result,
    space::{Params, Space},
};

/// Where a method's configurations come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proposals {
    /// All combinations of the listed values, in their order.
    Grid,
    /// Draws.
    Random(Random),
    /// Configurations that look like the good ones so far; its `batch_size` is then the method's.
    Tpe(Tpe),
}

/// Configurations drawn from the space, as scikit-learn's `RandomizedSearchCV`.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `n_trials` | 10 | how many configurations | 1 or more |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Random {
    /// How many configurations.
    pub n_trials: usize,
}

impl Default for Random {
    fn default() -> Self {
        Self { n_trials: 10 }
    }
}

impl Random {
    /// So many draws.
    pub const fn new(n_trials: usize) -> Self {
        Self { n_trials }
    }
}

/// The configurations of a search by their numbers.
#[derive(Debug)]
pub(super) struct Source {
    /// Those that were given, and of a grid all others too.
    listed: Vec<Params>,
    space: Space,
    seed: u64,
    n_configs: usize,
    model: Option<Tpe>,
}

impl Source {
    pub(super) fn new(proposals: Proposals, space: &Space, seed: u64, given: &[Params]) -> Result<Self> {
        if !space.is_empty() || given.is_empty() {
            space.check()?;
        }
        let complete = given.iter().enumerate().map(|(number, params)| space.sample_with(seed, number, params));
        let mut listed: Vec<Params> = complete.collect();
        let (n_configs, model) = match proposals {
            Proposals::Grid => {
                // What is given has its own draws of what it leaves open, so it is compared as it will be tried.
                let given: Vec<Value> = listed.iter().cloned().map(Value::from_iter).collect();
                let grid = space.grid()?.into_iter();
                listed.extend(grid.filter(|params| !given.contains(&Value::from_iter(params.clone()))));
                (listed.len(), None)
            }
            Proposals::Random(Random { n_trials }) => (n_trials, None),
            Proposals::Tpe(tpe) => {
                tpe.check()?;
                (tpe.n_trials, Some(tpe))
            }
        };
        check_positive("n_trials", n_configs)?;
        if listed.len() > n_configs {
            let (given, n_trials) = (listed.len(), n_configs);
            return Err(Error::TooManyGiven { given, n_trials });
        }
        Ok(Self { listed, space: space.clone(), seed, n_configs, model })
    }

    /// Configurations that were chosen beforehand.
    pub(super) fn listed(listed: Vec<Params>) -> Self {
        Self { n_configs: listed.len(), listed, space: Space::new(), seed: 0, model: None }
    }

    pub(super) fn n_configs(&self) -> usize {
        self.n_configs
    }

    /// How many configurations can be proposed before any score is known.
    pub(super) fn n_without_scores(&self) -> usize {
        self.model
            .as_ref()
            .map_or(self.n_configs, |model| self.n_configs.min(model.n_startup_trials.max(self.listed.len())))
    }

    /// The configuration of a number. `ranked` are those with known scores, numbers and parameters, the best first; it
    /// is asked for only where it is needed.
    pub(super) fn params<'a>(&self, config: usize, ranked: impl FnOnce() -> Vec<(usize, &'a Params)>) -> Params {
        if let Some(params) = self.listed.get(config) {
            return params.clone();
        }
        match &self.model {
            Some(model) if config >= self.n_without_scores() => {
                model.propose(&self.space, self.seed, config, &ranked())
            }
            _ => self.space.sample(self.seed, config),
        }
    }
}
