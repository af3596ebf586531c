//! Results on disk: one file each, in the layout of the wire, in a folder that goes with its worker.
//!
//! ```text
//! PHALANX_TMP/phalanx-spill-<process>-<number>/
//!     lock        held locked by its owner: where it can be locked, the owner is dead and the folder goes
//!     0, 1, ...   shape | header | buffers, as in a frame
//! ```
//!
//! One thread writes and deletes, another reads; a worker that never spills has neither. Which result is where is the
//! machine's decision. A file is deleted with the last handle to it.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, IoSlice, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crossbeam_channel::Sender;
use phalanx_engine::{
    data::{BufferMut, Data},
    id::TaskId,
    value::Value,
};

use crate::{io::lock, store::Store, wire};

const PREFIX: &str = "phalanx-spill-";
const LOCK: &str = "lock";

/// What a disk says when it is done.
#[derive(Debug)]
pub(crate) enum Done {
    /// A result was written; the store knows its file.
    Written {
        task: TaskId,
    },
    NotWritten {
        task: TaskId,
        reason: String,
    },
    Read {
        task: TaskId,
        value: Value,
    },
    NotRead {
        task: TaskId,
        reason: String,
    },
}

/// Who is told.
pub(crate) type Tell = Arc<dyn Fn(Done) + Send + Sync>;

/// One worker's disk: two threads from the first write on.
#[derive(Debug)]
pub(crate) struct Disk {
    base: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    threads: Mutex<Option<Threads>>,
    folder: Mutex<Option<PathBuf>>,
    is_closed: AtomicBool,
}

#[derive(Debug, Clone)]
struct Threads {
    writes: Sender<WriteJob>,
    reads: Sender<(TaskId, Arc<SpillFile>)>,
}

#[derive(Debug)]
enum WriteJob {
    Write { task: TaskId, value: Value, number: u64 },
    Delete(PathBuf),
}

impl Disk {
    /// Files will be in a folder inside of `base`.
    pub(crate) fn new(base: PathBuf) -> Self {
        Self { base, shared: Arc::default() }
    }

    /// Writes a result, which `store` has under this number; `tell` is told when it is done.
    ///
    /// # Errors
    /// When the threads cannot be started, or the disk is closed.
    pub(crate) fn write(
        &self,
        task: TaskId,
        (value, number): (Value, u64),
        store: &Arc<Store>,
        tell: &Tell,
    ) -> io::Result<()> {
        let threads = self.threads(store, tell)?;
        let job = WriteJob::Write { task, value, number };
        threads.writes.send(job).map_err(|_| io::Error::other("the disk's thread has ended"))
    }

    /// Reads a file; `tell` is told when it is done.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) fn read(&self, task: TaskId, file: Arc<SpillFile>, store: &Arc<Store>, tell: &Tell) -> io::Result<()> {
        let threads = self.threads(store, tell)?;
        threads.reads.send((task, file)).map_err(|_| io::Error::other("the disk's thread has ended"))
    }

    /// Deletes everything; nothing is written any more. The threads end with what they are at.
    pub(crate) fn close(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        drop(lock(&self.shared.threads).take());
        if let Some(folder) = lock(&self.shared.folder).take() {
            remove(&folder);
        }
    }

    fn threads(&self, store: &Arc<Store>, tell: &Tell) -> io::Result<Threads> {
        let mut threads = lock(&self.shared.threads);
        if let Some(threads) = &*threads {
            return Ok(threads.clone());
        }
        if self.shared.is_closed.load(Ordering::SeqCst) {
            return Err(io::Error::other("the worker ends"));
        }
        let (writes, to_write) = crossbeam_channel::unbounded();
        let (reads, to_read) = crossbeam_channel::unbounded::<(TaskId, Arc<SpillFile>)>();
        let mut writer = Writer {
            base: self.base.clone(),
            folder: None,
            shared: Arc::downgrade(&self.shared),
            store: Arc::downgrade(store),
        };
        let told = Arc::clone(tell);
        std::thread::Builder::new().name("phalanx-spill".into()).spawn(move || {
            for job in to_write {
                match job {
                    WriteJob::Delete(path) => drop(fs::remove_file(path)),
                    WriteJob::Write { task, value, number } => {
                        let done = match writer.write(task, &value, number) {
                            Ok(()) => Done::Written { task },
                            Err(reason) => Done::NotWritten { task, reason },
                        };
                        drop(value);
                        told(done);
                    }
                }
            }
        })?;
        let told = Arc::clone(tell);
        std::thread::Builder::new().name("phalanx-unspill".into()).spawn(move || {
            for (task, file) in to_read {
                told(match file.read() {
                    Ok(data) => Done::Read { task, value: Value::from_data(data) },
                    Err(error) => Done::NotRead { task, reason: error.to_string() },
                });
            }
        })?;
        let new = Threads { writes, reads };
        *threads = Some(new.clone());
        Ok(new)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close();
    }
}

/// The thread that writes: it owns the folder.
struct Writer {
    base: PathBuf,
    folder: Option<Folder>,
    shared: Weak<Shared>,
    store: Weak<Store>,
}

impl Writer {
    #[tracing::instrument(name = "spill", level = "debug", skip_all, fields(%task, n_bytes = value.n_bytes()))]
    fn write(&mut self, task: TaskId, value: &Value, number: u64) -> Result<(), String> {
        let (Some(shared), Some(store)) = (self.shared.upgrade(), self.store.upgrade()) else {
            return Err("the worker ends".into());
        };
        let data = value.to_data().map_err(|error| error.to_string())?;
        let failed = |error: io::Error| format!("cannot write to {}: {error}", self.base.display());
        let folder = match &mut self.folder {
            Some(folder) => folder,
            none => {
                let folder = Folder::create(&self.base).map_err(failed)?;
                *lock(&shared.folder) = Some(folder.path.clone());
                none.insert(folder)
            }
        };
        if shared.is_closed.load(Ordering::SeqCst) {
            return Err("the worker ends".into());
        }
        let path = folder.next_path();
        let shape = wire::shape(&data).map_err(|error| error.to_string())?;
        // Made first, so that what was begun is deleted where it fails.
        let file = SpillFile { path, shape, shared: Arc::downgrade(&shared), is_broken: AtomicBool::new(false) };
        file.write(&data).map_err(failed)?;
        store.attach(task, number, file);
        Ok(())
    }
}

/// A result on disk; deleted when the last handle to it is dropped.
#[derive(Debug)]
pub(crate) struct SpillFile {
    path: PathBuf,
    /// How the file begins, and all that is to be known of its lengths.
    shape: Vec<u8>,
    shared: Weak<Shared>,
    /// Whether reading it failed once, and would again.
    is_broken: AtomicBool,
}

impl SpillFile {
    /// Reads the result back, into memory that arrays can take over.
    ///
    /// # Errors
    /// When the file is gone, changed, or cannot be read.
    #[tracing::instrument(name = "unspill", level = "debug", skip_all, fields(path = %self.path.display()))]
    pub(crate) fn read(&self) -> io::Result<Data> {
        let (mut file, header_len, buffer_lens) = self.open()?;
        let mut header = vec![0; header_len];
        file.read_exact(&mut header)?;
        let mut buffers = Vec::with_capacity(buffer_lens.len());
        for len in buffer_lens {
            let mut buffer = BufferMut::zeroed(len);
            file.read_exact(buffer.as_mut_bytes())?;
            buffers.push(buffer.freeze());
        }
        Ok(Data { header, buffers })
    }

    /// How the value begins on a wire and in the file.
    pub(crate) fn shape(&self) -> &[u8] {
        &self.shape
    }

    /// Reads what follows the shape, in pieces: all that it takes of memory.
    ///
    /// # Errors
    /// When the file is gone, changed, or cannot be read.
    pub(crate) fn pieces(&self) -> io::Result<Pieces> {
        let (file, header_len, buffer_lens) = self.open()?;
        let n_left = header_len + buffer_lens.iter().sum::<usize>();
        // A file that was cut short is known before the first piece is sent.
        if self.is_broken.load(Ordering::Relaxed) || file.metadata()?.len() != (self.shape.len() + n_left) as u64 {
            return Err(changed());
        }
        Ok(Pieces { file, n_left })
    }

    /// A piece could not be read: nobody is to be sent the beginning of it again.
    pub(crate) fn set_broken(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }

    /// The file after its shape, and the lengths that the shape says.
    fn open(&self) -> io::Result<(File, usize, Vec<usize>)> {
        let mut file = File::open(&self.path)?;
        let mut shape = vec![0; self.shape.len()];
        file.read_exact(&mut shape)?;
        if shape != self.shape {
            return Err(changed());
        }
        // These lengths were taken from a value that was in memory.
        let (header_len, buffer_lens) = wire::lengths(&self.shape).ok_or_else(changed)?;
        Ok((file, header_len, buffer_lens))
    }

    fn write(&self, data: &Data) -> io::Result<()> {
        let mut file = File::create_new(&self.path)?;
        let mut slices = vec![IoSlice::new(&self.shape), IoSlice::new(&data.header)];
        slices.extend(data.buffers.iter().map(|buffer| IoSlice::new(buffer.as_bytes())));
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match file.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => IoSlice::advance_slices(&mut rest, n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What is left to be read of a file.
#[derive(Debug)]
pub(crate) struct Pieces {
    file: File,
    n_left: usize,
}

impl Pieces {
    /// Bytes in all that is left.
    pub(crate) const fn n_left(&self) -> usize {
        self.n_left
    }

    /// The next piece, of at most `max` bytes; none at the end.
    ///
    /// # Errors
    /// When the file is shorter than it should be, or cannot be read.
    pub(crate) fn next(&mut self, max: usize) -> io::Result<Option<Vec<u8>>> {
        let mut piece = vec![0; self.n_left.min(max)];
        self.file.read_exact(&mut piece)?;
        self.n_left -= piece.len();
        Ok((!piece.is_empty()).then_some(piece))
    }
}

fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file is not what was written")
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        let threads = self.shared.upgrade().and_then(|shared| lock(&shared.threads).clone());
        // Whoever drops a result does not wait for the disk, unless its thread is gone with everything else.
        let left = match threads {
            Some(threads) => threads.writes.send(WriteJob::Delete(path)).err(),
            None => Some(crossbeam_channel::SendError(WriteJob::Delete(path))),
        };
        if let Some(crossbeam_channel::SendError(WriteJob::Delete(path))) = left {
            let _ = fs::remove_file(path);
        }
    }
}

/// The folders of this process, for [`remove_all`].
static HERE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A folder of one worker's files; removed when dropped.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    n_files: u64,
    /// Locked as long as it is open, which the system sees to also when the process is killed.
    _lock: File,
}

impl Folder {
    fn create(base: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(base)?;
        clean(base);
        loop {
            // Who cleans up looks at the lock and never at the name, so a number that was used before does no harm.
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = base.join(format!("{PREFIX}{}-{number:x}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            let place = path.join(LOCK);
            let Ok(file) = File::create_new(&place) else { continue };
            // Another worker that cleans up may have been quicker, and has taken the folder for a dead one's.
            if file.try_lock().is_ok() && place.exists() {
                lock(&HERE).insert(path.clone());
                return Ok(Self { path, n_files: 0, _lock: file });
            }
        }
    }

    fn next_path(&mut self) -> PathBuf {
        self.n_files += 1;
        self.path.join((self.n_files - 1).to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes what workers that were killed have left in `base`, the first time that this process is asked to.
pub(crate) fn clean_once(base: PathBuf) {
    static CLEANED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if lock(&CLEANED).insert(base.clone()) {
        clean(&base);
    }
}

fn clean(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            continue;
        }
        let path = entry.path();
        match File::open(path.join(LOCK)) {
            Ok(file) => {
                if file.try_lock().is_ok() {
                    tracing::info!(path = %path.display(), "removing what a dead worker has left");
                    let _ = fs::remove_dir_all(&path);
                }
            }
            // Its owner died before there was a lock, or is about to make one and then tries again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => drop(fs::remove_dir(&path)),
            Err(_) => {}
        }
    }
}

/// Removes the folders of this process, which is about to end without dropping anything.
pub(crate) fn remove_all() {
    let folders = lock(&HERE).clone();
    folders.iter().for_each(|folder| remove(folder));
}

fn remove(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
    lock(&HERE).remove(folder);
}

#[cfg(test)]
mod tests;
