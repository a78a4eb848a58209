//! Packets of GDB's remote serial protocol: `$`, text, `#`, the sum of the text's bytes modulo 256 in two digits.
//! Each is acknowledged by `+`.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use secateur_base::{Error, Result};

/// The longest packet that is read.
const LONGEST: usize = 1 << 16;
/// How long one read waits.
const SLICE: Duration = Duration::from_millis(100);
/// Asks a running processor to halt.
const INTERRUPT: u8 = 0x03;

/// A stream of packets.
#[derive(Debug)]
pub(super) struct Wire {
    address: String,
    stream: TcpStream,
    patience: Duration,
    /// Bytes that were read and belong to no packet yet.
    pending: Vec<u8>,
}

impl Wire {
    /// Connects to `HOST:PORT`. A server has `patience` for each answer.
    pub(super) fn connect(address: &str, patience: Duration) -> Result<Self> {
        let failed = |cause: &dyn std::fmt::Display| {
            Error::new(format!("cannot connect to gdb:{address}: {cause}"))
                .help("start QEMU with `-S -gdb tcp::PORT`, and name it as gdb:localhost:PORT")
        };
        let addresses = address.to_socket_addrs().map_err(|e| failed(&e))?;
        let streams = addresses.map(|address| TcpStream::connect_timeout(&address, patience));
        let stream = streams.reduce(Result::or).ok_or_else(|| failed(&"no such host"))?;
        let stream = stream.map_err(|e| failed(&e))?;
        let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(SLICE)));
        set.and_then(|()| stream.set_write_timeout(Some(patience))).map_err(|e| failed(&e))?;
        Ok(Self { address: address.to_owned(), stream, patience, pending: Vec::new() })
    }

    /// Sends a request and returns its answer.
    pub(super) fn request(&mut self, text: &str) -> Result<String> {
        self.send(text)?;
        let answer = self.packet(Instant::now() + self.patience)?;
        answer.ok_or_else(|| {
            Error::new(format!("gdb:{} does not answer", self.address))
                .found(format!("nothing within {} s to {text:.20?}", self.patience.as_secs()))
        })
    }

    /// Lets the processor run and returns why it stopped; `None` if it does not until `deadline`: then it is halted.
    pub(super) fn run(&mut self, deadline: Instant) -> Result<Option<String>> {
        self.send("c")?;
        let stopped = self.packet(deadline)?;
        if stopped.is_none() {
            self.write(&[INTERRUPT])?;
            self.packet(Instant::now() + self.patience)?;
        }
        Ok(stopped)
    }

    fn send(&mut self, text: &str) -> Result<()> {
        let packet = format!("${text}#{:02x}", sum(text.as_bytes()));
        self.write(packet.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).map_err(|e| self.lost(&e))
    }

    /// The next packet's text; `None` if there is none until `deadline`.
    fn packet(&mut self, deadline: Instant) -> Result<Option<String>> {
        loop {
            if let Some(text) = self.take()? {
                self.write(b"+")?;
                return Ok(Some(text));
            }
            if self.pending.len() > LONGEST {
                return Err(self.stray("a packet without an end"));
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(self.lost(&"it closed the connection")),
                Ok(read) => self.pending.extend_from_slice(&bytes[..read]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() >= deadline {
                        return Ok(None);
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.lost(&e)),
            }
        }
    }

    /// Takes a whole packet out of what was read.
    fn take(&mut self) -> Result<Option<String>> {
        // Acknowledgements, which nobody repeats over TCP.
        let skipped = self.pending.iter().take_while(|byte| **byte == b'+').count();
        self.pending.drain(..skipped);
        if self.pending.first().is_some_and(|byte| *byte != b'$') {
            return Err(self.stray("no packet"));
        }
        let Some(end) = self.pending.iter().position(|byte| *byte == b'#') else { return Ok(None) };
        let Some(digits) = self.pending.get(end + 1..end + 3) else { return Ok(None) };
        let wanted = std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let text = &self.pending[1..end];
        let (right, text) = (wanted == Some(sum(text)), String::from_utf8(text.to_vec()));
        self.pending.drain(..end + 3);
        match text {
            Ok(text) if right => Ok(Some(text)),
            _ => Err(self.stray("a damaged packet")),
        }
    }

    fn stray(&self, what: &str) -> Error {
        Error::new(format!("gdb:{} is no server of GDB's protocol", self.address)).found(what.to_owned())
    }

    fn lost(&self, cause: &dyn std::fmt::Display) -> Error {
        Error::new(format!("lost gdb:{}: {cause}", self.address))
    }
}

fn sum(text: &[u8]) -> u8 {
    text.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}
