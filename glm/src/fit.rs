//! The shell that drives a solver over arrays in memory.

use std::borrow::Cow;

use ndarray::{ArrayView1, ArrayView2};
use phalanx_learn::{Error, Result};

use crate::{
    family::Family,
    kernel::{Moments, Rows},
    solver::{Answer, Ask, BlockProblem, Machine, Solution},
};

/// Fits over rows in memory, on the calling thread.
pub(crate) fn fit_local(
    mut machine: Machine,
    family: Family,
    x: ArrayView2<'_, f64>,
    y: ArrayView1<'_, f64>,
) -> Result<Solution> {
    // Kernels want rows one after the other; other layouts are copied once.
    let x_rows = x.to_slice().map_or_else(|| Cow::from(x.iter().copied().collect::<Vec<_>>()), Cow::from);
    let y_rows = y.to_slice().map_or_else(|| Cow::from(y.to_vec()), Cow::from);
    let rows = Rows { x: &x_rows, y: &y_rows, n_features: x.ncols(), first_panel: 0 };
    loop {
        let answer = match machine.ask() {
            Ask::Done(solution) => return Ok(solution),
            Ask::Moments => Answer::Moments(checked(rows.moments(family).ok_or(NO_ROWS)?.finish(), family)?),
            Ask::Evaluate { points } => Answer::Evaluations(rows.evaluate(family, &points).ok_or(NO_ROWS)?.finish().0),
            Ask::BlockSolve { blocks } => {
                let solve = |block: &BlockProblem| block.solve(rows.slice(block.rows.clone()));
                Answer::Blocks(blocks.iter().map(solve).collect::<Result<_, _>>()?)
            }
        };
        machine.tell(answer)?;
    }
}

pub(crate) const NO_ROWS: Error = Error::Empty { what: "X" };

/// Refuses data that no model can be fitted to, naming the first bad value.
pub(crate) fn checked(moments: Moments, family: Family) -> Result<Moments> {
    let Some(bad) = moments.bad else { return Ok(moments) };
    let what = if bad.column.is_some() { "X" } else { "y" };
    if bad.value.is_finite() {
        let (row, value, expected) = (bad.row, bad.value, family.expects());
        return Err(Error::Domain { metric: family.name(), what, row, value, expected });
    }
    Err(Error::NotFinite { what, row: bad.row, column: bad.column, value: bad.value })
}
