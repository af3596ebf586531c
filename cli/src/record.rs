//! Writes a job's timeline while it runs: a thread that reads the cluster's events and never keeps many of them.
//!
//! The file is written beside its place and renamed when it is whole.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use phalanx_engine::event::Record;
use phalanx_runtime::{Client, EventStream};
use tempfile::NamedTempFile;
use tokio::sync::oneshot;

use crate::{Error, Result, trace::Trace};

/// A timeline in the making.
#[derive(Debug)]
pub(crate) struct Recording {
    path: PathBuf,
    stop: oneshot::Sender<()>,
    writer: JoinHandle<io::Result<NamedTempFile>>,
}

impl Recording {
    /// Begins to write what happens on the client's cluster from now on.
    pub(crate) fn begin(path: &Path, client: &Client) -> Result<Self> {
        let failed = |error: io::Error| Error::file("write", path, &error);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        // A temporary file is private; an output has the rights that the umask gives every new file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.prefix(".phalanx-").tempfile_in(folder).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
        let events = client.events(Record::Timeline);
        let (stop, stopped) = oneshot::channel();
        let write = move || runtime.block_on(write(file, events, stopped));
        let writer = std::thread::Builder::new().name("phalanx-trace".into()).spawn(write).map_err(failed)?;
        Ok(Self { path: path.into(), stop, writer })
    }

    /// Writes what has happened until now, and puts the file into its place.
    pub(crate) async fn end(self) -> Result<()> {
        let path = self.path.clone();
        let failed = |error: io::Error| Error::file("write", &path, &error);
        let file = self.join().await.map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Leaves no file.
    pub(crate) async fn abandon(self) -> Result<()> {
        // What could not be written is not missed.
        drop(self.join().await);
        Ok(())
    }

    /// Meanwhile the client goes on hearing what the thread waits for.
    async fn join(self) -> io::Result<NamedTempFile> {
        // Where the thread is gone, it says why when it is joined.
        let _ = self.stop.send(());
        let joined = tokio::task::spawn_blocking(|| self.writer.join()).await.map_err(io::Error::other)?;
        joined.unwrap_or_else(|_| Err(io::Error::other("its thread panicked")))
    }
}

/// Writes events until the last.
async fn write(
    file: NamedTempFile,
    mut events: EventStream,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<NamedTempFile> {
    let mut writer = BufWriter::new(file);
    let mut trace = Trace::default();
    let mut lines = Vec::new();
    let mut before: &[u8] = b"[\n";
    let mut is_stopping = false;
    loop {
        let batch = tokio::select! {
            batch = events.next() => batch,
            _ = &mut stopped, if !is_stopping => {
                is_stopping = true;
                events.stop();
                continue;
            }
        };
        let Some(batch) = batch else { break };
        if batch.n_dropped > 0 {
            trace.dropped(batch.n_dropped, &mut lines);
        }
        batch.events.iter().for_each(|event| trace.fold(event, &mut lines));
        for line in lines.drain(..) {
            writer.write_all(std::mem::replace(&mut before, b",\n"))?;
            serde_json::to_writer(&mut writer, &line)?;
        }
    }
    if before == b"[\n" {
        writer.write_all(before)?;
    }
    writer.write_all(b"\n]\n")?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)
}
