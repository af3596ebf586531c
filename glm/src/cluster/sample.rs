//! Panels of the rows that are read again in every pass, kept once they were read.
//!
//! Newton's method looks at a sample of the panels several times before it looks at all of them. To read a whole file
//! for each such look would cost more than all else, and a sample is small: it stays on the workers. The sample is
//! taken while the rows are read for something else, where it is known that it will be asked for. Who asks, and what
//! for, is not known here.

use phalanx_array::{Block, panel::PANEL};
use phalanx_engine::{
    graph::{Collection, Delayed},
    task,
};
use phalanx_learn::Result;

use super::{Chunked, Compute, Extras, tree};
use crate::{fit::NO_ROWS, kernel::Stride};

/// Some panels of the chunks that do not stay.
pub(super) struct Sample {
    stride: Stride,
    /// One block a chunk, of the rows of the panels that the stride takes.
    blocks: Vec<Delayed<Block>>,
}

impl Chunked {
    /// Brings these panels of what is read in every pass to the workers, unless they are there: one pass over the rows.
    pub(crate) async fn hold(&mut self, cluster: &impl Compute, stride: Stride) -> Result<()> {
        if self.lacks(stride) {
            let blocks = cluster.persist(&self.sampled(stride)).await?;
            self.sample = Some(Sample { stride, blocks });
        }
        Ok(())
    }

    /// Computes something of the rows, and keeps these panels while the rows are there.
    pub(super) async fn compute_and_hold<T>(
        &mut self,
        cluster: &impl Compute,
        work: &Delayed<T>,
        stride: Stride,
    ) -> Result<T>
    where
        Delayed<T>: Collection<Output = T> + Sync + Send,
        T: Send,
    {
        if !self.lacks(stride) {
            return cluster.compute(work).await;
        }
        let both = (work.clone(), self.sampled(stride));
        let (found, blocks) = cluster.persist(&both).await?;
        self.sample = Some(Sample { stride, blocks });
        cluster.compute(&found).await
    }

    /// One task a chunk, given what of X is there for these panels, the columns, the first panel and what there is.
    pub(super) fn each_at<T>(
        &self,
        stride: Stride,
        task: impl Fn(&Delayed<Block>, Vec<Delayed<Block>>, usize, &Delayed<Extras>) -> Delayed<T>,
    ) -> Vec<Delayed<T>> {
        let sample = self.sample.as_ref().filter(|sample| stride != Stride::ALL && sample.stride == stride);
        let (whole, some) = (Delayed::value(self.extras), Delayed::value(Extras { held: stride, ..self.extras }));
        let parts = self.x.iter().zip(&self.columns).enumerate().map(|(i, (x, columns))| {
            let of_sample = sample.and_then(|sample| sample.blocks.get(i.checked_sub(self.n_kept)?));
            let (x, extras) = of_sample.map_or((x, &whole), |x| (x, &some));
            task(x, columns.clone(), self.rows.first_panel(i), extras)
        });
        parts.collect()
    }

    /// The same, merged.
    pub(crate) fn pass_at<T>(
        &self,
        stride: Stride,
        task: impl Fn(&Delayed<Block>, Vec<Delayed<Block>>, usize, &Delayed<Extras>) -> Delayed<T>,
        merge: impl Fn(Vec<Delayed<T>>) -> Delayed<T>,
    ) -> Result<Delayed<T>> {
        tree(self.each_at(stride, task), merge).ok_or(NO_ROWS)
    }

    fn lacks(&self, stride: Stride) -> bool {
        let reads = self.n_kept < self.x.len() && stride != Stride::ALL;
        reads && self.sample.as_ref().is_none_or(|sample| sample.stride != stride)
    }

    fn sampled(&self, stride: Stride) -> Vec<Delayed<Block>> {
        let stride = Delayed::value(stride);
        let read_again = self.x.iter().enumerate().skip(self.n_kept);
        read_again.map(|(i, x)| sample::delayed(x, self.rows.first_panel(i), &stride)).collect()
    }
}

/// The rows of the panels that a stride takes, the first panel of the block being this one.
#[task(name = "glm.sample")]
pub(crate) fn sample(x: &Block, first_panel: usize, stride: Stride) -> Block {
    let n_features = x.dims().1;
    let panels = x.as_slice().chunks(PANEL * n_features.max(1)).zip(first_panel..);
    let taken: Vec<&[f64]> = panels.filter(|(_, panel)| stride.takes(*panel)).map(|(rows, _)| rows).collect();
    let taken = taken.concat();
    Block::new(&[taken.len() / n_features.max(1), n_features], taken)
}
