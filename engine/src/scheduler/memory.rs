//! Which tasks a worker is given while its memory is short, and which can never run.
//!
//! A worker is full when the results in its memory, and what its tasks in hand are expected to make, pass 60 % of its
//! budget. It is then given only tasks that free as many bytes as they make, or make next to nothing, unless it has
//! nothing in hand. A worker that has paused itself is given nothing, unless it has nothing in hand and a task waits
//! for it alone: that task may be the only way to free memory. So whatever the budgets, some task always runs.

use std::sync::Arc;

use super::{
    Command, Scheduler,
    peers::Worker,
    tasks::{Slot, State},
};
use crate::{
    id::{TaskId, WorkerId},
    task::TaskError,
};

/// Percent of a worker's budget above which it is full.
const FULL: u64 = 60;
/// The percentage of a worker's limit up to which nobody has to think of its memory.
const ROOMY: u64 = 25;
/// A result below this part of the smallest budget is none that memory would be short of.
const SMALL: u64 = 4096;
/// Tasks of a full worker's queue that are looked at for one that frees memory.
const LOOKS: usize = 16;

impl Scheduler {
    /// A worker said how its memory is used.
    pub(super) fn memory_used(&mut self, worker: WorkerId, spilled: u64, is_paused: bool) {
        self.workers.change(worker, |state| (state.spilled, state.paused) = (spilled, is_paused));
        self.touched.insert(worker);
    }

    /// A worker has room for a result neither in memory nor on disk.
    pub(super) fn result_not_kept(&mut self, worker: WorkerId, task: TaskId, reason: String, out: &mut Vec<Command>) {
        let Some(slot) = self.tasks.find(task) else { return };
        if self.tasks.state[slot] != State::Memory || !self.tasks.holds(worker, slot) {
            return;
        }
        self.workers.stored(worker, -(self.tasks.n_bytes[slot] as i64));
        // Copies that found no room are not made again and again.
        self.wishes.give_up(task);
        if self.tasks.remove_holder(slot, worker) {
            return;
        }
        let error = TaskError::NotKept {
            function: self.functions.name(self.function(slot)),
            worker,
            n_bytes: self.tasks.n_bytes[slot],
            reason,
        };
        self.lose(vec![slot], out);
        if self.tasks.find(task) == Some(slot) && self.tasks.state[slot].is_active() {
            self.fail(slot, Arc::new(error), out);
        }
    }

    /// Why a task can never run: no worker's budget holds its inputs.
    pub(super) fn too_large(&self, slot: Slot) -> Option<TaskError> {
        let limit = self.workers.largest_limit()?;
        let n_bytes: u64 = self.tasks.dependencies(slot).map(|input| self.tasks.n_bytes[input]).sum();
        (n_bytes > limit).then(|| TaskError::TooLarge {
            function: self.functions.name(self.function(slot)),
            n_bytes,
            limit,
            excess: n_bytes - limit,
        })
    }

    /// The size that a task's result is expected to have; 0 where that is nothing to count with, or unknown.
    pub(super) fn expected_bytes(&self, slot: Slot, function: u32) -> u64 {
        let Some(limit) = self.workers.smallest_limit() else { return 0 };
        let told = self.recipe(slot).and_then(|(submission, node)| submission.graph.options_of(node).expected_bytes);
        let expected = told.or_else(|| self.functions.mean_bytes(function)).unwrap_or(0);
        if expected <= limit / SMALL { 0 } else { expected }
    }

    /// Whether a worker may be given a task now, as far as memory goes.
    pub(super) fn is_admitted(&self, slot: Slot, worker: WorkerId) -> bool {
        let Some(state) = self.workers.get(worker) else { return false };
        if !state.is_full() || state.in_flight.is_empty() {
            return true;
        }
        let expected = self.expected_bytes(slot, self.function(slot));
        expected == 0 || self.frees(slot, worker) >= expected
    }

    /// The first task of a full worker's own queue that it may be given.
    pub(super) fn first_admitted(&self, worker: WorkerId) -> Option<Slot> {
        let queue = &self.workers.get(worker)?.queue;
        queue.iter().take(LOOKS).map(|(_, slot)| *slot).find(|slot| self.is_admitted(*slot, worker))
    }

    /// A task for a worker that has paused itself and has nothing in hand: of those that wait for it alone the one that
    /// frees most. One that any worker may run only where nobody runs anything.
    pub(super) fn relief_for(&mut self, worker: WorkerId) -> Option<Slot> {
        let queue = &self.workers.get(worker)?.queue;
        let gain = |slot: Slot| {
            let made = self.expected_bytes(slot, self.function(slot));
            (self.frees(slot, worker) as i128) - i128::from(made)
        };
        let looks = queue.iter().take(LOOKS).map(|(_, slot)| *slot);
        // The first of several that free as much.
        let own = looks.rev().max_by_key(|slot| gain(*slot));
        if let Some(slot) = own {
            self.leave_place(slot);
            return Some(slot);
        }
        let is_quiet = self.workers.ids().all(|id| self.workers.get(id).is_some_and(|w| w.in_flight.is_empty()));
        if !is_quiet {
            return None;
        }
        let demanded = self.take_demanded(worker, None);
        if demanded.is_some() || self.workers.next_open().is_some() {
            return demanded;
        }
        self.peek_shared()?;
        self.shared.pop().map(|(_, slot)| slot)
    }

    /// Bytes on a worker that nobody will need once a task is done.
    fn frees(&self, slot: Slot, worker: WorkerId) -> u64 {
        let tasks = &self.tasks;
        let last_use =
            |input: &Slot| tasks.n_pending[*input] == 1 && tasks.wanted[*input] == 0 && tasks.holds(worker, *input);
        tasks.dependencies(slot).filter(last_use).map(|input| tasks.n_bytes[input]).sum()
    }
}

impl Worker {
    /// Whether what it has in memory, and what it is expected to make, is more than it should.
    pub(super) fn is_full(&self) -> bool {
        self.has_more_than(FULL)
    }

    /// Whether there is so much room that nobody has to think of memory.
    pub(super) fn is_roomy(&self) -> bool {
        !self.has_more_than(ROOMY)
    }

    /// Whether what it has in memory, and what it is expected to make, is more than this percentage of its limit.
    fn has_more_than(&self, percentage: u64) -> bool {
        let Some(limit) = self.memory_limit else { return false };
        self.n_stored.saturating_sub(self.spilled).saturating_add(self.promised) > limit / 100 * percentage
    }

    /// Whether it takes tasks that any worker may run.
    pub(super) fn has_memory(&self) -> bool {
        self.memory_limit.is_none() || (!self.paused && (self.in_flight.is_empty() || !self.is_full()))
    }

    /// Whether it has paused itself, and only a task that waits for it alone can change that.
    pub(super) fn needs_relief(&self) -> bool {
        self.paused && self.in_flight.is_empty() && !self.retiring && !self.is_announcing
    }
}
