//! The functions that graphs of arrays and tables call, by the names that messages carry.
//!
//! Each one binds its arguments and leaves the numbers to the kernels.

#![expect(clippy::ptr_arg, reason = "a task's parameter is written as the type that travels")]

use std::{ops::Range, sync::Arc};

use phalanx_engine::task;

use crate::{
    block::Block,
    error::Error,
    kernel,
    partial::{self, Contraction, Finish, PartialTrees, Reduction},
    program::{Evaluator, Program},
    random::{self, Draw},
    regrid::Assembly,
    table_block::{Column, TableBlock},
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
    let (n_rows, n_cols) = block.dims();
    let mut out = vec![0.0; block.len()];
    kernel::transpose(block.as_slice(), n_cols, &mut out);
    Block::new(&[n_cols, n_rows], out)
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

#[task(name = "table.column")]
pub(crate) fn column(block: &TableBlock, place: usize) -> Result<Block, String> {
    match block.columns().get(place) {
        Some(Column::Number { values, .. }) => Ok(values.clone()),
        Some(_) => Err(format!("column {place} is not numeric")),
        None => Err(format!("there is no column {place}")),
    }
}

#[task(name = "table.numbers")]
pub(crate) fn numbers(block: &TableBlock, places: &Vec<usize>) -> Result<Block, String> {
    let (n_rows, n_cols) = (block.n_rows(), places.len());
    let mut out = vec![0.0; n_rows * n_cols];
    for (col, place) in places.iter().enumerate() {
        let numbers = block.columns().get(*place).and_then(Column::numbers);
        let numbers = numbers.ok_or_else(|| format!("column {place} is missing or not numeric"))?;
        out.iter_mut().skip(col).step_by(n_cols).zip(numbers).for_each(|(out, number)| *out = *number);
    }
    Ok(Block::new(&[n_rows, n_cols], out))
}

#[task(name = "table.select")]
pub(crate) fn select(block: &TableBlock, places: &Vec<usize>) -> Result<TableBlock, String> {
    match places.iter().find(|place| **place >= block.n_columns()) {
        Some(place) => Err(format!("there is no column {place}")),
        None => Ok(block.select(places)),
    }
}

#[task(name = "table.stack")]
pub(crate) fn stack(ranges: &Vec<Range<usize>>, blocks: &[Arc<TableBlock>]) -> Result<TableBlock, Error> {
    let parts: Vec<_> = ranges.iter().zip(blocks).map(|(rows, block)| block.rows(rows.clone())).collect();
    TableBlock::concatenate(&parts)
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
