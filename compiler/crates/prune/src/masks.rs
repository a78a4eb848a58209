//! Which units of each channel group are kept, and the file that says so.

use std::path::Path;

use serde::{Deserialize, Serialize};

use secateur_base::{Error, Result, files};
use secateur_ir::{ChannelGroups, Graph, LayerWeights, Op, Weights};

/// A mask file beyond this size is not one.
const MAX_FILE_BYTES: u64 = 1 << 26;

/// Kept and removed units, group by group. Every group keeps at least one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masks {
    /// `kept[group][position]`, positions as in [`secateur_ir::Group::units`].
    kept: Vec<Vec<bool>>,
}

impl Masks {
    /// Nothing removed.
    pub fn keep_all(groups: &ChannelGroups) -> Self {
        Self { kept: groups.groups.iter().map(|group| vec![true; group.units.len()]).collect() }
    }

    /// Sets which units of `group` stay. At least one must.
    pub fn set(&mut self, group: usize, kept: Vec<bool>) {
        assert_eq!(kept.len(), self.kept[group].len(), "one flag a unit");
        assert!(kept.contains(&true), "a group keeps at least one unit");
        self.kept[group] = kept;
    }

    /// Flags of one group's units.
    pub fn of_group(&self, group: usize) -> &[bool] {
        &self.kept[group]
    }

    /// Number of kept units of one group.
    pub fn kept_units(&self, group: usize) -> usize {
        self.kept[group].iter().filter(|kept| **kept).count()
    }

    /// Flag of every unit of the graph; units of no group are always kept.
    pub fn unit_flags(&self, groups: &ChannelGroups) -> Vec<bool> {
        let mut flags = vec![true; groups.units.len()];
        for (group, kept) in groups.groups.iter().zip(&self.kept) {
            for (&unit, &kept) in group.units.iter().zip(kept) {
                flags[unit] = kept;
            }
        }
        flags
    }

    /// For every layer, which of its output channels are kept.
    pub fn channel_flags(&self, groups: &ChannelGroups, graph: &Graph) -> Vec<Vec<bool>> {
        let flags = self.unit_flags(groups);
        (0..graph.nodes.len())
            .map(|layer| groups.units_of(layer).iter().map(|&unit| flags[unit]).collect())
            .collect()
    }

    /// Zeroes every parameter that makes a removed channel, so that the channel is `activation(0)`.
    ///
    /// The shapes stay; [`super::transform()`] makes the cut that computes the same.
    pub fn apply(&self, graph: &Graph, groups: &ChannelGroups, weights: &mut Weights) {
        let channels = self.channel_flags(groups, graph);
        for ((node, layer), kept) in graph.nodes.iter().zip(&mut weights.layers).zip(&channels) {
            zero_removed(&node.op, layer, kept);
        }
    }

    /// Finds the units whose filters are all zero, as a pruner or a fine-tuning under masks leaves
    /// them. The last unit of a group is kept whatever it holds.
    pub fn detect(graph: &Graph, groups: &ChannelGroups, weights: &Weights) -> Self {
        let dead: Vec<Vec<bool>> = graph
            .nodes
            .iter()
            .zip(&weights.layers)
            .map(|(node, layer)| {
                (0..node.shape.c).map(|c| is_zero_filter(&node.op, layer, c, node.shape.c)).collect()
            })
            .collect();
        let mut masks = Self::keep_all(groups);
        for (number, group) in groups.groups.iter().enumerate() {
            let makes = |layer: &usize| group.changes(*layer);
            let mut kept: Vec<bool> = group
                .units
                .iter()
                .map(|&unit| {
                    let mut channels = groups.units[unit].channels.iter();
                    channels.any(|&(layer, channel)| makes(&layer) && !dead[layer][channel])
                })
                .collect();
            if !kept.contains(&true) {
                kept[0] = true;
            }
            masks.set(number, kept);
        }
        masks
    }

    /// Writes the masks as JSON.
    pub fn save(&self, groups: &ChannelGroups, path: &Path) -> Result<()> {
        let file = MaskFile {
            format: FORMAT.to_owned(),
            version: VERSION,
            groups: groups
                .groups
                .iter()
                .zip(&self.kept)
                .map(|(group, kept)| MaskGroup {
                    main: group.main(),
                    slaves: group.producers[1..].to_vec(),
                    units: kept.len(),
                    kept: (0..kept.len()).filter(|&position| kept[position]).collect(),
                })
                .collect(),
        };
        files::write_atomic(path, |w| {
            serde_json::to_writer_pretty(&mut *w, &file)?;
            writeln!(w)
        })
    }

    /// Reads masks that belong to this network.
    ///
    /// Fails if the file is not a mask file, or was made for other channel groups.
    pub fn load(groups: &ChannelGroups, path: &Path) -> Result<Self> {
        let bytes = files::read_limited(path, MAX_FILE_BYTES)?;
        let file: MaskFile = serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(format!("not a mask file: {e}")).file(path).line(e.line()).column(e.column())
        })?;
        let wrong =
            |what: &str| Error::new(what).file(path).help("make the masks anew with `secateur prune`");
        if file.format != FORMAT || file.version != VERSION {
            return Err(wrong("not a mask file of this version")
                .found(format!("{} {}", file.format, file.version))
                .allowed(format!("{FORMAT} {VERSION}")));
        }
        if file.groups.len() != groups.groups.len() {
            return Err(wrong("the masks are of another network")
                .found(format!("{} groups", file.groups.len()))
                .allowed(format!("{} groups", groups.groups.len())));
        }
        let mut masks = Self::keep_all(groups);
        for (number, (entry, group)) in file.groups.iter().zip(&groups.groups).enumerate() {
            let units = group.units.len();
            if entry.main != group.main() || entry.slaves != group.producers[1..] || entry.units != units {
                return Err(wrong("the masks are of another network")
                    .layer(group.main())
                    .found(format!("group {number}: main layer {}, {} units", entry.main, entry.units))
                    .allowed(format!("main layer {}, {units} units", group.main())));
            }
            if entry.kept.is_empty()
                || entry.kept.iter().any(|&position| position >= units)
                || !entry.kept.is_sorted_by(|a, b| a < b)
            {
                return Err(wrong("the kept units of a group are wrong")
                    .layer(group.main())
                    .found(format!("group {number}: {:?}", entry.kept))
                    .allowed(format!("one or more ascending numbers below {units}")));
            }
            let flags = &mut masks.kept[number];
            flags.fill(false);
            for &position in &entry.kept {
                flags[position] = true;
            }
        }
        Ok(masks)
    }
}

const FORMAT: &str = "secateur masks";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MaskFile {
    format: String,
    version: u32,
    groups: Vec<MaskGroup>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MaskGroup {
    main: usize,
    slaves: Vec<usize>,
    units: usize,
    kept: Vec<usize>,
}

/// Indices of the filter weights of output channel `channel` of `channels`.
fn filter(op: &Op, weights: usize, channel: usize, channels: usize) -> impl Iterator<Item = usize> + use<> {
    let (run, step) = match op {
        // A weighted shortcut's factors multiply channels that are made elsewhere.
        Op::Shortcut(_) => (0, 1),
        // `[in][out][k][k]`
        Op::Deconv(conv) => (conv.taps(), channels * conv.taps()),
        _ => (weights / channels, weights.max(1)),
    };
    (channel * run..weights).step_by(step).flat_map(move |start| start..start + run)
}

/// Zeroes what makes the output channels that are not `kept`.
pub(super) fn zero_removed(op: &Op, layer: &mut LayerWeights, kept: &[bool]) {
    for channel in (0..kept.len()).filter(|&channel| !kept[channel]) {
        zero_channel(op, layer, channel, kept.len());
    }
}

/// Zeroes what makes output channel `channel` of `channels`: filter, bias and batch norm.
fn zero_channel(op: &Op, layer: &mut LayerWeights, channel: usize, channels: usize) {
    zero_filter(op, layer, channel, channels);
    if let Some(bias) = layer.bias.get_mut(channel) {
        *bias = 0.0;
    }
    if let Some(batch_norm) = &mut layer.batch_norm {
        batch_norm.scale[channel] = 0.0;
        batch_norm.mean[channel] = 0.0;
        batch_norm.variance[channel] = 1.0;
    }
}

/// Zeroes the filter weights of output channel `channel` of `channels`; its bias stays.
pub(super) fn zero_filter(op: &Op, layer: &mut LayerWeights, channel: usize, channels: usize) {
    filter(op, layer.weights.len(), channel, channels).for_each(|i| layer.weights[i] = 0.0);
}

/// Whether output channel `channel` of `channels` has no weight that is not zero. A batchnorm layer
/// has no filter: there the scale decides.
fn is_zero_filter(op: &Op, layer: &LayerWeights, channel: usize, channels: usize) -> bool {
    match (op, &layer.batch_norm) {
        (Op::BatchNorm(_), Some(norm)) => norm.scale[channel] == 0.0,
        _ => filter(op, layer.weights.len(), channel, channels).all(|i| layer.weights[i] == 0.0),
    }
}
