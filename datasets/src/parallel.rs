//! The same function on many items, on as many threads as there are cores.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// The results in the items' order; of several errors the first item's.
pub(crate) fn try_map<T: Sync, R: Send + Sync, E: Send + Sync>(
    items: &[T],
    f: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let n_threads = thread::available_parallelism().map_or(1, usize::from).min(items.len());
    if n_threads <= 1 {
        return items.iter().map(f).collect();
    }
    let results: Vec<OnceLock<Result<R, E>>> = items.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let (Some(item), Some(slot)) = (items.get(at), results.get(at)) else { break };
            let result = f(item);
            if result.is_err() {
                // The items before this one are at work already, so the first error is not lost.
                next.store(items.len(), Ordering::Relaxed);
            }
            // Each slot is filled once.
            let _ = slot.set(result);
        }
    };
    thread::scope(|scope| (0..n_threads).for_each(|_| drop(scope.spawn(work))));
    results.into_iter().map_while(OnceLock::into_inner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_and_the_error_are_those_of_a_loop() {
        let items: Vec<usize> = (0..1000).collect();
        assert_eq!(try_map(&items, |&i| Ok::<_, ()>(i * 2)), Ok(items.iter().map(|i| i * 2).collect()));
        for _ in 0..50 {
            assert_eq!(try_map(&items, |&i| if i % 7 == 5 { Err(i) } else { Ok(i) }), Err(5));
        }
    }
}
