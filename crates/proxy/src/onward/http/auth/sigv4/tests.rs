//! What AWS publishes: the examples of its test suite, and of S3's documentation.

use std::time::Duration;

use http::Method;

use super::*;

fn signer(service: &str, id: &str, secret: &str) -> Signer {
    let (region, service) = ("us-east-1".to_owned(), service.to_owned());
    Signer { keys: AwsKeys::new(id, secret), region, service, payload: Payload::Empty }
}

fn of_the_suite() -> Signer {
    signer("service", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
}

/// 2015-08-30 12:36:00
const THEN: u64 = 1_440_938_160;

/// The headers of a signed request.
fn signed(signer: &Signer, method: &str, host: &str, path: &str, seconds: u64) -> HeaderMap {
    let method: Method = method.parse().unwrap();
    let mut headers = HeaderMap::new();
    let line = Line { method: &method, host: host.as_bytes(), path };
    signer.sign(line, &mut headers, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    headers
}

fn authorization(headers: &HeaderMap) -> &str {
    headers[&AUTHORIZATION].to_str().unwrap()
}

#[test]
fn signatures_are_those_of_the_test_suite_of_aws() {
    let signer = of_the_suite();
    for (name, method, path, signature) in [
        (
            "get-relative-normalized",
            "GET",
            "/example/..",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "get-relative-relative-normalized",
            "GET",
            "/example1/example2/../..",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "get-slash-dot-slash-normalized",
            "GET",
            "/./",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "get-slash-normalized",
            "GET",
            "//",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "get-slash-pointless-dot-normalized",
            "GET",
            "/./example",
            "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
        ),
        (
            "get-slashes-normalized",
            "GET",
            "//example//",
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ),
        (
            "get-space-normalized",
            "GET",
            "/example space/",
            "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        ),
        (
            "get-unreserved",
            "GET",
            "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
        (
            "get-utf8",
            "GET",
            "/ሴ",
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        ),
        (
            "get-vanilla",
            "GET",
            "/",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "get-vanilla-empty-query-key",
            "GET",
            "/?Param1=value1",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
        ),
        (
            "get-vanilla-query",
            "GET",
            "/",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "get-vanilla-query-order-encoded",
            "GET",
            "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        ),
        (
            "get-vanilla-query-order-key-case",
            "GET",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "get-vanilla-query-unreserved",
            "GET",
            "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        (
            "get-vanilla-utf8-query",
            "GET",
            "/?ሴ=bar",
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ),
        (
            "post-header-key-case",
            "POST",
            "/",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "post-vanilla",
            "POST",
            "/",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "post-vanilla-empty-query-value",
            "POST",
            "/?Param1=value1",
            "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
        ),
        (
            "post-vanilla-query",
            "POST",
            "/?Param1=value1",
            "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
        ),
    ] {
        let headers = signed(&signer, method, "example.amazonaws.com", path, THEN);
        assert_eq!(
            authorization(&headers),
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature={signature}"
            ),
            "{name}"
        );
        assert_eq!(headers[&DATE], "20150830T123600Z");
        assert!(headers[&AUTHORIZATION].is_sensitive());
    }
}

#[test]
fn signatures_are_those_of_the_documentation_of_s3() {
    let signer = signer("s3", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let host = "examplebucket.s3.amazonaws.com";
    for (path, signature) in [
        ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            "/?max-keys=2&prefix=J",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        // 2013-05-24 00:00:00
        let headers = signed(&signer, "GET", host, path, 1_369_353_600);
        let expected =
            format!("SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}");
        assert!(authorization(&headers).ends_with(&expected), "{}", authorization(&headers));
    }
}

#[test]
fn what_the_client_set_is_signed_as_it_is() {
    let signer = of_the_suite();
    let mut headers = HeaderMap::new();
    headers.insert(DATE, HeaderValue::from_static("20150830T123600Z"));
    let line = Line { method: &Method::GET, host: b"example.amazonaws.com", path: "/" };
    signer.sign(line, &mut headers, SystemTime::now()).unwrap();
    let vanilla = "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    assert!(authorization(&headers).ends_with(vanilla));
    headers.insert(DATE, HeaderValue::from_static("today"));
    let failure = signer.sign(line, &mut headers, SystemTime::now()).unwrap_err();
    assert!(failure.why.contains("x-amz-date"), "{failure}");
}

#[test]
fn a_body_that_is_not_here_is_signed_for_s3_alone() {
    for (payload, service, fits) in
        [(Payload::Unsigned, "s3", true), (Payload::Unknown, "sqs", false)]
    {
        let signer = Signer { payload, ..signer(service, "id", "secret") };
        let mut headers = HeaderMap::new();
        let line = Line { method: &Method::PUT, host: b"h", path: "/" };
        assert_eq!(signer.sign(line, &mut headers, SystemTime::now()).is_ok(), fits);
        assert_eq!(headers.get(&CONTENT_SHA256).is_some_and(|value| value == UNSIGNED), fits);
        headers.insert(CONTENT_SHA256, HeaderValue::from_static("00ff"));
        assert!(signer.sign(line, &mut headers, SystemTime::now()).is_ok());
    }
}

#[test]
fn days_are_those_of_the_calendar() {
    for (seconds, expected) in [
        (0, "19700101T000000Z"),
        (951_782_399, "20000228T235959Z"),
        (951_782_400, "20000229T000000Z"),
        (951_868_800, "20000301T000000Z"),
        (1_704_067_199, "20231231T235959Z"),
        (4_107_542_400, "21000301T000000Z"),
    ] {
        assert_eq!(timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), expected);
    }
}
