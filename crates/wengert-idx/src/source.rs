//! Bytes of a file, unpacked if they are gzipped, with a count of how far one has read.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

use crate::error::{Error, ErrorKind, Result};

/// A stream of unpacked bytes.
pub(crate) struct Source<R: Read> {
    stream: Stream<R>,
    /// Unpacked bytes read so far.
    pub(crate) offset: u64,
}

enum Stream<R: Read> {
    Raw(BufReader<R>),
    /// `None` behind the last member.
    Gzip(Option<Box<GzDecoder<BufReader<R>>>>),
}

/// Compressed bytes that are read at a time.
const BUFFER: usize = 1 << 16;

impl<R: Read> Source<R> {
    /// Looks at the first bytes to tell gzip from raw.
    pub(crate) fn new(reader: R) -> Result<Self> {
        let mut buffered = BufReader::with_capacity(BUFFER, reader);
        // A pipe may hand over its first bytes one at a time; one byte is enough to tell, for an IDX
        // file starts with a zero.
        let first = loop {
            match buffered.fill_buf() {
                Ok(bytes) => break bytes.first().copied(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::new(0, ErrorKind::Io(e))),
            }
        };
        let stream = match first {
            None => return Err(Error::new(0, ErrorKind::Empty)),
            Some(0x1f) => Stream::Gzip(Some(Box::new(GzDecoder::new(buffered)))),
            Some(_) => Stream::Raw(buffered),
        };
        Ok(Self { stream, offset: 0 })
    }

    /// Appends up to `count` bytes; fewer only at the end of the stream. Memory grows with what
    /// arrives.
    pub(crate) fn read_up_to(&mut self, count: u64, into: &mut Vec<u8>) -> Result<u64> {
        let before = into.len();
        let outcome = match &mut self.stream {
            Stream::Raw(r) => r.take(count).read_to_end(into).map(drop),
            Stream::Gzip(members) => unpack(members, count, into),
        };
        let read = (into.len() - before) as u64;
        self.offset += read;
        outcome.map(|()| read).map_err(|e| self.error(e))
    }

    /// Whether the stream ends here; for gzip this is where checksum and length are verified.
    pub(crate) fn at_end(&mut self) -> Result<bool> {
        let mut probe = Vec::new();
        let more = self.read_up_to(1, &mut probe)?;
        self.offset -= more;
        Ok(more == 0)
    }

    fn error(&self, e: io::Error) -> Error {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match &self.stream {
            Stream::Gzip(_) if matches!(e.kind(), InvalidData | InvalidInput | UnexpectedEof) => {
                Error::new(self.offset, ErrorKind::Gzip(e.to_string()))
            }
            _ => Error::new(self.offset, ErrorKind::Io(e)),
        }
    }
}

/// Appends up to `count` bytes of the members of a gzip file, which follow one another. Zeros behind the last one are
/// padding, as for `gzip` itself.
fn unpack<R: Read>(
    members: &mut Option<Box<GzDecoder<BufReader<R>>>>,
    count: u64,
    into: &mut Vec<u8>,
) -> io::Result<()> {
    let end = into.len() as u64 + count;
    while let Some(mut member) = members.take() {
        let left = end - into.len() as u64;
        (&mut member).take(left).read_to_end(into)?;
        if into.len() as u64 == end {
            *members = Some(member);
            return Ok(());
        }
        let mut rest = member.into_inner();
        *members = match next_byte(&mut rest)? {
            None => None,
            Some(0x1f) => Some(Box::new(GzDecoder::new(rest))),
            Some(other) => {
                let what =
                    format!("expected another member, zeros or the end behind the data, found {other:02x}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        };
    }
    Ok(())
}

/// The next byte that is not zero, which is not consumed.
fn next_byte<R: Read>(from: &mut BufReader<R>) -> io::Result<Option<u8>> {
    loop {
        let (zeros, found) = match from.fill_buf() {
            Ok([]) => return Ok(None),
            Ok(bytes) => {
                let zeros = bytes.iter().take_while(|b| **b == 0).count();
                (zeros, bytes.get(zeros).copied())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        from.consume(zeros);
        if found.is_some() {
            return Ok(found);
        }
    }
}
