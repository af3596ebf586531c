//! One of ADMM's block problems: the loss of a block's rows plus a pull towards a target, minimised by argmin.
//!
//! The unknown is the step `d` from the start, and the cost is how far the objective is above its value there,
//! computed without cancellation (`Family::remainder`): late in a fit the steps lower the objective by less than
//! its own rounding, and a cost that could not see them would leave the coefficients seven digits short.
//!
//! Trust-region Newton with Steihaug's conjugate gradients: J. Nocedal, S. Wright, *Numerical Optimization*, 2nd ed.
//! (2006), algorithms 4.1 and 7.2. argmin's types stay in this file.

use std::{
    cell::{OnceCell, RefCell},
    ops::Range,
    rc::Rc,
    sync::Arc,
};

use argmin::{
    core::{CostFunction, Error as ArgminError, Executor, Gradient, Hessian, IterState, KV, Problem, Solver},
    core::{State, TerminationReason, TerminationStatus},
    solver::trustregion::{Steihaug, TrustRegion},
};
use argmin_math::ArgminDot;
use ndarray::{Array2, ArrayView2};
use phalanx_array::{
    kernel::{
        self,
        inlined::{dot, gemv, gemv_transposed},
    },
    panel::PANEL,
    simd,
};
use serde::{Deserialize, Serialize};

use super::setup::Coordinates;
use crate::{
    error::Error,
    family::Family,
    kernel::{Panel, Rows, add_constants},
    loss::{self, Loss},
};

/// Newton steps after which a block is handed back as it is; the next ADMM step goes on from there.
const MAX_STEPS: u64 = 60;

/// Find x that minimises (1 / `sum_weights`) · weighted loss of the rows + `rho` / 2 · |x - `target`|², in working coordinates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockProblem {
    /// The rows of the block. They begin on a panel border.
    pub rows: Range<usize>,
    /// The weights of the rows of all blocks.
    pub sum_weights: f64,
    /// Family and link.
    pub loss: Loss,
    /// Where the working coordinates lie.
    pub coordinates: Arc<Coordinates>,
    /// The strength of the pull, above 0.
    pub rho: f64,
    /// Where it pulls to, length n_features + 1, the intercept first.
    pub target: Vec<f64>,
    /// Where to begin, length n_features + 1.
    pub start: Vec<f64>,
    /// The gradient's norm to stop at.
    pub tolerance: f64,
}

/// The minimum of a block problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockSolution {
    /// Length n_features + 1, the intercept first.
    pub x: Vec<f64>,
    /// Newton steps taken.
    pub n_steps: usize,
}

impl BlockProblem {
    /// Solves it on its rows.
    pub(crate) fn solve(&self, rows: Rows<'_>) -> Result<BlockSolution, Error> {
        let objective = Objective::new(self, rows);
        let steepness = norm(&objective.start_gradient);
        if steepness <= self.tolerance || !steepness.is_finite() {
            return Ok(BlockSolution { x: self.start.clone(), n_steps: 0 });
        }
        let relative = self.tolerance / steepness;
        let failed = |error: ArgminError| Error::Block {
            start: self.rows.start,
            end: self.rows.end,
            message: error.to_string(),
        };
        let inner = Steihaug::new()
            .with_epsilon((0.1 * relative).clamp(1e-13, 1e-2))
            .map_err(failed)?
            .with_max_iters(4 * self.start.len() as u64 + 20);
        // A quadratic is minimised in one step, however long. Elsewhere a step of 4 changes every mean by much.
        let (radius, longest) = if self.loss == Loss::from(Family::Gaussian) { (1e100, 1e100) } else { (4., 1e6) };
        let newton = TrustRegion::new(inner).with_radius(radius).map_err(failed)?;
        let newton = newton.with_max_radius(longest).map_err(failed)?;
        let solver = UntilFlat { newton, tolerance: relative };
        let origin = vec![0.; self.start.len()];
        let found = Executor::new(Shared(Rc::new(objective.scaled(1. / steepness))), solver)
            .configure(|state| state.param(origin).max_iters(MAX_STEPS))
            .ctrlc(false)
            .timer(false)
            .run()
            .map_err(failed)?;
        let mut state = found.state;
        let n_steps = state.get_iter() as usize;
        let step = state.take_param().unwrap_or_default();
        Ok(BlockSolution { x: self.start.iter().zip(&step).map(|(x, d)| x + d).collect(), n_steps })
    }
}

/// The objective as argmin sees it.
struct Shared<'a>(Rc<Objective<'a>>);

/// The objective as a function of the step from the start.
struct Objective<'a> {
    problem: &'a BlockProblem,
    rows: Rows<'a>,
    /// What costs and derivatives are multiplied by, so that argmin's absolute thresholds fit.
    factor: f64,
    /// The linear predictor of each row at the start.
    start_eta: Vec<f64>,
    start_gradient: Vec<f64>,
    /// The last point looked at: argmin asks for cost, gradient and Hessian one after the other.
    last: RefCell<Point>,
}

#[derive(Default)]
struct Point {
    step: Vec<f64>,
    cost: f64,
    gradient: Vec<f64>,
}

impl<'a> Objective<'a> {
    fn new(problem: &'a BlockProblem, rows: Rows<'a>) -> Self {
        let mut objective = Self {
            problem,
            rows,
            factor: 1.,
            start_eta: vec![0.; rows.y.len()],
            start_gradient: vec![0.; problem.start.len()],
            last: RefCell::default(),
        };
        let mut eta = std::mem::take(&mut objective.start_eta);
        let mut sums = vec![0.; problem.start.len()];
        objective.each_panel(|first, panel, design| {
            let eta = &mut eta[first..first + panel.y.len()];
            gemv(design, &problem.start, eta);
            add_constants(eta, 0., panel.offset);
            let mut residuals = [0.; PANEL];
            let residuals = &mut residuals[..panel.y.len()];
            residuals.copy_from_slice(eta);
            problem.loss.panel(panel.y, panel.weights, residuals, None);
            gemv_transposed(design, residuals, &mut sums);
        });
        let n = problem.sum_weights;
        let pull = problem.start.iter().zip(&problem.target).map(|(x, v)| problem.rho * (x - v));
        objective.start_gradient = sums.iter().zip(pull).map(|(g, pull)| g / n + pull).collect();
        objective.start_eta = eta;
        objective
    }

    fn scaled(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Hands each panel on as (its first row in the block, the panel, its rows in working coordinates).
    fn each_panel(&self, mut work: impl FnMut(usize, Panel<'_>, &mut [f64])) {
        let mut design = Vec::with_capacity(PANEL * self.problem.start.len());
        for (index, panel) in self.rows.panels().enumerate() {
            simd::dispatch(
                #[inline(always)]
                || {
                    self.problem.coordinates.write_rows(panel.x, panel.y.len(), &mut design);
                    work(index * PANEL, panel, &mut design);
                },
            );
        }
    }

    fn visit(&self, step: &[f64]) {
        if self.last.borrow().step == step {
            return;
        }
        let (problem, n) = (self.problem, self.problem.sum_weights);
        let mut above = 0.;
        let mut sums = vec![0.; step.len()];
        self.each_panel(|first, panel, design| {
            let mut delta = [0.; PANEL];
            let delta = &mut delta[..panel.y.len()];
            gemv(design, step, delta);
            for (i, delta) in delta.iter_mut().enumerate() {
                let (y, eta) = (panel.y[i], self.start_eta[first + i]);
                let w = panel.weights.map_or(1., |weights| weights[i]);
                let here = problem.loss.row(y, eta + *delta);
                // A row without weight is absent, whatever its loss.
                if w > 0. {
                    above += if here.loss.is_finite() { w * problem.loss.remainder(y, eta, *delta) } else { here.loss };
                }
                *delta = w * (here.residual - problem.loss.row(y, eta).residual);
            }
            gemv_transposed(design, delta, &mut sums);
        });
        let cost = dot(&self.start_gradient, step) + above / n + 0.5 * problem.rho * dot(step, step);
        let turned = sums.iter().zip(&self.start_gradient).zip(step);
        let gradient = turned.map(|((sum, g), d)| self.factor * (g + sum / n + problem.rho * d)).collect();
        // Where a mean overflows, the step is refused; what its gradient would be does not matter.
        let cost = if cost.is_finite() { self.factor * cost } else { f64::MAX };
        *self.last.borrow_mut() = Point { step: step.to_vec(), cost, gradient };
    }

    /// The matrix of second derivatives, row-major.
    fn curvature(&self, step: &[f64]) -> Vec<f64> {
        let (size, n) = (step.len(), self.problem.sum_weights);
        let mut sums = Array2::zeros((size, size));
        let mut product = Array2::zeros((size, size));
        self.each_panel(|first, panel, design| {
            let n = panel.y.len();
            let (mut eta, mut bends) = ([0.; PANEL], [0.; PANEL]);
            let (eta, bends) = (&mut eta[..n], &mut bends[..n]);
            gemv(design, step, eta);
            eta.iter_mut().zip(&self.start_eta[first..]).for_each(|(eta, start)| *eta += start);
            self.problem.loss.panel(panel.y, panel.weights, eta, Some((loss::Curvature::Observed, bends)));
            for (row, bend) in design.chunks_exact_mut(size).zip(&*bends) {
                let root = bend.sqrt();
                row.iter_mut().for_each(|x| *x *= root);
            }
            if let Ok(rows) = ArrayView2::from_shape((n, size), &*design) {
                kernel::gemm_into(rows.t(), rows, product.view_mut());
                sums += &product;
            }
        });
        sums *= self.factor / n;
        sums.diag_mut().mapv_inplace(|x| x + self.factor * self.problem.rho);
        sums.into_raw_vec_and_offset().0
    }
}

impl CostFunction for Shared<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, step: &Vec<f64>) -> Result<f64, ArgminError> {
        self.0.visit(step);
        Ok(self.0.last.borrow().cost)
    }
}

impl Gradient for Shared<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, step: &Vec<f64>) -> Result<Vec<f64>, ArgminError> {
        self.0.visit(step);
        Ok(self.0.last.borrow().gradient.clone())
    }
}

impl<'a> Hessian for Shared<'a> {
    type Param = Vec<f64>;
    type Hessian = Curvature<'a>;

    fn hessian(&self, step: &Vec<f64>) -> Result<Curvature<'a>, ArgminError> {
        let at = CurvatureAt { objective: Rc::clone(&self.0), step: step.clone(), matrix: OnceCell::new() };
        Ok(Curvature(Rc::new(at)))
    }
}

/// The second derivatives at a point. argmin asks for them at the last point too, where nothing looks at them: they
/// are computed at the first look.
#[derive(Clone)]
struct Curvature<'a>(Rc<CurvatureAt<'a>>);

struct CurvatureAt<'a> {
    objective: Rc<Objective<'a>>,
    step: Vec<f64>,
    matrix: OnceCell<Vec<f64>>,
}

impl ArgminDot<Vec<f64>, Vec<f64>> for Curvature<'_> {
    fn dot(&self, v: &Vec<f64>) -> Vec<f64> {
        let matrix = self.0.matrix.get_or_init(|| self.0.objective.curvature(&self.0.step));
        let mut out = vec![0.; v.len()];
        kernel::gemv(matrix, v, &mut out);
        out
    }
}

/// The trust-region method, ended by the norm of the gradient; by itself it only ends by count.
struct UntilFlat {
    newton: TrustRegion<Steihaug<Vec<f64>, f64>, f64>,
    tolerance: f64,
}

type Progress<'a> = IterState<Vec<f64>, Vec<f64>, (), Curvature<'a>, (), f64>;

impl<'a> Solver<Shared<'a>, Progress<'a>> for UntilFlat {
    fn name(&self) -> &str {
        "trust region until flat"
    }

    fn init(
        &mut self,
        problem: &mut Problem<Shared<'a>>,
        state: Progress<'a>,
    ) -> Result<(Progress<'a>, Option<KV>), ArgminError> {
        self.newton.init(problem, state)
    }

    fn next_iter(
        &mut self,
        problem: &mut Problem<Shared<'a>>,
        state: Progress<'a>,
    ) -> Result<(Progress<'a>, Option<KV>), ArgminError> {
        self.newton.next_iter(problem, state)
    }

    fn terminate(&mut self, state: &Progress<'a>) -> TerminationStatus {
        let flat = state.get_gradient().is_some_and(|gradient| norm(gradient) <= self.tolerance);
        if flat {
            TerminationStatus::Terminated(TerminationReason::SolverConverged)
        } else {
            TerminationStatus::NotTerminated
        }
    }
}

fn norm(v: &[f64]) -> f64 {
    dot(v, v).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(family: Family, n: usize, rho: f64, target: &[f64]) -> BlockProblem {
        let p = target.len() - 1;
        let coordinates = Coordinates { centre: vec![0.; p], scale: vec![1.; p], has_intercept: true };
        BlockProblem {
            rows: 0..n,
            sum_weights: n as f64,
            loss: family.into(),
            coordinates: Arc::new(coordinates),
            rho,
            target: target.to_vec(),
            start: vec![0.; p + 1],
            tolerance: 1e-13,
        }
    }

    #[test]
    fn a_quadratic_is_solved_in_one_step() {
        // One row x = 1, y = 4: minimise (c + b - 4)²/2 + (c² + b²)/2, so c = b = 4/3.
        let rows = Rows::plain(&[1.], &[4.], 1);
        let solution = problem(Family::Gaussian, 1, 1., &[0., 0.]).solve(rows).expect("solved");
        assert_eq!(solution.n_steps, 1);
        assert!(solution.x.iter().all(|x| (x - 4. / 3.).abs() < 1e-12), "{solution:?}");
    }

    #[test]
    fn a_huge_rho_gives_the_target() {
        let rows = Rows::plain(&[1., -2., 0.5], &[1., 0., 0.], 1);
        for family in [Family::Gaussian, Family::Binomial, Family::Poisson] {
            let solution = problem(family, 3, 1e12, &[0.3, -0.7]).solve(rows).expect("solved");
            assert!((solution.x[0] - 0.3).abs() + (solution.x[1] + 0.7).abs() < 1e-11, "{family} {solution:?}");
        }
    }

    #[test]
    fn the_gradient_vanishes_from_near_and_far() {
        let x: Vec<f64> = (0..1200).map(|i| ((i * 37 + 11) % 101) as f64 / 50. - 1.).collect();
        let y: Vec<f64> = (0..600).map(|i| f64::from((i * 13) % 7 < 3)).collect();
        let rows = Rows::plain(&x, &y, 2);
        for family in [Family::Gaussian, Family::Binomial, Family::Poisson] {
            let mut problem = problem(family, 600, 0.05, &[0.4, -1., 2.]);
            for start in [[0., 0., 0.], [-30., 3., 9.], [6., 6., -6.]] {
                problem.start = start.to_vec();
                let x = problem.solve(rows).expect("solved").x;
                // From there, and from a little beside it, the last digits are found.
                let [first, second] = [0., 1e-10].map(|aside| {
                    problem.start = x.iter().map(|x| x * (1. + aside)).collect();
                    problem.tolerance = 1e-15;
                    problem.solve(rows).expect("solved").x
                });
                problem.tolerance = 1e-13;
                let apart = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0., f64::max);
                assert!(apart(&x, &first) < 1e-7, "{family} {start:?}: {x:?} {first:?}");
                assert!(apart(&first, &second) < 1e-13, "{family} {start:?}: {first:?} {second:?}");
            }
        }
    }

    #[test]
    fn a_column_without_spread_stays_at_its_target_without_a_pull_from_the_rows() {
        let rows = Rows::plain(&[3., 3.], &[1., 2.], 1);
        let mut problem = problem(Family::Gaussian, 2, 1., &[0., 0.]);
        problem.coordinates = Arc::new(Coordinates { centre: vec![3.], scale: vec![0.], has_intercept: true });
        let x = problem.solve(rows).expect("solved").x;
        assert!((x[0] - 0.75).abs() < 1e-12 && x[1] == 0., "{x:?}");
    }
}
