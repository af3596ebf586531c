//! Arithmetic on lazy arrays: operators, functions of one number, broadcasting.
//!
//! Everything here only grows the program of an expression.

use std::{
    ops::{Add, Div, Mul, Neg, Sub},
    sync::Arc,
};

use crate::{
    chunked::ChunkedArray,
    chunks::Chunks,
    error::{Error, Result},
    program::{Binary, Program, Unary},
    tasks::broadcast,
};

/// Steps in a program before it is cut: more would no longer gain from sharing a pass, and slow the building.
const MAX_STEPS: usize = 64;

impl ChunkedArray {
    /// Absolute values.
    #[must_use]
    pub fn abs(&self) -> Self {
        self.unary(Unary::Abs)
    }

    /// Square roots; NaN for negative numbers.
    #[must_use]
    pub fn sqrt(&self) -> Self {
        self.unary(Unary::Sqrt)
    }

    /// Exponentials, to one unit in the last place and the same on every machine.
    #[must_use]
    pub fn exp(&self) -> Self {
        self.unary(Unary::Exp)
    }

    /// Natural logarithms, to one unit in the last place and the same on every machine; NaN for negative numbers.
    #[must_use]
    pub fn ln(&self) -> Self {
        self.unary(Unary::Ln)
    }

    /// One over every number.
    #[must_use]
    pub fn recip(&self) -> Self {
        self.unary(Unary::Recip)
    }

    /// Whole powers, by multiplication.
    #[must_use]
    pub fn powi(&self, exponent: i32) -> Self {
        self.unary(Unary::Powi(exponent))
    }

    /// The larger of two numbers, element by element; NaN where one is NaN.
    ///
    /// # Errors
    /// When the shapes cannot be broadcast to each other.
    pub fn maximum(&self, other: &Self) -> Result<Self> {
        self.binary("maximum", Binary::Max, other)
    }

    /// The smaller of two numbers, element by element; NaN where one is NaN.
    ///
    /// # Errors
    /// When the shapes cannot be broadcast to each other.
    pub fn minimum(&self, other: &Self) -> Result<Self> {
        self.binary("minimum", Binary::Min, other)
    }

    /// Every number moved into `low..=high`. NaN stays.
    #[must_use]
    pub fn clip(&self, low: f64, high: f64) -> Self {
        self.with_number(Binary::Max, low, false).with_number(Binary::Min, high, false)
    }

    /// `self + other`.
    ///
    /// # Errors
    /// When the shapes cannot be broadcast to each other.
    pub fn try_add(&self, other: &Self) -> Result<Self> {
        self.binary("addition", Binary::Add, other)
    }

    /// `self - other`.
    ///
    /// # Errors
    /// When the shapes cannot be broadcast to each other.
    pub fn try_sub(&self, other: &Self) -> Result<Self> {
        self.binary("subtraction", Binary::Sub, other)
    }

    /// `self * other`, element by element.
    ///
    /// # Errors
    /// When the shapes cannot be broadcast to each other.
    pub fn try_mul(&self, other: &Self) -> Result<Self> {
        self.binary("multiplication", Binary::Mul, other)
    }

    /// `self / other`.
    ///
    /// # Errors
    /// When the shapes cannot be broadcast to each other.
    pub fn try_div(&self, other: &Self) -> Result<Self> {
        self.binary("division", Binary::Div, other)
    }

    fn unary(&self, function: Unary) -> Self {
        let this = self.short();
        let program = this.expression.program.clone().unary(function);
        this.with_program(program)
    }

    /// Combines every number with `value`, which comes first when `reversed`.
    fn with_number(&self, function: Binary, value: f64, reversed: bool) -> Self {
        let this = self.short();
        let expression = &this.expression;
        let program = if reversed {
            let inputs: Vec<_> = (0..expression.inputs.len() as u32).collect();
            Program::constant(value).binary(function, &expression.program, &inputs)
        } else {
            expression.program.clone().binary(function, &Program::constant(value), &[])
        };
        this.with_program(program)
    }

    /// The same inputs under another program.
    fn with_program(&self, program: Program) -> Self {
        let mut result = Self::new(self.expression.axes.clone(), program, self.expression.inputs.clone());
        result.transposed = self.transposed;
        result
    }

    fn binary(&self, operation: &'static str, function: Binary, other: &Self) -> Result<Self> {
        let (left, right) = (self.shape(), other.shape());
        let Some(shape) = broadcast(&left, &right) else {
            let hint = "lengths must be equal or 1, counted from the last axis; insert_axis(1) makes a column";
            return Err(Error::Shapes { operation, left, right, hint });
        };
        // Two transposes (or one and a number) are combined before they are transposed.
        let stays_transposed = |a: &Self, b: &Self| a.transposed && (b.transposed || b.n_axes() == 0);
        let transposed = shape.len() == 2
            && ((left == right || left.is_empty() || right.is_empty())
                && (stays_transposed(self, other) || stays_transposed(other, self)));
        let (mut a, mut b, shape) = if transposed {
            (self.base(), other.base(), shape.into_iter().rev().collect())
        } else {
            (self.settled(), other.settled(), shape)
        };
        let axes = common_axes(&a, &b, &shape);
        a = a.short().fit(&axes);
        b = b.short().fit(&axes);
        let mut inputs = a.expression.inputs.clone();
        let place = |input| match inputs.iter().position(|known| Arc::ptr_eq(known, input)) {
            Some(place) => place as u32,
            None => {
                inputs.push(Arc::clone(input));
                inputs.len() as u32 - 1
            }
        };
        let places: Vec<_> = b.expression.inputs.iter().map(place).collect();
        let program = a.expression.program.clone().binary(function, &b.expression.program, &places);
        let mut result = Self::new(axes, program, inputs);
        result.transposed = transposed;
        Ok(result)
    }

    /// The array with a program short enough to grow.
    fn short(&self) -> Self {
        if self.expression.program.len() < MAX_STEPS {
            return self.clone();
        }
        let mut result = Self::new(self.expression.axes.clone(), Program::input(), vec![self.expression.stored()]);
        result.transposed = self.transposed;
        result
    }

    /// The array ready to be an operand of a result cut as `axes`: cut as they are, and computed before it is
    /// spread, so that nothing is computed once an element of the larger array.
    fn fit(&self, axes: &[Chunks]) -> Self {
        let own = &self.expression.axes;
        let skipped = axes.len() - own.len();
        let wanted: Vec<_> = own
            .iter()
            .zip(&axes[skipped..])
            .map(|(own, axis)| if own.len() == axis.len() { axis.clone() } else { own.clone() })
            .collect();
        let cut = self.cut_as(&wanted);
        let simple = cut.expression.program.len() == 1;
        if wanted == axes || simple {
            return cut;
        }
        Self::new(wanted, Program::input(), vec![cut.expression.stored()])
    }
}

/// How a result of `shape` is cut: as the first operand that is not spread along the axis.
fn common_axes(a: &ChunkedArray, b: &ChunkedArray, shape: &[usize]) -> Vec<Chunks> {
    let cut = |array: &ChunkedArray, axis: usize| {
        let own = &array.expression.axes;
        (axis + own.len()).checked_sub(shape.len()).map(|axis| own[axis].clone()).filter(|c| c.len() == shape[axis])
    };
    let axis = |axis| cut(a, axis).or_else(|| cut(b, axis)).unwrap_or_else(|| Chunks::single(shape[axis]));
    (0..shape.len()).map(axis).collect()
}

impl Neg for &ChunkedArray {
    type Output = ChunkedArray;

    fn neg(self) -> ChunkedArray {
        self.unary(Unary::Neg)
    }
}

impl Neg for ChunkedArray {
    type Output = Self;

    fn neg(self) -> Self {
        self.unary(Unary::Neg)
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $checked:ident, $function:expr) => {
        impl $trait<&ChunkedArray> for &ChunkedArray {
            type Output = ChunkedArray;

            /// # Panics
            /// When the shapes cannot be broadcast to each other.
            fn $method(self, other: &ChunkedArray) -> ChunkedArray {
                match self.$checked(other) {
                    Ok(result) => result,
                    Err(error) => panic!("{error}"),
                }
            }
        }

        impl $trait<ChunkedArray> for ChunkedArray {
            type Output = ChunkedArray;

            fn $method(self, other: ChunkedArray) -> ChunkedArray {
                (&self).$method(&other)
            }
        }

        impl $trait<&ChunkedArray> for ChunkedArray {
            type Output = ChunkedArray;

            fn $method(self, other: &ChunkedArray) -> ChunkedArray {
                (&self).$method(other)
            }
        }

        impl $trait<ChunkedArray> for &ChunkedArray {
            type Output = ChunkedArray;

            fn $method(self, other: ChunkedArray) -> ChunkedArray {
                self.$method(&other)
            }
        }

        impl $trait<f64> for &ChunkedArray {
            type Output = ChunkedArray;

            fn $method(self, other: f64) -> ChunkedArray {
                self.with_number($function, other, false)
            }
        }

        impl $trait<f64> for ChunkedArray {
            type Output = ChunkedArray;

            fn $method(self, other: f64) -> ChunkedArray {
                self.with_number($function, other, false)
            }
        }

        impl $trait<&ChunkedArray> for f64 {
            type Output = ChunkedArray;

            fn $method(self, other: &ChunkedArray) -> ChunkedArray {
                other.with_number($function, self, true)
            }
        }

        impl $trait<ChunkedArray> for f64 {
            type Output = ChunkedArray;

            fn $method(self, other: ChunkedArray) -> ChunkedArray {
                other.with_number($function, self, true)
            }
        }
    };
}

operator!(Add, add, try_add, Binary::Add);
operator!(Sub, sub, try_sub, Binary::Sub);
operator!(Mul, mul, try_mul, Binary::Mul);
operator!(Div, div, try_div, Binary::Div);
