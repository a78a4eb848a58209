//! A changed graph back into its cfg: only the options whose meaning changed are touched.

use std::path::Path;

use super::{Cfg, WeightsHeader, write_weights};
use secateur_base::Result;
use secateur_base::files::write_bytes;
use secateur_ir::{Graph, Op, Weights};

/// A copy of `cfg` that says what `graph` is: input size, filters, groups, outputs, batch norm.
///
/// Layers must be those of `cfg`, one for one. Everything that already means the same stays as it
/// was written, comments included.
pub fn apply(cfg: &Cfg, graph: &Graph) -> Cfg {
    let mut changed = Changed { cfg: cfg.clone() };
    changed.net("width", graph.input.w);
    changed.net("height", graph.input.h);
    changed.net("channels", graph.input.c);
    for (layer, node) in graph.nodes.iter().enumerate() {
        match &node.op {
            Op::Conv(conv) | Op::Deconv(conv) => {
                changed.set(layer, "filters", conv.filters, 1);
                // Darknet takes groups=0 for 1.
                if !(conv.groups == 1 && cfg.get(layer, "groups") == Some("0")) {
                    changed.set(layer, "groups", conv.groups, 1);
                }
                changed.batch_norm(layer, conv.batch_norm);
            }
            Op::Connected(connected) => {
                changed.set(layer, "output", connected.outputs, 1);
                changed.batch_norm(layer, connected.batch_norm);
            }
            Op::MaxPool(pool) => {
                if let Some(channels) = pool.depth {
                    changed.set(layer, "out_channels", channels, 1);
                }
            }
            Op::Route(route) => {
                changed.set(layer, "groups", route.groups, 1);
                changed.set(layer, "group_id", route.group_id, 0);
            }
            _ => {}
        }
    }
    changed.cfg
}

struct Changed {
    cfg: Cfg,
}

impl Changed {
    /// Sets an option unless it, or Darknet's `default` in its absence, already says `value`.
    fn set(&mut self, layer: usize, key: &str, value: usize, default: usize) {
        // Numbers may be written with signs or leading zeros: compare what they mean.
        let written = self.cfg.get(layer, key).map_or(Some(default), |text| text.parse().ok());
        if written != Some(value) {
            self.cfg.set(layer, key, value);
        }
    }

    /// A side of the input; a net of flat `inputs=` has none.
    fn net(&mut self, key: &str, value: usize) {
        let written = self.cfg.net().get(key);
        if written.is_some_and(|text| text.parse() != Ok(value)) {
            self.cfg.set_net(key, value);
        }
    }

    fn batch_norm(&mut self, layer: usize, wanted: bool) {
        let is_set = |key: &str| self.cfg.get(layer, key).is_some_and(|text| text.parse() != Ok(0));
        let (plain, cross) = (is_set("batch_normalize"), is_set("cbn"));
        if (plain || cross) == wanted {
            return;
        }
        self.cfg.set(layer, "batch_normalize", u8::from(wanted));
        if cross {
            self.cfg.set(layer, "cbn", 0);
        }
    }
}

/// Writes `cfg` as changed by `graph`, and the weights, each whole or not at all.
pub fn write_network(
    cfg: &Cfg,
    graph: &Graph,
    header: WeightsHeader,
    weights: &Weights,
    cfg_path: &Path,
    weights_path: &Path,
) -> Result<()> {
    write_bytes(weights_path, &write_weights(graph, header, weights))?;
    write_bytes(cfg_path, &apply(cfg, graph).to_bytes())
}
