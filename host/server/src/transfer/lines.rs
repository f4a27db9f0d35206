//! Lines of a stream of bytes, none of them longer than the limit.

use std::io::{self, BufRead};

/// The longest line, in bytes, its end not counted.
pub const LIMIT_BYTES: usize = 16 << 20;

/// What keeps a line from being read.
#[derive(Debug)]
pub enum Error {
    /// It is too long.
    TooLong,
    /// The stream failed.
    Read(io::Error),
}

/// The lines of a stream.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// The lines from here on.
    pub fn new(from: R) -> Self {
        Self { from, line: Vec::new() }
    }

    /// The next line without its end, which the last one may lack; none after that one.
    pub fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        self.line.clear();
        loop {
            let chunk = match self.from.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Read(error)),
            };
            if chunk.is_empty() {
                return Ok((!self.line.is_empty()).then_some(&*self.line));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let length = end.unwrap_or(chunk.len());
            if self.line.len() + length > LIMIT_BYTES {
                return Err(Error::TooLong);
            }
            self.line.extend_from_slice(&chunk[..length]);
            self.from.consume(length + usize::from(end.is_some()));
            if end.is_some() {
                return Ok(Some(&self.line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn all(text: &[u8], buffer: usize) -> Vec<String> {
        let mut lines = Lines::new(BufReader::with_capacity(buffer, text));
        let mut all = Vec::new();
        while let Some(line) = lines.next().expect("a line") {
            all.push(String::from_utf8_lossy(line).into_owned());
        }
        all
    }

    #[test]
    fn lines_come_out_whole_however_they_come_in() {
        for buffer in [1, 2, 3, 100] {
            assert_eq!(all(b"one\n\nthree\nfour", buffer), ["one", "", "three", "four"]);
            assert_eq!(all(b"one\n", buffer), ["one"]);
            assert_eq!(all(b"", buffer), [""; 0]);
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_gathered_for_ever() {
        let endless = BufReader::new(io::repeat(b'x'));
        assert!(matches!(Lines::new(endless).next(), Err(Error::TooLong)));
    }
}
