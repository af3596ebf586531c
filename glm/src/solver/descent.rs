//! L-BFGS and Newton's method with conjugate gradients, both argmin's, for penalties without kinks or bounds.
//!
//! argmin drives its own loop and calls for costs and gradients; here they come from far away, one question at a time.
//! So the loop is replayed: argmin runs from its beginning on the answers that are known, and its first call for a point
//! that is not among them becomes the next question. The same calls give the same points, so nothing of argmin's
//! state needs to be kept, the machine is what it was told, and it can be saved between any two questions. A replay
//! is vectors of a hundred answers at the most, which is little beside a pass over the rows; then argmin begins anew
//! from the best point. Newton's method remembers nothing from step to step, so of it one step is replayed, and each
//! begins at cost 0, with a gradient of the same norm: late in a fit the steps lower the objective by less than its own
//! rounding.
//!
//! L-BFGS asks for loss and gradient alone, after a first look at the second derivatives (of a sample of the rows where
//! they are many, of none beyond 500 columns): in coordinates in which those are the identity it needs few steps.
//! Newton-CG asks for the matrix of second derivatives with each loss and multiplies with it here.
//!
//! Sources: J. Nocedal, S. Wright, *Numerical Optimization*, 2nd ed. (2006), algorithms 7.5 and 7.1; J. Moré,
//! D. Thuente, "Line search algorithms with guaranteed sufficient decrease" (1994). argmin's types stay in this file.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use argmin::{
    core::{ArgminError, CostFunction, Error as Failure, Executor, Gradient, Hessian},
    solver::{linesearch::MoreThuenteLineSearch, newton::NewtonCG, quasinewton::LBFGS},
};
use argmin_math::ArgminDot;
use phalanx_array::kernel::dot;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Ask, Solution, Spec, irls,
    metric::Metric,
    mismatch,
    model::Packed,
    opening::{Opened, Opening},
    setup::{Counts, Local, Setup},
};
use crate::{
    error::Error,
    kernel::{Quadratic, Stride},
    loss::Curvature,
    report::StopReason,
};

/// Pairs of steps and gradients that L-BFGS remembers, as scikit-learn's does.
const MEMORY: usize = 10;
/// Answers after which L-BFGS begins anew.
const MAX_LOG: usize = 100;
/// Looks in a row that may bring nothing, after which there is no more to be had in f64.
const MAX_IDLE: usize = 40;
/// Relative changes of the objective that are not rounding, whatever cancels inside the loss.
const VISIBLE: f64 = 1e-7;
/// How many times as high as its slope tells a point may be before its cost is taken to be out of all proportion.
const PROPORTION: f64 = 1e3;
/// The most columns of which L-BFGS looks at second derivatives.
const MAX_METRIC_COLUMNS: usize = 500;
/// The norm of the gradient that argmin's Newton-CG is shown at the start of each step. Its conjugate gradients stop
/// where the square of their residual's norm is half of a gradient's norm that is this large: at 0.07 % of it. Of small
/// gradients they would stop at once, since argmin compares the square.
const NEWTON_NORM: f64 = 1e6;

/// Which of argmin's solvers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Limited-memory BFGS.
    Lbfgs,
    /// Newton's method, each step by conjugate gradients.
    NewtonCg,
}

/// The machine. Its steps are the points that it looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Descent {
    spec: Arc<Spec>,
    method: Method,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Phase {
    Opening(Opening),
    /// Waits for the second derivatives at the null model.
    Metric(Box<State>),
    /// Waits for what is known of the next point; the flag says that the null model lies at infinity.
    Look(Box<State>, bool),
    Done(Box<Solution>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    setup: Setup,
    method: Method,
    counts: Counts,
    metric: Metric,
    /// argmin's points are steps from here where the metric is the identity, over `length`.
    origin: Vec<f64>,
    length: f64,
    /// What is asked about, as argmin's point.
    next: Vec<f64>,
    /// What argmin began with and was told, in its order.
    log: Vec<Entry>,
    /// The least objective and violation so far, and how many looks ago either went down.
    least: [f64; 2],
    n_idle: usize,
}

/// A point and what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    /// As argmin knows it.
    at: Vec<f64>,
    /// In working coordinates.
    point: Vec<f64>,
    local: Local,
    /// Of the objective less that of the first entry, as argmin knows it.
    cost: f64,
    gradient: Vec<f64>,
    /// In working coordinates, packed; empty where it is not asked for.
    hessian: Vec<f64>,
    violation: f64,
    /// There is no mean here, or a loss out of all proportion: cost and gradient are made up to turn argmin back.
    lost: bool,
}

impl Descent {
    /// A machine that has asked nothing yet; the penalty has no kinks and no bounds.
    pub fn new(spec: Spec, method: Method) -> Self {
        let spec = Arc::new(spec);
        Self { phase: Phase::Opening(Opening::new(&spec)), spec, method }
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(super) const fn method(&self) -> Method {
        self.method
    }

    /// What it wants to know.
    pub fn ask(&self) -> Ask {
        match &self.phase {
            Phase::Opening(opening) => opening.ask(),
            Phase::Metric(state) => {
                let stride = irls::sample(state.setup.n_rows, state.origin.len());
                state.quadratic_at(state.origin.clone(), Curvature::Expected, stride)
            }
            Phase::Look(state, _) => match self.method {
                Method::Lbfgs => state.setup.evaluate_at([&state.point(&state.next)]),
                Method::NewtonCg => state.quadratic_at(state.point(&state.next), Curvature::Observed, Stride::ALL),
            },
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
                Ok(Some(opened)) => State::begin(opened, self.method),
                Err(error) => {
                    self.phase = Phase::Opening(opening);
                    return Err(error);
                }
            },
            (Phase::Metric(state), Answer::Quadratic(found)) => state.measure(found),
            (Phase::Look(state, unbounded), Answer::Evaluations(all))
                if all.len() == 1 && self.method == Method::Lbfgs =>
            {
                let local = state.setup.local(&all[0]);
                state.look(local, Vec::new(), all[0].separated, unbounded)
            }
            (Phase::Look(state, unbounded), Answer::Quadratic(found)) if self.method == Method::NewtonCg => {
                let hessian: Vec<f64> = found.hessian.iter().map(|h| h / found.sum_weights).collect();
                let local = Local::of(found.loss, &found.gradient, found.sum_weights);
                let local = local.filter(|_| hessian.iter().all(|h| h.is_finite()));
                state.look(local, hessian, found.separated, unbounded)
            }
            (phase, answer) => {
                self.phase = phase;
                return Err(mismatch(&self.ask(), &answer));
            }
        };
        Ok(())
    }
}

impl State {
    fn begin(opened: Opened, method: Method) -> Phase {
        let Opened { setup, start, unbounded, counts } = opened;
        let state = Box::new(Self {
            metric: Metric::Uniform(setup.curvature),
            setup,
            method,
            counts,
            next: vec![0.; start.len()],
            origin: start,
            length: 1.,
            log: Vec::new(),
            least: [f64::MAX; 2],
            n_idle: 0,
        });
        let measures = method == Method::Lbfgs && !unbounded && state.origin.len() <= MAX_METRIC_COLUMNS;
        if measures { Phase::Metric(state) } else { Phase::Look(state, unbounded) }
    }

    fn quadratic_at(&self, point: Vec<f64>, curvature: Curvature, stride: Stride) -> Ask {
        Ask::Quadratic { coordinates: Arc::clone(&self.setup.coordinates), point, curvature, stride }
    }

    /// In working coordinates.
    fn point(&self, at: &[f64]) -> Vec<f64> {
        let step = self.metric.unwhiten(at.iter().map(|u| self.length * u).collect());
        self.origin.iter().zip(step).map(|(x, d)| x + d).collect()
    }

    /// Takes the second derivatives at the start for the metric. Those of all rows came with loss and gradient.
    fn measure(mut self: Box<Self>, mut found: Quadratic) -> Phase {
        for (j, weight) in self.setup.weights.iter().enumerate() {
            found.hessian[j * (j + 1) / 2 + j] += found.sum_weights * weight.l2;
        }
        if let Some(metric) = Metric::of(&found, self.setup.curvature) {
            self.metric = metric;
        }
        if irls::sample(self.setup.n_rows, self.origin.len()) != Stride::ALL {
            return Phase::Look(self, false);
        }
        let local = Local::of(found.loss, &found.gradient, found.sum_weights);
        self.look(local, Vec::new(), found.separated, false)
    }

    fn look(mut self: Box<Self>, local: Option<Local>, hessian: Vec<f64>, separated: bool, unbounded: bool) -> Phase {
        self.counts.n_passes += 1;
        let is_first = self.log.is_empty();
        self.counts.n_iter += usize::from(!is_first);
        if is_first && local.is_none() {
            let nowhere = Local { loss: 0., gradient: vec![0.; self.next.len()] };
            let solution = self.setup.solution(&self.origin, &nowhere, self.counts, StopReason::Precision);
            return Phase::Done(Box::new(solution));
        }
        let violation = self.enter(local, hessian);
        let spec = Arc::clone(&self.setup.spec);
        if unbounded {
            return self.done(StopReason::OneClass);
        }
        if violation <= spec.tol {
            return self.done(StopReason::Optimal);
        }
        if separated && !is_first && spec.penalty.is_none() {
            return self.done(StopReason::Separable);
        }
        if self.counts.n_iter >= spec.max_iter {
            return self.done(StopReason::MaxIter);
        }
        if self.n_idle > MAX_IDLE {
            return self.done(StopReason::Precision);
        }
        self.advance()
    }

    /// Writes down what is known of the point that was asked about; how far it is from the optimality conditions.
    fn enter(&mut self, local: Option<Local>, hessian: Vec<f64>) -> f64 {
        let at = std::mem::take(&mut self.next);
        let point = self.point(&at);
        let known = local.and_then(|local| self.known(&at, &point, local, hessian));
        let entry = known.unwrap_or_else(|| self.lost(at, point));
        let violation = entry.violation;
        let objective = if entry.lost { f64::MAX } else { self.objective(&entry.local, &entry.point) };
        let [low, steep] = &mut self.least;
        let progress = objective < *low - 1e-13 * low.abs() || violation < 0.5 * *steep;
        self.n_idle = if progress { 0 } else { self.n_idle + 1 };
        (*low, *steep) = (low.min(objective), steep.min(violation));
        self.log.push(entry);
        violation
    }

    fn objective(&self, local: &Local, point: &[f64]) -> f64 {
        local.loss + self.setup.penalty(point)
    }

    /// None where the cost is out of all proportion.
    fn known(&mut self, at: &[f64], point: &[f64], local: Local, hessian: Vec<f64>) -> Option<Entry> {
        let weights = self.setup.weights.iter().zip(point);
        let gradient = local.gradient.iter().zip(weights).map(|(g, (w, x))| g + w.l2 * x).collect();
        let mut gradient = self.metric.whiten(gradient);
        if self.log.is_empty() {
            let norm = dot(&gradient, &gradient).sqrt();
            let shown = if self.method == Method::NewtonCg { NEWTON_NORM } else { 1. };
            self.length = if norm > 0. { norm / shown } else { 1. };
        }
        gradient.iter_mut().for_each(|g| *g /= self.length);
        let mut cost = 0.;
        if let Some(last) = self.log.iter().rev().find(|entry| !entry.lost) {
            let (here, there) = (self.objective(&local, point), self.objective(&last.local, &last.point));
            let change = here - there;
            cost = last.cost
                + if change.abs() > VISIBLE * here.abs().max(there.abs()) {
                    change / (self.length * self.length)
                } else {
                    // A difference that is mostly rounding is taken from the gradients, by the trapezoidal rule.
                    let steps = at.iter().zip(&last.at).map(|(a, b)| a - b);
                    steps.zip(gradient.iter().zip(&last.gradient)).map(|(step, (a, b))| 0.5 * step * (a + b)).sum()
                };
            let (low, _, slope) = self.away(at);
            if cost - low > PROPORTION * slope && change > 0. {
                return None;
            }
        }
        let violation = self.setup.kkt_relative(point, &local);
        Some(Entry { at: at.to_vec(), point: point.to_vec(), local, cost, gradient, hessian, violation, lost: false })
    }

    /// A point without a mean, or as good as that, is shown as one on a parabola through the lowest point so far whose
    /// least value is a tenth of the way to it: no line search can work with infinite costs.
    fn lost(&self, at: Vec<f64>, point: Vec<f64>) -> Entry {
        let (low, step, slope) = self.away(&at);
        let square = dot(&step, &step).max(f64::MIN_POSITIVE);
        Entry {
            at,
            point,
            local: Local { loss: 0., gradient: vec![0.; step.len()] },
            cost: low + 4. * slope,
            gradient: step.iter().map(|d| 9. * slope * d / square).collect(),
            hessian: Vec::new(),
            violation: f64::MAX,
            lost: true,
        }
    }

    /// The cost of the lowest point so far, the step from there and how much the slope there makes of it.
    fn away(&self, at: &[f64]) -> (f64, Vec<f64>, f64) {
        let lowest = self.log.iter().filter(|entry| !entry.lost).min_by(|a, b| a.cost.total_cmp(&b.cost));
        let Some(lowest) = lowest else { return (0., at.to_vec(), 0.) };
        let step: Vec<f64> = at.iter().zip(&lowest.at).map(|(a, b)| a - b).collect();
        let slope = dot(&step, &lowest.gradient).abs();
        (lowest.cost, step, slope)
    }

    /// Replays until something is not known.
    fn advance(mut self: Box<Self>) -> Phase {
        loop {
            let is_full = self.log.len() >= MAX_LOG;
            let replayed = if is_full { Replayed::Ended } else { self.replay() };
            let next = match replayed {
                Replayed::Wants(point) => {
                    self.next = point;
                    return Phase::Look(self, false);
                }
                Replayed::Stepped(place) => place,
                Replayed::Ended if is_full => self.best(|entry| entry.cost),
                Replayed::Ended => self.best(|entry| entry.violation),
            };
            // argmin has taken a step of Newton's, or gave up, or its log is long: it begins anew.
            if self.log.len() == 1 {
                return self.done(StopReason::Precision);
            }
            let first = self.log.swap_remove(next);
            self.anew(first);
        }
    }

    /// Makes a point argmin's origin, its gradient the unit.
    fn anew(&mut self, first: Entry) {
        self.log.clear();
        self.origin.clone_from(&first.point);
        let at = vec![0.; first.point.len()];
        let first = self.known(&at, &first.point, first.local, first.hessian);
        self.log.extend(first);
    }

    fn best(&self, by: impl Fn(&Entry) -> f64) -> usize {
        let all = self.log.iter().enumerate().filter(|(_, entry)| !entry.lost);
        all.min_by(|(_, a), (_, b)| by(a).total_cmp(&by(b))).map_or(0, |(place, _)| place)
    }

    fn replay(&self) -> Replayed {
        let known = Known { state: self, wanted: RefCell::default() };
        let Some(first) = self.log.first() else { return Replayed::Ended };
        let search = MoreThuenteLineSearch::new();
        let reached: Result<Option<Vec<f64>>, Failure> = match self.method {
            Method::Lbfgs => LBFGS::new(search, MEMORY)
                .with_tolerance_grad(0.)
                .and_then(|solver| solver.with_tolerance_cost(0.))
                .and_then(|solver| {
                    Executor::new(&known, solver)
                        .configure(|state| state.param(first.at.clone()).max_iters(MAX_LOG as u64))
                        .ctrlc(false)
                        .timer(false)
                        .run()
                        .map(|_| None)
                }),
            Method::NewtonCg => Executor::new(&known, NewtonCG::new(search))
                .configure(|state| state.param(first.at.clone()).cost(first.cost).max_iters(1))
                .ctrlc(false)
                .timer(false)
                .run()
                .map(|mut found| found.state.take_param().or_else(|| found.state.take_best_param())),
        };
        if let Some(point) = known.wanted.into_inner() {
            return Replayed::Wants(point);
        }
        // What went wrong beyond a point that is not known, as a line search that finds nothing lower, ends it too.
        let reached = reached.ok().flatten();
        let place = reached.and_then(|at| self.log.iter().skip(1).position(|entry| entry.at == at && !entry.lost));
        place.map_or(Replayed::Ended, |place| Replayed::Stepped(place + 1))
    }

    fn done(self: Box<Self>, stop: StopReason) -> Phase {
        let falls_short = matches!(stop, StopReason::Precision | StopReason::MaxIter);
        let place = if falls_short { self.best(|entry| entry.violation) } else { self.log.len() - 1 };
        let entry = &self.log[place];
        Phase::Done(Box::new(self.setup.solution(&entry.point, &entry.local, self.counts, stop)))
    }
}

/// How a replay ended.
enum Replayed {
    /// At a point that is not known.
    Wants(Vec<f64>),
    /// After one of Newton's steps, at this entry.
    Stepped(usize),
    /// It gave up.
    Ended,
}

/// The answers so far, as argmin sees them.
struct Known<'a> {
    state: &'a State,
    wanted: RefCell<Option<Vec<f64>>>,
}

impl<'a> Known<'a> {
    fn entry(&self, at: &[f64]) -> Result<&'a Entry, Failure> {
        if self.wanted.borrow().is_some() {
            return Err(refused("a point before is not known"));
        }
        if at.iter().any(|x| !x.is_finite()) {
            return Err(refused("the point is not finite"));
        }
        self.state.log.iter().find(|entry| entry.at == at).ok_or_else(|| {
            *self.wanted.borrow_mut() = Some(at.to_vec());
            refused("the point is not known")
        })
    }
}

fn refused(text: &str) -> Failure {
    ArgminError::ConditionViolated { text: text.to_owned() }.into()
}

impl CostFunction for &Known<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, at: &Vec<f64>) -> Result<f64, Failure> {
        Ok(self.entry(at)?.cost)
    }
}

impl Gradient for &Known<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, at: &Vec<f64>) -> Result<Vec<f64>, Failure> {
        Ok(self.entry(at)?.gradient.clone())
    }
}

impl<'a> Hessian for &Known<'a> {
    type Param = Vec<f64>;
    type Hessian = Curved<'a>;

    fn hessian(&self, at: &Vec<f64>) -> Result<Curved<'a>, Failure> {
        let entry = self.entry(at)?;
        if entry.hessian.is_empty() {
            return Err(refused("there are no second derivatives at the point"));
        }
        Ok(Curved { hessian: &entry.hessian, state: self.state, n_products: Cell::new(0) })
    }
}

/// The second derivatives of the objective at a point.
#[derive(Clone)]
struct Curved<'a> {
    hessian: &'a [f64],
    state: &'a State,
    n_products: Cell<usize>,
}

impl ArgminDot<Vec<f64>, Vec<f64>> for Curved<'_> {
    fn dot(&self, v: &Vec<f64>) -> Vec<f64> {
        self.n_products.set(self.n_products.get() + 1);
        // argmin's conjugate gradients have no end of their own where rounding keeps them from their tolerance; no
        // curvature ends them.
        if self.n_products.get() > 8 * v.len() + 40 || dot(v, v) == 0. {
            return vec![0.; v.len()];
        }
        let State { setup, metric, .. } = self.state;
        let step = metric.unwhiten(v.clone());
        let product = Packed(self.hessian).times(&step);
        let penalty = setup.weights.iter().zip(&step).map(|(w, d)| w.l2 * d);
        metric.whiten(product.iter().zip(penalty).map(|(h, p)| h + p).collect())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};
    use phalanx_array::{ChunkedArray, PANEL};
    use phalanx_learn::Fit;

    use super::*;
    use crate::{
        Family, Glm, Solver,
        cluster::{
            fit_chunked,
            tests::{Here, wait},
        },
        penalty::Penalty,
        response::ChunkedResponse,
        solver::{
            Machine,
            testing::{Data, asks},
        },
    };

    const COUNTS: Data = Data { x: &[-2., -1., 0., 1., 2., 3., 0.5, -0.5], y: &[0., 1., 0., 2., 3., 9., 1., 0.] };

    #[test]
    fn they_find_what_newtons_method_finds_and_travel_between_any_two_questions() {
        for (family, alpha) in [(Family::Poisson, 0.), (Family::Poisson, 0.3), (Family::Gaussian, 0.1)] {
            let spec = Spec { loss: family.into(), penalty: Penalty::elastic_net(alpha, 0.), ..Spec::default() };
            let solution = |machine: Machine| {
                let asked = asks(machine, COUNTS);
                let Some(Ask::Done(solution)) = asked.last() else { unreachable!("it ends with an answer") };
                (Solution::clone(solution), asked.len())
            };
            let (expected, _) = solution(Machine::irls(spec.clone()));
            for method in [Method::Lbfgs, Method::NewtonCg] {
                let (found, n_asked) = solution(Machine::descent(spec.clone(), method));
                assert!(found.report.converged && n_asked < 40, "{method:?} {n_asked} {:?}", found.report);
                assert!((found.coef[0] - expected.coef[0]).abs() < 1e-8, "{method:?} {found:?} {expected:?}");
            }
        }
    }

    #[test]
    fn any_chunks_give_the_bits_of_memory() {
        let noise = |i: usize| ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.;
        let n = 5 * PANEL + 31;
        let x = Array2::from_shape_fn((n, 3), |(i, j)| noise(i * (j + 3) * 31 + j));
        let y: Array1<f64> = (0..n).map(|i| (1. + x[[i, 0]] + noise(17 * i + 5)).exp().floor()).collect();
        for solver in [Solver::Lbfgs, Solver::NewtonCg] {
            let glm = Glm::new(Family::Poisson).alpha(0.01).solver(solver);
            let expected = glm.fit(&x, &y).expect("fitted");
            assert!(expected.report().converged, "{:?}", expected.report());
            for chunk in [PANEL, 4 * PANEL] {
                let [x, y] = [(&x).into(), (&y).into()]
                    .map(|of: phalanx_array::Block| ChunkedArray::from_array(of, chunk).expect("an array"));
                let (machine, why) = glm.machine(3, false).expect("a machine");
                let response = ChunkedResponse::new(&y);
                let found = wait(fit_chunked(&Here, machine, glm.wanted(3), &x, &response)).expect("fitted");
                assert_eq!(glm.model(found, why), expected, "{solver:?} in chunks of {chunk}");
            }
        }
    }

    #[test]
    fn an_answer_to_another_question_is_refused_and_the_question_stays() {
        let mut machine = Descent::new(Spec::default(), Method::Lbfgs);
        let error = machine.tell(Answer::Blocks(vec![])).expect_err("refused").to_string();
        assert!(error.starts_with("the solver asked for moments and was told block solutions"), "{error}");
        assert_eq!(machine.ask(), Ask::Moments);
    }
}
