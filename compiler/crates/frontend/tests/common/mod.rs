//! What the tests on other frameworks' results share: arrays, and how far a value may be off.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use secateur_frontend::caffe::net::{Net, State};
use secateur_frontend::caffe::weights::Weights;
use secateur_frontend::caffe::{Imported, Options, import};
use secateur_frontend::text_format::Document;
use secateur_tensor::{Graph, Value};

/// An array of floats.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

impl From<&secateur_tensor::Tensor> for Tensor {
    fn from(tensor: &secateur_tensor::Tensor) -> Self {
        Self { shape: tensor.shape().to_vec(), data: tensor.to_f32() }
    }
}

/// Runs a network on its inputs by name: every value, constants too.
pub(crate) fn run(
    graph: &Graph,
    mut inputs: HashMap<String, Vec<f32>>,
) -> Result<HashMap<Value, Tensor>, String> {
    let given = graph.inputs.iter().map(|&input| {
        let data =
            inputs.remove(graph.name(input)).ok_or_else(|| format!("no input {}", graph.name(input)))?;
        let shape = graph.spec(input).shape.clone();
        secateur_tensor::Tensor::f32(shape, data).map_err(|error| format!("{error:?}"))
    });
    let given = given.collect::<Result<Vec<_>, _>>()?;
    let mut values: HashMap<Value, Tensor> = HashMap::new();
    for (at, known) in graph.values.iter().enumerate() {
        if let Some(constant) = &known.constant {
            values.insert(Value(at), (&**constant).into());
        }
    }
    for (&input, tensor) in graph.inputs.iter().zip(&given) {
        values.insert(input, tensor.into());
    }
    secateur_tensor::evaluate(graph, &given, &mut |value, tensor| {
        values.insert(value, tensor.into());
    })
    .map_err(|error| format!("{error:?}"))?;
    Ok(values)
}

/// The subfolders of a folder, sorted.
pub(crate) fn folders(root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap_or_else(|e| panic!("{}: {e}", root.display()))
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

/// The name of a folder.
pub(crate) fn name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[allow(dead_code, reason = "one of the two tests has no use for it")]
/// The files `PREFIX_NAME.npy` of a folder, by NAME.
pub(crate) fn arrays(folder: &Path, prefix: &str) -> HashMap<String, Tensor> {
    let entries = std::fs::read_dir(folder).expect("a folder can be listed");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|file| Some((file.strip_prefix(prefix)?.strip_suffix(".npy")?.to_owned(), file.clone())))
        .map(|(name, file)| (name, array(&folder.join(file))))
        .collect()
}

/// An array of any type, as floats.
pub(crate) fn array(path: &Path) -> Tensor {
    (&typed_array(path)).into()
}

/// The largest difference that two honest engines have: 2e-4 of the largest value, or 1e-5.
pub(crate) fn compare(found: &Tensor, expected: &Tensor) -> Result<f32, String> {
    if found.shape != expected.shape {
        return Err(format!("shape {:?}, not {:?}", found.shape, expected.shape));
    }
    let largest = expected.data.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let allowed = (2e-4 * largest).max(1e-5);
    let mut worst = 0.0_f32;
    for (found, expected) in found.data.iter().zip(&expected.data) {
        let difference = (found - expected).abs();
        if !(found == expected || difference <= allowed) {
            return Err(format!("{found}, not {expected}; {allowed} is allowed"));
        }
        worst = worst.max(difference / largest.max(f32::MIN_POSITIVE));
    }
    Ok(worst)
}

/// Reads and translates a net of Caffe.
pub(crate) fn caffe(net: &Path, weights: &Path, options: &Options) -> secateur_base::Result<Imported> {
    let document = Document::load(net)?;
    let weights = weights.is_file().then(|| Weights::load(weights)).transpose()?;
    import(&Net::read(&document, &State::default())?, weights.as_ref(), options)
}

/// An array of its own type.
pub(crate) fn typed_array(path: &Path) -> secateur_tensor::Tensor {
    use secateur_tensor::{DType, Data, Spec, Tensor};
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let open = || npyz::NpyFile::new(bytes.as_slice()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let shape: Vec<usize> = open().shape().iter().map(|dim| *dim as usize).collect();
    macro_rules! ints {
        ($($kind:ty => $dtype:ident),*) => {
            $(if let Ok(values) = open().into_vec::<$kind>() {
                (DType::$dtype, Data::Int(values.into_iter().map(|value| value as i64).collect()))
            } else)* {
                panic!("{}: a type that no case has", path.display())
            }
        };
    }
    let (dtype, data) = if let Ok(values) = open().into_vec::<f32>() {
        (DType::F32, Data::F32(values))
    } else if let Ok(values) = open().into_vec::<f64>() {
        (DType::F32, Data::F32(values.into_iter().map(|value| value as f32).collect()))
    } else {
        ints!(i8 => I8, u8 => U8, i16 => I16, u16 => U16, i32 => I32, u32 => U32, i64 => I64, u64 => U64, bool => Bool)
    };
    let data = match data {
        Data::F32(values) => Data::F32(row_major(&open(), values)),
        Data::Int(values) => Data::Int(row_major(&open(), values)),
    };
    Tensor::new(Spec::new(dtype, shape), data).unwrap_or_else(|e| panic!("{}: {e:?}", path.display()))
}

/// As [`compare`]; types must be equal too, integers exactly.
#[allow(dead_code, reason = "one of the two tests has no use for it")]
pub(crate) fn compare_tensors(
    found: &secateur_tensor::Tensor,
    expected: &secateur_tensor::Tensor,
) -> Result<f32, String> {
    if found.dtype() != expected.dtype() {
        return Err(format!("type {}, not {}", found.dtype().name(), expected.dtype().name()));
    }
    if let (Some(ours), Some(theirs)) = (found.as_int(), expected.as_int()) {
        let equal = found.shape() == expected.shape() && ours == theirs;
        return if equal { Ok(0.0) } else { Err(format!("{found:?}, not {expected:?}")) };
    }
    compare(&found.into(), &expected.into())
}

/// Elements in row-major order, in whatever order the file has them.
fn row_major<T: Copy>(file: &npyz::NpyFile<&[u8]>, values: Vec<T>) -> Vec<T> {
    if file.order() == npyz::Order::C {
        return values;
    }
    let shape: Vec<usize> = file.shape().iter().map(|&side| side as usize).collect();
    let index = |mut position: usize| {
        let mut coordinates = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            coordinates[axis] = position % shape[axis];
            position /= shape[axis];
        }
        coordinates.iter().zip(&shape).rev().fold(0, |index, (at, side)| index * side + at)
    };
    (0..values.len()).map(|position| values[index(position)]).collect()
}
