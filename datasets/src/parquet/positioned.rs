//! A file that many threads read at once, each at its own place.
//!
//! Copies of a file's handle share one place in it, so that threads which seek and then read would read what another
//! looks for. What is in the file is not known here.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, Length},
};

/// A file that is read at places, and has none of its own.
#[derive(Debug, Clone)]
pub(crate) struct Positioned {
    file: Arc<File>,
    n_bytes: u64,
}

/// Reads on from a place.
#[derive(Debug)]
pub(crate) struct ReaderAt {
    file: Arc<File>,
    place: u64,
}

impl Positioned {
    pub(crate) fn new(file: File, n_bytes: u64) -> Self {
        Self { file: Arc::new(file), n_bytes }
    }
}

impl Read for ReaderAt {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        let n = std::os::unix::fs::FileExt::read_at(&*self.file, buffer, self.place)?;
        #[cfg(windows)]
        let n = std::os::windows::fs::FileExt::seek_read(&*self.file, buffer, self.place)?;
        self.place += n as u64;
        Ok(n)
    }
}

impl Length for Positioned {
    fn len(&self) -> u64 {
        self.n_bytes
    }
}

impl ChunkReader for Positioned {
    type T = BufReader<ReaderAt>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(ReaderAt { file: Arc::clone(&self.file), place: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // No more is reserved than the file has, whatever a header says.
        let there = self.n_bytes.saturating_sub(start);
        if length as u64 > there {
            return Err(ParquetError::EOF(format!("expected {length} bytes at byte {start}, there are {there}")));
        }
        let mut buffer = vec![0; length];
        ReaderAt { file: Arc::clone(&self.file), place: start }.read_exact(&mut buffer)?;
        Ok(buffer.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn threads_do_not_move_each_others_place() {
        let mut file = tempfile::tempfile().expect("a file");
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        file.write_all(&bytes).expect("written");
        let file = Positioned::new(file, bytes.len() as u64);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (file, bytes) = (&file, &bytes);
                scope.spawn(move || {
                    for turn in 0..500 {
                        let start = (turn * 7919 + thread * 131) % 99_000;
                        let found = file.get_bytes(start as u64, 1000).expect("bytes");
                        assert_eq!(found[..], bytes[start..start + 1000]);
                        let mut some = [0; 100];
                        file.get_read(start as u64)
                            .and_then(|mut reader| Ok(reader.read_exact(&mut some)?))
                            .expect("bytes");
                        assert_eq!(some[..], bytes[start..start + 100]);
                    }
                });
            }
        });
        assert!(file.get_bytes(99_999, 2).is_err() && file.get_bytes(u64::MAX, 1).is_err());
    }
}
