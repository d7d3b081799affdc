//! Writes a policy as a Hugging Face folder that appears whole, and replaces an older one only when it is whole.

use crate::fault::{Fault, Result};
use gradus_model::Model;
use gradus_ops::Backend;
use gradus_tensor::{OnExisting, StagedFolder, file_bytes, free_bytes, recover_folders, write_file};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Writes `folder`: new, empty, or a policy's folder that is replaced. A failed save leaves what was there.
pub fn save_folder<B: Backend>(model: &Model<B>, files: &[(String, Vec<u8>)], folder: &Path) -> Result<()> {
    model.refuse_quantised("saved")?;
    let folder = std::path::absolute(folder).map_err(|error| io_fault("find", folder, &error))?;
    let parent = folder.parent().unwrap_or(&folder);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    recover_folders(parent, |found| found == name).map_err(with_remedy)?;
    let is_filled = fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
    if folder.is_file() || (is_filled && !folder.join("config.json").is_file()) {
        let message =
            format!("{} is there already and holds no model; choose another folder or remove it", folder.display());
        return Err(Fault::new("exists", message));
    }
    fs::create_dir_all(parent).map_err(|error| io_fault("create", parent, &error))?;
    let needed = needed_bytes(model, files);
    let free = free_bytes(parent)?;
    if needed > free {
        return Err(gradus_tensor::Error::DiskFull { path: folder, needed, free }.into());
    }
    let staged = StagedFolder::create(&folder).map_err(with_remedy)?;
    model.save_weights(staged.path())?;
    for (name, bytes) in files {
        write_file(&staged.path().join(name), bytes)?;
    }
    staged.publish(OnExisting::Replace).map_err(with_remedy)
}

/// Bytes of the weights and of the other files; config.json is small beside them.
fn needed_bytes<B: Backend>(model: &Model<B>, files: &[(String, Vec<u8>)]) -> u64 {
    let weights = file_bytes(&model.parameters.tensor_specs(""), &BTreeMap::new());
    weights + files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>()
}

fn with_remedy(error: gradus_tensor::Error) -> Fault {
    match error {
        gradus_tensor::Error::Io { action, path, source } => io_fault(action, &path, &source),
        error => error.into(),
    }
}

fn io_fault(action: &str, path: &Path, error: &std::io::Error) -> Fault {
    let remedy = match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => "; a file is in the way, choose another folder",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "; choose a folder that you may write to",
        _ => "",
    };
    Fault::io(format!("cannot {action} {}: {error}{remedy}", path.display()), error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus_cpu::CpuBackend;
    use gradus_model::ModelConfig;
    use std::sync::Arc;

    const CONFIG: &str = r#"{
      "model_type": "qwen2", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
      "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 16, "tie_word_embeddings": true
    }"#;

    /// The state between the two renames of a replacement: the old folder is the only copy, and the new save fails.
    #[test]
    fn a_save_after_a_killed_one_starts_from_the_old_folder() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("out");
        for name in [".out.old-77", ".out.tmp-77"] {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join("config.json"), name).unwrap();
        }
        let backend = Arc::new(CpuBackend::new(Some(1)).unwrap());
        let model =
            Model::random(ModelConfig::from_json(CONFIG).unwrap(), backend, 1, gradus_ops::Precision::F32).unwrap();
        save_folder(&model, &[("no/such/folder".into(), Vec::new())], &target).unwrap_err();
        assert_eq!(fs::read_to_string(target.join("config.json")).unwrap(), ".out.old-77");
        save_folder(&model, &[], &target).unwrap();
        assert!(target.join("model.safetensors").is_file());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
