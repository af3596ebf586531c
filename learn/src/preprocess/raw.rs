//! Rows as people and programs write them, one JSON object a row: golden rows, and requests to a served model.

use ndarray::Array2;
use phalanx_array::{Column, Field, Kind, MISSING, Schema, TableBlock};
use serde_json::{Map, Value};

use super::{EncodedColumn, FittedTableEncoder};
use crate::{Error, Result};

/// A row by column name: numbers, levels as strings, null where the value is missing.
pub type RawRow = Map<String, Value>;

/// Some rows of a block, with the columns that the encoder reads.
///
/// # Errors
/// When the block is not of the schema, or has not the encoder's columns.
///
/// # Panics
/// When there is no such row.
pub fn raw_rows(
    encoder: &FittedTableEncoder,
    schema: &Schema,
    block: &TableBlock,
    rows: &[usize],
) -> Result<Vec<RawRow>> {
    schema.check(block)?;
    let mut raw = vec![RawRow::new(); rows.len()];
    for encoded in encoder.columns() {
        let place = schema.position(encoded.name())?;
        for (raw, &row) in raw.iter_mut().zip(rows) {
            let value = match (block.column(place), &schema.fields()[place].kind) {
                (Column::Categorical { codes }, Kind::Categorical { levels }) if codes[row] != MISSING => {
                    levels[codes[row] as usize].as_str().into()
                }
                (column, _) => column.numbers().map_or(Value::Null, |numbers| numbers[row].into()),
            };
            raw.insert(encoded.name().to_owned(), value);
        }
    }
    Ok(raw)
}

impl FittedTableEncoder {
    /// Encodes rows that came as JSON; keys that are no column of the encoder are passed over.
    ///
    /// # Errors
    /// As [`encode`](Self::encode), and when a value is of the wrong type; rows count from 0.
    ///
    /// ```
    /// use phalanx_learn::preprocess::FittedTableEncoder;
    /// let encoder = FittedTableEncoder::of_numbers(["a", "b"], ndarray::array![[1., 2.]].view()).unwrap();
    /// let rows: Vec<_> = serde_json::from_str(r#"[{"b": 4, "a": 3, "note": "x"}]"#).unwrap();
    /// assert_eq!(encoder.encode_raw(&rows).unwrap(), ndarray::array![[3., 4.]]);
    /// ```
    pub fn encode_raw(&self, rows: &[RawRow]) -> Result<Array2<f64>> {
        let mut fields = Vec::with_capacity(self.columns().len());
        let mut columns = Vec::with_capacity(self.columns().len());
        for encoded in self.columns() {
            let name = encoded.name();
            let values = rows.iter().enumerate().map(|(row, raw)| (row, raw.get(name).unwrap_or(&Value::Null)));
            let wrong = |row: usize, value: &Value, expected: &str| {
                Error::parameter(format!("column {name:?} in row {row}"), value, expected)
            };
            match encoded {
                EncodedColumn::Number { .. } => {
                    let numbers = values.map(|(row, value)| match value {
                        Value::Null => Ok(f64::NAN),
                        value => value.as_f64().ok_or_else(|| wrong(row, value, "a number")),
                    });
                    fields.push(Field::number(name));
                    columns.push(Column::number(numbers.collect::<Result<_>>()?));
                }
                EncodedColumn::Categorical { levels, .. } => {
                    let mut levels = levels.clone();
                    let codes = values.map(|(row, value)| match value {
                        Value::Null => Ok(MISSING),
                        Value::String(level) => {
                            let known = levels.iter().position(|known| known == level);
                            let place = known.unwrap_or_else(|| {
                                levels.push(level.clone());
                                levels.len() - 1
                            });
                            Ok(place as u32)
                        }
                        value => Err(wrong(row, value, "a level as a string")),
                    });
                    columns.push(Column::categorical(codes.collect::<Result<_>>()?));
                    fields.push(Field::categorical(name, levels));
                }
            }
        }
        if fields.is_empty() {
            return Ok(Array2::zeros((rows.len(), 0)));
        }
        self.encode(&Schema::new(fields)?, &TableBlock::new(columns)?, 0)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, array};

    use super::*;
    use crate::{Fit, Transform, preprocess::TableEncoder};

    #[test]
    fn a_table_and_its_raw_rows_encode_alike() {
        let schema =
            Schema::new(vec![Field::number("age"), Field::categorical("city", ["Ulm", "Basel"]), Field::number("y")]);
        let schema = schema.expect("a schema");
        let columns = vec![
            Column::number(vec![0.1, 0.7, 3.]),
            Column::categorical(vec![0, 1, 0]),
            Column::number(vec![1., f64::NAN, 3.]),
        ];
        let block = TableBlock::new(columns).expect("a block");
        let encoder = TableEncoder::new().columns(["city", "age"]).fit((&schema, &block), ()).expect("an encoder");
        let rows = raw_rows(&encoder, &schema, &block, &[2, 1]).expect("two rows");
        assert_eq!(
            serde_json::to_string(&rows).expect("JSON"),
            r#"[{"age":3.0,"city":"Ulm"},{"age":0.7,"city":"Basel"}]"#
        );
        let whole = encoder.transform((&schema, &block)).expect("encoded");
        assert_eq!(encoder.encode_raw(&rows).expect("encoded"), whole.select(Axis(0), &[2, 1]));
    }

    #[test]
    fn what_is_wrong_with_a_row_is_named() {
        let encoder = FittedTableEncoder::of_numbers(["a"], array![[1.], [2.]].view()).expect("an encoder");
        let error = |text: &str| {
            let rows: Vec<RawRow> = serde_json::from_str(text).expect("rows");
            encoder.encode_raw(&rows).expect_err("refused").to_string()
        };
        assert_eq!(error(r#"[{"a": 1}, {"a": "x"}]"#), r#"column "a" in row 1 is "x", expected a number"#);
        assert_eq!(
            error("[{}]"),
            r#"column "a" has a missing value in row 0 (counted from 0); drop or fill such rows first"#
        );
    }
}
