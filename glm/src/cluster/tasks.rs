//! The tasks that a fit sends to where its chunks are, and what they are told.
//!
//! One task a chunk looks at all panels of the chunk and hands on their subtrees; tasks that merge neighbours bring
//! them together. Who asks, and what for, is not known here.

use std::sync::Arc;

use phalanx_array::{
    Block,
    panel::{Combine, Subtrees},
};
use phalanx_engine::task;
use phalanx_learn::Result;
use serde::{Deserialize, Serialize};

use crate::{
    error::Error as GlmError,
    fit::NO_ROWS,
    kernel::{ByFold, Evaluations, FoldEvaluations, NullPoints, Rows, Stride, Subject, Summary},
    model::GlmModel,
    solver::{
        BlockProblem, BlockSolution, Coordinates, Curvature, FoldPoint, FoldQuadratic, FoldRule, Loss, Moments,
        Pinball, PinballAt, Quadratic, Scatter, Shape, ShapeAt,
    },
};

/// The points of an [`Ask::Evaluate`], as they travel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Points {
    pub(crate) loss: Loss,
    pub(crate) coordinates: Arc<Coordinates>,
    pub(crate) points: Vec<Vec<f64>>,
    pub(crate) stride: Stride,
}

/// The point of an [`Ask::Quadratic`], as it travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) loss: Loss,
    pub(crate) coordinates: Arc<Coordinates>,
    pub(crate) point: Vec<f64>,
    pub(crate) curvature: Curvature,
    pub(crate) stride: Stride,
}

/// The points of an [`Ask::Folds`], as they travel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FoldPoints {
    pub(crate) loss: Loss,
    pub(crate) coordinates: Arc<Coordinates>,
    pub(crate) points: Vec<FoldPoint>,
    pub(crate) rule: FoldRule,
}

/// One of its quadratics.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FoldAbout {
    pub(crate) loss: Loss,
    pub(crate) coordinates: Arc<Coordinates>,
    pub(crate) at: FoldPoint,
    pub(crate) curvature: Curvature,
    pub(crate) rule: FoldRule,
}

/// What there is of a row beside X and y, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extras {
    pub(crate) weights: bool,
    pub(crate) offset: bool,
    pub(crate) trials: bool,
    pub(crate) groups: bool,
    pub(crate) folds: bool,
    /// The panels whose rows X has.
    pub(crate) held: Stride,
}

pub(crate) fn rows<'a>(
    x: Option<&'a Block>,
    columns: &'a [Arc<Block>],
    first_panel: usize,
    extras: Extras,
) -> Rows<'a> {
    let mut rest = columns[1..].iter();
    let mut next = |there: bool| if there { rest.next().map(|block| block.as_slice()) } else { None };
    let (weights, offset) = (next(extras.weights), next(extras.offset));
    let (trials, groups, folds) = (next(extras.trials), next(extras.groups), next(extras.folds));
    let (x, n_features) = x.map_or((&[][..], 0), |x| (x.as_slice(), x.dims().1));
    let (y, held) = (columns[0].as_slice(), extras.held);
    Rows { x, y, weights, offset, trials, groups, folds, n_features, first_panel, held }
}

pub(crate) fn merged<T: Combine + Clone>(parts: &[Arc<Subtrees<T>>]) -> Result<Subtrees<T>> {
    Subtrees::merge_all(parts.iter().map(|part| Subtrees::clone(part))).ok_or(NO_ROWS)
}

#[task(name = "glm.keep")]
pub(crate) fn keep(block: &Block) -> Block {
    block.clone()
}

#[task(name = "glm.reweigh")]
pub(crate) fn reweigh(columns: &[Arc<Block>], extras: Extras, by_class: [f64; 2]) -> Block {
    Block::from(&ndarray::Array1::from(rows(None, columns, 0, extras).reweighed(by_class)))
}

#[task(name = "glm.moments")]
pub(crate) fn moments(
    x: &Block,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    how: &(Loss, bool),
) -> Result<Subtrees<Moments>> {
    rows(Some(x), columns, first_panel, extras).moments(how.0, how.1).ok_or(NO_ROWS)
}

#[task(name = "glm.moments_of_y")]
pub(crate) fn moments_of_y(
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    how: &(Loss, bool),
) -> Result<Subtrees<Moments>> {
    rows(None, columns, first_panel, extras).moments(how.0, how.1).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_moments")]
pub(crate) fn merge_moments(parts: &[Arc<Subtrees<Moments>>]) -> Result<Subtrees<Moments>> {
    merged(parts)
}

#[task(name = "glm.scatter")]
pub(crate) fn scatter(
    x: &Block,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    loss: Loss,
) -> Result<Subtrees<Scatter>> {
    rows(Some(x), columns, first_panel, extras).scatter(loss).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_scatter")]
pub(crate) fn merge_scatter(parts: &[Arc<Subtrees<Scatter>>]) -> Result<Subtrees<Scatter>> {
    merged(parts)
}

#[task(name = "glm.null")]
pub(crate) fn null(
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    how: &(Loss, Vec<f64>),
) -> Result<Subtrees<NullPoints>> {
    rows(None, columns, first_panel, extras).null(how.0, &how.1).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_null")]
pub(crate) fn merge_null(parts: &[Arc<Subtrees<NullPoints>>]) -> Result<Subtrees<NullPoints>> {
    merged(parts)
}

#[task(name = "glm.evaluate")]
pub(crate) fn evaluate(
    x: &Block,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    at: &Points,
) -> Result<Subtrees<Evaluations>> {
    let rows = rows(Some(x), columns, first_panel, extras);
    rows.evaluate(at.loss, &at.coordinates, &at.points, at.stride).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_evaluations")]
pub(crate) fn merge_evaluations(parts: &[Arc<Subtrees<Evaluations>>]) -> Result<Subtrees<Evaluations>> {
    merged(parts)
}

#[task(name = "glm.quadratic")]
pub(crate) fn quadratic(
    x: &Block,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    about: &About,
) -> Result<Subtrees<Quadratic>> {
    let About { loss, coordinates, point, curvature, stride } = about;
    rows(Some(x), columns, first_panel, extras).quadratic(*loss, coordinates, point, *curvature, *stride).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_quadratic")]
pub(crate) fn merge_quadratic(parts: &[Arc<Subtrees<Quadratic>>]) -> Result<Subtrees<Quadratic>> {
    merged(parts)
}

#[task(name = "glm.shape")]
pub(crate) fn shape(
    x: &Block,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    at: &ShapeAt,
) -> Result<Subtrees<Shape>> {
    rows(Some(x), columns, first_panel, extras).shape(at).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_shape")]
pub(crate) fn merge_shape(parts: &[Arc<Subtrees<Shape>>]) -> Result<Subtrees<Shape>> {
    merged(parts)
}

#[task(name = "glm.pinball")]
pub(crate) fn pinball(
    x: &Block,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    at: &PinballAt,
) -> Result<Subtrees<Pinball>> {
    rows(Some(x), columns, first_panel, extras).pinball(at).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_pinball")]
pub(crate) fn merge_pinball(parts: &[Arc<Subtrees<Pinball>>]) -> Result<Subtrees<Pinball>> {
    merged(parts)
}

#[task(name = "glm.moments_by_fold")]
pub(crate) fn moments_by_fold(
    x: &Block,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    how: &(Loss, bool, FoldRule),
) -> Result<Subtrees<ByFold<Moments>>> {
    rows(Some(x), columns, first_panel, extras).moments_by_fold(how.0, how.1, how.2).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_moments_by_fold")]
pub(crate) fn merge_moments_by_fold(parts: &[Arc<Subtrees<ByFold<Moments>>>]) -> Result<Subtrees<ByFold<Moments>>> {
    merged(parts)
}

#[task(name = "glm.scatter_by_fold")]
pub(crate) fn scatter_by_fold(
    x: &Block,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    how: &(Loss, FoldRule),
) -> Result<Subtrees<ByFold<Scatter>>> {
    rows(Some(x), columns, first_panel, extras).scatter_by_fold(how.0, how.1).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_scatter_by_fold")]
pub(crate) fn merge_scatter_by_fold(parts: &[Arc<Subtrees<ByFold<Scatter>>>]) -> Result<Subtrees<ByFold<Scatter>>> {
    merged(parts)
}

#[task(name = "glm.evaluate_by_fold")]
pub(crate) fn evaluate_by_fold(
    x: &Block,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    at: &FoldPoints,
) -> Result<Subtrees<FoldEvaluations>> {
    let rows = rows(Some(x), columns, first_panel, extras);
    rows.evaluate_by_fold(at.loss, &at.coordinates, &at.points, at.rule).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_fold_evaluations")]
pub(crate) fn merge_fold_evaluations(parts: &[Arc<Subtrees<FoldEvaluations>>]) -> Result<Subtrees<FoldEvaluations>> {
    merged(parts)
}

#[task(name = "glm.quadratic_by_fold")]
pub(crate) fn quadratic_by_fold(
    x: &Block,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    about: &FoldAbout,
) -> Result<Subtrees<FoldQuadratic>> {
    let FoldAbout { loss, coordinates, at, curvature, rule } = about;
    rows(Some(x), columns, first_panel, extras)
        .quadratic_by_fold(*loss, coordinates, at, *curvature, *rule)
        .ok_or(NO_ROWS)
}

#[task(name = "glm.merge_fold_quadratic")]
pub(crate) fn merge_fold_quadratic(parts: &[Arc<Subtrees<FoldQuadratic>>]) -> Result<Subtrees<FoldQuadratic>> {
    merged(parts)
}

#[task(name = "glm.summary")]
pub(crate) fn summary(
    x: &Block,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    subject: &Subject,
) -> Result<Subtrees<Summary>> {
    rows(Some(x), columns, first_panel, extras).summary(subject).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_summary")]
pub(crate) fn merge_summary(parts: &[Arc<Subtrees<Summary>>]) -> Result<Subtrees<Summary>> {
    merged(parts)
}

#[task(name = "glm.predict_with_offset")]
pub(crate) fn predict_with_offset(model: &GlmModel, x: &Block, offset: &Block, first_row: usize) -> Result<Block> {
    let offset = ndarray::ArrayView1::from(offset.as_slice());
    model.predict_with_offset(x.view2(), offset).map(Block::from).map_err(|error| error.from_row(first_row))
}

#[task(name = "glm.solve_block")]
pub(crate) fn solve_block(
    x: &Block,
    columns: &[Arc<Block>],
    extras: Extras,
    problem: &BlockProblem,
) -> Result<BlockSolution, GlmError> {
    problem.solve(rows(Some(x), columns, 0, extras))
}
