//! A second attempt at a task that runs far longer than its kind does, while a worker has nothing to do.
//!
//! Whichever ends first is the answer, and the other is cancelled. How long attempts run is seen by looking now and
//! then, only while someone is idle, so a busy cluster pays nothing for it.

use std::collections::BTreeMap;

use super::{
    Command, Scheduler,
    tasks::{Slot, State},
};
use crate::{
    event::Step,
    id::{Attempt, WorkerId},
    message::ToWorker,
    time::Time,
};

/// Idle workers that are looked at for one second attempt.
const LOOKS: usize = 16;

/// Second attempts, and what is known of first ones.
#[derive(Debug, Default)]
pub(super) struct Stragglers {
    /// Tasks of which a second attempt was begun while the first one ran.
    pairs: BTreeMap<Slot, Pair>,
    /// Since when an attempt is seen running.
    seen: BTreeMap<(WorkerId, Slot, Attempt), Time>,
    next_look: Option<Time>,
}

/// The attempts at one task; that on the task's worker is the first.
#[derive(Debug, Clone, Copy)]
struct Pair {
    first: Attempt,
    /// Nothing where its worker was lost. There is no third.
    second: Option<(WorkerId, Attempt)>,
}

impl Stragglers {
    /// When to look at what runs.
    pub(super) const fn deadline(&self) -> Option<Time> {
        self.next_look
    }

    fn second(&self, slot: Slot) -> Option<(WorkerId, Attempt)> {
        if self.pairs.is_empty() { None } else { self.pairs.get(&slot)?.second }
    }
}

impl Scheduler {
    /// Plans to look at what runs, while someone is idle.
    pub(super) fn watch_for_stragglers(&mut self) {
        if self.stragglers.next_look.is_none() && self.config.straggler_factor > 0. && self.workers.some_rest() {
            self.stragglers.next_look = Some(self.now + self.config.straggler_floor / 2);
        }
    }

    /// Looks at what runs, and begins second attempts where idle workers can take them.
    pub(super) fn look_for_stragglers(&mut self, out: &mut Vec<Command>) {
        if self.stragglers.next_look.is_none_or(|time| time > self.now) {
            return;
        }
        self.stragglers.next_look = None;
        let mut seen = BTreeMap::new();
        let mut late = Vec::new();
        for id in self.workers.ids() {
            let Some(worker) = self.workers.get(id) else { continue };
            for (slot, _) in worker.in_flight.iter().filter(|(_, is_running)| **is_running) {
                let Some(attempt) = self.attempt_on(*slot, id) else { continue };
                let key = (id, *slot, attempt);
                let since = self.stragglers.seen.get(&key).copied().unwrap_or(self.now);
                seen.insert(key, since);
                if self.is_late(*slot, since) && self.is_duplicable(*slot) {
                    late.push((since, *slot));
                }
            }
        }
        self.stragglers.seen = seen;
        late.sort_unstable();
        for (_, slot) in late {
            let Some(worker) = self.second_worker(slot) else { continue };
            self.begin_second(slot, worker, out);
        }
    }

    /// An attempt has ended: where there are two, it is the one that counts, and the other is told to stop.
    pub(super) fn settle_pair(&mut self, slot: Slot, worker: WorkerId, out: &mut Vec<Command>) {
        let Some((second, attempt)) = self.stragglers.second(slot) else { return };
        if second == worker {
            self.cancel_on(slot, WorkerId(self.tasks.worker[slot]), out);
            self.promote_second(slot);
        } else {
            let message = ToWorker::Cancel { task: self.tasks.id(slot), attempt };
            self.record(slot, Step::Cancelled { worker: second, attempt });
            self.tell_worker(second, message, out);
            self.drop_second(slot);
        }
    }

    /// A worker with one of two attempts is lost: the other goes on. Says whether there is one.
    pub(super) fn other_goes_on(&mut self, slot: Slot, worker: WorkerId) -> bool {
        let Some((second, _)) = self.stragglers.second(slot) else { return false };
        if second == worker {
            self.drop_second(slot);
        } else if self.tasks.worker[slot] == worker.0 {
            self.promote_second(slot);
        } else {
            return false;
        }
        true
    }

    /// A second attempt that cannot run where it is, or not there, is given up. False where there is none.
    pub(super) fn take_back_second(&mut self, slot: Slot, worker: WorkerId, out: &mut Vec<Command>) -> bool {
        let is_there = self.stragglers.second(slot).is_some_and(|(second, _)| second == worker);
        if is_there {
            self.cancel_on(slot, worker, out);
            self.drop_second(slot);
        }
        is_there
    }

    /// The attempt that a task's worker has; a worker with a second one has another.
    pub(super) fn first_attempt(&self, slot: Slot) -> Option<Attempt> {
        if !self.stragglers.pairs.is_empty()
            && let Some(pair) = self.stragglers.pairs.get(&slot)
        {
            return Some(pair.first);
        }
        self.tasks.tries[slot].checked_sub(1).map(Attempt)
    }

    /// The attempt at an assigned task that a worker has.
    pub(super) fn attempt_on(&self, slot: Slot, worker: WorkerId) -> Option<Attempt> {
        if self.tasks.state[slot] != State::Assigned {
            None
        } else if self.tasks.worker[slot] == worker.0 {
            self.first_attempt(slot)
        } else {
            self.stragglers.second(slot).filter(|(second, _)| *second == worker).map(|(_, attempt)| attempt)
        }
    }

    /// Tells a second attempt to stop, where there is one; the caller takes the task off its places.
    pub(super) fn cancel_second(&mut self, slot: Slot, out: &mut Vec<Command>) {
        if let Some((worker, _)) = self.stragglers.second(slot) {
            self.cancel_on(slot, worker, out);
        }
    }

    /// Where there were two attempts, the one that is not on the task's worker no longer counts, nor that there were.
    pub(super) fn leave_pair(&mut self, slot: Slot) {
        if !self.stragglers.pairs.is_empty() {
            self.drop_second(slot);
            self.stragglers.pairs.remove(&slot);
        }
    }

    fn cancel_on(&mut self, slot: Slot, worker: WorkerId, out: &mut Vec<Command>) {
        if let Some(attempt) = self.attempt_on(slot, worker) {
            self.record(slot, Step::Cancelled { worker, attempt });
            self.tell_worker(worker, ToWorker::Cancel { task: self.tasks.id(slot), attempt }, out);
        }
    }

    /// The second attempt no longer counts; the first goes on.
    fn drop_second(&mut self, slot: Slot) {
        if let Some((worker, _)) = self.stragglers.pairs.get_mut(&slot).and_then(|pair| pair.second.take()) {
            self.workers.unassign(worker, slot, self.tasks.estimate[slot]);
            self.touched.insert(worker);
        }
    }

    /// The first attempt no longer counts; the second takes its place.
    fn promote_second(&mut self, slot: Slot) {
        let Some(Pair { second: Some((worker, _)), .. }) = self.stragglers.pairs.remove(&slot) else { return };
        let first = WorkerId(self.tasks.worker[slot]);
        self.workers.unassign(first, slot, self.tasks.estimate[slot]);
        self.touched.insert(first);
        // The second attempt is the last that was begun, as that of any task.
        self.tasks.worker[slot] = worker.0;
    }

    /// Whether an attempt runs for far longer than its kind does.
    fn is_late(&self, slot: Slot, since: Time) -> bool {
        let elapsed = self.now - since;
        if elapsed < self.config.straggler_floor {
            return false;
        }
        let usual = self.functions.usual(self.function(slot), self.size_class(slot));
        usual.is_some_and(|usual| elapsed.as_nanos() as f64 > usual as f64 * self.config.straggler_factor)
    }

    /// Whether a second attempt may run beside the first: not where the user forbids it, where a resource would be
    /// taken twice, where it submits tasks, which others see, or where it makes or calls an actor or is of a gang.
    fn is_duplicable(&self, slot: Slot) -> bool {
        let Some((submission, node)) = self.recipe(slot) else { return false };
        let options = submission.graph.options_of(node);
        let is_allowed = !options.no_duplicate
            && options.resources.is_empty()
            && !self.actors.is_call(slot)
            && !self.actors.contains(slot)
            && self.rank_of(slot).is_none();
        is_allowed && !self.functions.waits(self.function(slot)) && !self.stragglers.pairs.contains_key(&slot)
    }

    fn second_worker(&self, slot: Slot) -> Option<WorkerId> {
        let function = self.function(slot);
        let is_other = |id: &WorkerId| id.0 != self.tasks.worker[slot];
        let mut idle = self.workers.idle().filter(is_other).take(LOOKS);
        idle.find(|id| self.workers.knows(*id, function) && self.may_run(slot, *id))
    }

    fn begin_second(&mut self, slot: Slot, worker: WorkerId, out: &mut Vec<Command>) {
        let Some(first) = self.first_attempt(slot) else { return };
        let second = Attempt(self.tasks.tries[slot]);
        self.tasks.tries[slot] += 1;
        self.stragglers.pairs.insert(slot, Pair { first, second: Some((worker, second)) });
        self.record(slot, Step::Straggles);
        let expected_bytes = self.expected_bytes(slot, self.function(slot));
        self.workers.assign(worker, slot, self.tasks.estimate[slot], expected_bytes);
        self.send(slot, worker, second, out);
    }

    /// Checks second attempts, and says what they add to their workers: how many there are, and their estimates.
    pub(super) fn check_pairs(&self) -> Vec<(WorkerId, u64)> {
        let mut seconds = Vec::new();
        for (slot, pair) in &self.stragglers.pairs {
            let id = self.tasks.id(*slot);
            assert_eq!(self.tasks.state[*slot], State::Assigned, "{id} has two attempts");
            let Some((worker, attempt)) = pair.second else { continue };
            assert_ne!(worker.0, self.tasks.worker[*slot], "{id} has its attempts on two workers");
            assert_eq!(attempt.0 + 1, self.tasks.tries[*slot], "{id} counts its attempts");
            let Some(host) = self.workers.get(worker) else { panic!("{id} runs on {worker} too, which is gone") };
            if host.seceded.contains_key(slot) {
                seconds.push((worker, 0));
            } else {
                assert!(host.in_flight.contains_key(slot), "{id} is in flight on {worker} too");
                seconds.push((worker, u64::from(self.tasks.estimate[*slot])));
            }
        }
        seconds
    }
}
