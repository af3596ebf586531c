//! What people and programs see: tables and JSON on stdout, progress and complaints on stderr.
//!
//! Everything is given the two streams, so that a test reads what a terminal would show.

use std::{
    fmt,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table as Grid, TableStyle};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{Error, Result, error::io_reason};

/// A stream that the whole program writes to.
pub type Stream = Arc<Mutex<dyn Write + Send>>;

/// Where the program writes.
#[derive(Clone)]
pub struct Screen {
    stdout: Stream,
    stderr: Stream,
    bar: Arc<Mutex<Option<ProgressBar>>>,
    /// Whether stderr is a terminal, where a progress bar can move.
    terminal: bool,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

impl Screen {
    /// A screen of two streams; `terminal` says whether the second is one.
    pub fn new(stdout: Stream, stderr: Stream, terminal: bool) -> Self {
        Self { stdout, stderr, bar: Arc::default(), terminal }
    }

    /// The program's own streams.
    pub fn standard() -> Self {
        let (stdout, stderr) = (Arc::new(Mutex::new(io::stdout())), Arc::new(Mutex::new(io::stderr())));
        Self::new(stdout, stderr, io::IsTerminal::is_terminal(&io::stderr()))
    }

    /// Writes lines to stdout.
    pub(crate) fn print(&self, text: impl fmt::Display) -> Result<()> {
        let mut stdout = lock(&self.stdout);
        writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Error::ClosedPipe,
            _ => Error::failed(format!("cannot write to stdout: {}", io_reason(&error))),
        })
    }

    /// Writes one JSON object, on one line, to stdout.
    pub(crate) fn print_json(&self, value: &serde_json::Value) -> Result<()> {
        self.print(value)
    }

    /// Writes a line to stderr, above the progress bar where there is one. When stderr is closed there is nobody
    /// left to tell.
    pub fn say(&self, line: impl fmt::Display) {
        let write = || {
            let _ = writeln!(lock(&self.stderr), "{line}");
        };
        match &*lock(&self.bar) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the progress bar off, where one was left by work that was broken off.
    pub(crate) fn clear(&self) {
        if let Some(bar) = lock(&self.bar).take() {
            bar.finish_and_clear();
        }
    }

    /// A line of the log in the making; it is written when it is dropped.
    pub(crate) fn log_line(&self) -> LogLine {
        LogLine { screen: self.clone(), text: Vec::new() }
    }

    /// Shows a progress bar on a terminal until the answer is dropped; without steps to count, that something happens.
    pub(crate) fn progress(&self, what: &str, n_steps: u64) -> Progress {
        if self.terminal {
            let bar = ProgressBar::with_draw_target(Some(n_steps), ProgressDrawTarget::stderr());
            let template = match n_steps {
                0 => "{msg} {spinner} {elapsed} so far",
                _ => "{msg} [{bar:30}] {pos}/{len}  {elapsed} so far, {eta} to go",
            };
            bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> "),
            );
            bar.set_message(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            *lock(&self.bar) = Some(bar);
        }
        Progress { screen: self.clone() }
    }
}

/// A line of the log: gathered first, so that it never breaks a progress bar in two.
#[derive(Debug)]
pub(crate) struct LogLine {
    screen: Screen,
    text: Vec<u8>,
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        self.screen.say(String::from_utf8_lossy(&self.text).trim_end());
    }
}

/// A progress bar on the screen; dropping it takes it off.
#[derive(Debug)]
pub(crate) struct Progress {
    screen: Screen,
}

impl Progress {
    /// So many steps are done.
    pub(crate) fn set(&self, done: u64, of: u64) {
        if let Some(bar) = &*lock(&self.screen.bar) {
            bar.set_length(of);
            bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.screen.clear();
    }
}

fn lock<T: ?Sized>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked while writing has lost its line; the next line is still worth writing.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A table whose columns line up; text is to the left, numbers are to the right.
#[derive(Debug)]
pub(crate) struct Table {
    grid: Grid,
    right: Vec<bool>,
}

impl Table {
    /// A table with these columns; those that hold numbers begin with `>`.
    pub(crate) fn new<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut grid = Grid::new();
        grid.load_style(style());
        // A row is a line: a terminal that is too narrow wraps it, and a file or a pipe has no width at all.
        grid.set_content_arrangement(ContentArrangement::Disabled);
        let columns: Vec<(&str, bool)> =
            columns.into_iter().map(|name| name.strip_prefix('>').map_or((name, false), |name| (name, true))).collect();
        grid.set_header(columns.iter().map(|(name, right)| cell(name, *right)));
        for column in grid.column_iter_mut() {
            column.set_padding((0, 1));
        }
        Self { grid, right: columns.into_iter().map(|(_, right)| right).collect() }
    }

    /// Adds a row.
    pub(crate) fn row<T: fmt::Display>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.grid.add_row(cells.into_iter().zip(&self.right).map(|(text, right)| cell(&text.to_string(), *right)));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.grid.trim_fmt())
    }
}

fn style() -> TableStyle {
    TableStyle::new().header_separator(LineStyle::none().fill('-').junction('-'))
}

fn cell(text: &str, right: bool) -> Cell {
    Cell::new(text).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
}

/// Numbers of one column with so many decimals that the largest shows `digits` digits. Exact zeros are `0`; what is too
/// small for the decimals, but is not zero, does not look like one.
pub(crate) fn column(numbers: &[f64], digits: i64) -> Vec<String> {
    let largest = numbers.iter().filter(|number| number.is_finite()).fold(0_f64, |most, number| most.max(number.abs()));
    let before = if largest >= 1. { largest.log10().floor() as i64 + 1 } else { 1 };
    let decimals = usize::try_from((digits - before).max(0)).unwrap_or(0);
    let one = |number: &f64| match *number {
        0. => "0".to_owned(),
        number if number.abs() >= 1e15 => format!("{number:e}"),
        number if number.abs() < 0.5 * 0.1_f64.powi(decimals as i32) => format!("{number:.2e}"),
        number => format!("{number:.decimals$}"),
    };
    numbers.iter().map(one).collect()
}

/// A number alone, with six digits.
pub(crate) fn number(number: f64) -> String {
    column(&[number], 6).concat()
}

/// A number with five digits, however small: for columns whose numbers differ by orders of magnitude.
pub(crate) fn digits(number: f64) -> String {
    if number == 0. || !number.is_finite() {
        return number.to_string();
    }
    match number.abs().log10().floor() {
        size if (-4. ..6.).contains(&size) => format!("{number:.*}", (4. - size).max(0.) as usize),
        _ => format!("{number:.4e}"),
    }
}

/// A duration for people: `0.42 s`, `3 min 12 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 60. {
        format!("{seconds:.2} s")
    } else {
        format!("{} min {:.0} s", (seconds / 60.).floor(), (seconds % 60.).floor())
    }
}

/// `1 row`, `8,645 rows`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {what}{}", if number == 1 { "" } else { "s" })
}

/// `1.5 MiB`.
pub(crate) fn bytes(n_bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let Some(unit) = (0..units.len()).rev().find(|unit| n_bytes >> (10 * (unit + 1)) > 0) else {
        return count(n_bytes as usize, "byte");
    };
    format!("{:.1} {}", n_bytes as f64 / (1_u64 << (10 * (unit + 1))) as f64, units[unit])
}

/// Files that all appear, or none of them: each is written beside its place first.
///
/// The folder is made only when all is ready, and taken away again when a file cannot be written.
pub(crate) fn write_folder(folder: &Path, files: &[(&str, Vec<u8>)]) -> Result<()> {
    let failed = |error: &io::Error| Error::file("write", folder, error);
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(|error| failed(&error))?;
    let staged = tempfile::Builder::new().prefix(".phalanx-").tempdir_in(parent).map_err(|error| failed(&error))?;
    for (name, bytes) in files {
        let mut file = std::fs::File::create(staged.path().join(name)).map_err(|error| failed(&error))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| failed(&error))?;
    }
    std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    for (name, _) in files {
        std::fs::rename(staged.path().join(name), folder.join(name)).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Refuses an output folder that cannot be one, before any work is done.
pub(crate) fn check_folder(folder: &Path) -> Result<()> {
    if folder.exists() && !folder.is_dir() {
        let message = format!("{} is a file, expected a folder; choose another --output", folder.display());
        return Err(Error::usage(message));
    }
    Ok(())
}

/// Refuses an output file that cannot be written, before any work is done.
pub(crate) fn check_file(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        let message = format!("{} is a folder, expected a file; choose another --output", path.display());
        return Err(Error::usage(message));
    }
    if !folder.is_dir() {
        let message = format!("there is no folder {} for {}; make it first", folder.display(), path.display());
        return Err(Error::failed(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new([">rank", "what", ">score"]);
        table.row(["1", "a", "10.5"]);
        table.row(["12", "longer", "0"]);
        assert_eq!(
            format!("\n{table}\n"),
            "
rank  what    score
--------------------
   1  a        10.5
  12  longer      0
"
        );
    }

    #[test]
    fn a_column_of_numbers_has_as_many_digits_as_its_largest_needs() {
        assert_eq!(column(&[4.504345364, -0.0034673, 0.], 6), ["4.50435", "-0.00347", "0"]);
        assert_eq!(column(&[119119.70818, 2.], 6), ["119120", "2"]);
        assert_eq!(column(&[f64::NAN, 0.25], 6), ["NaN", "0.25000"]);
        assert_eq!(column(&[-10.869, 0.0057, 3.03e-6, 0.], 6), ["-10.8690", "0.0057", "3.03e-6", "0"]);
    }

    #[test]
    fn a_small_number_keeps_its_digits() {
        assert_eq!([digits(8.2027e-6), digits(-0.00573651), digits(0.)], ["8.2027e-6", "-0.0057365", "0"]);
        assert_eq!([digits(-10.869), digits(123456.7), digits(1e9)], ["-10.869", "123457", "1.0000e9"]);
    }

    #[test]
    fn counts_and_durations_are_for_people() {
        assert_eq!([count(1, "row"), count(999, "row"), count(8645, "row")], ["1 row", "999 rows", "8,645 rows"]);
        assert_eq!(count(1_234_567, "task"), "1,234,567 tasks");
        assert_eq!([seconds(0.419), seconds(192.7)], ["0.42 s", "3 min 12 s"]);
    }

    #[test]
    fn a_folder_appears_with_all_its_files_or_not_at_all() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("new/out");
        write_folder(&folder, &[("a.txt", b"a".to_vec()), ("b.txt", b"b".to_vec())]).expect("written");
        assert_eq!(std::fs::read(folder.join("b.txt")).expect("there"), b"b");
        let other = place.path().join("other");
        write_folder(&other, &[("a.txt", Vec::new()), ("no/such/b.txt", Vec::new())]).expect_err("not written");
        assert!(!other.exists());
        // Nothing temporary is left either.
        let left: Vec<_> =
            std::fs::read_dir(place.path()).expect("a folder").map(|entry| entry.expect("one").file_name()).collect();
        assert_eq!(left, ["new"]);
    }
}
