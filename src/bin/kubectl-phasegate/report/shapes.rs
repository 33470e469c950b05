//! Detects secrets in any text by their shape or by the words before them.
//!
//! The report serves a diagnosis, which sentences carry. Too much redaction therefore does less harm than too
//! little.
//!
//! **Architecture invariant**: this module knows no object. It sees text only.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::seen_values::REDACTED;
use phasegate::secrets;

/// The part of a match that is kept. `None` means that the match is not a secret.
type Kept = fn(&Captures<'_>) -> Option<String>;

/// A pattern, and the part of a match that is kept.
struct Rule(Regex, Kept);

/// The names after which a secret value follows in a text.
fn names() -> String {
    let names: Vec<String> = secrets::NAMES.iter().map(|words| words.join("[-_. ]?")).collect();
    format!("(?:{})(?:[-_. ]?id)?", names.join("|"))
}

/// The names that are used for secrets only, so that the next word is the value.
const SURE_NAMES: &str = r"(?:[a-z0-9]+[-_])*(?:secret|access|api|private|account)[-_](?:key|token)(?:[-_]id)?";

/// The prefixes by which issuers recognize their tokens.
const PREFIXES: &str = r"(?:gh[pousr]_|github_pat_|gl[a-z]{2,8}-|xox[a-z](?:\.[a-z]+)?-|xapp-|sk-|sk_|rk_|pk_live_|whsec_|npm_|pypi-|oy2|dckr_(?:pat|oat)_|hv[sbr]\.|do[opr]_v1_|dapi|hf_|shp(?:at|ca|pa|ss)_|lin_api_|ntn_|figd_|ATATT|ATBB|ATCTT|AIza|ya29\.|GOCSPX-|1//0|SG\.|key-|pat-|sq0[a-z]{3}-|EAAA|glsa_|glc_|nvapi-|r8_|rubygems_|tfp_|pul-|pscale_(?:tkn|pw|oauth)_|sbp_|sb_secret_|sntry[su]_|FwoG|IQoJ|[A-Za-z0-9_]{3}[0-9]Q~)";

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let redacted: Kept = |_| Some(REDACTED.to_owned());
    let after_name: Kept = |found| Some(format!("{}{REDACTED}", &found[1]));
    let (names, short) = (names(), secrets::SHORT.join("|"));
    let before_equals = secrets::SHORT_BEFORE_EQUALS.join("|");
    // A part of a header that has several.
    let pair = r#"[a-z-]+=(?:\\?"[^"\\]*\\?"|[^\s"',\\]+)"#;
    let rules: Vec<(String, Kept)> = vec![
        // Private keys, also those of which a message contains only the beginning or the end.
        (
            r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----.*?-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----".to_owned(),
            redacted,
        ),
        (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----[A-Za-z0-9+/=\s\\]*".to_owned(), redacted),
        (r"[A-Za-z0-9+/=\s\\]*-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----".to_owned(), redacted),
        // scheme://user:password@host, whatever the password contains, and user:password@tcp(host).
        (r#"([A-Za-z][A-Za-z0-9+.-]*://)[^\s"'<>]*@"#.to_owned(), |found| Some(format!("{}{REDACTED}@", &found[1]))),
        (r#"[A-Za-z0-9_.-]+:[^\s:@/"']+@([A-Za-z0-9(\[])"#.to_owned(), |found| Some(format!("{REDACTED}@{}", &found[1]))),
        // The query of a request to a web server, and webhooks whose path is the secret.
        (r#"([A-Za-z0-9_~%.:)\]/-]\?)[^\s"'<>\\?]+"#.to_owned(), |found| found[0].contains('=').then(|| format!("{}{REDACTED}", &found[1]))),
        (
            r#"(?i)(https?://[a-z0-9.-]*(?:hooks?|discord|telegram)[a-z0-9.-]*/)[^\s"'<>]+"#.to_owned(),
            after_name,
        ),
        (r"\b[0-9]{6,12}:[A-Za-z0-9_-]{30,}".to_owned(), redacted),
        // Headers.
        (
            r#"(?i)\b(cookies?["'\\]*\s*[:=]\s*["'\\]*)[^\s=;"']+=[^\s;"']*(?:;\s*[^\s=;"']+(?:=[^\s;"']*)?)*"#.to_owned(),
            after_name,
        ),
        (
            format!(r#"(?i)\b((?:authorization|x-[a-z-]*(?:key|auth|signature)[a-z-]*)["'\\]*\s*[:=]\s*["'\\]*(?:(?:bearer|basic|digest|negotiate|token|apikey|aws4-hmac-sha256)\s+)?)(?:{pair}(?:,\s*{pair})*|[^\s"',\\]+)"#),
            after_name,
        ),
        (r"(?i)\b((?:bearer|basic)\s+)([A-Za-z0-9+/=._~-]{8,})".to_owned(), |found| {
            is_opaque(&found[2]).then(|| format!("{}{REDACTED}", &found[1]))
        }),
        (r"(?i)(\s(?:-u|--user|--proxy-user)[ =])[^\s:]+:\S+".to_owned(), after_name),
        // JSON web tokens, signed or encrypted.
        (r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}".to_owned(), redacted),
        // Tokens and keys with the prefix of their issuer.
        (format!(r"\b{PREFIXES}[A-Za-z0-9_.=/+~-]{{8,}}"), |found| is_opaque(&found[0]).then(|| REDACTED.to_owned())),
        // Those whose length and alphabet their issuer fixes: AWS, Twilio, Mailchimp, Airtable, Vault, Discord.
        (
            r"\b(?:(?:AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{12,}|SK[0-9a-f]{32}|[0-9a-f]{32}-us[0-9]{1,2}|pat[A-Za-z0-9]{14}\.[0-9a-f]{64}|s\.[A-Za-z0-9]{24}|[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,})\b".to_owned(),
            redacted,
        ),
        // The value after the name of a password or token: in logs, JSON, command lines and sentences.
        (
            format!(r#"(?i)({names}s?[-_a-z0-9]{{0,12}}["'\\]*\s*(?:=>|->|:=|[=:])\s*)(?:\\?"[^"\\]*\\?"|'[^']*'|[^\s"'&;}}\\]+)"#),
            |found| Some(format!("{}{}", &found[1], quoted_like(&found[0][found[1].len()..]))),
        ),
        (format!(r#"(?i)({names}s?["']?\s+(?:is|was|are|of|to)\s+)("[^"]*"|'[^']*'|[^\s"',;]+)"#), |found| {
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
        // Short names, which longer words begin with as well, and flags whose value is the next word.
        (
            format!(
                r#"(?i)((?:^|[^a-z0-9])(?:(?:{short})["'\\]*\s*[=:]|(?:{before_equals})=)\s*["'\\]*)[^\s"',;&\\]+"#
            ),
            after_name,
        ),
        (
            format!(r#"(?i)((?:^|\s)--?(?:[a-z0-9]+-)*(?:{names}|{short})\s+)("[^"]*"|'[^']*'|[^\s"',;=:-][^\s"',;]*)"#),
            |found| {
                let value = found[2].trim_matches(['"', '\'', '.', ':']).to_lowercase();
                (!SAYS_HOW.contains(&value.as_str())).then(|| format!("{}{REDACTED}", &found[1]))
            },
        ),
        (format!(r"(?i)(<[a-z0-9:_.-]*(?:{names}|{short})[a-z0-9_-]*(?:\s[^<>]*)?>)[^<]+"), after_name),
        // Strings that nobody writes by hand.
        (r"[A-Za-z0-9+_=-]{32,}|[A-Za-z0-9+/=]{40,}".to_owned(), |found| {
            is_random(&found[0]).then(|| REDACTED.to_owned())
        }),
    ];
    rules.into_iter().filter_map(|(pattern, kept)| Some(Rule(Regex::new(&pattern).ok()?, kept))).collect()
});

/// Words that follow "password" or "token" in a sentence and are not secrets.
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

/// A text without anything that looks like a credential.
pub fn taken_out(text: &str) -> String {
    let mut text = text.to_owned();
    for Rule(pattern, kept) in RULES.iter() {
        let told =
            pattern.replace_all(&text, |found: &Captures<'_>| kept(found).unwrap_or_else(|| found[0].to_owned()));
        text = told.into_owned();
    }
    text
}

/// The replacement for a value, between the quotes of the original.
fn quoted_like(value: &str) -> String {
    match value.find(|char| !matches!(char, '"' | '\'' | '\\')) {
        Some(begin) if begin > 0 => format!("{}{REDACTED}{}", &value[..begin], &value[..begin]),
        _ => REDACTED.to_owned(),
    }
}

/// Whether a word belongs to no language.
fn is_opaque(word: &str) -> bool {
    let mixes_cases = word.contains(|char: char| char.is_ascii_lowercase())
        && word.chars().skip(1).any(|char| char.is_ascii_uppercase());
    word.contains(|char: char| char.is_ascii_digit() || char == '=') || mixes_cases
}

/// Whether a long word looks random. Hashes, UIDs and names in Kubernetes have no capital letters; some keys
/// have no other letters.
fn is_random(word: &str) -> bool {
    let count = |kind: fn(&char) -> bool| word.chars().filter(kind).count();
    let small = count(char::is_ascii_lowercase);
    count(char::is_ascii_uppercase) >= 3 && count(char::is_ascii_digit) >= 3 && (small == 0 || small >= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_one() {
        assert_eq!(RULES.len(), 23);
    }

    #[test]
    fn what_is_a_credential_by_its_shape_is_taken_out() {
        for secret in [
            "AKIAIOSFODNN7EXAMPLE",
            "ASIAIOSFODNN7EXAMPLE",
            "AGPAIOSFODNN7EXAMPLE",
            "AIDAIOSFODNN7EXAMPLE",
            "AROAIOSFODNN7EXAMPLE",
            "AIPAIOSFODNN7EXAMPLE",
            "ANPAIOSFODNN7EXAMPLE",
            "ANVAIOSFODNN7EXAMPLE",
            "ABIAIOSFODNN7EXAMPLE",
            "ACCAIOSFODNN7EXAMPLE",
            "SK0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef-us12",
            "pat1a2B3c4D5e6F7g.0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "s.1a2B3c4D5e6F7g8H9i0J1k2L",
            "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs",
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
            "123456:abcdefghijklmnopqrstuvwxyzabcdef",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
            "eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d",
            "c2VjcmV0LXZhbHVlLXRoYXQtaXMtbG9uZzEyMw==",
            "AGE-SECRET-KEY-1QQPQYJZ9X8W7V6T5S4R3Q2P0N1M2L3K4J5H6G7F8D9S0A",
            "NRAK-0A1B2C3D4E5F6G7H8J9K0L1M2N3",
        ] {
            assert_eq!(taken_out(&format!("it says {secret} here")), "it says REDACTED here", "{secret}");
        }
    }

    #[test]
    fn each_prefix_of_an_issuer_marks_a_token() {
        // Too short, and with too few capital letters, to be taken out as a random string.
        for prefix in [
            "ghp_",
            "gho_",
            "ghu_",
            "ghs_",
            "ghr_",
            "github_pat_",
            "glpat-",
            "gldt-",
            "glrt-",
            "xoxb-",
            "xoxe.xoxp-",
            "xapp-",
            "sk-",
            "sk_live_",
            "rk_live_",
            "pk_live_",
            "whsec_",
            "npm_",
            "pypi-",
            "oy2",
            "dckr_pat_",
            "dckr_oat_",
            "hvs.",
            "hvb.",
            "hvr.",
            "dop_v1_",
            "doo_v1_",
            "dor_v1_",
            "dapi",
            "hf_",
            "shpat_",
            "shpca_",
            "shppa_",
            "shpss_",
            "lin_api_",
            "ntn_",
            "figd_",
            "ATATT",
            "ATBB",
            "ATCTT",
            "AIza",
            "ya29.",
            "GOCSPX-",
            "1//0",
            "SG.",
            "key-",
            "pat-",
            "sq0atp-",
            "EAAA",
            "glsa_",
            "glc_",
            "nvapi-",
            "r8_",
            "rubygems_",
            "tfp_",
            "pul-",
            "pscale_tkn_",
            "pscale_pw_",
            "pscale_oauth_",
            "sbp_",
            "sb_secret_",
            "sntrys_",
            "sntryu_",
            "FwoG",
            "IQoJ",
            "abc8Q~",
        ] {
            assert_eq!(taken_out(&format!("it says {prefix}1a2b3c4d5e here")), "it says REDACTED here", "{prefix}");
        }
    }

    #[test]
    fn each_name_of_a_secret_marks_the_value_after_it() {
        for name in [
            "password",
            "passwd",
            "passphrase",
            "passcode",
            "pwd",
            "secret",
            "token",
            "credentials",
            "bearer",
            "jwt",
            "dsn",
            "access key",
            "account_key",
            "api-key",
            "auth key",
            "client.key",
            "encryption key",
            "master key",
            "private_key",
            "secret key",
            "session key",
            "shared key",
            "signing key",
            "session id",
            "conn_str",
            "connection string",
            "pass",
            "pw",
            "cred",
            "creds",
        ] {
            for (text, told) in [
                (format!("{name}=swordfish on"), format!("{name}=REDACTED on")),
                (format!("its {name}: swordfish on"), format!("its {name}: REDACTED on")),
            ] {
                assert_eq!(taken_out(&text), told);
            }
        }
        for name in ["auth", "otp", "pin", "sid", "phpsessid"] {
            assert_eq!(taken_out(&format!("{name}=swordfish on")), format!("{name}=REDACTED on"));
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
            ("DB_PASS=swordfish LEVEL=info", "DB_PASS=REDACTED LEVEL=info"),
            ("user: me, pass: swordfish, on", "user: me, pass: REDACTED, on"),
            ("REDIS_AUTH=swordfish", "REDIS_AUTH=REDACTED"),
            ("PHPSESSID=abcdef; on", "PHPSESSID=REDACTED; on"),
            ("mysqld --password swordfish -v", "mysqld --password REDACTED -v"),
            ("<password>swordfish</password>", "<password>REDACTED</password>"),
            ("<db:Password type=\"x\">sword fish</db:Password>", "<db:Password type=\"x\">REDACTED</db:Password>"),
            ("aws_secret_access_key wJalrXUtnFEMI/K7MDENG", "aws_secret_access_key REDACTED"),
            ("aws_access_key_id: x", "aws_access_key_id: REDACTED"),
            ("AccountKey=abc/def==;EndpointSuffix=x", "AccountKey=REDACTED;EndpointSuffix=x"),
            ("client_secret => abc", "client_secret => REDACTED"),
            ("https://webhook.site/T0/B0", "https://webhook.site/REDACTED"),
            ("https://webhooks.example.com/x", "https://webhooks.example.com/REDACTED"),
            ("https://discord.com/api/x", "https://discord.com/REDACTED"),
            ("https://api.telegram.org/bot1/x", "https://api.telegram.org/REDACTED"),
            ("X-Auth: hunter", "X-Auth: REDACTED"),
            ("x-functions-key: hunter", "x-functions-key: REDACTED"),
            ("X-Hub-Signature: sha1=hunter", "X-Hub-Signature: REDACTED"),
            ("x-vault-token: hunter", "x-vault-token: REDACTED"),
            ("x-client-secret: hunter", "x-client-secret: REDACTED"),
            ("Authorization: Digest username=\"me\", response=\"abc\", on", "Authorization: Digest REDACTED, on"),
            ("Authorization: Negotiate YIIabc on", "Authorization: Negotiate REDACTED on"),
            ("Authorization: Token abc on", "Authorization: Token REDACTED on"),
            ("Authorization: ApiKey abc on", "Authorization: ApiKey REDACTED on"),
            (
                "Authorization: AWS4-HMAC-SHA256 Credential=AKIA, Signature=abc",
                "Authorization: AWS4-HMAC-SHA256 REDACTED",
            ),
            ("sent Basic bWU6cHc9", "sent Basic REDACTED"),
            ("curl --user me:pw http://db", "curl --user REDACTED http://db"),
            ("curl --proxy-user me:pw http://db", "curl --proxy-user REDACTED http://db"),
            ("its token -> swordfish", "its token -> REDACTED"),
            ("its token := swordfish", "its token := REDACTED"),
            ("the password was swordfish", "the password was REDACTED"),
            ("its passwords are swordfish", "its passwords are REDACTED"),
            ("with a token of swordfish", "with a token of REDACTED"),
            ("set the password to swordfish", "set the password to REDACTED"),
            ("the secret is 'correct horse', said", "the secret is REDACTED, said"),
            ("secret_key swordfish", "secret_key REDACTED"),
            ("access_token swordfish", "access_token REDACTED"),
            ("api-key swordfish", "api-key REDACTED"),
            ("private_key swordfish", "private_key REDACTED"),
            ("account_key swordfish", "account_key REDACTED"),
            ("access_key_id swordfish", "access_key_id REDACTED"),
            ("api_key 'correct horse' and", "api_key REDACTED and"),
            ("api_key \"correct horse\" and", "api_key REDACTED and"),
            ("passwd hunter2 refused", "passwd REDACTED refused"),
            ("pwd hunter2 refused", "pwd REDACTED refused"),
            ("passphrase hunter2 refused", "passphrase REDACTED refused"),
            ("passcode hunter2 refused", "passcode REDACTED refused"),
            ("token hunter2 refused", "token REDACTED refused"),
            ("password 'correct horse' refused", "password REDACTED refused"),
            ("password \"correct horse\" refused", "password REDACTED refused"),
            ("--password swordfish -v", "--password REDACTED -v"),
            ("mysqld --db-password swordfish -v", "mysqld --db-password REDACTED -v"),
            ("mysqld --pass swordfish -v", "mysqld --pass REDACTED -v"),
            ("mysqld --secret 'correct horse' -v", "mysqld --secret REDACTED -v"),
            ("mysqld --secret \"correct horse\" -v", "mysqld --secret REDACTED -v"),
            ("<token>swordfish</token>", "<token>REDACTED</token>"),
            ("<pw>swordfish</pw>", "<pw>REDACTED</pw>"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nabc\n-----END RSA PRIVATE KEY-----",
                "REDACTED",
            ),
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
            "3 tests passed: bypass=true, compass: north",
            "unknown flag --token, use --token-file or --token",
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
