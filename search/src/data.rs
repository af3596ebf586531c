//! Data on a cluster: what a search takes, and where it puts it.

use std::fmt;

use ndarray::{Array, Dimension};
use phalanx_array::{Block, ChunkedArray, Chunks};
use phalanx_engine::graph::Delayed;
use phalanx_learn::Error as LearnError;
use phalanx_runtime::{Client, Remote};

use crate::{Result, trial};

/// Data that a search on a cluster takes, to lie there as one block each.
#[derive(Clone, Copy)]
pub struct DataOn<'a> {
    x: &'a dyn WholeBlock,
    y: &'a dyn WholeBlock,
    groups: Option<&'a dyn WholeBlock>,
    sample_weight: Option<&'a dyn WholeBlock>,
}

impl<'a> DataOn<'a> {
    /// X and y.
    pub const fn new(x: &'a dyn WholeBlock, y: &'a dyn WholeBlock) -> Self {
        Self { x, y, groups: None, sample_weight: None }
    }

    /// Sets the group of each row, a number that rows of one group share, for splitters that part no group.
    #[must_use]
    pub const fn groups(mut self, groups: &'a dyn WholeBlock) -> Self {
        self.groups = Some(groups);
        self
    }

    /// Sets how often each row counts, in fits and in scores; 0: the row is absent.
    #[must_use]
    pub const fn sample_weight(mut self, sample_weight: &'a dyn WholeBlock) -> Self {
        self.sample_weight = Some(sample_weight);
        self
    }

    /// Puts the data on workers, where whoever needs them takes them.
    pub(crate) fn put(&self, client: &Client) -> Result<Put> {
        let put = |data: Delayed<Block>| client.submit(&trial::keep::delayed(data));
        // A block of nothing stands for what was not given.
        let given = |data: Option<&dyn WholeBlock>| match data {
            Some(data) => data.whole_block(),
            None => Ok(Delayed::value(trial::nothing())),
        };
        Ok(Put {
            x: put(self.x.whole_block()?),
            y: put(self.y.whole_block()?),
            groups: put(given(self.groups)?),
            sample_weight: put(given(self.sample_weight)?),
        })
    }
}

/// Data that lie on workers.
pub(crate) struct Put {
    pub(crate) x: Remote<Block>,
    pub(crate) y: Remote<Block>,
    pub(crate) groups: Remote<Block>,
    pub(crate) sample_weight: Remote<Block>,
}

/// Data that a search on a cluster can take, to lie there as one block.
pub trait WholeBlock: Sync {
    /// The data as one block.
    ///
    /// # Errors
    /// When they cannot be put together.
    fn whole_block(&self) -> Result<Delayed<Block>>;
}

impl<D: Dimension> WholeBlock for Array<f64, D> {
    fn whole_block(&self) -> Result<Delayed<Block>> {
        Ok(Delayed::value(self.view().into()))
    }
}

impl WholeBlock for Delayed<Block> {
    fn whole_block(&self) -> Result<Delayed<Block>> {
        Ok(self.clone())
    }
}

impl WholeBlock for ChunkedArray {
    fn whole_block(&self) -> Result<Delayed<Block>> {
        let whole = self.rechunk_as(&self.shape().into_iter().map(Chunks::single).collect::<Vec<_>>());
        let blocks = whole.map_err(LearnError::from)?.blocks();
        blocks.into_iter().next().ok_or_else(|| LearnError::Empty { what: "the array" }.into())
    }
}

impl fmt::Debug for DataOn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataOn").field("groups", &self.groups.is_some()).finish_non_exhaustive()
    }
}
