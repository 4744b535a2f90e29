//! What authors see of text that is not quite JSON.

use sspc_policy::{Policy, Source};

use crate::support::{check, lines};

#[test]
fn syntax() {
    check("", &["p:1:1: error: the document is empty; expected `{`"]);
    check("# nothing\n", &["p:1:1: error: the document is empty; expected `{`"]);
    check("[]", &["p:1:1: error: the policy is a list; expected an object, in `{` and `}`"]);
    check("{\n \"s\": [}", &["p:2:8: error: `}` does not close the `[` of line 2, column 7"]);
    check("}", &["p:1:1: error: `}` closes nothing"]);
    check("{} {}", &["p:1:4: error: found `{` after the end of the policy; expected nothing more"]);
    check("{\"s\" []}", &["p:1:6: error: found `[` after a key; expected `:`"]);
    check(
        "{s: []}",
        &["p:1:2: error: found `s` in an object; expected a key in double quotes, or `}`"],
    );
    check(
        "{\"s\":[] \"auth\":[]}",
        &["p:1:8: error: two values without a comma between them; expected `,`"],
    );
    check(
        "{\"s\":[],\n}",
        &["p:1:8: error: a comma before `}`; expected another key (only `]` may follow a comma)"],
    );
    check(
        "{\"release\": abc}",
        &["p:1:13: error: found `abc` in place of a value; expected a string, number, `true`, \
           `false`, `null`, `{` or `[`"],
    );
    check(
        "{\"release\": 0x10}",
        &["p:1:13: error: `0` is not a number of JSON; expected decimal digits"],
    );
    check("{ // no\n}", &["p:1:3: error: found `/` outside a string (comments start with `#`)"]);
    check("{'s':[]}", &["p:1:2: error: found `'` outside a string (strings are in double quotes)"]);
    check(
        "{\"release\": \"a\\qb\"}",
        &["p:1:15: error: invalid escape in a string; expected JSON's escapes"],
    );
    check(
        "{\"release\": \"a\n\"}",
        &["p:1:13: error: this string does not end on its line (close it with `\"`, and write a \
           line feed in it as `\\n`)"],
    );
    check(
        "{\"release\": \"a\tb\"\u{a0}}",
        &[
            "p:1:15: error: a string contains the control character 0x09 (write a tab as `\\t`)",
            "p:1:18: error: found U+00A0 outside a string",
        ],
    );
}

/// The parser sees blanks for what is not ASCII, so its places may fall inside a character; the
/// renderer would panic at such a place.
#[test]
fn places_are_whole_characters() {
    let report = Policy::parse(&Source::new("p", "-\u{11203}")).unwrap_err();
    let last = report.diagnostics().last().unwrap();
    assert_eq!(last.text, "\u{11203}");
    assert!(report.render(false).contains("-\u{11203}"));
}

#[test]
fn documents_that_end_too_early_are_taken_with_a_warning_if_they_can_be() {
    check(
        "{\"s\":[{\"t\":{\"endpoint\":\"e\",\"port\":80,",
        &["p:1:37: warning: the document ends too early: still open are `{` of 1:1, `[` of 1:6, \
           `{` of 1:7, `{` of 1:12 (taken as if they were closed here; the file may have been \
           cut off)"],
    );
    check(
        "{\"s\":[{\"t\":{\"endpoint\":",
        &["p:1:23: error: the document ends too early: still open are `{` of 1:1, `[` of 1:6, \
           `{` of 1:7, `{` of 1:12; expected a value after the last key"],
    );
    check(
        "{\"s\":[{\"t\":{\"endp",
        &["p:1:13: error: the document ends inside this string (the file may have been cut off)"],
    );
    check(
        "{\"s\"",
        &[
            "p:1:4: error: the document ends too early: still open are `{` of 1:1; expected a value \
         after the last key",
        ],
    );
}

/// Policies that deployed proxies take, some of the reference's own among them, were refused for one
/// bracket: a list of streamtypes that ends with `}` for `]`, and a `}` more than there are `{`.
#[test]
fn brackets_that_deployed_policies_get_wrong_are_taken_with_a_warning() {
    let stream = r#"{"s":[{"t":{"endpoint":"h","port":80}}"#;
    let in_list = "`}` does not close the `[` of line 1, column 6";
    let closed =
        format!("p:1:39: warning: {in_list}; expected `]` (taken as if the list were closed here)");
    let extra = format!("p:1:39: warning: {in_list} (taken as if it were not there)");
    // The `]` left out; and `}` written for it.
    check(&format!("{stream}}}"), &[&closed]);
    check(&format!("{stream}}} # end\n"), &[&closed]);
    check(&format!("{stream}}}}}"), &[&closed]);
    // A `}` too many: in the list, and after the document.
    check(&format!("{stream}}}]}}"), &[&extra]);
    let more = format!("{stream}}},\n{{\"u\":{{\"endpoint\":\"h\",\"port\":80}}}}]}}");
    check(&more, &[&extra]);
    assert_eq!(Policy::parse(&Source::new("p", more)).unwrap().policy.streamtypes.len(), 2);
    let after = "p:1:41: warning: `}` closes nothing (taken as if the document ended before it)";
    check(&format!("{stream}]}}}}"), &[after]);
    check(&format!("{stream}]}}}}}}]\n"), &[after]);
    check(
        &format!("{stream}]}}}}{{}}"),
        &[after, "p:1:42: error: found `{` after the end of the policy; expected nothing more"],
    );
    // Deeper, and with more that is missing after it.
    check(
        r#"{"s":[{"t":{"endpoint":"h","port":80,"metadata":[{"a":""}}"#,
        &[
            "p:1:58: warning: `}` does not close the `[` of line 1, column 49; expected `]` \
             (taken as if the list were closed here)",
            "p:1:58: warning: the document ends too early: still open are `{` of 1:1, `[` of 1:6, \
             `{` of 1:7 (taken as if they were closed here; the file may have been cut off)",
        ],
    );
    // No list ends after a comma or a colon, and nothing but `]` ends one in `}`.
    for text in ["{\"s\":[1,}", "{\"s\":[}"] {
        assert!(lines(text)[0].contains("error: `}` does not close the `[`"), "{text}");
    }
    check("{\"s\":1]", &["p:1:7: error: `]` does not close the `{` of line 1, column 1"]);
}

#[test]
fn nesting_is_limited_before_it_can_hurt() {
    let deep = "[".repeat(100_000);
    check(&deep, &["p:1:65: error: nested more than 64 levels deep"]);
    let deep = format!("{{\"release\":{}1{}}}", "[".repeat(63), "]".repeat(63));
    check(&deep, &[]);
}
