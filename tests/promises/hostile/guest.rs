//! Guests in WebAssembly text: the contract done by hand, so that each part of it can be done wrong.

use std::path::Path;

use wit_component::StringEncoding;
use wit_parser::Resolve;

/// A core module of the world `check-back-plugin`. The parts are WebAssembly text.
///
/// `check` has the parameters of a flattened `transaction`, and returns where its answer is: at 0 whether it is an error,
/// at 4 which verdict or error, at 8 and 12 what belongs to it.
pub struct Guest {
    pub name: &'static str,
    pub imports: String,
    pub memory: String,
    pub items: String,
    pub realloc: String,
    pub check: String,
    /// The manifest after its name and version.
    pub manifest: String,
}

pub const LOG: &str = r#"(import "avouch:rules/log@1.0.0" "write" (func $log (param i32 i32 i32)))"#;
pub const CLOCK: &str = r#"(import "avouch:rules/clock@1.0.0" "now-ms" (func $now (result i64)))"#;
pub const SQL: &str = r#"(import "avouch:rules/sql@1.0.0" "query" (func $query (param i32 i32 i32 i32 i32 i32 i32)))"#;
pub const HTTP: &str = r#"(import "avouch:rules/http@1.0.0" "send"
    (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;
/// Commit, from memory that nobody has touched.
const COMMIT: &str = "(i32.const 1024)";
const REALLOC: &str = "(local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (local.get $at)";

impl Guest {
    /// Commits.
    pub fn good() -> Self {
        Self {
            name: "guest",
            imports: String::new(),
            memory: "(memory (export \"memory\") 32)".into(),
            items: String::new(),
            realloc: REALLOC.into(),
            check: COMMIT.into(),
            manifest: String::new(),
        }
    }

    /// Does this instead; what it leaves on the stack is where the answer is.
    pub fn checking(check: &str) -> Self {
        Self { check: check.into(), ..Self::good() }
    }

    /// The same, after these imports.
    pub fn importing(imports: &str, check: &str) -> Self {
        Self { imports: imports.into(), ..Self::checking(check) }
    }

    /// Answers with this verdict or error.
    pub fn answering(error: u32, which: u32, first: u32, second: u32) -> Self {
        let stores: String = [error, which, first, second]
            .iter()
            .zip([0, 4, 8, 12])
            .map(|(value, at)| format!("(i32.store (i32.const {}) (i32.const {value}))", 2048 + at))
            .collect();
        Self::checking(&format!("{stores} (i32.const 2048)"))
    }

    /// Runs the statement that the reference names, with `attempt` nulls as parameters: rolls back with the first row as the
    /// reason, commits without rows, and hands on errors.
    pub fn querying(statements: &[(&str, &str)]) -> Self {
        let mut manifest = String::from("[sql.db]\n");
        for (name, sql) in statements {
            manifest.push_str(&format!("{name} = {}\n", serde_json::json!(sql)));
        }
        let check = r#"
            (call $query (i32.const 512) (i32.const 2) (local.get $ref) (local.get $ref_len)
                (i32.const 4096) (local.get $attempt) (i32.const 2048))
            (if (i32.eqz (i32.load8_u (i32.const 2048)))
                (then
                    (if (i32.eqz (i32.load (i32.const 2056))) (then (return (i32.const 1024))))
                    (i32.store (i32.const 2060) (i32.load offset=4 (i32.load (i32.const 2052))))
                    (i32.store (i32.const 2056) (i32.load (i32.load (i32.const 2052))))
                    (i32.store (i32.const 2052) (i32.const 1))))
            (i32.const 2048)"#;
        let items = "(data (i32.const 512) \"db\")".into();
        Self { manifest, items, ..Self::importing(SQL, check) }
    }

    /// Under this name.
    pub fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// The core module, without component type and manifest.
    pub fn core(&self) -> Vec<u8> {
        let Self { imports, memory, items, realloc, check, .. } = self;
        let text = format!(
            r#"(module {imports} {memory}
                (global $next (mut i32) (i32.const 65536))
                (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                (func $check (export "avouch:rules/check-back@1.0.0#check")
                    (param $id i32) (param $id_len i32) (param $checker i32) (param $checker_len i32)
                    (param $ref_is i32) (param $ref i32) (param $ref_len i32) (param $age i64)
                    (param $attempt i32) (param $count i32) (param $messages i32) (param $messages_len i32)
                    (result i32) (local $i i32) {check})
                {items})"#
        );
        wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The file as a team would give it.
    pub fn wasm(&self) -> Vec<u8> {
        let text = format!("name = \"{}\"\nversion = \"1\"\n{}", self.name, self.manifest);
        with_manifest(typed(self.core()), text.as_bytes())
    }
}

/// With the component type of the contract.
pub fn typed(mut core: Vec<u8>) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/wit");
    let (package, _) = resolve.push_path(&wit).expect("the contract can be read");
    let world = resolve.select_world(&[package], Some("check-back-plugin")).expect("the contract has it");
    wit_component::embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8, false)
        .expect("a module takes a section");
    core
}

/// With a manifest.
pub fn with_manifest(mut wasm: Vec<u8>, manifest: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"avouch:manifest";
    wasm.push(0);
    wasm.extend(leb(1 + NAME.len() + manifest.len()));
    wasm.extend(leb(NAME.len()));
    wasm.extend(NAME);
    wasm.extend(manifest);
    wasm
}

/// A component in text, with a fine manifest.
pub fn component(text: &str) -> Vec<u8> {
    let wasm = wat::parse_str(text).unwrap_or_else(|e| panic!("{e}"));
    with_manifest(wasm, b"name = \"guest\"\nversion = \"1\"")
}

fn leb(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(n & 0x7f).expect("it has seven bits");
        n >>= 7;
        bytes.push(if n == 0 { low } else { low | 0x80 });
        if n == 0 {
            return bytes;
        }
    }
}
