//! What may vary: parameters with the values to try.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// One choice of parameters, by name; `step__param` inside a pipeline.
pub type Params = BTreeMap<String, Value>;

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
}
