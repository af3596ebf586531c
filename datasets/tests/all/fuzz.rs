//! Whatever bytes a file holds, the reader gives a table or an error, and reads back what it indexed.

use phalanx_datasets::{CsvIndex, CsvOptions, Mixed};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{Folder, gzip};

/// Rows of two odd fields, sometimes with a slip; or letters, those of CSV more often than others.
fn text(rng: &mut ChaCha8Rng) -> Vec<u8> {
    const LETTERS: &[u8] = b"aab12,,,;\n\n\r\"\".- eNA\xff\xc3\xa9\xef\xbb\xbf";
    const FIELDS: [&str; 14] =
        ["", "1", "-2.5", "NA", "x", "\"\"", "\"a,b\"", "\"\n\"", "\"\"\"\"", "1e9", " ", "\u{e9}", "inf", "\"3\""];
    const ENDS: [&str; 5] = ["\n", "\n", "\r\n", "\n\n", "\r"];
    let mut bytes = Vec::new();
    if rng.random() {
        bytes.extend(b"a,b\n");
        for _ in 0..rng.random_range(0..700) {
            let (a, b) = (rng.random_range(0..FIELDS.len()), rng.random_range(0..FIELDS.len()));
            bytes.extend([FIELDS[a], ",", FIELDS[b], ENDS[rng.random_range(0..ENDS.len())]].concat().bytes());
        }
        if rng.random_ratio(1, 4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
    } else {
        for _ in 0..rng.random_range(0..200) {
            let letter = LETTERS[rng.random_range(0..LETTERS.len())];
            bytes.push(if rng.random_ratio(1, 20) { rng.random() } else { letter });
        }
    }
    bytes
}

#[test]
fn no_bytes_make_the_reader_panic() {
    let folder = Folder::new();
    let mut n_read = 0;
    for seed in 0..4_000 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bytes = text(&mut rng);
        let bytes = if rng.random_ratio(1, 10) { gzip(bytes) } else { bytes };
        let path = folder.write("a.csv", &bytes);
        let mixed = if rng.random() { Mixed::Categorical } else { Mixed::Refuse };
        let options = CsvOptions::new().header(rng.random_ratio(3, 4)).mixed(mixed);
        if let Ok(index) = CsvIndex::of(path, &options) {
            let block = index.read_here().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(block.n_rows() as u64, index.n_rows(), "seed {seed}");
            n_read += 1;
        }
    }
    assert!(n_read > 500, "only {n_read} of the texts were tables");
}

#[test]
fn broken_gzip_is_an_error() {
    let folder = Folder::new();
    let whole = gzip("a,b\n1,2\n".repeat(100).replacen("a,b", "x,y", 1).replace("a,b", "3,4"));
    for seed in 0..1_000 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = whole.clone();
        let at = rng.random_range(0..bytes.len());
        if rng.random() {
            bytes.truncate(at);
        } else {
            rng.fill_bytes(&mut bytes[at..]);
        }
        let path = folder.write("a.csv.gz", &bytes);
        // Anything but a panic; a lucky change of a header byte may even read.
        let _ = CsvIndex::of(path, &CsvOptions::new()).map(|index| index.read_here());
    }
}
