//! The functions that array graphs call, by the names that messages carry.
//!
//! Each one binds its arguments and leaves the numbers to the kernels.

use std::sync::Arc;

use phalanx_engine::task;

use crate::{
    block::Block,
    partial::{self, Contraction, Finish, PartialTrees, Reduction},
    program::{Evaluator, Program},
    random::{self, Draw},
    regrid::Assembly,
};

#[task(name = "array.evaluate")]
pub(crate) fn evaluate(program: &Program, shape: &Vec<usize>, inputs: &[Arc<Block>]) -> Result<Block, String> {
    let inputs: Vec<_> = inputs.iter().map(AsRef::as_ref).collect();
    Ok(Block::new(shape, Evaluator::new(program, &inputs, shape)?.evaluate()))
}

#[task(name = "array.reduce")]
pub(crate) fn reduce(program: &Program, reduction: &Reduction, inputs: &[Arc<Block>]) -> Result<PartialTrees, String> {
    let inputs: Vec<_> = inputs.iter().map(AsRef::as_ref).collect();
    partial::reduce(&mut Evaluator::new(program, &inputs, &reduction.shape)?, reduction)
}

#[task(name = "array.reduce_moments")]
pub(crate) fn reduce_moments(moments: &Block, count: usize, first_panel: usize) -> Result<PartialTrees, String> {
    partial::reduce_moments(moments, count, first_panel)
}

#[task(name = "array.contract")]
pub(crate) fn contract(left: &Block, right: &Block, how: &Contraction) -> Result<PartialTrees, String> {
    partial::contract(left, right, how)
}

#[task(name = "array.combine")]
pub(crate) fn combine(parts: &[Arc<PartialTrees>]) -> Result<PartialTrees, String> {
    PartialTrees::merge(parts)
}

#[task(name = "array.finish")]
pub(crate) fn finish(parts: &[Arc<PartialTrees>], how: Finish, shape: &Vec<usize>) -> Result<Block, String> {
    Ok(how.apply(PartialTrees::merge(parts)?.0, shape))
}

#[task(name = "array.transpose")]
pub(crate) fn transpose(block: &Block) -> Block {
    block.view2().reversed_axes().into()
}

#[task(name = "array.reshape")]
pub(crate) fn reshape(block: &Block, shape: &Vec<usize>) -> Block {
    block.reshape(shape)
}

#[task(name = "array.assemble")]
pub(crate) fn assemble(assembly: &Assembly, blocks: &[Arc<Block>]) -> Result<Block, String> {
    assembly.run(blocks)
}

#[task(name = "array.random")]
pub(crate) fn draw(how: &Draw) -> Block {
    random::draw(how)
}

#[task(name = "array.arange")]
pub(crate) fn arange(start: f64, step: f64, first: usize, n: usize) -> Block {
    (first..first + n).map(|i| start + step * i as f64).collect::<Vec<_>>().into()
}

#[task(name = "array.scalar")]
pub(crate) fn scalar(block: &Block) -> Result<f64, String> {
    match block.as_slice() {
        [value] => Ok(*value),
        values => Err(format!("a block of {} numbers is not one number", values.len())),
    }
}

/// The shape that broadcasting gives, or none.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let n = a.len().max(b.len());
    let axis = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(n).map_or(1, |i| shape[i]);
    (0..n)
        .map(|i| match (axis(a, i), axis(b, i)) {
            (a, b) if a == b => Some(a),
            (1, b) => Some(b),
            (a, 1) => Some(a),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_as_in_numpy() {
        assert_eq!(broadcast(&[3, 4], &[4]), Some(vec![3, 4]));
        assert_eq!(broadcast(&[3, 1], &[1, 4]), Some(vec![3, 4]));
        assert_eq!(broadcast(&[], &[5]), Some(vec![5]));
        assert_eq!(broadcast(&[0, 4], &[4]), Some(vec![0, 4]));
        assert_eq!(broadcast(&[3, 4], &[3]), None);
    }
}
