//! When a process that died is started again, and when that is given up. A machine: time is an argument.

use std::{collections::VecDeque, time::Duration};

use phalanx_engine::time::Time;
use serde::{Deserialize, Serialize};

/// How often a worker process that crashes is started again.
///
/// A first crash is followed by a restart at once, each further one within `window` after a pause that doubles.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `limit` | 10 | restarts within `window` before it is given up | 0 (never restarted) or more |
/// | `window` | 60 s | how long a crash counts | above 0 |
/// | `first_pause` | 100 ms | before the second restart within `window`; doubled each time | any |
/// | `longest_pause` | 10 s | where doubling ends | any |
///
/// ```
/// use phalanx_runtime::RestartOptions;
/// assert_eq!(RestartOptions::default().limit, 10);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartOptions {
    /// Restarts within `window`.
    pub limit: usize,
    /// How long a crash counts.
    pub window: Duration,
    /// Before the second restart within `window`.
    pub first_pause: Duration,
    /// Where doubling ends.
    pub longest_pause: Duration,
}

impl Default for RestartOptions {
    fn default() -> Self {
        Self {
            limit: 10,
            window: Duration::from_secs(60),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(10),
        }
    }
}

/// What to do after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Start again after this pause.
    Again(Duration),
    /// It crashed too often: leave it.
    GiveUp,
}

/// The crashes of one worker that still count.
#[derive(Debug)]
pub(super) struct Restarts {
    options: RestartOptions,
    crashes: VecDeque<Time>,
}

impl Restarts {
    pub(super) const fn new(options: RestartOptions) -> Self {
        Self { options, crashes: VecDeque::new() }
    }

    /// It has crashed.
    pub(super) fn crashed(&mut self, now: Time) -> Next {
        while self.crashes.front().is_some_and(|crash| now - *crash >= self.options.window) {
            self.crashes.pop_front();
        }
        let n_before = self.crashes.len();
        if n_before >= self.options.limit {
            return Next::GiveUp;
        }
        self.crashes.push_back(now);
        let doublings = u32::try_from(n_before.saturating_sub(1)).unwrap_or(u32::MAX).min(20);
        let pause = if n_before == 0 { Duration::ZERO } else { self.options.first_pause * (1 << doublings) };
        Next::Again(pause.min(self.options.longest_pause))
    }

    /// What was too often, for people.
    pub(super) fn too_often(&self) -> String {
        format!("{} restarts within {:?}", self.options.limit, self.options.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_then_it_is_given_up() {
        let options =
            RestartOptions { limit: 5, longest_pause: Duration::from_millis(300), ..RestartOptions::default() };
        let mut restarts = Restarts::new(options);
        let pauses: Vec<Next> = (0..6).map(|second| restarts.crashed(at(second))).collect();
        let again = |ms| Next::Again(Duration::from_millis(ms));
        assert_eq!(pauses, [again(0), again(100), again(200), again(300), again(300), Next::GiveUp]);
    }

    #[test]
    fn a_crash_counts_for_its_window() {
        let mut restarts = Restarts::new(RestartOptions { limit: 1, ..RestartOptions::default() });
        assert_eq!(restarts.crashed(at(0)), Next::Again(Duration::ZERO));
        assert_eq!(restarts.crashed(at(59)), Next::GiveUp);
        assert_eq!(restarts.crashed(at(60)), Next::Again(Duration::ZERO));
    }

    #[test]
    fn nothing_is_restarted_where_that_is_not_wished() {
        let mut restarts = Restarts::new(RestartOptions { limit: 0, ..RestartOptions::default() });
        assert_eq!(restarts.crashed(at(0)), Next::GiveUp);
    }
}
