//! Every complaint, word for word: it says what is wrong, where, and what to do.

use phalanx_datasets::{CsvIndex, CsvOptions, Paths, read_table_here};

use crate::support::{Folder, gzip};

/// The message for one file \"a.csv\" of this text.
fn told(text: impl AsRef<[u8]>, options: &CsvOptions) -> String {
    let folder = Folder::new();
    let path = folder.write("a.csv", text);
    folder.told(read_table_here(path, options).unwrap_err())
}

#[track_caller]
fn says(text: impl AsRef<[u8]>, expected: &str) {
    assert_eq!(told(text, &CsvOptions::new()), expected);
}

#[test]
fn headers() {
    says("", "a.csv is empty, expected a line of column names");
    says("\n\r\n\n", "a.csv is empty, expected a line of column names");
    says(
        "\n1,2.5,-3\n4,5,6\n",
        "line 2 of a.csv has no column names, only numbers; if the file has no header, say so (header = false)",
    );
    says(
        ",a,b\n0,1,2\n",
        "column 1 of a.csv has no name; if it is a row index, write the file without it \
         (pandas: index=False, R: row.names=FALSE)",
    );
    says("a,b,a\n1,2,3\n", "columns 1 and 3 of a.csv are both called \"a\"; every column needs its own name");
    says(
        "a;b\n1;2\n",
        "a.csv has one column, called \"a;b\"; if its fields are separated by ';', set the delimiter to it, \
         otherwise set the delimiter to ','",
    );
    says(b"a,\xff\n", "line 1 of a.csv, column \"2\": \"\u{fffd}\" is not UTF-8; convert the file to UTF-8");
}

#[test]
fn records() {
    says("a,b\n1,2\n1,2,3\n", "line 3 of a.csv has 3 fields, expected 2 as in its first line");
    says("a,b\n\"x\ny\",2\n\n1\n", "line 5 of a.csv has 1 fields, expected 2 as in its first line");
    says("a,b\r\n1,2\r\n\r\n3\r\n", "line 4 of a.csv has 1 fields, expected 2 as in its first line");
    says("a,b\n1,x\n2,\"y\n3,z\n", "the record that begins on line 3 of a.csv opens a quote that is never closed");
    says(
        "a,b\nx,1\ny\u{0},2\n"
            .replace('y', "\u{e9}")
            .as_bytes()
            .iter()
            .map(|&b| if b == 0xc3 { 0xff } else { b })
            .collect::<Vec<_>>(),
        "line 3 of a.csv, column \"a\": \"\u{fffd}\u{fffd}\\0\" is not UTF-8; convert the file to UTF-8",
    );
    let huge = format!("a,b\n1,\"{}", "x,\n".repeat(23_000_000));
    says(huge, "the record that begins on line 2 of a.csv is longer than 64 MiB; is a quote left open there?");
}

#[test]
fn texts_among_numbers() {
    says(
        "id,temp\n\"a\nb\",1.5\nc,\nd,abc\n",
        "line 5 of a.csv, column \"temp\": \"abc\" is not a number, but the column has numbers \
         (first on line 2 of a.csv); correct it, name it a missing value, or make the column categorical",
    );
    says(
        "temp\nunknown\n7\n",
        "line 2 of a.csv, column \"temp\": \"unknown\" is not a number, but the column has numbers \
         (first on line 3 of a.csv); correct it, name it a missing value, or make the column categorical",
    );
    assert_eq!(
        told("x,temp\n\"1\n\",\n2,12C\n", &CsvOptions::new().numeric(["temp"])),
        "line 4 of a.csv, column \"temp\": \"12C\" is not a number"
    );
}

#[test]
fn names_that_no_column_has() {
    let text = "season,mnth,hr\n1,Jan,0\n";
    let message = |options: &CsvOptions| told(text, options);
    let expected = "there is no column \"month\" in a.csv; did you mean \"mnth\"?";
    assert_eq!(message(&CsvOptions::new().categorical(["month"])), expected);
    assert_eq!(message(&CsvOptions::new().numeric(["month"])), expected);
    assert_eq!(message(&CsvOptions::new().drop(["month"])), expected);
    assert_eq!(message(&CsvOptions::new().columns(["hr", "month"])), expected);
    assert_eq!(
        message(&CsvOptions::new().drop(["xyzzy"])),
        "there is no column \"xyzzy\" in a.csv; it has \"season\", \"mnth\", \"hr\""
    );
    assert_eq!(
        message(&CsvOptions::new().drop(["season", "mnth", "hr"])),
        "no column of a.csv is left to read; name fewer in drop"
    );
}

#[test]
fn options_out_of_range() {
    let message = |options: &CsvOptions| told("a\n1\n", options);
    assert_eq!(
        message(&CsvOptions::new().delimiter(b'"')),
        "delimiter is '\"', expected an ASCII character other than a quote or a newline"
    );
    assert_eq!(message(&CsvOptions::new().max_levels(0)), "max_levels is 0, expected 1 or more");
    assert_eq!(
        message(&CsvOptions::new().chunk_rows(1000)),
        "chunk_rows is 1000, expected a multiple of 256, such as 768 or 1024"
    );
    assert_eq!(message(&CsvOptions::new().chunk_rows(0)), "chunk_rows is 0, expected a multiple of 256, 256 at least");
    assert_eq!(
        message(&CsvOptions::new().categorical(["a"]).numeric(["a"])),
        "column \"a\" is named both categorical and numeric, expected one of them"
    );
    assert_eq!(
        told("id\na\nb\nc\n", &CsvOptions::new().max_levels(2)),
        "column \"id\" of a.csv has more than 2 levels, \"c\" among them; leave the column out (drop), or raise max_levels"
    );
}

#[test]
fn files_that_are_not_there() {
    let folder = Folder::new();
    folder.write("bikeshare.csv", "a\n1\n");
    std::fs::create_dir(folder.path("folder")).unwrap();
    let message = |name: &str| folder.told(read_table_here(folder.path(name), &CsvOptions::new()).unwrap_err());
    assert_eq!(message("bikshare.csv"), "there is no file bikshare.csv; did you mean bikeshare.csv?");
    assert_eq!(message("quite-another-thing"), "there is no file quite-another-thing");
    assert_eq!(
        message("nowhere/deep/a.csv"),
        "there is no file nowhere/deep/a.csv; the directory nowhere does not exist"
    );
    assert_eq!(message("2011-*.csv"), "no file matches 2011-*.csv");
    assert_eq!(message("folder"), "folder is a directory, expected a file; for all files in it say folder/*.csv");
    assert_eq!(message("a[.csv"), "a[.csv is not a file pattern: invalid range pattern");
    let none: [&str; 0] = [];
    let empty = CsvIndex::of(Paths::from(none), &CsvOptions::new()).unwrap_err();
    assert_eq!(empty.to_string(), "no data files were given");
}

#[test]
fn files_in_other_formats() {
    says("PAR1....", "a.csv is Parquet, expected CSV, plain or gzip");
    says(b"\xff\xfea\0,\0", "a.csv is UTF-16 text, expected CSV, plain or gzip");
    says(b"\x28\xb5\x2f\xfd1234", "a.csv is compressed with zstd, expected CSV, plain or gzip");
    let zipped = gzip("a,b\n1,2\n");
    says(&zipped[..zipped.len() - 9], "cannot read a.csv: incomplete deflate stream");
}

#[test]
fn files_that_do_not_fit_together() {
    let folder = Folder::new();
    let first = folder.write("1.csv", "a,b\n1,x\n");
    let message = |text: &str| {
        let second = folder.write("2.csv", text);
        folder.told(read_table_here([first.clone(), second], &CsvOptions::new()).unwrap_err())
    };
    assert_eq!(
        message("a,c\n1,x\n"),
        "2.csv does not have the columns of 1.csv: its column 2 is \"c\", expected \"b\""
    );
    assert_eq!(message("a\n1\n"), "2.csv does not have the columns of 1.csv: its column 2 is missing, expected \"b\"");
    assert_eq!(
        message("a,b,c\n1,x,2\n"),
        "2.csv does not have the columns of 1.csv: its column 3 is \"c\", expected missing"
    );
    assert_eq!(
        message("a,b\nx,x\n"),
        "line 2 of 2.csv, column \"a\": \"x\" is not a number, but the column has numbers \
         (first on line 2 of 1.csv); correct it, name it a missing value, or make the column categorical"
    );
    assert_eq!(
        message("a,b\n2,5\n"),
        "line 2 of 1.csv, column \"b\": \"x\" is not a number, but the column has numbers \
         (first on line 2 of 2.csv); correct it, name it a missing value, or make the column categorical"
    );
}

#[test]
fn a_file_that_changes_after_it_was_indexed() {
    let folder = Folder::new();
    let path = folder.write("a.csv", "a\n1\n2\n");
    let index = CsvIndex::of(&path, &CsvOptions::new()).unwrap();
    let message = || folder.told(index.read_here().unwrap_err());
    folder.write("a.csv", "a\n1\n2\n3\n");
    assert_eq!(
        message(),
        "a.csv has changed since it was indexed (it had 6 bytes and now has 8); read it again from the start"
    );
    folder.write("a.csv", "a\n1\n3\n");
    assert_eq!(
        message(),
        "a.csv has changed since it was indexed (its bytes 2 to 6 are others); read it again from the start"
    );
    std::fs::remove_file(&path).unwrap();
    assert_eq!(message(), "cannot read a.csv: No such file or directory (os error 2)");
}
