//! Sensitivities in the arithmetic of the deployment, where every candidate is a network of its own.
//!
//! Nothing of the float evaluation is reused: ranges, equalisation and bias correction of a pruned network differ from
//! the original's in all layers. Whoever calls knows that arithmetic; here is only what is measured with it.

use std::path::Path;

use super::sensitivity::Analysis;
use super::store::{Sensitivity, Store};
use super::{Granularity, RankedUnits, transform};
use secateur_base::Result;
use secateur_base::progress::Progress;
use secateur_eval::ImageResult;
use secateur_ir::{ChannelGroups, Graph, Weights};

/// Returns what a deployed network, given in float, makes of each of the evaluator's images.
pub type Deploy<'a> = &'a (dyn Fn(&Graph, &Weights) -> Result<Vec<ImageResult>> + Sync);

impl RankedUnits<'_> {
    /// The network that is deployed when one group alone keeps `keep` units: cut, where units are channels.
    pub fn deployed(&self, group: usize, keep: usize) -> (Graph, Weights) {
        let mut counts: Vec<usize> = self.groups().iter().map(|group| group.units).collect();
        counts[group] = keep;
        let (graph, masks) = (self.graph(), self.masks(&counts));
        let mut weights = self.weights().clone();
        for (layer, changed) in self.changes(group, keep) {
            weights.layers[layer] = changed;
        }
        masks.zero(graph, &mut weights);
        match masks.granularity() {
            Granularity::Channel => {
                let cut = transform(graph, &ChannelGroups::new(graph), &weights, &masks);
                (cut.graph, cut.weights)
            }
            Granularity::Vector { .. } => (graph.clone(), weights),
        }
    }
}

impl Analysis<'_> {
    /// Measures groups cut down to counts of units, one after the other, and saves after each.
    ///
    /// # Errors
    /// A network that cannot be deployed; a file that cannot be written.
    pub(crate) fn measure_deployed(
        &self,
        store: &mut Store,
        todo: impl ExactSizeIterator<Item = (usize, usize)>,
        deploy: Deploy<'_>,
        save: Option<&Path>,
    ) -> Result<()> {
        self.evaluator.require_evidence()?;
        let progress =
            Progress::new(format!("measuring {} deployed networks", todo.len()), todo.len() as u64);
        for (group, keep) in todo {
            let (graph, weights) = self.units.deployed(group, keep);
            let loss = self.evaluator.relative_loss(&deploy(&graph, &weights)?);
            store.insert(group, keep, Sensitivity { loss, at_least: false });
            if let Some(path) = save {
                store.save(path)?;
            }
            progress.advance(1);
        }
        Ok(())
    }
}
