//! A changed graph back into its cfg: only the options whose meaning changed are touched.

use std::path::Path;

use super::{Cfg, write_weights};
use crate::Result;
use crate::files::write_bytes;
use crate::graph::{Graph, Op, Weights};

/// A copy of `cfg` that says what `graph` is: filters, groups, outputs, and all that pruning can change.
///
/// Layers must be those of `cfg`, one for one. Everything that already means the same stays as it
/// was written, comments included.
pub fn apply(cfg: &Cfg, graph: &Graph) -> Cfg {
    let mut changed = cfg.clone();
    for (layer, node) in graph.nodes.iter().enumerate() {
        let mut set = |key: &str, value: usize, default: usize| {
            // Numbers may be written with signs or leading zeros: compare what they mean.
            let written = cfg.get(layer, key).map_or(Some(default), |text| text.parse().ok());
            if written != Some(value) {
                changed.set(layer, key, value);
            }
        };
        match &node.op {
            Op::Conv(conv) | Op::Deconv(conv) => {
                set("filters", conv.filters, 1);
                // Darknet takes groups=0 for 1.
                if !(conv.groups == 1 && cfg.get(layer, "groups") == Some("0")) {
                    set("groups", conv.groups, 1);
                }
            }
            Op::Connected(connected) => set("output", connected.outputs, 1),
            Op::MaxPool(pool) => {
                if let Some(channels) = pool.depth {
                    set("out_channels", channels, 1);
                }
            }
            Op::Route(route) => {
                set("groups", route.groups, 1);
                set("group_id", route.group_id, 0);
            }
            _ => {}
        }
    }
    changed
}

/// Writes `cfg` as changed by `graph`, and the weights, each whole or not at all.
pub fn write_network(
    cfg: &Cfg,
    graph: &Graph,
    weights: &Weights,
    cfg_path: &Path,
    weights_path: &Path,
) -> Result<()> {
    write_bytes(weights_path, &write_weights(graph, weights))?;
    write_bytes(cfg_path, &apply(cfg, graph).to_bytes())
}
