//! A worker's attempts by their names. Knows nothing of what they are for.

use std::collections::BTreeMap;

use super::machine::{Key, Work};

/// Attempts in order. In boxes, as a tree moves its entries about and work is large.
#[derive(Debug, Default)]
pub(super) struct Attempts(BTreeMap<Key, Box<Work>>);

impl Attempts {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Work> {
        self.0.get(key).map(|work| &**work)
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Work> {
        self.0.get_mut(key).map(|work| &mut **work)
    }

    pub(super) fn insert(&mut self, key: Key, work: Work) {
        self.0.insert(key, Box::new(work));
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Work> {
        self.0.remove(key).map(|work| *work)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Work> {
        self.0.values().map(|work| &**work)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Work)> {
        self.0.iter().map(|(key, work)| (key, &**work))
    }
}
