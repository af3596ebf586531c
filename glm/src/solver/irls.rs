//! Iteratively reweighted least squares: Newton's method, each step the minimum of a quadratic model under the penalty.
//!
//! Least squares itself is one such model and takes one pass. Elsewhere each step asks for loss, gradient and matrix of
//! second derivatives, XᵀWX, at the next point. Where rows are many, that matrix is taken from a sample of the panels
//! first, on which the whole problem is solved, and then kept: steps ask for loss and gradient alone, which is
//! several times cheaper, and correct the matrix by what the gradients say of it (BFGS). Only where a step brings
//! little is the matrix made anew, from all rows. What is minimised, and when to stop, is the same either way.
//!
//! Sources: P. McCullagh, J. A. Nelder, *Generalized Linear Models*, 2nd ed. (1989), section 2.5; J. Lee, Y. Sun,
//! M. Saunders, "Proximal Newton-type methods for minimizing composite functions" (2014), algorithm 1; R. Byrd,
//! G. Chin, W. Neveitt, J. Nocedal, "On the use of stochastic Hessian information in optimization methods for machine
//! learning" (2011) for sampled second derivatives; J. Nocedal, S. Wright, *Numerical Optimization*, 2nd ed. (2006),
//! equation 6.19 for BFGS.

use std::sync::Arc;

use phalanx_array::{kernel::dot, panel::n_panels};
use serde::{Deserialize, Serialize};

use super::{
    Answer, Ask, Solution, Spec, mismatch,
    model::{Cholesky, Minimum, Packed, condition, minimise_some},
    normal::Normal,
    opening::{Opened, Opening},
    screening,
    setup::{Counts, Local, Setup},
};
use crate::{
    error::Error,
    family::Family,
    kernel::{Evaluation, Quadratic, Scatter, Stride},
    link::Link,
    loss::Curvature,
    report::StopReason,
};

/// Rows a coordinate in the sample: its matrix is then within a twentieth of that of all rows.
const SAMPLED_PER_COORDINATE: usize = 400;
/// Panels in the smallest sample.
const MIN_SAMPLE: usize = 64;
/// A larger sample costs little where it is one of so many panels,
const SPARE: usize = 64;
/// and brings less and less beyond so many times the rows above.
const MAX_SPARE: usize = 8;
/// A sample is worth its passes where there are this many times as many panels.
const WORTH: usize = 4;
/// The relative violation at which the sample has told what it knows.
const SAMPLE_TOLERANCE: f64 = 2e-3;
/// Steps on the sample; where these do not do, it is not like the whole.
const SAMPLE_STEPS: usize = 25;
/// A kept matrix is made anew where a step leaves more than this share of the violation.
const SLOW: f64 = 0.4;
/// Times that a step is shortened.
const MAX_SHORTER: usize = 40;
/// The same where the matrix is kept: then it is the matrix that is wrong, as where a sample has no row of some level.
const MAX_SHORTER_KEPT: usize = 1;

/// The machine. A step is one minimum of a quadratic model that was gone to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Irls {
    spec: Arc<Spec>,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Phase {
    /// Least squares: waits for means and cross products.
    Scatter,
    /// Least squares whose cross products cancel: waits for the gradient at their solution.
    Refine(Box<State>),
    Opening(Opening),
    /// Waits for loss, gradient and matrix at `x`.
    Model(Box<State>),
    /// Waits for loss and gradient at `x`.
    Look(Box<State>),
    /// Waits for the same at `trial`, with the matrix where it is not kept.
    Trial(Box<State>),
    Done(Box<Solution>, Box<State>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    setup: Setup,
    counts: Counts,
    /// Panels looked at now.
    stride: Stride,
    /// Whether the matrix is kept from step to step.
    keeps: bool,
    curvature: Curvature,
    x: Vec<f64>,
    at_x: Local,
    /// Of the mean loss, packed.
    hessian: Vec<f64>,
    /// The coordinates that the matrix is of, ascending; none for all.
    live: Option<Vec<usize>>,
    trial: Vec<f64>,
    /// What the step should bring, below 0, were the loss straight.
    slope: f64,
    n_shorter: usize,
    /// Where to go back to from a sample that misleads.
    origin: Vec<f64>,
    n_saturated: Option<usize>,
    collinear: Vec<usize>,
    /// Whether the step before brought little.
    is_slow: bool,
    /// Whether the certificate is left at what costs nothing.
    brief: bool,
    /// Whether there is no finite optimum, and where it stands is all there is to say.
    unbounded: bool,
}

impl Irls {
    /// A machine that has asked nothing yet.
    pub fn new(spec: Spec) -> Self {
        let spec = Arc::new(spec);
        let phase = if spec.is_least_squares() { Phase::Scatter } else { Phase::Opening(Opening::new(&spec)) };
        Self { spec, phase }
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.spec
    }

    /// A machine that knows the null model.
    pub(super) fn opened(opened: Opened) -> Self {
        Self { spec: Arc::clone(&opened.setup.spec), phase: State::begin(opened) }
    }

    /// A machine for a problem of a path: it begins at `x`, where it first asks for loss, gradient and matrix.
    pub(super) fn at(setup: Setup, x: Vec<f64>) -> Self {
        let spec = Arc::clone(&setup.spec);
        let live = setup.is_screened().then(|| screening::begin(&setup.weights, &x));
        let state = State { brief: true, live, ..State::with(setup, x, Counts::default()) };
        Self { spec, phase: Phase::Model(Box::new(state)) }
    }

    /// A machine for a problem much like one that is solved: it begins with that one's matrix, and where the problems
    /// are of the same rows it asks nothing about where it begins.
    pub(super) fn after(solved: &Self, setup: Setup, same_rows: bool) -> Self {
        let Phase::Done(_, state) = &solved.phase else { return solved.clone() };
        let mut state = state.clone();
        let was = std::mem::replace(&mut state.setup, setup);
        state.counts = Counts::default();
        // Of few rows a new matrix costs no more than the look at a point.
        let many = n_panels(state.setup.n_rows) >= MIN_SAMPLE;
        (state.keeps, state.is_slow, state.n_shorter) = (many, false, 0);
        state.curvature = Curvature::Observed;
        let within = |(x, w): (&f64, &crate::penalty::Weights)| x.clamp(w.lower, w.upper);
        let x: Vec<f64> = state.x.iter().zip(&state.setup.weights).map(within).collect();
        let spec = Arc::clone(&state.setup.spec);
        if state.outgrows(&was, &x) {
            return Self { spec, phase: Phase::Model(Box::new(State { x, ..*state })) };
        }
        let phase = if same_rows && x == state.x {
            state.step()
        } else if many {
            Phase::Look(Box::new(State { x, ..*state }))
        } else {
            Phase::Model(Box::new(State { x, ..*state }))
        };
        Self { spec, phase }
    }

    /// A machine that begins where this one ended, of another loss; its null model is this one's.
    pub(super) fn at_loss(&self, loss: crate::loss::Loss) -> Option<Self> {
        let Phase::Done(_, state) = &self.phase else { return None };
        Some(Self::after(self, state.setup.at_loss(loss), false))
    }

    /// The coordinates that its matrices are of; none for all.
    pub(super) fn live(&self) -> Option<&Vec<usize>> {
        match &self.phase {
            Phase::Model(state) | Phase::Look(state) | Phase::Trial(state) | Phase::Done(_, state) => {
                state.live.as_ref()
            }
            _ => None,
        }
    }

    /// The last point that was gone to.
    pub(super) fn stands_at(&self) -> Option<&[f64]> {
        match &self.phase {
            Phase::Model(state) | Phase::Look(state) | Phase::Trial(state) | Phase::Done(_, state) => Some(&state.x),
            _ => None,
        }
    }

    /// The answer, once there is one, with the mean loss and its gradient there.
    pub(super) fn solved(&self) -> Option<(&Solution, &Local)> {
        match &self.phase {
            Phase::Done(solution, state) => Some((solution, &state.at_x)),
            _ => None,
        }
    }

    /// What it wants to know.
    pub fn ask(&self) -> Ask {
        match &self.phase {
            Phase::Scatter => Ask::Scatter,
            Phase::Opening(opening) => opening.ask(),
            Phase::Model(state) => state.ask_quadratic(&state.x),
            Phase::Refine(state) | Phase::Look(state) => state.setup.evaluate_at([&state.x]),
            Phase::Trial(state) if state.keeps => state.setup.evaluate_at([&state.trial]),
            Phase::Trial(state) => state.ask_quadratic(&state.trial),
            Phase::Done(solution, _) => Ask::Done(solution.clone()),
        }
    }

    /// Answers the question.
    ///
    /// # Errors
    /// When the answer is to another question, or the numbers are too large to work with.
    pub fn tell(&mut self, answer: Answer) -> Result<(), Error> {
        let asked = self.ask();
        let phase = std::mem::replace(&mut self.phase, Phase::Scatter);
        self.phase = match (phase, answer) {
            (Phase::Scatter, Answer::Scatter(scatter)) => State::least_squares(&self.spec, &scatter)?,
            (Phase::Refine(state), Answer::Evaluations(all)) if all.len() == 1 => state.refined(&all[0]),
            (Phase::Opening(mut opening), answer) => match opening.tell(answer) {
                Ok(None) => Phase::Opening(opening),
                Ok(Some(opened)) => State::begin(opened),
                Err(error) => {
                    self.phase = Phase::Opening(opening);
                    return Err(error);
                }
            },
            (Phase::Model(state), Answer::Quadratic(found)) => state.model(&found),
            (Phase::Look(state), Answer::Evaluations(all)) if all.len() == 1 => state.look(&all[0]),
            (Phase::Trial(state), Answer::Evaluations(all)) if state.keeps && all.len() == 1 => {
                let local = state.setup.local(&all[0]);
                state.judge(all[0].separated, local, None)
            }
            (Phase::Trial(state), Answer::Quadratic(found)) if !state.keeps => {
                state.judge(found.separated, Local::of(found.loss, &found.gradient, found.sum_weights), Some(&found))
            }
            (phase, answer) => {
                self.phase = phase;
                return Err(mismatch(&asked, &answer));
            }
        };
        Ok(())
    }
}

/// Panels that tell the second derivatives of all of them; all where they are few.
pub(super) fn sample(n_rows: usize, n_coordinates: usize) -> Stride {
    let sample = MIN_SAMPLE.max(n_panels(SAMPLED_PER_COORDINATE * n_coordinates));
    let panels = n_panels(n_rows);
    // The nearer its matrix is to that of all rows, the fewer passes over those are left to do.
    let sample = sample.max((panels / SPARE).min(MAX_SPARE * sample));
    if panels >= WORTH * sample { Stride(panels / sample) } else { Stride::ALL }
}

impl State {
    fn with(setup: Setup, x: Vec<f64>, counts: Counts) -> Self {
        let size = x.len();
        Self {
            at_x: Local { loss: 0., gradient: vec![0.; size] },
            hessian: Vec::new(),
            live: None,
            trial: x.clone(),
            origin: x.clone(),
            x,
            setup,
            counts,
            stride: Stride::ALL,
            keeps: false,
            curvature: Curvature::Observed,
            slope: 0.,
            n_shorter: 0,
            n_saturated: None,
            collinear: Vec::new(),
            is_slow: false,
            brief: false,
            unbounded: false,
        }
    }

    fn begin(opened: Opened) -> Phase {
        let Opened { setup, start, unbounded, counts } = opened;
        let mut state = Box::new(Self::with(setup, start, counts));
        if unbounded {
            state.unbounded = true;
            return Phase::Look(state);
        }
        state.stride = sample(state.setup.n_rows, state.x.len());
        Phase::Model(state)
    }

    fn is_sample(&self) -> bool {
        self.stride != Stride::ALL
    }

    fn ask_quadratic(&self, point: &[f64]) -> Ask {
        Ask::Quadratic {
            coordinates: Arc::clone(&self.setup.coordinates),
            point: point.to_vec(),
            curvature: self.curvature,
            stride: self.stride,
        }
    }

    /// The optimum of least squares, from means and products alone.
    fn least_squares(spec: &Arc<Spec>, scatter: &Scatter) -> Result<Phase, Error> {
        let setup = Setup::of_scatter(Arc::clone(spec), scatter)?;
        let normal = Normal::new(scatter, &setup.coordinates);
        let found = normal.minimise(&normal.origin(), &setup);
        let local = normal.local(&found.point);
        let mut state = Box::new(Self::with(setup, found.point, Counts { n_iter: 1, n_passes: 1 }));
        // Where the columns explain nearly all, or nearly repeat each other, digits cancel in the products.
        let ill = condition(Packed(&normal.hessian), state.x.len()).is_some_and(|condition| condition > 1e8);
        let cancels = normal.cancels(local.loss) || !local.loss.is_finite();
        state.at_x = local;
        state.hessian = normal.hessian;
        state.collinear = found.collinear;
        if ill || cancels {
            return Ok(Phase::Refine(state));
        }
        Ok(state.finish())
    }

    /// The same with a gradient from the rows: steps by the matrix at hand until they end.
    fn refined(mut self: Box<Self>, evaluation: &Evaluation) -> Phase {
        self.counts.n_passes += 1;
        let Some(local) = self.setup.local(evaluation) else {
            let at_x = self.at_x.clone();
            return self.done(&at_x, StopReason::Precision);
        };
        self.at_x = local;
        self.keeps = true;
        self.step()
    }

    /// Takes loss, gradient and matrix at `x`.
    fn model(mut self: Box<Self>, found: &Quadratic) -> Phase {
        self.counts.n_passes += usize::from(!self.is_sample());
        let Some(local) = Local::of(found.loss, &found.gradient, found.sum_weights) else {
            return if self.is_sample() { self.abandon_sample() } else { self.lost() };
        };
        if !self.is_sample() && found.separated && self.setup.spec.penalty.is_none() {
            return self.done(&local, StopReason::Separable);
        }
        self.at_x = local;
        self.take_matrix(found);
        self.step()
    }

    fn take_matrix(&mut self, found: &Quadratic) {
        self.hessian = found.hessian.iter().map(|h| h / found.sum_weights).collect();
        self.n_saturated = Some(found.n_saturated);
    }

    /// Takes loss and gradient of all rows at `x`, the matrix being a sample's.
    fn look(mut self: Box<Self>, evaluation: &Evaluation) -> Phase {
        self.counts.n_passes += 1;
        let Some(local) = self.setup.local(evaluation) else { return self.lost() };
        self.at_x = local;
        if self.unbounded {
            let at_x = self.at_x.clone();
            return self.done(&at_x, StopReason::OneClass);
        }
        self.keeps = true;
        self.step()
    }

    /// No loss where the solver stands: back to the beginning was impossible before it began.
    fn lost(self: Box<Self>) -> Phase {
        let at_x = self.at_x.clone();
        self.done(&at_x, StopReason::Precision)
    }

    /// What the sample says is of no use: begins again with all rows.
    fn abandon_sample(mut self: Box<Self>) -> Phase {
        self.stride = Stride::ALL;
        self.keeps = false;
        self.x.clone_from(&self.origin);
        Phase::Model(self)
    }

    /// From a point whose loss and gradient are known: stops, or goes to the minimum of the model.
    fn step(mut self: Box<Self>) -> Phase {
        let violation = self.setup.kkt_relative(&self.x, &self.at_x);
        if self.is_sample() {
            if violation <= SAMPLE_TOLERANCE {
                self.stride = Stride::ALL;
                // A column that the sample has nothing of says that it is not like the whole, as of sorted rows.
                let scale = &self.setup.coordinates.scale;
                let lacks = |j: &usize| *j > 0 && scale[j - 1] > 0.;
                return if self.collinear.iter().any(lacks) { Phase::Model(self) } else { Phase::Look(self) };
            }
            if self.counts.n_iter >= SAMPLE_STEPS {
                self.counts.n_iter = 0;
                return self.abandon_sample();
            }
        } else {
            if violation <= self.setup.spec.tol {
                return self.finish();
            }
            if self.counts.n_iter >= self.setup.spec.max_iter {
                let at_x = self.at_x.clone();
                return self.done(&at_x, StopReason::MaxIter);
            }
        }
        if self.live.is_some() && self.admits_violators() {
            return Phase::Model(self);
        }
        let found = self.minimum();
        self.trial = found.point;
        self.collinear = found.collinear;
        self.n_shorter = 0;
        self.set_slope();
        if self.trial == self.x || self.trial.iter().any(|t| !t.is_finite()) {
            return self.stuck();
        }
        Phase::Trial(self)
    }

    /// Where the model of the live coordinates is least; the others stay.
    fn minimum(&self) -> Minimum {
        let Some(live) = &self.live else {
            return self.setup.minimise(Packed(&self.hessian), &self.at_x.gradient, &self.x);
        };
        minimise_some(Packed(&self.hessian), &self.at_x.gradient, &self.x, &self.setup.weights, live)
    }

    /// Whether coordinates that the matrix is not of are needed under this penalty, having been under another; then it
    /// is to be made anew, of those that are named from here on.
    fn outgrows(&mut self, was: &Setup, x: &[f64]) -> bool {
        let Some(live) = &self.live else { return false };
        let weights = &self.setup.weights;
        let needed = screening::strong(&was.weights, weights, x, &self.at_x.gradient);
        let outgrown = needed.iter().any(|j| live.binary_search(j).is_err());
        if outgrown {
            self.live = Some(screening::wanted(&needed, weights, x, &self.at_x.gradient));
        }
        outgrown
    }

    /// Takes in the coordinates that the conditions say should move, once they are the worst of all.
    fn admits_violators(&mut self) -> bool {
        let Some(live) = &mut self.live else { return false };
        let violations = self.setup.violations(&self.x, &self.at_x);
        let inside = live.iter().map(|&j| violations[j]).fold(0., f64::max);
        let outside = |j: &usize| live.binary_search(j).is_err() && violations[*j] > self.setup.spec.tol;
        let violators: Vec<usize> = (0..violations.len()).filter(outside).collect();
        if violators.is_empty() || violators.iter().all(|&j| violations[j] < inside) {
            return false;
        }
        live.extend(violators);
        live.sort_unstable();
        true
    }

    fn set_slope(&mut self) {
        let along: f64 = self.trial.iter().zip(&self.x).zip(&self.at_x.gradient).map(|((a, b), g)| (a - b) * g).sum();
        self.slope = along + self.setup.penalty(&self.trial) - self.setup.penalty(&self.x);
    }

    /// Judges the trial point by the objective, and among objectives that differ by rounding by the violation.
    fn judge(mut self: Box<Self>, separated: bool, at_trial: Option<Local>, found: Option<&Quadratic>) -> Phase {
        self.counts.n_passes += usize::from(!self.is_sample());
        let Some(local) = at_trial else { return self.shorten(0.25) };
        let before = self.at_x.loss + self.setup.penalty(&self.x);
        let after = local.loss + self.setup.penalty(&self.trial);
        let violation = |point: &[f64], at: &Local| self.setup.kkt_relative(point, at);
        let (was, is) = (violation(&self.x, &self.at_x), violation(&self.trial, &local));
        let enough = after <= before + 1e-4 * self.slope;
        let level = (after - before).abs() <= 1e-9 * before.abs().max(after.abs()) && is < was;
        if !(enough || level) {
            if (after - before).abs() <= 1e-13 * before.abs() {
                return self.stuck();
            }
            // Where the parabola through both losses and the slope is least.
            let bend = after - before - self.slope;
            let share = if bend > 0. { -0.5 * self.slope / bend } else { 0.5 };
            return self.shorten(share.clamp(0.1, 0.5));
        }
        if let Some(found) = found {
            self.take_matrix(found);
        } else {
            self.correct_matrix(&local);
        }
        std::mem::swap(&mut self.x, &mut self.trial);
        self.at_x = local;
        self.counts.n_iter += 1;
        if !self.is_sample() && separated && self.setup.spec.penalty.is_none() {
            let at_x = self.at_x.clone();
            return self.done(&at_x, StopReason::Separable);
        }
        let converged = is <= self.setup.spec.tol;
        let slow = self.keeps && !converged && is > SLOW * was;
        if slow && self.is_slow && !self.is_least_squares() {
            self.is_slow = false;
            self.keeps = false;
            return Phase::Model(self);
        }
        self.is_slow = slow;
        self.step()
    }

    fn shorten(mut self: Box<Self>, share: f64) -> Phase {
        self.n_shorter += 1;
        let misled = self.keeps && self.n_shorter > MAX_SHORTER_KEPT && !self.is_least_squares();
        if misled || self.n_shorter > MAX_SHORTER {
            return self.stuck();
        }
        let trial: Vec<f64> = self.x.iter().zip(&self.trial).map(|(x, t)| x + share * (t - x)).collect();
        if trial == self.x {
            return self.stuck();
        }
        self.trial = trial;
        self.set_slope();
        Phase::Trial(self)
    }

    /// No step from here lowers the objective: a kept matrix or one of the loss itself may be to blame.
    fn stuck(mut self: Box<Self>) -> Phase {
        if self.is_sample() {
            return self.abandon_sample();
        }
        if self.keeps && !self.is_least_squares() {
            self.keeps = false;
            return Phase::Model(self);
        }
        if self.curvature == Curvature::Observed && !self.is_least_squares() {
            self.curvature = Curvature::Expected;
            return Phase::Model(self);
        }
        let at_x = self.at_x.clone();
        self.done(&at_x, StopReason::Precision)
    }

    fn is_least_squares(&self) -> bool {
        let loss = self.setup.spec.loss;
        loss.family == Family::Gaussian && loss.link == Link::Identity
    }

    /// BFGS: the matrix that turns the step just made into the change of the gradients, and is else as it was.
    fn correct_matrix(&mut self, at_trial: &Local) {
        if self.is_least_squares() {
            return;
        }
        let change = |to: &[f64], from: &[f64]| -> Vec<f64> {
            match &self.live {
                None => to.iter().zip(from).map(|(a, b)| a - b).collect(),
                Some(live) => live.iter().map(|&j| to[j] - from[j]).collect(),
            }
        };
        let (step, turn) = (change(&self.trial, &self.x), change(&at_trial.gradient, &self.at_x.gradient));
        let pushed = Packed(&self.hessian).times(&step);
        let (along, before) = (dot(&turn, &step), dot(&pushed, &step));
        // A step as small as the rounding of the gradients says nothing of the matrix.
        if !(before > 0. && along > 0.1 * before && along < 10. * before) {
            return;
        }
        let mut place = 0;
        for i in 0..step.len() {
            for j in 0..=i {
                self.hessian[place] += turn[i] * turn[j] / along - pushed[i] * pushed[j] / before;
                place += 1;
            }
        }
    }

    fn finish(self: Box<Self>) -> Phase {
        let at_x = self.at_x.clone();
        self.done(&at_x, StopReason::Optimal)
    }

    fn done(mut self: Box<Self>, at_x: &Local, stop: StopReason) -> Phase {
        self.at_x.clone_from(at_x);
        // A step within rounding of the last may not have converged by the measure; the setup tells.
        let violation = self.setup.kkt_relative(&self.x, at_x);
        let stop =
            if stop == StopReason::Optimal && violation > self.setup.spec.tol { StopReason::Precision } else { stop };
        let mut solution = self.setup.solution(&self.x, at_x, self.counts, stop);
        let report = &mut solution.report;
        if !self.hessian.is_empty() && !self.brief {
            let size = self.x.len();
            let penalised = |i: usize, j: usize| {
                Packed(&self.hessian).at(i, j) + if i == j { self.setup.weights[i].l2 } else { 0. }
            };
            let packed: Vec<f64> = (0..size).flat_map(|i| (0..=i).map(move |j| penalised(i, j))).collect();
            report.condition = condition(Packed(&packed), size);
            let constant = &report.constant_columns;
            let collinear = Cholesky::new(size, penalised).collinear.into_iter().filter(|j| *j > 0).map(|j| j - 1);
            report.collinear_columns = collinear.filter(|column| !constant.contains(column)).collect();
        }
        report.n_saturated = self.n_saturated;
        Phase::Done(Box::new(solution), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::{Moments, NullPoint, Spread},
        penalty::Penalty,
        solver::testing::{Data, asks},
    };

    fn solution(asks: &[Ask]) -> Solution {
        let Some(Ask::Done(solution)) = asks.last() else { unreachable!("it ends with an answer") };
        Solution::clone(solution)
    }

    #[test]
    fn least_squares_is_one_question() {
        let pair = Data { x: &[-1., 1.], y: &[1., 3.] };
        for (alpha, l1_ratio, coef) in [(0., 0., 1.), (0.25, 1., 0.75), (1., 0., 0.5), (0.5, 0.5, 0.6), (1e6, 1., 0.)] {
            let spec = Spec { penalty: Penalty::elastic_net(alpha, l1_ratio), ..Spec::default() };
            let asks = asks(Irls::new(spec).into(), pair);
            // Without a penalty the columns explain all of y, so the digits left of it come from the rows.
            assert_eq!((&asks[0], asks.len()), (&Ask::Scatter, if alpha == 0. { 3 } else { 2 }));
            let Solution { coef: found, intercept, report, .. } = solution(&asks);
            assert!((found[0] - coef).abs() < 1e-15 && intercept == 2., "{alpha}: {found:?}");
            assert_eq!((report.stop, report.converged), (StopReason::Optimal, true));
            if alpha > 0. {
                assert!(report.duality_gap.is_some_and(|gap| gap < 1e-15), "{report:?}");
            }
        }
    }

    #[test]
    fn newton_asks_for_a_matrix_at_every_point_of_few_rows() {
        let data = Data { x: &[-2., -1., 0., 1., 2., 3.], y: &[0., 1., 0., 1., 0., 1.] };
        let spec = Spec { loss: Family::Binomial.into(), ..Spec::default() };
        let asks = asks(Irls::new(spec).into(), data);
        assert_eq!(asks[..2], [Ask::Moments, Ask::Null { intercepts: vec![0.] }]);
        let quadratics = &asks[2..asks.len() - 1];
        assert!(
            quadratics.iter().all(|ask| matches!(ask, Ask::Quadratic { stride: Stride::ALL, .. })),
            "{quadratics:?}"
        );
        let report = solution(&asks).report;
        assert_eq!((report.n_iter + 1, report.n_passes), (quadratics.len(), quadratics.len() + 2));
        assert!(report.kkt_relative < 1e-10 && report.n_iter <= 6, "{report:?}");
    }

    #[test]
    fn an_answer_to_another_question_is_refused_and_the_question_stays() {
        let mut machine = Irls::new(Spec { loss: Family::Poisson.into(), ..Spec::default() });
        let error = machine.tell(Answer::Blocks(vec![])).expect_err("refused").to_string();
        assert!(error.starts_with("the solver asked for moments and was told block solutions"), "{error}");
        assert_eq!(machine.ask(), Ask::Moments);
    }

    /// As where rows are sorted by a level that no sampled row has: its step goes where there is no mean.
    #[test]
    fn a_sample_whose_steps_lead_astray_twice_is_replaced_by_all_rows() {
        let (n_rows, n) = (100_000, 1e5);
        let mut machine = Irls::new(Spec { loss: Family::Poisson.into(), ..Spec::default() });
        let (x, y) = (vec![Spread { mean: 0., squares: n }], Spread { mean: 2., squares: n });
        let moments = Moments { n_rows, n_used: n_rows, sum_weights: n, x, y, offset: 0., saturated: 0., bad: None };
        machine.tell(Answer::Moments(moments)).expect("the answer to the question");
        machine
            .tell(Answer::Null(vec![NullPoint { loss: n, first: 0., second: n, squares: n }]))
            .expect("the answer to the question");
        let Ask::Quadratic { point: start, stride, .. } = machine.ask() else { panic!("{machine:?}") };
        assert_ne!(stride, Stride::ALL);
        let (gradient, hessian) = (vec![0.; 2], vec![1e3, 0., 1e3]);
        let sample = Quadratic { sum_weights: 1e3, loss: 1e3, gradient, hessian, separated: false, n_saturated: 0 };
        machine.tell(Answer::Quadratic(sample)).expect("the answer to the question");
        let seen = |loss: f64| Answer::Evaluations(vec![Evaluation { loss, gradient: vec![0., -n], separated: false }]);
        machine.tell(seen(n)).expect("the answer to the question");
        for _ in 0..2 {
            let Ask::Evaluate { points, .. } = machine.ask() else { panic!("{machine:?}") };
            assert_ne!(points[0], start);
            machine.tell(seen(f64::INFINITY)).expect("the answer to the question");
        }
        let Ask::Quadratic { point, stride, .. } = machine.ask() else { panic!("{machine:?}") };
        assert_eq!((point, stride), (start, Stride::ALL));
    }
}
