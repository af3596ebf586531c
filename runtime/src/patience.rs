//! Waits awake for what comes soon, and asleep for the rest.
//!
//! Waking a thread whose core sleeps takes tens of microseconds, which is most of a small task's way through half a
//! dozen threads. So a thread whose last wait was short looks again and again for a while before it sleeps. Nobody else
//! goes short of time for that: before each look it gives its core away, and a core that does not come back soon is
//! wanted by others, which ends the looking. Who sleeps is woken at once also where all cores compute, and who gave his
//! core away is not; so the next wait is slept through, and twice as many each time that it happens again, until a look
//! finds something.
//!
//! Knows nothing of what is waited for.

use std::{
    pin::pin,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

/// A wait that ends sooner than this is short, and nobody looks for longer.
const SHORT: Duration = Duration::from_micros(200);
/// Giving a core away takes a few microseconds at most where only others who look take it.
const WANTED: Duration = Duration::from_micros(50);
/// Waits that are slept through at most before the next one is looked through.
const MAX_SLEPT: u32 = 256;

/// What somebody has learnt from his waits.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    was_short: bool,
    /// Waits that are slept through yet, however short the last one was.
    n_to_sleep: u32,
    /// How many were slept through when the core was last wanted by others.
    n_slept: u32,
}

/// What came of giving the core away.
enum Look {
    Again,
    TooLong,
    Wanted,
}

impl Patience {
    /// Waits for `future`, awake at first where the last wait was short.
    pub(crate) async fn wait<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        let start = Instant::now();
        if self.looks() {
            while self.may_look(start) {
                let looked = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
                if let Poll::Ready(output) = looked {
                    self.n_slept = 0;
                    return output;
                }
                // Sockets are looked at in between.
                tokio::task::yield_now().await;
            }
        }
        let output = future.await;
        self.was_short = start.elapsed() < SHORT;
        output
    }

    /// Waits for what `look` finds, awake at first where the last wait was short; then `sleep` waits for it.
    pub(crate) fn wait_here<T>(&mut self, mut look: impl FnMut() -> Option<T>, sleep: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        if self.looks() {
            while self.may_look(start) {
                if let Some(found) = look() {
                    self.n_slept = 0;
                    return found;
                }
            }
        }
        let found = sleep();
        self.was_short = start.elapsed() < SHORT;
        found
    }

    /// Whether this wait begins awake.
    fn looks(&mut self) -> bool {
        let sleeps = self.n_to_sleep > 0;
        self.n_to_sleep = self.n_to_sleep.saturating_sub(1);
        self.was_short && !sleeps
    }

    /// Whether who waits since `start` may look once more. Gives the core to whoever wants it.
    fn may_look(&mut self, start: Instant) -> bool {
        let look = give_way(start);
        if matches!(look, Look::Wanted) {
            self.n_slept = (2 * self.n_slept).clamp(1, MAX_SLEPT);
            self.n_to_sleep = self.n_slept;
        }
        matches!(look, Look::Again)
    }
}

fn give_way(start: Instant) -> Look {
    let before = Instant::now();
    thread::yield_now();
    let after = Instant::now();
    if after - before >= WANTED {
        Look::Wanted
    } else if after - start < SHORT {
        Look::Again
    } else {
        Look::TooLong
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_is_there_is_found_whether_one_looks_or_sleeps() {
        for was_short in [false, true] {
            let mut patience = Patience { was_short, ..Patience::default() };
            assert_eq!(patience.wait_here(|| Some(1), || 1), 1);
            let (asleep, runtime) = (Cell::new(false), tokio::runtime::Builder::new_current_thread().build());
            assert!(!patience.wait_here(|| None, || asleep.replace(true)));
            assert!(asleep.get());
            assert_eq!(runtime.expect("a runtime").block_on(patience.wait(async { 3 })), 3);
        }
    }
}
