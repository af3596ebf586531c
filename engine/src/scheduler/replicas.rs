//! Copies of results that workers fetch because they are told to, and not because a task there takes them.
//!
//! What is asked of a worker is remembered until it says that it has the copy, that it cannot get it, or is gone. A
//! result can be lost, forgotten and made again meanwhile, so this table goes by id and never by slot. Why a copy is
//! made is the business of who asks for it.

use std::collections::BTreeMap;

use super::{
    Command, Scheduler,
    tasks::{Slot, State},
};
use crate::{
    id::{TaskId, WorkerId},
    message::{Remote, ToWorker},
};

/// Copies on their way.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    /// What each worker was told to fetch.
    pending: BTreeMap<(TaskId, WorkerId), Copying>,
    /// What workers are to be told, collected during one event.
    outbox: BTreeMap<WorkerId, Vec<Remote>>,
}

/// One copy on its way.
#[derive(Debug, Clone, Copy)]
struct Copying {
    n_bytes: u64,
    /// From whom it is fetched first.
    source: WorkerId,
}

impl Replicas {
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// How many workers are fetching a copy of a result because they were told to.
    pub(super) fn n_pending(&self, task: TaskId) -> usize {
        if self.pending.is_empty() {
            return 0;
        }
        self.pending.range((task, WorkerId(0))..=(task, WorkerId(u32::MAX))).count()
    }

    /// Copies on their way, with who fetches them.
    pub(super) fn pending(&self) -> impl Iterator<Item = (TaskId, WorkerId)> + '_ {
        self.pending.keys().copied()
    }

    pub(super) fn is_pending(&self, task: TaskId, worker: WorkerId) -> bool {
        self.pending.contains_key(&(task, worker))
    }

    /// A worker says that it has a result, or cannot get it. True where it was told to.
    pub(super) fn ended(&mut self, task: TaskId, worker: WorkerId) -> bool {
        !self.pending.is_empty() && self.pending.remove(&(task, worker)).is_some()
    }

    /// A worker is gone.
    pub(super) fn worker_left(&mut self, worker: WorkerId) {
        self.pending.retain(|(_, to), _| *to != worker);
        self.outbox.remove(&worker);
    }

    /// Nothing waits to be said.
    pub(super) fn is_settled(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Bytes on their way to a worker.
    fn incoming(&self, worker: WorkerId) -> u64 {
        self.pending.iter().filter(|((_, to), _)| *to == worker).map(|(_, copying)| copying.n_bytes).sum()
    }

    /// Copies on their way that a worker serves.
    fn outgoing(&self, worker: WorkerId) -> usize {
        self.pending.values().filter(|copying| copying.source == worker).count()
    }
}

impl Scheduler {
    /// Tells the worker with the fewest bytes, of those that take work and lack it, to fetch a copy of a result in
    /// memory. None where there is no such worker.
    pub(super) fn copy_somewhere(&mut self, slot: Slot) -> Option<WorkerId> {
        if self.actors.contains(slot) {
            return None;
        }
        let task = self.tasks.id(slot);
        let lacks = |worker: &WorkerId| {
            self.workers.takes(*worker) && !self.tasks.holds(*worker, slot) && !self.replicas.is_pending(task, *worker)
        };
        let load = |worker: &WorkerId| {
            // One that has paused itself fetches nothing before it has room.
            let (paused, stored) = self.workers.get(*worker).map_or((true, 0), |state| (state.paused, state.n_stored));
            (paused, stored + self.replicas.incoming(*worker), *worker)
        };
        let to = self.workers.ids().filter(lacks).min_by_key(load)?;
        self.copy_to(slot, to);
        Some(to)
    }

    /// Tells a worker to fetch a copy of a result in memory, from the holder that has the least to send.
    pub(super) fn copy_to(&mut self, slot: Slot, to: WorkerId) {
        if self.actors.contains(slot) {
            return;
        }
        let source = self.tasks.holders(slot).min_by_key(|holder| (self.replicas.outgoing(*holder), *holder));
        let Some((source, address)) = source.and_then(|id| Some((id, self.workers.get(id)?.address.clone()))) else {
            return;
        };
        let (task, n_bytes) = (self.tasks.id(slot), self.tasks.n_bytes[slot]);
        self.replicas.pending.insert((task, to), Copying { n_bytes, source });
        self.replicas.outbox.entry(to).or_default().push(Remote { task, n_bytes, holders: vec![address] });
    }

    /// A worker cannot get a copy that it was told to fetch, and it is nowhere just now: it shall not wait for it.
    pub(super) fn copy_missing(&mut self, worker: WorkerId, task: TaskId) {
        let is_there = self.tasks.find(task).is_some_and(|slot| self.tasks.state[slot] == State::Memory);
        if !is_there && self.replicas.ended(task, worker) {
            self.drops.entry(worker).or_default().push(task);
        }
        self.wishes.touch(task);
    }

    /// Nobody needs a result any more: who was told to fetch it shall not.
    pub(super) fn copies_unneeded(&mut self, task: TaskId) {
        let workers: Vec<WorkerId> = self
            .replicas
            .pending
            .range((task, WorkerId(0))..=(task, WorkerId(u32::MAX)))
            .map(|((_, worker), _)| *worker)
            .collect();
        for worker in workers {
            self.replicas.ended(task, worker);
            self.drops.entry(worker).or_default().push(task);
        }
    }

    /// Says what was collected during one event.
    pub(super) fn say_copies(&mut self, out: &mut Vec<Command>) {
        for (worker, results) in std::mem::take(&mut self.replicas.outbox) {
            self.tell_worker(worker, ToWorker::Acquire { results }, out);
        }
    }

    /// What must be true of this file's state between two events.
    pub(super) fn check_replicas(&self) {
        assert!(self.replicas.is_settled(), "an event leaves copies unsaid");
        for (task, worker) in self.replicas.pending() {
            assert!(self.workers.get(worker).is_some(), "{task} is copied to {worker}, which is gone");
        }
    }
}
