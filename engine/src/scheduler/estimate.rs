//! How long a function can be expected to run, by the size of what it is given.
//!
//! Sizes are told apart by powers of two. Of each the mean run time is kept and how far runs are from it, as averages
//! in which the last run counts a quarter. Whatever the number of runs, taking one in or asking costs the same.

/// Sizes that are told apart: none, one byte, two or three, four to seven, ...
const CLASSES: usize = 64;
/// Runs of one size after which it can be said what is usual.
const ENOUGH: u32 = 3;

/// The size class of an input of so many bytes.
pub(super) const fn size_class(n_bytes: u64) -> usize {
    let class = (u64::BITS - n_bytes.leading_zeros()) as usize;
    if class < CLASSES { class } else { CLASSES - 1 }
}

/// What is known of one function's runs.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Bit `i` is set where there were runs of class `i`.
    known: u64,
    /// By class; as long as the highest class there was.
    classes: Vec<Class>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Class {
    /// In nanoseconds, like the next.
    mean: u64,
    /// How far runs are from the mean.
    deviation: u64,
    n_runs: u32,
}

impl Runs {
    /// Takes in a run.
    pub(super) fn learn(&mut self, class: usize, run_ns: u64) {
        let class = class.min(CLASSES - 1);
        if self.classes.len() <= class {
            self.classes.resize(class + 1, Class::default());
        }
        let Class { mean, deviation, n_runs } = &mut self.classes[class];
        if *n_runs == 0 {
            *mean = run_ns;
        } else {
            *deviation = *deviation - *deviation / 4 + mean.abs_diff(run_ns) / 4;
            *mean = *mean - *mean / 4 + run_ns / 4;
        }
        *n_runs = n_runs.saturating_add(1);
        self.known |= 1 << class;
    }

    /// Whether runs of several sizes are known, so that it matters which.
    pub(super) const fn differ(&self) -> bool {
        self.known.count_ones() > 1
    }

    /// The mean of the class, or else of the one nearest to it that is known, the smaller of two.
    pub(super) fn mean(&self, class: usize) -> Option<u64> {
        if self.known == 0 {
            return None;
        }
        let class = class.min(CLASSES - 1);
        let below = (self.known & (u64::MAX >> (CLASSES - 1 - class))).checked_ilog2();
        let above =
            (self.known >> class).checked_ilog2().map(|_| class + (self.known >> class).trailing_zeros() as usize);
        let nearest = match (below.map(|below| below as usize), above) {
            (Some(below), Some(above)) if above - class < class - below => above,
            (Some(below), _) => below,
            (None, above) => above?,
        };
        self.classes.get(nearest).map(|class| class.mean)
    }

    /// What three of four runs of this very class stay below, roughly; nothing before there were a few.
    pub(super) fn usual(&self, class: usize) -> Option<u64> {
        let class = self.classes.get(class.min(CLASSES - 1)).filter(|class| class.n_runs >= ENOUGH)?;
        Some(class.mean.saturating_add(class.deviation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_apart_by_powers_of_two() {
        let classes = [0, 1, 2, 3, 4, 1 << 20, u64::MAX].map(size_class);
        assert_eq!(classes, [0, 1, 2, 2, 3, 21, 63]);
    }

    #[test]
    fn a_size_that_never_ran_is_taken_for_the_nearest_that_did() {
        let mut runs = Runs::default();
        assert_eq!(runs.mean(5), None);
        runs.learn(10, 1_000);
        runs.learn(20, 9_000);
        assert!(runs.differ());
        let means = [0, 10, 14, 15, 16, 20, 63, 99].map(|class| runs.mean(class));
        assert_eq!(means, [1_000, 1_000, 1_000, 1_000, 9_000, 9_000, 9_000, 9_000].map(Some));
    }

    #[test]
    fn the_last_run_counts_a_quarter_and_a_wrong_estimate_is_soon_right() {
        let mut runs = Runs::default();
        runs.learn(0, 4_000);
        runs.learn(0, 8_000);
        assert_eq!(runs.mean(0), Some(5_000));
        for _ in 0..16 {
            runs.learn(0, 100_000);
        }
        let mean = runs.mean(0).expect("it ran");
        assert!((50_000..=200_000).contains(&mean), "{mean}");
    }

    #[test]
    fn what_is_usual_is_said_after_a_few_runs_of_that_size() {
        let mut runs = Runs::default();
        for run_ns in [100, 100] {
            runs.learn(3, run_ns);
        }
        assert_eq!((runs.usual(3), runs.usual(4)), (None, None));
        runs.learn(3, 100);
        assert_eq!(runs.usual(3), Some(100));
        runs.learn(3, 300);
        assert_eq!(runs.usual(3), Some(150 + 50));
    }
}
