//! `dump`: every layer's output on one input, float or integer, as `.npy` files.

use std::path::{Path, PathBuf};

use secateur_base::{Error, Result, outln};
use secateur_data::{Fit, Sample, read_npy};
use secateur_deploy::{Deployed, read_artefact};
use secateur_eval::Detector;
use secateur_float::oracle;
use secateur_frontend::darknet;
use secateur_ir::Shape;
use secateur_report::{LayerCodes, LayerFolder};

use super::Global;
use super::subject::Subject;

/// Write every layer's output as .npy.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur dump yolov4-tiny.cfg yolov4-tiny.weights dog.jpg -o dump/float
  secateur dump yolov4-tiny.sct dog.jpg -o dump/int8
  secateur dump yolov4-tiny.sct input.npy -o dump/int8

Writes input.npy, layer_NNN.npy (float32, [c][h][w], NNN the number that Darknet prints) and
index.json. Of an artefact it writes the dequantised values, and the quantised values themselves
as layer_NNN_codes.npy (int8, [h][w][c]); heads are written before decoding. Equalisation scales
the channels between layers and negates some, --split makes two of one: compare with a network
that was quantised with --no-equalize.")]
pub(crate) struct Args {
    /// CFG WEIGHTS or ARTEFACT, then an image or a float32 tensor [c][h][w] of 0..1 (.npy).
    #[arg(required = true, num_args = 1..=3, value_name = "CFG WEIGHTS|ARTEFACT> <IMAGE|INPUT.npy")]
    paths: Vec<PathBuf>,
    /// Folder to write to.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

impl Args {
    /// A network and an input; options may stand between them.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.paths.len() {
            2 | 3 => Ok(()),
            _ => Err("a network and one image or tensor are needed".to_owned()),
        }
    }
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    let (subject, inputs) = Subject::take(args.paths.clone())?;
    let [input] = &inputs[..] else {
        return Err(Error::new("one input is needed")
            .found(format!("{} inputs", inputs.len()))
            .allowed("an image or a .npy file after the network"));
    };
    let folder = LayerFolder::new(&args.output, subject.path(), input);
    let count = match &subject {
        Subject::Float { cfg, weights, .. } => float(cfg, weights, input, folder)?,
        Subject::Artefact(path) => artefact(path, input, folder)?,
    };
    outln!("{}: {count} layers", args.output.display());
    Ok(())
}

fn float(cfg: &Path, weights: &Path, input: &Path, mut folder: LayerFolder) -> Result<usize> {
    let network = darknet::load(cfg, Some(weights))?;
    let graph = &network.graph;
    folder.refuse_overwrite(&[cfg, weights, input], graph.nodes.len())?;
    let fit = Fit::of_network(graph.has_heads(), graph.letter_box);
    let values = read_input(input, graph.input, fit)?;
    folder.add(None, None, graph.input, &values, None)?;
    let outputs = oracle::run(graph, network.weights()?, &values);
    for (layer, (node, output)) in graph.nodes.iter().zip(&outputs).enumerate() {
        folder.add(Some(layer), Some(node.op.name()), node.shape, output, None)?;
    }
    folder.finish()
}

fn artefact(path: &Path, input: &Path, mut folder: LayerFolder) -> Result<usize> {
    let bytes = read_artefact(path)?;
    let deployed = Deployed::new(&bytes, path)?;
    folder.refuse_overwrite(&[path, input], deployed.layer_count())?;
    let values = read_input(input, deployed.input(), deployed.fit())?;
    folder.add(None, None, deployed.input(), &values, None)?;
    let mut result = Ok(());
    deployed.trace(&deployed.quantise(&values), |output| {
        let [h, w, c] = output.record.shape();
        let codes = output.int8();
        let codes = LayerCodes {
            values: &codes,
            scale: f32::from_bits(output.record.scale_bits.get()),
            zero_point: output.values.zero_point(),
        };
        if result.is_ok() {
            result = folder.add(
                Some(output.layer),
                Some(output.kernel),
                Shape::new(c, h, w),
                &output.reals(),
                Some(codes),
            );
        }
    });
    result?;
    folder.finish()
}

/// An image as the network takes it, or a tensor of the input's size.
fn read_input(path: &Path, shape: Shape, fit: Fit) -> Result<Vec<f32>> {
    if path.extension().is_none_or(|extension| extension != "npy") {
        return Ok(Sample::load(path, shape, fit)?.input);
    }
    let (dimensions, values) = read_npy(path)?;
    let wanted = [shape.c, shape.h, shape.w];
    // A leading batch of one is what most tools write.
    let found = dimensions.strip_prefix(&[1]).filter(|rest| rest.len() == 3).unwrap_or(&dimensions);
    if found != wanted {
        return Err(Error::new("the tensor is not an input of this network")
            .file(path)
            .found(format!("shape {dimensions:?}"))
            .allowed(format!("shape {wanted:?}")));
    }
    Ok(values)
}
