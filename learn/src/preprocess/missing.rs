//! What is done with missing values: a policy with a name, so that nothing is filled or dropped unasked.

use phalanx_array::{Chunks, Column, Schema, Table, TableBlock, panel::Combine, panel::PANEL, panel::Subtrees};
use phalanx_engine::graph::Delayed;
use phalanx_runtime::Client;
use serde::{Deserialize, Serialize};

use crate::{Result, tasks};

/// The level that stands for what is missing in a column of categories, under [`Missing::Mean`].
pub const MISSING_LEVEL: &str = "missing";

/// What a [`TableEncoder`](super::TableEncoder) does with missing values.
///
/// Rows that have some can be dropped before, by [`drop_missing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// An error that names column and row.
    #[default]
    Error,
    /// A number is the mean of the column's numbers in training, and where any was missing in training there is a
    /// column `column=missing` of 0 and 1 beside it. Categories have the level `missing`, after all others, where any
    /// was missing in training.
    Mean,
}

/// What stands for a missing number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// The mean of the numbers in training.
    pub mean: f64,
    /// Whether any was missing in training, so that there is a column that says where.
    pub indicator: bool,
}

/// The numbers that there are in some rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Present {
    n: f64,
    sum: f64,
    any_missing: bool,
}

impl Present {
    /// Those of each panel, the first of which begins with the whole's row `first_row`.
    pub(crate) fn of(numbers: &[f64], first_row: usize) -> Option<Subtrees<Self>> {
        let panels = numbers.chunks(PANEL).map(|panel| {
            let mut found = Self { n: 0., sum: 0., any_missing: false };
            for number in panel {
                if number.is_nan() {
                    found.any_missing = true;
                } else {
                    found.n += 1.;
                    found.sum += number;
                }
            }
            found
        });
        Subtrees::from_panels(first_row / PANEL, panels)
    }

    /// What stands for a missing number; none where there is no number at all.
    pub(crate) fn fill(self) -> Option<Fill> {
        let mean = self.sum / self.n;
        (self.n > 0. && mean.is_finite()).then_some(Fill { mean, indicator: self.any_missing })
    }
}

impl Combine for Present {
    fn combine(self, right: Self) -> Self {
        let any_missing = self.any_missing || right.any_missing;
        Self { n: self.n + right.n, sum: self.sum + right.sum, any_missing }
    }
}

/// The rows of a block that miss nothing in some columns.
///
/// # Errors
/// When a column is not there, or the block is not of the schema.
///
/// ```
/// use phalanx_array::{Column, Field, Schema, TableBlock};
/// use phalanx_learn::preprocess::drop_missing_rows;
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let schema = Schema::new(vec![Field::number("age"), Field::number("note")])?;
/// let numbers = |values: [f64; 3]| Column::number(values.to_vec());
/// let block = TableBlock::new(vec![numbers([1., f64::NAN, 3.]), numbers([f64::NAN; 3])])?;
/// assert_eq!(drop_missing_rows(&schema, &block, &["age"])?.n_rows(), 2);
/// # Ok(())
/// # }
/// ```
pub fn drop_missing_rows<S: AsRef<str>>(schema: &Schema, block: &TableBlock, columns: &[S]) -> Result<TableBlock> {
    schema.check(block)?;
    let places = columns.iter().map(|name| schema.position(name.as_ref())).collect::<Result<Vec<_>, _>>()?;
    keep_whole(block, &places)
}

/// The rows of a table on a cluster that miss nothing in some columns, computed and in chunks of about the same size,
/// and how many rows were dropped. What is left has the bits that any other chunks of the same rows have.
///
/// # Errors
/// When a column is not there, and what the cluster says.
pub async fn drop_missing<S: AsRef<str>>(client: &Client, table: &Table, columns: &[S]) -> Result<(Table, usize)> {
    let schema = table.schema();
    let places = columns.iter().map(|name| schema.position(name.as_ref())).collect::<Result<Vec<_>, _>>()?;
    let places = Delayed::value(places);
    let kept: Vec<_> = table.blocks().iter().map(|block| tasks::keep_whole::delayed(block, &places)).collect();
    let kept = client.persist(&kept).await?;
    let counts: Vec<_> = kept.iter().map(tasks::n_rows::delayed).collect();
    let counts: Vec<usize> = client.compute(&counts).await?;
    let n_dropped = table.n_rows() - counts.iter().sum::<usize>();
    // Panels are counted from the first row that is left.
    let chunk_rows = table.chunks().largest().max(1).div_ceil(PANEL) * PANEL;
    let rows = Chunks::uniform(table.n_rows() - n_dropped, chunk_rows)?;
    let ends = counts.iter().scan(0, |end, n| {
        *end += n;
        Some(*end)
    });
    let ends: Vec<usize> = ends.collect();
    let blocks = rows.ranges().map(|rows| {
        let (mut parts, mut ranges) = (Vec::new(), Vec::new());
        for ((block, n), end) in kept.iter().zip(&counts).zip(&ends) {
            let start = end - n;
            let (from, to) = (rows.start.max(start), rows.end.min(*end));
            if from < to {
                parts.push(block.clone());
                ranges.push(from - start..to - start);
            }
        }
        if parts.is_empty() {
            // Even no rows need a block that has the columns.
            parts.extend(kept.first().cloned());
            ranges.push(0..0);
        }
        tasks::stack_rows::delayed(ranges, parts)
    });
    let table = client.persist(&Table::new(schema.clone(), rows.clone(), blocks.collect())?).await?;
    Ok((table, n_dropped))
}

pub(crate) fn keep_whole(block: &TableBlock, places: &[usize]) -> Result<TableBlock> {
    let is_whole = |row: usize| places.iter().all(|place| !block.column(*place).is_missing(row));
    let rows: Vec<usize> = (0..block.n_rows()).filter(|row| is_whole(*row)).collect();
    if rows.len() == block.n_rows() {
        return Ok(block.clone());
    }
    let columns = block.columns().iter().map(|column| match column {
        Column::Categorical { codes } => Column::categorical(rows.iter().map(|row| codes[*row]).collect()),
        other => {
            let numbers = other.numbers().unwrap_or_default();
            Column::number(rows.iter().map(|row| numbers.get(*row).copied().unwrap_or(f64::NAN)).collect())
        }
    });
    Ok(TableBlock::new(columns.collect())?)
}
