//! Our side of a row: the best objective there is, the loosest tolerance that comes as near to it as peers have to, and
//! how long that takes.

use std::time::Instant;

use ndarray::Array1;
use phalanx_glm::{Glm, GlmPath, PathModel, Response};
use phalanx_learn::Fit;

use super::{N_FOLDS, Plan, WITHIN, problem::Problem};
use crate::{Error, Result, bench::memory};

/// The best of so many measurements counts.
const REPEAT: usize = 3;
/// Tight enough for its objective to be the best that can be known.
const TIGHTEST: f64 = 1e-12;

/// What we found.
#[derive(Debug, Clone)]
pub(super) struct Ours {
    pub(super) seconds: f64,
    /// The loosest tolerance, by tens, whose objective is near enough.
    pub(super) tol: f64,
    pub(super) fitted: Fitted,
    /// How far the objective is above the best known, relatively; of a path's places the farthest.
    pub(super) short_by: f64,
    pub(super) peak_rss_mb: Option<f64>,
    /// The best objective that is known: one, or one a strength.
    pub(super) best: Vec<f64>,
    /// The strengths of a path; none of a fit.
    pub(super) lambdas: Vec<f64>,
}

/// What one fit says of itself.
#[derive(Debug, Clone)]
pub(super) struct Fitted {
    /// One, or one a strength.
    pub(super) objectives: Vec<f64>,
    /// Of a path the place that is chosen.
    pub(super) place: usize,
    pub(super) n_passes: usize,
    /// Of a path the largest.
    pub(super) kkt_relative: f64,
}

/// Measures a row.
pub(super) fn measure(plan: &Plan, problem: &Problem) -> Result<Ours> {
    let folds: Array1<f64> = (0..problem.y.len()).map(|row| (row % N_FOLDS) as f64).collect();
    let (best, lambdas) = best_known(plan, problem)?;
    let mut tightest = None;
    for exponent in 2..=12 {
        let tol = 10_f64.powi(-exponent);
        // A path's folds are as tight as its places, so the places alone say which tolerance does.
        let fitted = fit(plan, problem, tol, None)?;
        let short_by = short_by(&fitted.objectives, &best);
        tightest = Some((tol, short_by));
        if short_by <= WITHIN {
            break;
        }
    }
    let (tol, short_by) = tightest.ok_or_else(|| Error::failed("there is no tolerance to fit to"))?;
    memory::reset();
    let mut seconds = f64::INFINITY;
    let mut last = None;
    for _ in 0..REPEAT {
        let begun = Instant::now();
        last = Some(fit(plan, problem, tol, Some(&folds))?);
        seconds = seconds.min(begun.elapsed().as_secs_f64());
    }
    let fitted = last.ok_or_else(|| Error::failed("nothing was measured"))?;
    Ok(Ours { seconds, tol, fitted, short_by, peak_rss_mb: memory::peak_mb(), best, lambdas })
}

/// The best objectives, and the strengths of a path.
fn best_known(plan: &Plan, problem: &Problem) -> Result<(Vec<f64>, Vec<f64>)> {
    if plan.path {
        let model = path(plan, problem, TIGHTEST, None)?;
        let lambdas = model.points().iter().map(|point| point.lambda).collect();
        Ok((path_objectives(plan, problem, &model), lambdas))
    } else {
        Ok((fit(plan, problem, TIGHTEST, None)?.objectives, Vec::new()))
    }
}

fn short_by(objectives: &[f64], best: &[f64]) -> f64 {
    objectives.iter().zip(best).map(|(found, best)| found / best - 1.).fold(0., f64::max)
}

/// A fit as the row has it; a path with folds where there are some.
fn fit(plan: &Plan, problem: &Problem, tol: f64, folds: Option<&Array1<f64>>) -> Result<Fitted> {
    if plan.path {
        let model = path(plan, problem, tol, folds)?;
        return Ok(Fitted {
            objectives: path_objectives(plan, problem, &model),
            place: model.chosen_place(),
            n_passes: model.n_passes(),
            kkt_relative: model.points().iter().map(|point| point.kkt_relative).fold(0., f64::max),
        });
    }
    let glm = Glm::new(plan.family).alpha(plan.alpha(problem.y.len())).l1_ratio(plan.l1_ratio).tol(tol);
    let model = glm.fit(&problem.x, response(problem)).map_err(Error::failed)?;
    let report = model.report();
    Ok(Fitted {
        objectives: vec![report.objective],
        place: 0,
        n_passes: report.n_passes,
        kkt_relative: report.kkt_relative,
    })
}

fn path(plan: &Plan, problem: &Problem, tol: f64, folds: Option<&Array1<f64>>) -> Result<PathModel> {
    let mut path = GlmPath::new(Glm::new(plan.family).l1_ratio(plan.l1_ratio)).tol(tol);
    let mut response = response(problem);
    if let Some(folds) = folds {
        path = path.cv(N_FOLDS);
        response = response.folds(folds);
    }
    path.fit(&problem.x, response).map_err(Error::failed)
}

fn response(problem: &Problem) -> Response<'_> {
    let response = Response::new(&problem.y);
    match &problem.weights {
        Some(weights) => response.sample_weight(weights),
        None => response,
    }
}

/// Mean of half the unit deviances plus the penalty, at each strength.
fn path_objectives(plan: &Plan, problem: &Problem, model: &PathModel) -> Vec<f64> {
    let of = |coef: &[f64]| {
        let (l1, l2): (f64, f64) = coef.iter().fold((0., 0.), |(l1, l2), b| (l1 + b.abs(), l2 + b * b));
        plan.l1_ratio * l1 + (1. - plan.l1_ratio) / 2. * l2
    };
    let (points, total) = (model.points().iter(), problem.total_weight());
    points.map(|point| point.deviance / (2. * total) + point.lambda * of(&point.coef)).collect()
}
