//! A scheduler's journal on disk: what its machine wants written down, before anybody learns of it.
//!
//! One file that is appended to. What is written survives the death of the process at once, and that of the machine
//! after a second, when a thread of its own has made the disk take it. Now and then the file is written anew with what
//! still matters, and takes the old one's place in one step.
//!
//! ```text
//! file  := "PHALANX JOURNAL" | u8 version | batch*
//! batch := u64 length | u32 checksum (CRC-32) | log        numbers little endian
//! ```
//!
//! What the logs say is the machine's.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use phalanx_engine::{
    journal::Log,
    scheduler::{Config, Recovery, Scheduler as Machine},
    time::Time,
};

use crate::{
    error::{Error, Result},
    io::lock,
    transport::plain,
};

const MAGIC: &[u8; 16] = b"PHALANX JOURNAL\x01";
/// How long what is written may be lost with the machine.
const SYNC: Duration = Duration::from_secs(1);
/// The file is written anew when it is twice as long as it was then, and this much longer: 64 MiB.
const SLACK: u64 = 64 << 20;
/// Parts up to this size are copied together before they are written.
const GATHERED: usize = 1 << 20;

/// A journal that is being written.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    n_bytes: u64,
    /// How long it was when it was written anew.
    n_bytes_anew: u64,
    syncing: Syncing,
    /// Whether it could not be written, and is of no use any more.
    is_broken: bool,
    _locked: File,
}

impl Journal {
    /// Takes a folder, which is made where it is not there, and reads what is in it: the machine as it was, or a new one.
    ///
    /// # Errors
    /// When another scheduler uses the folder, or what is there is no journal of this version. Nothing is changed then.
    pub(crate) fn open(folder: &Path, config: Config) -> Result<(Self, Machine)> {
        let path = folder.join("journal");
        let wrong = |reason: String| Error::Journal { path: path.display().to_string(), reason };
        fs::create_dir_all(folder).map_err(|error| wrong(plain(&error)))?;
        let locked = lock_folder(folder).map_err(&wrong)?;
        let machine = match File::open(&path) {
            Ok(file) => read(file, config).map_err(&wrong)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut machine = Machine::new(config, Time::ZERO);
                drop(machine.take_log());
                machine
            }
            Err(error) => return Err(wrong(plain(&error))),
        };
        let (file, n_bytes) = write_anew(&path, &machine).map_err(|error| wrong(plain(&error)))?;
        let syncing = Syncing::start(&file)?;
        let journal = Self { path, file, n_bytes, n_bytes_anew: n_bytes, syncing, is_broken: false, _locked: locked };
        Ok((journal, machine))
    }

    /// Writes down what the machine wants written down; only then may what it commands be carried out.
    pub(crate) fn write(&mut self, machine: &mut Machine) {
        let log = machine.take_log();
        if log.is_empty() || self.is_broken {
            return;
        }
        if let Err(error) = self.append(&log, machine) {
            // A scheduler that comes back with less than it has confirmed is refused by those it confirmed it to, so a
            // journal that ends too early costs what one that is missing does, and nothing else.
            self.is_broken = true;
            tracing::error!(
                path = %self.path.display(), %error,
                "the journal cannot be written; the scheduler goes on, and will be forgotten when it ends"
            );
        }
    }

    fn append(&mut self, log: &Log, machine: &Machine) -> io::Result<()> {
        self.n_bytes += write_batch(&mut self.file, log)?;
        if self.n_bytes > 2 * self.n_bytes_anew + SLACK {
            let (file, n_bytes) = write_anew(&self.path, machine)?;
            self.syncing.turn_to(&file)?;
            (self.file, self.n_bytes, self.n_bytes_anew) = (file, n_bytes, n_bytes);
        }
        self.syncing.is_due();
        Ok(())
    }
}

/// Two schedulers must not write one journal. The system ends the lock with the process.
fn lock_folder(folder: &Path) -> std::result::Result<File, String> {
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"));
    let file = open.map_err(|error| plain(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err("another scheduler uses this folder".into()),
        Err(TryLockError::Error(error)) => Err(plain(&error)),
    }
}

/// Reads a journal to its end, or to where the last writing of it was cut short.
fn read(file: File, config: Config) -> std::result::Result<Machine, String> {
    let io = |error: io::Error| plain(&error);
    let mut left = file.metadata().map_err(io)?.len();
    let mut file = BufReader::new(file);
    let mut magic = [0; MAGIC.len()];
    if left < magic.len() as u64 {
        return Err("it is no journal of a scheduler".into());
    }
    file.read_exact(&mut magic).map_err(io)?;
    left -= magic.len() as u64;
    if magic[..15] != MAGIC[..15] {
        return Err("it is no journal of a scheduler".into());
    }
    if magic != *MAGIC {
        return Err(format!("it is of format {}, this program reads {}", magic[15], MAGIC[15]));
    }
    let mut recovery = Recovery::new(config, Time::ZERO);
    let mut batch = Vec::new();
    let mut at = magic.len() as u64;
    while left > 0 {
        let mut head = [0; 12];
        if left < head.len() as u64 {
            break;
        }
        file.read_exact(&mut head).map_err(io)?;
        left -= head.len() as u64;
        let [length, checksum] = [&head[..8], &head[8..]]
            .map(|bytes| bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)));
        if length > left {
            break;
        }
        batch.clear();
        // No longer than the file is, which is here.
        file.by_ref().take(length).read_to_end(&mut batch).map_err(io)?;
        left -= length;
        if length == 0 || u64::from(crc32fast::hash(&batch)) != checksum {
            if left == 0 || (length == 0 && checksum == 0) {
                break;
            }
            return Err(format!("it is damaged at byte {at}; move it away to begin without what it says"));
        }
        recovery.read(&batch).map_err(|error| format!("{error} (in what begins at byte {at})"))?;
        at += head.len() as u64 + length;
    }
    if left > 0 {
        tracing::warn!(n_bytes = left, "the end of the journal was cut short when it was written");
    }
    recovery.finish().map_err(|error| error.to_string())
}

/// Writes a file with what still matters, and puts it in the place of the journal.
fn write_anew(path: &Path, machine: &Machine) -> io::Result<(File, u64)> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(MAGIC)?;
    let n_bytes = MAGIC.len() as u64 + write_batch(&mut file, &machine.snapshot())?;
    file.sync_data()?;
    fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        // The new name is on disk when the folder is.
        File::open(folder)?.sync_all()?;
    }
    Ok((file, n_bytes))
}

fn write_batch(file: &mut File, log: &Log) -> io::Result<u64> {
    let mut hasher = crc32fast::Hasher::new();
    log.parts().for_each(|part| hasher.update(part));
    let mut gathered = Vec::with_capacity((log.n_bytes() as usize + 12).min(2 * GATHERED));
    gathered.extend_from_slice(&log.n_bytes().to_le_bytes());
    gathered.extend_from_slice(&hasher.finalize().to_le_bytes());
    for part in log.parts() {
        if gathered.len() + part.len() > GATHERED {
            file.write_all(&gathered)?;
            gathered.clear();
        }
        if part.len() > GATHERED {
            file.write_all(part)?;
        } else {
            gathered.extend_from_slice(part);
        }
    }
    file.write_all(&gathered)?;
    Ok(12 + log.n_bytes())
}

/// The thread that makes the disk take what was written.
#[derive(Debug)]
struct Syncing {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    file: Mutex<Arc<File>>,
    is_due: AtomicBool,
    is_over: Mutex<bool>,
    end: Condvar,
}

impl Syncing {
    fn start(file: &File) -> Result<Self> {
        let failed = |error: io::Error| Error::Start { what: "the journal's thread".into(), reason: plain(&error) };
        let file = Mutex::new(Arc::new(file.try_clone().map_err(failed)?));
        let (is_due, is_over) = (AtomicBool::new(false), Mutex::new(false));
        let shared = Arc::new(Shared { file, is_due, is_over, end: Condvar::new() });
        let mine = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("phalanx-journal".into()).spawn(move || mine.run());
        Ok(Self { shared, thread: Some(thread.map_err(failed)?) })
    }

    fn turn_to(&self, file: &File) -> io::Result<()> {
        *lock(&self.shared.file) = Arc::new(file.try_clone()?);
        Ok(())
    }

    fn is_due(&self) {
        self.shared.is_due.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn run(&self) {
        let mut is_over = lock(&self.is_over);
        loop {
            let waited = self.end.wait_timeout_while(is_over, SYNC, |is_over| !*is_over);
            is_over = waited.unwrap_or_else(PoisonError::into_inner).0;
            if self.is_due.swap(false, Ordering::Relaxed) {
                let file = Arc::clone(&lock(&self.file));
                if let Err(error) = file.sync_data() {
                    tracing::error!(%error, "the disk does not take the journal");
                }
            }
            if *is_over {
                return;
            }
        }
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        *lock(&self.shared.is_over) = true;
        self.shared.end.notify_all();
        if let Some(thread) = self.thread.take() {
            // It has nothing left to say.
            let _ = thread.join();
        }
    }
}
