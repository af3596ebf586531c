//! Rows of the bench whose numbers are read from public data sets: which columns they have, and how those become X and
//! y. Where the files are is the user's to say.

use std::path::Path;

use ndarray::{Array1, Array2};
use phalanx_array::{Column, Schema, TableBlock};
use phalanx_datasets::{CsvOptions, read_table_here};
use phalanx_learn::{
    Fit, Transform,
    preprocess::{StandardScaler, TableEncoder},
};

use crate::{Error, Result};

/// A public data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataFile {
    /// Flights from New York in 2013, with the weather: which were late.
    Flights,
    /// Cases of dengue by month and place in Brazil.
    Dengue,
}

/// What a file has.
#[derive(Debug)]
pub(super) struct Rows {
    /// The columns standardised, each row counting once.
    pub(super) x: Array2<f64>,
    pub(super) y: Array1<f64>,
    /// How often each row counts, where that differs.
    pub(super) weights: Option<Array1<f64>>,
}

/// Cases a month of so many people are a rate.
const PEOPLE: f64 = 1e5;

impl DataFile {
    pub(super) const fn file_name(self) -> &'static str {
        match self {
            Self::Flights => "nyc_flights_late.csv.gz",
            Self::Dengue => "dengue_brazil_monthly.csv.gz",
        }
    }

    /// Whether some rows count more than others.
    pub(super) const fn is_weighted(self) -> bool {
        matches!(self, Self::Dengue)
    }

    /// The columns of X: those of numbers, and those of categories.
    const fn columns(self) -> [&'static [&'static str]; 2] {
        match self {
            Self::Flights => [
                &["hour", "distance", "temp", "humid", "wind_speed", "precip", "visib"],
                &["month", "dow", "carrier", "origin"],
            ],
            Self::Dengue => [&["tmax", "tmin", "pdsi", "pop_density", "urban", "water_network", "water_shortage"], &[]],
        }
    }

    /// The columns that y and the weights are made of.
    const fn others(self) -> &'static [&'static str] {
        match self {
            Self::Flights => &["late"],
            Self::Dengue => &["dengue_cases", "population"],
        }
    }

    /// The rows of the file in a folder that miss nothing that is used.
    pub(super) fn read(self, folder: &Path) -> Result<Rows> {
        let path = folder.join(self.file_name());
        let failed = |reason: &dyn std::fmt::Display| Error::failed(format!("{}: {reason}", path.display()));
        let ([numbers, categories], others) = (self.columns(), self.others());
        let used = [numbers, categories, others].concat();
        let options = CsvOptions::new()
            .columns(used.iter().copied())
            .categorical(categories.iter().copied())
            .numeric(numbers.iter().chain(others).copied());
        let (schema, block) = read_table_here(&path, &options).map_err(Error::failed)?;
        let block = complete(&block).map_err(|error| failed(&error))?;
        // A level's columns are in the order of texts and the first is dropped, as pandas' `get_dummies` has them.
        let encoder = TableEncoder::new().columns(numbers.iter().chain(categories).copied());
        let x = encoder.fit((&schema, &block), ()).and_then(|encoder| encoder.transform((&schema, &block)));
        let x = x.map_err(|error| failed(&error))?;
        let x = StandardScaler::new().fit(&x, ()).and_then(|scaler| scaler.transform(&x));
        let x = x.map_err(|error| failed(&error))?;
        let other = |place: usize| numbers_of(&schema, &block, others[place]).map_err(|error| failed(&error));
        Ok(match self {
            Self::Flights => Rows { x, y: other(0)?, weights: None },
            Self::Dengue => {
                let population = other(1)?;
                Rows { x, y: PEOPLE * other(0)? / &population, weights: Some(population) }
            }
        })
    }
}

/// The rows in which no column misses anything.
fn complete(block: &TableBlock) -> phalanx_array::Result<TableBlock> {
    let rows: Vec<usize> =
        (0..block.n_rows()).filter(|row| !block.columns().iter().any(|column| column.is_missing(*row))).collect();
    let columns = block.columns().iter().filter_map(|column| match (column.numbers(), column.codes()) {
        (Some(numbers), _) => Some(Column::number(rows.iter().map(|row| numbers[*row]).collect())),
        (None, codes) => codes.map(|codes| Column::categorical(rows.iter().map(|row| codes[*row]).collect())),
    });
    TableBlock::new(columns.collect())
}

fn numbers_of(schema: &Schema, block: &TableBlock, name: &str) -> phalanx_array::Result<Array1<f64>> {
    let column = block.column(schema.position(name)?);
    // The reader has made sure that it is one of numbers.
    Ok(column.numbers().unwrap_or_default().iter().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: DataFile, text: &str) -> Result<Rows> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(file.file_name()), text).expect("a file");
        file.read(folder.path())
    }

    #[test]
    fn flights_have_standardised_numbers_and_dummies_of_complete_rows() {
        let rows = "late,month,day,hour,origin,dest,carrier,distance,dow,temp,humid,wind_speed,precip,visib\n\
                    0,1,1,5,EWR,IAH,UA,1400,1,39,64,12,0,10\n\
                    1,10,1,7,LGA,IAH,AA,1000,0,40,54,14,0.1,10\n\
                    1,2,1,6,LGA,IAH,DL,1200,1,NA,54,14,0,9\n\
                    0,2,1,9,EWR,IAH,UA,1200,1,41,59,13,0,9\n\
                    1,2,1,,EWR,IAH,UA,1200,1,41,59,13,0,9\n";
        let rows = read(DataFile::Flights, rows).expect("rows");
        assert_eq!(rows.y.to_vec(), [0., 1., 0.]);
        // Seven numbers, months 10 and 2 beside 1, day 1 beside 0, UA beside AA, LGA beside EWR; DL is gone.
        assert_eq!((rows.x.dim(), rows.weights), ((3, 12), None));
        let (one, two) = (0.5_f64.sqrt(), 2_f64.sqrt());
        let columns = [
            (7, [-one, two, -one]),
            (8, [-one, -one, two]),
            (9, [one, -two, one]),
            (10, [one, -two, one]),
            (11, [-one, two, -one]),
        ];
        for (column, expected) in columns {
            for (found, expected) in rows.x.column(column).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "column {column}: {found} instead of {expected}");
            }
        }
        for column in rows.x.columns() {
            assert!(column.sum().abs() < 1e-12 && (column.dot(&column) - 3.).abs() < 1e-12, "{column}");
        }
    }

    #[test]
    fn dengue_rates_are_of_people_and_count_as_often_as_there_are_people() {
        let text = "ds,dengue_cases,population,pop_density,tmax,tmin,pdsi,urban,water_network,water_shortage\n\
                    2000-01-01,3,150000,1,30,20,-1,80,30,0.2\n\
                    2000-02-01,,150000,1,30,20,-1,80,30,0.2\n\
                    2000-03-01,5,400000,3,31,22,1,90,40,0.1\n";
        let rows = read(DataFile::Dengue, text).expect("rows");
        assert_eq!((rows.y.to_vec(), rows.x.dim()), (vec![2., 1.25], (2, 7)));
        assert_eq!(rows.weights.expect("weights").to_vec(), [150_000., 400_000.]);
        assert_eq!(rows.x.column(0).to_vec(), [-1., 1.]);
        assert_eq!(rows.x.column(6).mapv(f64::signum).to_vec(), [1., -1.]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        let error = read(DataFile::Dengue, "ds,dengue_cases\n2000-01-01,3\n").expect_err("no columns").to_string();
        assert!(error.contains("population") || error.contains("tmax"), "{error}");
        let text = "dengue_cases,population,pop_density,tmax,tmin,pdsi,urban,water_network,water_shortage\n\
                    NA,150000,1,30,20,-1,80,30,0.2\n";
        let error = read(DataFile::Dengue, text).expect_err("no complete row").to_string();
        assert!(error.contains("dengue_brazil_monthly.csv.gz"), "{error}");
    }
}
