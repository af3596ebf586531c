//! The built-in data sets are what their documentation says.

use phalanx_array::Schema;
use phalanx_datasets::{CsvOptions, known, read_table_here};

use crate::support::{assert_same, data};

#[test]
fn the_built_in_sets_are_their_files() {
    for (name, known) in [
        ("bikeshare.csv", known::bikeshare()),
        ("hitters.csv", known::hitters()),
        ("default.csv", known::default()),
        ("churn.csv", known::churn()),
        ("longley.csv", known::longley()),
    ] {
        assert_same(&known, &read_table_here(data(name), &CsvOptions::new()).unwrap(), name);
    }
}

/// The categorical columns with their levels.
fn categorical(schema: &Schema) -> Vec<(&str, Vec<&str>)> {
    let fields = schema.fields().iter();
    fields
        .filter_map(|field| match &field.kind {
            phalanx_array::Kind::Categorical { levels } => {
                Some((field.name.as_str(), levels.iter().map(String::as_str).collect()))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn the_columns_have_the_documented_kinds() {
    assert_eq!(
        categorical(&known::bikeshare().0),
        [
            ("mnth", vec!["April", "Aug", "Dec", "Feb", "Jan", "July", "June", "March", "May", "Nov", "Oct", "Sept"]),
            ("weathersit", vec!["clear", "cloudy/misty", "heavy rain/snow", "light rain/snow"]),
        ]
    );
    assert_eq!(
        categorical(&known::hitters().0),
        [("League", vec!["A", "N"]), ("Division", vec!["E", "W"]), ("NewLeague", vec!["A", "N"])]
    );
    assert_eq!(categorical(&known::default().0), [("default", vec!["No", "Yes"]), ("student", vec!["No", "Yes"])]);
    assert_eq!(categorical(&known::churn().0).len(), 11);
    assert_eq!(categorical(&known::longley().0), []);
}

#[test]
fn known_numbers() {
    // Means by Python's math.fsum.
    for ((schema, block), column, mean) in [
        (known::bikeshare(), "bikers", 143.794_447_657_605_56),
        (known::default(), "balance", 835.374_885_612_557_1),
        (known::churn(), "monthly_charges", 64.761_692_460_599_18),
        (known::longley(), "GNP", 387_698.437_5),
    ] {
        let values = block.column(schema.position(column).unwrap()).numbers().unwrap().to_vec();
        let found = values.iter().sum::<f64>() / values.len() as f64;
        assert!((found / mean - 1.).abs() < 1e-12, "{column}: {found}");
    }
}
