//! The results that lie on one worker, by task; and where in this process the workers are that live in it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use phalanx_engine::{id::TaskId, message::Address, value::Value};

use crate::io::lock;

/// One worker's results. Its machine alone decides what is in it; everybody else only reads.
#[derive(Debug, Default)]
pub(crate) struct Store(Mutex<HashMap<TaskId, Value>>);

impl Store {
    pub(crate) fn insert(&self, task: TaskId, value: Value) {
        lock(&self.0).insert(task, value);
    }

    pub(crate) fn get(&self, task: TaskId) -> Option<Value> {
        lock(&self.0).get(&task).cloned()
    }

    /// Takes results out; dropping them is the caller's, who may hold locks.
    pub(crate) fn remove(&self, tasks: &[TaskId], into: &mut Vec<Value>) {
        let mut values = lock(&self.0);
        into.extend(tasks.iter().filter_map(|task| values.remove(task)));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.0).len()
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
        let mut gone = Vec::new();
        store.remove(&[task], &mut gone);
        assert_eq!((gone.len(), store.len()), (1, 0));
    }
}
