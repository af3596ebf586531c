//! What a sweep file tries and how it chooses: `method`, `parameters`, `run_cap`, `early_terminate`, `enqueue`, in the
//! shape of Weights & Biases.
//!
//! Knows the names of that shape; what is drawn and how, the search crate says.

use phalanx_learn::{Error as LearnError, Estimator, params};
use phalanx_search::{
    Method, Params, Space,
    method::{Asha, Proposals, Random, Resource, Tpe},
    space::{Condition, Distribution},
};
use serde_json::Value as Json;

use crate::{
    Error, Result,
    error::did_you_mean,
    sweep_file::refuse_out_of_range,
    yaml::{Key, Node, Source, Value},
};

/// A parameter and what it is tried with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    /// As in the file.
    pub(crate) name: String,
    /// The values in the file's order, or what they are drawn from.
    pub(crate) distribution: Distribution,
    /// Which values of others it needs.
    pub(crate) when: Vec<Condition>,
}

/// How a sweep chooses.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    /// The method.
    pub(crate) method: Method,
    /// Configurations to begin with, called as in the file.
    pub(crate) enqueue: Vec<Params>,
}

const METHODS: [&str; 3] = ["grid", "random", "bayes"];

const PARAMETER_KEYS: [&str; 10] =
    ["values", "value", "min", "max", "distribution", "mu", "sigma", "q", "probabilities", "when"];

const DISTRIBUTIONS: [&str; 13] = [
    "constant",
    "categorical",
    "int_uniform",
    "uniform",
    "q_uniform",
    "log_uniform",
    "log_uniform_values",
    "q_log_uniform_values",
    "int_log_uniform_values",
    "normal",
    "q_normal",
    "log_normal",
    "q_log_normal",
];

impl Parameter {
    /// The values, where they are listed.
    pub(crate) fn values(&self) -> Option<&[Json]> {
        self.distribution.values()
    }

    /// How many values there are and which, or from where they are drawn.
    pub(crate) fn describe(&self) -> (String, String) {
        let (count, mut text) = match (self.values(), &self.distribution) {
            (Some(values), distribution) => {
                let mut text = values.iter().map(Json::to_string).collect::<Vec<_>>().join(", ");
                if let Distribution::Categorical { probabilities: Some(all), .. } = distribution {
                    let all: Vec<String> = all.iter().map(f64::to_string).collect();
                    text += &format!(" with probabilities {}", all.join(", "));
                }
                (values.len().to_string(), text)
            }
            (None, distribution) => (String::new(), ranged(distribution)),
        };
        for Condition { parameter, values } in &self.when {
            let values: Vec<String> = values.iter().map(Json::to_string).collect();
            text += &format!(" when {parameter} is {}", values.join(" or "));
        }
        (count, text)
    }
}

fn ranged(distribution: &Distribution) -> String {
    let q = |q: &Option<f64>| q.map_or_else(String::new, |q| format!(", multiples of {q}"));
    match distribution {
        Distribution::Uniform { min, max, q: step } => format!("uniform from {min} to {max}{}", q(step)),
        Distribution::LogUniform { min, max, q: step } => format!("log uniform from {min} to {max}{}", q(step)),
        Distribution::IntUniform { min, max, .. } => format!("whole numbers from {min} to {max}"),
        Distribution::IntLogUniform { min, max } => format!("whole numbers from {min} to {max}, log uniform"),
        Distribution::Normal { mu, sigma, q: step } => format!("normal of mu {mu} and sigma {sigma}{}", q(step)),
        Distribution::LogNormal { mu, sigma, q: step } => {
            format!("log normal of mu {mu} and sigma {sigma}{}", q(step))
        }
        Distribution::Constant { .. } | Distribution::Categorical { .. } => String::new(),
    }
}

/// `alpha: {values: [...]}`, `alpha: {value: 0.1}` for one that is set and not tried, or `alpha: {min: 0, max: 1}` for
/// one that is drawn.
pub(crate) fn parameters(source: Source<'_>, node: &Node, estimator: &dyn Estimator) -> Result<Vec<Parameter>> {
    let mut all = Vec::new();
    for (key, node) in source.map("parameters", node)? {
        let what = format!("parameter {}", key.name);
        let entries = source.known_map(&what, node, &PARAMETER_KEYS)?;
        let keys = Keys { source, what: &what, line: node.line, entries };
        // A name that cannot be is said before what is wrong with its values.
        if let Err(error @ LearnError::UnknownParameter { .. }) =
            params::set(estimator, [(key.name.as_str(), Json::Null)])
        {
            return Err(source.wrong(key.line, error));
        }
        let distribution = distribution(&keys, &key.name, estimator)?;
        let when = keys.get("when").map_or(Ok(Vec::new()), |(_, node)| conditions(source, node))?;
        all.push(Parameter { name: key.name.clone(), distribution, when });
    }
    if all.is_empty() {
        return Err(source.wrong(node.line, "there are no parameters to try; name one or more"));
    }
    // What is said of a parameter and not of one of its keys has the line of its name.
    let space = space(&all, str::to_owned);
    if let Err(error) = space.check() {
        let named = |name: &str| source.map("parameters", node).ok()?.iter().find(|(key, _)| key.name == name);
        let line = match &error {
            phalanx_search::Error::Space { parameter, .. } => named(parameter).map_or(node.line, |(key, _)| key.line),
            _ => node.line,
        };
        return Err(source.wrong(line, error));
    }
    Ok(all)
}

/// The parameters as a space, called as `full_name` says.
pub(crate) fn space(parameters: &[Parameter], full_name: impl Fn(&str) -> String) -> Space {
    parameters.iter().fold(Space::new(), |space, parameter| {
        let space = space.param(full_name(&parameter.name), parameter.distribution.clone());
        parameter.when.iter().fold(space, |space, Condition { parameter: other, values }| {
            space.when(full_name(&parameter.name), full_name(other), values.iter().cloned())
        })
    })
}

fn distribution(keys: &Keys<'_>, name: &str, estimator: &dyn Estimator) -> Result<Distribution> {
    let source = keys.source;
    let said = keys.get("distribution").map(|(_, node)| Ok::<_, Error>((source.text("distribution", node)?, node)));
    let said = said.transpose()?;
    let kind = match &said {
        Some((name, node)) => {
            let known = DISTRIBUTIONS.into_iter().find(|known| known == name);
            known.ok_or_else(|| {
                let near = did_you_mean(name, DISTRIBUTIONS);
                let known = DISTRIBUTIONS.join(", ");
                source.wrong(node.line, format!("there is no distribution {name:?}{near}; known are {known}"))
            })?
        }
        // As Weights & Biases has it: whole bounds are of whole numbers.
        None if keys.get("values").is_some() => "categorical",
        None if keys.get("value").is_some() => "constant",
        None if keys.get("min").is_some() || keys.get("max").is_some() => {
            let whole = |name: &str| keys.get(name).is_none_or(|(_, node)| node.to_json().is_i64());
            if whole("min") && whole("max") { "int_uniform" } else { "uniform" }
        }
        None if keys.get("mu").is_some() || keys.get("sigma").is_some() => "normal",
        None => {
            let n = keys.entries.iter().filter(|(key, _)| key.name != "when").count();
            let message = format!("{} has {n} keys, expected `values: [...]` or `value: ...`", keys.what);
            return Err(source.wrong(keys.line, message));
        }
    };
    let allowed: &[&str] = match kind {
        "constant" => &["value"],
        "categorical" => &["values", "probabilities"],
        "normal" | "log_normal" => &["mu", "sigma"],
        "q_normal" | "q_log_normal" => &["mu", "sigma", "q"],
        "q_uniform" | "q_log_uniform_values" => &["min", "max", "q"],
        _ => &["min", "max"],
    };
    let other =
        |key: &Key| !["distribution", "when"].contains(&key.name.as_str()) && !allowed.contains(&key.name.as_str());
    if let Some((key, _)) = keys.entries.iter().find(|(key, _)| other(key)) {
        let message = format!("{} is {kind}, which takes {}, and not {}", keys.what, allowed.join(", "), key.name);
        return Err(source.wrong(key.line, message));
    }
    let number = |key: &str, default: Option<f64>| keys.number(key, default);
    let whole = |key: &str| keys.whole(key);
    let q = |default: f64| number("q", Some(default)).map(Some);
    let drawn = match kind {
        "constant" | "categorical" => return listed(keys, kind, name, estimator),
        "int_uniform" => Distribution::IntUniform { min: whole("min")?, max: whole("max")?, step: 1 },
        "int_log_uniform_values" => Distribution::IntLogUniform { min: whole("min")?, max: whole("max")? },
        "uniform" => Distribution::Uniform { min: number("min", None)?, max: number("max", None)?, q: None },
        "q_uniform" => Distribution::Uniform { min: number("min", None)?, max: number("max", None)?, q: q(1.)? },
        // Weights & Biases gives the exponents here, and the values themselves in `log_uniform_values`.
        "log_uniform" => Distribution::LogUniform {
            min: number("min", Some(0.))?.exp(),
            max: number("max", Some(1.))?.exp(),
            q: None,
        },
        "log_uniform_values" => {
            Distribution::LogUniform { min: number("min", None)?, max: number("max", None)?, q: None }
        }
        "q_log_uniform_values" => {
            Distribution::LogUniform { min: number("min", None)?, max: number("max", None)?, q: q(1.)? }
        }
        "normal" | "q_normal" => Distribution::Normal {
            mu: number("mu", Some(0.))?,
            sigma: number("sigma", Some(1.))?,
            q: if kind == "normal" { None } else { q(1.)? },
        },
        _ => Distribution::LogNormal {
            mu: number("mu", Some(0.))?,
            sigma: number("sigma", Some(1.))?,
            q: if kind == "log_normal" { None } else { q(1.)? },
        },
    };
    // What cannot be at an end of the range is said now, and not by every trial that comes near it.
    let ends: &[(&str, Json)] = &match drawn {
        Distribution::IntUniform { min, max, .. } | Distribution::IntLogUniform { min, max } => {
            [("min", min.into()), ("max", max.into())]
        }
        Distribution::Uniform { min, max, .. } | Distribution::LogUniform { min, max, .. } => {
            [("min", min.into()), ("max", max.into())]
        }
        _ => return Ok(drawn),
    };
    for (key, value) in ends {
        let line = keys.get(key).map_or(keys.line, |(_, node)| node.line);
        let tried = params::set(estimator, [(name, value.clone())]).and_then(|changed| refuse_out_of_range(&*changed));
        tried.map_err(|error| source.wrong(line, error))?;
    }
    Ok(drawn)
}

/// One value, or a list of them.
fn listed(keys: &Keys<'_>, kind: &str, name: &str, estimator: &dyn Estimator) -> Result<Distribution> {
    let (source, what) = (keys.source, keys.what);
    let (key, node) = keys.need(if kind == "constant" { "value" } else { "values" })?;
    let given: Vec<&Node> = match (kind, &node.value) {
        ("constant", _) => vec![node],
        (_, Value::List(items)) => items.iter().collect(),
        _ => return Err(source.wrong(node.line, format!("the values of {what} are {node}, expected a list"))),
    };
    if given.is_empty() {
        return Err(source.wrong(key.line, format!("{what} has no values; list one or more")));
    }
    let mut values: Vec<Json> = Vec::new();
    for node in given {
        let value = node.to_json();
        let changed = params::set(estimator, [(name, value.clone())]);
        let checked = changed.and_then(|changed| refuse_out_of_range(&*changed));
        checked.map_err(|error| source.wrong(node.line, error))?;
        if values.contains(&value) {
            return Err(source.wrong(node.line, format!("{what} lists {value} twice; remove one of them")));
        }
        values.push(value);
    }
    if kind == "constant" {
        return Ok(values
            .pop()
            .map_or(Distribution::Constant { value: Json::Null }, |value| Distribution::Constant { value }));
    }
    let probabilities = keys.get("probabilities").map(|(_, node)| match &node.value {
        Value::List(items) => items.iter().map(|item| as_number(source, "a probability", item)).collect(),
        _ => Err(source.wrong(node.line, format!("probabilities is {node}, expected a list of numbers"))),
    });
    Ok(Distribution::Categorical { values, probabilities: probabilities.transpose()? })
}

/// `when: {solver: admm}`, or `when: {solver: [admm, irls]}`.
fn conditions(source: Source<'_>, node: &Node) -> Result<Vec<Condition>> {
    let condition = |(key, node): &(Key, Node)| Condition {
        parameter: key.name.clone(),
        values: match &node.value {
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            _ => vec![node.to_json()],
        },
    };
    Ok(source.map("when", node)?.iter().map(condition).collect())
}

/// `method`, with `run_cap`, `early_terminate` and `enqueue` beside it.
pub(crate) fn choice(
    source: Source<'_>,
    entries: &[(Key, Node)],
    parameters: &[Parameter],
    estimator: &dyn Estimator,
) -> Result<Choice> {
    let get = |name: &str| entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
    let Some(node) = get("method") else {
        let file = source.0.display();
        return Err(Error::usage(format!("{file}: there is no `method`; say how to search, as in `method: grid`")));
    };
    let method = source.text("method", node)?;
    let cap = get("run_cap").map(|node| Ok::<_, Error>((node.line, source.whole("run_cap", node, 1)?))).transpose()?;
    let n_trials = || {
        let missing = || {
            let message = format!("method is {method}, which ends at `run_cap`; say how many, as in `run_cap: 50`");
            source.wrong(node.line, message)
        };
        usize::try_from(cap.ok_or_else(missing)?.1).map_err(|error| source.wrong(node.line, error))
    };
    let proposals = match method.as_str() {
        "grid" => {
            let n: usize = parameters.iter().filter_map(|parameter| parameter.values()).map(<[Json]>::len).product();
            if let Some((line, cap)) = cap.filter(|(_, cap)| *cap < n as u64) {
                let message = format!("run_cap is {cap}, but the grid has {n} candidates; use `method: random`");
                return Err(source.wrong(line, message));
            }
            if let Some(parameter) = parameters.iter().find(|parameter| parameter.values().is_none()) {
                let name = &parameter.name;
                let message = format!(
                    "method is grid, but parameter {name} is drawn from a range; list its values or use `method: random`"
                );
                return Err(source.wrong(node.line, message));
            }
            Proposals::Grid
        }
        "random" => Proposals::Random(Random::new(n_trials()?)),
        "bayes" => Proposals::Tpe(Tpe::new(n_trials()?)),
        other => {
            let near = did_you_mean(other, METHODS);
            let message = format!("method is {other:?}, expected {}{near}", METHODS.join(", "));
            return Err(source.wrong(node.line, message));
        }
    };
    let enqueue = get("enqueue").map_or(Ok(Vec::new()), |node| enqueued(source, node, estimator))?;
    let method = match get("early_terminate") {
        None => match proposals {
            Proposals::Grid => Method::Grid,
            Proposals::Random(random) => random.into(),
            Proposals::Tpe(tpe) => tpe.into(),
        },
        Some(node) => early_terminate(source, node, estimator)?.proposals(proposals).into(),
    };
    Ok(Choice { method, enqueue })
}

/// `{type: hyperband, min_iter: 3, max_iter: 81, eta: 3, s: 2, resource: max_iter}`: who is not among the best 1 / eta
/// at a budget gets no larger one.
fn early_terminate(source: Source<'_>, node: &Node, estimator: &dyn Estimator) -> Result<Asha> {
    let known = ["type", "min_iter", "max_iter", "s", "eta", "resource"];
    let entries = source.known_map("early_terminate", node, &known)?;
    let keys = Keys { source, what: "early_terminate", line: node.line, entries };
    let (_, kind) = keys.need("type")?;
    let name = source.text("the type of early_terminate", kind)?;
    if name != "hyperband" {
        let message = format!("the type of early_terminate is {name:?}, expected hyperband");
        return Err(source.wrong(kind.line, message));
    }
    let iterations = |name: &str| keys.get(name).map(|(_, node)| source.whole(name, node, 1)).transpose();
    let eta = keys.number("eta", Some(3.))?;
    if eta <= 1. || eta.is_nan() {
        let line = keys.get("eta").map_or(node.line, |(_, node)| node.line);
        return Err(source.wrong(line, format!("eta is {eta}, expected above 1")));
    }
    let resource = keys.get("resource").map(|(_, node)| Ok::<_, Error>((source.text("resource", node)?, node)));
    let (resource, own) = match resource.transpose()? {
        None => (Resource::Samples, None),
        Some((name, _)) if name == "n_samples" => (Resource::Samples, None),
        Some((name, node)) => {
            let all = params::get(estimator).map_err(|error| source.wrong(node.line, error))?;
            let Some(value) = all.get(&name) else {
                let near = did_you_mean(&name, all.keys().map(String::as_str).chain(["n_samples"]));
                let message = format!(
                    "resource is {name:?}{near}, expected n_samples or a parameter of the estimator in whole numbers"
                );
                return Err(source.wrong(node.line, message));
            };
            (Resource::Param(name), value.as_u64())
        }
    };
    let (min, s) = (iterations("min_iter")?, iterations("s")?);
    let Some(max) = iterations("max_iter")?.or(own) else {
        let message = "early_terminate has no `max_iter`; say the largest budget, which all of the rows stand for";
        return Err(source.wrong(node.line, message));
    };
    let min = match (min, s) {
        (Some(_), Some(_)) => {
            let message = "min_iter and s exclude each other; keep one of them";
            return Err(source.wrong(node.line, message));
        }
        (Some(min), None) => min,
        // Weights & Biases: brackets at max_iter / eta, max_iter / eta^2, ..., s of them.
        (None, Some(s)) => (max as f64 / eta.powi(i32::try_from(s).unwrap_or(i32::MAX))).max(1.) as u64,
        (None, None) => 1,
    };
    if min > max {
        let line = keys.get("min_iter").map_or(node.line, |(_, node)| node.line);
        return Err(source.wrong(line, format!("min_iter is {min}, expected max_iter, {max}, or less")));
    }
    Ok(Asha { min_resource: min, max_resource: max, eta, resource, ..Asha::default() })
}

/// `enqueue: [{alpha: 0.1}, {alpha: 1, l1_ratio: 0.5}]`.
fn enqueued(source: Source<'_>, node: &Node, estimator: &dyn Estimator) -> Result<Vec<Params>> {
    let Value::List(items) = &node.value else {
        return Err(source.wrong(node.line, format!("enqueue is {node}, expected a list of parameters with values")));
    };
    let one = |item: &Node| {
        let mut params = Params::new();
        for (key, node) in source.map("an entry of enqueue", item)? {
            let value = node.to_json();
            let changed = params::set(estimator, [(key.name.as_str(), value.clone())]);
            let checked = changed.and_then(|changed| refuse_out_of_range(&*changed));
            checked.map_err(|error| source.wrong(key.line, error))?;
            params.insert(key.name.clone(), value);
        }
        Ok(params)
    };
    items.iter().map(one).collect()
}

fn as_number(source: Source<'_>, what: &str, node: &Node) -> Result<f64> {
    let number = match &node.value {
        Value::Scalar(Json::Number(number)) => number.as_f64(),
        _ => None,
    };
    number.ok_or_else(|| source.wrong(node.line, format!("{what} is {node}, expected a number")))
}

struct Keys<'a> {
    source: Source<'a>,
    what: &'a str,
    line: u64,
    entries: &'a [(Key, Node)],
}

impl<'a> Keys<'a> {
    fn get(&self, name: &str) -> Option<&'a (Key, Node)> {
        self.entries.iter().find(|(key, _)| key.name == name)
    }

    fn need(&self, name: &str) -> Result<&'a (Key, Node)> {
        self.get(name).ok_or_else(|| self.source.wrong(self.line, format!("{} has no `{name}`; add it", self.what)))
    }

    fn number(&self, name: &str, default: Option<f64>) -> Result<f64> {
        match (self.get(name), default) {
            (None, Some(default)) => Ok(default),
            _ => as_number(self.source, name, &self.need(name)?.1),
        }
    }

    fn whole(&self, name: &str) -> Result<i64> {
        let (_, node) = self.need(name)?;
        let message = || self.source.wrong(node.line, format!("{name} is {node}, expected a whole number"));
        node.to_json().as_i64().ok_or_else(message)
    }
}
