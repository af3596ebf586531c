//! What a worker tells of its runs and fetches while somebody wants a timeline; nothing otherwise.

use std::{collections::BTreeMap, time::Duration};

use super::Command;
use crate::{
    event::{FetchSpan, Outcome, RunSpan},
    id::{Attempt, TaskId},
    message::{Address, FromWorker},
    time::Time,
};

/// What a worker has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Tasks that run now, cancelled ones among them.
    pub n_running: u64,
    /// Attempts that wait for inputs or for a thread.
    pub n_waiting: u64,
    /// Results that are kept.
    pub n_held: u64,
    /// Their bytes in memory.
    pub held_bytes: u64,
    /// Their bytes on disk only.
    pub spilled_bytes: u64,
    /// Bytes that results and running tasks may take, where that is bounded.
    pub memory_limit: Option<u64>,
    /// Whether no new task starts until memory is free.
    pub is_paused: bool,
    /// Function calls that are over.
    pub n_ran: u64,
    /// Those that ended with an error or a panic.
    pub n_failed: u64,
    /// How long functions ran in all.
    pub run_time: Duration,
    /// Results that were fetched from other workers.
    pub n_fetched: u64,
    /// Their bytes.
    pub fetched_bytes: u64,
}

/// When things began that are not over yet. Empty while nobody wants to know.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    on: bool,
    /// Runs whose thread has said when it began.
    runs: BTreeMap<(TaskId, Attempt), (u32, Time)>,
    /// Results that were asked for.
    fetches: BTreeMap<TaskId, (Address, Time)>,
}

impl Recorder {
    pub(super) const fn is_on(&self) -> bool {
        self.on
    }

    /// Begins or ends; beginning is answered with the time.
    pub(super) fn turn(&mut self, on: bool, now: Time, out: &mut Vec<Command>) {
        *self = Self { on, ..Self::default() };
        if on {
            out.push(Command::ToScheduler(FromWorker::Recording { now }));
        }
    }

    /// A thread says when it called a function that has returned.
    pub(super) fn timed(&mut self, task: TaskId, attempt: Attempt, thread: u32, start: Time) {
        if self.on {
            self.runs.insert((task, attempt), (thread, start));
        }
    }

    /// A function has returned.
    pub(super) fn ran(
        &mut self,
        (task, attempt): (TaskId, Attempt),
        now: Time,
        run_ns: u64,
        outcome: Outcome,
        out: &mut Vec<Command>,
    ) {
        if !self.on {
            return;
        }
        let ago = Time(now.0.saturating_sub(run_ns));
        let (thread, start) = self.runs.remove(&(task, attempt)).unwrap_or((0, ago));
        let duration = now - start;
        let runs = vec![RunSpan { task, attempt, thread, start, duration, outcome }];
        out.push(Command::ToScheduler(FromWorker::Spans { runs, fetches: Vec::new() }));
    }

    /// Results are asked for.
    pub(super) fn asked(&mut self, peer: &Address, tasks: &[TaskId], now: Time) {
        if self.on {
            self.fetches.extend(tasks.iter().map(|task| (*task, (peer.clone(), now))));
        }
    }

    /// A result came.
    pub(super) fn fetched(&mut self, peer: &Address, task: TaskId, n_bytes: u64, now: Time, out: &mut Vec<Command>) {
        let Some((from, start)) = self.fetches.remove(&task) else { return };
        if from == *peer {
            let fetches = vec![FetchSpan { task, from, n_bytes, start, duration: now - start }];
            out.push(Command::ToScheduler(FromWorker::Spans { runs: Vec::new(), fetches }));
        }
    }

    /// A result will not come from this peer.
    pub(super) fn not_fetched(&mut self, peer: &Address, task: Option<TaskId>) {
        if self.on {
            self.fetches.retain(|asked, (from, _)| from != peer || task.is_some_and(|task| task != *asked));
        }
    }
}
