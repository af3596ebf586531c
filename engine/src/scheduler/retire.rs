//! Lets workers go without losing anything: no new task, what they run is finished, what only they hold moves.
//!
//! A retiring worker still serves its results and counts as their holder until it is told to go, but placement no
//! longer sees it (`Workers::takes`). What moves is moved a few results at a time, so that looking at them again
//! after every event costs little. Before a worker is told to go everything is looked at once more: a recipient may
//! have died, or a task that was running there may have left a result.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Command, Scheduler,
    tasks::{Slot, State},
};
use crate::{
    event::{Kind, Record},
    id::{ClientId, TaskId, WorkerId},
    message::{ToClient, ToWorker},
    request::{Reply, Retirement},
    time::Time,
};

/// Results of one retiring worker that are moved at the same time.
const MOVES: usize = 64;

/// Workers that are being retired, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Retiring {
    workers: BTreeMap<WorkerId, Leaving>,
    asked: Vec<Asked>,
}

/// A worker on its way out.
#[derive(Debug, Default)]
struct Leaving {
    /// When it goes in any case.
    leave_at: Option<Time>,
    /// Results that may have to move.
    to_move: Vec<TaskId>,
    /// Results that are being moved.
    moving: BTreeSet<TaskId>,
    n_moved: u64,
    n_bytes: u64,
}

/// A client's question that is not answered yet.
#[derive(Debug)]
struct Asked {
    client: ClientId,
    ticket: u64,
    workers: Vec<WorkerId>,
    ends: BTreeMap<WorkerId, Retirement>,
}

impl Retiring {
    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty() && self.asked.is_empty()
    }

    pub(super) fn contains(&self, worker: WorkerId) -> bool {
        self.workers.contains_key(&worker)
    }

    /// The next time at which a worker goes in any case.
    pub(super) fn deadline(&self) -> Option<(Time, WorkerId)> {
        self.workers.iter().filter_map(|(worker, leaving)| Some((leaving.leave_at?, *worker))).min()
    }

    /// Who is gone waits for nothing.
    pub(super) fn client_left(&mut self, client: ClientId) {
        self.asked.retain(|asked| asked.client != client);
    }
}

impl Scheduler {
    pub(super) fn retire(
        &mut self,
        client: ClientId,
        ticket: u64,
        workers: Vec<WorkerId>,
        leave_at: Option<Time>,
        out: &mut Vec<Command>,
    ) {
        let known: BTreeSet<WorkerId> =
            workers.iter().copied().filter(|worker| self.workers.get(*worker).is_some()).collect();
        let unknown = workers.iter().filter(|worker| !known.contains(worker));
        let ends = unknown.map(|worker| (*worker, Retirement::Unknown)).collect();
        self.retiring.asked.push(Asked { client, ticket, workers, ends });
        for worker in &known {
            match self.retiring.workers.get_mut(worker) {
                // Asked again: the earlier of the two times counts.
                Some(leaving) => leaving.leave_at = leaving.leave_at.into_iter().chain(leave_at).min(),
                None => {
                    self.retiring.workers.insert(*worker, Leaving { leave_at, ..Leaving::default() });
                    self.note(Record::Cluster, |_| Kind::WorkerRetiring { worker: *worker });
                    self.workers.retire(*worker);
                    self.wishes.touch_all();
                    self.set_functions_taken(*worker, false);
                }
            }
        }
        // All are marked before any gives back its tasks, or one would give them to the next.
        for worker in &known {
            self.give_back(*worker, out);
            let to_move = self.only_with_retiring(*worker);
            if let Some(leaving) = self.retiring.workers.get_mut(worker) {
                leaving.to_move = to_move;
            }
        }
    }

    /// Goes on with every worker that is being retired; called after each event while there are any.
    pub(super) fn retire_step(&mut self, out: &mut Vec<Command>) {
        let workers: Vec<WorkerId> = self.retiring.workers.keys().copied().collect();
        for worker in workers {
            self.move_results(worker);
            let Some(state) = self.workers.get(worker) else { continue };
            let waits = !state.seceded.is_empty();
            let idle = state.in_flight.is_empty() && !waits;
            let Some(leaving) = self.retiring.workers.get(&worker) else { continue };
            if !leaving.moving.is_empty() {
                continue;
            }
            if leaving.to_move.is_empty() && idle {
                let to_move = self.only_with_retiring(worker);
                if let Some(leaving) = self.retiring.workers.get_mut(&worker) {
                    leaving.to_move = to_move;
                }
                self.move_results(worker);
            }
            let Some(leaving) = self.retiring.workers.get(&worker) else { continue };
            if leaving.to_move.is_empty() && leaving.moving.is_empty() {
                // What waits there for its own tasks would wait for ever.
                let is_stuck = waits && self.workers.n_taking() == 0 && leaving.leave_at.is_none();
                if idle {
                    let end = Retirement::Done { n_moved: leaving.n_moved, n_bytes: leaving.n_bytes };
                    self.let_worker_go(worker, end, out);
                } else if is_stuck {
                    self.keep_worker(worker, out);
                }
            } else if leaving.moving.is_empty() && leaving.leave_at.is_none() {
                // Results are left and nobody takes them, now or soon.
                self.keep_worker(worker, out);
            }
        }
        self.answer_retirements(out);
    }

    /// Workers whose time is over go as they are.
    pub(super) fn retire_tick(&mut self, now: Time, out: &mut Vec<Command>) {
        while let Some((at, worker)) = self.retiring.deadline()
            && at <= now
        {
            let n_tasks = |state: &super::peers::Worker| (state.in_flight.len() + state.seceded.len()) as u64;
            let n_running = self.workers.get(worker).map_or(0, n_tasks);
            let n_lost = self.only_with(worker).count() as u64;
            let leaving = self.retiring.workers.get(&worker);
            let (n_moved, n_bytes) = leaving.map_or((0, 0), |leaving| (leaving.n_moved, leaving.n_bytes));
            let end = if n_running == 0 && n_lost == 0 {
                Retirement::Done { n_moved, n_bytes }
            } else {
                Retirement::TimedOut { n_running, n_lost }
            };
            self.let_worker_go(worker, end, out);
        }
    }

    /// A worker is gone, by itself or because it was told to.
    pub(super) fn retiring_left(&mut self, worker: WorkerId) {
        if self.retiring.workers.remove(&worker).is_some() {
            self.retirement_ends(worker, Retirement::Died);
        }
    }

    /// Moves on with what only this worker and others that go have.
    fn move_results(&mut self, worker: WorkerId) {
        let Some(mut leaving) = self.retiring.workers.remove(&worker) else { return };
        let moving = std::mem::take(&mut leaving.moving);
        for task in moving {
            match self.must_move(task, worker) {
                // Whoever was to take it died or could not get it: somebody else.
                Some(slot) => {
                    let on_its_way = self.replicas.n_pending(task) > 0 || self.copy_somewhere(slot).is_some();
                    if on_its_way {
                        leaving.moving.insert(task);
                    } else {
                        leaving.to_move.push(task);
                    }
                }
                None => {
                    if let Some(slot) = self.tasks.find(task)
                        && self.tasks.state[slot] == State::Memory
                    {
                        leaving.n_moved += 1;
                        leaving.n_bytes += self.tasks.n_bytes[slot];
                    }
                }
            }
        }
        while leaving.moving.len() < MOVES
            && let Some(task) = leaving.to_move.pop()
        {
            let Some(slot) = self.must_move(task, worker) else { continue };
            if self.replicas.n_pending(task) == 0 && self.copy_somewhere(slot).is_none() {
                leaving.to_move.push(task);
                break;
            }
            leaving.moving.insert(task);
        }
        self.retiring.workers.insert(worker, leaving);
    }

    /// Where a result is that this worker has and nobody who stays.
    fn must_move(&self, task: TaskId, worker: WorkerId) -> Option<Slot> {
        let slot = self.tasks.find(task)?;
        let is_there = self.tasks.holds(worker, slot);
        (is_there && self.tasks.holders(slot).all(|holder| !self.workers.takes(holder))).then_some(slot)
    }

    /// All results that this worker has and nobody who stays, the last made first.
    fn only_with_retiring(&self, worker: WorkerId) -> Vec<TaskId> {
        let all = self.tasks.slots().map(|slot| self.tasks.id(slot));
        all.filter(|task| self.must_move(*task, worker).is_some()).collect()
    }

    /// Results that nobody else has at all.
    fn only_with(&self, worker: WorkerId) -> impl Iterator<Item = Slot> + '_ {
        self.tasks.slots().filter(move |slot| self.tasks.holders(*slot).eq([worker]))
    }

    /// What a worker has in hand and does not run yet goes elsewhere.
    fn give_back(&mut self, worker: WorkerId, out: &mut Vec<Command>) {
        let Some(state) = self.workers.get(worker) else { return };
        let queued = state.queue.iter().map(|(_, slot)| *slot);
        let waiting = state.in_flight.iter().filter(|(_, is_running)| !**is_running).map(|(slot, _)| *slot);
        for slot in queued.chain(waiting).collect::<Vec<_>>() {
            // One before may have failed, where nobody else knows its function, and taken this one with it.
            let is_there = matches!(self.tasks.state[slot], State::Ready | State::Assigned);
            if !is_there || self.tasks.worker[slot] != worker.0 {
                continue;
            }
            // A call ends where its actor is.
            if self.take_back_second(slot, worker, out) || self.actors.is_call(slot) {
                continue;
            }
            self.cancel_attempt(slot, out);
            self.wait_again(slot, out);
        }
    }

    /// Says goodbye. It is forgotten at once; that its connection ends later changes nothing.
    fn let_worker_go(&mut self, worker: WorkerId, end: Retirement, out: &mut Vec<Command>) {
        self.tell_worker(worker, ToWorker::Shutdown, out);
        self.retirement_ends(worker, end);
        self.worker_goes(worker, false, out);
    }

    /// A worker that nobody can take over from stays, and works on.
    fn keep_worker(&mut self, worker: WorkerId, out: &mut Vec<Command>) {
        let Some(leaving) = self.retiring.workers.remove(&worker) else { return };
        let what = match leaving.to_move.len() {
            0 => "it runs a task that waits for others, which".to_owned(),
            1 => "it holds 1 result that is needed and".to_owned(),
            n_left => format!("it holds {n_left} results that are needed and"),
        };
        let is_actor = |task: &TaskId| self.tasks.find(*task).is_some_and(|slot| self.actors.contains(slot));
        let has_actor = leaving.to_move.iter().any(is_actor);
        let advice = "start another worker first, or give a time after which it leaves anyway";
        let reason = match has_actor {
            true => "it has an actor, which cannot move; drop its handles first, or give a time after which it leaves \
                 anyway, and the actor is lost"
                .into(),
            false => format!("{what} no other worker can take; {advice}"),
        };
        self.set_functions_taken(worker, true);
        self.workers.unretire(worker);
        self.wishes.touch_all();
        self.touched.insert(worker);
        self.replace_shared(out);
        self.retirement_ends(worker, Retirement::Refused { reason });
    }

    fn retirement_ends(&mut self, worker: WorkerId, end: Retirement) {
        for asked in &mut self.retiring.asked {
            if asked.workers.contains(&worker) {
                asked.ends.entry(worker).or_insert_with(|| end.clone());
            }
        }
    }

    /// Answers those for whom every worker has come to its end.
    fn answer_retirements(&mut self, out: &mut Vec<Command>) {
        let (done, open) = std::mem::take(&mut self.retiring.asked)
            .into_iter()
            .partition(|asked| asked.workers.iter().all(|worker| asked.ends.contains_key(worker)));
        self.retiring.asked = open;
        for Asked { client, ticket, workers, ends } in done {
            let workers = workers.into_iter().filter_map(|worker| Some((worker, ends.get(&worker)?.clone()))).collect();
            let message = ToClient::Reply { ticket, reply: Reply::Retired { workers } };
            out.push(Command::ToClient { client, message });
        }
    }

    /// What must be true of this file's state between two events.
    pub(super) fn check_retiring(&self) {
        for worker in self.workers.ids() {
            assert_eq!(self.retiring.contains(worker), !self.workers.takes(worker), "{worker} takes no work");
        }
        for (worker, leaving) in &self.retiring.workers {
            let Some(state) = self.workers.get(*worker) else { panic!("{worker} is gone and still leaves") };
            assert!(state.queue.is_empty(), "{worker} leaves and has a queue");
            let is_busy = !state.in_flight.is_empty() || !state.seceded.is_empty() || !leaving.moving.is_empty();
            assert!(is_busy || leaving.leave_at.is_some(), "{worker} has nothing to do and does not go");
            assert!(leaving.moving.len() <= MOVES, "{worker} moves too much at once");
        }
        for asked in &self.retiring.asked {
            assert!(self.clients.contains_key(&asked.client), "{} is gone and waits", asked.client);
            for worker in &asked.workers {
                let is_open = self.retiring.contains(*worker) || asked.ends.contains_key(worker);
                assert!(is_open, "nobody will say what became of {worker}");
            }
        }
    }
}
