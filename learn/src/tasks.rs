//! The functions that lazy data call, by the names that messages carry.
//!
//! Each one binds its arguments and leaves the work to what is done here too; rows in errors are those of the whole.

use std::{ops::Range, sync::Arc};

use phalanx_array::{Block, Schema, TableBlock, panel::Combine, panel::PANEL, panel::Subtrees};
use phalanx_engine::task;

use crate::{
    Error, Json, Model, Result,
    preprocess::{
        FittedStandardScaler, FittedTableEncoder, Moments, StandardScaler, TableEncoder, TableStats, missing, moments,
    },
};

#[task(name = "learn.predict")]
pub(crate) fn predict(model: &Json<Box<dyn Model>>, x: &Block, first_row: usize) -> Result<Block> {
    model.0.predict_dyn(x.view2()).map(Block::from).map_err(|error| error.from_row(first_row))
}

#[task(name = "learn.predict_proba")]
pub(crate) fn predict_proba(model: &Json<Box<dyn Model>>, x: &Block, first_row: usize) -> Result<Block> {
    model.0.predict_proba_dyn(x.view2()).map(Block::from).map_err(|error| error.from_row(first_row))
}

#[task(name = "learn.moments")]
pub(crate) fn column_moments(x: &Block, first_row: usize) -> Result<Subtrees<Moments>> {
    moments(x.view2(), first_row / PANEL).map_err(|error| error.from_row(first_row))
}

#[task(name = "learn.fit_scaler")]
pub(crate) fn fit_scaler(scaler: StandardScaler, parts: &[Arc<Subtrees<Moments>>]) -> Result<FittedStandardScaler> {
    let all = Subtrees::merge_all(parts.iter().map(|part| Subtrees::clone(part)));
    all.map(|all| scaler.learn(all)).ok_or(Error::Empty { what: "X" })
}

#[task(name = "learn.look_at_table")]
pub(crate) fn look_at_table(
    encoder: &TableEncoder,
    schema: &Schema,
    block: &TableBlock,
    first_row: usize,
) -> Result<TableStats> {
    encoder.look(schema, block, first_row)
}

#[task(name = "learn.fit_table_encoder")]
pub(crate) fn fit_table_encoder(
    encoder: &TableEncoder,
    schema: &Schema,
    parts: &[Arc<TableStats>],
) -> Result<Json<FittedTableEncoder>> {
    let all = parts.iter().map(|part| TableStats::clone(part)).reduce(Combine::combine);
    encoder.learn(schema, all.ok_or(Error::Empty { what: "the table" })?).map(Json)
}

#[task(name = "learn.keep_whole")]
pub(crate) fn keep_whole(block: &TableBlock, places: Vec<usize>) -> Result<TableBlock> {
    missing::keep_whole(block, &places)
}

#[task(name = "learn.n_rows")]
pub(crate) fn n_rows(block: &TableBlock) -> usize {
    block.n_rows()
}

#[task(name = "learn.stack_rows")]
pub(crate) fn stack_rows(ranges: &Vec<Range<usize>>, parts: &[Arc<TableBlock>]) -> Result<TableBlock> {
    let parts: Vec<TableBlock> = parts.iter().zip(ranges).map(|(part, rows)| part.rows(rows.clone())).collect();
    Ok(TableBlock::concatenate(&parts)?)
}

#[task(name = "learn.encode")]
pub(crate) fn encode(
    encoder: &Json<FittedTableEncoder>,
    schema: &Schema,
    block: &TableBlock,
    first_row: usize,
) -> Result<Block> {
    encoder.0.encode(schema, block, first_row).map(Block::from)
}
