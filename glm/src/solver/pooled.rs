//! Partial pooling: a model of all rows, a model of each group, and what draws each of the second to the first.
//!
//! Given the coefficients t of all, each group's own minimise its loss and its distance from t by themselves: a block.
//! What is left is a smooth function of t, the sum of the groups' Moreau envelopes, whose gradient is the sum of the
//! groups' gradients at their minima and whose second derivatives are the sum of κ(H + κ)⁻¹H, H being a group's own. So
//! Newton's steps in t under the penalty, each with one round of block solutions, find the exact optimum of all in a
//! few rounds; consensus ADMM with the same blocks takes first-order ones.
//!
//! Source: N. Parikh, S. Boyd, *Proximal Algorithms* (2014), section 3.1 (the Moreau envelope and its gradient), and
//! 7.3 for blocks drawn to a common value.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Answer, Ask, Cholesky, Solution, Spec,
    model::{Packed, minimise},
    opening::Opening,
    setup::{Coordinates, Counts, Local, Setup},
};
use crate::{
    error::Error,
    kernel::{Quadratic, Rows, Stride},
    loss::{Curvature, Loss},
    report::StopReason,
};

/// Newton's steps of one group in one round.
const MAX_STEPS: usize = 100;
/// Times that a step is shortened.
const MAX_SHORTER: usize = 40;

/// What each group is asked: where it is least, drawn to a common point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupProblem {
    pub(crate) loss: Loss,
    pub(crate) coordinates: Arc<Coordinates>,
    /// What it is drawn to, in working coordinates, the intercept first.
    pub(crate) centre: Vec<f64>,
    /// How strongly: half of it multiplies the squared distance.
    pub(crate) pooling: f64,
    /// A row's typical derivative.
    pub(crate) unit: f64,
}

/// A group's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupSolution {
    /// In working coordinates.
    pub(crate) point: Vec<f64>,
    /// Sum over its rows, there.
    pub(crate) loss: f64,
    /// Of its envelope, by what it is drawn to.
    pub(crate) gradient: Vec<f64>,
    /// What is left of the derivatives by its own coefficients: 0 at the minimum.
    pub(crate) left: Vec<f64>,
    /// Half of pooling times the squared distance.
    pub(crate) drawn: f64,
    /// The second derivatives of its envelope, packed.
    pub(crate) bend: Vec<f64>,
}

/// What the machine wants to know.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PoolAsk {
    /// Of all rows.
    Rows(Ask),
    /// Of each group, which begins at its point of these; none where it begins at the centre.
    Groups(GroupProblem, Option<Arc<Vec<Vec<f64>>>>),
    Done,
}

/// Where it stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PooledSolution {
    pub(crate) global: Solution,
    /// Raw intercepts and coefficients, in the order of the groups.
    pub(crate) groups: Vec<(f64, Vec<f64>)>,
}

/// The machine.
#[derive(Debug, Clone)]
pub(crate) struct Pooled {
    spec: Arc<Spec>,
    pooling: f64,
    phase: Phase,
}

#[derive(Debug, Clone)]
enum Phase {
    Opening(Opening),
    Round(Box<State>),
    Done(Box<PooledSolution>),
}

#[derive(Debug, Clone)]
struct State {
    setup: Setup,
    counts: Counts,
    x: Vec<f64>,
    /// Of the mean of all envelopes, once the first round is back.
    at_x: Option<Round>,
    trial: Vec<f64>,
    slope: f64,
    n_shorter: usize,
}

#[derive(Debug, Clone)]
struct Round {
    local: Local,
    hessian: Vec<f64>,
    /// Mean loss and mean distance apart.
    loss: f64,
    drawn: f64,
    points: Arc<Vec<Vec<f64>>>,
    /// The largest violation of a group's own conditions, without units, and on the raw scale.
    violation: [f64; 2],
}

impl Pooled {
    pub(crate) fn new(spec: Spec, pooling: f64) -> Self {
        let spec = Arc::new(spec);
        let phase = Phase::Opening(Opening::new(&spec));
        Self { spec, pooling, phase }
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(crate) fn ask(&self) -> PoolAsk {
        match &self.phase {
            Phase::Opening(opening) => PoolAsk::Rows(opening.ask()),
            Phase::Round(state) => {
                let problem = GroupProblem {
                    loss: self.spec.loss,
                    coordinates: Arc::clone(&state.setup.coordinates),
                    centre: state.trial.clone(),
                    pooling: self.pooling,
                    unit: state.setup.unit,
                };
                PoolAsk::Groups(problem, state.at_x.as_ref().map(|round| Arc::clone(&round.points)))
            }
            Phase::Done(_) => PoolAsk::Done,
        }
    }

    pub(crate) fn into_done(self) -> Option<PooledSolution> {
        match self.phase {
            Phase::Done(solution) => Some(*solution),
            _ => None,
        }
    }

    /// Answers a question about all rows.
    ///
    /// # Errors
    /// When it was not asked, the numbers are too large, or y has one value at the end of its range.
    pub(crate) fn tell(&mut self, answer: Answer) -> Result<(), Error> {
        let Phase::Opening(opening) = &mut self.phase else {
            return Err(Error::Answer { asked: "block solutions", told: answer.name() });
        };
        if let Some(opened) = opening.tell(answer)? {
            if opened.unbounded {
                return Err(Error::NoOptimum { family: self.spec.loss.family.name() });
            }
            let (setup, x) = (opened.setup, opened.start);
            let counts = opened.counts;
            let trial = x.clone();
            self.phase = Phase::Round(Box::new(State { setup, counts, x, at_x: None, trial, slope: 0., n_shorter: 0 }));
        }
        Ok(())
    }

    /// Answers the question about the groups, in their order.
    ///
    /// # Errors
    /// When it was not asked, or a group has no mean where all begin.
    pub(crate) fn tell_groups(&mut self, groups: &[GroupSolution]) -> Result<(), Error> {
        let Phase::Round(state) = &mut self.phase else {
            return Err(Error::Answer { asked: "all rows", told: "block solutions" });
        };
        if let Some(solution) = state.round(groups) {
            self.phase = Phase::Done(Box::new(solution?));
        }
        Ok(())
    }
}

impl State {
    /// Takes a round at the trial point; what was found, where it stops.
    fn round(&mut self, groups: &[GroupSolution]) -> Option<Result<PooledSolution, Error>> {
        self.counts.n_passes += 1;
        let total = self.setup.sum_weights;
        let q = self.x.len();
        let (mut loss, mut drawn, mut violation) = (0., 0., [0_f64; 2]);
        let (mut gradient, mut hessian) = (vec![0.; q], vec![0.; q * (q + 1) / 2]);
        for group in groups {
            loss += group.loss;
            drawn += group.drawn;
            gradient.iter_mut().zip(&group.gradient).for_each(|(sum, g)| *sum += g);
            hessian.iter_mut().zip(&group.bend).for_each(|(sum, h)| *sum += h);
            let own: Vec<f64> = group.left.iter().map(|g| g / total).collect();
            let worst = own.iter().fold(0_f64, |most, v| most.max(v.abs())) / self.setup.unit;
            violation = [violation[0].max(worst), violation[1].max(self.setup.coordinates.raw_worst(&own))];
        }
        let Some(local) = Local::of(loss + drawn, &gradient, total) else {
            if self.at_x.is_none() {
                let family = self.setup.spec.loss.family.to_string();
                return Some(Err(Error::Beyond { family }));
            }
            return self.shorten(0.25);
        };
        hessian.iter_mut().for_each(|h| *h /= total);
        let points = Arc::new(groups.iter().map(|group| group.point.clone()).collect());
        let found = Round { local, hessian, loss: loss / total, drawn: drawn / total, points, violation };
        if let Some(before) = &self.at_x {
            let was = before.local.loss + self.setup.penalty(&self.x);
            let is = found.local.loss + self.setup.penalty(&self.trial);
            let enough = is <= was + 1e-4 * self.slope;
            let violation = |x: &[f64], round: &Round| self.setup.kkt_relative(x, &round.local);
            let level = (is - was).abs() <= 1e-9 * was.abs().max(is.abs())
                && violation(&self.trial, &found) <= violation(&self.x, before);
            if !(enough || level) {
                if (is - was).abs() <= 1e-13 * was.abs() {
                    return Some(Ok(self.done(StopReason::Precision)));
                }
                return self.shorten(0.5);
            }
            self.counts.n_iter += 1;
        }
        self.x.clone_from(&self.trial);
        self.n_shorter = 0;
        let next = minimise(Packed(&found.hessian), &found.local.gradient, &self.x, &self.setup.weights).point;
        let along: f64 = next.iter().zip(&self.x).zip(&found.local.gradient).map(|((a, b), g)| (a - b) * g).sum();
        self.slope = along + self.setup.penalty(&next) - self.setup.penalty(&self.x);
        // Where little is pooled the gradient is small everywhere; how far the step goes tells more.
        let step = next.iter().zip(&self.x).map(|(a, b)| (a - b).abs() / (1. + b.abs())).fold(0., f64::max);
        let tol = self.setup.spec.tol;
        let violation = self.setup.kkt_relative(&self.x, &found.local).max(found.violation[0]);
        self.at_x = Some(found);
        if violation <= tol && (step <= 1e-9 || next == self.x) {
            return Some(Ok(self.done(StopReason::Optimal)));
        }
        if self.counts.n_iter >= self.setup.spec.max_iter {
            return Some(Ok(self.done(StopReason::MaxIter)));
        }
        if next == self.x || next.iter().any(|t| !t.is_finite()) {
            return Some(Ok(self.done(StopReason::Precision)));
        }
        self.trial = next;
        None
    }

    fn shorten(&mut self, share: f64) -> Option<Result<PooledSolution, Error>> {
        self.n_shorter += 1;
        let trial: Vec<f64> = self.x.iter().zip(&self.trial).map(|(x, t)| x + share * (t - x)).collect();
        if self.n_shorter > MAX_SHORTER || trial == self.x {
            return Some(Ok(self.done(StopReason::Precision)));
        }
        self.slope *= share;
        self.trial = trial;
        None
    }

    fn done(&self, stop: StopReason) -> PooledSolution {
        let Some(round) = &self.at_x else { unreachable!("it stops after the first round") };
        let coordinates = &self.setup.coordinates;
        // The loss alone makes the deviance; what draws the groups is part of the objective.
        let local = Local { loss: round.loss, gradient: round.local.gradient.clone() };
        let mut global = self.setup.solution(&self.x, &local, self.counts, stop);
        let report = &mut global.report;
        report.objective += round.drawn;
        report.kkt_relative = report.kkt_relative.max(round.violation[0]);
        report.kkt_residual = report.kkt_residual.max(round.violation[1]);
        if stop == StopReason::Precision {
            report.converged = report.kkt_relative <= self.setup.spec.tol.max(1e-8);
        }
        let raw = |point: &Vec<f64>| {
            let (coef, intercept) = coordinates.raw(point);
            (intercept, coef)
        };
        PooledSolution { groups: round.points.iter().map(raw).collect(), global }
    }
}

impl GroupProblem {
    /// The group whose rows these are, from a point.
    pub(crate) fn solve(&self, rows: Rows<'_>, start: Option<&[f64]>) -> GroupSolution {
        let q = self.centre.len();
        let at = |x: &[f64]| {
            let found = rows.quadratic(self.loss, &self.coordinates, x, Curvature::Expected, Stride::ALL);
            let nothing = || Quadratic {
                sum_weights: 0.,
                loss: 0.,
                gradient: vec![0.; q],
                hessian: vec![0.; q * (q + 1) / 2],
                separated: false,
                n_saturated: 0,
            };
            found.map_or_else(nothing, phalanx_array::panel::Subtrees::finish)
        };
        // Its distance from the centre is what is solved for: where much is pooled it is far smaller than the rounding
        // of the point itself.
        let zero = || vec![0.; q];
        let mut away = start.map_or_else(zero, |x| x.iter().zip(&self.centre).map(|(a, b)| a - b).collect());
        let mut here = at(&self.point(&away));
        if !here.loss.is_finite() && start.is_some() {
            away = zero();
            here = at(&self.point(&away));
        }
        let mut slope = self.slope(&away, &here);
        for _ in 0..MAX_STEPS {
            let small = 1e-13 * self.unit * here.sum_weights;
            if !here.loss.is_finite() || slope.iter().all(|g| g.abs() <= small) {
                break;
            }
            let hessian = &here.hessian;
            let element = |i: usize, j: usize| {
                let (i, j) = (i.max(j), i.min(j));
                hessian[i * (i + 1) / 2 + j] + if i == j { self.pooling } else { 0. }
            };
            let step = Cholesky::new(q, element).solve(&slope);
            let down: f64 = step.iter().zip(&slope).map(|(s, g)| s * g).sum();
            let before = here.loss + self.drawn(&away);
            let (mut share, mut found) = (1., None);
            for _ in 0..MAX_SHORTER {
                let trial: Vec<f64> = away.iter().zip(&step).map(|(d, s)| d - share * s).collect();
                let there = at(&self.point(&trial));
                let after = there.loss + self.drawn(&trial);
                let its_slope = self.slope(&trial, &there);
                let level =
                    (after - before).abs() <= 1e-9 * before.abs() && largest(&its_slope) < 0.9 * largest(&slope);
                // Among losses that differ by rounding the slope decides.
                let clear = down.abs() > 1e-13 * before.abs() && after <= before - 1e-4 * share * down;
                if clear || level {
                    found = Some((trial, there, its_slope));
                    break;
                }
                if down.abs() <= 1e-13 * before.abs() {
                    break;
                }
                share *= 0.5;
            }
            let Some((trial, there, its_slope)) = found else { break };
            (away, here, slope) = (trial, there, its_slope);
        }
        GroupSolution {
            gradient: away.iter().map(|d| -self.pooling * d).collect(),
            drawn: self.drawn(&away),
            bend: self.envelope(&here.hessian),
            left: slope,
            point: self.point(&away),
            loss: here.loss,
        }
    }

    fn point(&self, away: &[f64]) -> Vec<f64> {
        away.iter().zip(&self.centre).map(|(d, c)| c + d).collect()
    }

    fn drawn(&self, away: &[f64]) -> f64 {
        0.5 * self.pooling * away.iter().map(|d| d * d).sum::<f64>()
    }

    fn slope(&self, away: &[f64], found: &Quadratic) -> Vec<f64> {
        found.gradient.iter().zip(away).map(|(g, d)| g + self.pooling * d).collect()
    }

    /// κ(H + κ)⁻¹H, packed: where κ is large it is H, where it is small κ.
    fn envelope(&self, hessian: &[f64]) -> Vec<f64> {
        let q = self.centre.len();
        let at = |i: usize, j: usize| hessian[i.max(j) * (i.max(j) + 1) / 2 + i.min(j)];
        let both = Cholesky::new(q, |i, j| at(i, j) + if i == j { self.pooling } else { 0. });
        let columns: Vec<Vec<f64>> =
            (0..q).map(|j| both.solve(&(0..q).map(|i| at(i, j)).collect::<Vec<_>>())).collect();
        let element = |i: usize, j: usize| 0.5 * self.pooling * (columns[j][i] + columns[i][j]);
        (0..q).flat_map(|i| (0..=i).map(move |j| (i, j))).map(|(i, j)| element(i, j)).collect()
    }
}

fn largest(slope: &[f64]) -> f64 {
    slope.iter().fold(0., |most, g| most.max(g.abs()))
}
