//! Reads a command stream command by command.

use zerocopy::FromBytes;

use super::isa::{Control, Exec, Opcode, Transfer, UNIT};

/// One command of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// LOAD queue.
    Load(Opcode, &'a Transfer),
    /// EXEC queue.
    Exec(&'a Exec),
    /// STORE queue.
    Store(&'a Transfer),
    /// EXEC queue: nothing follows it.
    End(&'a Control),
}

/// The three in-order queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    Load,
    Exec,
    Store,
}

impl Command<'_> {
    /// The queue that runs it.
    pub const fn queue(&self) -> Queue {
        match self {
            Self::Load(..) => Queue::Load,
            Self::Exec(_) | Self::End(_) => Queue::Exec,
            Self::Store(_) => Queue::Store,
        }
    }

    /// Finished commands of the LOAD, EXEC and STORE queue that it waits for; 0: none.
    pub fn waits(&self) -> [u16; 3] {
        match self {
            Self::Load(_, c) | Self::Store(c) => [c.wait_load, c.wait_exec, c.wait_store],
            Self::Exec(c) => [c.wait_load, c.wait_exec, c.wait_store],
            Self::End(c) => [c.wait_load, c.wait_exec, c.wait_store],
        }
        .map(|wait| wait.get())
    }

    /// Bytes of the command.
    pub const fn bytes(&self) -> usize {
        match self {
            Self::Load(..) | Self::Store(_) => size_of::<Transfer>(),
            Self::Exec(_) => size_of::<Exec>(),
            Self::End(_) => size_of::<Control>(),
        }
    }
}

/// A stream that breaks off or has an unknown opcode at this [`UNIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadCommand {
    pub unit: usize,
}

/// Iterates over the commands of a stream, up to END or the first that is none.
#[derive(Debug, Clone)]
pub struct Commands<'a> {
    stream: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Commands<'a> {
    pub const fn new(stream: &'a [u8]) -> Self {
        Self { stream, rest: stream }
    }

    fn split(&self) -> Option<(Command<'a>, &'a [u8])> {
        fn take<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned>(
            bytes: &[u8],
        ) -> Option<(&T, &[u8])> {
            T::ref_from_prefix(bytes).ok()
        }
        let opcode = Opcode::from_code(*self.rest.first()?)?;
        Some(match opcode {
            Opcode::LoadMap | Opcode::LoadWeights | Opcode::LoadParams | Opcode::LoadTable => {
                let (transfer, rest) = take(self.rest)?;
                (Command::Load(opcode, transfer), rest)
            }
            Opcode::StoreMap => {
                let (transfer, rest) = take(self.rest)?;
                (Command::Store(transfer), rest)
            }
            Opcode::Exec => {
                let (exec, rest) = take(self.rest)?;
                (Command::Exec(exec), rest)
            }
            Opcode::End => {
                let (control, _) = take(self.rest)?;
                (Command::End(control), &[])
            }
        })
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, BadCommand>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((command, rest)) = self.split() else {
            let unit = (self.stream.len() - self.rest.len()) / UNIT;
            self.rest = &[];
            return Some(Err(BadCommand { unit }));
        };
        self.rest = rest;
        Some(Ok(command))
    }
}
