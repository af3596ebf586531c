//! A formula that has seen data: the columns of the design matrix, each a product of what a table's columns become.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::{Factor, terms};
use crate::{
    Error, Result,
    preprocess::{Basis, EncodedColumn, FittedTableEncoder, NaturalSpline},
};

/// More columns of one matrix than anybody has room for.
const MAX_COLUMNS: usize = 100_000;

/// What a formula has learned. Columns are those of the table's encoder, with a column for each level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FittedFormula {
    text: String,
    splines: Vec<Basis>,
    features: Vec<Feature>,
}

/// A column of the design matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Feature {
    name: String,
    /// The one column of the table that it is made of; none for products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    product: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Part {
    Column(usize),
    Log(usize),
    Spline { column: usize, spline: usize, curve: usize },
}

/// Makes an encoder of a formula's terms, given that of the columns with all levels, and the numbers of a column.
pub(super) fn fit(
    text: &str,
    terms: &[terms::Term],
    mut raw: FittedTableEncoder,
    numbers: impl Fn(&str) -> Result<Vec<f64>>,
) -> Result<FittedTableEncoder> {
    let kinds: BTreeMap<&str, bool> =
        raw.columns().iter().map(|of| (of.name(), matches!(of, EncodedColumn::Categorical { .. }))).collect();
    let is_category = |column: &str| kinds.get(column).copied().unwrap_or(false);
    for factor in terms.iter().flatten() {
        match factor {
            Factor::Column(_) => {}
            Factor::Categories(column) if !is_category(column) => {
                return Err(kind(column, "numeric values", "categories, as C() says; read it as such"));
            }
            Factor::Categories(_) => {}
            Factor::Log(column) | Factor::Spline { column, .. } if is_category(column) => {
                return Err(not_numbers(column));
            }
            Factor::Log(_) | Factor::Spline { .. } => {}
        }
    }
    let mut splines: Vec<Basis> = Vec::new();
    let mut known: BTreeMap<Factor, usize> = BTreeMap::new();
    for factor in terms.iter().flatten() {
        if let (Factor::Spline { column, df }, false) = (factor, known.contains_key(factor)) {
            let filled = match raw.columns().iter().find(|of| of.name() == column) {
                Some(EncodedColumn::Number { fill: Some(fill), .. }) => fill.mean,
                _ => f64::NAN,
            };
            let values = numbers(column)?.into_iter().map(|value| if value.is_nan() { filled } else { value });
            known.insert(factor.clone(), splines.len());
            splines.push(NaturalSpline::new().df(*df).basis(&format!("column {column:?}"), values)?);
        }
    }
    let names = raw.feature_names();
    let coded = terms::code(terms, |factor| is_category(factor.column()));
    let mut features = Vec::new();
    for product in coded.into_iter().filter(|product| !product.is_empty()) {
        let single = product.len() == 1;
        let of = single.then(|| product[0].0.column().to_owned());
        // What each factor becomes: names with parts.
        let factors: Vec<Vec<(String, Part)>> = product
            .iter()
            .map(|(factor, all_levels)| {
                let column = factor.column();
                let places = raw.features_of(column).unwrap_or(0..0);
                match factor {
                    Factor::Log(_) => vec![(format!("log({column})"), Part::Log(places.start))],
                    Factor::Spline { df, .. } => {
                        let spline = known.get(factor).copied().unwrap_or_default();
                        let curve = |curve: usize| {
                            let part = Part::Spline { column: places.start, spline, curve };
                            (format!("ns({column}, df={df}){}", curve + 1), part)
                        };
                        (0..*df).map(curve).collect()
                    }
                    Factor::Column(_) | Factor::Categories(_) => {
                        let kept = if is_category(column) {
                            places.start + usize::from(!all_levels)..places.end
                        } else if single {
                            // Beside what was filled in, where.
                            places
                        } else {
                            places.start..places.start + 1
                        };
                        kept.map(|place| (names[place].clone(), Part::Column(place))).collect()
                    }
                }
            })
            .collect();
        let n_columns = factors.iter().fold(1, |n: usize, factor| n.saturating_mul(factor.len()));
        if features.len().saturating_add(n_columns) > MAX_COLUMNS {
            return Err(Error::parameter("formula", "of more than 100,000 columns", "less"));
        }
        // The first factor goes through its levels first.
        let mut products: Vec<(Vec<&str>, Vec<Part>)> = vec![(Vec::new(), Vec::new())];
        for factor in &factors {
            products = factor
                .iter()
                .flat_map(|(name, part)| {
                    products.iter().map(move |(names, parts)| {
                        ([&names[..], &[name.as_str()]].concat(), [&parts[..], &[*part]].concat())
                    })
                })
                .collect();
        }
        features.extend(products.into_iter().map(|(names, product)| Feature {
            name: names.join(":"),
            of: of.clone(),
            product,
        }));
    }
    raw.formula = Some(FittedFormula { text: text.to_owned(), splines, features });
    Ok(raw)
}

impl FittedFormula {
    pub(crate) fn names(&self) -> Vec<String> {
        self.features.iter().map(|feature| feature.name.clone()).collect()
    }

    pub(crate) const fn n_features(&self) -> usize {
        self.features.len()
    }

    /// The places of what is made of one column alone, where they are neighbours.
    pub(crate) fn features_of(&self, column: &str) -> Option<std::ops::Range<usize>> {
        let is = |feature: &Feature| feature.of.as_deref() == Some(column);
        let first = self.features.iter().position(is)?;
        let n = self.features[first..].iter().take_while(|feature| is(feature)).count();
        let all = self.features.iter().filter(|feature| is(feature)).count();
        (n == all).then_some(first..first + n)
    }

    /// The design matrix of rows whose columns are encoded with a column for each level.
    pub(crate) fn transform(
        &self,
        raw: ArrayView2<'_, f64>,
        names: &[String],
        first_row: usize,
    ) -> Result<Array2<f64>> {
        let broken = || Error::parameter("the encoder's formula", format!("{:?}", self.text), "one of its columns");
        let column = |place: usize| if place < raw.ncols() { Ok(raw.column(place)) } else { Err(broken()) };
        let mut curves: BTreeMap<(usize, usize), Vec<Vec<f64>>> = BTreeMap::new();
        let mut x = Array2::ones((raw.nrows(), self.features.len()));
        for (feature, mut found) in self.features.iter().zip(x.columns_mut()) {
            for part in &feature.product {
                match *part {
                    Part::Column(place) => found *= &column(place)?,
                    Part::Log(place) => {
                        for (row, (found, value)) in found.iter_mut().zip(column(place)?).enumerate() {
                            if *value <= 0. {
                                let what = format!("log({}) in row {}", names[place], first_row + row);
                                return Err(Error::parameter(what, format!("of {value}"), "a number above 0"));
                            }
                            *found *= value.ln();
                        }
                    }
                    Part::Spline { column: place, spline, curve } => {
                        let basis = self.splines.get(spline).filter(|basis| curve < basis.df()).ok_or_else(broken)?;
                        let numbers = column(place)?;
                        let at = curves.entry((place, spline)).or_insert_with(|| basis.at(numbers.iter().copied()));
                        found.iter_mut().zip(at).for_each(|(found, at)| *found *= at[curve]);
                    }
                }
            }
        }
        Ok(x)
    }
}

pub(super) fn not_numbers(column: &str) -> Error {
    kind(column, "categorical values", "numbers for log() and ns()")
}

fn kind(column: &str, found: &str, expected: &str) -> Error {
    let (name, found, expected) = (column.to_owned(), found.to_owned(), expected.to_owned());
    Error::Array(phalanx_array::Error::Column { name, found, expected })
}
