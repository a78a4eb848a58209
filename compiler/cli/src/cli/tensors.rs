//! Tables of other frameworks' networks.

use std::path::Path;

use secateur_base::terminal::printable;
use secateur_base::{Error, Result, outln};
use secateur_frontend::onnx;
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

/// Prints an ONNX model node by node.
pub(super) fn print_onnx(path: &Path, input_shapes: Vec<(String, Vec<usize>)>) -> Result<()> {
    let known = onnx::input_names(path)?;
    if let Some((name, _)) = input_shapes.iter().find(|(name, _)| !known.contains(name)) {
        return Err(Error::new("the model has no such input")
            .file(path)
            .found(name.clone())
            .allowed(known.join(", ")));
    }
    let options =
        onnx::Options { input_shapes: input_shapes.into_iter().collect(), ..onnx::Options::default() };
    print_table(&onnx::load(path, &options)?.graph);
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
