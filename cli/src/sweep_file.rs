//! Reads a sweep file: the shape that Weights & Biases users know, with every mistake named by file, line and key.
//!
//! Knows what a sweep is made of; it opens no data and starts no cluster.

use std::path::{Path, PathBuf};

use phalanx_learn::{
    Error as LearnError, Estimator, Goal, KFold, Pipeline, Scorer, json, params, preprocess::StandardScaler,
};

use crate::{
    Error, Result,
    data::{Design, MissingPolicy, Selection},
    error::did_you_mean,
    roles::Roles,
    yaml::{Key, Node, Source, Value},
};

/// The step of the pipeline that holds the estimator, where the columns are standardised first.
pub(crate) const MODEL_STEP: &str = "model";

/// The estimator whose target may be a text of any number of levels.
pub(crate) const CLASSIFIER: &str = "MultinomialRegression";

/// A sweep file that says what it means.
#[derive(Debug)]
pub(crate) struct SweepFile {
    /// Which data, and which of its columns.
    pub(crate) design: Design,
    /// The estimator as the file describes it, in a pipeline where `standardize` is true.
    pub(crate) estimator: Box<dyn Estimator>,
    /// The estimator's own name, without the pipeline.
    pub(crate) estimator_name: String,
    /// Whether columns are standardised inside each fold.
    pub(crate) standardize: bool,
    /// How a candidate is judged.
    pub(crate) scorer: Scorer,
    /// The values to try, by parameter, in the file's order.
    pub(crate) parameters: Vec<Parameter>,
    /// How rows are split.
    pub(crate) cv: KFold,
}

/// A parameter and the values it is tried with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    /// As in the file.
    pub(crate) name: String,
    /// In the file's order.
    pub(crate) values: Vec<serde_json::Value>,
}

const KEYS: [&str; 11] = [
    "data",
    "target",
    "features",
    "drop",
    "categorical",
    "estimator",
    "standardize",
    "method",
    "metric",
    "parameters",
    "cv",
];

impl SweepFile {
    /// Reads and checks a file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::file("read", path, &error))?;
        Self::parse(path, &text)
    }

    /// Checks the text of a file; paths in it are relative to the file's folder.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self> {
        let source = Source(path);
        let root = source.parse(text)?;
        let entries = source.known_map("the sweep file", &root, &KEYS)?;
        let file = Keys { source, entries };

        let method = file.need("method", "how to search, as in `method: grid`")?;
        match source.text("method", method)?.as_str() {
            "grid" => {}
            other => {
                return Err(
                    source.wrong(method.line, format!("method is {other:?}, expected grid; other methods come later"))
                );
            }
        }
        let standardize = file.get("standardize").map_or(Ok(false), |node| source.boolean("standardize", node))?;
        let described = file.need("estimator", "what to fit, as in `estimator: poisson_regression`")?;
        let inner = estimator(source, described)?;
        let estimator_name = inner.name().to_owned();
        let parameters = parameters(
            source,
            file.need("parameters", "what to try, as in `parameters: {alpha: {values: [0.1, 1]}}`")?,
            &*inner,
        )?;
        let estimator: Box<dyn Estimator> = if standardize {
            Box::new(Pipeline::builder().step("standardize", StandardScaler::new()).boxed_estimator(MODEL_STEP, inner))
        } else {
            inner
        };
        Ok(Self {
            design: Design { classes: estimator_name == CLASSIFIER, ..design(&file)? },
            estimator,
            estimator_name,
            standardize,
            scorer: scorer(
                source,
                file.need("metric", "how to judge, as in `metric: {name: mean_squared_error, goal: minimize}`")?,
            )?,
            parameters,
            cv: file.get("cv").map_or(Ok(KFold::default()), |node| cv(source, node))?,
        })
    }

    /// How many combinations of parameters there are.
    pub(crate) fn n_candidates(&self) -> usize {
        self.parameters.iter().map(|parameter| parameter.values.len()).product()
    }

    /// The name by which [`estimator`](Self::estimator) knows a parameter of the file.
    pub(crate) fn full_name(&self, name: &str) -> String {
        if self.standardize { format!("{MODEL_STEP}__{name}") } else { name.to_owned() }
    }
}

/// The keys of the file's top level.
struct Keys<'a> {
    source: Source<'a>,
    entries: &'a [(Key, Node)],
}

impl<'a> Keys<'a> {
    fn get(&self, name: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    fn need(&self, name: &str, meaning: &str) -> Result<&'a Node> {
        self.get(name)
            .ok_or_else(|| Error::usage(format!("{}: there is no `{name}`; say {meaning}", self.source.0.display())))
    }
}

fn design(file: &Keys<'_>) -> Result<Design> {
    let source = file.source;
    let texts = |name: &str| file.get(name).map(|node| source.texts(name, node)).transpose();
    let folder = source.0.parent().unwrap_or(Path::new(""));
    let data = source.texts("data", file.need("data", "which CSV files to read, as in `data: rides.csv`")?)?;
    if data.is_empty() {
        return Err(Error::usage(format!("{}: data lists no file; name one or more", source.0.display())));
    }
    let selection = match (texts("features")?, texts("drop")?) {
        (Some(_), Some(_)) => {
            let line = file.entries.iter().find(|(key, _)| key.name == "drop").map_or(1, |(key, _)| key.line);
            return Err(source.wrong(line, "features and drop exclude each other; keep one of them"));
        }
        (Some(names), None) => Selection::Features(names),
        (None, Some(names)) => Selection::Drop(names),
        (None, None) => Selection::Drop(Vec::new()),
    };
    Ok(Design {
        data: data.iter().map(|pattern| beside(folder, pattern)).collect(),
        target: source.text("target", file.need("target", "the column to predict, as in `target: bikers`")?)?,
        selection,
        categorical: texts("categorical")?.unwrap_or_default(),
        reference: Vec::new(),
        log_target: false,
        formula: None,
        no_intercept: false,
        missing: MissingPolicy::default(),
        classes: false,
        roles: Roles::default(),
    })
}

/// A path of the file as seen from here, without `x/../`: `examples/../data/a.csv` is `data/a.csv` in messages.
fn beside(folder: &Path, pattern: &str) -> String {
    let mut joined = PathBuf::new();
    for part in folder.join(pattern).components() {
        let normal_before = matches!(joined.components().next_back(), Some(std::path::Component::Normal(_)));
        // A folder that is a link has another parent than its name says.
        if part == std::path::Component::ParentDir && normal_before && !joined.is_symlink() {
            joined.pop();
        } else {
            joined.push(part);
        }
    }
    joined.to_string_lossy().into_owned()
}

/// `estimator: poisson_regression`, or a map with `type` and parameters.
fn estimator(source: Source<'_>, node: &Node) -> Result<Box<dyn Estimator>> {
    let (name, name_line, rest) = match &node.value {
        Value::Map(entries) => {
            let Some((_, kind)) = entries.iter().find(|(key, _)| key.name == "type") else {
                return Err(source.wrong(node.line, "the estimator has no `type`; add one, as in `type: glm`"));
            };
            let rest = entries.iter().filter(|(key, _)| key.name != "type").collect();
            (source.text("type", kind)?, kind.line, rest)
        }
        _ => (source.text("estimator", node)?, node.line, Vec::new()),
    };
    let mut estimator = estimator_by_name(&name).map_err(|message| source.wrong(name_line, message))?;
    for (key, value) in rest {
        estimator = params::set(&*estimator, [(key.name.as_str(), value.to_json())])
            .map_err(|error| source.wrong(key.line, error))?;
    }
    refuse_out_of_range(&*estimator).map_err(|error| source.wrong(node.line, error))?;
    Ok(estimator)
}

/// An estimator with its defaults, by the name it is registered under or that name in snake case.
fn estimator_by_name(name: &str) -> Result<Box<dyn Estimator>, String> {
    let read = |name: &str| {
        let text = serde_json::json!({ "estimator": name }).to_string();
        json::from_text::<Box<dyn Estimator>>("an estimator", &text)
    };
    let camel: String = name
        .split('_')
        .map(|word| word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect::<String>())
        .collect();
    read(name).or_else(|_| read(&camel)).map_err(|error| {
        // typetag knows all names, and says them in its error only.
        let text = error.to_string();
        let known: Vec<String> = text.split('`').skip(3).step_by(2).map(snake).collect();
        let near = did_you_mean(name, known.iter().map(String::as_str));
        format!("there is no estimator {name:?}{near}; known are {}", known.join(", "))
    })
}

fn snake(camel: &str) -> String {
    let mut text = String::new();
    for (place, letter) in camel.char_indices() {
        if letter.is_uppercase() && place > 0 {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

/// Values that no data could make good are refused before anything is run. `fit` looks at its parameters before
/// it looks at its data, so without data it says only what is wrong with them.
pub(crate) fn refuse_out_of_range(estimator: &dyn Estimator) -> Result<(), LearnError> {
    let (x, y) = (ndarray::Array2::zeros((0, 0)), ndarray::Array1::zeros(0));
    match estimator.fit_dyn(x.view(), y.view()) {
        Err(error @ LearnError::Parameter { .. }) => Err(error),
        _ => Ok(()),
    }
}

fn scorer(source: Source<'_>, node: &Node) -> Result<Scorer> {
    let by_name = |node: &Node| {
        let name = source.text("the metric's name", node)?;
        name.parse::<Scorer>().map_err(|error| source.wrong(node.line, error))
    };
    if !matches!(node.value, Value::Map(_)) {
        return by_name(node);
    }
    let entries = source.known_map("metric", node, &["name", "goal"])?;
    let get = |name: &str| entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
    let name =
        get("name").ok_or_else(|| source.wrong(node.line, "the metric has no `name`; add one, as in `name: mse`"))?;
    let scorer = by_name(name)?;
    if let Some(node) = get("goal") {
        let (natural, word) = match scorer.goal() {
            Goal::Minimize => ("minimize", "lower"),
            Goal::Maximize => ("maximize", "higher"),
        };
        let goal = source.text("goal", node)?;
        if !["minimize", "maximize"].contains(&goal.as_str()) {
            let near = did_you_mean(&goal, ["minimize", "maximize"]);
            return Err(source.wrong(node.line, format!("goal is {goal:?}, expected minimize or maximize{near}")));
        }
        if goal != natural {
            let message =
                format!("goal is {goal}, but {} is better when {word}; write `goal: {natural}`", scorer.name());
            return Err(source.wrong(node.line, message));
        }
    }
    Ok(scorer)
}

/// `alpha: {values: [...]}`, or `alpha: {value: 0.1}` for a parameter that is set and not tried.
fn parameters(source: Source<'_>, node: &Node, estimator: &dyn Estimator) -> Result<Vec<Parameter>> {
    let mut all = Vec::new();
    for (key, node) in source.map("parameters", node)? {
        let what = format!("parameter {}", key.name);
        let entries = source.known_map(&what, node, &["values", "value"])?;
        let [(kind, given)] = entries else {
            return Err(source.wrong(
                node.line,
                format!("{what} has {} keys, expected `values: [...]` or `value: ...`", entries.len()),
            ));
        };
        let given: Vec<&Node> = match (&*kind.name, &given.value) {
            ("value", _) => vec![given],
            (_, Value::List(items)) => items.iter().collect(),
            _ => return Err(source.wrong(given.line, format!("the values of {what} are {given}, expected a list"))),
        };
        if given.is_empty() {
            return Err(source.wrong(kind.line, format!("{what} has no values; list one or more")));
        }
        let mut values = Vec::new();
        for node in given {
            let value = node.to_json();
            let changed = params::set(estimator, [(key.name.as_str(), value.clone())]).map_err(|error| {
                source.wrong(
                    if matches!(error, LearnError::UnknownParameter { .. }) { key.line } else { node.line },
                    error,
                )
            })?;
            refuse_out_of_range(&*changed).map_err(|error| source.wrong(node.line, error))?;
            if values.contains(&value) {
                return Err(source.wrong(node.line, format!("{what} lists {value} twice; remove one of them")));
            }
            values.push(value);
        }
        all.push(Parameter { name: key.name.clone(), values });
    }
    if all.is_empty() {
        return Err(source.wrong(node.line, "there are no parameters to try; name one or more"));
    }
    Ok(all)
}

/// `cv: 5`, or `cv: {n_splits: 5, shuffle: true, seed: 42}`.
fn cv(source: Source<'_>, node: &Node) -> Result<KFold> {
    let splits = |node: &Node| {
        let n_splits = source.whole("n_splits", node, 2)?;
        usize::try_from(n_splits).map_err(|error| source.wrong(node.line, error))
    };
    if !matches!(node.value, Value::Map(_)) {
        return splits(node).map(KFold::new);
    }
    let mut folds = KFold::default();
    let (mut shuffle, mut seed) = (false, None);
    for (key, value) in source.known_map("cv", node, &["n_splits", "shuffle", "seed"])? {
        match key.name.as_str() {
            "n_splits" => folds.n_splits = splits(value)?,
            "shuffle" => shuffle = source.boolean("shuffle", value)?,
            _ => seed = Some((value.line, source.whole("seed", value, 0)?)),
        }
    }
    match (shuffle, seed) {
        (true, seed) => folds.shuffle = Some(seed.map_or(0, |(_, seed)| seed)),
        (false, Some((line, _))) => {
            return Err(source.wrong(line, "seed does nothing without `shuffle: true`; add that or remove seed"));
        }
        (false, None) => {}
    }
    Ok(folds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GOOD: &str = "\
data: ../data/rides.csv
target: bikers
features: [temp, hr]
categorical: hr
estimator: {type: dummy_regressor, strategy: median}
method: grid
metric: {name: poisson_deviance, goal: minimize}
parameters:
  strategy: {values: [mean, median]}
cv: {n_splits: 3, shuffle: true, seed: 42}
";

    fn parse(text: &str) -> Result<SweepFile> {
        SweepFile::parse(Path::new("jobs/ride.yaml"), text)
    }

    /// What is said when one line of the good file is another.
    fn refused(old: &str, new: &str) -> String {
        assert!(GOOD.contains(old), "{old}");
        parse(&GOOD.replace(old, new)).expect_err("refused").to_string()
    }

    #[test]
    fn a_good_file_says_all_there_is_to_say() {
        let file = parse(GOOD).expect("good");
        assert_eq!(
            file.design,
            Design {
                data: vec!["data/rides.csv".to_owned()],
                target: "bikers".to_owned(),
                selection: Selection::Features(vec!["temp".to_owned(), "hr".to_owned()]),
                categorical: vec!["hr".to_owned()],
                reference: Vec::new(),
                log_target: false,
                formula: None,
                no_intercept: false,
                missing: MissingPolicy::default(),
                classes: false,
                roles: Roles::default(),
            }
        );
        assert_eq!((file.estimator_name.as_str(), file.scorer.name()), ("DummyRegressor", "mean_poisson_deviance"));
        let parameter = Parameter { name: "strategy".to_owned(), values: vec![json!("mean"), json!("median")] };
        assert_eq!((file.parameters, file.cv), (vec![parameter], KFold::new(3).shuffle(42)));
    }

    #[test]
    fn short_forms_mean_the_same() {
        let text = GOOD
            .replace("{type: dummy_regressor, strategy: median}", "DummyRegressor")
            .replace("{name: poisson_deviance, goal: minimize}", "neg_mean_poisson_deviance")
            .replace("{n_splits: 3, shuffle: true, seed: 42}", "3")
            .replace("features: [temp, hr]\n", "")
            + "standardize: true\n";
        let file = parse(&text).expect("good");
        assert_eq!((file.scorer.goal(), file.cv), (Goal::Maximize, KFold::new(3)));
        assert_eq!(file.design.selection, Selection::Drop(Vec::new()));
        assert_eq!((file.estimator.name(), file.full_name("strategy")), ("Pipeline", "model__strategy".to_owned()));
    }

    #[test]
    fn an_unknown_key_comes_with_its_line_and_the_nearest() {
        assert_eq!(
            refused("target:", "traget:"),
            "jobs/ride.yaml:2: unknown key \"traget\" in the sweep file (did you mean \"target\"?); known are data, \
             target, features, drop, categorical, estimator, standardize, method, metric, parameters, cv"
        );
        assert_eq!(
            refused("goal: minimize", "gaol: minimize"),
            "jobs/ride.yaml:7: unknown key \"gaol\" in metric (did you mean \"goal\"?); known are name, goal"
        );
        assert_eq!(
            refused("strategy: {values: [mean, median]}", "strategy: {vales: [mean]}"),
            "jobs/ride.yaml:9: unknown key \"vales\" in parameter strategy (did you mean \"values\"?); known are \
             values, value"
        );
        assert_eq!(
            refused("  strategy: {", "  strtegy: {"),
            "jobs/ride.yaml:9: DummyRegressor has no parameter \"strtegy\" (did you mean \"strategy\"?); it has strategy"
        );
        assert_eq!(
            refused("dummy_regressor", "dumy_regressor").split("; known").next(),
            Some("jobs/ride.yaml:5: there is no estimator \"dumy_regressor\" (did you mean \"dummy_regressor\"?)")
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(
            refused("goal: minimize", "goal: maximize"),
            "jobs/ride.yaml:7: goal is maximize, but mean_poisson_deviance is better when lower; write `goal: minimize`"
        );
        assert_eq!(
            refused("goal: minimize", "goal: minimise"),
            "jobs/ride.yaml:7: goal is \"minimise\", expected minimize or maximize (did you mean \"minimize\"?)"
        );
        assert_eq!(
            refused("[mean, median]", "[mean, mode]"),
            "jobs/ride.yaml:9: strategy is \"mode\", expected `mean` or `median`"
        );
        assert_eq!(
            refused("[mean, median]", "[]"),
            "jobs/ride.yaml:9: parameter strategy has no values; list one or more"
        );
        assert_eq!(
            refused("[mean, median]", "[mean, mean]"),
            "jobs/ride.yaml:9: parameter strategy lists \"mean\" twice; remove one of them"
        );
        assert_eq!(
            refused("grid", "bayes"),
            "jobs/ride.yaml:6: method is \"bayes\", expected grid; other methods come later"
        );
        assert_eq!(
            refused("n_splits: 3", "n_splits: 1"),
            "jobs/ride.yaml:10: n_splits is 1, expected a whole number, 2 or more"
        );
        assert_eq!(
            refused("shuffle: true", "shuffle: false"),
            "jobs/ride.yaml:10: seed does nothing without `shuffle: true`; add that or remove seed"
        );
        assert_eq!(
            refused("categorical: hr", "drop: hr"),
            "jobs/ride.yaml:4: features and drop exclude each other; keep one of them"
        );
        assert_eq!(
            refused("target: bikers\n", ""),
            "jobs/ride.yaml: there is no `target`; say the column to predict, as in `target: bikers`"
        );
        assert_eq!(refused("target: bikers", "target: [a]"), "jobs/ride.yaml:2: target is a list, expected a text");
    }
}
