//! A worker without its scheduler: it keeps what it holds, finishes what it runs, and says both when it is back.

use std::collections::BTreeSet;

use super::{Command, State, Turn, Worker};
use crate::{
    id::{Attempt, TaskId},
    message::FromWorker,
    time::Time,
};

/// Results named in one message.
const PIECE: usize = 1 << 16;

impl Worker {
    /// Gives up what did not run yet: whoever is scheduler next sends it again, if it is wanted.
    pub(super) fn lose_scheduler(&mut self, keeps_running: bool, out: &mut Vec<Command>) {
        self.is_alone = true;
        if !keeps_running {
            self.lose_torn_actors(out);
        }
        let stays = |state: &State| keeps_running && matches!(state, State::Running { .. });
        let given_up: Vec<_> = self.attempts.iter().filter(|(_, w)| !stays(&w.state)).map(|(k, _)| *k).collect();
        for key in given_up {
            self.cancel(key);
        }
        // Whoever is scheduler next counts anew.
        self.awaited_ends.clear();
        // All attempts that wait for inputs are gone, so nobody else wants these.
        for task in std::mem::take(&mut self.acquiring) {
            self.fetches.forget(task);
        }
    }

    /// Actors that a call is changing whose result will be nobody's: what they hold is no longer what anybody was told.
    fn lose_torn_actors(&mut self, out: &mut Vec<Command>) {
        let runs = |state: &State| matches!(state, State::Running { cancelled: false, .. });
        let torn: BTreeSet<TaskId> =
            self.attempts.values().filter(|work| runs(&work.state)).filter_map(|work| work.actor).collect();
        if !torn.is_empty() {
            self.drop_results(torn.into_iter().collect(), out);
        }
    }

    /// Says what is here.
    pub(super) fn announce(&mut self, now: Time, out: &mut Vec<Command>) {
        self.is_alone = false;
        self.heard_at = now;
        self.heartbeat_at = now + self.config.heartbeat;
        let runs = |state: &State| matches!(state, State::Running { cancelled: false, .. });
        let running: Vec<(TaskId, Attempt)> =
            self.attempts.iter().filter(|(_, work)| runs(&work.state)).map(|(key, _)| *key).collect();
        let results: Vec<(TaskId, u64)> = self.memory.iter().collect();
        self.memory.forget_told();
        let mut pieces = results.chunks(PIECE);
        let mut running = Some(running);
        loop {
            let results = pieces.next().unwrap_or_default().to_vec();
            let more = pieces.len() > 0;
            let running = if more { Vec::new() } else { running.take().unwrap_or_default() };
            out.push(Command::ToScheduler(FromWorker::Announce { results, running, more }));
            if !more {
                break;
            }
        }
        let waits = |state: &State| matches!(state, State::Running { cancelled: false, turn: Turn::Seceded });
        for ((task, attempt), _) in self.attempts.iter().filter(|(_, work)| waits(&work.state)) {
            out.push(Command::ToScheduler(FromWorker::Seceded { task: *task, attempt: *attempt }));
        }
    }
}
