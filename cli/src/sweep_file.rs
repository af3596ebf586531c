//! Reads a sweep file: the shape that Weights & Biases users know, with every mistake named by file, line and key.
//!
//! Knows what a sweep is made of; it opens no data and starts no cluster.

use std::path::{Path, PathBuf};

use phalanx_learn::{Error as LearnError, Estimator, Goal, Pipeline, Scorer, json, params, preprocess::StandardScaler};
use phalanx_search::{
    Method, Params, Search,
    method::{Asha, Resource},
};

use crate::{
    Error, Result,
    data::{Design, MissingPolicy, Selection},
    error::did_you_mean,
    roles::Roles,
    sweep_cv::Cv,
    sweep_space::{self, Choice, Parameter},
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
    /// What else is scored beside it.
    pub(crate) metrics: Vec<Scorer>,
    /// What is tried, by parameter, in the file's order.
    pub(crate) parameters: Vec<Parameter>,
    /// How what is tried is chosen.
    pub(crate) choice: Choice,
    /// What draws follow from.
    pub(crate) seed: u64,
    /// How rows are split.
    pub(crate) cv: Cv,
    /// Whether the rows that were learned from are scored too.
    pub(crate) return_train_score: bool,
    /// What stands for the scores of a fold that failed.
    pub(crate) error_score: Option<f64>,
}

const KEYS: [&str; 22] = [
    "name",
    "description",
    "data",
    "target",
    "features",
    "drop",
    "categorical",
    "weights",
    "group",
    "estimator",
    "standardize",
    "method",
    "metric",
    "metrics",
    "parameters",
    "run_cap",
    "early_terminate",
    "enqueue",
    "seed",
    "cv",
    "return_train_score",
    "error_score",
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

        file.need("method", "how to search, as in `method: grid`")?;
        let standardize = file.get("standardize").map_or(Ok(false), |node| source.boolean("standardize", node))?;
        let described = file.need("estimator", "what to fit, as in `estimator: poisson_regression`")?;
        let inner = estimator(source, described)?;
        let estimator_name = inner.name().to_owned();
        let what = file.need("parameters", "what to try, as in `parameters: {alpha: {values: [0.1, 1]}}`")?;
        let parameters = sweep_space::parameters(source, what, &*inner)?;
        let choice = sweep_space::choice(source, entries, &parameters, &*inner)?;
        let cv = file.get("cv").map_or_else(|| Ok(Cv::new()), |node| Cv::parse(source, node))?;
        let design = design(&file, &cv)?;
        let estimator: Box<dyn Estimator> = if standardize {
            Box::new(Pipeline::builder().step("standardize", StandardScaler::new()).boxed_estimator(MODEL_STEP, inner))
        } else {
            inner
        };
        Ok(Self {
            design: Design { classes: estimator_name == CLASSIFIER, ..design },
            estimator,
            estimator_name,
            standardize,
            scorer: scorer(
                source,
                file.need("metric", "how to judge, as in `metric: {name: mean_squared_error, goal: minimize}`")?,
            )?,
            metrics: file.get("metrics").map_or_else(|| Ok(Vec::new()), |node| scorers(source, node))?,
            parameters,
            choice,
            seed: file.get("seed").map_or(Ok(0), |node| source.whole("seed", node, 0))?,
            cv,
            return_train_score: file
                .get("return_train_score")
                .map_or(Ok(false), |node| source.boolean("return_train_score", node))?,
            error_score: file.get("error_score").map(|node| number(source, "error_score", node)).transpose()?,
        })
    }

    /// The search that the file describes, but for a `cv` by a column, which only the data tell.
    pub(crate) fn search(&self) -> Search {
        let full = |params: &Params| -> Vec<(String, serde_json::Value)> {
            params.iter().map(|(name, value)| (self.full_name(name), value.clone())).collect()
        };
        let mut method = self.choice.method.clone();
        if let Method::Asha(Asha { resource: Resource::Param(name), .. }) = &mut method {
            *name = self.full_name(name);
        }
        let space = sweep_space::space(&self.parameters, |name| self.full_name(name));
        let others = self.metrics.iter().filter(|other| **other != self.scorer);
        let mut search = Search::boxed(self.estimator.clone(), method, space)
            .seed(self.seed)
            .metrics([&self.scorer].into_iter().chain(others).map(Scorer::name))
            .return_train_score(self.return_train_score);
        if let Cv::Rule(splitter) = &self.cv {
            search = search.cv(splitter.clone());
        }
        if let Some(error_score) = self.error_score {
            search = search.error_score(error_score);
        }
        self.choice.enqueue.iter().fold(search, |search, given| search.enqueue(full(given)))
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

fn design(file: &Keys<'_>, cv: &Cv) -> Result<Design> {
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
        roles: roles(file, cv)?,
    })
}

/// The columns that say something of each row and are nothing to learn from.
fn roles(file: &Keys<'_>, cv: &Cv) -> Result<Roles> {
    let source = file.source;
    let column = |name: &str| file.get(name).map(|node| source.text(name, node)).transpose();
    let group = column("group")?;
    let needs_groups = matches!(cv, Cv::Rule(splitter) if splitter.needs_groups());
    if needs_groups && group.is_none() {
        let line = file.get("cv").map_or(1, |node| node.line);
        let message = "cv is group_k_fold, but there is no `group`; say which column names the group of a row";
        return Err(source.wrong(line, message));
    }
    if let (Some(node), false) = (file.get("group"), needs_groups) {
        let message = "group does nothing without `cv: {type: group_k_fold}`; add that or remove group";
        return Err(source.wrong(node.line, message));
    }
    let (fold_column, n_folds) = match cv {
        Cv::Column { name, n_splits } => (Some(name.clone()), *n_splits),
        Cv::Rule(_) => (None, 0),
    };
    Ok(Roles { weights: column("weights")?, group, fold_column, n_folds, ..Roles::default() })
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

/// Metrics by their names.
fn scorers(source: Source<'_>, node: &Node) -> Result<Vec<Scorer>> {
    match &node.value {
        Value::List(items) => items.iter().map(|item| scorer(source, item)).collect(),
        _ => Ok(vec![scorer(source, node)?]),
    }
}

fn number(source: Source<'_>, what: &str, node: &Node) -> Result<f64> {
    let given = node.to_json().as_f64();
    given.ok_or_else(|| source.wrong(node.line, format!("{what} is {node}, expected a number")))
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

#[cfg(test)]
mod tests {
    use phalanx_learn::{GroupKFold, KFold};
    use phalanx_search::{
        method::{Proposals, Random, Tpe},
        space::Distribution,
    };
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
        let parameter = Parameter {
            name: "strategy".to_owned(),
            distribution: Distribution::choice(["mean", "median"]),
            when: Vec::new(),
        };
        assert_eq!((file.parameters, file.cv), (vec![parameter], Cv::Rule(KFold::new(3).shuffle(42).into())));
        assert_eq!((file.choice.method, file.seed), (Method::Grid, 0));
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
        assert_eq!((file.scorer.goal(), &file.cv), (Goal::Maximize, &Cv::Rule(KFold::new(3).into())));
        assert_eq!(file.design.selection, Selection::Drop(Vec::new()));
        assert_eq!((file.estimator.name(), file.full_name("strategy")), ("Pipeline", "model__strategy".to_owned()));
    }

    #[test]
    fn an_unknown_key_comes_with_its_line_and_the_nearest() {
        assert_eq!(
            refused("target:", "traget:"),
            "jobs/ride.yaml:2: unknown key \"traget\" in the sweep file (did you mean \"target\"?); known are name, \
             description, data, target, features, drop, categorical, weights, group, estimator, standardize, method, \
             metric, metrics, parameters, run_cap, early_terminate, enqueue, seed, cv, return_train_score, error_score"
        );
        assert_eq!(
            refused("goal: minimize", "gaol: minimize"),
            "jobs/ride.yaml:7: unknown key \"gaol\" in metric (did you mean \"goal\"?); known are name, goal"
        );
        assert_eq!(
            refused("strategy: {values: [mean, median]}", "strategy: {vales: [mean]}"),
            "jobs/ride.yaml:9: unknown key \"vales\" in parameter strategy (did you mean \"values\"?); known are \
             values, value, min, max, distribution, mu, sigma, q, probabilities, when"
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
            refused("grid", "bayse"),
            "jobs/ride.yaml:6: method is \"bayse\", expected grid, random, bayes (did you mean \"bayes\"?)"
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

    /// A sweep as Weights & Biases knows it, of an estimator with many parameters.
    const DRAWN: &str = "\
name: rides
data: rides.csv
target: bikers
weights: hours
group: rider
estimator: {type: poisson_regression, max_iter: 81}
standardize: true
method: bayes
metric: mse
metrics: [mae, r2]
parameters:
  alpha: {min: 0.001, max: 1.0, distribution: log_uniform_values}
  l1_ratio: {min: 0.0, max: 1.0}
  solver: {values: [irls, admm], probabilities: [0.75, 0.25]}
  tol: {value: 1.0e-6}
run_cap: 40
early_terminate: {type: hyperband, s: 2, eta: 3, resource: max_iter}
enqueue: [{alpha: 0.1}]
seed: 7
cv: {type: GroupKFold, n_splits: 3}
return_train_score: true
error_score: 1e9
";

    #[test]
    fn a_sweep_of_weights_and_biases_is_read_as_it_is() {
        let file = parse(DRAWN).expect("good");
        let distributions: Vec<Distribution> =
            file.parameters.iter().map(|parameter| parameter.distribution.clone()).collect();
        let expected = [
            Distribution::LogUniform { min: 0.001, max: 1., q: None },
            Distribution::Uniform { min: 0., max: 1., q: None },
            Distribution::Categorical {
                values: vec![json!("irls"), json!("admm")],
                probabilities: Some(vec![0.75, 0.25]),
            },
            Distribution::Constant { value: json!(1e-6) },
        ];
        assert_eq!(distributions, expected);
        let Method::Asha(asha) = &file.choice.method else { panic!("{:?}", file.choice.method) };
        assert_eq!(asha.resources().expect("rungs"), [9, 27, 81]);
        assert_eq!(asha.proposals, Proposals::Tpe(Tpe::new(40)));
        assert_eq!(file.cv, Cv::Rule(GroupKFold::new(3).into()));
        let roles = (file.design.roles.weights.as_deref(), file.design.roles.group.as_deref());
        assert_eq!(roles, (Some("hours"), Some("rider")));
        assert_eq!((file.seed, file.return_train_score, file.error_score), (7, true, Some(1e9)));
        assert!(file.search().check().expect("a search") > 3 * 40);
        let random = parse(&DRAWN.replace("bayes", "random").replace("early_terminate:", "#")).expect("good");
        assert_eq!(random.choice.method, Method::Random(Random::new(40)));
    }

    #[test]
    fn distributions_are_weights_and_biases() {
        let of = |text: &str| {
            let file = parse(&DRAWN.replace("{min: 0.0, max: 1.0}", text)).expect("good");
            file.parameters[1].distribution.clone()
        };
        let ranges = DRAWN.replace("l1_ratio", "max_iter").replace("resource: max_iter", "max_iter: 9");
        let whole = parse(&ranges.replace("{min: 0.0, max: 1.0}", "{min: 1, max: 9}")).expect("good");
        assert_eq!(whole.parameters[1].distribution, Distribution::IntUniform { min: 1, max: 9, step: 1 });
        let exponents = of("{distribution: log_uniform, min: -2, max: 0}");
        assert_eq!(exponents, Distribution::LogUniform { min: (-2_f64).exp(), max: 1., q: None });
        let steps = of("{distribution: q_uniform, min: 0, max: 1, q: 0.25}");
        assert_eq!(steps, Distribution::Uniform { min: 0., max: 1., q: Some(0.25) });
        assert_eq!(of("{mu: 0.5, sigma: 0.1}"), Distribution::Normal { mu: 0.5, sigma: 0.1, q: None });
        let file = parse(&DRAWN.replace("max: 1.0}", "max: 1.0, when: {solver: admm}}")).expect("good");
        assert_eq!(file.parameters[1].when[0].values, [json!("admm")]);
    }

    #[test]
    fn contradictions_are_named_by_line() {
        let refused = |old: &str, new: &str| {
            assert!(DRAWN.contains(old), "{old}");
            parse(&DRAWN.replace(old, new)).expect_err("refused").to_string()
        };
        assert_eq!(
            refused("method: bayes", "method: grid"),
            "jobs/ride.yaml:8: method is grid, but parameter alpha is drawn from a range; list its values or use \
             `method: random`"
        );
        assert_eq!(
            refused("run_cap: 40\n", ""),
            "jobs/ride.yaml:8: method is bayes, which ends at `run_cap`; say how many, as in `run_cap: 50`"
        );
        assert_eq!(
            refused("log_uniform_values", "log_uniform_valeus").split("; known").next(),
            Some(
                "jobs/ride.yaml:12: there is no distribution \"log_uniform_valeus\" (did you mean \"log_uniform_values\"?)"
            )
        );
        assert_eq!(
            refused("{min: 0.0, max: 1.0}", "{min: 0.0}"),
            "jobs/ride.yaml:13: parameter l1_ratio has no `max`; add it"
        );
        assert_eq!(refused("max: 1.0}\n", "max: 1.5}\n"), "jobs/ride.yaml:13: l1_ratio is 1.5, expected 0 to 1");
        assert_eq!(
            refused("{min: 0.0, max: 1.0}", "{min: 0.9, max: 0.1}"),
            "jobs/ride.yaml:13: parameter l1_ratio: min is 0.9 and max is 0.1, expected finite numbers, min not above max"
        );
        assert_eq!(
            refused("max: 1.0}\n", "max: 1.0, when: {solvr: admm}}\n"),
            "jobs/ride.yaml:13: parameter l1_ratio: it depends on \"solvr\", which is no parameter of the space (did you \
             mean \"solver\"?)"
        );
        assert_eq!(
            refused("max: 1.0}\n", "max: 1.0, values: [1]}\n"),
            "jobs/ride.yaml:13: parameter l1_ratio is categorical, which takes values, probabilities, and not min"
        );
        assert_eq!(
            refused("0.25]", "0.5]"),
            "jobs/ride.yaml:14: parameter solver: the probabilities sum to 1.25, expected 1"
        );
        assert_eq!(
            refused("type: hyperband", "type: median"),
            "jobs/ride.yaml:17: the type of early_terminate is \"median\", expected hyperband"
        );
        assert_eq!(
            refused("resource: max_iter", "resource: max_itr"),
            "jobs/ride.yaml:17: resource is \"max_itr\" (did you mean \"max_iter\"?), expected n_samples or a parameter \
             of the estimator in whole numbers"
        );
        assert_eq!(
            refused(", resource: max_iter", ""),
            "jobs/ride.yaml:17: early_terminate has no `max_iter`; say the largest budget, which all of the rows stand for"
        );
        assert_eq!(
            refused("s: 2", "s: 2, min_iter: 3"),
            "jobs/ride.yaml:17: min_iter and s exclude each other; keep one of them"
        );
        assert_eq!(refused("{alpha: 0.1}", "{alpha: -1}"), "jobs/ride.yaml:18: alpha is -1, expected 0 or more");
        assert_eq!(
            refused("group: rider\n", ""),
            "jobs/ride.yaml:19: cv is group_k_fold, but there is no `group`; say which column names the group of a row"
        );
        assert_eq!(
            refused("type: GroupKFold, ", ""),
            "jobs/ride.yaml:5: group does nothing without `cv: {type: group_k_fold}`; add that or remove group"
        );
        assert_eq!(
            refused("[mae, r2]", "[mae, r2_scor]").split("; known").next(),
            Some("jobs/ride.yaml:10: there is no metric \"r2_scor\" (did you mean \"r2_score\"?)")
        );
    }
}
