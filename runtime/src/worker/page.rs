//! The page of metrics of a worker process: one port, whichever membership the worker has.

use std::sync::{Arc, Mutex, Weak};

use tokio::runtime::Handle;

use super::{Session, WorkerOptions};
use crate::{
    error::Result,
    io::{Spawned, lock},
    metrics::{self, MetricsPage},
};

/// What is shown while this is there.
#[derive(Debug, Default)]
pub(super) struct Page {
    current: Arc<Mutex<Weak<Session>>>,
    _serving: Option<Spawned>,
}

impl Page {
    /// Takes the port, where there is to be a page. A worker that is started again does without one rather than not run.
    pub(super) async fn open(options: &WorkerOptions, n_restarts: u64) -> Result<Self> {
        let Some(address) = &options.metrics else { return Ok(Self::default()) };
        let page = match MetricsPage::bind(address).await {
            Ok(page) => page,
            Err(error) if n_restarts > 0 => {
                tracing::warn!(%error, "the worker shows no metrics");
                return Ok(Self::default());
            }
            Err(error) => return Err(error),
        };
        let current: Arc<Mutex<Weak<Session>>> = Arc::default();
        let (asked, name, n_threads) = (Arc::clone(&current), options.name.clone(), options.n_threads);
        let sample = move || {
            let session = lock(&asked).upgrade();
            let text = session.map(|s| metrics::of_worker(&name, n_threads, n_restarts, &s.counters()));
            std::future::ready(text)
        };
        Ok(Self { current, _serving: Some(Spawned::on(&Handle::current(), page.serve(sample))) })
    }

    /// From now on, what this membership counts is shown.
    pub(super) fn shows(&self, session: &Arc<Session>) {
        *lock(&self.current) = Arc::downgrade(session);
    }
}
