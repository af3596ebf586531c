//! Consensus ADMM over blocks of rows: every block fits its own rows, and a common answer pulls them together.
//!
//! minimise Σ_i f_i(x_i) + g(z) subject to x_i = z, where f_i is the loss of block i over the number of *all* rows
//! and g the penalty, the intercept left out. With scaled duals u_i, over-relaxation a and N blocks:
//!
//! ```text
//! x_i = argmin f_i(x) + rho/2 |x - (z - u_i)|²     one block solve each
//! h_i = a x_i + (1 - a) z
//! z   = prox of g / (N rho) at mean(h_i + u_i)     soft threshold, then shrinkage
//! u_i = u_i + h_i - z
//! ```
//!
//! Where the residuals allow a stop, the loss's gradient at z is asked for, and the optimality conditions of the
//! whole problem decide. If they do not hold yet the tolerances are tightened and ADMM goes on: no other solver
//! polishes its answer.
//!
//! Source: S. Boyd, N. Parikh, E. Chu, B. Peleato, J. Eckstein, "Distributed optimization and statistical learning
//! via the alternating direction method of multipliers" (2011), sections 3.3 (stopping), 3.4.1 (varying rho),
//! 3.4.3 (over-relaxation) and 8.2 (splitting across examples).

use std::sync::Arc;

use phalanx_array::{
    kernel::dot,
    panel::{PANEL, n_panels},
};
use serde::{Deserialize, Serialize};

use super::{
    Answer, Ask, BlockProblem, BlockSolution, Solution, Spec, mismatch,
    opening::{Opened, Opening},
    setup::{Counts, Local, Setup},
};
use crate::{error::Error, kernel::Evaluation, report::StopReason};

/// Panels in a block unless a number of blocks is given.
const PANELS_PER_BLOCK: usize = 16;
/// The most blocks unless a number is given: more of them agree more slowly.
const MAX_DEFAULT_BLOCKS: usize = 32;
/// Over-relaxation; Boyd et al. advise 1.5 to 1.8.
const RELAXATION: f64 = 1.6;
/// How far the residuals may be apart before rho moves, and by how much it moves.
const IMBALANCE: f64 = 4.;

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
    rho: f64,
    z: Vec<f64>,
    x: Vec<Vec<f64>>,
    u: Vec<Vec<f64>>,
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
            // The curvature of one block's share of the loss along a typical coordinate.
            rho: setup.curvature / n as f64,
            x: vec![z.clone(); n],
            u: vec![vec![0.; z.len()]; n],
            block_tolerance: 1e-3 * setup.unit / n as f64,
            residual_tolerance: setup.spec.tol,
            rho_at: 5,
            rho_wait: 5,
            look_at: 50,
            z,
            ends,
            setup,
        }
    }

    fn blocks(&self) -> Vec<BlockProblem> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .zip(self.x.iter().zip(&self.u))
            .map(|((start, &end), (x, u))| BlockProblem {
                rows: start..end,
                sum_weights: self.setup.sum_weights,
                loss: self.setup.spec.loss,
                coordinates: self.setup.coordinates.clone(),
                rho: self.rho,
                target: self.z.iter().zip(u).map(|(z, u)| z - u).collect(),
                start: x.clone(),
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
        Phase::Blocks(self)
    }

    fn step(mut self: Box<Self>, blocks: Vec<BlockSolution>) -> Phase {
        self.counts.n_iter += 1;
        self.counts.n_passes += 1;
        let n = self.ends.len() as f64;
        self.x = blocks.into_iter().map(|block| block.x).collect();
        let previous = self.z.clone();
        let relaxed: Vec<Vec<f64>> = self.x.iter().map(|x| mix(RELAXATION, x, &previous)).collect();
        for j in 0..self.z.len() {
            let sum: f64 = relaxed.iter().zip(&self.u).map(|(h, u)| h[j] + u[j]).sum();
            self.z[j] = self.setup.weights[j].prox(sum / n, n * self.rho);
        }
        for (u, h) in self.u.iter_mut().zip(&relaxed) {
            u.iter_mut().zip(h).zip(&self.z).for_each(|((u, h), z)| *u += h - z);
        }
        let primal = self.x.iter().map(|x| distance_squared(x, &self.z)).sum::<f64>().sqrt();
        let dual = self.rho * n.sqrt() * distance_squared(&self.z, &previous).sqrt();
        let still = previous == self.z;
        self.next(primal, dual, still)
    }

    /// Decides on rho, the tolerances and whether to look at the optimality conditions.
    fn next(mut self: Box<Self>, primal: f64, dual: f64, still: bool) -> Phase {
        let n = self.ends.len() as f64;
        let unit = self.setup.unit;
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
        self.block_tolerance = (0.1 * primal_pull.min(dual_pull) / n).clamp(floor, self.block_tolerance.max(floor));
        if last.is_none() {
            self.balance(primal, dual);
        }
        let settled = primal_pull.max(dual_pull) <= self.residual_tolerance * unit;
        if settled || last.is_some() || self.counts.n_iter >= self.look_at {
            return Phase::Certify(self, last);
        }
        Phase::Blocks(self)
    }

    /// Boyd et al., section 3.4.1, with residuals relative as in B. Wohlberg, "ADMM penalty parameter selection by
    /// residual balancing" (2017); less and less often, so that rho comes to rest and the convergence proof holds.
    fn balance(&mut self, primal: f64, dual: f64) {
        if self.counts.n_iter < self.rho_at || primal == 0. || dual == 0. {
            return;
        }
        self.rho_at = self.counts.n_iter + self.rho_wait;
        // Each relative to what it is a residual of; the intercept's size says nothing of that.
        let squares = |points: &[Vec<f64>]| points.iter().map(|x| dot(&x[1..], &x[1..])).sum::<f64>();
        let n_blocks = self.ends.len() as f64;
        let size = squares(&self.x).max(n_blocks * dot(&self.z[1..], &self.z[1..])).sqrt();
        let pull = self.rho * squares(&self.u).sqrt();
        if size == 0. {
            return;
        }
        // Without a pull, as without a penalty in one block, rho only slows down: the ratio is 0.
        let ratio = (primal / size) / (dual / pull);
        if (1. / IMBALANCE..IMBALANCE).contains(&ratio) {
            return;
        }
        self.rho_wait += self.rho_wait / 2;
        let factor = ratio.sqrt().clamp(0.1, 10.);
        self.rho *= factor;
        self.u.iter_mut().flatten().for_each(|u| *u /= factor);
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

fn distance_squared(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::{Moments, NullPoint, Spread, Stride},
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

    /// Target and start of the one block that is asked for.
    fn block(machine: &Admm) -> (Vec<f64>, Vec<f64>) {
        let Ask::BlockSolve { blocks } = machine.ask() else { unreachable!("a block is asked for") };
        let [block] = <[BlockProblem; 1]>::try_from(blocks).expect("one block");
        assert_eq!((block.rows, block.sum_weights, block.rho), (0..2, 2., 1.));
        (block.target, block.start)
    }

    #[test]
    fn a_step_is_that_of_the_paper() {
        // Rows 0 and 1 in one block; rho is the curvature, 1. The block answers (2, 1) from z = (2, 0), u = 0:
        // h = 1.6 (2, 1) - 0.6 (2, 0) = (2, 1.6); the threshold takes 0.25; u = h - z.
        let mut machine = Admm::new(lasso(0.25, 1.), None);
        machine.tell(moments()).expect("moments were asked for");
        assert_eq!(machine.ask(), Ask::Null { intercepts: vec![2.] });
        machine.tell(null()).expect("the null model was asked for");
        let coordinates = Arc::new(Coordinates { centre: vec![0.], scale: vec![1.], has_intercept: true });
        assert_eq!(machine.ask(), Ask::Evaluate { coordinates, points: vec![vec![2., 0.]], stride: Stride::ALL });
        machine.tell(at_the_null_model()).expect("an evaluation was asked for");
        assert_eq!(block(&machine), (vec![2., 0.], vec![2., 0.]));
        machine.tell(Answer::Blocks(vec![BlockSolution { x: vec![2., 1.], n_steps: 1 }])).expect("a block");
        let (target, start) = block(&machine);
        assert_eq!(start, [2., 1.]);
        // z - u = 1.35 - 0.25; the intercept has no threshold.
        assert!((target[0] - 2.).abs() < 1e-15 && (target[1] - 1.1).abs() < 1e-15, "{target:?}");
    }

    #[test]
    fn too_few_blocks_are_refused() {
        let mut machine = Admm::new(Spec::default(), None);
        machine.tell(moments()).expect("moments were asked for");
        machine.tell(null()).expect("the null model was asked for");
        machine.tell(at_the_null_model()).expect("an evaluation was asked for");
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
