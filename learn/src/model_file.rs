//! The model file: all that is needed to serve a model, and the proof that it is served right.
//!
//! One JSON document: format version, the estimator with its parameters, how tables become numbers (columns, levels,
//! training ranges), the certificate of the fit, the model, and golden rows: a few inputs as raw table rows with
//! what they were encoded to and what the model gave. Whoever reads the file gives it the golden rows first.

use std::path::Path;

use ndarray::{Array1, Array2, ArrayView1};
use phalanx_array::{Schema, TableBlock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Error, Estimator, Model, Result,
    files::write_atomically,
    json,
    preprocess::{FittedTableEncoder, RawRow, raw_rows},
};

/// The version of the format that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// How far a golden row may be from what it was: a mathematical library or another instruction set may move the last
/// digits, nothing else may.
const TOLERANCE: f64 = 1e-9;

const FORMAT: &str = "phalanx-model";
const N_GOLDEN: usize = 5;

/// A fitted model with everything around it.
///
/// ```
/// use ndarray::array;
/// use phalanx_array::{Column, Field, Schema, TableBlock};
/// use phalanx_learn::{DummyRegressor, Estimator, Fit, ModelFile, Transform, preprocess::TableEncoder};
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let schema = Schema::new(vec![Field::number("age"), Field::categorical("city", ["Ulm", "Basel"])])?;
/// let block = TableBlock::new(vec![Column::number(vec![31., 45.]), Column::categorical(vec![0, 1])])?;
/// let encoder = TableEncoder::new().fit((&schema, &block), ())?;
/// let x = encoder.transform((&schema, &block))?;
/// let estimator = DummyRegressor::new();
/// let model = estimator.fit_dyn(x.view(), array![1., 3.].view())?;
///
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("model.json");
/// ModelFile::new(&estimator, &*model, encoder, "income", (&schema, &block))?.save(&path)?;
/// let file = ModelFile::load(&path)?; // the golden rows give what they gave
/// assert_eq!(file.predict((&schema, &block), 0)?, array![2., 2.]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelFile {
    format: String,
    format_version: u32,
    /// The version of the program that wrote the file.
    pub phalanx_version: String,
    /// The name of y.
    pub target: String,
    /// What y's numbers stand for where the target was text: 0 for the first of these levels, 1 for the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_levels: Vec<String>,
    /// The columns of X, as the model sees them.
    pub feature_names: Vec<String>,
    /// The estimator with its parameters.
    pub estimator: Box<dyn Estimator>,
    /// The certificate of the fit, [`Model::report`].
    pub report: Value,
    /// How a table becomes X: columns, levels, training ranges.
    pub encoder: FittedTableEncoder,
    /// The model.
    pub model: Box<dyn Model>,
    /// A few inputs with what they gave.
    pub golden_rows: Vec<GoldenRow>,
}

/// An input with what it gave when the model was saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenRow {
    /// The row as it was in the table.
    pub row: RawRow,
    /// The row as the model saw it.
    #[serde(with = "json::floats")]
    pub encoded: Vec<f64>,
    /// What the model gave.
    #[serde(with = "json::float")]
    pub prediction: f64,
}

/// What is read before the rest, so that a newer file is not called broken.
#[derive(Deserialize)]
struct Header {
    format: Option<String>,
    format_version: Option<u32>,
}

impl ModelFile {
    /// Puts a model and all around it together; golden rows are drawn evenly from the given rows of the training
    /// table, of which there must be one at least.
    ///
    /// # Errors
    /// When the rows cannot be encoded or predicted, or the encoder is not the model's.
    pub fn new(
        estimator: &dyn Estimator,
        model: &dyn Model,
        encoder: FittedTableEncoder,
        target: impl Into<String>,
        (schema, block): (&Schema, &TableBlock),
    ) -> Result<Self> {
        if block.n_rows() == 0 {
            return Err(Error::Empty { what: "the table for golden rows" });
        }
        if encoder.n_features() != model.n_features() {
            return Err(Error::NFeatures { expected: model.n_features(), found: encoder.n_features() });
        }
        let n_golden = N_GOLDEN.min(block.n_rows());
        let rows: Vec<usize> = (0..n_golden).map(|golden| golden * block.n_rows() / n_golden).collect();
        let raw = raw_rows(&encoder, schema, block, &rows)?;
        // As a reader will do it, from the raw rows.
        let x = encoder.encode_raw(&raw)?;
        let predictions = model.predict_dyn(x.view())?;
        let golden_rows = raw.into_iter().zip(x.rows()).zip(predictions);
        let golden_rows = golden_rows
            .map(|((row, encoded), prediction)| GoldenRow { row, encoded: encoded.to_vec(), prediction })
            .collect();
        Ok(Self {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            phalanx_version: env!("CARGO_PKG_VERSION").to_owned(),
            target: target.into(),
            target_levels: Vec::new(),
            feature_names: encoder.feature_names(),
            estimator: estimator.clone_box(),
            report: model.report(),
            encoder,
            model: model.clone_box(),
            golden_rows,
        })
    }

    /// Sets what y's numbers stand for: those of a text's levels, in their order.
    #[must_use]
    pub fn target_levels<S: Into<String>>(mut self, levels: impl IntoIterator<Item = S>) -> Self {
        self.target_levels = levels.into_iter().map(Into::into).collect();
        self
    }

    /// What a class of the model's is called: the level of the text that the target was, or the number itself.
    pub fn class_name(&self, class: f64) -> String {
        class_name(&self.target_levels, class)
    }

    /// The same for a model of a matrix that never was a table.
    ///
    /// # Errors
    /// When there are not as many names as columns, or X cannot be predicted.
    pub fn of_matrix<S: Into<String>>(
        estimator: &dyn Estimator,
        model: &dyn Model,
        feature_names: impl IntoIterator<Item = S>,
        target: impl Into<String>,
        x: ndarray::ArrayView2<'_, f64>,
    ) -> Result<Self> {
        let encoder = FittedTableEncoder::of_numbers(feature_names, x)?;
        let fields = encoder.columns().iter().map(|column| phalanx_array::Field::number(column.name())).collect();
        let columns = x.columns().into_iter().map(|column| phalanx_array::Column::number(column.to_vec())).collect();
        let (schema, block) = (Schema::new(fields)?, TableBlock::new(columns)?);
        Self::new(estimator, model, encoder, target, (&schema, &block))
    }

    /// Predicts some rows of a table; `first_row` is where they begin in the whole table, for errors.
    ///
    /// # Errors
    /// When the rows cannot be encoded.
    pub fn predict(&self, (schema, block): (&Schema, &TableBlock), first_row: usize) -> Result<Array1<f64>> {
        self.model.predict_dyn(self.encoder.encode(schema, block, first_row)?.view())
    }

    /// Checks that the golden rows give what they gave, to 9 digits.
    ///
    /// # Errors
    /// The first golden row that does not, with both numbers.
    pub fn verify(&self) -> Result<()> {
        // A prediction near zero is what is left of larger terms: it is held against the largest of them all.
        let largest = self.golden_rows.iter().map(|golden| golden.prediction.abs()).filter(|size| size.is_finite());
        let largest = largest.fold(0., f64::max);
        for (row, golden) in self.golden_rows.iter().enumerate() {
            let x = self.encoder.encode_raw(std::slice::from_ref(&golden.row))?;
            same_row(row, "the encoded row", golden.encoded.as_slice().into(), &x, 0.)?;
            let prediction = self.model.predict_dyn(x.view())?.insert_axis(ndarray::Axis(0));
            same_row(row, "the prediction", ArrayView1::from(&[golden.prediction]), &prediction, largest)?;
        }
        Ok(())
    }

    /// The file's text.
    ///
    /// # Errors
    /// When the estimator or the model has no JSON form.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n").map_err(|error| Error::json("the model file", error))
    }

    /// Reads a file's text and checks its golden rows.
    ///
    /// # Errors
    /// When the text is not a model file, is cut off, is of a newer format or holds a model that this program does
    /// not know; when a golden row does not give what it gave.
    pub fn from_json(text: &str) -> Result<Self> {
        let header: Header = serde_json::from_str(text).map_err(|error| {
            let cut = if error.is_eof() { "; the file ends too early, copy or write it again" } else { "" };
            Error::json("not a model file", format!("{error}{cut}"))
        })?;
        if header.format.as_deref() != Some(FORMAT) {
            let problem = format!("it does not say \"format\": {FORMAT:?}; is it the file that was meant?");
            return Err(Error::json("not a model file", problem));
        }
        match header.format_version {
            Some(FORMAT_VERSION) => {}
            Some(version) if version > FORMAT_VERSION => {
                let problem = format!("{version}, this program reads up to {FORMAT_VERSION}; use a newer phalanx");
                return Err(Error::json("its format version is", problem));
            }
            other => {
                let found = other.map_or_else(|| "missing".to_owned(), |version| version.to_string());
                return Err(Error::json("its format version is", format!("{found}, expected {FORMAT_VERSION}")));
            }
        }
        let file: Self = serde_json::from_str(text).map_err(|error| Error::json("broken model file", error))?;
        if file.golden_rows.is_empty() {
            return Err(Error::json("broken model file", "it has no golden rows to check the model by"));
        }
        if file.feature_names != file.encoder.feature_names() || file.feature_names.len() != file.model.n_features() {
            return Err(Error::json("broken model file", "feature names, encoder and model do not agree"));
        }
        file.verify()?;
        Ok(file)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written; an older file is then still whole.
    pub fn save(&self, path: &Path) -> Result<()> {
        write_atomically(path, self.to_json()?.as_bytes()).map_err(|error| at(path, error))
    }

    /// Reads a file and checks its golden rows; only then may the model be served.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json), with the path.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| at(path, error))?;
        let text = String::from_utf8(bytes).map_err(|_| at(path, "not a model file: it is not text"))?;
        Self::from_json(&text).map_err(|error| at(path, error))
    }
}

/// What a class is called, given the levels of a target that was text, or none.
///
/// ```
/// use phalanx_learn::model_file::class_name;
/// assert_eq!(class_name(&["no".to_owned(), "yes".to_owned()], 1.), "yes");
/// assert_eq!(class_name(&[], 1.), "1");
/// ```
pub fn class_name(levels: &[String], class: f64) -> String {
    let place = (class.fract() == 0. && class >= 0.).then_some(class as usize);
    place.and_then(|place| levels.get(place)).cloned().unwrap_or_else(|| class.to_string())
}

fn at(path: &Path, problem: impl std::fmt::Display) -> Error {
    Error::ModelFile { path: path.display().to_string(), problem: problem.to_string() }
}

fn same_row(
    row: usize,
    what: &'static str,
    expected: ArrayView1<'_, f64>,
    got: &Array2<f64>,
    scale: f64,
) -> Result<()> {
    if expected.len() != got.len() {
        return Err(Error::NFeatures { expected: expected.len(), found: got.len() });
    }
    for (&expected, &got) in expected.iter().zip(got) {
        let close = (expected - got).abs() <= TOLERANCE * expected.abs().max(got.abs()).max(scale);
        // Equal covers infinities, whose difference is NaN.
        if !(close || expected == got || expected.is_nan() && got.is_nan()) {
            return Err(Error::GoldenRow { row, what, expected, got });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::{DummyRegressor, Pipeline, preprocess::StandardScaler};

    fn file() -> ModelFile {
        let x = Array2::from_shape_fn((12, 2), |(row, column)| (row * (column + 1)) as f64 / 7.);
        let pipeline =
            Pipeline::builder().step("scale", StandardScaler::new()).estimator("model", DummyRegressor::new());
        let model = pipeline.fit_dyn(x.view(), x.column(0)).expect("a model");
        ModelFile::of_matrix(&pipeline, &*model, ["a", "b"], "y", x.view()).expect("a file")
    }

    fn refused(text: &str) -> String {
        ModelFile::from_json(text).expect_err("refused").to_string()
    }

    #[test]
    fn it_comes_back_as_it_was() {
        let text = file().to_json().expect("JSON");
        let back = ModelFile::from_json(&text).expect("the same");
        assert_eq!(back.to_json().expect("JSON"), text);
        assert_eq!(back.feature_names, ["a", "b"]);
        assert_eq!(back.golden_rows.len(), 5);
        assert_eq!(back.golden_rows[1].encoded, [2. / 7., 4. / 7.]);
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.json");
        for _ in 0..2 {
            file().save(&path).expect("written");
            ModelFile::load(&path).expect("read");
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
        let error = file().save(&folder.path().join("none/model.json")).expect_err("no folder").to_string();
        assert!(error.starts_with("model file ") && error.contains("none/model.json: "), "{error}");
    }

    #[test]
    fn every_truncated_file_is_an_error() {
        let text = file().to_json().expect("JSON");
        for end in 0..text.trim_end().len() {
            let error = refused(&text[..end]);
            assert!(error.starts_with("not a model file: "), "cut at {end}: {error}");
        }
        let half = refused(&text[..text.len() / 2]);
        assert!(half.ends_with("; the file ends too early, copy or write it again"), "{half}");
    }

    #[test]
    fn garbage_and_the_future_are_told_apart() {
        assert!(refused("{]").starts_with("not a model file: "));
        assert!(refused("{}").contains(r#"it does not say "format": "phalanx-model""#));
        let newer = r#"{"format": "phalanx-model", "format_version": 2, "all": "different"}"#;
        assert_eq!(refused(newer), "its format version is: 2, this program reads up to 1; use a newer phalanx");
        let text = file().to_json().expect("JSON").replace("DummyModel", "MindReader");
        assert!(refused(&text).contains("unknown variant `MindReader`"), "{}", refused(&text));
    }

    #[test]
    fn a_model_that_gives_something_else_is_not_served() {
        let mut changed = file();
        changed.golden_rows[3].prediction = 1.;
        let text = changed.to_json().expect("JSON");
        let got = file().golden_rows[3].prediction;
        assert_eq!(
            refused(&text),
            format!("golden row 3: the prediction was 1 and is {got} here; this program must not serve the model")
        );
        let mut changed = file();
        changed.golden_rows[0].encoded[1] = 1e-3;
        assert!(
            refused(&changed.to_json().expect("JSON")).starts_with("golden row 0: the encoded row was 0.001 and is 0")
        );
        let mut changed = file();
        changed.golden_rows.clear();
        assert!(refused(&changed.to_json().expect("JSON")).contains("no golden rows"));
    }

    #[test]
    fn an_encoder_of_other_columns_is_refused() {
        let x = array![[1., 2.]];
        let model = DummyRegressor::new().fit_dyn(x.view(), array![1.].view()).expect("a model");
        let error = ModelFile::of_matrix(&DummyRegressor::new(), &*model, ["a"], "y", array![[1.]].view());
        assert_eq!(error.expect_err("refused").to_string(), "X has 1 columns, but the model was fitted on 2");
    }
}
