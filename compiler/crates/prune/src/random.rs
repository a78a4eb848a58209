//! Random masks for property tests.

use bitvec::prelude::BitVec;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Cut, Masks};
use secateur_ir::{ChannelGroups, Graph};

/// Keeps a random number of units of every group, at least one.
pub fn random_masks(rng: &mut ChaCha8Rng, groups: &ChannelGroups) -> Masks {
    let mut masks = Masks::of_channels(groups);
    for (number, group) in groups.groups.iter().enumerate() {
        let rate = rng.random_range(0.0..1.0);
        let mut kept: BitVec<u8> = group.units.iter().map(|_| rng.random_bool(rate)).collect();
        let survivor = rng.random_range(0..kept.len());
        kept.set(survivor, true);
        masks.set(number, kept);
    }
    masks
}

/// Flags of the channels that the cut kept, restored units included.
pub fn kept_channels(graph: &Graph, groups: &ChannelGroups, masks: &Masks, cut: &Cut) -> Vec<Vec<bool>> {
    let mut masks = masks.clone();
    for &(group, position) in &cut.restored {
        let mut kept = masks.of_group(group).to_bitvec();
        kept.set(position, true);
        masks.set(group, kept);
    }
    masks.channel_flags(groups, graph)
}
