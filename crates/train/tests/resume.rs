//! Checks checkpoints with a policy: a resumed trainer goes on bit for bit, a failed or killed save changes nothing.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod tiny;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gradus_cpu::CpuBackend;
use gradus_model::Model;
use gradus_ops::Precision;
use gradus_train::{
    Error, LoadedCheckpoint, OnExisting, SaveRequest, Trainer, latest_good, load_checkpoint, save_checkpoint,
    verify_checkpoint,
};
use tiny::{backend, batch, model, model_in, options, request, save, weight_bits};

fn train(model: &mut Model<CpuBackend>, trainer: &mut Trainer<CpuBackend>, steps: std::ops::Range<u64>) -> Vec<u64> {
    let step = |step| {
        let metrics = trainer.step(model, &batch(step, &[12, 7, 20]), &options()).unwrap();
        metrics.loss.to_bits()
    };
    steps.map(step).collect()
}

fn load(path: &Path) -> LoadedCheckpoint<CpuBackend> {
    load_checkpoint(&verify_checkpoint(path).unwrap(), backend(), None).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_resumed_trainer_goes_on_bit_for_bit() {
    for precision in [Precision::F32, Precision::Bf16] {
        check_resume(precision);
    }
}

fn check_resume(precision: Precision) {
    let folder = tempfile::tempdir().unwrap();
    let (mut unbroken, mut trainer) = (model_in(11, precision), Trainer::new());
    let mut losses = train(&mut unbroken, &mut trainer, 0..5);
    let fifth = save(&unbroken, &trainer, folder.path(), 5).unwrap();
    losses.extend(train(&mut unbroken, &mut trainer, 5..10));
    let tenth = save(&unbroken, &trainer, folder.path(), 10).unwrap();

    let LoadedCheckpoint { mut model, mut trainer, recipe_json, manifest, warnings } = load(&fifth);
    assert_eq!((model.precision, manifest.dtype.as_str()), (precision, precision.name()));
    assert_eq!((trainer.steps(), recipe_json.as_str(), warnings.len()), (5, r#"{"stage": 1}"#, 0));
    assert_eq!((manifest.step, manifest.device_kind.as_str(), manifest.commit.as_deref()), (5, "cpu", Some("abc")));
    assert_eq!(train(&mut model, &mut trainer, 5..10), losses[5..]);
    assert_eq!(weight_bits(&model), weight_bits(&unbroken));
    let again = tempfile::tempdir().unwrap();
    let redone = save(&model, &trainer, again.path(), 10).unwrap();
    // Moments are compared as the bytes of their file; the whole folders are equal.
    for name in names(&tenth) {
        assert_eq!(fs::read(tenth.join(&name)).unwrap(), fs::read(redone.join(&name)).unwrap(), "{name} differs");
    }
}

#[test]
fn a_policy_that_made_no_step_is_saved_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(&model(2), &Trainer::new(), folder.path(), 0).unwrap();
    let LoadedCheckpoint { mut model, mut trainer, .. } = load(&path);
    assert_eq!(trainer.steps(), 0);
    let (mut fresh, mut fresh_trainer) = (tiny::model(2), Trainer::new());
    assert_eq!(train(&mut model, &mut trainer, 0..2), train(&mut fresh, &mut fresh_trainer, 0..2));
    assert_eq!(weight_bits(&model), weight_bits(&fresh));
}

#[test]
fn the_folder_holds_what_the_manifest_says() {
    let folder = tempfile::tempdir().unwrap();
    let extra = [("tokenizer.json".to_owned(), b"{}".to_vec())];
    let checkpoints = folder.path().join("deep/checkpoints");
    let request = SaveRequest { extra_files: &extra, ..request(&checkpoints, 3) };
    let path = save_checkpoint(&model(1), &Trainer::new(), &request).unwrap();
    let files = ["config.json", "model.safetensors", "optimizer.safetensors", "recipe.json", "tokenizer.json"];
    let manifest = verify_checkpoint(&path).unwrap().manifest;
    assert_eq!(manifest.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), files);
    assert_eq!(names(&path).len(), files.len() + 1);
    for file in &manifest.files {
        let content = fs::read(path.join(&file.name)).unwrap();
        assert_eq!((file.bytes, &file.blake3), (content.len() as u64, &blake3::hash(&content).to_hex().to_string()));
    }
    assert_eq!(names(path.parent().unwrap()), ["step-3"]);
}

#[test]
fn an_existing_checkpoint_is_replaced_only_by_a_redone_step() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, mut trainer) = (model(1), Trainer::new());
    let path = save(&model, &trainer, folder.path(), 4).unwrap();
    let before = fs::read(path.join("manifest.json")).unwrap();
    train(&mut model, &mut trainer, 0..1);
    assert!(matches!(save(&model, &trainer, folder.path(), 4), Err(Error::Exists { .. })));
    assert_eq!(fs::read(path.join("manifest.json")).unwrap(), before);
    let redo = SaveRequest { on_existing: OnExisting::Replace, ..request(folder.path(), 4) };
    save_checkpoint(&model, &trainer, &redo).unwrap();
    assert_eq!(load(&path).trainer.steps(), 1);
    assert_eq!(names(folder.path()), ["step-4"]);
}

#[test]
fn a_damaged_newest_checkpoint_gives_way_to_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let (mut model, mut trainer) = (model(1), Trainer::new());
    for step in 1..=2 {
        train(&mut model, &mut trainer, step..step + 1);
        save(&model, &trainer, folder.path(), step).unwrap();
    }
    let weights = folder.path().join("step-2/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let latest = latest_good(folder.path()).unwrap();
    assert_eq!(load_checkpoint(&latest.checkpoint.unwrap(), backend(), None).unwrap().trainer.steps(), 1);
    assert!(latest.warnings[0].contains("the content of model.safetensors is not what its manifest says"));
    assert_eq!(names(folder.path()), ["step-1", "step-2.damaged"]);
}

/// The limit stands for a full disk: the write fails in the middle of the weights. The shell sets it for a second process.
#[test]
fn a_save_that_runs_out_of_space_leaves_nothing() {
    const CHILD: &str = "GRADUS_TEST_LIMITED_FOLDER";
    if let Ok(folder) = std::env::var(CHILD) {
        let message = save(&model(1), &Trainer::new(), Path::new(&folder), 2).unwrap_err().to_string();
        assert!(message.contains("model.safetensors: the file may not grow to"), "{message}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    save(&model(1), &Trainer::new(), folder.path(), 1).unwrap();
    let status = Command::new("bash")
        .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" --exact a_save_that_runs_out_of_space_leaves_nothing"])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, folder.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "the limited process failed");
    assert_eq!(names(folder.path()), ["step-1"]);
    verify_checkpoint(&folder.path().join("step-1")).unwrap();
}

/// Kills a process again and again at whatever write it is in; every time the newest checkpoint is whole.
#[test]
fn a_killed_save_never_costs_a_good_checkpoint() {
    const CHILD: &str = "GRADUS_TEST_KILLED_FOLDER";
    if let Ok(folder) = std::env::var(CHILD) {
        let (model, trainer) = (model(1), Trainer::new());
        loop {
            let redo = SaveRequest { on_existing: OnExisting::Replace, ..request(Path::new(&folder), 7) };
            save_checkpoint(&model, &trainer, &redo).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    save(&model(1), &Trainer::new(), folder.path(), 7).unwrap();
    for round in 0..10u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_save_never_costs_a_good_checkpoint"])
            .env(CHILD, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_for_changes(folder.path(), 3 + round, &mut child);
        child.kill().unwrap();
        child.wait().unwrap();
        let latest = latest_good(folder.path()).unwrap();
        assert_eq!(latest.warnings, Vec::<String>::new(), "round {round}");
        assert_eq!(latest.checkpoint.unwrap().manifest.step, 7);
        assert_eq!(names(folder.path()), ["step-7"], "round {round}");
    }
}

/// Watches the folder until `count` changes of its listing were seen, so that kills fall at different moments without a clock.
fn wait_for_changes(folder: &Path, count: u64, child: &mut Child) {
    let listing = || {
        let visit = |path: PathBuf| (path.clone(), fs::read_dir(path).map_or(0, Iterator::count));
        let mut all: Vec<_> = fs::read_dir(folder).unwrap().flatten().map(|entry| visit(entry.path())).collect();
        all.sort();
        all
    };
    let (mut changes, mut last) = (0, listing());
    while changes < count {
        assert!(child.try_wait().unwrap().is_none(), "the saving process ended by itself");
        let now = listing();
        if now != last {
            (changes, last) = (changes + 1, now);
        }
    }
}
