//! Where processes cannot open each other's files, no note is kept.

use std::{
    io::{Error, ErrorKind, Result},
    path::{Path, PathBuf},
};

use phalanx_engine::id::{Attempt, TaskId};

/// There is none.
#[derive(Debug)]
pub(crate) enum Note {}

impl Note {
    pub(crate) fn create(_life: u64) -> Result<(Self, PathBuf)> {
        Err(ErrorKind::Unsupported.into())
    }

    pub(crate) fn open(_path: &Path) -> Result<Self> {
        Err(Error::from(ErrorKind::Unsupported))
    }

    pub(crate) fn running(&self, _thread: u32, _task: TaskId, _attempt: Attempt) {}

    pub(crate) fn ended(&self, _error: Option<&str>) {}

    pub(crate) fn read(&self) -> Option<Vec<(TaskId, Attempt)>> {
        None
    }

    pub(crate) fn end(&self) -> Option<std::result::Result<(), String>> {
        None
    }
}
