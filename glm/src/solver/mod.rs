//! Solvers as machines that ask and are told: they decide where to look, and know no data, cluster or clock.
//!
//! ```text
//!            ask()                        tell()
//!  solver ─────────▶  shell: evaluates  ─────────▶  solver ─▶ ... ─▶ Ask::Done
//! ```
//!
//! [`Ask::Moments`] comes first. From it the machine takes a centre and a scale for each column and works in
//! those coordinates, where one step length suits every column. The objective stays that of the raw columns: the
//! penalty of a scaled coefficient is scaled back, and the intercept, which takes up the centring, has no penalty.
//! Shells and kernels only see raw coefficients, except in ADMM's block problems, which carry the coordinates.
//!
//! A machine is serde: save it between `tell` and `ask`, and it goes on where it was.

pub mod admm;
pub mod block;
pub mod descent;
pub mod estimation;
pub mod gradient;
mod grouped;
mod interior;
pub mod irls;
pub mod metric;
mod model;
mod normal;
mod opening;
pub mod path;
mod pooled;
mod renewal;
mod screening;
mod setup;
pub mod smoothing;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use admm::Admm;
pub use block::{BlockProblem, BlockSolution};
pub use descent::{Descent, Method};
pub use estimation::Estimation;
pub(crate) use estimation::POWERS;
pub use gradient::GradientDescent;
pub use irls::Irls;
pub use metric::Metric;
pub(crate) use model::Cholesky;
pub(crate) use opening::Opened;
pub use path::{CvCurve, Path, PathPoint, PathSolution, PathSpec};
pub(crate) use pooled::{GroupProblem, GroupSolution, PoolAsk, Pooled, PooledSolution};
pub(crate) use renewal::{Past, Renewal, of_scatter};
pub use setup::{ClassWeight, Coordinates, Local, Spec};
pub(crate) use setup::{Counts, Setup};
pub use smoothing::Smoothing;

use crate::{error::Error, report::Report};
pub use crate::{
    kernel::{
        Evaluation, FoldEvaluation, FoldPoint, FoldQuadratic, FoldRule, Moments, NullPoint, Pinball, PinballAt,
        Quadratic, Scatter, Shape, ShapeAt, Stride,
    },
    loss::{Curvature, Loss},
    penalty::Penalty,
};

/// What a solver wants to know next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// The moments of the data.
    Moments,
    /// Means and cross products of all columns and y less the offset, in one pass.
    Scatter,
    /// The loss of a model with an intercept only, at each of a few intercepts, which needs no look at X.
    Null {
        /// At least one.
        intercepts: Vec<f64>,
    },
    /// Loss and gradient at each of a few points, in one pass.
    Evaluate {
        /// Where the working coordinates lie.
        coordinates: Arc<Coordinates>,
        /// At least one, in working coordinates, the intercept first.
        points: Vec<Vec<f64>>,
        /// Which panels to look at.
        stride: Stride,
    },
    /// Loss, gradient and matrix of second derivatives at one point, in one pass.
    Quadratic {
        /// Where the working coordinates lie.
        coordinates: Arc<Coordinates>,
        /// In working coordinates, the intercept first.
        point: Vec<f64>,
        /// Which second derivatives.
        curvature: Curvature,
        /// Which panels to look at.
        stride: Stride,
    },
    /// The likelihood by the family's own parameter.
    Shape(ShapeAt),
    /// The loss of quantile regression, and the few rows nearest to the quantile.
    Pinball(PinballAt),
    /// The moments of each fold.
    MomentsByFold {
        /// Which rows belong to which fold.
        rule: FoldRule,
    },
    /// Means and cross products of each fold.
    ScatterByFold {
        /// Which rows belong to which fold.
        rule: FoldRule,
    },
    /// Loss and gradient at some points, and the matrix of second derivatives at others, each without a fold of the
    /// rows, in one pass.
    Folds {
        /// Which rows belong to which fold.
        rule: FoldRule,
        /// Where the working coordinates lie.
        coordinates: Arc<Coordinates>,
        /// Where to look at loss and gradient.
        points: Vec<FoldPoint>,
        /// Where to look at the matrix too.
        quadratics: Vec<(FoldPoint, Curvature)>,
    },
    /// The minimum of each of ADMM's block problems.
    BlockSolve {
        /// One a block, in the order of their rows.
        blocks: Vec<BlockProblem>,
    },
    /// Nothing: this is the answer.
    Done(Box<Solution>),
}

/// What a shell answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Ask::Moments`].
    Moments(Moments),
    /// To [`Ask::Scatter`].
    Scatter(Scatter),
    /// To [`Ask::Null`]: one an intercept, in the order asked.
    Null(Vec<NullPoint>),
    /// To [`Ask::Quadratic`].
    Quadratic(Quadratic),
    /// To [`Ask::Evaluate`]: one a point, in the order asked.
    Evaluations(Vec<Evaluation>),
    /// To [`Ask::Shape`].
    Shape(Shape),
    /// To [`Ask::Pinball`].
    Pinball(Pinball),
    /// To [`Ask::MomentsByFold`].
    MomentsByFold(Vec<Moments>),
    /// To [`Ask::ScatterByFold`].
    ScatterByFold(Vec<Scatter>),
    /// To [`Ask::Folds`].
    Folds {
        /// One a point, in the order asked.
        evaluations: Vec<FoldEvaluation>,
        /// One a point of the others, in the order asked.
        quadratics: Vec<FoldQuadratic>,
    },
    /// To [`Ask::BlockSolve`]: one a block, in the order asked.
    Blocks(Vec<BlockSolution>),
}

/// Where a solver stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Solution {
    /// Raw coefficients, length n_features.
    pub coef: Vec<f64>,
    /// 0 where none is fitted.
    pub intercept: f64,
    /// How it went and how far from the optimum this is.
    pub report: Report,
    /// Where the working coordinates lie.
    pub coordinates: Arc<Coordinates>,
    /// The same in working coordinates, the intercept first.
    pub point: Vec<f64>,
}

/// Any solver.
///
/// ```
/// use phalanx_glm::{Family, solver::{Ask, Answer, Machine, Spec}};
///
/// let mut machine = Machine::irls(Spec { loss: Family::Poisson.into(), ..Spec::default() });
/// assert_eq!(machine.ask(), Ask::Moments);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Machine {
    /// Proximal gradient descent.
    GradientDescent(GradientDescent),
    /// Consensus ADMM.
    Admm(Admm),
    /// Iteratively reweighted least squares.
    Irls(Irls),
    /// L-BFGS or Newton-CG, by argmin.
    Descent(Descent),
    /// Newton's method on a smoothed loss, then an interior point over the nearest rows, for quantiles.
    Smoothing(Smoothing),
    /// Another one in turn with the family's own parameter.
    Estimation(Estimation),
}

impl Machine {
    /// Proximal gradient descent with momentum.
    pub fn gradient_descent(spec: Spec) -> Self {
        Self::GradientDescent(GradientDescent::new(spec))
    }

    /// Consensus ADMM over `n_blocks` blocks of rows; none lets the number of rows decide.
    pub fn admm(spec: Spec, n_blocks: Option<usize>) -> Self {
        Self::Admm(Admm::new(spec, n_blocks))
    }

    /// Iteratively reweighted least squares.
    pub fn irls(spec: Spec) -> Self {
        Self::Irls(Irls::new(spec))
    }

    /// L-BFGS or Newton-CG, by argmin, for a penalty without kinks or bounds.
    pub fn descent(spec: Spec, method: Method) -> Self {
        Self::Descent(Descent::new(spec, method))
    }

    /// Quantile regression by smoothing.
    pub fn smoothing(spec: Spec) -> Self {
        Self::Smoothing(Smoothing::new(spec))
    }

    /// The same in turn with the family's own parameter, beginning at the one it has: theta of the negative binomial,
    /// or Tweedie's power.
    pub fn estimating(self) -> Self {
        Self::Estimation(Estimation::new(self))
    }

    /// The same before its first question, of another loss.
    fn with_loss(&self, loss: Loss) -> Self {
        let spec = || Spec { loss, ..self.spec().clone() };
        match self {
            Self::GradientDescent(_) => Self::gradient_descent(spec()),
            Self::Admm(machine) => Self::admm(spec(), machine.n_blocks()),
            Self::Irls(_) => Self::irls(spec()),
            Self::Descent(machine) => Self::descent(spec(), machine.method()),
            Self::Smoothing(_) => Self::smoothing(spec()),
            Self::Estimation(machine) => machine.fresh().with_loss(loss).estimating(),
        }
    }

    /// One that begins where this one ended, of another loss; what it reports of the null model is this one's. None
    /// where it has not ended, or cannot begin anywhere.
    fn at_loss(&self, loss: Loss) -> Option<Self> {
        if let Self::Irls(machine) = self { machine.at_loss(loss).map(Self::Irls) } else { None }
    }

    /// The same that knows the null model already: by Newton's steps, or by those of gradient descent.
    pub(crate) fn opened(opened: Opened, by_newton: bool) -> Self {
        if by_newton {
            Self::Irls(Irls::opened(opened))
        } else {
            Self::GradientDescent(GradientDescent::opened(opened))
        }
    }

    /// What it was asked to solve.
    pub fn spec(&self) -> &Spec {
        match self {
            Self::GradientDescent(machine) => machine.spec(),
            Self::Admm(machine) => machine.spec(),
            Self::Irls(machine) => machine.spec(),
            Self::Descent(machine) => machine.spec(),
            Self::Smoothing(machine) => machine.spec(),
            Self::Estimation(machine) => machine.spec(),
        }
    }

    /// The panels that it looks at before it looks at all of them, of so many rows and columns.
    pub(crate) fn sample(&self, n_rows: usize, n_features: usize) -> Stride {
        match self {
            Self::Irls(_) => irls::sample(n_rows, n_features + 1),
            Self::Estimation(machine) => machine.fresh().sample(n_rows, n_features),
            _ => Stride::ALL,
        }
    }

    /// What it wants to know. Asking twice gives the same question.
    pub fn ask(&self) -> Ask {
        match self {
            Self::GradientDescent(machine) => machine.ask(),
            Self::Admm(machine) => machine.ask(),
            Self::Irls(machine) => machine.ask(),
            Self::Descent(machine) => machine.ask(),
            Self::Smoothing(machine) => machine.ask(),
            Self::Estimation(machine) => machine.ask(),
        }
    }

    /// Answers the question.
    ///
    /// # Errors
    /// When the answer is to another question, or the numbers are too large to work with.
    pub fn tell(&mut self, answer: Answer) -> Result<(), Error> {
        match self {
            Self::GradientDescent(machine) => machine.tell(answer),
            Self::Admm(machine) => machine.tell(answer),
            Self::Irls(machine) => machine.tell(answer),
            Self::Descent(machine) => machine.tell(answer),
            Self::Smoothing(machine) => machine.tell(answer),
            Self::Estimation(machine) => machine.tell(answer),
        }
    }
}

impl Ask {
    /// The question's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Moments => "moments",
            Self::Scatter => "means and cross products",
            Self::Null { .. } => "null losses",
            Self::Evaluate { .. } => "evaluations",
            Self::Quadratic { .. } => "a quadratic",
            Self::Shape(_) => "a likelihood",
            Self::Pinball(_) => "the pinball loss",
            Self::MomentsByFold { .. } => "moments of folds",
            Self::ScatterByFold { .. } => "means and cross products of folds",
            Self::Folds { .. } => "losses of folds",
            Self::BlockSolve { .. } => "block solutions",
            Self::Done(_) => "nothing more",
        }
    }
}

impl Answer {
    /// The answer's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Moments(_) => "moments",
            Self::Scatter(_) => "means and cross products",
            Self::Null(_) => "null losses",
            Self::Quadratic(_) => "a quadratic",
            Self::Shape(_) => "a likelihood",
            Self::Pinball(_) => "the pinball loss",
            Self::Evaluations(_) => "evaluations",
            Self::MomentsByFold(_) => "moments of folds",
            Self::ScatterByFold(_) => "means and cross products of folds",
            Self::Folds { .. } => "losses of folds",
            Self::Blocks(_) => "block solutions",
        }
    }
}

impl From<GradientDescent> for Machine {
    fn from(machine: GradientDescent) -> Self {
        Self::GradientDescent(machine)
    }
}

impl From<Irls> for Machine {
    fn from(machine: Irls) -> Self {
        Self::Irls(machine)
    }
}

impl From<Descent> for Machine {
    fn from(machine: Descent) -> Self {
        Self::Descent(machine)
    }
}

impl From<Admm> for Machine {
    fn from(machine: Admm) -> Self {
        Self::Admm(machine)
    }
}

fn mismatch(asked: &Ask, told: &Answer) -> Error {
    Error::Answer { asked: asked.name(), told: told.name() }
}

#[cfg(test)]
mod testing {
    //! A shell for tests: it answers from a few numbers and writes down what was asked.

    use super::{Answer, Ask, Machine};
    use crate::kernel::Rows;

    /// One column.
    #[derive(Clone, Copy)]
    pub(crate) struct Data {
        pub(crate) x: &'static [f64],
        pub(crate) y: &'static [f64],
    }

    impl Data {
        fn answer(self, machine: &Machine) -> Answer {
            let rows = Rows::plain(self.x, self.y, self.x.len() / self.y.len());
            crate::fit::answer(rows, machine.spec(), &machine.ask()).expect("an answer").expect("a question")
        }
    }

    /// Everything that is asked until the answer, which comes last. Between any two questions the machine travels.
    pub(crate) fn asks(mut machine: Machine, data: Data) -> Vec<Ask> {
        let mut asks = vec![machine.ask()];
        while !matches!(asks.last(), Some(Ask::Done(_))) {
            machine.tell(data.answer(&machine)).expect("the answer fits");
            let text = serde_json::to_string(&machine).expect("it can be saved");
            let resumed: Machine = serde_json::from_str(&text).expect("it can be resumed");
            assert_eq!(resumed, machine);
            machine = resumed;
            asks.push(machine.ask());
            assert!(asks.len() < 20_000, "it never ends");
        }
        asks
    }
}
