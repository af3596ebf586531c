//! How a task comes to be needed, ready, done, failed, lost and forgotten.
//!
//! A result is needed while a client holds it or an active task takes it as input. Every change runs through a list
//! of work instead of calling itself, so a chain of a million tasks takes no more stack than one.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::{
    Command, Scheduler,
    tasks::{NONE, Slot, State},
};
use crate::{
    event::{Kind, Record, Step, cut},
    id::{Attempt, ClientId, TaskId, WorkerId},
    message::{Address, Failure, ToClient, ToWorker},
    task::{Reschedule, TaskError},
    value::Value,
};

/// A task's neighbours, and work lists: mostly so few that they need no memory of their own.
type Few = SmallVec<[Slot; 8]>;

impl Scheduler {
    /// A needed task leaves `Released`; so do the inputs it must have again.
    pub(super) fn activate(&mut self, slot: Slot, out: &mut Vec<Command>) {
        let mut work: Few = smallvec![slot];
        while let Some(slot) = work.pop() {
            if self.tasks.state[slot] != State::Released || !self.is_needed(slot) {
                continue;
            }
            self.tasks.state[slot] = State::Waiting;
            self.count_active(slot, 1);
            let inputs: Few = self.tasks.dependencies(slot).collect();
            let mut failed = None;
            let mut n_missing = 0;
            for input in inputs {
                self.tasks.n_pending[input] += 1;
                match self.tasks.state[input] {
                    State::Memory => {}
                    State::Failed => failed = Some(input),
                    State::Released => {
                        n_missing += 1;
                        work.push(input);
                    }
                    State::Waiting | State::Ready | State::Assigned | State::Absent => n_missing += 1,
                }
            }
            self.tasks.n_missing[slot] = n_missing;
            if !self.gangs.is_empty() {
                failed = failed.or_else(|| self.failed_mate(slot));
            }
            if let Some(error) = failed.and_then(|input| self.tasks.errors.get(&input).cloned()) {
                self.fail(slot, error, out);
            } else if n_missing == 0 {
                self.make_ready(slot, out);
            } else {
                self.record(slot, Step::Waiting);
            }
        }
    }

    pub(super) fn attempt_started(&mut self, worker: WorkerId, task: TaskId, attempt: Attempt) {
        if let Some(slot) = self.running(worker, task, attempt)
            && let Some(state) = self.workers.get_mut(worker)
        {
            // Late or doubled, it may be of one that waits meanwhile.
            let Some(is_running) = state.in_flight.get_mut(&slot) else { return };
            *is_running = true;
            self.record(slot, Step::Started { worker, attempt });
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(super) fn attempt_finished(
        &mut self,
        worker: WorkerId,
        task: TaskId,
        attempt: Attempt,
        n_bytes: u64,
        run_ns: u64,
        value: Option<Value>,
        out: &mut Vec<Command>,
    ) {
        match self.running(worker, task, attempt) {
            Some(slot) => {
                let function = self.function(slot);
                // A result that was there already took no time to run, which says nothing about the function.
                if run_ns > 0 {
                    self.functions.learn(function, self.size_class(slot), run_ns);
                    self.functions.learn_bytes(function, n_bytes);
                }
                self.record(slot, Step::Finished { worker, attempt });
                self.note(Record::Tasks, |scheduler| {
                    let function = scheduler.functions.label(function);
                    Kind::TaskFinished { task, attempt, worker, function, run_ns, n_bytes }
                });
                if self.rank_of(slot).is_some() {
                    return self.member_ended(slot, n_bytes, value, out);
                }
                self.settle_pair(slot, worker, out);
                self.leave_place(slot);
                self.complete(slot, worker, n_bytes, value, out);
            }
            None => self.drop_stray(worker, task),
        }
    }

    pub(super) fn attempt_failed(
        &mut self,
        worker: WorkerId,
        task: TaskId,
        attempt: Attempt,
        failure: Failure,
        out: &mut Vec<Command>,
    ) {
        let Some(slot) = self.running(worker, task, attempt) else { return };
        self.settle_pair(slot, worker, out);
        if failure == Failure::Reschedule {
            self.record(slot, Step::Rescheduled { worker, attempt });
            return self.reschedule(slot, worker, out);
        }
        self.leave_place(slot);
        self.tasks.failures[slot] += 1;
        let retries = self.recipe(slot).map_or(0, |(submission, node)| submission.graph.options_of(node).retries);
        let tries = self.failures_of(slot);
        let again = tries <= retries;
        self.record_failure(slot, worker, attempt, &failure, again);
        if again {
            self.write_down_suspicion(slot);
            self.wait_again(slot, out);
            return;
        }
        let function = self.functions.name(self.function(slot));
        let error = match failure {
            Failure::Error(message) => TaskError::Failed { function, worker, tries, message },
            Failure::Panic(message) => TaskError::Panicked { function, worker, tries, message },
            Failure::Reschedule => TaskError::Failed { function, worker, tries, message: Reschedule.to_string() },
        };
        self.fail(slot, Arc::new(self.named(slot, error)), out);
    }

    /// An attempt ended by asking that the task be run on another worker, which is no failure.
    fn reschedule(&mut self, slot: Slot, worker: WorkerId, out: &mut Vec<Command>) {
        self.leave_place(slot);
        let (from, times) = self.tasks.moved.entry(slot).or_insert((worker, 0));
        *from = worker;
        *times += 1;
        if *times > self.config.allowed_reschedules {
            let times = *times;
            let function = self.functions.name(self.function(slot));
            return self.fail(slot, Arc::new(TaskError::Rescheduled { function, times }), out);
        }
        self.wait_again(slot, out);
    }

    /// A worker has a copy that it fetched. Where the result was thought lost, this brings it back.
    pub(super) fn worker_holds(&mut self, worker: WorkerId, task: TaskId, out: &mut Vec<Command>) {
        if self.replicas.ended(task, worker) {
            self.wishes.touch(task);
        }
        self.takes_result(worker, task, None, out);
    }

    /// A worker has a result that it was not told to make, of a size that may be known already.
    pub(super) fn takes_result(
        &mut self,
        worker: WorkerId,
        task: TaskId,
        n_bytes: Option<u64>,
        out: &mut Vec<Command>,
    ) {
        let Some(slot) = self.tasks.find(task) else { return self.drop_stray(worker, task) };
        let step = if n_bytes.is_some() { Step::Found { worker } } else { Step::Copied { worker } };
        match self.tasks.state[slot] {
            State::Memory if self.tasks.holds(worker, slot) => {}
            // Members of a gang count together.
            state if state.is_active() && self.rank_of(slot).is_some() && !self.has_ended_whole(slot) => {
                self.drop_stray(worker, task);
            }
            // There is one of each actor, and where it was made is written down.
            state
                if self.actors.contains(slot)
                    && (n_bytes.is_none() || state == State::Memory || !self.actors.is_home(slot, worker)) =>
            {
                self.drop_stray(worker, task);
            }
            State::Memory => {
                self.tasks.add_holder(slot, worker);
                self.workers.stored(worker, self.tasks.n_bytes[slot] as i64);
                if !self.seekers.is_empty() {
                    self.worker_can_serve(worker, task, out);
                }
                self.record(slot, step);
            }
            State::Waiting | State::Ready | State::Assigned => {
                self.cancel_attempt(slot, out);
                self.leave_place(slot);
                let n_bytes = n_bytes.unwrap_or(self.tasks.n_bytes[slot]);
                self.record(slot, step);
                self.complete(slot, worker, n_bytes, None, out);
            }
            State::Released | State::Failed | State::Absent => self.drop_stray(worker, task),
        }
    }

    pub(super) fn worker_misses(&mut self, worker: WorkerId, task: TaskId, tried: &[Address], out: &mut Vec<Command>) {
        // Where nothing is known of the task, the attempt that needed it is cancelled already.
        let Some(slot) = self.tasks.find(task) else { return self.copy_missing(worker, task) };
        if self.actors.contains(slot) && self.tasks.holds(worker, slot) {
            // Whoever has it says that he has not.
            self.drops.entry(worker).or_default().push(task);
            self.workers.stored(worker, -(self.tasks.n_bytes[slot] as i64));
            return self.lose(vec![slot], out);
        }
        self.note_miss(slot, tried, out);
        self.copy_missing(worker, task);
        match self.tasks.state[slot] {
            State::Memory => {
                self.tell_worker(worker, ToWorker::Located { task, holders: self.addresses(slot) }, out);
            }
            State::Waiting | State::Ready | State::Assigned => self.take_back(slot, worker, out),
            State::Released | State::Failed | State::Absent => {}
        }
    }

    /// Attempts on a worker that cannot run before an input is made again wait here instead: there they would keep a
    /// thread that making the input may need.
    fn take_back(&mut self, input: Slot, worker: WorkerId, out: &mut Vec<Command>) {
        let dependents: Few = self.tasks.dependents(input).collect();
        for slot in dependents {
            let is_there = self.tasks.state[slot] == State::Assigned && self.tasks.worker[slot] == worker.0;
            let is_running = self.is_running_on(worker, slot);
            if !is_running && self.take_back_second(slot, worker, out) {
                continue;
            }
            if is_there && !is_running && self.actors.is_call(slot) {
                self.take_back_call(slot, out);
            } else if is_there && !is_running {
                self.cancel_attempt(slot, out);
                self.wait_again(slot, out);
            }
        }
    }

    pub(super) fn client_misses(&mut self, client: ClientId, task: TaskId, tried: &[Address], out: &mut Vec<Command>) {
        let Some(slot) = self.wanted_by(client, task) else { return };
        if let Some(error) = self.tasks.errors.get(&slot) {
            out.push(Command::ToClient { client, message: ToClient::Failed { task, error: (**error).clone() } });
            return;
        }
        if self.actors.contains(slot) && !tried.is_empty() {
            let message = "the state of an actor stays on its worker; call a task of it instead".into();
            let error = TaskError::Malformed { message };
            return out.push(Command::ToClient { client, message: ToClient::Failed { task, error } });
        }
        self.note_miss(slot, tried, out);
        // Otherwise it is being made, and whoever wants a result is told when it is there.
        if self.tasks.state[slot] == State::Memory {
            let message = ToClient::finished(task, self.tasks.n_bytes[slot], self.addresses(slot), None);
            out.push(Command::ToClient { client, message });
        }
    }

    pub(super) fn client_releases(&mut self, client: ClientId, task: TaskId, out: &mut Vec<Command>) {
        if self.release_withdrawn(client, task) {
            return;
        }
        let Some(slot) = self.wanted_by(client, task) else { return };
        self.release_one(client, slot);
        self.let_go(slot, out);
    }

    pub(super) fn client_cancels(&mut self, client: ClientId, task: TaskId, out: &mut Vec<Command>) {
        if let Some(slot) = self.wanted_by(client, task)
            && self.tasks.state[slot].is_active()
            && !self.cancel_own_interest(client, slot, out)
        {
            self.fail(slot, Arc::new(TaskError::Cancelled), out);
        }
    }

    /// All that a client ever wanted is wanted no longer.
    pub(super) fn forget_client(&mut self, client: ClientId, out: &mut Vec<Command>) {
        let held: Vec<Slot> = self.tasks.slots().filter(|slot| self.tasks.id(*slot).client() == client).collect();
        for slot in &held {
            self.tasks.wanted[*slot] -= self.own_interest(*slot) as u16;
        }
        let shared = self.forget_sharer(client);
        for slot in held.into_iter().chain(shared) {
            // Letting go of one may have forgotten another.
            if self.tasks.state[slot] != State::Absent {
                self.let_go(slot, out);
            }
        }
    }

    /// What a worker had, and what it was doing, is gone. Returns how many results only it had.
    pub(super) fn forget_worker(
        &mut self,
        worker: WorkerId,
        in_flight: Vec<(Slot, bool)>,
        queued: Vec<Slot>,
        out: &mut Vec<Command>,
    ) -> u64 {
        let held: Vec<Slot> = self.tasks.slots().filter(|slot| self.tasks.holds(worker, *slot)).collect();
        let lost: Vec<Slot> = held.into_iter().filter(|slot| !self.tasks.remove_holder(*slot, worker)).collect();
        let n_lost = lost.len() as u64;
        self.lose(lost, out);
        for (slot, was_running) in in_flight {
            // A worker's death is not held against a task that another attempt may still finish.
            if self.other_goes_on(slot, worker) {
                continue;
            }
            // Losing an input's result may have failed or cancelled it meanwhile.
            if self.tasks.state[slot] != State::Assigned || self.tasks.worker[slot] != worker.0 {
                continue;
            }
            if let Some(attempt) = self.first_attempt(slot) {
                self.record(slot, Step::WorkerLost { worker, attempt, running: was_running });
            }
            if was_running && self.blame(slot, worker, out) {
                continue;
            }
            self.wait_again(slot, out);
        }
        for slot in queued {
            if self.tasks.state[slot] == State::Ready && self.tasks.worker[slot] == worker.0 {
                self.wait_again(slot, out);
            }
        }
        n_lost
    }

    /// Takes a task off the queue or the worker it is on, saying nothing to anyone. Its state is the caller's to set.
    pub(super) fn leave_place(&mut self, slot: Slot) {
        if self.actors.is_call(slot) {
            self.leave_line(slot);
        }
        if !self.gangs.is_empty() {
            self.leave_gang(slot);
        }
        let worker = self.tasks.worker[slot];
        match self.tasks.state[slot] {
            State::Ready if worker != NONE => {
                let priority = self.priority(slot);
                self.workers.unqueue(WorkerId(worker), priority, slot, self.tasks.estimate[slot]);
                self.touched.insert(WorkerId(worker));
            }
            State::Ready => self.undemand(slot),
            State::Assigned if worker != NONE => {
                self.leave_pair(slot);
                self.free_resources(slot);
                self.workers.unassign(WorkerId(worker), slot, self.tasks.estimate[slot]);
                self.touched.insert(WorkerId(worker));
            }
            // An entry in the shared queue stays behind and is passed over when its turn comes.
            _ => {}
        }
        self.tasks.worker[slot] = NONE;
        self.tasks.estimate[slot] = 0;
    }

    /// Takes a task out of the table when nobody can want it again, and then those that were kept for it.
    pub(super) fn forget_if_done(&mut self, slot: Slot) {
        let mut work: Few = smallvec![slot];
        while let Some(slot) = work.pop() {
            let tasks = &self.tasks;
            let at_rest = matches!(tasks.state[slot], State::Released | State::Failed);
            if !at_rest || tasks.wanted[slot] > 0 || tasks.n_dependents[slot] > 0 {
                if self.has_once() {
                    self.look_at_call(slot);
                }
                continue;
            }
            work.extend(tasks.dependencies(slot));
            let submission = tasks.submission[slot];
            if !self.wishes.is_empty() {
                self.wishes.touch(tasks.id(slot));
            }
            self.forget_key(slot);
            if !self.gangs.is_empty() {
                self.forget_member(slot);
            }
            self.tasks.remove(slot);
            self.actors.forget(slot);
            self.submissions.lost_task(submission);
        }
    }

    /// Whether someone needs the result now.
    pub(super) fn is_needed(&self, slot: Slot) -> bool {
        self.tasks.wanted[slot] > 0
            || self.tasks.n_pending[slot] > 0
            || (self.has_once() && (self.keeps_once(slot) || self.gang_needs(slot)))
    }

    /// An active task goes to `Failed`, and every active task that needs it with it.
    pub(super) fn fail(&mut self, slot: Slot, error: Arc<TaskError>, out: &mut Vec<Command>) {
        let mut work: Few = smallvec![slot];
        let mut mates = Vec::new();
        while let Some(slot) = work.pop() {
            if !self.tasks.state[slot].is_active() {
                continue;
            }
            self.cancel_attempt(slot, out);
            self.leave_place(slot);
            self.tasks.state[slot] = State::Failed;
            self.tasks.errors.insert(slot, Arc::clone(&error));
            self.count_active(slot, -1);
            let task = self.tasks.id(slot);
            self.wishes.touch(task);
            self.record(slot, Step::Failed);
            self.note(Record::Cluster, |_| Kind::TaskFailed { task, error: cut(error.to_string()) });
            self.write_down_failure(task, &error);
            if self.tasks.wanted[slot] > 0 {
                let message = ToClient::Failed { task, error: (*error).clone() };
                self.tell_wanting(slot, message, out);
            }
            work.extend(self.tasks.dependents(slot));
            if !self.gangs.is_empty() {
                mates.extend(self.mates(slot));
                work.extend(self.mates(slot));
            }
            self.release_inputs(slot, out);
        }
        self.forget_if_done(slot);
        for mate in mates {
            self.forget_if_done(mate);
        }
    }

    /// A task has a result on `worker`. It has left its place before.
    pub(super) fn complete(
        &mut self,
        slot: Slot,
        worker: WorkerId,
        n_bytes: u64,
        value: Option<Value>,
        out: &mut Vec<Command>,
    ) {
        self.tasks.state[slot] = State::Memory;
        self.tasks.worker[slot] = worker.0;
        self.tasks.n_bytes[slot] = n_bytes;
        self.workers.stored(worker, n_bytes as i64);
        self.count_active(slot, -1);
        if self.actors.contains(slot) {
            self.actor_is_made(slot, worker);
        }
        let task = self.tasks.id(slot);
        self.wishes.touch(task);
        // It may have been fetching a copy of what it then made itself.
        self.replicas.ended(task, worker);
        if self.tasks.wanted[slot] > 0 {
            // Who has the value need not ask where it lies.
            let holders = if value.is_some() { Vec::new() } else { self.addresses(slot) };
            let message = ToClient::finished(task, n_bytes, holders, value);
            self.tell_wanting(slot, message, out);
        }
        let dependents: Few = self.tasks.dependents(slot).collect();
        for dependent in dependents {
            if self.tasks.state[dependent] == State::Waiting {
                self.tasks.n_missing[dependent] -= 1;
                if self.tasks.n_missing[dependent] == 0 {
                    self.make_ready(dependent, out);
                }
            }
        }
        self.release_inputs(slot, out);
        self.let_go(slot, out);
    }

    /// Results that no worker has any more: made anew where needed.
    pub(super) fn lose(&mut self, lost: Vec<Slot>, out: &mut Vec<Command>) {
        for slot in &lost {
            self.tasks.state[*slot] = State::Released;
            self.tasks.worker[*slot] = NONE;
            self.record(*slot, Step::Lost);
            let dependents: Few = self.tasks.dependents(*slot).collect();
            for dependent in dependents {
                match self.tasks.state[dependent] {
                    State::Waiting => self.tasks.n_missing[dependent] += 1,
                    State::Ready => {
                        self.leave_place(dependent);
                        self.tasks.state[dependent] = State::Waiting;
                        self.tasks.n_missing[dependent] = 1;
                        self.record(dependent, Step::Waiting);
                    }
                    // Who has been told to run may have fetched it already; otherwise he will ask.
                    State::Assigned | State::Released | State::Memory | State::Failed | State::Absent => {}
                }
            }
        }
        let lost = if self.has_once() { self.lose_once(lost, out) } else { lost };
        for slot in lost {
            if self.tasks.state[slot] == State::Released {
                self.activate(slot, out);
                self.forget_if_done(slot);
            }
        }
    }

    /// An active task that was ready or assigned goes back to the start, where all its inputs count anew.
    pub(super) fn wait_again(&mut self, slot: Slot, out: &mut Vec<Command>) {
        if !self.gangs.is_empty() {
            // A gang's attempt is one: where a member begins anew, all do.
            for mate in self.mates(slot) {
                if self.tasks.state[mate] == State::Assigned {
                    self.cancel_attempt(mate, out);
                    self.start_over(mate, out);
                }
            }
        }
        self.start_over(slot, out);
    }

    fn start_over(&mut self, slot: Slot, out: &mut Vec<Command>) {
        self.leave_place(slot);
        self.tasks.state[slot] = State::Waiting;
        let inputs: Few = self.tasks.dependencies(slot).collect();
        let missing = inputs.iter().filter(|input| self.tasks.state[**input] != State::Memory);
        self.tasks.n_missing[slot] = missing.count() as u32;
        if self.tasks.n_missing[slot] == 0 {
            self.make_ready(slot, out);
            return;
        }
        self.record(slot, Step::Waiting);
        for input in inputs {
            self.activate(input, out);
        }
    }

    /// A task's inputs are needed by one active task less.
    pub(super) fn release_inputs(&mut self, slot: Slot, out: &mut Vec<Command>) {
        let inputs: Few = self.tasks.dependencies(slot).collect();
        for input in inputs {
            self.tasks.n_pending[input] -= 1;
            self.let_go(input, out);
        }
    }

    /// Where nobody needs a task any more: its result is dropped, its running stopped, its record forgotten.
    pub(super) fn let_go(&mut self, slot: Slot, out: &mut Vec<Command>) {
        let mut work: Few = smallvec![slot];
        while let Some(slot) = work.pop() {
            if self.is_needed(slot) {
                continue;
            }
            match self.tasks.state[slot] {
                State::Memory => {
                    let task = self.tasks.id(slot);
                    let n_bytes = self.tasks.n_bytes[slot] as i64;
                    for holder in self.tasks.holders(slot) {
                        self.drops.entry(holder).or_default().push(task);
                        self.workers.stored(holder, -n_bytes);
                    }
                    self.tasks.more_holders.remove(&slot);
                    self.tasks.worker[slot] = NONE;
                    self.tasks.state[slot] = State::Released;
                    self.wishes.touch(task);
                    self.record(slot, Step::Released);
                    if self.replicas.n_pending(task) > 0 {
                        self.copies_unneeded(task);
                    }
                }
                state if state.is_active() => {
                    self.cancel_attempt(slot, out);
                    self.leave_place(slot);
                    self.tasks.state[slot] = State::Released;
                    if !self.wishes.is_empty() {
                        self.wishes.touch(self.tasks.id(slot));
                    }
                    self.record(slot, Step::Released);
                    self.count_active(slot, -1);
                    let inputs: Few = self.tasks.dependencies(slot).collect();
                    for input in inputs {
                        self.tasks.n_pending[input] -= 1;
                        work.push(input);
                    }
                    if !self.gangs.is_empty() {
                        work.extend(self.mates(slot));
                    }
                }
                _ => {}
            }
            self.forget_if_done(slot);
        }
    }

    /// A result was not where it was said to be: those copies no longer count.
    fn note_miss(&mut self, slot: Slot, tried: &[Address], out: &mut Vec<Command>) {
        // An actor is never sent, so that nobody got it says nothing.
        if self.tasks.state[slot] != State::Memory || self.actors.contains(slot) {
            return;
        }
        let task = self.tasks.id(slot);
        let wrong: Vec<WorkerId> = self
            .tasks
            .holders(slot)
            .filter(|holder| tried.iter().any(|a| self.workers.has_address(*holder, a)))
            .collect();
        if wrong.is_empty() {
            return;
        }
        let n_bytes = self.tasks.n_bytes[slot] as i64;
        let mut is_left = true;
        for holder in wrong {
            // A copy that cannot be reached is a copy all the same, and must not stay behind.
            self.drops.entry(holder).or_default().push(task);
            self.workers.stored(holder, -n_bytes);
            is_left = self.tasks.remove_holder(slot, holder);
            self.record(slot, Step::Missed { worker: holder });
        }
        self.wishes.touch(task);
        let n_misses = self.tasks.misses.entry(slot).or_default();
        *n_misses += 1;
        let too_often = *n_misses > self.config.allowed_misses;
        if !is_left {
            self.lose(vec![slot], out);
        }
        if too_often && self.tasks.state[slot].is_active() {
            let function = self.functions.name(self.function(slot));
            let at = tried.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            self.fail(slot, Arc::new(TaskError::Unreachable { function, at }), out);
        }
    }

    /// Tells the worker of an assigned task to stop; the caller takes the task off it.
    pub(super) fn cancel_attempt(&mut self, slot: Slot, out: &mut Vec<Command>) {
        if self.tasks.state[slot] == State::Assigned {
            let Some(attempt) = self.first_attempt(slot) else { return };
            let message = ToWorker::Cancel { task: self.tasks.id(slot), attempt };
            let worker = WorkerId(self.tasks.worker[slot]);
            // A task that has left its worker already ends there by itself.
            if worker.0 != NONE {
                self.record(slot, Step::Cancelled { worker, attempt });
            }
            self.tell_worker(worker, message, out);
            self.linger(slot, attempt, out);
            self.cancel_second(slot, out);
        }
    }

    /// A worker has a result that nobody knows of or wants: it drops it, unless the same worker is at the task again
    /// or holds it rightly.
    pub(super) fn drop_stray(&mut self, worker: WorkerId, task: TaskId) {
        let is_right = self.tasks.find(task).is_some_and(|slot| {
            let is_running = self.attempt_on(slot, worker).is_some();
            is_running || self.tasks.holds(worker, slot)
        });
        if !is_right {
            self.drops.entry(worker).or_default().push(task);
        }
    }

    /// The task, if this very attempt of it is on this worker.
    pub(super) fn running(&self, worker: WorkerId, task: TaskId, attempt: Attempt) -> Option<Slot> {
        let slot = self.tasks.find(task)?;
        (self.attempt_on(slot, worker) == Some(attempt)).then_some(slot)
    }

    pub(super) fn wanted_by(&self, client: ClientId, task: TaskId) -> Option<Slot> {
        let slot = self.tasks.find(task)?;
        self.has_interest(client, slot).then_some(slot)
    }

    pub(super) fn count_active(&mut self, slot: Slot, by: i64) {
        if let Some(client) = self.clients.get_mut(&self.tasks.id(slot).client()) {
            client.n_active = client.n_active.saturating_add_signed(by);
        }
        if !self.actors.is_empty() {
            self.count_call(slot, by > 0);
        }
    }

    pub(super) fn addresses(&self, slot: Slot) -> Vec<Address> {
        self.tasks.holders(slot).filter_map(|holder| Some(self.workers.get(holder)?.address.clone())).collect()
    }
}
