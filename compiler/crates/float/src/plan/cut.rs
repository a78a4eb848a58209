//! Running a part of a network: everything from a layer on, or only what a change reaches.

use super::Plan;
use secateur_ir::Source;

/// Some steps of a plan and the outputs that they read from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Indices of steps, ascending.
    pub(super) steps: Vec<usize>,
    inputs: Vec<Source>,
    layers: Vec<usize>,
    macs: u64,
}

impl Cut {
    /// The inputs of [`Plan::run_cut`], in this order.
    pub fn inputs(&self) -> &[Source] {
        &self.inputs
    }

    /// Kept layers that it computes, ascending.
    pub fn outputs(&self) -> &[usize] {
        &self.layers
    }

    /// Multiply-accumulates of one run.
    pub fn macs(&self) -> u64 {
        self.macs
    }
}

impl Plan {
    /// Layers `from..to`, and those before them that were fused with one in the range.
    pub fn range(&self, from: usize, to: usize) -> Cut {
        self.cut((0..self.steps.len()).filter(|&s| (from..to).contains(&self.steps[s].layer)).collect())
    }

    /// Only the layers that the numbers of `changed` reach.
    pub fn affected(&self, changed: &[usize]) -> Cut {
        let mut dirty = vec![false; self.buffer_of.len()];
        let mut steps = Vec::new();
        for (s, step) in self.steps.iter().enumerate() {
            let own = changed.contains(&step.first) || changed.contains(&step.layer);
            if own || step.inputs.iter().any(|view| dirty[view.value]) {
                dirty[step.output] = true;
                steps.push(s);
            }
        }
        self.cut(steps)
    }

    /// Everything that reads the output of the kept layer `layer`, and everything downstream of that.
    pub fn downstream_of(&self, layer: usize) -> Cut {
        let mut dirty = vec![false; self.buffer_of.len()];
        dirty[self.views[layer].expect("a kept layer has a value").value] = true;
        let mut steps = Vec::new();
        for (s, step) in self.steps.iter().enumerate() {
            if step.inputs.iter().any(|view| dirty[view.value]) {
                dirty[step.output] = true;
                steps.push(s);
            }
        }
        self.cut(steps)
    }

    /// Outputs that layers from `layer` on read from before it.
    pub fn live_at(&self, layer: usize) -> Vec<Source> {
        self.range(layer, usize::MAX).inputs
    }

    fn cut(&self, steps: Vec<usize>) -> Cut {
        let mut defined = vec![false; self.buffer_of.len()];
        let mut inputs = Vec::new();
        let mut macs = 0;
        for step in steps.iter().map(|&s| &self.steps[s]) {
            for view in step.inputs.iter().filter(|view| !defined[view.value]) {
                let source = self.source_of(view.value).expect("steps of a layer stay together");
                if !inputs.contains(&source) {
                    inputs.push(source);
                }
            }
            defined[step.output] = true;
            macs += step.macs;
        }
        inputs.sort_unstable();
        let computed = |i: &usize| self.kept[*i] && self.views[*i].is_some_and(|view| defined[view.value]);
        let layers = (0..self.views.len()).filter(computed).collect();
        Cut { steps, inputs, layers, macs }
    }
}
