//! What is made from the definition of the command line.

use std::collections::BTreeMap;

use crate::support::{assert_exit, run, text};

/// Every command, with some of its options; the help is the judge of what there is.
const COMMANDS: [&[&str]; 23] = [
    &["proxy"],
    &["cat"],
    &["bridge"],
    &["ping"],
    &["status"],
    &["top"],
    &["trace"],
    &["smd"],
    &["smd", "send"],
    &["policy"],
    &["policy", "check"],
    &["policy", "show"],
    &["policy", "explain"],
    &["policy", "schema"],
    &["policy", "codegen"],
    &["access"],
    &["access", "check"],
    &["access", "explain"],
    &["decode"],
    &["tap"],
    &["demo"],
    &["man"],
    &["completions"],
];

/// The long options that a command's help lists.
fn options(command: &[&str]) -> Vec<String> {
    let output = run(&[command, &["--help"]].concat());
    assert_exit(&output, 0);
    let help = text(&output.stdout);
    let mut options = Vec::new();
    for line in help.lines() {
        let line = line.trim_start();
        let after_short = line.split_once(", ").map_or(line, |(short, rest)| {
            if short.len() == 2 && short.starts_with('-') { rest } else { line }
        });
        if let Some(name) = after_short.strip_prefix("--") {
            let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '-');
            options.push(format!("--{}", &name[..end.unwrap_or(name.len())]));
        }
    }
    assert!(options.contains(&"--verbose".to_owned()), "{help}");
    options
}

#[test]
fn every_command_has_a_man_page_with_its_options() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    assert_exit(&run(&["man", pages.to_str().unwrap()]), 0);
    let pages: BTreeMap<String, String> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    for command in COMMANDS {
        let name = format!("sspc-{}.1", command.join("-"));
        let page = pages.get(&name).unwrap_or_else(|| panic!("no {name}"));
        for option in options(command) {
            // In troff a hyphen of a name is escaped.
            let escaped = option.replace('-', "\\-");
            assert!(page.contains(&escaped), "no {option} in {name}");
        }
    }
    let top = &pages["sspc.1"];
    for command in COMMANDS.iter().filter(|command| command.len() == 1) {
        assert!(top.contains(&format!("sspc\\-{}", command[0])), "no {command:?} in sspc.1");
    }
    assert!(pages["sspc-cat.1"].contains("no proxy"), "the exit codes are not in sspc-cat.1");
    assert_eq!(pages.len(), COMMANDS.len() + 1, "{:?}", pages.keys());

    let printed = run(&["man"]);
    assert_exit(&printed, 0);
    assert!(text(&printed.stdout).contains(".TH sspc 1"));
}

#[test]
fn every_shell_completes_every_command_and_option() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert_exit(&output, 0);
        let script = text(&output.stdout);
        for command in COMMANDS {
            let word = command[command.len() - 1];
            assert!(script.contains(word), "no {word} for {shell}");
            for option in options(command) {
                let written = match shell {
                    "fish" => format!("-l {}", &option[2..]),
                    _ => option.clone(),
                };
                assert!(script.contains(&written), "no {option} of {word} for {shell}");
            }
        }
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let help = run(&["--help"]);
    assert_exit(&help, 0);
    assert!(text(&help.stdout).contains("sspc demo"));
    assert_eq!(help.stderr, b"");
    let version = run(&["--version"]);
    assert_eq!(text(&version.stdout), format!("sspc {}\n", env!("CARGO_PKG_VERSION")));
}
