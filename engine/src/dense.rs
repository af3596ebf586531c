//! Maps by number that cost a few instructions a look: clients number their tasks and questions densely, so entries
//! are found by pages.
//!
//! Iteration is in rising order, as with a `BTreeMap`, so nothing that is decided by walking one depends on chance. It
//! never knows what its values are.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
};

use crate::id::TaskId;

/// Numbers on a page.
const PAGE: usize = 64;
/// No value has this place.
const NONE: u32 = u32::MAX;
/// A map that is empty gives back the memory of more values than this.
const KEPT: usize = 1024;

/// Values by number.
///
/// What a number far from all others costs beside its value is one page of 256 bytes; values lie together in the order
/// in which they came, whatever their numbers are.
///
/// ```
/// use phalanx_engine::dense::Dense;
///
/// let mut sizes = Dense::default();
/// sizes.insert(1_000, 8);
/// sizes.insert(3, 16);
/// assert_eq!(sizes.get(3), Some(&16));
/// assert_eq!(sizes.iter().collect::<Vec<_>>(), [(3, &16), (1_000, &8)]);
/// assert_eq!(sizes.remove(3), Some(16));
/// assert_eq!(sizes.len(), 1);
/// ```
#[derive(Clone)]
pub struct Dense<V> {
    pages: HashMap<u64, Box<Page>, BuildHasherDefault<NumberHasher>>,
    values: Vec<Option<V>>,
    free: Vec<u32>,
}

#[derive(Clone)]
struct Page {
    n_used: usize,
    places: [u32; PAGE],
}

impl<V> Default for Dense<V> {
    fn default() -> Self {
        Self { pages: HashMap::default(), values: Vec::new(), free: Vec::new() }
    }
}

impl<V> Dense<V> {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.values.len() - self.free.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a number.
    pub fn get(&self, number: u64) -> Option<&V> {
        self.values[self.find(number)?].as_ref()
    }

    /// The value of a number, to change it.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut V> {
        let place = self.find(number)?;
        self.values[place].as_mut()
    }

    /// Whether a number has a value.
    pub fn contains(&self, number: u64) -> bool {
        self.find(number).is_some()
    }

    /// Sets the value of a number; what it was before.
    ///
    /// # Panics
    /// With more than 2^32 - 1 values.
    pub fn insert(&mut self, number: u64, value: V) -> Option<V> {
        let (place, is_new) = self.place_for(number);
        let before = self.values[place].replace(value);
        debug_assert_eq!(is_new, before.is_none());
        before
    }

    /// The value of a number; `value` where it had none.
    ///
    /// # Panics
    /// With more than 2^32 - 1 values.
    pub fn get_or_insert(&mut self, number: u64, value: V) -> &mut V {
        let (place, _) = self.place_for(number);
        self.values[place].get_or_insert(value)
    }

    /// Takes a value out.
    pub fn remove(&mut self, number: u64) -> Option<V> {
        let key = number / PAGE as u64;
        let page = self.pages.get_mut(&key)?;
        let place = std::mem::replace(&mut page.places[(number % PAGE as u64) as usize], NONE);
        if place == NONE {
            return None;
        }
        page.n_used -= 1;
        if page.n_used == 0 {
            self.pages.remove(&key);
        }
        self.free.push(place);
        let value = self.values[place as usize].take();
        if self.is_empty() {
            self.values.clear();
            self.free.clear();
            if self.values.capacity() > KEPT {
                *self = Self::default();
            }
        }
        value
    }

    /// All of them, by rising number.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        let mut keys: Vec<u64> = self.pages.keys().copied().collect();
        keys.sort_unstable();
        keys.into_iter().flat_map(|key| {
            let places = (key * PAGE as u64..).zip(&self.pages[&key].places);
            places
                .filter(|(_, place)| **place != NONE)
                .filter_map(|(number, place)| Some((number, self.values[*place as usize].as_ref()?)))
        })
    }

    /// The numbers, rising.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        self.iter().map(|(number, _)| number)
    }

    /// Where the value of a number is or is to be, and whether that place was just made.
    fn place_for(&mut self, number: u64) -> (usize, bool) {
        let page = self.pages.entry(number / PAGE as u64);
        let page = page.or_insert_with(|| Box::new(Page { n_used: 0, places: [NONE; PAGE] }));
        let place = &mut page.places[(number % PAGE as u64) as usize];
        let is_new = *place == NONE;
        if is_new {
            page.n_used += 1;
            *place = self.free.pop().unwrap_or_else(|| {
                assert!(self.values.len() < NONE as usize, "a map holds at most 2^32 - 1 values");
                self.values.push(None);
                (self.values.len() - 1) as u32
            });
        }
        (*place as usize, is_new)
    }

    fn find(&self, number: u64) -> Option<usize> {
        let place = self.pages.get(&(number / PAGE as u64))?.places[(number % PAGE as u64) as usize];
        (place != NONE).then_some(place as usize)
    }
}

impl<V: fmt::Debug> fmt::Debug for Dense<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V: PartialEq> PartialEq for Dense<V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

/// Values by task.
///
/// ```
/// use phalanx_engine::{dense::TaskMap, id::{ClientId, TaskId}};
///
/// let task = TaskId::new(ClientId(7), 3);
/// let mut sizes = TaskMap::default();
/// sizes.insert(task, 8);
/// assert_eq!(sizes.get(task), Some(&8));
/// assert_eq!(sizes.iter().collect::<Vec<_>>(), [(task, &8)]);
/// ```
#[derive(Clone, PartialEq)]
pub struct TaskMap<V>(Dense<V>);

impl<V> Default for TaskMap<V> {
    fn default() -> Self {
        Self(Dense::default())
    }
}

impl<V> TaskMap<V> {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a task.
    pub fn get(&self, task: TaskId) -> Option<&V> {
        self.0.get(task.0)
    }

    /// The value of a task, to change it.
    pub fn get_mut(&mut self, task: TaskId) -> Option<&mut V> {
        self.0.get_mut(task.0)
    }

    /// Whether a task has a value.
    pub fn contains(&self, task: TaskId) -> bool {
        self.0.contains(task.0)
    }

    /// Sets the value of a task; what it was before.
    pub fn insert(&mut self, task: TaskId, value: V) -> Option<V> {
        self.0.insert(task.0, value)
    }

    /// The value of a task; `value` where it had none.
    pub fn get_or_insert(&mut self, task: TaskId, value: V) -> &mut V {
        self.0.get_or_insert(task.0, value)
    }

    /// Takes a task out.
    pub fn remove(&mut self, task: TaskId) -> Option<V> {
        self.0.remove(task.0)
    }

    /// All of them, by rising task.
    pub fn iter(&self) -> impl Iterator<Item = (TaskId, &V)> {
        self.0.iter().map(|(number, value)| (TaskId(number), value))
    }

    /// The tasks, rising.
    pub fn keys(&self) -> impl Iterator<Item = TaskId> {
        self.0.keys().map(TaskId)
    }
}

impl<V: fmt::Debug> fmt::Debug for TaskMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Hashes numbers, which are dense and not chosen by strangers alone, by one multiplication.
#[derive(Debug, Default, Clone)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_is_a_btree_map_by_other_means() {
        let (mut map, mut tree) = (Dense::default(), BTreeMap::new());
        let mut state = 1_u64;
        for step in 0..20_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = ((state >> 60) % 3) * 1_000_000 + (state >> 33) % 1_500;
            if state >> 20 & 1 == 0 {
                assert_eq!(map.insert(number, step), tree.insert(number, step));
            } else {
                assert_eq!(map.remove(number), tree.remove(&number));
            }
            assert_eq!((map.len(), map.get(number)), (tree.len(), tree.get(&number)));
        }
        assert!(map.iter().eq(tree.iter().map(|(number, value)| (*number, value))));
        for number in tree.keys() {
            map.remove(*number);
        }
        assert!(map.is_empty() && map.pages.is_empty() && map.values.capacity() == 0);
    }
}
