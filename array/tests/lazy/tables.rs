//! Lazy tables: columns by name, rows by range, whatever the chunks.

use phalanx_array::{Column, Error, Field, MISSING, PANEL, Schema, Table, TableBlock};
use phalanx_engine::graph::{Collection, Delayed};

use crate::local::{Local, compute};

const N: usize = 3 * PANEL + 50;

fn schema() -> Schema {
    Schema::new(vec![Field::number("age"), Field::categorical("city", ["Basel", "Ulm"]), Field::number("score")])
        .unwrap()
}

fn block() -> TableBlock {
    let numbers = |scale: f64| (0..N).map(move |row| row as f64 * scale);
    let missing: Vec<_> = (0..N).map(|row| row % 10 == 3).collect();
    TableBlock::new(vec![
        Column::number(numbers(1.0).collect()),
        Column::categorical((0..N as u32).map(|row| if row % 7 == 0 { MISSING } else { row % 2 }).collect()),
        Column::number_with_missing(numbers(0.5).collect(), &missing),
    ])
    .unwrap()
}

/// Missing numbers are NaN, which does not equal itself, so blocks are compared as they are seen.
fn seen(block: &TableBlock) -> String {
    format!("{block:?}")
}

#[test]
fn a_table_comes_home_as_it_was() {
    for chunk_rows in [PANEL, 2 * PANEL, N] {
        let table = Table::from_block(schema(), block(), chunk_rows).unwrap();
        let mut local = Local::with_travel(true);
        assert_eq!(seen(&local.compute(&table)), seen(&block()));
        let kept = local.persist(&table.select(&["score", "city"]).unwrap());
        assert_eq!(seen(&compute(&kept)), seen(&block().select(&[2, 1])));
        assert_eq!(kept.schema().names().collect::<Vec<_>>(), ["score", "city"]);
    }
}

#[test]
fn rows_are_cut_anew() {
    let table = Table::from_block(schema(), block(), PANEL).unwrap();
    for (rows, sizes) in [(0..N, vec![256, 256, 256, 50]), (10..700, vec![256, 256, 178]), (5..5, vec![0])] {
        let part = table.slice_rows(rows.clone()).unwrap();
        assert_eq!(part.chunks().sizes(), sizes);
        assert_eq!(seen(&compute(&part)), seen(&block().rows(rows)));
    }
    let whole = table.rechunk(3 * PANEL).unwrap();
    assert_eq!((whole.blocks().len(), seen(&compute(&whole))), (2, seen(&block())));
    assert_eq!(table.slice_rows(3..N + 1).unwrap_err(), Error::Range { start: 3, end: N + 1, len: N });
}

#[test]
fn columns_become_arrays() {
    let table = Table::from_block(schema(), block(), 2 * PANEL).unwrap();
    let age = compute(&table.column("age").unwrap());
    assert_eq!(age.as_slice().unwrap(), block().column(0).numbers().unwrap());
    let both = compute(&table.numbers(&["score", "age"]).unwrap());
    assert_eq!(both.shape(), [N, 2]);
    assert_eq!((both[[4, 0]], both[[4, 1]]), (2.0, 4.0));
    assert!(both[[3, 0]].is_nan());
    assert_eq!(compute(&table.numbers(&[""; 0]).unwrap()).shape(), [N, 0]);
}

#[test]
fn a_wrong_column_is_named() {
    let table = Table::from_block(schema(), block(), PANEL).unwrap();
    assert_eq!(
        table.column("city").unwrap_err().to_string(),
        "column \"city\" is categorical, expected numeric; encode it first, for example with OneHotEncoder, or drop it"
    );
    assert_eq!(table.drop(&["scor"]).unwrap_err().to_string(), "there is no column \"scor\"; did you mean \"score\"?");
    let twice = table.select(&["age", "age"]).unwrap_err();
    assert_eq!(twice.to_string(), "column \"age\" has places 0 and 1, expected a name of its own");
    assert_eq!(table.drop(&["age", "score"]).unwrap().schema().names().collect::<Vec<_>>(), ["city"]);
}

#[test]
fn parts_that_are_not_the_table_are_refused() {
    let table = Table::from_block(schema(), block(), PANEL).unwrap();
    assert!(Table::new(schema(), table.chunks().clone(), vec![]).is_err());
    let wrong = Table::new(schema(), phalanx_array::Chunks::single(3), vec![Delayed::value(block())]).unwrap();
    let values = vec![phalanx_engine::value::Value::new(block())];
    assert!(wrong.assemble(values).is_err());
    assert!(Table::from_block(schema(), block().select(&[0, 1]), PANEL).is_err());
}
