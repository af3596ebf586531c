//! How much there is to do, and where: what adaptive scaling asks.

use super::{Scheduler, place::UNIT_NS};
use crate::{
    adaptive::{Load, WorkerLoad},
    id::WorkerId,
};

/// Entries of the shared queue whose times are added up; the rest is taken to be like them.
const LOOKS: usize = 4_096;

impl Scheduler {
    /// How loaded the cluster is now.
    pub(super) fn load(&self) -> Load {
        let (n_shared, shared) = self.shared_load();
        let mut units = shared;
        let mut n_ready = n_shared + self.n_gang_waiting();
        let mut workers = Vec::new();
        let homes = self.homes();
        for id in self.workers.ids() {
            let Some(worker) = self.workers.get(id) else { continue };
            units = units.saturating_add(worker.occupancy).saturating_add(worker.queued);
            n_ready += (worker.in_flight.len() + worker.queue.len()) as u64;
            if worker.retiring {
                continue;
            }
            workers.push(WorkerLoad {
                worker: id,
                name: self.worker_name(id),
                n_threads: worker.n_threads,
                n_tasks: (worker.in_flight.len() + worker.queue.len() + worker.seceded.len()) as u64,
                n_bytes: worker.n_stored,
                budget: worker.memory_limit,
                is_pinned: homes.contains(&id),
            });
        }
        Load { expected_ns: units.saturating_mul(UNIT_NS), n_ready, workers }
    }

    /// How many tasks wait that any worker may take, and what they are expected to take, in units.
    fn shared_load(&self) -> (u64, u64) {
        let mut entries = self.shared.entries();
        let (mut n_seen, mut n_current, mut units) = (0_u64, 0_u64, 0_u64);
        for (priority, slot) in entries.by_ref().take(LOOKS) {
            n_seen += 1;
            if self.is_current(priority, slot) {
                n_current += 1;
                let estimate = self.estimate(slot);
                units = units.saturating_add(u64::from(estimate));
            }
        }
        let like = |part: u64| {
            let scaled = u128::from(part) * self.shared.len() as u128 / u128::from(n_seen.max(1));
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        (like(n_current), like(units))
    }

    fn worker_name(&self, worker: WorkerId) -> String {
        self.workers.get(worker).map(|worker| worker.name.clone()).unwrap_or_default()
    }
}
