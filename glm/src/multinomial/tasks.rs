//! The tasks that a softmax fit sends to where its chunks are, and what they are told.
//!
//! One task a chunk looks at all panels of the chunk and hands on their subtrees; tasks that merge neighbours bring
//! them together. Who asks, and what for, is not known here.

use std::sync::Arc;

use phalanx_array::{Block, panel::Subtrees};
use phalanx_engine::task;
use phalanx_learn::Result;
use serde::{Deserialize, Serialize};

use super::{
    class_weight,
    pass::{self, Classes, Frame, Looks},
};
use crate::{
    cluster::{Extras, merged, rows},
    fit::NO_ROWS,
    kernel::Stride,
};

/// Where to look, as it travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Points {
    pub(crate) frame: Arc<Frame>,
    pub(crate) points: Vec<Vec<f64>>,
    pub(crate) stride: Stride,
    pub(crate) curved: bool,
}

#[task(name = "glm.multinomial_classes")]
pub(crate) fn classes(columns: &[Arc<Block>], first_panel: usize, extras: Extras) -> Result<Subtrees<Classes>> {
    pass::classes(rows(None, columns, first_panel, extras)).ok_or(NO_ROWS)
}

#[task(name = "glm.multinomial_merge_classes")]
pub(crate) fn merge_classes(parts: &[Arc<Subtrees<Classes>>]) -> Result<Subtrees<Classes>> {
    merged(parts)
}

#[task(name = "glm.multinomial_reweigh")]
pub(crate) fn reweigh(columns: &[Arc<Block>], extras: Extras, by_class: Vec<(f64, f64)>) -> Block {
    Block::from(&ndarray::Array1::from(class_weight::reweighed(rows(None, columns, 0, extras), &by_class)))
}

#[task(name = "glm.multinomial_look")]
pub(crate) fn look(
    x: &Block,
    columns: &[Arc<Block>],
    first_panel: usize,
    extras: Extras,
    at: &Points,
) -> Result<Subtrees<Looks>> {
    let rows = rows(Some(x), columns, first_panel, extras);
    pass::look(rows, &at.frame, &at.points, at.stride, at.curved).ok_or(NO_ROWS)
}

#[task(name = "glm.multinomial_merge_looks")]
pub(crate) fn merge_looks(parts: &[Arc<Subtrees<Looks>>]) -> Result<Subtrees<Looks>> {
    merged(parts)
}
