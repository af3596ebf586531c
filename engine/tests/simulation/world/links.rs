//! Connections from programs that fetch to workers that answer.

use super::*;

impl World {
    pub(super) fn link(&mut self, owner: Node, target: usize) -> &mut Link {
        match owner {
            Node::Worker(place) => self.workers[place].links.entry(target).or_default(),
            Node::Client(place) => self.clients[place].links.entry(target).or_default(),
        }
    }

    pub(super) fn fetch(&mut self, owner: Node, peer: &Address, tasks: Vec<TaskId>) {
        let target = place(peer);
        assert_ne!(owner, Node::Worker(target), "a worker fetches from itself");
        let slowness = self.slowness.as_micros() as u64;
        let delay = self.dice.micros(slowness / 2, slowness * 2);
        let now = self.now;
        let link = self.link(owner, target);
        assert!(link.asked.is_empty(), "{owner:?} asks {target} while it still owes {:?}", link.asked);
        link.asked.extend(tasks.iter().copied());
        assert_eq!(link.asked.len(), tasks.len(), "{owner:?} asks {target} for something twice");
        if !link.open {
            *link = Link { epoch: link.epoch + 1, open: true, last: [now; 2], delay, asked: link.asked.clone() };
        }
        let epoch = link.epoch;
        let (links, max_fetches) = match owner {
            Node::Worker(place) => (&self.workers[place].links, self.workers[place].config.max_fetches),
            Node::Client(place) => (&self.clients[place].links, self.clients[place].config.max_fetches),
        };
        let n_busy = links.values().filter(|link| !link.asked.is_empty()).count();
        assert!(n_busy <= max_fetches as usize, "{owner:?} asks {n_busy} peers at once");
        if self.workers[target].alive {
            let at = self.arrival_on(owner, target, 0);
            self.plan_at(at, Happening::Get { owner, target, epoch, tasks });
        } else if !self.workers[target].silent {
            self.plan(delay, Happening::LinkLost { owner, target, epoch });
        }
    }

    pub(super) fn serve(&mut self, owner: Node, target: usize, epoch: u64, tasks: Vec<TaskId>) {
        let link = self.link(owner, target);
        if link.epoch != epoch || !link.open {
            return;
        }
        for task in tasks {
            if !self.is_healed && self.dice.chance(self.fragility) {
                return self.break_link(owner, target, true);
            }
            let shell = &self.workers[target];
            let value = shell.store.get(&task).or_else(|| shell.disk.get(&task)).cloned();
            assert!(!value.as_ref().is_some_and(Value::stays), "{task} is an actor and sent");
            let at = self.arrival_on(owner, target, 1);
            if value.is_some() && self.dice.chance(self.crowding) {
                self.plan_at(at, Happening::Busy { owner, target, epoch, task });
                continue;
            }
            self.plan_at(at, Happening::Answer { owner, target, epoch, task, value });
        }
    }

    pub(super) fn answered(&mut self, owner: Node, target: usize, task: TaskId, value: Option<Value>) {
        let peer = address(target);
        match (owner, value) {
            (Node::Worker(place), Some(value)) => self.tell_worker(place, worker::Event::Fetched { peer, task, value }),
            (Node::Worker(place), None) => self.tell_worker(place, worker::Event::NotThere { peer, task }),
            (Node::Client(place), Some(value)) => self.tell_client(place, client::Event::Fetched { peer, task, value }),
            (Node::Client(place), None) => self.tell_client(place, client::Event::NotThere { peer, task }),
        }
    }

    pub(super) fn arrival_on(&mut self, owner: Node, target: usize, direction: usize) -> Time {
        let delay = self.link(owner, target).delay;
        let sent = self.now + delay + self.dice.micros(0, delay.as_micros() as u64 * 2);
        let last = &mut self.link(owner, target).last[direction];
        *last = (*last).max(sent);
        *last
    }

    /// A link breaks: what is under way on it is lost, and its owner may learn of it.
    pub(super) fn break_link(&mut self, owner: Node, target: usize, owner_learns: bool) {
        let delay = self.dice.micros(0, self.slowness.as_micros() as u64 * 10);
        let link = self.link(owner, target);
        if std::mem::replace(&mut link.open, false) {
            let epoch = link.epoch;
            if owner_learns {
                self.plan(delay, Happening::LinkLost { owner, target, epoch });
            }
        }
    }

    pub(super) fn close_link(&mut self, owner: Node, peer: &Address) {
        let link = self.link(owner, place(peer));
        link.epoch += 1;
        link.open = false;
        link.asked.clear();
    }
}
