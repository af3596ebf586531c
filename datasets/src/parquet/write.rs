//! Writes columns of numbers as Parquet: for benchmarks, examples and tests.

use std::{
    fs,
    io::{self, BufWriter},
    path::Path,
    sync::Arc,
};

use ndarray::Array2;
use parquet::{
    basic::{Compression, Repetition, Type as Physical},
    data_type::DoubleType,
    errors::ParquetError,
    file::{
        properties::{EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
    schema::types::Type,
};
use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Rows of a page.
const PAGE_ROWS: usize = 8192;

/// Writes columns of numbers as a Parquet file: each matrix is a row group, each of its columns one of the file's.
///
/// Columns are of doubles without nulls, pages compressed by Snappy, without dictionaries. The file is written beside
/// its place and renamed, so it is there as a whole or not at all.
///
/// # Errors
/// When names are missing or doubled, a matrix has not as many columns as there are names, or the file cannot be
/// written.
///
/// ```
/// # fn main() -> phalanx_datasets::Result<()> {
/// use ndarray::array;
/// use phalanx_datasets::write_parquet;
/// # let path = std::env::temp_dir().join(format!("phalanx-write-{}.parquet", std::process::id()));
/// write_parquet(&path, &["a", "b"], [array![[1., 2.], [3., 4.]], array![[5., 6.]]])?;
/// # std::fs::remove_file(&path).unwrap();
/// # Ok(())
/// # }
/// ```
pub fn write_parquet<S: AsRef<str>>(
    path: impl AsRef<Path>,
    names: &[S],
    parts: impl IntoIterator<Item = Array2<f64>>,
) -> Result<()> {
    let path = path.as_ref();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    check(&names)?;
    let io = |source| Error::Write { path: path.to_owned(), source };
    let told = |error| io(as_io(error));
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = NamedTempFile::new_in(folder).map_err(io)?;
    let column = |name: &&str| {
        Ok(Arc::new(
            Type::primitive_type_builder(name, Physical::DOUBLE).with_repetition(Repetition::REQUIRED).build()?,
        ))
    };
    let fields = names.iter().map(column).collect::<Result<Vec<_>, ParquetError>>().map_err(told)?;
    let schema = Type::group_type_builder("schema").with_fields(fields).build().map_err(told)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        // Who reads a chunk decodes the pages at its borders as a whole, so pages are small.
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .build();
    let buffered = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    let mut writer = SerializedFileWriter::new(buffered, Arc::new(schema), Arc::new(properties)).map_err(told)?;
    for part in parts {
        if part.ncols() != names.len() {
            return Err(Error::Parameter {
                name: "parts",
                value: format!("a matrix of {} columns", part.ncols()),
                expected: format!("{}, one a name", names.len()),
            });
        }
        write_group(&mut writer, &part).map_err(told)?;
    }
    writer.close().map_err(told)?;
    file.persist(path).map_err(|error| io(error.error))?;
    // As any new file: who may read the folder may read it.
    readable(path).map_err(io)
}

fn check(names: &[&str]) -> Result<()> {
    let refused =
        |value: String| Error::Parameter { name: "names", value, expected: "one or more, all different".into() };
    let doubled = names.iter().enumerate().find(|(place, name)| names[..*place].contains(name));
    match doubled {
        _ if names.is_empty() => Err(refused("none".into())),
        Some((_, name)) => Err(refused(format!("twice {name:?}"))),
        None => Ok(()),
    }
}

fn write_group(
    writer: &mut SerializedFileWriter<BufWriter<&mut fs::File>>,
    part: &Array2<f64>,
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for values in part.columns() {
        let Some(mut column) = group.next_column()? else { break };
        column.typed::<DoubleType>().write_batch(&values.to_vec(), None, None)?;
        column.close()?;
    }
    group.close()?;
    Ok(())
}

fn as_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(source) => io::Error::other(source),
        },
        other => io::Error::other(other),
    }
}

#[cfg(unix)]
fn readable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &Path) -> io::Result<()> {
    Ok(())
}
