//! What happens on a cluster, as a stream that a program reads.
//!
//! The scheduler sends a few messages ahead and then waits until they were read, so a slow reader loses events and is
//! told how many, and neither side ever keeps more than a bounded number of them.

use std::sync::Arc;

use phalanx_engine::{
    client::Event as Told,
    event::{Event, Record},
};
use tokio::sync::mpsc;

use crate::{Client, client::Shell};

/// Some of what happened, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Events {
    /// What happened; times count from the scheduler's start.
    pub events: Vec<Event>,
    /// Events before these that were left out, since the program did not read in time or the connection broke.
    pub n_dropped: u64,
}

/// What happens on a cluster from now on. A client has one such stream; a second one ends the first. Dropping it
/// ends it too. It outlives broken connections, and where the scheduler goes on from its journal it goes on with
/// [`Kind::SchedulerRestarted`](phalanx_engine::event::Kind::SchedulerRestarted).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use phalanx_engine::{event::{Kind, Record}, task};
/// use phalanx_runtime::Client;
///
/// #[task]
/// fn half(x: f64) -> f64 { x / 2. }
///
/// let client = Client::local().await?;
/// let mut events = client.events(Record::Timeline);
/// client.compute(&half::delayed(3.)).await?;
/// events.stop();
/// let mut functions = Vec::new();
/// while let Some(batch) = events.next().await {
///     functions.extend(batch.events.into_iter().filter_map(|event| match event.kind {
///         Kind::TaskFinished { function, .. } => Some(function),
///         _ => None,
///     }));
/// }
/// assert_eq!(functions.len(), 1);
/// assert!(functions[0].ends_with("half"));
/// # Ok::<(), phalanx_runtime::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct EventStream {
    shell: Arc<Shell>,
    number: u64,
    batches: mpsc::UnboundedReceiver<Batch>,
}

/// A message of events.
pub(crate) struct Batch {
    pub(crate) events: Events,
    /// Whether nothing follows.
    pub(crate) last: bool,
    /// What is said of them once they are read.
    pub(crate) number: u32,
    pub(crate) next: u64,
}

impl Client {
    /// What happens on the cluster from now on, as far as `record` asks for it; see [`EventStream`].
    pub fn events(&self, record: Record) -> EventStream {
        let shell = Arc::clone(self.shell());
        let (number, batches) = shell.listen(record);
        EventStream { shell, number, batches }
    }
}

impl EventStream {
    /// The next events; nothing at the end, which comes after [`stop`](Self::stop) or when the scheduler is lost.
    pub async fn next(&mut self) -> Option<Events> {
        let Batch { events, last, number, next } = self.batches.recv().await?;
        if last {
            self.batches.close();
        } else {
            self.shell.apply(|_, events| events.push(Told::EventsSeen { number, next }));
        }
        Some(events)
    }

    /// Asks for no more; what has happened until now still comes.
    pub fn stop(&self) {
        self.shell.stop_listening(self.number);
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.stop();
    }
}
