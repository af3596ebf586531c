//! A table's columns as parts of a design: categories as codes, which take 4 bytes a row however many levels there are.
//!
//! What is fitted to the parts is not known here.

use phalanx_array::{Schema, TableBlock};

use super::table::{EncodedColumn, FittedTableEncoder, codes, finite, levels, numbers, present};
use crate::Result;

/// What one of a table's columns becomes for some rows.
#[derive(Debug, Clone, PartialEq)]
pub enum EncodedPart {
    /// A column of numbers.
    Numbers(Vec<f64>),
    /// Columns of 0 and 1.
    Codes {
        /// Which of the columns is 1, from 0; `n_features` where none is.
        codes: Vec<u32>,
        /// How many columns.
        n_features: usize,
    },
}

impl FittedTableEncoder {
    /// Encodes some rows as [`encode`](Self::encode) does, but categories as codes.
    ///
    /// # Errors
    /// As `encode`.
    ///
    /// ```
    /// use phalanx_array::{Column, Field, Schema, TableBlock};
    /// use phalanx_learn::{Fit, preprocess::{EncodedPart, TableEncoder}};
    ///
    /// # fn main() -> phalanx_learn::Result<()> {
    /// let schema = Schema::new(vec![Field::categorical("city", ["Ulm", "Basel", "Graz"])])?;
    /// let block = TableBlock::new(vec![Column::categorical(vec![0, 1, 2])])?;
    /// let encoder = TableEncoder::new().fit((&schema, &block), ())?;
    /// // Columns "city=Graz" and "city=Ulm"; Basel, the first in sorted order, has none.
    /// let parts = encoder.encode_parts(&schema, &block, 0)?;
    /// assert_eq!(parts, [EncodedPart::Codes { codes: vec![1, 2, 0], n_features: 2 }]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn encode_parts(&self, schema: &Schema, block: &TableBlock, first_row: usize) -> Result<Vec<EncodedPart>> {
        schema.check(block)?;
        let part = |encoded: &EncodedColumn| {
            let place = schema.position(encoded.name())?;
            let column = block.column(place);
            match encoded {
                EncodedColumn::Number { name, .. } => {
                    let numbers = numbers(name, column)?;
                    for (row, &value) in numbers.iter().enumerate() {
                        finite(name, value, first_row + row)?;
                    }
                    Ok(EncodedPart::Numbers(numbers.to_vec()))
                }
                EncodedColumn::Categorical { name, levels: known } => {
                    let n_features = self.kept(known).len();
                    let of_schema = levels(schema, place).unwrap_or_default();
                    let positions = self.positions(known, of_schema);
                    let codes = codes(name, column)?.iter().enumerate().map(|(row, &code)| {
                        present(name, code, first_row + row)?;
                        let at_row = (code, first_row + row);
                        let feature = self.feature((name, known), (&positions, of_schema), at_row)?;
                        Ok(feature.unwrap_or(n_features) as u32)
                    });
                    Ok(EncodedPart::Codes { codes: codes.collect::<Result<_>>()?, n_features })
                }
            }
        };
        self.columns().iter().map(part).collect()
    }
}
