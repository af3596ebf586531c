//! What a fit has found, for people and for programs, and what is wrong with it by name.

use phalanx_glm::{Family, GlmModel, Link, Report, StopReason};
use serde_json::{Map, Value, json};

use super::{estimator::link_text, inference};
use crate::{
    coef::Coefficients,
    output::{Screen, count, number, seconds},
};

/// Columns that a warning names before it only counts.
const MAX_NAMED: usize = 20;

/// Says what a user should know before he trusts the coefficients, some of which are 0.
pub(crate) fn warn(report: &Report, is_zero: impl Fn(usize) -> bool, names: &[String], screen: &Screen) {
    let named = |columns: &[usize]| {
        let first: Vec<&str> = columns.iter().take(MAX_NAMED).map(|column| names[*column].as_str()).collect();
        let more = columns.len().saturating_sub(MAX_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", first.join(", "))
    };
    if !report.converged {
        // Which rows they are tells whether columns separate them all or some.
        let saturated = match (report.stop, report.n_saturated) {
            (StopReason::Separable, Some(n @ 1..)) => format!(" ({} told apart without doubt)", count(n, "row")),
            _ => String::new(),
        };
        screen.say(format_args!("warning: not converged: {}{saturated}", report.stop));
    }
    let constant = &report.constant_columns;
    if !constant.is_empty() {
        let which = named(constant);
        screen.say(format_args!("warning: constant, so left out with coefficient 0: {which}"));
    }
    let (out, kept): (Vec<usize>, Vec<usize>) = report.collinear_columns.iter().partition(|column| is_zero(**column));
    if !out.is_empty() {
        let which = named(&out);
        screen
            .say(format_args!("warning: collinear with columns before them, so left out with coefficient 0: {which}"));
    }
    if !kept.is_empty() {
        let which = named(&kept);
        screen.say(format_args!(
            "warning: collinear with columns before them at the optimum, so the coefficients are uncertain: {which}"
        ));
    }
    if let (Some(n @ 1..), true) = (report.n_saturated, report.stop != StopReason::Separable) {
        let rows = count(n, "row");
        screen.say(format_args!(
            "warning: saturated: the fitted probability of {rows} is as good as 0 or 1; \
             large coefficients are uncertain, a penalty (alpha) holds them"
        ));
    }
}

/// All of it, for programs. What is not finite is null.
pub(crate) fn as_json(model: &GlmModel, names: &[String], confidence: f64, seconds: f64) -> Value {
    let mut answer = json!({
        "family": model.family().name(),
        "link": link_text(model.link()),
        "intercept": model.intercept(),
        "coefficients": by_name(names, model.coef()),
        "seconds": seconds,
    });
    add_to_json(&mut answer, model.report(), names);
    add_parameter(&mut answer, model.family());
    add_estimate(&mut answer, model.report());
    inference::add_to_json(&mut answer, model, names, confidence);
    answer
}

/// Adds what is known of how the fit went.
pub(super) fn add_to_json(answer: &mut Value, report: &Report, names: &[String]) {
    let named = |columns: &[usize]| columns.iter().map(|column| names[*column].clone()).collect::<Vec<_>>();
    let more = json!({
        "solver": report.solver,
        "objective": report.objective,
        "deviance": report.deviance,
        "null_deviance": report.null_deviance,
        "rows": report.n_rows,
        "sum_weights": report.sum_weights,
        "iterations": report.n_iter,
        "passes": report.n_passes,
        "converged": report.converged,
        "stop": report.stop,
        "kkt_residual": report.kkt_residual,
        "kkt_relative": report.kkt_relative,
        "condition": report.condition,
        "duality_gap": report.duality_gap,
        "saturated_rows": report.n_saturated,
        "constant_columns": named(&report.constant_columns),
        "collinear_columns": named(&report.collinear_columns),
    });
    if let (Value::Object(answer), Value::Object(more)) = (answer, more) {
        answer.extend(more);
    }
}

/// Coefficients as an object of their columns' names.
pub(super) fn by_name<'a>(names: &[String], coef: impl IntoIterator<Item = &'a f64>) -> Map<String, Value> {
    names.iter().zip(coef).map(|(name, coef)| (name.clone(), (*coef).into())).collect()
}

/// A family's own parameter has the name by which it is asked for.
pub(super) fn add_parameter(answer: &mut Value, family: Family) {
    match family {
        Family::Tweedie { power } => answer["power"] = power.into(),
        Family::NegativeBinomial { theta } => answer["theta"] = theta.into(),
        Family::Quantile { quantile } => answer["quantile"] = quantile.into(),
        Family::Huber { delta } => answer["delta"] = delta.into(),
        _ => {}
    }
}

/// What is known of a parameter that was estimated, by its name.
fn add_estimate(answer: &mut Value, report: &Report) {
    let Some(estimate) = report.estimate else { return };
    let name = if matches!(estimate.family, Family::Tweedie { .. }) { "power" } else { "theta" };
    answer["estimated"] = json!({
        "parameter": name,
        "standard_error": estimate.standard_error,
        "dispersion": estimate.dispersion,
        "log_likelihood": estimate.log_likelihood,
        "turns": estimate.n_turns,
    });
}

/// A line, ended, of a parameter that was estimated; nothing of one that was not.
fn estimated(report: &Report) -> String {
    let Some(estimate) = report.estimate else { return String::new() };
    let (name, value) = match estimate.family {
        Family::Tweedie { power } => ("power", power),
        Family::NegativeBinomial { theta } => ("theta", theta),
        _ => return String::new(),
    };
    let error = estimate.standard_error.map_or_else(String::new, |error| format!(", standard error {}", number(error)));
    format!("{name} {} by maximum likelihood{error}\n", number(value))
}

/// `poisson model with sqrt link`.
pub(super) fn kind(family: Family, link: Link) -> String {
    if link == family.default_link() {
        format!("{family} model")
    } else {
        format!("{family} model with {} link", link_text(link))
    }
}

/// The coefficients and how they were found, for people.
pub(crate) fn as_text(model: &GlmModel, names: &[String], confidence: f64, elapsed: f64) -> String {
    let report = model.report();
    let Some(coefficients) = Coefficients::of(model, names) else { return String::new() };
    let explained = if report.null_deviance > 0. {
        format!(" ({:.1} % explained)", (1. - report.deviance / report.null_deviance) * 100.)
    } else {
        String::new()
    };
    let (table, likelihood) = match model.inference() {
        None => (coefficients.to_table(), String::new()),
        Some(inference) => {
            (inference::to_table(inference, &coefficients, confidence), inference::summary(inference, confidence))
        }
    };
    format!(
        "{table}\n\n{} of {}, {} of them with no weight\n\
         deviance {} of {}{explained}; objective {}\n\
         {likelihood}{}{} in {} ({}); KKT residual {:.1e}",
        kind(model.family(), model.link()),
        format_args!("{} and {}", count(report.n_rows, "row"), count(names.len(), "column")),
        coefficients.n_zero(),
        number(report.deviance),
        number(report.null_deviance),
        number(report.objective),
        estimated(report),
        count(report.n_iter, "step"),
        seconds(elapsed),
        report.stop,
        report.kkt_residual,
    )
}
