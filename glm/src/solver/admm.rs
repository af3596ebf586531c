//! Consensus ADMM over blocks of rows: every block fits its own rows, and a common answer pulls them together.
//!
//! minimise Σ_i f_i(x_i) + g(z) subject to x_i = z, where f_i is the loss of block i over the number of *all* rows
//! and g the penalty, the intercept left out. With duals y_i, over-relaxation a, N blocks and distances in a metric M:
//!
//! ```text
//! x_i = argmin f_i(x) + rho/2 |x - (z - M⁻¹ y_i / rho)|²_M           one block solve each
//! h_i = a x_i + (1 - a) z
//! z   = argmin g(z) + N rho/2 |z - mean(h_i + M⁻¹ y_i / rho)|²_M     threshold and shrinkage where M is diagonal
//! y_i = y_i + rho M (h_i - z)
//! ```
//!
//! M is the matrix of second derivatives of the mean loss, from a sample of the rows where they are many: at the null
//! model, and anew at z after a few steps, a fixed number of times. Blocks that are alike then agree in a handful of
//! steps, whatever the columns' correlations.
//!
//! Where the residuals allow a stop, the loss's gradient at z is asked for, and the optimality conditions of the
//! whole problem decide. If they do not hold yet the tolerances are tightened and ADMM goes on: no other solver
//! polishes its answer.
//!
//! Source: S. Boyd, N. Parikh, E. Chu, B. Peleato, J. Eckstein, "Distributed optimization and statistical learning
//! via the alternating direction method of multipliers" (2011), sections 3.3 (stopping), 3.4.1 (varying rho),
//! 3.4.2 (metrics), 3.4.3 (over-relaxation), 4.3 (inexact minimisation) and 8.2 (splitting across examples).

use std::sync::Arc;

use phalanx_array::panel::{PANEL, n_panels};
use serde::{Deserialize, Serialize};

use super::{
    Answer, Ask, BlockProblem, BlockSolution, Solution, Spec, irls,
    metric::Metric,
    mismatch,
    model::{Packed, minimise},
    opening::{Opened, Opening},
    setup::{Counts, Local, Setup},
};
use crate::{
    error::Error,
    kernel::{Evaluation, Quadratic, Stride},
    loss::Curvature,
    report::StopReason,
};

/// Panels in a block unless a number of blocks is given.
const PANELS_PER_BLOCK: usize = 16;
/// The most blocks unless a number is given: more of them agree more slowly.
const MAX_DEFAULT_BLOCKS: usize = 32;
/// Over-relaxation; Boyd et al. advise 1.5 to 1.8.
const RELAXATION: f64 = 1.6;
/// How far the residuals may be apart before rho moves, and by how much it moves.
const IMBALANCE: f64 = 10.;
/// The steps after which the metric is taken anew.
const RENEWALS: [usize; 3] = [2, 5, 10];
/// The most columns of which a matrix travels with every step.
const MAX_METRIC_COLUMNS: usize = 500;

/// The machine. A step is one round of block solves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Admm {
    spec: Arc<Spec>,
    n_blocks: Option<usize>,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Phase {
    Opening(Opening),
    /// Waits for the loss at the null model; the flag says that it lies at infinity.
    Start(Box<State>, bool),
    /// Waits for the second derivatives at z.
    Metric(Box<State>),
    /// Waits for the blocks.
    Blocks(Box<State>),
    /// Waits for the loss at z; the flag says that there will be no further step.
    Certify(Box<State>, Option<StopReason>),
    Done(Box<Solution>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    setup: Setup,
    counts: Counts,
    /// Where each block ends, in rows.
    ends: Vec<usize>,
    metric: Metric,
    rho: f64,
    z: Vec<f64>,
    x: Vec<Vec<f64>>,
    /// What each block's rows say at its x, where that is known.
    at: Vec<Option<Local>>,
    /// The duals, as gradients.
    y: Vec<Vec<f64>>,
    /// The gradient's norm that the next block solves stop at.
    block_tolerance: f64,
    /// The residuals, relative to y's scale, at which to look at the optimality conditions.
    residual_tolerance: f64,
    /// Steps at which rho may move next, and how long to wait after that.
    rho_at: usize,
    rho_wait: usize,
    /// Steps at which to look at the optimality conditions whatever the residuals say.
    look_at: usize,
}

/// How many blocks `n_rows` rows are cut into by default: one for each 4,096 rows, at most 32.
pub fn default_n_blocks(n_rows: usize) -> usize {
    n_panels(n_rows).div_ceil(PANELS_PER_BLOCK).clamp(1, MAX_DEFAULT_BLOCKS)
}

/// Where each block ends: on panel borders, as even as those allow, no block empty.
fn block_ends(n_rows: usize, n_blocks: usize) -> Vec<usize> {
    let panels = n_panels(n_rows);
    let n_blocks = n_blocks.clamp(1, panels.max(1));
    (1..=n_blocks).map(|i| (i * panels / n_blocks * PANEL).min(n_rows)).collect()
}

impl Admm {
    /// A machine that has asked nothing yet. Without `n_blocks` the number of rows decides; a number larger than
    /// that of the panels is taken as that.
    pub fn new(spec: Spec, n_blocks: Option<usize>) -> Self {
        let spec = Arc::new(spec);
        Self { phase: Phase::Opening(Opening::new(&spec)), spec, n_blocks }
    }

    pub(super) const fn n_blocks(&self) -> Option<usize> {
        self.n_blocks
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What it wants to know.
    pub fn ask(&self) -> Ask {
        match &self.phase {
            Phase::Opening(opening) => opening.ask(),
            Phase::Start(state, _) | Phase::Certify(state, _) => state.setup.evaluate_at([&state.z]),
            Phase::Metric(state) => Ask::Quadratic {
                coordinates: Arc::clone(&state.setup.coordinates),
                point: state.z.clone(),
                curvature: Curvature::Expected,
                stride: irls::sample(state.setup.n_rows, state.z.len()),
            },
            Phase::Blocks(state) => Ask::BlockSolve { blocks: state.blocks() },
            Phase::Done(solution) => Ask::Done(solution.clone()),
        }
    }

    /// Answers the question.
    ///
    /// # Errors
    /// When the answer is to another question, or the numbers are too large to work with.
    pub fn tell(&mut self, answer: Answer) -> Result<(), Error> {
        let phase = std::mem::replace(&mut self.phase, Phase::Opening(Opening::new(&self.spec)));
        self.phase = match (phase, answer) {
            (Phase::Opening(mut opening), answer) => match opening.tell(answer) {
                Ok(None) => Phase::Opening(opening),
                Ok(Some(Opened { setup, start, unbounded, counts })) => {
                    let n_blocks = self.n_blocks.unwrap_or_else(|| default_n_blocks(setup.n_rows));
                    Phase::Start(Box::new(State::new(setup, start, n_blocks, counts)), unbounded)
                }
                Err(error) => {
                    self.phase = Phase::Opening(opening);
                    return Err(error);
                }
            },
            (Phase::Start(state, unbounded), Answer::Evaluations(all)) if all.len() == 1 => {
                state.start(&all[0], unbounded)
            }
            (Phase::Metric(state), Answer::Quadratic(found)) => state.renew(&found),
            (Phase::Blocks(state), Answer::Blocks(blocks)) if blocks.len() == state.ends.len() => state.step(blocks),
            (Phase::Certify(state, last), Answer::Evaluations(all)) if all.len() == 1 => state.certify(&all[0], last),
            (phase, answer) => {
                self.phase = phase;
                return Err(mismatch(&self.ask(), &answer));
            }
        };
        Ok(())
    }
}

impl State {
    fn new(setup: Setup, z: Vec<f64>, n_blocks: usize, counts: Counts) -> Self {
        let ends = block_ends(setup.n_rows, n_blocks);
        let n = ends.len();
        Self {
            counts,
            // One block's share of the second derivatives.
            rho: 1. / n as f64,
            metric: Metric::Uniform(setup.curvature),
            x: vec![z.clone(); n],
            at: vec![None; n],
            y: vec![vec![0.; z.len()]; n],
            block_tolerance: 0.05 * Self::unit(&setup) / n as f64,
            // The conditions are those of the largest violation, and residuals are norms of all.
            residual_tolerance: 5. * setup.spec.tol,
            rho_at: 5,
            rho_wait: 5,
            look_at: 50,
            z,
            ends,
            setup,
        }
    }

    /// The unit of a gradient's norm where the metric is the identity.
    fn unit(setup: &Setup) -> f64 {
        setup.unit / setup.curvature.sqrt()
    }

    /// M⁻¹ y / rho.
    fn scaled_dual(&self, y: &[f64]) -> Vec<f64> {
        self.metric.solve(y).into_iter().map(|u| u / self.rho).collect()
    }

    fn blocks(&self) -> Vec<BlockProblem> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .zip(self.x.iter().zip(&self.y).zip(&self.at))
            .map(|((start, &end), ((x, y), at))| BlockProblem {
                rows: start..end,
                sum_weights: self.setup.sum_weights,
                loss: self.setup.spec.loss,
                coordinates: self.setup.coordinates.clone(),
                metric: self.metric.clone(),
                rho: self.rho,
                target: self.z.iter().zip(self.scaled_dual(y)).map(|(z, u)| z - u).collect(),
                start: x.clone(),
                at_start: at.clone(),
                tolerance: self.block_tolerance,
            })
            .collect()
    }

    fn start(mut self: Box<Self>, evaluation: &Evaluation, unbounded: bool) -> Phase {
        self.counts.n_passes += 1;
        if unbounded {
            return self.done(evaluation, StopReason::OneClass);
        }
        if self.is_optimal(evaluation) {
            return self.done(evaluation, StopReason::Optimal);
        }
        if self.z.len() > MAX_METRIC_COLUMNS {
            return Phase::Blocks(self);
        }
        Phase::Metric(self)
    }

    /// Takes the second derivatives at z for the metric; the duals, as gradients, are what they were.
    fn renew(mut self: Box<Self>, found: &Quadratic) -> Phase {
        let is_whole = irls::sample(self.setup.n_rows, self.z.len()) == Stride::ALL;
        self.counts.n_passes += usize::from(is_whole);
        if let Some(metric) = Metric::of(found, self.setup.curvature) {
            self.metric = metric;
        }
        Phase::Blocks(self)
    }

    fn step(mut self: Box<Self>, blocks: Vec<BlockSolution>) -> Phase {
        self.counts.n_iter += 1;
        self.counts.n_passes += 1;
        let n = self.ends.len() as f64;
        (self.x, self.at) = blocks.into_iter().map(|block| (block.x, block.at)).unzip();
        let previous = self.z.clone();
        let relaxed: Vec<Vec<f64>> = self.x.iter().map(|x| mix(RELAXATION, x, &previous)).collect();
        let duals: Vec<Vec<f64>> = self.y.iter().map(|y| self.scaled_dual(y)).collect();
        let mean = |j: usize| relaxed.iter().zip(&duals).map(|(h, u)| h[j] + u[j]).sum::<f64>() / n;
        let mean: Vec<f64> = (0..previous.len()).map(mean).collect();
        self.z = self.prox(&mean, n * self.rho);
        for (y, h) in self.y.iter_mut().zip(&relaxed) {
            let pull = self.metric.times(&difference(h, &self.z));
            y.iter_mut().zip(pull).for_each(|(y, pull)| *y += self.rho * pull);
        }
        let away = |x: &Vec<f64>| self.metric.square(&difference(x, &self.z));
        let primal = self.x.iter().map(away).sum::<f64>().sqrt();
        let dual = self.rho * n.sqrt() * self.metric.square(&difference(&self.z, &previous)).sqrt();
        let still = previous == self.z;
        self.next(primal, dual, still)
    }

    /// Where penalty plus strength / 2 · |z - point|² is least.
    fn prox(&self, point: &[f64], strength: f64) -> Vec<f64> {
        let weights = &self.setup.weights;
        if let Metric::Uniform(scale) = self.metric {
            return weights.iter().zip(point).map(|(w, &p)| w.prox(p, scale * strength)).collect();
        }
        let hessian = self.metric.packed(point.len(), strength);
        let gradient = Packed(&hessian).times(&difference(&self.z, point));
        minimise(Packed(&hessian), &gradient, &self.z, weights).point
    }

    /// Decides on rho, the tolerances and whether to look at the optimality conditions.
    fn next(mut self: Box<Self>, primal: f64, dual: f64, still: bool) -> Phase {
        let n = self.ends.len() as f64;
        let unit = Self::unit(&self.setup);
        // Both as gradients: a disagreement of the blocks counts by what it costs.
        let primal_pull = self.rho * primal * n.sqrt();
        let dual_pull = dual * n.sqrt();
        let last = if self.counts.n_iter >= self.setup.spec.max_iter {
            Some(StopReason::MaxIter)
        } else if still && primal == 0. {
            Some(StopReason::Precision)
        } else {
            None
        };
        // Blocks are solved ten times better than they agree.
        let floor = 0.05 * self.setup.spec.tol.max(1e-14) * unit / n;
        self.block_tolerance = (0.2 * primal_pull.min(dual_pull) / n).clamp(floor, self.block_tolerance.max(floor));
        if last.is_none() {
            self.balance(primal, dual);
        }
        let settled = primal_pull.max(dual_pull) <= self.residual_tolerance * unit;
        if settled || last.is_some() || self.counts.n_iter >= self.look_at {
            return Phase::Certify(self, last);
        }
        if RENEWALS.contains(&self.counts.n_iter) && matches!(self.metric, Metric::Factor(_)) {
            return Phase::Metric(self);
        }
        Phase::Blocks(self)
    }

    /// Boyd et al., section 3.4.1, the dual residual being one of blocks' shares of the curvature; less and less often,
    /// so that rho comes to rest and the convergence proof holds. Of blocks that are alike both are of one size where
    /// rho is such a share, and the rate is best.
    fn balance(&mut self, primal: f64, dual: f64) {
        if self.counts.n_iter < self.rho_at || primal == 0. || dual == 0. {
            return;
        }
        self.rho_at = self.counts.n_iter + self.rho_wait;
        let ratio = primal / (dual * self.ends.len() as f64);
        if (1. / IMBALANCE..IMBALANCE).contains(&ratio) {
            return;
        }
        self.rho_wait += self.rho_wait / 2;
        self.rho *= ratio.sqrt().clamp(0.1, 10.);
    }

    fn certify(mut self: Box<Self>, evaluation: &Evaluation, last: Option<StopReason>) -> Phase {
        self.counts.n_passes += 1;
        if self.is_optimal(evaluation) {
            return self.done(evaluation, StopReason::Optimal);
        }
        if let Some(stop) = last {
            return self.done(evaluation, stop);
        }
        let spec = Arc::clone(&self.setup.spec);
        if evaluation.separated && spec.penalty.is_none() {
            return self.done(evaluation, StopReason::Separable);
        }
        if self.counts.n_iter >= self.look_at {
            self.look_at = self.counts.n_iter + self.counts.n_iter.clamp(50, 500);
        } else {
            self.residual_tolerance *= 0.3;
        }
        Phase::Blocks(self)
    }

    fn is_optimal(&self, at_z: &Evaluation) -> bool {
        let local = self.setup.local(at_z);
        local.is_some_and(|local| self.setup.kkt_relative(&self.z, &local) <= self.setup.spec.tol)
    }

    fn done(self: Box<Self>, at_z: &Evaluation, stop: StopReason) -> Phase {
        // Where a mean overflows there is nothing to say of it.
        let nowhere = || Local { loss: f64::MAX, gradient: vec![f64::MAX; self.z.len()] };
        let at_z = self.setup.local(at_z).unwrap_or_else(nowhere);
        Phase::Done(Box::new(self.setup.solution(&self.z, &at_z, self.counts, stop)))
    }
}

fn mix(share: f64, a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| share * a + (1. - share) * b).collect()
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::{Moments, NullPoint, Spread},
        penalty::Penalty,
        solver::{
            Coordinates,
            testing::{Data, asks},
        },
    };

    const PAIR: Data = Data { x: &[-1., 1.], y: &[1., 3.] };

    /// As [`PAIR`] has them.
    fn moments() -> Answer {
        let x = vec![Spread { mean: 0., squares: 2. }];
        let y = Spread { mean: 2., squares: 2. };
        let (n_rows, sum_weights) = (2, 2.);
        Answer::Moments(Moments { n_rows, n_used: 2, sum_weights, x, y, offset: 0., saturated: 0., bad: None })
    }

    fn null() -> Answer {
        Answer::Null(vec![NullPoint { loss: 1., first: 0., second: 2., squares: 2. }])
    }

    fn at_the_null_model() -> Answer {
        Answer::Evaluations(vec![Evaluation { loss: 1., gradient: vec![0., -2.], separated: false }])
    }

    fn lasso(alpha: f64, l1_ratio: f64) -> Spec {
        Spec { penalty: Penalty::elastic_net(alpha, l1_ratio), ..Spec::default() }
    }

    /// The second derivatives of [`PAIR`].
    fn quadratic() -> Answer {
        let (gradient, hessian) = (vec![0., -2.], vec![2., 0., 2.]);
        Answer::Quadratic(Quadratic { sum_weights: 2., loss: 1., gradient, hessian, separated: false, n_saturated: 0 })
    }

    fn solved(x: Vec<f64>) -> BlockSolution {
        BlockSolution { x, at: Some(Local { loss: 0.5, gradient: vec![0., 0.] }), n_steps: 1 }
    }

    /// Target and start of the one block that is asked for.
    fn block(machine: &Admm) -> (Vec<f64>, Vec<f64>) {
        let Ask::BlockSolve { blocks } = machine.ask() else { unreachable!("a block is asked for") };
        let [block] = <[BlockProblem; 1]>::try_from(blocks).expect("one block");
        assert_eq!((block.rows, block.sum_weights, block.rho), (0..2, 2., 1.));
        (block.target, block.start)
    }

    #[test]
    fn a_step_is_that_of_the_paper() {
        // Rows 0 and 1 in one block; rho is 1 and M 1.001 times the identity, with a thousandth of the curvature added.
        // The block answers (2, 1) from z = (2, 0), y = 0: h = 1.6 (2, 1) - 0.6 (2, 0) = (2, 1.6); the threshold takes
        // 0.25 / 1.001, which is y / (rho M) then.
        let mut machine = Admm::new(lasso(0.25, 1.), None);
        machine.tell(moments()).expect("moments were asked for");
        assert_eq!(machine.ask(), Ask::Null { intercepts: vec![2.] });
        machine.tell(null()).expect("the null model was asked for");
        let coordinates = Arc::new(Coordinates { centre: vec![0.], scale: vec![1.], has_intercept: true });
        let points = vec![vec![2., 0.]];
        assert_eq!(machine.ask(), Ask::Evaluate { coordinates: Arc::clone(&coordinates), points, stride: Stride::ALL });
        machine.tell(at_the_null_model()).expect("an evaluation was asked for");
        let (point, curvature) = (vec![2., 0.], Curvature::Expected);
        assert_eq!(machine.ask(), Ask::Quadratic { coordinates, point, curvature, stride: Stride::ALL });
        machine.tell(quadratic()).expect("a quadratic was asked for");
        assert_eq!(block(&machine), (vec![2., 0.], vec![2., 0.]));
        machine.tell(Answer::Blocks(vec![solved(vec![2., 1.])])).expect("a block");
        let (target, start) = block(&machine);
        assert_eq!(start, [2., 1.]);
        // The intercept has no threshold.
        assert!((target[0] - 2.).abs() < 1e-15 && (target[1] - (1.6 - 0.5 / 1.001)).abs() < 1e-15, "{target:?}");
    }

    #[test]
    fn the_metric_is_renewed_and_the_duals_stay() {
        let mut machine = Admm::new(lasso(0.25, 1.), None);
        for answer in [moments(), null(), at_the_null_model(), quadratic()] {
            machine.tell(answer).expect("what was asked for");
        }
        let mut pulls = Vec::new();
        for x in [1., 0.9] {
            machine.tell(Answer::Blocks(vec![solved(vec![2., x])])).expect("a block");
            if let Phase::Blocks(state) | Phase::Metric(state) = &machine.phase {
                pulls.push(state.y[0].clone());
            }
        }
        // After two steps the second derivatives are asked for again.
        assert!(matches!(machine.ask(), Ask::Quadratic { .. }), "{machine:?}");
        let (gradient, hessian) = (vec![0., 0.], vec![4., 0., 8.]);
        let doubled = Quadratic { sum_weights: 2., loss: 1., gradient, hessian, separated: false, n_saturated: 0 };
        machine.tell(Answer::Quadratic(doubled)).expect("a quadratic was asked for");
        let Phase::Blocks(state) = &machine.phase else { panic!("{machine:?}") };
        assert_eq!(state.y[0], pulls[1]);
        let Ask::BlockSolve { blocks } = machine.ask() else { panic!("{machine:?}") };
        let expected = state.z[1] - state.y[0][1] / 4.001;
        assert!((blocks[0].target[1] - expected).abs() < 1e-15, "{blocks:?} {expected}");
        assert_eq!(blocks[0].at_start, Some(Local { loss: 0.5, gradient: vec![0., 0.] }));
    }

    #[test]
    fn rho_moves_where_the_residuals_are_far_apart() {
        let mut machine = Admm::new(lasso(0.25, 1.), None);
        for answer in [moments(), null(), at_the_null_model(), quadratic()] {
            machine.tell(answer).expect("what was asked for");
        }
        let Phase::Blocks(mut state) = machine.phase else { panic!("blocks are asked for") };
        state.balance(1., 1e-3);
        assert_eq!(state.rho, 1., "not before the fifth step");
        state.counts.n_iter = 5;
        state.balance(1., 0.2);
        assert_eq!(state.rho, 1., "within ten times");
        state.counts.n_iter = state.rho_at;
        state.balance(1., 0.01);
        assert!((state.rho - 10.).abs() < 1e-14, "{}", state.rho);
        let next = state.rho_at;
        state.balance(1e-9, 1.);
        assert_eq!((state.rho_at, state.rho_at > state.counts.n_iter), (next, true), "it waits longer each time");
    }

    #[test]
    fn too_few_blocks_are_refused() {
        let mut machine = Admm::new(Spec::default(), None);
        for answer in [moments(), null(), at_the_null_model(), quadratic()] {
            machine.tell(answer).expect("what was asked for");
        }
        assert!(machine.tell(Answer::Blocks(vec![])).is_err());
        assert!(matches!(machine.ask(), Ask::BlockSolve { .. }));
    }

    #[test]
    fn closed_forms_are_reached() {
        for (alpha, l1_ratio, expected) in [(0., 0., 1.), (0.25, 1., 0.75), (1., 0., 0.5), (1e6, 1., 0.)] {
            let asks = asks(Admm::new(lasso(alpha, l1_ratio), None).into(), PAIR);
            let Some(Ask::Done(solution)) = asks.last() else { unreachable!("it ends") };
            let Solution { coef, intercept, report, .. } = &**solution;
            assert_eq!((report.stop, report.converged), (StopReason::Optimal, true));
            assert!((coef[0] - expected).abs() < 1e-9 && (intercept - 2.).abs() < 1e-9, "{coef:?} {report:?}");
        }
    }

    #[test]
    fn blocks_end_on_panel_borders_and_none_is_empty() {
        assert_eq!(block_ends(10 * PANEL + 5, 4), [2 * PANEL, 5 * PANEL, 8 * PANEL, 10 * PANEL + 5]);
        assert_eq!(block_ends(2 * PANEL, 7), [PANEL, 2 * PANEL]);
        assert_eq!(block_ends(3, 1), [3]);
        let defaults = [1, 16 * PANEL, 16 * PANEL + 1, 8645, 10_000_000].map(default_n_blocks);
        assert_eq!(defaults, [1, 1, 2, 3, 32]);
    }
}
