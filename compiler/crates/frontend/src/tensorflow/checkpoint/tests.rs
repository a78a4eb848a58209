use super::*;

const FLOAT: u64 = 1;

fn floats(values: &[f32], shape: &[usize]) -> Tensor {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor { dtype: FLOAT, shape: shape.to_vec(), bytes }
}

/// A checkpoint of two variables in two data files.
fn example(folder: &Path) -> PathBuf {
    let prefix = folder.join("model.ckpt");
    let tensors = [("conv/bias", floats(&[1.0, 2.0], &[2])), ("global_step", floats(&[7.0], &[]))];
    let mut entries = vec![(Vec::new(), Encoder::default().varint(1, 2).bytes(3, &[8, 1]).bytes)];
    for (shard, (name, tensor)) in tensors.iter().enumerate() {
        let blank = Variable::parse(&[]).unwrap();
        let mut entry = blank.entry(tensor, 0);
        entry.extend(Encoder::default().varint(number::SHARD, shard as u64).bytes);
        entries.push((name.as_bytes().to_vec(), entry));
        write_bytes(&shard_path(&prefix, shard, 2), &tensor.bytes).unwrap();
    }
    write_bytes(&suffixed(&prefix, ".index"), &table::write(&entries)).unwrap();
    prefix
}

#[test]
fn shards_are_read_and_joined() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = example(folder.path());
    let mut checkpoint = Checkpoint::open(&prefix).unwrap();
    assert_eq!(checkpoint.read("conv/bias").unwrap(), floats(&[1.0, 2.0], &[2]));
    let copy = folder.path().join("copy");
    checkpoint.write(&copy).unwrap();
    for suffix in [".index", ".data-00000-of-00002", ".data-00001-of-00002"] {
        assert_eq!(
            std::fs::read(suffixed(&copy, suffix)).unwrap(),
            std::fs::read(suffixed(&prefix, suffix)).unwrap()
        );
    }
    checkpoint.replace("conv/bias", floats(&[3.0], &[1])).unwrap();
    checkpoint.write(&copy).unwrap();
    let again = Checkpoint::open(&suffixed(&copy, ".index")).unwrap();
    assert_eq!(again.shards, 1);
    assert_eq!(again.read("conv/bias").unwrap(), floats(&[3.0], &[1]));
    assert_eq!(again.read("global_step").unwrap(), floats(&[7.0], &[]));
}

#[test]
fn damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = example(folder.path());
    let message = |path: &Path, name: &str| {
        Checkpoint::open(path).and_then(|checkpoint| checkpoint.read(name)).unwrap_err().to_string()
    };
    assert!(message(&prefix, "conv2/bias").contains("conv/bias"));
    assert!(message(&folder.path().join("other"), "").contains("no such checkpoint"));
    std::fs::write(folder.path().join("v1"), "old").unwrap();
    assert!(message(&folder.path().join("v1"), "").contains("version 1"));
    let data = shard_path(&prefix, 0, 2);
    std::fs::write(&data, [0; 8]).unwrap();
    assert!(message(&prefix, "conv/bias").contains("checksum"));
    std::fs::write(&data, [0; 7]).unwrap();
    assert!(message(&prefix, "conv/bias").contains("behind the end"));
    std::fs::remove_file(&data).unwrap();
    assert!(message(&prefix, "conv/bias").contains("cannot read"));
}

#[test]
fn the_checkpoint_file_names_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = example(folder.path());
    std::fs::write(folder.path().join("checkpoint"), "model_checkpoint_path: \"model.ckpt\"\n").unwrap();
    for name in ["checkpoint", "model.ckpt.meta", "model.ckpt.data-00000-of-00002"] {
        assert_eq!(Checkpoint::open(&folder.path().join(name)).unwrap().prefix(), prefix);
    }
}

/// What the writer makes anew of TensorFlow's own files is what TensorFlow wrote.
#[test]
fn written_as_tensorflow_writes() {
    let Some(data) = secateur_testing::data_dir() else { return };
    let folder = tempfile::tempdir().unwrap();
    for file in ["cifar-mobilenetv2/model.ckpt", "mnist-lowlevel/model.ckpt", "mtcnn-pnet/PNet-18"] {
        let prefix = data.join("frontends/tf1").join(file);
        let checkpoint = Checkpoint::open(&prefix).unwrap();
        let anew = folder.path().join("anew");
        checkpoint.write_anew(&anew).unwrap();
        for suffix in [".index", ".data-00000-of-00001"] {
            let [written, original] =
                [&anew, &prefix].map(|path| std::fs::read(suffixed(path, suffix)).unwrap());
            assert!(written == original, "{file}{suffix}");
        }
    }
}
