//! Bytes from outside, whatever they are, are read or refused: the bodies of the fuzz targets, on stable Rust.

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::targets::{TARGETS, Target};
use crate::ground::{random, rounds};

/// Of one kind for each target; the long runs set AVOUCH_TEST_CASES.
const CASES: u32 = 2_000;
/// What parsers nest, repeat and reserve.
const DEEP: usize = 20_000;
/// What means something to a parser.
const MARKS: &[u8] = b"\"\\[]{}.:,=\n\r\0*>-9\xff";

#[test]
fn any_bytes_from_outside_are_read_or_refused() {
    for target in TARGETS {
        for seed in target.seeds {
            check(target, seed);
        }
        for text in ["[", "{\"a\":", "a.", "*.", "[a.", "a = [", "\"", "\\u", "\u{0}", "9"] {
            check(target, text.repeat(DEEP).as_bytes());
        }
        for _ in 0..rounds("AVOUCH_TEST_CASES", CASES) {
            let seed = target.seeds[index(target.seeds.len())];
            check(target, &mutated(seed));
            check(target, &(0..index(200)).map(|_| byte()).collect::<Vec<u8>>());
        }
    }
}

#[test]
fn every_fuzz_target_has_its_file() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = std::fs::read_to_string(dir.join("Cargo.toml")).expect("the fuzz crate has a manifest");
    for Target { name, .. } in TARGETS {
        let file = dir.join(format!("fuzz_targets/{name}.rs"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(text.contains(&format!("avouch_fuzz::{name}(data)")), "{name}: another function");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not built");
    }
}

fn check(target: &Target, data: &[u8]) {
    let ran = catch_unwind(AssertUnwindSafe(|| (target.run)(data)));
    assert!(ran.is_ok(), "target {} with {:?}", target.name, String::from_utf8_lossy(data));
}

/// A few bytes are changed, taken out, doubled, or come from elsewhere in the seed.
fn mutated(seed: &[u8]) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..=index(6) {
        if data.is_empty() {
            break;
        }
        let (from, to) = (index(data.len()), index(data.len()));
        match index(5) {
            0 => data[from] = byte(),
            1 => drop(data.remove(from)),
            2 => data.insert(from, MARKS[index(MARKS.len())]),
            3 => drop(data.splice(from..from, seed[..to.min(seed.len())].to_vec())),
            _ => data.truncate(to),
        }
    }
    data
}

fn byte() -> u8 {
    u8::try_from(random(256)).expect("is below 256")
}

fn index(below: usize) -> usize {
    usize::try_from(random(below as u64)).expect("is below a length")
}
