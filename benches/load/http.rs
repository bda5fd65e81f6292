//! HTTP/1.1 as far as the measurement needs it: one request at a time over a kept connection,
//! ready-made request bytes out, status and body in. Nothing is allocated for an exchange.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    ops::Range,
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How long an answer may take before it counts as none.
const PATIENCE: Duration = Duration::from_mins(1);
const BUFFER: usize = 16 * 1_024;

/// A connection that is opened when it is first needed, and again after it broke.
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    body: Range<usize>,
}

impl Connection {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, buffer: vec![0; BUFFER], body: 0..0 }
    }

    /// Sends `request` and gives the answer's status; the body waits in [`Self::body`].
    ///
    /// # Errors
    /// No complete answer came. The request may have been carried out all the same.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        // Taken out, and put back only after a whole answer: a connection that broke, also by
        // this future being dropped, is not used again.
        let stream = self.stream.take();
        let exchange = async {
            let mut stream = match stream {
                Some(stream) => stream,
                None => connect(self.address).await?,
            };
            write_all(&mut stream, request).await?;
            let head = self.receive(&mut stream).await?;
            if head.keep {
                self.stream = Some(stream);
            }
            Ok(head.status)
        };
        tokio::time::timeout(PATIENCE, exchange).await?
    }

    /// The body of the last answer.
    pub fn body(&self) -> &[u8] {
        &self.buffer[self.body.clone()]
    }

    async fn receive(&mut self, stream: &mut TcpStream) -> io::Result<Head> {
        let mut filled = 0;
        let head = loop {
            if filled == self.buffer.len() {
                return Err(invalid("the answer's head is too long"));
            }
            filled += read(stream, &mut self.buffer[filled..]).await?;
            if let Some(head) = Head::parse(&self.buffer[..filled])? {
                break head;
            }
        };
        let end = head.bytes + head.length;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        while filled < end {
            filled += read(stream, &mut self.buffer[filled..end]).await?;
        }
        self.body = head.bytes..end;
        Ok(head)
    }
}

/// What must be known of an answer's head.
struct Head {
    status: u16,
    bytes: usize,
    length: usize,
    keep: bool,
}

impl Head {
    /// `None` while the head is not complete.
    fn parse(text: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let mut lines = text[..end].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let status =
            lines.next().and_then(|line| number(line.strip_prefix(b"HTTP/1.1 ")?.get(..3)?));
        let status = status.ok_or_else(|| invalid("not an HTTP/1.1 answer"))?;
        let mut length = (status == 204).then_some(0);
        let mut keep = true;
        for line in lines {
            if let Some(value) = value_of(line, b"content-length:") {
                length = number(value);
            } else if let Some(value) = value_of(line, b"connection:") {
                keep = !value.eq_ignore_ascii_case(b"close");
            }
        }
        let length = length.ok_or_else(|| invalid("an answer without Content-Length"))?;
        let status = u16::try_from(status).map_err(invalid)?;
        Ok(Some(Self { status, bytes: end + 4, length, keep }))
    }
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn number(text: &[u8]) -> Option<usize> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn invalid(fault: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, fault)
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn write_all(stream: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    std::future::poll_fn(|context| {
        while !bytes.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(context, bytes))?;
            bytes = &bytes[written..];
        }
        Poll::Ready(Ok(()))
    })
    .await
}

async fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let count = std::future::poll_fn(|context| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok::<_, io::Error>(buffer.filled().len()))
    })
    .await?;
    if count == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(count)
}
