//! What a path of a falling penalty has found, for people and for programs.

use std::collections::BTreeSet;

use phalanx_glm::{GlmPath, PathModel, Select};
use serde_json::{Value, json};

use super::{
    estimator::link_text,
    inference,
    report::{add_parameter, by_name, kind},
};
use crate::{
    Error, Result,
    coef::Coefficients,
    output::{Screen, Table, column, count, number, seconds},
};

/// Places that a table shows of a path.
const MAX_SHOWN: usize = 20;

/// Says what a user should know before he trusts the path.
pub(super) fn warn(model: &PathModel, screen: &Screen) {
    let points = model.points();
    let open = points.iter().filter(|point| !point.converged).count();
    if open > 0 {
        let of = points.len();
        screen.say(format_args!(
            "warning: not converged at {open} of {of} strengths of the penalty; raise max_iter, or lambda_min_ratio"
        ));
    }
}

/// Refuses a path that would not come back from a file, which has no word for what is not finite.
pub(super) fn refuse_unwritable(model: &PathModel) -> Result<()> {
    let Some(cv) = model.cv() else { return Ok(()) };
    if cv.mean.iter().chain(&cv.sd).all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(Error::failed("the errors of held-out rows are not all finite; raise lambda_min_ratio, or take other folds"))
}

/// All of it, for programs. What is not finite is null.
pub(super) fn as_json(path: &GlmPath, model: &PathModel, names: &[String], seconds: f64) -> Value {
    let at = model.chosen();
    let points: Vec<Value> = model
        .points()
        .iter()
        .map(|point| {
            json!({
                "lambda": point.lambda,
                "dev_ratio": point.dev_ratio,
                "intercept": point.intercept,
                "coefficients": by_name(names, &point.coef),
            })
        })
        .collect();
    let cv = model.cv().map(|cv| {
        json!({
            "lambda": cv.lambda,
            "mean": cv.mean,
            "sd": cv.sd,
            "nonzero": cv.nonzero,
            "min": cv.lambda.get(cv.min),
            "one_se": cv.lambda.get(cv.one_se),
            "select": path.select,
            "folds": path.cv,
        })
    });
    let mut answer = json!({
        "family": model.family().name(),
        "link": link_text(model.link()),
        "lambda": at.lambda,
        "intercept": at.intercept,
        "coefficients": by_name(names, &at.coef),
        "deviance": at.deviance,
        "null_deviance": model.null_deviance(),
        "dev_ratio": at.dev_ratio,
        "rows": model.n_rows(),
        "passes": model.n_passes(),
        "converged": model.points().iter().all(|point| point.converged),
        "kkt_relative": at.kkt_relative,
        "path": points,
        "cv": cv,
        "seconds": seconds,
    });
    add_parameter(&mut answer, model.family());
    inference::add_nothing(&mut answer);
    answer
}

/// The path, and the coefficients at its chosen place, for people.
pub(super) fn as_text(path: &GlmPath, model: &PathModel, names: &[String], elapsed: f64) -> String {
    let Some(coefficients) = Coefficients::of(model, names) else { return String::new() };
    let at = model.chosen();
    let explained =
        if model.null_deviance() > 0. { format!(" ({:.1} % explained)", at.dev_ratio * 100.) } else { String::new() };
    let why = match (model.cv(), path.select) {
        (None, _) => "the last".to_owned(),
        (Some(_), Select::Min) => format!("the least error of {} folds", path.cv),
        (Some(_), Select::OneSe) => format!("the largest within a standard error of the least, of {} folds", path.cv),
    };
    format!(
        "{}\n\nAt lambda {}, place {} of {} ({why}):\n\n{}\n\n{} of {}, {} of them with no weight\n\
         deviance {} of {}{explained}\n\
         {} in {}; relative KKT residual {:.1e}",
        places(model),
        strength(at.lambda),
        model.chosen_place() + 1,
        model.points().len(),
        coefficients.to_table(),
        kind(model.family(), model.link()),
        format_args!("{} and {}", count(model.n_rows(), "row"), count(names.len(), "column")),
        coefficients.n_zero(),
        number(at.deviance),
        number(model.null_deviance()),
        if model.n_passes() == 1 { "1 pass".to_owned() } else { format!("{} passes", model.n_passes()) },
        seconds(elapsed),
        at.kkt_relative,
    )
}

/// A strength of the penalty, as `--alpha` takes it too; they differ by orders of magnitude.
fn strength(lambda: f64) -> String {
    if lambda == 0. { "0".to_owned() } else { format!("{lambda:.4e}") }
}

/// The path itself: all of a short one, of a long one some places and those that have a name.
fn places(model: &PathModel) -> Table {
    let points = model.points();
    let (n, cv) = (points.len(), model.cv());
    let shown: BTreeSet<usize> = if n <= MAX_SHOWN {
        (0..n).collect()
    } else {
        let even = (0..MAX_SHOWN).map(|k| k * (n - 1) / (MAX_SHOWN - 1));
        let named = cv.into_iter().flat_map(|cv| [cv.min, cv.one_se]);
        even.chain(named).chain([model.chosen_place()]).collect()
    };
    let number_of = |place: usize| points[place].coef.iter().filter(|coef| **coef != 0.).count();
    let mut rows: Vec<Vec<String>> = shown
        .iter()
        .map(|&place| {
            let point = &points[place];
            vec![strength(point.lambda), number_of(place).to_string(), format!("{:.2}", point.dev_ratio * 100.)]
        })
        .collect();
    let mut header = vec![">lambda", ">nonzero", ">deviance explained %"];
    if let Some(cv) = cv {
        header.extend([">mean error", ">+- sd", "mark"]);
        let pick = |values: &[f64]| column(&shown.iter().map(|place| values[*place]).collect::<Vec<_>>(), 6);
        let errors = pick(&cv.mean).into_iter().zip(pick(&cv.sd));
        for ((row, (mean, sd)), place) in rows.iter_mut().zip(errors).zip(&shown) {
            let marks = [("min", cv.min), ("1se", cv.one_se)];
            let marks: Vec<&str> = marks.iter().filter(|(_, at)| at == place).map(|(mark, _)| *mark).collect();
            row.extend([mean, sd, marks.join(", ")]);
        }
    }
    let mut table = Table::new(header);
    rows.into_iter().for_each(|row| table.row(row));
    table
}
