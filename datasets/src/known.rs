//! The small real data sets that examples and tests use, built into the program.
//!
//! Their files, origins and licences are in the crate's `data` folder.

use std::path::Path;

use phalanx_array::{Schema, TableBlock};

use crate::{
    csv::{CsvIndex, CsvOptions},
    error::Result,
};

/// Hourly bike rentals in Washington, D.C., in 2011: 8,645 rows, 15 columns, nothing missing (ISLR2's `Bikeshare`).
///
/// `bikers` (rentals in the hour, 1 to 651) is `casual` + `registered`. What may explain it: `season` (1 winter to 4
/// autumn), `mnth` (month, categorical), `day` (of the year), `hr` (0 to 23), `holiday` (0, 1), `weekday` (0 Sunday to
/// 6), `workingday` (0, 1), `weathersit` (categorical: clear, cloudy/misty, light rain/snow, heavy rain/snow), and
/// `temp`, `atemp` (felt), `hum`, `windspeed`, each scaled to 0 to 1. BSD-3.
///
/// ```
/// let (schema, bikes) = phalanx_datasets::known::bikeshare();
/// let bikers = bikes.column(schema.position("bikers").unwrap()).numbers().unwrap();
/// assert_eq!((bikers.len(), bikers.iter().sum::<f64>()), (8645, 1_243_103.));
/// ```
pub fn bikeshare() -> (Schema, TableBlock) {
    embedded("bikeshare.csv", include_bytes!("../data/bikeshare.csv"))
}

/// Salaries of 322 players of major league baseball: 20 columns; 59 of the salaries are missing (ISLR2's `Hitters`).
///
/// `Salary` (1987, in thousands of dollars); of 1986: `AtBat`, `Hits`, `HmRun`, `Runs`, `RBI`, `Walks`, `PutOuts`,
/// `Assists`, `Errors`; of the career: `Years`, `CAtBat`, `CHits`, `CHmRun`, `CRuns`, `CRBI`, `CWalks`; and `League`,
/// `NewLeague` (A, N), `Division` (E, W), all categorical. BSD-3.
///
/// ```
/// let (schema, hitters) = phalanx_datasets::known::hitters();
/// assert_eq!(hitters.column(schema.position("Salary").unwrap()).n_missing(), 59);
/// ```
pub fn hitters() -> (Schema, TableBlock) {
    embedded("hitters.csv", include_bytes!("../data/hitters.csv"))
}

/// 10,000 simulated credit card customers: 4 columns, nothing missing (ISLR2's `Default`).
///
/// `default` (No, Yes) and `student` (No, Yes), both categorical; `balance` and `income` in dollars. BSD-3.
///
/// ```
/// let (_, customers) = phalanx_datasets::known::default();
/// assert_eq!((customers.n_rows(), customers.n_columns()), (10_000, 4));
/// ```
pub fn default() -> (Schema, TableBlock) {
    embedded("default.csv", include_bytes!("../data/default.csv"))
}

/// 7,043 customers of a telephone company: 20 columns; 11 total charges are missing (modeldata's `wa_churn`).
///
/// `churn` (No, Yes: whether the customer left). What may explain it: `female`, `senior_citizen`, `partner`,
/// `dependents`, `phone_service`, `paperless_billing` (0, 1); `tenure` (months); `monthly_charges`, `total_charges`
/// (dollars); and, all categorical, `multiple_lines`, `internet_service`, `online_security`, `online_backup`,
/// `device_protection`, `tech_support`, `streaming_tv`, `streaming_movies`, `contract`, `payment_method`. MIT.
///
/// ```
/// let (schema, customers) = phalanx_datasets::known::churn();
/// assert_eq!(customers.column(schema.position("total_charges").unwrap()).n_missing(), 11);
/// ```
pub fn churn() -> (Schema, TableBlock) {
    embedded("churn.csv", include_bytes!("../data/churn.csv"))
}

/// Seven economic series of 1947 to 1962, 16 rows (NIST's Longley): a regression whose columns are nearly dependent.
///
/// `TOTEMP` (employment, the response), `GNPDEFL`, `GNP`, `UNEMP`, `ARMED`, `POP`, `YEAR`. NIST certifies the
/// coefficients to 15 digits. Public domain.
///
/// ```
/// let (_, series) = phalanx_datasets::known::longley();
/// assert_eq!((series.n_rows(), series.n_columns()), (16, 7));
/// ```
pub fn longley() -> (Schema, TableBlock) {
    embedded("longley.csv", include_bytes!("../data/longley.csv"))
}

fn embedded(name: &str, text: &[u8]) -> (Schema, TableBlock) {
    let read = || -> Result<_> {
        let index = CsvIndex::of_text(text, Path::new(name), &CsvOptions::new())?;
        Ok((index.schema()?, index.read_text(text)?))
    };
    read().expect("the files in this program are right, each read by a test")
}
