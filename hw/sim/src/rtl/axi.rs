//! Memory behind the AXI4 master: latency, bandwidth, random stalls, injected faults.

use std::collections::VecDeque;
use std::ops::Range;

use super::model::{Inputs, MOST_BYTES, Outputs};
use crate::PARAMETERS;
use crate::memory::Memory;
use crate::random::Random;

/// How fast memory and bus are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Cycles from an accepted address to its first beat, and from a last beat to its answer.
    pub latency: u32,
    /// Beats in a hundred cycles, of reads and writes together.
    pub efficiency: u32,
    /// Cycles of a hundred in which a channel stalls for no reason, each channel on its own; those of the
    /// registers too.
    pub stalls: u32,
    /// Seed of the stalls.
    pub seed: u64,
}

impl Default for Timing {
    /// 40 cycles, 70 %, no random stalls.
    fn default() -> Self {
        Self { latency: 40, efficiency: 70, stalls: 0, seed: 1 }
    }
}

/// A fault of the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusFault {
    /// The read beat of this number (from 0) is answered with EXOKAY (1), SLVERR (2) or DECERR (3).
    Read { beat: u64, response: u8 },
    /// The write burst of this number is answered so.
    Write { burst: u64, response: u8 },
    /// The read burst of this number ends with its first beat, if it has more than one: RLAST is early.
    LastEarly { burst: u64 },
    /// The read burst of this number has one beat too many: RLAST is late.
    LastLate { burst: u64 },
    /// From this cycle on no channel moves any more, until [`super::Rtl::wake`].
    Silence { cycle: u64 },
    /// From this cycle on this channel does not move any more, until [`super::Rtl::wake`].
    SilentChannel { channel: Channel, cycle: u64 },
    /// The memory is held in reset: no channel moves, and what is offered to it may be withdrawn.
    Reset,
}

/// The channels of AXI4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    ReadAddress,
    ReadData,
    WriteAddress,
    WriteData,
    WriteResponse,
}

impl Channel {
    pub const ALL: [Self; 5] =
        [Self::ReadAddress, Self::ReadData, Self::WriteAddress, Self::WriteData, Self::WriteResponse];
}

/// The first answer that is an error; OKAY and EXOKAY are below.
const TARGET_ERROR: u8 = 2;
const DECODE_ERROR: u8 = 3;
/// Bytes of a beat.
const BEAT: usize = PARAMETERS.axi_bytes as usize;
/// Bursts that the memory accepts before it answers the first.
const QUEUE: usize = 32;

#[derive(Debug, Clone, Copy)]
struct Burst {
    address: u32,
    beats: u32,
    /// First cycle of its data, or of its answer.
    ready: u64,
    response: u8,
    /// The last beat is one too many.
    surplus: bool,
}

/// A read beat on the bus.
#[derive(Debug, Clone, Copy, Default)]
struct Beat {
    data: [u8; MOST_BYTES],
    response: u8,
    last: bool,
}

/// What stands on a channel: address or data, and the rest of it.
type Offer = ([u8; MOST_BYTES], u32);

/// The memory's side of the five channels.
#[derive(Debug)]
pub(super) struct Axi {
    timing: Timing,
    random: Random,
    fault: Option<BusFault>,
    reads: VecDeque<Burst>,
    writes: VecDeque<Burst>,
    answers: VecDeque<Burst>,
    /// A read beat on the bus that is not yet taken.
    beat: Option<Beat>,
    /// Hundredths of a beat that may move now.
    credit: u32,
    cycle: u64,
    /// Offers of the cycle before that were not taken: AR, AW, W.
    offered: [Option<Offer>; 3],
    beats_read: u64,
    bursts_read: u64,
    bursts_written: u64,
}

impl Axi {
    pub(super) fn new(timing: Timing) -> Self {
        Self {
            timing,
            random: Random::new(timing.seed),
            fault: None,
            reads: VecDeque::new(),
            writes: VecDeque::new(),
            answers: VecDeque::new(),
            beat: None,
            credit: 0,
            cycle: 0,
            offered: [None; 3],
            beats_read: 0,
            bursts_read: 0,
            bursts_written: 0,
        }
    }

    /// Injects a fault, counted from now; `None` ends it. What was under way is forgotten.
    pub(super) fn inject(&mut self, fault: Option<BusFault>) {
        *self = Self { random: self.random.clone(), fault, ..Self::new(self.timing) };
    }

    /// A silent memory moves again, and answers all that it has not answered yet.
    pub(super) const fn wake(&mut self) {
        self.fault = None;
    }

    /// Bursts that were accepted and are not over: reads, writes that lack data, writes that lack their answer.
    pub(super) fn owed(&self) -> [usize; 3] {
        [self.reads.len(), self.writes.len(), self.answers.len()]
    }

    /// Sets the memory's signals for the coming cycle.
    pub(super) fn drive(&mut self, memory: &mut Memory, inputs: &mut Inputs) {
        let moves = Channel::ALL.map(|channel| !self.silent(channel));
        let [reads_address, reads_data, writes_address, writes_data, responds] = moves;
        self.credit = (self.credit + self.timing.efficiency).min(200);
        if self.beat.is_none() && reads_data && self.credit >= 100 && !self.random.chance(self.timing.stalls)
        {
            self.beat = self.next_beat(memory);
            if self.beat.is_some() {
                self.credit -= 100;
            }
        }
        let stalls = self.timing.stalls;
        let open = |random: &mut Random, room: bool| room && !random.chance(stalls);
        inputs.m_axi_rvalid = self.beat.is_some();
        let Beat { data, response, last } = self.beat.unwrap_or_default();
        (inputs.m_axi_rdata, inputs.m_axi_rresp, inputs.m_axi_rlast) = (data, response, last);
        inputs.m_axi_arready = open(&mut self.random, reads_address && self.reads.len() < QUEUE);
        inputs.m_axi_awready = open(&mut self.random, writes_address && self.writes.len() < QUEUE);
        inputs.m_axi_wready =
            self.credit >= 100 && open(&mut self.random, writes_data && !self.writes.is_empty());
        let answer = self.answers.front().filter(|answer| answer.ready <= self.cycle);
        // An answer that was shown stays until it is taken.
        let shown = inputs.m_axi_bvalid && answer.is_some();
        inputs.m_axi_bvalid = shown || (answer.is_some() && open(&mut self.random, responds));
        inputs.m_axi_bresp = answer.map_or(0, |answer| answer.response);
    }

    /// Takes note of what moved in the cycle; `inputs` are those that `drive` set.
    pub(super) fn settle(&mut self, memory: &mut Memory, inputs: &mut Inputs, outputs: &Outputs) {
        self.check_offers(inputs, outputs);
        let latency = u64::from(self.timing.latency);
        if inputs.m_axi_rvalid && outputs.m_axi_rready != 0 {
            self.beat = None;
        }
        if outputs.m_axi_arvalid != 0 && inputs.m_axi_arready {
            let (address, mut beats) = (outputs.m_axi_araddr, u32::from(outputs.m_axi_arlen) + 1);
            let mut surplus = false;
            match self.fault {
                Some(BusFault::LastEarly { burst }) if burst == self.bursts_read => beats = 1,
                Some(BusFault::LastLate { burst }) if burst == self.bursts_read => surplus = true,
                _ => {}
            }
            self.bursts_read += 1;
            beats += u32::from(surplus);
            let ready = self.cycle + latency;
            self.reads.push_back(Burst { address, beats, ready, response: 0, surplus });
        }
        if outputs.m_axi_wvalid != 0 && inputs.m_axi_wready {
            self.take(memory, outputs);
        }
        if outputs.m_axi_awvalid != 0 && inputs.m_axi_awready {
            let (address, beats) = (outputs.m_axi_awaddr, u32::from(outputs.m_axi_awlen) + 1);
            let response = match self.fault {
                Some(BusFault::Write { burst, response }) if burst == self.bursts_written => response,
                _ => 0,
            };
            self.bursts_written += 1;
            self.writes.push_back(Burst { address, beats, ready: 0, response, surplus: false });
        }
        if inputs.m_axi_bvalid && outputs.m_axi_bready != 0 {
            self.answers.pop_front();
            inputs.m_axi_bvalid = false;
        }
        self.cycle += 1;
    }

    fn silent(&self, channel: Channel) -> bool {
        match self.fault {
            Some(BusFault::Silence { cycle }) => self.cycle >= cycle,
            Some(BusFault::SilentChannel { channel: silent, cycle }) => {
                silent == channel && self.cycle >= cycle
            }
            Some(BusFault::Reset) => true,
            _ => false,
        }
    }

    /// The handshake's rule: what is offered stays as it is until it is taken (AXI4, A3.2.1).
    fn check_offers(&mut self, inputs: &Inputs, outputs: &Outputs) {
        let address = |address: u32| {
            let mut payload = [0; MOST_BYTES];
            payload[..4].copy_from_slice(&address.to_le_bytes());
            payload
        };
        let reads = (address(outputs.m_axi_araddr), outputs.m_axi_arlen.into());
        let writes = (address(outputs.m_axi_awaddr), outputs.m_axi_awlen.into());
        let data =
            (outputs.m_axi_wdata, u32::from(outputs.m_axi_wstrb) << 1 | u32::from(outputs.m_axi_wlast));
        let offers = [
            (outputs.m_axi_arvalid, inputs.m_axi_arready, reads),
            (outputs.m_axi_awvalid, inputs.m_axi_awready, writes),
            (outputs.m_axi_wvalid, inputs.m_axi_wready, data),
        ];
        let watched = self.fault != Some(BusFault::Reset);
        for (before, (valid, ready, offer)) in self.offered.iter_mut().zip(offers) {
            let offer = (valid != 0).then_some(offer);
            assert!(
                before.is_none() || *before == offer,
                "cycle {}: an offer on the bus changed from {before:x?} to {offer:x?}",
                self.cycle
            );
            *before = offer.filter(|_| !ready && watched);
        }
        if outputs.m_axi_arvalid != 0 {
            check_burst(outputs.m_axi_araddr, outputs.m_axi_arlen, outputs.m_axi_arsize);
        }
        if outputs.m_axi_awvalid != 0 {
            check_burst(outputs.m_axi_awaddr, outputs.m_axi_awlen, outputs.m_axi_awsize);
        }
    }

    /// The next beat of the oldest read burst that is due.
    fn next_beat(&mut self, memory: &mut Memory) -> Option<Beat> {
        let burst = self.reads.front_mut().filter(|burst| burst.ready <= self.cycle)?;
        let mut data = [0; MOST_BYTES];
        // Nobody asked for the surplus beat.
        let surplus = burst.surplus && burst.beats == 1;
        let found = surplus || memory.device_read(burst.address, &mut data[..BEAT]).is_ok();
        let mut response = if found { 0 } else { DECODE_ERROR };
        if let Some(BusFault::Read { beat, response: injected }) = self.fault
            && beat == self.beats_read
        {
            response = injected;
        }
        self.beats_read += 1;
        burst.address = burst.address.wrapping_add(BEAT as u32);
        burst.beats -= 1;
        let last = burst.beats == 0;
        if last {
            self.reads.pop_front();
        }
        Some(Beat { data, response, last })
    }

    /// A write beat of the oldest burst.
    fn take(&mut self, memory: &mut Memory, outputs: &Outputs) {
        self.credit -= 100;
        let Some(burst) = self.writes.front_mut() else { return };
        let written = strobed(outputs.m_axi_wstrb);
        let (bytes, address) = (&outputs.m_axi_wdata[written.clone()], burst.address + written.start as u32);
        // A faulty burst may or may not reach memory: this memory refuses it.
        if burst.response < TARGET_ERROR && memory.device_write(address, bytes).is_err() {
            burst.response = DECODE_ERROR;
        }
        burst.address = burst.address.wrapping_add(BEAT as u32);
        burst.beats -= 1;
        assert_eq!(outputs.m_axi_wlast != 0, burst.beats == 0, "the last beat is marked, and no other");
        if burst.beats == 0 {
            let ready = self.cycle + u64::from(self.timing.latency);
            self.answers.push_back(Burst { ready, ..*burst });
            self.writes.pop_front();
        }
    }
}

/// A burst's rules: whole beats of the bus, within 4 KiB.
fn check_burst(address: u32, length: u8, size: u8) {
    assert!(
        1 << size == BEAT && (address as usize).is_multiple_of(BEAT),
        "{address:#x}: not whole beats of the bus"
    );
    let bytes = BEAT * (usize::from(length) + 1);
    assert!((address & 0xfff) as usize + bytes <= 0x1000, "{address:#x}: {bytes} bytes cross 4 KiB");
}

/// Bytes of a beat that are written: one run, of whole halves of the bus.
fn strobed(strobes: u16) -> Range<usize> {
    let (start, end) = (strobes.trailing_zeros() as usize, 16 - strobes.leading_zeros() as usize);
    let whole = strobes.count_ones() as usize == end - start && end <= BEAT;
    assert!(whole && start % 8 == 0 && end % BEAT.min(8) == 0, "strobes {strobes:#x}");
    start..end
}
