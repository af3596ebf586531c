//! `phalanx fit glm` of Parquet files that are large beside the workers' memory: read again whenever they are gone over.

use std::{fs, path::Path};

use ndarray::Array2;

use crate::support::{folder, run, text};

const NAMES: [&str; 8] = ["a", "b", "c", "kind", "hole", "weight", "claims", "class"];
const N_ROWS: usize = 40_000;

/// Of each column a third of the memory that a worker is given, in row groups that no chunk's border falls on.
fn write(path: &Path) {
    let noise = |i: usize| ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.;
    let part = |first: usize, n: usize| {
        Array2::from_shape_fn((n, NAMES.len()), |(i, j)| {
            let row = first + i;
            let [a, b] = [noise(3 * row), 10. * noise(3 * row + 1) + 40.];
            match j {
                0 => a,
                1 => b,
                2 => noise(17 * row + 5),
                3 => (row * 31 % 7 % 4) as f64,
                4 if row % 11 == 3 => f64::NAN,
                4 => noise(5 * row + 2),
                5 => 0.5 + (row % 3) as f64,
                6 => (0.4 * a + 0.03 * b - 0.5 + 0.5 * noise(29 * row + 1)).exp().round(),
                _ => f64::from(u8::from(a + noise(41 * row) > -0.6)) + f64::from(u8::from(a > 0.7)),
            }
        })
    };
    let starts = (0..N_ROWS).step_by(9_001);
    let parts = starts.map(|first| part(first, 9_001.min(N_ROWS - first)));
    phalanx::datasets::write_parquet(path, &NAMES, parts).expect("written");
}

/// The model that a fit writes in so much memory, and whether its matrix was read from the file in passes of its own.
fn model(data: &Path, memory: &str, arguments: &[&str]) -> (String, bool) {
    let place = data.parent().expect("a folder");
    let [model, trace] = ["model.json", "trace.json"].map(|name| text(&place.join(name)));
    let all = ["fit", "glm", &text(data), "--memory-limit", memory, "--output", &model, "--trace", &trace];
    let (code, _, error) = run(all.iter().chain(arguments));
    assert_eq!(code, 0, "{arguments:?}: {error}");
    let read = |path: &str| fs::read_to_string(path).expect("a file");
    (read(&model), read(&trace).contains("datasets.read_parquet_numbers"))
}

#[test]
fn a_file_that_is_large_beside_the_memory_is_read_in_every_pass_and_gives_the_same_bits() {
    let place = folder();
    let data = place.path().join("rows.parquet");
    write(&data);
    for (arguments, is_plain) in [
        (&["--family", "gaussian", "--target", "c", "--features", "a,b"][..], true),
        (&["--family", "poisson", "--target", "claims", "--features", "a,b,c", "--weights", "weight"], true),
        (&["--family", "poisson", "--target", "claims", "--drop", "hole", "--categorical", "kind"], false),
        (&["--family", "poisson", "--target", "claims", "--features", "a,hole", "--missing", "mean"], false),
        (&["--family", "poisson", "--target", "claims", "--features", "a,hole", "--missing", "drop"], false),
        (&["--family", "poisson", "--formula", "claims ~ a * C(kind) + offset(log(b))"], false),
        (&["--family", "poisson", "--target", "claims", "--features", "a,b", "--path", "5", "--cv", "3"], true),
        (&["--family", "multinomial", "--target", "class", "--features", "a,c", "--alpha", "0.01"], true),
    ] {
        let (expected, is_read_again) = model(&data, "none", arguments);
        assert!(!is_read_again, "{arguments:?}");
        let (found, is_read_again) = model(&data, "1MB", arguments);
        assert_eq!(is_read_again, is_plain, "{arguments:?}");
        assert_eq!(found, expected, "{arguments:?}");
    }
}

#[test]
fn what_is_missing_in_a_large_file_is_named_by_its_row() {
    let place = folder();
    let data = place.path().join("rows.parquet");
    write(&data);
    let fit = |memory: &str| {
        run(["fit", "glm", &text(&data), "--target", "claims", "--features", "a,hole", "--memory-limit", memory])
    };
    let (code, _, error) = fit("1MB");
    assert!(code == 1 && error.contains("hole") && error.contains("row 3"), "{error}");
    assert_eq!(error, fit("none").2);
}
