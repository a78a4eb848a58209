//! The Verilated core, cycle by cycle. All `unsafe` of the simulator is here.

use std::ffi::{CStr, c_char};
use std::ptr::NonNull;

use secateur_runtime::npu::Counters;

/// Bytes of the widest data bus.
pub(super) const MOST_BYTES: usize = 16;

/// What the machine drives. Field order is that of `Inputs` in shim.cpp.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Inputs {
    /// As many as the data bus has.
    pub m_axi_rdata: [u8; MOST_BYTES],
    pub s_axi_wdata: u32,
    pub rst: bool,
    pub s_axi_awvalid: bool,
    pub s_axi_awaddr: u8,
    pub s_axi_wvalid: bool,
    pub s_axi_bready: bool,
    pub s_axi_arvalid: bool,
    pub s_axi_araddr: u8,
    pub s_axi_rready: bool,
    pub m_axi_arready: bool,
    pub m_axi_rvalid: bool,
    pub m_axi_rresp: u8,
    pub m_axi_rlast: bool,
    pub m_axi_awready: bool,
    pub m_axi_wready: bool,
    pub m_axi_bvalid: bool,
    pub m_axi_bresp: u8,
}

/// What the core drives, before the clock's edge. Field order is that of `Outputs` in shim.cpp; each
/// one-bit signal is a byte of 0 or 1.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Outputs {
    pub m_axi_wdata: [u8; MOST_BYTES],
    pub s_axi_rdata: u32,
    pub m_axi_araddr: u32,
    pub m_axi_awaddr: u32,
    pub m_axi_wstrb: u16,
    pub s_axi_awready: u8,
    pub s_axi_bvalid: u8,
    pub s_axi_arready: u8,
    pub s_axi_rvalid: u8,
    pub m_axi_arvalid: u8,
    pub m_axi_arlen: u8,
    pub m_axi_arsize: u8,
    pub m_axi_rready: u8,
    pub m_axi_awvalid: u8,
    pub m_axi_awlen: u8,
    pub m_axi_awsize: u8,
    pub m_axi_wvalid: u8,
    pub m_axi_wlast: u8,
    pub m_axi_bready: u8,
    pub irq: u8,
    pub event_taken: u8,
    pub event_finished: u8,
}

/// Opaque: `Model` in shim.cpp.
#[repr(C)]
struct Handle {
    _private: [u8; 0],
}

unsafe extern "C" {
    fn npu_new() -> *mut Handle;
    fn npu_free(model: *mut Handle);
    fn npu_cycle(model: *mut Handle, inputs: *const Inputs, outputs: *mut Outputs);
    fn npu_waves_open(model: *mut Handle, path: *const c_char);
    fn npu_waves_close(model: *mut Handle);
    fn npu_counters(model: *const Handle, counters: *mut u32);
    fn npu_bank_word(model: *const Handle, bank: u32, address: u32, bytes: *mut u8);
}

/// One instance of the core; instances are independent of each other.
#[derive(Debug)]
pub(super) struct Model(NonNull<Handle>);

// SAFETY: a model has a Verilator context of its own and no tie to the thread that made it.
unsafe impl Send for Model {}

impl Model {
    pub(super) fn new() -> Self {
        // SAFETY: takes nothing; `new` in C++ gives an object or aborts.
        let handle = unsafe { npu_new() };
        Self(NonNull::new(handle).expect("the model exists"))
    }

    /// One clock cycle.
    pub(super) fn cycle(&mut self, inputs: &Inputs) -> Outputs {
        let mut outputs = Outputs::default();
        // SAFETY: the handle is ours and alive; both structures have the layout that C++ declares.
        unsafe { npu_cycle(self.0.as_ptr(), inputs, &mut outputs) };
        outputs
    }

    /// Writes waves from now on to a new FST file.
    pub(super) fn open_waves(&mut self, path: &CStr) {
        // SAFETY: the handle is ours, the text ends with a zero and is copied.
        unsafe { npu_waves_open(self.0.as_ptr(), path.as_ptr()) };
    }

    pub(super) fn close_waves(&mut self) {
        // SAFETY: the handle is ours and alive.
        unsafe { npu_waves_close(self.0.as_ptr()) };
    }

    /// The counter registers.
    pub(super) fn counters(&self) -> Counters {
        let mut values = [0; 13];
        // SAFETY: the handle is ours and alive; 13 numbers are written.
        unsafe { npu_counters(self.0.as_ptr(), values.as_mut_ptr()) };
        let [cycles, macs, skipped, stall_load, stall_store, stall_drain, stall_residual, rest @ ..] = values;
        let [stall_command, bytes_read, bytes_written, done_load, done_exec, done_store] = rest;
        Counters {
            cycles,
            macs,
            skipped,
            stall_load,
            stall_store,
            stall_drain,
            stall_residual,
            stall_command,
            bytes_read,
            bytes_written,
            done_load,
            done_exec,
            done_store,
        }
    }

    /// Returns a vector, padded with zeros; the caller keeps to the accelerator's sizes.
    pub(super) fn bank_word(&self, bank: u32, address: u32) -> [u8; 16] {
        let mut bytes = [0; 16];
        // SAFETY: the handle is ours; at most 16 bytes are written; `Rtl` has checked bank and address.
        unsafe { npu_bank_word(self.0.as_ptr(), bank, address, bytes.as_mut_ptr()) };
        bytes
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and not used again.
        unsafe { npu_free(self.0.as_ptr()) };
    }
}
