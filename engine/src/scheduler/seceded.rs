//! Tasks that wait for tasks they submitted, and hold no thread meanwhile.
//!
//! Such a task is assigned like any that runs, but counts neither as load nor against its worker's threads, so work
//! that it waits for finds room where it runs. What it submitted runs in its turn, the deepest first: somebody waits
//! for it, and the fewer wait the fewer threads are parked.

use super::{
    Scheduler,
    peers::{Worker, Workers},
    tasks::Slot,
};
use crate::id::{Attempt, ClientId, TaskId, WorkerId};

impl Scheduler {
    /// A function waits, and its thread's place is free.
    pub(super) fn attempt_seceded(&mut self, worker: WorkerId, task: TaskId, attempt: Attempt) {
        let Some(slot) = self.running(worker, task, attempt) else { return };
        self.functions.learn_wait(self.function(slot));
        self.workers.secede(worker, slot, self.tasks.estimate[slot]);
        self.touched.insert(worker);
    }

    /// A function goes on.
    pub(super) fn attempt_rejoined(&mut self, worker: WorkerId, task: TaskId, attempt: Attempt) {
        if let Some(slot) = self.running(worker, task, attempt) {
            self.workers.rejoin(worker, slot, self.tasks.estimate[slot]);
        }
    }

    /// Whether a function runs on that worker for this task as far as we know, waiting ones among them.
    pub(super) fn is_running_on(&self, worker: WorkerId, slot: Slot) -> bool {
        let Some(worker) = self.workers.get(worker) else { return false };
        worker.in_flight.get(&slot) == Some(&true) || worker.seceded.contains_key(&slot)
    }

    /// What a lost worker was sent, and whether it may have been the death of it: who was running, and of those that
    /// were waiting who had submitted something that was running there.
    ///
    /// What a waiting task submitted is forgotten with the worker and counts from 0 when it is submitted again, so
    /// without this a task could kill workers for ever through what it submits.
    pub(super) fn suspects(&self, worker: &Worker) -> Vec<(Slot, bool)> {
        let mut waiting = worker.seceded.clone();
        for slot in worker.in_flight.iter().filter(|(_, is_running)| **is_running).map(|(slot, _)| *slot) {
            self.blame_above(slot, |above| mark(&mut waiting, above));
        }
        worker.in_flight.iter().map(|(slot, is_running)| (*slot, *is_running)).chain(waiting).collect()
    }

    /// A client is lost: should a worker's loss be the reason, then who is waiting there for what the client had
    /// running there is suspected with it.
    pub(super) fn blame_parents(&mut self, client: ClientId) {
        let mut blamed = Vec::new();
        for id in self.workers.ids() {
            let Some(worker) = self.workers.get(id).filter(|worker| !worker.seceded.is_empty()) else { continue };
            for (slot, is_running) in &worker.in_flight {
                if *is_running && self.tasks.id(*slot).client() == client {
                    self.blame_above(*slot, |above| blamed.push((id, above)));
                }
            }
        }
        for (worker, slot) in blamed {
            if let Some(worker) = self.workers.get_mut(worker) {
                mark(&mut worker.seceded, slot);
            }
        }
    }

    /// Names every task above one: who submitted it, who submitted that, and so on.
    fn blame_above(&self, slot: Slot, mut blame: impl FnMut(Slot)) {
        let mut slot = slot;
        // A parent was there before its child, so this ends.
        while let Some((submission, _)) = self.recipe(slot)
            && let Some((parent, _)) = submission.parent
            && let Some(above) = self.tasks.find(parent)
        {
            blame(above);
            slot = above;
        }
    }
}

fn mark(waiting: &mut std::collections::BTreeMap<Slot, bool>, slot: Slot) {
    if let Some(blamed) = waiting.get_mut(&slot) {
        *blamed = true;
    }
}

impl Workers {
    fn secede(&mut self, worker: WorkerId, slot: Slot, estimate: u32) {
        self.change(worker, |state| {
            if state.in_flight.remove(&slot).is_some() {
                state.occupancy -= u64::from(estimate);
                state.seceded.insert(slot, false);
            }
        });
    }

    fn rejoin(&mut self, worker: WorkerId, slot: Slot, estimate: u32) {
        self.change(worker, |state| {
            if state.seceded.remove(&slot).is_some() {
                state.occupancy += u64::from(estimate);
                state.in_flight.insert(slot, true);
            }
        });
    }
}
