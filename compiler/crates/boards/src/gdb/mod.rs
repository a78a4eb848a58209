//! A board behind a server of GDB's remote protocol: QEMU's. The host serves the program's calls, as a debugger does
//! that halts at `bkpt`; QEMU itself does not halt there, so that a breakpoint is set on each.

mod packet;

use std::time::{Duration, Instant};

use secateur_base::{Error, Result};

use crate::image::{Image, Part};
use crate::link::{Call, Link};
use packet::Wire;

/// Bytes of memory in a request. Two digits each, they fit the smallest packets that servers take.
const BLOCK: usize = 512;
/// How long a server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest text of a call.
const LONGEST_TEXT: usize = 1 << 16;

/// The processor's registers, by their numbers in the protocol.
const R0: u32 = 0;
const R1: u32 = 1;
const SP: u32 = 13;
const PC: u32 = 15;
const XPSR: u32 = 25;
/// The processor executes Thumb instructions, and handles no exception.
const THUMB: u32 = 1 << 24;
/// Bytes of `bkpt`.
const BKPT: u32 = 2;

/// Operations of semihosting.
const SYS_OPEN: u32 = 0x01;
const SYS_WRITE: u32 = 0x05;
const SYS_EXIT: u32 = 0x18;
const SYS_EXIT_EXTENDED: u32 = 0x20;
/// The reason of an exit that is none of an exception.
const APPLICATION_EXIT: u32 = 0x2_0026;

/// A connection to a server.
#[derive(Debug)]
pub struct Gdb {
    name: String,
    wire: Wire,
    /// The processor stands at a call, which is to be left behind.
    at_call: bool,
    host_calls: Vec<u32>,
}

impl Gdb {
    /// Connects to the server at `address`, `HOST:PORT`, and halts the processor.
    ///
    /// # Errors
    /// Nobody listens there, or no such server does.
    pub fn connect(address: &str) -> Result<Self> {
        let mut wire = Wire::connect(address, PATIENCE)?;
        // The state of the processor, which connecting has halted.
        wire.request("?")?;
        // Single registers are given to those alone that know of descriptions; their numbers are Arm's own.
        wire.request("qXfer:features:read:target.xml:0,7ff")?;
        Ok(Self { name: format!("gdb:{address}"), wire, at_call: false, host_calls: Vec::new() })
    }

    fn done(&mut self, request: &str, what: &str) -> Result<()> {
        match self.wire.request(request)?.as_str() {
            "OK" => Ok(()),
            answer => {
                let answer = if answer.is_empty() { "that it does not know the request" } else { answer };
                Err(Error::new(format!("{} cannot {what}", self.name)).found(answer.to_owned()))
            }
        }
    }

    fn register(&mut self, number: u32) -> Result<u32> {
        let answer = self.wire.request(&format!("p{number:x}"))?;
        let bytes = hex::decode(&answer).ok().and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        bytes.map(u32::from_le_bytes).ok_or_else(|| {
            Error::new(format!("{} does not tell register {number}", self.name)).found(format!("{answer:?}"))
        })
    }

    fn set_register(&mut self, number: u32, value: u32) -> Result<()> {
        let request = format!("P{number:x}={}", hex::encode(value.to_le_bytes()));
        self.done(&request, &format!("set register {number}"))
    }

    fn words<const N: usize>(&mut self, address: u32) -> Result<[u32; N]> {
        let mut words = [0; N];
        for (word, at) in words.iter_mut().zip((address..).step_by(4)) {
            let mut bytes = [0; 4];
            self.read(at, &mut bytes)?;
            *word = u32::from_le_bytes(bytes);
        }
        Ok(words)
    }

    /// The call at which the processor stands.
    fn call(&mut self) -> Result<Call> {
        let (operation, parameter) = (self.register(R0)?, self.register(R1)?);
        Ok(match operation {
            SYS_OPEN => Call::Open,
            SYS_WRITE => {
                let [_handle, address, length] = self.words(parameter)?;
                if length as usize > LONGEST_TEXT {
                    return Err(Error::new("the program wants to report more than a report's line")
                        .found(format!("{length} bytes")));
                }
                let mut bytes = vec![0; length as usize];
                self.read(address, &mut bytes)?;
                Call::Write(bytes)
            }
            SYS_EXIT => Call::Exit(u32::from(parameter != APPLICATION_EXIT)),
            SYS_EXIT_EXTENDED => match self.words(parameter)? {
                [APPLICATION_EXIT, code] => Call::Exit(code),
                [reason, _] => Call::Exit(reason),
            },
            _ => Call::Other,
        })
    }
}

impl Link for Gdb {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn write(&mut self, parts: &[Part]) -> Result<()> {
        for part in parts {
            for (bytes, at) in part.bytes.chunks(BLOCK).zip((part.address..).step_by(BLOCK)) {
                let request = format!("M{at:x},{:x}:{}", bytes.len(), hex::encode(bytes));
                self.done(&request, &format!("write {} at {at:#010x}", part.name))?;
            }
        }
        Ok(())
    }

    fn read(&mut self, address: u32, bytes: &mut [u8]) -> Result<()> {
        for (bytes, at) in bytes.chunks_mut(BLOCK).zip((address..).step_by(BLOCK)) {
            let answer = self.wire.request(&format!("m{at:x},{:x}", bytes.len()))?;
            hex::decode_to_slice(&answer, bytes).map_err(|_| {
                Error::new(format!("{} cannot read {} bytes at {at:#010x}", self.name, bytes.len()))
                    .found(format!("{answer:.60?}"))
            })?;
        }
        Ok(())
    }

    fn reset(&mut self, image: &Image) -> Result<()> {
        for &at in &image.host_calls {
            self.done(&format!("Z0,{at:x},{BKPT}"), &format!("set a breakpoint at {at:#010x}"))?;
        }
        self.host_calls.clone_from(&image.host_calls);
        // What a reset does. A server has no request for it that others have too.
        let [stack, entry] = self.words(image.vectors)?;
        for (register, value) in [(SP, stack), (PC, entry & !1), (XPSR, THUMB)] {
            self.set_register(register, value)?;
        }
        self.at_call = false;
        Ok(())
    }

    fn resume(&mut self, deadline: Instant) -> Result<Option<Call>> {
        if self.at_call {
            let at = self.register(PC)?;
            self.set_register(PC, at + BKPT)?;
        }
        let Some(stop) = self.wire.run(deadline)? else { return Ok(None) };
        let at = if stop.starts_with(['T', 'S']) { Some(self.register(PC)?) } else { None };
        match at {
            Some(at) if self.host_calls.contains(&at) => {
                self.at_call = true;
                self.call().map(Some)
            }
            _ => {
                Err(Error::new(format!("the processor of {} stopped without a call of the host", self.name))
                    .found(at.map_or(stop, |at| format!("at {at:#010x}"))))
            }
        }
    }

    fn answer(&mut self, result: i32) -> Result<()> {
        self.set_register(R0, result as u32)
    }
}

#[cfg(test)]
mod tests;
