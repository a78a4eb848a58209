//! The system counter of Arm's SSE-300 subsystem, which counts up.

const CONTROL: *mut u32 = 0x5810_0000 as *mut u32;
const VALUE_LOW: *const u32 = 0x5810_1000 as *const u32;
const ENABLE: u32 = 1;

pub(crate) fn start() {
    // SAFETY: in the SSE-300 this is the counter's control register, and nobody else uses it.
    unsafe { CONTROL.write_volatile(ENABLE) }
}

pub(crate) fn ticks() -> u32 {
    // SAFETY: as above; reading changes nothing.
    unsafe { VALUE_LOW.read_volatile() }
}
