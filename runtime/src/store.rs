//! The results that lie on one worker, by task; and where in this process the workers are that live in it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use phalanx_engine::{dense::TaskMap, id::TaskId, message::Address, value::Value};

use crate::{io::lock, spill::SpillFile};

/// One worker's results. Its machine alone decides what is in it; everybody else only reads.
#[derive(Debug, Default)]
pub(crate) struct Store(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    by_task: TaskMap<Entry>,
    n_ever: u64,
}

/// One result: in memory, on disk, or both.
#[derive(Debug)]
struct Entry {
    value: Option<Value>,
    file: Option<Arc<SpillFile>>,
    /// Tells it from earlier and later results of the same task.
    number: u64,
}

/// Where a result is.
#[derive(Debug)]
pub(crate) enum Found {
    Memory(Value),
    /// To be read on a thread that may wait for a disk.
    Disk(Arc<SpillFile>),
}

/// What was taken out of a store. Dropping it frees memory and deletes files, which is for who holds no lock.
#[derive(Debug, Default)]
pub(crate) struct Removed(Vec<(Option<Value>, Option<Arc<SpillFile>>)>);

impl Store {
    /// Puts a result in, or back into memory.
    pub(crate) fn insert(&self, task: TaskId, value: Value) {
        let mut entries = lock(&self.0);
        if let Some(entry) = entries.by_task.get_mut(task) {
            entry.value = Some(value);
            return;
        }
        entries.n_ever += 1;
        let number = entries.n_ever;
        entries.by_task.insert(task, Entry { value: Some(value), file: None, number });
    }

    /// A result that is in memory.
    pub(crate) fn get(&self, task: TaskId) -> Option<Value> {
        lock(&self.0).by_task.get(task)?.value.clone()
    }

    /// A result, wherever it is.
    pub(crate) fn find(&self, task: TaskId) -> Option<Found> {
        let entries = lock(&self.0);
        let Entry { value, file, .. } = entries.by_task.get(task)?;
        let in_memory = value.clone().map(Found::Memory);
        in_memory.or_else(|| file.clone().map(Found::Disk))
    }

    /// A result that is in memory, and the number under which [`attach`](Self::attach) knows it.
    pub(crate) fn numbered(&self, task: TaskId) -> Option<(Value, u64)> {
        let entries = lock(&self.0);
        let entry = entries.by_task.get(task)?;
        Some((entry.value.clone()?, entry.number))
    }

    /// A result is on disk as well, unless it is gone meanwhile.
    pub(crate) fn attach(&self, task: TaskId, number: u64, file: SpillFile) {
        let file = Arc::new(file);
        let mut entries = lock(&self.0);
        if let Some(entry) = entries.by_task.get_mut(task)
            && entry.number == number
        {
            entry.file = Some(Arc::clone(&file));
        }
        drop(entries);
    }

    /// Takes results that are on disk out of memory.
    pub(crate) fn evict(&self, tasks: &[TaskId], into: &mut Removed) {
        let mut entries = lock(&self.0);
        for task in tasks {
            if let Some(entry) = entries.by_task.get_mut(*task)
                && entry.file.is_some()
            {
                into.0.push((entry.value.take(), None));
            }
        }
    }

    /// Takes results out.
    pub(crate) fn remove(&self, tasks: &[TaskId], into: &mut Removed) {
        let mut entries = lock(&self.0);
        let removed = tasks.iter().filter_map(|task| entries.by_task.remove(*task));
        into.0.extend(removed.map(|entry| (entry.value, entry.file)));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.0).by_task.len()
    }
}

/// The stores of this process that can be read by pointer instead of through a socket.
static HERE: Mutex<BTreeMap<Address, Weak<Store>>> = Mutex::new(BTreeMap::new());

/// An address that leads to `store` as long as this lives, inside this process only.
#[derive(Debug)]
pub(crate) struct Published {
    address: Address,
    _store: Arc<Store>,
}

impl Published {
    /// A new address of the form `inproc://7`.
    pub(crate) fn new(store: Arc<Store>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self::at(Address(format!("inproc://{}", NEXT.fetch_add(1, Ordering::Relaxed)).into()), store)
    }

    /// A short cut to what others reach at `address` through a socket.
    pub(crate) fn at(address: Address, store: Arc<Store>) -> Self {
        lock(&HERE).insert(address.clone(), Arc::downgrade(&store));
        Self { address, _store: store }
    }

    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        lock(&HERE).remove(&self.address);
    }
}

/// The store at `address`, where that is in this process and published.
pub(crate) fn find(address: &Address) -> Option<Arc<Store>> {
    lock(&HERE).get(address).and_then(Weak::upgrade)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use phalanx_engine::id::ClientId;

    use super::*;

    #[test]
    fn a_published_store_is_found_by_pointer_until_it_is_gone() {
        let store = Arc::new(Store::default());
        let task = TaskId::new(ClientId(1), 0);
        let published = Published::new(Arc::clone(&store));
        let address = published.address().clone();
        store.insert(task, Value::new(String::from("mine")));
        let here = find(&address).unwrap().get(task).unwrap().get::<String>().unwrap();
        assert!(Arc::ptr_eq(&here, &store.get(task).unwrap().get::<String>().unwrap()));
        drop(published);
        assert!(find(&address).is_none());
        let mut gone = Removed::default();
        store.remove(&[task], &mut gone);
        assert_eq!((gone.0.len(), store.len()), (1, 0));
    }
}
