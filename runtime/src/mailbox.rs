//! A queue between threads that is filled and emptied in batches.
//!
//! Who sends wakes the receiver once for all that one event led to, and the receiver takes everything with one lock:
//! between machines that exchange hundreds of thousands of small messages a second, a wake-up and a list node for each
//! of them would cost more than what they say.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use crate::io::lock;

/// Puts messages in. Clones fill the same queue; it ends with the last of them.
#[derive(Debug)]
pub(crate) struct Giver<M>(Arc<Queue<M>>);

/// Takes messages out. What is put in when this is gone vanishes.
#[derive(Debug)]
pub(crate) struct Taker<M>(Arc<Queue<M>>);

#[derive(Debug)]
struct Queue<M> {
    messages: Mutex<Vec<M>>,
    n_givers: AtomicUsize,
    abandoned: AtomicBool,
    arrived: Notify,
}

/// The two ends of a new queue.
pub(crate) fn mailbox<M>() -> (Giver<M>, Taker<M>) {
    let queue = Arc::new(Queue {
        messages: Mutex::default(),
        n_givers: AtomicUsize::new(1),
        abandoned: AtomicBool::new(false),
        arrived: Notify::new(),
    });
    (Giver(Arc::clone(&queue)), Taker(queue))
}

impl<M> Giver<M> {
    /// Puts a message in, without waking the receiver.
    pub(crate) fn push(&self, message: M) {
        if !self.0.abandoned.load(Ordering::Relaxed) {
            lock(&self.0.messages).push(message);
        }
    }

    /// Puts messages in, without waking the receiver.
    pub(crate) fn extend(&self, messages: impl IntoIterator<Item = M>) {
        if !self.0.abandoned.load(Ordering::Relaxed) {
            lock(&self.0.messages).extend(messages);
        }
    }

    /// Wakes the receiver for what was put in.
    pub(crate) fn flush(&self) {
        self.0.arrived.notify_one();
    }
}

impl<M> Clone for Giver<M> {
    fn clone(&self) -> Self {
        self.0.n_givers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl<M> Drop for Giver<M> {
    fn drop(&mut self) {
        if self.0.n_givers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.arrived.notify_one();
        }
    }
}

impl<M> Taker<M> {
    /// Waits for messages and takes all that are there. False when there are none and nobody is left to put any in.
    /// Can be dropped and called again.
    pub(crate) async fn take(&mut self, into: &mut Vec<M>) -> bool {
        loop {
            // Looked at before the queue: what the last giver put in is seen when it is gone.
            let over = self.0.n_givers.load(Ordering::Acquire) == 0;
            {
                let mut messages = lock(&self.0.messages);
                if !messages.is_empty() {
                    if into.is_empty() {
                        std::mem::swap(into, &mut messages);
                    } else {
                        into.append(&mut messages);
                    }
                    return true;
                }
            }
            if over {
                return false;
            }
            self.0.arrived.notified().await;
        }
    }
}

impl<M> Drop for Taker<M> {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Relaxed);
        let messages = std::mem::take(&mut *lock(&self.0.messages));
        drop(messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn everything_comes_in_order_and_then_the_end() {
        let (giver, mut taker) = mailbox();
        let thread = std::thread::spawn(move || {
            for number in 0..10_000 {
                giver.push(number);
                if number % 7 == 0 {
                    giver.flush();
                }
            }
        });
        let mut all = Vec::new();
        block_on(async {
            let mut some = Vec::new();
            while taker.take(&mut some).await {
                all.append(&mut some);
            }
        });
        thread.join().expect("it only sends");
        assert_eq!(all, (0..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn it_ends_with_the_last_giver_and_keeps_nothing_for_nobody() {
        let (giver, mut taker) = mailbox::<Arc<()>>();
        let other = giver.clone();
        drop(giver);
        let message = Arc::new(());
        other.extend([Arc::clone(&message)]);
        other.flush();
        let mut some = Vec::new();
        assert!(block_on(taker.take(&mut some)));
        other.push(Arc::clone(&message));
        drop(taker);
        other.push(Arc::clone(&message));
        drop(some);
        assert_eq!(Arc::strong_count(&message), 1);
    }
}
