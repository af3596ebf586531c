//! Fitted things on lazy data: they add tasks and run nothing.
//!
//! The same numbers come out as in memory, bit for bit; who computes them is not known here.

use ndarray::Array1;
use phalanx_array::{ChunkedArray, Chunks, Schema, Table};
use phalanx_engine::graph::Delayed;
use phalanx_runtime::Client;

use crate::{
    Error, FitOn, Json, Model, ModelFile, Result, Transform,
    preprocess::{FittedStandardScaler, FittedTableEncoder, StandardScaler, TableEncoder},
    tasks,
};

/// The prediction for each row of a lazy X, as a lazy array of one axis.
///
/// # Errors
/// When X has not the model's columns. What only the numbers show, as a NaN, fails when it is computed.
///
/// ```
/// use phalanx_array::ChunkedArray;
/// use phalanx_learn::{DummyRegressor, Estimator, lazy::predict};
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let x = ndarray::array![[1.], [2.]];
/// let model = DummyRegressor::new().fit_dyn(x.view(), x.column(0))?;
/// let much = ChunkedArray::random_normal(1, 0., 1., &[100_000, 1], 4096)?;
/// assert_eq!(predict(&*model, &much)?.shape(), [100_000]);
/// # Ok(())
/// # }
/// ```
pub fn predict(model: &dyn Model, x: &ChunkedArray) -> Result<ChunkedArray> {
    let rows = rows_of(x, model.n_features())?;
    let model = Delayed::value(Json(model.clone_box()));
    let blocks = x.row_blocks().into_iter().zip(rows.ranges());
    let blocks = blocks.map(|(block, rows)| tasks::predict::delayed(&model, block, rows.start)).collect();
    Ok(ChunkedArray::from_blocks(vec![rows], blocks)?)
}

/// The probability of each of the model's classes for each row of a lazy X, as a lazy array of two axes.
///
/// # Errors
/// As [`predict`]; a model without classes is refused.
pub fn predict_proba(model: &dyn Model, x: &ChunkedArray) -> Result<ChunkedArray> {
    let rows = rows_of(x, model.n_features())?;
    let classes = model.classes();
    if classes.is_empty() {
        return Err(Error::NoProbabilities { model: model.name().to_owned() });
    }
    let model = Delayed::value(Json(model.clone_box()));
    let blocks = x.row_blocks().into_iter().zip(rows.ranges());
    let blocks = blocks.map(|(block, rows)| tasks::predict_proba::delayed(&model, block, rows.start)).collect();
    Ok(ChunkedArray::from_blocks(vec![rows, Chunks::single(classes.len())], blocks)?)
}

impl ModelFile {
    /// Predicts a lazy table, as a lazy array of one axis.
    ///
    /// # Errors
    /// When the table has not the columns there were at fit. What only the rows show, as an unseen level, fails when
    /// it is computed.
    pub fn predict_table(&self, table: &Table) -> Result<ChunkedArray> {
        predict(&*self.model, &self.encoder.transform(table)?)
    }
}

impl TableEncoder {
    /// Learns from a lazy table; the result is lazy too, and small.
    ///
    /// # Errors
    /// When the table has not the columns asked for. What only the rows show fails when it is computed.
    pub fn fit_lazy(&self, table: &Table) -> Result<Delayed<Json<FittedTableEncoder>>> {
        self.places(table.schema())?;
        if table.n_rows() == 0 {
            return Err(Error::Empty { what: "the table" });
        }
        let (encoder, schema) = (Delayed::value(self.clone()), Delayed::value(Schema::clone(table.schema())));
        let parts: Vec<_> = table
            .blocks()
            .iter()
            .zip(table.chunks().ranges())
            .map(|(block, rows)| tasks::look_at_table::delayed(&encoder, &schema, block, rows.start))
            .collect();
        Ok(tasks::fit_table_encoder::delayed(encoder, schema, parts))
    }
}

impl FitOn<Table, ()> for TableEncoder {
    type Model = FittedTableEncoder;

    async fn fit_on(&self, client: &Client, table: &Table, (): &()) -> Result<FittedTableEncoder> {
        Ok(client.compute(&self.fit_lazy(table)?).await?.0)
    }
}

impl FitOn<ChunkedArray, ()> for StandardScaler {
    type Model = FittedStandardScaler;

    async fn fit_on(&self, client: &Client, x: &ChunkedArray, (): &()) -> Result<FittedStandardScaler> {
        Ok(client.compute(&self.fit_lazy(x)?).await?)
    }
}

impl Transform<&Table> for FittedTableEncoder {
    type Output = ChunkedArray;

    fn transform(&self, table: &Table) -> Result<ChunkedArray> {
        for column in self.columns() {
            table.schema().position(column.name())?;
        }
        let (encoder, schema) = (Delayed::value(Json(self.clone())), Delayed::value(Schema::clone(table.schema())));
        let n_features = self.n_features();
        let blocks = table.blocks().iter().zip(table.chunks().ranges()).map(|(block, rows)| {
            let n_bytes = (rows.len() * n_features * size_of::<f64>()) as u64;
            tasks::encode::delayed(&encoder, &schema, block, rows.start).expected_bytes(n_bytes)
        });
        let axes = vec![table.chunks().clone(), Chunks::single(n_features)];
        Ok(ChunkedArray::from_blocks(axes, blocks.collect())?)
    }
}

impl StandardScaler {
    /// Learns from a lazy array; the result is lazy too, and small.
    ///
    /// # Errors
    /// When X is empty or has not two axes. A number that is not finite fails when it is computed.
    pub fn fit_lazy(&self, x: &ChunkedArray) -> Result<Delayed<FittedStandardScaler>> {
        let [n_rows, n_columns] = x.shape()[..] else { return Err(not_two_axes(x)) };
        if n_rows == 0 || n_columns == 0 {
            return Err(Error::Empty { what: "X" });
        }
        let rows = rows_of(x, n_columns)?;
        let parts: Vec<_> = x
            .row_blocks()
            .into_iter()
            .zip(rows.ranges())
            .map(|(block, rows)| tasks::column_moments::delayed(block, rows.start))
            .collect();
        Ok(tasks::fit_scaler::delayed(*self, parts))
    }
}

impl Transform<&ChunkedArray> for FittedStandardScaler {
    type Output = ChunkedArray;

    /// One fused pass over each block. Numbers that are not finite stay so.
    fn transform(&self, x: &ChunkedArray) -> Result<ChunkedArray> {
        rows_of(x, self.mean().len())?;
        let row = |numbers: &Array1<f64>| ChunkedArray::from_array(numbers.clone(), numbers.len());
        Ok(x.try_sub(&row(self.mean())?)?.try_div(&row(self.scale())?)?)
    }
}

fn rows_of(x: &ChunkedArray, n_features: usize) -> Result<Chunks> {
    let [rows, columns] = <[Chunks; 2]>::try_from(x.axes()).map_err(|_| not_two_axes(x))?;
    if columns.len() != n_features {
        return Err(Error::NFeatures { expected: n_features, found: columns.len() });
    }
    Ok(rows)
}

fn not_two_axes(x: &ChunkedArray) -> Error {
    let hint = "X has two axes; a vector becomes one column with insert_axis(1)";
    Error::Array(phalanx_array::Error::Axes { operation: "learning", n_axes: x.n_axes(), hint })
}
