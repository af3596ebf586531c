//! Wilkinson formulas, as `y ~ a * C(b) + ns(x, df=4) + offset(log(n))`: which columns become what, in one line.
//!
//! `parse` reads the text, `terms` knows the algebra, `design` makes numbers of a table. None of them knows an
//! estimator.

mod design;
mod parse;
mod terms;

use std::{collections::BTreeSet, fmt};

use phalanx_array::{Schema, Table, TableBlock};
use phalanx_runtime::Client;

pub(crate) use self::design::FittedFormula;
use self::terms::Term;
use crate::{
    Error, Fit, FitOn, Result,
    preprocess::{FittedTableEncoder, TableEncoder},
};

/// A formula, read: what is to be predicted, and what from.
///
/// | written | meaning |
/// |---|---|
/// | `y ~`, `log(y) ~` | the column to predict, or its logarithm |
/// | `a + b`, `a - b` | both; the first without the second |
/// | `a : b` | the product of the two, for every level of categories |
/// | `a * b` | `a + b + a:b` |
/// | `(a + b)^2`, `**` | all products of up to so many of the terms |
/// | `1`, `0` | the intercept, which is there unless `- 1` or `0 +` takes it away; nothing |
/// | `.` | all columns that are neither to be predicted nor an offset |
/// | `C(b)` | a column of numbers as categories; text is categories anyway |
/// | `log(x)`, `ns(x, df=4)` | the logarithm; a natural cubic spline, as [`NaturalSpline`](crate::preprocess::NaturalSpline) |
/// | `offset(x)`, `offset(log(n))` | added to the linear predictor, with no coefficient |
/// | `` `a b` `` | a column whose name has other letters than those of words |
///
/// Categories have a column `b=x` for each level but the first, or for every level where one less would leave something
/// out, as without an intercept: no column is a combination of those before it because of how levels are coded.
///
/// ```
/// use phalanx_array::{Column, Field, Schema, TableBlock};
/// use phalanx_learn::{Fit, formula::Formula};
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let formula = Formula::parse("y ~ a * b")?;
/// assert_eq!(formula.response().column, "y");
/// let schema = Schema::new(vec![Field::number("a"), Field::categorical("b", ["u", "v"])])?;
/// let block = TableBlock::new(vec![Column::number(vec![1., 2.]), Column::categorical(vec![0, 1])])?;
/// let encoder = formula.encoder(&[])?.fit((&schema, &block), ())?;
/// assert_eq!(encoder.feature_names(), ["a", "b=v", "a:b=v"]);
///
/// let error = Formula::parse("y ~ a + * b").unwrap_err().to_string();
/// assert_eq!(error, "formula: *, expected a column\n  y ~ a + * b\n          ^");
/// # Ok(())
/// # }
/// ```
///
/// Source: G. N. Wilkinson, C. E. Rogers, "Symbolic description of factorial models for analysis of variance" (1973), as
/// R and patsy write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Formula {
    text: String,
    tree: Tree,
}

/// What is to be predicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The column.
    pub column: String,
    /// Whether it is the column's logarithm.
    pub log: bool,
}

/// What is added to the linear predictor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offset {
    /// The column.
    pub column: String,
    /// Whether it is the column's logarithm.
    pub log: bool,
}

/// What is wrong with a formula's text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormulaError {
    /// The text.
    pub formula: String,
    /// Where it is wrong, in letters from its begin.
    pub place: usize,
    /// What is there, and what was expected.
    pub problem: String,
}

/// A formula and the columns that `.` stands for: learns a table's levels, ranges and knots.
#[derive(Debug, Clone)]
pub struct FormulaEncoder {
    text: String,
    terms: Vec<Term>,
    table: TableEncoder,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tree {
    response: Response,
    node: Node,
    offsets: Vec<Offset>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Intercept,
    Nothing,
    Dot,
    /// Is kept beside the tree.
    Offset,
    Factor(Factor),
    /// Each part with whether it is added, or taken away.
    Sum(Vec<(bool, Self)>),
    Cross(Box<Self>, Box<Self>),
    Interact(Box<Self>, Box<Self>),
    Power(Box<Self>, u32),
}

/// A column, or what is made of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Factor {
    Column(String),
    Categories(String),
    Log(String),
    Spline { column: String, df: usize },
}

impl Formula {
    /// Reads a formula's text.
    ///
    /// # Errors
    /// [`Error::Formula`] with the place where it is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let mut tree = parse::parse(text).map_err(|error| Error::Formula(Box::new(error)))?;
        let categories: BTreeSet<String> = tree.node.factors().filter_map(Factor::as_categories).cloned().collect();
        // A column that is once C(b) is categories wherever it stands.
        tree.node.each_factor(&mut |factor| {
            if let Factor::Column(column) = factor
                && categories.contains(column)
            {
                *factor = Factor::Categories(column.clone());
            }
        });
        Ok(Self { text: text.to_owned(), tree })
    }

    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What is to be predicted.
    pub const fn response(&self) -> &Response {
        &self.tree.response
    }

    /// What is added to the linear predictor: one column, and one column's logarithm, at most.
    pub fn offsets(&self) -> &[Offset] {
        &self.tree.offsets
    }

    /// Whether it names all other columns by `.`.
    pub fn has_dot(&self) -> bool {
        self.tree.node.has_dot()
    }

    /// The columns that it names to learn from, sorted; those of `.` are not among them.
    pub fn columns(&self) -> Vec<&str> {
        let columns: BTreeSet<&str> = self.tree.node.factors().map(Factor::column).collect();
        columns.into_iter().collect()
    }

    /// The columns that are categories whatever they hold.
    pub fn categorical(&self) -> Vec<&str> {
        let columns: BTreeSet<&str> =
            self.tree.node.factors().filter_map(Factor::as_categories).map(String::as_str).collect();
        columns.into_iter().collect()
    }

    /// The encoder, where `.` stands for `dot`.
    ///
    /// # Errors
    /// When there are too many terms, or too many factors in one.
    pub fn encoder(&self, dot: &[String]) -> Result<FormulaEncoder> {
        let categories = self.categorical();
        let factor = |column: &String| {
            let is_category = categories.contains(&column.as_str());
            if is_category { Factor::Categories(column.clone()) } else { Factor::Column(column.clone()) }
        };
        let terms = terms::expand(&self.tree, &dot.iter().map(factor).collect::<Vec<_>>())?;
        Ok(FormulaEncoder { text: self.text.clone(), terms, table: TableEncoder::new() })
    }
}

impl FormulaEncoder {
    /// Sets how columns are encoded: the levels left out, what is unseen, what is missing. Which columns, and whether a
    /// level is left out, is the formula's.
    #[must_use]
    pub fn table_encoder(mut self, encoder: TableEncoder) -> Self {
        self.table = encoder;
        self
    }

    /// Sets whether the model has an intercept, which decides how the first categories are coded.
    #[must_use]
    pub fn intercept(mut self, intercept: bool) -> Self {
        self.terms.retain(|term| !term.is_empty());
        if intercept {
            self.terms.insert(0, Term::new());
        }
        self
    }

    /// Whether the model is to have an intercept.
    pub fn has_intercept(&self) -> bool {
        self.terms.iter().any(Vec::is_empty)
    }

    /// The columns to learn from, each once, in the order of the terms.
    pub fn columns(&self) -> Vec<&str> {
        let mut columns = Vec::new();
        for factor in self.terms.iter().flatten() {
            if !columns.contains(&factor.column()) {
                columns.push(factor.column());
            }
        }
        columns
    }

    /// The encoder of the columns alone.
    fn raw(&self) -> TableEncoder {
        self.table.clone().columns(self.columns()).drop_first(false)
    }

    /// The columns of which more than ranges and levels has to be known.
    fn splines(&self) -> BTreeSet<&str> {
        let mut splines = BTreeSet::new();
        for factor in self.terms.iter().flatten() {
            if let Factor::Spline { column, .. } = factor {
                splines.insert(column.as_str());
            }
        }
        splines
    }
}

impl Fit<(&Schema, &TableBlock), ()> for FormulaEncoder {
    type Model = FittedTableEncoder;

    fn fit(&self, (schema, block): (&Schema, &TableBlock), (): ()) -> Result<FittedTableEncoder> {
        let raw = self.raw().fit((schema, block), ())?;
        design::fit(&self.text, &self.terms, raw, |column| {
            let numbers = block.column(schema.position(column)?).numbers();
            numbers.map(<[f64]>::to_vec).ok_or_else(|| design::not_numbers(column))
        })
    }
}

impl FitOn<Table, ()> for FormulaEncoder {
    type Model = FittedTableEncoder;

    /// The columns of splines come here, one at a time, since their knots are quantiles.
    async fn fit_on(&self, client: &Client, table: &Table, (): &()) -> Result<FittedTableEncoder> {
        let raw = client.compute(&self.raw().fit_lazy(table)?).await?.0;
        let mut numbers = std::collections::BTreeMap::new();
        for column in self.splines() {
            let values = client.compute(&table.column(column)?).await?;
            numbers.insert(column.to_owned(), values.iter().copied().collect::<Vec<f64>>());
        }
        design::fit(&self.text, &self.terms, raw, |column| {
            numbers.get(column).cloned().ok_or_else(|| design::not_numbers(column))
        })
    }
}

impl Node {
    fn children(&self) -> Vec<&Self> {
        match self {
            Self::Sum(parts) => parts.iter().map(|(_, node)| node).collect(),
            Self::Cross(a, b) | Self::Interact(a, b) => vec![a, b],
            Self::Power(base, _) => vec![base],
            Self::Intercept | Self::Nothing | Self::Dot | Self::Offset | Self::Factor(_) => Vec::new(),
        }
    }

    fn has_dot(&self) -> bool {
        *self == Self::Dot || self.children().into_iter().any(Self::has_dot)
    }

    fn factors(&self) -> impl Iterator<Item = &Factor> {
        let mut open = vec![self];
        let mut found = Vec::new();
        while let Some(node) = open.pop() {
            if let Self::Factor(factor) = node {
                found.push(factor);
            }
            open.extend(node.children().into_iter().rev());
        }
        found.into_iter()
    }

    fn each_factor(&mut self, change: &mut impl FnMut(&mut Factor)) {
        match self {
            Self::Factor(factor) => change(factor),
            Self::Sum(parts) => parts.iter_mut().for_each(|(_, node)| node.each_factor(change)),
            Self::Cross(a, b) | Self::Interact(a, b) => {
                a.each_factor(change);
                b.each_factor(change);
            }
            Self::Power(base, _) => base.each_factor(change),
            Self::Intercept | Self::Nothing | Self::Dot | Self::Offset => {}
        }
    }
}

impl Factor {
    fn column(&self) -> &str {
        match self {
            Self::Column(column) | Self::Categories(column) | Self::Log(column) | Self::Spline { column, .. } => column,
        }
    }

    const fn as_categories(&self) -> Option<&String> {
        if let Self::Categories(column) = self { Some(column) } else { None }
    }
}

impl FormulaError {
    fn new(formula: &str, place: usize, problem: impl Into<String>) -> Self {
        Self { formula: formula.to_owned(), place, problem: problem.into() }
    }
}

impl fmt::Display for FormulaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A line for each line would take the caret away from its letter.
        let line: String =
            self.formula.chars().map(|letter| if letter.is_whitespace() { ' ' } else { letter }).collect();
        write!(f, "formula: {}\n  {line}\n  {}^", self.problem, " ".repeat(self.place))
    }
}

impl std::error::Error for FormulaError {}
