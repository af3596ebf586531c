//! A map by task that costs a few instructions a look: clients number their tasks densely, so tasks are kept by pages.
//!
//! Iteration is in rising order, as with a `BTreeMap`, so nothing that is decided by walking it depends on chance.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
};

use crate::id::TaskId;

/// Tasks on a page.
const PAGE: usize = 64;

/// Values by task.
///
/// ```
/// use phalanx_engine::{dense::TaskMap, id::{ClientId, TaskId}};
///
/// let task = |sequence| TaskId::new(ClientId(7), sequence);
/// let mut sizes = TaskMap::default();
/// sizes.insert(task(1_000), 8);
/// sizes.insert(task(3), 16);
/// assert_eq!(sizes.get(task(3)), Some(&16));
/// assert_eq!(sizes.iter().collect::<Vec<_>>(), [(task(3), &16), (task(1_000), &8)]);
/// assert_eq!(sizes.remove(task(3)), Some(16));
/// assert_eq!(sizes.len(), 1);
/// ```
#[derive(Clone)]
pub struct TaskMap<V> {
    pages: HashMap<u64, Page<V>, BuildHasherDefault<PageHasher>>,
    len: usize,
}

#[derive(Clone)]
struct Page<V> {
    n_used: usize,
    slots: Box<[Option<V>]>,
}

impl<V> Default for TaskMap<V> {
    fn default() -> Self {
        Self { pages: HashMap::default(), len: 0 }
    }
}

impl<V> TaskMap<V> {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a task.
    pub fn get(&self, task: TaskId) -> Option<&V> {
        let (page, slot) = place(task);
        self.pages.get(&page)?.slots[slot].as_ref()
    }

    /// The value of a task, to change it.
    pub fn get_mut(&mut self, task: TaskId) -> Option<&mut V> {
        let (page, slot) = place(task);
        self.pages.get_mut(&page)?.slots[slot].as_mut()
    }

    /// Whether a task has a value.
    pub fn contains(&self, task: TaskId) -> bool {
        self.get(task).is_some()
    }

    /// Sets the value of a task; what it was before.
    pub fn insert(&mut self, task: TaskId, value: V) -> Option<V> {
        let (page, slot) = place(task);
        let empty = || Page { n_used: 0, slots: std::iter::repeat_with(|| None).take(PAGE).collect() };
        let page = self.pages.entry(page).or_insert_with(empty);
        let before = page.slots[slot].replace(value);
        if before.is_none() {
            page.n_used += 1;
            self.len += 1;
        }
        before
    }

    /// Takes a task out.
    pub fn remove(&mut self, task: TaskId) -> Option<V> {
        let (number, slot) = place(task);
        let page = self.pages.get_mut(&number)?;
        let value = page.slots[slot].take()?;
        page.n_used -= 1;
        self.len -= 1;
        if page.n_used == 0 {
            self.pages.remove(&number);
        }
        Some(value)
    }

    /// All of them, by rising task.
    pub fn iter(&self) -> impl Iterator<Item = (TaskId, &V)> {
        let mut numbers: Vec<u64> = self.pages.keys().copied().collect();
        numbers.sort_unstable();
        numbers.into_iter().flat_map(|number| {
            let slots = self.pages[&number].slots.iter().enumerate();
            slots.filter_map(move |(slot, value)| Some((TaskId(number * PAGE as u64 + slot as u64), value.as_ref()?)))
        })
    }

    /// The tasks, rising.
    pub fn keys(&self) -> impl Iterator<Item = TaskId> {
        self.iter().map(|(task, _)| task)
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.pages.clear();
        self.len = 0;
    }
}

impl<V: fmt::Debug> fmt::Debug for TaskMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V: PartialEq> PartialEq for TaskMap<V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

const fn place(task: TaskId) -> (u64, usize) {
    (task.0 / PAGE as u64, (task.0 % PAGE as u64) as usize)
}

/// Hashes page numbers, which are dense and not chosen by strangers alone, by one multiplication.
#[derive(Debug, Default, Clone)]
pub(crate) struct PageHasher(u64);

impl Hasher for PageHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = (self.0 ^ key).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::id::ClientId;

    #[test]
    fn it_is_a_btree_map_by_other_means() {
        let (mut map, mut tree) = (TaskMap::default(), BTreeMap::new());
        let mut state = 1_u64;
        for step in 0..20_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let task = TaskId::new(ClientId((state >> 60) as u32 % 3), (state >> 33) % 1_500);
            if state >> 20 & 1 == 0 {
                assert_eq!(map.insert(task, step), tree.insert(task, step));
            } else {
                assert_eq!(map.remove(task), tree.remove(&task));
            }
            assert_eq!((map.len(), map.get(task)), (tree.len(), tree.get(&task)));
        }
        assert!(map.iter().eq(tree.iter().map(|(task, value)| (*task, value))));
        for task in tree.keys() {
            map.remove(*task);
        }
        assert!(map.is_empty() && map.pages.is_empty());
    }
}
