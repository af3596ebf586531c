//! `phalanx fit glm`: one model, or a path of them, fitted where the data are.

use std::{path::Path, time::Instant};

use phalanx_array::ChunkedArray;
use phalanx_glm::{ChunkedResponse, Family, Glm, GlmModel, GlmPath, PathModel};
use phalanx_learn::{Estimator, FitOn, Model, ModelFile};

use crate::{
    Error, Result,
    args::FitGlmArguments,
    data::{Design, Loaded, Selection},
    job,
    output::{self, Screen},
    roles::{Roles, Sides},
};

pub(crate) mod estimator;
mod inference;
mod path;
mod report;

use estimator::Asked;

/// Fits, prints the coefficients, and writes the model where it is asked to.
pub(crate) fn fit_glm(arguments: &FitGlmArguments, screen: &Screen) -> Result<()> {
    let asked = Asked::of(arguments)?;
    if let Some(path) = &arguments.output {
        output::check_file(path)?;
    }
    let design = design(arguments);
    job::on_cluster(&arguments.job, screen, async |client| {
        let loaded = design.load(client).await?;
        let glm = asked.for_columns(&loaded.encoder)?;
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
                let model = glm.fit_on(client, &loaded.x, &response).await.map_err(Error::failed)?;
                Found::One(glm, Box::new(model))
            }
            Some(path) => {
                let model = path.fit_on(client, &loaded.x, &response).await.map_err(Error::failed)?;
                Found::Path(path, Box::new(model))
            }
        };
        let elapsed = start.elapsed().as_secs_f64();
        if let Some(file) = &arguments.output {
            found.save(file, &loaded, &design.target)?;
        }
        let names = &loaded.names;
        match &found {
            Found::One(glm, model) => {
                report::warn(model, names, screen);
                if asked.asks_for_errors && model.inference().is_none() {
                    inference::warn(glm, screen);
                }
            }
            Found::Path(_, model) => path::warn(model, screen),
        }
        if arguments.job.json {
            return screen.print_json(&match &found {
                Found::One(_, model) => report::as_json(model, names, asked.confidence, elapsed),
                Found::Path(path, model) => path::as_json(path, model, names, elapsed),
            });
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
            .and_then(|text| text.save(file))
            .map_err(Error::failed)
    }
}

/// The data that the command line describes.
fn design(arguments: &FitGlmArguments) -> Design {
    Design {
        data: arguments.data.clone(),
        target: arguments.target.clone(),
        selection: match &arguments.features[..] {
            [] => Selection::Drop(arguments.drop.clone()),
            features => Selection::Features(features.to_vec()),
        },
        categorical: arguments.categorical.clone(),
        reference: arguments.reference.clone(),
        roles: Roles {
            weights: arguments.weights.clone(),
            offset: arguments.offset.clone(),
            exposure: arguments.exposure.clone(),
            trials: arguments.trials.clone(),
            group: arguments.group.clone(),
            fold_column: arguments.fold_column.clone(),
            n_folds: arguments.cv.unwrap_or_default(),
        },
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
