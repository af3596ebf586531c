//! Waits awake for what comes soon, and asleep for the rest.
//!
//! Waking a thread whose core sleeps takes tens of microseconds, which is most of a small task's way through half a
//! dozen threads. So a thread whose last wait was short looks again and again for a while before it sleeps. Nobody else
//! goes short of time for that: before each look it gives its core away, and a core that does not come back soon is
//! wanted by others, which ends the looking.
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

/// What somebody has learnt from his waits.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    was_short: bool,
}

impl Patience {
    /// Waits for `future`, awake at first where the last wait was short.
    pub(crate) async fn wait<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        let start = Instant::now();
        if self.was_short {
            while may_look(start) {
                let looked = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
                if let Poll::Ready(output) = looked {
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
        if self.was_short {
            while may_look(start) {
                if let Some(found) = look() {
                    return found;
                }
            }
        }
        let found = sleep();
        self.was_short = start.elapsed() < SHORT;
        found
    }
}

/// Whether who waits since `start` may look once more. Gives the core to whoever wants it.
fn may_look(start: Instant) -> bool {
    let before = Instant::now();
    thread::yield_now();
    let after = Instant::now();
    after - before < WANTED && after - start < SHORT
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_is_there_is_found_whether_one_looks_or_sleeps() {
        for was_short in [false, true] {
            let mut patience = Patience { was_short };
            assert_eq!(patience.wait_here(|| Some(1), || 1), 1);
            let (asleep, runtime) = (Cell::new(false), tokio::runtime::Builder::new_current_thread().build());
            assert!(!patience.wait_here(|| None, || asleep.replace(true)));
            assert!(asleep.get());
            assert_eq!(runtime.expect("a runtime").block_on(patience.wait(async { 3 })), 3);
        }
    }
}
