//! Moves results from workers that hold much to workers that hold little, when somebody asks for it.
//!
//! dask's rule by exact bytes: who is within 5 % of the mean is left alone; then the fullest gives to the emptiest the
//! oldest result that brings the two nearer to the mean, until there is none. A result leaves its old place when its
//! new one has it, so a recipient that dies costs nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    Command, Scheduler,
    tasks::{Slot, State},
};
use crate::{
    id::{ClientId, TaskId, WorkerId},
    message::ToClient,
    request::Reply,
};

/// Moves on their way, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// By result and new place: the old place.
    open: BTreeMap<(TaskId, WorkerId), WorkerId>,
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    client: ClientId,
    ticket: u64,
    open: BTreeSet<(TaskId, WorkerId)>,
    n_moved: u64,
    n_bytes: u64,
}

impl Moves {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.asked.is_empty()
    }

    pub(super) fn client_left(&mut self, client: ClientId) {
        self.asked.retain(|asked| asked.client != client);
    }
}

impl Scheduler {
    /// Decides what moves where, and begins.
    pub(super) fn rebalance(&mut self, client: ClientId, ticket: u64, out: &mut Vec<Command>) {
        let mut open = BTreeSet::new();
        for (slot, from, to) in self.plan_moves() {
            let key = (self.tasks.id(slot), to);
            self.copy_to(slot, to);
            self.moves.open.insert(key, from);
            open.insert(key);
        }
        self.moves.asked.push(Asked { client, ticket, open, n_moved: 0, n_bytes: 0 });
        self.moves_step(out);
    }

    /// Ends moves that are done or came to nothing, and answers who waited for the last of them.
    pub(super) fn moves_step(&mut self, out: &mut Vec<Command>) {
        let ended: Vec<(TaskId, WorkerId)> =
            self.moves.open.keys().copied().filter(|(task, to)| !self.replicas.is_pending(*task, *to)).collect();
        for key @ (task, to) in ended {
            let Some(from) = self.moves.open.remove(&key) else { continue };
            let moved = self.tasks.find(task).filter(|slot| self.tasks.holds(to, *slot));
            let n_bytes = moved.map_or(0, |slot| self.tasks.n_bytes[slot]);
            for asked in &mut self.moves.asked {
                if asked.open.remove(&key) && moved.is_some() {
                    asked.n_moved += 1;
                    asked.n_bytes += n_bytes;
                }
            }
            if let Some(slot) = moved
                && self.tasks.holds(from, slot)
                && !self.is_used_on(slot, from)
            {
                self.drop_copy(slot, from);
            }
        }
        let (done, open) = std::mem::take(&mut self.moves.asked).into_iter().partition(|asked| asked.open.is_empty());
        self.moves.asked = open;
        for Asked { client, ticket, n_moved, n_bytes, .. } in done {
            let reply = Reply::Rebalanced { n_moved, n_bytes };
            out.push(Command::ToClient { client, message: ToClient::Reply { ticket, reply } });
        }
    }

    fn plan_moves(&self) -> Vec<(Slot, WorkerId, WorkerId)> {
        let workers: Vec<WorkerId> = self.workers.ids().filter(|worker| self.workers.takes(*worker)).collect();
        let stored = |worker: &WorkerId| self.workers.get(*worker).map_or(0, |state| state.n_stored);
        let total: u64 = workers.iter().map(stored).sum();
        let Some(mean) = total.checked_div(workers.len() as u64) else { return Vec::new() };
        let band = mean / 20;
        let mut senders: BTreeSet<(u64, WorkerId)> =
            workers.iter().map(|w| (stored(w), *w)).filter(|(n, _)| *n > mean + band).collect();
        let mut recipients: BTreeSet<(u64, WorkerId)> =
            workers.iter().map(|w| (stored(w), *w)).filter(|(n, _)| *n < mean - band).collect();
        if senders.is_empty() || recipients.is_empty() {
            return Vec::new();
        }
        // Oldest first, as tasks are numbered.
        let mut held: BTreeMap<WorkerId, VecDeque<Slot>> = BTreeMap::new();
        for slot in
            self.tasks.slots().filter(|slot| self.tasks.state[*slot] == State::Memory && !self.actors.contains(*slot))
        {
            for holder in self.tasks.holders(slot) {
                if senders.iter().any(|(_, sender)| *sender == holder) {
                    held.entry(holder).or_default().push_back(slot);
                }
            }
        }
        held.values_mut().for_each(|slots| slots.make_contiguous().sort_unstable_by_key(|slot| self.tasks.id(*slot)));
        let mut moves = Vec::new();
        while let Some((n_full, from)) = senders.pop_last() {
            let improves = |slot: &Slot, n_empty: u64, to: WorkerId| {
                let (task, n_bytes) = (self.tasks.id(*slot), self.tasks.n_bytes[*slot]);
                let is_free = !self.tasks.holds(to, *slot) && self.replicas.n_pending(task) == 0;
                // Neither may end as far from the mean as the farther of them is now: so nothing goes to and fro.
                let distance = |full: u64, empty: u64| full.abs_diff(mean).max(empty.abs_diff(mean));
                let after = distance(n_full.saturating_sub(n_bytes), n_empty + n_bytes);
                is_free && n_bytes > 0 && after < distance(n_full, n_empty)
            };
            let Some((n_empty, to)) = recipients.pop_first() else { break };
            let slots = held.entry(from).or_default();
            let found = slots.iter().position(|slot| improves(slot, n_empty, to));
            let Some(slot) = found.and_then(|place| slots.remove(place)) else {
                // This one has nothing that fits anywhere: the emptiest has the most room.
                recipients.insert((n_empty, to));
                continue;
            };
            let n_bytes = self.tasks.n_bytes[slot];
            moves.push((slot, from, to));
            if n_full.saturating_sub(n_bytes) > mean + band {
                senders.insert((n_full.saturating_sub(n_bytes), from));
            }
            if n_empty + n_bytes < mean - band {
                recipients.insert((n_empty + n_bytes, to));
            }
        }
        moves
    }

    /// What must be true of this file's state between two events.
    pub(super) fn check_moves(&self) {
        for (task, to) in self.moves.open.keys() {
            assert!(self.replicas.is_pending(*task, *to), "the move of {task} to {to} is over");
        }
        for asked in &self.moves.asked {
            assert!(self.clients.contains_key(&asked.client), "{} is gone and waits", asked.client);
            assert!(
                !asked.open.is_empty() && asked.open.iter().all(|key| self.moves.open.contains_key(key)),
                "open moves"
            );
        }
    }
}
