//! Timer 0 of the Cortex-M System Design Kit, which counts down with the system clock.

const CTRL: *mut u32 = 0x4000_0000 as *mut u32;
const VALUE: *mut u32 = 0x4000_0004 as *mut u32;
const RELOAD: *mut u32 = 0x4000_0008 as *mut u32;
const ENABLE: u32 = 1;

pub(crate) fn start() {
    // SAFETY: on MPS2 and MPS3 boards these are the timer's registers, and nobody else uses it.
    unsafe {
        RELOAD.write_volatile(u32::MAX);
        VALUE.write_volatile(u32::MAX);
        CTRL.write_volatile(ENABLE);
    }
}

pub(crate) fn ticks() -> u32 {
    // SAFETY: as above; reading changes nothing.
    unsafe { !VALUE.read_volatile() }
}
