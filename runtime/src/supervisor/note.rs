//! What the threads of a worker process are running, and why it ended, written where it outlives the process.
//!
//! The last words of a worker that is killed may never leave it. So a supervised worker also writes each task that a
//! thread begins into a file that has no name and that its supervisor holds open: 16 bytes a thread, one system call a
//! task, nothing that reaches a disk where the machine has memory for it.

use std::{
    fs::{File, OpenOptions},
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::PathBuf,
};

use phalanx_engine::id::{Attempt, TaskId};

/// Bytes a thread has.
const RECORD: u64 = 16;
/// So many threads have records of their own; threads that are started later share them.
const MAX_THREADS: u64 = 4_096;
/// In the first record: that somebody writes here.
const OPENED: u64 = 0x5048_414C_414E_5831;
/// In the first record: that the worker ended in good order.
const ENDED: u64 = OPENED + 1;
/// Where the worker says why it could not go on.
const REASON: u64 = RECORD * (1 + MAX_THREADS);
/// It says no more than this.
const MAX_REASON: usize = 4 << 10;

/// The file of one life.
#[derive(Debug)]
pub(crate) struct Note(File);

impl Note {
    /// A new one, and the path by which the child finds it.
    pub(crate) fn create(life: u64) -> std::io::Result<(Self, PathBuf)> {
        let shared_memory = PathBuf::from("/dev/shm");
        let folder = if shared_memory.is_dir() { shared_memory } else { std::env::temp_dir() };
        let path = folder.join(format!("phalanx-{}-{life:016x}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        // It needs no name any more: nothing is left, however this process ends.
        std::fs::remove_file(&path)?;
        let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
        Ok((Self(file), path))
    }

    /// The supervisor's file, in the child.
    pub(crate) fn open(path: &std::path::Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.write_all_at(&OPENED.to_le_bytes(), 0)?;
        Ok(Self(file))
    }

    /// This thread begins to run this.
    pub(crate) fn running(&self, thread: u32, task: TaskId, attempt: Attempt) {
        let mut record = [0; RECORD as usize];
        record[..8].copy_from_slice(&task.0.to_le_bytes());
        record[8..12].copy_from_slice(&attempt.0.to_le_bytes());
        record[12] = 1;
        // Where it fails the note says what ran before, which convicts nobody who is done with it.
        let _ = self.0.write_all_at(&record, RECORD * (1 + u64::from(thread) % MAX_THREADS));
    }

    /// The worker ends by itself, because of an error or because its time has come.
    pub(crate) fn ended(&self, error: Option<&str>) {
        let reason = error.unwrap_or_default().as_bytes();
        let _ = self.0.write_all_at(&reason[..reason.len().min(MAX_REASON)], REASON);
        let _ = self.0.write_all_at(&ENDED.to_le_bytes(), 0);
    }

    /// How the worker ended by itself; none where it did not.
    pub(crate) fn end(&self) -> Option<Result<(), String>> {
        if self.head()? != ENDED {
            return None;
        }
        let mut reason = vec![0; MAX_REASON];
        let n_bytes = self.0.read_at(&mut reason, REASON).unwrap_or(0);
        reason.truncate(n_bytes);
        Some(if reason.is_empty() { Ok(()) } else { Err(String::from_utf8_lossy(&reason).into_owned()) })
    }

    /// What the threads began last; none where nobody ever wrote here.
    pub(crate) fn read(&self) -> Option<Vec<(TaskId, Attempt)>> {
        self.head()?;
        let mut running = Vec::new();
        let mut record = [0; RECORD as usize];
        for thread in 0..MAX_THREADS {
            if self.0.read_exact_at(&mut record, RECORD * (1 + thread)).is_err() {
                break;
            }
            let (task, rest) = record.split_at(8);
            if let ([a, b, c, d, 1, ..], Ok(task)) = (rest, task.try_into()) {
                running.push((TaskId(u64::from_le_bytes(task)), Attempt(u32::from_le_bytes([*a, *b, *c, *d]))));
            }
        }
        Some(running)
    }

    fn head(&self) -> Option<u64> {
        let mut head = [0; 8];
        self.0.read_exact_at(&mut head, 0).ok()?;
        Some(u64::from_le_bytes(head)).filter(|head| [OPENED, ENDED].contains(head))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use phalanx_engine::id::ClientId;

    use super::*;

    #[test]
    fn what_a_thread_began_last_is_read_and_a_file_nobody_opened_says_nothing() {
        let (note, path) = Note::create(7).unwrap();
        assert_eq!(note.read(), None);
        let child = Note::open(&path).unwrap();
        assert_eq!(note.read(), Some(vec![]));
        let task = |sequence| TaskId::new(ClientId(3), sequence);
        child.running(2, task(1), Attempt(0));
        child.running(0, task(2), Attempt(5));
        child.running(2, task(3), Attempt(1));
        assert_eq!(note.read(), Some(vec![(task(2), Attempt(5)), (task(3), Attempt(1))]));
    }

    #[test]
    fn an_end_in_good_order_is_told_from_a_death() {
        let (note, path) = Note::create(8).unwrap();
        let child = Note::open(&path).unwrap();
        assert_eq!(note.end(), None);
        child.ended(None);
        assert_eq!(note.end(), Some(Ok(())));
        child.ended(Some("nobody answers"));
        assert_eq!(note.end(), Some(Err("nobody answers".into())));
    }
}
