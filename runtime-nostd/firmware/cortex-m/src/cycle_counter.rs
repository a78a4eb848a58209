//! The core's own cycle counter, in its unit for data watchpoints and trace (DWT).

/// Debug exception and monitor control.
const DEMCR: *mut u32 = 0xE000_EDFC as *mut u32;
const TRACE_ENABLE: u32 = 1 << 24;
const DWT_CTRL: *mut u32 = 0xE000_1000 as *mut u32;
const COUNTER_ENABLE: u32 = 1;
const DWT_CYCCNT: *const u32 = 0xE000_1004 as *const u32;

pub(crate) fn start() {
    // SAFETY: these are the registers of every Cortex-M from M3 on, and nobody else uses them.
    unsafe {
        DEMCR.write_volatile(DEMCR.read_volatile() | TRACE_ENABLE);
        DWT_CTRL.write_volatile(DWT_CTRL.read_volatile() | COUNTER_ENABLE);
    }
}

pub(crate) fn ticks() -> u32 {
    // SAFETY: as above; reading changes nothing.
    unsafe { DWT_CYCCNT.read_volatile() }
}
