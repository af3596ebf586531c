//! The tasks of a fit to a chunked design: a pass over a chunk's rows each, as over chunks of dense arrays.

use std::sync::Arc;

use ndarray::Array1;
use phalanx_array::{Block, Schema, TableBlock, panel::Subtrees};
use phalanx_engine::task;
use phalanx_learn::{Error, Json, Predict, Result, preprocess::FittedTableEncoder};

use super::{Design, DesignColumns};
use crate::{
    GlmModel, PathModel,
    cluster::{About, Extras, FoldAbout, FoldPoints, Points, merged, rows},
    fit::NO_ROWS,
    kernel::{ByFold, Mixed, MixedEvaluations, MixedMoments, MixedQuadratic, MixedSummary, Rows, Subject},
    solver::{FoldRule, Loss},
};

fn mixed<'a>(x: &'a Design, columns: &'a [Arc<Block>], first_panel: usize, extras: Extras) -> Mixed<'a> {
    let beside = rows(None, columns, first_panel, extras);
    let dense = x.dense_part().to_slice().unwrap_or_default();
    let rows = Rows { x: dense, n_features: x.layout().dense.len(), ..beside };
    Mixed { layout: x.layout(), rows, entries: x.entries() }
}

#[task(name = "glm.encode_design")]
pub(super) fn encode(
    encoder: &Json<FittedTableEncoder>,
    schema: &Schema,
    block: &TableBlock,
    first_row: usize,
) -> Result<Design> {
    Design::from_table(&encoder.0, (schema, block), first_row)
}

/// Hands a chunk on, if it is what was said.
#[task(name = "glm.keep_design")]
pub(super) fn keep(x: &Design, columns: &DesignColumns, n_rows: usize) -> Result<Design> {
    if x.columns() != *columns {
        let found = format!("one of {} columns, {} sparse", x.n_features(), x.columns().n_sparse());
        return Err(Error::parameter("a chunk of the design", found, "one of the columns that were said"));
    }
    if x.n_rows() != n_rows {
        let found = format!("one of {} rows", x.n_rows());
        return Err(Error::parameter("a chunk of the design", found, format!("{n_rows} rows, as was said")));
    }
    Ok(x.clone())
}

#[task(name = "glm.design_moments")]
pub(super) fn moments(
    x: &Design,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    how: &(Loss, bool),
) -> Result<Subtrees<MixedMoments>> {
    mixed(x, columns, first_panel, extras).moments(how.0, how.1).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_design_moments")]
pub(super) fn merge_moments(parts: &[Arc<Subtrees<MixedMoments>>]) -> Result<Subtrees<MixedMoments>> {
    merged(parts)
}

#[task(name = "glm.design_evaluate")]
pub(super) fn evaluate(
    x: &Design,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    at: &Points,
) -> Result<Subtrees<MixedEvaluations>> {
    let rows = mixed(x, columns, first_panel, extras);
    rows.evaluate(at.loss, &at.coordinates, &at.points, at.stride).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_design_evaluations")]
pub(super) fn merge_evaluations(parts: &[Arc<Subtrees<MixedEvaluations>>]) -> Result<Subtrees<MixedEvaluations>> {
    merged(parts)
}

#[task(name = "glm.design_quadratic")]
pub(super) fn quadratic(
    x: &Design,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    about: &About,
) -> Result<Subtrees<MixedQuadratic>> {
    let About { loss, coordinates, point, curvature, stride } = about;
    let rows = mixed(x, columns, first_panel, extras);
    rows.quadratic(*loss, coordinates, point, *curvature, *stride).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_design_quadratic")]
pub(super) fn merge_quadratic(parts: &[Arc<Subtrees<MixedQuadratic>>]) -> Result<Subtrees<MixedQuadratic>> {
    merged(parts)
}

#[task(name = "glm.design_summary")]
pub(super) fn summary(
    x: &Design,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    subject: &Subject,
) -> Result<Subtrees<MixedSummary>> {
    mixed(x, columns, first_panel, extras).summary(subject).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_design_summary")]
pub(super) fn merge_summary(parts: &[Arc<Subtrees<MixedSummary>>]) -> Result<Subtrees<MixedSummary>> {
    merged(parts)
}

#[task(name = "glm.design_moments_by_fold")]
pub(super) fn moments_by_fold(
    x: &Design,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    how: &(Loss, bool, FoldRule),
) -> Result<Subtrees<ByFold<MixedMoments>>> {
    mixed(x, columns, first_panel, extras).moments_by_fold(how.0, how.1, how.2).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_design_moments_by_fold")]
pub(super) fn merge_moments_by_fold(
    parts: &[Arc<Subtrees<ByFold<MixedMoments>>>],
) -> Result<Subtrees<ByFold<MixedMoments>>> {
    merged(parts)
}

#[task(name = "glm.design_evaluate_by_fold")]
pub(super) fn evaluate_by_fold(
    x: &Design,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    at: &FoldPoints,
) -> Result<Subtrees<MixedEvaluations>> {
    let rows = mixed(x, columns, first_panel, extras);
    rows.evaluate_by_fold(at.loss, &at.coordinates, &at.points, at.rule).ok_or(NO_ROWS)
}

#[task(name = "glm.design_quadratic_by_fold")]
pub(super) fn quadratic_by_fold(
    x: &Design,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    about: &FoldAbout,
) -> Result<Subtrees<MixedQuadratic>> {
    let FoldAbout { loss, coordinates, at, curvature, rule } = about;
    let rows = mixed(x, columns, first_panel, extras);
    rows.quadratic_by_fold(*loss, coordinates, at, *curvature, *rule).ok_or(NO_ROWS)
}

#[task(name = "glm.predict_design")]
pub(super) fn predict(model: &GlmModel, x: &Design, first_row: usize) -> Result<Block> {
    block(model.predict(x), first_row)
}

#[task(name = "glm.predict_design_path")]
pub(super) fn predict_path(model: &PathModel, x: &Design, first_row: usize) -> Result<Block> {
    block(model.predict(x), first_row)
}

fn block(found: Result<Array1<f64>>, first_row: usize) -> Result<Block> {
    found.map(Block::from).map_err(|error| error.from_row(first_row))
}
