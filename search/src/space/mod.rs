//! What may vary: parameters with the values to try, or with what to draw them from.
//!
//! A [`Space`] says what each parameter may be and when it is there at all. It gives the list of all combinations, where
//! there is one, and the configuration of any number under a seed. Which of them are tried, a method decides.

mod distribution;
mod grid;

use std::collections::{BTreeMap, BTreeSet};

use phalanx_array::schema::nearest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

pub use distribution::Distribution;
pub(crate) use distribution::Stream;
pub use grid::{ParamGrid, ParamGrids};

/// One choice of parameters, by name; `step__param` inside a pipeline.
pub type Params = BTreeMap<String, Value>;

/// Parameters with what they are drawn from, and the conditions under which they are there.
///
/// Setters never fail; [`check`](Self::check) says what cannot be.
///
/// | setter | a draw |
/// |---|---|
/// | `constant` | one value |
/// | `choice`, `choice_weighted` | one of some values, all alike or by probabilities |
/// | `uniform`, `log_uniform` | a real number in a range, or one whose logarithm is uniform |
/// | `int_uniform`, `int_log_uniform` | a whole number in a range, bounds included |
/// | `normal`, `log_normal` | a normal number, or one whose logarithm is normal |
/// | `param` | any [`Distribution`], as with a step |
/// | `when` | makes a parameter depend on another one's value |
///
/// ```
/// use phalanx_search::Space;
/// let space = Space::new()
///     .log_uniform("alpha", 1e-4, 1.)
///     .choice("solver", ["irls", "admm"])
///     .uniform("rho", 0.1, 10.)
///     .when("rho", "solver", ["admm"]);
/// space.check().unwrap();
/// let drawn: Vec<_> = (0..20).map(|number| space.sample(42, number)).collect();
/// assert!(drawn.iter().all(|params| params.contains_key("rho") == (params["solver"] == "admm")));
/// // A configuration depends on the seed and its number alone.
/// assert_eq!(space.sample(42, 7), drawn[7]);
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Space(BTreeMap<String, Parameter>);

/// One parameter of a [`Space`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// What it is drawn from.
    pub distribution: Distribution,
    /// What must hold for it to be there; all of it.
    #[serde(default)]
    pub when: Vec<Condition>,
}

/// Another parameter that must be there with one of some values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The other parameter, a constant or one of categories.
    pub parameter: String,
    /// Its values under which this one is there.
    pub values: Vec<Value>,
}

impl Space {
    /// A space of no parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what a parameter is drawn from.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, distribution: Distribution) -> Self {
        let name = name.into();
        match self.0.get_mut(&name) {
            Some(parameter) => parameter.distribution = distribution,
            None => drop(self.0.insert(name, Parameter { distribution, when: Vec::new() })),
        }
        self
    }

    /// A parameter that is set and does not vary.
    #[must_use]
    pub fn constant(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.param(name, Distribution::Constant { value: value.into() })
    }

    /// One of some values, all alike; a grid keeps their order.
    #[must_use]
    pub fn choice<V: Into<Value>>(self, name: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        self.param(name, Distribution::choice(values))
    }

    /// One of some values, each with its probability.
    #[must_use]
    pub fn choice_weighted<V: Into<Value>>(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = (V, f64)>,
    ) -> Self {
        let (values, probabilities) =
            values.into_iter().map(|(value, probability)| (value.into(), probability)).unzip();
        self.param(name, Distribution::Categorical { values, probabilities: Some(probabilities) })
    }

    /// A real number of [`min`, `max`], all alike.
    #[must_use]
    pub fn uniform(self, name: impl Into<String>, min: f64, max: f64) -> Self {
        self.param(name, Distribution::Uniform { min, max, q: None })
    }

    /// A real number of [`min`, `max`] whose logarithm is uniform.
    #[must_use]
    pub fn log_uniform(self, name: impl Into<String>, min: f64, max: f64) -> Self {
        self.param(name, Distribution::LogUniform { min, max, q: None })
    }

    /// A whole number from `min` to `max`, all alike.
    #[must_use]
    pub fn int_uniform(self, name: impl Into<String>, min: i64, max: i64) -> Self {
        self.param(name, Distribution::IntUniform { min, max, step: 1 })
    }

    /// A whole number from `min` to `max` whose logarithm is uniform, but for its rounding.
    #[must_use]
    pub fn int_log_uniform(self, name: impl Into<String>, min: i64, max: i64) -> Self {
        self.param(name, Distribution::IntLogUniform { min, max })
    }

    /// A normal number.
    #[must_use]
    pub fn normal(self, name: impl Into<String>, mu: f64, sigma: f64) -> Self {
        self.param(name, Distribution::Normal { mu, sigma, q: None })
    }

    /// A number whose logarithm is normal.
    #[must_use]
    pub fn log_normal(self, name: impl Into<String>, mu: f64, sigma: f64) -> Self {
        self.param(name, Distribution::LogNormal { mu, sigma, q: None })
    }

    /// Lets a parameter be there only where another one has one of some values. Called again, all must hold.
    ///
    /// The parameter is a constant 'null' until it is set.
    #[must_use]
    pub fn when<V: Into<Value>>(
        mut self,
        name: impl Into<String>,
        parameter: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        let distribution = Distribution::Constant { value: Value::Null };
        let conditioned = self.0.entry(name.into()).or_insert(Parameter { distribution, when: Vec::new() });
        conditioned.when.push(Condition { parameter: parameter.into(), values });
        self
    }

    /// The parameters by name.
    pub const fn parameters(&self) -> &BTreeMap<String, Parameter> {
        &self.0
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks everything that can be checked without an estimator: ranges, probabilities and conditions.
    ///
    /// # Errors
    /// The first parameter that cannot be drawn, with what is wrong.
    pub fn check(&self) -> Result<()> {
        if self.is_empty() {
            return Err(Error::EmptySpace);
        }
        for (name, parameter) in &self.0 {
            parameter.distribution.check(name)?;
            for condition in &parameter.when {
                self.check_condition(name, condition)?;
            }
        }
        for name in self.0.keys() {
            self.check_circle(name)?;
        }
        Ok(())
    }

    /// The configuration of a number under a seed: of a parameter it depends on the seed, the number and the
    /// parameter's name, so neither the order of asking nor the other parameters change it.
    pub fn sample(&self, seed: u64, number: usize) -> Params {
        self.sample_with(seed, number, &Params::new())
    }

    /// As [`sample`](Self::sample), with some parameters given: the others are drawn, where the given ones let them be.
    pub fn sample_with(&self, seed: u64, number: usize, given: &Params) -> Params {
        let mut params = self.resolve(|name, distribution| {
            given.get(name).cloned().unwrap_or_else(|| distribution.draw(&mut Stream::new(seed, number, name)))
        });
        // What the space does not know is the estimator's to take or to refuse.
        let own = given.iter().filter(|(name, _)| !self.0.contains_key(*name));
        params.extend(own.map(|(name, value)| (name.clone(), value.clone())));
        params
    }

    /// All configurations, where every parameter has a list of values: in the order of scikit-learn's `ParameterGrid`,
    /// parameters by name, the last one varying fastest. A parameter that is not there varies nothing.
    ///
    /// # Errors
    /// As [`check`](Self::check), and when a parameter is drawn from a range and has no list.
    pub fn grid(&self) -> Result<Vec<Params>> {
        self.check()?;
        for (name, parameter) in &self.0 {
            if parameter.distribution.values().is_none() {
                let problem = "it is drawn from a range, but a grid needs values; list them, or search by random";
                return Err(Error::Space { parameter: name.clone(), problem: problem.to_owned() });
            }
        }
        let names = self.in_order();
        // Of each combination also the places of its values, by name: the order to give them in.
        let mut found: Vec<(BTreeMap<&str, usize>, Params)> = vec![(BTreeMap::new(), Params::new())];
        for name in names {
            let parameter = &self.0[name];
            let values = parameter.distribution.values().unwrap_or_default();
            found = found
                .into_iter()
                .flat_map(|(places, params)| {
                    let active = parameter.is_active(&params);
                    let with = move |(place, value): (usize, &Value)| {
                        let (mut places, mut params) = (places.clone(), params.clone());
                        if active {
                            params.insert(name.to_owned(), value.clone());
                        }
                        places.insert(name, place);
                        (places, params)
                    };
                    values.iter().enumerate().take(if active { usize::MAX } else { 1 }).map(with).collect::<Vec<_>>()
                })
                .collect();
        }
        found.sort_by(|a, b| a.0.values().cmp(b.0.values()));
        Ok(found.into_iter().map(|(_, params)| params).collect())
    }

    /// Chooses a value for each parameter that is there, those first on which others depend.
    pub(crate) fn resolve(&self, mut choose: impl FnMut(&str, &Distribution) -> Value) -> Params {
        let mut params = Params::new();
        for name in self.in_order() {
            let parameter = &self.0[name];
            if parameter.is_active(&params) {
                params.insert(name.to_owned(), choose(name, &parameter.distribution));
            }
        }
        params
    }

    /// The names, by name but for those that others depend on, which come before them.
    fn in_order(&self) -> Vec<&str> {
        let mut order = Vec::with_capacity(self.0.len());
        let mut placed = BTreeSet::new();
        while order.len() < self.0.len() {
            let ready = |(name, parameter): &(&String, &Parameter)| {
                let waits = |condition: &Condition| {
                    self.0.contains_key(&condition.parameter) && !placed.contains(condition.parameter.as_str())
                };
                !placed.contains(name.as_str()) && !parameter.when.iter().any(waits)
            };
            // In a circle, which `check` refuses, nobody is ready: the first by name is taken.
            let next =
                self.0.iter().find(ready).or_else(|| self.0.iter().find(|(name, _)| !placed.contains(name.as_str())));
            let Some((name, _)) = next else { break };
            placed.insert(name.as_str());
            order.push(name.as_str());
        }
        order
    }

    fn check_condition(&self, name: &str, condition: &Condition) -> Result<()> {
        let wrong = |problem: String| Err(Error::Space { parameter: name.to_owned(), problem });
        let other = &condition.parameter;
        let Some(parameter) = self.0.get(other) else {
            let near = nearest(other, self.0.keys().map(String::as_str).filter(|known| *known != name));
            let near = near.map_or_else(String::new, |near| format!(" (did you mean {near:?}?)"));
            return wrong(format!("it depends on {other:?}, which is no parameter of the space{near}"));
        };
        let Some(values) = parameter.distribution.values() else {
            return wrong(format!("it depends on {other}, which is drawn from a range, expected one of values"));
        };
        if condition.values.is_empty() {
            return wrong(format!("it depends on {other}, but no value of that is named"));
        }
        for value in &condition.values {
            if !values.iter().any(|known| same(known, value)) {
                let known: Vec<String> = values.iter().map(Value::to_string).collect();
                return wrong(format!("it is there when {other} is {value}, expected one of {}", known.join(", ")));
            }
        }
        Ok(())
    }

    fn check_circle(&self, start: &str) -> Result<()> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(name) = open.pop() {
            for condition in self.0.get(name).into_iter().flat_map(|parameter| &parameter.when) {
                if condition.parameter == start {
                    let problem = "it depends on itself, directly or by others".to_owned();
                    return Err(Error::Space { parameter: start.to_owned(), problem });
                }
                if seen.insert(condition.parameter.as_str()) {
                    open.push(&condition.parameter);
                }
            }
        }
        Ok(())
    }
}

impl Parameter {
    fn is_active(&self, params: &Params) -> bool {
        self.when.iter().all(|condition| {
            let value = params.get(&condition.parameter);
            value.is_some_and(|value| condition.values.iter().any(|wanted| same(wanted, value)))
        })
    }
}

impl From<ParamGrid> for Space {
    fn from(grid: ParamGrid) -> Self {
        grid.into_values().fold(Self::new(), |space, (name, values)| space.choice(name, values))
    }
}

/// Whether two values are one: 1 is 1.0, however it was written.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn solvers() -> Space {
        Space::new()
            .choice("solver", ["irls", "admm", "gradient"])
            .choice("rho", [1., 10.])
            .when("rho", "solver", ["admm"])
            .choice("alpha", [0.1, 1.])
    }

    #[test]
    fn a_grid_is_scikit_learns_and_leaves_out_what_is_not_there() {
        let grid = ParamGrid::new().values("b", [2, 1]).values("a", ["x", "y"]).values("c", [1, 2]);
        assert_eq!(Space::from(grid.clone()).grid().expect("a grid"), grid.candidates().expect("candidates"));
        let all = solvers().grid().expect("a grid");
        let lines: Vec<String> = all.iter().map(|params| Value::from_iter(params.clone()).to_string()).collect();
        let expected = [
            r#"{"alpha":0.1,"solver":"irls"}"#,
            r#"{"alpha":0.1,"rho":1.0,"solver":"admm"}"#,
            r#"{"alpha":0.1,"solver":"gradient"}"#,
            r#"{"alpha":0.1,"rho":10.0,"solver":"admm"}"#,
        ];
        assert_eq!(lines[..4], expected);
        assert_eq!(lines.len(), 8);
    }

    #[test]
    fn another_parameter_changes_no_draw() {
        let (few, more) = (Space::new().uniform("a", 0., 1.), Space::new().normal("0", 0., 1.).uniform("a", 0., 1.));
        for number in 0..50 {
            assert_eq!(few.sample(3, number)["a"], more.sample(3, number)["a"]);
        }
    }

    #[test]
    fn conditions_follow_each_other() {
        let space = Space::new()
            .choice("a", [1, 2])
            .choice("b", [true, false])
            .when("b", "a", [1.])
            .uniform("c", 0., 1.)
            .when("c", "b", [true]);
        space.check().expect("good");
        for number in 0..100 {
            let params = space.sample(1, number);
            assert_eq!(params.contains_key("b"), params["a"] == 1, "{params:?}");
            assert_eq!(params.contains_key("c"), params.get("b") == Some(&json!(true)), "{params:?}");
        }
        let given = [("a".to_owned(), json!(1)), ("b".to_owned(), json!(false)), ("z".to_owned(), json!("new"))].into();
        assert_eq!(space.sample_with(1, 0, &given), given);
    }

    #[test]
    fn spaces_are_kept_as_json() {
        let space = solvers().log_uniform("l1_ratio", 0.1, 1.).constant("tol", 1e-9);
        let text = serde_json::to_string(&space).expect("JSON");
        assert_eq!(serde_json::from_str::<Space>(&text).expect("a space"), space);
    }

    #[test]
    fn conditions_that_cannot_be_are_refused() {
        let refused = |space: Space| space.check().expect_err("refused").to_string();
        assert_eq!(refused(Space::new()), "there are no parameters to try, expected at least one");
        assert_eq!(
            refused(solvers().when("rho", "solvr", ["admm"])),
            "parameter rho: it depends on \"solvr\", which is no parameter of the space (did you mean \"solver\"?)"
        );
        assert_eq!(
            refused(solvers().when("alpha", "solver", ["newton"])),
            "parameter alpha: it is there when solver is \"newton\", expected one of \"irls\", \"admm\", \"gradient\""
        );
        assert_eq!(
            refused(solvers().when("solver", "rho", [1.])),
            "parameter rho: it depends on itself, directly or by others"
        );
        assert_eq!(
            refused(solvers().uniform("t", 0., 1.).when("rho", "t", [0.5])),
            "parameter rho: it depends on t, which is drawn from a range, expected one of values"
        );
        let ranged = solvers().uniform("t", 0., 1.).grid().expect_err("refused").to_string();
        assert_eq!(
            ranged,
            "parameter t: it is drawn from a range, but a grid needs values; list them, or search by random"
        );
    }
}
