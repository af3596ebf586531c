//! Grids: every combination of some values, in the order of scikit-learn.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Params;
use crate::{Error, Result};

/// Every combination of the given values.
///
/// Candidates come in the order of scikit-learn's `ParameterGrid`: parameters sorted by name, the last one
/// varies fastest, values in the order given. A grid of no parameters has one candidate, the estimator as it is.
///
/// ```
/// use phalanx_search::ParamGrid;
/// let grid = ParamGrid::new().values("l1_ratio", [0.5, 1.]).values("alpha", [1, 10]);
/// let candidates = grid.candidates().unwrap();
/// assert_eq!(
///     serde_json::to_string(&candidates).unwrap(),
///     r#"[{"alpha":1,"l1_ratio":0.5},{"alpha":1,"l1_ratio":1.0},{"alpha":10,"l1_ratio":0.5},{"alpha":10,"l1_ratio":1.0}]"#
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ParamGrid(BTreeMap<String, Vec<Value>>);

impl ParamGrid {
    /// A grid of no parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the values to try for a parameter.
    #[must_use]
    pub fn values<V: Into<Value>>(mut self, name: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        self.0.insert(name.into(), values.into_iter().map(Into::into).collect());
        self
    }

    /// The names of the parameters, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = (String, Vec<Value>)> {
        self.0.into_iter()
    }

    /// How many candidates there are.
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).product()
    }

    /// Whether a parameter without values leaves no candidate.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All candidates in order.
    ///
    /// # Errors
    /// When a parameter has no values.
    pub fn candidates(&self) -> Result<Vec<Params>> {
        let mut candidates = vec![Params::new()];
        for (name, values) in &self.0 {
            if values.is_empty() {
                return Err(Error::NoValues { name: name.clone() });
            }
            candidates = candidates
                .iter()
                .flat_map(|candidate| {
                    values.iter().map(|value| {
                        let mut longer = candidate.clone();
                        longer.insert(name.clone(), value.clone());
                        longer
                    })
                })
                .collect();
        }
        Ok(candidates)
    }
}

/// Some grids, one after the other, as scikit-learn's list of grids: for parameters that make sense together only.
///
/// A candidate that two grids have is tried once.
///
/// ```
/// use phalanx_search::space::{ParamGrid, ParamGrids};
/// let grids = ParamGrids::from([
///     ParamGrid::new().values("solver", ["irls"]),
///     ParamGrid::new().values("solver", ["admm"]).values("rho", [1., 10.]),
/// ]);
/// assert_eq!(grids.candidates().unwrap().len(), 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ParamGrids(Vec<ParamGrid>);

impl ParamGrids {
    /// All candidates in order.
    ///
    /// # Errors
    /// When there is no grid, or a parameter has no values.
    pub fn candidates(&self) -> Result<Vec<Params>> {
        if self.0.is_empty() {
            return Err(Error::EmptySpace);
        }
        let mut candidates: Vec<Params> = Vec::new();
        let mut seen = BTreeSet::new();
        for grid in &self.0 {
            for candidate in grid.candidates()? {
                // One grid keeps what it lists twice, as it always did.
                if self.0.len() == 1 || seen.insert(Value::from_iter(candidate.clone()).to_string()) {
                    candidates.push(candidate);
                }
            }
        }
        Ok(candidates)
    }
}

impl From<ParamGrid> for ParamGrids {
    fn from(grid: ParamGrid) -> Self {
        Self(vec![grid])
    }
}

impl From<Vec<ParamGrid>> for ParamGrids {
    fn from(grids: Vec<ParamGrid>) -> Self {
        Self(grids)
    }
}

impl<const N: usize> From<[ParamGrid; N]> for ParamGrids {
    fn from(grids: [ParamGrid; N]) -> Self {
        Self(grids.into())
    }
}

impl FromIterator<(String, Vec<Value>)> for ParamGrid {
    fn from_iter<I: IntoIterator<Item = (String, Vec<Value>)>>(parameters: I) -> Self {
        Self(parameters.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_without_parameters_is_the_estimator_as_it_is() {
        assert_eq!(ParamGrid::new().candidates().expect("one"), [Params::new()]);
    }

    #[test]
    fn a_parameter_needs_values() {
        let grid: ParamGrid = serde_json::from_str(r#"{"alpha": []}"#).expect("a grid");
        assert!(grid.is_empty());
        let error = grid.candidates().expect_err("refused").to_string();
        assert_eq!(error, "the grid gives no values for alpha, expected at least one");
    }

    #[test]
    fn grids_come_one_after_the_other_and_share_what_they_share() {
        let grid = |values: &[i64]| ParamGrid::new().values("alpha", values.iter().copied());
        let all = ParamGrids::from([grid(&[2, 1]), grid(&[1, 3])]).candidates().expect("candidates");
        let alphas: Vec<_> = all.iter().map(|params| params["alpha"].as_i64().expect("whole")).collect();
        assert_eq!(alphas, [2, 1, 3]);
        let none = ParamGrids::from(Vec::new()).candidates().expect_err("refused").to_string();
        assert_eq!(none, "there are no parameters to try, expected at least one");
    }
}
