//! Steps through one column of one row group, a few rows at a time, and says what each row holds.

use parquet::{
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{
        BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
    },
    errors::ParquetError,
};

use super::source::Meaning;

/// One column of one row group.
pub(crate) struct Cursor {
    meaning: Meaning,
    values: Values,
}

enum Values {
    Bool(Typed<BoolType>),
    Int32(Typed<Int32Type>),
    Int64(Typed<Int64Type>),
    Float(Typed<FloatType>),
    Double(Typed<DoubleType>),
    Bytes(Typed<ByteArrayType>),
    Fixed(Typed<FixedLenByteArrayType>),
}

/// The rows that were read last: their values without nulls, and which rows have one.
struct Typed<T: DataType> {
    reader: ColumnReaderImpl<T>,
    values: Vec<T::T>,
    /// 1 for a value, 0 for a null; empty where the column can have none.
    levels: Vec<i16>,
}

impl Cursor {
    /// Before the first row; none of a physical type that is not read.
    pub(crate) fn new(reader: ColumnReader, meaning: Meaning) -> Option<Self> {
        let values = match reader {
            ColumnReader::BoolColumnReader(reader) => Values::Bool(Typed::new(reader)),
            ColumnReader::Int32ColumnReader(reader) => Values::Int32(Typed::new(reader)),
            ColumnReader::Int64ColumnReader(reader) => Values::Int64(Typed::new(reader)),
            ColumnReader::FloatColumnReader(reader) => Values::Float(Typed::new(reader)),
            ColumnReader::DoubleColumnReader(reader) => Values::Double(Typed::new(reader)),
            ColumnReader::ByteArrayColumnReader(reader) => Values::Bytes(Typed::new(reader)),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => Values::Fixed(Typed::new(reader)),
            ColumnReader::Int96ColumnReader(_) => return None,
        };
        Some(Self { meaning, values })
    }

    /// Steps over rows; pages that hold no other rows are not decoded.
    pub(crate) fn skip(&mut self, n_rows: usize) -> Result<(), ParquetError> {
        match &mut self.values {
            Values::Bool(typed) => typed.skip(n_rows),
            Values::Int32(typed) => typed.skip(n_rows),
            Values::Int64(typed) => typed.skip(n_rows),
            Values::Float(typed) => typed.skip(n_rows),
            Values::Double(typed) => typed.skip(n_rows),
            Values::Bytes(typed) => typed.skip(n_rows),
            Values::Fixed(typed) => typed.skip(n_rows),
        }
    }

    /// Reads rows, all of which must be there.
    pub(crate) fn read(&mut self, n_rows: usize) -> Result<(), ParquetError> {
        match &mut self.values {
            Values::Bool(typed) => typed.read(n_rows),
            Values::Int32(typed) => typed.read(n_rows),
            Values::Int64(typed) => typed.read(n_rows),
            Values::Float(typed) => typed.read(n_rows),
            Values::Double(typed) => typed.read(n_rows),
            Values::Bytes(typed) => typed.read(n_rows),
            Values::Fixed(typed) => typed.read(n_rows),
        }
    }

    /// The rows that were read, as numbers: the row and its value, NaN where there is none.
    pub(crate) fn numbers(&self, mut each: impl FnMut(usize, f64)) {
        let unsigned = self.meaning == Meaning::Unsigned;
        let ten_times = self.scale();
        let mut number = |row, value: Option<f64>| each(row, value.unwrap_or(f64::NAN));
        match &self.values {
            Values::Bool(typed) => typed.each(|row, value| number(row, value.map(|&value| f64::from(u8::from(value))))),
            Values::Int32(typed) if unsigned => {
                typed.each(|row, value| number(row, value.map(|&value| f64::from(value.cast_unsigned()))));
            }
            Values::Int32(typed) => {
                typed.each(|row, value| number(row, value.map(|&value| f64::from(value) / ten_times)));
            }
            Values::Int64(typed) if unsigned => {
                typed.each(|row, value| number(row, value.map(|&value| value.cast_unsigned() as f64)));
            }
            Values::Int64(typed) => typed.each(|row, value| number(row, value.map(|&value| value as f64 / ten_times))),
            Values::Float(typed) => typed.each(|row, value| number(row, value.map(|&value| f64::from(value)))),
            Values::Double(typed) => typed.each(|row, value| number(row, value.copied())),
            Values::Bytes(typed) => {
                typed.each(|row, value| number(row, value.map(|value| integer(value.data()) / ten_times)));
            }
            Values::Fixed(typed) if self.meaning == Meaning::Half => {
                typed.each(|row, value| number(row, value.map(|value| half(value.data()))));
            }
            Values::Fixed(typed) => {
                typed.each(|row, value| number(row, value.map(|value| integer(value.data()) / ten_times)));
            }
        }
    }

    /// The rows that were read, where they lie as doubles and none is missing.
    pub(crate) fn doubles(&self) -> Option<&[f64]> {
        match &self.values {
            Values::Double(typed) if typed.levels.len() <= typed.values.len() => Some(&typed.values),
            _ => None,
        }
    }

    /// The rows that were read, as texts: the row and its text, none where there is none.
    ///
    /// A number's text is the shortest that gives it back.
    pub(crate) fn texts(&self, mut each: impl FnMut(usize, Option<&[u8]>)) {
        match &self.values {
            Values::Bytes(typed) if self.meaning == Meaning::Text => {
                typed.each(|row, value| each(row, value.map(|value| value.data())));
            }
            Values::Bool(typed) => typed.each(|row, value| each(row, value.map(|value| value_of(*value)))),
            Values::Float(typed) => typed.each(|row, value| {
                let text = value.filter(|value| !value.is_nan()).map(f32::to_string);
                each(row, text.as_ref().map(String::as_bytes));
            }),
            Values::Int64(typed) if self.meaning == Meaning::Number => {
                typed.each(|row, value| each(row, value.map(i64::to_string).as_ref().map(String::as_bytes)));
            }
            _ => self.numbers(|row, value| {
                let text = (!value.is_nan()).then(|| value.to_string());
                each(row, text.as_ref().map(String::as_bytes));
            }),
        }
    }

    /// What the stored integers of decimals are divided by.
    fn scale(&self) -> f64 {
        match self.meaning {
            Meaning::Decimal(scale) => 10_f64.powi(scale),
            _ => 1.,
        }
    }
}

impl<T: DataType> Typed<T> {
    const fn new(reader: ColumnReaderImpl<T>) -> Self {
        Self { reader, values: Vec::new(), levels: Vec::new() }
    }

    fn skip(&mut self, n_rows: usize) -> Result<(), ParquetError> {
        complete(self.reader.skip_records(n_rows)?, n_rows)
    }

    fn read(&mut self, n_rows: usize) -> Result<(), ParquetError> {
        self.values.clear();
        self.levels.clear();
        let (n_read, n_values, _) = self.reader.read_records(n_rows, Some(&mut self.levels), None, &mut self.values)?;
        complete(n_read, n_rows)?;
        let n_expected = if self.levels.is_empty() { n_rows } else { self.levels.iter().filter(|l| **l > 0).count() };
        complete(n_values.min(self.values.len()), n_expected)
    }

    fn each(&self, mut each: impl FnMut(usize, Option<&T::T>)) {
        if self.levels.len() <= self.values.len() {
            return self.values.iter().enumerate().for_each(|(row, value)| each(row, Some(value)));
        }
        let mut values = self.values.iter();
        for (row, level) in self.levels.iter().enumerate() {
            each(row, if *level > 0 { values.next() } else { None });
        }
    }
}

fn complete(found: usize, expected: usize) -> Result<(), ParquetError> {
    if found == expected {
        return Ok(());
    }
    Err(ParquetError::General(format!("a column ends {} rows early", expected.saturating_sub(found))))
}

const fn value_of(value: bool) -> &'static [u8] {
    if value { b"true" } else { b"false" }
}

/// A big-endian integer in two's complement of any length: exact up to 16 bytes but for one rounding.
fn integer(bytes: &[u8]) -> f64 {
    let negative = bytes.first().is_some_and(|first| *first >= 0x80);
    if bytes.len() <= 16 {
        let start = if negative { -1 } else { 0 };
        return bytes.iter().fold(start, |value: i128, &byte| value << 8 | i128::from(byte)) as f64;
    }
    let magnitude = bytes.iter().fold(0., |value, &byte| value * 256. + f64::from(if negative { !byte } else { byte }));
    if negative { -magnitude - 1. } else { magnitude }
}

/// A little-endian IEEE 754 float of 16 bits; NaN of any other number of bytes.
fn half(bytes: &[u8]) -> f64 {
    let [low, high] = *bytes else { return f64::NAN };
    let bits = u16::from_le_bytes([low, high]);
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        0x1f if fraction == 0. => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1024. + fraction) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_length_are_read() {
        for (bytes, value) in [
            (&[][..], 0.),
            (&[0x7f], 127.),
            (&[0x80], -128.),
            (&[0xff, 0xfe], -2.),
            (&[1, 0, 0], 65536.),
            (&[0xff; 20], -1.),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
                -65536.,
            ),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2], 258.),
        ] {
            assert_eq!(integer(bytes), value, "{bytes:?}");
        }
    }

    #[test]
    fn short_floats_are_read() {
        for (bits, value) in [
            (0x3c00_u16, 1.),
            (0xc000, -2.),
            (0x7bff, 65504.),
            (0x0001, 2_f64.powi(-24)),
            (0x3555, 0.333_251_953_125),
            (0x7c00, f64::INFINITY),
        ] {
            assert_eq!(half(&bits.to_le_bytes()), value, "{bits:#x}");
        }
        assert!(half(&0x7e00_u16.to_le_bytes()).is_nan());
    }
}
