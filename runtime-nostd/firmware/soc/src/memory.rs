//! Starts the memory up: the controller's generated sequence, by software.

use crate::map;
use crate::registers::write;

/// Hands the memory's pins to the controller.
const HARDWARE: u32 = 1;

/// A step of the sequence.
pub(crate) struct Command {
    /// Whether `value` goes to the register of pins, or is a command with an address.
    pub(crate) control: bool,
    pub(crate) value: u32,
    pub(crate) address: u32,
    pub(crate) bank: u32,
    /// Cycles to wait after it.
    pub(crate) wait: u32,
}

/// # Safety
/// Nothing uses the memory yet.
pub(crate) unsafe fn start_up() {
    for step in map::START_UP {
        // SAFETY: registers of the memory's controller.
        unsafe {
            write(map::SDRAM_DFII_PI0_ADDRESS, step.address);
            write(map::SDRAM_DFII_PI0_BADDRESS, step.bank);
            if step.control {
                write(map::SDRAM_DFII_CONTROL, step.value);
            } else {
                write(map::SDRAM_DFII_PI0_COMMAND, step.value);
                write(map::SDRAM_DFII_PI0_COMMAND_ISSUE, 1);
            }
        }
        for _ in 0..step.wait {
            core::hint::spin_loop();
        }
    }
    // SAFETY: as above.
    unsafe { write(map::SDRAM_DFII_CONTROL, HARDWARE) }
}
