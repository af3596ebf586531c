//! Opens a Parquet file and reads its footer: which columns it has, what they mean, and where its row groups are.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::Crc;
use parquet::{
    basic::{ConvertedType, LogicalType, Type as Physical},
    column::{
        page::PageReader,
        reader::{ColumnReader, get_column_reader},
    },
    errors::ParquetError,
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData},
        serialized_reader::SerializedPageReader,
    },
    schema::types::{ColumnDescriptor, Type},
};

use super::positioned::Positioned;
use crate::error::{Error, Result};

/// The first and the last bytes of every Parquet file.
pub(crate) const MAGIC: &[u8] = b"PAR1";

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Numbers as they are stored.
    Number,
    /// Integers without a sign, stored in as many bits.
    Unsigned,
    /// Integers that stand for themselves divided by ten so many times.
    Decimal(i32),
    /// Floats of 16 bits.
    Half,
    /// Texts.
    Text,
}

/// A column of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) name: String,
    /// The place among the file's columns; of no use where the column is nested.
    pub(crate) place: usize,
    /// What it holds, or in words what it holds that is not read here.
    pub(crate) meaning: Result<Meaning, String>,
}

/// An open Parquet file whose footer was read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    file: Positioned,
    /// The length on disk.
    pub(crate) n_bytes: u64,
    /// A checksum of the footer, by which a file that was written again is told.
    pub(crate) footer: u32,
    metadata: ParquetMetaData,
}

impl Source {
    /// Opens a file and reads its footer.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let broken = |reason: &str| Error::Broken { path: path.to_owned(), reason: reason.to_owned() };
        let mut file = File::open(path).map_err(read)?;
        let about = file.metadata().map_err(read)?;
        if about.is_dir() {
            return Err(Error::Directory { path: path.to_owned() });
        }
        let n_bytes = about.len();
        let mut head = Vec::new();
        file.by_ref().take(4).read_to_end(&mut head).map_err(read)?;
        if head != MAGIC {
            return Err(broken("it does not begin with PAR1"));
        }
        // The end is a footer, its length in 4 bytes, and PAR1 again.
        let tail = n_bytes.checked_sub(8).filter(|tail| *tail >= 4).ok_or_else(|| broken("it is cut short"))?;
        let mut end = [0; 8];
        file.seek(SeekFrom::Start(tail)).map_err(read)?;
        file.read_exact(&mut end).map_err(read)?;
        let [a, b, c, d, magic @ ..] = end;
        if magic != *MAGIC {
            return Err(broken("it does not end with PAR1, so it is cut short or was not finished"));
        }
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        let start = tail.checked_sub(length).filter(|start| *start >= 4).ok_or_else(|| broken("it has no footer"))?;
        let mut footer = vec![0; length as usize];
        file.seek(SeekFrom::Start(start)).map_err(read)?;
        file.read_exact(&mut footer).map_err(read)?;
        let mut crc = Crc::new();
        crc.update(&footer);
        let metadata =
            guarded(path, || ParquetMetaDataReader::decode_metadata(&footer).map_err(|error| explained(error, path)))?;
        let source =
            Self { path: path.to_owned(), file: Positioned::new(file, n_bytes), n_bytes, footer: crc.sum(), metadata };
        source.check()?;
        Ok(source)
    }

    /// The columns, in the file's order.
    pub(crate) fn leaves(&self) -> Vec<Leaf> {
        let schema = self.metadata.file_metadata().schema_descr();
        let mut places = vec![0; schema.root_schema().get_fields().len()];
        for leaf in (0..schema.num_columns()).rev() {
            places[schema.get_column_root_idx(leaf)] = leaf;
        }
        let fields = schema.root_schema().get_fields().iter().zip(places);
        let leaf = |(field, place): (&Arc<Type>, usize)| Leaf {
            name: field.name().to_owned(),
            place,
            meaning: if field.is_group() { Err("nested".into()) } else { meaning(&schema.column(place)) },
        };
        fields.map(leaf).collect()
    }

    pub(crate) fn n_rows(&self) -> u64 {
        self.groups().iter().map(|group| group.num_rows().unsigned_abs()).sum()
    }

    pub(crate) fn groups(&self) -> &[RowGroupMetaData] {
        self.metadata.row_groups()
    }

    /// The pages of a column of a row group.
    pub(crate) fn pages(&self, group: usize, place: usize) -> Result<Box<dyn PageReader>> {
        let (group, file) = (&self.groups()[group], Arc::new(self.file.clone()));
        let n_rows = group.num_rows().unsigned_abs() as usize;
        // Pages are stepped over by their headers, which costs one small read each and no index of the whole file.
        let pages = SerializedPageReader::new(file, group.column(place), n_rows, None);
        Ok(Box::new(pages.map_err(|error| explained(error, &self.path))?))
    }

    /// The values of a column of a row group.
    pub(crate) fn values(&self, group: usize, place: usize) -> Result<ColumnReader> {
        let column = self.groups()[group].column(place).column_descr_ptr();
        Ok(get_column_reader(column, self.pages(group, place)?))
    }

    pub(crate) fn broken(&self, reason: impl Into<String>) -> Error {
        Error::Broken { path: self.path.clone(), reason: reason.into() }
    }

    /// Whether what the footer says can be.
    fn check(&self) -> Result<()> {
        let schema = self.metadata.file_metadata().schema_descr();
        for group in self.groups() {
            let Ok(n_rows) = u64::try_from(group.num_rows()) else {
                return Err(self.broken(format!("a row group has {} rows", group.num_rows())));
            };
            if group.num_columns() != schema.num_columns() {
                return Err(self.broken("a row group has not as many columns as the file"));
            }
            for column in group.columns() {
                let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
                let (start, length) = (u64::try_from(start), u64::try_from(column.compressed_size()));
                let end = start.ok().zip(length.ok()).and_then(|(start, length)| start.checked_add(length));
                if end.is_none_or(|end| end > self.n_bytes) || column.data_page_offset() < 0 {
                    return Err(self.broken(format!("column {} lies outside of it", column.column_path())));
                }
                let is_flat = column.column_descr().max_rep_level() == 0;
                if is_flat && u64::try_from(column.num_values()) != Ok(n_rows) {
                    let found = column.num_values();
                    let name = column.column_path();
                    return Err(self.broken(format!("column {name} has {found} values in a row group of {n_rows}")));
                }
            }
        }
        Ok(())
    }
}

/// Runs what decodes bytes that may be anything: what the decoder does not expect, it panics at.
pub(crate) fn guarded<T>(path: &Path, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        Err(Error::Broken { path: path.to_owned(), reason: "its bytes make no sense to the decoder".into() })
    })
}

/// What the decoder says, with the path.
pub(crate) fn explained(error: ParquetError, path: &Path) -> Error {
    let path = path.to_owned();
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) if source.kind() != io::ErrorKind::UnexpectedEof => Error::Read { path, source: *source },
            Ok(source) => Error::Broken { path, reason: source.to_string() },
            Err(source) => Error::Broken { path, reason: source.to_string() },
        },
        ParquetError::General(reason) | ParquetError::EOF(reason) | ParquetError::NYI(reason) => {
            Error::Broken { path, reason }
        }
        other => Error::Broken { path, reason: other.to_string() },
    }
}

/// What a column holds, by its logical type, the older converted type, or the physical type alone.
fn meaning(column: &ColumnDescriptor) -> Result<Meaning, String> {
    if column.max_rep_level() > 0 {
        return Err("nested".into());
    }
    let physical = column.physical_type();
    let refused = |what: &str| Err(what.to_owned());
    let found = match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Integer(integer)), _) if integer.is_signed => Meaning::Number,
        (Some(LogicalType::Integer(_)), _) => Meaning::Unsigned,
        (Some(LogicalType::Decimal(decimal)), _) => Meaning::Decimal(decimal.scale),
        (Some(LogicalType::Float16), _) => Meaning::Half,
        (Some(LogicalType::String | LogicalType::Enum), _) => Meaning::Text,
        (Some(LogicalType::Date), _) => return refused("dates"),
        (Some(LogicalType::Time(_)), _) => return refused("times"),
        (Some(LogicalType::Timestamp(_)), _) => return refused("timestamps"),
        (Some(LogicalType::Json), _) => return refused("JSON"),
        (Some(LogicalType::Uuid), _) => return refused("UUIDs"),
        (Some(LogicalType::Unknown), _) => Meaning::Number,
        (Some(_), _) => return refused("values of a kind that is not read"),
        (None, ConvertedType::UTF8 | ConvertedType::ENUM) => Meaning::Text,
        (None, ConvertedType::DECIMAL) => Meaning::Decimal(column.type_scale()),
        (None, ConvertedType::DATE) => return refused("dates"),
        (None, ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS) => return refused("times"),
        (None, ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS) => return refused("timestamps"),
        (None, ConvertedType::INTERVAL) => return refused("intervals"),
        (None, ConvertedType::JSON | ConvertedType::BSON) => return refused("JSON"),
        (None, ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64) => {
            Meaning::Unsigned
        }
        (None, _) if physical == Physical::BYTE_ARRAY => Meaning::Text,
        (None, _) => Meaning::Number,
    };
    let fits = match found {
        Meaning::Number => !matches!(physical, Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY),
        Meaning::Unsigned => matches!(physical, Physical::INT32 | Physical::INT64),
        Meaning::Decimal(_) => !matches!(physical, Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE),
        Meaning::Half => physical == Physical::FIXED_LEN_BYTE_ARRAY,
        Meaning::Text => physical == Physical::BYTE_ARRAY,
    };
    match physical {
        Physical::INT96 => refused("timestamps"),
        _ if fits => Ok(found),
        _ => refused("bytes"),
    }
}
