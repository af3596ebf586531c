//! A chain of elementwise operations as data: what fuses `(x - mean) / std` into one pass over a block.
//!
//! A program is a list of steps over numbered registers. It runs tile by tile, a step over a whole tile at a time,
//! so that a tile stays in the nearest cache and the loops over it are vector code. Which arrays its inputs are
//! pieces of is not known here.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{
    block::{Block, dims},
    kernel::inlined,
    simd::dispatch,
};

/// Numbers in a tile: a few registers of them fit in a first-level cache of 32 kB.
const TILE: usize = 1024;

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unary {
    Neg,
    Abs,
    Sqrt,
    Exp,
    Ln,
    Recip,
    Powi(i32),
}

/// A function of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
}

/// One step; its result is the register with its own number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Op {
    Input(u32),
    Constant(f64),
    Unary(Unary, u32),
    Binary(Binary, u32, u32),
}

/// Steps that only look back; the last one is the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Program {
    ops: Vec<Op>,
}

impl Program {
    pub(crate) fn input() -> Self {
        Self { ops: vec![Op::Input(0)] }
    }

    pub(crate) fn constant(value: f64) -> Self {
        Self { ops: vec![Op::Constant(value)] }
    }

    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether the result is the one input as it is.
    pub(crate) fn is_input(&self) -> bool {
        self.ops == [Op::Input(0)]
    }

    pub(crate) fn unary(mut self, function: Unary) -> Self {
        let last = self.last();
        self.push(Op::Unary(function, last));
        self
    }

    /// `function(self, right)`, where input `i` of `right` is input `inputs[i]` of the result.
    pub(crate) fn binary(mut self, function: Binary, right: &Self, inputs: &[u32]) -> Self {
        let left = self.last();
        let mut places: Vec<u32> = Vec::with_capacity(right.len());
        for op in &right.ops {
            let op = match *op {
                Op::Input(input) => Op::Input(inputs[input as usize]),
                Op::Constant(value) => Op::Constant(value),
                Op::Unary(function, a) => Op::Unary(function, places[a as usize]),
                Op::Binary(function, a, b) => Op::Binary(function, places[a as usize], places[b as usize]),
            };
            places.push(self.push(op));
        }
        let right = places.last().copied().unwrap_or(left);
        // The result is the last step, so it is written even where the same was computed before.
        self.ops.push(Op::Binary(function, left, right));
        self
    }

    fn last(&self) -> u32 {
        self.ops.len() as u32 - 1
    }

    /// The register that holds the result of `op`, an earlier one where it was computed before.
    fn push(&mut self, op: Op) -> u32 {
        let same = |other: &Op| match (other, &op) {
            (Op::Constant(a), Op::Constant(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        };
        if let Some(place) = self.ops.iter().position(same) {
            return place as u32;
        }
        self.ops.push(op);
        self.last()
    }

    /// Whether all steps look back and all inputs are there: what arrives may be anything.
    fn is_sound(&self, n_inputs: usize) -> bool {
        !self.ops.is_empty()
            && self.ops.iter().zip(0_u32..).all(|(op, place)| match *op {
                Op::Input(input) => (input as usize) < n_inputs,
                Op::Constant(_) => true,
                Op::Unary(_, a) => a < place,
                Op::Binary(_, a, b) => a < place && b < place,
            })
    }
}

/// A program bound to the blocks that are its inputs.
#[derive(Debug)]
pub(crate) struct Evaluator<'a> {
    ops: &'a [Op],
    inputs: Vec<Input<'a>>,
    n_cols: usize,
    len: usize,
    /// For every step, where its tile lies; inputs and constants have none.
    slots: Vec<usize>,
    tiles: Vec<Vec<f64>>,
}

/// An input, by how it is spread over the result.
#[derive(Debug, Clone)]
enum Input<'a> {
    Whole(&'a [f64]),
    /// Repeated often enough that every tile is a piece of it.
    Row(Vec<f64>),
    Column(&'a [f64]),
    Scalar(f64),
}

/// Part of a register.
#[derive(Clone, Copy)]
enum Operand<'a> {
    Tile(&'a [f64]),
    Scalar(f64),
}

impl<'a> Evaluator<'a> {
    /// Binds `program` to `inputs`, to make a block of `shape`.
    ///
    /// # Errors
    /// When a shape cannot be broadcast to the result's, or the program is not sound.
    pub(crate) fn new(program: &'a Program, inputs: &[&'a Block], shape: &[usize]) -> Result<Self, String> {
        if !program.is_sound(inputs.len()) {
            return Err("the program of an elementwise task is malformed".into());
        }
        let (n_rows, n_cols) = matrix(shape);
        let bind = |block: &&'a Block| {
            let values = block.as_slice();
            match matrix(block.shape()) {
                (r, c) if (r, c) == (n_rows, n_cols) => Ok(Input::Whole(values)),
                (1, 1) => Ok(Input::Scalar(values[0])),
                (1, c) if c == n_cols => {
                    let room = TILE.min(n_rows * n_cols) + c;
                    Ok(Input::Row(values.iter().copied().cycle().take(room).collect()))
                }
                (r, 1) if r == n_rows => Ok(Input::Column(values)),
                _ => Err(format!("a block of shape {:?} cannot be broadcast to {shape:?}", block.shape())),
            }
        };
        let inputs = inputs.iter().map(bind).collect::<Result<_, _>>()?;
        let mut evaluator =
            Self { ops: &program.ops, inputs, n_cols, len: n_rows * n_cols, slots: Vec::new(), tiles: Vec::new() };
        evaluator.assign_slots();
        Ok(evaluator)
    }

    /// The whole result.
    pub(crate) fn evaluate(&mut self) -> Vec<f64> {
        let mut out = vec![0.0; self.len];
        self.evaluate_range(0..self.len, &mut out);
        out
    }

    /// Some of the result, by place in row-major order. Where it is an input as it is, no number is touched.
    pub(crate) fn range<'b>(&'b mut self, range: Range<usize>, scratch: &'b mut Vec<f64>) -> &'b [f64] {
        if let ([Op::Input(input)], inputs) = (self.ops, &self.inputs)
            && let Input::Whole(values) = &inputs[*input as usize]
        {
            return &values[range];
        }
        scratch.resize(range.len(), 0.0);
        self.evaluate_range(range, scratch);
        scratch
    }

    fn evaluate_range(&mut self, range: Range<usize>, out: &mut [f64]) {
        for (start, out) in range.step_by(TILE).zip(out.chunks_mut(TILE)) {
            self.evaluate_tile(start, out);
        }
    }

    /// Gives every step a tile, taking over tiles whose content is not needed any more.
    fn assign_slots(&mut self) {
        let mut last_use = vec![0; self.ops.len()];
        for (place, op) in self.ops.iter().enumerate() {
            if let Op::Unary(_, a) | Op::Binary(_, a, _) = op {
                last_use[*a as usize] = place;
            }
            if let Op::Binary(_, _, b) = op {
                last_use[*b as usize] = place;
            }
        }
        let mut free: Vec<usize> = Vec::new();
        for (place, op) in self.ops.iter().enumerate() {
            let needs_tile = match op {
                Op::Input(input) => matches!(self.inputs[*input as usize], Input::Column(_)),
                Op::Constant(_) => false,
                Op::Unary(..) | Op::Binary(..) => true,
            };
            let slot = if needs_tile {
                free.pop().unwrap_or_else(|| {
                    self.tiles.push(vec![0.0; TILE.min(self.len)]);
                    self.tiles.len() - 1
                })
            } else {
                usize::MAX
            };
            self.slots.push(slot);
            let operands = match *op {
                Op::Unary(_, a) => [Some(a), None],
                Op::Binary(_, a, b) => [Some(a), (a != b).then_some(b)],
                Op::Input(_) | Op::Constant(_) => [None, None],
            };
            for operand in operands.into_iter().flatten().map(|operand| operand as usize) {
                if last_use[operand] == place && self.slots[operand] != usize::MAX {
                    free.push(self.slots[operand]);
                }
            }
        }
    }

    fn evaluate_tile(&mut self, start: usize, out: &mut [f64]) {
        let n = out.len();
        let result = self.ops.len() - 1;
        for (place, op) in self.ops[..result].iter().enumerate() {
            let slot = self.slots[place];
            if slot == usize::MAX {
                continue;
            }
            let mut tile = std::mem::take(&mut self.tiles[slot]);
            self.step(op, start, &mut tile[..n]);
            self.tiles[slot] = tile;
        }
        self.step(&self.ops[result], start, out);
    }

    fn step(&self, op: &Op, start: usize, out: &mut [f64]) {
        let n = out.len();
        match *op {
            Op::Constant(value) => out.fill(value),
            Op::Input(input) => self.spread(&self.inputs[input as usize], start, out),
            Op::Unary(function, a) => unary(function, self.operand(a, start, n), out),
            Op::Binary(function, a, b) => binary(function, self.operand(a, start, n), self.operand(b, start, n), out),
        }
    }

    fn operand(&self, register: u32, start: usize, n: usize) -> Operand<'_> {
        let place = register as usize;
        match (self.ops[place], self.slots[place]) {
            (Op::Constant(value), _) => Operand::Scalar(value),
            (Op::Input(input), usize::MAX) => match &self.inputs[input as usize] {
                Input::Scalar(value) => Operand::Scalar(*value),
                Input::Row(values) => Operand::Tile(&values[start % self.n_cols..][..n]),
                Input::Whole(values) | Input::Column(values) => Operand::Tile(&values[start..start + n]),
            },
            (_, slot) => Operand::Tile(&self.tiles[slot][..n]),
        }
    }

    /// Copies the part of an input that falls on a tile.
    fn spread(&self, input: &Input<'_>, start: usize, out: &mut [f64]) {
        match input {
            Input::Whole(values) => out.copy_from_slice(&values[start..start + out.len()]),
            Input::Row(values) => out.copy_from_slice(&values[start % self.n_cols..][..out.len()]),
            Input::Scalar(value) => out.fill(*value),
            Input::Column(values) => {
                let (mut row, mut col, mut rest) = (start / self.n_cols, start % self.n_cols, out);
                while !rest.is_empty() {
                    let n = (self.n_cols - col).min(rest.len());
                    let (now, later) = rest.split_at_mut(n);
                    now.fill(values[row]);
                    (row, col, rest) = (row + 1, 0, later);
                }
            }
        }
    }
}

/// Rows and columns as broadcasting sees them: a vector is one row, so that it is spread over the last axis.
fn matrix(shape: &[usize]) -> (usize, usize) {
    match shape {
        [] => (1, 1),
        [n] => (1, *n),
        _ => dims(shape),
    }
}

fn unary(function: Unary, a: Operand<'_>, out: &mut [f64]) {
    #[inline(always)]
    fn map(a: Operand<'_>, out: &mut [f64], f: impl Fn(f64) -> f64) {
        match a {
            Operand::Tile(a) => dispatch(
                #[inline(always)]
                || out.iter_mut().zip(a).for_each(|(out, a)| *out = f(*a)),
            ),
            Operand::Scalar(a) => out.fill(f(a)),
        }
    }
    match function {
        Unary::Neg => map(a, out, |a| -a),
        Unary::Abs => map(a, out, f64::abs),
        Unary::Sqrt => map(a, out, f64::sqrt),
        Unary::Exp => map(a, out, inlined::exp),
        Unary::Ln => map(a, out, inlined::ln),
        Unary::Recip => map(a, out, f64::recip),
        Unary::Powi(2) => map(a, out, |a| a * a),
        Unary::Powi(3) => map(a, out, |a| a * a * a),
        Unary::Powi(n) => map(a, out, |a| powi(a, n)),
    }
}

/// By squaring; the order of the products depends on `n` only.
fn powi(a: f64, n: i32) -> f64 {
    let (mut square, mut left, mut result) = (a, n.unsigned_abs(), 1.0);
    while left > 0 {
        if left & 1 == 1 {
            result *= square;
        }
        square *= square;
        left >>= 1;
    }
    if n < 0 { result.recip() } else { result }
}

fn binary(function: Binary, a: Operand<'_>, b: Operand<'_>, out: &mut [f64]) {
    #[inline(always)]
    fn map(a: Operand<'_>, b: Operand<'_>, out: &mut [f64], f: impl Fn(f64, f64) -> f64) {
        match (a, b) {
            (Operand::Tile(a), Operand::Tile(b)) => {
                dispatch(
                    #[inline(always)]
                    || out.iter_mut().zip(a).zip(b).for_each(|((out, a), b)| *out = f(*a, *b)),
                );
            }
            (Operand::Tile(a), Operand::Scalar(b)) => {
                dispatch(
                    #[inline(always)]
                    || out.iter_mut().zip(a).for_each(|(out, a)| *out = f(*a, b)),
                );
            }
            (Operand::Scalar(a), Operand::Tile(b)) => {
                dispatch(
                    #[inline(always)]
                    || out.iter_mut().zip(b).for_each(|(out, b)| *out = f(a, *b)),
                );
            }
            (Operand::Scalar(a), Operand::Scalar(b)) => out.fill(f(a, b)),
        }
    }
    match function {
        Binary::Add => map(a, b, out, |a, b| a + b),
        Binary::Sub => map(a, b, out, |a, b| a - b),
        Binary::Mul => map(a, b, out, |a, b| a * b),
        Binary::Div => map(a, b, out, |a, b| a / b),
        Binary::Min => map(a, b, out, inlined::extreme_of::<false>),
        Binary::Max => map(a, b, out, inlined::extreme_of::<true>),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn block(shape: &[usize], scale: f64) -> Block {
        let n = shape.iter().product();
        Block::new(shape, (0..n).map(|i| scale * (i as f64 + 1.0)).collect())
    }

    fn run(program: &Program, inputs: &[&Block], shape: &[usize]) -> Vec<f64> {
        Evaluator::new(program, inputs, shape).unwrap().evaluate()
    }

    #[test]
    fn a_chain_is_computed_in_one_pass() {
        let (x, y) = (block(&[3000], 0.5), block(&[3000], 2.0));
        // -(x + 2) * y + x
        let sum = Program::input().binary(Binary::Add, &Program::constant(2.0), &[]);
        let product = sum.unary(Unary::Neg).binary(Binary::Mul, &Program::input(), &[1]);
        let program = product.binary(Binary::Add, &Program::input(), &[0]);
        let expected: Vec<_> = x.as_slice().iter().zip(y.as_slice()).map(|(x, y)| -(x + 2.0) * y + x).collect();
        assert_eq!(run(&program, &[&x, &y], &[3000]), expected);
        assert_eq!(program.len(), 7, "the input x is one register");
    }

    #[test]
    fn rows_columns_and_scalars_are_spread() {
        for (n_rows, n_cols) in [(1, 1), (1, 5), (5, 1), (700, 3), (3, 2000)] {
            let x = block(&[n_rows, n_cols], 1.0);
            let (row, column, scalar) = (block(&[n_cols], 0.1), block(&[n_rows, 1], 0.01), Block::scalar(3.0));
            let program = Program::input()
                .binary(Binary::Add, &Program::input(), &[1])
                .binary(Binary::Add, &Program::input(), &[2])
                .binary(Binary::Mul, &Program::input(), &[3]);
            let found = run(&program, &[&x, &row, &column, &scalar], &[n_rows, n_cols]);
            let expected = ((&x.view() + &row.view() + column.view()) * 3.0).into_raw_vec_and_offset().0;
            assert_eq!(found, expected, "{n_rows} x {n_cols}");
        }
    }

    #[test]
    fn a_broadcast_input_alone_fills_the_block() {
        let row = block(&[3], 1.0);
        assert_eq!(run(&Program::input(), &[&row], &[2, 3]), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
        assert_eq!(run(&Program::constant(7.0), &[], &[2]), [7.0, 7.0]);
        assert!(run(&Program::constant(7.0), &[], &[0, 3]).is_empty());
    }

    #[test]
    fn parts_of_a_result_are_the_result() {
        let x = block(&[100, 30], 1.0);
        let program = Program::input().unary(Unary::Sqrt).binary(Binary::Sub, &Program::input(), &[1]);
        let row = block(&[30], 0.5);
        let whole = run(&program, &[&x, &row], &[100, 30]);
        let mut evaluator = Evaluator::new(&program, &[&x, &row], &[100, 30]).unwrap();
        let mut scratch = Vec::new();
        assert_eq!(evaluator.range(17..2950, &mut scratch), &whole[17..2950]);
        let input = Program::input();
        let mut plain = Evaluator::new(&input, &[&x], &[100, 30]).unwrap();
        assert_eq!(plain.range(3..5, &mut scratch).as_ptr(), x.as_slice()[3..].as_ptr());
    }

    #[test]
    fn functions_are_what_their_names_say() {
        let x = Block::from(vec![0.25, -3.0, 2.0, f64::NAN]);
        let all = [
            (Unary::Neg, [-0.25, 3.0, -2.0]),
            (Unary::Abs, [0.25, 3.0, 2.0]),
            (Unary::Sqrt, [0.5, f64::NAN, 2_f64.sqrt()]),
            (Unary::Recip, [4.0, 1.0 / -3.0, 0.5]),
            (Unary::Powi(5), [0.25_f64.powi(5), -243.0, 32.0]),
            (Unary::Powi(-2), [16.0, 1.0 / 9.0, 0.25]),
            (Unary::Powi(0), [1.0, 1.0, 1.0]),
        ];
        for (function, expected) in all {
            let found = run(&Program::input().unary(function), &[&x], &[4]);
            assert_eq!(format!("{:?}", &found[..3]), format!("{expected:?}"), "{function:?}");
        }
        let bound = |function| run(&Program::input().binary(function, &Program::constant(1.0), &[]), &[&x], &[4]);
        assert_eq!(format!("{:?}", bound(Binary::Max)), "[1.0, 1.0, 2.0, NaN]");
        assert_eq!(format!("{:?}", bound(Binary::Min)), "[0.25, -3.0, 1.0, NaN]");
    }

    #[test]
    fn malformed_programs_are_refused() {
        let x = block(&[4], 1.0);
        for ops in [vec![], vec![Op::Input(1)], vec![Op::Unary(Unary::Neg, 0)], vec![Op::Binary(Binary::Add, 0, 9)]] {
            assert!(Evaluator::new(&Program { ops }, &[&x], &[4]).is_err());
        }
        assert!(Evaluator::new(&Program::input(), &[&x], &[5]).is_err());
    }
}
