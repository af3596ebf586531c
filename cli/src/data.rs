//! Which columns of which files: from names on a command line to a design matrix on the cluster.
//!
//! Knows nothing of estimators.

mod source;

use phalanx_array::{ChunkedArray, Schema, Table, TableBlock};
use phalanx_datasets::{CsvOptions, TableIndex, index_table};
use phalanx_engine::graph::Delayed;
use phalanx_glm::ChunkedDesign;
use phalanx_learn::{
    Error as LearnError, FitOn, Json, Transform,
    formula::Formula,
    preprocess::{EncodedColumn, FittedTableEncoder, Missing, TableEncoder, drop_missing},
};
use phalanx_runtime::{Client, Error as ClusterError};

use self::source::Source;
use crate::{
    Error, Result,
    error::did_you_mean,
    roles::{Roles, Sides, level_numbers},
};

/// Columns of all categories together above which they are kept as codes.
const MANY: usize = 50;

/// Rows of the table that golden rows are drawn from.
const N_SAMPLE: usize = 256;

/// Data files, and the columns to take from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Design {
    /// Files and patterns.
    pub(crate) data: Vec<String>,
    /// The column to predict.
    pub(crate) target: String,
    /// Whether it is the target's logarithm that is predicted.
    pub(crate) log_target: bool,
    /// What is made of the columns to learn from, where it is not each of them by itself.
    pub(crate) formula: Option<Formula>,
    /// The columns to learn from.
    pub(crate) selection: Selection,
    /// Columns of numbers to treat as categories.
    pub(crate) categorical: Vec<String>,
    /// Which level of a categorical column is left out, as `column=level`.
    pub(crate) reference: Vec<String>,
    /// Whether the model is to have no intercept, whatever a formula says.
    pub(crate) no_intercept: bool,
    /// What is done with missing values.
    pub(crate) missing: MissingPolicy,
    /// Whether the target is one of several classes: any number of levels where it is text.
    pub(crate) classes: bool,
    /// Columns that are nothing to learn from.
    pub(crate) roles: Roles,
}

/// What is done with missing values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum MissingPolicy {
    /// They are refused.
    #[default]
    Error,
    /// Their rows are left out.
    Drop,
    /// Something stands for them.
    Mean,
}

impl MissingPolicy {
    /// A policy by its name.
    pub(crate) fn of(name: &str) -> Result<Self> {
        match name {
            "error" => Ok(Self::Error),
            "drop" => Ok(Self::Drop),
            "mean" => Ok(Self::Mean),
            other => {
                let near = did_you_mean(other, ["error", "drop", "mean"]);
                Err(Error::usage(format!("missing is {other:?}, expected one of error, drop, mean{near}")))
            }
        }
    }
}

/// The columns to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// These.
    Features(Vec<String>),
    /// All but these and the target.
    Drop(Vec<String>),
}

/// What an estimator can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Takes {
    /// Categories as codes.
    pub(crate) codes: bool,
    /// A design matrix that is read from its files whenever it is gone over.
    pub(crate) reads: bool,
}

/// Data on the workers, as numbers.
pub(crate) struct Loaded {
    /// The design matrix in chunks of rows, computed unless it is `sparse` or read from its files again and again.
    pub(crate) x: ChunkedArray,
    /// The same with categories as codes, where that was allowed and they have many levels.
    pub(crate) sparse: Option<ChunkedDesign>,
    /// The target, computed, in the same chunks.
    pub(crate) y: ChunkedArray,
    /// What else is known of each row, in the same chunks.
    pub(crate) sides: Sides,
    /// How a table becomes X.
    pub(crate) encoder: FittedTableEncoder,
    /// The names of X's columns.
    pub(crate) names: Vec<String>,
    /// What 1 stands for where the target is a text of two levels.
    pub(crate) positive: Option<String>,
    /// What the target's numbers stand for where it is text: 0 for the first of these, 1 for the next.
    pub(crate) levels: Vec<String>,
    /// Whether the model is to have an intercept.
    pub(crate) has_intercept: bool,
    /// How many rows were left out since they miss something.
    pub(crate) n_dropped: usize,
    /// The first rows of the table, to draw golden rows from.
    pub(crate) sample: (Schema, TableBlock),
}

impl Design {
    /// Indexes the files here, then reads and encodes them on the workers; categories of many levels as codes where
    /// the estimator can take them, and a large design matrix not before it is gone over.
    pub(crate) async fn load(&self, client: &Client, takes: Takes) -> Result<Loaded> {
        let (index, table) = self.table()?;
        let features = self.features(&table)?;
        let formula = self.formula.as_ref().map(|formula| formula.encoder(&features)).transpose();
        let formula = formula.map_err(Error::failed)?;
        // A formula may take some of all columns away.
        let features =
            formula.as_ref().map_or(features, |formula| formula.columns().into_iter().map(str::to_owned).collect());
        // Which rows are left without those that miss something is known when they were read.
        let again = takes.reads && self.missing != MissingPolicy::Drop;
        let mut source = Source::bring(client, &index, again).await?;
        let (mut has_intercept, mut n_dropped) = (!self.no_intercept, 0);
        if self.missing == MissingPolicy::Drop {
            let dropped = self.dropped(client, source.table(), &features).await?;
            (source, n_dropped) = (Source::kept(dropped.0), dropped.1);
        }
        let table = source.table();
        let missing = if self.missing == MissingPolicy::Mean { Missing::Mean } else { Missing::Error };
        let x_encoder = self.referring(TableEncoder::new().missing(missing), table)?;
        let x_encoder = match formula {
            None => x_encoder.columns(features).fit_lazy(table).map_err(Error::failed)?,
            Some(formula) => {
                let encoder = formula.table_encoder(x_encoder);
                let encoder = if self.no_intercept { encoder.intercept(false) } else { encoder };
                has_intercept = encoder.has_intercept();
                Delayed::value(Json(encoder.fit_on(client, table, &()).await.map_err(of_learning)?))
            }
        };
        let y_encoder = TableEncoder::new().columns([&self.target]).fit_lazy(table).map_err(Error::failed)?;
        let sides_encoder = self.roles.encoder().fit_lazy(table).map_err(Error::failed)?;
        let encoders = client.compute(&(x_encoder, y_encoder, sides_encoder)).await.map_err(on_cluster)?;
        let (encoder, y_encoder) = (encoders.0.into_inner(), encoders.1.into_inner());
        let levels = self.levels(&y_encoder)?;
        let positive = levels.get(1).filter(|_| levels.len() == 2).cloned();
        let sides = self.roles.sides(client, &source.with(&self.roles.columns())?, &encoders.2).await?;
        if encoder.n_features() == 0 {
            return Err(Error::failed("no column is left to learn from: each has one level only; name other features"));
        }
        let x = source.matrix(&encoder, self.formula.is_some())?;
        let target = source.with(&[&self.target])?;
        let y = if levels.is_empty() {
            y_encoder.transform(&target).and_then(|y| Ok(y.column(0)?)).map_err(Error::failed)?
        } else {
            level_numbers(&target, &self.target, &levels)?
        };
        let y = if self.log_target { self.logarithm(&y, &y_encoder)? } else { y };
        let sample = table.slice_rows(0..table.n_rows().min(N_SAMPLE)).map_err(Error::failed)?;
        // Products of categories are numbers like others.
        let sparse = takes.codes && self.formula.is_none() && n_of_categories(&encoder) > MANY;
        let sparse = sparse.then(|| ChunkedDesign::from_table(&encoder, table)).transpose().map_err(Error::failed)?;
        let (x, y) = if sparse.is_some() || source.is_read_again() {
            (x, client.persist(&y).await.map_err(on_cluster)?)
        } else {
            client.persist(&(x, y)).await.map_err(on_cluster)?
        };
        self.roles.check_trials(client, (&self.target, &y), &sides).await?;
        let sample = (table.schema().clone(), client.compute(&sample).await.map_err(on_cluster)?);
        let names = encoder.feature_names();
        Ok(Loaded { x, sparse, y, sides, encoder, names, positive, levels, has_intercept, n_dropped, sample })
    }

    /// The rows that miss nothing that is used.
    async fn dropped(&self, client: &Client, table: &Table, features: &[String]) -> Result<(Table, usize)> {
        let used = features.iter().map(String::as_str).chain([self.target.as_str()]).chain(self.roles.columns());
        let (table, n_dropped) = match drop_missing(client, table, &used.collect::<Vec<_>>()).await {
            Ok(found) => found,
            Err(error) => return Err(of_learning(error)),
        };
        if table.n_rows() == 0 {
            let message = format!("every one of {n_dropped} rows misses something that is used, so none is left");
            return Err(Error::failed(message));
        }
        Ok((table, n_dropped))
    }

    /// The logarithm of the target, all of which must be above 0.
    fn logarithm(&self, y: &ChunkedArray, encoder: &FittedTableEncoder) -> Result<ChunkedArray> {
        match encoder.columns().first() {
            Some(EncodedColumn::Number { min, .. }) if *min > 0. => Ok(y.ln()),
            Some(EncodedColumn::Number { min, .. }) => {
                Err(Error::failed(format!("log({}) of {min}, expected a target above 0", self.target)))
            }
            _ => Err(Error::failed(format!("log({}) of text, expected a target of numbers", self.target))),
        }
    }

    /// The name under which the target is known.
    pub(crate) fn target_name(&self) -> String {
        if self.log_target { format!("log({})", self.target) } else { self.target.clone() }
    }

    /// What the files have, and the table that they are.
    fn table(&self) -> Result<(TableIndex, Table)> {
        self.check_roles()?;
        let roles = self.roles.columns();
        let options = CsvOptions::new().categorical(&self.categorical).numeric(self.roles.numbers());
        let options = match &self.selection {
            Selection::Features(features) => {
                if features.contains(&self.target) {
                    let message =
                        format!("{:?} is both the target and a feature; remove it from the features", self.target);
                    return Err(Error::usage(message));
                }
                let features = features.iter().chain([&self.target]).map(String::as_str);
                options.columns(features.chain(roles))
            }
            Selection::Drop(dropped) => {
                if dropped.contains(&self.target) {
                    return Err(Error::usage(format!("{:?} is the target and cannot be dropped", self.target)));
                }
                // Who drops a column by hand that is no feature means just that.
                options.drop(dropped.iter().filter(|name| !self.roles.has(name)))
            }
        };
        let index = index_table(self.data.clone(), &options).map_err(Error::failed)?;
        let table = index.table(None).map_err(Error::failed)?;
        table.schema().position(&self.target).map_err(Error::failed)?;
        if table.n_rows() == 0 {
            return Err(Error::failed(format!(
                "{} has no rows, only a header; there is nothing to learn",
                self.data.join(", ")
            )));
        }
        Ok((index, table))
    }

    /// Refuses a column that is to be two things which exclude each other.
    fn check_roles(&self) -> Result<()> {
        for (role, column) in self.roles.named() {
            let other = match &self.selection {
                _ if column == self.target => "the target",
                Selection::Features(features) if features.iter().any(|name| name == column) => "a feature",
                _ if self.categorical.iter().any(|name| name == column) => "categorical",
                _ => continue,
            };
            let message = format!("{column:?} is named as {role} and as {other}, expected one of them");
            return Err(Error::usage(message));
        }
        Ok(())
    }

    /// The encoder with the levels that are to be left out.
    fn referring(&self, encoder: TableEncoder, table: &Table) -> Result<TableEncoder> {
        let mut all: Vec<&str> = Vec::new();
        self.reference.iter().try_fold(encoder, |encoder, text| {
            // Names and levels may have `=` in them: the column is one that there is, where that helps.
            let mut splits = text.match_indices('=').map(|(place, _)| (&text[..place], &text[place + 1..]));
            let found = splits.clone().find(|(column, _)| table.schema().position(column).is_ok());
            let Some((column, level)) = found.or_else(|| splits.next()) else {
                return Err(Error::usage(format!("reference is {text:?}, expected COLUMN=LEVEL")));
            };
            if all.contains(&column) {
                return Err(Error::usage(format!("reference names {column:?} twice, expected one level a column")));
            }
            all.push(column);
            Ok(encoder.reference(column, level))
        })
    }

    /// The columns to learn from, in the order in which they were named, or in the files'.
    fn features(&self, table: &Table) -> Result<Vec<String>> {
        let features: Vec<String> = match &self.selection {
            Selection::Features(features) => features.clone(),
            Selection::Drop(_) => {
                let is_feature = |name: &&str| *name != self.target && !self.roles.has(name);
                table.schema().names().filter(is_feature).map(str::to_owned).collect()
            }
        };
        if features.is_empty() {
            let others = self.roles.columns().len();
            let only = if others == 0 { "is the only column" } else { "and what belongs to it are the only columns" };
            return Err(Error::failed(format!("{:?} {only}, so there is nothing to learn from", self.target)));
        }
        Ok(features)
    }

    /// What the target's numbers stand for where it is a text; only classes can have more than two levels.
    fn levels(&self, encoder: &FittedTableEncoder) -> Result<Vec<String>> {
        let Some(EncodedColumn::Categorical { levels, .. }) = encoder.columns().first() else { return Ok(Vec::new()) };
        if let Some(trials) = &self.roles.trials {
            let message = format!("the target {:?} is text, expected numbers of successes of {trials:?}", self.target);
            return Err(Error::failed(message));
        }
        match &levels[..] {
            [only] if self.classes => Err(Error::failed(format!(
                "the target {:?} is {only:?} in every row, expected two classes or more",
                self.target
            ))),
            [_, _] => Ok(levels.clone()),
            _ if self.classes => Ok(levels.clone()),
            _ => Err(Error::failed(format!(
                "the target {:?} is text with {} levels, expected numbers or two levels",
                self.target,
                levels.len()
            ))),
        }
    }
}

/// What learning said; of a failed task its own words.
fn of_learning(error: LearnError) -> Error {
    match error {
        LearnError::Cluster(error) => on_cluster(error),
        other => Error::failed(other),
    }
}

/// How many columns categories become.
fn n_of_categories(encoder: &FittedTableEncoder) -> usize {
    let numbers = encoder.columns().iter().filter(|column| matches!(column, EncodedColumn::Number { .. })).count();
    encoder.n_features() - numbers
}

/// What the cluster said: of a failed task its own words, since it is data that fail and not functions.
pub(crate) fn on_cluster(error: ClusterError) -> Error {
    use phalanx_engine::task::TaskError;
    match error {
        ClusterError::Task { source: TaskError::Failed { message, .. } } => Error::failed(message),
        other => Error::failed(other),
    }
}
