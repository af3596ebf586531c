//! The solver of softmax regression, as a machine that asks and is told: it knows no data, cluster or clock.
//!
//! The models of all classes lie one after the other in one point, so the steps are those of the solvers of one model:
//! Newton's with the matrix of second derivatives of all classes, or proximal gradient descent where that matrix would
//! be large. What is here is around them: the classes come first, directions that change no probability are held, and
//! at the end, where the coefficients are made unique, one more look tells how far from the optimum they are.
//!
//! Adding the same number to a coefficient of every class changes nothing. Newton's steps hold the first class where a
//! coefficient has no penalty, which leaves one point of each such line; a penalty chooses its own. At the end, if
//! nothing is penalised, the first class is moved to 0; else coefficients without a penalty, and the intercepts, to a
//! sum of 0. An L1 penalty alone leaves a range where classes are even in number: of that, what the elastic net comes
//! to as its L2 share vanishes, which is the mean moved into the range between the two middle values.
//!
//! Sources: C. Bishop, *Pattern Recognition and Machine Learning* (2006), section 4.3.4 for the derivatives;
//! J. Friedman, T. Hastie, R. Tibshirani, "Regularization paths for generalized linear models via coordinate descent"
//! (2010), section 4.1 for the symmetric form and which point of a line a penalty chooses.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::pass::{Classes, Frame, Look, MAX_CLASSES};
use crate::{
    error::Error,
    kernel::{Evaluation, Moments, Quadratic, Stride},
    penalty::Weights,
    report::{Report, StopReason},
    solver::{self, Counts, Local, Machine, Opened, Setup, Spec},
};

/// The most coefficients of all classes whose matrix of products is quick to make and to factorise.
pub(super) const MAX_NEWTON: usize = 600;

/// What the machine wants to know next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// The moments of the columns.
    Moments,
    /// The classes, which needs no look at X.
    Classes,
    /// Loss and gradient at each of a few points, and second derivatives where they are wanted, in one pass.
    Look { frame: Arc<Frame>, points: Vec<Vec<f64>>, stride: Stride, curved: bool },
    /// Nothing: this is the answer.
    Done(Box<Solution>),
}

/// What a shell answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Moments(Moments),
    Classes(Classes),
    /// One a point, in the order asked.
    Looks(Vec<Look>),
}

/// Where the machine stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Solution {
    /// In ascending order.
    pub(crate) classes: Vec<f64>,
    /// In the columns' own units: one row a class.
    pub(crate) coef: Vec<Vec<f64>>,
    /// 0 each where none is fitted.
    pub(crate) intercepts: Vec<f64>,
    pub(crate) report: Report,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Softmax {
    spec: Arc<Spec>,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Phase {
    Moments,
    /// Waits for the classes; holds what one class's model is.
    Classes(Box<Setup>),
    /// Waits for what the solver asks.
    Solve(Box<Solve>),
    /// Waits for the loss at the point that is made unique.
    Certify(Box<Certify>),
    Done(Box<Solution>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Solve {
    frame: Arc<Frame>,
    /// Of all classes.
    setup: Setup,
    inner: Machine,
    /// Coordinates that do not move.
    held: Vec<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Certify {
    frame: Arc<Frame>,
    setup: Setup,
    held: Vec<bool>,
    point: Vec<f64>,
    /// The solver's.
    report: Report,
    constant: Vec<usize>,
}

impl Softmax {
    /// A machine that has asked nothing yet. The spec's loss is not looked at.
    pub(crate) fn new(spec: Spec) -> Self {
        // Solvers treat least squares apart; this is what is nearest to softmax.
        let spec = Spec { loss: crate::Family::Binomial.into(), ..spec };
        Self { spec: Arc::new(spec), phase: Phase::Moments }
    }

    /// What it wants to know. Asking twice gives the same question.
    pub(crate) fn ask(&self) -> Ask {
        match &self.phase {
            Phase::Moments => Ask::Moments,
            Phase::Classes(_) => Ask::Classes,
            Phase::Solve(solve) => solve.ask(),
            Phase::Certify(certify) => Ask::Look {
                frame: Arc::clone(&certify.frame),
                points: vec![certify.point.clone()],
                stride: Stride::ALL,
                curved: false,
            },
            Phase::Done(solution) => Ask::Done(solution.clone()),
        }
    }

    /// Answers the question.
    ///
    /// # Errors
    /// When the answer is to another question, there are not at least two classes, or numbers are too large.
    pub(crate) fn tell(&mut self, answer: Answer) -> Result<(), Error> {
        let asked = self.ask();
        let phase = std::mem::replace(&mut self.phase, Phase::Moments);
        self.phase = match (phase, answer) {
            (Phase::Moments, Answer::Moments(moments)) => {
                Phase::Classes(Box::new(Setup::new(Arc::clone(&self.spec), &moments)?))
            }
            (Phase::Classes(one), Answer::Classes(classes)) => {
                Phase::Solve(Box::new(Solve::new(&one, &classes.weights, &self.spec)?))
            }
            (Phase::Solve(mut solve), Answer::Looks(looks)) if solve.fits(&looks) => {
                solve.tell(looks)?;
                match solve.inner.ask() {
                    solver::Ask::Done(solution) => Phase::Certify(Box::new(solve.certify(*solution))),
                    _ => Phase::Solve(solve),
                }
            }
            (Phase::Certify(certify), Answer::Looks(looks)) if looks.len() == 1 => {
                Phase::Done(Box::new(certify.judge(&looks[0])))
            }
            (phase, answer) => {
                self.phase = phase;
                return Err(Error::Answer { asked: asked.name(), told: answer.name() });
            }
        };
        Ok(())
    }
}

impl Solve {
    fn new(one: &Setup, classes: &[(f64, f64)], spec: &Arc<Spec>) -> Result<Self, Error> {
        let k = classes.len();
        match classes {
            [(class, _)] => return Err(Error::SingleClass { class: *class }),
            all if all.len() > MAX_CLASSES => return Err(Error::TooManyClasses { most: MAX_CLASSES }),
            _ => {}
        }
        let (total, q) = (one.sum_weights, one.coordinates.n_features() + 1);
        let shares: Vec<f64> = classes.iter().map(|(_, weight)| weight / total).collect();
        // Of the model that has intercepts only, or nothing at all.
        let means: Vec<f64> = if spec.fit_intercept { shares.clone() } else { vec![1. / k as f64; k] };
        let derivative = |(share, p): (&f64, &f64)| (share * (1. - p) * (1. - p) + (1. - share) * p * p).sqrt();
        let unit = shares.iter().zip(&means).map(derivative).fold(0., f64::max);
        let curvature = means.iter().map(|p| p * (1. - p)).fold(0., f64::max);
        let deviance: f64 = shares.iter().zip(&means).map(|(share, p)| -2. * total * share * p.ln()).sum();
        let setup = one.of_models(k, [unit, curvature, deviance]);
        let mut start = vec![0.; k * q];
        for (class, share) in means.iter().enumerate() {
            start[class * q] = share.ln() - means[0].ln();
        }
        let by_newton = k * q <= MAX_NEWTON;
        let held = (0..k * q).map(|place| by_newton && place < q && is_free(setup.weights[place])).collect();
        // What is held has a slope that is minus the sum of the others'; the certificate looks at it too.
        let tol = spec.tol / (k - 1) as f64;
        let counts = Counts { n_iter: 0, n_passes: 2 };
        let inner = Machine::opened(Opened { setup: setup.at_tol(tol), start, unbounded: false, counts }, by_newton);
        let classes = classes.iter().map(|(class, _)| *class).collect();
        let frame = Arc::new(Frame { coordinates: solver::Coordinates::clone(&one.coordinates), classes });
        Ok(Self { frame, setup, inner, held })
    }

    fn ask(&self) -> Ask {
        let frame = Arc::clone(&self.frame);
        match self.inner.ask() {
            solver::Ask::Quadratic { point, stride, .. } => {
                Ask::Look { frame, points: vec![point], stride, curved: true }
            }
            solver::Ask::Evaluate { points, stride, .. } => Ask::Look { frame, points, stride, curved: false },
            _ => unreachable!("a solver that knows the null model asks for nothing else before it is done"),
        }
    }

    fn fits(&self, looks: &[Look]) -> bool {
        let Ask::Look { points, curved, .. } = self.ask() else { return false };
        looks.len() == points.len() && looks.iter().all(|look| look.hessian.is_empty() != curved)
    }

    fn tell(&mut self, looks: Vec<Look>) -> Result<(), Error> {
        let mut looks: Vec<Look> = looks.into_iter().map(|look| self.hold(look)).collect();
        self.inner.tell(if looks.iter().any(|look| !look.hessian.is_empty()) {
            let Look { sum_weights, loss, gradient, hessian, separated, n_saturated } = looks.remove(0);
            solver::Answer::Quadratic(Quadratic { sum_weights, loss, gradient, hessian, separated, n_saturated })
        } else {
            let evaluation = |Look { loss, gradient, separated, .. }| Evaluation { loss, gradient, separated };
            solver::Answer::Evaluations(looks.into_iter().map(evaluation).collect())
        })
    }

    /// Makes the loss look flat along coordinates that are held: no solver moves along them then.
    fn hold(&self, mut look: Look) -> Look {
        for (place, _) in self.held.iter().enumerate().filter(|(_, held)| **held) {
            look.gradient[place] = 0.;
            for other in 0..self.held.len() * usize::from(!look.hessian.is_empty()) {
                let (row, column) = (place.max(other), place.min(other));
                look.hessian[row * (row + 1) / 2 + column] = 0.;
            }
        }
        look
    }

    /// The same model at the one point that stands for all that give the same probabilities.
    fn certify(self, solution: solver::Solution) -> Certify {
        let Self { frame, setup, held, .. } = self;
        let (mut point, report) = (solution.point, solution.report);
        let (k, q) = (frame.classes.len(), frame.coordinates.n_features() + 1);
        let unpenalised = setup.spec.penalty.is_none();
        for j in 1..q {
            let values: Vec<f64> = (0..k).map(|class| point[class * q + j]).collect();
            let shift = surplus(values, setup.weights[j], unpenalised);
            (0..k).for_each(|class| point[class * q + j] -= shift);
        }
        if frame.coordinates.has_intercept {
            let raw = point.chunks_exact(q).map(|point| frame.coordinates.raw(point).1);
            let shift = surplus(raw.collect(), Weights::default(), unpenalised);
            (0..k).for_each(|class| point[class * q] -= shift);
        }
        let flat = |(column, scale): (usize, &f64)| (*scale == 0.).then_some(column);
        let constant = frame.coordinates.scale.iter().enumerate().filter_map(flat).collect();
        Certify { frame, setup, held, point, report, constant }
    }
}

/// How far the coefficients of one column, one a class, are from the ones that stand for them.
fn surplus(mut values: Vec<f64>, weights: Weights, unpenalised: bool) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    if unpenalised {
        return values[0];
    }
    if is_free(weights) {
        return mean;
    }
    if weights.l2 > 0. || values.len() % 2 == 1 {
        return 0.;
    }
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[values.len() / 2 - 1], values[values.len() / 2]);
    mean.clamp(low, high)
}

fn is_free(weights: Weights) -> bool {
    weights.l1 == 0. && weights.l2 == 0.
}

impl Certify {
    fn judge(self, look: &Look) -> Solution {
        let Self { frame, setup, held, point, mut report, constant } = self;
        let (k, q) = (frame.classes.len(), frame.coordinates.n_features() + 1);
        let models = point.chunks_exact(q).map(|point| frame.coordinates.raw(point));
        let (coef, intercepts): (Vec<_>, Vec<_>) = models.unzip();
        report.n_passes += 1;
        if let Some(local) = Local::of(look.loss, &look.gradient, setup.sum_weights) {
            report.objective = local.loss + setup.penalty(&point);
            report.deviance = setup.deviance(local.loss);
            report.kkt_relative = setup.kkt_relative(&point, &local);
            report.kkt_residual = 0.;
            for (coef, gradient) in coef.iter().zip(local.gradient.chunks_exact(q)) {
                report.kkt_residual = report.kkt_residual.max(gradient[0].abs());
                let columns = coef.iter().zip(&frame.coordinates.scale).zip(&frame.coordinates.centre);
                for (j, ((&b, &scale), m)) in columns.enumerate() {
                    let working = setup.weights[j + 1];
                    let raw = if scale > 0. { working.scaled(1. / scale) } else { working };
                    // While the intercept of the raw columns stays.
                    let by_coef = gradient[j + 1] * scale + m * gradient[0];
                    report.kkt_residual = report.kkt_residual.max(raw.violation(b, by_coef));
                }
            }
        }
        let optimal = report.kkt_relative <= setup.spec.tol;
        report.stop = match report.stop {
            StopReason::Precision if optimal => StopReason::Optimal,
            StopReason::Optimal if !optimal => StopReason::Precision,
            stop => stop,
        };
        report.converged = match report.stop {
            StopReason::Optimal => true,
            // What the data's conditioning leaves of f64.
            StopReason::Precision => report.kkt_relative <= setup.spec.tol.max(1e-8),
            _ => false,
        };
        // The solver took all models for one: its columns are coordinates of the point, the first left out.
        let collinear = report.collinear_columns.iter().map(|place| place + 1).filter(|place| !held[*place]);
        // An L1 penalty alone leaves every column of the last class to be made up of the others.
        let collinear = collinear.filter(|place| is_free(setup.weights[*place]));
        let mut collinear: Vec<usize> = collinear.filter(|place| place % q > 0).map(|place| place % q - 1).collect();
        collinear.retain(|column| !constant.contains(column));
        collinear.sort_unstable();
        collinear.dedup();
        report.collinear_columns = collinear;
        report.solver = if k * q <= MAX_NEWTON {
            format!("newton: {} coefficients, products of up to {MAX_NEWTON} are quick", k * q)
        } else {
            format!("gradient_descent: {} coefficients, too many to multiply each with each", k * q)
        };
        report.constant_columns = constant;
        Solution { classes: frame.classes.clone(), coef, intercepts, report }
    }
}

impl Ask {
    const fn name(&self) -> &'static str {
        match self {
            Self::Moments => "moments",
            Self::Classes => "classes",
            Self::Look { .. } => "softmax losses",
            Self::Done(_) => "nothing more",
        }
    }
}

impl Answer {
    const fn name(&self) -> &'static str {
        match self {
            Self::Moments(_) => "moments",
            Self::Classes(_) => "classes",
            Self::Looks(_) => "softmax losses",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::Rows, multinomial::fit::answer, penalty::Penalty};

    /// Everything that is asked until the answer; between any two questions the machine travels.
    fn solve(spec: Spec, rows: Rows<'_>) -> (Vec<Ask>, Solution) {
        let (mut machine, mut asks) = (Softmax::new(spec), Vec::new());
        loop {
            let ask = machine.ask();
            if let Ask::Done(solution) = ask {
                return (asks, *solution);
            }
            machine.tell(answer(rows, &ask).expect("an answer").expect("a question")).expect("the answer fits");
            asks.push(ask);
            let text = serde_json::to_string(&machine).expect("it can be saved");
            machine = serde_json::from_str(&text).expect("it can be resumed");
            assert!(asks.len() < 5_000, "it never ends");
        }
    }

    /// Between -1 and 1, as splitmix64 scatters it: no row tells of another.
    fn random(i: usize) -> f64 {
        let z = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.
    }

    fn data(n: usize, p: usize, k: usize) -> (Vec<f64>, Vec<f64>) {
        let x: Vec<f64> = (0..n * p).map(|i| (i % p) as f64 + random(i)).collect();
        let y = (0..n).map(|i| {
            let score = |class: usize| random((i + n) * 10 * p + class) + 0.4 * random(i * p + class % p);
            (1..k).fold(0, |best, class| if score(class) > score(best) { class } else { best }) as f64
        });
        (x.clone(), y.collect())
    }

    #[test]
    fn both_ways_of_stepping_come_to_the_same_point() {
        let (x, y) = data(400, 3, 4);
        let rows = Rows::plain(&x, &y, 3);
        for (alpha, l1_ratio, factors) in
            [(0., 0., vec![]), (0.05, 0., vec![]), (0.02, 1., vec![]), (0.03, 0.5, vec![1., 0., 2.])]
        {
            let penalty = Penalty { factors, ..Penalty::elastic_net(alpha, l1_ratio) };
            let spec = Spec { penalty, ..Spec::default() };
            let (_, newton) = solve(spec.clone(), rows);
            assert_eq!(newton.report.stop, StopReason::Optimal, "{:?}", newton.report);
            let mut machine = Softmax::new(spec);
            loop {
                let ask = machine.ask();
                let Some(found) = answer(rows, &ask).expect("an answer") else { break };
                machine.tell(found).expect("the answer fits");
                // As where there are too many coefficients for Newton's steps.
                if let (Ask::Classes, Phase::Solve(solve)) = (&ask, &mut machine.phase) {
                    let start = vec![0.; solve.held.len()];
                    let opened =
                        Opened { setup: solve.setup.clone(), start, unbounded: false, counts: Counts::default() };
                    solve.inner = Machine::opened(opened, false);
                    solve.held.fill(false);
                }
            }
            let Ask::Done(descent) = machine.ask() else { panic!("{machine:?}") };
            assert!(descent.report.converged, "{alpha} {l1_ratio}: {:?}", descent.report);
            for (a, b) in newton.coef.iter().zip(&descent.coef) {
                assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6), "{alpha} {l1_ratio}: {a:?} {b:?}");
            }
            assert!(newton.intercepts.iter().zip(&descent.intercepts).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }

    #[test]
    fn columns_that_others_sum_to_are_left_out_and_named() {
        let (x, y) = data(300, 2, 3);
        let wide: Vec<f64> = x.chunks(2).flat_map(|row| [row[0], 7., row[1], row[0] - row[1]]).collect();
        let (_, wide) = solve(Spec::default(), Rows::plain(&wide, &y, 4));
        let (_, narrow) = solve(Spec::default(), Rows::plain(&x, &y, 2));
        assert_eq!((&wide.report.constant_columns, &wide.report.collinear_columns), (&vec![1], &vec![3]));
        assert!(narrow.report.collinear_columns.is_empty());
        for (a, b) in wide.coef.iter().zip(&narrow.coef) {
            assert_eq!((a[1], a[3]), (0., 0.));
            assert!((a[0] - b[0]).abs() < 1e-8 && (a[2] - b[1]).abs() < 1e-8, "{a:?} {b:?}");
        }
    }

    #[test]
    fn an_answer_to_another_question_is_refused_and_the_question_stays() {
        let mut machine = Softmax::new(Spec::default());
        let error = machine.tell(Answer::Looks(Vec::new())).expect_err("refused").to_string();
        assert!(error.starts_with("the solver asked for moments and was told softmax losses"), "{error}");
        assert_eq!(machine.ask(), Ask::Moments);
    }

    #[test]
    fn a_range_of_optima_is_left_at_what_the_elastic_net_comes_to() {
        let lasso = Penalty::elastic_net(1., 1.).weights(0, 1.);
        assert_eq!(surplus(vec![0., 2.], lasso, false), 1.);
        assert_eq!(surplus(vec![-1., 0., 0.25, 2.], lasso, false), 0.25);
        assert_eq!(surplus(vec![-1., 0., 5.], lasso, false), 0.);
        assert_eq!(surplus(vec![1., 2.], Penalty::elastic_net(1., 0.5).weights(0, 1.), false), 0.);
        assert_eq!((surplus(vec![1., 2.], Weights::default(), false)), 1.5);
        assert_eq!((surplus(vec![1., 2.], Weights::default(), true)), 1.);
    }
}
