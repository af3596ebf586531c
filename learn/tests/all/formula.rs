//! Formulas: what they stand for, what is wrong with them and where, and the numbers they make of a table.

use phalanx_array::{Column, Field, PANEL, Schema, Table, TableBlock};
use phalanx_learn::{
    DummyRegressor, Error, Estimator, Fit, FitOn, ModelFile, Transform,
    formula::Formula,
    preprocess::{EncodedPart, FittedTableEncoder, Missing, TableEncoder, raw_rows},
};
use phalanx_runtime::blocking::Client;

fn schema() -> Schema {
    let fields = vec![
        Field::number("x"),
        Field::number("z"),
        Field::categorical("a", ["a1", "a2"]),
        Field::categorical("b", ["b1", "b2", "b3"]),
    ];
    Schema::new(fields).unwrap()
}

fn block(n: usize) -> TableBlock {
    let number = |k: usize| Column::number((0..n).map(|i| 1. + ((i * k) % 97) as f64 / 8.).collect());
    let codes = |of: u32| Column::categorical((0..n as u32).map(|i| (i / 3 + i) % of).collect());
    TableBlock::new(vec![number(31), number(17), codes(2), codes(3)]).unwrap()
}

fn encoder(text: &str) -> FittedTableEncoder {
    let dot = ["x", "z", "a", "b"].map(str::to_owned);
    Formula::parse(text).unwrap().encoder(&dot).unwrap().fit((&schema(), &block(60)), ()).unwrap()
}

fn names(text: &str) -> Vec<String> {
    encoder(text).feature_names()
}

#[test]
fn terms_are_those_of_the_algebra() {
    assert_eq!(names("y ~ x * z"), ["x", "z", "x:z"]);
    assert_eq!(names("y ~ (x + z) ^ 2 - z"), ["x", "x:z"]);
    assert_eq!(names("y ~ (x + z) ** 3"), ["x", "z", "x:z"]);
    assert_eq!(names("y ~ . - a - b"), ["x", "z"]);
    assert_eq!(names("y ~ x:z + z:x + x + x"), ["x", "x:z"]);
    assert_eq!(names("y ~ x - 0"), ["x"]);
    assert_eq!(names("y ~ (x + z):(1 + a)"), ["x", "z", "x:a=a2", "z:a=a2"]);
    assert_eq!(names("y~log( x )+ns(z,2)"), ["log(x)", "ns(z, df=2)1", "ns(z, df=2)2"]);
    assert_eq!(names("y ~ offset(z) + x"), ["x"]);
    let offsets = Formula::parse("y ~ x + offset(z) + offset(log(`n t`))").unwrap();
    let offsets: Vec<(&str, bool)> =
        offsets.offsets().iter().map(|offset| (offset.column.as_str(), offset.log)).collect();
    assert_eq!(offsets, [("z", false), ("n t", true)]);
}

#[test]
fn categories_are_coded_so_that_nothing_is_said_twice() {
    // As patsy 1.0 codes them, with our names.
    assert_eq!(names("y ~ a"), ["a=a2"]);
    assert_eq!(names("y ~ a - 1"), ["a=a1", "a=a2"]);
    assert_eq!(names("y ~ 0 + a + b"), ["a=a1", "a=a2", "b=b2", "b=b3"]);
    assert_eq!(names("y ~ a * b"), ["a=a2", "b=b2", "b=b3", "a=a2:b=b2", "a=a2:b=b3"]);
    assert_eq!(names("y ~ a:b"), ["b=b2", "b=b3", "a=a2:b=b1", "a=a2:b=b2", "a=a2:b=b3"]);
    assert_eq!(names("y ~ a:b - 1"), ["a=a1:b=b1", "a=a2:b=b1", "a=a1:b=b2", "a=a2:b=b2", "a=a1:b=b3", "a=a2:b=b3"]);
    assert_eq!(names("y ~ a:x"), ["a=a1:x", "a=a2:x"]);
    assert_eq!(names("y ~ x + x:a"), ["x", "x:a=a2"]);
    assert_eq!(names("y ~ a + a:x"), ["a=a2", "a=a1:x", "a=a2:x"]);
}

#[test]
fn what_is_wrong_is_shown_at_its_place() {
    let wrong = |text: &str| Formula::parse(text).unwrap_err().to_string();
    assert_eq!(wrong("y ~ a + * b"), "formula: *, expected a column\n  y ~ a + * b\n          ^");
    assert_eq!(wrong("y ~ (a + b"), "formula: the end, expected )\n  y ~ (a + b\n            ^");
    for (text, problem, place) in [
        ("~ a", "nothing before ~, expected the column to predict", 0),
        ("y + a", "+, expected ~", 2),
        ("sqrt(y) ~ a", "sqrt() of what is to be predicted, expected a column or log(column)", 0),
        ("y ~ a ~ b", "a second ~, expected one", 6),
        (
            "y ~ exp(a)",
            "exp(), which is no function of formulas; they have C(column), ns(column, df=4), log(column), offset(column)",
            4,
        ),
        ("y ~ a ^ b", "\"b\" after ^, expected a whole number, 1 to 100", 8),
        ("y ~ 2 + a", "2, expected a column, 0 or 1", 4),
        ("y ~ a:offset(b)", "an offset inside of something, expected it after a + only", 6),
        ("y ~ a * (b - 1)", "- 1 inside of brackets, expected it outside", 13),
        ("y ~ a + (0 + b)", "0 inside of something, expected it after a + only", 9),
        ("y ~ 0 + offset(a)", "nothing to learn from, expected a column", 4),
        ("y ~ a + (offset(b))", "an offset inside of something, expected it after a + only", 9),
        (
            "y ~ offset(a) + offset(b)",
            "a second offset of its kind, expected one column and one log(column) at most",
            16,
        ),
        ("y ~ ns(a, df=0)", "0, expected df, a whole number, 1 to 1,000", 13),
        ("y ~ a % b", "'%', which a formula has no meaning for; names with it stand in `...`", 6),
        ("y ~ `a", "a ` without a name and another ` after it", 4),
        ("y ~ a b", "\"b\", expected +, -, *, : or ^", 6),
        ("", "the end, expected the name of a column", 0),
    ] {
        let expected = format!("formula: {problem}\n  {text}\n  {}^", " ".repeat(place));
        assert_eq!(wrong(text), expected);
    }
    let deep = format!("y ~ {}a{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(wrong(&deep).contains("more than 100 brackets in each other"));
    let long = format!("y ~ a{}", ":b".repeat(5_000));
    assert!(wrong(&long).contains("more than 100 of *, : and ^ in one term"));
    let huge = Formula::parse(&format!("y ~ {}", "a+".repeat(60_000))).unwrap_err().to_string();
    assert_eq!(huge, "formula: it has 120004 bytes, expected 100000 or less\n  \n  ^");
    let many: String = (0..200).map(|i| format!("x{i} + ")).collect();
    let error = Formula::parse(&format!("y ~ ({many} z)^3")).unwrap().encoder(&[]).unwrap_err().to_string();
    assert_eq!(error, "formula is of more than 10,000 terms, expected less");
}

#[test]
fn any_text_is_read_or_refused() {
    // Every text of four of these, which is all ways to put them wrongly together.
    let parts = ["y", "~", "a", "+", "-", ":", "*", "^", "2", "(", ")", "1", ".", "C(", "offset(", "ns(a,2)", "`"];
    let mut at = [0_usize; 4];
    'all: loop {
        let text: String = ["y ~ "].into_iter().chain(at.iter().map(|part| parts[*part])).collect();
        if let Ok(formula) = Formula::parse(&text) {
            let _ = formula.encoder(&["a".to_owned()]);
        }
        for place in &mut at {
            *place += 1;
            if *place < parts.len() {
                continue 'all;
            }
            *place = 0;
        }
        break;
    }
}

#[test]
fn letters_at_random_are_read_or_refused_at_a_place_of_theirs() {
    // Of all letters and words that mean something, and some that do not.
    let parts = [
        "y",
        "~",
        "x",
        "a",
        "b",
        "z",
        " ",
        "+",
        "-",
        ":",
        "*",
        "**",
        "^",
        "2",
        "3",
        "0",
        "1",
        "(",
        ")",
        ".",
        ",",
        "=",
        "`",
        "C(",
        "log(",
        "ns(",
        "offset(",
        "df=4",
        "offset(log(x))",
        "C(b)",
        "ns(x, df=2)",
        "é",
        "%",
        "\n",
        "1e9",
    ];
    let mut state = 7_u64;
    let mut random = |below: usize| {
        // Knuth's linear congruential generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut n_read = 0;
    for round in 0..60_000 {
        let begin = if round % 3 == 0 { "" } else { "y ~ x +" };
        let n = random(12);
        let text: String = [begin].into_iter().chain((0..n).map(|_| parts[random(parts.len())])).collect();
        match Formula::parse(&text) {
            Ok(formula) => {
                n_read += 1;
                if let Ok(encoder) = formula.encoder(&["x".to_owned(), "b".to_owned()]) {
                    assert!(encoder.columns().len() <= 7, "{text}");
                }
            }
            Err(error) => {
                let Error::Formula(error) = error else { panic!("{text}: {error}") };
                assert!(error.place <= text.chars().count(), "{text}: {error}");
            }
        }
    }
    assert!(n_read > 1_000, "{n_read} formulas");
}

#[test]
fn a_column_that_is_once_categories_is_so_under_the_dot_too() {
    let formula = Formula::parse("y ~ . + C(b)").unwrap().encoder(&["x".to_owned(), "b".to_owned()]).unwrap();
    assert_eq!(formula.fit((&schema(), &block(60)), ()).unwrap().feature_names(), ["x", "b=b2", "b=b3"]);
}

#[test]
fn columns_of_the_wrong_kind_are_named() {
    let error = |text: &str| {
        let formula = Formula::parse(text).unwrap().encoder(&[]).unwrap();
        formula.fit((&schema(), &block(60)), ()).unwrap_err().to_string()
    };
    assert_eq!(error("y ~ log(a)"), "column \"a\" has categorical values, expected numbers for log() and ns()");
    assert_eq!(error("y ~ C(x)"), "column \"x\" has numeric values, expected categories, as C() says; read it as such");
    assert_eq!(error("y ~ w"), "there is no column \"w\"");
}

#[test]
fn the_same_numbers_come_in_memory_in_chunks_and_of_a_model_file() {
    let (schema, whole) = (schema(), block(5 * PANEL + 9));
    let formula = Formula::parse("y ~ a * ns(x, df=3) + log(z):b + C(b)").unwrap().encoder(&[]).unwrap();
    let formula = formula.table_encoder(TableEncoder::new().reference("b", "b2").missing(Missing::Mean));
    let encoder = formula.fit((&schema, &whole), ()).unwrap();
    assert_eq!(encoder.features_of("b"), Some(4..6));
    assert_eq!(encoder.features_of("z"), None);
    let x = encoder.transform((&schema, &whole)).unwrap();
    let place = |name: &str| encoder.feature_names().iter().position(|other| other == name).unwrap();
    let (logs, z) = (x.column(place("log(z):b=b2")), whole.column(1).numbers().unwrap());
    let codes = whole.column(3).codes().unwrap();
    for row in 0..whole.n_rows() {
        assert_eq!(logs[row], if codes[row] == 1 { z[row].ln() } else { 0. });
    }
    for (column, part) in x.columns().into_iter().zip(encoder.encode_parts(&schema, &whole, 0).unwrap()) {
        assert_eq!(part, EncodedPart::Numbers(column.to_vec()));
    }
    let client = Client::local().unwrap();
    for chunk in [PANEL, 4 * PANEL] {
        let table = Table::from_block(schema.clone(), whole.clone(), chunk).unwrap();
        let chunked = client.wait(formula.fit_on(&client, &table, &())).unwrap();
        assert_eq!(chunked, encoder);
        let lazy = client.wait(client.compute(&chunked.transform(&table).unwrap())).unwrap();
        assert_eq!(lazy.into_dimensionality::<ndarray::Ix2>().unwrap(), x);
    }
    let y = ndarray::Array1::from_elem(x.nrows(), 1.);
    let model = DummyRegressor::new().fit_dyn(x.view(), y.view()).unwrap();
    let file = ModelFile::new(&DummyRegressor::new(), &*model, encoder, "y", (&schema, &whole)).unwrap();
    let text = file.to_json().unwrap();
    let back = ModelFile::from_json(&text).unwrap();
    assert_eq!(back.encoder, file.encoder);
    let rows = raw_rows(&back.encoder, &schema, &whole, &[7, 3]).unwrap();
    assert_eq!(back.encoder.encode_raw(&rows).unwrap(), x.select(ndarray::Axis(0), &[7, 3]));
    // A file that names columns which there are not is refused, whoever wrote it.
    let error = ModelFile::from_json(&text.replace("\"log\": ", "\"log\": 99")).unwrap_err().to_string();
    assert!(error.contains("formula"), "{error}");
}
