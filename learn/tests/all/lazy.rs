//! Lazy data give the bits of data in memory, however they are cut.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use phalanx_array::{ChunkedArray, Column, Field, PANEL, Schema, Table, TableBlock};
use phalanx_engine::{
    graph::{AnyDelayed, Argument, Collection, Delayed},
    task::Input,
    value::Value,
};
use phalanx_learn::{
    Estimator, Fit, Model, ModelFile, Pipeline, Result, Transform, lazy,
    preprocess::{StandardScaler, TableEncoder},
};
use serde::{Deserialize, Serialize};

/// The cluster of this test: runs what is described, here and at once, every value through bytes.
fn compute<C: Collection>(collection: &C) -> std::result::Result<C::Output, String> {
    fn run(node: &AnyDelayed) -> std::result::Result<Value, String> {
        if let Some(value) = node.as_value() {
            return Ok(value.clone());
        }
        let (def, arguments) = node.as_call().unwrap();
        let inputs = arguments.iter().map(|argument| match argument {
            Argument::One(node) => run(node).map(Input::One),
            Argument::Many(nodes) => nodes.iter().map(run).collect::<std::result::Result<_, _>>().map(Input::Many),
        });
        let value = (def.run)(&inputs.collect::<std::result::Result<Vec<_>, _>>()?)?;
        Ok(Value::from_data(value.to_data().unwrap()))
    }
    let values = collection.outputs().iter().map(run).collect::<std::result::Result<_, _>>()?;
    collection.assemble(values).map_err(|error| error.to_string())
}

/// Sums the columns: an estimator whose predictions differ from row to row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct RowSum {}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct RowSumModel {
    n_features: usize,
}

#[typetag::serde]
impl Estimator for RowSum {
    fn fit_dyn(&self, x: ArrayView2<'_, f64>, _: ArrayView1<'_, f64>) -> Result<Box<dyn Model>> {
        Ok(Box::new(RowSumModel { n_features: x.ncols() }))
    }
}

#[typetag::serde]
impl Model for RowSumModel {
    fn n_features(&self) -> usize {
        self.n_features
    }

    fn predict_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        phalanx_learn::validate::predict_data(x, self.n_features)?;
        Ok(x.sum_axis(ndarray::Axis(1)))
    }
}

const N_ROWS: usize = 41 * PANEL + 57;

fn table() -> (Schema, TableBlock) {
    let schema = Schema::new(vec![Field::number("age"), Field::categorical("city", ["Ulm", "Basel", "Graz", "Bonn"])]);
    let ages = (0..N_ROWS).map(|row| 1e3 + (row as f64 * 0.37).sin()).collect();
    let cities = (0..N_ROWS as u32).map(|row| if row == 9000 { 2 } else { row % 2 }).collect();
    (schema.unwrap(), TableBlock::new(vec![Column::number(ages), Column::categorical(cities)]).unwrap())
}

#[test]
fn a_table_is_encoded_scaled_and_predicted_with_the_same_bits() {
    let (schema, block) = table();
    let encoder = TableEncoder::new().fit((&schema, &block), ()).unwrap();
    assert_eq!(encoder.feature_names(), ["age", "city=Graz", "city=Ulm"]);
    let x = encoder.transform((&schema, &block)).unwrap();
    let scaler = StandardScaler::new().fit(&x, ()).unwrap();
    let scaled = scaler.transform(&x).unwrap();
    let pipeline = Pipeline::builder().step("scale", StandardScaler::new()).estimator("sum", RowSum {});
    let model = pipeline.fit_dyn(x.view(), x.column(0)).unwrap();
    let file = ModelFile::new(&pipeline, &*model, encoder.clone(), "y", (&schema, &block)).unwrap();
    let predicted = file.predict((&schema, &block), 0).unwrap();
    assert_eq!(predicted, scaled.sum_axis(ndarray::Axis(1)));

    for panels in [1, 3, 16, 64] {
        let table = Table::from_block(schema.clone(), block.clone(), panels * PANEL).unwrap();
        assert_eq!(compute(&TableEncoder::new().fit_lazy(&table).unwrap()).unwrap().0, encoder);
        let lazy_x = encoder.transform(&table).unwrap();
        assert_eq!(compute(&lazy_x).unwrap(), x.clone().into_dyn());
        assert_eq!(compute(&StandardScaler::new().fit_lazy(&lazy_x).unwrap()).unwrap(), scaler);
        assert_eq!(compute(&scaler.transform(&lazy_x).unwrap()).unwrap(), scaled.clone().into_dyn());
        assert_eq!(compute(&lazy::predict(&*model, &lazy_x).unwrap()).unwrap(), predicted.clone().into_dyn());
        assert_eq!(compute(&file.predict_table(&table).unwrap()).unwrap(), predicted.clone().into_dyn());
    }
}

#[test]
fn rows_in_errors_are_those_of_the_whole() {
    let (schema, block) = table();
    let known = TableEncoder::new().fit((&schema, &block.rows(0..100)), ()).unwrap();
    let table = Table::from_block(schema, block, PANEL).unwrap();
    let error = compute(&known.transform(&table).unwrap()).unwrap_err();
    assert!(error.contains(r#"column "city" has the level "Graz" in row 9000"#), "{error}");

    let mut x = Array2::zeros((1000, 2));
    x[(700, 1)] = f64::NAN;
    let x = ChunkedArray::from_array(x, PANEL).unwrap();
    let nan = "X has NaN in row 700, column 1; drop or fill such rows first";
    assert_eq!(compute(&StandardScaler::new().fit_lazy(&x).unwrap()).unwrap_err(), nan);
    assert_eq!(compute(&lazy::predict(&RowSumModel { n_features: 2 }, &x).unwrap()).unwrap_err(), nan);
}

#[test]
fn what_the_shape_shows_is_refused_at_once() {
    let x = ChunkedArray::zeros(&[1000, 2], PANEL).unwrap();
    let error = lazy::predict(&RowSumModel { n_features: 3 }, &x).unwrap_err().to_string();
    assert_eq!(error, "X has 2 columns, but the model was fitted on 3");
    let (schema, block) = table();
    let table = Table::from_block(schema, block, PANEL).unwrap();
    let error = TableEncoder::new().columns(["agee"]).fit_lazy(&table).unwrap_err().to_string();
    assert_eq!(error, r#"there is no column "agee"; did you mean "age"?"#);
    let _: Delayed<_> = TableEncoder::new().fit_lazy(&table).unwrap();
    assert!(StandardScaler::new().fit_lazy(&x.column(0).unwrap()).is_err());
}
