//! The path of optima over a falling strength of the penalty, on all rows and without each fold, in shared passes.
//!
//! Least squares needs one pass: the means and cross products of each fold merge to those of the rows that are trained
//! on, and everything else follows from them. The other families look at one point of each problem a pass; a problem
//! is all rows, or all but a fold, and each goes down its own path at its own speed, starting each optimum from the
//! last.
//!
//! Sources: J. Friedman, T. Hastie, R. Tibshirani, "Regularization paths for generalized linear models via coordinate
//! descent" (2010), section 2.5 (the sequence) and R's `cv.glmnet` for the mean and deviation of the folds' errors and
//! the choice by one standard error. Which columns a step looks at the second derivatives of is said by
//! `screening`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Answer, Ask, Irls, Spec, mismatch,
    normal::{Normal, squared_residuals},
    opening::Opening,
    setup::Setup,
};
use crate::{
    error::Error,
    kernel::{Evaluation, FoldEvaluation, FoldPoint, FoldQuadratic, FoldRule, Moments, Scatter},
};

/// What path to go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathSpec {
    /// The problem, whose alpha is not looked at.
    pub spec: Spec,
    /// Strengths of the penalty, falling; empty to take them from the data.
    pub lambdas: Vec<f64>,
    /// How many to take.
    pub n_lambdas: usize,
    /// The last over the first of them; none for 1e-4, or 0.01 where there are fewer rows than columns.
    pub lambda_min_ratio: Option<f64>,
    /// The folds.
    pub rule: FoldRule,
}

/// The optimum at one strength of the penalty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathPoint {
    /// The strength, our alpha.
    pub lambda: f64,
    /// In the data's units.
    pub coef: Vec<f64>,
    /// In the data's units.
    pub intercept: f64,
    /// The weighted sum of unit deviances.
    pub deviance: f64,
    /// The share of the null deviance that is explained.
    pub dev_ratio: f64,
    /// Relative violation of the optimality conditions.
    pub kkt_relative: f64,
    /// Whether that is small enough.
    pub converged: bool,
}

/// How models without each fold predict it, at each strength of the penalty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CvCurve {
    /// The strengths of the penalty.
    pub lambda: Vec<f64>,
    /// The mean over folds, weighted by their rows' weights, of the mean unit deviance of held-out rows; for least
    /// squares that is the mean squared error.
    pub mean: Vec<f64>,
    /// Its standard error: the weighted standard deviation of the folds over the root of their number less 1.
    pub sd: Vec<f64>,
    /// Coefficients that are not 0, of the model of all rows.
    pub nonzero: Vec<usize>,
    /// The place of the least mean.
    pub min: usize,
    /// The place of the largest lambda whose mean is within one standard error of the least.
    pub one_se: usize,
}

/// All of a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathSolution {
    /// One a lambda.
    pub points: Vec<PathPoint>,
    /// Where there are folds.
    pub cv: Option<CvCurve>,
    /// The deviance without columns.
    pub null_deviance: f64,
    /// Rows with weight.
    pub n_rows: usize,
    /// Rounds over all rows.
    pub n_passes: usize,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Path {
    path: Arc<PathSpec>,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Phase {
    /// Least squares: waits for the cross products of each fold.
    Scatters,
    /// Waits for the moments of each fold.
    Moments,
    /// Waits for the null model of all rows.
    Null(Box<Opening>, Vec<Moments>),
    /// Waits for loss and gradient of each problem.
    Run(Box<Run>),
    Done(Box<PathSolution>),
}

/// All problems on their ways.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Run {
    lambdas: Vec<f64>,
    problems: Vec<Problem>,
    folds: Vec<Moments>,
    null_deviance: f64,
    n_passes: usize,
}

/// All rows, or those without a fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Problem {
    fold: Option<usize>,
    setup: Setup,
    machine: Irls,
    /// Whether the machine's problem is the one that comes before the path: no penalised coefficient.
    is_base: bool,
    done: Vec<PathPoint>,
    /// The loss of the held-out rows at the optima.
    held_out: Vec<f64>,
    /// Points lately looked at, with the loss of the held-out rows.
    seen: Vec<(Vec<f64>, f64)>,
}

impl Path {
    /// A machine that has asked nothing yet.
    pub fn new(path: PathSpec) -> Self {
        let phase = if path.spec.is_least_squares() { Phase::Scatters } else { Phase::Moments };
        Self { path: Arc::new(path), phase }
    }

    /// What it was asked for.
    pub fn spec(&self) -> &PathSpec {
        &self.path
    }

    /// The path, once it is gone.
    pub fn solution(&self) -> Option<&PathSolution> {
        match &self.phase {
            Phase::Done(solution) => Some(solution),
            _ => None,
        }
    }

    /// What it wants to know; none where it is done.
    pub fn ask(&self) -> Option<Ask> {
        let rule = self.path.rule;
        match &self.phase {
            Phase::Scatters => Some(Ask::ScatterByFold { rule }),
            Phase::Moments => Some(Ask::MomentsByFold { rule }),
            Phase::Null(opening, _) => Some(opening.ask()),
            Phase::Run(run) => Some(run.ask(rule)),
            Phase::Done(_) => None,
        }
    }

    /// Answers the question.
    ///
    /// # Errors
    /// When the answer is to another question, or the numbers are too large to work with.
    pub fn tell(&mut self, answer: Answer) -> Result<(), Error> {
        let phase = std::mem::replace(&mut self.phase, Phase::Scatters);
        let path = &*self.path;
        self.phase = match (phase, answer) {
            (Phase::Scatters, Answer::ScatterByFold(folds)) if !folds.is_empty() => {
                Phase::Done(Box::new(least_squares(path, &folds)?))
            }
            (Phase::Moments, Answer::MomentsByFold(folds)) if !folds.is_empty() => {
                let spec = Arc::new(path.spec.clone());
                let mut opening = Opening::new(&spec);
                opening.tell(Answer::Moments(merged(&folds, None)))?;
                Phase::Null(Box::new(opening), folds)
            }
            (Phase::Null(mut opening, folds), answer @ Answer::Null(_)) => match opening.tell(answer)? {
                None => Phase::Null(opening, folds),
                Some(opened) if opened.unbounded => {
                    let y = if folds.iter().all(|fold| fold.y.mean == 0.) { 0. } else { 1. };
                    return Err(Error::OneClass { family: path.spec.loss.family.name(), y });
                }
                Some(opened) => Run::begin(opened.setup, opened.start, folds),
            },
            (Phase::Run(run), Answer::Folds { evaluations, quadratics }) => run.tell(path, evaluations, quadratics)?,
            (phase, answer) => {
                self.phase = phase;
                let asked = self.ask().unwrap_or(Ask::Moments);
                return Err(mismatch(&asked, &answer));
            }
        };
        Ok(())
    }
}

/// The sequence from the least strength at which nothing is in the model, in equal ratios.
fn sequence(path: &PathSpec, largest: f64, n_rows: usize, n_features: usize) -> Vec<f64> {
    if !path.lambdas.is_empty() {
        return path.lambdas.clone();
    }
    let ratio = path.lambda_min_ratio.unwrap_or(if n_rows < n_features { 0.01 } else { 1e-4 });
    let n = path.n_lambdas;
    let share = |k: usize| if n > 1 { k as f64 / (n - 1) as f64 } else { 0. };
    (0..n).map(|k| largest * ratio.powf(share(k))).collect()
}

/// The moments of all rows, or those without one fold.
fn merged(folds: &[Moments], without: Option<usize>) -> Moments {
    use phalanx_array::panel::Combine;
    let kept = folds.iter().enumerate().filter(|(k, _)| Some(*k) != without).map(|(_, fold)| fold.clone());
    kept.reduce(Combine::combine).unwrap_or_else(|| folds[0].clone())
}

fn least_squares(path: &PathSpec, folds: &[Scatter]) -> Result<PathSolution, Error> {
    use phalanx_array::panel::Combine;
    let spec = Arc::new(path.spec.clone());
    let without = |fold: Option<usize>| {
        let kept = folds.iter().enumerate().filter(|(k, _)| Some(*k) != fold).map(|(_, fold)| fold.clone());
        kept.reduce(Combine::combine).unwrap_or_else(|| folds[0].clone())
    };
    let whole = without(None);
    let setup = Setup::of_scatter(Arc::clone(&spec), &whole)?;
    let normal = Normal::new(&whole, &setup.coordinates);
    let base = normal.minimise(&normal.origin(), &setup.pinned()).point;
    let largest = setup.largest_alpha(&normal.local(&base).gradient);
    if largest == 0. && path.lambdas.is_empty() {
        return Err(Error::NoPath);
    }
    let lambdas = sequence(path, largest, setup.n_rows, setup.coordinates.n_features());
    let points = descend(&setup, &normal, &lambdas);
    let cv = if path.rule.n_folds > 1 {
        let mut errors = Vec::with_capacity(folds.len());
        for (k, fold) in folds.iter().enumerate() {
            let trained = without(Some(k));
            let setup = Setup::of_scatter(Arc::clone(&spec), &trained)?;
            let normal = Normal::new(&trained, &setup.coordinates);
            let path = descend(&setup, &normal, &lambdas);
            errors.push(path.iter().map(|at| squared_residuals(fold, &at.coef, at.intercept)).collect());
        }
        let weights: Vec<f64> = folds.iter().map(|fold| fold.sum_weights).collect();
        Some(curve(&points, &errors, &weights))
    } else {
        None
    };
    Ok(PathSolution { points, cv, null_deviance: setup.null_deviance(), n_rows: whole.n_used, n_passes: 1 })
}

/// The path of one problem of least squares.
fn descend(setup: &Setup, normal: &Normal, lambdas: &[f64]) -> Vec<PathPoint> {
    let mut x = normal.origin();
    let mut points = Vec::with_capacity(lambdas.len());
    let (mut was, mut local) = (setup.pinned(), normal.local(&x));
    for &lambda in lambdas {
        let setup = setup.at_alpha(lambda);
        (x, local) = normal.screened(&was, &setup, &x, local);
        let (coef, intercept) = setup.coordinates.raw(&x);
        let (deviance, kkt_relative) = (setup.deviance(local.loss), setup.kkt_relative(&x, &local));
        points.push(PathPoint {
            lambda,
            coef,
            intercept,
            deviance,
            dev_ratio: ratio(deviance, setup.null_deviance()),
            kkt_relative,
            converged: kkt_relative <= setup.spec.tol.max(1e-8),
        });
        was = setup;
    }
    points
}

fn ratio(deviance: f64, null: f64) -> f64 {
    if null > 0. { 1. - deviance / null } else { 0. }
}

/// As `cv.glmnet` has it; `errors` are the folds' sums at each lambda.
fn curve(points: &[PathPoint], errors: &[Vec<f64>], weights: &[f64]) -> CvCurve {
    let total: f64 = weights.iter().sum();
    let n_folds = weights.iter().filter(|w| **w > 0.).count();
    let folds = || weights.iter().zip(errors).filter(|(w, _)| **w > 0.);
    let mean: Vec<f64> =
        (0..points.len()).map(|at| folds().map(|(_, errors)| errors[at]).sum::<f64>() / total).collect();
    let sd: Vec<f64> = (0..points.len())
        .map(|at| {
            let squares: f64 = folds().map(|(w, errors)| w * (errors[at] / w - mean[at]).powi(2)).sum();
            (squares / total / (n_folds as f64 - 1.)).sqrt()
        })
        .collect();
    // The largest lambda of equal ones, as the path falls.
    let least = mean.iter().copied().fold(f64::INFINITY, f64::min);
    let min = mean.iter().position(|error| *error <= least).unwrap_or(0);
    let within = mean.get(min).zip(sd.get(min)).map_or(f64::INFINITY, |(mean, sd)| mean + sd);
    CvCurve {
        lambda: points.iter().map(|point| point.lambda).collect(),
        one_se: mean.iter().position(|error| *error <= within).unwrap_or(min),
        nonzero: points.iter().map(|point| point.coef.iter().filter(|b| **b != 0.).count()).collect(),
        mean,
        sd,
        min,
    }
}

impl Run {
    fn begin(setup: Setup, start: Vec<f64>, folds: Vec<Moments>) -> Phase {
        let machine = Irls::at(setup.pinned(), start);
        let null_deviance = setup.null_deviance();
        let (done, held_out, seen) = (Vec::new(), Vec::new(), Vec::new());
        let whole = Problem { fold: None, setup, machine, is_base: true, done, held_out, seen };
        Phase::Run(Box::new(Self { lambdas: Vec::new(), problems: vec![whole], folds, null_deviance, n_passes: 2 }))
    }

    fn ask(&self, rule: FoldRule) -> Ask {
        let mut ask = (Vec::new(), Vec::new());
        for problem in &self.problems {
            let fold = problem.fold;
            match problem.machine.ask() {
                Ask::Evaluate { points, .. } => {
                    ask.0.extend(points.into_iter().map(|point| FoldPoint { fold, point, live: None }));
                }
                Ask::Quadratic { point, curvature, .. } => {
                    let live = problem.machine.live().cloned();
                    ask.1.push((FoldPoint { fold, point, live }, curvature));
                }
                _ => {}
            }
        }
        let coordinates = Arc::clone(&self.problems[0].setup.coordinates);
        Ask::Folds { rule, coordinates, points: ask.0, quadratics: ask.1 }
    }

    fn tell(
        mut self: Box<Self>,
        path: &PathSpec,
        evaluations: Vec<FoldEvaluation>,
        quadratics: Vec<FoldQuadratic>,
    ) -> Result<Phase, Error> {
        self.n_passes += 1;
        let (mut evaluations, mut quadratics) = (evaluations.into_iter(), quadratics.into_iter());
        let short = || Error::Answer { asked: "each problem's loss", told: "fewer" };
        for problem in &mut self.problems {
            match problem.machine.ask() {
                Ask::Evaluate { mut points, .. } => {
                    let FoldEvaluation { loss, gradient, separated, held_out } =
                        evaluations.next().ok_or_else(short)?;
                    problem.see(points.swap_remove(0), held_out);
                    let evaluation = Evaluation { loss, gradient, separated };
                    problem.machine.tell(Answer::Evaluations(vec![evaluation]))?;
                }
                Ask::Quadratic { point, .. } => {
                    let FoldQuadratic { trained, held_out } = quadratics.next().ok_or_else(short)?;
                    problem.see(point, held_out);
                    problem.machine.tell(Answer::Quadratic(trained))?;
                }
                _ => {}
            }
        }
        self.advance(path)
    }

    /// Sends every problem that is solved on to its next one.
    fn advance(mut self: Box<Self>, path: &PathSpec) -> Result<Phase, Error> {
        if self.lambdas.is_empty() {
            let whole = &self.problems[0];
            let Some((_, local)) = whole.machine.solved() else { return Ok(Phase::Run(self)) };
            let largest = whole.setup.largest_alpha(&local.gradient);
            if largest == 0. && path.lambdas.is_empty() {
                return Err(Error::NoPath);
            }
            self.lambdas = sequence(path, largest, whole.setup.n_rows, whole.setup.coordinates.n_features());
            if path.rule.n_folds > 1 {
                for fold in 0..self.folds.len() {
                    let setup = self.problems[0].setup.of_part(&merged(&self.folds, Some(fold)))?;
                    let first = setup.at_alpha(self.lambdas.first().copied().unwrap_or_default());
                    let machine = Irls::after(&self.problems[0].machine, first, false);
                    let (done, held_out, seen) = (Vec::new(), Vec::new(), Vec::new());
                    let fold = Some(fold);
                    self.problems.push(Problem { fold, setup, machine, is_base: false, done, held_out, seen });
                }
            }
        }
        let null_deviance = self.null_deviance;
        for problem in &mut self.problems {
            problem.advance(&self.lambdas, null_deviance);
        }
        if self.problems.iter().any(|problem| problem.done.len() < self.lambdas.len()) {
            return Ok(Phase::Run(self));
        }
        let cv = (self.problems.len() > 1).then(|| {
            let errors: Vec<Vec<f64>> = self.problems[1..]
                .iter()
                .zip(&self.folds)
                .map(|(problem, fold)| problem.held_out.iter().map(|loss| 2. * (loss + fold.saturated)).collect())
                .collect();
            let weights: Vec<f64> = self.folds.iter().map(|fold| fold.sum_weights).collect();
            curve(&self.problems[0].done, &errors, &weights)
        });
        let n_rows = self.folds.iter().map(|fold| fold.n_used).sum();
        let Self { mut problems, null_deviance, n_passes, .. } = *self;
        let points = problems.swap_remove(0).done;
        Ok(Phase::Done(Box::new(PathSolution { points, cv, null_deviance, n_rows, n_passes })))
    }
}

impl Problem {
    /// Remembers the loss of the held-out rows at the last points, of which one is where the machine stands: it is
    /// either gone to, or steps from the one before are shortened.
    fn see(&mut self, point: Vec<f64>, held_out: f64) {
        let stands = self.machine.stands_at();
        self.seen.retain(|(seen, _)| Some(&seen[..]) == stands);
        self.seen.push((point, held_out));
    }

    fn advance(&mut self, lambdas: &[f64], null_deviance: f64) {
        while let Some((solution, local)) = self.machine.solved() {
            if self.done.len() == lambdas.len() {
                return;
            }
            if !self.is_base {
                let deviance = self.setup.deviance(local.loss);
                self.done.push(PathPoint {
                    lambda: lambdas[self.done.len()],
                    coef: solution.coef.clone(),
                    intercept: solution.intercept,
                    deviance,
                    dev_ratio: ratio(deviance, null_deviance),
                    kkt_relative: solution.report.kkt_relative,
                    converged: solution.report.converged,
                });
                let seen = self.seen.iter().find(|(point, _)| *point == solution.point);
                self.held_out.push(seen.map_or(f64::NAN, |(_, loss)| *loss));
            }
            let Some(&lambda) = lambdas.get(self.done.len()) else { return };
            let same_rows = true;
            self.machine = Irls::after(&self.machine, self.setup.at_alpha(lambda), same_rows);
            self.is_base = false;
        }
    }
}
