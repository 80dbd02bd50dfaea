//! Puts the contract where the bindings generator reads it, in a spelling that it can read.

use std::path::PathBuf;
use std::{env, fs, io};

/// The field of `seen` is named `record`, which is also a keyword of WIT and must be escaped to be a name.
const AS_WRITTEN: &str = "\n        record: option<seen-record>,";
/// The escape is no part of the name: both spellings are the same contract.
const AS_READ: &str = "\n        %record: option<seen-record>,";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=wit");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    let contract = fs::read_to_string("wit/rules.wit")?;
    fs::create_dir_all(out.join("wit"))?;
    fs::write(out.join("wit/rules.wit"), contract.replace(AS_WRITTEN, AS_READ))
}
