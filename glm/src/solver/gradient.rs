//! Proximal gradient descent with momentum, restarts and a backtracking line search.
//!
//! A step goes from the extrapolated point `y` to `x = prox(y - gradient(y) / L)`; the proximal step holds the
//! whole penalty, so without L1 it is a shrinkage and without a penalty plain gradient descent. `L` grows until
//! the loss at `x` is below its quadratic model at `y`; near the optimum, where the loss cannot tell, the
//! gradients do. The gradient at `x` is known from that test, so the optimality conditions are checked at every
//! step at no cost.
//!
//! Sources: A. Beck, M. Teboulle, "A fast iterative shrinkage-thresholding algorithm" (2009), section 4;
//! B. O'Donoghue, E. Candès, "Adaptive restart for accelerated gradient schemes" (2015), section 3.2.

use phalanx_array::kernel::dot;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Ask, Solution, Spec, mismatch,
    setup::{Counts, Local, Setup},
};
use crate::{
    error::Error,
    kernel::Evaluation,
    report::StopReason,
};

/// After a restart the step length is tried this much longer: the curvature may have been met on the way only.
const RELAX: f64 = 0.7;

/// The machine. Its steps are those that changed the coefficients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradientDescent {
    spec: Spec,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Phase {
    Moments,
    /// Waits for the loss at the null model; the flag says that it lies at infinity.
    Start(Box<State>, bool),
    /// Waits for the loss at `y`.
    Extrapolated(Box<State>),
    /// Waits for the loss at `trial`.
    Trial(Box<State>),
    Done(Solution),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    setup: Setup,
    counts: Counts,
    /// The last accepted point and its loss.
    x: Vec<f64>,
    at_x: Local,
    /// Where the next step starts, and the loss there.
    y: Vec<f64>,
    at_y: Local,
    trial: Vec<f64>,
    /// The line search's bound of the curvature.
    lipschitz: f64,
    /// Beck and Teboulle's t.
    momentum: f64,
}

impl GradientDescent {
    /// A machine that has asked nothing yet.
    pub fn new(spec: Spec) -> Self {
        Self { spec, phase: Phase::Moments }
    }

    #[cfg(test)]
    pub(crate) const fn family(&self) -> crate::Family {
        self.spec.family
    }

    /// What it wants to know.
    pub fn ask(&self) -> Ask {
        match &self.phase {
            Phase::Moments => Ask::Moments,
            Phase::Start(state, _) => state.setup.evaluate_at(&state.x),
            Phase::Extrapolated(state) => state.setup.evaluate_at(&state.y),
            Phase::Trial(state) => state.setup.evaluate_at(&state.trial),
            Phase::Done(solution) => Ask::Done(solution.clone()),
        }
    }

    /// Answers the question.
    ///
    /// # Errors
    /// When the answer is to another question, or the numbers are too large to work with.
    pub fn tell(&mut self, answer: Answer) -> Result<(), Error> {
        let asked = self.ask();
        let phase = std::mem::replace(&mut self.phase, Phase::Moments);
        self.phase = match (phase, answer) {
            (Phase::Moments, Answer::Moments(moments)) => {
                let setup = Setup::new(self.spec, &moments)?;
                let (x, unbounded) = setup.start(&moments);
                Phase::Start(Box::new(State::new(setup, x)), unbounded)
            }
            (Phase::Start(state, unbounded), Answer::Evaluation(evaluation)) => state.start(&evaluation, unbounded),
            (Phase::Extrapolated(state), Answer::Evaluation(evaluation)) => state.step_from_y(&evaluation),
            (Phase::Trial(state), Answer::Evaluation(evaluation)) => state.judge(&evaluation),
            (phase, answer) => {
                self.phase = phase;
                return Err(mismatch(&asked, &answer));
            }
        };
        Ok(())
    }
}

impl State {
    fn new(setup: Setup, x: Vec<f64>) -> Self {
        let nowhere = Local { loss: 0., gradient: vec![0.; x.len()] };
        Self {
            counts: Counts { n_iter: 0, n_passes: 1 },
            lipschitz: setup.curvature,
            y: x.clone(),
            trial: x.clone(),
            at_x: nowhere.clone(),
            at_y: nowhere,
            x,
            setup,
            momentum: 1.,
        }
    }

    fn start(mut self: Box<Self>, evaluation: &Evaluation, unbounded: bool) -> Phase {
        self.counts.n_passes += 1;
        let Some(local) = self.setup.local(evaluation) else { return self.done(evaluation, StopReason::Precision) };
        self.at_x = local.clone();
        self.at_y = local;
        if unbounded {
            return self.done(evaluation, StopReason::OneClass);
        }
        if self.setup.kkt_relative(&self.x, &self.at_x) <= self.setup.spec.tol {
            return self.done(evaluation, StopReason::Optimal);
        }
        self.try_step()
    }

    fn step_from_y(mut self: Box<Self>, evaluation: &Evaluation) -> Phase {
        self.counts.n_passes += 1;
        match self.setup.local(evaluation) {
            Some(local) => self.at_y = local,
            // Momentum has carried it to where the mean overflows.
            None => self.restart(),
        }
        self.try_step()
    }

    fn try_step(mut self: Box<Self>) -> Phase {
        let weights = self.setup.weights.iter().zip(&self.y).zip(&self.at_y.gradient);
        self.trial = weights.map(|((w, &y), &g)| w.prox(y - g / self.lipschitz, self.lipschitz)).collect();
        Phase::Trial(self)
    }

    fn judge(mut self: Box<Self>, evaluation: &Evaluation) -> Phase {
        self.counts.n_passes += 1;
        let local = self.setup.local(evaluation);
        let step: Vec<f64> = self.trial.iter().zip(&self.y).map(|(a, b)| a - b).collect();
        let square = dot(&step, &step);
        let size = dot(&self.trial, &self.trial);
        // A step of a few roundings: no shorter one will do better, no longer one was allowed.
        let still = square <= 1e-31 * size;
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
        self.accept(local, evaluation, still)
    }

    /// The smallest L whose quadratic model at `y` lies above the loss at `trial`.
    fn curvature_along(&self, step: &[f64], square: f64, trial: &Local) -> f64 {
        if square == 0. {
            return 0.;
        }
        let above_tangent = trial.loss - self.at_y.loss - dot(&self.at_y.gradient, step);
        let rounding = 64. * f64::EPSILON * (trial.loss.abs() + self.at_y.loss.abs());
        if above_tangent.abs() > 16. * rounding {
            2. * above_tangent / square
        } else {
            let turn: Vec<f64> = trial.gradient.iter().zip(&self.at_y.gradient).map(|(a, b)| a - b).collect();
            dot(&turn, step) / square
        }
    }

    fn accept(mut self: Box<Self>, local: Local, evaluation: &Evaluation, still: bool) -> Phase {
        let change: Vec<f64> = self.trial.iter().zip(&self.x).map(|(a, b)| a - b).collect();
        let overshoot: f64 = self.y.iter().zip(&self.trial).zip(&change).map(|((y, t), c)| (y - t) * c).sum();
        let from_x = self.y == self.x;
        self.x.clone_from(&self.trial);
        self.at_x = local;
        self.counts.n_iter += 1;
        let spec = self.setup.spec;
        if self.setup.kkt_relative(&self.x, &self.at_x) <= spec.tol {
            return self.done(evaluation, StopReason::Optimal);
        }
        if evaluation.separated && spec.alpha == 0. {
            return self.done(evaluation, StopReason::Separable);
        }
        if still && from_x {
            return self.done(evaluation, StopReason::Precision);
        }
        if self.counts.n_iter >= spec.max_iter {
            return self.done(evaluation, StopReason::MaxIter);
        }
        if overshoot > 0. || still {
            self.restart();
            self.lipschitz *= RELAX;
            return self.try_step();
        }
        let next = 0.5 * (1. + (1. + 4. * self.momentum * self.momentum).sqrt());
        let carry = (self.momentum - 1.) / next;
        self.momentum = next;
        self.y = self.x.iter().zip(&change).map(|(x, c)| x + carry * c).collect();
        if carry == 0. {
            self.at_y = self.at_x.clone();
            return self.try_step();
        }
        Phase::Extrapolated(self)
    }

    /// Forgets the momentum: the next step starts where the last one ended.
    fn restart(&mut self) {
        self.momentum = 1.;
        self.y.clone_from(&self.x);
        self.at_y = self.at_x.clone();
    }

    fn done(self: Box<Self>, at_x: &Evaluation, stop: StopReason) -> Phase {
        Phase::Done(self.setup.solution(&self.x, at_x, self.counts, stop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solver::testing::{Data, asks};

    /// Two rows whose column has mean 0 and scale 1: the loss is that of b plus (b - 1)²/2.
    const PAIR: Data = Data { x: &[-1., 1.], y: &[1., 3.] };

    fn evaluate(coef: f64, intercept: f64) -> Ask {
        Ask::Evaluate { coef: vec![coef], intercept }
    }

    fn solution(asks: &[Ask]) -> Solution {
        let Some(Ask::Done(solution)) = asks.last() else { unreachable!("it ends with an answer") };
        solution.clone()
    }

    #[test]
    fn a_quadratic_of_curvature_one_takes_one_step() {
        let asks = asks(GradientDescent::new(Spec::default()).into(), PAIR);
        assert_eq!(asks[..3], [Ask::Moments, evaluate(0., 2.), evaluate(1., 2.)]);
        let Solution { coef, intercept, report } = solution(&asks);
        assert_eq!((coef, intercept), (vec![1.], 2.));
        assert_eq!((report.stop, report.n_iter, report.n_passes), (StopReason::Optimal, 1, 3));
        assert_eq!((report.deviance, report.null_deviance, report.kkt_residual), (0., 2., 0.));
    }

    #[test]
    fn the_lasso_thresholds_and_the_ridge_shrinks() {
        let fit = |alpha, l1_ratio| {
            let spec = Spec { alpha, l1_ratio, ..Spec::default() };
            solution(&asks(GradientDescent::new(spec).into(), PAIR)).coef[0]
        };
        assert!((fit(0.25, 1.) - 0.75).abs() < 1e-10);
        assert!((fit(1., 0.) - 0.5).abs() < 1e-10);
        assert!((fit(0.5, 0.5) - 0.75 / 1.25).abs() < 1e-10);
    }

    #[test]
    fn a_large_penalty_is_answered_by_the_null_model() {
        let spec = Spec { alpha: 1e6, l1_ratio: 1., ..Spec::default() };
        let asks = asks(GradientDescent::new(spec).into(), PAIR);
        assert_eq!(asks[..2], [Ask::Moments, evaluate(0., 2.)]);
        assert_eq!((solution(&asks).coef, asks.len()), (vec![0.], 3));
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
        let spec = Spec { family: crate::Family::Poisson, alpha: 1e-4, ..Spec::default() };
        let solution = solution(&asks(GradientDescent::new(spec).into(), data));
        assert!(solution.report.converged, "{:?}", solution.report);
    }
}
