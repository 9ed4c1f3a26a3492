//! The part of HTTP/1.1 that an answer to a GET needs.

use std::io::{self, BufRead as _, BufReader, Read};

/// All lines of a head together.
const HEAD_LIMIT: u64 = 64 << 10;

/// A line that begins a chunk.
const LINE_LIMIT: u64 = 1 << 10;

/// An answer whose body is still to be read.
#[derive(Debug)]
pub(super) struct Answer<R> {
    pub(super) status: u16,
    pub(super) body: Body<R>,
}

/// What follows a head.
#[derive(Debug)]
pub(in crate::cli) struct Body<R> {
    reader: BufReader<R>,
    left: Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// So many bytes.
    Bytes(u64),
    /// So many bytes of this chunk, then more chunks.
    Chunk(u64),
    /// Until the connection ends.
    Rest,
}

#[derive(Debug)]
pub(super) enum HeadError {
    Read(io::Error),
    Nonsense(&'static str),
}

/// Reads up to the body.
pub(super) fn read_head<R: Read>(stream: R) -> Result<Answer<R>, HeadError> {
    let mut reader = BufReader::new(stream);
    loop {
        let (status, left) = one_head(&mut reader)?;
        // An interim answer, such as 100: the real one follows.
        if !(100..200).contains(&status) {
            return Ok(Answer { status, body: Body { reader, left } });
        }
    }
}

fn one_head<R: Read>(reader: &mut BufReader<R>) -> Result<(u16, Left), HeadError> {
    let mut head = reader.take(HEAD_LIMIT);
    let mut line = Vec::new();
    let mut next = || -> Result<String, HeadError> {
        line.clear();
        head.read_until(b'\n', &mut line).map_err(HeadError::Read)?;
        match line.strip_suffix(b"\n") {
            Some(line) => Ok(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()),
            None if line.is_empty() => Err(HeadError::Nonsense("it closed the connection without an answer")),
            None => Err(HeadError::Nonsense("what it sent is not HTTP")),
        }
    };
    let first = next()?;
    let mut words = first.split(' ');
    let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    let status = words.next().and_then(|code| code.parse().ok()).filter(|code| (100..600).contains(code));
    let status = status.filter(|_| is_http).ok_or(HeadError::Nonsense("what it sent is not HTTP"))?;
    let mut left = Left::Rest;
    loop {
        let line = next()?;
        if line.is_empty() {
            return Ok((status, left));
        }
        let (name, value) =
            line.split_once(':').ok_or(HeadError::Nonsense("it sent a header that is none"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(HeadError::Nonsense("it sent an encoding that is not understood"));
            }
            left = Left::Chunk(0);
        } else if name.eq_ignore_ascii_case("content-length") && !matches!(left, Left::Chunk(_)) {
            let length = value.parse().map_err(|_| HeadError::Nonsense("it sent a length that is none"))?;
            left = Left::Bytes(length);
        }
    }
}

impl<R: Read> Body<R> {
    /// Reads the line before a chunk; the size of the last one is 0.
    fn next_chunk(&mut self) -> io::Result<u64> {
        let mut line = self.line()?;
        // The end of the chunk before.
        if line.is_empty() {
            line = self.line()?;
        }
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| nonsense("it sent a chunk without a size"))?;
        if size == 0 {
            while !self.line()?.is_empty() {}
        }
        Ok(size)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.reader).take(LINE_LIMIT).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(if line.len() as u64 + 1 >= LINE_LIMIT {
                nonsense("it sent a chunk without a size")
            } else {
                io::ErrorKind::UnexpectedEof.into()
            });
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

fn nonsense(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

impl<R: Read> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == Left::Chunk(0) {
            self.left = match self.next_chunk()? {
                0 => Left::Bytes(0),
                size => Left::Chunk(size),
            };
        }
        let (Left::Bytes(left) | Left::Chunk(left)) = self.left else {
            return self.reader.read(buffer);
        };
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.reader.read(&mut buffer[..most])?;
        if read == 0 && left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let left = left - read as u64;
        self.left = if matches!(self.left, Left::Chunk(_)) { Left::Chunk(left) } else { Left::Bytes(left) };
        Ok(read)
    }
}
