//! Decides which large results a worker sends at once.
//!
//! When many want the same result, the one who has it would send it to all of them, one slower than the other. Here
//! few get it, and the others are told that it is busy: by the time they ask again, those few have it as well, and a
//! thousand copies are made in about as many rounds as a tree of a thousand leaves is high.
//!
//! ```
//! use phalanx_engine::{id::{ClientId, TaskId}, serve::Serves};
//!
//! let mut serves = Serves::default();
//! let large = TaskId::new(ClientId(0), 0);
//! assert!(serves.begin(large) && serves.begin(large)); // to two at once
//! assert!(!serves.begin(large)); // the third is told to ask again
//! serves.end(large);
//! assert!(serves.begin(large));
//! ```

use std::collections::BTreeMap;

use crate::id::TaskId;

/// What is being sent, and how much that may be.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `max_all` | 10 | results that are sent at the same time (dask's `connections.incoming`) | 1 or more |
/// | `max_each` | 2 | peers that one result is sent to at the same time (dask's `branching_factor`) | 1 or more |
#[derive(Debug, Clone)]
pub struct Serves {
    max_all: u32,
    max_each: u32,
    n_all: u32,
    each: BTreeMap<TaskId, u32>,
}

impl Default for Serves {
    fn default() -> Self {
        Self::new(10, 2)
    }
}

impl Serves {
    /// Nothing is being sent.
    pub fn new(max_all: u32, max_each: u32) -> Self {
        Self { max_all: max_all.max(1), max_each: max_each.max(1), n_all: 0, each: BTreeMap::new() }
    }

    /// A peer wants a result. True where it is to be sent, until [`end`](Self::end); otherwise it is told that this
    /// one is busy.
    pub fn begin(&mut self, task: TaskId) -> bool {
        let n_each = self.each.get(&task).copied().unwrap_or(0);
        let free = self.n_all < self.max_all && n_each < self.max_each;
        if free {
            self.n_all += 1;
            self.each.insert(task, n_each + 1);
        }
        free
    }

    /// A result is sent, or will not be: the peer is gone.
    pub fn end(&mut self, task: TaskId) {
        if let Some(n_each) = self.each.get_mut(&task) {
            self.n_all -= 1;
            *n_each -= 1;
            if *n_each == 0 {
                self.each.remove(&task);
            }
        }
    }

    /// Results that are being sent.
    pub const fn n_all(&self) -> u32 {
        self.n_all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ClientId;

    #[test]
    fn there_is_a_limit_for_one_result_and_one_for_all() {
        let mut serves = Serves::new(3, 2);
        let [a, b, c] = [0, 1, 2].map(|sequence| TaskId::new(ClientId(0), sequence));
        assert_eq!([a, a, a, b, c].map(|task| serves.begin(task)), [true, true, false, true, false]);
        serves.end(a);
        assert!(serves.begin(c));
        // What was never begun does not end.
        serves.end(TaskId::new(ClientId(1), 0));
        assert_eq!(serves.n_all(), 3);
        [a, b, c].into_iter().for_each(|task| serves.end(task));
        assert_eq!((serves.n_all(), serves.each.len()), (0, 0));
    }
}
