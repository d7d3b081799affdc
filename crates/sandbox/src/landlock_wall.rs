//! The second wall around files: Landlock lets a test read the sandbox's root, write below its working directory and
//! to /dev/null, and nothing else; it also forbids TCP, execution, and signals and abstract sockets to the outside.

use crate::error::{Error, Result};
use crate::rootfs::BOX;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};
use std::os::fd::OwnedFd;

/// The rules as a descriptor, to be enforced by each test on itself; `None` if the kernel has no Landlock.
/// Call it inside the sandbox's root.
pub fn ruleset() -> Result<Option<OwnedFd>> {
    build().map_err(|error| Error::Worker(format!("Landlock: {error}")))
}

fn build() -> std::result::Result<Option<OwnedFd>, landlock::RulesetError> {
    let abi = ABI::V6;
    // Best effort takes from the newest ABI what the kernel knows; execution is handled and granted nowhere.
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let execute: BitFlags<AccessFs> = AccessFs::Execute.into();
    let grants = [
        ("/", read),
        (BOX, AccessFs::from_all(abi) & !execute & !AccessFs::MakeChar & !AccessFs::MakeBlock),
        ("/dev/null", AccessFs::ReadFile | AccessFs::WriteFile),
    ];
    for (path, access) in grants {
        if let Ok(folder) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(folder, access))?;
        }
    }
    Ok(ruleset.into())
}
