//! Tensors in NumPy's `.npy` files.

use std::io::Write;
use std::path::Path;

use npyz::{NpyFile, WriterBuilder};

use secateur_base::limits::MAX_TENSOR_BYTES;
use secateur_base::{Error, Result, files};

/// Reads an f32 tensor in C order: its dimensions and values.
pub fn read_npy(path: &Path) -> Result<(Vec<usize>, Vec<f32>)> {
    let bytes = files::read_limited(path, MAX_TENSOR_BYTES)?;
    let bad = |cause: &dyn std::fmt::Display| {
        Error::new(format!("cannot read the .npy file: {cause}"))
            .file(path)
            .allowed("float32 in C order")
            .help("write it with numpy.save(name, array.astype('float32'))")
    };
    let npy = NpyFile::new(bytes.as_slice()).map_err(|e| bad(&e))?;
    if npy.order() != npyz::Order::C {
        return Err(bad(&"it is in Fortran order"));
    }
    let shape = npy.shape().to_vec();
    // Checked before anything is allocated: the header is foreign.
    let elements = shape.iter().try_fold(1_u64, |n, &side| n.checked_mul(side));
    if elements.and_then(|n| n.checked_mul(4)).is_none_or(|n| n > bytes.len() as u64) {
        return Err(bad(&"it is shorter than its header says"));
    }
    let values = npy.into_vec::<f32>().map_err(|e| bad(&e))?;
    Ok((shape.iter().map(|&side| side as usize).collect(), values))
}

/// Writes a tensor of `shape` in C order, whole or not at all.
pub fn write_npy<T>(path: &Path, shape: &[usize], values: &[T]) -> Result<()>
where
    T: npyz::AutoSerialize + Copy,
{
    let shape: Vec<u64> = shape.iter().map(|&side| side as u64).collect();
    files::write_atomic(path, |out| {
        let mut writer = npyz::WriteOptions::<T>::new()
            .default_dtype()
            .shape(&shape)
            .writer(out as &mut dyn Write)
            .begin_nd()?;
        writer.extend(values.iter().copied())?;
        writer.finish()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_bad_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        write_npy(&path, &[1, 2, 3], &[0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.5]).unwrap();
        assert_eq!(read_npy(&path).unwrap(), (vec![1, 2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.5]));

        let whole = std::fs::read(&path).unwrap();
        for length in [0, 5, 40, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(read_npy(&path).is_err(), "cut at {length}");
        }
        write_npy(&path, &[2], &[1_i8, 2]).unwrap();
        assert!(read_npy(&path).unwrap_err().what().contains(".npy"));
    }
}
