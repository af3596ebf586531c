//! `phalanx fit glm`: one model, fitted where the data are.

use std::time::Instant;

use phalanx_glm::{Family, Glm, GlmModel};
use phalanx_learn::{FitOn, ModelFile, params};
use serde_json::{Map, Value, json};

use crate::{
    Error, Result,
    args::FitGlmArguments,
    coef::Coefficients,
    data::{Design, Selection},
    job,
    output::{self, Screen, count, number, seconds},
    sweep_file::refuse_out_of_range,
};

/// Fits, prints the coefficients, and writes the model where it is asked to.
pub(crate) fn fit_glm(arguments: &FitGlmArguments, screen: &Screen) -> Result<()> {
    let glm = estimator(arguments)?;
    if let Some(path) = &arguments.output {
        output::check_file(path)?;
    }
    let design = Design {
        data: arguments.data.clone(),
        target: arguments.target.clone(),
        selection: match &arguments.features[..] {
            [] => Selection::Drop(arguments.drop.clone()),
            features => Selection::Features(features.to_vec()),
        },
        categorical: arguments.categorical.clone(),
    };
    job::on_cluster(&arguments.job, screen, async |client| {
        let loaded = design.load(client).await?;
        if let (Some(positive), false) = (&loaded.positive, glm.family == Family::Binomial) {
            let message = format!(
                "the target {:?} is text (as {positive:?}), expected numbers for the {} family; use --family binomial",
                design.target, glm.family
            );
            return Err(Error::failed(message));
        }
        let start = Instant::now();
        let model = glm.fit_on(client, &loaded.x, &loaded.y).await.map_err(Error::failed)?;
        let elapsed = start.elapsed().as_secs_f64();
        if let Some(path) = &arguments.output {
            let (schema, block) = &loaded.sample;
            ModelFile::new(&glm, &model, loaded.encoder.clone(), &design.target, (schema, block))
                .and_then(|file| file.save(path))
                .map_err(Error::failed)?;
        }
        if !model.report().converged {
            screen.say(format_args!("warning: not converged: {}", model.report().stop));
        }
        if arguments.job.json {
            return screen.print_json(&as_json(&model, &loaded.names, elapsed));
        }
        screen.print(as_text(&model, &loaded.names, elapsed))?;
        if let Some(positive) = &loaded.positive {
            screen.print(format_args!("1 is {}={positive}.", design.target))?;
        }
        match &arguments.output {
            Some(path) => screen.print(format_args!("The model is in {}.", path.display())),
            None => Ok(()),
        }
    })
}

/// The estimator that the command line describes.
fn estimator(arguments: &FitGlmArguments) -> Result<Glm> {
    let mut all: Vec<(&str, Value)> = vec![
        ("family", json!(arguments.family)),
        ("alpha", json!(arguments.alpha)),
        ("l1_ratio", json!(arguments.l1_ratio)),
        ("solver", json!(arguments.solver)),
        ("fit_intercept", json!(!arguments.no_intercept)),
    ];
    all.extend(arguments.tol.map(|tol| ("tol", json!(tol))));
    all.extend(arguments.max_iter.map(|max_iter| ("max_iter", json!(max_iter))));
    let estimator = params::set(&Glm::default(), all).map_err(Error::usage)?;
    refuse_out_of_range(&*estimator).map_err(Error::usage)?;
    let glm = estimator.as_any().downcast_ref::<Glm>().cloned();
    glm.ok_or_else(|| Error::failed("the estimator is no Glm; this is a bug in phalanx, report it"))
}

fn as_json(model: &GlmModel, names: &[String], seconds: f64) -> Value {
    let coefficients: Map<String, Value> =
        names.iter().zip(model.coef()).map(|(name, coef)| (name.clone(), (*coef).into())).collect();
    let report = model.report();
    json!({
        "intercept": model.intercept(),
        "coefficients": coefficients,
        "objective": report.objective,
        "deviance": report.deviance,
        "null_deviance": report.null_deviance,
        "iterations": report.n_iter,
        "converged": report.converged,
        "kkt_residual": report.kkt_residual,
        "seconds": seconds,
    })
}

fn as_text(model: &GlmModel, names: &[String], elapsed: f64) -> String {
    let report = model.report();
    let Some(coefficients) = Coefficients::of(model, names) else { return String::new() };
    let explained = if report.null_deviance > 0. {
        format!(" ({:.1} % explained)", (1. - report.deviance / report.null_deviance) * 100.)
    } else {
        String::new()
    };
    format!(
        "{}\n\n{} model of {}, {} of them with no weight\n\
         deviance {} of {}{explained}; objective {}\n\
         {} in {} ({}); KKT residual {:.1e}",
        coefficients.to_table(),
        model.family(),
        format_args!("{} and {}", count(report.n_rows, "row"), count(names.len(), "column")),
        coefficients.n_zero(),
        number(report.deviance),
        number(report.null_deviance),
        number(report.objective),
        count(report.n_iter, "step"),
        seconds(elapsed),
        report.stop,
        report.kkt_residual,
    )
}
