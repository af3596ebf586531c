//! A few workers, each once, in order: a set that keeps its memory when it is emptied, as it is after every event.

use crate::id::WorkerId;

/// Workers by rising number.
#[derive(Debug, Default)]
pub(super) struct Touched(Vec<WorkerId>);

impl Touched {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, worker: WorkerId) {
        if let Err(place) = self.0.binary_search(&worker) {
            self.0.insert(place, worker);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes all of them, to be walked through while others are touched.
    pub(super) fn take(&mut self) -> Vec<WorkerId> {
        std::mem::take(&mut self.0)
    }

    /// Forgets those that were touched meanwhile, and has the memory of what was taken again.
    pub(super) fn end(&mut self, mut taken: Vec<WorkerId>) {
        taken.clear();
        self.0 = taken;
    }
}

impl Extend<WorkerId> for Touched {
    fn extend<I: IntoIterator<Item = WorkerId>>(&mut self, workers: I) {
        workers.into_iter().for_each(|worker| self.insert(worker));
    }
}
