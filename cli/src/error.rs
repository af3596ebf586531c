//! Why a command did not do what it was asked, in one line; in three where a formula's wrong place is shown.
//!
//! The line says what is wrong and what to do. [`Error::Usage`] is exit code 2, everything else 1.

use std::{fmt, io, path::Path};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// What was asked for cannot be meant: the command line, a parameter or the sweep file.
    Usage {
        /// What is wrong and what to do.
        message: String,
    },
    /// It could be meant, and did not work.
    Failed {
        /// What is wrong and what to do.
        message: String,
    },
    /// Ctrl-C or SIGTERM.
    Interrupted {
        /// What was ended.
        message: String,
    },
    /// Nobody reads stdout any more, as in `phalanx ... | head`; there is nobody to tell.
    ClosedPipe,
}

impl Error {
    /// Wrong usage, exit code 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::Usage { message: one_line(&message.to_string()) }
    }

    /// A failure, exit code 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::Failed { message: one_line(&message.to_string()) }
    }

    /// What the operating system said about a file.
    pub fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::failed(format!("cannot {doing} {}: {}", path.display(), io_reason(error)))
    }

    /// The exit code that says it.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            Self::Failed { .. } | Self::Interrupted { .. } => 1,
            Self::ClosedPipe => 0,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { message } | Self::Failed { message } | Self::Interrupted { message } => f.write_str(message),
            Self::ClosedPipe => f.write_str("nobody reads the output any more"),
        }
    }
}

impl std::error::Error for Error {}

/// The operating system's reason without its error number.
pub(crate) fn io_reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// The name nearest to what was written, where one is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let scored = known.into_iter().map(|known| (strsim::jaro_winkler(&lower, &known.to_lowercase()), known));
    // Of equal ones the first wins, so that the answer does not depend on how floats compare.
    scored
        .fold(
            None,
            |best: Option<(f64, &str)>, next| if best.is_some_and(|best| best.0 >= next.0) { best } else { Some(next) },
        )
        .filter(|best| best.0 >= 0.75)
        .map(|best| best.1)
}

/// ` (did you mean "x"?)`, or nothing.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!(" (did you mean {near:?}?)"))
}

/// Folds a message of several lines, as a panic's or a parser's, into one.
pub(crate) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        assert_eq!(nearest("Bikers", ["hr", "bikers", "temp"]), Some("bikers"));
        assert_eq!(nearest("biker", ["hr", "bikers", "temp"]), Some("bikers"));
        assert_eq!(nearest("zzz", ["hr", "bikers", "temp"]), None);
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(Error::failed("a\n  b  c\n").to_string(), "a b  c");
    }

    #[test]
    fn the_operating_system_speaks_plainly() {
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(
            Error::file("read", Path::new("x.csv"), &error).to_string(),
            "cannot read x.csv: no such file or directory"
        );
    }
}
