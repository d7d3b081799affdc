//! Checks folders that are replaced as a whole: every state a kill can leave is put right, and the only copy is never lost.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use gradus_tensor::{Error, OnExisting, StagedFolder, put_back_folder, recover_folders, remove_folder};

/// A folder whose two files say the same.
fn fill(path: &Path, content: &str) {
    fs::create_dir_all(path).unwrap();
    write_files(path, content);
}

fn write_files(path: &Path, content: &str) {
    fs::write(path.join("a"), content).unwrap();
    fs::write(path.join("b"), content).unwrap();
}

fn content(path: &Path) -> String {
    let [a, b] = ["a", "b"].map(|name| fs::read_to_string(path.join(name)).unwrap());
    assert_eq!(a, b, "the folder is not whole");
    a
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn replace(target: &Path, content: &str) -> gradus_tensor::Result<()> {
    let staged = StagedFolder::create(target)?;
    write_files(staged.path(), content);
    staged.publish(OnExisting::Replace)
}

#[test]
fn a_folder_appears_is_refused_and_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("model.v1");
    drop(StagedFolder::create(&target).unwrap());
    assert_eq!(names(root.path()), Vec::<String>::new());
    replace(&target, "1").unwrap();
    let staged = StagedFolder::create(&target).unwrap();
    write_files(staged.path(), "2");
    assert!(matches!(staged.publish(OnExisting::Refuse), Err(Error::Exists { .. })));
    assert_eq!((content(&target), names(root.path())), ("1".to_owned(), vec!["model.v1".to_owned()]));
    replace(&target, "3").unwrap();
    assert_eq!((content(&target), names(root.path())), ("3".to_owned(), vec!["model.v1".to_owned()]));
    remove_folder(&target).unwrap();
    assert_eq!(names(root.path()), Vec::<String>::new());
}

/// Each state that a kill can leave while "new" replaces "old", what is read then, and what the next save starts from.
#[test]
fn every_state_that_a_kill_leaves_is_put_right() {
    let states: [(&[(&str, &str)], &str); 5] = [
        (&[("model", "old"), (".model.tmp-77", "part")], "old"),
        (&[(".model.old-77", "old"), (".model.tmp-77", "new")], "old"),
        (&[(".model.old-77", "old")], "old"),
        (&[("model", "new"), (".model.old-77", "old")], "new"),
        (&[("model", "new")], "new"),
    ];
    for (state, expected) in states {
        let root = tempfile::tempdir().unwrap();
        // What belongs to others, or to nobody, is left alone.
        let others = [".model.old", ".model.old-x", ".model.new-77", ".other.old-77", ".other.tmp-77", "other"];
        for (name, text) in state.iter().copied().chain(others.map(|name| (name, "other"))) {
            fill(&root.path().join(name), text);
        }
        fs::write(root.path().join(".model.tmp-78"), "a file").unwrap();
        let target = root.path().join("model");
        put_back_folder(&target).unwrap();
        assert_eq!(content(&target), expected, "read after {state:?}");
        let unread: Vec<&str> = state.iter().map(|(name, _)| *name).filter(|name| name.contains("tmp")).collect();
        assert!(unread.iter().all(|name| root.path().join(name).exists()), "a reader removed something");
        recover_folders(root.path(), |name| name == "model").unwrap();
        assert_eq!(content(&target), expected, "saved after {state:?}");
        let mut left = [&others[..], &["model", ".model.tmp-78"]].concat();
        left.sort_unstable();
        assert_eq!(names(root.path()), left, "after {state:?}");
    }
}

#[test]
fn recovery_alone_puts_back_and_nothing_is_no_error() {
    let root = tempfile::tempdir().unwrap();
    fill(&root.path().join(".model.old-77"), "old");
    recover_folders(root.path(), |_| true).unwrap();
    assert_eq!(content(&root.path().join("model")), "old");
    let nowhere = root.path().join("nowhere");
    put_back_folder(&nowhere).unwrap();
    put_back_folder(&nowhere.join("deep")).unwrap();
    recover_folders(&nowhere, |_| true).unwrap();
    assert_eq!(names(root.path()), ["model"]);
}

#[test]
fn a_failed_replacement_leaves_the_old_folder() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("model");
    fill(&target, "old");
    let staged = StagedFolder::create(&target).unwrap();
    fs::remove_dir(staged.path()).unwrap();
    staged.publish(OnExisting::Replace).unwrap_err();
    assert_eq!((content(&target), names(root.path())), ("old".to_owned(), vec!["model".to_owned()]));
}

/// Kills a process that replaces the folder again and again, at whatever it is doing: a whole folder is always there.
#[test]
fn a_killed_replacement_never_costs_the_folder() {
    const CHILD: &str = "GRADUS_TEST_REPLACED_FOLDER";
    if let Ok(target) = std::env::var(CHILD) {
        let target = Path::new(&target);
        for round in 0_u64.. {
            recover_folders(target.parent().unwrap(), |_| true).unwrap();
            replace(target, &round.to_string()).unwrap();
            eprintln!("{round}");
        }
    }
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("model");
    fill(&target, "first");
    for round in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "a_killed_replacement_never_costs_the_folder"])
            .env(CHILD, &target)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert_eq!(lines.take(1 + round % 5).map(Result::unwrap).count(), 1 + round % 5);
        child.kill().unwrap();
        child.wait().unwrap();
        put_back_folder(&target).unwrap();
        content(&target);
    }
}
