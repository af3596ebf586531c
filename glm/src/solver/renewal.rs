//! Fits to rows that come after others which are gone: by what was kept of them.
//!
//! Of least squares nothing is lost: means and cross products are all that a fit needs, and [`of_scatter`] fits to
//! them. Of another loss [`Renewal`] keeps the quadratic that touches the loss of the rows gone by where the fit then
//! stood. The sum of that quadratic and of the new rows' loss is what the next fit minimises, exactly, under the
//! penalty on all rows; then the new rows' quadratic is added to the first.
//!
//! Source: L. Luo, P. X.-K. Song, "Renewable estimation and incremental inference in generalized linear models with
//! streaming data sets" (2020), section 2.2; without a penalty the estimates are theirs, and with one the slope of the
//! quadratic, which is not 0 then, is kept too.

use std::sync::Arc;

use phalanx_array::panel::Combine;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Ask, Irls, Solution, Spec, mismatch,
    model::Packed,
    normal::Normal,
    opening::{Opened, Opening},
    setup::Setup,
};
use crate::{
    error::Error,
    kernel::{Evaluation, Moments, NullPoint, Quadratic, Scatter, Stride, Summary},
    loss::Curvature,
};

/// What is kept of rows that are gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// Of the first rows: all that follow are looked at in their coordinates.
    setup: Setup,
    pub(crate) moments: Moments,
    /// Sums at each part's own null model.
    null: NullPoint,
    /// Where the last fit stands, in working coordinates.
    point: Vec<f64>,
    /// The sum of the quadratics there: value, slope and second derivatives, packed.
    loss: f64,
    slope: Vec<f64>,
    bend: Vec<f64>,
}

/// The machine that fits to new rows and a past. It asks of the new rows alone.
#[derive(Debug, Clone)]
pub(crate) struct Renewal {
    spec: Arc<Spec>,
    past: Option<Past>,
    /// Intercept and coefficients that an earlier fit to much the same rows had.
    warm: Option<(f64, Vec<f64>)>,
    phase: Phase,
}

#[derive(Debug, Clone)]
enum Phase {
    Moments,
    Opening {
        opening: Opening,
        moments: Moments,
        null: Option<NullPoint>,
    },
    Solve {
        irls: Box<Irls>,
        known: Box<Known>,
        begins: Begins,
    },
    /// Waits for the new rows' quadratic at the solution.
    Expand {
        solution: Box<Solution>,
        known: Box<Known>,
    },
    Done {
        solution: Box<Solution>,
        past: Box<Past>,
    },
}

/// Whether the solver has yet to look at where it begins.
#[derive(Debug, Clone)]
enum Begins {
    /// It has, or begins at the null model.
    Begun,
    /// At an earlier fit; what to begin with if that is no place to be.
    At(Option<Box<Opened>>),
}

/// What is known of all rows once the new ones have opened.
#[derive(Debug, Clone)]
struct Known {
    /// Of the first rows.
    setup: Setup,
    moments: Moments,
    null: NullPoint,
}

impl Renewal {
    /// A fit to rows after a past; the spec has no class weights.
    pub(crate) fn after(past: Option<Past>, spec: Spec) -> Self {
        Self { spec: Arc::new(spec), past, warm: None, phase: Phase::Moments }
    }

    /// A fit to rows alone that begins at the intercept and the coefficients of an earlier one.
    pub(crate) fn from_start(start: Option<(f64, Vec<f64>)>, spec: Spec) -> Self {
        Self { warm: start, ..Self::after(None, spec) }
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(crate) fn ask(&self) -> Ask {
        match &self.phase {
            Phase::Moments => Ask::Moments,
            Phase::Opening { opening, .. } => opening.ask(),
            Phase::Solve { irls, .. } => irls.ask(),
            Phase::Expand { solution, .. } => Ask::Quadratic {
                coordinates: Arc::clone(&solution.coordinates),
                point: solution.point.clone(),
                curvature: Curvature::Observed,
                stride: Stride::ALL,
            },
            Phase::Done { solution, .. } => Ask::Done(solution.clone()),
        }
    }

    /// The optimum and what is kept of all rows, once nothing more is asked.
    pub(crate) fn into_done(self) -> Option<(Solution, Past)> {
        match self.phase {
            Phase::Done { solution, past } => Some((*solution, *past)),
            _ => None,
        }
    }

    /// Answers the question.
    ///
    /// # Errors
    /// When the answer is to another question, the numbers are too large, or the past says nothing of a column.
    pub(crate) fn tell(&mut self, answer: Answer) -> Result<(), Error> {
        let asked = self.ask();
        let phase = std::mem::replace(&mut self.phase, Phase::Moments);
        self.phase = match (phase, answer) {
            (Phase::Moments, Answer::Moments(moments)) => {
                let mut opening = Opening::new(&self.spec);
                opening.tell(Answer::Moments(moments.clone()))?;
                Phase::Opening { opening, moments, null: None }
            }
            (Phase::Opening { mut opening, moments, mut null }, Answer::Null(points)) => {
                for found in points.iter().filter(|found| found.loss.is_finite()) {
                    if null.is_none_or(|best| found.loss < best.loss) {
                        null = Some(*found);
                    }
                }
                match opening.tell(Answer::Null(points))? {
                    None => Phase::Opening { opening, moments, null },
                    Some(opened) => self.opened(opened, moments, null.unwrap_or_default())?,
                }
            }
            (Phase::Solve { mut irls, known, begins }, answer) => {
                let lost = matches!(&answer, Answer::Quadratic(found) if !found.loss.is_finite());
                match begins {
                    // Where it was to begin, some row has no mean.
                    Begins::At(Some(opened)) if lost => {
                        Phase::Solve { irls: Box::new(Irls::opened(*opened)), known, begins: Begins::Begun }
                    }
                    Begins::At(None) if lost => {
                        return Err(Error::Beyond { family: self.spec.loss.family.to_string() });
                    }
                    _ => {
                        irls.tell(self.with_past(&asked, answer))?;
                        match irls.ask() {
                            Ask::Done(solution) => Phase::Expand { solution, known },
                            _ => Phase::Solve { irls, known, begins: Begins::Begun },
                        }
                    }
                }
            }
            (Phase::Expand { mut solution, known }, Answer::Quadratic(found)) => {
                solution.report.n_passes += 1;
                let past = self.expanded(&solution.point, *known, found);
                Phase::Done { solution, past: Box::new(past) }
            }
            (phase, answer) => {
                self.phase = phase;
                return Err(mismatch(&asked, &answer));
            }
        };
        Ok(())
    }

    /// The solver for the new rows and the past, which begins where the last one ended.
    fn opened(&self, opened: Opened, moments: Moments, null: NullPoint) -> Result<Phase, Error> {
        let Some(past) = &self.past else {
            let setup = opened.setup.clone();
            let known = Box::new(Known { setup: setup.clone(), moments, null });
            let warm = self.warm.as_ref().filter(|_| !opened.unbounded);
            let Some((intercept, coef)) = warm else {
                return Ok(Phase::Solve { irls: Box::new(Irls::opened(opened)), known, begins: Begins::Begun });
            };
            let irls = Irls::at(setup.clone(), setup.coordinates.working(coef, *intercept));
            return Ok(Phase::Solve { irls: Box::new(irls), known, begins: Begins::At(Some(Box::new(opened))) });
        };
        let total = past.moments.clone().combine(moments);
        let mut varies = total.x.iter().zip(&past.setup.coordinates.scale);
        if let Some(column) = varies.position(|(spread, scale)| *scale == 0. && spread.squares > 0.) {
            return Err(Error::WasConstant { column });
        }
        let null = NullPoint {
            loss: past.null.loss + null.loss,
            first: past.null.first + null.first,
            second: past.null.second + null.second,
            squares: past.null.squares + null.squares,
        };
        let mut setup = past.setup.of_part(&total)?;
        setup.set_null(&null, false);
        let irls = Box::new(Irls::at(setup, past.point.clone()));
        let known = Box::new(Known { setup: past.setup.clone(), moments: total, null });
        Ok(Phase::Solve { irls, known, begins: Begins::At(None) })
    }

    /// What the new rows answer, and the past's quadratics with it.
    fn with_past(&self, asked: &Ask, answer: Answer) -> Answer {
        let Some(past) = &self.past else { return answer };
        match (asked, answer) {
            (Ask::Evaluate { points, .. }, Answer::Evaluations(all)) => {
                let with = |(point, new): (&Vec<f64>, Evaluation)| {
                    let (loss, slope) = past.at(point);
                    Evaluation { loss: new.loss + loss, gradient: new.gradient.combine(slope), separated: false }
                };
                Answer::Evaluations(points.iter().zip(all).map(with).collect())
            }
            (Ask::Quadratic { point, .. }, Answer::Quadratic(new)) => {
                let (loss, slope) = past.at(point);
                Answer::Quadratic(Quadratic {
                    sum_weights: past.moments.sum_weights + new.sum_weights,
                    loss: loss + new.loss,
                    gradient: slope.combine(new.gradient),
                    hessian: past.bend.clone().combine(new.hessian),
                    separated: false,
                    n_saturated: new.n_saturated,
                })
            }
            (_, answer) => answer,
        }
    }

    fn expanded(&self, point: &[f64], known: Known, new: Quadratic) -> Past {
        let (loss, slope, bend) = match &self.past {
            None => (new.loss, new.gradient, new.hessian),
            Some(past) => {
                let (loss, slope) = past.at(point);
                (loss + new.loss, slope.combine(new.gradient), past.bend.clone().combine(new.hessian))
            }
        };
        let Known { setup, moments, null } = known;
        Past { setup, moments, null, point: point.to_vec(), loss, slope, bend }
    }
}

impl Past {
    /// The quadratics' value and slope at a point.
    fn at(&self, point: &[f64]) -> (f64, Vec<f64>) {
        let step: Vec<f64> = point.iter().zip(&self.point).map(|(a, b)| a - b).collect();
        let turn = Packed(&self.bend).times(&step);
        let rise: f64 = step.iter().zip(&self.slope).zip(&turn).map(|((s, g), t)| s * (g + 0.5 * t)).sum();
        (self.loss + rise, self.slope.iter().zip(&turn).map(|(g, t)| g + t).collect())
    }
}

/// Least squares from means and cross products alone, with what inference needs of it.
///
/// # Errors
/// When nothing has weight, or the numbers are too large.
pub(crate) fn of_scatter(spec: Spec, scatter: &Scatter) -> Result<(Solution, Summary), Error> {
    let mut irls = Irls::new(spec);
    loop {
        match irls.ask() {
            Ask::Done(solution) => {
                let information = Normal::new(scatter, &solution.coordinates).hessian;
                let deviance = solution.report.deviance;
                let summary = Summary {
                    sum_weights: scatter.sum_weights,
                    n_used: scatter.n_used,
                    loss: 0.5 * deviance,
                    information: information.iter().map(|h| h * scatter.sum_weights).collect(),
                    pearson: deviance,
                    constant: 0.,
                    log_y: 0.,
                    log_weights: 0.,
                    meat: Vec::new(),
                    groups: std::collections::BTreeMap::new(),
                };
                return Ok((*solution, summary));
            }
            // A fit to rows looks at them once more where digits cancel; here there is nothing but the products.
            Ask::Evaluate { coordinates, points, .. } => {
                let normal = Normal::new(scatter, &coordinates);
                let at = |point: &Vec<f64>| {
                    let local = normal.local(point);
                    let gradient = local.gradient.iter().map(|g| g * scatter.sum_weights).collect();
                    Evaluation { loss: local.loss * scatter.sum_weights, gradient, separated: false }
                };
                irls.tell(Answer::Evaluations(points.iter().map(at).collect()))?;
            }
            _ => irls.tell(Answer::Scatter(scatter.clone()))?,
        }
    }
}
