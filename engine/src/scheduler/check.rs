//! What must be true after every event: counts and sets are recomputed from what they summarise and compared.

use std::collections::BTreeMap;

use super::{
    Scheduler,
    tasks::{NONE, Slot, State},
};
use crate::id::{ClientId, WorkerId};

impl Scheduler {
    /// Checks everything that must be true between events. Takes time linear in the number of tasks.
    ///
    /// # Panics
    /// When something is not true, saying what.
    pub fn check_invariants(&self) {
        let mut active: BTreeMap<ClientId, u64> = BTreeMap::new();
        let mut by_submission: BTreeMap<u32, u32> = BTreeMap::new();
        let seconds = self.check_pairs();
        let mut n_in_flight = seconds.len();
        let mut n_queued = 0;
        let mut occupancy: BTreeMap<WorkerId, (u64, u64)> = BTreeMap::new();
        for (worker, estimate) in seconds {
            occupancy.entry(worker).or_default().0 += estimate;
        }
        for slot in self.tasks.slots() {
            let id = self.tasks.id(slot);
            let state = self.tasks.state[slot];
            assert_eq!(self.tasks.find(id), Some(slot), "{id} is found by its id");
            *by_submission.entry(self.tasks.submission[slot]).or_default() += 1;
            self.check_counts(slot);
            let is_wanted = self.tasks.wanted[slot] > 0;
            let by_owner = self.own_interest(slot) > 0;
            assert!(!by_owner || self.clients.contains_key(&id.client()), "{id} is wanted by someone who is gone");
            if state.is_active() {
                assert!(self.is_needed(slot), "{id} is {state:?} though nobody needs it");
                *active.entry(id.client()).or_default() += 1;
            }
            let worker = WorkerId(self.tasks.worker[slot]);
            let estimate = u64::from(self.tasks.estimate[slot]);
            match state {
                State::Assigned => {
                    let Some(host) = self.workers.get(worker) else { panic!("{id} runs on {worker}, which is gone") };
                    n_in_flight += 1;
                    if host.seceded.contains_key(&slot) {
                        assert!(!host.in_flight.contains_key(&slot), "{id} waits on {worker} and keeps a thread");
                    } else {
                        assert!(host.in_flight.contains_key(&slot), "{id} is in flight on {worker}");
                        occupancy.entry(worker).or_default().0 += estimate;
                    }
                }
                State::Ready if worker.0 != NONE => {
                    let Some(host) = self.workers.get(worker) else { panic!("{id} waits for {worker}, which is gone") };
                    assert!(host.queue.contains(&(self.priority(slot), slot)), "{id} is in the queue of {worker}");
                    occupancy.entry(worker).or_default().1 += estimate;
                    n_queued += 1;
                }
                State::Memory => {
                    for holder in self.tasks.holders(slot) {
                        assert!(self.workers.get(holder).is_some(), "{id} is held by {holder}, which is gone");
                    }
                    assert!(self.is_needed(slot), "{id} is kept in memory though nobody needs it");
                }
                State::Released | State::Failed => {
                    let is_kept = is_wanted || self.tasks.n_dependents[slot] > 0;
                    assert!(is_kept, "{id} is {state:?} and should have been forgotten");
                    assert!(state == State::Failed || !self.is_needed(slot), "{id} is needed but released");
                }
                State::Ready | State::Waiting | State::Absent => {}
            }
            let has_error = self.tasks.errors.contains_key(&slot);
            assert_eq!(has_error, state == State::Failed, "{id} has an error exactly when it failed");
        }
        for (place, submission) in self.submissions.iter() {
            assert_eq!(by_submission.remove(&place), Some(submission.n_tasks), "submission {place} counts its tasks");
        }
        assert!(by_submission.is_empty(), "every task has its submission");
        for (client, state) in &self.clients {
            assert_eq!(state.n_active, active.get(client).copied().unwrap_or(0), "{client} counts its active tasks");
        }
        for id in self.workers.ids() {
            let worker = self.workers.get(id).expect("an alive worker is there");
            let expected = occupancy.get(&id).copied().unwrap_or_default();
            assert_eq!((worker.occupancy, worker.queued), expected, "{id} adds up its estimates");
            n_in_flight -= worker.in_flight.len() + worker.seceded.len();
            n_queued -= worker.queue.len();
        }
        assert_eq!((n_in_flight, n_queued), (0, 0), "nothing is in flight or queued that is not in the table");
        self.check_deaths();
        self.workers.check();
        self.check_absent();
        self.check_replicas();
        self.check_retiring();
        self.check_demands();
        self.check_wishes();
        self.check_sharing();
        self.check_moves();
        self.coordination.check_invariants();
        self.check_actors();
        self.check_recorder();
        self.check_gangs();
        assert!(self.drops.is_empty() && self.touched.is_empty(), "an event leaves nothing unsaid");
        let has_room = self.workers.next_open().is_some();
        let is_waiting = self.shared_has_current();
        assert!(
            !(has_room && is_waiting) || self.recovering.is_some(),
            "a worker has room while a task waits that any could run"
        );
    }

    fn check_counts(&self, slot: Slot) {
        let tasks = &self.tasks;
        let id = tasks.id(slot);
        let n_pending = tasks.dependents(slot).filter(|d| tasks.state[*d].is_active()).count();
        assert_eq!(tasks.n_pending[slot] as usize, n_pending, "{id} counts its active dependents");
        assert_eq!(tasks.n_dependents[slot] as usize, tasks.dependents(slot).count(), "{id} counts its dependents");
        let n_missing = tasks.dependencies(slot).filter(|d| tasks.state[*d] != State::Memory).count();
        match tasks.state[slot] {
            State::Waiting => {
                assert_eq!(tasks.n_missing[slot] as usize, n_missing, "{id} counts its missing inputs");
                assert!(n_missing > 0, "{id} waits for nothing");
            }
            State::Ready => assert_eq!(n_missing, 0, "{id} is ready without all inputs"),
            _ => {}
        }
        if tasks.state[slot].is_active() {
            for input in tasks.dependencies(slot) {
                let state = tasks.state[input];
                assert!(
                    state == State::Memory || state.is_active() || self.recovering.is_some(),
                    "{id} needs {}, which is {state:?}",
                    tasks.id(input)
                );
            }
        }
    }
}
