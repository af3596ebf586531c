//! Cuts a stream of CSV bytes into records, and knows where each began.
//!
//! The parser is the `csv` crate's own (`csv-core`). Around it stands what seeking readers need: the byte offset and
//! the physical line of every record's first byte, right also behind blank lines, `\r\n` and newlines in quotes, and
//! checksums of the bytes between marks. It knows nothing of files, columns or types.

use std::io::{self, Read};

use csv_core::ReadRecordResult;
use flate2::Crc;
use serde::{Deserialize, Serialize};

/// A record longer than this is taken for a quote that was never closed.
pub(crate) const MAX_RECORD: usize = 64 << 20;

const BUFFER: usize = 256 << 10;

/// Where a record begins, and the checksum of the bytes from there to the next mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Bytes from the start of the (uncompressed) file.
    pub(crate) offset: u64,
    /// CRC-32 of the bytes up to the next mark or the end of the file.
    pub(crate) crc: u32,
}

/// What stands in the way of cutting records.
#[derive(Debug)]
pub(crate) enum Broken {
    Io(io::Error),
    /// The file ends within quotes that were opened in the record of this line.
    Unclosed {
        line: u64,
    },
    /// The record of this line is longer than [`MAX_RECORD`].
    TooLong {
        line: u64,
    },
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The fields of one record, and the parser's state between two pieces of input.
pub(crate) struct Cutter {
    core: csv_core::Reader,
    /// What every byte means outside quotes.
    classes: [Class; 256],
    /// Where the fields end: in `text`, or in the input when the record was cut in place.
    ends: Vec<usize>,
    n_fields: usize,
    in_place: bool,
    text: Vec<u8>,
    n_text: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Text,
    Delimiter,
    Newline,
    Return,
    Quote,
}

#[derive(PartialEq, Eq)]
enum Step {
    Record,
    MoreInput,
    TooLong,
}

impl Cutter {
    pub(crate) fn new(delimiter: u8) -> Self {
        let mut core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        // The parser would swallow a byte order mark in front of the first record it sees, also when that record
        // stands in the middle of a file. Marks are our business, so it is made to believe that it has begun.
        core.read_record(b"\n", &mut [0], &mut [0]);
        core.set_line(1);
        let mut classes = [Class::Text; 256];
        classes[b'\n' as usize] = Class::Newline;
        classes[b'\r' as usize] = Class::Return;
        classes[b'"' as usize] = Class::Quote;
        classes[delimiter as usize] = Class::Delimiter;
        Self { core, classes, ends: vec![0; 32], n_fields: 0, in_place: false, text: vec![0; 1024], n_text: 0 }
    }

    /// Cuts a record that has no quote and whose end is there, and gives the number of bytes taken.
    ///
    /// Nearly all records are such, and this is several times as fast as the parser that knows quotes.
    fn cut_in_place(&mut self, input: &[u8]) -> Option<usize> {
        let mut n_fields = 0;
        for (at, &byte) in input.iter().enumerate() {
            let class = self.classes[byte as usize];
            if class == Class::Text {
                continue;
            }
            if class == Class::Quote {
                return None;
            }
            if n_fields == self.ends.len() {
                self.ends.resize(self.ends.len() * 2, 0);
            }
            self.ends[n_fields] = at;
            n_fields += 1;
            if class != Class::Delimiter {
                self.core.set_line(self.core.line() + u64::from(class == Class::Newline));
                (self.n_fields, self.in_place) = (n_fields, true);
                return Some(at + 1);
            }
        }
        None
    }

    fn begin(&mut self) {
        (self.n_text, self.n_fields, self.in_place) = (0, 0, false);
    }

    /// Reads on in the record at hand; also gives the number of bytes taken.
    fn step(&mut self, input: &[u8]) -> (Step, usize) {
        let mut taken = 0;
        loop {
            let (result, n_in, n_out, n_ends) =
                self.core.read_record(&input[taken..], &mut self.text[self.n_text..], &mut self.ends[self.n_fields..]);
            taken += n_in;
            self.n_text += n_out;
            self.n_fields += n_ends;
            match result {
                ReadRecordResult::Record => return (Step::Record, taken),
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return (Step::MoreInput, taken),
                ReadRecordResult::OutputFull if self.text.len() >= MAX_RECORD => return (Step::TooLong, taken),
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
            }
            // An empty input means the end of the file to the parser, which is not what is meant here.
            if taken == input.len() {
                return (Step::MoreInput, taken);
            }
        }
    }

    /// A field of the record at hand, which began at the first byte of `input`.
    fn field<'a>(&'a self, index: usize, input: &'a [u8]) -> &'a [u8] {
        let gap = usize::from(self.in_place);
        let start = if index == 0 { 0 } else { self.ends[index - 1] + gap };
        if self.in_place { &input[start..self.ends[index]] } else { &self.text[start..self.ends[index]] }
    }
}

/// Records of a stream, one at a time.
///
/// [`find`](Self::find) goes to the next record, [`read`](Self::read) reads it; between the two a mark may be set.
pub(crate) struct Records<R> {
    source: R,
    cutter: Cutter,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    /// The offset of the buffer's first byte.
    base: u64,
    /// Where the record at hand began: its line, and its place in the buffer while it is there.
    line: u64,
    began: usize,
    crc: Crc,
    /// The buffer's bytes before this one are in `crc`.
    summed: usize,
}

impl<R: Read> Records<R> {
    pub(crate) fn new(source: R, delimiter: u8) -> Self {
        Self {
            source,
            cutter: Cutter::new(delimiter),
            buffer: vec![0; BUFFER],
            at: 0,
            filled: 0,
            base: 0,
            line: 1,
            began: 0,
            crc: Crc::new(),
            summed: 0,
        }
    }

    /// The first bytes that are not yet read, at most a buffer full.
    pub(crate) fn peek(&mut self) -> io::Result<&[u8]> {
        if self.at == self.filled {
            self.refill()?;
        }
        Ok(&self.buffer[self.at..self.filled])
    }

    /// Leaves out bytes that [`peek`](Self::peek) has shown.
    pub(crate) fn skip(&mut self, n_bytes: usize) {
        self.at = (self.at + n_bytes).min(self.filled);
    }

    /// Goes to the first byte of the next record, over blank lines; false at the end of the file.
    pub(crate) fn find(&mut self) -> io::Result<bool> {
        loop {
            if self.at == self.filled && !self.refill()? {
                return Ok(false);
            }
            match self.buffer[self.at] {
                b'\n' => self.cutter.core.set_line(self.cutter.core.line() + 1),
                b'\r' => {}
                _ => break,
            }
            self.at += 1;
        }
        self.line = self.cutter.core.line();
        Ok(true)
    }

    /// The offset of the byte that comes next.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The checksum of the bytes since the last call.
    pub(crate) fn take_crc(&mut self) -> u32 {
        self.crc.update(&self.buffer[self.summed..self.at]);
        self.summed = self.at;
        let sum = self.crc.sum();
        self.crc.reset();
        sum
    }

    /// Reads the record that [`find`](Self::find) went to.
    pub(crate) fn read(&mut self) -> Result<(), Broken> {
        self.began = self.at;
        if let Some(taken) = self.cutter.cut_in_place(&self.buffer[self.at..self.filled]) {
            self.at += taken;
            return Ok(());
        }
        self.cutter.begin();
        loop {
            let (step, taken) = self.cutter.step(&self.buffer[self.at..self.filled]);
            self.at += taken;
            match step {
                Step::Record => return Ok(()),
                Step::TooLong => return Err(Broken::TooLong { line: self.line }),
                Step::MoreInput if self.refill()? => {}
                // The last line may lack its newline. If one does not end the record, it is within quotes.
                Step::MoreInput => {
                    return match self.cutter.step(b"\n").0 {
                        Step::Record => Ok(()),
                        _ => Err(Broken::Unclosed { line: self.line }),
                    };
                }
            }
        }
    }

    /// The physical line, from 1, on which the record at hand begins.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    pub(crate) fn n_fields(&self) -> usize {
        self.cutter.n_fields
    }

    /// A field of the record at hand, without its quotes.
    pub(crate) fn field(&self, index: usize) -> &[u8] {
        self.cutter.field(index, &self.buffer[self.began..])
    }

    fn refill(&mut self) -> io::Result<bool> {
        self.crc.update(&self.buffer[self.summed..self.filled]);
        self.base += self.filled as u64;
        (self.at, self.filled, self.summed, self.began) = (0, 0, 0, 0);
        loop {
            match self.source.read(&mut self.buffer) {
                Ok(n) => {
                    self.filled = n;
                    return Ok(n > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Cuts records out of bytes that are all here, as the panel of a file is after its checksum was found right.
pub(crate) struct Slices<'a> {
    cutter: &'a mut Cutter,
    /// From the record at hand on.
    bytes: &'a [u8],
    /// How many of them are the record's.
    taken: usize,
}

impl<'a> Slices<'a> {
    pub(crate) const fn new(cutter: &'a mut Cutter, bytes: &'a [u8]) -> Self {
        Self { cutter, bytes, taken: 0 }
    }

    /// Reads the next record; false when there is none.
    pub(crate) fn read(&mut self) -> bool {
        let rest = &self.bytes[self.taken..];
        let Some(start) = rest.iter().position(|&byte| byte != b'\n' && byte != b'\r') else { return false };
        self.bytes = &rest[start..];
        if let Some(taken) = self.cutter.cut_in_place(self.bytes) {
            self.taken = taken;
            return true;
        }
        self.cutter.begin();
        let (step, taken) = self.cutter.step(self.bytes);
        self.taken = taken;
        step == Step::Record || (step == Step::MoreInput && self.cutter.step(b"\n").0 == Step::Record)
    }

    pub(crate) fn n_fields(&self) -> usize {
        self.cutter.n_fields
    }

    pub(crate) fn field(&self, index: usize) -> &[u8] {
        self.cutter.field(index, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// (line, offset, fields) of every record.
    fn records(text: &str) -> Vec<(u64, u64, Vec<String>)> {
        let mut records = Records::new(text.as_bytes(), b',');
        let mut all = Vec::new();
        while records.find().unwrap() {
            let offset = records.offset();
            records.read().unwrap();
            let fields = (0..records.n_fields()).map(|i| String::from_utf8(records.field(i).to_vec()).unwrap());
            all.push((records.line(), offset, fields.collect()));
        }
        all
    }

    #[test]
    fn lines_and_offsets_are_those_of_the_first_byte() {
        let text = "a,b\r\n\r\n\n\"x\ny\",2\r\nz,\"\"\"q\"\"\"\n\n\"\",\n1,\u{e9}";
        let expected = [
            (1, 0, vec!["a", "b"]),
            (4, 8, vec!["x\ny", "2"]),
            (6, 17, vec!["z", "\"q\""]),
            (8, 28, vec!["", ""]),
            (9, 32, vec!["1", "\u{e9}"]),
        ];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(line, offset, fields)| (line, offset, fields.into_iter().map(String::from).collect::<Vec<_>>()))
            .collect();
        assert_eq!(records(text), expected);
    }

    #[test]
    fn checksums_cover_the_bytes_between_marks() {
        let text = "a,b\n1,2\n\n3,4\n";
        let mut records = Records::new(text.as_bytes(), b',');
        let mut sums = Vec::new();
        while records.find().unwrap() {
            sums.push(records.take_crc());
            records.read().unwrap();
        }
        sums.push(records.take_crc());
        let sum = |bytes: &str| {
            let mut crc = Crc::new();
            crc.update(bytes.as_bytes());
            crc.sum()
        };
        assert_eq!(sums, [sum(""), sum("a,b\n"), sum("1,2\n\n"), sum("3,4\n")]);
    }

    #[test]
    fn a_byte_order_mark_inside_is_text() {
        for text in ["\u{feff}a,b\n", "\u{feff}a,\"b\"\n"] {
            let mut cutter = Cutter::new(b',');
            let mut slices = Slices::new(&mut cutter, text.as_bytes());
            assert!(slices.read());
            assert_eq!((slices.field(0), slices.field(1)), ("\u{feff}a".as_bytes(), &b"b"[..]));
        }
    }

    #[test]
    fn an_open_quote_is_found_at_the_end_of_the_file() {
        let mut records = Records::new(&b"a\n\"b\n"[..], b',');
        assert!(records.find().unwrap());
        records.read().unwrap();
        assert!(records.find().unwrap());
        assert!(matches!(records.read(), Err(Broken::Unclosed { line: 2 })));
    }

    /// A source that gives few bytes at a time, so that no record is ever cut in place.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(1);
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    type Cut = (u64, u64, Vec<Vec<u8>>);

    fn cut(source: impl Read) -> Result<Vec<Cut>, String> {
        let mut records = Records::new(source, b',');
        let mut all = Vec::new();
        while records.find().unwrap() {
            let offset = records.offset();
            records.read().map_err(|error| format!("{error:?}"))?;
            let fields = (0..records.n_fields()).map(|i| records.field(i).to_vec()).collect();
            all.push((records.line(), offset, fields));
        }
        Ok(all)
    }

    #[test]
    fn cutting_in_place_and_byte_by_byte_give_the_same() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..5_000 {
            let letters = b"ab,,\n\n\r\"\xef;";
            let text: Vec<u8> =
                (0..rng.random_range(0..60)).map(|_| letters[rng.random_range(0..letters.len())]).collect();
            let (whole, drops) = (cut(&text[..]), cut(Drops(&text)));
            assert_eq!(whole, drops, "{:?}", String::from_utf8_lossy(&text));
            // The csv crate agrees, where the text is one it reads without complaint.
            let Ok(whole) = whole else { continue };
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&text[..]);
            let records: Vec<Vec<Vec<u8>>> =
                reader.byte_records().map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect()).collect();
            let ours: Vec<_> = whole.into_iter().map(|(_, _, fields)| fields).collect();
            assert_eq!(ours, records, "{:?}", String::from_utf8_lossy(&text));
        }
    }
}
