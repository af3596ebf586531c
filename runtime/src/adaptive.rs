//! A cluster that grows and shrinks with its work: asks how loaded it is, and lets its caller add and remove workers.

use phalanx_engine::{
    adaptive::{Adaptive, AdaptiveOptions, Advice},
    id::WorkerId,
};

use crate::{client::Client, error::Result};

/// Looks at the cluster again and again, and calls `scale_up` with how many workers to start, and `scale_down` with
/// which ones to let go, as [`AdaptiveOptions`] say. Goes on until it is dropped or something fails.
///
/// Whoever starts workers in some way of his own (a batch system, a cloud) says here how;
/// [`Client::retire_workers`] lets workers go without losing what they hold. For a local cluster there is
/// [`LocalCluster::adapt`](crate::LocalCluster::adapt).
///
/// # Errors
/// What `scale_up` and `scale_down` return, and where the scheduler is lost.
pub async fn adapt(
    client: &Client,
    options: AdaptiveOptions,
    mut scale_up: impl AsyncFnMut(usize) -> Result<()>,
    mut scale_down: impl AsyncFnMut(Vec<WorkerId>) -> Result<()>,
) -> Result<()> {
    let every = options.every;
    let mut machine = Adaptive::new(options);
    loop {
        match machine.advise(&client.load().await?) {
            Advice::Stay => {}
            Advice::Up { n } => scale_up(n).await?,
            Advice::Down { workers } => scale_down(workers).await?,
        }
        client.pause(every).await?;
    }
}
