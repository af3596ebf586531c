//! Files for a test, and tables as text that can be compared whole.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use phalanx_array::{Kind, Schema, TableBlock};
use tempfile::TempDir;

/// A folder that goes when the test ends.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    pub(crate) fn gzip(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        self.write(name, gzip(text))
    }

    /// A message without the folder's own path.
    pub(crate) fn told(&self, error: impl ToString) -> String {
        error.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

pub(crate) fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// The cells of a column as text: numbers with all their digits, levels in quotes; none is missing.
pub(crate) fn cells((schema, block): &(Schema, TableBlock), place: usize) -> Vec<Option<String>> {
    let column = block.column(place);
    (0..block.n_rows())
        .map(|row| match (&schema.fields()[place].kind, column.is_missing(row)) {
            (_, true) => None,
            (Kind::Categorical { levels }, _) => Some(format!("{:?}", levels[column.codes().unwrap()[row] as usize])),
            _ => Some(format!("{:?}", column.numbers().unwrap()[row])),
        })
        .collect()
}

/// A table as text: a line a column, with its name, its kind and all its cells; `-` is missing.
pub(crate) fn seen(table: &(Schema, TableBlock)) -> Vec<String> {
    let (schema, block) = table;
    schema.check(block).unwrap();
    let lines = schema.fields().iter().enumerate().map(|(place, field)| {
        let kind = match &field.kind {
            Kind::Categorical { levels } => format!("{levels:?}"),
            _ => "number".to_owned(),
        };
        let cells: Vec<String> = cells(table, place).into_iter().map(|cell| cell.unwrap_or("-".into())).collect();
        format!("{} {kind}: {}", field.name, cells.join(" "))
    });
    lines.collect()
}

/// Whether two tables are the same, missing values included.
#[track_caller]
pub(crate) fn assert_same(left: &(Schema, TableBlock), right: &(Schema, TableBlock), what: &str) {
    assert_eq!(left.0, right.0, "{what}");
    assert_eq!((left.1.n_rows(), left.1.n_columns()), (right.1.n_rows(), right.1.n_columns()), "{what}");
    for (place, (a, b)) in left.1.columns().iter().zip(right.1.columns()).enumerate() {
        let bits = |numbers: Option<&[f64]>| numbers.map(|n| n.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        assert_eq!(bits(a.numbers()), bits(b.numbers()), "{what}, column {place}");
        assert_eq!(a.codes(), b.codes(), "{what}, column {place}");
        assert_eq!(a.n_missing(), b.n_missing(), "{what}, column {place}");
    }
}

pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}
