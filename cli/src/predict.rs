//! `phalanx predict`: a model file and rows, in their order.

use phalanx_datasets::{CsvOptions, read_csv};
use phalanx_learn::{ModelFile, files::write_atomically, preprocess::EncodedColumn};
use serde_json::json;

use crate::{
    Error, Result,
    args::PredictArguments,
    data::on_cluster,
    job,
    output::{self, Screen, count},
};

/// Predicts, and writes one CSV file.
pub(crate) fn predict(arguments: &PredictArguments, screen: &Screen) -> Result<()> {
    output::check_file(&arguments.output)?;
    // Loading holds the model against its golden rows.
    let file = ModelFile::load(&arguments.model).map_err(Error::failed)?;
    let names = |wanted: bool| {
        let columns = file.encoder.columns().iter();
        columns
            .filter(move |column| matches!(column, EncodedColumn::Categorical { .. }) == wanted)
            .map(EncodedColumn::name)
    };
    let options = CsvOptions::new()
        .columns(file.encoder.columns().iter().map(EncodedColumn::name))
        .categorical(names(true))
        .numeric(names(false));
    let table = read_csv(arguments.data.clone(), &options).map_err(Error::failed)?;
    job::on_cluster(&arguments.job, screen, async |client| {
        let predictions = file.predict_table(&table).map_err(Error::failed)?;
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
