//! `sspc policy codegen` and `sspc policy schema`

use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::{Stderr, assert_exit, run, run_with, signal, sspc, text, wait};

/// Names that are no identifiers, or the same ones, or would end a literal.
const NAMES: [&str; 10] = [
    "mintest",
    "__default",
    "a-b",
    "a_b",
    "self",
    "type",
    "4u",
    "é",
    r#"q"\??/"#,
    "api.amazon.com",
];

fn policy() -> String {
    let streamtype = |name: &&str| {
        serde_json::json!({ *name: { "endpoint": "e", "port": 1,
            "metadata": [{ "a-b": "" }, { "a_b": "" }, { "x\"\\??/": "" }] } })
    };
    let streamtypes: Vec<_> = NAMES.iter().map(streamtype).collect();
    serde_json::json!({ "s": streamtypes }).to_string()
}

fn generated(language: &str, policy: &str) -> String {
    let output = run_with(&["policy", "codegen", language, "-"], policy.as_bytes());
    assert_exit(&output, 0);
    text(&output.stdout)
}

/// What a program prints that is compiled with this.
fn compiled(mut compiler: Command, source: &Path) -> Vec<String> {
    let program = source.with_extension("out");
    let output = compiler.arg(source).arg("-o").arg(&program).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text(&output.stderr), "", "warnings");
    let output = Command::new(program).output().unwrap();
    assert!(output.status.success());
    text(&output.stdout).lines().map(str::to_owned).collect()
}

/// All of the names, each once, and the metadata of each.
fn assert_all(mut printed: Vec<String>) {
    let metadata = ["a-b", "a_b", "x\"\\??/"];
    let mut expected: Vec<&str> = NAMES.iter().flat_map(|_| metadata).chain(NAMES).collect();
    expected.sort_unstable();
    printed.sort_unstable();
    assert_eq!(printed, expected);
}

#[test]
fn constants_of_rust_compile_and_are_the_names() {
    let dir = tempfile::tempdir().unwrap();
    let module = generated("--rust", &policy());
    let (mut prints, mut outer) = (String::new(), "");
    for line in module.lines() {
        if let Some(name) = line.strip_prefix("pub mod ") {
            outer = name.trim_end_matches(" {");
        } else if let Some((name, _)) =
            line.trim_start().strip_prefix("pub const ").and_then(|line| line.split_once(':'))
        {
            prints.push_str(&format!("    println!(\"{{}}\", names::{outer}::{name});\n"));
        }
    }
    std::fs::write(dir.path().join("names.rs"), &module).unwrap();
    let main = dir.path().join("main.rs");
    std::fs::write(&main, format!("mod names;\nfn main() {{\n{prints}}}\n")).unwrap();
    let mut compiler = Command::new("rustc");
    compiler.args(["--edition", "2024"]);
    assert_all(compiled(compiler, &main));
}

#[test]
fn constants_of_c_compile_and_are_the_names() {
    let dir = tempfile::tempdir().unwrap();
    let header = generated("--c", &policy());
    let names = header.lines().filter_map(|line| line.strip_prefix("#define SS_"));
    let names = names.filter_map(|line| line.split_once(' ')).map(|(name, _)| name);
    let prints: String = names.map(|name| format!("    puts(SS_{name});\n")).collect();
    std::fs::write(dir.path().join("names.h"), &header).unwrap();
    let main = dir.path().join("main.c");
    let source = format!(
        "#include <stdio.h>\n#include \"names.h\"\n#include \"names.h\"\nint main(void) {{\n{prints}    return 0;\n}}\n"
    );
    std::fs::write(&main, source).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c99", "-trigraphs", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
    assert_all(compiled(compiler, &main));
}

/// The firmware's names are those of the demo's policy.
#[test]
fn the_names_in_the_firmware_are_those_of_the_policy_that_it_runs_with() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("demo.json");
    let file = file.to_str().unwrap();
    let mut origin = sspc(&["demo", "--serve", file])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Stderr::of(&mut origin).wait_for("ready");
    let output = run(&["policy", "codegen", "--rust", file]);
    signal(&origin, Signal::SIGTERM);
    wait(&mut origin);
    assert_exit(&output, 0);
    let names = include_str!("../../../../firmware/ticker/src/names.rs");
    assert_eq!(text(&output.stdout), names, "firmware/ticker/src/names.rs must be this");
}

#[test]
fn a_language_has_to_be_given() {
    assert_exit(&run_with(&["policy", "codegen", "-"], b"{}"), 2);
    assert_exit(&run_with(&["policy", "codegen", "--rust", "--c", "-"], b"{}"), 2);
    assert_exit(&run_with(&["policy", "codegen", "--rust", "-"], b"[]"), 1);
}

#[test]
fn the_schema_is_json_with_every_key() {
    let output = run(&["policy", "schema"]);
    assert_exit(&output, 0);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["$defs"]["streamtype"]["properties"]["tls"]["type"][0], "boolean");
}
