//! The core alone (`npu_exec`) under Verilator, pin by pin, for its unit tests.

use std::ffi::c_void;
use std::ptr::NonNull;

use secateur_runtime::npu::isa::{Exec, Parameters};
use zerocopy::IntoBytes;

use crate::emulator::{MOST_LANES, OnChip};

/// Pins that the test drives, in the order of `CoreInputs` in core.cpp.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Inputs {
    pub cmd: [u8; 96],
    pub ld_data: [u8; 16],
    pub lw_data: [u8; 20],
    pub lp_data: [u8; 16],
    pub lt_data: [u8; 8],
    pub rst: u8,
    pub cmd_valid: u8,
    pub ld_valid: u8,
    pub ld_bank: u8,
    pub st_valid: u8,
    pub st_bank: u8,
    pub lw_valid: u8,
    pub lp_valid: u8,
    pub lt_valid: u8,
    pub lt_select: u8,
    pub lt_addr: u8,
    pub ld_addr: u16,
    pub ld_be: u16,
    pub st_addr: u16,
    pub lw_addr: u16,
    pub lp_addr: u16,
}

impl Default for Inputs {
    fn default() -> Self {
        Self {
            cmd: [0; 96],
            ld_data: [0; 16],
            lw_data: [0; 20],
            lp_data: [0; 16],
            lt_data: [0; 8],
            rst: 0,
            cmd_valid: 0,
            ld_valid: 0,
            ld_bank: 0,
            st_valid: 0,
            st_bank: 0,
            lw_valid: 0,
            lp_valid: 0,
            lt_valid: 0,
            lt_select: 0,
            lt_addr: 0,
            ld_addr: 0,
            ld_be: 0,
            st_addr: 0,
            lw_addr: 0,
            lp_addr: 0,
        }
    }
}

/// Pins of the core as they stand before the clock edge, in the order of `CoreOutputs`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Outputs {
    pub st_rdata: [u8; 16],
    pub skipped: u16,
    pub cmd_ready: u8,
    pub done: u8,
    pub illegal: u8,
    pub ld_ready: u8,
    pub st_ready: u8,
    pub st_rvalid: u8,
    pub busy_mac: u8,
    pub stall_drain: u8,
    pub stall_residual: u8,
    pub idle: u8,
}

unsafe extern "C" {
    fn npu_core_new() -> *mut c_void;
    fn npu_core_free(core: *mut c_void);
    fn npu_core_cycle(core: *mut c_void, inputs: *const Inputs, outputs: *mut Outputs);
    fn npu_core_word(core: *mut c_void, bank: u32, address: u32) -> *mut u8;
}

/// The Verilated core.
#[derive(Debug)]
pub struct Core {
    handle: NonNull<c_void>,
    parameters: Parameters,
    pub inputs: Inputs,
    /// Clock edges since the core was made.
    pub cycles: u64,
}

impl Core {
    /// A core after reset.
    pub fn new() -> Self {
        // SAFETY: the constructor has no conditions; it throws rather than return null.
        let handle = NonNull::new(unsafe { npu_core_new() }).expect("a model");
        let mut core = Self { handle, parameters: crate::PARAMETERS, inputs: Inputs::default(), cycles: 0 };
        core.inputs.rst = 1;
        core.cycle();
        core.cycle();
        core.inputs.rst = 0;
        core
    }

    /// One clock cycle with the present inputs; the outputs are those before its edge.
    pub fn cycle(&mut self) -> Outputs {
        let mut outputs = Outputs::default();
        // SAFETY: the handle is alive, both structures have the C layout of core.cpp.
        unsafe { npu_core_cycle(self.handle.as_ptr(), &self.inputs, &mut outputs) };
        self.cycles += 1;
        outputs
    }

    /// Presents a command in the next cycle.
    pub fn present(&mut self, command: Option<&Exec>) {
        self.inputs.cmd_valid = command.is_some().into();
        if let Some(command) = command {
            self.inputs.cmd.copy_from_slice(command.as_bytes());
        }
    }

    /// A word of a bank, past the ports: a byte a lane.
    pub fn word(&mut self, bank: usize, address: usize) -> &mut [u8] {
        assert!(bank < self.parameters.rows as usize && address < self.parameters.bank_words as usize);
        // SAFETY: bank and address exist, a word has as many bytes, and `self` is borrowed as long.
        unsafe {
            let word = npu_core_word(self.handle.as_ptr(), bank as u32, address as u32);
            std::slice::from_raw_parts_mut(word, self.parameters.lanes as usize)
        }
    }

    /// Writes all memories: banks past the ports, the others through those of LOAD.
    pub fn load(&mut self, chip: &OnChip) {
        for (bank, words) in chip.banks.iter().enumerate() {
            for (address, word) in words.iter().enumerate() {
                let to = self.word(bank, address);
                to.copy_from_slice(&word[..to.len()]);
            }
        }
        let longest = chip.weights.len().max(chip.channels.len()).max(64);
        for at in 0..longest {
            let weight = chip.weights.get(at);
            self.inputs.lw_valid = weight.is_some().into();
            if let Some((weights, control)) = weight {
                self.inputs.lw_addr = at as u16;
                let rows = self.parameters.rows as usize;
                self.inputs.lw_data[..rows].copy_from_slice(&weights.as_bytes()[..rows]);
                self.inputs.lw_data[rows] = *control;
            }
            let channel = chip.channels.get(at);
            self.inputs.lp_valid = channel.is_some().into();
            if let Some(channel) = channel {
                self.inputs.lp_addr = at as u16;
                self.inputs.lp_data.copy_from_slice(channel.as_bytes());
            }
            self.inputs.lt_valid = (at < 64).into();
            if at < 64 {
                self.inputs.lt_select = (at / 32) as u8;
                self.inputs.lt_addr = (at % 32) as u8;
                let entries = &chip.tables[at / 32][at % 32 * 8..][..8];
                self.inputs.lt_data.copy_from_slice(entries.as_bytes());
            }
            self.cycle();
        }
        self.inputs.lw_valid = 0;
    }

    /// Copies the banks, past the ports, in the emulator's form.
    pub fn banks(&mut self) -> Vec<Vec<[u8; MOST_LANES]>> {
        let Parameters { rows, bank_words, .. } = self.parameters;
        let mut banks = vec![vec![[0; MOST_LANES]; bank_words as usize]; rows as usize];
        for (bank, words) in banks.iter_mut().enumerate() {
            for (address, word) in words.iter_mut().enumerate() {
                let from = self.word(bank, address);
                word[..from.len()].copy_from_slice(from);
            }
        }
        banks
    }
}

impl Default for Core {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // SAFETY: the handle came from the constructor and is not used again.
        unsafe { npu_core_free(self.handle.as_ptr()) };
    }
}
