//! Chunks read anywhere, in any number, are together the table that one thread reads.

use std::collections::BTreeMap;

use phalanx_array::{PANEL, Schema, Table, TableBlock};
use phalanx_datasets::{CsvIndex, CsvOptions, Mixed, read_csv, read_table_here};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    compute::compute,
    support::{Folder, assert_same, cells, data, seen},
};

fn computed(table: &Table) -> (Schema, TableBlock) {
    (table.schema().clone(), compute(table).unwrap().output)
}

/// A table of odd texts and numbers as CSV: by the csv crate's own writer, so quoted where it must be.
fn random_csv(rng: &mut ChaCha8Rng, n_rows: usize) -> String {
    const TEXTS: [&str; 9] = ["x", "y,z", "line\nbreak", "\"", "", "NA", "\u{6771}\u{4eac}", " blank ", "a\r\nb"];
    let style = [csv::QuoteStyle::Necessary, csv::QuoteStyle::Always, csv::QuoteStyle::NonNumeric];
    let end = if rng.random() { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
    let mut writer = csv::WriterBuilder::new()
        .quote_style(style[rng.random_range(0..style.len())])
        .terminator(end)
        .from_writer(Vec::new());
    writer.write_record(["number", "text", "few", "whole"]).unwrap();
    for _ in 0..n_rows {
        let number: f64 = rng.random_range(-1e3..1e3);
        let number = if rng.random_ratio(1, 10) { String::new() } else { number.to_string() };
        let text = TEXTS[rng.random_range(0..TEXTS.len())];
        let few = if rng.random() { "yes" } else { "no" };
        writer.write_record([&number, text, few, &rng.random_range(0..1000).to_string()]).unwrap();
    }
    String::from_utf8(writer.into_inner().unwrap()).unwrap()
}

/// The cells that the csv crate's reader gives, judged by `str::parse`.
fn by_the_csv_crate(text: &str) -> Vec<Vec<Option<String>>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut columns = vec![Vec::new(); 4];
    for record in reader.records() {
        for (column, field) in columns.iter_mut().zip(&record.unwrap()) {
            let cell = match field.parse::<f64>() {
                Ok(number) => Some(format!("{number:?}")),
                Err(_) if field.is_empty() || field == "NA" => None,
                Err(_) => Some(format!("{field:?}")),
            };
            column.push(cell);
        }
    }
    columns
}

#[test]
fn every_chunking_of_random_tables_is_the_whole() {
    let folder = Folder::new();
    for seed in 0..12 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let n_rows = rng.random_range(0..6 * PANEL);
        let text = random_csv(&mut rng, n_rows);
        let path = folder.write("a.csv", &text);
        let whole = read_table_here(&path, &CsvOptions::new()).unwrap();
        if n_rows > 100 {
            let found: Vec<_> = (0..4).map(|place| cells(&whole, place)).collect();
            assert_eq!(found, by_the_csv_crate(&text), "seed {seed}");
        }
        let zipped = folder.gzip("a.csv.gz", &text);
        for chunk_rows in (1..=7).map(|panels| panels * PANEL) {
            let options = CsvOptions::new().chunk_rows(chunk_rows);
            let table = read_csv(&path, &options).unwrap();
            assert_eq!(table.n_rows(), n_rows);
            assert_same(&computed(&table), &whole, &format!("seed {seed}, chunks of {chunk_rows}"));
            let table = read_csv(&zipped, &options).unwrap();
            assert_same(&computed(&table), &whole, &format!("seed {seed}, gzip, chunks of {chunk_rows}"));
        }
    }
}

#[test]
fn many_files_are_one_table() {
    let folder = Folder::new();
    for seed in 0..12 {
        let mut rng = ChaCha8Rng::seed_from_u64(100 + seed);
        let mut rows = vec!["number,text".to_owned()];
        let mut paths = Vec::new();
        for file in 0..rng.random_range(1..6) {
            let n_rows = [0, 1, 100, PANEL, 300, 2 * PANEL + 1][rng.random_range(0..6)];
            // Levels differ between files.
            let new: Vec<String> = (0..n_rows).map(|row| format!("{row},l{}", file * 2 + row % 3)).collect();
            let text = format!("number,text\n{}\n", new.join("\n"));
            let name = format!("{file}.csv");
            paths.push(if rng.random() { folder.write(&name, text) } else { folder.gzip(&name, text) });
            rows.extend(new);
        }
        let whole = read_table_here(folder.write("whole.txt", rows.join("\n")), &CsvOptions::new()).unwrap();
        let what = format!("seed {seed}");
        assert_same(&read_table_here(&paths, &CsvOptions::new()).unwrap(), &whole, &what);
        for chunk_rows in [PANEL, 2 * PANEL, 16 * PANEL] {
            let options = CsvOptions::new().chunk_rows(chunk_rows);
            assert_same(&computed(&read_csv(&paths, &options).unwrap()), &whole, &what);
        }
        assert_same(&read_table_here(folder.path("*.csv"), &CsvOptions::new()).unwrap(), &whole, &what);
        for path in paths {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn files_come_in_the_order_given_and_patterns_sorted() {
    let folder = Folder::new();
    for name in ["b.csv", "a.csv", "c.csv"] {
        folder.write(name, format!("n\n{}\n", name.as_bytes()[0]));
    }
    let names = |paths: Vec<std::path::PathBuf>| seen(&read_table_here(paths, &CsvOptions::new()).unwrap());
    assert_eq!(names(vec![folder.path("b.csv"), folder.path("a.csv")]), ["n number: 98.0 97.0"]);
    assert_eq!(names(vec![folder.path("c.csv"), folder.path("[ab].csv")]), ["n number: 99.0 97.0 98.0"]);
    assert_eq!(names(vec![folder.path("*.csv")]), ["n number: 97.0 98.0 99.0"]);
}

#[test]
fn a_gzip_file_is_decompressed_once() {
    let folder = Folder::new();
    let text: String = std::iter::once("n\n".to_owned()).chain((0..1000).map(|n| format!("{n}\n"))).collect();
    let calls = |path| {
        let table = read_csv(path, &CsvOptions::new().chunk_rows(PANEL)).unwrap();
        compute(&table).unwrap().calls
    };
    let reads = |n| BTreeMap::from([("datasets.read_csv_chunk", n)]);
    assert_eq!(calls(folder.write("a.csv", &text)), reads(4), "a call a chunk");
    assert_eq!(calls(folder.gzip("a.csv.gz", &text)), reads(5), "and one that reads the file");
    assert_eq!(calls(folder.gzip("b.csv.gz", "n\n1\n")), reads(1));
}

#[test]
fn a_chunk_that_cannot_be_read_says_where() {
    let folder = Folder::new();
    let path = folder.write("a.csv", "n\n1\n");
    let table = read_csv(&path, &CsvOptions::new()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(
        folder.told(compute(&table).map(|_| ()).unwrap_err()),
        format!(
            "cannot read a.csv on host {}, process {}: No such file or directory (os error 2); \
             data files are read by the workers, so each must find them under the same path",
            host.trim(),
            std::process::id()
        )
    );
    folder.write("a.csv", "n\n2\n");
    assert_eq!(
        folder.told(compute(&table).map(|_| ()).unwrap_err()),
        "a.csv has changed since it was indexed (its bytes 2 to 4 are others); read it again from the start"
    );
}

#[test]
fn levels_that_only_one_file_has() {
    let folder = Folder::new();
    let paths =
        [folder.write("1.csv", "a,b\n,x\n"), folder.write("2.csv", "a,b\nt,\n"), folder.write("3.csv", "a,b\n,\n")];
    assert_eq!(
        seen(&computed(&read_csv(&paths[..], &CsvOptions::new()).unwrap())),
        [r#"a ["t"]: - "t" -"#, r#"b ["x"]: "x" - -"#]
    );
    let mixed = [folder.write("4.csv", "a\n1\n"), folder.write("5.csv", "a\nx\n")];
    let options = CsvOptions::new().mixed(Mixed::Categorical);
    assert_eq!(seen(&read_table_here(&mixed[..], &options).unwrap()), [r#"a ["1", "x"]: "1" "x""#]);
}

#[test]
fn real_files_in_chunks() {
    for name in ["bikeshare.csv", "churn.csv", "hitters.csv"] {
        let options = CsvOptions::new().chunk_rows(4 * PANEL);
        let whole = read_table_here(data(name), &options).unwrap();
        assert_same(&computed(&read_csv(data(name), &options).unwrap()), &whole, name);
    }
}

#[test]
fn chunks_hold_about_32_mb_unless_said_otherwise() {
    let folder = Folder::new();
    let text: String = std::iter::once("n\n".to_owned()).chain((0..5000).map(|n| format!("{n}\n"))).collect();
    let index = CsvIndex::of(folder.write("a.csv", text), &CsvOptions::new()).unwrap();
    assert_eq!(index.table(None).unwrap().chunks().sizes(), [5000]);
    assert_eq!(index.table(Some(1024)).unwrap().chunks().sizes(), [1024, 1024, 1024, 1024, 904]);
}
