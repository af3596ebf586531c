//! The policies for missing values: the same in memory, in chunks, and in a model file.

use ndarray::{Array1, array};
use phalanx_array::{Column, Field, MISSING, PANEL, Schema, Table, TableBlock};
use phalanx_learn::{
    DummyRegressor, Estimator, Fit, FitOn, ModelFile, Transform,
    preprocess::{EncodedColumn, Fill, Missing, RawRow, TableEncoder, drop_missing, drop_missing_rows},
};
use phalanx_runtime::blocking::Client;

fn schema() -> Schema {
    Schema::new(vec![Field::number("age"), Field::categorical("city", ["Ulm", "Basel"]), Field::number("pay")]).unwrap()
}

/// Ages are missing in every seventh row, cities in every fifth, pay in none.
fn block(n: usize) -> TableBlock {
    let age = (0..n).map(|i| if i % 7 == 3 { f64::NAN } else { ((i * 37) % 101) as f64 / 7. });
    let city = (0..n).map(|i| if i % 5 == 2 { MISSING } else { (i % 2) as u32 });
    let pay = (0..n).map(|i| i as f64);
    let age: Vec<f64> = age.collect();
    let missing: Vec<bool> = age.iter().map(|age| age.is_nan()).collect();
    let age = Column::number_with_missing(age, &missing);
    TableBlock::new(vec![age, Column::categorical(city.collect()), Column::number(pay.collect())]).unwrap()
}

#[test]
fn a_mean_stands_for_a_number_and_a_level_for_a_category() {
    let (schema, n) = (schema(), 11 * PANEL + 5);
    let whole = block(n);
    assert!(TableEncoder::new().fit((&schema, &whole), ()).is_err());
    let how = TableEncoder::new().missing(Missing::Mean);
    let encoder = how.fit((&schema, &whole), ()).unwrap();
    assert_eq!(encoder.feature_names(), ["age", "age=missing", "city=Ulm", "city=missing", "pay"]);
    let x = encoder.transform((&schema, &whole)).unwrap();
    let known: Vec<f64> = (0..n).filter(|i| i % 7 != 3).map(|i| ((i * 37) % 101) as f64 / 7.).collect();
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    let EncodedColumn::Number { fill: Some(Fill { mean: found, indicator: true }), .. } = encoder.columns()[0] else {
        panic!("{:?}", encoder.columns()[0])
    };
    assert!((found - mean).abs() < 1e-12);
    assert_eq!(x.row(3).to_vec(), [found, 1., 0., 0., 3.]);
    assert_eq!(x.row(2).to_vec(), [74. / 7., 0., 0., 1., 2.]);

    let client = Client::local().unwrap();
    for chunk in [PANEL, 4 * PANEL] {
        let table = Table::from_block(schema.clone(), whole.clone(), chunk).unwrap();
        let chunked = client.wait(how.fit_on(&client, &table, &())).unwrap();
        assert_eq!(chunked, encoder);
        let lazy = client.wait(client.compute(&chunked.transform(&table).unwrap())).unwrap();
        assert_eq!(lazy.into_dimensionality::<ndarray::Ix2>().unwrap(), x);
    }

    let y = Array1::from_elem(n, 1.);
    let model = DummyRegressor::new().fit_dyn(x.view(), y.view()).unwrap();
    let file = ModelFile::new(&DummyRegressor::new(), &*model, encoder, "y", (&schema, &whole)).unwrap();
    let back = ModelFile::from_json(&file.to_json().unwrap()).unwrap();
    assert_eq!(back.encoder, file.encoder);
    let row: Vec<RawRow> = serde_json::from_str(r#"[{"age": null, "pay": null, "city": null}]"#).unwrap();
    let row = back.encoder.encode_raw(&row).unwrap();
    // None of pay was missing in training, so no column says that one is.
    assert_eq!(row, array![[found, 1., 0., 1., (n - 1) as f64 / 2.]]);
}

#[test]
fn what_cannot_be_filled_is_named() {
    let schema = Schema::new(vec![Field::number("age"), Field::categorical("city", ["missing", "Ulm"])]).unwrap();
    let said = |age: [f64; 2], city: [u32; 2]| {
        let block = TableBlock::new(vec![Column::number(age.to_vec()), Column::categorical(city.to_vec())]).unwrap();
        TableEncoder::new().missing(Missing::Mean).fit((&schema, &block), ()).unwrap_err().to_string()
    };
    assert_eq!(
        said([f64::NAN; 2], [0, 1]),
        "column \"age\" is without any, expected a finite mean of its numbers, to stand for what is missing"
    );
    assert_eq!(
        said([1., 2.], [0, MISSING]),
        "column \"city\" is with one, expected no level \"missing\": it is to stand for what is missing"
    );
    assert!(said([f64::INFINITY, 1.], [0, 1]).contains("inf in row 0"));
}

#[test]
fn dropped_rows_leave_the_table_that_never_had_them() {
    let (schema, whole) = (schema(), block(9 * PANEL + 77));
    let kept = drop_missing_rows(&schema, &whole, &["age", "city"]).unwrap();
    assert_eq!(kept.n_rows(), (0..whole.n_rows()).filter(|i| i % 7 != 3 && i % 5 != 2).count());
    let client = Client::local().unwrap();
    for chunk in [PANEL, 3 * PANEL, 20 * PANEL] {
        let table = Table::from_block(schema.clone(), whole.clone(), chunk).unwrap();
        let (found, n_dropped) = client.wait(drop_missing(&client, &table, &["age", "city"])).unwrap();
        assert_eq!((found.n_rows(), n_dropped), (kept.n_rows(), whole.n_rows() - kept.n_rows()));
        let numbers = |block: &TableBlock| block.column(2).numbers().unwrap().to_vec();
        assert_eq!(numbers(&client.wait(client.compute(&found)).unwrap()), numbers(&kept));
        assert!(client.wait(drop_missing(&client, &table, &["aeg"])).is_err());
    }
    let none = TableBlock::new(vec![
        Column::number(vec![f64::NAN]),
        Column::categorical(vec![MISSING]),
        Column::number(vec![1.]),
    ]);
    let table = Table::from_block(schema, none.unwrap(), PANEL).unwrap();
    let (found, n_dropped) = client.wait(drop_missing(&client, &table, &["city"])).unwrap();
    assert_eq!((found.n_rows(), n_dropped), (0, 1));
}
