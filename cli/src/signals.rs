//! Ctrl-C and SIGTERM: the wish to end in an orderly way.

use crate::{Error, Result, error::io_reason};

/// Begins to listen, and answers with what waits for the first signal. From here on a signal no longer ends the
/// program by itself. Needs a tokio runtime.
pub(crate) fn listen() -> Result<impl Future<Output = &'static str> + Send> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let open = |kind| {
            signal(kind).map_err(|error| Error::failed(format!("cannot listen for signals: {}", io_reason(&error))))
        };
        let (mut interrupt, mut terminate) = (open(SignalKind::interrupt())?, open(SignalKind::terminate())?);
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => "Ctrl-C",
                _ = terminate.recv() => "SIGTERM",
            }
        })
    }
    #[cfg(not(unix))]
    {
        let _ = io_reason;
        Ok(async {
            let _ = tokio::signal::ctrl_c().await;
            "Ctrl-C"
        })
    }
}

/// A runtime with one thread, which is what sockets want.
pub(crate) fn single_threaded() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::failed(format!("cannot start: {}", io_reason(&error))))
}
