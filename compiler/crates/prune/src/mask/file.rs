//! Mask files: one binary form for every granularity, tied to the network that it was written with.
//!
//! ```text
//! offset  bytes
//!      0      4  "SCMK"
//!      4      2  version, 1
//!      6      1  granularity: 0 channel, 1 vector
//!      7      1  rows of a vector, else 0
//!      8     32  hash of the network (NetworkHash)
//!     40      4  number of groups
//!     44    8 n  of each group: layer, number of units
//!             m  one bit for each unit, 1 where it is kept; groups follow one another without a gap, the
//!                lowest bit of a byte comes first, unused bits of the last byte are 0
//!            32  SHA-256 of all bytes before
//! ```
//! Integers are little-endian.

use std::path::Path;

use bitvec::prelude::BitVec;
use sha2::{Digest, Sha256};

use super::{GroupMask, Masks};
use crate::Granularity;
use crate::units::MAX_ROWS;
use secateur_base::{Error, Result, files, limits};
use secateur_ir::{Graph, Source, Weights};

const MAGIC: [u8; 4] = *b"SCMK";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 44;
const HASH_BYTES: usize = 32;

/// SHA-256 of a network's layers, their connections and all their weights. Comments and training settings
/// of the .cfg and the size of the input do not count, since masks do not depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkHash([u8; HASH_BYTES]);

impl NetworkHash {
    pub fn of(graph: &Graph, weights: &Weights) -> Self {
        let mut hash = Sha256::new();
        let count = |hash: &mut Sha256, number: usize| hash.update((number as u64).to_le_bytes());
        for (node, layer) in graph.nodes.iter().zip(&weights.layers) {
            count(&mut hash, node.op.name().len());
            hash.update(node.op.name());
            count(&mut hash, node.shape.c);
            count(&mut hash, node.inputs.len());
            for input in &node.inputs {
                count(&mut hash, if let Source::Layer(from) = input { from + 1 } else { 0 });
            }
            let norm = layer.batch_norm.iter().flat_map(|norm| [&norm.scale, &norm.mean, &norm.variance]);
            for values in [&layer.weights, &layer.bias].into_iter().chain(norm) {
                count(&mut hash, values.len());
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                hash.update(bytes);
            }
        }
        Self(hash.finalize().into())
    }
}

/// Masks with the network that they were written with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskFile {
    pub masks: Masks,
    network: NetworkHash,
}

impl MaskFile {
    /// Ties masks to the network whose `weights` they are written beside.
    pub fn new(masks: Masks, graph: &Graph, weights: &Weights) -> Self {
        Self { masks, network: NetworkHash::of(graph, weights) }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        files::write_bytes(path, &self.encode())
    }

    /// Reads masks whose groups are those of `graph`.
    ///
    /// # Errors
    /// A file that is no mask file, is damaged, or belongs to a network of other layers.
    pub fn load(graph: &Graph, path: &Path) -> Result<Self> {
        let bytes = files::read_limited(path, limits::MAX_RESULT_BYTES)?;
        let file = Self::decode(&bytes).map_err(|error| error.file(path).help(REMAKE))?;
        let expected = Masks::keep_all(graph, file.masks.granularity);
        let other = || Error::new("the masks belong to another network").file(path).help(REMAKE);
        let (found, allowed) = (file.masks.groups.len(), expected.groups.len());
        if found != allowed {
            return Err(other().found(format!("{found} groups")).allowed(format!("{allowed} groups")));
        }
        for ((layer, units), (expected_layer, expected_units)) in file.masks.layers().zip(expected.layers()) {
            if (layer, units) != (expected_layer, expected_units) {
                return Err(other()
                    .layer(expected_layer)
                    .found(format!("a group of layer {layer} with {units} units"))
                    .allowed(format!("layer {expected_layer} with {expected_units} units")));
            }
        }
        let empty = file.masks.groups.iter().find(|group| group.kept.not_any());
        match (file.masks.granularity, empty) {
            (Granularity::Channel, Some(group)) => {
                Err(other().layer(group.layer).found("no channel that stays").allowed("at least one"))
            }
            _ => Ok(file),
        }
    }

    /// Checks that the masks were written with these weights.
    ///
    /// # Errors
    /// Other weights.
    pub fn require_weights(&self, graph: &Graph, weights: &Weights) -> Result<()> {
        if NetworkHash::of(graph, weights) == self.network {
            return Ok(());
        }
        Err(Error::new("the masks belong to other weights")
            .allowed("the weights that `secateur prune` wrote with these masks")
            .help(format!(
                "{REMAKE}, or say --retrained if these weights were trained further under the masks"
            )))
    }

    fn encode(&self) -> Vec<u8> {
        let (tag, rows) = match self.masks.granularity {
            Granularity::Channel => (0, 0),
            Granularity::Vector { rows } => (1, rows as u8),
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([tag, rows]);
        bytes.extend(self.network.0);
        bytes.extend((self.masks.groups.len() as u32).to_le_bytes());
        let mut bits: BitVec<u8> = BitVec::new();
        for GroupMask { layer, kept } in &self.masks.groups {
            bytes.extend((*layer as u32).to_le_bytes());
            bytes.extend((kept.len() as u32).to_le_bytes());
            bits.extend_from_bitslice(kept);
        }
        bits.set_uninitialized(false);
        bytes.extend(bits.into_vec());
        bytes.extend(Sha256::digest(&bytes));
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = |found: String| Error::new("the mask file is damaged").found(found);
        let Some((&header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Error::new("not a mask file").found(format!("{} bytes", bytes.len())));
        };
        if header[..4] != MAGIC {
            return Err(Error::new("not a mask file"));
        }
        let version = u16::from_le_bytes([header[4], header[5]]);
        if version != VERSION {
            return Err(Error::new("a mask file of another version")
                .found(format!("version {version}"))
                .allowed(format!("version {VERSION}")));
        }
        let Some((content, checksum)) = bytes.split_last_chunk::<HASH_BYTES>() else {
            return Err(damaged(format!("{} bytes", bytes.len())));
        };
        if Sha256::digest(content)[..] != checksum[..] {
            return Err(damaged("bytes that do not fit the checksum".to_owned()));
        }
        let granularity = match (header[6], usize::from(header[7])) {
            (0, 0) => Granularity::Channel,
            (1, rows) if (1..=MAX_ROWS).contains(&rows) => Granularity::Vector { rows },
            (tag, rows) => return Err(damaged(format!("granularity {tag} of {rows} rows"))),
        };
        let mut network = [0; HASH_BYTES];
        network.copy_from_slice(&header[8..40]);
        let number = |at: &[u8]| u32::from_le_bytes([at[0], at[1], at[2], at[3]]) as usize;
        let count = number(&header[40..]);
        let lengths = || damaged(format!("{count} groups in {} bytes", bytes.len()));
        let body = content.get(HEADER_BYTES..).ok_or_else(lengths)?;
        let table = count.checked_mul(8).and_then(|bytes| body.get(..bytes)).ok_or_else(lengths)?;
        let groups: Vec<(usize, usize)> =
            table.chunks_exact(8).map(|entry| (number(entry), number(&entry[4..]))).collect();
        let units: u64 = groups.iter().map(|&(_, units)| units as u64).sum();
        let bits = &body[table.len()..];
        if units.div_ceil(8) != bits.len() as u64 {
            return Err(lengths());
        }
        let bits: BitVec<u8> = BitVec::from_vec(bits.to_vec());
        let mut next = 0;
        let groups = groups.into_iter().map(|(layer, units)| {
            next += units;
            GroupMask { layer, kept: bits[next - units..next].to_bitvec() }
        });
        let masks = Masks { granularity, groups: groups.collect() };
        Ok(Self { masks, network: NetworkHash(network) })
    }
}

const REMAKE: &str = "make masks and weights anew with `secateur prune`";

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::random::random_masks;
    use secateur_ir::ChannelGroups;
    use secateur_testing::{RandomOptions, random_network};

    fn network(seed: u64) -> (Graph, Weights) {
        let (_, graph, weights) = random_network(seed, &RandomOptions::default());
        (graph, weights)
    }

    fn channel_masks(graph: &Graph) -> Masks {
        random_masks(&mut ChaCha8Rng::seed_from_u64(1), &ChannelGroups::new(graph))
    }

    fn vector_masks(graph: &Graph, rows: usize) -> Masks {
        let mut masks = Masks::of_vectors(graph, rows);
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let units: Vec<usize> = masks.layers().map(|(_, units)| units).collect();
        for (group, units) in units.into_iter().enumerate() {
            masks.set(group, (0..units).map(|_| rng.random_bool(0.4)).collect());
        }
        masks
    }

    #[test]
    fn files_hold_every_bit_of_every_granularity() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mask");
        for seed in 0..20 {
            let (graph, weights) = network(seed);
            for masks in [channel_masks(&graph), vector_masks(&graph, 3), vector_masks(&graph, 8)] {
                let file = MaskFile::new(masks, &graph, &weights);
                file.save(&path).unwrap();
                let read = MaskFile::load(&graph, &path).unwrap();
                assert_eq!(read, file);
                read.require_weights(&graph, &weights).unwrap();
                assert_eq!(read.encode(), std::fs::read(&path).unwrap());
            }
        }
    }

    #[test]
    fn other_networks_and_other_weights_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mask");
        let (graph, weights) = network(1);
        let file = MaskFile::new(channel_masks(&graph), &graph, &weights);
        file.save(&path).unwrap();
        let error = MaskFile::load(&network(2).0, &path).unwrap_err();
        assert!(error.what().contains("another network"), "{error}");

        let layers = (0..weights.layers.len()).filter(|&layer| !weights.layers[layer].weights.is_empty());
        for layer in layers {
            let mut other = weights.clone();
            let last = other.layers[layer].weights.len() - 1;
            other.layers[layer].weights[last] += 1.0;
            let error = file.require_weights(&graph, &other).unwrap_err();
            assert!(error.what().contains("other weights"), "{error}");
        }
        let mut tied = graph.clone();
        let last = tied.nodes.len() - 1;
        tied.nodes[last].inputs = vec![Source::Image];
        assert_ne!(NetworkHash::of(&tied, &weights), NetworkHash::of(&graph, &weights));
    }

    /// Cut anywhere, or with any bit changed, a file is refused.
    #[test]
    fn damaged_files_are_refused() {
        let (graph, weights) = network(1);
        let bytes = MaskFile::new(vector_masks(&graph, 8), &graph, &weights).encode();
        assert!((0..bytes.len()).all(|length| MaskFile::decode(&bytes[..length]).is_err()));
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(MaskFile::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    /// Contents that no writer makes, behind a checksum that fits.
    #[test]
    fn forged_files_are_refused() {
        let (graph, weights) = network(1);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mask");
        let whole = MaskFile::new(channel_masks(&graph), &graph, &weights).encode();
        let forge = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = whole[..whole.len() - HASH_BYTES].to_vec();
            change(&mut bytes);
            bytes.extend(Sha256::digest(&bytes));
            std::fs::write(&path, &bytes).unwrap();
            MaskFile::load(&graph, &path)
        };
        forge(&|_| {}).unwrap();
        let groups = channel_masks(&graph).groups.len();
        let bits = HEADER_BYTES + 8 * groups;
        type Forgery<'f> = &'f dyn Fn(&mut Vec<u8>);
        let forgeries: [Forgery<'_>; 8] = [
            &|bytes| bytes[6] = 2,
            &|bytes| bytes[6] = 1,
            &|bytes| bytes[7] = 8,
            &|bytes| bytes[40..44].fill(0xff),
            &|bytes| bytes[48..52].fill(0xff),
            &|bytes| bytes[44] ^= 1,
            &|bytes| bytes[bits..].fill(0),
            &|bytes| bytes.push(0),
        ];
        for (number, forgery) in forgeries.into_iter().enumerate() {
            assert!(forge(forgery).is_err(), "forgery {number}");
        }
    }
}
