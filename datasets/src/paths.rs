//! From what a person writes to a list of files: patterns, relative paths, and help with names that are wrong.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use phalanx_array::schema::nearest;

use crate::error::{Error, Result};

/// One or many files, as paths or patterns (`data/2011-*.csv`; `*`, `?`, `[a-z]`, and `**` for any directories).
///
/// Made from a path, a pattern, or a list of both. Files come in the order given; those of a pattern sorted by name.
/// A file whose name holds a pattern's letters is taken as it is.
///
/// ```
/// use phalanx_datasets::Paths;
/// let one: Paths = "bikes.csv".into();
/// let many: Paths = ["2011.csv", "2012-*.csv.gz"].into();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths(Vec<PathBuf>);

macro_rules! from_one {
    ($($path:ty),*) => {$(
        impl From<$path> for Paths {
            fn from(path: $path) -> Self {
                Self(vec![path.into()])
            }
        }
    )*};
}
from_one!(&str, &String, String, &Path, &PathBuf, PathBuf);

impl<P: Into<PathBuf>> From<Vec<P>> for Paths {
    fn from(paths: Vec<P>) -> Self {
        Self(paths.into_iter().map(Into::into).collect())
    }
}

impl<P: Into<PathBuf>, const N: usize> From<[P; N]> for Paths {
    fn from(paths: [P; N]) -> Self {
        Self(paths.into_iter().map(Into::into).collect())
    }
}

impl<P: Clone + Into<PathBuf>> From<&[P]> for Paths {
    fn from(paths: &[P]) -> Self {
        Self(paths.iter().cloned().map(Into::into).collect())
    }
}

impl<P: Clone + Into<PathBuf>> From<&Vec<P>> for Paths {
    fn from(paths: &Vec<P>) -> Self {
        paths.as_slice().into()
    }
}

impl Paths {
    /// The files, absolute, in order.
    pub(crate) fn resolve(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for path in &self.0 {
            let path = absolute(path)?;
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() => return Err(Error::Directory { path }),
                Ok(_) => files.push(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound && is_pattern(&path) => {
                    files.extend(matches(&path)?);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(Error::NotFound { hint: hint(&path), path });
                }
                Err(source) => return Err(Error::Read { path, source }),
            }
        }
        if files.is_empty() { Err(Error::NoFiles) } else { Ok(files) }
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Error::NoFiles);
    }
    std::path::absolute(path)
        .map_err(|source| Error::Read { path: env::current_dir().unwrap_or_default().join(path), source })
}

fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains(['*', '?', '[']))
}

fn matches(pattern: &Path) -> Result<Vec<PathBuf>> {
    let text = pattern.to_string_lossy();
    let found = glob::glob(&text)
        .map_err(|error| Error::Pattern { pattern: text.to_string(), reason: error.msg.to_owned() })?;
    let mut files = Vec::new();
    for file in found {
        let file = file.map_err(|error| Error::Read { path: error.path().to_owned(), source: error.into() })?;
        if !file.is_dir() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Error::NoMatch { pattern: text.to_string() });
    }
    files.sort();
    Ok(files)
}

/// What may have been meant by a file that is not there: a file of a near name beside it, or a directory further up.
fn hint(path: &Path) -> String {
    let missing = path.ancestors().skip(1).take_while(|parent| !parent.exists()).last();
    if let Some(directory) = missing {
        return format!("; the directory {} does not exist", directory.display());
    }
    let Some(parent) = path.parent() else { return String::new() };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut names: Vec<String> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort();
    match nearest(&name, names.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean {}?", parent.join(near).display()),
        None => String::new(),
    }
}
