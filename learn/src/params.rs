//! Parameters by name: what a sweep file, a grid or a `--set alpha=0.1` can say about any estimator.
//!
//! A parameter is a `serde` field of the estimator. Inside another estimator it is `step__param`, as in
//! scikit-learn: `step` is the field that holds the inner one or, in a list of named steps as a pipeline's, the
//! step's name. A step itself can be replaced whole by the JSON of another estimator.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{Error, Estimator, Result, error::nearest};

/// The tags by which objects say their type; they are no parameters.
const TAGS: [&str; 2] = ["estimator", "transformer"];

/// Every parameter with its value, inner ones as `step__param`, sorted by name.
///
/// # Errors
/// When the estimator cannot be written as JSON.
///
/// ```
/// use phalanx_learn::{DummyRegressor, params};
/// let all = params::get(&DummyRegressor::new()).unwrap();
/// assert_eq!(all.into_iter().collect::<Vec<_>>(), [("strategy".to_owned(), "mean".into())]);
/// ```
pub fn get(estimator: &dyn Estimator) -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    collect("", &to_object(estimator)?, &mut all);
    Ok(all)
}

/// A copy of the estimator with some parameters changed, in the order given.
///
/// # Errors
/// [`Error::UnknownParameter`] with the nearest name there is, and [`Error::Parameter`] for a value of the wrong
/// type, with parameter, value and what was expected. Ranges are checked by `fit`, not here.
///
/// ```
/// use phalanx_learn::{DummyRegressor, params};
/// let error = params::set(&DummyRegressor::new(), [("strtegy", "median")]).unwrap_err().to_string();
/// assert_eq!(error, r#"DummyRegressor has no parameter "strtegy" (did you mean "strategy"?); it has strategy"#);
/// let error = params::set(&DummyRegressor::new(), [("strategy", 1)]).unwrap_err().to_string();
/// assert_eq!(error, "strategy is 1, expected `mean` or `median`");
/// ```
pub fn set<N: AsRef<str>, V: Into<Value>>(
    estimator: &dyn Estimator,
    params: impl IntoIterator<Item = (N, V)>,
) -> Result<Box<dyn Estimator>> {
    let mut changed = estimator.clone_box();
    // One at a time: an error then belongs to one parameter.
    for (name, value) in params {
        changed = set_one(&*changed, name.as_ref(), value.into())?;
    }
    Ok(changed)
}

fn set_one(estimator: &dyn Estimator, name: &str, value: Value) -> Result<Box<dyn Estimator>> {
    let mut object = to_object(estimator)?;
    let Some(place) = find(&mut object, name) else {
        let known: Vec<String> = get(estimator)?.into_keys().collect();
        return Err(Error::UnknownParameter {
            name: name.to_owned(),
            estimator: estimator.name().to_owned(),
            nearest: nearest(name, known.iter().map(String::as_str)),
            known,
        });
    };
    *place = value.clone();
    read(&object).map_err(|error| {
        let mut expected = expected(&error);
        if expected == "string or map" {
            // An enum says what its variants are called only to a string that is none of them.
            if let Some(place) = find(&mut object, name) {
                *place = Value::String(String::new());
            }
            expected = read(&object).err().map_or(expected, |error| self::expected(&error));
        }
        Error::Parameter { name: name.to_owned(), value: value.to_string(), expected }
    })
}

fn read(object: &Map<String, Value>) -> Result<Box<dyn Estimator>, String> {
    serde_json::from_value(Value::Object(object.clone())).map_err(|error| error.to_string())
}

fn to_object(estimator: &dyn Estimator) -> Result<Map<String, Value>> {
    match serde_json::to_value(estimator) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(Error::json(estimator.name(), format!("expected an object of parameters, found {other}"))),
        Err(error) => Err(Error::json(estimator.name(), error)),
    }
}

fn collect(prefix: &str, object: &Map<String, Value>, all: &mut BTreeMap<String, Value>) {
    for (key, value) in object {
        if TAGS.contains(&key.as_str()) && value.is_string() {
            continue;
        }
        match value {
            _ if is_steps(value) => {
                for (name, step) in steps(value) {
                    all.insert(format!("{prefix}{name}"), Value::Object(step.clone()));
                    collect(&format!("{prefix}{name}__"), step, all);
                }
            }
            Value::Object(inner) => {
                all.insert(format!("{prefix}{key}"), value.clone());
                collect(&format!("{prefix}{key}__"), inner, all);
            }
            _ => {
                all.insert(format!("{prefix}{key}"), value.clone());
            }
        }
    }
}

fn find<'a>(object: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Value> {
    let (head, rest) = name.split_once("__").map_or((name, None), |(head, rest)| (head, Some(rest)));
    if TAGS.contains(&head) && object.get(head).is_some_and(Value::is_string) {
        return None;
    }
    let place = match object.get(head) {
        Some(value) if !is_steps(value) => object.get_mut(head)?,
        _ => {
            let with = object.values_mut().find(|value| steps(value).any(|(name, _)| name == head))?;
            let step = match with {
                Value::Array(items) => items.iter_mut().find(|item| item["name"] == head)?,
                single => single,
            };
            step.get_mut("step")?
        }
    };
    match (rest, place) {
        (None, place) => Some(place),
        (Some(rest), Value::Object(inner)) => find(inner, rest),
        (Some(_), _) => None,
    }
}

/// Whether a field holds one named step, or nothing but named steps.
fn is_steps(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(|item| as_step(item).is_some()) && !items.is_empty(),
        single => as_step(single).is_some(),
    }
}

fn steps(value: &Value) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    items.iter().filter_map(as_step)
}

fn as_step(item: &Value) -> Option<(&str, &Map<String, Value>)> {
    Some((item.get("name")?.as_str()?, item.get("step")?.as_object()?))
}

/// What `serde` expected, in words that need no Rust: the end of `invalid type: string "x", expected f64`.
fn expected(message: &str) -> String {
    let expected = message.rsplit_once("expected ").map_or(message, |(_, expected)| expected);
    match expected {
        "f64" | "f32" => "a number".to_owned(),
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number, 0 or more".to_owned(),
        "isize" | "i64" | "i32" | "i16" | "i8" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayView1, ArrayView2};
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;
    use crate::{DummyRegressor, Model};

    /// An estimator with every kind of parameter; it only passes its data on.
    #[derive(Debug, Clone, Serialize, Deserialize)]
    #[serde(default)]
    struct Outer {
        alpha: f64,
        max_iter: usize,
        warm: bool,
        limit: Option<f64>,
        inner: Box<dyn Estimator>,
        steps: Vec<Step>,
    }

    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Step {
        name: String,
        step: Box<dyn Estimator>,
    }

    impl Default for Outer {
        fn default() -> Self {
            let inner: Box<dyn Estimator> = Box::new(DummyRegressor::new());
            let steps = vec![Step { name: "last".to_owned(), step: inner.clone() }];
            Self { alpha: 1., max_iter: 10, warm: false, limit: None, inner, steps }
        }
    }

    #[typetag::serde]
    impl Estimator for Outer {
        fn fit_dyn(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<Box<dyn Model>> {
            self.inner.fit_dyn(x, y)
        }
    }

    fn refused(name: &str, value: Value) -> String {
        set(&Outer::default(), [(name, value)]).expect_err("refused").to_string()
    }

    #[test]
    fn parameters_are_the_fields_and_those_of_the_steps() {
        let dummy = json!({"estimator": "DummyRegressor", "strategy": "mean"});
        let expected = json!({
            "alpha": 1.0, "inner": dummy, "inner__strategy": "mean", "last": dummy, "last__strategy": "mean",
            "limit": null, "max_iter": 10, "warm": false,
        });
        assert_eq!(serde_json::to_value(get(&Outer::default()).expect("parameters")).expect("JSON"), expected);
    }

    #[test]
    fn changes_reach_the_named_place_and_leave_the_original() {
        let outer = Outer::default();
        let changes = [
            ("alpha", json!(2)),
            ("limit", json!(0.5)),
            ("inner__strategy", json!("median")),
            ("last", json!({"estimator": "Outer", "alpha": 3})),
            ("last__inner__strategy", json!("median")),
        ];
        let changed = set(&outer, changes).expect("all of them exist");
        let all = get(&*changed).expect("parameters");
        let of = |name: &str| all[name].clone();
        assert_eq!(
            [of("alpha"), of("limit"), of("inner__strategy"), of("last__alpha"), of("last__inner__strategy")],
            [json!(2.0), json!(0.5), json!("median"), json!(3.0), json!("median")]
        );
        assert_eq!(get(&outer).expect("parameters")["alpha"], json!(1.0));
    }

    #[test]
    fn a_wrong_type_names_parameter_value_and_expectation() {
        assert_eq!(refused("alpha", json!("expected")), r#"alpha is "expected", expected a number"#);
        assert_eq!(refused("max_iter", json!(-1)), "max_iter is -1, expected a whole number, 0 or more");
        assert_eq!(refused("max_iter", json!(1.5)), "max_iter is 1.5, expected a whole number, 0 or more");
        assert_eq!(refused("warm", json!(0)), "warm is 0, expected true or false");
        assert_eq!(
            refused("last__strategy", json!("mode")),
            r#"last__strategy is "mode", expected `mean` or `median`"#
        );
    }

    #[test]
    fn an_unknown_name_comes_with_the_nearest() {
        assert!(refused("last__strateg", json!(1)).contains(r#"(did you mean "last__strategy"?)"#));
        assert!(refused("alpha__x", json!(1)).starts_with(r#"Outer has no parameter "alpha__x""#));
        assert!(refused("estimator", json!("DummyRegressor")).starts_with(r#"Outer has no parameter "estimator""#));
    }
}
