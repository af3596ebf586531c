//! How much of X stays in the workers' memory between passes, where X is read from files and larger than that.
//!
//! Whoever keeps more than the budget holds has it written to disk once and read back in every pass. A file of numbers
//! is on disk already: what does not fit is read from there, as one pass over the data does too.

use phalanx_array::Chunks;
use phalanx_engine::adaptive::Load;

/// Percent of the budget up to which all of X is kept: above it, results go to disk.
const ALL: u64 = 60;
/// Percent of the budget that is kept of an X that does not fit; the rest is for the chunks on their way.
const SOME: u64 = 30;

/// What the workers may keep in memory together, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// All workers' budgets.
    pub(crate) budget: u64,
    /// What they keep already.
    pub(crate) used: u64,
}

impl Room {
    /// None where a worker has no budget, or there is no worker yet.
    pub(crate) fn of(load: &Load) -> Option<Self> {
        if load.workers.is_empty() {
            return None;
        }
        let budget = load.workers.iter().try_fold(0_u64, |sum, worker| Some(sum.saturating_add(worker.budget?)))?;
        Some(Self { budget, used: load.workers.iter().map(|worker| worker.n_bytes).sum() })
    }
}

/// How many chunks of X, the first ones, are kept beside so many numbers of each row that are kept in any case.
pub(crate) fn n_kept(room: Option<Room>, rows: &Chunks, n_features: usize, n_beside: usize) -> usize {
    let Some(Room { budget, used }) = room else { return rows.n_chunks() };
    let bytes = |rows: usize| (rows * n_features * size_of::<f64>()) as u64;
    let used = used.saturating_add((rows.len() * n_beside * size_of::<f64>()) as u64);
    let share = |percent: u64| (u128::from(budget) * u128::from(percent) / 100) as u64;
    if used.saturating_add(bytes(rows.len())) <= share(ALL) {
        return rows.n_chunks();
    }
    let free = share(SOME).saturating_sub(used);
    rows.ranges().take_while(|rows| bytes(rows.end) <= free).count()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ndarray::{Array1, Array2};
    use phalanx_array::{Block, ChunkedArray, PANEL};
    use phalanx_engine::{
        graph::{Collection, Delayed},
        task,
    };
    use phalanx_learn::{Fit, Result};

    use super::*;
    use crate::{
        Family, Glm,
        cluster::{
            Compute, fit_chunked,
            tests::{Here, wait},
        },
        response::ChunkedResponse,
    };

    /// One that may keep so many bytes.
    struct Small(u64);

    impl Compute for Small {
        async fn compute<C: Collection<Output: Send> + Sync>(&self, work: &C) -> Result<C::Output> {
            Here.compute(work).await
        }

        async fn persist<C: Collection + Sync + Send>(&self, work: &C) -> Result<C> {
            Here.persist(work).await
        }

        async fn room(&self) -> Result<Option<Room>> {
            Ok(Some(Room { budget: self.0, used: 0 }))
        }
    }

    static N_READS: AtomicUsize = AtomicUsize::new(0);

    #[task(name = "glm.test.read")]
    fn read(block: &Block) -> Block {
        N_READS.fetch_add(1, Ordering::Relaxed);
        block.clone()
    }

    #[test]
    fn rows_that_do_not_fit_are_read_in_every_pass_and_give_the_bits_of_memory() {
        // Of many panels, Newton's method looks at a sample first, which is read once and kept.
        for n_panels in [1, 30] {
            whatever_fits(n_panels);
        }
    }

    /// Fits ten chunks of so many panels.
    fn whatever_fits(n_panels: usize) {
        let n = 10 * n_panels * PANEL;
        let noise = |i: usize| ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.;
        let x = Array2::from_shape_fn((n, 4), |(i, j)| noise(4 * i + j) + j as f64);
        let bytes = (x.len() * 8) as u64;
        for (family, alpha) in [(Family::Gaussian, 0.01), (Family::Binomial, 0.01)] {
            let y: Array1<f64> = (0..n)
                .map(|i| x[[i, 0]] + noise(31 * i))
                .map(|eta| if family == Family::Binomial { f64::from(eta > 0.) } else { eta })
                .collect();
            let glm = Glm::new(family).alpha(alpha).l1_ratio(0.5);
            let expected = glm.fit(&x, &y).expect("fitted");
            let chunks = ChunkedArray::from_array(&x, n_panels * PANEL).expect("an array");
            let blocks: Vec<Delayed<Block>> = chunks.blocks().into_iter().map(read::delayed).collect();
            let lazy = ChunkedArray::from_reads(chunks.axes(), blocks).expect("an array");
            let y = ChunkedArray::from_array(&y, n_panels * PANEL).expect("an array");
            // All of it fits, then 3 of 10 chunks, then none.
            let mut n_reads = Vec::new();
            for budget in [3 * bytes, 2 * bytes, bytes / 100] {
                let before = N_READS.load(Ordering::Relaxed);
                let (machine, why) = glm.machine(4, false).expect("a machine");
                let response = ChunkedResponse::new(&y);
                let found = wait(fit_chunked(&Small(budget), machine, glm.wanted(4), &lazy, &response));
                assert_eq!(glm.model(found.expect("fitted"), why), expected, "{family} in {budget} bytes");
                n_reads.push(N_READS.load(Ordering::Relaxed) - before);
            }
            // The null model's pass does not look at X.
            let n_passes = match family {
                Family::Gaussian => 1,
                _ => expected.report().n_passes - 1,
            };
            assert_eq!(n_reads, [10, 3 + 7 * n_passes, 10 * n_passes], "{family} of {n} rows");
        }
    }

    #[test]
    fn what_fits_is_kept_and_of_what_does_not_some() {
        let rows = Chunks::uniform(10 * PANEL, PANEL).expect("chunks");
        let chunk = (PANEL * 8 * 8) as u64;
        let kept = |budget, used| n_kept(Some(Room { budget: budget * chunk, used: used * chunk }), &rows, 8, 0);
        assert_eq!(n_kept(None, &rows, 8, 0), 10);
        assert_eq!((kept(17, 0), kept(16, 0), kept(10, 0), kept(1, 0)), (10, 4, 3, 0));
        assert_eq!((kept(100, 50), kept(100, 51), kept(20, 3)), (10, 0, 3));
        let beside = |n_beside| n_kept(Some(Room { budget: 20 * chunk, used: 0 }), &rows, 8, n_beside);
        assert_eq!((beside(1), beside(2), beside(8)), (10, 3, 0));
        assert_eq!(Room::of(&Load::default()), None);
    }
}
