//! Mistakes that users make, and graphs as old exporters wrote them.

use std::path::Path;

use secateur_base::Result;

use super::graph_def::GraphDef;
use super::{Imported, Options, import};

const X: &str = "node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } }
    attr { key: 'shape' value { shape { dim { size: -1 } dim { size: 4 } } } } }\n";

fn read(nodes: &str, options: &Options) -> Result<Imported> {
    import(&GraphDef::parse(Path::new("g.pbtxt"), format!("{X}{nodes}").into_bytes())?, None, options)
}

fn evaluate(imported: &Imported, x: &[f32]) -> Vec<f32> {
    let shape = imported.graph.spec(imported.graph.inputs[0]).shape.clone();
    let input = secateur_tensor::Tensor::f32(shape, x.to_vec()).unwrap();
    secateur_tensor::evaluate(&imported.graph, &[input], &mut |_, _| ()).unwrap()[0].to_f32()
}

fn float(name: &str, value: f32) -> String {
    format!(
        "node {{ name: '{name}' op: 'Const' attr {{ key: 'value' value {{ tensor {{ dtype: DT_FLOAT
        tensor_shape {{ }} float_val: {value} }} }} }} }}\n"
    )
}

#[test]
fn mistakes_say_where_and_what_to_do() {
    for (nodes, words) in [
        ("node { name: 'y' op: 'Magic' input: 'x' }", ["g.pbtxt:3", "Magic"]),
        ("node { name: 'y' op: 'Relu' input: 'z' }", ["g.pbtxt:3", "z"]),
        (
            "node { name: 'y' op: 'Relu' input: 'z' } node { name: 'z' op: 'Relu' input: 'y' }\nnode { name: 'o' op: 'Relu' input: 'z' }",
            ["cycle", "g.pbtxt:3"],
        ),
        (
            "node { name: 'v' op: 'VariableV2' } node { name: 'y' op: 'Add' input: 'x' input: 'v' }",
            ["checkpoint", "v"],
        ),
        (
            "node { name: 'y' op: 'FusedBatchNorm' input: 'x' attr { key: 'is_training' value { b: true } } }",
            ["is_training", "inference"],
        ),
        (
            "node { name: 'p' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } } node { name: 'y' op: 'Relu' input: 'p' }",
            ["--input-shape", "p"],
        ),
        ("node { name: 'x' op: 'Relu' }", ["same name", "g.pbtxt:3"]),
    ] {
        let found = format!("{:?}", read(nodes, &Options::default()).unwrap_err());
        for word in words {
            assert!(found.contains(word), "{found}\nlacks {word}");
        }
    }
    let options = Options { outputs: vec!["none".to_owned()], ..Options::default() };
    assert!(read("", &options).unwrap_err().to_string().contains("no such output"));
}

#[test]
fn dropout_of_either_spelling_is_nothing() {
    let old = float("keep", 0.5)
        + "node { name: 'dropout/u' op: 'RandomUniform' input: 'x' }
        node { name: 'dropout/add' op: 'Add' input: 'keep' input: 'dropout/u' }
        node { name: 'dropout/floor' op: 'Floor' input: 'dropout/add' }
        node { name: 'dropout/div' op: 'RealDiv' input: 'x' input: 'keep' }
        node { name: 'dropout/mul' op: 'Mul' input: 'dropout/div' input: 'dropout/floor' }
        node { name: 'y' op: 'Relu' input: 'dropout/mul' }";
    let new = float("rate", 0.5)
        + "node { name: 'd/u' op: 'RandomUniform' input: 'x' }
        node { name: 'd/keep' op: 'GreaterEqual' input: 'd/u' input: 'rate' }
        node { name: 'd/cast' op: 'Cast' input: 'd/keep' }
        node { name: 'd/mul' op: 'Mul' input: 'x' input: 'rate' }
        node { name: 'd/mul_1' op: 'Mul' input: 'd/mul' input: 'd/cast' }
        node { name: 'y' op: 'Relu' input: 'd/mul_1' }";
    for nodes in [old, new] {
        let imported = read(&nodes, &Options::default()).unwrap();
        assert_eq!(evaluate(&imported, &[1.0, -2.0, 3.0, 4.0]), [1.0, 0.0, 3.0, 4.0]);
    }
}

#[test]
fn conditions_on_training_take_the_other_branch() {
    let nodes = "node { name: 't' op: 'Placeholder' attr { key: 'dtype' value { type: DT_BOOL } } }
        node { name: 's' op: 'Switch' input: 'x' input: 't' }
        node { name: 'a' op: 'Relu' input: 's:1' }
        node { name: 'b' op: 'Abs' input: 's' }
        node { name: 'm' op: 'Merge' input: 'b' input: 'a' }";
    let imported = read(nodes, &Options::default()).unwrap();
    assert!(imported.warnings[0].contains("not training"));
    assert_eq!(evaluate(&imported, &[1.0, -2.0, 3.0, 4.0]), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn shape_arithmetic_is_computed() {
    // reshape(x, [shape(x)[0] * 2, -1])
    let integers = |name: &str, values: &str, dims: &str| {
        format!(
            "node {{ name: '{name}' op: 'Const' attr {{ key: 'value' value {{ tensor {{ dtype: DT_INT32 tensor_shape {{ {dims} }} {values} }} }} }} }}\n"
        )
    };
    let nodes = integers("zero", "int_val: 0", "dim { size: 1 }")
        + &integers("one", "int_val: 1", "dim { size: 1 }")
        + &integers("two", "int_val: 2", "")
        + &integers("rest", "int_val: -1", "")
        + "node { name: 'sh' op: 'Shape' input: 'x' }
        node { name: 'n' op: 'StridedSlice' input: 'sh' input: 'zero' input: 'one' input: 'one'
            attr { key: 'shrink_axis_mask' value { i: 1 } } }
        node { name: 'm' op: 'Mul' input: 'n' input: 'two' }
        node { name: 'p' op: 'Pack' input: 'm' input: 'rest' }
        node { name: 'y' op: 'Reshape' input: 'x' input: 'p' }";
    let imported = read(&nodes, &Options::default()).unwrap();
    assert_eq!(imported.graph.spec(imported.graph.outputs[0].1).shape, [2, 2]);
}

#[test]
fn a_long_chain_needs_no_recursion() {
    let mut nodes = String::new();
    for at in 0..50_000 {
        let from = if at == 0 { "x".to_owned() } else { format!("n{}", at - 1) };
        nodes += &format!("node {{ name: 'n{at}' op: 'Identity' input: '{from}' }}\n");
    }
    assert_eq!(evaluate(&read(&nodes, &Options::default()).unwrap(), &[1.0; 4]), [1.0; 4]);
}
