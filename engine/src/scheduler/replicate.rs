//! Results that somebody wants on several workers, for as long as they exist.
//!
//! Copies spread as a tree: every holder sends to two workers at a time, and who has it becomes a source at once
//! (dask's `replicate` with `branching_factor=2`). A wish outlives its first fulfilment: copies that a lost worker had
//! are made again, and [`trim`](super::trim) leaves as many as are wished for.

use std::collections::{BTreeMap, BTreeSet};

use super::{Command, Scheduler, tasks::State};
use crate::{
    id::{ClientId, TaskId},
    message::ToClient,
    request::Reply,
};

/// Workers that one holder sends a result to at the same time.
const BRANCHING: usize = 2;

/// How many copies are wished for, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    copies: BTreeMap<TaskId, u32>,
    /// Wishes to look at again at the end of the event.
    touched: BTreeSet<TaskId>,
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    client: ClientId,
    ticket: u64,
    tasks: Vec<TaskId>,
    open: BTreeSet<TaskId>,
}

impl Wishes {
    /// Copies that are wished for of a result.
    pub(super) fn of(&self, task: TaskId) -> u32 {
        self.copies.get(&task).copied().unwrap_or(1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// Something happened to a result.
    pub(super) fn touch(&mut self, task: TaskId) {
        if !self.copies.is_empty() && self.copies.contains_key(&task) {
            self.touched.insert(task);
        }
    }

    /// So many copies cannot be had of a result: those that are there are enough.
    pub(super) fn give_up(&mut self, task: TaskId) {
        if let Some(wished) = self.copies.get_mut(&task) {
            *wished = 1;
            self.touched.insert(task);
        }
    }

    /// Workers came or went.
    pub(super) fn touch_all(&mut self) {
        self.touched.extend(self.copies.keys());
    }

    pub(super) fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    pub(super) fn client_left(&mut self, client: ClientId) {
        self.asked.retain(|asked| asked.client != client);
    }

    fn end(&mut self, task: TaskId) {
        for asked in &mut self.asked {
            asked.open.remove(&task);
        }
    }
}

impl Scheduler {
    /// A client wants so many copies of results it holds.
    pub(super) fn replicate(
        &mut self,
        client: ClientId,
        ticket: u64,
        tasks: Vec<TaskId>,
        n_copies: u32,
        out: &mut Vec<Command>,
    ) {
        // There is one of each actor.
        let can_be_copied =
            |task: &TaskId| self.wanted_by(client, *task).is_some_and(|slot| !self.actors.contains(slot));
        let open: BTreeSet<TaskId> = tasks.iter().copied().filter(can_be_copied).collect();
        for task in &open {
            self.wishes.copies.insert(*task, n_copies.max(1));
        }
        self.wishes.touched.extend(&open);
        self.wishes.asked.push(Asked { client, ticket, tasks, open });
        self.replicate_step(out);
    }

    /// Looks at every wish that something happened to.
    pub(super) fn replicate_step(&mut self, out: &mut Vec<Command>) {
        for task in std::mem::take(&mut self.wishes.touched) {
            let wished = self.wishes.of(task) as usize;
            let Some(slot) = self.tasks.find(task) else {
                self.wishes.copies.remove(&task);
                self.wishes.end(task);
                continue;
            };
            match self.tasks.state[slot] {
                State::Memory => {}
                // Being made again: looked at when it is there.
                state if state.is_active() => continue,
                _ => {
                    self.wishes.copies.remove(&task);
                    self.wishes.end(task);
                    continue;
                }
            }
            let target = wished.min(self.workers.n_taking());
            let n_there = self.tasks.holders(slot).filter(|holder| self.workers.takes(*holder)).count();
            let n_sources = self.tasks.holders(slot).count();
            let mut n_coming = self.replicas.n_pending(task);
            while n_there + n_coming < target && n_coming < BRANCHING * n_sources && self.copy_somewhere(slot).is_some()
            {
                n_coming += 1;
            }
            if n_there >= target {
                self.wishes.end(task);
            }
        }
        let (done, open) = std::mem::take(&mut self.wishes.asked).into_iter().partition(|asked| asked.open.is_empty());
        self.wishes.asked = open;
        for Asked { client, ticket, tasks, .. } in done {
            let n_copies = |task: &TaskId| self.tasks.find(*task).map_or(0, |slot| self.tasks.holders(slot).count());
            let copies = tasks.iter().map(|task| n_copies(task) as u32).collect();
            out.push(Command::ToClient {
                client,
                message: ToClient::Reply { ticket, reply: Reply::Replicated { copies } },
            });
        }
    }

    /// What must be true of this file's state between two events.
    pub(super) fn check_wishes(&self) {
        assert!(self.wishes.touched.is_empty(), "an event leaves wishes unseen");
        for (task, wished) in &self.wishes.copies {
            let Some(slot) = self.tasks.find(*task) else {
                panic!("{wished} copies are wished for of {task}, which is gone")
            };
            let state = self.tasks.state[slot];
            assert!(state == State::Memory || state.is_active(), "{wished} copies are wished for of {task}, {state:?}");
            let n_there = self.tasks.holders(slot).filter(|holder| self.workers.takes(*holder)).count();
            let target = (*wished as usize).min(self.workers.n_taking());
            let is_on = state != State::Memory || n_there >= target || self.replicas.n_pending(*task) > 0;
            assert!(is_on, "nobody makes the copies of {task} that are wished for");
        }
        for asked in &self.wishes.asked {
            assert!(self.clients.contains_key(&asked.client), "{} is gone and waits", asked.client);
            assert!(!asked.open.is_empty(), "a wish is fulfilled and nobody said so");
            assert!(asked.open.iter().all(|task| self.wishes.copies.contains_key(task)), "an open wish is known");
        }
    }
}
