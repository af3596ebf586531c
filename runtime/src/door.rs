//! A port's door: how many who are not known yet may stand in it, and for how long.
//!
//! Whoever connects is a stranger until he has shown what the port asks for. There are never more than [`MOST`] of
//! them: when another comes, the one who has been waiting longest is sent away. A program of the cluster is known
//! within a few round trips, so it is not the one, however many others come and say nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

use crate::io::lock;

/// How many may be unknown at once: more than a large cluster has that joins in one moment, and few enough for a
/// process that may open 1,024 files.
pub(crate) const MOST: usize = 256;

/// The strangers in a door, by when they came.
type Strangers = Arc<Mutex<BTreeMap<u64, AbortHandle>>>;

/// Somebody in the door. Until he [enters](Self::enter) the work that deals with him may be ended at any await.
#[derive(Debug)]
pub(crate) struct Stranger {
    number: u64,
    strangers: Strangers,
}

impl Stranger {
    /// From here on he is no stranger.
    pub(crate) fn enter(self) {}
}

impl Drop for Stranger {
    fn drop(&mut self) {
        lock(&self.strangers).remove(&self.number);
    }
}

/// Lets people knock, each dealt with by what `meet` returns, for as long as it is polled. With it end all who are
/// dealt with.
pub(crate) async fn keep<F>(listener: TcpListener, meet: impl Fn(TcpStream, Stranger) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let strangers = Strangers::default();
    let mut all = JoinSet::new();
    for number in 0.. {
        match listener.accept().await {
            Ok((stream, _)) => {
                let meeting = meet(stream, Stranger { number, strangers: Arc::clone(&strangers) });
                // Locked around both, so that somebody who is known at once is not put down afterwards.
                let mut strangers = lock(&strangers);
                strangers.insert(number, all.spawn(meeting));
                if strangers.len() > MOST
                    && let Some((_, first)) = strangers.pop_first()
                {
                    drop(strangers);
                    first.abort();
                }
            }
            Err(error) => {
                // Out of file descriptors, mostly: existing connections go on, and some will end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while all.try_join_next().is_some() {}
    }
}
