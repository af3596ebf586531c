//! Columns that say something of each row and are nothing to learn from: weights, offset, exposure, trials, groups and
//! folds.
//!
//! They are looked at before anything is fitted, so that what is wrong with one is said with its column and row.

use std::collections::BTreeMap;

use phalanx_array::{Block, ChunkedArray, Column, Kind, Table, TableBlock};
use phalanx_engine::{graph::Delayed, task};
use phalanx_learn::preprocess::{EncodedColumn, FittedTableEncoder, TableEncoder};
use phalanx_runtime::Client;

use crate::{Error, Result, data::on_cluster};

/// Which columns they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Roles {
    /// How often each row counts.
    pub(crate) weights: Option<String>,
    /// What is added to the linear predictor.
    pub(crate) offset: Option<String>,
    /// What is added to the linear predictor by its logarithm, whatever the link.
    pub(crate) log_offset: Option<String>,
    /// What the target was counted on.
    pub(crate) exposure: Option<String>,
    /// What the target is successes of.
    pub(crate) trials: Option<String>,
    /// Which rows hang together.
    pub(crate) group: Option<String>,
    /// Which fold holds each row out.
    pub(crate) fold_column: Option<String>,
    /// How many folds there are.
    pub(crate) n_folds: usize,
}

/// The columns' numbers, lazy or computed, in the table's chunks.
#[derive(Default)]
pub(crate) struct Sides {
    pub(crate) weights: Option<ChunkedArray>,
    pub(crate) offset: Option<ChunkedArray>,
    pub(crate) exposure: Option<ChunkedArray>,
    pub(crate) trials: Option<ChunkedArray>,
    pub(crate) groups: Option<ChunkedArray>,
    pub(crate) folds: Option<ChunkedArray>,
}

impl Roles {
    /// What each column is, with its name, in the order of the command's help.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("weights", &self.weights),
            ("offset", &self.offset),
            ("offset", &self.log_offset),
            ("exposure", &self.exposure),
            ("trials", &self.trials),
            ("group", &self.group),
            ("fold_column", &self.fold_column),
        ];
        all.into_iter().filter_map(|(role, column)| Some((role, column.as_deref()?)))
    }

    /// The columns' names, each once: one column may be two things, as weights and exposure of rates.
    pub(crate) fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = self.named().map(|(_, column)| column).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// The columns that are to be read as numbers; groups may have names as well.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = &str> {
        self.named().filter(|(role, _)| *role != "group").map(|(_, column)| column)
    }

    /// Whether a column is none to learn from.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.named().any(|(_, name)| name == column)
    }

    /// Learns of the columns what there is to check: no number missing or infinite, and their ranges.
    pub(crate) fn encoder(&self) -> TableEncoder {
        TableEncoder::new().columns(self.columns())
    }

    /// The columns of a table on the workers, of which `encoder` knows the ranges.
    pub(crate) async fn sides(&self, client: &Client, table: &Table, encoder: &FittedTableEncoder) -> Result<Sides> {
        let array = |column: &Option<String>| column.as_ref().map(|name| table.column(name)).transpose();
        let get = |column: &Option<String>| array(column).map_err(Error::failed);
        let logged = get(&self.log_offset)?;
        let offset = match (get(&self.offset)?, logged.as_ref().map(ChunkedArray::ln)) {
            (Some(offset), Some(logs)) => Some(offset.try_add(&logs).map_err(Error::failed)?),
            (offset, logs) => offset.or(logs),
        };
        let sides = Sides {
            weights: get(&self.weights)?,
            offset,
            exposure: get(&self.exposure)?,
            trials: get(&self.trials)?,
            groups: self.group.as_ref().map(|name| group_numbers(table, name)).transpose()?,
            folds: get(&self.fold_column)?,
        };
        type Check = fn(f64) -> bool;
        let checks: [(_, _, Check, _); 4] = [
            (&self.log_offset, &logged, |n| n > 0., "the offset by its logarithm: expected a number above 0"),
            (&self.weights, &sides.weights, |w| w >= 0., "the weights: expected 0 or more"),
            (&self.exposure, &sides.exposure, |e| e > 0., "the exposure: expected a number above 0"),
            (
                &self.trials,
                &sides.trials,
                |n| n >= 1.,
                "the trials: expected a whole number, 1 or more; drop such rows",
            ),
        ];
        for (name, values, allows, what) in checks {
            let (Some(name), Some(values)) = (name, values) else { continue };
            // The least number tells whether there is a wrong one; only then are all looked at for its row.
            if least(encoder, name).is_none_or(allows) {
                continue;
            }
            let values = client.compute(values).await.map_err(on_cluster)?;
            if let Some((row, value)) = values.iter().enumerate().find(|(_, value)| !allows(**value)) {
                return Err(bad(name, *value, row, what));
            }
        }
        self.check_folds(client, &sides).await?;
        Ok(sides)
    }

    /// Holds the column of folds against their number: each fold must hold some row out.
    async fn check_folds(&self, client: &Client, sides: &Sides) -> Result<()> {
        let (Some(name), Some(folds)) = (&self.fold_column, &sides.folds) else { return Ok(()) };
        let folds = client.compute(folds).await.map_err(on_cluster)?;
        let k = self.n_folds;
        // Folds that are counted from 0 end before their number.
        let first = usize::from(folds.iter().all(|fold| *fold != 0.));
        let mut occurs = vec![false; k];
        for (row, &fold) in folds.iter().enumerate() {
            let place = (fold.fract() == 0. && fold >= 0.).then(|| (fold as usize).checked_sub(first)).flatten();
            let Some(place) = place.and_then(|place| occurs.get_mut(place)) else {
                let what = format!("the fold: expected a whole number, 0 to {} or 1 to {k}", k.saturating_sub(1));
                return Err(bad(name, fold, row, &what));
            };
            *place = true;
        }
        match occurs.iter().position(|occurs| !occurs) {
            None => Ok(()),
            Some(empty) => {
                let message =
                    format!("column {name:?}, the fold, has no row of fold {}, expected {k} folds", empty + first);
                Err(Error::failed(message))
            }
        }
    }

    /// Holds a target of successes against its trials.
    pub(crate) async fn check_trials(
        &self,
        client: &Client,
        (target, y): (&str, &ChunkedArray),
        sides: &Sides,
    ) -> Result<()> {
        let (Some(name), Some(trials)) = (&self.trials, &sides.trials) else { return Ok(()) };
        // Adding and taking away what leaves no room for fractions in an f64 rounds to whole numbers.
        const NO_FRACTIONS: f64 = (1_u64 << 52) as f64;
        let rounded = &(trials + NO_FRACTIONS) - NO_FRACTIONS;
        let fractions = rounded.try_sub(trials).and_then(|rest| rest.abs().max());
        let failures = trials.try_sub(y).and_then(|failures| failures.min());
        let (fractions, failures, least) = match (fractions, failures, y.min()) {
            (Ok(fractions), Ok(failures), Ok(least)) => (fractions, failures, least),
            (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => return Err(Error::failed(error)),
        };
        let (fractions, failures, least) = client.compute(&(fractions, failures, least)).await.map_err(on_cluster)?;
        if fractions.sum() == 0. && failures.sum() >= 0. && least.sum() >= 0. {
            return Ok(());
        }
        let (trials, y) = client.compute(&(trials.clone(), y.clone())).await.map_err(on_cluster)?;
        for (row, (&n, &k)) in trials.iter().zip(&y).enumerate() {
            if n.fract() != 0. {
                return Err(bad(name, n, row, "the trials: expected a whole number, 1 or more"));
            }
            if !(k >= 0. && k <= n) {
                return Err(bad(target, k, row, &format!("the target: expected 0 to the row's trials, {n}")));
            }
        }
        Ok(())
    }
}

/// A number for each row's group; texts are numbered as the table has them.
fn group_numbers(table: &Table, name: &str) -> Result<ChunkedArray> {
    let place = table.schema().position(name).map_err(Error::failed)?;
    if table.schema().fields()[place].kind == Kind::Number {
        return table.column(name).map_err(Error::failed);
    }
    let place = Delayed::value(place);
    let blocks = table.blocks().iter().map(|block| codes::delayed(block, &place)).collect();
    ChunkedArray::from_blocks(vec![table.chunks().clone()], blocks).map_err(Error::failed)
}

/// The levels of a column of text as numbers: 0 for the first of these levels, 1 for the next.
pub(crate) fn level_numbers(table: &Table, name: &str, levels: &[String]) -> Result<ChunkedArray> {
    let place = table.schema().position(name).map_err(Error::failed)?;
    let Kind::Categorical { levels: known } = &table.schema().fields()[place].kind else {
        return table.column(name).map_err(Error::failed);
    };
    let numbers: BTreeMap<&str, f64> =
        levels.iter().zip(0_u32..).map(|(level, at)| (level.as_str(), at.into())).collect();
    // A level that does not occur has no number.
    let numbers = known.iter().map(|level| numbers.get(level.as_str()).copied().unwrap_or(-1.)).collect::<Vec<f64>>();
    let (place, numbers) = (Delayed::value(place), Delayed::value(numbers));
    let blocks = table.blocks().iter().map(|block| level_codes::delayed(block, &place, &numbers)).collect();
    ChunkedArray::from_blocks(vec![table.chunks().clone()], blocks).map_err(Error::failed)
}

/// A column of categories as the numbers of its levels.
#[task(name = "cli.level_codes")]
fn level_codes(block: &TableBlock, place: usize, numbers: Vec<f64>) -> Result<Block, String> {
    let codes = block.columns().get(place).and_then(Column::codes);
    let codes = codes.ok_or_else(|| format!("column {place} is missing or not categorical"))?;
    let number = |code: &u32| numbers.get(*code as usize).copied();
    let all: Option<Vec<f64>> = codes.iter().map(number).collect();
    let all = all.ok_or_else(|| format!("column {place} has a missing value; drop or fill such rows first"))?;
    Ok(Block::new(&[codes.len()], all))
}

/// The levels of a column of categories as numbers.
#[task(name = "cli.codes")]
fn codes(block: &TableBlock, place: usize) -> Result<Block, String> {
    let codes = block.columns().get(place).and_then(Column::codes);
    let codes = codes.ok_or_else(|| format!("column {place} is missing or not categorical"))?;
    Ok(Block::new(&[codes.len()], codes.iter().copied().map(f64::from).collect::<Vec<_>>()))
}

fn least(encoder: &FittedTableEncoder, name: &str) -> Option<f64> {
    encoder.columns().iter().find_map(|column| match column {
        EncodedColumn::Number { name: found, min, .. } if found == name => Some(*min),
        _ => None,
    })
}

fn bad(column: &str, value: f64, row: usize, what: &str) -> Error {
    let (role, expected) = what.split_once(": ").unwrap_or((what, ""));
    Error::failed(format!("column {column:?}, {role}, is {value} in row {row} (counted from 0), {expected}"))
}
