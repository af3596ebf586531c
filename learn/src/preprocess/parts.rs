//! A table's columns as parts of a design: categories as codes, which take 4 bytes a row however many levels there are.
//!
//! What is fitted to the parts is not known here.

use phalanx_array::{MISSING, Schema, TableBlock};

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
    /// Encodes some rows as [`encode`](Self::encode) does, but categories as codes. What a formula makes of columns are
    /// numbers all.
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
        if self.formula.is_some() {
            let x = self.encode(schema, block, first_row)?;
            return Ok(x.columns().into_iter().map(|column| EncodedPart::Numbers(column.to_vec())).collect());
        }
        schema.check(block)?;
        let parts = |encoded: &EncodedColumn| {
            let place = schema.position(encoded.name())?;
            let column = block.column(place);
            match encoded {
                EncodedColumn::Number { name, fill, .. } => {
                    let mut numbers = numbers(name, column)?.to_vec();
                    let mut indicator = vec![0.; numbers.len()];
                    for (row, value) in numbers.iter_mut().enumerate() {
                        match fill {
                            Some(fill) if value.is_nan() => (*value, indicator[row]) = (fill.mean, 1.),
                            _ => finite(name, *value, first_row + row)?,
                        }
                    }
                    let indicated = fill.as_ref().is_some_and(|fill| fill.indicator);
                    let indicator = indicated.then_some(EncodedPart::Numbers(indicator));
                    Ok([EncodedPart::Numbers(numbers)].into_iter().chain(indicator).collect::<Vec<_>>())
                }
                EncodedColumn::Categorical { name, levels: known } => {
                    let n_features = self.kept(known).len();
                    let of_schema = levels(schema, place).unwrap_or_default();
                    let positions = self.positions(known, of_schema);
                    let own = self.missing_feature(known);
                    let codes = codes(name, column)?.iter().enumerate().map(|(row, &code)| {
                        if let (MISSING, Some(feature)) = (code, own) {
                            return Ok(feature as u32);
                        }
                        present(name, code, first_row + row)?;
                        let at_row = (code, first_row + row);
                        let feature = self.feature((name, known), (&positions, of_schema), at_row)?;
                        Ok(feature.unwrap_or(n_features) as u32)
                    });
                    Ok(vec![EncodedPart::Codes { codes: codes.collect::<Result<_>>()?, n_features }])
                }
            }
        };
        let parts: Vec<Vec<EncodedPart>> = self.columns().iter().map(parts).collect::<Result<_>>()?;
        Ok(parts.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use phalanx_array::{Column, Field};

    use super::*;
    use crate::{
        Fit,
        preprocess::{Missing, TableEncoder},
    };

    #[test]
    fn parts_are_the_columns_of_the_matrix_with_missing_values_too() {
        let schema =
            Schema::new(vec![Field::number("a"), Field::categorical("c", ["x", "y", "z"]), Field::number("b")])
                .expect("a schema");
        let block = TableBlock::new(vec![
            Column::number(vec![1., f64::NAN, 4., 0.]),
            Column::categorical(vec![0, 2, MISSING, 1]),
            Column::number(vec![5., 6., 7., 8.]),
        ])
        .expect("a block");
        let encoder = TableEncoder::new().missing(Missing::Mean).fit((&schema, &block), ()).expect("an encoder");
        let x = encoder.encode(&schema, &block, 0).expect("a matrix");
        let mut column = 0;
        for part in encoder.encode_parts(&schema, &block, 0).expect("parts") {
            match part {
                EncodedPart::Numbers(numbers) => {
                    assert_eq!(x.column(column).to_vec(), numbers);
                    column += 1;
                }
                EncodedPart::Codes { codes, n_features } => {
                    for (row, &code) in codes.iter().enumerate() {
                        for feature in 0..n_features {
                            let expected = if code as usize == feature { 1. } else { 0. };
                            assert_eq!(x[(row, column + feature)], expected, "row {row}");
                        }
                    }
                    column += n_features;
                }
            }
        }
        assert_eq!((column, encoder.n_features()), (x.ncols(), x.ncols()));
    }
}
