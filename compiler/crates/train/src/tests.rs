//! Networks and images for tests.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use secateur_frontend::darknet::{self, Cfg};
use secateur_ir::training::Training;
use secateur_ir::{Graph, Weights};
use secateur_testing::random_weights;

use crate::recalibrate;

/// A network on 3×8×6 pixels with random weights.
pub(crate) struct Net {
    pub(crate) graph: Graph,
    pub(crate) weights: Weights,
    pub(crate) training: Training,
    seed: u64,
}

impl Net {
    pub(crate) fn new(layers: &str, seed: u64) -> Self {
        let text = format!("[net]\nchannels=3\nheight=8\nwidth=6\n{layers}");
        let cfg = Cfg::parse(std::path::Path::new("test.cfg"), text.as_bytes()).unwrap();
        let graph = darknet::build_graph(&cfg).unwrap();
        let training = darknet::training(&cfg, &graph).unwrap();
        Self { weights: random_weights(seed, &graph), graph, training, seed }
    }

    /// Image `number`, brighter or darker than others.
    pub(crate) fn image(&self, number: usize) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ ((number as u64) << 32));
        let brightness = rng.random_range(0.2..1.0);
        (0..self.graph.input.len()).map(|_| rng.random_range(0.0..brightness)).collect()
    }

    /// Recalibrates on the images that `order` names.
    pub(crate) fn recalibrated(
        &self,
        order: impl Fn(usize) -> usize + Sync,
        passes: usize,
        size: usize,
    ) -> Weights {
        let image = |image| Ok(self.image(order(image)));
        recalibrate(&self.graph, &self.weights, &image, passes, size).unwrap()
    }
}

/// Runs `work` on so many threads.
pub(crate) fn in_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}
