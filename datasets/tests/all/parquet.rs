//! Parquet files of another writer are read as they were written, whole and in any chunks, and broken ones are named.
//!
//! The files in tests/files are pyarrow's; make.py there says how they came to be.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use phalanx_array::{PANEL, Schema, TableBlock};
use phalanx_datasets::{CsvOptions, ParquetIndex, ParquetOptions, read_csv, read_parquet, read_table, write_parquet};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    compute::compute,
    support::{Folder, assert_same, cells},
};

const N_ROWS: usize = 700;
/// What of kinds.parquet is not read.
const REFUSED: [&str; 3] = ["day", "time", "list"];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name)
}

fn here(path: &Path, options: &ParquetOptions) -> (Schema, TableBlock) {
    let index = ParquetIndex::of(path, options).unwrap();
    (index.schema().unwrap(), index.read_here().unwrap())
}

fn column(table: &(Schema, TableBlock), name: &str) -> Vec<Option<String>> {
    cells(table, table.0.position(name).unwrap())
}

fn numbers(of: impl Fn(usize) -> f64) -> Vec<Option<String>> {
    (0..N_ROWS).map(|i| Some(format!("{:?}", of(i)))).collect()
}

/// With the holes that some columns have.
fn holed(of: impl Fn(usize) -> f64) -> Vec<Option<String>> {
    numbers(of).into_iter().enumerate().map(|(i, cell)| cell.filter(|_| i % 11 != 3)).collect()
}

fn weather(i: usize) -> Option<String> {
    (i % 11 != 3).then(|| format!("{:?}", ["rain", "clear", "\u{e9}clair", "snow"][i * 7 % 4]))
}

#[test]
fn every_kind_of_column_is_what_was_written() {
    let table = here(&file("kinds.parquet"), &ParquetOptions::new().drop(REFUSED));
    let wide = |i: usize| i as f64 - 350.;
    assert_eq!(column(&table, "i8"), numbers(|i| f64::from((i % 256) as i32 - 128)));
    assert_eq!(column(&table, "u8"), numbers(|i| (i % 256) as f64));
    assert_eq!(column(&table, "i16"), holed(|i| i as f64 * 90. - 31_000.));
    assert_eq!(column(&table, "u16"), numbers(|i| 65_535. - i as f64));
    assert_eq!(column(&table, "i32"), holed(|i| wide(i) * 1_000_003.));
    assert_eq!(column(&table, "u32"), numbers(|i| 4_294_967_295. - i as f64));
    assert_eq!(column(&table, "i64"), holed(|i| wide(i) * 1e12));
    assert_eq!(column(&table, "u64"), numbers(|i| (u64::MAX - i as u64 * 4096) as f64));
    assert_eq!(column(&table, "f16"), numbers(|i| i as f64 / 8. - 40.));
    assert_eq!(column(&table, "f32"), holed(|i| f64::from((i as f64 / 7.) as f32)));
    let mut roots = numbers(|i| (i as f64).sqrt());
    roots[5] = None;
    assert_eq!(column(&table, "f64"), roots);
    assert_eq!(column(&table, "bool"), holed(|i| f64::from(u8::from(i % 3 == 0))));
    assert_eq!(column(&table, "d5"), numbers(|i| wide(i) / 100.));
    assert_eq!(column(&table, "d25"), numbers(|i| wide(i) * 1e15 / 1e6));
    assert_eq!(column(&table, "weather"), (0..N_ROWS).map(weather).collect::<Vec<_>>());
    let category = |i: usize| Some(format!("{:?}", ["b", "a", "c"][i * 5 % 3]));
    assert_eq!(column(&table, "category"), (0..N_ROWS).map(category).collect::<Vec<_>>());
    assert_eq!(column(&table, "nothing"), vec![None; N_ROWS]);
    let index = ParquetIndex::of(file("kinds.parquet"), &ParquetOptions::new().columns(["weather"])).unwrap();
    let levels = ["clear", "rain", "snow", "\u{e9}clair"].map(String::from);
    assert_eq!(index.columns()[0].levels(), Some(&levels[..]));
}

#[test]
fn columns_of_numbers_may_be_categories() {
    let options = ParquetOptions::new().columns(["i8", "bool", "f32", "f64", "i64"]);
    let table = here(&file("kinds.parquet"), &options.categorical(["i8", "bool", "f32", "i64"]));
    let quoted = |cell: String| Some(format!("{cell:?}"));
    let of = |text: &dyn Fn(usize) -> String| (0..N_ROWS).map(|i| quoted(text(i))).collect::<Vec<_>>();
    let holes = |cells: Vec<Option<String>>| {
        cells.into_iter().enumerate().map(|(i, cell)| cell.filter(|_| i % 11 != 3)).collect::<Vec<_>>()
    };
    assert_eq!(column(&table, "i8"), of(&|i| ((i % 256) as i32 - 128).to_string()));
    assert_eq!(column(&table, "bool"), holes(of(&|i| (i % 3 == 0).to_string())));
    assert_eq!(column(&table, "f32"), holes(of(&|i| ((i as f64 / 7.) as f32).to_string())));
    assert_eq!(column(&table, "i64"), holes(of(&|i| ((i as i64 - 350) * 1_000_000_000_000).to_string())));
}

#[test]
fn every_compression_and_page_is_read_alike() {
    let wanted = ["f64", "weather", "i32", "bool", "i64"];
    let expected = here(&file("kinds.parquet"), &ParquetOptions::new().columns(wanted));
    for name in ["plain.zstd.parquet", "lz4.parquet", "gzip.parquet"] {
        let found = here(&file(name), &ParquetOptions::new());
        assert_eq!(found.0.names().collect::<Vec<_>>(), wanted, "{name}");
        for name_of in wanted {
            assert_eq!(column(&found, name_of), column(&expected, name_of), "{name}, {name_of}");
        }
    }
    let error = ParquetIndex::of(file("brotli.parquet"), &ParquetOptions::new().columns(["f64"])).unwrap();
    let error = error.read_here().unwrap_err().to_string();
    assert!(error.contains("brotli.parquet") && error.to_lowercase().contains("brotli"), "{error}");
}

#[test]
fn chunks_are_the_whole_and_matrices_the_table() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let folder = Folder::new();
    for seed in 0..10 {
        // Row groups of odd sizes, in several files.
        let mut paths = Vec::new();
        for name in 0..rng.random_range(1..4) {
            let sizes: Vec<usize> = (0..rng.random_range(0..4)).map(|_| rng.random_range(1..900)).collect();
            let parts = sizes.iter().map(|rows| Array2::from_shape_simple_fn((*rows, 3), || rng.random::<f64>()));
            let parts: Vec<_> = parts.collect();
            let path = folder.path(&format!("{seed}-{name}.parquet"));
            write_parquet(&path, &["a", "b", "c"], parts).unwrap();
            paths.push(path);
        }
        let index = ParquetIndex::of(&paths, &ParquetOptions::new()).unwrap();
        let whole = (index.schema().unwrap(), index.read_here().unwrap());
        assert_eq!(whole.1.n_rows() as u64, index.n_rows());
        for chunk_rows in [PANEL, 3 * PANEL, 8 * PANEL] {
            let table = index.table(Some(chunk_rows)).unwrap();
            assert!(table.chunks().ranges().all(|rows| rows.start % PANEL == 0));
            let found = (table.schema().clone(), compute(&table).unwrap().output);
            assert_same(&found, &whole, &format!("seed {seed}, chunks of {chunk_rows}"));
            let matrix = compute(&index.numbers(&["c", "a"], Some(chunk_rows)).unwrap()).unwrap().output;
            let vector = compute(&index.column("b", Some(chunk_rows)).unwrap()).unwrap().output;
            let [a, b, c] = [0, 1, 2].map(|place| whole.1.column(place).numbers().unwrap());
            let rows: Vec<f64> = c.iter().zip(a).flat_map(|(c, a)| [*c, *a]).collect();
            assert_eq!(
                (matrix.iter().copied().collect::<Vec<_>>(), &vector.iter().copied().collect::<Vec<_>>()[..]),
                (rows, b)
            );
        }
    }
    // Pages within a row group are stepped over, with dictionaries and nulls.
    for name in ["lz4.parquet", "plain.zstd.parquet"] {
        let whole = here(&file(name), &ParquetOptions::new());
        let table = read_parquet(file(name), &ParquetOptions::new().chunk_rows(PANEL)).unwrap();
        assert_eq!(table.chunks().n_chunks(), 3);
        assert_same(&(table.schema().clone(), compute(&table).unwrap().output), &whole, name);
    }
}

#[test]
fn one_call_reads_both_formats_and_refuses_a_mixture() {
    let folder = Folder::new();
    let parquet = folder.path("a.parquet");
    write_parquet(&parquet, &["x", "y"], [Array2::from_elem((3, 2), 0.5)]).unwrap();
    let csv = folder.write("a.csv", "x,y\n0.5,0.5\n0.5,0.5\n0.5,0.5\n");
    let read = |path: &PathBuf| {
        let table = read_table(path, &CsvOptions::new()).unwrap();
        (table.schema().clone(), compute(&table).unwrap().output)
    };
    assert_same(&read(&parquet), &read(&csv), "the same table");
    let odd = folder.path("no-extension");
    std::fs::copy(&parquet, &odd).unwrap();
    assert_same(&read(&odd), &read(&csv), "a file called otherwise");
    let told = |paths: [&PathBuf; 2]| folder.told(read_table(paths, &CsvOptions::new()).unwrap_err());
    assert_eq!(told([&csv, &parquet]), "a.parquet is Parquet and a.csv is not; expected files of one format");
    let named = folder.write("b.parquet", "x,y\n1,2\n");
    let error = folder.told(read_table(&named, &CsvOptions::new()).unwrap_err());
    assert_eq!(error, "b.parquet is not a whole Parquet file: it does not begin with PAR1; write it again");
    assert_eq!(
        folder.told(read_csv(&parquet, &CsvOptions::new()).unwrap_err()),
        "a.parquet is Parquet, expected CSV, plain or gzip"
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = Folder::new();
    let kinds = file("kinds.parquet");
    let told = |options: ParquetOptions| {
        let text = ParquetIndex::of(&kinds, &options).unwrap_err().to_string();
        text.replace(&format!("{}/", kinds.parent().unwrap().display()), "")
    };
    let hint = "; leave it out (drop), or write it as numbers";
    for (name, what) in [("day", "dates"), ("time", "timestamps"), ("list", "nested")] {
        let expected =
            format!("column {name:?} of kinds.parquet holds {what}, expected numbers or texts{hint} or texts");
        assert_eq!(told(ParquetOptions::new().columns([name])), expected);
    }
    assert_eq!(
        told(ParquetOptions::new().drop(REFUSED).numeric(["weather"])),
        format!("column \"weather\" of kinds.parquet holds texts, expected numbers{hint}")
    );
    assert_eq!(
        told(ParquetOptions::new().columns(["whether"])),
        "there is no column \"whether\" in kinds.parquet; did you mean \"weather\"?"
    );
    let many = told(ParquetOptions::new().columns(["weather"]).max_levels(3));
    assert!(many.starts_with("column \"weather\" of kinds.parquet has more than 3 levels"), "{many}");
    let options = ParquetOptions::new().columns(["weather"]).categorical(["weather"]).numeric(["weather"]);
    assert_eq!(told(options), "column \"weather\" is named both categorical and numeric, expected one of them");

    let (a, b) = (folder.path("a.parquet"), folder.path("b.parquet"));
    write_parquet(&a, &["x", "y"], [Array2::zeros((2, 2))]).unwrap();
    write_parquet(&b, &["y", "z"], [Array2::zeros((2, 2))]).unwrap();
    let told = |options| folder.told(ParquetIndex::of([&a, &b], &options).unwrap_err());
    assert_eq!(
        told(ParquetOptions::new()),
        "b.parquet does not have the columns of a.parquet: its column \"x\" is missing, expected numeric"
    );
    assert_eq!(
        told(ParquetOptions::new().drop(["x"])),
        "b.parquet does not have the columns of a.parquet: its column \"z\" is there, expected missing"
    );
    // Columns go by name, not by place.
    write_parquet(&b, &["y", "x"], [Array2::from_shape_fn((1, 2), |(_, j)| j as f64)]).unwrap();
    let (_, block) = {
        let index = ParquetIndex::of([&a, &b], &ParquetOptions::new()).unwrap();
        (0, index.read_here().unwrap())
    };
    assert_eq!(block.column(0).numbers(), Some(&[0., 0., 1.][..]));

    let index = ParquetIndex::of(&a, &ParquetOptions::new()).unwrap();
    write_parquet(&a, &["x", "y"], [Array2::ones((2, 2))]).unwrap();
    assert!(folder.told(index.read_here().unwrap_err()).starts_with("a.parquet has changed since it was indexed"));
    let wrong = write_parquet(&a, &["x"], [Array2::zeros((2, 2))]).unwrap_err();
    assert_eq!(wrong.to_string(), "parts is a matrix of 2 columns, expected 1, one a name");
    assert_eq!(ParquetIndex::of(&a, &ParquetOptions::new()).unwrap().n_rows(), 2, "what was there is as it was");
}

#[test]
fn broken_files_are_errors_that_name_them() {
    let folder = Folder::new();
    let mut n_errors = 0;
    for (name, n_seeds) in
        [("kinds.parquet", 150), ("plain.zstd.parquet", 150), ("gzip.parquet", 100), ("lz4.parquet", 100)]
    {
        let whole = std::fs::read(file(name)).unwrap();
        for seed in 0..n_seeds {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut bytes = whole.clone();
            let at = rng.random_range(0..bytes.len());
            match seed % 3 {
                0 => bytes.truncate(at),
                1 => {
                    let end = (at + rng.random_range(1..40)).min(bytes.len());
                    rng.fill_bytes(&mut bytes[at..end]);
                }
                // The footer is what most depends on.
                _ => {
                    let footer = bytes.len() - rng.random_range(8..6000).min(bytes.len());
                    bytes[footer] ^= 1 << rng.random_range(0..8);
                }
            }
            let path = folder.write("broken.parquet", &bytes);
            let options = ParquetOptions::new().columns(["f64", "weather", "i32", "bool"]);
            // Numbers that were changed may read; all else is an error with the path.
            let read = ParquetIndex::of(&path, &options).and_then(|index| index.read_here());
            if let Err(error) = read {
                assert!(error.to_string().contains("broken.parquet"), "{name}, seed {seed}: {error}");
                n_errors += 1;
            }
        }
    }
    assert!(n_errors > 200, "only {n_errors} were seen");
    for bytes in [&b""[..], b"PAR1", b"PAR1PAR1", b"PAR1\xff\xff\xff\xffPAR1", b"PAR1....\x04\0\0\0PAR1"] {
        let path = folder.write("tiny.parquet", bytes);
        let error = folder.told(ParquetIndex::of(&path, &ParquetOptions::new()).unwrap_err());
        assert!(error.starts_with("tiny.parquet is not a whole Parquet file: "), "{error}");
    }
}
