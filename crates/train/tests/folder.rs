//! Checks the checkpoints folder without a policy: finding the newest good one, damage, leftovers of killed saves, pruning.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use gradus_train::{Error, latest_good, list_checkpoints, prune_checkpoints, verify_checkpoint};

const FILES: [(&str, &str); 4] = [
    ("config.json", "{}"),
    ("model.safetensors", "weights"),
    ("optimizer.safetensors", "moments"),
    ("recipe.json", r#"{"step":1}"#),
];

/// A checkpoint made by hand: four files and a manifest with their sizes and hashes.
fn plant(folder: &Path, name: &str, step: u64) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir(&path).unwrap();
    let files: Vec<serde_json::Value> = FILES
        .iter()
        .map(|(name, text)| {
            fs::write(path.join(name), text).unwrap();
            let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
            serde_json::json!({ "name": name, "bytes": text.len(), "blake3": hash })
        })
        .collect();
    let manifest = serde_json::json!({
        "format_version": 1, "contract_version": 1, "step": step, "device_kind": "cpu", "level": "avx2",
        "commit": null, "config_hash": null, "files": files,
    });
    fs::write(path.join("manifest.json"), manifest.to_string()).unwrap();
    path
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Step of the newest good checkpoint, and the warnings.
fn latest(folder: &Path) -> (Option<u64>, Vec<String>) {
    let latest = latest_good(folder).unwrap();
    (latest.checkpoint.map(|checkpoint| checkpoint.manifest.step), latest.warnings)
}

#[test]
fn the_highest_number_is_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    assert_eq!(latest(&root.join("nowhere")), (None, vec![]));
    assert_eq!(latest(root), (None, vec![]));
    for step in [9, 10, 2] {
        plant(root, &format!("step-{step}"), step);
    }
    fs::write(root.join("step-99"), "a file is no checkpoint").unwrap();
    fs::create_dir(root.join("step-007")).unwrap();
    assert_eq!(latest(root), (Some(10), vec![]));
    let steps: Vec<u64> = list_checkpoints(root).unwrap().into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [2, 9, 10]);
}

/// A change that makes a checkpoint unfit, and the words that tell of it.
type Damage = (fn(&Path), &'static str);

#[test]
fn every_kind_of_damage_falls_back_with_a_warning() {
    let damages: [Damage; 7] = [
        (|path| fs::write(path.join("model.safetensors"), "weight").unwrap(), "model.safetensors has 6 bytes"),
        (|path| fs::write(path.join("model.safetensors"), "Weights").unwrap(), "the content of model.safetensors"),
        (|path| fs::remove_file(path.join("optimizer.safetensors")).unwrap(), "optimizer.safetensors is missing"),
        (|path| fs::write(path.join("recipe.json"), "").unwrap(), "recipe.json has 0 bytes"),
        (|path| fs::remove_file(path.join("manifest.json")).unwrap(), "it has no manifest.json"),
        (|path| fs::write(path.join("manifest.json"), "{").unwrap(), "its manifest.json cannot be read"),
        (|path| edit_manifest(path, "\"config.json\"", "\"other.json\""), "its manifest does not name config.json"),
    ];
    for (damage, words) in damages {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        plant(root, "step-4", 4);
        damage(&plant(root, "step-5", 5));
        let (step, warnings) = latest(root);
        assert_eq!(step, Some(4), "{words}");
        assert_eq!(warnings.len(), 1, "{words}");
        assert!(
            warnings[0].contains(words) && warnings[0].ends_with("it was set aside as step-5.damaged"),
            "{warnings:?}"
        );
        assert_eq!(names(root), ["step-4", "step-5.damaged"]);
        // The same step damaged once more gets another name, and the older one is used again.
        damage(&plant(root, "step-5", 5));
        assert!(latest(root).1[0].ends_with("step-5.damaged-2"));
        assert_eq!(latest(root), (Some(4), vec![]));
    }
}

fn edit_manifest(path: &Path, from: &str, to: &str) {
    let manifest = path.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace(from, to)).unwrap();
}

#[test]
fn another_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = plant(folder.path(), "step-5", 5);
    edit_manifest(&path, "\"format_version\":1", "\"format_version\":2");
    assert!(matches!(latest_good(folder.path()), Err(Error::Format { found: 2, expected: 1, .. })));
    assert_eq!(names(folder.path()), ["step-5"]);
    assert!(matches!(verify_checkpoint(folder.path()), Err(Error::NotACheckpoint { .. })));
}

#[test]
fn leftovers_of_killed_saves_are_cleaned() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    plant(root, "step-1", 1);
    // Killed while writing step 2; while replacing step 3, before and after the new one got its name.
    plant(root, ".step-2.tmp-77", 2);
    fs::remove_file(root.join(".step-2.tmp-77/manifest.json")).unwrap();
    plant(root, ".step-3.old-77", 3);
    assert_eq!(latest(root), (Some(3), vec![]));
    assert_eq!(names(root), ["step-1", "step-3"]);
    plant(root, ".step-3.old-77", 3);
    assert_eq!(latest(root), (Some(3), vec![]));
    assert_eq!(names(root), ["step-1", "step-3"]);
}

#[test]
fn pruning_keeps_the_last_and_the_protected() {
    let folder = tempfile::tempdir().unwrap();
    for step in 1..=5 {
        plant(folder.path(), &format!("step-{step}"), step);
    }
    assert_eq!(prune_checkpoints(folder.path(), 2, &[2]).unwrap(), [1, 3]);
    assert_eq!(names(folder.path()), ["step-2", "step-4", "step-5"]);
    assert_eq!(prune_checkpoints(folder.path(), 0, &[]).unwrap(), [2, 4]);
    assert_eq!(names(folder.path()), ["step-5"]);
    assert_eq!(prune_checkpoints(folder.path(), 1, &[]).unwrap(), Vec::<u64>::new());
}

#[test]
fn pruning_never_removes_the_only_good_one() {
    let folder = tempfile::tempdir().unwrap();
    for step in 1..=4 {
        let path = plant(folder.path(), &format!("step-{step}"), step);
        if step != 2 {
            fs::write(path.join("model.safetensors"), "").unwrap();
        }
    }
    assert_eq!(prune_checkpoints(folder.path(), 1, &[]).unwrap(), [1, 3]);
    assert_eq!(names(folder.path()), ["step-2", "step-4"]);
    fs::write(folder.path().join("step-2/config.json"), "").unwrap();
    assert_eq!(prune_checkpoints(folder.path(), 1, &[]).unwrap(), Vec::<u64>::new());
    assert_eq!(names(folder.path()), ["step-2", "step-4"]);
}
