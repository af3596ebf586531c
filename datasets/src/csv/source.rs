//! Opens a CSV file: plain or gzip by its first bytes, never by its name.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

/// An open CSV file, before its bytes are read.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    pub(crate) gzip: bool,
    /// The file's length on disk.
    pub(crate) n_bytes: u64,
}

impl Source {
    /// Opens a file, and refuses formats that are known not to be CSV.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let error = |source| Error::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(error)?;
        let about = file.metadata().map_err(error)?;
        if about.is_dir() {
            return Err(Error::Directory { path: path.to_owned() });
        }
        let mut head = Vec::new();
        file.by_ref().take(8).read_to_end(&mut head).map_err(error)?;
        if let Some(format) = foreign(&head) {
            return Err(Error::Format { path: path.to_owned(), format });
        }
        file.rewind().map_err(error)?;
        Ok(Self { file, gzip: head.starts_with(&[0x1f, 0x8b]), n_bytes: about.len() })
    }

    /// The text from byte `offset` on. In a gzip file all before it is decompressed too.
    pub(crate) fn text_from(self, offset: u64) -> io::Result<Box<dyn Read>> {
        let mut file = self.file;
        if self.gzip {
            let mut text = MultiGzDecoder::new(BufReader::with_capacity(256 << 10, file));
            io::copy(&mut text.by_ref().take(offset), &mut io::sink())?;
            Ok(Box::new(text))
        } else {
            file.seek(SeekFrom::Start(offset))?;
            Ok(Box::new(file))
        }
    }
}

fn foreign(head: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 8] = [
        (b"PAR1", "Parquet"),
        (b"ARROW1", "Arrow IPC"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"\xfd7zXZ\0", "compressed with xz"),
        (b"BZh", "compressed with bzip2"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\xff\xfe", "UTF-16 text"),
        (b"\xfe\xff", "UTF-16 text"),
    ];
    FORMATS.iter().find(|(magic, _)| head.starts_with(magic)).map(|&(_, format)| format)
}
