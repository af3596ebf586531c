//! What one field says: a number, a text, or nothing.

use std::borrow::Cow;

/// The texts that mean "missing" unless [`CsvOptions::missing`](super::CsvOptions::missing) says otherwise: pandas 2's list.
///
/// An empty field is always missing, and so is "nan" in any spelling (with a sign or without, in any case). Blanks
/// around these texts do not count.
pub const MISSING: [&str; 17] = [
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "null",
];

/// What a field says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Missing,
    Number(f64),
    /// The field as it stands, blanks and all.
    Text(&'a [u8]),
}

/// Tells missing fields from others.
#[derive(Debug)]
pub(crate) struct Missing {
    texts: Vec<Vec<u8>>,
    /// Whether a missing text begins with this byte: most fields are done with after this look.
    begins: [bool; 256],
    /// Whether a missing text is a number, as -999.
    numbers: bool,
}

impl Missing {
    pub(crate) fn new(texts: &[String]) -> Self {
        let texts: Vec<Vec<u8>> = texts.iter().map(|text| trim(text.as_bytes()).to_vec()).collect();
        let mut begins = [false; 256];
        for first in texts.iter().filter_map(|text| text.first()).chain(b"nN+-") {
            begins[*first as usize] = true;
        }
        let numbers = texts.iter().any(|text| number(text).is_some_and(|value| !value.is_nan()));
        Self { texts, begins, numbers }
    }

    /// Whether the field is missing.
    pub(crate) fn is(&self, field: &[u8]) -> bool {
        let field = trim(field);
        let Some(&first) = field.first() else { return true };
        self.begins[first as usize] && (is_nan(field) || self.texts.iter().any(|text| text == field))
    }

    pub(crate) fn cell<'a>(&self, field: &'a [u8]) -> Cell<'a> {
        if !self.numbers
            && let Some(value) = short_decimal(field)
        {
            return Cell::Number(value);
        }
        if self.is(field) {
            return Cell::Missing;
        }
        number(field).map_or(Cell::Text(field), Cell::Number)
    }
}

fn is_nan(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    digits.eq_ignore_ascii_case(b"nan")
}

fn trim(field: &[u8]) -> &[u8] {
    match field {
        // The common case: nothing to trim.
        [first, .., last] if !first.is_ascii_whitespace() && !last.is_ascii_whitespace() => field,
        _ => field.trim_ascii(),
    }
}

/// The number a field holds, blanks around it aside; the nearest `f64`, as `str::parse` gives.
pub(crate) fn number(field: &[u8]) -> Option<f64> {
    let field = trim(field);
    short_decimal(field).or_else(|| std::str::from_utf8(field).ok()?.parse().ok())
}

/// Decimals of at most 15 digits, without an exponent: both the digits and the power of ten are exact in `f64`, so one
/// division rounds correctly (Clinger 1990, "How to read floating point numbers accurately", the fast path).
fn short_decimal(field: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (negative, digits) = match field {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, field),
    };
    // 15 digits and a point; what is longer takes the slow path.
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let (mut mantissa, mut n_digits, mut point) = (0_u64, 0, None);
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            mantissa = mantissa * 10 + u64::from(digit);
            n_digits += 1;
        } else if byte == b'.' && point.is_none() {
            point = Some(n_digits);
        } else {
            return None;
        }
    }
    if n_digits == 0 || n_digits > 15 {
        return None;
    }
    let value = mantissa as f64 / POWERS[n_digits - point.unwrap_or(n_digits)];
    Some(if negative { -value } else { value })
}

/// A field for a message: in quotes, shortened, and readable whatever its bytes are.
pub(crate) fn shown(field: &[u8]) -> String {
    const LONGEST: usize = 60;
    let text: Cow<'_, str> = String::from_utf8_lossy(field);
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(LONGEST).chain("...".chars()).collect();
    format!("{head:?}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn fields_say_numbers_texts_or_nothing() {
        let missing = Missing::new(&MISSING.map(String::from));
        for text in MISSING.iter().copied().chain(["", "  ", " NA ", "nan", "NAN", "+nan", "-NAN"]) {
            assert_eq!(missing.cell(text.as_bytes()), Cell::Missing, "{text:?}");
        }
        for (text, value) in [
            ("0", 0.0),
            ("-0", -0.0),
            ("12.5", 12.5),
            (" 7\t", 7.0),
            ("+3", 3.0),
            ("1e3", 1000.0),
            ("-.5", -0.5),
            ("5.", 5.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("0.1", 0.1),
            ("123456789012345678", 123_456_789_012_345_680.0),
            ("1e-400", 0.0),
            ("494.81622880732596", 494.816_228_807_325_96),
        ] {
            assert_eq!(missing.cell(text.as_bytes()), Cell::Number(value), "{text:?}");
        }
        for text in
            ["-", ".", "1,5", "1.2.3", "12a", "0x1f", "na", "none", "true", "\u{e9}", "1 2", "--1", "1e", "'NA'"]
        {
            assert_eq!(missing.cell(text.as_bytes()), Cell::Text(text.as_bytes()), "{text:?}");
        }
        assert_eq!(missing.cell(&[0xff, 0xfe]), Cell::Text(&[0xff, 0xfe]));
    }

    #[test]
    fn an_own_list_replaces_the_known_one() {
        let missing = Missing::new(&["-999".into(), "?".into()]);
        for text in ["-999", "?", "", "NaN"] {
            assert_eq!(missing.cell(text.as_bytes()), Cell::Missing, "{text:?}");
        }
        assert_eq!(missing.cell(b"NA"), Cell::Text(b"NA"));
        assert_eq!(missing.cell(b"-99"), Cell::Number(-99.0));
    }

    #[test]
    fn the_short_way_to_a_number_gives_the_same_bits() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..200_000 {
            let digits = rng.random_range(1..=15);
            let mut text: Vec<u8> = (0..digits).map(|_| b'0' + rng.random_range(0..10)).collect();
            if rng.random() {
                text.insert(rng.random_range(0..=text.len()), b'.');
            }
            if rng.random() {
                text.insert(0, b'-');
            }
            let text = String::from_utf8(text).unwrap();
            let parsed: f64 = text.parse().unwrap();
            assert_eq!(short_decimal(text.as_bytes()).map(f64::to_bits), Some(parsed.to_bits()), "{text}");
        }
    }

    #[test]
    fn shown_fields_are_short_and_readable() {
        assert_eq!(shown(b"it's"), r#""it's""#);
        assert_eq!(shown(b"a\nb\""), r#""a\nb\"""#);
        assert_eq!(shown(&[b'x'; 70]), format!("\"{}...\"", "x".repeat(60)));
        assert_eq!(shown(&[0xff]), "\"\u{fffd}\"");
    }
}
