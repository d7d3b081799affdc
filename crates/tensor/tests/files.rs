//! Checks reading and writing of safetensors against files made by the format's own library, and every way a file can be wrong.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gradus_tensor::{Checkpoint, Error, SafetensorsWriter, TensorSpec, file_bytes};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

const VALUES: [f32; 6] = [0.0, -0.0, 1.5, -3.25, f32::MIN_POSITIVE, 1.0e30];

/// One tensor `weight` of shape [3, 2] in the given dtype, by the format's own library.
fn reference_file(path: &Path, dtype: Dtype) -> Vec<f32> {
    let (bytes, widened): (Vec<u8>, Vec<f32>) = match dtype {
        Dtype::BF16 => {
            let values = VALUES.map(bf16::from_f32);
            (values.iter().flat_map(|v| v.to_le_bytes()).collect(), values.map(bf16::to_f32).to_vec())
        }
        Dtype::F16 => {
            let values = VALUES.map(f16::from_f32);
            (values.iter().flat_map(|v| v.to_le_bytes()).collect(), values.map(f16::to_f32).to_vec())
        }
        _ => (VALUES.iter().flat_map(|v| v.to_le_bytes()).collect(), VALUES.to_vec()),
    };
    let view = TensorView::new(dtype, vec![3, 2], &bytes).unwrap();
    serialize_to_file([("weight", view)], None, path).unwrap();
    widened
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn open_error(folder: &Path) -> Error {
    Checkpoint::open(folder).err().expect("the folder should be refused")
}

#[test]
fn reads_every_float_dtype_of_a_reference_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for dtype in [Dtype::F32, Dtype::BF16, Dtype::F16] {
        let expected = reference_file(&path, dtype);
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["weight"]);
        assert_eq!(checkpoint.shape("weight").unwrap(), [3, 2]);
        assert_eq!(bits(&checkpoint.read_f32("weight", &[3, 2]).unwrap()), bits(&expected));
        let mut rows = vec![9.0];
        checkpoint.read_f32_rows("weight", &[3, 2], 1..3, &mut rows).unwrap();
        assert_eq!(bits(&rows), bits(&expected[2..]));
    }
}

#[test]
fn written_files_are_read_by_the_reference_library() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let specs = vec![TensorSpec::new("b", [2, 3]), TensorSpec::new("empty", [0]), TensorSpec::new("a", [1])];
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let expected_bytes = file_bytes(&specs, &metadata);
    let mut writer = SafetensorsWriter::create(&path, specs, &metadata).unwrap();
    writer.write_f32("b", &VALUES[..2]).unwrap();
    writer.write_f32("b", &VALUES[2..]).unwrap();
    writer.write_f32("a", &[7.0]).unwrap();
    assert!(!path.exists(), "the final name must not exist before finish");
    writer.finish().unwrap();

    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, expected_bytes);
    let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let data: Vec<u8> = VALUES.iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(reference.tensor("b").unwrap().data(), data);
    assert_eq!(reference.tensor("a").unwrap().shape(), [1]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(bits(&checkpoint.read_f32("b", &[2, 3]).unwrap()), bits(&VALUES));
    assert_eq!(checkpoint.read_f32("empty", &[0]).unwrap(), Vec::<f32>::new());
    assert_eq!(checkpoint.metadata(), &metadata);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file may stay");
}

#[test]
fn bf16_tensors_are_rounded_as_the_reference_rounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let specs = vec![TensorSpec::bf16("rounded", [3, 2]), TensorSpec::new("exact", [1])];
    let expected_bytes = file_bytes(&specs, &BTreeMap::new());
    let mut writer = SafetensorsWriter::create(&path, specs, &BTreeMap::new()).unwrap();
    writer.write_f32("rounded", &VALUES[..4]).unwrap();
    writer.write_f32("rounded", &VALUES[4..]).unwrap();
    writer.write_f32("exact", &[1.0e30]).unwrap();
    writer.finish().unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, expected_bytes);
    let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let rounded = reference.tensor("rounded").unwrap();
    let data: Vec<u8> = VALUES.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect();
    assert_eq!((rounded.dtype(), rounded.data()), (Dtype::BF16, data.as_slice()));
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(bits(&checkpoint.read_f32("exact", &[1]).unwrap()), bits(&[1.0e30]));
}

#[test]
fn unfinished_or_misordered_files_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let create = || {
        let specs = vec![TensorSpec::new("a", [2]), TensorSpec::new("b", [2])];
        SafetensorsWriter::create(&path, specs, &BTreeMap::new()).unwrap()
    };
    let mut unfinished = create();
    unfinished.write_f32("a", &[1.0]).unwrap();
    assert!(unfinished.finish().unwrap_err().to_string().ends_with("1 of 2 values of a were given"));
    assert!(create().write_f32("b", &[1.0]).unwrap_err().to_string().ends_with("values for b while a is due"));
    assert!(create().write_f32("a", &[1.0; 3]).unwrap_err().to_string().ends_with("more than the 2 values of a"));
    drop(create());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn shards_are_read_through_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let expected = reference_file(&folder.path().join("model-00001-of-00001.safetensors"), Dtype::F32);
    let index = folder.path().join("model.safetensors.index.json");
    let write_index = |text: &str| fs::write(&index, text).unwrap();
    write_index(r#"{"weight_map": {"weight": "model-00001-of-00001.safetensors"}}"#);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(bits(&checkpoint.read_f32("weight", &[3, 2]).unwrap()), bits(&expected));

    write_index(r#"{"weight_map": {"weight": "model-00002-of-00002.safetensors"}}"#);
    assert!(matches!(open_error(folder.path()), Error::MissingShard { .. }));
    write_index(r#"{"weight_map": {"bias": "model-00001-of-00001.safetensors"}}"#);
    assert!(matches!(open_error(folder.path()), Error::MissingTensor { .. }));
    write_index(r#"{"weight_map": {"weight": "../outside.safetensors"}}"#);
    assert!(matches!(open_error(folder.path()), Error::Damaged { .. }));
    write_index(r#"{"weight_map""#);
    assert!(matches!(open_error(folder.path()), Error::Damaged { .. }));
}

#[test]
fn every_truncation_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    reference_file(&path, Dtype::F32);
    let whole = fs::read(&path).unwrap();
    for bytes in 0..whole.len() {
        fs::write(&path, &whole[..bytes]).unwrap();
        let error = open_error(folder.path());
        assert!(matches!(error, Error::Damaged { .. }), "{bytes} bytes: {error}");
        assert!(error.to_string().contains("model.safetensors is not a whole safetensors file"));
    }
    let mut longer = whole;
    longer.push(0);
    fs::write(&path, &longer).unwrap();
    assert!(matches!(open_error(folder.path()), Error::Damaged { .. }));
}

#[test]
fn wrong_requests_name_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(open_error(folder.path()), Error::NoWeights { .. }));
    let path = folder.path().join("model.safetensors");
    let ids = [1u8; 8];
    let view = TensorView::new(Dtype::I64, vec![1], &ids).unwrap();
    serialize_to_file([("ids", view)], None, &path).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let message = |result: Result<Vec<f32>, Error>| result.unwrap_err().to_string();
    let place = path.display();
    assert_eq!(
        message(checkpoint.read_f32("ids", &[1])),
        format!("tensor ids in {place} has dtype I64, expected F32, BF16 or F16")
    );
    assert_eq!(
        message(checkpoint.read_f32("ids", &[1, 1])),
        format!("tensor ids in {place} has shape [1], expected [1, 1]")
    );
    assert_eq!(message(checkpoint.read_f32("weight", &[1])), format!("tensor weight is not in {place}"));
    let mut values = Vec::new();
    assert!(matches!(checkpoint.read_f32_rows("ids", &[1], 0..2, &mut values), Err(Error::Rows { .. })));
}

/// The write limit of a process stands for a full disk: the same system call fails in the same place. The limit is set by the
/// shell, so this test starts its own executable again under it.
#[test]
fn a_write_past_the_limit_names_the_file_and_leaves_nothing() {
    const CHILD: &str = "GRADUS_TEST_LIMITED_FOLDER";
    if let Ok(folder) = std::env::var(CHILD) {
        let path = Path::new(&folder).join("model.safetensors");
        let specs = vec![TensorSpec::new("large", [64, 1024])];
        let mut writer = SafetensorsWriter::create(&path, specs, &BTreeMap::new()).unwrap();
        let error = writer.write_f32("large", &vec![1.0; 64 * 1024]).unwrap_err();
        assert!(matches!(error, Error::FileLimit { .. }), "{error}");
        assert!(error.to_string().contains("model.safetensors: the file may not grow to 262"), "{error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("bash")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact a_write_past_the_limit_names_the_file_and_leaves_nothing",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, folder.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "the limited process failed");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a failed write must leave nothing");
}
