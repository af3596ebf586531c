//! What can go wrong in this crate alone; mistakes in parameters and data are [`phalanx_learn::Error`]s.

/// What went wrong between a solver and the shell that drives it, or inside the numbers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The shell answered another question than the one that was asked.
    #[error("the solver asked for {asked} and was told {told}; drive it by answering each ask() with one tell()")]
    Answer {
        /// What `ask` wanted.
        asked: &'static str,
        /// What `tell` was given.
        told: &'static str,
    },
    /// Finite numbers whose squares are not. Columns count from 0.
    #[error("{what} is too large to square in f64; divide it by a constant first")]
    Overflow {
        /// `column 3 of X`, or `y`.
        what: String,
    },
    /// Every weight is 0.
    #[error("the weights sum to 0, so no row is left to learn from; give at least one row a weight above 0")]
    NoWeight,
    /// y has one value only, at the end of its range, so a path has nowhere to begin.
    #[error("{family}: y is {y} in every row, so there is no finite optimum and no path to it")]
    OneClass {
        /// The family.
        family: &'static str,
        /// The value.
        y: f64,
    },
    /// No penalised column says anything of y, so every penalty has the same answer.
    #[error(
        "no penalised column says anything of y, so there is no largest penalty for a path to begin at; \
         is y constant, or every penalty factor 0?"
    )]
    NoPath,
    /// y is of one class only. Classes are codes.
    #[error(
        "multinomial: y is {class} in every row, so there is nothing to tell apart; give rows of two classes or more"
    )]
    SingleClass {
        /// The class.
        class: f64,
    },
    /// y has so many values that they are hardly classes.
    #[error("multinomial: y has more than {most} values, too many for classes; is it the right column?")]
    TooManyClasses {
        /// The most that are allowed.
        most: usize,
    },
    /// The family has no mean where the solver would begin.
    #[error(
        "the {family} family has no mean at the linear predictor {intercept} under the {link} link; \
         fit an intercept, or choose the log link"
    )]
    NoStart {
        /// The family.
        family: String,
        /// The link.
        link: String,
        /// The linear predictor.
        intercept: f64,
    },
    /// y has one value only, at the end of its range.
    #[error("{family}: y has one value only, at the end of its range, so there is no finite optimum")]
    NoOptimum {
        /// The family.
        family: &'static str,
    },
    /// A row has no mean at the coefficients learned from those before.
    #[error(
        "the {family} family has no mean for some row where the fit begins; choose the log link, or refit all rows"
    )]
    Beyond {
        /// The family.
        family: String,
    },
    /// A column that had one value varies now. Columns count from 0.
    #[error(
        "column {column} of X had one value in the first chunk, so nothing is kept of what it says of those rows; \
         begin with rows in which it varies, or refit all rows"
    )]
    WasConstant {
        /// The column.
        column: usize,
    },
    /// The likelihood has no maximum by the family's own parameter.
    #[error("{parameter} has no estimate: {why}")]
    NoEstimate {
        /// `theta` or `power`.
        parameter: &'static str,
        /// Where the likelihood leads.
        why: &'static str,
    },
    /// The library that solves ADMM's blocks gave up.
    #[error("the rows {start}..{end} could not be solved: {message}")]
    Block {
        /// The first row of the block.
        start: usize,
        /// One past the last row of the block.
        end: usize,
        /// What the library said.
        message: String,
    },
}

impl From<Error> for phalanx_learn::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}
