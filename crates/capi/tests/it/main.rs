//! The library as C has it: built as it is shipped, linked with programs in `tests/c` and
//! `examples/c`, and run under the tools that see what C does wrong. gcc, g++, clang, nm and valgrind
//! must be there.

#[allow(clippy::unwrap_used, reason = "its helpers may panic as its tests do")]
mod posix;

use std::ffi::OsStr;
use std::mem::{offset_of, size_of};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use sspc_capi::abi;

/// Where the library and the headers are put.
static PREFIX: LazyLock<PathBuf> = LazyLock::new(|| {
    let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prefix");
    run(Command::new("./build").arg(&prefix).args(["--quiet", "--locked"]));
    prefix
});

/// The same with packets.
static PREFIX_WITH_PACKETS: LazyLock<PathBuf> = LazyLock::new(|| {
    let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prefix-with-packets");
    run(Command::new("./build").arg(&prefix).args(["--quiet", "--locked", "--features", "arq"]));
    prefix
});

/// Runs a command and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

/// Compiles C against the headers and links it with the library; returns the program.
fn compile<S: AsRef<OsStr>>(
    name: &str,
    compiler: &str,
    options: &[&str],
    sources: &[S],
) -> PathBuf {
    compile_with(&PREFIX, name, compiler, options, sources)
}

fn compile_with<S: AsRef<OsStr>>(
    prefix: &Path,
    name: &str,
    compiler: &str,
    options: &[&str],
    sources: &[S],
) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    run(Command::new(compiler)
        .args(["-g", "-O1", "-Wall", "-Wextra", "-Werror"])
        .args(options)
        .arg("-I")
        .arg(prefix.join("include"))
        .arg("-o")
        .arg(&program)
        .args(sources)
        .arg(prefix.join("lib/libsspc.a")));
    program
}

const TESTS: [&str; 8] = [
    "tests/c/rig.c",
    "tests/c/callbacks.c",
    "tests/c/chance.c",
    "tests/c/direct.c",
    "tests/c/links.c",
    "tests/c/liveness.c",
    "tests/c/streams.c",
    "tests/c/tests.c",
];

#[test]
fn applications_under_address_and_undefined_behaviour_sanitizers() {
    let options =
        ["-std=gnu11", "-Wshadow", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    let program = compile("sanitized", "gcc", &options, &TESTS);
    // What of the environment is loaded first would be in the sanitizer's way.
    let printed = run(Command::new(program).env_remove("LD_PRELOAD"));
    assert!(printed.ends_with("ok chance\n"), "{printed}");
}

#[test]
fn applications_under_valgrind() {
    let program = compile("plain", "gcc", &["-std=gnu11", "-Wshadow"], &TESTS);
    let options = ["-q", "--leak-check=full", "--error-exitcode=9"];
    let printed = run(Command::new("valgrind").args(options).arg(program));
    assert!(printed.ends_with("ok chance\n"), "{printed}");
}

/// Firmware is compiled with warnings as errors. The macro that finds a list's element cast to a
/// stricter alignment, the examples were not ISO C, and `struct lws_context`, which headers of
/// libwebsockets have for the only context there is here, was another type.
#[test]
fn no_compiler_warns_of_headers_or_examples() {
    let (gcc, clang) = (("gcc", "-Wcast-align=strict"), ("clang", "-Wcast-align"));
    for standard in ["c99", "c11", "c17", "c2x", "gnu99"] {
        for source in ["examples/c/posix.c", "examples/c/baremetal.c"] {
            for compiler in [gcc, clang] {
                check(compiler, standard, &["-Wmissing-prototypes", source]);
            }
        }
        for compiler in [gcc, clang] {
            each_name_of_the_context(compiler, standard);
        }
    }
    for compiler in [("g++", "-Wcast-align=strict"), ("clang++", "-Wcast-align")] {
        each_name_of_the_context(compiler, "c++17");
    }
}

fn each_name_of_the_context(compiler: (&str, &str), standard: &str) {
    let language = if standard.starts_with("c++") { "-xc++" } else { "-xc" };
    // The last is what sources for both do before they include it.
    for definition in ["-DSSPC_NONE", "-DSTANDALONE", "-Dlws_context=lws_context_standalone"] {
        check(compiler, standard, &[definition, language, "tests/c/names.c"]);
    }
}

/// Compiles with all warnings that are in use, each of which fails it.
fn check((compiler, cast_align): (&str, &str), standard: &str, rest: &[&str]) {
    run(Command::new(compiler)
        .arg(format!("-std={standard}"))
        .args(["-fsyntax-only", "-I", "include", "-Werror", "-Wall", "-Wextra", "-Wpedantic"])
        .args(["-Wshadow", "-Wundef", "-Wconversion", "-Wcast-qual", cast_align])
        .args(rest));
}

/// The headers are C++ too, in which the imports have C's names.
#[test]
fn headers_in_cpp() {
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("headers.cc");
    let text = r#"
        #include <libwebsockets.h>
        lws_usec_t lws_now_usecs() { return 0; }
        void lws_sul_schedule(struct lws_context_standalone *, int, lws_sorted_usec_list_t *,
                              sul_cb_t, lws_usec_t) {}
        void lws_sul_cancel(lws_sorted_usec_list_t *) {}
        void __lws_logv(lws_log_cx_t *, lws_log_prepend_cx_t, void *, int, const char *,
                        const char *, va_list) {}
        int main() {
            struct lws_context_standalone cx = {};
            lws_ss_info_t info = {};
            struct lws_ss_handle *h = NULL;
            info.streamtype = "";
            lwsl_err("an error\n");
            return lws_ss_create(&cx, 0, &info, NULL, &h, NULL, NULL) != 1;
        }
    "#;
    std::fs::write(&source, text).unwrap();
    run(&mut Command::new(compile("headers", "g++", &[], &[source])));
}

/// Besides the firmware's four functions the library asks only for what every C library has; and
/// nothing in it can panic, as there is nothing that it could do then.
#[test]
fn imports() {
    let nothing = Path::new(env!("CARGO_TARGET_TMPDIR")).join("whole.o");
    let archive = PREFIX.join("lib/libsspc.a");
    // All that the exported functions need, in one object.
    run(Command::new("ld")
        .args(["-r", "--gc-sections", "-u", "lws_sspc_create", "-u", "lws_transport_mux_create"])
        .args(["-u", "lws_transport_mux_pending", "-u", "lws_ss_state_name", "-o"])
        .arg(&nothing)
        .arg(&archive));
    let printed = run(Command::new("nm").arg(&nothing));
    let mut imports: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("U "))
        .filter(|name| !["memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen"].contains(name))
        .collect();
    imports.sort_unstable();
    let four = ["__lws_logv", "lws_now_usecs", "lws_sul_cancel", "lws_sul_schedule"];
    assert_eq!(imports, [&four[..1], &["free"], &four[1..], &["malloc"]].concat());
    assert!(!printed.contains("panic"), "{printed}");
}

/// Pairs of what C says of a type and what Rust says.
macro_rules! layout {
    ($($c:literal is $rust:ident { $($member:literal is $field:ident),* $(,)? })*) => {
        [$(
            (concat!("sizeof(", $c, ")"), size_of::<abi::$rust>()),
            $((concat!("offsetof(", $c, ", ", $member, ")"), offset_of!(abi::$rust, $field)),)*
        )*]
    };
}

#[test]
fn both_languages_agree_on_layouts() {
    let layout = layout! {
        "lws_dll2_t" is Dll2 { "prev" is prev, "next" is next, "owner" is owner }
        "lws_dll2_owner_t" is Owner { "tail" is tail, "head" is head, "count" is count }
        "lws_sorted_usec_list_t" is Sul {
            "list" is list, "us" is us, "cb" is cb, "latency_us" is latency_us,
        }
        "lws_ss_info_t" is Info {
            "streamtype" is streamtype, "user_alloc" is user_alloc,
            "handle_offset" is handle_offset, "rx" is rx, "tx" is tx, "state" is state,
            "opaque_user_data_offset" is opaque_user_data_offset,
            "manual_initial_tx_credit" is manual_initial_tx_credit, "client_pid" is client_pid,
            "flags" is flags, "sss_protocol_version" is sss_protocol_version,
        }
        "lws_txp_path_client_t" is Path {
            "ops_in" is ops_in, "priv_in" is priv_in, "ops_onw" is ops_onw,
            "priv_onw" is priv_onw, "mux" is mux,
        }
        "lws_txp_path_proxy_t" is ProxyPath { "mux" is mux }
        "lws_transport_client_ops_t" is Ops {
            "name" is name, "event_retry_connect" is event_retry_connect,
            "event_connect_disposition" is event_connect_disposition, "req_write" is req_write,
            "_write" is write, "event_read" is event_read, "lost_coherence" is lost_coherence,
            "_close" is close, "event_stream_up" is event_stream_up,
            "event_client_up" is event_client_up, "event_can_write" is event_can_write,
            "event_closed" is event_closed, "flags" is flags, "dsh_splitat" is dsh_splitat,
        }
        "struct lws_context_standalone" is Context {
            "txp_cpath" is txp_cpath, "ss_client_owner" is ss_client_owner, "ssidx" is ssidx,
            "arena" is arena,
        }
        "lws_transport_info_t" is TransportInfo {
            "ping_interval_us" is ping_interval_us, "pong_grace_us" is pong_grace_us,
            "txp_cpath" is txp_cpath, "txp_ppath" is txp_ppath,
            "onward_txp_info" is onward_txp_info, "flags" is flags,
        }
        "lws_transport_mux_ch_t" is Channel {
            "list" is list, "priv" is priv_, "opaque" is opaque, "ch_idx" is ch_idx,
            "state" is state, "sspc_todo" is todo,
        }
        "lws_transport_mux_t" is Mux {
            "cx" is cx, "info" is info, "txp_handle" is txp_handle, "txp_aux" is txp_aux,
            "us_unixtime_peer" is us_unixtime_peer, "owner" is owner, "link_state" is link_state,
            "us_unixtime_peer_loc" is us_unixtime_peer_loc,
        }
        "lws_txp_mux_parse_cbs_t" is ParseCbs {
            "payload" is payload, "ch_opens" is ch_opens, "ch_closes" is ch_closes,
            "txp_req_write" is txp_req_write, "txp_can_write" is txp_can_write,
        }
    };
    let mut text = String::from("#include <libwebsockets.h>\n");
    for (what, value) in layout {
        text += &format!("_Static_assert({what} == {value}, \"{what} is not {value}\");\n");
    }
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("layout.c");
    std::fs::write(&source, text).unwrap();
    run(Command::new("gcc").arg("-fsyntax-only").arg("-I").arg("include").arg(&source));
}
