//! Estimates the family's own parameter beside the coefficients: theta of the negative binomial, Tweedie's power.
//!
//! The coefficients are fitted by another machine at a parameter; at the means found, the parameter is moved to where
//! the likelihood is largest, by Newton's method; and so on in turn, until neither moves. The two are orthogonal, so
//! few turns do. The last fit is the other machine's own, from its beginning, at the parameter found: the answer is
//! that of a fit to which the parameter was given.
//!
//! Sources: W. Venables, B. Ripley, *Modern Applied Statistics with S*, 4th ed. (2002), section 7.4, whose `glm.nb`
//! takes turns so; B. Jørgensen, *The Theory of Dispersion Models* (1997), section 4.3, for Tweedie's families.

use serde::{Deserialize, Serialize};

use super::{Answer, Ask, Machine, Solution, Spec, mismatch};
use crate::{
    error::Error,
    family::Family,
    kernel::{Shape, ShapeAt},
    loss::Loss,
    report::ParameterEstimate,
};

/// Turns after which the last parameter is taken as it is.
const MAX_TURNS: usize = 50;
/// Steps of Newton's method within a turn.
const MAX_STEPS: usize = 60;
/// The longest step: of ln theta and ln dispersion, and of the power.
const LONGEST: [f64; 2] = [2., 0.2];
/// A step as long as this, and this share of a standard error, is none.
const STILL: (f64, f64) = (1e-10, 1e-8);
/// Beyond this theta the counts are as good as Poisson's.
const LARGEST_THETA: f64 = 1e8;
/// Where Tweedie's power is looked for.
pub(crate) const POWERS: [f64; 2] = [1.01, 1.99];

/// The machine. Its steps and passes are those of all turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimation {
    /// The other machine before its first question.
    fresh: Box<Machine>,
    /// The other machine of this turn.
    machine: Box<Machine>,
    phase: Phase,
    /// ln dispersion, where there is one.
    log_dispersion: Option<f64>,
    n_turns: usize,
    n_iter: usize,
    n_passes: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Phase {
    /// The other machine asks; the flag says that this is its last turn.
    Fit(bool),
    /// Waits for the likelihood at the trial.
    Look(Box<Search>),
    /// Waits for it at the end.
    Last(Box<Solution>),
    Done(Box<Solution>),
}

/// Newton's method at means that stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Search {
    solution: Solution,
    /// The first parameter and ln dispersion: the best so far, what is known of it, and what is tried.
    best: Option<([f64; 2], Shape)>,
    trial: [f64; 2],
    n_steps: usize,
}

impl Estimation {
    /// Takes turns with a machine that has asked nothing yet.
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            fresh: Box::new(machine.clone()),
            machine: Box::new(machine),
            phase: Phase::Fit(false),
            log_dispersion: None,
            n_turns: 0,
            n_iter: 0,
            n_passes: 0,
        }
    }

    pub(super) fn fresh(&self) -> &Machine {
        &self.fresh
    }

    /// That of the last fit.
    pub(super) fn spec(&self) -> &Spec {
        self.machine.spec()
    }

    /// What it wants to know.
    pub fn ask(&self) -> Ask {
        match &self.phase {
            Phase::Fit(_) => self.machine.ask(),
            Phase::Look(search) => Ask::Shape(self.at(&search.solution, search.trial)),
            Phase::Last(solution) => {
                let family = self.spec().loss.family;
                Ask::Shape(self.at(solution, [parameter(family), self.log_dispersion.unwrap_or_default()]))
            }
            Phase::Done(solution) => Ask::Done(solution.clone()),
        }
    }

    /// Answers the question.
    ///
    /// # Errors
    /// When the answer is to another question, the numbers are too large to work with, or the likelihood has no
    /// maximum.
    pub fn tell(&mut self, answer: Answer) -> Result<(), Error> {
        let asked = self.ask();
        match (&mut self.phase, answer) {
            (Phase::Fit(is_last), answer) => {
                let is_last = *is_last;
                self.machine.tell(answer)?;
                if let Ask::Done(solution) = self.machine.ask() {
                    self.fitted(*solution, is_last);
                }
                Ok(())
            }
            (Phase::Look(search), Answer::Shape(found)) => {
                self.n_passes += 1;
                let family = self.machine.spec().loss.family;
                let Some(at) = search.look(&found, family)? else { return Ok(()) };
                let error = standard_errors(&found)[0];
                self.log_dispersion = self.log_dispersion.and(Some(at[1]));
                let moved = (at[0] - parameter(family)).abs();
                let is_last = moved <= STILL.0.max(STILL.1 * error) || self.n_turns >= MAX_TURNS;
                let loss = Loss { family: with_parameter(family, at[0]), ..self.machine.spec().loss };
                let warm = if is_last { None } else { self.machine.at_loss(loss) };
                *self.machine = warm.unwrap_or_else(|| self.fresh.with_loss(loss));
                self.n_turns += 1;
                self.phase = Phase::Fit(is_last);
                // A warm machine may have nothing to ask.
                if let Ask::Done(solution) = self.machine.ask() {
                    self.fitted(*solution, is_last);
                }
                Ok(())
            }
            (Phase::Last(solution), Answer::Shape(found)) => {
                self.n_passes += 1;
                let mut solution = solution.clone();
                solution.report.estimate = Some(self.estimate(Some(&found)));
                self.phase = self.done(*solution);
                Ok(())
            }
            (_, answer) => Err(mismatch(&asked, &answer)),
        }
    }

    /// A turn's coefficients are known.
    fn fitted(&mut self, solution: Solution, is_last: bool) {
        self.n_iter += solution.report.n_iter;
        self.n_passes += solution.report.n_passes;
        let family = self.spec().loss.family;
        if self.log_dispersion.is_none() && matches!(family, Family::Tweedie { .. }) {
            let mean = solution.report.deviance / solution.report.sum_weights;
            self.log_dispersion = Some(mean.max(f64::MIN_POSITIVE).ln());
        }
        self.phase = if !solution.report.converged {
            let report = crate::Report { estimate: Some(self.estimate(None)), ..solution.report };
            self.done(Solution { report, ..solution })
        } else if is_last {
            Phase::Last(Box::new(solution))
        } else {
            let trial = [parameter(family), self.log_dispersion.unwrap_or_default()];
            Phase::Look(Box::new(Search { solution, best: None, trial, n_steps: 0 }))
        };
    }

    fn estimate(&self, found: Option<&Shape>) -> ParameterEstimate {
        let family = self.spec().loss.family;
        let theta = if let Family::NegativeBinomial { theta } = family { theta } else { 1. };
        ParameterEstimate {
            family,
            standard_error: found.map(|found| theta * standard_errors(found)[0]).filter(|error| error.is_finite()),
            dispersion: self.log_dispersion.map(f64::exp),
            log_likelihood: found.map(|found| found.log_likelihood),
            n_turns: self.n_turns,
        }
    }

    fn done(&self, mut solution: Solution) -> Phase {
        (solution.report.n_iter, solution.report.n_passes) = (self.n_iter, self.n_passes);
        Phase::Done(Box::new(solution))
    }

    fn at(&self, solution: &Solution, [first, log_dispersion]: [f64; 2]) -> ShapeAt {
        let Loss { family, link } = self.spec().loss;
        ShapeAt {
            family: with_parameter(family, first),
            dispersion: log_dispersion.exp(),
            link,
            coordinates: solution.coordinates.clone(),
            point: solution.point.clone(),
        }
    }
}

impl Search {
    /// Takes what was found at the trial; the maximum, once it is there.
    fn look(&mut self, found: &Shape, family: Family) -> Result<Option<[f64; 2]>, Error> {
        self.n_steps += 1;
        let level = |best: f64| found.log_likelihood >= best - 1e-12 * best.abs();
        let better = found.log_likelihood.is_finite() && self.best.is_none_or(|(_, b)| level(b.log_likelihood));
        if better {
            self.best = Some((self.trial, *found));
        }
        let Some((best, at)) = self.best else {
            return Err(Error::NoEstimate { parameter: name(family), why: "the likelihood is 0 at the means found" });
        };
        let is_power = matches!(family, Family::Tweedie { .. });
        let step = if better { newton(&at, is_power) } else { [0, 1].map(|k| 0.3 * (self.trial[k] - best[k])) };
        let mut trial = [best[0] + step[0], best[1] + step[1]];
        if is_power {
            let [low, high] = POWERS;
            if (best[0] <= low && at.first[0] < 0.) || (best[0] >= high && at.first[0] > 0.) {
                let why = if best[0] <= low {
                    "the likelihood rises towards 1, where the family is poisson's"
                } else {
                    "the likelihood rises towards 2, where the family is gamma"
                };
                return Err(Error::NoEstimate { parameter: "power", why });
            }
            trial[0] = trial[0].clamp(low, high);
        } else if best[0] > LARGEST_THETA.ln() {
            let why = "y scatters no more than a Poisson's around its means; use the poisson family";
            return Err(Error::NoEstimate { parameter: "theta", why });
        }
        let errors = standard_errors(&at);
        // A step that is no number is none.
        let still = |k: usize| {
            let length = (trial[k] - best[k]).abs();
            length.is_nan() || length <= STILL.0.max(STILL.1 * errors[k].min(1.))
        };
        if (still(0) && still(1)) || self.n_steps >= MAX_STEPS {
            return Ok(Some(best));
        }
        self.trial = trial;
        Ok(None)
    }
}

/// The step to where the second-order model of the log-likelihood is largest, no longer than allowed; uphill by as much
/// where it is nowhere.
fn newton(at: &Shape, is_power: bool) -> [f64; 2] {
    let ([a, b], [aa, ab, bb]) = (at.first, at.second);
    let longest = [if is_power { LONGEST[1] } else { LONGEST[0] }, LONGEST[0]];
    let uphill = |k: usize| if at.first[k] == 0. { 0. } else { longest[k].copysign(at.first[k]) };
    let determinant = aa * bb - ab * ab;
    let step = if !is_power {
        [if aa < 0. { -a / aa } else { uphill(0) }, 0.]
    } else if aa < 0. && determinant > 0. {
        [-(bb * a - ab * b) / determinant, -(aa * b - ab * a) / determinant]
    } else {
        // Where the model has no maximum in both, one of each alone is uphill.
        let alone = |first: f64, second: f64, k: usize| if second < 0. { -first / second } else { uphill(k) };
        [0.5 * alone(a, aa, 0), 0.5 * alone(b, bb, 1)]
    };
    let share = [0, 1].map(|k| longest[k] / step[k].abs()).into_iter().fold(1., f64::min);
    step.map(|length| share * length)
}

/// By the observed information, of the parameters as they are searched.
fn standard_errors(at: &Shape) -> [f64; 2] {
    let [aa, ab, bb] = at.second;
    let determinant = aa * bb - ab * ab;
    if determinant == 0. { [(-1. / aa).sqrt(), 0.] } else { [(-bb / determinant).sqrt(), (-aa / determinant).sqrt()] }
}

/// As it is searched for: ln theta, or the power.
fn parameter(family: Family) -> f64 {
    match family {
        Family::NegativeBinomial { theta } => theta.ln(),
        Family::Tweedie { power } => power,
        _ => 0.,
    }
}

fn with_parameter(family: Family, parameter: f64) -> Family {
    match family {
        Family::NegativeBinomial { .. } => Family::NegativeBinomial { theta: parameter.exp() },
        Family::Tweedie { .. } => Family::Tweedie { power: parameter },
        other => other,
    }
}

const fn name(family: Family) -> &'static str {
    if matches!(family, Family::Tweedie { .. }) { "power" } else { "theta" }
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

    fn noise(i: usize) -> f64 {
        ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.
    }

    /// Counts that scatter more than Poisson's, and sums some of which are 0.
    fn data(n: usize, family: Family) -> (Array2<f64>, Array1<f64>) {
        let x = Array2::from_shape_fn((n, 2), |(i, j)| noise(i * (j + 3) * 31 + j));
        let y = (0..n).map(|i| {
            let size = (1. + 0.7 * x[[i, 0]] - 0.4 * x[[i, 1]] + 1.1 * noise(17 * i + 5)).exp();
            match family {
                Family::Tweedie { .. } => (size * (0.4 + noise(29 * i))).max(0.),
                _ => size.floor(),
            }
        });
        (x.clone(), y.collect())
    }

    #[test]
    fn any_chunks_give_the_bits_of_memory() {
        let n = 9 * PANEL + 31;
        for family in [Family::NegativeBinomial { theta: 1. }, Family::Tweedie { power: 1.5 }] {
            let (x, y) = data(n, family);
            let weights: Array1<f64> = (0..n).map(|i| (i % 3) as f64).collect();
            let glm = Glm::new(family).estimate_parameter(true);
            let expected = glm.fit(&x, Response::new(&y).sample_weight(&weights));
            let expected = expected.expect("fitted");
            for chunk in [PANEL, 4 * PANEL] {
                let [x, y, weights] = [(&x).into(), (&y).into(), (&weights).into()]
                    .map(|of: phalanx_array::Block| ChunkedArray::from_array(of, chunk).expect("an array"));
                let response = ChunkedResponse::new(&y).sample_weight(&weights);
                let (machine, why) = glm.machine(2, false).expect("a machine");
                let found = wait(fit_chunked(&Here, machine, glm.wanted(2), &x, &response)).expect("fitted");
                assert_eq!(glm.model(found, why), expected, "{family} in chunks of {chunk}");
            }
        }
    }

    #[test]
    fn it_travels_between_any_two_questions() {
        let data = Data { x: &[-1., 0., 0.5, 1., 2., 3., -2., 1.], y: &[0., 4., 0., 1., 9., 0., 1., 7.] };
        let glm = Glm::new(Family::NegativeBinomial { theta: 1. }).estimate_parameter(true);
        let asks = asks(glm.machine(1, false).expect("a machine").0, data);
        assert!(asks.iter().filter(|ask| ask.name() == "a likelihood").count() > 2);
    }
}
