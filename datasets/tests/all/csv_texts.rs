//! Texts that CSV readers stumble over, each with the table it is.

use phalanx_datasets::{CsvIndex, CsvOptions, Mixed, read_table_here};

use crate::support::{Folder, seen};

fn table(text: impl AsRef<[u8]>, options: &CsvOptions) -> Vec<String> {
    let folder = Folder::new();
    let plain = seen(&read_table_here(folder.write("a.csv", &text), options).unwrap());
    let zipped = seen(&read_table_here(folder.gzip("b.csv.gz", &text), options).unwrap());
    assert_eq!(plain, zipped, "gzip is told by the bytes, and reads the same");
    plain
}

#[track_caller]
fn reads(text: &str, expected: &[&str]) {
    assert_eq!(table(text, &CsvOptions::new()), expected, "{text:?}");
}

#[test]
fn numbers_and_texts() {
    reads("a,b\n1,x\n2.5,y\n", &["a number: 1.0 2.5", r#"b ["x", "y"]: "x" "y""#]);
    reads("a\n1e3\n-.5\n+7\n 8 \ninf\n", &["a number: 1000.0 -0.5 7.0 8.0 inf"]);
    reads("a\nTRUE\nfalse\n", &[r#"a ["TRUE", "false"]: "TRUE" "false""#]);
    reads("a\n x\nx \n", &[r#"a [" x", "x "]: " x" "x ""#]);
}

#[test]
fn quotes() {
    reads("a,b\n\"1\",\"x\"\n", &["a number: 1.0", r#"b ["x"]: "x""#]);
    reads("\"a,b\",c\n\"1,5\",2\n", &[r#"a,b ["1,5"]: "1,5""#, "c number: 2.0"]);
    reads("a\n\"he said \"\"no\"\"\"\n", &[r#"a ["he said \"no\""]: "he said \"no\"""#]);
    reads("a,b\n\"x\ny\",1\n\"\n\",2\n", &[r#"a ["x\ny"]: "x\ny" -"#, "b number: 1.0 2.0"]);
    reads("a\n5\" pipe\n", &[r#"a ["5\" pipe"]: "5\" pipe""#]);
    reads("a,b\n\"x\r\ny\",1\r\n", &[r#"a ["x\r\ny"]: "x\r\ny""#, "b number: 1.0"]);
    reads("a,b\n\"\",\"\"\n", &["a number: -", "b number: -"]);
}

#[test]
fn ends_of_lines() {
    let expected = ["a number: 1.0 3.0", "b number: 2.0 4.0"];
    for text in [
        "a,b\n1,2\n3,4\n",
        "a,b\n1,2\n3,4",
        "a,b\r\n1,2\r\n3,4\r\n",
        "a,b\r\n1,2\r\n3,4",
        "a,b\r1,2\r3,4",
        "\n\na,b\n\n1,2\r\n\n\n3,4\n\n\n",
        "\u{feff}a,b\n1,2\n3,4\n",
        "\u{feff}\"a\",b\n1,2\n3,\"4\"",
    ] {
        reads(text, &expected);
    }
}

#[test]
fn missing_values() {
    let text = "a,b\n1,x\n,\nNA,NaN\n n/a ,null\n\"NA\",None\n-NAN,#N/A\n";
    reads(text, &["a number: 1.0 - - - - -", r#"b ["x"]: "x" - - - - -"#]);
    reads("a,b\nNA,\n,\n", &["a number: - -", "b number: - -"]);
    let own = CsvOptions::new().missing(["-999", "?"]);
    assert_eq!(
        table("a,b\n-999,?\n1,NA\n,\n", &own),
        ["a number: - 1.0 -", r#"b ["NA"]: - "NA" -"#],
        "an own list replaces the known one, but for empty fields"
    );
}

#[test]
fn unicode() {
    reads("größe,名前\n1,Zürich\n2,東京\n", &["größe number: 1.0 2.0", r#"名前 ["Zürich", "東京"]: "Zürich" "東京""#]);
    reads("a,b\n\u{feff}x,1\n", &["a [\"\\u{feff}x\"]: \"\\u{feff}x\"", "b number: 1.0"]);
}

#[test]
fn no_rows() {
    reads("a,b\n", &["a number: ", "b number: "]);
    reads("a,b", &["a number: ", "b number: "]);
}

#[test]
fn what_the_caller_asks_for() {
    let text = "hr,city,x\n10,A,1\n9,B,2\n,A,3\n10,,4\n";
    assert_eq!(
        table(text, &CsvOptions::new().categorical(["hr"]).drop(["x"])),
        [r#"hr ["9", "10"]: "10" "9" - "10""#, r#"city ["A", "B"]: "A" "B" "A" -"#]
    );
    assert_eq!(
        table(text, &CsvOptions::new().columns(["x", "hr"]).numeric(["x"])),
        ["hr number: 10.0 9.0 - 10.0", "x number: 1.0 2.0 3.0 4.0"]
    );
    assert_eq!(table("a;b\n1,5;2\n", &CsvOptions::new().delimiter(b';')), [r#"a ["1,5"]: "1,5""#, "b number: 2.0"]);
    assert_eq!(table("a\tb\n1\t2\n", &CsvOptions::new().delimiter(b'\t')), ["a number: 1.0", "b number: 2.0"]);
    assert_eq!(table("a;b\n1\n", &CsvOptions::new().delimiter(b',')), ["a;b number: 1.0"]);
    assert_eq!(
        table("1,x\n2,y\n", &CsvOptions::new().header(false)),
        ["column_1 number: 1.0 2.0", r#"column_2 ["x", "y"]: "x" "y""#]
    );
}

#[test]
fn a_mixed_column_is_categorical_where_that_is_asked_for() {
    let options = CsvOptions::new().mixed(Mixed::Categorical);
    assert_eq!(
        table("a,b,c\n1,x,1\n2,3,2\n3+,y,3\n2,x,4\n", &options),
        [
            r#"a ["1", "2", "3+"]: "1" "2" "3+" "2""#,
            r#"b ["3", "x", "y"]: "x" "3" "y" "x""#,
            "c number: 1.0 2.0 3.0 4.0"
        ]
    );
}

#[test]
fn fields_and_records_of_any_length() {
    let long = "x".repeat(300_000);
    let wide: Vec<String> = (0..5000).map(|column| format!("c{column}")).collect();
    reads(
        &format!("a,b\n{long},1\n\"{long}\",2\n"),
        &[&format!("a [{long:?}]: {long:?} {long:?}"), "b number: 1.0 2.0"],
    );
    let numbers: Vec<String> = (0..5000).map(|column| column.to_string()).collect();
    let expected: Vec<String> = (0..5000).map(|column| format!("c{column} number: {column}.0")).collect();
    let text = format!("{}\n{}\n", wide.join(","), numbers.join(","));
    assert_eq!(table(text, &CsvOptions::new()), expected);
}

#[test]
fn the_index_counts_and_travels() {
    let folder = Folder::new();
    let path = folder.write("a.csv", "n,c\n1,x\n,y\n3,\n4,x\n");
    let index = CsvIndex::of(&path, &CsvOptions::new()).unwrap();
    assert_eq!(index.n_rows(), 4);
    assert_eq!(index.files().collect::<Vec<_>>(), [path.as_path()]);
    let columns: Vec<_> = index.columns().iter().map(|c| (c.name(), c.levels(), c.n_missing())).collect();
    assert_eq!(columns, [("n", None, 1), ("c", Some(&["x".to_owned(), "y".to_owned()][..]), 1)]);
    let bytes = postcard::to_stdvec(&index).unwrap();
    assert_eq!(postcard::from_bytes::<CsvIndex>(&bytes).unwrap(), index);
}

#[test]
fn gzip_members_one_after_the_other_are_one_text() {
    let folder = Folder::new();
    let mut bytes = crate::support::gzip("a,b\n1,\"x");
    bytes.extend(crate::support::gzip("y\"\n2,z\n"));
    let table = read_table_here(folder.write("a.gz", bytes), &CsvOptions::new()).unwrap();
    assert_eq!(seen(&table), ["a number: 1.0 2.0", r#"b ["xy", "z"]: "xy" "z""#]);
}
