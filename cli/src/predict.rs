//! `phalanx predict`: a model file and rows, in their order.

use phalanx_array::{Block, ChunkedArray, Table};
use phalanx_datasets::{CsvOptions, read_table};
use phalanx_engine::{graph::Delayed, task};
use phalanx_glm::{GlmModel, Link, PathModel};
use phalanx_learn::{ModelFile, Transform, files::write_atomically, preprocess::EncodedColumn};
use phalanx_runtime::Client;
use serde_json::json;

use crate::{
    Error, Result,
    args::PredictArguments,
    data::on_cluster,
    fit::estimator::{has_exposure, link_text},
    job,
    output::{self, Screen, count},
    roles::Roles,
};

/// Predicts, and writes one CSV file.
pub(crate) fn predict(arguments: &PredictArguments, screen: &Screen) -> Result<()> {
    output::check_file(&arguments.output)?;
    // Loading holds the model against its golden rows.
    let file = ModelFile::load(&arguments.model).map_err(Error::failed)?;
    let roles = Roles { offset: arguments.offset.clone(), exposure: arguments.exposure.clone(), ..Roles::default() };
    let glm = with_offset(&file, &roles)?;
    let names = |wanted: bool| {
        let columns = file.encoder.columns().iter();
        columns
            .filter(move |column| matches!(column, EncodedColumn::Categorical { .. }) == wanted)
            .map(EncodedColumn::name)
    };
    let options = CsvOptions::new()
        .columns(file.encoder.columns().iter().map(EncodedColumn::name).chain(roles.columns()))
        .categorical(names(true))
        .numeric(names(false).chain(roles.columns()));
    let table = read_table(arguments.data.clone(), &options).map_err(Error::failed)?;
    job::on_cluster(&arguments.job, screen, async |client| {
        let predictions = match glm {
            None => file.predict_table(&table).map_err(Error::failed)?,
            Some(glm) => predict_with_offset(client, glm, &file, &table, &roles).await?,
        };
        let predictions = client.compute(&predictions).await.map_err(on_cluster)?;
        let mut text = "prediction\n".to_owned();
        for prediction in &predictions {
            text += &format!("{prediction:?}\n");
        }
        let path = &arguments.output;
        write_atomically(path, text.as_bytes()).map_err(|error| Error::file("write", path, &error))?;
        if arguments.job.json {
            let answer =
                json!({ "rows": predictions.len(), "target": file.target, "output": path.display().to_string() });
            return screen.print_json(&answer);
        }
        let rows = count(predictions.len(), "prediction");
        screen.print(format_args!("{rows} of {} written to {}.", file.target, path.display()))
    })
}

/// A model that can have something added to its linear predictor.
#[derive(Clone, Copy)]
enum WithOffset<'a> {
    Glm(&'a GlmModel),
    Path(&'a PathModel),
}

impl WithOffset<'_> {
    const fn link(self) -> Link {
        match self {
            Self::Glm(glm) => glm.link(),
            Self::Path(path) => path.link(),
        }
    }

    fn predict(self, x: &ChunkedArray, offset: &ChunkedArray) -> Result<ChunkedArray> {
        match self {
            Self::Glm(glm) => glm.predict_chunks_with_offset(x, offset).map_err(Error::failed),
            Self::Path(path) => {
                let model = Delayed::value(path.clone());
                let offset = offset.rechunk_as(&x.axes()[..1]).map_err(Error::failed)?;
                let blocks = x.row_blocks().into_iter().zip(offset.blocks());
                let blocks = blocks.map(|(x, offset)| predict_path::delayed(&model, x, offset)).collect();
                ChunkedArray::from_blocks(offset.axes(), blocks).map_err(Error::failed)
            }
        }
    }
}

/// The means of some rows at the chosen place of a path, each row at its own offset.
#[task(name = "cli.predict_path")]
fn predict_path(model: &PathModel, x: &Block, offset: &Block) -> Result<Block, String> {
    let eta = model.decision_function(x.view2()).map_err(|error| error.to_string())?;
    let means = eta.iter().zip(offset.as_slice()).map(|(eta, offset)| model.link().mean(eta + offset));
    Ok(Block::new(&[eta.len()], means.collect::<Vec<_>>()))
}

/// The model to predict with an offset; none where no offset is asked for.
fn with_offset<'a>(file: &'a ModelFile, roles: &Roles) -> Result<Option<WithOffset<'a>>> {
    let Some((role, column)) = roles.named().next() else { return Ok(None) };
    let model = file.model.as_any();
    let path = || model.downcast_ref::<PathModel>().map(WithOffset::Path);
    let Some(glm) = model.downcast_ref::<GlmModel>().map(WithOffset::Glm).or_else(path) else {
        let message = format!("{role} is {column:?}, expected none: the model is no plain GLM, as fit glm writes them");
        return Err(Error::usage(message));
    };
    if let (Some(exposure), false) = (&roles.exposure, has_exposure(glm.link())) {
        let link = link_text(glm.link());
        let message = format!("exposure is {exposure:?}, expected none for the model's {link} link");
        return Err(Error::usage(message));
    }
    Ok(Some(glm))
}

/// Predicts at each row's own offset and exposure, which are looked at first.
async fn predict_with_offset(
    client: &Client,
    glm: WithOffset<'_>,
    file: &ModelFile,
    table: &Table,
    roles: &Roles,
) -> Result<ChunkedArray> {
    let table = client.persist(table).await.map_err(on_cluster)?;
    let encoder = roles.encoder().fit_lazy(&table).map_err(Error::failed)?;
    let encoder = client.compute(&encoder).await.map_err(on_cluster)?;
    let sides = roles.sides(client, &table, &encoder).await?;
    let x = file.encoder.transform(&table).map_err(Error::failed)?;
    let offset = match (sides.offset, sides.exposure.map(|exposure| exposure.ln())) {
        (Some(offset), Some(logs)) => offset.try_add(&logs).map_err(Error::failed)?,
        (Some(offset), None) | (None, Some(offset)) => offset,
        (None, None) => return file.predict_table(&table).map_err(Error::failed),
    };
    glm.predict(&x, &offset)
}
