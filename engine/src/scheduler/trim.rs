//! Drops copies that nobody will use (dask's `ReduceReplicas`).
//!
//! A copy is worth its memory while a task that takes it is to run beside it. Of the others as many are kept as there
//! are tasks that have no place yet and could run beside one, as many as are wished for, and always one. Done now and
//! then and only while there are copies at all: a copy dropped a moment too late costs less than one that is fetched
//! twice.

use std::collections::BTreeSet;

use super::{
    Scheduler,
    tasks::{NONE, Slot, State},
};
use crate::{id::WorkerId, time::Time};

impl Scheduler {
    /// Notes when to look, once there is something to look at.
    pub(super) fn plan_trim(&mut self, now: Time) {
        if self.tasks.more_holders.is_empty() && self.seekers.is_empty() {
            self.trim_at = None;
        } else if self.trim_at.is_none() {
            self.trim_at = Some(now + self.config.trim_every);
        }
    }

    /// Drops what is too much.
    pub(super) fn trim_tick(&mut self, now: Time) {
        if self.trim_at.is_none_or(|at| now < at) {
            return;
        }
        self.trim_at = None;
        self.sweep_seekers();
        let slots: Vec<Slot> = self.tasks.more_holders.keys().copied().collect();
        for slot in slots {
            for worker in self.extra_copies(slot) {
                self.drop_copy(slot, worker);
            }
        }
    }

    /// Takes a copy away from a worker; another is left.
    pub(super) fn drop_copy(&mut self, slot: Slot, worker: WorkerId) {
        let (task, n_bytes) = (self.tasks.id(slot), self.tasks.n_bytes[slot] as i64);
        if self.tasks.remove_holder(slot, worker) {
            self.drops.entry(worker).or_default().push(task);
            self.workers.stored(worker, -n_bytes);
            self.wishes.touch(task);
        }
    }

    /// Whether a task that takes a result runs on a worker or is to.
    pub(super) fn is_used_on(&self, slot: Slot, worker: WorkerId) -> bool {
        self.tasks.dependents(slot).any(|dependent| {
            let state = self.tasks.state[dependent];
            matches!(state, State::Assigned | State::Ready) && self.tasks.worker[dependent] == worker.0
        })
    }

    /// Who should drop a result: the fullest first. Who is on the way out is no concern, nor a place to keep it.
    fn extra_copies(&self, slot: Slot) -> Vec<WorkerId> {
        if self.tasks.state[slot] != State::Memory {
            return Vec::new();
        }
        let holders: Vec<WorkerId> = self.tasks.holders(slot).filter(|holder| self.workers.takes(*holder)).collect();
        let wished = self.wishes.of(self.tasks.id(slot)) as usize;
        let (mut users, mut n_unplaced) = (BTreeSet::new(), 0);
        for dependent in self.tasks.dependents(slot) {
            match (self.tasks.state[dependent], self.tasks.worker[dependent]) {
                (State::Ready | State::Assigned, worker) if worker != NONE => {
                    users.insert(WorkerId(worker));
                }
                (State::Waiting | State::Ready, _) => n_unplaced += 1,
                _ => {}
            }
            if wished.max(users.len() + n_unplaced) >= holders.len() {
                return Vec::new();
            }
        }
        let n_kept = wished.max(users.len() + n_unplaced);
        let n_dropped = holders.len().saturating_sub(n_kept);
        let mut idle: Vec<WorkerId> = holders.into_iter().filter(|holder| !users.contains(holder)).collect();
        idle.sort_by_key(|id| std::cmp::Reverse((self.workers.get(*id).map_or(0, |worker| worker.n_stored), *id)));
        idle.truncate(n_dropped);
        idle
    }
}
