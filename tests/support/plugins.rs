//! The plugins of this repository as WebAssembly, built before the tests by `make test`.

use std::path::PathBuf;

use crate::scratch;

/// The file of a plugin, such as `order-check`.
pub fn file(name: &str) -> PathBuf {
    let file = scratch::target_dir()
        .join("guests/wasm32-unknown-unknown/guest")
        .join(format!("{}.wasm", name.replace('-', "_")));
    assert!(file.is_file(), "no {}: run `make guests`", file.display());
    file
}
