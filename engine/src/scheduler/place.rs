//! Which worker runs a ready task, and when an idle one steals.
//!
//! A task without inputs goes to the shared queue, from which workers with room take the next. A task with inputs goes
//! to the queue of the worker where it can be expected to start first: the wait there plus the time to move what is
//! missing there, looking at those that hold an input and at an idle one. Queues are kept here, not on the workers,
//! which are sent only as much as keeps them busy until the next message; so a worker that runs dry takes a task from
//! the longest queue at once, without asking anyone (design.md, section 3).

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    Command, Scheduler,
    estimate::size_class,
    peers::Worker,
    tasks::{NONE, Slot, State},
};
use crate::{
    event::Step,
    graph::ArgumentCode,
    id::{Attempt, WorkerId},
    message::{Compute, Constants, Priority, Remote, ToWorker},
    task::TaskError,
};

/// Times in placement are counted in units of 128 ns, which is also how long 128 bytes take at 1 GB/s.
pub(super) const UNIT_NS: u64 = 128;
/// How long a fetch takes beside its bytes: 200 us, a round trip between busy processes.
const FETCH_LATENCY: u64 = 200_000 / UNIT_NS;
/// What a task of a function that never ran is taken to need: 10 ms, long enough to send each thread one only.
pub(super) const UNKNOWN: u32 = (10_000_000 / UNIT_NS) as u32;
/// Expected work that a worker's thread has in hand at most beside the task it runs: 4 ms. So much is enough where the
/// scheduler, on a core that others want, comes to its turn late; what is in hand is not stolen.
const PREFILL: u64 = 4_000_000 / UNIT_NS;
/// As much where memory is not plenty: what is in hand has its inputs in memory.
const PREFILL_SHORT: u64 = 1_000_000 / UNIT_NS;
/// Tasks that a worker's thread has in hand at most.
const PREFILL_TASKS: usize = 256;
/// Entries at the end of a long queue that an idle worker looks at.
const STEAL_LOOKS: usize = 8;
/// A task with more inputs than this is not stolen: looking at them would cost more than it wins.
const STEAL_INPUTS: usize = 64;
/// Arguments of a task that are looked through for one that is named twice.
const RECENT: usize = 8;
/// Idle workers that may try to steal after one event.
const STEAL_TRIES: usize = 4;

/// A run time in nanoseconds as units, at least one.
pub(super) fn units(ns: u64) -> u32 {
    u32::try_from(ns / UNIT_NS + 1).unwrap_or(u32::MAX)
}

impl Scheduler {
    /// An active task whose inputs are all in memory goes to a queue.
    pub(super) fn make_ready(&mut self, slot: Slot, out: &mut Vec<Command>) {
        if self.recovering.is_some() {
            return self.put_aside(slot);
        }
        if !self.actors.is_empty() && (self.is_made_again(slot, out) || self.make_call_ready(slot, out)) {
            return;
        }
        if !self.tasks.condemned.is_empty() && self.hold_condemned(slot) {
            return;
        }
        let function = self.function(slot);
        let n_knowing = self.functions.n_workers(function);
        if n_knowing == 0 && self.workers.n_taking() > 0 {
            let function = self.functions.name(function);
            self.fail(slot, TaskError::UnknownFunction { function }.into(), out);
            return;
        }
        if let Some(error) = self.too_large(slot) {
            self.fail(slot, error.into(), out);
            return;
        }
        let priority = self.priority(slot);
        self.tasks.state[slot] = State::Ready;
        if !self.gangs.is_empty() && self.member_ready(slot) {
            return;
        }
        if self.demand(slot) || self.place_actor(slot) {
            self.record(slot, Step::Ready { worker: None });
            return;
        }
        let everyone_knows = n_knowing as usize == self.workers.n_taking();
        let has_inputs = self.tasks.dependencies(slot).next().is_some();
        let place = if let Some(other) = self.elsewhere(slot) {
            Some(other)
        } else if everyone_knows && (!has_inputs || self.workers.n_taking() == 0) {
            None
        } else if everyone_knows {
            self.best_worker(slot)
        } else {
            let able = |w: &WorkerId| self.workers.takes(*w) && self.workers.knows(*w, function);
            self.best_of(slot, self.workers.ids().filter(able).collect())
        };
        self.record(slot, Step::Ready { worker: place });
        match place {
            Some(worker) => {
                let estimate = self.estimate(slot);
                self.tasks.worker[slot] = worker.0;
                self.tasks.estimate[slot] = estimate;
                self.workers.enqueue(worker, priority, slot, estimate);
                self.touched.insert(worker);
            }
            None => {
                self.tasks.worker[slot] = NONE;
                self.tasks.estimate[slot] = 0;
                self.shared.push(priority, slot);
            }
        }
    }

    /// Hands ready tasks to workers with room.
    pub(super) fn dispatch(&mut self, out: &mut Vec<Command>) {
        if !self.actors.is_empty() {
            self.dispatch_calls(out);
        }
        if !self.workers.eased.is_empty() {
            self.touched.extend(std::mem::take(&mut self.workers.eased));
        }
        if self.recovering.is_some() {
            self.touched.clear();
            return;
        }
        if !self.gangs.is_empty() {
            self.place_gangs(out);
        }
        // What became ready or ended in this event changed these workers only; each first takes what is its own.
        let touched = self.touched.take();
        for worker in touched.iter().copied() {
            if !self.demands.is_unused() {
                self.reopen(worker);
            }
            while self.workers.has_room(worker)
                && let Some(slot) = self.next_for(worker)
            {
                self.assign(slot, worker, out);
            }
        }
        if !self.demands.is_unused() {
            self.place_demanded(out);
        }
        // Idle threads everywhere come before second helpings anywhere.
        while let Some((_, slot)) = self.peek_shared()
            && let Some(worker) = self.workers.next_idle()
        {
            self.shared.pop();
            self.assign(slot, worker, out);
        }
        while let Some((_, slot)) = self.peek_shared()
            && let Some(worker) = self.workers.next_open()
        {
            self.shared.pop();
            self.assign(slot, worker, out);
        }
        for _ in 0..STEAL_TRIES {
            if !self.workers.any_queued() {
                break;
            }
            let Some(thief) = self.workers.next_idle() else { break };
            let Some(slot) = self.find_loot(thief) else { continue };
            let from = WorkerId(self.tasks.worker[slot]);
            self.record(slot, Step::Stolen { from });
            self.leave_place(slot);
            self.assign(slot, thief, out);
        }
        for worker in self.workers.pausing.clone() {
            if let Some(slot) = self.relief_for(worker) {
                self.assign(slot, worker, out);
            }
        }
        self.touched.end(touched);
    }

    /// Puts all that waits in the shared queue through placement again: a worker came that may not know it all.
    pub(super) fn replace_shared(&mut self, out: &mut Vec<Command>) {
        let mut entries = self.shared.drain();
        // A task that left and came back has two entries, one beside the other.
        entries.dedup();
        for (priority, slot) in entries {
            if self.is_current(priority, slot) {
                self.make_ready(slot, out);
            }
        }
    }

    /// Takes entries of tasks that are no longer ready out of the shared queue.
    pub(super) fn sweep_shared(&mut self) {
        for (priority, slot) in self.shared.drain() {
            if self.is_current(priority, slot) {
                self.shared.push(priority, slot);
            }
        }
    }

    /// The first task of the shared queue that is still ready there.
    pub(super) fn peek_shared(&mut self) -> Option<(Priority, Slot)> {
        loop {
            let (priority, slot) = self.shared.peek()?;
            if self.is_current(priority, slot) {
                return Some((priority, slot));
            }
            self.shared.pop();
        }
    }

    /// Whether an entry of the shared queue still stands for the task it was made for.
    pub(super) fn is_current(&self, priority: Priority, slot: Slot) -> bool {
        self.tasks.state[slot] == State::Ready && self.tasks.worker[slot] == NONE && self.priority(slot) == priority
    }

    /// Whether a task waits that any worker may take.
    pub(super) fn shared_has_current(&self) -> bool {
        self.shared.entries().any(|(priority, slot)| self.is_current(priority, slot))
    }

    /// The next task for a worker with room, from its own queue or the shared one, whichever should run first.
    fn next_for(&mut self, worker: WorkerId) -> Option<Slot> {
        let mut own = self.workers.first_queued(worker);
        let mut shared = self.peek_shared();
        if self.workers.is_short(worker) {
            own = self.first_admitted(worker).map(|slot| (self.priority(slot), slot));
            shared = shared.filter(|(_, slot)| self.is_admitted(*slot, worker));
        }
        if !self.demands.is_unused()
            && let Some(slot) = self.take_demanded(worker, own.into_iter().chain(shared).min())
        {
            return Some(slot);
        }
        match (own, shared) {
            (Some(own), Some(shared)) if shared < own => self.shared.pop().map(|(_, slot)| slot),
            (Some((_, slot)), _) => {
                self.leave_place(slot);
                Some(slot)
            }
            (None, Some(_)) => self.shared.pop().map(|(_, slot)| slot),
            (None, None) => None,
        }
    }

    /// Sends a ready task, already out of its queue, to a worker.
    pub(super) fn assign(&mut self, slot: Slot, worker: WorkerId, out: &mut Vec<Command>) {
        let attempt = self.take_place(slot, worker);
        if !self.demands.is_unused() {
            self.take_resources(slot, worker);
        }
        self.send(slot, worker, attempt, out);
    }

    /// Takes a ready task to a worker, which is yet to be told.
    pub(super) fn take_place(&mut self, slot: Slot, worker: WorkerId) -> Attempt {
        let estimate = self.estimate(slot);
        let attempt = Attempt(self.tasks.tries[slot]);
        self.tasks.tries[slot] += 1;
        self.tasks.state[slot] = State::Assigned;
        self.tasks.worker[slot] = worker.0;
        self.tasks.estimate[slot] = estimate;
        let expected_bytes = self.expected_bytes(slot, self.function(slot));
        self.workers.assign(worker, slot, estimate, expected_bytes);
        attempt
    }

    /// Tells a worker to run an attempt.
    pub(super) fn send(&mut self, slot: Slot, worker: WorkerId, attempt: Attempt, out: &mut Vec<Command>) {
        let function = self.function(slot);
        let Some(local) = self.workers.local_function(worker, function) else { return };
        let expected_bytes = self.expected_bytes(slot, function);
        let Some((submission, node)) = self.recipe(slot) else { return };
        let graph = &submission.graph;
        let mut constants = Constants::new();
        let arguments = graph
            .arguments_of(node)
            .iter()
            .map(|code| match *code {
                ArgumentCode::Node(earlier) => ArgumentCode::Task(submission.task(earlier)),
                ArgumentCode::Constant(place) => {
                    let value = &graph.constants[place as usize];
                    // One that is named again soon after, as in `f(x, x)`, goes once.
                    let mut recent = (constants.len().saturating_sub(RECENT)..constants.len()).rev();
                    let place = recent.find(|place| constants[*place].is(value)).unwrap_or(constants.len());
                    if place == constants.len() {
                        constants.push(value.clone());
                    }
                    ArgumentCode::Constant(place as u32)
                }
                ArgumentCode::Task(_) | ArgumentCode::List(_) => *code,
            })
            .collect();
        let mut fetch: Vec<Remote> = self
            .tasks
            .dependencies(slot)
            .filter(|input| !self.tasks.holds(worker, *input))
            .map(|input| Remote {
                task: self.tasks.id(input),
                n_bytes: self.tasks.n_bytes[input],
                holders: self
                    .tasks
                    .holders(input)
                    .filter_map(|holder| Some(self.workers.get(holder)?.address.clone()))
                    .collect(),
            })
            .collect();
        fetch.sort_unstable_by_key(|remote| remote.task);
        let compute = Compute {
            task: self.tasks.id(slot),
            attempt,
            function: local,
            priority: self.priority(slot),
            wanted: self.tasks.wanted[slot] > 0,
            arguments,
            fetch,
            n_constants: constants.len() as u32,
            gang: self.gang_call(slot),
            constants,
            expected_bytes,
        };
        let n_fetched = compute.fetch.len() as u32;
        out.push(Command::ToWorker { worker, message: ToWorker::Compute(compute) });
        self.record(slot, Step::Assigned { worker, attempt, n_fetched });
    }

    /// Whether a task asked to be run elsewhere when it ran there last.
    pub(super) fn came_from(&self, slot: Slot, worker: WorkerId) -> bool {
        !self.tasks.moved.is_empty() && self.tasks.moved.get(&slot).is_some_and(|(from, _)| *from == worker)
    }

    /// What an attempt at a task is expected to take, in units.
    pub(super) fn estimate(&self, slot: Slot) -> u32 {
        let function = self.function(slot);
        let class = if self.functions.differ_by_size(function) { self.size_class(slot) } else { 0 };
        self.functions.estimate(function, class).unwrap_or(UNKNOWN)
    }

    /// How large all that a task takes is.
    pub(super) fn size_class(&self, slot: Slot) -> usize {
        let n_bytes = self.tasks.dependencies(slot).fold(0, |sum: u64, i| sum.saturating_add(self.tasks.n_bytes[i]));
        size_class(n_bytes)
    }

    /// Where a task that asked to be run elsewhere should run, if it did and there is somebody else.
    fn elsewhere(&self, slot: Slot) -> Option<WorkerId> {
        let (from, _) = self.tasks.moved.get(&slot).filter(|_| !self.tasks.moved.is_empty())?;
        let function = self.function(slot);
        let accepts = |id: &WorkerId| self.workers.get(*id).is_some_and(Worker::accepts);
        let others = self.workers.ids().filter(|id| id != from && accepts(id) && self.workers.knows(*id, function));
        let others: Vec<WorkerId> = others.collect();
        if others.is_empty() { None } else { self.best_of(slot, others) }
    }

    /// The worker where a task can be expected to start first, among holders of its inputs and an idle worker.
    fn best_worker(&self, slot: Slot) -> Option<WorkerId> {
        let mut candidates = Vec::new();
        for input in self.tasks.dependencies(slot).take(STEAL_INPUTS) {
            for holder in self.tasks.holders(input) {
                if self.workers.takes(holder) && !candidates.contains(&holder) {
                    candidates.push(holder);
                }
            }
        }
        candidates.extend(self.workers.peek_idle());
        candidates.sort_unstable();
        candidates.dedup();
        self.best_of(slot, candidates)
    }

    pub(super) fn best_of(&self, slot: Slot, candidates: Vec<WorkerId>) -> Option<WorkerId> {
        if let [only] = *candidates {
            return Some(only);
        }
        let mut total = 0;
        let mut held: BTreeMap<WorkerId, (u64, usize)> = candidates.iter().map(|w| (*w, (0, 0))).collect();
        let mut n_inputs = 0;
        for input in self.tasks.dependencies(slot) {
            let n_bytes = self.tasks.n_bytes[input];
            total += n_bytes;
            n_inputs += 1;
            for holder in self.tasks.holders(input) {
                if let Some((bytes, n)) = held.get_mut(&holder) {
                    *bytes += n_bytes;
                    *n += 1;
                }
            }
        }
        held.into_iter()
            .filter_map(|(id, (bytes, n))| {
                let worker = self.workers.get(id)?;
                let is_closed = !worker.accepts();
                let latency = if n < n_inputs { FETCH_LATENCY } else { 0 };
                let cost = worker.wait() + latency + total.saturating_sub(bytes) / UNIT_NS;
                // Where nobody takes tasks now, one waits with its inputs until somebody does.
                Some((is_closed, cost, worker.n_stored, id))
            })
            .min()
            .map(|(_, _, _, id)| id)
    }

    /// A task in the longest queue that would start sooner on an idle worker, moving its inputs included.
    fn find_loot(&self, thief: WorkerId) -> Option<Slot> {
        let victim = self.workers.longest_queue(thief)?;
        let wait = victim.wait();
        victim
            .queue
            .iter()
            .rev()
            .take(STEAL_LOOKS)
            .filter(|(_, slot)| self.workers.knows(thief, self.function(*slot)) && !self.came_from(*slot, thief))
            .filter_map(|(priority, slot)| {
                if self.tasks.dependencies(*slot).nth(STEAL_INPUTS).is_some() {
                    return None;
                }
                let mut missing = self.tasks.dependencies(*slot).filter(|i| !self.tasks.holds(thief, *i)).peekable();
                let latency = if missing.peek().is_some() { FETCH_LATENCY } else { 0 };
                let cost = latency + missing.map(|input| self.tasks.n_bytes[input] / UNIT_NS).sum::<u64>();
                (cost < wait).then_some((cost, Reverse(*priority), *slot))
            })
            .min()
            .map(|(_, _, slot)| slot)
    }
}

impl Worker {
    /// How long a new task can be expected to wait here before it starts.
    fn wait(&self) -> u64 {
        if self.in_flight.len() < self.n_threads as usize && self.queue.is_empty() {
            return 0;
        }
        (self.occupancy + self.queued) / u64::from(self.n_threads)
    }

    /// Whether it may be given tasks at all.
    pub(super) const fn accepts(&self) -> bool {
        !self.paused && !self.retiring && !self.is_announcing
    }

    /// Whether a thread has nothing to do and may be given a task.
    pub(super) fn is_idle(&self) -> bool {
        self.accepts() && self.in_flight.len() + (self.reserved as usize) < self.n_threads as usize
    }

    fn prefill(&self) -> u64 {
        if self.is_roomy() { PREFILL } else { PREFILL_SHORT }
    }

    /// Whether it should be sent more.
    pub(super) fn is_open(&self) -> bool {
        let n_threads = self.n_threads as usize;
        self.is_idle()
            || (self.accepts()
                && self.reserved == 0
                && self.in_flight.len() < n_threads * PREFILL_TASKS
                && self.occupancy < self.prefill() * u64::from(self.n_threads))
    }
}
