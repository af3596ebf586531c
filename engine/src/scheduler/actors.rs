//! Actors: results that stay where they were made, and the calls that stand in line for each.
//!
//! A call is a task that takes an actor. It runs where its actor is, and no two calls of one actor are under way at a
//! time. Of one client's calls the one that was submitted first runs first, though a later one be ready before it: a
//! task only ever needs tasks before it, so this never waits in a circle. Between clients priority and the order of
//! submission decide.
//!
//! What an actor was told is in no recipe. So one that is lost is not made again, and a call runs at most once but for
//! the retries that its user gave it: its result is kept for as long as a task that takes it might have to run again,
//! and where it is lost all the same, the call fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Command, Scheduler,
    tasks::{NONE, Slot, State},
};
use crate::{
    id::{TaskId, WorkerId},
    journal::Entry,
    task::TaskError,
};

/// All actors, and the calls that wait for or run on one.
#[derive(Debug, Default)]
pub(super) struct Actors {
    /// Tasks whose result is one, for as long as they are in the table.
    known: BTreeSet<Slot>,
    /// Those that were ever there, and where: there is no other.
    made: BTreeMap<Slot, WorkerId>,
    /// By actor.
    lines: BTreeMap<Slot, Line>,
    /// The actor of each call that is ready or under way.
    calls: BTreeMap<Slot, Slot>,
    /// Actors that may be free, collected during one event.
    touched: BTreeSet<Slot>,
    /// Results of calls that nobody may need any more, collected during one event.
    unneeded: Vec<Slot>,
}

/// The calls of one actor.
#[derive(Debug, Default)]
struct Line {
    /// All that are needed and not done.
    open: BTreeSet<TaskId>,
    /// Those of them whose inputs are there and that were not sent.
    ready: BTreeSet<TaskId>,
    /// The one that is under way.
    at: Option<Slot>,
}

impl Actors {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// A task is forgotten.
    pub(super) fn forget(&mut self, slot: Slot) {
        if !self.known.is_empty() && self.known.remove(&slot) {
            self.made.remove(&slot);
            self.lines.remove(&slot);
            self.touched.remove(&slot);
        }
    }

    /// Whether a task's result is one.
    pub(super) fn contains(&self, slot: Slot) -> bool {
        !self.known.is_empty() && self.known.contains(&slot)
    }

    /// Whether a task is a call that stands in line for an actor or runs on one.
    pub(super) fn is_call(&self, slot: Slot) -> bool {
        !self.calls.is_empty() && self.calls.contains_key(&slot)
    }

    /// Whether a worker may take an actor for the one that was made.
    pub(super) fn is_home(&self, slot: Slot, worker: WorkerId) -> bool {
        self.made.get(&slot).is_none_or(|home| *home == worker)
    }

    /// A worker that had actors is there again under another number. Returns which.
    pub(super) fn moved(&mut self, before: WorkerId, now: WorkerId) -> Vec<Slot> {
        let moved: Vec<Slot> = self.made.iter().filter(|(_, home)| **home == before).map(|(slot, _)| *slot).collect();
        self.made.extend(moved.iter().map(|slot| (*slot, now)));
        moved
    }
}

impl Scheduler {
    /// Notes which tasks of a submission make actors.
    pub(super) fn note_actors(&mut self, place: u32) {
        let Some(submission) = self.submissions.get(place) else { return };
        let graph = &submission.graph;
        if graph.classes.iter().any(|options| options.actor) {
            let makes_one = |class: u32| graph.classes.get(class as usize).is_some_and(|options| options.actor);
            let nodes = graph.options.iter().filter(|(_, class)| makes_one(*class)).map(|(node, _)| *node);
            self.actors.known.extend(nodes.filter_map(|node| self.tasks.find(submission.task(node))));
        }
    }

    /// The actor that a task calls, if it calls one.
    pub(super) fn actor_of(&self, slot: Slot) -> Option<Slot> {
        if self.actors.is_empty() {
            return None;
        }
        self.tasks.dependencies(slot).filter(|input| self.actors.contains(*input)).min()
    }

    /// A task begins to be needed, or ends to be: its turn comes before that of later calls, or no longer does.
    pub(super) fn count_call(&mut self, slot: Slot, is_open: bool) {
        let Some(actor) = self.actor_of(slot) else { return };
        let task = self.tasks.id(slot);
        let line = self.actors.lines.entry(actor).or_default();
        if is_open {
            line.open.insert(task);
        } else {
            line.open.remove(&task);
            self.actors.touched.insert(actor);
            if line.open.is_empty() && line.at.is_none() {
                self.actors.lines.remove(&actor);
            }
        }
    }

    /// Puts a task whose inputs are there into the line of the actor that it calls; false where it calls none.
    pub(super) fn make_call_ready(&mut self, slot: Slot, out: &mut Vec<Command>) -> bool {
        let Some(actor) = self.actor_of(slot) else { return false };
        let n_actors = self.tasks.dependencies(slot).filter(|input| self.actors.contains(*input)).count();
        let function = self.function(slot);
        let error = if n_actors > 1 {
            Some(TaskError::Malformed { message: "a call takes one actor, which lives on one worker".into() })
        } else if !self.workers.knows(WorkerId(self.tasks.worker[actor]), function) {
            Some(TaskError::UnknownFunction { function: self.functions.name(function) })
        } else {
            self.too_large(slot)
        };
        if let Some(error) = error {
            self.fail(slot, error.into(), out);
            return true;
        }
        self.tasks.state[slot] = State::Ready;
        self.tasks.worker[slot] = NONE;
        self.tasks.estimate[slot] = 0;
        let task = self.tasks.id(slot);
        self.actors.lines.entry(actor).or_default().ready.insert(task);
        self.actors.calls.insert(slot, actor);
        self.actors.touched.insert(actor);
        true
    }

    /// Sends every free actor the call whose turn it is.
    pub(super) fn dispatch_calls(&mut self, out: &mut Vec<Command>) {
        let touched = std::mem::take(&mut self.actors.touched);
        if self.recovering.is_some() {
            return;
        }
        for actor in touched {
            let Some(call) = self.next_call(actor) else { continue };
            let (task, worker) = (self.tasks.id(call), WorkerId(self.tasks.worker[actor]));
            if let Some(line) = self.actors.lines.get_mut(&actor) {
                line.ready.remove(&task);
                line.at = Some(call);
            }
            self.assign(call, worker, out);
        }
    }

    /// The call that a free actor should run next, if one may run now.
    fn next_call(&self, actor: Slot) -> Option<Slot> {
        let line = self.actors.lines.get(&actor)?;
        if line.at.is_some() || line.ready.is_empty() || self.tasks.state[actor] != State::Memory {
            return None;
        }
        let mut best = None;
        let mut first = line.open.first().copied();
        while let Some(task) = first {
            if line.ready.contains(&task)
                && let Some(slot) = self.tasks.find(task)
            {
                let candidate = (self.priority(slot), slot);
                best = Some(best.map_or(candidate, |best| candidate.min(best)));
            }
            let last = TaskId::new(task.client(), TaskId::MAX_SEQUENCE);
            let later = (std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded);
            first = line.open.range(later).next().copied();
        }
        best.map(|(_, slot)| slot)
    }

    /// A task leaves its place in a line or on a worker.
    pub(super) fn leave_line(&mut self, slot: Slot) {
        let Some(actor) = self.actors.calls.remove(&slot) else { return };
        let task = self.tasks.id(slot);
        if let Some(line) = self.actors.lines.get_mut(&actor) {
            line.ready.remove(&task);
            line.at = line.at.filter(|call| *call != slot);
        }
        self.actors.touched.insert(actor);
    }

    /// Whether a call that never stopped running, on a worker that is back, may go on; nothing for what is no call.
    pub(super) fn call_goes_on(&self, slot: Slot, worker: WorkerId) -> Option<bool> {
        let actor = self.actor_of(slot)?;
        let is_free = self.actors.lines.get(&actor).is_none_or(|line| line.at.is_none());
        Some(is_free && self.tasks.holds(worker, actor))
    }

    /// A call goes on that never stopped running.
    pub(super) fn take_over_call(&mut self, slot: Slot) {
        if let Some(actor) = self.actor_of(slot) {
            self.actors.calls.insert(slot, actor);
            self.actors.lines.entry(actor).or_default().at = Some(slot);
        }
    }

    /// An actor is there: from now on there is no other.
    pub(super) fn actor_is_made(&mut self, slot: Slot, worker: WorkerId) {
        self.actors.made.insert(slot, worker);
        self.actors.touched.insert(slot);
        let task = self.tasks.id(slot);
        self.write_down(|| Entry::Made { task, worker });
    }

    /// As the journal says.
    pub(super) fn actor_was_made(&mut self, task: TaskId, worker: WorkerId) {
        if let Some(slot) = self.tasks.find(task).filter(|slot| self.actors.contains(*slot)) {
            self.actors.made.insert(slot, worker);
        }
    }

    /// What a snapshot says of actors.
    pub(super) fn actors_made(&self) -> impl Iterator<Item = Entry<'static>> + '_ {
        self.actors.made.iter().map(|(slot, worker)| Entry::Made { task: self.tasks.id(*slot), worker: *worker })
    }

    /// Workers had their time to come back: actors that nobody has any more are lost.
    pub(super) fn lose_missing_actors(&mut self, out: &mut Vec<Command>) {
        let missing = self.actors.made.keys().copied().filter(|slot| self.tasks.state[*slot].is_active());
        for slot in missing.collect::<Vec<_>>() {
            if self.actors.contains(slot) && self.tasks.state[slot].is_active() {
                let error = self.actor_lost(slot);
                self.fail(slot, error, out);
            }
        }
    }

    /// An actor was there and is to be made again: it is lost instead.
    pub(super) fn is_made_again(&mut self, slot: Slot, out: &mut Vec<Command>) -> bool {
        let is_again = self.actors.made.contains_key(&slot);
        if is_again {
            let error = self.actor_lost(slot);
            self.fail(slot, error, out);
        }
        is_again
    }

    /// Of results that no worker has any more, fails actors, and what is not run again. Returns the others.
    pub(super) fn lose_once(&mut self, lost: Vec<Slot>, out: &mut Vec<Command>) -> Vec<Slot> {
        let (actors, rest): (Vec<Slot>, Vec<Slot>) = lost.into_iter().partition(|slot| self.actors.contains(*slot));
        // What fails takes what waits for it along, but forgets no other of these: they are in nobody's hands.
        for slot in actors {
            if self.tasks.state[slot] == State::Released {
                let error = self.actor_lost(slot);
                self.fail_at_rest(slot, error, out);
            }
        }
        let (members, rest): (Vec<Slot>, Vec<Slot>) = rest.into_iter().partition(|slot| self.has_ended_whole(*slot));
        for slot in members {
            if self.tasks.state[slot] == State::Released {
                let error = self.member_lost(slot);
                self.fail_at_rest(slot, error, out);
            }
        }
        let (calls, rest): (Vec<Slot>, Vec<Slot>) = rest.into_iter().partition(|slot| self.actor_of(*slot).is_some());
        for slot in calls {
            if self.tasks.state[slot] == State::Released
                && let Some(actor) = self.actor_of(slot)
            {
                let error = self.tasks.errors.get(&actor).cloned().unwrap_or_else(|| self.call_lost(slot));
                self.fail_at_rest(slot, error, out);
            }
        }
        rest
    }

    /// A call was sent, and cannot run before an input is made again. Nobody knows whether it runs already, so it ends
    /// here, or uses up a retry.
    pub(super) fn take_back_call(&mut self, slot: Slot, out: &mut Vec<Command>) {
        self.tasks.failures[slot] += 1;
        let retries = self.recipe(slot).map_or(0, |(submission, node)| submission.graph.options_of(node).retries);
        if self.tasks.failures[slot] <= retries {
            self.cancel_attempt(slot, out);
            return self.wait_again(slot, out);
        }
        let error = self.call_lost(slot);
        self.fail(slot, error, out);
    }

    /// Whether there may be tasks that do not run again once they are done: calls, and members of gangs.
    pub(super) fn has_once(&self) -> bool {
        !self.actors.is_empty() || !self.gangs.is_empty()
    }

    /// The result of such a task is kept for those that might have to run again.
    pub(super) fn keeps_once(&self, slot: Slot) -> bool {
        self.tasks.state[slot] == State::Memory
            && self.tasks.n_dependents[slot] > 0
            && (self.actor_of(slot).is_some() || self.has_ended_whole(slot))
    }

    /// A task that took a result is forgotten: the result may have been kept for it alone.
    pub(super) fn look_at_call(&mut self, slot: Slot) {
        if self.tasks.state[slot] == State::Memory {
            self.actors.unneeded.push(slot);
        }
    }

    /// Lets go of results that were kept for tasks which are gone. Says whether there were any.
    pub(super) fn settle_calls(&mut self, out: &mut Vec<Command>) -> bool {
        let is_any = !self.actors.unneeded.is_empty();
        while let Some(slot) = self.actors.unneeded.pop() {
            if self.tasks.state[slot] == State::Memory {
                self.let_go(slot, out);
            }
        }
        is_any
    }

    /// Puts the making of an actor where the fewest are, and the least to do; false where it is none.
    pub(super) fn place_actor(&mut self, slot: Slot) -> bool {
        if !self.actors.contains(slot) || self.tasks.moved.contains_key(&slot) {
            return false;
        }
        let function = self.function(slot);
        let mut n_actors: BTreeMap<u32, usize> = BTreeMap::new();
        for actor in &self.actors.known {
            *n_actors.entry(self.tasks.worker[*actor]).or_default() += 1;
        }
        let load = |id: WorkerId| {
            let worker = self.workers.get(id)?;
            let n_there = n_actors.get(&id.0).copied().unwrap_or(0);
            Some((!worker.accepts(), n_there, worker.occupancy + worker.queued, id))
        };
        let able = self.workers.ids().filter(|id| self.workers.knows(*id, function) && self.workers.takes(*id));
        let Some((.., worker)) = able.filter_map(load).min() else { return false };
        let (priority, estimate) = (self.priority(slot), self.estimate(slot));
        self.tasks.worker[slot] = worker.0;
        self.tasks.estimate[slot] = estimate;
        self.workers.enqueue(worker, priority, slot, estimate);
        self.touched.insert(worker);
        true
    }

    /// Workers that have an actor, or are making one.
    pub(super) fn homes(&self) -> BTreeSet<WorkerId> {
        let is_there = |slot: &&Slot| matches!(self.tasks.state[**slot], State::Memory | State::Assigned);
        self.actors.known.iter().filter(is_there).map(|slot| WorkerId(self.tasks.worker[*slot])).collect()
    }

    fn actor_lost(&self, slot: Slot) -> Arc<TaskError> {
        Arc::new(TaskError::ActorLost { function: self.functions.name(self.function(slot)) })
    }

    fn call_lost(&self, slot: Slot) -> Arc<TaskError> {
        Arc::new(TaskError::CallLost { function: self.functions.name(self.function(slot)) })
    }

    /// Fails a task that is `Released`: active for a moment, as what fails always is.
    fn fail_at_rest(&mut self, slot: Slot, error: Arc<TaskError>, out: &mut Vec<Command>) {
        let inputs: Vec<Slot> = self.tasks.dependencies(slot).collect();
        for input in inputs {
            self.tasks.n_pending[input] += 1;
        }
        self.tasks.state[slot] = State::Waiting;
        self.count_active(slot, 1);
        self.fail(slot, error, out);
    }

    /// What must be true of this file's state between two events.
    pub(super) fn check_actors(&self) {
        let actors = &self.actors;
        assert!(actors.touched.is_empty(), "an event leaves no actor waiting for a look at it");
        assert!(actors.unneeded.is_empty(), "an event leaves no result of a call unseen");
        for slot in &actors.known {
            assert!(self.tasks.state[*slot] != State::Absent, "an actor is forgotten and still known");
            let n_holders = self.tasks.holders(*slot).count();
            assert!(n_holders <= 1, "{} has {n_holders} copies", self.tasks.id(*slot));
        }
        for (slot, home) in &actors.made {
            let id = self.tasks.id(*slot);
            assert!(actors.known.contains(slot), "{id} was made and is no actor");
            let state = self.tasks.state[*slot];
            assert!(!state.is_active() || self.recovering.is_some(), "{id} is made a second time");
            assert!(state != State::Memory || self.tasks.worker[*slot] == home.0, "{id} is at home");
        }
        let mut n_calls = 0;
        for (actor, line) in &actors.lines {
            let of = self.tasks.id(*actor);
            assert!(!line.open.is_empty() && actors.known.contains(actor), "{of} has a line without calls");
            for task in &line.open {
                let is_open = self.tasks.find(*task).is_some_and(|slot| self.tasks.state[slot].is_active());
                assert!(is_open, "{task} stands in line for {of} and is not needed");
            }
            for task in &line.ready {
                let Some(call) = self.tasks.find(*task) else { panic!("{task} is in a line and unknown") };
                assert_eq!(self.tasks.state[call], State::Ready, "{task} stands in line for {of}");
                assert_eq!(actors.calls.get(&call), Some(actor), "{task} is a call of {of}");
            }
            if let Some(call) = line.at {
                let id = self.tasks.id(call);
                assert_eq!(self.tasks.state[call], State::Assigned, "{of} is at {id}");
                assert_eq!(self.tasks.worker[call], self.tasks.worker[*actor], "{id} runs where {of} is");
                assert_eq!(actors.calls.get(&call), Some(actor), "{id} is a call of {of}");
            }
            n_calls += line.ready.len() + usize::from(line.at.is_some());
            assert!(self.recovering.is_some() || self.next_call(*actor).is_none(), "{of} is free and a call waits");
        }
        assert_eq!(n_calls, actors.calls.len(), "every call has one place");
        for slot in self.tasks.slots().filter(|slot| !actors.known.is_empty() && self.tasks.state[*slot].is_active()) {
            if let Some(actor) = self.actor_of(slot) {
                let is_open = actors.lines.get(&actor).is_some_and(|line| line.open.contains(&self.tasks.id(slot)));
                assert!(is_open, "{} is a call and stands in no line", self.tasks.id(slot));
            }
        }
    }
}
