//! Tracks the last writer and the readers of each unit of a memory; commands wait on them.

use secateur_runtime::npu::stream::Queue;

/// For each queue, how many of its commands have to be finished: LOAD, EXEC, STORE.
pub(crate) type Waits = [u32; 3];

/// A memory in units; entries count commands from 1, 0 is nobody.
#[derive(Debug, Clone)]
pub(crate) struct Hazards {
    writes: Vec<Waits>,
    reads: Vec<Waits>,
}

impl Hazards {
    pub(crate) fn new(units: usize) -> Self {
        Self { writes: vec![[0; 3]; units], reads: vec![[0; 3]; units] }
    }

    /// Command `number` of `queue` reads unit `at`: it waits for whoever wrote it.
    pub(crate) fn read(&mut self, at: usize, queue: Queue, number: u32, waits: &mut Waits) {
        for (other, &written) in self.writes[at].iter().enumerate() {
            // Commands of LOAD and STORE run one after the other; EXEC's overlap.
            if other != queue as usize || queue == Queue::Exec {
                waits[other] = waits[other].max(written);
            }
        }
        self.reads[at][queue as usize] = number;
    }

    /// Command `number` of `queue` writes unit `at`: it waits for whoever wrote or reads it.
    pub(crate) fn write(&mut self, at: usize, queue: Queue, number: u32, waits: &mut Waits) {
        let users = self.writes[at].iter().zip(&self.reads[at]);
        for (other, (wait, (&written, &read))) in waits.iter_mut().zip(users).enumerate() {
            // EXEC reads and writes in order, so that its own commands are no danger here.
            if other != queue as usize {
                *wait = (*wait).max(written).max(read);
            }
        }
        self.writes[at][queue as usize] = number;
    }
}

/// A memory that is filled round and round: what is oldest goes first.
#[derive(Debug, Clone)]
pub(crate) struct Ring<K> {
    capacity: usize,
    next: usize,
    /// Key, first unit, units; oldest first.
    held: std::collections::VecDeque<(K, usize, usize)>,
}

impl<K: PartialEq> Ring<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, next: 0, held: std::collections::VecDeque::new() }
    }

    /// First unit of `key` where it is held.
    pub(crate) fn find(&self, key: &K) -> Option<usize> {
        self.held.iter().find(|held| held.0 == *key).map(|held| held.1)
    }

    /// First unit of `key`, and whether it has to be brought there first. `units` are at most the
    /// capacity.
    pub(crate) fn place(&mut self, key: K, units: usize) -> (usize, bool) {
        if let Some(start) = self.find(&key) {
            return (start, false);
        }
        let start = self.next;
        let mut free = self.capacity - self.held.iter().map(|held| held.2).sum::<usize>();
        while free < units {
            match self.held.pop_front() {
                Some((_, _, released)) => free += released,
                None => break,
            }
        }
        self.next = (start + units) % self.capacity;
        self.held.push_back((key, start, units));
        (start, true)
    }
}
