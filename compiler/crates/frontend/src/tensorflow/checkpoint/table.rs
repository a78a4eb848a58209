//! LevelDB's table, the form of a checkpoint's index: sorted keys with values, in blocks with checksums.
//!
//! Source: leveldb, doc/table_format.md; TensorFlow, core/lib/io/table_builder.cc.

use crc::{CRC_32_ISCSI, Crc};

use secateur_base::{Error, Result};

use crate::wire::{push_varint, varint};

const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
const FOOTER: usize = 48;
/// A block's compression and checksum behind its content.
const TRAILER: usize = 5;
/// Keys share their beginnings; together they may be this many times as long as the file.
const MAX_KEY_EXPANSION: usize = 64;
/// The writer's: TensorFlow's default block size, and how often a key is written whole.
const BLOCK_BYTES: usize = 262_144;
const RESTART_INTERVAL: usize = 16;

static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// LevelDB's masked CRC-32C: stored checksums of data that holds checksums.
pub(super) fn masked_crc(parts: &[&[u8]]) -> u32 {
    let mut digest = CRC32C.digest();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().rotate_right(15).wrapping_add(0xa282_ead8)
}

fn damaged(what: &str) -> Error {
    Error::new(format!("the table is damaged: {what}")).help("get the checkpoint's .index file again")
}

/// Reads every entry, in order.
///
/// # Errors
/// The bytes are no table, a checksum is wrong, keys are out of order, or blocks are compressed.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Entry>> {
    let (_, footer) = bytes
        .split_last_chunk::<FOOTER>()
        .filter(|(_, footer)| footer.ends_with(&MAGIC.to_le_bytes()))
        .ok_or_else(|| {
            Error::new("this is no checkpoint index").allowed("a LevelDB table, as in model.ckpt.index")
        })?;
    let mut handles = &footer[..];
    // Nothing is read from the metaindex; a wrong checksum is damage all the same.
    block(bytes, handle(&mut handles)?)?;
    let index = block(bytes, handle(&mut handles)?)?;
    let mut keys_left = bytes.len().saturating_mul(MAX_KEY_EXPANSION);
    let mut entries: Vec<Entry> = Vec::new();
    for (_, value) in block_entries(index, &mut keys_left)? {
        let block = block(bytes, handle(&mut value.as_slice())?)?;
        entries.extend(block_entries(block, &mut keys_left)?);
    }
    if entries.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        return Err(damaged("its keys are out of order"));
    }
    Ok(entries)
}

/// Takes offset and size of a block.
fn handle(bytes: &mut &[u8]) -> Result<(usize, usize)> {
    let mut next = || usize::try_from(varint(bytes)?).map_err(|_| damaged("a block lies outside"));
    Ok((next()?, next()?))
}

/// The content of a block, its checksum checked.
fn block(bytes: &[u8], (offset, size): (usize, usize)) -> Result<&[u8]> {
    let whole = offset
        .checked_add(size)
        .and_then(|end| end.checked_add(TRAILER))
        .and_then(|end| bytes.get(offset..end))
        .ok_or_else(|| damaged("a block lies outside"))?;
    let (content, trailer) = whole.split_at(size);
    if trailer[0] != 0 {
        return Err(Error::new("the checkpoint's index is compressed")
            .found(format!("compression {}", trailer[0]))
            .allowed("0, none, as TensorFlow writes it"));
    }
    if masked_crc(&[content, &trailer[..1]]).to_le_bytes() != trailer[1..] {
        return Err(damaged("a checksum is wrong"));
    }
    Ok(content)
}

/// The table with the checksums that its blocks should have, for tests of what lies behind the checks.
pub fn repair_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut repaired = bytes.to_vec();
    let mut handles = bytes.get(bytes.len().saturating_sub(FOOTER)..).unwrap_or_default();
    let mut places: Vec<(usize, usize)> = (0..2).map_while(|_| handle(&mut handles).ok()).collect();
    let index = places.get(1).and_then(|&(offset, size)| bytes.get(offset..offset.checked_add(size)?));
    let entries = index.and_then(|index| block_entries(index, &mut bytes.len().saturating_mul(2)).ok());
    places.extend(entries.into_iter().flatten().filter_map(|(_, value)| handle(&mut value.as_slice()).ok()));
    for (offset, size) in places {
        let end = offset.saturating_add(size);
        if let Some(checked) = end.checked_add(1).and_then(|end| repaired.get(offset..end)) {
            let crc = masked_crc(&[checked]).to_le_bytes();
            if let Some(place) = repaired.get_mut(end + 1..).and_then(|rest| rest.get_mut(..4)) {
                place.copy_from_slice(&crc);
            }
        }
    }
    repaired
}

/// The entries of one block; `keys_left` bounds what its keys take.
fn block_entries(block: &[u8], keys_left: &mut usize) -> Result<Vec<Entry>> {
    let (rest, count) = block.split_last_chunk::<4>().ok_or_else(|| damaged("a block is too short"))?;
    let restarts = (u32::from_le_bytes(*count) as usize).saturating_mul(4);
    let mut rest = rest
        .len()
        .checked_sub(restarts)
        .map(|end| &rest[..end])
        .ok_or_else(|| damaged("a block is too short"))?;
    let mut entries = Vec::new();
    let mut key: Vec<u8> = Vec::new();
    while !rest.is_empty() {
        let mut length = || usize::try_from(varint(&mut rest)?).map_err(|_| damaged("an entry is too long"));
        let (shared, unshared, value) = (length()?, length()?, length()?);
        let ends = unshared.checked_add(value).is_some_and(|length| length <= rest.len());
        if shared > key.len() || !ends {
            return Err(damaged("an entry is too long"));
        }
        key.truncate(shared);
        key.extend_from_slice(&rest[..unshared]);
        *keys_left = keys_left.checked_sub(key.len()).ok_or_else(|| damaged("its keys are too long"))?;
        entries.push((key.clone(), rest[unshared..unshared + value].to_vec()));
        rest = &rest[unshared + value..];
    }
    Ok(entries)
}

/// Writes a table of sorted entries as TensorFlow's writer does.
pub fn write(entries: &[Entry]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut index = BlockBuilder::new(1);
    let mut block = BlockBuilder::new(RESTART_INTERVAL);
    for (at, (key, value)) in entries.iter().enumerate() {
        block.push(key, value);
        let next = entries.get(at + 1);
        if next.is_none() || block.size() >= BLOCK_BYTES {
            let content = std::mem::replace(&mut block, BlockBuilder::new(RESTART_INTERVAL)).finish();
            let separator = match next {
                Some((next, _)) => shortest_between(key, next),
                None => shortest_after(key),
            };
            index.push(&separator, &put_block(&mut file, &content));
        }
    }
    let meta = put_block(&mut file, &BlockBuilder::new(RESTART_INTERVAL).finish());
    let mut footer = [meta, put_block(&mut file, &index.finish())].concat();
    footer.resize(FOOTER - 8, 0);
    file.extend(footer);
    file.extend(MAGIC.to_le_bytes());
    file
}

/// Appends a block with its trailer; returns its handle.
fn put_block(file: &mut Vec<u8>, content: &[u8]) -> Vec<u8> {
    let mut handle = Vec::new();
    push_varint(&mut handle, file.len() as u64);
    push_varint(&mut handle, content.len() as u64);
    file.extend_from_slice(content);
    file.push(0);
    file.extend(masked_crc(&[content, &[0]]).to_le_bytes());
    handle
}

/// A short key k with `from <= k < to` (LevelDB's `FindShortestSeparator`).
fn shortest_between(from: &[u8], to: &[u8]) -> Vec<u8> {
    let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    match (from.get(shared), to.get(shared)) {
        (Some(&a), Some(&b)) if a < 0xff && a + 1 < b => [&from[..shared], &[a + 1]].concat(),
        _ => from.to_vec(),
    }
}

/// A short key that is not before `key` (LevelDB's `FindShortSuccessor`).
fn shortest_after(key: &[u8]) -> Vec<u8> {
    match key.iter().position(|byte| *byte != 0xff) {
        Some(at) => [&key[..at], &[key[at] + 1]].concat(),
        None => key.to_vec(),
    }
}

/// One block that is being written.
struct BlockBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    interval: usize,
    since_restart: usize,
    last: Vec<u8>,
}

impl BlockBuilder {
    fn new(interval: usize) -> Self {
        Self { bytes: Vec::new(), restarts: vec![0], interval, since_restart: 0, last: Vec::new() }
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        let mut shared = 0;
        if self.since_restart < self.interval {
            shared = self.last.iter().zip(key).take_while(|(a, b)| a == b).count();
        } else {
            // A block is flushed far below 2^32 bytes.
            self.restarts.push(self.bytes.len() as u32);
            self.since_restart = 0;
        }
        for length in [shared, key.len() - shared, value.len()] {
            push_varint(&mut self.bytes, length as u64);
        }
        self.bytes.extend_from_slice(&key[shared..]);
        self.bytes.extend_from_slice(value);
        self.last = key.to_vec();
        self.since_restart += 1;
    }

    fn size(&self) -> usize {
        self.bytes.len() + 4 * self.restarts.len() + 4
    }

    fn finish(mut self) -> Vec<u8> {
        for restart in &self.restarts {
            self.bytes.extend(restart.to_le_bytes());
        }
        self.bytes.extend((self.restarts.len() as u32).to_le_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn checksum_of_known_bytes() {
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(CRC32C.checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(
            masked_crc(&[&[0; 16], &[0; 16]]),
            0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8)
        );
    }

    #[test]
    fn damage_is_found() {
        let entries = vec![(b"a/weights".to_vec(), vec![1; 9]), (b"b".to_vec(), Vec::new())];
        let file = write(&entries);
        assert_eq!(read(&file).unwrap(), entries);
        for at in 0..file.len() - FOOTER {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
        for end in 0..file.len() {
            assert!(read(&file[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn many_blocks() {
        let entries: Vec<_> =
            (0..3000_u32).map(|at| (format!("layer/{at:06}").into_bytes(), vec![7; 300])).collect();
        assert_eq!(read(&write(&entries)).unwrap(), entries);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            entries in proptest::collection::btree_map(
                proptest::collection::vec(any::<u8>(), 0..40), proptest::collection::vec(any::<u8>(), 0..40), 0..60)
        ) {
            let entries: BTreeMap<Vec<u8>, Vec<u8>> = entries;
            let entries: Vec<_> = entries.into_iter().collect();
            prop_assert_eq!(read(&write(&entries)).unwrap(), entries);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&[&bytes[..], &MAGIC.to_le_bytes()].concat());
            if let Ok(entries) = block_entries(&bytes, &mut 10_000) {
                prop_assert!(entries.len() <= bytes.len());
            }
        }
    }
}
