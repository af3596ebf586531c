//! What can go wrong while learning, each said with its place and its remedy.

use std::fmt;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter has a value that its estimator cannot work with.
    #[error("{name} is {value}, expected {expected}")]
    Parameter {
        /// The parameter, `step__param` inside a pipeline.
        name: String,
        /// The value it has.
        value: String,
        /// What it should have been, in words.
        expected: String,
    },
    /// A parameter that the estimator does not have.
    #[error("{estimator} has no parameter {name:?}{}; it has {}", nearest_text(.nearest), .known.join(", "))]
    UnknownParameter {
        /// The name that was asked for.
        name: String,
        /// The estimator's registered name.
        estimator: String,
        /// The known name that looks most like it.
        nearest: Option<String>,
        /// Every name there is, sorted.
        known: Vec<String>,
    },
    /// A metric or scorer that does not exist.
    #[error("there is no metric {name:?}{}; known are {}", nearest_text(.nearest), .known.join(", "))]
    UnknownMetric {
        /// The name that was asked for.
        name: String,
        /// The known name that looks most like it.
        nearest: Option<String>,
        /// Every name there is, sorted.
        known: Vec<String>,
    },
    /// X and y, or two vectors that belong together, differ in length.
    #[error("{left} has {n_left} rows and {right} has {n_right}; they must agree")]
    Length {
        /// What the first one is called.
        left: &'static str,
        /// Its rows.
        n_left: usize,
        /// What the second one is called.
        right: &'static str,
        /// Its rows.
        n_right: usize,
    },
    /// There are no rows, or no columns, to learn from.
    #[error("{what} is empty, expected at least one row and one column")]
    Empty {
        /// What is empty.
        what: &'static str,
    },
    /// Not the columns that the model learned from.
    #[error("X has {found} columns, but the model was fitted on {expected}")]
    NFeatures {
        /// Columns at fit.
        expected: usize,
        /// Columns now.
        found: usize,
    },
    /// A NaN or infinite number where only finite ones mean anything. Rows and columns count from 0.
    #[error("{what} has {value} in row {row}{}; drop or fill such rows first", column_text(.column))]
    NotFinite {
        /// `X` or `y`, or what else it is called.
        what: &'static str,
        /// The row, from 0.
        row: usize,
        /// The column, from 0; none for a vector.
        column: Option<usize>,
        /// The number itself.
        value: f64,
    },
    /// A value outside of what a metric or a loss is defined for. Rows count from 0.
    #[error("{metric}: {what} is {value} in row {row}, expected {expected}")]
    Domain {
        /// The metric.
        metric: &'static str,
        /// `y` or `prediction`.
        what: &'static str,
        /// The row, from 0.
        row: usize,
        /// The number itself.
        value: f64,
        /// What it should have been, in words.
        expected: &'static str,
    },
    /// A metric that compares classes was given only one.
    #[error("{metric} needs both classes in y, but every row is {class}")]
    OneClass {
        /// The metric.
        metric: &'static str,
        /// The only class there is.
        class: f64,
    },
    /// A metric that needs more rows than there are.
    #[error("{metric} needs {expected} rows or more, there are {n_rows}")]
    TooFewRows {
        /// The metric.
        metric: &'static str,
        /// Rows there are.
        n_rows: usize,
        /// Rows it needs.
        expected: usize,
    },
    /// A metric of two classes was given a model of another number.
    #[error("{metric} is for two classes, but the model has {n_classes}")]
    NotBinary {
        /// The metric.
        metric: &'static str,
        /// Classes the model knows.
        n_classes: usize,
    },
    /// The model gives no probabilities, but something asked for them.
    #[error("{model} gives no probabilities; choose a metric of means, as neg_mean_squared_error, or a classifier")]
    NoProbabilities {
        /// The model's registered name.
        model: String,
    },
    /// Rows have weights, but the estimator cannot take them.
    #[error("{estimator} takes no sample weights; leave them out or choose another estimator")]
    NoSampleWeights {
        /// The estimator's registered name.
        estimator: String,
    },
    /// What an estimator of linfa says.
    #[error("linfa: {problem}")]
    Linfa {
        /// In its words.
        problem: String,
    },
    /// More folds than rows, or fewer than two.
    #[error("n_splits is {n_splits}, expected 2 to {n_rows}, the number of rows")]
    Folds {
        /// Folds asked for.
        n_splits: usize,
        /// Rows there are.
        n_rows: usize,
    },
    /// A splitter that needs more about each row than it was given.
    #[error("{splitter} needs {what}, one number a row")]
    SplitterNeeds {
        /// The splitter.
        splitter: &'static str,
        /// `y` or `groups`.
        what: &'static str,
    },
    /// More folds than groups.
    #[error("n_splits is {n_splits}, expected 2 to {n_groups}, the number of groups")]
    TooFewGroups {
        /// Folds asked for.
        n_splits: usize,
        /// Groups there are.
        n_groups: usize,
    },
    /// No class has a row for each fold.
    #[error(
        "n_splits is {n_splits}, but the largest class in y has {largest} rows; expected classes with one row or more for each fold"
    )]
    ClassesTooSmall {
        /// Folds asked for.
        n_splits: usize,
        /// Rows of the largest class.
        largest: usize,
    },
    /// Fewer rows than a splitter's sizes take together.
    #[error("{splitter} needs {needed} rows or more for its sizes, there are {n_rows}")]
    TooFewRowsToSplit {
        /// The splitter.
        splitter: &'static str,
        /// Rows there are.
        n_rows: usize,
        /// Rows it needs.
        needed: usize,
    },
    /// A fold with nothing in one of its parts. Folds count from 0.
    #[error("{splitter} leaves no rows in the {part} part of fold {fold} of {n_rows} rows; leave out fewer")]
    EmptyFold {
        /// The splitter.
        splitter: &'static str,
        /// The fold, from 0.
        fold: usize,
        /// `train` or `test`.
        part: &'static str,
        /// Rows there are.
        n_rows: usize,
    },
    /// A fold that has rows of one class only where two are needed. Folds count from 0.
    #[error("fold {fold} has only class {class} in its {part} part; stratify the folds, shuffle them or take fewer")]
    OneClassFold {
        /// The fold, from 0.
        fold: usize,
        /// `train` or `test`.
        part: &'static str,
        /// The only class there is.
        class: f64,
    },
    /// What the array crate refuses: a column that is not there, or holds something else.
    #[error(transparent)]
    Array(#[from] phalanx_array::Error),
    /// A categorical column holds a level that was not there at fit. Rows count from 0.
    #[error(
        "column {column:?} has the level {level:?} in row {row} (counted from 0), which was not there at fit; \
         known are {}; drop such rows, or encode with unseen levels ignored",
        .known.join(", ")
    )]
    UnseenLevel {
        /// The column.
        column: String,
        /// The level.
        level: String,
        /// The first row that has it, from 0.
        row: usize,
        /// The levels there were at fit.
        known: Vec<String>,
    },
    /// A missing value where an encoder needs one. Rows count from 0.
    #[error("column {column:?} has a missing value in row {row} (counted from 0); drop or fill such rows first")]
    Missing {
        /// The column.
        column: String,
        /// The row, from 0.
        row: usize,
    },
    /// A formula that cannot be read.
    #[error(transparent)]
    Formula(Box<crate::formula::FormulaError>),
    /// An infinite number in a table's column. Rows count from 0.
    #[error("column {column:?} has {value} in row {row} (counted from 0); drop or fill such rows first")]
    Infinite {
        /// The column.
        column: String,
        /// The row, from 0.
        row: usize,
        /// The number itself.
        value: f64,
    },
    /// A model file that cannot be read or written.
    #[error("model file {path}: {problem}")]
    ModelFile {
        /// The file.
        path: String,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// The model does not give what it gave when it was saved. Rows count from 0.
    #[error("golden row {row}: {what} was {expected} and is {got} here; this program must not serve the model")]
    GoldenRow {
        /// The golden row, from 0.
        row: usize,
        /// `the prediction` or `the encoded row`.
        what: &'static str,
        /// What it was when the model was saved.
        expected: f64,
        /// What it is here.
        got: f64,
    },
    /// A value that cannot become JSON, or text that is not the JSON it should be.
    #[error("{what}: {problem}")]
    Json {
        /// What was written or read.
        what: String,
        /// What the codec said.
        problem: String,
    },
    /// An estimator broke a rule that all of them keep.
    #[error("{estimator} breaks the rule {rule:?}: {problem}")]
    Rule {
        /// The estimator's registered name.
        estimator: String,
        /// The rule, as [`check`](crate::check) names it.
        rule: &'static str,
        /// What was seen.
        problem: String,
    },
    /// What the cluster says: a task that failed, a scheduler that was lost.
    #[error(transparent)]
    Cluster(#[from] phalanx_runtime::Error),
    /// Another crate's error, as a solver's.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// A parameter whose value an estimator cannot work with: `"alpha is -1, expected 0 or more"`.
    pub fn parameter(name: impl Into<String>, value: impl fmt::Display, expected: impl Into<String>) -> Self {
        Self::Parameter { name: name.into(), value: value.to_string(), expected: expected.into() }
    }

    /// Carries the error of a crate above or beside this one; its message stays as it is.
    pub fn other(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Other(Box::new(error))
    }

    /// The same error for a part of the rows: the part begins with row `first_row` of the whole.
    #[must_use]
    pub fn from_row(mut self, first_row: usize) -> Self {
        if let Self::NotFinite { row, .. }
        | Self::Domain { row, .. }
        | Self::UnseenLevel { row, .. }
        | Self::Missing { row, .. }
        | Self::Infinite { row, .. } = &mut self
        {
            *row += first_row;
        }
        self
    }

    pub(crate) fn json(what: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self::Json { what: what.into(), problem: problem.to_string() }
    }
}

/// The known name that looks most like `name`, if one does.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    phalanx_array::schema::nearest(name, known).map(str::to_owned)
}

fn nearest_text(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!(" (did you mean {name:?}?)"))
}

fn column_text(column: &Option<usize>) -> String {
    column.map_or_else(String::new, |column| format!(", column {column}"))
}
