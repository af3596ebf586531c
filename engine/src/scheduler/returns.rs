//! What becomes of those whose connection broke and who come back: a worker with all it held and ran.
//!
//! A lost connection and a lost worker look alike from here, so a worker that is gone is forgotten at once and its
//! work goes on elsewhere. Where it comes back, what it still holds counts again, what it still runs goes on unless
//! it has been begun elsewhere, and the suspicion that it died of a task is taken back.

use super::{Command, Scheduler, tasks::State};
use crate::{
    id::{Attempt, TaskId, WorkerId},
    message::{Hello, Rejoin, Role, ToWorker, WorkerHello},
};

impl Scheduler {
    /// Who says hello again has lost a connection that may still look alive from here.
    pub(super) fn close_what_returns(&mut self, hello: &Hello, out: &mut Vec<Command>) {
        let Role::Worker(WorkerHello { rejoins: Some(Rejoin { cluster, worker }), address, .. }) = &hello.role else {
            return;
        };
        if *cluster != self.config.cluster {
            return;
        }
        if self.workers.has_address(*worker, address) {
            out.push(Command::CloseWorker { worker: *worker });
            self.worker_left(*worker, out);
        }
        self.tasks.killers.retain(|_, killed| {
            killed.retain(|suspect| suspect != worker);
            !killed.is_empty()
        });
    }

    /// A worker that came back says what it holds and runs.
    pub(super) fn announced(
        &mut self,
        worker: WorkerId,
        results: Vec<(TaskId, u64)>,
        running: Vec<(TaskId, Attempt)>,
        more: bool,
        out: &mut Vec<Command>,
    ) {
        for (task, n_bytes) in results {
            self.announced_result(worker, task, n_bytes, out);
        }
        for (task, attempt) in running {
            if !self.takes_over(worker, task, attempt) {
                self.tell_worker(worker, ToWorker::Cancel { task, attempt }, out);
            }
        }
        if !more {
            self.workers.has_announced(worker);
            self.touched.insert(worker);
        }
    }

    fn announced_result(&mut self, worker: WorkerId, task: TaskId, n_bytes: u64, out: &mut Vec<Command>) {
        let Some(slot) = self.tasks.find(task) else { return self.drop_stray(worker, task) };
        match self.tasks.state[slot] {
            State::Memory if self.tasks.holds(worker, slot) => {}
            State::Memory => {
                self.tasks.add_holder(slot, worker);
                self.workers.stored(worker, self.tasks.n_bytes[slot] as i64);
            }
            State::Waiting | State::Ready | State::Assigned => {
                self.cancel_attempt(slot, out);
                self.leave_place(slot);
                self.complete(slot, worker, n_bytes, None, out);
            }
            State::Released | State::Failed | State::Absent => self.drop_stray(worker, task),
        }
    }

    /// Lets an attempt that never stopped running count. False where it must not: nobody needs it, or another has been
    /// begun since.
    fn takes_over(&mut self, worker: WorkerId, task: TaskId, attempt: Attempt) -> bool {
        let Some(slot) = self.tasks.find(task) else { return false };
        let waits = matches!(self.tasks.state[slot], State::Waiting | State::Ready);
        let Some(tries) = attempt.0.checked_add(1).filter(|tries| waits && *tries >= self.tasks.tries[slot]) else {
            return false;
        };
        let estimate = self.estimate(slot);
        if !self.may_run(slot, worker) {
            return false;
        }
        self.leave_place(slot);
        self.tasks.tries[slot] = tries;
        self.tasks.state[slot] = State::Assigned;
        self.tasks.worker[slot] = worker.0;
        self.tasks.estimate[slot] = estimate;
        self.workers.assign(worker, slot, estimate, 0);
        self.take_resources(slot, worker);
        if let Some(state) = self.workers.get_mut(worker) {
            state.in_flight.insert(slot, true);
        }
        true
    }
}
