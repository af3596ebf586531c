//! `phalanx fit glm`: one model, or a path of them, fitted where the data are.

use std::{path::Path, time::Instant};

use phalanx_array::ChunkedArray;
use phalanx_glm::{ChunkedResponse, Family, Glm, GlmModel, GlmPath, PathModel};
use phalanx_learn::{Estimator, FitOn, Model, ModelFile, formula::Formula};

use crate::{
    Error, Result,
    args::FitGlmArguments,
    data::{Design, Loaded, MissingPolicy, Selection, Takes},
    job,
    output::{self, Screen, count},
    roles::{Roles, Sides},
};

mod class_weight;
pub(crate) mod estimator;
mod groups;
mod inference;
mod multinomial;
mod path;
mod report;

use estimator::Asked;

/// Fits, prints the coefficients, and writes the model where it is asked to.
pub(crate) fn fit_glm(arguments: &FitGlmArguments, screen: &Screen) -> Result<()> {
    if arguments.family == estimator::MULTINOMIAL {
        return multinomial::fit(arguments, screen);
    }
    let asked = Asked::of(arguments)?;
    if let Some(path) = &arguments.output {
        output::check_file(path)?;
    }
    let design = design(arguments)?;
    job::on_cluster(&arguments.job, screen, async |client| {
        let loaded = design.load(client, Takes { codes: asked.takes_codes(), reads: true }).await?;
        say_dropped(&loaded, screen);
        let glm = Glm { fit_intercept: loaded.has_intercept, ..asked.for_data(&loaded.encoder, &loaded.levels)? };
        if let (Some(positive), false) = (&loaded.positive, glm.family == Family::Binomial) {
            let message = format!(
                "the target {:?} is text (as {positive:?}), expected numbers for the {} family; use --family binomial",
                design.target, glm.family
            );
            return Err(Error::failed(message));
        }
        let response = response(&loaded.y, &loaded.sides);
        let path = asked.path(&glm, loaded.x.n_rows())?;
        let start = Instant::now();
        let found = match path {
            None => {
                let model = match &loaded.sparse {
                    Some(x) => glm.fit_on(client, x, &response).await,
                    None => glm.fit_on(client, &loaded.x, &response).await,
                };
                let model = model.map_err(Error::failed)?;
                Found::One(glm, Box::new(model))
            }
            Some(path) => {
                let model = match &loaded.sparse {
                    Some(x) => path.fit_on(client, x, &response).await,
                    None => path.fit_on(client, &loaded.x, &response).await,
                };
                let model = model.map_err(Error::failed)?;
                Found::Path(path, Box::new(model))
            }
        };
        let elapsed = start.elapsed().as_secs_f64();
        if let Some(file) = &arguments.output {
            found.save(file, &loaded, &design.target_name())?;
        }
        let names = &loaded.names;
        match &found {
            Found::One(glm, model) => {
                report::warn(model.report(), |column| model.coef()[column] == 0., names, screen);
                if asked.asks_for_errors && model.inference().is_none() {
                    inference::warn(glm, screen);
                }
            }
            Found::Path(_, model) => path::warn(model, screen),
        }
        if arguments.job.json {
            let mut answer = match &found {
                Found::One(_, model) => report::as_json(model, names, asked.confidence, elapsed),
                Found::Path(path, model) => path::as_json(path, model, names, elapsed),
            };
            answer["rows_dropped"] = loaded.n_dropped.into();
            return screen.print_json(&answer);
        }
        screen.print(match &found {
            Found::One(_, model) => report::as_text(model, names, asked.confidence, elapsed),
            Found::Path(path, model) => path::as_text(path, model, names, elapsed),
        })?;
        if let Some(positive) = &loaded.positive {
            screen.print(format_args!("1 is {}={positive}.", design.target))?;
        }
        match &arguments.output {
            Some(path) => screen.print(format_args!("The model is in {}.", path.display())),
            None => Ok(()),
        }
    })
}

/// What a fit has found: one model, or one for each strength of the penalty.
enum Found {
    One(Glm, Box<GlmModel>),
    Path(GlmPath, Box<PathModel>),
}

impl Found {
    /// Writes the model file.
    fn save(&self, file: &Path, loaded: &Loaded, target: &str) -> Result<()> {
        let (estimator, model): (&dyn Estimator, &dyn Model) = match self {
            Self::One(glm, model) => (glm, &**model),
            Self::Path(path, model) => {
                path::refuse_unwritable(model)?;
                (path, &**model)
            }
        };
        let (schema, block) = &loaded.sample;
        ModelFile::new(estimator, model, loaded.encoder.clone(), target, (schema, block))
            .and_then(|text| text.target_levels(&loaded.levels).save(file))
            .map_err(Error::failed)
    }
}

/// The data that the command line describes.
fn design(arguments: &FitGlmArguments) -> Result<Design> {
    let roles = Roles {
        weights: arguments.weights.clone(),
        offset: arguments.offset.clone(),
        log_offset: None,
        exposure: arguments.exposure.clone(),
        trials: arguments.trials.clone(),
        group: arguments.group.clone(),
        fold_column: arguments.fold_column.clone(),
        n_folds: arguments.cv.unwrap_or_default(),
    };
    let design = Design {
        data: arguments.data.clone(),
        target: arguments.target.clone().unwrap_or_default(),
        log_target: false,
        formula: None,
        selection: match &arguments.features[..] {
            [] => Selection::Drop(arguments.drop.clone()),
            features => Selection::Features(features.to_vec()),
        },
        categorical: arguments.categorical.clone(),
        reference: arguments.reference.clone(),
        no_intercept: arguments.no_intercept,
        missing: MissingPolicy::of(&arguments.missing)?,
        classes: false,
        roles,
    };
    match &arguments.formula {
        None => Ok(design),
        Some(text) => {
            // As it is, since the place of what is wrong stands in lines of its own.
            let formula = Formula::parse(text).map_err(|error| Error::Usage { message: error.to_string() })?;
            by_formula(design, formula)
        }
    }
}

/// The same data as a formula names their columns.
fn by_formula(design: Design, formula: Formula) -> Result<Design> {
    let owned = |columns: Vec<&str>| columns.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let mut roles = design.roles;
    for offset in formula.offsets() {
        if offset.log {
            roles.log_offset = Some(offset.column.clone());
        } else if let Some(other) = roles.offset.replace(offset.column.clone()) {
            let message = format!("--offset is {other:?} and --formula has an offset too, expected one of them");
            return Err(Error::usage(message));
        }
    }
    let selection = match (formula.has_dot(), owned(formula.columns())) {
        (true, _) => Selection::Drop(Vec::new()),
        (false, columns) => Selection::Features(columns),
    };
    let (target, log_target) = (formula.response().column.clone(), formula.response().log);
    if let (true, Some(trials)) = (log_target, &roles.trials) {
        return Err(Error::usage(format!("the target is log({target}), expected successes of --trials {trials}")));
    }
    let categorical = owned(formula.categorical());
    Ok(Design { target, log_target, selection, categorical, roles, formula: Some(formula), ..design })
}

/// Says what was left out of the data.
fn say_dropped(loaded: &Loaded, screen: &Screen) {
    if loaded.n_dropped > 0 {
        screen.say(format_args!("{} with missing values left out", count(loaded.n_dropped, "row")));
    }
}

/// The target with what else is known of each row.
fn response(y: &ChunkedArray, sides: &Sides) -> ChunkedResponse {
    let Sides { weights, offset, exposure, trials, groups, folds } = sides;
    type Set = fn(ChunkedResponse, &ChunkedArray) -> ChunkedResponse;
    let all: [(&Option<ChunkedArray>, Set); 6] = [
        (weights, ChunkedResponse::sample_weight),
        (offset, ChunkedResponse::offset),
        (exposure, ChunkedResponse::exposure),
        (trials, ChunkedResponse::trials),
        (groups, ChunkedResponse::groups),
        (folds, ChunkedResponse::folds),
    ];
    all.into_iter().fold(ChunkedResponse::new(y), |response, (values, set)| match values {
        Some(values) => set(response, values),
        None => response,
    })
}
