//! Quantile regression: Newton's method on a smoothed pinball loss says which rows are near the kink, and an interior
//! point over those rows solves the exact problem.
//!
//! The pinball loss, smoothed by a uniform kernel, is a parabola within a bandwidth of its kink and itself beyond
//! (Huber's, tilted). Each bandwidth is a smooth problem under the same penalty, begun at the answer of the one before;
//! the bandwidth falls until few enough rows are near it, which is at once where there are few rows at all. Where a
//! matrix of second derivatives lacks directions, a share of that of the last bandwidth is added until the step lowers
//! the objective (Levenberg's method).
//!
//! Then the near rows are handed over, and the others counted by their derivatives where they are, which is what they
//! cost as long as none of them crosses its kink. The least of that is the least of all, or below it: so its dual bounds
//! the exact objective from below, and the exact objective at its solution from above. Rows that crossed are seen by
//! the next look, which is the next such problem.
//!
//! Sources: S. Portnoy, R. Koenker, "The Gaussian hare and the Laplacian tortoise" (1997), section 5, for rows that
//! count by their derivatives; C. Chen, "A finite smoothing algorithm for quantile regression" (2007), section 2, and
//! M. Fernandes, E. Guerre, E. Horta, "Smoothing quantile regressions" (2021), section 2, for smoothing; R. Koenker,
//! *Quantile Regression* (2005), section 6.2, for the dual.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Answer, Ask, Solution, Spec,
    interior::{Kink, Problem},
    mismatch,
    model::{Packed, minimise},
    setup::{Counts, Local, Setup},
};
use crate::{
    error::Error,
    family::Family,
    kernel::{Moments, NullPoint, Pinball, PinballAt, Quadratic, Stride},
    loss::{Curvature, Loss},
    penalty::Weights,
    report::StopReason,
};

/// Intercepts of the null model that are looked at in a pass.
const INTERCEPTS: usize = 16;
/// Passes after which the null model's best intercept is taken.
const MAX_LOOKS: usize = 40;
/// The relative violation at which a smooth problem is solved: it only has to say which rows are near.
const SOLVED: f64 = 1e-6;
/// Steps and refused ones at a bandwidth.
const MAX_STEPS: usize = 30;
/// What the bandwidth is multiplied by.
const FALL: f64 = 0.25;
/// The bandwidth over the first at which numbers have no digits left.
const LEAST: f64 = 1e-13;
/// Near rows that are handed over, at least: some megabytes of a few hundred columns.
const FEW: usize = 4096;
/// The same for each column.
const FEW_A_COLUMN: usize = 16;
/// Exact problems from one bandwidth on.
const MAX_ROUNDS: usize = 8;
/// A relative gap that counts as converged where nothing makes it smaller.
const PRECISE: f64 = 1e-8;
/// A gap over the null model's objective that is rounding.
const ROUNDING: f64 = 1e-13;

/// The machine. Its steps are those of Newton's method that lowered a smoothed objective, and exact problems solved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Smoothing {
    spec: Arc<Spec>,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Phase {
    Moments,
    /// Waits for the null model's losses.
    Null(Box<NullSearch>),
    /// Waits for loss, gradient and matrix at `x`.
    Begin(Box<State>),
    /// Waits for the same at `trial`.
    Trial(Box<State>),
    /// Waits for the exact loss and the near rows at `trial`.
    Look(Box<State>),
    Done(Box<Solution>),
}

/// The least loss of an intercept alone, between two others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct NullSearch {
    setup: Setup,
    low: f64,
    high: f64,
    n_looks: usize,
    intercepts: Vec<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    setup: Setup,
    counts: Counts,
    /// That of the smoothed loss at present.
    smooth: Arc<Spec>,
    bandwidth: f64,
    least: f64,
    x: Vec<f64>,
    at_x: Local,
    /// Of the smoothed mean loss, packed.
    hessian: Vec<f64>,
    /// Of the last bandwidth; empty at the first.
    last_hessian: Vec<f64>,
    /// The share of it that is added.
    damping: f64,
    trial: Vec<f64>,
    slope: f64,
    /// At this bandwidth.
    n_steps: usize,
    n_refused: usize,
    /// The last bandwidth and its answer.
    last: Option<(f64, Vec<f64>)>,
    exact: Exact,
}

/// What is known of the exact problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Exact {
    /// Rows that are handed over at most.
    most: usize,
    /// How far from its kink a row is handed over.
    within: f64,
    /// Problems solved since the last bandwidth.
    n_rounds: usize,
    /// The largest lower bound of the objective.
    bound: f64,
    /// That of the null model.
    null: f64,
    best: Option<Best>,
}

/// The least objective seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Best {
    objective: f64,
    point: Vec<f64>,
    /// The mean loss, and the derivatives by the dual that came with the point.
    local: Local,
}

fn quantile(spec: &Spec) -> f64 {
    if let Family::Quantile { quantile } = spec.loss.family { quantile } else { 0.5 }
}

impl Smoothing {
    /// A machine that has asked nothing yet, of a quantile family.
    pub fn new(spec: Spec) -> Self {
        Self { spec: Arc::new(spec), phase: Phase::Moments }
    }

    /// That whose loss its question is about.
    pub(super) fn spec(&self) -> &Spec {
        match &self.phase {
            Phase::Begin(state) | Phase::Trial(state) => &state.smooth,
            _ => &self.spec,
        }
    }

    /// What it wants to know.
    pub fn ask(&self) -> Ask {
        match &self.phase {
            Phase::Moments => Ask::Moments,
            Phase::Null(search) => Ask::Null { intercepts: search.intercepts.clone() },
            Phase::Begin(state) => state.ask_quadratic(&state.x),
            Phase::Trial(state) => state.ask_quadratic(&state.trial),
            Phase::Look(state) => Ask::Pinball(PinballAt {
                quantile: quantile(&self.spec),
                within: state.exact.within,
                most: state.exact.most,
                coordinates: Arc::clone(&state.setup.coordinates),
                point: state.trial.clone(),
            }),
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
            (Phase::Moments, Answer::Moments(moments)) => NullSearch::begin(&self.spec, &moments)?,
            (Phase::Null(search), Answer::Null(found)) if found.len() == search.intercepts.len() => search.look(&found),
            (Phase::Begin(state), Answer::Quadratic(found)) => state.begun(&found),
            (Phase::Trial(state), Answer::Quadratic(found)) => state.judge(&found),
            (Phase::Look(state), Answer::Pinball(found)) => state.look(&found),
            (phase, answer) => {
                self.phase = phase;
                return Err(mismatch(&asked, &answer));
            }
        };
        Ok(())
    }
}

impl NullSearch {
    fn begin(spec: &Arc<Spec>, moments: &Moments) -> Result<Phase, Error> {
        let setup = Setup::new(Arc::clone(spec), moments)?;
        if !spec.fit_intercept {
            let search = Self { setup, low: 0., high: 0., n_looks: 0, intercepts: vec![0.] };
            return Ok(Phase::Null(Box::new(search)));
        }
        // A quantile is no further from the mean than this (Cantelli's inequality); offsets may bring it further.
        let spread = (moments.y.squares / moments.sum_weights).sqrt();
        let quantile = quantile(spec);
        let odds = (quantile / (1. - quantile)).max((1. - quantile) / quantile);
        let (centre, reach) = (moments.y.mean - moments.offset, spread * odds.sqrt());
        let mut search = Self { setup, low: centre - reach, high: centre + reach, n_looks: 0, intercepts: Vec::new() };
        search.spread_out();
        Ok(Phase::Null(Box::new(search)))
    }

    fn spread_out(&mut self) {
        let width = self.high - self.low;
        let at = |k: usize| self.low + width * (k as f64 / (INTERCEPTS - 1) as f64);
        self.intercepts = if width > 0. { (0..INTERCEPTS).map(at).collect() } else { vec![self.low] };
    }

    fn look(mut self: Box<Self>, found: &[NullPoint]) -> Phase {
        self.n_looks += 1;
        let best = (1..found.len()).fold(0, |best, k| if found[k].loss < found[best].loss { k } else { best });
        let last = found.len() - 1;
        let (at, width) = (self.intercepts[best], self.high - self.low);
        let size = at.abs().max(self.low.abs()).max(self.high.abs());
        if last == 0 || width <= 1e-15 * size || self.n_looks >= MAX_LOOKS {
            return State::begin(self.setup, at, &found[best]);
        }
        // The least may lie beyond an end whose loss still falls outwards.
        self.low = if best == 0 && found[0].first > 0. { at - 2. * width } else { self.intercepts[best.max(1) - 1] };
        self.high = if best == last && found[last].first < 0. {
            at + 2. * width
        } else {
            self.intercepts[(best + 1).min(last)]
        };
        self.spread_out();
        Phase::Null(self)
    }
}

impl State {
    fn begin(mut setup: Setup, intercept: f64, null: &NullPoint) -> Phase {
        setup.set_null(null, false);
        let mut x = vec![0.; setup.weights.len()];
        x[0] = intercept;
        let typical = null.loss / setup.sum_weights;
        let most = FEW.max(FEW_A_COLUMN * x.len());
        let exact = Exact { most, within: f64::MAX, n_rounds: 0, bound: 0., null: typical, best: None };
        let all = setup.n_rows <= most;
        let bandwidth = if typical > 0. { typical } else { f64::MIN_POSITIVE.sqrt() };
        let nowhere = Local { loss: 0., gradient: vec![0.; x.len()] };
        let state = Self {
            smooth: smooth(&setup, bandwidth),
            setup,
            // The null model's passes do not look at X; they count as one.
            counts: Counts { n_iter: 0, n_passes: 2 },
            bandwidth,
            least: LEAST * bandwidth,
            trial: x.clone(),
            x,
            at_x: nowhere,
            hessian: Vec::new(),
            last_hessian: Vec::new(),
            damping: 0.,
            slope: 0.,
            n_steps: 0,
            n_refused: 0,
            last: None,
            exact,
        };
        if all { Phase::Look(Box::new(state)) } else { Phase::Begin(Box::new(state)) }
    }

    fn ask_quadratic(&self, point: &[f64]) -> Ask {
        Ask::Quadratic {
            coordinates: Arc::clone(&self.setup.coordinates),
            point: point.to_vec(),
            curvature: Curvature::Observed,
            stride: Stride::ALL,
        }
    }

    fn begun(mut self: Box<Self>, found: &Quadratic) -> Phase {
        self.counts.n_passes += 1;
        let Some(local) = Local::of(found.loss, &found.gradient, found.sum_weights) else {
            return self.hand_over();
        };
        self.at_x = local;
        self.take_matrix(found);
        self.step()
    }

    fn take_matrix(&mut self, found: &Quadratic) {
        self.hessian = found.hessian.iter().map(|h| h / found.sum_weights).collect();
    }

    /// Goes to the least of the model, or says that this bandwidth is done with.
    fn step(mut self: Box<Self>) -> Phase {
        let enough = |state: &Self| {
            state.n_steps + state.n_refused >= MAX_STEPS || state.counts.n_iter >= state.setup.spec.max_iter
        };
        if self.setup.kkt_relative(&self.x, &self.at_x) <= SOLVED {
            return self.hand_over();
        }
        while !enough(&self) {
            let damped: Vec<f64> = if self.damping > 0. && !self.last_hessian.is_empty() {
                let pairs = self.hessian.iter().zip(&self.last_hessian);
                pairs.map(|(h, last)| h + self.damping * last).collect()
            } else {
                self.hessian.clone()
            };
            self.trial = minimise(Packed(&damped), &self.at_x.gradient, &self.x, &self.setup.weights).point;
            let steps = self.trial.iter().zip(&self.x).zip(&self.at_x.gradient);
            let along: f64 = steps.map(|((t, x), g)| (t - x) * g).sum();
            self.slope = along + self.setup.penalty(&self.trial) - self.setup.penalty(&self.x);
            if self.slope < 0. && self.trial.iter().all(|t| t.is_finite()) {
                return Phase::Trial(self);
            }
            // A matrix of no rows goes nowhere.
            self.refuse();
        }
        self.hand_over()
    }

    fn refuse(&mut self) {
        self.n_refused += 1;
        self.damping = if self.damping == 0. { 0.1 } else { 5. * self.damping };
        if self.last_hessian.is_empty() {
            self.last_hessian.clone_from(&self.hessian);
        }
    }

    fn judge(mut self: Box<Self>, found: &Quadratic) -> Phase {
        self.counts.n_passes += 1;
        let Some(local) = Local::of(found.loss, &found.gradient, found.sum_weights) else {
            self.refuse();
            return self.step();
        };
        let before = self.at_x.loss + self.setup.penalty(&self.x);
        let after = local.loss + self.setup.penalty(&self.trial);
        let level = (after - before).abs() <= 1e-12 * before.abs()
            && self.setup.kkt_relative(&self.trial, &local) < self.setup.kkt_relative(&self.x, &self.at_x);
        if after <= before + 1e-4 * self.slope || level {
            std::mem::swap(&mut self.x, &mut self.trial);
            self.at_x = local;
            self.take_matrix(found);
            self.counts.n_iter += 1;
            self.n_steps += 1;
            self.damping = if self.damping > 1e-3 { 0.1 * self.damping } else { 0. };
        } else {
            self.refuse();
        }
        self.step()
    }

    /// Looks at the exact problem where the smooth one ended.
    fn hand_over(mut self: Box<Self>) -> Phase {
        self.trial.clone_from(&self.x);
        self.exact.within = 4. * self.bandwidth;
        self.exact.n_rounds = 0;
        Phase::Look(self)
    }

    /// Holds the exact objective against its bound, and solves the problem of the near rows.
    fn look(mut self: Box<Self>, found: &Pinball) -> Phase {
        self.counts.n_passes += 1;
        let loss = found.loss / self.setup.sum_weights;
        let objective = loss + self.setup.penalty(&self.trial);
        let before = self.exact.best.as_ref().map(|best| best.objective);
        let is_better = before.is_none_or(|before| objective < before);
        if is_better {
            let gradient = self.at_x.gradient.clone();
            self.exact.best = Some(Best { objective, point: self.trial.clone(), local: Local { loss, gradient } });
        }
        let enough = self.setup.spec.tol;
        if self.is_within(enough) {
            return self.done(StopReason::Optimal);
        }
        if self.counts.n_iter >= self.setup.spec.max_iter {
            return self.done(StopReason::MaxIter);
        }
        let can_narrow = FALL * self.bandwidth > self.least && found.n_near > found.rows().count();
        if self.exact.n_rounds == 0 && found.n_near > 2 * self.exact.most && can_narrow {
            return self.narrow();
        }
        if self.exact.n_rounds >= MAX_ROUNDS || (self.exact.n_rounds > 1 && !is_better) {
            return if can_narrow && !self.is_within(PRECISE) {
                self.narrow()
            } else {
                self.done(StopReason::Precision)
            };
        }
        self.exact.n_rounds += 1;
        self.exact.within = (4. * self.exact.within).min(f64::MAX);
        self.counts.n_iter += 1;
        self.solve(found);
        if self.is_within(enough) {
            // The bound was what was missing.
            return self.done(StopReason::Optimal);
        }
        Phase::Look(self)
    }

    /// Solves the problem of the rows near `trial`, moves there, and takes over the bound.
    fn solve(&mut self, found: &Pinball) {
        let total = self.setup.sum_weights;
        let quantile = quantile(&self.setup.spec);
        // Residuals, and weights, near 1.
        let unit = found.rows().fold(0_f64, |most, (_, r, _)| most.max(r.abs())).max(f64::MIN_POSITIVE);
        let share = self.setup.n_rows as f64 / total;
        let row = |(_, r, w): (&[f64], f64, f64)| Kink {
            residual: r / unit,
            up: share * w * quantile,
            down: share * w * (1. - quantile),
        };
        let mut kinks: Vec<Kink> = found.rows().map(row).collect();
        let (mut units, mut bend, mut linear) = (Vec::new(), Vec::new(), Vec::new());
        let n = self.setup.n_rows as f64;
        for (j, (w, &x)) in self.setup.weights.iter().zip(&self.trial).enumerate() {
            let live = self.is_live(j);
            if w.l1 > 0. && live {
                units.push(j);
                kinks.push(Kink { residual: -x / unit, up: n * w.l1, down: n * w.l1 });
            }
            if w.upper < f64::MAX && live {
                units.push(j);
                kinks.push(Kink { residual: (w.upper - x) / unit, up: 0., down: f64::INFINITY });
            }
            if w.lower > -f64::MAX && live {
                units.push(j);
                kinks.push(Kink { residual: (w.lower - x) / unit, up: f64::INFINITY, down: 0. });
            }
            bend.push(n * w.l2 * unit);
            linear.push(n * w.l2 * x - share * found.far_slopes[j]);
        }
        let size = n * (found.loss / total + self.setup.penalty(&self.trial)) / unit;
        let rows = found.rows().map(|(z, ..)| z).collect();
        let (step, dual) = Problem { rows, kinks, units, bend, linear, size }.solve();
        let mut gradient: Vec<f64> = found.far_slopes.iter().map(|slope| -slope / total).collect();
        let mut aligned = found.far_loss / total;
        for ((z, r, _), d) in found.rows().zip(&dual) {
            let d = d / n;
            gradient.iter_mut().zip(z).for_each(|(sum, z)| *sum -= d * z);
            aligned += d * r;
        }
        let bound = self.bound(&gradient, aligned);
        self.exact.bound = self.exact.bound.max(bound);
        for ((x, step), w) in self.trial.iter_mut().zip(step).zip(&self.setup.weights) {
            let to = (*x + unit * step).clamp(w.lower, w.upper);
            // What an interior point leaves of a coefficient that the penalty holds at 0.
            *x = if w.l1 > 0. && to.abs() <= 1e-10 * unit { 0. } else { to };
        }
        self.at_x.gradient = gradient;
    }

    fn is_live(&self, j: usize) -> bool {
        if j == 0 { self.setup.coordinates.has_intercept } else { self.setup.coordinates.scale[j - 1] > 0. }
    }

    /// What the objective is never below, by a row's share of the dual that gives these derivatives and this sum of
    /// shares times residuals at `trial`.
    ///
    /// Shares are made as small as the penalty's kinks ask; what is left of a derivative that should be 0 counts by the
    /// coefficient that it belongs to.
    fn bound(&self, gradient: &[f64], aligned: f64) -> f64 {
        let terms = || {
            let all = self.setup.weights.iter().zip(&self.trial).zip(gradient).enumerate();
            all.filter(|(j, _)| self.is_live(*j)).map(|(_, ((w, x), g))| (w, *x, *g))
        };
        let along: f64 = terms().map(|(_, x, g)| x * g).sum();
        let ends = |w: &Weights, g: f64| if g < 0. { w.upper < f64::MAX } else { w.lower > -f64::MAX };
        let shrinks = |w: &Weights, g: f64| w.l1 > 0. && w.l2 == 0. && !ends(w, g);
        let share = terms().filter(|(w, _, g)| shrinks(w, *g)).map(|(w, _, g)| w.l1 / g.abs()).fold(1., f64::min);
        let conjugates: f64 = terms().map(|(w, x, g)| conjugate(w, -share * g, x)).sum();
        share * (aligned - along) - conjugates
    }

    /// The best objective less its bound.
    fn gap(&self) -> f64 {
        self.exact.best.as_ref().map_or(f64::INFINITY, |best| (best.objective - self.exact.bound).max(0.))
    }

    fn is_within(&self, tol: f64) -> bool {
        let objective = self.exact.best.as_ref().map_or(0., |best| best.objective);
        self.gap() <= (tol * objective).max(ROUNDING * self.exact.null)
    }

    fn done(&self, stop: StopReason) -> Phase {
        let Some(best) = &self.exact.best else { return Phase::Moments };
        let mut solution = self.setup.solution(&best.point, &best.local, self.counts, stop);
        let gap = self.gap();
        solution.report.duality_gap = gap.is_finite().then_some(gap);
        solution.report.converged = self.is_within(self.setup.spec.tol.max(PRECISE));
        Phase::Done(Box::new(solution))
    }

    fn narrow(mut self: Box<Self>) -> Phase {
        let next = FALL * self.bandwidth;
        let x = match &self.last {
            Some((last, point)) if self.n_steps <= 2 && self.n_refused == 0 => {
                let share = (next - self.bandwidth) / (self.bandwidth - last);
                let points = self.x.iter().zip(point).zip(&self.setup.weights);
                points.map(|((x, last), w)| (x + share * (x - last)).clamp(w.lower, w.upper)).collect()
            }
            _ => self.x.clone(),
        };
        self.last = Some((self.bandwidth, std::mem::replace(&mut self.x, x)));
        self.last_hessian = std::mem::take(&mut self.hessian);
        self.bandwidth = next;
        self.smooth = smooth(&self.setup, next);
        (self.n_steps, self.n_refused, self.damping) = (0, 0, 0.);
        Phase::Begin(self)
    }
}

/// The same problem with the loss smoothed.
fn smooth(setup: &Setup, bandwidth: f64) -> Arc<Spec> {
    let family = Family::SmoothQuantile { quantile: quantile(&setup.spec), bandwidth };
    Arc::new(Spec { loss: Loss { family, ..setup.spec.loss }, ..Spec::clone(&setup.spec) })
}

/// The largest v t - penalty(t) within the bounds; where there is none, since v should be 0, what is lost at `x`.
fn conjugate(w: &Weights, v: f64, x: f64) -> f64 {
    let at = |t: f64| v * t - w.value(t);
    if w.l2 > 0. {
        return at(((v.abs() - w.l1).max(0.) / w.l2).copysign(v).clamp(w.lower, w.upper));
    }
    // Straight but for a kink at 0: the largest is there or at an end.
    let kink = at(0_f64.clamp(w.lower, w.upper));
    let ends = [w.lower, w.upper].into_iter().filter(|end| end.abs() < f64::MAX).map(at).fold(kink, f64::max);
    let end = if v > 0. { w.upper } else { w.lower };
    if end.abs() < f64::MAX { ends } else { ends + (v.abs() - w.l1).max(0.) * x.abs() }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};
    use phalanx_array::{ChunkedArray, PANEL};
    use phalanx_learn::Fit;

    use crate::{
        Family, Glm, Response,
        cluster::{
            fit_chunked,
            tests::{Here, wait},
        },
        response::ChunkedResponse,
        solver::testing::{Data, asks},
    };

    #[test]
    fn any_chunks_give_the_bits_of_memory() {
        let noise = |i: usize| ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.;
        let n = 21 * PANEL + 31;
        let x = Array2::from_shape_fn((n, 3), |(i, j)| noise(i * (j + 3) * 31 + j));
        let y: Array1<f64> = (0..n).map(|i| 2. * x[[i, 0]] + (1. + x[[i, 1]].abs()) * noise(17 * i + 5)).collect();
        let weights: Array1<f64> = (0..n).map(|i| (i % 3) as f64).collect();
        for (alpha, l1_ratio) in [(0., 0.), (0.02, 1.)] {
            let glm = Glm::new(Family::Quantile { quantile: 0.8 }).alpha(alpha).l1_ratio(l1_ratio);
            let expected = glm.fit(&x, Response::new(&y).sample_weight(&weights)).expect("fitted");
            assert!(expected.report().converged, "{:?}", expected.report());
            for chunk in [PANEL, 8 * PANEL] {
                let [x, y, weights] = [(&x).into(), (&y).into(), (&weights).into()]
                    .map(|of: phalanx_array::Block| ChunkedArray::from_array(of, chunk).expect("an array"));
                let response = ChunkedResponse::new(&y).sample_weight(&weights);
                let (machine, why) = glm.machine(3, false).expect("a machine");
                let found = wait(fit_chunked(&Here, machine, glm.wanted(3), &x, &response)).expect("fitted");
                assert_eq!(glm.model(found, why), expected, "in chunks of {chunk}");
            }
        }
    }

    #[test]
    fn it_travels_between_any_two_questions() {
        let data = Data { x: &[-1., 0., 0.5, 1., 2., 3., -2., 1.5], y: &[0., 4., 0., 1., 9., 0., 1., 7.] };
        let glm = Glm::new(Family::Quantile { quantile: 0.4 });
        let asks = asks(glm.machine(1, false).expect("a machine").0, data);
        assert!(asks.iter().filter(|ask| ask.name() == "the pinball loss").count() > 1);
    }
}
