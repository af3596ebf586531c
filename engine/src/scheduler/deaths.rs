//! Which task is to blame for a worker's death, and what its supervisor saw of it.
//!
//! A worker that dies blames the tasks that were running on it and no others. What was running is known from what the
//! worker said; the last words of a worker may be lost with it, so where a supervisor found the note that the worker
//! kept (`Evidence::running`), that decides. A task that may have killed one worker too many is not run again until the
//! supervisor of the last one has spoken, or `REPORT_WITHIN` is over.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    Command, Reason, Scheduler,
    tasks::{NONE, Slot, State},
};
use crate::{
    death::{Death, Evidence},
    id::{Attempt, TaskId, WorkerId},
    message::Report,
    task::TaskError,
    time::Time,
};

/// How long a supervisor may take to say how its worker died: it learns of it at once and needs one round trip.
const REPORT_WITHIN: Duration = Duration::from_secs(3);

/// What is known of lives and deaths of supervised workers.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    /// The connected workers that are supervised, each with the number of its process's life.
    lives: BTreeMap<WorkerId, u64>,
    /// Reports of lives whose connection still seems to be there.
    early: BTreeMap<u64, Evidence>,
    /// Workers that are gone and whose supervisor has not spoken yet.
    awaited: BTreeMap<WorkerId, Awaited>,
    /// The worker that is being buried.
    latest: Option<Death>,
}

#[derive(Debug)]
struct Awaited {
    life: u64,
    name: String,
    until: Time,
    /// What had been sent to it and was not done.
    in_flight: Vec<(TaskId, Attempt)>,
}

impl Deaths {
    pub(super) fn joined(&mut self, worker: WorkerId, life: Option<u64>) {
        self.lives.extend(life.map(|life| (worker, life)));
    }

    /// When the next supervisor has had its time.
    pub(super) fn deadline(&self) -> Option<(Time, Reason)> {
        let next = self.awaited.iter().map(|(worker, awaited)| (awaited.until, *worker)).min();
        next.map(|(until, worker)| (until, Reason::DeathReport(worker)))
    }
}

impl Scheduler {
    /// A worker is gone, with what was in flight there unless it was sent away. Corrects who is suspected by what is
    /// known already; what waits there for tasks of its own is suspected with those and not by itself.
    pub(super) fn worker_died(
        &mut self,
        worker: WorkerId,
        name: &str,
        in_flight: Option<&BTreeMap<Slot, bool>>,
        suspects: &mut [(Slot, bool)],
    ) {
        let life = self.deaths.lives.remove(&worker);
        let evidence = life.and_then(|life| self.deaths.early.remove(&life));
        if let Some(evidence) = &evidence {
            self.record_death(worker, name, evidence);
        }
        if let (Some(life), Some(in_flight)) = (life, in_flight) {
            let attempt = |slot: Slot| (self.tasks.id(slot), Attempt(self.tasks.tries[slot].saturating_sub(1)));
            match evidence.as_ref().map(|evidence| &evidence.running) {
                Some(Some(running)) => {
                    let runs = suspects.iter_mut().filter(|(slot, _)| in_flight.contains_key(slot));
                    runs.for_each(|(slot, is_running)| *is_running = running.contains(&attempt(*slot)));
                }
                None if !suspects.is_empty() => {
                    let in_flight = in_flight.keys().map(|slot| attempt(*slot)).collect();
                    let until = self.now + REPORT_WITHIN;
                    self.deaths.awaited.insert(worker, Awaited { life, name: name.into(), until, in_flight });
                }
                None => self.recorder.may_be_reported(life, worker, name),
                Some(None) => {}
            }
        }
        self.deaths.latest = Some(Death { worker, name: name.into(), evidence });
    }

    /// The worker that was last said to be dead died while it ran this task. Returns whether that fails the task.
    pub(super) fn blame(&mut self, slot: Slot, worker: WorkerId, out: &mut Vec<Command>) -> bool {
        let latest = self.deaths.latest.clone().filter(|death| death.worker == worker);
        let death = latest.unwrap_or_else(|| Death { worker, name: String::new(), evidence: None });
        let killers = self.tasks.killers.entry(slot).or_default();
        killers.push(death);
        let n_killed = killers.len() as u32;
        self.write_down_suspicion(slot);
        if n_killed < self.config.allowed_failures {
            return false;
        }
        if self.deaths.awaited.contains_key(&worker) {
            self.tasks.condemned.insert(slot, worker);
            return false;
        }
        self.fail_killer(slot, out);
        true
    }

    /// Keeps a task that waits for its judgement out of the queues. False where it does not.
    pub(super) fn hold_condemned(&mut self, slot: Slot) -> bool {
        if !self.tasks.condemned.contains_key(&slot) {
            return false;
        }
        self.tasks.state[slot] = State::Ready;
        self.tasks.worker[slot] = NONE;
        self.tasks.estimate[slot] = 0;
        true
    }

    /// A supervisor says how its worker died.
    pub(super) fn death_reported(&mut self, report: Report, out: &mut Vec<Command>) {
        let Report { life, mut evidence } = report;
        truncate_front(&mut evidence.last_lines, Evidence::MAX_LINES);
        let is_of = |awaited: &Awaited| awaited.life == life;
        let dead: Vec<WorkerId> = self.deaths.awaited.iter().filter(|(_, a)| is_of(a)).map(|(w, _)| *w).collect();
        for worker in dead {
            self.judge(worker, Some(&evidence), out);
        }
        self.record_late_death(life, &evidence);
        if self.deaths.lives.values().any(|alive| *alive == life) {
            // What the worker said last is still on its way here, and counts.
            self.deaths.early.insert(life, evidence);
        }
    }

    /// A worker that was taken for dead came back, and nobody is blamed for it any more.
    pub(super) fn did_not_die(&mut self, worker: WorkerId, out: &mut Vec<Command>) {
        self.judge(worker, None, out);
    }

    /// Deaths whose supervisors have had their time are judged by what the workers said.
    pub(super) fn judge_without_reports(&mut self, now: Time, out: &mut Vec<Command>) {
        let late = |awaited: &Awaited| awaited.until <= now;
        let dead: Vec<WorkerId> = self.deaths.awaited.iter().filter(|(_, a)| late(a)).map(|(w, _)| *w).collect();
        for worker in dead {
            self.judge(worker, None, out);
        }
    }

    /// Blames and acquits by what the supervisor of a dead worker saw, and decides on those who waited for it.
    fn judge(&mut self, worker: WorkerId, evidence: Option<&Evidence>, out: &mut Vec<Command>) {
        let Some(awaited) = self.deaths.awaited.remove(&worker) else { return };
        if let Some(evidence) = evidence {
            self.record_death(worker, &awaited.name, evidence);
        }
        let note = evidence.and_then(|evidence| evidence.running.as_ref());
        let mut suspects: Vec<Slot> = Vec::new();
        for (task, attempt) in awaited.in_flight {
            let Some(slot) = self.tasks.find(task) else { continue };
            suspects.push(slot);
            let Some(note) = note else { continue };
            let killers = self.tasks.killers.entry(slot).or_default();
            let is_blamed = killers.iter().any(|death| death.worker == worker);
            match (note.contains(&(task, attempt)), is_blamed) {
                (false, true) => killers.retain(|death| death.worker != worker),
                (true, false) => killers.push(Death { worker, name: awaited.name.clone(), evidence: None }),
                _ => {}
            }
            if killers.is_empty() {
                self.tasks.killers.remove(&slot);
            }
        }
        for death in self.tasks.killers.values_mut().flatten().filter(|death| death.worker == worker) {
            death.evidence = evidence.cloned();
        }
        for slot in &suspects {
            self.write_down_suspicion(*slot);
        }
        // Among those who wait for this may be some that waited for tasks of their own.
        suspects
            .extend(self.tasks.condemned.iter().filter(|(_, waits_for)| **waits_for == worker).map(|(slot, _)| *slot));
        for slot in suspects {
            let waited = self.tasks.condemned.get(&slot) == Some(&worker);
            if waited {
                self.tasks.condemned.remove(&slot);
            }
            // A judgement that waits for another worker's supervisor is not made here.
            if self.tasks.condemned.contains_key(&slot) || !self.tasks.state[slot].is_active() {
                continue;
            }
            let n_killed = self.tasks.killers.get(&slot).map_or(0, Vec::len) as u32;
            if n_killed >= self.config.allowed_failures {
                self.fail_killer(slot, out);
            } else if waited && self.tasks.state[slot] == State::Ready {
                self.make_ready(slot, out);
            }
        }
    }

    pub(super) fn fail_killer(&mut self, slot: Slot, out: &mut Vec<Command>) {
        let deaths = self.tasks.killers.get(&slot).cloned().unwrap_or_default();
        let function = self.functions.name(self.function(slot));
        let error = self.named(slot, TaskError::KilledWorkers { function, deaths });
        self.fail(slot, Arc::new(error), out);
    }

    /// Panics where what is known of deaths does not fit together.
    pub(super) fn check_deaths(&self) {
        for worker in self.deaths.lives.keys() {
            assert!(self.workers.get(*worker).is_some(), "{worker} is supervised and gone");
        }
        for life in self.deaths.early.keys() {
            assert!(self.deaths.lives.values().any(|alive| alive == life), "the report on {life} waits for nobody");
        }
        for worker in self.deaths.awaited.keys() {
            assert!(self.workers.get(*worker).is_none(), "{worker} is there, and its death is awaited");
        }
        for (slot, worker) in &self.tasks.condemned {
            let task = self.tasks.id(*slot);
            assert!(self.deaths.awaited.contains_key(worker), "{task} waits for word of {worker}, which nobody awaits");
            assert_ne!(self.tasks.state[*slot], State::Assigned, "{task} runs though it may have killed too many");
        }
    }
}

/// Keeps the end of a text that is longer than `limit` bytes.
fn truncate_front(text: &mut String, limit: usize) {
    if text.len() > limit {
        let start = (text.len() - limit..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        text.drain(..start);
    }
}
