//! A map of an accelerator's program, in the memory where the accelerator has it: channel after channel.

use core::convert::Infallible;

use secateur_runtime::Tensor;
use secateur_runtime::artefact::Checksum;
use secateur_runtime::detect::HeadMap;
use secateur_runtime::npu::program::MapRecord;
use secateur_runtime::npu::{Bus, Npu, Placement, driver};
use zerocopy::IntoBytes;

use crate::run::Fault;

/// The map has another shape than what goes into it.
pub(crate) const SHAPE: Fault = Fault::Accelerator(driver::Error::Shape);
/// Bytes that are gathered on the stack.
const CHUNK: usize = 256;

/// A map at its bus address.
pub(crate) struct Planes<'b, B> {
    bus: &'b mut B,
    address: u32,
    /// Bytes from one channel to the next.
    pitch: u32,
    shape: [usize; 3],
}

impl<'b, B: Bus<Error = Infallible>> Planes<'b, B> {
    pub(crate) fn of(npu: &'b mut Npu<'_, B>, placement: Placement, map: &MapRecord) -> Self {
        let address = placement.work.wrapping_add(map.address.get());
        let shape = [map.h, map.w, map.channels].map(|extent| extent.get() as usize);
        Self { bus: npu.bus(), address, pitch: map.pitch.get(), shape }
    }

    /// Bytes of a channel.
    const fn plane(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    /// Bus address of a channel.
    const fn channel(&self, channel: usize) -> u32 {
        self.address.wrapping_add(self.pitch.wrapping_mul(channel as u32))
    }

    /// Writes all channels, which lie in `values` one after the other.
    pub(crate) fn fill(&mut self, values: &[i8]) -> Result<(), Fault> {
        let plane = self.plane();
        if values.len() != plane * self.shape[2] {
            return Err(SHAPE);
        }
        for (channel, values) in values.chunks(plane.max(1)).enumerate() {
            let address = self.channel(channel);
            // No bus of this kind fails.
            let Ok(()) = self.bus.write_memory(address, values.as_bytes());
            let Ok(()) = self.bus.clean_cache(address, plane as u32);
        }
        Ok(())
    }

    /// What the accelerator wrote is read, not an older copy of it.
    pub(crate) fn refresh(&mut self) {
        let bytes = self.channel(self.shape[2]).wrapping_sub(self.address);
        let Ok(()) = self.bus.invalidate_cache(self.address, bytes);
    }

    /// CRC-32 of all values, `[c, h, w]`.
    pub(crate) fn checksum(&mut self) -> u32 {
        let mut checksum = Checksum::new();
        let mut chunk = [0; CHUNK];
        for channel in 0..self.shape[2] {
            let (mut address, mut rest) = (self.channel(channel), self.plane());
            while rest > 0 {
                let bytes = chunk.get_mut(..rest.min(CHUNK)).unwrap_or_default();
                let Ok(()) = self.bus.read_memory(address, bytes);
                checksum.update(bytes);
                address = address.wrapping_add(CHUNK as u32);
                rest = rest.saturating_sub(CHUNK);
            }
        }
        checksum.finish()
    }
}

/// A head's map, wherever it is.
pub(crate) enum Map<'a, 'b, B> {
    /// The accelerator wrote it.
    Planes(Planes<'b, B>),
    /// The processor wrote it.
    Tensor(Tensor<'a>),
}

impl<B: Bus<Error = Infallible>> HeadMap for Map<'_, '_, B> {
    fn shape(&self) -> [usize; 3] {
        match self {
            Self::Planes(planes) => planes.shape,
            Self::Tensor(tensor) => tensor.shape(),
        }
    }

    fn pixels(&mut self, pixel: usize, channel: usize, out: &mut [i8]) {
        match self {
            Self::Planes(planes) => {
                let address = planes.channel(channel).wrapping_add(pixel as u32);
                let Ok(()) = planes.bus.read_memory(address, out.as_mut_bytes());
            }
            Self::Tensor(tensor) => HeadMap::pixels(tensor, pixel, channel, out),
        }
    }

    fn channels(&mut self, pixel: usize, channel: usize, out: &mut [i8]) {
        match self {
            Self::Planes(planes) => {
                let mut address = planes.channel(channel).wrapping_add(pixel as u32);
                for to in out {
                    let Ok(()) = planes.bus.read_memory(address, core::slice::from_mut(to).as_mut_bytes());
                    address = address.wrapping_add(planes.pitch);
                }
            }
            Self::Tensor(tensor) => HeadMap::channels(tensor, pixel, channel, out),
        }
    }
}
