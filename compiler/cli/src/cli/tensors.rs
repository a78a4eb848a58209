//! Tables of other frameworks' networks.

use std::path::Path;

use secateur_base::terminal::printable;
use secateur_base::{Error, Result, errln, outln};
use secateur_frontend::tensorflow::checkpoint::Checkpoint;
use secateur_frontend::tensorflow::graph_def::GraphDef;
use secateur_frontend::text_format::Document;
use secateur_frontend::{Framework, caffe, onnx, tensorflow};
use secateur_tensor::{Graph, cost};

use super::info::{human, unit};

/// A value of `--input-shape`: a name and positive sizes.
pub(crate) fn named_shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let (name, sizes) =
        text.rsplit_once('=').ok_or("NAME=SIZE,SIZE,… is wanted, as in images=1,3,320,320")?;
    let sizes = sizes.split(',').map(|size| size.trim().parse().ok().filter(|&size: &usize| size > 0));
    let sizes: Option<Vec<usize>> = sizes.collect();
    sizes.map(|sizes| (name.to_owned(), sizes)).ok_or_else(|| "sizes are positive numbers".to_owned())
}

/// Prints a network of another framework node by node.
pub(super) fn print(
    framework: Framework,
    path: &Path,
    weights: Option<&Path>,
    input_shapes: Vec<(String, Vec<usize>)>,
) -> Result<()> {
    let named: Vec<String> = input_shapes.iter().map(|(name, _)| name.clone()).collect();
    let input_shapes = input_shapes.into_iter().collect();
    let (graph, warnings) = match framework {
        Framework::Caffe => {
            let document = Document::load(path)?;
            let weights = weights.map(caffe::weights::Weights::load).transpose()?;
            let options = caffe::Options { input_shapes, ..caffe::Options::default() };
            let net = caffe::net::Net::read(&document, &caffe::net::State::default())?;
            let imported = caffe::import(&net, weights.as_ref(), &options)?;
            (imported.graph, imported.warnings)
        }
        Framework::TensorFlow => {
            let graph = GraphDef::load(path)?;
            let checkpoint = weights.map(Checkpoint::open).transpose()?;
            let options = tensorflow::Options { input_shapes, ..tensorflow::Options::default() };
            let imported = tensorflow::import(&graph, checkpoint.as_ref(), &options)?;
            (imported.graph, imported.warnings)
        }
        Framework::Onnx | Framework::Darknet => {
            if let Some(weights) = weights {
                return Err(Error::new("an ONNX model holds its own weights").file(weights));
            }
            (onnx::load(path, &onnx::Options { input_shapes, ..onnx::Options::default() })?.graph, Vec::new())
        }
    };
    let known: Vec<&str> = graph.inputs.iter().map(|&input| graph.name(input)).collect();
    if let Some(name) = named.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(Error::new("the network has no such input")
            .file(path)
            .found(name.clone())
            .allowed(known.join(", ")));
    }
    for warning in warnings {
        errln!("warning: {}", printable(&warning));
    }
    print_table(&graph);
    Ok(())
}

/// Prints a graph: a line for every node that depends on the network's inputs.
fn print_table(graph: &Graph) {
    outln!(
        "{:>5}  {:<20} {:<12} {:<22} {:>9} {:>9}   name",
        "node",
        "type",
        "size/stride",
        "output",
        "macs",
        "params"
    );
    let (mut macs, mut parameters) = (0u64, 0u64);
    for (number, node) in graph.nodes.iter().enumerate() {
        let (own_macs, own_parameters) = (cost::macs(graph, node), cost::parameters(graph, node));
        macs = macs.saturating_add(own_macs);
        parameters = parameters.saturating_add(own_parameters);
        outln!(
            "{number:>5}  {:<20} {:<12} {:<22} {:>9} {:>9}   {}",
            printable(&node.kind),
            cost::window(node).unwrap_or_default(),
            shape(&graph.spec(node.output).shape),
            human(own_macs),
            human(own_parameters),
            printable(&node.name)
        );
    }
    let inputs = graph
        .inputs
        .iter()
        .map(|&input| format!("{} {}", printable(graph.name(input)), shape(&graph.spec(input).shape)));
    outln!(
        "{} nodes, input {}: {}multiply-accumulates, {}parameters",
        graph.nodes.len(),
        inputs.collect::<Vec<_>>().join(", "),
        unit(macs),
        unit(parameters)
    );
    for (name, output) in &graph.outputs {
        outln!("output {} {}", printable(name), shape(&graph.spec(*output).shape));
    }
}

/// Axes from the outermost to the innermost.
fn shape(sides: &[usize]) -> String {
    sides.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}
