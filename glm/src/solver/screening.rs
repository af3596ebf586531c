//! Which coordinates a path's matrices of second derivatives are made of.
//!
//! Where a penalty holds most coefficients at 0, the matrix of the few others is all that a step needs, and costs the
//! square of their number. Which they are is told by the gradient at the last optimum: the sequential strong rule for
//! the elastic net leaves out a coordinate whose derivative is below `2 l1 - l1 of the last`. It can be wrong, so the
//! optimality conditions of all coordinates are checked wherever loss and gradient are known, and violators come in.
//!
//! Source: R. Tibshirani, J. Bien, J. Friedman, T. Hastie, N. Simon, J. Taylor, R. Tibshirani, "Strong rules for
//! discarding predictors in lasso-type problems" (2012), sections 3 (equation 13) and 7.

use crate::penalty::Weights;

/// A matrix that is made anyway has room for coordinates whose derivatives reach this share of what they need: the
/// next strengths find them there.
const LOOKAHEAD: f64 = 0.5;

/// The coordinates to begin with, of which no gradient is known: those that nothing holds at 0; none for all of them.
pub(super) fn begin(weights: &[Weights], x: &[f64]) -> Vec<usize> {
    (0..x.len()).filter(|&j| moves(weights[j]) && (weights[j].l1 == 0. || x[j] != 0.)).collect()
}

/// Those that the strong rule keeps, going from an optimum under one penalty to the next.
pub(super) fn strong(was: &[Weights], weights: &[Weights], x: &[f64], gradient: &[f64]) -> Vec<usize> {
    let reaches = |j: usize| {
        let (last, next) = (was[j].l1, weights[j].l1);
        // Before the first strength every penalised coefficient was held at 0 by something else.
        let least = if last > 0. { 2. * next - last } else { next };
        gradient[j].abs() >= least
    };
    (0..x.len()).filter(|&j| moves(weights[j]) && (weights[j].l1 == 0. || x[j] != 0. || reaches(j))).collect()
}

/// Those that are worth a place in a matrix that is made anew, with all of the needed ones; sorted.
pub(super) fn wanted(needed: &[usize], weights: &[Weights], x: &[f64], gradient: &[f64]) -> Vec<usize> {
    let reaches = |j: usize| gradient[j].abs() >= LOOKAHEAD * weights[j].l1;
    let all = 0..x.len();
    all.filter(|&j| needed.binary_search(&j).is_ok() || (moves(weights[j]) && (x[j] != 0. || reaches(j)))).collect()
}

const fn moves(weights: Weights) -> bool {
    weights.lower < weights.upper
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_rule_keeps() {
        let lasso = |l1| Weights { l1, ..Weights::default() };
        let held = Weights { lower: 0., upper: 0., ..Weights::default() };
        let (was, weights) = (
            [Weights::default(), lasso(1.), lasso(1.), lasso(1.), lasso(1.), held],
            [Weights::default(), lasso(0.8), lasso(0.8), lasso(0.8), lasso(0.8), held],
        );
        let x = [3., 0., 0., 0.2, 0., 0.];
        let gradient = [0., 0.7, -0.5, 0., 0.3, 9.];
        assert_eq!(begin(&weights, &x), [0, 3]);
        let needed = strong(&was, &weights, &x, &gradient);
        assert_eq!(needed, [0, 1, 3]);
        assert_eq!(wanted(&needed, &weights, &x, &gradient), [0, 1, 2, 3]);
        let free = [Weights::default(), held, held, held, held, held];
        assert_eq!(strong(&free, &weights, &x, &gradient), [0, 3]);
    }
}
