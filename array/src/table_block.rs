//! Some rows of a table, here in memory: what table tasks take and give.
//!
//! Columns lie one after the other in shared memory, so that choosing columns or a range of rows copies no
//! numbers. Names and levels are in the [`Schema`](crate::Schema), which does not travel with every block.

use std::{ops::Range, sync::Arc};

use phalanx_engine::{
    data::{Buffer, Data, DataError},
    value::Portable,
};
use serde::{Deserialize, Serialize};

use crate::{
    block::{Block, broken, decode_header, encode_header},
    error::{Error, Result},
};

/// The code of a missing category.
pub const MISSING: u32 = u32::MAX;

/// One column of a [`TableBlock`].
///
/// ```
/// use phalanx_array::{Column, MISSING};
/// let age = Column::number(vec![31.0, f64::NAN]);
/// let city = Column::categorical(vec![0, MISSING]); // levels are in the schema
/// assert_eq!((age.n_missing(), city.n_missing()), (1, 1));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Column {
    /// Numbers. A missing one is NaN; a NaN that was computed need not be missing.
    Number {
        /// The numbers, one axis.
        values: Block,
        /// Which of them are missing.
        missing: Mask,
    },
    /// Categories.
    Categorical {
        /// Places in the schema's list of levels, or [`MISSING`].
        codes: Arc<Vec<u32>>,
    },
}

/// Which rows of a column are missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mask {
    /// A bit a row, where at least one row is missing.
    words: Option<Arc<Vec<u64>>>,
}

impl Mask {
    /// The rows for which `missing` says so.
    pub fn from_fn(n_rows: usize, missing: impl Fn(usize) -> bool) -> Self {
        let mut words = Vec::new();
        for row in (0..n_rows).filter(|row| missing(*row)) {
            words.resize(n_rows.div_ceil(64), 0_u64);
            words[row / 64] |= 1 << (row % 64);
        }
        Self { words: (!words.is_empty()).then(|| Arc::new(words)) }
    }

    /// Whether a row is missing.
    pub fn is_missing(&self, row: usize) -> bool {
        self.words.as_ref().and_then(|words| words.get(row / 64)).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// How many rows are missing.
    pub fn n_missing(&self) -> usize {
        self.words.as_ref().map_or(0, |words| words.iter().map(|word| word.count_ones() as usize).sum())
    }
}

impl Column {
    /// A column of numbers in which every NaN is missing.
    pub fn number(values: Vec<f64>) -> Self {
        let missing = Mask::from_fn(values.len(), |row| values[row].is_nan());
        Self::Number { values: values.into(), missing }
    }

    /// A column of numbers, missing where `missing` is true; those become NaN.
    ///
    /// # Panics
    /// When the two are not of one length.
    pub fn number_with_missing(mut values: Vec<f64>, missing: &[bool]) -> Self {
        assert_eq!(values.len(), missing.len(), "a column needs as many missing flags as numbers");
        values.iter_mut().zip(missing).filter(|(_, missing)| **missing).for_each(|(value, _)| *value = f64::NAN);
        let missing = Mask::from_fn(values.len(), |row| missing[row]);
        Self::Number { values: values.into(), missing }
    }

    /// A column of categories: places in the schema's list of levels, or [`MISSING`].
    pub fn categorical(codes: Vec<u32>) -> Self {
        Self::Categorical { codes: Arc::new(codes) }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Number { values, .. } => values.len(),
            Self::Categorical { codes } => codes.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it holds, in a word.
    pub const fn kind_name(&self) -> &'static str {
        match self {
            Self::Number { .. } => "numeric",
            Self::Categorical { .. } => "categorical",
        }
    }

    /// The numbers, of a numeric column.
    pub fn numbers(&self) -> Option<&[f64]> {
        match self {
            Self::Number { values, .. } => Some(values.as_slice()),
            Self::Categorical { .. } => None,
        }
    }

    /// The codes, of a categorical column.
    pub fn codes(&self) -> Option<&[u32]> {
        match self {
            Self::Categorical { codes } => Some(codes),
            Self::Number { .. } => None,
        }
    }

    /// Whether a row is missing.
    pub fn is_missing(&self, row: usize) -> bool {
        match self {
            Self::Number { missing, .. } => missing.is_missing(row),
            Self::Categorical { codes } => codes.get(row) == Some(&MISSING),
        }
    }

    /// How many rows are missing.
    pub fn n_missing(&self) -> usize {
        match self {
            Self::Number { missing, .. } => missing.n_missing(),
            Self::Categorical { codes } => codes.iter().filter(|code| **code == MISSING).count(),
        }
    }

    /// Some of the rows.
    ///
    /// # Panics
    /// When `rows` reaches beyond the end.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>) -> Self {
        if rows == (0..self.len()) {
            return self.clone();
        }
        match self {
            Self::Number { values, missing } => {
                let start = rows.start;
                let missing = match missing.words {
                    Some(_) => Mask::from_fn(rows.len(), |row| missing.is_missing(start + row)),
                    None => Mask::default(),
                };
                Self::Number { values: values.rows(rows), missing }
            }
            Self::Categorical { codes } => Self::categorical(codes[rows].to_vec()),
        }
    }

    /// Columns of one kind, one below the other; `None` when there are none, or of two kinds.
    fn concatenate(parts: &[&Self]) -> Option<Self> {
        let n_rows = parts.iter().map(|part| part.len()).sum();
        match parts.first()? {
            Self::Number { .. } => {
                let mut numbers = Vec::with_capacity(n_rows);
                let mut missing = Vec::with_capacity(n_rows);
                for part in parts {
                    numbers.extend_from_slice(part.numbers()?);
                    missing.extend((0..part.len()).map(|row| part.is_missing(row)));
                }
                Some(Self::Number { values: numbers.into(), missing: Mask::from_fn(n_rows, |row| missing[row]) })
            }
            Self::Categorical { .. } => {
                let mut codes = Vec::with_capacity(n_rows);
                for part in parts {
                    codes.extend_from_slice(part.codes()?);
                }
                Some(Self::categorical(codes))
            }
        }
    }
}

/// Some rows of a table, column after column.
///
/// ```
/// use phalanx_array::{Column, TableBlock};
/// let block = TableBlock::new(vec![Column::number(vec![1.0, 2.0]), Column::categorical(vec![1, 0])]).unwrap();
/// assert_eq!((block.n_rows(), block.n_columns()), (2, 2));
/// assert_eq!(block.rows(1..2).column(0).numbers(), Some(&[2.0][..]));
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableBlock {
    n_rows: usize,
    columns: Vec<Column>,
}

impl TableBlock {
    /// A block of columns of one length.
    ///
    /// # Errors
    /// When the columns are not of one length.
    pub fn new(columns: Vec<Column>) -> Result<Self> {
        let n_rows = columns.first().map_or(0, Column::len);
        if let Some((place, column)) = columns.iter().enumerate().find(|(_, column)| column.len() != n_rows) {
            return Err(Error::Column {
                name: format!("number {place}"),
                found: format!("{} rows", column.len()),
                expected: format!("{n_rows}, as the first column"),
            });
        }
        Ok(Self { n_rows, columns })
    }

    /// How many rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// How many columns.
    pub fn n_columns(&self) -> usize {
        self.columns.len()
    }

    /// All columns, in the order of the schema.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// One column.
    ///
    /// # Panics
    /// When there is no such column.
    pub fn column(&self, place: usize) -> &Column {
        &self.columns[place]
    }

    /// The columns themselves.
    pub fn into_columns(self) -> Vec<Column> {
        self.columns
    }

    /// Some of the rows.
    ///
    /// # Panics
    /// When `rows` reaches beyond the end.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>) -> Self {
        let n_rows = rows.len();
        Self { n_rows, columns: self.columns.iter().map(|column| column.rows(rows.clone())).collect() }
    }

    /// Some of the columns, in the given order.
    ///
    /// # Panics
    /// When there is no such column.
    #[must_use]
    pub fn select(&self, places: &[usize]) -> Self {
        Self { n_rows: self.n_rows, columns: places.iter().map(|place| self.columns[*place].clone()).collect() }
    }

    /// Blocks one below the other.
    ///
    /// # Errors
    /// When they differ in the number or the kinds of their columns.
    pub fn concatenate(parts: &[Self]) -> Result<Self> {
        let [first, rest @ ..] = parts else { return Ok(Self::default()) };
        if rest.is_empty() {
            return Ok(first.clone());
        }
        let mut columns = Vec::with_capacity(first.n_columns());
        for place in 0..first.n_columns() {
            let same: Option<Vec<_>> = parts.iter().map(|part| part.columns.get(place)).collect();
            let column = same.and_then(|same| Column::concatenate(&same)).ok_or_else(|| Error::Column {
                name: format!("number {place}"),
                found: "another kind in a later block, or none".into(),
                expected: format!("{} in every block", first.columns[place].kind_name()),
            })?;
            columns.push(column);
        }
        if let Some(part) = rest.iter().find(|part| part.n_columns() != first.n_columns()) {
            return Err(Error::Column {
                name: format!("number {}", first.n_columns()),
                found: format!("{} columns in a later block", part.n_columns()),
                expected: format!("{} columns in every block", first.n_columns()),
            });
        }
        Ok(Self { n_rows: parts.iter().map(|part| part.n_rows).sum(), columns })
    }
}

/// What a column's buffers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Layout {
    Numbers,
    NumbersAndMask,
    Codes,
}

impl Portable for TableBlock {
    fn encode(&self) -> Result<Data, DataError> {
        struct Shared<T>(Arc<Vec<T>>);
        impl<T: bytemuck::NoUninit> AsRef<[u8]> for Shared<T> {
            fn as_ref(&self) -> &[u8] {
                bytemuck::cast_slice(&self.0)
            }
        }
        let mut layouts = Vec::with_capacity(self.n_columns());
        let mut buffers = Vec::with_capacity(self.n_columns());
        for column in &self.columns {
            match column {
                Column::Number { values, missing } => {
                    buffers.push(values.to_buffer());
                    layouts.push(match &missing.words {
                        Some(words) => {
                            buffers.push(Buffer::from_owner(Shared(Arc::clone(words))));
                            Layout::NumbersAndMask
                        }
                        None => Layout::Numbers,
                    });
                }
                Column::Categorical { codes } => {
                    buffers.push(Buffer::from_owner(Shared(Arc::clone(codes))));
                    layouts.push(Layout::Codes);
                }
            }
        }
        Ok(Data { header: encode_header(&(self.n_rows, layouts))?, buffers })
    }

    fn decode(data: Data) -> Result<Self, DataError> {
        let (n_rows, layouts): (usize, Vec<Layout>) = decode_header(&data.header)?;
        let mut buffers = data.buffers.into_iter();
        let mut next = || buffers.next().ok_or_else(|| broken("a table block with too few buffers".into()));
        let mut columns = Vec::new();
        for layout in layouts {
            columns.push(match layout {
                Layout::Numbers => {
                    Column::Number { values: Block::from_buffer(&[n_rows], next()?)?, missing: Mask::default() }
                }
                Layout::NumbersAndMask => {
                    let values = Block::from_buffer(&[n_rows], next()?)?;
                    let words: Vec<u64> = next()?.into_vec()?;
                    let in_last = n_rows % 64;
                    let spare = in_last != 0 && words.last().is_some_and(|word| word >> in_last != 0);
                    if n_rows == 0 || words.len() != n_rows.div_ceil(64) || spare {
                        return Err(broken(format!("a mask of {} words for {n_rows} rows", words.len())));
                    }
                    Column::Number { values, missing: Mask { words: Some(Arc::new(words)) } }
                }
                Layout::Codes => {
                    let codes: Vec<u32> = next()?.into_vec()?;
                    if codes.len() != n_rows {
                        return Err(broken(format!("{} codes for {n_rows} rows", codes.len())));
                    }
                    Column::categorical(codes)
                }
            });
        }
        if buffers.next().is_some() {
            return Err(broken("a table block with too many buffers".into()));
        }
        Ok(Self { n_rows, columns })
    }

    fn n_bytes(&self) -> u64 {
        let column_bytes = |column: &Column| match column {
            Column::Number { values, missing } => {
                values.n_bytes() + missing.words.as_ref().map_or(0, |words| 8 * words.len() as u64)
            }
            Column::Categorical { codes } => 4 * codes.len() as u64,
        };
        self.columns.iter().map(column_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use phalanx_engine::data::BufferMut;
    use rand::{Rng, RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn block(n_rows: usize) -> TableBlock {
        let values: Vec<_> = (0..n_rows).map(|row| row as f64).collect();
        let missing: Vec<_> = (0..n_rows).map(|row| row % 3 == 1).collect();
        let codes = (0..n_rows as u32).map(|row| if row == 2 { MISSING } else { row }).collect();
        let columns =
            [Column::number(values.clone()), Column::number_with_missing(values, &missing), Column::categorical(codes)];
        TableBlock::new(columns.into()).unwrap()
    }

    /// Blocks as they are seen, because a missing number is NaN, which does not equal itself.
    fn seen(block: &TableBlock) -> String {
        format!("{block:?}")
    }

    #[test]
    fn blocks_of_any_length_travel() {
        for n_rows in [0, 1, 2, 63, 64, 65, 200] {
            let before = block(n_rows);
            let data = before.encode().unwrap();
            assert_eq!(seen(&TableBlock::decode(data).unwrap()), seen(&before), "{n_rows} rows");
        }
    }

    #[test]
    fn rows_and_their_concatenation_are_the_block_again() {
        let whole = block(150);
        let parts = [0..1, 1..64, 64..100, 100..150].map(|rows| whole.rows(rows));
        assert_eq!(seen(&TableBlock::concatenate(&parts).unwrap()), seen(&whole));
        assert_eq!(parts[2].column(1).n_missing(), 12);
        assert_eq!(seen(&whole.select(&[2, 0]).select(&[1])), seen(&whole.select(&[0])));
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        let error = TableBlock::new(vec![Column::number(vec![1.0]), Column::categorical(vec![])]).unwrap_err();
        assert_eq!(error.to_string(), "column \"number 1\" has 0 rows, expected 1, as the first column");
        let (a, b) = (block(3).select(&[0]), block(3).select(&[2]));
        assert!(TableBlock::concatenate(&[a.clone(), b]).is_err());
        assert!(TableBlock::concatenate(&[a.clone(), block(3)]).is_err());
        assert!(TableBlock::concatenate(&[block(3), a]).is_err());
    }

    #[test]
    fn a_mask_for_no_rows_is_an_error() {
        let words = Buffer::from_vec(vec![1_u64]);
        for n_rows in [0, 1_usize << 32] {
            let header = encode_header(&(n_rows, vec![Layout::NumbersAndMask])).unwrap();
            let buffers = vec![BufferMut::zeroed(0).freeze(), words.clone()];
            assert!(TableBlock::decode(Data { header, buffers }).is_err());
        }
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50_000 {
            let mut header = vec![0; random.random_range(0..10)];
            random.fill_bytes(&mut header);
            header.iter_mut().for_each(|byte| *byte %= random.random_range(1..=255));
            let buffers = (0..random.random_range(0..4))
                .map(|_| BufferMut::zeroed(random.random_range(0..20)).freeze())
                .collect();
            let _ = TableBlock::decode(Data { header, buffers });
        }
    }
}
