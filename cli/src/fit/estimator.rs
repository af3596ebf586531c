//! The estimator that a command line describes: names become a family, a link, and a number for each column.
//!
//! What no data could make good is refused here, before any are read; names of columns are held against the data.

use phalanx_glm::{Family, Glm, Link};
use phalanx_learn::{
    params,
    preprocess::{EncodedColumn, FittedTableEncoder},
};

use crate::{
    Error, Result, args::FitGlmArguments, error::did_you_mean, error::nearest, sweep_file::refuse_out_of_range,
};

const FAMILIES: [&str; 8] =
    ["gaussian", "binomial", "poisson", "gamma", "tweedie", "negative_binomial", "inverse_gaussian", "huber"];

const LINKS: [&str; 8] = ["identity", "log", "logit", "probit", "cloglog", "inverse", "sqrt", "power"];

/// An estimator, and what it is to be told when the columns are known.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) glm: Glm,
    penalty_factor: PerColumn,
    lower: PerColumn,
    upper: PerColumn,
}

/// Numbers by the name of a column.
#[derive(Debug)]
struct PerColumn {
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
        let defaults = Glm::default();
        let glm = Glm {
            family,
            link,
            alpha: arguments.alpha,
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
        Ok(Self {
            glm,
            penalty_factor: PerColumn::of("penalty_factor", &arguments.penalty_factor, "0 or more", |factor| {
                factor >= 0. && factor.is_finite()
            })?,
            lower: PerColumn::of("lower", &arguments.lower, "0 or below", |bound| bound <= 0.)?,
            upper: PerColumn::of("upper", &arguments.upper, "0 or above", |bound| bound >= 0.)?,
        })
    }

    /// The estimator for the columns that there are.
    pub(crate) fn for_columns(&self, encoder: &FittedTableEncoder) -> Result<Glm> {
        let names = encoder.feature_names();
        let mut glm = self.glm.clone();
        glm.penalty_factor = self.penalty_factor.spread(encoder, &names, 1.)?;
        // An infinite bound is none; a model file has no number for it.
        let bounds = |bounds: Vec<f64>| bounds.into_iter().map(|bound| bound.is_finite().then_some(bound)).collect();
        glm.lower = bounds(self.lower.spread(encoder, &names, f64::NEG_INFINITY)?);
        glm.upper = bounds(self.upper.spread(encoder, &names, f64::INFINITY)?);
        Ok(glm)
    }
}

impl PerColumn {
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
    fn spread(&self, encoder: &FittedTableEncoder, names: &[String], free: f64) -> Result<Vec<f64>> {
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
                return Err(self.unknown(column, encoder, names));
            }
        }
        // What is said of one of a column's levels is more than what is said of all.
        single.into_iter().for_each(|(place, number)| spread[place] = number);
        Ok(spread)
    }

    fn unknown(&self, column: &str, encoder: &FittedTableEncoder, names: &[String]) -> Error {
        let parameter = self.parameter;
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
}

/// The family with its parameter, which no other family may be given.
fn family(arguments: &FitGlmArguments) -> Result<Family> {
    let FitGlmArguments { theta, power, delta, .. } = arguments;
    let name = arguments.family.as_str();
    let family = match name {
        "gaussian" => Family::Gaussian,
        "binomial" => Family::Binomial,
        "poisson" => Family::Poisson,
        "gamma" => Family::Gamma,
        "tweedie" => Family::Tweedie { power: power.unwrap_or(1.5) },
        "negative_binomial" => Family::NegativeBinomial { theta: theta.unwrap_or(1.) },
        "inverse_gaussian" => Family::InverseGaussian,
        "huber" => Family::Huber { delta: delta.unwrap_or(1.35) },
        _ => return Err(unknown("family", name, &FAMILIES)),
    };
    let own = [("theta", theta, "negative_binomial"), ("power", power, "tweedie"), ("delta", delta, "huber")];
    for (parameter, value, of) in own {
        if let (Some(value), true) = (value, name != of) {
            let message = format!("{parameter} is {value}, but family is {name}; expected it with family {of} only");
            return Err(Error::usage(message));
        }
    }
    Ok(family)
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
