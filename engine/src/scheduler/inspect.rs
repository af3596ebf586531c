//! Answers questions about the scheduler itself. Each takes a bounded time, but for counting the tasks by phase, which
//! looks at one byte of each.

use std::time::Duration;

use super::{
    Scheduler,
    tasks::{NONE, Slot, State},
};
use crate::{
    event::Step,
    id::{Attempt, ClientId, TaskId, WorkerId},
    inspect::{
        Answer, ClientView, Counters, FunctionCounters, Overview, Phase, Question, Standing, Story, TaskView,
        WorkerView,
    },
};

/// Tasks that are told at once.
const TASKS: u32 = 1_000;
/// Steps that are told at once.
const STEPS: u32 = 5_000;
/// Tasks that are looked at for one answer.
const LOOKS: usize = 100_000;
/// Functions and clients in an overview.
const LISTED: usize = 1_000;
/// Tasks in a chain of those that wait for each other.
const CHAIN: usize = 20;

impl Scheduler {
    /// What has been counted until now. Takes a nanosecond or less for each task that is known.
    pub fn counters(&self) -> Counters {
        const W: WorkerId = WorkerId(0);
        const A: Attempt = Attempt(0);
        let count = |step| self.recorder.count(step);
        let cost = |(name, n_runs, total_ns)| FunctionCounters { name, n_runs, total: Duration::from_nanos(total_ns) };
        let comings = self.recorder.comings();
        Counters {
            n_tasks: self.tasks.count_by_state(),
            n_clients: self.clients.len() as u64,
            n_workers: self.workers.len() as u64,
            n_assigned: count(Step::Assigned { worker: W, attempt: A, n_fetched: 0 }),
            n_finished: count(Step::Finished { worker: W, attempt: A }),
            n_failed_attempts: count(Step::AttemptFailed { worker: W, attempt: A }),
            n_failed: count(Step::Failed),
            n_stolen: count(Step::Stolen { from: W }),
            n_worker_lost: count(Step::WorkerLost { worker: W, attempt: A, running: true }),
            n_lost: count(Step::Lost),
            n_transfers: count(Step::Copied { worker: W }),
            transfer_bytes: self.recorder.copied_bytes(),
            n_missed: count(Step::Missed { worker: W }),
            n_rescheduled: count(Step::Rescheduled { worker: W, attempt: A }),
            n_straggling: count(Step::Straggles),
            n_workers_joined: comings.n_joined,
            n_workers_left: comings.n_left,
            n_workers_died: comings.n_died,
            life: self.life,
            spilled_bytes: self.workers.ids().filter_map(|id| Some(self.workers.get(id)?.spilled)).sum(),
            stored_bytes: self.workers.ids().filter_map(|id| Some(self.workers.get(id)?.n_stored)).sum(),
            functions: self.functions.totals().take(LISTED).map(cost).collect(),
        }
    }

    /// How everything is now.
    pub fn overview(&self) -> Overview {
        let worker = |id: WorkerId| {
            let worker = self.workers.get(id)?;
            let n_running = worker.in_flight.values().filter(|running| **running).count() + worker.seceded.len();
            Some(WorkerView {
                worker: id,
                name: worker.name.clone(),
                address: worker.address.clone(),
                n_threads: worker.n_threads,
                n_running: n_running as u32,
                n_assigned: (worker.in_flight.len() + worker.seceded.len()) as u32,
                n_queued: worker.queue.len() as u32,
                stored_bytes: worker.n_stored,
                spilled_bytes: worker.spilled,
                memory_limit: worker.memory_limit,
                paused: worker.paused,
                retiring: worker.retiring,
                silent_for: self.now - worker.last_heard,
            })
        };
        let client = |(id, client): (&ClientId, &super::Client)| ClientView {
            client: *id,
            n_active: client.n_active,
            n_submitted: client.next,
            silent_for: self.now - client.last_heard,
        };
        Overview {
            time: self.now,
            version: self.config.version.clone(),
            config: self.config_by_name(),
            counters: self.counters(),
            workers: self.workers.ids().filter_map(worker).collect(),
            clients: self.clients.iter().take(LISTED).map(client).collect(),
        }
    }

    /// Answers a question.
    pub fn inspect(&self, question: Question) -> Answer {
        match question {
            Question::Overview => Answer::Overview(self.overview()),
            Question::Story { task } => Answer::Story(self.story(task)),
            Question::Tasks { phase, from, limit } => self.tasks_in(phase, from, limit.min(TASKS) as usize),
            Question::Steps { skip, limit } => {
                let skip = usize::try_from(skip).unwrap_or(usize::MAX);
                Answer::Steps { steps: self.recorder.steps(skip, limit.min(STEPS) as usize) }
            }
        }
    }

    /// What a task has gone through, and why it does not run.
    fn story(&self, task: TaskId) -> Story {
        let slot = self.tasks.find(task);
        let standing = slot.map_or(Standing::Unknown, |slot| self.standing(slot));
        let steps = self.recorder.steps_of(task);
        let mut about: Vec<WorkerId> = steps.iter().filter_map(|(_, step)| worker_of(*step)).collect();
        let mut standings = vec![&standing];
        while let Some(standing) = standings.pop() {
            match standing {
                Standing::Busy { worker, .. } => about.extend(worker),
                Standing::Sent { worker, .. } | Standing::Running { worker, .. } => about.push(*worker),
                Standing::Memory { holders, .. } => about.extend(holders),
                Standing::Waiting { because, .. } => standings.push(because),
                _ => {}
            }
        }
        about.sort_unstable();
        about.dedup();
        let name = |id: WorkerId| match self.workers.get(id) {
            Some(worker) => Some((id, worker.name.clone())),
            None => Some((id, format!("{} (gone)", self.recorder.gone(id)?))),
        };
        Story {
            task,
            function: slot.map(|slot| self.functions.label(self.function(slot))),
            now: self.now,
            names: about.into_iter().filter_map(name).collect(),
            standing,
            steps,
            errors: self.recorder.errors_of(task),
            has_forgotten: self.recorder.has_forgotten() || self.life > 0,
        }
    }

    fn standing(&self, slot: Slot) -> Standing {
        let tasks = &self.tasks;
        let worker = WorkerId(tasks.worker[slot]);
        match tasks.state[slot] {
            State::Absent => Standing::Unknown,
            State::Released => Standing::Released,
            State::Waiting => {
                let mut chain = Vec::new();
                let mut last = slot;
                while tasks.state[last] == State::Waiting
                    && chain.len() < CHAIN
                    && let Some(input) = self.tasks.dependencies(last).find(|i| tasks.state[*i] != State::Memory)
                {
                    last = input;
                    chain.extend(self.view(input));
                }
                let is_deep = tasks.state[last] == State::Waiting;
                let because = if is_deep { Standing::Released } else { self.standing(last) };
                Standing::Waiting { n_missing: tasks.n_missing[slot], chain, because: Box::new(because) }
            }
            State::Ready if self.workers.is_empty() => Standing::NoWorkers,
            State::Ready if worker.0 == NONE => {
                let busy = Standing::Busy { worker: None, n_queued: self.shared.len() as u64 };
                self.demands_of(slot).unwrap_or(busy)
            }
            State::Ready => {
                let n_queued = self.workers.get(worker).map_or(0, |w| w.queue.len()) as u64;
                Standing::Busy { worker: Some(worker), n_queued }
            }
            State::Assigned => {
                let attempt = self.first_attempt(slot).unwrap_or(Attempt(0));
                let Some(host) = self.workers.get(worker) else { return Standing::Unknown };
                if host.seceded.contains_key(&slot) {
                    Standing::Running { worker, attempt, seceded: true }
                } else if host.in_flight.get(&slot) == Some(&true) {
                    Standing::Running { worker, attempt, seceded: false }
                } else {
                    let n_running = host.in_flight.values().filter(|running| **running).count() as u32;
                    Standing::Sent { worker, attempt, n_running }
                }
            }
            State::Memory => {
                Standing::Memory { holders: tasks.holders(slot).take(100).collect(), n_bytes: tasks.n_bytes[slot] }
            }
            State::Failed => {
                let error = tasks.errors.get(&slot).map_or_else(String::new, |error| error.to_string());
                Standing::Failed { error: crate::event::cut(error) }
            }
        }
    }

    /// What a task asks of a worker, if anything.
    fn demands_of(&self, slot: Slot) -> Option<Standing> {
        let (submission, node) = self.recipe(slot)?;
        let options = submission.graph.options_of(node);
        let resources = options.resources.iter().map(|(name, amount)| (name.clone(), *amount)).collect();
        let asks = !options.resources.is_empty() || !options.workers.is_empty();
        asks.then(|| Standing::Demands { resources, workers: options.workers.iter().cloned().collect() })
    }

    fn tasks_in(&self, phase: Phase, from: u32, limit: usize) -> Answer {
        let mut tasks = Vec::new();
        let mut next = None;
        for (n_looked, slot) in self.tasks.slots_from(from).enumerate() {
            if tasks.len() >= limit || n_looked >= LOOKS {
                next = Some(self.tasks.place(slot));
                break;
            }
            if phase_of(self.tasks.state[slot]) == Some(phase) {
                tasks.extend(self.view(slot));
            }
        }
        Answer::Tasks { tasks, next }
    }

    fn view(&self, slot: Slot) -> Option<TaskView> {
        let tasks = &self.tasks;
        let phase = phase_of(tasks.state[slot])?;
        let workers = match tasks.state[slot] {
            State::Memory => tasks.holders(slot).take(10).collect(),
            State::Ready | State::Assigned if tasks.worker[slot] != NONE => vec![WorkerId(tasks.worker[slot])],
            _ => Vec::new(),
        };
        Some(TaskView {
            task: tasks.id(slot),
            function: self.functions.label(self.function(slot)),
            phase,
            n_attempts: tasks.tries[slot],
            workers,
            n_bytes: if phase == Phase::Memory { tasks.n_bytes[slot] } else { 0 },
        })
    }

    fn config_by_name(&self) -> Vec<(String, String)> {
        // The options' own names, as their Debug form shows them.
        let text = format!("{:#?}", self.config);
        let line = |line: &str| {
            let (name, value) = line.strip_prefix("    ")?.split_once(": ")?;
            (!name.starts_with(' '))
                .then(|| (name.to_owned(), value.trim_end_matches(',').trim_matches('"').to_owned()))
        };
        text.lines().filter_map(line).collect()
    }
}

fn phase_of(state: State) -> Option<Phase> {
    match state {
        State::Absent => None,
        State::Released => Some(Phase::Released),
        State::Waiting => Some(Phase::Waiting),
        State::Ready => Some(Phase::Ready),
        State::Assigned => Some(Phase::Assigned),
        State::Memory => Some(Phase::Memory),
        State::Failed => Some(Phase::Failed),
    }
}

fn worker_of(step: Step) -> Option<WorkerId> {
    match step {
        Step::Waiting | Step::Lost | Step::Failed | Step::Released | Step::Straggles => None,
        Step::Ready { worker } => worker,
        Step::Assigned { worker, .. }
        | Step::Started { worker, .. }
        | Step::Finished { worker, .. }
        | Step::AttemptFailed { worker, .. }
        | Step::Stolen { from: worker }
        | Step::Cancelled { worker, .. }
        | Step::WorkerLost { worker, .. }
        | Step::Rescheduled { worker, .. }
        | Step::Copied { worker }
        | Step::Found { worker }
        | Step::CopyDropped { worker }
        | Step::Missed { worker } => Some(worker),
    }
}
