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
pub mod gradient;
mod setup;

use serde::{Deserialize, Serialize};

pub use admm::Admm;
pub use block::{BlockProblem, BlockSolution};
pub use gradient::GradientDescent;
pub use setup::{Coordinates, Spec};

use crate::{
    error::Error,
    kernel::{Evaluation, Moments},
    report::Report,
};

/// What a solver wants to know next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// The moments of the data.
    Moments,
    /// Loss and gradient over all rows, at each of a few points, in one pass.
    Evaluate {
        /// At least one.
        points: Vec<Coefficients>,
    },
    /// The minimum of each of ADMM's block problems.
    BlockSolve {
        /// One a block, in the order of their rows.
        blocks: Vec<BlockProblem>,
    },
    /// Nothing: this is the answer.
    Done(Solution),
}

/// Raw coefficients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coefficients {
    /// Length n_features.
    pub coef: Vec<f64>,
    /// 0 where none is fitted.
    pub intercept: f64,
}

/// What a shell answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Ask::Moments`].
    Moments(Moments),
    /// To [`Ask::Evaluate`]: one a point, in the order asked.
    Evaluations(Vec<Evaluation>),
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
}

/// Either solver.
///
/// ```
/// use phalanx_glm::{Family, solver::{Ask, Answer, Machine, Spec}};
///
/// let mut machine = Machine::gradient_descent(Spec { family: Family::Gaussian, ..Spec::default() });
/// assert_eq!(machine.ask(), Ask::Moments);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Machine {
    /// Proximal gradient descent.
    GradientDescent(GradientDescent),
    /// Consensus ADMM.
    Admm(Admm),
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

    /// What it wants to know. Asking twice gives the same question.
    pub fn ask(&self) -> Ask {
        match self {
            Self::GradientDescent(machine) => machine.ask(),
            Self::Admm(machine) => machine.ask(),
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
        }
    }
}

impl Ask {
    /// The question's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Moments => "moments",
            Self::Evaluate { .. } => "evaluations",
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
            Self::Evaluations(_) => "evaluations",
            Self::Blocks(_) => "block solutions",
        }
    }
}

impl From<GradientDescent> for Machine {
    fn from(machine: GradientDescent) -> Self {
        Self::GradientDescent(machine)
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
            let rows = Rows { x: self.x, y: self.y, n_features: self.x.len() / self.y.len(), first_panel: 0 };
            let family = match machine {
                Machine::GradientDescent(machine) => machine.family(),
                Machine::Admm(machine) => machine.family(),
            };
            match machine.ask() {
                Ask::Moments => Answer::Moments(rows.moments(family).expect("rows").finish()),
                Ask::Evaluate { points } => {
                    Answer::Evaluations(rows.evaluate(family, &points).expect("rows").finish().0)
                }
                Ask::BlockSolve { blocks } => {
                    let solve = |block: &super::BlockProblem| block.solve(rows.slice(block.rows.clone()));
                    Answer::Blocks(blocks.iter().map(|block| solve(block).expect("solved")).collect())
                }
                Ask::Done(_) => unreachable!("nothing was asked"),
            }
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
