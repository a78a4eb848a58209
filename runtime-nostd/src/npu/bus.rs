//! What the driver needs of a machine: an FPGA's memory map, a Linux device, a simulation.

use core::time::Duration;

/// The way to one accelerator and to the memory that it shares with the processor.
///
/// Bus addresses are those that the accelerator itself puts on its bus. Implementations order a
/// register write after every memory write that came before it.
pub trait Bus {
    /// Why an access failed; [`core::convert::Infallible`] where none can.
    type Error;

    /// Reads the register at byte `offset` from the control interface's base.
    fn read_register(&mut self, offset: u32) -> Result<u32, Self::Error>;

    /// Writes the register at byte `offset`.
    fn write_register(&mut self, offset: u32, value: u32) -> Result<(), Self::Error>;

    /// Fills `bytes` from shared memory at bus `address`.
    fn read_memory(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes `bytes` to shared memory at bus `address`.
    fn write_memory(&mut self, address: u32, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Brings what the processor wrote to memory, before the accelerator reads it.
    fn clean_cache(&mut self, _address: u32, _bytes: u32) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Forgets cached copies of what the accelerator wrote, before the processor reads it.
    fn invalidate_cache(&mut self, _address: u32, _bytes: u32) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Waits until the interrupt line is high, at most for `limit`; tells whether it is.
    fn wait_interrupt(&mut self, limit: Duration) -> Result<bool, Self::Error>;
}

impl<B: Bus> Bus for &mut B {
    type Error = B::Error;

    fn read_register(&mut self, offset: u32) -> Result<u32, Self::Error> {
        (**self).read_register(offset)
    }

    fn write_register(&mut self, offset: u32, value: u32) -> Result<(), Self::Error> {
        (**self).write_register(offset, value)
    }

    fn read_memory(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        (**self).read_memory(address, bytes)
    }

    fn write_memory(&mut self, address: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        (**self).write_memory(address, bytes)
    }

    fn clean_cache(&mut self, address: u32, bytes: u32) -> Result<(), Self::Error> {
        (**self).clean_cache(address, bytes)
    }

    fn invalidate_cache(&mut self, address: u32, bytes: u32) -> Result<(), Self::Error> {
        (**self).invalidate_cache(address, bytes)
    }

    fn wait_interrupt(&mut self, limit: Duration) -> Result<bool, Self::Error> {
        (**self).wait_interrupt(limit)
    }
}
