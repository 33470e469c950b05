//! Which names mark a secret value: names of variables and flags, and names in what programs print.
//!
//! **Architecture invariant:** this is the only list of such names. Every place that redacts secrets uses it.
//! This module imports nothing of this crate. In free text a name counts only if a sign such as `=` or `:`
//! follows it; otherwise ordinary diagnosis messages would be redacted.

/// Names of secrets, also within a longer name. The words of a name may be joined, or separated by one sign or
/// blank.
pub const NAMES: &[&[&str]] = &[
    &["password"],
    &["passwd"],
    &["passphrase"],
    &["passcode"],
    &["pwd"],
    &["secret"],
    &["token"],
    &["credential"],
    &["bearer"],
    &["jwt"],
    &["dsn"],
    &["access", "key"],
    &["account", "key"],
    &["api", "key"],
    &["auth", "key"],
    &["client", "key"],
    &["encryption", "key"],
    &["master", "key"],
    &["private", "key"],
    &["secret", "key"],
    &["session", "key"],
    &["shared", "key"],
    &["signing", "key"],
    &["session", "id"],
    &["conn", "str"],
    &["connection", "str"],
];

/// Short names that are also part of ordinary words. They count only as a whole part of a name.
pub const SHORT: &[&str] = &["pass", "pw", "cred", "creds"];

/// Short names that mean something else before a colon (`auth: failed`). They count only before `=`.
pub const SHORT_BEFORE_EQUALS: &[&str] = &["auth", "otp", "pin", "sid", "phpsessid"];

/// HTTP headers with secret values.
const HEADERS: &[&str] = &["authorization", "cookie"];

/// Parts that mark a variable or a flag as secret anywhere in its name. No text surrounds such a name, so
/// shorter parts are safe.
const IN_VARIABLES: &[&str] = &["pass", "pin", "auth", "cookie", "session"];

/// Whether the name of a variable or a flag marks its value as secret.
pub fn is_variables(name: &str) -> bool {
    let letters = letters(name);
    is_long(&letters)
        || IN_VARIABLES.iter().any(|part| letters.contains(part))
        || has_part(name, SHORT)
        || has_part(name, SHORT_BEFORE_EQUALS)
}

/// Whether a secret follows this name and this sign in a text.
pub fn is_before(name: &str, sign: char) -> bool {
    let letters = letters(name);
    is_long(&letters)
        || HEADERS.iter().any(|header| letters.contains(header))
        || has_part(name, SHORT)
        || (sign == '=' && has_part(name, SHORT_BEFORE_EQUALS))
}

/// Whether two words with a blank between them form such a name: `API key`.
pub fn is_of_words(before: &str, word: &str) -> bool {
    let letters = letters(before) + &self::letters(word);
    NAMES.iter().filter(|words| words.len() > 1).any(|words| letters.contains(&words.concat()))
}

fn is_long(letters: &str) -> bool {
    NAMES.iter().any(|words| letters.contains(&words.concat()))
}

fn has_part(name: &str, parts: &[&str]) -> bool {
    let name = name.to_lowercase();
    name.split(|char: char| !char.is_alphanumeric()).any(|part| parts.contains(&part))
}

fn letters(name: &str) -> String {
    name.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_flags_have_secrets_by_their_names() {
        for name in [
            "DB_PASSWORD",
            "DBPASS",
            "PIN",
            "API_KEY",
            "apiKey",
            "--api-key",
            "PRIVATE_KEY",
            "SSH.PrivateKey",
            "AWS_SECRET_ACCESS_KEY",
            "ACCOUNT_KEY",
            "SIGNING_KEY",
            "SESSION",
            "COOKIE_JAR",
            "BASIC_AUTH",
            "SENTRY_DSN",
            "DB_CONN_STR",
            "ConnectionStrings__Db",
            "JWT",
            "OTP",
            "MAIL_PW",
            "CREDS",
            "GOOGLE_CREDENTIALS",
            "USERPIN",
            "HTTPAUTH",
            "DB_CRED",
            "SID",
            "PHPSESSID",
        ] {
            assert!(is_variables(name), "{name}");
        }
        for name in ["LOG_LEVEL", "SIDE", "UPWARD", "PORT", "KEYBOARD", "--level", "PUBLIC_URL", "HOTPATH"] {
            assert!(!is_variables(name), "{name}");
        }
    }

    #[test]
    fn in_a_text_a_name_counts_with_the_sign_after_it() {
        for name in [
            "password",
            "passwd",
            "passphrase",
            "passcode",
            "pwd",
            "client_secret",
            "token",
            "credentials",
            "bearer",
            "jwt",
            "SENTRY_DSN",
            "access-key",
            "account.key",
            "x-api-key",
            "AuthKey",
            "client key",
            "encryption_key",
            "master-key",
            "private-key",
            "session-key",
            "SharedKey",
            "signing-key",
            "session-id",
            "conn_str",
            "ConnectionString",
            "\"pass",
            "DB_PASS",
            "pw",
            "db-cred",
            "creds",
            "Set-Cookie",
            "authorization",
        ] {
            assert!(is_before(name, ':') && is_before(name, '='), "{name}");
        }
        for (before, word) in [
            ("access", "key"),
            ("account", "key"),
            ("API", "key"),
            ("auth", "key"),
            ("client", "key"),
            ("encryption", "key"),
            ("master", "key"),
            ("private", "key"),
            ("secret", "key"),
            ("session", "key"),
            ("shared", "key"),
            ("signing", "key"),
            ("session", "id"),
            ("conn", "str"),
            ("connection", "string"),
            ("the", "access-key"),
        ] {
            assert!(is_of_words(before, word), "{before} {word}");
        }
        for (before, word) in [("secret", "missing"), ("pass", "the"), ("token", "expired"), ("", "key")] {
            assert!(!is_of_words(before, word), "{before} {word}");
        }
        for name in ["auth", "REDIS_AUTH", "otp", "sid", "pin", "phpsessid"] {
            assert!(is_before(name, '=') && !is_before(name, ':'), "{name}");
        }
        for name in ["bypass", "compass", "author", "mapping", "key", "status", "level", "basic"] {
            assert!(!is_before(name, '=') && !is_before(name, ':'), "{name}");
        }
    }
}
