//! Standard errors, tests and criteria of a fit, for people and for programs.

use phalanx_glm::{Glm, GlmModel, Inference};
use serde_json::{Map, Value, json};

use super::estimator::covariance_text;
use crate::{
    coef::Coefficients,
    output::{Screen, Table, digits, number},
};

/// What a program finds in every answer, null where nothing can be said.
const KEYS: [&str; 15] = [
    "standard_errors",
    "z",
    "statistic",
    "p",
    "confidence_intervals",
    "confidence",
    "covariance",
    "log_likelihood",
    "aic",
    "bic",
    "dispersion",
    "pearson_chi2",
    "pseudo_r2",
    "df_residual",
    "observations",
];

/// What is said of each term, the intercept first; NaN where a term was not estimated.
struct Terms {
    errors: Vec<f64>,
    statistics: Vec<f64>,
    p_values: Vec<f64>,
    intervals: Vec<[f64; 2]>,
}

impl Terms {
    fn of(inference: &Inference, terms: &[f64], confidence: f64) -> Self {
        let errors = inference.standard_errors().to_vec();
        let reach = inference.quantile(confidence);
        let statistics: Vec<f64> = terms.iter().zip(&errors).map(|(term, error)| term / error).collect();
        Self {
            p_values: statistics.iter().map(|statistic| inference.p_value(*statistic)).collect(),
            intervals: terms
                .iter()
                .zip(&errors)
                .map(|(term, error)| [term - reach * error, term + reach * error])
                .collect(),
            statistics,
            errors,
        }
    }
}

/// Says why there are no standard errors to one who asked for some.
pub(super) fn warn(glm: &Glm, screen: &Screen) {
    let is_bounded = glm.lower.iter().chain(&glm.upper).any(Option::is_some);
    let why = if glm.alpha > 0. || is_bounded {
        "coefficients are penalised or bounded"
    } else {
        "there are too few rows or groups, or too many columns"
    };
    screen.say(format_args!("warning: no standard errors: {why}"));
}

/// Adds all that is known beyond the coefficients.
pub(super) fn add_to_json(answer: &mut Value, model: &GlmModel, names: &[String], confidence: f64) {
    let Some(inference) = model.inference() else { return add_nothing(answer) };
    let coefficients: Vec<f64> = std::iter::once(model.intercept()).chain(model.coef().iter().copied()).collect();
    let terms = Terms::of(inference, &coefficients, confidence);
    let named = |values: &[Value]| {
        let mut all: Map<String, Value> = names.iter().cloned().zip(values.iter().skip(1).cloned()).collect();
        // A column that is called so, as one of ones, has no coefficient beside the intercept.
        if let Some(first) = values.first().filter(|first| !first.is_null() || !all.contains_key("intercept")) {
            all.insert("intercept".to_owned(), first.clone());
        }
        Value::Object(all)
    };
    let numbers = |values: &[f64]| named(&values.iter().map(|value| (*value).into()).collect::<Vec<_>>());
    let interval = |[low, high]: &[f64; 2]| if low.is_nan() { Value::Null } else { json!([low, high]) };
    let values: [Value; KEYS.len()] = [
        numbers(&terms.errors),
        numbers(&terms.statistics),
        statistic(inference).into(),
        numbers(&terms.p_values),
        named(&terms.intervals.iter().map(interval).collect::<Vec<_>>()),
        confidence.into(),
        covariance_text(inference.kind).into(),
        inference.log_likelihood.into(),
        inference.aic.into(),
        inference.bic.into(),
        inference.dispersion.into(),
        inference.pearson_chi2.into(),
        inference.pseudo_r2.into(),
        inference.df_residual.into(),
        inference.n_observations.into(),
    ];
    KEYS.into_iter().zip(values).for_each(|(key, value)| answer[key] = value);
}

/// The same of a fit of which nothing more is known.
pub(super) fn add_nothing(answer: &mut Value) {
    KEYS.into_iter().for_each(|key| answer[key] = Value::Null);
}

/// The coefficients with what is known of each.
pub(super) fn to_table(inference: &Inference, coefficients: &Coefficients, confidence: f64) -> Table {
    let raw = &coefficients.raw;
    let values: Vec<f64> = std::iter::once(raw.intercept).chain(raw.coef.iter().copied()).collect();
    let terms = Terms::of(inference, &values, confidence);
    let dash = |value: f64, text: String| if value.is_nan() { "-".to_owned() } else { text };
    let shown = |values: &[f64]| values.iter().map(|value| dash(*value, digits(*value))).collect::<Vec<_>>();
    let side = |place: usize| terms.intervals.iter().map(|interval| interval[place]).collect::<Vec<_>>();
    let p_values = terms.p_values.iter().map(|p| match *p {
        0. => "0".to_owned(),
        p if p < 0.0001 => format!("{p:.1e}"),
        p => dash(p, format!("{p:.4}")),
    });
    let percent = percent(confidence);
    let header = [
        "column".to_owned(),
        ">coefficient".to_owned(),
        ">std. error".to_owned(),
        format!(">{}", statistic(inference)),
        ">p value".to_owned(),
        format!(">{percent} lower"),
        format!(">{percent} upper"),
    ];
    let mut table = Table::new(header.iter().map(String::as_str));
    let names = std::iter::once("intercept").chain(coefficients.names.iter().map(String::as_str));
    let columns = [
        names.map(str::to_owned).collect(),
        shown(&values),
        shown(&terms.errors),
        terms.statistics.iter().map(|value| dash(*value, format!("{value:.3}"))).collect(),
        p_values.collect(),
        shown(&side(0)),
        shown(&side(1)),
    ];
    for row in 0..values.len() {
        table.row(columns.iter().map(|column| column[row].as_str()));
    }
    table
}

/// What is known of the fit as a whole: a line, ended.
pub(super) fn summary(inference: &Inference, confidence: f64) -> String {
    let known = [
        ("log-likelihood", inference.log_likelihood),
        ("AIC", inference.aic),
        ("BIC", inference.bic),
        // Where it is 1 by definition it says nothing.
        ("dispersion", Some(inference.dispersion).filter(|_| inference.dispersion_is_estimated)),
        ("pseudo R2", inference.pseudo_r2),
    ];
    let known: Vec<String> =
        known.iter().filter_map(|(name, value)| Some(format!("{name} {}", number((*value)?)))).collect();
    format!(
        "{}\n{} standard errors, {} intervals by {} with {} residual degrees of freedom\n",
        known.join(", "),
        covariance_text(inference.kind),
        percent(confidence),
        statistic(inference),
        inference.df_residual,
    )
}

/// An estimated dispersion makes a t of what is a z otherwise.
const fn statistic(inference: &Inference) -> &'static str {
    if inference.dispersion_is_estimated { "t" } else { "z" }
}

/// `95 %`, without the digits that doubling leaves.
fn percent(confidence: f64) -> String {
    format!("{} %", (confidence * 1e12).round() / 1e10)
}
