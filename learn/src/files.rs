//! Files that are whole or not there.

use std::{fs, io, io::Write, path::Path};

/// Writes a file so that nobody ever sees half of it: beside its place first, then renamed into it.
///
/// A file that was there is replaced; missing folders are an error.
///
/// # Errors
/// When the folder is not there or not writable, or the disk is full; the old file is then still whole.
///
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("results.csv");
/// phalanx_learn::files::write_atomically(&path, b"a,b\n").unwrap();
/// assert_eq!(std::fs::read(&path).unwrap(), b"a,b\n");
/// ```
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    // A temporary file is private; an output has the rights that the umask gives every new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.prefix(".phalanx-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    if let Ok(old) = fs::metadata(path) {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
