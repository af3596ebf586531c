//! Proximal gradient descent with momentum, restarts and a backtracking line search.
//!
//! A step goes from the extrapolated point `y` to `x = prox(y - gradient(y) / L)`; the proximal step holds the
//! whole penalty, so without L1 it is a shrinkage and without a penalty plain gradient descent. `L` grows until
//! the loss at `x` is below its quadratic model at `y`; near the optimum, where the loss cannot tell, the
//! gradients do. The gradient at `x` is known from that test, so the optimality conditions are checked at every
//! step at no cost. Where the next step will start is known as soon as `x` is, so both points share one pass.
//!
//! Sources: A. Beck, M. Teboulle, "A fast iterative shrinkage-thresholding algorithm" (2009), section 4;
//! B. O'Donoghue, E. Candès, "Adaptive restart for accelerated gradient schemes" (2015), section 3.2.

use std::sync::Arc;

use phalanx_array::kernel::dot;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Ask, Solution, Spec, mismatch,
    opening::{Opened, Opening},
    setup::{Counts, Local, Setup},
};
use crate::{error::Error, kernel::Evaluation, report::StopReason};

/// After a restart the step length is tried this much longer: the curvature may have been met on the way only.
const RELAX: f64 = 0.7;
/// Relative changes of the loss that are not rounding, whatever cancels inside the loss.
const VISIBLE: f64 = 1e-7;

/// The machine. Its steps are those that changed the coefficients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradientDescent {
    spec: Arc<Spec>,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Phase {
    Opening(Opening),
    /// Waits for the loss at the null model; the flag says that it lies at infinity.
    Start(Box<State>, bool),
    /// Waits for the loss at `trial`, and at `next` where that is another point.
    Trial(Box<State>),
    Done(Box<Solution>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    setup: Setup,
    counts: Counts,
    /// The last accepted point and its loss.
    x: Vec<f64>,
    at_x: Local,
    /// Where the step starts, and the loss there.
    y: Vec<f64>,
    at_y: Local,
    /// Where the step ends.
    trial: Vec<f64>,
    /// Where the next step starts; none for `trial` itself.
    next: Option<Vec<f64>>,
    /// The line search's bound of the curvature.
    lipschitz: f64,
    /// Beck and Teboulle's t, for this step and the next.
    momentum: f64,
    next_momentum: f64,
    /// Whether this step goes against the momentum.
    overshot: bool,
}

impl GradientDescent {
    /// A machine that has asked nothing yet.
    pub fn new(spec: Spec) -> Self {
        let spec = Arc::new(spec);
        Self { phase: Phase::Opening(Opening::new(&spec)), spec }
    }

    /// A machine that knows the null model.
    pub(super) fn opened(opened: Opened) -> Self {
        let Opened { setup, start, unbounded, counts } = opened;
        let spec = Arc::clone(&setup.spec);
        Self { spec, phase: Phase::Start(Box::new(State::new(setup, start, counts)), unbounded) }
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What it wants to know.
    pub fn ask(&self) -> Ask {
        match &self.phase {
            Phase::Opening(opening) => opening.ask(),
            Phase::Start(state, _) => state.setup.evaluate_at([&state.x]),
            Phase::Trial(state) => state.setup.evaluate_at(std::iter::once(&state.trial).chain(&state.next)),
            Phase::Done(solution) => Ask::Done(solution.clone()),
        }
    }

    /// Answers the question.
    ///
    /// # Errors
    /// When the answer is to another question, or the numbers are too large to work with.
    pub fn tell(&mut self, answer: Answer) -> Result<(), Error> {
        let asked = self.ask();
        let phase = std::mem::replace(&mut self.phase, Phase::Opening(Opening::new(&self.spec)));
        self.phase = match (phase, answer) {
            (Phase::Opening(mut opening), answer) => match opening.tell(answer) {
                Ok(None) => Phase::Opening(opening),
                Ok(Some(Opened { setup, start, unbounded, counts })) => {
                    Phase::Start(Box::new(State::new(setup, start, counts)), unbounded)
                }
                Err(error) => {
                    self.phase = Phase::Opening(opening);
                    return Err(error);
                }
            },
            (Phase::Start(state, unbounded), Answer::Evaluations(all)) if all.len() == 1 => {
                state.start(&all[0], unbounded)
            }
            (Phase::Trial(state), Answer::Evaluations(all)) if all.len() == 1 + usize::from(state.next.is_some()) => {
                state.judge(&all[0], all.get(1))
            }
            (phase, answer) => {
                self.phase = phase;
                return Err(mismatch(&asked, &answer));
            }
        };
        Ok(())
    }
}

impl State {
    fn new(setup: Setup, x: Vec<f64>, counts: Counts) -> Self {
        let nowhere = Local { loss: 0., gradient: vec![0.; x.len()] };
        Self {
            counts,
            lipschitz: setup.curvature,
            y: x.clone(),
            trial: x.clone(),
            next: None,
            at_x: nowhere.clone(),
            at_y: nowhere,
            x,
            setup,
            momentum: 1.,
            next_momentum: 1.,
            overshot: false,
        }
    }

    fn start(mut self: Box<Self>, evaluation: &Evaluation, unbounded: bool) -> Phase {
        self.counts.n_passes += 1;
        let Some(local) = self.setup.local(evaluation) else { return self.done(StopReason::Precision) };
        self.at_x = local.clone();
        self.at_y = local;
        if unbounded {
            return self.done(StopReason::OneClass);
        }
        if self.setup.kkt_relative(&self.x, &self.at_x) <= self.setup.spec.tol {
            return self.done(StopReason::Optimal);
        }
        self.try_step()
    }

    fn try_step(mut self: Box<Self>) -> Phase {
        let below: Vec<f64> = self.y.iter().zip(&self.at_y.gradient).map(|(y, g)| y - g / self.lipschitz).collect();
        self.trial = self.setup.prox(&below, self.lipschitz);
        let towards = |from: &[f64]| -> Vec<f64> { self.trial.iter().zip(from).map(|(a, b)| a - b).collect() };
        let (step, change) = (towards(&self.y), towards(&self.x));
        // Momentum that points against the step has carried too far: it is forgotten.
        self.overshot = dot(&step, &change) < 0.;
        let momentum = 0.5 * (1. + (1. + 4. * self.momentum * self.momentum).sqrt());
        let carry = if self.overshot { 0. } else { (self.momentum - 1.) / momentum };
        self.next = (carry > 0.).then(|| self.trial.iter().zip(&change).map(|(x, c)| x + carry * c).collect());
        self.next_momentum = momentum;
        Phase::Trial(self)
    }

    fn judge(mut self: Box<Self>, at_trial: &Evaluation, at_next: Option<&Evaluation>) -> Phase {
        self.counts.n_passes += 1;
        let local = self.setup.local(at_trial);
        let step: Vec<f64> = self.trial.iter().zip(&self.y).map(|(a, b)| a - b).collect();
        let square = dot(&step, &step);
        // A step of a few roundings: no shorter one will do better, no longer one was allowed.
        let still = square <= 1e-31 * dot(&self.trial, &self.trial);
        let curvature = match &local {
            Some(local) => self.curvature_along(&step, square, local),
            None => f64::INFINITY,
        };
        let Some(local) = local.filter(|_| still || curvature <= self.lipschitz) else {
            // An overflow says nothing of how far to go back.
            let growth = if curvature.is_finite() { 1.02 * curvature / self.lipschitz } else { 8. };
            self.lipschitz *= growth.clamp(1.2, 8.);
            return self.try_step();
        };
        let at_next = at_next.and_then(|evaluation| self.setup.local(evaluation));
        self.accept(local, at_next, at_trial, still)
    }

    /// The smallest L whose quadratic model at `y` lies above the loss at `trial`.
    ///
    /// Where the loss has hardly changed, its difference is mostly rounding, and the gradients' is not: they give
    /// the curvature along the step (S. Becker, E. Candès, M. Grant, "Templates for convex cone problems" (2011),
    /// section 5.3), which for a quadratic is the same number.
    fn curvature_along(&self, step: &[f64], square: f64, trial: &Local) -> f64 {
        if square == 0. {
            return 0.;
        }
        let above_tangent = trial.loss - self.at_y.loss - dot(&self.at_y.gradient, step);
        if above_tangent.abs() > VISIBLE * trial.loss.abs().max(self.at_y.loss.abs()) {
            2. * above_tangent / square
        } else {
            let turn: Vec<f64> = trial.gradient.iter().zip(&self.at_y.gradient).map(|(a, b)| a - b).collect();
            dot(&turn, step) / square
        }
    }

    fn accept(mut self: Box<Self>, at_x: Local, at_next: Option<Local>, evaluation: &Evaluation, still: bool) -> Phase {
        let from_x = self.y == self.x;
        std::mem::swap(&mut self.x, &mut self.trial);
        self.at_x = at_x;
        self.counts.n_iter += 1;
        let spec = Arc::clone(&self.setup.spec);
        if self.setup.kkt_relative(&self.x, &self.at_x) <= spec.tol {
            return self.done(StopReason::Optimal);
        }
        if evaluation.separated && spec.penalty.is_none() {
            return self.done(StopReason::Separable);
        }
        if still && from_x {
            return self.done(StopReason::Precision);
        }
        if self.counts.n_iter >= spec.max_iter {
            return self.done(StopReason::MaxIter);
        }
        match (self.next.take(), at_next) {
            (Some(next), Some(at_next)) if !still => {
                self.momentum = self.next_momentum;
                (self.y, self.at_y) = (next, at_next);
            }
            (next, _) => {
                // Either this is the first step since the momentum was forgotten, or it is to be forgotten now: it
                // overshot, moved nothing, or leads to where a mean overflows.
                self.y.clone_from(&self.x);
                self.at_y = self.at_x.clone();
                if self.overshot || still || next.is_some() {
                    self.momentum = 1.;
                    self.lipschitz *= RELAX;
                } else {
                    self.momentum = self.next_momentum;
                }
            }
        }
        self.try_step()
    }

    fn done(self: Box<Self>, stop: StopReason) -> Phase {
        Phase::Done(Box::new(self.setup.solution(&self.x, &self.at_x, self.counts, stop)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::Stride,
        penalty::Penalty,
        solver::{
            Coordinates,
            testing::{Data, asks},
        },
    };

    /// Two rows whose column has mean 0 and scale 1: the loss is that of b plus (b - 1)²/2.
    const PAIR: Data = Data { x: &[-1., 1.], y: &[1., 3.] };

    fn evaluate(coef: f64, intercept: f64) -> Ask {
        let coordinates = Arc::new(Coordinates { centre: vec![0.], scale: vec![1.], has_intercept: true });
        Ask::Evaluate { coordinates, points: vec![vec![intercept, coef]], stride: Stride::ALL }
    }

    fn solution(asks: &[Ask]) -> Solution {
        let Some(Ask::Done(solution)) = asks.last() else { unreachable!("it ends with an answer") };
        Solution::clone(solution)
    }

    #[test]
    fn a_quadratic_of_curvature_one_takes_one_step() {
        let asks = asks(GradientDescent::new(Spec::default()).into(), PAIR);
        assert_eq!(asks[..4], [Ask::Moments, Ask::Null { intercepts: vec![2.] }, evaluate(0., 2.), evaluate(1., 2.)]);
        let Solution { coef, intercept, report, .. } = solution(&asks);
        assert_eq!((coef, intercept), (vec![1.], 2.));
        assert_eq!((report.stop, report.n_iter, report.n_passes), (StopReason::Optimal, 1, 4));
        assert_eq!((report.deviance, report.null_deviance, report.kkt_residual), (0., 2., 0.));
    }

    #[test]
    fn the_lasso_thresholds_and_the_ridge_shrinks() {
        let fit = |alpha, l1_ratio| {
            let spec = Spec { penalty: Penalty::elastic_net(alpha, l1_ratio), ..Spec::default() };
            solution(&asks(GradientDescent::new(spec).into(), PAIR)).coef[0]
        };
        assert!((fit(0.25, 1.) - 0.75).abs() < 1e-10);
        assert!((fit(1., 0.) - 0.5).abs() < 1e-10);
        assert!((fit(0.5, 0.5) - 0.75 / 1.25).abs() < 1e-10);
    }

    #[test]
    fn a_large_penalty_is_answered_by_the_null_model() {
        let spec = Spec { penalty: Penalty::elastic_net(1e6, 1.), ..Spec::default() };
        let asks = asks(GradientDescent::new(spec).into(), PAIR);
        assert_eq!(asks[1..3], [Ask::Null { intercepts: vec![2.] }, evaluate(0., 2.)]);
        assert_eq!((solution(&asks).coef, asks.len()), (vec![0.], 4));
    }

    #[test]
    fn an_answer_to_another_question_is_refused_and_the_question_stays() {
        let mut machine = GradientDescent::new(Spec::default());
        let error = machine.tell(Answer::Blocks(vec![])).expect_err("refused").to_string();
        assert!(error.starts_with("the solver asked for moments and was told block solutions"), "{error}");
        assert_eq!(machine.ask(), Ask::Moments);
    }

    #[test]
    fn overflow_shortens_the_step() {
        // The first step, at the null model's curvature, leads to a linear predictor of about 1500.
        let at = |places: &[usize]| (0..1500).map(|i| f64::from(places.contains(&i))).collect::<Vec<_>>().leak();
        let data = Data { x: at(&[1]), y: at(&[1, 1000]) };
        let spec =
            Spec { loss: crate::Family::Poisson.into(), penalty: Penalty::elastic_net(1e-4, 0.), ..Spec::default() };
        let solution = solution(&asks(GradientDescent::new(spec).into(), data));
        assert!(solution.report.converged, "{:?}", solution.report);
    }
}
