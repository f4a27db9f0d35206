//! One HTTP/1.1 connection, as cheap as it gets: a request is bytes, of an answer only status and length are read.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How much is read at once. Answers to commands are a few hundred bytes.
const BUFFER_BYTES: usize = 16 * 1024;
/// The longest answer that is taken.
const ANSWER_LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// A connection that is kept.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// Sends a request and reads its answer: the status, and the whole answer as it came.
    ///
    /// # Errors
    /// When the connection breaks or the answer is none of HTTP/1.1 with a `Content-Length`.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let mut head: Option<Head> = None;
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if head.is_none() {
                head = read_head(&self.buffer)?;
            }
            if let Some(Head { status, end }) = head
                && self.buffer.len() >= end
            {
                return Ok((status, &self.buffer));
            }
        }
    }
}

/// What is read of an answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Where the answer ends.
    end: usize,
}

/// The head, once all of it is there.
fn read_head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let Some(body) = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..body]).map_err(|_| invalid("a head that is no text"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| invalid("no HTTP/1.1 answer"))?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse::<usize>().ok() } else { None }
    });
    match length {
        Some(length) if length <= ANSWER_LIMIT_BYTES => Ok(Some(Head { status, end: body + length })),
        Some(_) => Err(invalid("an answer that is too long")),
        None => Err(invalid("an answer without Content-Length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_answer_is_known_from_its_head() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\netag: \"1\"\r\n\r\nhe";
        let head = read_head(answer).expect("valid").expect("whole");
        assert_eq!((head.status, head.end), (201, answer.len() + 3));
        assert_eq!(read_head(&answer[..30]).expect("valid so far"), None);
        assert!(read_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(read_head(b"SSH-2.0\r\n\r\n").is_err());
    }
}
