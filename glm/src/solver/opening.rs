//! How every solver begins: the moments of the data, then the null model, where it will start.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Answer, Ask, Spec, mismatch,
    setup::{Counts, Setup},
};
use crate::{
    error::Error,
    family::Family,
    kernel::{Moments, NullPoint},
};

/// Looks at the null model after which its intercept is taken as it is.
const MAX_LOOKS: usize = 60;

/// The first questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Opening {
    /// Waits for the moments.
    Moments(Arc<Spec>),
    /// Waits for the loss at an intercept.
    Null(Box<Search>),
}

/// What is known when they are answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Opened {
    pub(crate) setup: Setup,
    /// The null model in working coordinates, or short of it where it is unbounded.
    pub(crate) start: Vec<f64>,
    /// Whether the null model lies at infinity.
    pub(crate) unbounded: bool,
    pub(crate) counts: Counts,
}

/// Newton's method for one intercept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Search {
    setup: Setup,
    n_looks: usize,
    /// The best intercept so far.
    best: Option<(f64, NullPoint)>,
    trial: f64,
    unbounded: bool,
    /// Whether the first intercept is the answer.
    is_known: bool,
}

impl Opening {
    pub(crate) fn new(spec: &Arc<Spec>) -> Self {
        Self::Moments(Arc::clone(spec))
    }

    pub(crate) fn ask(&self) -> Ask {
        match self {
            Self::Moments(_) => Ask::Moments,
            Self::Null(search) => Ask::Null { intercepts: vec![search.trial] },
        }
    }

    /// Takes an answer; what was opened, once nothing more is asked.
    pub(crate) fn tell(&mut self, answer: Answer) -> Result<Option<Opened>, Error> {
        match (&mut *self, answer) {
            (Self::Moments(spec), Answer::Moments(moments)) => {
                let setup = Setup::new(Arc::clone(spec), &moments)?;
                *self = Self::Null(Box::new(Search::new(setup, &moments)));
                Ok(None)
            }
            (Self::Null(search), Answer::Null(points)) if points.len() == 1 => search.look(points[0]),
            (opening, answer) => Err(mismatch(&opening.ask(), &answer)),
        }
    }
}

impl Search {
    fn new(setup: Setup, moments: &Moments) -> Self {
        let spec = &setup.spec;
        let (family, link, mean) = (spec.loss.family, spec.loss.link, moments.y.mean);
        let zero_is_possible = match family {
            Family::Poisson | Family::NegativeBinomial { .. } | Family::Binomial => true,
            Family::Tweedie { power } => (1. ..2.).contains(&power),
            _ => false,
        };
        let at_end = (zero_is_possible && mean == 0.) || (family == Family::Binomial && mean == 1.);
        let unbounded = at_end && spec.fit_intercept;
        let mut trial = 0.;
        if spec.fit_intercept {
            // The mean is as near to its bound as ten times the tolerance keeps distinguishable from it.
            let tiny = spec.tol.clamp(1e-15, 1e-6);
            let reachable = match family {
                Family::Binomial => mean.clamp(tiny, 1. - tiny),
                _ if zero_is_possible => mean.max(tiny),
                _ => mean,
            };
            let at_mean = link.of_mean(reachable);
            let spread = (moments.y.squares / moments.sum_weights).sqrt();
            // A mean that the link cannot give, as a negative one with the log link, is replaced by a small one.
            let somewhere = if at_mean.is_finite() { at_mean } else { link.of_mean(0.1 * spread) };
            trial = if somewhere.is_finite() { somewhere - moments.offset } else { 0. };
        }
        let has_offset = moments.offset != 0.;
        // The mean of y is the maximum likelihood of every exponential family's mean (McCullagh and Nelder, 2.2.2); a
        // varying offset whose mean is 0 is told from none by the derivative.
        let is_known = !spec.fit_intercept || unbounded || (!has_offset && family.power() == Some(0.));
        Self { setup, n_looks: 0, best: None, trial, unbounded, is_known }
    }

    fn look(&mut self, found: NullPoint) -> Result<Option<Opened>, Error> {
        self.n_looks += 1;
        let intercept = self.trial;
        // Among losses that differ by rounding the derivative decides.
        let better = found.loss.is_finite()
            && self.best.is_none_or(|(_, best)| {
                let level = found.loss <= best.loss + 1e-12 * best.loss.abs();
                found.loss < best.loss || (level && found.first.abs() < best.first.abs())
            });
        if better {
            self.best = Some((intercept, found));
        }
        let Some((best, at)) = self.best else {
            // Nothing is known but that the mean is impossible here.
            let Spec { loss, .. } = &*self.setup.spec;
            return Err(Error::NoStart { family: loss.family.to_string(), link: loss.link.to_string(), intercept });
        };
        let total = self.setup.sum_weights;
        let flat = at.first.abs() / total <= 1e-11 * (at.squares / total).sqrt();
        self.trial = if better { best - at.first / at.second } else { 0.5 * (best + intercept) };
        let still = !self.trial.is_finite() || (self.trial - best).abs() <= 1e-15 * best.abs().max(1e-300);
        if !(self.is_known || flat || still || self.n_looks >= MAX_LOOKS) {
            return Ok(None);
        }
        let mut setup = self.setup.clone();
        setup.set_null(&at, self.unbounded);
        let mut start = vec![0.; setup.weights.len()];
        start[0] = if setup.spec.fit_intercept { best } else { 0. };
        // The null model's passes do not look at X; they count as one.
        Ok(Some(Opened { setup, start, unbounded: self.unbounded, counts: Counts { n_iter: 0, n_passes: 2 } }))
    }
}
