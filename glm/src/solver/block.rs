//! One of ADMM's block problems: the loss of a block's rows plus a pull towards a target, minimised by argmin.
//!
//! The unknown is a step from the start, in coordinates in which the pull, and about the loss too, bends alike in all
//! directions. There L-BFGS needs a look at the rows or two, since the first of its steps is nearly Newton's. Where it
//! does not arrive, as where the rows of the block are unlike the others or the last digits are asked for, a
//! trust-region Newton method takes over. Its cost is how far the objective is above its value at the start,
//! computed without cancellation (`Loss::remainder`): late in a fit the steps lower the objective by less than its
//! own rounding, and a cost that could not see them would leave the coefficients seven digits short.
//!
//! L-BFGS, and trust-region Newton with Steihaug's conjugate gradients: J. Nocedal, S. Wright, *Numerical
//! Optimization*, 2nd ed. (2006), algorithms 7.5, 4.1 and 7.2. argmin's types stay in this file.

use std::{
    cell::{OnceCell, RefCell},
    ops::Range,
    rc::Rc,
    sync::Arc,
};

use argmin::{
    core::{CostFunction, Error as ArgminError, Executor, Gradient, Hessian, IterState, KV, Problem, Solver},
    core::{State, TerminationReason, TerminationStatus},
    solver::{
        linesearch::MoreThuenteLineSearch,
        quasinewton::LBFGS,
        trustregion::{Steihaug, TrustRegion},
    },
};
use argmin_math::ArgminDot;
use phalanx_array::{
    kernel::{
        Gram,
        inlined::{dot, gemv, gemv_transposed},
    },
    panel::PANEL,
    simd,
};
use serde::{Deserialize, Serialize};

use super::{
    metric::Metric,
    model::Packed,
    setup::{Coordinates, Local},
};
use crate::{
    error::Error,
    family::Family,
    kernel::{Panel, Rows, Stride, add_constants, sum_of},
    loss::{self, Loss},
};

/// Steps of L-BFGS after which it is taken to be lost.
const MAX_QUICK_STEPS: u64 = 40;
/// Steps that L-BFGS remembers.
const MEMORY: usize = 8;
/// Newton steps after which a block is handed back as it is; the next ADMM step goes on from there.
const MAX_STEPS: u64 = 60;

/// Find x that minimises f(x) + `rho` / 2 · |x - `target`|² in the metric, f being (1 / `sum_weights`) · weighted loss of
/// the rows, in working coordinates.
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
    /// What distances are measured in.
    pub metric: Metric,
    /// The strength of the pull, above 0.
    pub rho: f64,
    /// Where it pulls to, length n_features + 1, the intercept first.
    pub target: Vec<f64>,
    /// Where to begin, length n_features + 1.
    pub start: Vec<f64>,
    /// What the rows say there, if that is known: f and its gradient.
    pub at_start: Option<Local>,
    /// The gradient's norm, where the metric is the identity, to stop at.
    pub tolerance: f64,
}

/// The minimum of a block problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockSolution {
    /// Length n_features + 1, the intercept first.
    pub x: Vec<f64>,
    /// f and its gradient there; none where it is not finite.
    pub at: Option<Local>,
    /// Steps taken.
    pub n_steps: usize,
}

impl BlockProblem {
    /// Solves it on its rows.
    pub(crate) fn solve(&self, rows: Rows<'_>) -> Result<BlockSolution, Error> {
        // The sums of a block are its own, wherever it lies.
        let rows = Rows { first_panel: 0, ..rows };
        let Some(at) = self.at_start.clone().or_else(|| self.local(rows, &self.start)) else {
            return Ok(BlockSolution { x: self.start.clone(), at: None, n_steps: 0 });
        };
        let quick = self.quickly(rows, at)?;
        if quick.at.as_ref().is_none_or(|at| self.steepness(&quick.x, at) <= self.tolerance) {
            return Ok(quick);
        }
        let (x, n_steps) = self.newton(rows, &quick.x)?;
        Ok(BlockSolution { at: self.local(rows, &x), x, n_steps: quick.n_steps + n_steps })
    }

    /// f and its gradient; none where it is not finite.
    fn local(&self, rows: Rows<'_>, x: &[f64]) -> Option<Local> {
        let found = rows.evaluate(self.loss, &self.coordinates, &[x.to_vec()], Stride::ALL)?;
        let found = found.finish().0.pop()?;
        Local::of(found.loss, &found.gradient, self.sum_weights)
    }

    /// The gradient of the objective where the metric is the identity.
    fn white_gradient(&self, x: &[f64], at: &Local) -> Vec<f64> {
        let away: Vec<f64> = x.iter().zip(&self.target).map(|(x, v)| x - v).collect();
        let pull = self.metric.times(&away);
        self.metric.whiten(at.gradient.iter().zip(pull).map(|(g, pull)| g + self.rho * pull).collect())
    }

    fn steepness(&self, x: &[f64], at: &Local) -> f64 {
        norm(&self.white_gradient(x, at))
    }

    fn failed(&self, error: &ArgminError) -> Error {
        Error::Block { start: self.rows.start, end: self.rows.end, message: error.to_string() }
    }

    /// L-BFGS from a start where the rows are known; as far as it gets.
    fn quickly(&self, rows: Rows<'_>, at_start: Local) -> Result<BlockSolution, Error> {
        let gradient = self.white_gradient(&self.start, &at_start);
        let steepness = norm(&gradient);
        if steepness <= self.tolerance || !steepness.is_finite() {
            return Ok(BlockSolution { x: self.start.clone(), at: Some(at_start), n_steps: 0 });
        }
        // So much of the metric the loss of these rows bends, were they like the others; then the objective's second
        // derivatives are about the identity, and its gradient at the start has the norm 1.
        let share = sum_of(rows.weights, rows.y.len()) / self.sum_weights;
        let bend = share + self.rho;
        let problem = Quick { problem: self, rows, bend, steepness, at_start, last: RefCell::default() };
        let origin = vec![0.; gradient.len()];
        let scaled: Vec<f64> = gradient.iter().map(|g| g / steepness).collect();
        let solver = LBFGS::new(MoreThuenteLineSearch::new(), MEMORY)
            .with_tolerance_grad(self.tolerance / steepness)
            .and_then(|solver| solver.with_tolerance_cost(0.))
            .map_err(|error| self.failed(&error))?;
        let found = Executor::new(&problem, solver)
            .configure(|state| state.param(origin).cost(0.).gradient(scaled).max_iters(MAX_QUICK_STEPS))
            .ctrlc(false)
            .timer(false)
            .run();
        // A line search that fails says that the model of the loss is no good here: Newton's method is next.
        let Ok(mut found) = found else {
            return Ok(BlockSolution { x: self.start.clone(), at: Some(problem.at_start), n_steps: 0 });
        };
        let n_steps = found.state.get_iter() as usize;
        let step = found.state.take_param().or_else(|| found.state.take_best_param());
        let step = step.filter(|step| step.iter().all(|d| d.is_finite())).unwrap_or_default();
        if step.is_empty() {
            return Ok(BlockSolution { x: self.start.clone(), at: Some(problem.at_start), n_steps });
        }
        problem.visit(&step);
        let at = problem.last.borrow().at.clone();
        match at {
            Some(at) => Ok(BlockSolution { x: problem.point(&step), at: Some(at), n_steps }),
            None => Ok(BlockSolution { x: self.start.clone(), at: Some(problem.at_start), n_steps }),
        }
    }

    /// Newton's method from a point; where it ends, and after how many steps.
    fn newton(&self, rows: Rows<'_>, start: &[f64]) -> Result<(Vec<f64>, usize), Error> {
        let objective = Objective::new(self, start, rows);
        let steepness = norm(&objective.start_gradient);
        if steepness <= self.tolerance || !steepness.is_finite() {
            return Ok((start.to_vec(), 0));
        }
        let relative = self.tolerance / steepness;
        let inner = Steihaug::new()
            .with_epsilon((0.1 * relative).clamp(1e-13, 1e-2))
            .map_err(|error| self.failed(&error))?
            .with_max_iters(4 * self.start.len() as u64 + 20);
        // A quadratic is minimised in one step, however long. Elsewhere a step of 4 changes every mean by much.
        let typical = self.metric.typical(start.len()).sqrt();
        let (radius, longest) = if self.loss == Loss::from(Family::Gaussian) { (1e100, 1e100) } else { (4., 1e6) };
        let newton = TrustRegion::new(inner)
            .with_radius(radius * typical)
            .and_then(|newton| newton.with_max_radius(longest * typical))
            .map_err(|error| self.failed(&error))?;
        let solver = UntilFlat { newton, tolerance: relative };
        let origin = vec![0.; self.start.len()];
        let found = Executor::new(Shared(Rc::new(objective.scaled(1. / steepness))), solver)
            .configure(|state| state.param(origin).max_iters(MAX_STEPS))
            .ctrlc(false)
            .timer(false)
            .run()
            .map_err(|error| self.failed(&error))?;
        let mut state = found.state;
        let n_steps = state.get_iter() as usize;
        let step = self.metric.unwhiten(state.take_param().unwrap_or_default());
        Ok((start.iter().zip(&step).map(|(x, d)| x + d).collect(), n_steps))
    }
}

/// The objective less its value at the start, as L-BFGS sees it: in coordinates in which its second derivatives are
/// about the identity and its gradient at the start has the norm 1.
struct Quick<'a> {
    problem: &'a BlockProblem,
    rows: Rows<'a>,
    bend: f64,
    steepness: f64,
    at_start: Local,
    last: RefCell<Seen>,
}

/// The last point looked at: argmin asks for cost and gradient one after the other.
#[derive(Default)]
struct Seen {
    step: Vec<f64>,
    cost: f64,
    gradient: Vec<f64>,
    at: Option<Local>,
}

impl Quick<'_> {
    /// The step in working coordinates.
    fn direction(&self, step: &[f64]) -> Vec<f64> {
        let length = self.steepness / self.bend;
        self.problem.metric.unwhiten(step.iter().map(|d| length * d).collect())
    }

    fn point(&self, step: &[f64]) -> Vec<f64> {
        self.problem.start.iter().zip(self.direction(step)).map(|(x, d)| x + d).collect()
    }

    fn visit(&self, step: &[f64]) {
        if self.last.borrow().step == step {
            return;
        }
        let problem = self.problem;
        let direction = self.direction(step);
        let x: Vec<f64> = problem.start.iter().zip(&direction).map(|(x, d)| x + d).collect();
        let at = problem.local(self.rows, &x);
        let (cost, gradient) = match &at {
            Some(at) => {
                let gradient = problem.white_gradient(&x, at);
                let here = problem.metric.times(&direction);
                let away = problem.start.iter().zip(&problem.target).map(|(x, v)| x - v);
                let pull: f64 = here.iter().zip(away).zip(&direction).map(|((m, a), d)| m * (a + 0.5 * d)).sum();
                let above = self.above(at, &direction) + problem.rho * pull;
                let scale = self.bend / (self.steepness * self.steepness);
                (scale * above, gradient.into_iter().map(|g| g / self.steepness).collect())
            }
            // Where a mean overflows, the step is refused.
            None => (f64::INFINITY, vec![0.; step.len()]),
        };
        *self.last.borrow_mut() = Seen { step: step.to_vec(), cost, gradient, at };
    }

    /// How far the loss of the rows is above that at the start. Where digits would cancel the step is short, and the
    /// trapezoid of the slopes at both ends is nearer than the difference.
    fn above(&self, at: &Local, direction: &[f64]) -> f64 {
        let difference = at.loss - self.at_start.loss;
        if difference.abs() > 1e-6 * self.at_start.loss.abs() {
            return difference;
        }
        0.5 * (dot(&at.gradient, direction) + dot(&self.at_start.gradient, direction))
    }
}

impl CostFunction for &Quick<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, step: &Vec<f64>) -> Result<f64, ArgminError> {
        self.visit(step);
        Ok(self.last.borrow().cost)
    }
}

impl Gradient for &Quick<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, step: &Vec<f64>) -> Result<Vec<f64>, ArgminError> {
        self.visit(step);
        Ok(self.last.borrow().gradient.clone())
    }
}

/// The objective as Newton's method sees it.
struct Shared<'a>(Rc<Objective<'a>>);

/// The objective as a function of the step from the start, where the metric is the identity.
struct Objective<'a> {
    problem: &'a BlockProblem,
    start: &'a [f64],
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
    fn new(problem: &'a BlockProblem, start: &'a [f64], rows: Rows<'a>) -> Self {
        let mut objective = Self {
            problem,
            start,
            rows,
            factor: 1.,
            start_eta: vec![0.; rows.y.len()],
            start_gradient: vec![0.; start.len()],
            last: RefCell::default(),
        };
        let mut eta = std::mem::take(&mut objective.start_eta);
        let mut sums = vec![0.; start.len()];
        objective.each_panel(|first, panel, design| {
            let eta = &mut eta[first..first + panel.y.len()];
            gemv(design, start, eta);
            add_constants(eta, 0., panel.offset);
            let mut residuals = [0.; PANEL];
            let residuals = &mut residuals[..panel.y.len()];
            residuals.copy_from_slice(eta);
            problem.loss.panel(panel.y, panel.weights, residuals, None);
            gemv_transposed(design, residuals, &mut sums);
        });
        sums.iter_mut().for_each(|g| *g /= problem.sum_weights);
        objective.start_gradient = problem.white_gradient(start, &Local { loss: 0., gradient: sums });
        objective.start_eta = eta;
        objective
    }

    fn scaled(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Hands each panel on as (its first row in the block, the panel, its rows in working coordinates).
    fn each_panel(&self, mut work: impl FnMut(usize, Panel<'_>, &mut [f64])) {
        let mut design = Vec::with_capacity(PANEL * self.start.len());
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
        let direction = problem.metric.unwhiten(step.to_vec());
        let mut above = 0.;
        let mut sums = vec![0.; step.len()];
        self.each_panel(|first, panel, design| {
            let mut delta = [0.; PANEL];
            let delta = &mut delta[..panel.y.len()];
            gemv(design, &direction, delta);
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
        let turned = problem.metric.whiten(sums.iter().map(|sum| sum / n).collect());
        let turned = turned.iter().zip(&self.start_gradient).zip(step);
        let gradient = turned.map(|((turn, g), d)| self.factor * (g + turn + problem.rho * d)).collect();
        // Where a mean overflows, the step is refused; what its gradient would be does not matter.
        let cost = if cost.is_finite() { self.factor * cost } else { f64::MAX };
        *self.last.borrow_mut() = Point { step: step.to_vec(), cost, gradient };
    }

    /// The matrix of second derivatives of f in working coordinates, packed.
    fn curvature(&self, step: &[f64]) -> Vec<f64> {
        let (size, n) = (step.len(), self.problem.sum_weights);
        let direction = self.problem.metric.unwhiten(step.to_vec());
        let (mut gram, mut packed) = (Gram::new(size), vec![0.; size * (size + 1) / 2]);
        self.each_panel(|first, panel, design| {
            let n = panel.y.len();
            let (mut eta, mut bends) = ([0.; PANEL], [0.; PANEL]);
            let (eta, bends) = (&mut eta[..n], &mut bends[..n]);
            gemv(design, &direction, eta);
            eta.iter_mut().zip(&self.start_eta[first..]).for_each(|(eta, start)| *eta += start);
            self.problem.loss.panel(panel.y, panel.weights, eta, Some((loss::Curvature::Observed, bends)));
            for (row, bend) in design.chunks_exact_mut(size).zip(&*bends) {
                let root = bend.sqrt();
                row.iter_mut().for_each(|x| *x *= root);
            }
            gram.add(design, &mut packed);
        });
        packed.iter_mut().for_each(|h| *h /= n);
        packed
    }

    /// The second derivatives of the objective, times a vector.
    fn bend(&self, matrix: &[f64], v: &[f64]) -> Vec<f64> {
        let out = Packed(matrix).times(&self.problem.metric.unwhiten(v.to_vec()));
        let out = self.problem.metric.whiten(out);
        out.iter().zip(v).map(|(out, v)| self.factor * (out + self.problem.rho * v)).collect()
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
        self.0.objective.bend(matrix, v)
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
            metric: Metric::Uniform(1.),
            rho,
            target: target.to_vec(),
            start: vec![0.; p + 1],
            at_start: None,
            tolerance: 1e-13,
        }
    }

    #[test]
    fn a_quadratic_that_bends_as_the_metric_is_solved_in_one_step() {
        // Rows x = 1, y = 4 and x = -1, y = 2: minimise (c - 3)²/2 + (b - 1)²/2 + (c² + b²)/2, so c = 3/2 and b = 1/2.
        let rows = Rows::plain(&[1., -1.], &[4., 2.], 1);
        let solution = problem(Family::Gaussian, 2, 1., &[0., 0.]).solve(rows).expect("solved");
        assert_eq!(solution.n_steps, 1);
        assert!((solution.x[0] - 1.5).abs() < 1e-12 && (solution.x[1] - 0.5).abs() < 1e-12, "{solution:?}");
        // The loss and its gradient there are handed back, so that the next solve need not look.
        let at = solution.at.expect("finite");
        assert!((at.loss - (0.5 * 1.5 * 1.5 + 0.5 * 0.25)).abs() < 1e-12 && (at.gradient[0] + 1.5).abs() < 1e-12);
    }

    #[test]
    fn rows_unlike_the_metric_are_solved_too() {
        // One row x = 1, y = 4: minimise (c + b - 4)²/2 + (c² + b²)/2, so c = b = 4/3.
        let rows = Rows::plain(&[1.], &[4.], 1);
        let solution = problem(Family::Gaussian, 1, 1., &[0., 0.]).solve(rows).expect("solved");
        assert!(solution.x.iter().all(|x| (x - 4. / 3.).abs() < 1e-12), "{solution:?}");
    }

    #[test]
    fn the_metric_is_that_of_the_pull() {
        // As before, with c² + 4 b² in the pull: c + b - 4 + c = 0 and c + b - 4 + 4 b = 0, so c = 16/9 and b = 4/9.
        let rows = Rows::plain(&[1.], &[4.], 1);
        let mut problem = problem(Family::Gaussian, 1, 1., &[0., 0.]);
        problem.metric = Metric::Factor(Arc::new(vec![1., 0., 2.]));
        for at_start in [None, problem.local(rows, &[0., 0.])] {
            let solution = BlockProblem { at_start, ..problem.clone() }.solve(rows).expect("solved");
            let [c, b] = [solution.x[0], solution.x[1]];
            assert!((c - 16. / 9.).abs() < 1e-12 && (b - 4. / 9.).abs() < 1e-12, "{solution:?}");
        }
        let (newton, _) = problem.newton(rows, &[3., -2.]).expect("solved");
        assert!((newton[0] - 16. / 9.).abs() < 1e-12 && (newton[1] - 4. / 9.).abs() < 1e-12, "{newton:?}");
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
