//! The table of a design: on the workers, or read from its files again whenever something is asked of it.
//!
//! A table that is a good part of what the workers may keep is not brought to them as a whole where its files are quick
//! to read: what a fit makes of it is read from the files, as often as the fit goes over it. Nothing is known here of
//! what is fitted.

use phalanx_array::{ChunkedArray, PANEL, Table};
use phalanx_datasets::{ParquetIndex, TableIndex};
use phalanx_learn::{
    Transform,
    preprocess::{EncodedColumn, FittedTableEncoder},
};
use phalanx_runtime::Client;

use super::on_cluster;
use crate::{Error, Result};

/// Percent of the workers' memory that a table may take to be brought there: beside it stands what is made of it.
const SHARE: u64 = 20;
/// Bytes of a chunk that is read again and again, at most.
const CHUNK_BYTES: u64 = 16 << 20;
/// Chunks that fit into the memory which a thread of a worker may use, at least.
const CHUNKS: u64 = 16;

/// A table, and how to come by parts of it.
pub(super) struct Source {
    table: Table,
    /// Where it is read from its files whenever it is asked for.
    files: Option<Files>,
}

struct Files {
    index: ParquetIndex,
    chunk_rows: usize,
}

impl Source {
    /// Brings the table to the workers, unless it is large and may be read `again` and again.
    pub(super) async fn bring(client: &Client, index: &TableIndex, again: bool) -> Result<Self> {
        if let (TableIndex::Parquet(index), true) = (index, again)
            && let Some(chunk_rows) = chunk_rows(client, index).await?
        {
            let table = index.table(Some(chunk_rows)).map_err(Error::failed)?;
            return Ok(Self { table, files: Some(Files { index: index.clone(), chunk_rows }) });
        }
        let table = index.table(None).map_err(Error::failed)?;
        Ok(Self { table: client.persist(&table).await.map_err(on_cluster)?, files: None })
    }

    /// All columns.
    pub(super) const fn table(&self) -> &Table {
        &self.table
    }

    /// Whether it is read from its files whenever it is asked for.
    pub(super) const fn is_read_again(&self) -> bool {
        self.files.is_some()
    }

    /// The table with these columns at least, so that no more is read than is asked for.
    pub(super) fn with<S: AsRef<str>>(&self, columns: &[S]) -> Result<Table> {
        match &self.files {
            Some(Files { index, chunk_rows }) if !columns.is_empty() => {
                index.select(columns).and_then(|index| index.table(Some(*chunk_rows))).map_err(Error::failed)
            }
            _ => Ok(self.table.clone()),
        }
    }

    /// A table that is on the workers.
    pub(super) const fn kept(table: Table) -> Self {
        Self { table, files: None }
    }

    /// The design matrix, lazy.
    pub(super) fn matrix(&self, encoder: &FittedTableEncoder, is_formula: bool) -> Result<ChunkedArray> {
        let Some(Files { index, chunk_rows }) = &self.files else {
            return encoder.transform(&self.table).map_err(Error::failed);
        };
        let names: Vec<&str> = encoder.columns().iter().map(EncodedColumn::name).collect();
        let is_number = |column: &EncodedColumn| matches!(column, EncodedColumn::Number { fill: None, .. });
        if !is_formula && encoder.columns().iter().all(is_number) {
            // They are what the matrix has; that none is missing was seen when the encoder was fitted.
            return index.numbers(&names, Some(*chunk_rows)).map_err(Error::failed);
        }
        let x = encoder.transform(&self.with(&names)?).map_err(Error::failed)?;
        ChunkedArray::from_reads(x.axes(), x.blocks()).map_err(Error::failed)
    }
}

/// The rows of a chunk of a table that is too large to be brought to the workers; none where it is not.
async fn chunk_rows(client: &Client, index: &ParquetIndex) -> Result<Option<usize>> {
    let load = client.load().await.map_err(on_cluster)?;
    let budgets = load.workers.iter().map(|worker| worker.budget);
    let (budget, n_workers) = (budgets.sum::<Option<u64>>(), load.workers.len());
    let Some(budget) = budget.filter(|_| n_workers > 0) else { return Ok(None) };
    let used: u64 = load.workers.iter().map(|worker| worker.n_bytes).sum();
    let n_threads: u64 = load.workers.iter().map(|worker| u64::from(worker.n_threads)).sum();
    Ok(rows_of_chunk(index.n_rows(), index.row_bytes(), [budget, used], n_threads))
}

/// The same, of the memory that there is and what of it is used.
fn rows_of_chunk(n_rows: u64, row_bytes: u64, [budget, used]: [u64; 2], n_threads: u64) -> Option<usize> {
    if used.saturating_add(n_rows.saturating_mul(row_bytes)) <= budget / 100 * SHARE {
        return None;
    }
    let bytes = (budget / n_threads.max(1) / CHUNKS).min(CHUNK_BYTES);
    Some(((bytes / row_bytes.max(1)) as usize / PANEL).max(1) * PANEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_small_beside_the_memory_is_brought_and_chunks_of_others_fit() {
        // A million rows of 80 bytes, in memory of which they are a fifth, and in less.
        let of = |budget: u64, used| rows_of_chunk(1_000_000, 80, [budget, used], 2);
        assert_eq!((of(1 << 30, 0), of(400_000_000, 0)), (None, None));
        assert_eq!(of(400_000_000, 1), Some(610 * PANEL));
        assert_eq!((of(8_000_000, 0), of(1000, 0)), (Some(12 * PANEL), Some(PANEL)));
    }
}
