//! The estimator that a command line describes: names become a family, a link, and a number for each column.
//!
//! What no data could make good is refused here, before any are read; names of columns are held against the data.

use phalanx_glm::{ClassWeight, Covariance, Family, Glm, GlmPath, Link, Select, Solver, WeightsKind};
use phalanx_learn::{
    params,
    preprocess::{EncodedColumn, FittedTableEncoder},
};

use super::{class_weight::ByClass, groups::Groups};
use crate::{
    Error, Result,
    args::{FitGlmArguments, OwnParameter},
    error::did_you_mean,
    error::nearest,
    sweep_file::refuse_out_of_range,
};

const FAMILIES: [&str; 9] = [
    "gaussian",
    "binomial",
    "poisson",
    "gamma",
    "tweedie",
    "negative_binomial",
    "inverse_gaussian",
    "huber",
    "quantile",
];

/// Is not of [`Glm`], which has one linear predictor.
pub(super) const MULTINOMIAL: &str = "multinomial";

const LINKS: [&str; 8] = ["identity", "log", "logit", "probit", "cloglog", "inverse", "sqrt", "power"];

/// Strengths on a path that only its cross-validation was asked of.
const N_LAMBDAS: usize = 100;

/// More strengths than anybody looks at, as the help says; beyond, a slip of the hand would take all memory.
const MAX_LAMBDAS: usize = 10_000;

/// Folds with which an error's own error can be told.
const MIN_FOLDS: usize = 3;

/// An estimator, and what it is to be told when the columns are known.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) glm: Glm,
    /// How sure intervals are to be.
    pub(crate) confidence: f64,
    /// Whether anything was said of standard errors, so that their absence is worth a word.
    pub(crate) asks_for_errors: bool,
    path: Option<GlmPath>,
    penalty_factor: PerColumn,
    penalty_group: Groups,
    lower: PerColumn,
    upper: PerColumn,
    class_weight: Option<ByClass>,
}

/// Numbers by the name of a column.
#[derive(Debug)]
pub(super) struct PerColumn {
    parameter: &'static str,
    numbers: Vec<(String, f64)>,
}

impl Asked {
    /// What the command line says.
    pub(crate) fn of(arguments: &FitGlmArguments) -> Result<Self> {
        let family = family(arguments)?;
        let link = arguments.link.as_deref().map(link).transpose()?;
        let in_use = link.unwrap_or(family.default_link());
        if let (Some(trials), false) = (&arguments.trials, family == Family::Binomial) {
            let message = format!("trials is {trials:?}, expected none for the {} family", family.name());
            return Err(Error::usage(message));
        }
        if let (Some(exposure), false) = (&arguments.exposure, has_exposure(in_use)) {
            let link = in_use.name();
            let message =
                format!("exposure is {exposure:?}, expected none for the {link} link; it is for log and cloglog");
            return Err(Error::usage(message));
        }
        let asks_for_errors = refuse_both(arguments)?;
        let confidence = arguments.confidence.unwrap_or(0.95);
        if !(confidence > 0. && confidence < 1.) {
            return Err(Error::usage(format!("confidence is {confidence}, expected above 0 and below 1")));
        }
        let covariance = covariance(arguments)?;
        let class_weight = ByClass::of(&arguments.class_weight)?;
        let defaults = Glm::default();
        let glm = Glm {
            family,
            link,
            estimate_parameter: estimates(arguments),
            weights_kind: weights_kind(arguments)?,
            quasi: arguments.quasi,
            // Which ones they are is known when the classes are.
            class_weight: class_weight.as_ref().map(|_| ClassWeight::Balanced),
            alpha: arguments.alpha.unwrap_or(0.),
            l1_ratio: arguments.l1_ratio,
            standardize: arguments.standardize,
            fit_intercept: !arguments.no_intercept,
            tol: arguments.tol.unwrap_or(defaults.tol),
            max_iter: arguments.max_iter.unwrap_or(defaults.max_iter),
            ..defaults
        };
        // Before it becomes JSON, which has no word for a NaN.
        refuse_out_of_range(&glm).map_err(Error::usage)?;
        let estimator = params::set(&glm, [("solver", arguments.solver.as_str())]).map_err(Error::usage)?;
        let glm = estimator.as_any().downcast_ref::<Glm>().cloned();
        let glm = glm.ok_or_else(|| Error::failed("the estimator is no Glm; this is a bug in phalanx, report it"))?;
        // Not every solver takes every family and penalty.
        refuse_out_of_range(&glm).map_err(Error::usage)?;
        // Groups come with the data, so an estimator that wants them has no ranges to check before.
        let glm = Glm { covariance, ..glm };
        let path = path(arguments)?;
        if let Some(path) = &path {
            // Folds, which are held against rows that there are none of yet, have had their turn.
            refuse_out_of_range(&GlmPath { cv: 0, ..path.clone() }).map_err(Error::usage)?;
        }
        Ok(Self {
            glm,
            confidence,
            asks_for_errors,
            path,
            penalty_factor: PerColumn::factors(&arguments.penalty_factor)?,
            penalty_group: Groups::of(&arguments.penalty_group)?,
            lower: PerColumn::of("lower", &arguments.lower, "0 or below", |bound| bound <= 0.)?,
            upper: PerColumn::of("upper", &arguments.upper, "0 or above", |bound| bound >= 0.)?,
            class_weight,
        })
    }

    /// Whether the solver takes categories as codes.
    pub(crate) const fn takes_codes(&self) -> bool {
        !matches!(self.glm.solver, Solver::Admm)
    }

    /// The path through the strengths of a model's penalty, where one was asked for.
    pub(crate) fn path(&self, glm: &Glm, n_rows: usize) -> Result<Option<GlmPath>> {
        let Some(path) = &self.path else { return Ok(None) };
        if path.cv > n_rows {
            let message = format!("cv is {}, expected {MIN_FOLDS} to {n_rows}, the number of rows", path.cv);
            return Err(Error::failed(message));
        }
        Ok(Some(GlmPath { glm: glm.clone(), ..path.clone() }))
    }

    /// The estimator for the columns that there are, and for the levels of a target that is text.
    pub(crate) fn for_data(&self, encoder: &FittedTableEncoder, levels: &[String]) -> Result<Glm> {
        let names = encoder.feature_names();
        let mut glm = self.glm.clone();
        glm.penalty_factor = self.penalty_factor.spread(encoder, &names, 1.)?;
        glm.penalty_groups = self.penalty_group.spread(encoder, &names)?;
        // An infinite bound is none; a model file has no number for it.
        let bounds = |bounds: Vec<f64>| bounds.into_iter().map(|bound| bound.is_finite().then_some(bound)).collect();
        glm.lower = bounds(self.lower.spread(encoder, &names, f64::NEG_INFINITY)?);
        glm.upper = bounds(self.upper.spread(encoder, &names, f64::INFINITY)?);
        glm.class_weight = self.class_weight.as_ref().map(|by| by.for_two(levels)).transpose()?;
        Ok(glm)
    }
}

impl PerColumn {
    /// What multiplies columns' penalties.
    pub(super) fn factors(texts: &[String]) -> Result<Self> {
        Self::of("penalty_factor", texts, "0 or more", |factor| factor >= 0. && factor.is_finite())
    }

    /// Reads `column=number`, each column once.
    fn of(parameter: &'static str, texts: &[String], expected: &str, allows: fn(f64) -> bool) -> Result<Self> {
        let mut numbers: Vec<(String, f64)> = Vec::new();
        for text in texts {
            // A column of the model has a `=` in its name, a number has none.
            let Some((column, number)) = text.rsplit_once('=').filter(|(column, _)| !column.is_empty()) else {
                return Err(Error::usage(format!("{parameter} is {text:?}, expected COLUMN=NUMBER")));
            };
            let value = number.trim().parse::<f64>().ok().filter(|value| allows(*value));
            let Some(value) = value else {
                let message = format!("{parameter} of {column:?} is {number:?}, expected a number, {expected}");
                return Err(Error::usage(message));
            };
            if numbers.iter().any(|(other, _)| other == column) {
                let message = format!("{parameter} names {column:?} twice, expected one number a column");
                return Err(Error::usage(message));
            }
            numbers.push((column.to_owned(), value));
        }
        Ok(Self { parameter, numbers })
    }

    /// A number for each column of the model; none at all where none was named.
    pub(super) fn spread(&self, encoder: &FittedTableEncoder, names: &[String], free: f64) -> Result<Vec<f64>> {
        if self.numbers.is_empty() {
            return Ok(Vec::new());
        }
        let mut spread = vec![free; names.len()];
        let mut single = Vec::new();
        for (column, number) in &self.numbers {
            if let Some(places) = encoder.features_of(column) {
                spread[places].fill(*number);
            } else if let Some(place) = names.iter().position(|name| name == column) {
                single.push((place, *number));
            } else {
                return Err(unknown_column(self.parameter, column, encoder, names));
            }
        }
        // What is said of one of a column's levels is more than what is said of all.
        single.into_iter().for_each(|(place, number)| spread[place] = number);
        Ok(spread)
    }
}

/// Names a column that has no coefficient.
pub(super) fn unknown_column(parameter: &str, column: &str, encoder: &FittedTableEncoder, names: &[String]) -> Error {
    let left_out = encoder.columns().iter().any(|encoded| match encoded {
        EncodedColumn::Categorical { name, levels } => {
            levels.first().is_some_and(|level| format!("{name}={level}") == column)
        }
        EncodedColumn::Number { .. } => false,
    });
    if left_out {
        let message = format!("{parameter} names {column:?}, which is the level left out and has no coefficient");
        return Error::failed(message);
    }
    let known = encoder.columns().iter().map(EncodedColumn::name).chain(names.iter().map(String::as_str));
    let near = nearest(column, known).map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    Error::failed(format!("{parameter} names {column:?}, which is no column to learn from{near}"))
}

/// Refuses what is for one strength of the penalty beside a path of them, and what is for a path or its folds without.
/// Says whether standard errors were spoken of.
fn refuse_both(arguments: &FitGlmArguments) -> Result<bool> {
    let text = |value: &Option<String>| value.as_ref().map(|value| format!("{value:?}"));
    let number = |value: &Option<f64>| value.as_ref().map(f64::to_string);
    let path = arguments.path.map(|n| format!("path is {n}"));
    let cv = arguments.cv.map(|k| format!("cv is {k}"));
    let errors = [
        ("confidence", number(&arguments.confidence)),
        ("covariance", text(&arguments.covariance)),
        ("group", text(&arguments.group)),
        ("weights_kind", text(&arguments.weights_kind)),
        ("quasi", arguments.quasi.then(|| "set".to_owned())),
    ];
    if let Some(path) = path.as_ref().or(cv.as_ref()) {
        if let Some(alpha) = arguments.alpha {
            let message = format!("alpha is {alpha} and {path}, expected one of them: a path finds its own strengths");
            return Err(Error::usage(message));
        }
        if !["auto", "irls"].contains(&arguments.solver.as_str()) {
            let message = format!("solver is {:?} and {path}, expected auto or irls for a path", arguments.solver);
            return Err(Error::usage(message));
        }
        if let Some((parameter, value)) = errors.iter().find_map(|(name, value)| Some((name, value.as_ref()?))) {
            let message =
                format!("{parameter} is {value} and {path}, expected one of them: a path has no standard errors");
            return Err(Error::usage(message));
        }
    }
    if let (Some(path), true) = (path.as_ref().or(cv.as_ref()), estimates(arguments)) {
        let parameter = if arguments.theta.is_some() { "theta" } else { "power" };
        let message = format!("{parameter} is estimate and {path}, expected a number for a path");
        return Err(Error::usage(message));
    }
    if let (Some(ratio), None, None) = (arguments.lambda_min_ratio, &path, &cv) {
        return Err(Error::usage(format!("lambda_min_ratio is {ratio}, expected it with path or cv only")));
    }
    let of_folds = [
        ("fold_column", text(&arguments.fold_column)),
        ("select", text(&arguments.select)),
        ("seed", arguments.seed.map(|seed| seed.to_string())),
    ];
    let of_folds = of_folds.iter().find_map(|(name, value)| Some((name, value.as_ref()?)));
    if let (Some((parameter, value)), None) = (of_folds, &cv) {
        return Err(Error::usage(format!("{parameter} is {value}, expected it with cv only")));
    }
    if let (Some(seed), Some(column)) = (arguments.seed, &arguments.fold_column) {
        let message = format!("seed is {seed} and fold_column is {column:?}, expected one of them: nothing is drawn");
        return Err(Error::usage(message));
    }
    Ok(errors.iter().any(|(_, value)| value.is_some()))
}

/// What standard errors rest on; groups are for the one that is clustered by them.
fn covariance(arguments: &FitGlmArguments) -> Result<Covariance> {
    let found = match arguments.covariance.as_deref() {
        None if arguments.group.is_some() => Covariance::Clustered,
        None | Some("nonrobust") => Covariance::Nonrobust,
        Some("hc1") => Covariance::Hc1,
        Some("clustered") => Covariance::Clustered,
        Some(other) => return Err(unknown("covariance", other, &["nonrobust", "hc1", "clustered"])),
    };
    match (found, &arguments.group) {
        (Covariance::Clustered, None) => {
            Err(Error::usage("covariance is \"clustered\" without group, expected the column of the groups"))
        }
        (Covariance::Nonrobust | Covariance::Hc1, Some(group)) => {
            let name = covariance_text(found);
            Err(Error::usage(format!("covariance is {name:?} and group is {group:?}, expected clustered with groups")))
        }
        _ => Ok(found),
    }
}

/// A covariance as it can be asked for.
pub(crate) const fn covariance_text(covariance: Covariance) -> &'static str {
    match covariance {
        Covariance::Hc1 => "hc1",
        Covariance::Clustered => "clustered",
        _ => "nonrobust",
    }
}

fn weights_kind(arguments: &FitGlmArguments) -> Result<WeightsKind> {
    match arguments.weights_kind.as_deref() {
        None | Some("frequency") => Ok(WeightsKind::Frequency),
        Some("precision") => Ok(WeightsKind::Precision),
        Some(other) => Err(unknown("weights_kind", other, &["frequency", "precision"])),
    }
}

/// The path, of a model that is not known yet.
fn path(arguments: &FitGlmArguments) -> Result<Option<GlmPath>> {
    let FitGlmArguments { path, cv, lambda_min_ratio, .. } = arguments;
    let select = match arguments.select.as_deref() {
        None | Some("min") => Select::Min,
        Some("1se") => Select::OneSe,
        Some(other) => return Err(unknown("select", other, &["min", "1se"])),
    };
    if path.is_none() && cv.is_none() {
        return Ok(None);
    }
    let n_lambdas = path.unwrap_or(N_LAMBDAS);
    if !(1..=MAX_LAMBDAS).contains(&n_lambdas) {
        return Err(Error::usage(format!("path is {n_lambdas}, expected 1 to 10,000")));
    }
    if let Some(cv) = cv.filter(|cv| *cv < MIN_FOLDS) {
        return Err(Error::usage(format!("cv is {cv}, expected {MIN_FOLDS} folds or more")));
    }
    let defaults = GlmPath::default();
    Ok(Some(GlmPath {
        n_lambdas,
        lambda_min_ratio: *lambda_min_ratio,
        cv: cv.unwrap_or(0),
        seed: arguments.seed.unwrap_or(defaults.seed),
        select,
        tol: arguments.tol.unwrap_or(defaults.tol),
        ..defaults
    }))
}

/// The family with its parameter, which no other family may be given.
fn family(arguments: &FitGlmArguments) -> Result<Family> {
    let FitGlmArguments { theta, power, delta, quantile, .. } = arguments;
    let name = arguments.family.as_str();
    let family = match name {
        "gaussian" => Family::Gaussian,
        "binomial" => Family::Binomial,
        "poisson" => Family::Poisson,
        "gamma" => Family::Gamma,
        "tweedie" => Family::Tweedie { power: given(*power).unwrap_or(1.5) },
        "negative_binomial" => Family::NegativeBinomial { theta: given(*theta).unwrap_or(1.) },
        "inverse_gaussian" => Family::InverseGaussian,
        "huber" => Family::Huber { delta: delta.unwrap_or(1.35) },
        "quantile" => Family::Quantile { quantile: quantile.unwrap_or(0.5) },
        _ => return Err(unknown("family", name, &[&FAMILIES[..], &[MULTINOMIAL]].concat())),
    };
    let [delta, quantile] = [delta, quantile].map(|number| number.map(OwnParameter::Number));
    let own = [
        ("theta", theta, "negative_binomial"),
        ("power", power, "tweedie"),
        ("delta", &delta, "huber"),
        ("quantile", &quantile, "quantile"),
    ];
    for (parameter, value, of) in own {
        if let (Some(value), true) = (value, name != of) {
            let message = format!("{parameter} is {value}, but family is {name}; expected it with family {of} only");
            return Err(Error::usage(message));
        }
    }
    Ok(family)
}

/// The number of a family's own parameter, where it is not to be estimated.
const fn given(parameter: Option<OwnParameter>) -> Option<f64> {
    match parameter {
        Some(OwnParameter::Number(number)) => Some(number),
        Some(OwnParameter::Estimate) | None => None,
    }
}

fn estimates(arguments: &FitGlmArguments) -> bool {
    [arguments.theta, arguments.power].contains(&Some(OwnParameter::Estimate))
}

/// A link by its name, a power as `power:-2`.
fn link(text: &str) -> Result<Link> {
    Ok(match text {
        "identity" => Link::Identity,
        "log" => Link::Log,
        "logit" => Link::Logit,
        "probit" => Link::Probit,
        "cloglog" => Link::Cloglog,
        "inverse" => Link::Inverse,
        "sqrt" => Link::Sqrt,
        "power" => return Err(Error::usage("link is \"power\", expected it with a number, as power:-2")),
        _ => {
            let Some(power) = text.strip_prefix("power:") else { return Err(unknown("link", text, &LINKS)) };
            match power.parse::<f64>() {
                Ok(power) if power.is_finite() => Link::Power(power),
                _ => {
                    return Err(Error::usage(format!("link is {text:?}, expected a number after power:, as power:-2")));
                }
            }
        }
    })
}

/// A link as it can be asked for.
pub(crate) fn link_text(link: Link) -> String {
    match link {
        Link::Power(power) => format!("power:{power}"),
        other => other.name().to_owned(),
    }
}

/// Whether the mean grows with an exposure whose logarithm is an offset.
pub(crate) const fn has_exposure(link: Link) -> bool {
    matches!(link, Link::Log | Link::Cloglog) || matches!(link, Link::Power(power) if power == 0.)
}

fn unknown(parameter: &str, value: &str, known: &[&str]) -> Error {
    let near = did_you_mean(value, known.iter().copied());
    Error::usage(format!("{parameter} is {value:?}, expected one of {}{near}", known.join(", ")))
}
