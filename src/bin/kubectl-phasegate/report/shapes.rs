//! What is a secret by its shape or by the words before it, in any text.
//!
//! A diagnosis is words; so what is taken out too much is less than what is handed on too much.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::met::REDACTED;

/// What is kept of what was found; `None`: it was nothing.
type Kept = fn(&Captures<'_>) -> Option<String>;

/// A pattern, and what is kept of what it finds.
struct Rule(Regex, Kept);

/// Names that a secret's value follows in a text.
const NAMES: &str = r"(?:pass(?:word|wd|phrase|code)|pwd|secret|token|credentials?|bearer|jwt|(?:api|access|account|private|secret|signing|encryption|shared|master|client|auth|session)[-_. ]?(?:access[-_. ]?)?(?:key|secret|token)(?:[-_. ]?id)?|session[-_. ]?id|conn(?:ection)?[-_. ]?str(?:ing)?|dsn)";

/// Names that are of nothing else, so that the next word is the value.
const SURE_NAMES: &str =
    r"(?:[a-z0-9]+[-_])*(?:secret|access|api|private|account)[-_](?:access[-_])?(?:key|token)(?:[-_]id)?";

/// Prefixes by which those who give tokens out find them again.
const PREFIXES: &str = r"(?:gh[pousr]_|github_pat_|gl[a-z]{2,8}-|gldt-|xox[a-z](?:\.[a-z]+)?-|xapp-|sk-|sk_|rk_|pk_live_|whsec_|npm_|pypi-|dckr_(?:pat|oat)_|hv[sbr]\.|do[opr]_v1_|dapi|hf_|shp(?:at|ca|pa|ss)_|lin_api_|ATATT|ATBB|ATCTT|AIza|ya29\.|GOCSPX-|1//0|SG\.|key-|pat-|sq0[a-z]{3}-|EAAA|glsa_|glc_|nvapi-|r8_|rubygems_|tfp_|pul-|FwoG|IQoJ)";

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let redacted: Kept = |_| Some(REDACTED.to_owned());
    let after_name: Kept = |found| Some(format!("{}{REDACTED}", &found[1]));
    let rules: Vec<(String, Kept)> = vec![
        // Private keys, also those of which a message has only the begin or the end.
        (
            r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----.*?-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----".to_owned(),
            redacted,
        ),
        (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----[A-Za-z0-9+/=\s\\]*".to_owned(), redacted),
        (r"[A-Za-z0-9+/=\s\\]*-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----".to_owned(), redacted),
        // scheme://user:password@host, whatever is in the password; user:password@tcp(host).
        (r#"([A-Za-z][A-Za-z0-9+.-]*://)[^\s"'<>]*@"#.to_owned(), |found| Some(format!("{}{REDACTED}@", &found[1]))),
        (r#"[A-Za-z0-9_.-]+:[^\s:@/"']+@([A-Za-z0-9(\[])"#.to_owned(), |found| Some(format!("{REDACTED}@{}", &found[1]))),
        // What is asked of a web server, and hooks whose path is the secret.
        (r#"([A-Za-z0-9_~%.:)\]/-]\?)[^\s"'<>\\?]+"#.to_owned(), |found| found[0].contains('=').then(|| format!("{}{REDACTED}", &found[1]))),
        (
            r#"(?i)(https?://[a-z0-9.-]*(?:hooks?|webhooks?|discord|telegram)[a-z0-9.-]*/)[^\s"'<>]+"#.to_owned(),
            after_name,
        ),
        (r"\b[0-9]{6,12}:[A-Za-z0-9_-]{30,}".to_owned(), redacted),
        // Headers.
        (
            r#"(?i)\b((?:set-)?cookies?["'\\]*\s*[:=]\s*["'\\]*)[^\s=;"']+=[^\s;"']*(?:;\s*[^\s=;"']+(?:=[^\s;"']*)?)*"#.to_owned(),
            after_name,
        ),
        (
            r#"(?i)\b((?:(?:proxy-)?authorization|x-[a-z-]*(?:token|key|auth|secret|signature)[a-z-]*)["'\\]*\s*[:=]\s*["'\\]*(?:(?:bearer|basic|digest|negotiate|token|apikey)\s+)?)[^\s"',\\]+"#.to_owned(),
            after_name,
        ),
        (r"(?i)\b((?:bearer|basic)\s+)([A-Za-z0-9+/=._~-]{8,})".to_owned(), |found| {
            is_opaque(&found[2]).then(|| format!("{}{REDACTED}", &found[1]))
        }),
        (r"(?i)(\s(?:-u|--user|--proxy-user)[ =])[^\s:]+:\S+".to_owned(), after_name),
        // JSON web tokens, signed or encrypted.
        (r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}".to_owned(), redacted),
        // Tokens and keys that say whose they are.
        (r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{12,}\b".to_owned(), redacted),
        (format!(r"\b{PREFIXES}[A-Za-z0-9_.=/+-]{{8,}}"), |found| is_opaque(&found[0]).then(|| REDACTED.to_owned())),
        // What follows a password or token by name: in logs, JSON, command lines, and in words.
        (
            format!(r#"(?i)({NAMES}s?[-_a-z0-9]{{0,12}}["'\\]*\s*(?:=>|->|:=|[=:])\s*)(?:\\?"[^"\\]*\\?"|'[^']*'|[^\s"'&;}}\\]+)"#),
            |found| Some(format!("{}{}", &found[1], quoted_like(&found[0][found[1].len()..]))),
        ),
        (format!(r#"(?i)({NAMES}s?["']?\s+(?:is|was|are|of|to)\s+)("[^"]*"|'[^']*'|[^\s"',;]+)"#), |found| {
            let value = found[2].trim_matches(['"', '\'', '.', ':']).to_lowercase();
            (!SAYS_HOW.contains(&value.as_str())).then(|| format!("{}{REDACTED}", &found[1]))
        }),
        (format!(r#"(?i)\b({SURE_NAMES}\s+)("[^"]*"|'[^']*'|[^\s"',;=:]+)"#), |found| {
            let value = found[2].trim_matches(['"', '\'', '.', ':']).to_lowercase();
            (!SAYS_HOW.contains(&value.as_str())).then(|| format!("{}{REDACTED}", &found[1]))
        }),
        (r#"(?i)\b((?:password|passwd|pwd|passphrase|passcode|token)\s+)("[^"]*"|'[^']*'|[^\s"',;=:]{4,})"#.to_owned(), |found| {
            let has_digit = found[2].contains(|char: char| char.is_ascii_digit());
            (has_digit || found[2].starts_with(['"', '\''])).then(|| format!("{}{REDACTED}", &found[1]))
        }),
        // Whatever nobody would write by hand.
        (r"[A-Za-z0-9+_=-]{32,}|[A-Za-z0-9+/=]{40,}".to_owned(), |found| {
            is_random(&found[0]).then(|| REDACTED.to_owned())
        }),
    ];
    rules.into_iter().filter_map(|(pattern, kept)| Some(Rule(Regex::new(&pattern).ok()?, kept))).collect()
});

/// What is said of a password or token, and is none.
const SAYS_HOW: [&str; 42] = [
    "a",
    "about",
    "absent",
    "allowed",
    "already",
    "an",
    "and",
    "being",
    "correct",
    "denied",
    "empty",
    "expired",
    "for",
    "from",
    "in",
    "incorrect",
    "invalid",
    "malformed",
    "missing",
    "needed",
    "no",
    "none",
    "not",
    "null",
    "of",
    "only",
    "or",
    "outdated",
    "rejected",
    "required",
    "revoked",
    "set",
    "stale",
    "the",
    "too",
    "unknown",
    "unset",
    "used",
    "valid",
    "was",
    "were",
    "wrong",
];

/// A text without what looks like a credential.
pub fn taken_out(text: &str) -> String {
    let mut text = text.to_owned();
    for Rule(pattern, kept) in RULES.iter() {
        let told =
            pattern.replace_all(&text, |found: &Captures<'_>| kept(found).unwrap_or_else(|| found[0].to_owned()));
        text = told.into_owned();
    }
    text
}

/// What stands for a value, between the quotes that it was in.
fn quoted_like(value: &str) -> String {
    match value.find(|char| !matches!(char, '"' | '\'' | '\\')) {
        Some(begin) if begin > 0 => format!("{}{REDACTED}{}", &value[..begin], &value[..begin]),
        _ => REDACTED.to_owned(),
    }
}

/// Whether a word is none of a language.
fn is_opaque(word: &str) -> bool {
    let mixes_cases = word.contains(|char: char| char.is_ascii_lowercase())
        && word.chars().skip(1).any(|char| char.is_ascii_uppercase());
    word.contains(|char: char| char.is_ascii_digit() || char == '=') || mixes_cases
}

/// Whether a long word is as from dice: hashes, uids and names in Kubernetes have no capital letters.
fn is_random(word: &str) -> bool {
    let has = |kind: fn(&char) -> bool| word.chars().filter(kind).count() >= 3;
    has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_one() {
        assert_eq!(RULES.len(), 20);
    }

    #[test]
    fn what_is_a_credential_by_its_shape_is_taken_out() {
        for secret in [
            "AKIAIOSFODNN7EXAMPLE",
            "ASIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY0aB1cD2eF3",
            "AIzaSyA1234567890abcdefghijklmnopqrstuv",
            "ya29.a0AfH6SMBx1234567890",
            "ghp_1234567890abcdefghijABCDEFGHIJ123456",
            "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz",
            "glpat-1234567890abcdefghij",
            "gldt-1234567890abcdefghij",
            "xoxb-123456789012-abcdefABCDEF",
            "xoxp-1-abcdefgh",
            "xapp-1-A012345-6789-abcdef",
            "sk_live_1234567890abcdef",
            "sk-proj-1234567890abcdef",
            "npm_1234567890abcdefghijABCDEFGHIJ123456",
            "dckr_pat_1234567890-abcdef",
            "hvs.CAESIJ1234567890abcdef",
            "hf_abcdefghijABCDEFGHIJ",
            "SG.1234567890abcdef.1234567890abcdef",
            "123456789:AAH1234567890abcdefghijABCDEFGHIJ123",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
            "eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d",
            "c2VjcmV0LXZhbHVlLXRoYXQtaXMtbG9uZzEyMw==",
        ] {
            let told = taken_out(&format!("it says {secret} here"));
            for part in secret.split('/').filter(|part| part.len() > 20) {
                assert!(!told.contains(part), "{told}");
            }
            assert!(told.starts_with("it says ") && told.ends_with(" here"), "{told}");
        }
    }

    #[test]
    fn what_follows_the_name_of_a_secret_is_taken_out_and_the_rest_stays() {
        for (text, told) in [
            ("mongodb://me:pw@db.example.com/x", "mongodb://REDACTED@db.example.com/x"),
            ("redis://:p/w@db:6379", "redis://REDACTED@db:6379"),
            ("me:pw@tcp(db:3306)/x", "REDACTED@tcp(db:3306)/x"),
            ("GET /login?user=me&password=pw&x=1", "GET /login?REDACTED"),
            (
                "Get \"http://10.0.0.1:8080/ready?key=abc\": refused",
                "Get \"http://10.0.0.1:8080/ready?REDACTED\": refused",
            ),
            ("https://hooks.slack.com/services/T0/B0/x", "https://hooks.slack.com/REDACTED"),
            ("{\"token\": \"abc\", \"n\": 1}", "{\"token\": \"REDACTED\", \"n\": 1}"),
            ("{\"line\":\"{\\\"token\\\":\\\"abc\\\"}\"}", "{\"line\":\"{\\\"token\\\":\\\"REDACTED\\\"}\"}"),
            ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer REDACTED"),
            ("authorization=hunter2", "authorization=REDACTED"),
            ("proxy-authorization: Basic bWU6cHc=", "proxy-authorization: Basic REDACTED"),
            ("X-Api-Key: hunter2", "X-Api-Key: REDACTED"),
            ("Cookie: sid=abc; theme=dark and so on", "Cookie: REDACTED and so on"),
            ("set-cookie: sid=abc; HttpOnly; Path=/", "set-cookie: REDACTED"),
            ("sent Bearer abcdef0123456789", "sent Bearer REDACTED"),
            ("curl -u me:pw http://db", "curl -u REDACTED http://db"),
            ("the password is hunter2", "the password is REDACTED"),
            ("password is \"correct horse\", said", "password is REDACTED, said"),
            ("password: 'correct horse'", "password: 'REDACTED'"),
            ("DB_PASSWORD=hunter2 LEVEL=info", "DB_PASSWORD=REDACTED LEVEL=info"),
            ("password hunter2 refused", "password REDACTED refused"),
            ("aws_secret_access_key wJalrXUtnFEMI/K7MDENG", "aws_secret_access_key REDACTED"),
            ("aws_access_key_id: x", "aws_access_key_id: REDACTED"),
            ("AccountKey=abc/def==;EndpointSuffix=x", "AccountKey=REDACTED;EndpointSuffix=x"),
            ("client_secret => abc", "client_secret => REDACTED"),
            ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "REDACTED"),
            ("key: -----BEGIN PRIVATE KEY-----\nMIIE\nvQIB…", "key: REDACTED…"),
            ("…vQIBADANBg -----END EC PRIVATE KEY----- ends", "…REDACTED ends"),
        ] {
            assert_eq!(taken_out(text), told);
        }
    }

    #[test]
    fn what_a_diagnosis_needs_stays() {
        for text in [
            "secret \"gateway-secret\" not found",
            "the token is expired",
            "the token was not accepted",
            "password authentication failed for user shop",
            "basic authentication is off",
            "invalid credentials",
            "http://shop.example.com/",
            "pod shop-7d9c5b8f6d-x2x4z: image \"ghcr.io/acme/gateway@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"",
            "uid 0b54c7a2-55a8-4c62-b7d2-6b0ae58bcb8e of ReplicaSet shop-7d9c5b8f6d",
            "exceeded quota: full, requested: requests.memory=1Gi, used: requests.memory=2Gi",
            "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available",
            "Readiness probe failed: HTTP probe failed with statuscode: 503",
            "dial tcp 10.0.0.1:8080: connect: connection refused",
            "2026-11-27T08:28:07.123456Z  INFO Started gateway=\"tenants/shop\" phase=Starting attempt=1",
            "is it there? no: it was deleted",
            "spec.env[DB].valueFrom",
        ] {
            assert_eq!(taken_out(text), text);
        }
    }
}
