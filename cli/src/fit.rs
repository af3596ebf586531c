//! `phalanx fit glm`: one model, fitted where the data are.

use std::time::Instant;

use phalanx_array::ChunkedArray;
use phalanx_glm::{ChunkedResponse, Family};
use phalanx_learn::{FitOn, ModelFile};

use crate::{
    Error, Result,
    args::FitGlmArguments,
    data::{Design, Selection},
    job,
    output::{self, Screen},
    roles::{Roles, Sides},
};

pub(crate) mod estimator;
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
        let start = Instant::now();
        let model = glm.fit_on(client, &loaded.x, &response).await.map_err(Error::failed)?;
        let elapsed = start.elapsed().as_secs_f64();
        if let Some(path) = &arguments.output {
            let (schema, block) = &loaded.sample;
            ModelFile::new(&glm, &model, loaded.encoder.clone(), &design.target, (schema, block))
                .and_then(|file| file.save(path))
                .map_err(Error::failed)?;
        }
        report::warn(&model, &loaded.names, screen);
        if arguments.job.json {
            return screen.print_json(&report::as_json(&model, &loaded.names, elapsed));
        }
        screen.print(report::as_text(&model, &loaded.names, elapsed))?;
        if let Some(positive) = &loaded.positive {
            screen.print(format_args!("1 is {}={positive}.", design.target))?;
        }
        match &arguments.output {
            Some(path) => screen.print(format_args!("The model is in {}.", path.display())),
            None => Ok(()),
        }
    })
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
        },
    }
}

/// The target with what else is known of each row.
fn response(y: &ChunkedArray, sides: &Sides) -> ChunkedResponse {
    let Sides { weights, offset, exposure, trials } = sides;
    type Set = fn(ChunkedResponse, &ChunkedArray) -> ChunkedResponse;
    let all: [(&Option<ChunkedArray>, Set); 4] = [
        (weights, ChunkedResponse::sample_weight),
        (offset, ChunkedResponse::offset),
        (exposure, ChunkedResponse::exposure),
        (trials, ChunkedResponse::trials),
    ];
    all.into_iter().fold(ChunkedResponse::new(y), |response, (values, set)| match values {
        Some(values) => set(response, values),
        None => response,
    })
}
