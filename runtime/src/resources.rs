//! What a worker has for tasks that need resources, as text: `gpu=2,big=1`.
//!
//! The names mean something to users only; the scheduler compares amounts.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// Resources of one worker at most, and letters of a name at most.
const MOST: usize = 64;

/// Reads what a worker has: names with amounts, `gpu=2,big=1`; a name alone has the amount 1.
///
/// ```
/// use phalanx_runtime::parse_resources;
/// let resources = parse_resources("gpu=2, big")?;
/// assert_eq!((resources["gpu"], resources["big"]), (2, 1));
/// assert_eq!(
///     parse_resources("gpu=two").unwrap_err().to_string(),
///     "resources is \"gpu=two\", expected names with whole amounts of 1 or more, like gpu=2,big=1"
/// );
/// # Ok::<(), phalanx_runtime::Error>(())
/// ```
///
/// # Errors
/// When an amount is not a whole number above 0, a name is empty, longer than 64 letters or there twice, or there are
/// more than 64.
pub fn parse_resources(text: &str) -> Result<BTreeMap<String, u64>> {
    let wrong = || Error::Option {
        name: "resources",
        value: format!("{text:?}"),
        expected: "names with whole amounts of 1 or more, like gpu=2,big=1",
    };
    let mut resources = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, amount) = part.split_once('=').unwrap_or((part, "1"));
        let name = name.trim();
        let amount = amount.trim().parse().ok().filter(|amount: &u64| *amount > 0).ok_or_else(wrong)?;
        let is_good = !name.is_empty() && name.len() <= MOST && resources.len() < MOST;
        if !is_good || resources.insert(name.to_owned(), amount).is_some() {
            return Err(wrong());
        }
    }
    Ok(resources)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_with_amounts_are_read() {
        let resources = BTreeMap::from([("big".to_owned(), 1), ("gpu".to_owned(), u64::MAX)]);
        assert_eq!(parse_resources("gpu=18446744073709551615,big").unwrap(), resources);
        assert_eq!(parse_resources("").unwrap(), BTreeMap::new());
    }

    #[test]
    fn what_is_wrong_is_shown() {
        for text in ["=1", "gpu=0", "gpu=-1", "gpu=1.5", "gpu=1,gpu=2", "gpu=1=2", &"x".repeat(65)] {
            let error = parse_resources(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
        let many: Vec<String> = (0..65).map(|i| format!("r{i}")).collect();
        assert!(parse_resources(&many.join(",")).is_err());
    }
}
