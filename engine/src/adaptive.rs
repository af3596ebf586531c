//! How many workers a cluster should have: more while work waits, fewer when it has not for a while.
//!
//! A machine of its own beside the scheduler: it is told how loaded the cluster is and when that was seen, and answers
//! with how many workers to add or which ones may go. Whoever runs the workers carries it out. Adding is decided by
//! one look, removing by several that agree, so a short lull costs nothing.
//!
//! ```
//! use phalanx_engine::adaptive::{Adaptive, AdaptiveOptions, Advice, Load};
//!
//! let mut adaptive = Adaptive::new(AdaptiveOptions { min: 0, max: 4, ..AdaptiveOptions::default() });
//! let busy = Load { expected_ns: 60_000_000_000, n_ready: 100, ..Load::default() };
//! assert_eq!(adaptive.advise(&busy), Advice::Up { n: 4 });
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::WorkerId;

/// When a cluster grows and shrinks. The defaults are dask's, where it has such a rule.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `min` | 0 | workers that are always kept | any |
/// | `max` | 16 | workers that there are at most | `min` or more |
/// | `target` | 5 s | all that waits should be done within this time | above 0 |
/// | `votes` | 3 | looks in a row that must agree before a worker goes | 1 or more |
/// | `memory` | 0.6 | part of the memory budget in use above which the number of workers is doubled | 0 to 1 |
/// | `bandwidth` | 100 MB/s | what moving a worker's results is expected to cost | above 0 |
/// | `every` | 1 s | how often the shell looks | above 0 |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdaptiveOptions {
    /// Workers that are always kept.
    pub min: usize,
    /// Workers that there are at most.
    pub max: usize,
    /// All that waits should be done within this time.
    pub target: Duration,
    /// Looks that must agree before a worker goes.
    pub votes: u32,
    /// Part of the memory budget in use above which the number of workers is doubled.
    pub memory: f64,
    /// Bytes a second at which results are expected to move.
    pub bandwidth: u64,
    /// How often the shell looks.
    pub every: Duration,
}

impl Default for AdaptiveOptions {
    fn default() -> Self {
        Self {
            min: 0,
            max: 16,
            target: Duration::from_secs(5),
            votes: 3,
            memory: 0.6,
            bandwidth: 100_000_000,
            every: Duration::from_secs(1),
        }
    }
}

/// How loaded a cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Load {
    /// Expected time of all tasks that run or could run, on one thread, in nanoseconds.
    pub expected_ns: u64,
    /// How many those are.
    pub n_ready: u64,
    /// The workers, by rising number; those on their way out are not among them.
    pub workers: Vec<WorkerLoad>,
}

/// How loaded a worker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLoad {
    /// Which.
    pub worker: WorkerId,
    /// Its name.
    pub name: String,
    /// How many tasks it runs at once.
    pub n_threads: u32,
    /// Tasks that it runs or has in hand, those that wait for tasks of their own among them.
    pub n_tasks: u64,
    /// Bytes of results that it keeps.
    pub n_bytes: u64,
    /// What it may keep; none where nobody set a budget.
    pub budget: Option<u64>,
    /// Whether it must not go: something is pinned to it.
    pub is_pinned: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advice {
    /// Nothing.
    Stay,
    /// Start so many workers.
    Up {
        /// How many more than there are or are on their way.
        n: usize,
    },
    /// Let these workers go, without losing what they hold.
    Down {
        /// Which, the cheapest first.
        workers: Vec<WorkerId>,
    },
}

/// The machine.
#[derive(Debug)]
pub struct Adaptive {
    options: AdaptiveOptions,
    /// Looks in a row that saw too many workers, and the largest number that any of them wanted.
    lull: Option<(u32, usize)>,
    /// How many workers were asked for.
    asked: usize,
    /// For how many more looks workers that were asked for may still come.
    patience: u32,
}

/// Looks after which workers that were asked for and did not come are asked for again.
const PATIENCE: u32 = 30;

impl Adaptive {
    /// A machine that has not seen anything yet. A `max` below `min` counts as `min`.
    pub const fn new(options: AdaptiveOptions) -> Self {
        Self { options, lull: None, asked: 0, patience: 0 }
    }

    /// What it was made of.
    pub const fn options(&self) -> &AdaptiveOptions {
        &self.options
    }

    /// How many workers a load calls for.
    pub fn target(&self, load: &Load) -> usize {
        let n_workers = load.workers.len();
        let n_threads: u64 = load.workers.iter().map(|worker| u64::from(worker.n_threads)).sum();
        let target_ns = u64::try_from(self.options.target.as_nanos()).unwrap_or(u64::MAX).max(1);
        // In threads: enough to be done in time, but never more than there are tasks to run.
        let wanted = load.expected_ns.div_ceil(target_ns).max(u64::from(load.n_ready > 0)).min(load.n_ready);
        let per_worker = if n_workers == 0 { 1 } else { (n_threads / n_workers as u64).max(1) };
        let mut target = usize::try_from(wanted.div_ceil(per_worker)).unwrap_or(usize::MAX);
        if self.is_short_of_memory(load) {
            target = target.max(2 * n_workers);
        }
        target.clamp(self.options.min, self.options.max.max(self.options.min))
    }

    /// Takes one look at the cluster and says what to do.
    pub fn advise(&mut self, load: &Load) -> Advice {
        let n_workers = load.workers.len();
        let target = self.target(load);
        self.patience = self.patience.saturating_sub(1);
        if self.patience == 0 || n_workers >= self.asked {
            self.asked = n_workers;
        }
        if target >= n_workers {
            self.lull = None;
            let n = target.saturating_sub(self.asked.max(n_workers));
            if n == 0 {
                return Advice::Stay;
            }
            self.asked = target;
            self.patience = PATIENCE;
            return Advice::Up { n };
        }
        let (n_looks, highest) = self.lull.map_or((1, target), |(n, highest)| (n + 1, highest.max(target)));
        if n_looks < self.options.votes.max(1) {
            self.lull = Some((n_looks, highest));
            return Advice::Stay;
        }
        let workers = self.dispensable(load, n_workers - highest.min(n_workers));
        if workers.is_empty() {
            // Asked again at every look, since the next may find one that is done.
            self.lull = Some((n_looks - 1, highest));
            return Advice::Stay;
        }
        self.lull = None;
        self.asked = n_workers - workers.len();
        Advice::Down { workers }
    }

    /// Up to `n` workers that cost little to lose: idle, and with few results to move.
    fn dispensable(&self, load: &Load, n: usize) -> Vec<WorkerId> {
        let mut idle: Vec<&WorkerLoad> =
            load.workers.iter().filter(|worker| worker.n_tasks == 0 && !worker.is_pinned).collect();
        idle.sort_by_key(|worker| (worker.n_bytes, std::cmp::Reverse(worker.worker)));
        let mut left: Vec<bool> = vec![true; load.workers.len()];
        let mut going = Vec::new();
        // What a target's time cannot move is dearer to move than the worker is to keep.
        let movable = u64::try_from(u128::from(self.options.bandwidth) * self.options.target.as_millis() / 1_000);
        for worker in idle.into_iter().take_while(|w| w.n_bytes <= movable.unwrap_or(u64::MAX)).take(n) {
            let place = load.workers.iter().position(|other| other.worker == worker.worker);
            let Some(place) = place else { continue };
            left[place] = false;
            if !self.fits(load, &left) {
                break;
            }
            going.push(worker.worker);
        }
        going
    }

    /// Whether the workers that are left can hold what all hold now, without being short of memory again at once.
    fn fits(&self, load: &Load, left: &[bool]) -> bool {
        let n_bytes: u64 = load.workers.iter().map(|worker| worker.n_bytes).sum();
        let mut staying = load.workers.iter().zip(left).filter(|(_, left)| **left).map(|(worker, _)| worker).peekable();
        if n_bytes > 0 && staying.peek().is_none() {
            return false;
        }
        let budget = staying.try_fold(0_u64, |sum, worker| Some(sum.saturating_add(worker.budget?)));
        budget.is_none_or(|budget| n_bytes as f64 <= self.options.memory * budget as f64)
    }

    fn is_short_of_memory(&self, load: &Load) -> bool {
        let budget = load.workers.iter().try_fold(0_u64, |sum, worker| Some(sum.saturating_add(worker.budget?)));
        let n_bytes: u64 = load.workers.iter().map(|worker| worker.n_bytes).sum();
        n_bytes > 0 && budget.is_some_and(|budget| n_bytes as f64 > self.options.memory * budget as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn adaptive(min: usize, max: usize) -> Adaptive {
        Adaptive::new(AdaptiveOptions { min, max, ..AdaptiveOptions::default() })
    }

    fn worker(worker: u32, n_tasks: u64) -> WorkerLoad {
        let name = format!("w{worker}");
        WorkerLoad { worker: WorkerId(worker), name, n_threads: 1, n_tasks, n_bytes: 0, budget: None, is_pinned: false }
    }

    /// `n` workers of one thread, and work of so many seconds in so many tasks.
    fn load(n: u32, seconds: u64, n_ready: u64) -> Load {
        let workers = (0..n).map(|number| worker(number, u64::from(n_ready > 0))).collect();
        Load { expected_ns: seconds * SECOND, n_ready, workers }
    }

    fn down(workers: &[u32]) -> Advice {
        Advice::Down { workers: workers.iter().copied().map(WorkerId).collect() }
    }

    #[test]
    fn adapt_quickly() {
        let mut adaptive = adaptive(0, 10);
        assert_eq!(adaptive.advise(&load(0, 0, 0)), Advice::Stay);
        // One short task is one worker; what takes long is as many as bring it down to the target.
        assert_eq!(adaptive.advise(&load(0, 1, 1)), Advice::Up { n: 1 });
        assert_eq!(adaptive.advise(&load(1, 30, 100)), Advice::Up { n: 5 });
        assert_eq!(adaptive.advise(&load(6, 1_000, 1_000)), Advice::Up { n: 4 });
    }

    #[test]
    fn workers_that_are_on_their_way_are_not_asked_for_again_until_they_are_long_overdue() {
        let mut adaptive = adaptive(0, 10);
        assert_eq!(adaptive.advise(&load(0, 30, 100)), Advice::Up { n: 6 });
        for n_there in [0, 0, 2, 3] {
            assert_eq!(adaptive.advise(&load(n_there, 30, 100)), Advice::Stay);
        }
        assert_eq!(adaptive.advise(&load(3, 40, 100)), Advice::Up { n: 2 });
        let n_looks = (0..100).take_while(|_| adaptive.advise(&load(3, 40, 100)) == Advice::Stay).count();
        assert_eq!(n_looks, PATIENCE as usize - 1);
    }

    #[test]
    fn adapt_down() {
        let mut adaptive = adaptive(1, 10);
        for _ in 0..2 {
            assert_eq!(adaptive.advise(&load(5, 0, 0)), Advice::Stay);
        }
        // The youngest go first: the older ones have seen more.
        assert_eq!(adaptive.advise(&load(5, 0, 0)), down(&[4, 3, 2, 1]));
    }

    #[test]
    fn avoid_churn() {
        let mut adaptive = adaptive(0, 10);
        for _ in 0..20 {
            assert_eq!(adaptive.advise(&load(2, 0, 0)), Advice::Stay);
            assert_eq!(adaptive.advise(&load(2, 0, 0)), Advice::Stay);
            // Work comes before the third look.
            assert_eq!(adaptive.advise(&load(2, 10, 10)), Advice::Stay);
        }
    }

    #[test]
    fn a_lull_keeps_as_many_as_any_of_its_looks_wanted() {
        let mut adaptive = adaptive(0, 10);
        assert_eq!(adaptive.advise(&load(5, 0, 0)), Advice::Stay);
        assert_eq!(adaptive.advise(&load(5, 15, 20)), Advice::Stay);
        assert_eq!(adaptive.advise(&load(5, 0, 0)), down(&[4, 3]));
    }

    #[test]
    fn no_more_workers_than_tasks() {
        let mut adaptive = adaptive(0, 100);
        assert_eq!(adaptive.advise(&load(0, 100_000, 3)), Advice::Up { n: 3 });
    }

    #[test]
    fn respect_average_nthreads() {
        let mut adaptive = adaptive(0, 100);
        let mut load = load(2, 50, 100);
        load.workers.iter_mut().for_each(|worker| worker.n_threads = 4);
        // 10 threads are 3 workers of 4.
        assert_eq!(adaptive.advise(&load), Advice::Up { n: 1 });
    }

    #[test]
    fn never_below_the_least_nor_above_the_most() {
        let mut adaptive = adaptive(2, 3);
        assert_eq!(adaptive.advise(&load(0, 0, 0)), Advice::Up { n: 2 });
        assert_eq!(adaptive.advise(&load(2, 1_000, 1_000)), Advice::Up { n: 1 });
        let advice: Vec<Advice> = (0..4).map(|_| adaptive.advise(&load(3, 0, 0))).collect();
        assert_eq!(advice, [Advice::Stay, Advice::Stay, down(&[2]), Advice::Stay]);
    }

    #[test]
    fn scale_up_large_tasks() {
        // However long few tasks take, each needs one thread.
        let mut adaptive = adaptive(0, 100);
        assert_eq!(adaptive.advise(&load(0, 36_000, 10)), Advice::Up { n: 10 });
        let mut workers = load(10, 36_000, 10);
        assert_eq!(adaptive.advise(&workers), Advice::Stay);
        // The last ones leave room for nobody else, and who is done with his may go.
        workers.expected_ns = 3_600 * SECOND;
        workers.n_ready = 2;
        workers.workers.iter_mut().skip(2).for_each(|worker| worker.n_tasks = 0);
        let advice: Vec<Advice> = (0..3).map(|_| adaptive.advise(&workers)).collect();
        assert_eq!(advice, [Advice::Stay, Advice::Stay, down(&[9, 8, 7, 6, 5, 4, 3, 2])]);
    }

    #[test]
    fn who_works_or_is_pinned_stays() {
        let mut adaptive = adaptive(0, 10);
        let mut load = load(4, 0, 0);
        load.workers[0].n_tasks = 1;
        load.workers[1].is_pinned = true;
        let advice: Vec<Advice> = (0..3).map(|_| adaptive.advise(&load)).collect();
        assert_eq!(advice, [Advice::Stay, Advice::Stay, down(&[3, 2])]);
    }

    #[test]
    fn the_last_worker_stays_while_it_holds_something_and_large_holders_stay_long() {
        let mut adaptive = adaptive(0, 10);
        let mut load = load(2, 0, 0);
        load.workers[0].n_bytes = 1_000;
        load.workers[1].n_bytes = 2_000;
        let advice: Vec<Advice> = (0..3).map(|_| adaptive.advise(&load)).collect();
        assert_eq!(advice[2], down(&[0]), "the one with less to move, and not both");
        // Moving this would take longer than work may wait.
        load.workers.iter_mut().for_each(|worker| worker.n_bytes = 501_000_000);
        let mut adaptive = self::adaptive(0, 10);
        assert!((0..5).all(|_| adaptive.advise(&load) == Advice::Stay));
    }

    #[test]
    fn a_full_cluster_grows_and_does_not_shrink_into_being_full() {
        let mut adaptive = adaptive(0, 10);
        let mut load = load(2, 0, 0);
        load.workers.iter_mut().for_each(|worker| (worker.n_bytes, worker.budget) = (700, Some(1_000)));
        assert_eq!(adaptive.advise(&load), Advice::Up { n: 2 });
        load.workers.iter_mut().for_each(|worker| worker.n_bytes = 400);
        let mut adaptive = self::adaptive(0, 10);
        assert!((0..5).all(|_| adaptive.advise(&load) == Advice::Stay), "800 bytes do not fit into 60 % of 1,000");
    }
}
