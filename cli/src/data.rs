//! Which columns of which files: from names on a command line to a design matrix on the cluster.
//!
//! Knows nothing of estimators.

use phalanx_array::{ChunkedArray, Schema, Table, TableBlock};
use phalanx_datasets::{CsvOptions, read_table};
use phalanx_glm::ChunkedDesign;
use phalanx_learn::{
    Transform,
    preprocess::{EncodedColumn, FittedTableEncoder, TableEncoder},
};
use phalanx_runtime::{Client, Error as ClusterError};

use crate::{
    Error, Result,
    roles::{Roles, Sides},
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
    /// The columns to learn from.
    pub(crate) selection: Selection,
    /// Columns of numbers to treat as categories.
    pub(crate) categorical: Vec<String>,
    /// Which level of a categorical column is left out, as `column=level`.
    pub(crate) reference: Vec<String>,
    /// Columns that are nothing to learn from.
    pub(crate) roles: Roles,
}

/// The columns to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// These.
    Features(Vec<String>),
    /// All but these and the target.
    Drop(Vec<String>),
}

/// Data on the workers, as numbers.
pub(crate) struct Loaded {
    /// The design matrix in chunks of rows, computed unless it is `sparse`.
    pub(crate) x: ChunkedArray,
    /// The same with categories as codes, where that was allowed and they have many levels.
    pub(crate) sparse: Option<ChunkedDesign>,
    /// The target, computed, in the same chunks.
    pub(crate) y: ChunkedArray,
    /// What else is known of each row, computed, in the same chunks.
    pub(crate) sides: Sides,
    /// How a table becomes X.
    pub(crate) encoder: FittedTableEncoder,
    /// The names of X's columns.
    pub(crate) names: Vec<String>,
    /// What 1 stands for where the target is a text of two levels.
    pub(crate) positive: Option<String>,
    /// The first rows of the table, to draw golden rows from.
    pub(crate) sample: (Schema, TableBlock),
}

impl Design {
    /// Indexes the files here, then reads and encodes them on the workers; categories of many levels as codes where
    /// the estimator can take them.
    pub(crate) async fn load(&self, client: &Client, takes_codes: bool) -> Result<Loaded> {
        let table = self.table()?;
        let features = self.features(&table)?;
        let table = client.persist(&table).await.map_err(on_cluster)?;
        let x_encoder = self.referring(TableEncoder::new().columns(features), &table)?;
        let x_encoder = x_encoder.fit_lazy(&table).map_err(Error::failed)?;
        let y_encoder = TableEncoder::new().columns([&self.target]).fit_lazy(&table).map_err(Error::failed)?;
        let sides_encoder = self.roles.encoder().fit_lazy(&table).map_err(Error::failed)?;
        let encoders = client.compute(&(x_encoder, y_encoder, sides_encoder)).await.map_err(on_cluster)?;
        let (encoder, y_encoder) = (encoders.0.into_inner(), encoders.1.into_inner());
        let positive = self.positive(&y_encoder)?;
        let sides = self.roles.sides(client, &table, &encoders.2).await?;
        if encoder.n_features() == 0 {
            return Err(Error::failed("no column is left to learn from: each has one level only; name other features"));
        }
        let x = encoder.transform(&table).map_err(Error::failed)?;
        let y = y_encoder.transform(&table).and_then(|y| Ok(y.column(0)?)).map_err(Error::failed)?;
        let sample = table.slice_rows(0..table.n_rows().min(N_SAMPLE)).map_err(Error::failed)?;
        let sparse = takes_codes && n_of_categories(&encoder) > MANY;
        let sparse = sparse.then(|| ChunkedDesign::from_table(&encoder, &table)).transpose().map_err(Error::failed)?;
        let (x, y) = match sparse {
            Some(_) => (x, client.persist(&y).await.map_err(on_cluster)?),
            None => client.persist(&(x, y)).await.map_err(on_cluster)?,
        };
        self.roles.check_trials(client, (&self.target, &y), &sides).await?;
        let sample = (table.schema().clone(), client.compute(&sample).await.map_err(on_cluster)?);
        let names = encoder.feature_names();
        Ok(Loaded { x, sparse, y, sides, encoder, names, positive, sample })
    }

    /// The table as the files have it.
    fn table(&self) -> Result<Table> {
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
        let table = read_table(self.data.clone(), &options).map_err(Error::failed)?;
        table.schema().position(&self.target).map_err(Error::failed)?;
        if table.n_rows() == 0 {
            return Err(Error::failed(format!(
                "{} has no rows, only a header; there is nothing to learn",
                self.data.join(", ")
            )));
        }
        Ok(table)
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

    /// What 1 stands for where the target is a text; only a text of two levels can be a target.
    fn positive(&self, encoder: &FittedTableEncoder) -> Result<Option<String>> {
        let Some(EncodedColumn::Categorical { levels, .. }) = encoder.columns().first() else { return Ok(None) };
        if let Some(trials) = &self.roles.trials {
            let message = format!("the target {:?} is text, expected numbers of successes of {trials:?}", self.target);
            return Err(Error::failed(message));
        }
        match &levels[..] {
            [_, positive] => Ok(Some(positive.clone())),
            _ => Err(Error::failed(format!(
                "the target {:?} is text with {} levels, expected numbers or two levels",
                self.target,
                levels.len()
            ))),
        }
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
