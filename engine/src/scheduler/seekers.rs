//! Who looks for a result that everybody who has it is too busy to send, and who can send it next.
//!
//! Only a hint: a worker that is told nothing asks again by itself after a rest. So entries may be stale, and nothing
//! depends on them but how soon a value that many want is everywhere.

use std::collections::{BTreeMap, VecDeque};

use super::{Command, Scheduler, tasks::State};
use crate::{
    id::{TaskId, WorkerId},
    message::ToWorker,
};

/// Peers that a new holder is named to; it serves as many at once.
const NAMED_TO: usize = 2;

/// By result.
#[derive(Debug, Default)]
pub(super) struct Seekers(BTreeMap<TaskId, Sought>);

/// One result that is sought.
#[derive(Debug, Default)]
struct Sought {
    by: VecDeque<WorkerId>,
    /// New holders that were not yet named to as many as they can serve.
    free: VecDeque<WorkerId>,
}

impl Seekers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn worker_left(&mut self, worker: WorkerId) {
        for sought in self.0.values_mut() {
            sought.by.retain(|seeker| *seeker != worker);
            sought.free.retain(|holder| *holder != worker);
        }
    }
}

impl Scheduler {
    /// A worker looks for somebody with time.
    pub(super) fn worker_seeks(&mut self, worker: WorkerId, task: TaskId, out: &mut Vec<Command>) {
        let is_there = self.tasks.find(task).is_some_and(|slot| self.tasks.state[slot] == State::Memory);
        // Where it is nowhere, the worker learns that from those it believes to have it.
        if is_there {
            let sought = self.seekers.0.entry(task).or_default();
            if !sought.by.contains(&worker) {
                sought.by.push_back(worker);
            }
            self.introduce(task, out);
        }
    }

    /// A worker has a copy now: it can send it to those who look for it.
    pub(super) fn worker_can_serve(&mut self, worker: WorkerId, task: TaskId, out: &mut Vec<Command>) {
        let Some(sought) = self.seekers.0.get_mut(&task) else { return };
        sought.by.retain(|seeker| *seeker != worker);
        sought.free.extend([worker; NAMED_TO]);
        self.introduce(task, out);
    }

    /// Forgets what nobody seeks any more.
    pub(super) fn sweep_seekers(&mut self) {
        let tasks = &self.tasks;
        self.seekers.0.retain(|task, sought| !sought.by.is_empty() && tasks.find(*task).is_some());
    }

    fn introduce(&mut self, task: TaskId, out: &mut Vec<Command>) {
        let Some(sought) = self.seekers.0.get_mut(&task) else { return };
        let mut pairs = Vec::new();
        while !sought.by.is_empty()
            && let Some(holder) = sought.free.pop_front()
        {
            pairs.extend(sought.by.pop_front().map(|seeker| (seeker, holder)));
        }
        for (seeker, holder) in pairs {
            if let Some(address) = self.workers.get(holder).map(|state| state.address.clone()) {
                self.tell_worker(seeker, ToWorker::Located { task, holders: vec![address] }, out);
            }
        }
    }
}
