//! A table's columns as a design matrix with names: numbers as they are, categories as columns of 0 and 1.
//!
//! What was learned (levels, ranges) is a few names and numbers, so an encoder goes into the model file and to every
//! worker. Blocks are encoded one by one and alike wherever they lie.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use ndarray::Array2;
use phalanx_array::{
    Column, MISSING, Schema, TableBlock,
    panel::{Combine, Subtrees},
};
use serde::{Deserialize, Serialize};

use super::{Fill, MISSING_LEVEL, Missing, missing::Present};
use crate::{Error, Fit, Result, Transform, formula::FittedFormula};

/// Learns which columns a table has, the levels of its categories and the ranges of its numbers.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `columns` | none, all | the columns to encode, in this order | columns of the table |
/// | `drop_first` | true | leave out the first level, which the intercept stands for | |
/// | `reference` | none | of some columns, which level comes first and is left out | encoded columns with a level that occurs |
/// | `unseen` | `error` | what to do with a level that was not there at fit | `error`, `ignore` |
/// | `missing` | `error` | what to do with missing values | a [`Missing`] |
///
/// A numeric column gives one column of its own name. A categorical one gives a column `column=level` for each level
/// that occurs in the training rows, in sorted order but for the reference level, which comes first. Missing values are
/// an error, unless `missing` says what stands for them.
///
/// ```
/// use ndarray::array;
/// use phalanx_array::{Column, Field, Schema, TableBlock};
/// use phalanx_learn::{Fit, Transform, preprocess::TableEncoder};
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let schema = Schema::new(vec![Field::number("age"), Field::categorical("city", ["Ulm", "Basel", "Graz"])])?;
/// let block = TableBlock::new(vec![Column::number(vec![31., 45., 9.]), Column::categorical(vec![0, 1, 0])])?;
/// let encoder = TableEncoder::new().fit((&schema, &block), ())?;
/// assert_eq!(encoder.feature_names(), ["age", "city=Ulm"]); // "Basel" comes first, "Graz" does not occur
/// assert_eq!(encoder.transform((&schema, &block))?, array![[31., 1.], [45., 0.], [9., 1.]]);
/// let encoder = TableEncoder::new().reference("city", "Ulm").fit((&schema, &block), ())?;
/// assert_eq!(encoder.feature_names(), ["age", "city=Basel"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableEncoder {
    /// The columns to encode, in this order; none for all of the table's.
    pub columns: Option<Vec<String>>,
    /// Leave out the first level.
    pub drop_first: bool,
    /// The first level of each of these columns.
    pub reference: BTreeMap<String, String>,
    /// What to do with a level that was not there at fit.
    pub unseen: Unseen,
    /// What to do with missing values.
    pub missing: Missing,
}

/// What to do with a level that was not there at fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unseen {
    /// An error that names column, level and row.
    #[default]
    Error,
    /// Every level's column is 0, as for the dropped one.
    Ignore,
}

/// What a [`TableEncoder`] has learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedTableEncoder {
    pub(super) columns: Vec<EncodedColumn>,
    pub(super) drop_first: bool,
    pub(super) unseen: Unseen,
    #[serde(default, skip_serializing_if = "is_error")]
    pub(super) missing: Missing,
    /// What the columns, with all their levels, are multiplied to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) formula: Option<FittedFormula>,
}

/// One column of the table as it was at fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EncodedColumn {
    /// Numbers, passed on as they are.
    Number {
        /// The column's name.
        name: String,
        /// The smallest number in training.
        min: f64,
        /// The largest number in training.
        max: f64,
        /// What stands for a missing number; none where that is an error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fill: Option<Fill>,
    },
    /// Categories, passed on as a column of 0 and 1 a level.
    Categorical {
        /// The column's name.
        name: String,
        /// The levels that occurred in training, sorted, but the reference level first where one was named.
        levels: Vec<String>,
    },
}

/// What has to be known of some rows to learn an encoder; ranges of rows combine in any order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TableStats(Vec<ColumnStats>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum ColumnStats {
    Range {
        min: f64,
        max: f64,
        /// Where missing numbers are filled.
        present: Option<Subtrees<Present>>,
    },
    /// Whether each of the schema's levels occurs, and whether any is missing.
    Occurs(Vec<bool>, bool),
}

impl Default for TableEncoder {
    fn default() -> Self {
        let (columns, reference) = (None, BTreeMap::new());
        Self { columns, drop_first: true, reference, unseen: Unseen::Error, missing: Missing::Error }
    }
}

impl TableEncoder {
    /// All columns, first levels dropped, unseen levels refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the columns to encode, and their order.
    #[must_use]
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Sets whether the first level is left out.
    #[must_use]
    pub const fn drop_first(mut self, drop_first: bool) -> Self {
        self.drop_first = drop_first;
        self
    }

    /// Sets the first level of a column, the one that is left out; once for each column that is not to be in sorted
    /// order.
    #[must_use]
    pub fn reference(mut self, column: impl Into<String>, level: impl Into<String>) -> Self {
        self.reference.insert(column.into(), level.into());
        self
    }

    /// Sets what to do with a level that was not there at fit.
    #[must_use]
    pub const fn unseen(mut self, unseen: Unseen) -> Self {
        self.unseen = unseen;
        self
    }

    /// Sets what to do with missing values.
    #[must_use]
    pub const fn missing(mut self, missing: Missing) -> Self {
        self.missing = missing;
        self
    }

    /// The places of the columns to encode.
    pub(crate) fn places(&self, schema: &Schema) -> Result<Vec<usize>> {
        let places: Vec<usize> = match &self.columns {
            None => (0..schema.len()).collect(),
            Some(names) => names.iter().map(|name| schema.position(name)).collect::<Result<_, _>>()?,
        };
        for column in self.reference.keys() {
            let place = schema.position(column)?;
            if !places.contains(&place) {
                return Err(Error::parameter("reference", format!("{column:?}"), "a column that is encoded"));
            }
            if levels(schema, place).is_none() {
                let (name, found) = (column.clone(), "numeric values".to_owned());
                let expected = "categories to have a reference level".to_owned();
                return Err(Error::Array(phalanx_array::Error::Column { name, found, expected }));
            }
        }
        Ok(places)
    }

    /// Looks at some rows; `first_row` is where they begin in the whole table.
    pub(crate) fn look(&self, schema: &Schema, block: &TableBlock, first_row: usize) -> Result<TableStats> {
        schema.check(block)?;
        let columns = self.places(schema)?.into_iter().map(|place| {
            let (field, column) = (&schema.fields()[place], block.column(place));
            match (column, levels(schema, place)) {
                (Column::Categorical { codes }, Some(levels)) => {
                    let (mut occurs, mut any_missing) = (vec![false; levels.len()], false);
                    for (row, &code) in codes.iter().enumerate() {
                        if code == MISSING && self.missing == Missing::Mean {
                            any_missing = true;
                            continue;
                        }
                        present(&field.name, code, first_row + row)?;
                        occurs[code as usize] = true;
                    }
                    Ok(ColumnStats::Occurs(occurs, any_missing))
                }
                _ => {
                    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
                    let (numbers, fills) = (numbers(&field.name, column)?, self.missing == Missing::Mean);
                    for (row, &value) in numbers.iter().enumerate() {
                        if !(fills && value.is_nan()) {
                            finite(&field.name, value, first_row + row)?;
                        }
                        (min, max) = (min.min(value), max.max(value));
                    }
                    let present = if fills { Present::of(numbers, first_row) } else { None };
                    Ok(ColumnStats::Range { min, max, present })
                }
            }
        });
        columns.collect::<Result<_>>().map(TableStats)
    }

    /// The encoder of all the rows that were looked at.
    pub(crate) fn learn(&self, schema: &Schema, stats: TableStats) -> Result<FittedTableEncoder> {
        let columns = self.places(schema)?.into_iter().zip(stats.0).map(|(place, stats)| {
            let name = schema.fields()[place].name.clone();
            let column = match stats {
                ColumnStats::Range { min, max, present } => {
                    let fill = present.map(|present| {
                        let expected = "a finite mean of its numbers, to stand for what is missing";
                        let fill = present.finish().fill();
                        fill.ok_or_else(|| Error::parameter(format!("column {name:?}"), "without any", expected))
                    });
                    EncodedColumn::Number { name, min, max, fill: fill.transpose()? }
                }
                ColumnStats::Occurs(occurs, any_missing) => {
                    let all = levels(schema, place).unwrap_or_default();
                    let mut levels: Vec<String> =
                        all.iter().zip(occurs).filter(|(_, occurs)| *occurs).map(|(level, _)| level.clone()).collect();
                    levels.sort();
                    if let Some(reference) = self.reference.get(&name) {
                        let place = levels.iter().position(|level| level == reference);
                        let place = place.ok_or_else(|| unknown_reference(&name, reference, &levels))?;
                        levels[..=place].rotate_right(1);
                    }
                    if any_missing {
                        if levels.iter().any(|level| level == MISSING_LEVEL) {
                            let expected = format!("no level {MISSING_LEVEL:?}: it is to stand for what is missing");
                            return Err(Error::parameter(format!("column {name:?}"), "with one", expected));
                        }
                        levels.push(MISSING_LEVEL.to_owned());
                    }
                    EncodedColumn::Categorical { name, levels }
                }
            };
            Ok(column)
        });
        let columns = columns.collect::<Result<_>>()?;
        let (drop_first, unseen, missing) = (self.drop_first, self.unseen, self.missing);
        Ok(FittedTableEncoder { columns, drop_first, unseen, missing, formula: None })
    }
}

impl Combine for TableStats {
    fn combine(self, right: Self) -> Self {
        let both = self.0.into_iter().zip(right.0).map(|pair| match pair {
            (
                ColumnStats::Range { min, max, present },
                ColumnStats::Range { min: other_min, max: other_max, present: other_present },
            ) => {
                let present = Subtrees::merge_all(present.into_iter().chain(other_present));
                ColumnStats::Range { min: min.min(other_min), max: max.max(other_max), present }
            }
            (ColumnStats::Occurs(one, missing), ColumnStats::Occurs(other, other_missing)) => {
                let occurs = one.into_iter().zip(other).map(|(one, other)| one || other).collect();
                ColumnStats::Occurs(occurs, missing || other_missing)
            }
            (one, _) => one, // one schema gives one kind
        });
        Self(both.collect())
    }
}

impl EncodedColumn {
    /// The column's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Number { name, .. } | Self::Categorical { name, .. } => name,
        }
    }
}

impl FittedTableEncoder {
    /// An encoder for a matrix that never was a table: one numeric column a name, with the matrix's ranges.
    ///
    /// # Errors
    /// When there are not as many names as columns, a name is there twice, or a number is not finite.
    pub fn of_numbers<S: Into<String>>(
        names: impl IntoIterator<Item = S>,
        x: ndarray::ArrayView2<'_, f64>,
    ) -> Result<Self> {
        let fields: Vec<_> = names.into_iter().map(phalanx_array::Field::number).collect();
        crate::validate::same_length("the list of names", fields.len(), "X transposed", x.ncols())?;
        let columns = x.columns().into_iter().map(|column| Column::number(column.to_vec())).collect();
        TableEncoder::new().fit((&Schema::new(fields)?, &TableBlock::new(columns)?), ())
    }

    /// The table's columns as they were at fit, in order.
    pub fn columns(&self) -> &[EncodedColumn] {
        &self.columns
    }

    /// The names of the design matrix's columns, in order.
    pub fn feature_names(&self) -> Vec<String> {
        self.formula.as_ref().map_or_else(|| self.column_names(), FittedFormula::names)
    }

    fn column_names(&self) -> Vec<String> {
        let names = self.columns.iter().flat_map(|column| match column {
            EncodedColumn::Number { name, fill: Some(Fill { indicator: true, .. }), .. } => {
                vec![name.clone(), format!("{name}={MISSING_LEVEL}")]
            }
            EncodedColumn::Number { name, .. } => vec![name.clone()],
            EncodedColumn::Categorical { name, levels } => {
                self.kept(levels).iter().map(|level| format!("{name}={level}")).collect()
            }
        });
        names.collect()
    }

    /// How many columns the design matrix has.
    pub fn n_features(&self) -> usize {
        self.formula.as_ref().map_or_else(|| self.n_columns(), FittedFormula::n_features)
    }

    fn n_columns(&self) -> usize {
        self.columns.iter().map(|column| self.width(column)).sum()
    }

    /// How many columns of the design matrix come of one of the table's.
    fn width(&self, column: &EncodedColumn) -> usize {
        match column {
            EncodedColumn::Number { fill, .. } => 1 + usize::from(fill.is_some_and(|fill| fill.indicator)),
            EncodedColumn::Categorical { levels, .. } => self.kept(levels).len(),
        }
    }

    /// The places in the design matrix of what became of one of the table's columns; none where there is no such column.
    /// Of a formula, the places of what is made of this column alone; none also where they are no neighbours.
    ///
    /// ```
    /// use phalanx_learn::preprocess::FittedTableEncoder;
    /// let encoder = FittedTableEncoder::of_numbers(["a", "b"], ndarray::array![[1., 2.]].view()).unwrap();
    /// assert_eq!((encoder.features_of("b"), encoder.features_of("c")), (Some(1..2), None));
    /// ```
    pub fn features_of(&self, column: &str) -> Option<Range<usize>> {
        if let Some(formula) = &self.formula {
            return formula.features_of(column);
        }
        let mut start = 0;
        for encoded in &self.columns {
            let end = start + self.width(encoded);
            if encoded.name() == column {
                return Some(start..end);
            }
            start = end;
        }
        None
    }

    /// Encodes some rows; `first_row` is where they begin in the whole table, for errors.
    ///
    /// The block may have more columns than the encoder needs, and its schema other levels in another order.
    ///
    /// # Errors
    /// When a column is not there or of another kind, a value is missing or infinite, or a level is unseen.
    pub fn encode(&self, schema: &Schema, block: &TableBlock, first_row: usize) -> Result<Array2<f64>> {
        let columns = self.encode_columns(schema, block, first_row)?;
        match &self.formula {
            None => Ok(columns),
            Some(formula) => formula.transform(columns.view(), &self.column_names(), first_row),
        }
    }

    fn encode_columns(&self, schema: &Schema, block: &TableBlock, first_row: usize) -> Result<Array2<f64>> {
        schema.check(block)?;
        let mut x = Array2::zeros((block.n_rows(), self.n_columns()));
        let mut at = 0;
        for encoded in &self.columns {
            let place = schema.position(encoded.name())?;
            let column = block.column(place);
            match encoded {
                EncodedColumn::Number { name, fill, .. } => {
                    for (row, &value) in numbers(name, column)?.iter().enumerate() {
                        match fill {
                            Some(fill) if value.is_nan() => {
                                x[(row, at)] = fill.mean;
                                if fill.indicator {
                                    x[(row, at + 1)] = 1.;
                                }
                            }
                            _ => {
                                finite(name, value, first_row + row)?;
                                x[(row, at)] = value;
                            }
                        }
                    }
                    at += self.width(encoded);
                }
                EncodedColumn::Categorical { name, levels } => {
                    let codes = codes(name, column)?;
                    let of_schema = self::levels(schema, place).unwrap_or_default();
                    let positions = self.positions(levels, of_schema);
                    let own = self.missing_feature(levels);
                    for (row, &code) in codes.iter().enumerate() {
                        if let (MISSING, Some(feature)) = (code, own) {
                            x[(row, at + feature)] = 1.;
                            continue;
                        }
                        present(name, code, first_row + row)?;
                        let at_row = (code, first_row + row);
                        if let Some(feature) = self.feature((name, levels), (&positions, of_schema), at_row)? {
                            x[(row, at + feature)] = 1.;
                        }
                    }
                    at += self.kept(levels).len();
                }
            }
        }
        Ok(x)
    }

    /// The column, of those of its category, that is 1 where the category is missing: what is missing has a level of
    /// its own, the last, where any was missing at fit.
    pub(super) fn missing_feature(&self, levels: &[String]) -> Option<usize> {
        let own = self.missing == Missing::Mean && levels.last().is_some_and(|level| level == MISSING_LEVEL);
        own.then(|| self.kept(levels).len().checked_sub(1)).flatten()
    }

    /// The column, of those of its category, that is 1 for a code; none where all are 0.
    pub(super) fn feature(
        &self,
        (name, known): (&str, &[String]),
        (positions, levels): (&[Position], &[String]),
        (code, row): (u32, usize),
    ) -> Result<Option<usize>> {
        match positions[code as usize] {
            Position::Feature(feature) => Ok(Some(feature)),
            Position::Dropped => Ok(None),
            Position::Unseen if self.unseen == Unseen::Ignore => Ok(None),
            Position::Unseen => Err(Error::UnseenLevel {
                column: name.to_owned(),
                level: levels[code as usize].clone(),
                row,
                known: known.to_vec(),
            }),
        }
    }

    pub(super) fn kept<'a>(&self, levels: &'a [String]) -> &'a [String] {
        if self.drop_first { levels.get(1..).unwrap_or_default() } else { levels }
    }

    /// Where each of the schema's levels goes.
    pub(super) fn positions(&self, known: &[String], levels: &[String]) -> Vec<Position> {
        let known: HashMap<&str, usize> =
            known.iter().enumerate().map(|(place, level)| (level.as_str(), place)).collect();
        let position = |level: &String| match known.get(level.as_str()) {
            None => Position::Unseen,
            Some(&place) if !self.drop_first => Position::Feature(place),
            Some(0) => Position::Dropped,
            Some(place) => Position::Feature(place - 1),
        };
        levels.iter().map(position).collect()
    }
}

pub(super) enum Position {
    Feature(usize),
    Dropped,
    Unseen,
}

impl Fit<(&Schema, &TableBlock), ()> for TableEncoder {
    type Model = FittedTableEncoder;

    fn fit(&self, (schema, block): (&Schema, &TableBlock), (): ()) -> Result<FittedTableEncoder> {
        if block.n_rows() == 0 {
            return Err(Error::Empty { what: "the table" });
        }
        self.learn(schema, self.look(schema, block, 0)?)
    }
}

impl Transform<(&Schema, &TableBlock)> for FittedTableEncoder {
    type Output = Array2<f64>;

    fn transform(&self, (schema, block): (&Schema, &TableBlock)) -> Result<Array2<f64>> {
        self.encode(schema, block, 0)
    }
}

/// Whether missing values are an error, as in all files that say nothing of them.
fn is_error(missing: &Missing) -> bool {
    *missing == Missing::Error
}

pub(super) fn levels(schema: &Schema, place: usize) -> Option<&[String]> {
    match &schema.fields()[place].kind {
        phalanx_array::Kind::Categorical { levels } => Some(levels),
        _ => None,
    }
}

fn unknown_reference(column: &str, level: &str, known: &[String]) -> Error {
    let near = crate::error::nearest(level, known.iter().map(String::as_str));
    let near = near.map_or_else(String::new, |near| format!(" (did you mean {near:?}?)"));
    let expected = format!("a level that occurs{near}; known are {}", known.join(", "));
    Error::parameter(format!("the reference level of column {column:?}"), format!("{level:?}"), expected)
}

pub(super) fn numbers<'a>(name: &str, column: &'a Column) -> Result<&'a [f64]> {
    column.numbers().ok_or_else(|| kind_error(name, column, "numeric as at fit"))
}

pub(super) fn codes<'a>(name: &str, column: &'a Column) -> Result<&'a [u32]> {
    column.codes().ok_or_else(|| kind_error(name, column, "categorical as at fit"))
}

fn kind_error(name: &str, column: &Column, expected: &str) -> Error {
    let (found, expected) = (format!("{} values", column.kind_name()), expected.to_owned());
    Error::Array(phalanx_array::Error::Column { name: name.to_owned(), found, expected })
}

pub(super) fn present(column: &str, code: u32, row: usize) -> Result<()> {
    if code == MISSING { Err(Error::Missing { column: column.to_owned(), row }) } else { Ok(()) }
}

pub(super) fn finite(column: &str, value: f64, row: usize) -> Result<()> {
    match value {
        _ if value.is_finite() => Ok(()),
        _ if value.is_nan() => Err(Error::Missing { column: column.to_owned(), row }),
        _ => Err(Error::Infinite { column: column.to_owned(), row, value }),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phalanx_array::Field;

    use super::*;

    fn schema(levels: &[&str]) -> Schema {
        Schema::new(vec![Field::number("age"), Field::categorical("city", levels.iter().copied())]).expect("a schema")
    }

    fn block(ages: &[f64], cities: &[u32]) -> TableBlock {
        TableBlock::new(vec![Column::number(ages.to_vec()), Column::categorical(cities.to_vec())]).expect("a block")
    }

    fn fitted(encoder: TableEncoder) -> FittedTableEncoder {
        let (schema, block) = (schema(&["c", "a", "b"]), block(&[3., 1., 2.], &[0, 1, 2]));
        encoder.fit((&schema, &block), ()).expect("an encoder")
    }

    #[test]
    fn it_remembers_levels_and_ranges() {
        let expected = [
            EncodedColumn::Number { name: "age".into(), min: 1., max: 3., fill: None },
            EncodedColumn::Categorical { name: "city".into(), levels: vec!["a".into(), "b".into(), "c".into()] },
        ];
        assert_eq!(fitted(TableEncoder::new()).columns(), expected);
        assert_eq!(fitted(TableEncoder::new()).feature_names(), ["age", "city=b", "city=c"]);
    }

    #[test]
    fn columns_come_in_the_order_asked_for() {
        let encoder = fitted(TableEncoder::new().columns(["city", "age"]).drop_first(false));
        assert_eq!(encoder.feature_names(), ["city=a", "city=b", "city=c", "age"]);
        // Another file: other levels in another order.
        let x = encoder.transform((&schema(&["b", "x", "a"]), &block(&[9., 8.], &[2, 0]))).expect("encoded");
        assert_eq!(x, array![[1., 0., 0., 9.], [0., 1., 0., 8.]]);
    }

    #[test]
    fn a_reference_level_comes_first_and_is_the_one_left_out() {
        let named = |encoder: TableEncoder| fitted(encoder.reference("city", "b"));
        assert_eq!(named(TableEncoder::new()).feature_names(), ["age", "city=a", "city=c"]);
        assert_eq!(named(TableEncoder::new().drop_first(false)).feature_names(), ["age", "city=b", "city=a", "city=c"]);
        let x = named(TableEncoder::new()).transform((&schema(&["b", "c", "a"]), &block(&[9., 8., 7.], &[0, 1, 2])));
        assert_eq!(x.expect("encoded"), array![[9., 0., 0.], [8., 0., 1.], [7., 1., 0.]]);
        assert_eq!(named(TableEncoder::new()).features_of("city"), Some(1..3));
    }

    #[test]
    fn a_reference_that_is_none_is_refused() {
        let refused = |encoder: TableEncoder| {
            let (schema, block) = (schema(&["clear", "rain"]), block(&[3., 1.], &[0, 1]));
            encoder.fit((&schema, &block), ()).expect_err("refused").to_string()
        };
        let encoder = TableEncoder::new();
        assert_eq!(
            refused(encoder.clone().reference("city", "claer")),
            "the reference level of column \"city\" is \"claer\", expected a level that occurs (did you mean \"clear\"?); \
             known are clear, rain"
        );
        assert_eq!(
            refused(encoder.clone().reference("age", "3")),
            "column \"age\" has numeric values, expected categories to have a reference level"
        );
        assert_eq!(
            refused(encoder.clone().reference("cty", "rain")),
            r#"there is no column "cty"; did you mean "city"?"#
        );
        assert_eq!(
            refused(encoder.columns(["age"]).reference("city", "rain")),
            r#"reference is "city", expected a column that is encoded"#
        );
    }

    #[test]
    fn an_unseen_level_is_an_error_unless_ignored() {
        let (schema, block) = (schema(&["a", "x"]), block(&[9., 8.], &[0, 1]));
        let error = fitted(TableEncoder::new()).encode(&schema, &block, 100).expect_err("refused").to_string();
        assert_eq!(
            error,
            r#"column "city" has the level "x" in row 101 (counted from 0), which was not there at fit; known are a, b, c; drop such rows, or encode with unseen levels ignored"#
        );
        let ignoring = fitted(TableEncoder::new().unseen(Unseen::Ignore));
        assert_eq!(ignoring.encode(&schema, &block, 0).expect("encoded"), array![[9., 0., 0.], [8., 0., 0.]]);
    }

    #[test]
    fn what_is_missing_or_infinite_is_named() {
        let schema = schema(&["a"]);
        let error = |ages: &[f64], cities: &[u32]| {
            TableEncoder::new().fit((&schema, &block(ages, cities)), ()).expect_err("refused").to_string()
        };
        let remedy = "; drop or fill such rows first";
        assert_eq!(
            error(&[1., f64::NAN], &[0, 0]),
            format!("column \"age\" has a missing value in row 1 (counted from 0){remedy}")
        );
        assert_eq!(
            error(&[1., 2.], &[MISSING, 0]),
            format!("column \"city\" has a missing value in row 0 (counted from 0){remedy}")
        );
        assert_eq!(error(&[f64::INFINITY], &[0]), format!("column \"age\" has inf in row 0 (counted from 0){remedy}"));
        assert_eq!(error(&[], &[]), "the table is empty, expected at least one row and one column");
    }

    #[test]
    fn columns_are_held_against_the_table() {
        let (schema, block) = (schema(&["a"]), block(&[1.], &[0]));
        let error = TableEncoder::new().columns(["cty"]).fit((&schema, &block), ()).expect_err("refused").to_string();
        assert_eq!(error, r#"there is no column "cty"; did you mean "city"?"#);
        let numbers = Schema::new(vec![Field::number("age"), Field::number("city")]).expect("a schema");
        let block = TableBlock::new(vec![Column::number(vec![1.]), Column::number(vec![1.])]).expect("a block");
        let error = fitted(TableEncoder::new()).encode(&numbers, &block, 0).expect_err("refused").to_string();
        assert_eq!(error, "column \"city\" has numeric values, expected categorical as at fit");
    }

    #[test]
    fn ranges_of_rows_teach_what_the_whole_teaches() {
        let (schema, encoder) = (schema(&["c", "a", "b"]), TableEncoder::new());
        let whole = block(&[3., 1., 2., 7.], &[0, 1, 0, 1]);
        let parts = [0..1, 1..3, 3..4].map(|rows| encoder.look(&schema, &whole.rows(rows), 0).expect("looked at"));
        let stats = parts.into_iter().reduce(Combine::combine).expect("three parts");
        let expected = encoder.fit((&schema, &whole), ()).expect("an encoder");
        assert_eq!(encoder.learn(&schema, stats).expect("an encoder"), expected);
        assert_eq!(expected.feature_names(), ["age", "city=c"]);
    }

    #[test]
    fn a_matrix_has_numeric_columns_only() {
        let encoder =
            FittedTableEncoder::of_numbers(["a", "b"], array![[1., 2.], [3., 4.]].view()).expect("an encoder");
        assert_eq!(encoder.feature_names(), ["a", "b"]);
        assert!(FittedTableEncoder::of_numbers(["a"], array![[1., 2.]].view()).is_err());
        assert!(FittedTableEncoder::of_numbers(["a", "a"], array![[1., 2.]].view()).is_err());
    }
}
