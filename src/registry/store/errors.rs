//! Errors of MongoDB calls: translates the driver's errors.
//!
//! **Architecture invariant:** no error of the driver leaves `store`: callers see `RegistryError`.

use mongodb::error::{Error as MongoError, ErrorKind, WriteFailure};

use crate::metrics::labels::RegistryOutcome;

/// Why a registry call failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The database is unavailable.
    #[error("{0}")]
    Unavailable(String),
    /// Another operator is leader, or this one's claim has expired. Nothing was sent.
    #[error("this replica is not leader")]
    NotLeader,
    /// A document with this key exists already.
    #[error("a document with this key already exists: {0}")]
    Duplicate(String),
    /// The database answered with a refusal.
    #[error("the database refused: {0}")]
    Refused(String),
    /// The documents changed meanwhile.
    #[error("the document changed, or records a newer object (then remove its uid)")]
    Changed,
}

impl RegistryError {
    /// The error as a metric label.
    pub(super) fn label(&self) -> RegistryOutcome {
        match self {
            Self::Unavailable(_) => RegistryOutcome::Unavailable,
            Self::NotLeader => RegistryOutcome::NotLeader,
            Self::Duplicate(_) => RegistryOutcome::Duplicate,
            Self::Refused(_) => RegistryOutcome::Refused,
            Self::Changed => RegistryOutcome::Changed,
        }
    }
}

/// Translates a driver error into a message that contains no secret and does not change from call to call.
pub(super) fn translated(hosts: &str, error: &MongoError) -> RegistryError {
    let unavailable = |words: String| RegistryError::Unavailable(words);
    match error.kind.as_ref() {
        ErrorKind::ServerSelection { message, .. } | ErrorKind::ConnectionPoolCleared { message, .. } => {
            unavailable(unreachable(hosts, message))
        }
        ErrorKind::Io(error) => unavailable(format!("{hosts}: {error}")),
        ErrorKind::DnsResolve { .. } => unavailable(format!("failed to resolve {hosts}")),
        ErrorKind::Authentication { .. } => unavailable(refuses_credentials(hosts)),
        ErrorKind::InvalidTlsConfig { message, .. } => unavailable(format!("{hosts}: {message}")),
        ErrorKind::Shutdown => unavailable(format!("the connection to {hosts} was closed")),
        ErrorKind::Command(error) if is_away(error.code) => unavailable(format!("{hosts}: {}", error.message)),
        ErrorKind::Command(error) if error.code == DUPLICATE_KEY => RegistryError::Duplicate(error.message.clone()),
        ErrorKind::Command(error) => RegistryError::Refused(error.message.clone()),
        ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == DUPLICATE_KEY => {
            RegistryError::Duplicate(error.message.clone())
        }
        ErrorKind::Write(WriteFailure::WriteError(error)) => RegistryError::Refused(error.message.clone()),
        // The write may be lost with the server that has it.
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => unavailable(format!("{hosts}: {}", error.message)),
        other => RegistryError::Refused(other.to_string()),
    }
}

fn refuses_credentials(hosts: &str) -> String {
    format!("{hosts} rejects the credentials")
}

/// If the driver finds no server, its message contains the error of each that it tried: `Kind: …, labels: …`.
fn unreachable(hosts: &str, message: &str) -> String {
    let cause = message.split_once("Kind: ").map(|(_, error)| error.split(", labels: ").next().unwrap_or(error));
    match cause {
        Some(cause) if cause.contains(" failure: ") => refuses_credentials(hosts),
        Some(cause) => format!("no server of {hosts} is reachable: {}", cause.trim_start_matches("I/O error: ")),
        None => format!("no server of {hosts} is reachable"),
    }
}

const DUPLICATE_KEY: i32 = 11_000;

/// Error codes with which a server cannot serve clients now, and their names in MongoDB.
const AWAY: &[(i32, &str)] = &[
    // It is no primary, or is starting or stopping.
    (91, "ShutdownInProgress"),
    (189, "PrimarySteppedDown"),
    (10_058, "LegacyNotPrimary"),
    (10_107, "NotWritablePrimary"),
    (11_600, "InterruptedAtShutdown"),
    (11_602, "InterruptedDueToReplStateChange"),
    (13_435, "NotPrimaryNoSecondaryOk"),
    (13_436, "NotPrimaryOrSecondary"),
    // It does not reach other servers, or not in time.
    (6, "HostUnreachable"),
    (7, "HostNotFound"),
    (50, "MaxTimeMSExpired"),
    (89, "NetworkTimeout"),
    (133, "FailedToSatisfyReadPreference"),
    (134, "ReadConcernMajorityNotAvailableYet"),
    (202, "NetworkInterfaceExceededTimeLimit"),
    (262, "ExceededTimeLimit"),
    (9_001, "SocketException"),
    // It is updating its routing information.
    (63, "StaleShardVersion"),
    (150, "StaleEpoch"),
    (234, "RetryChangeStream"),
    (13_388, "StaleConfig"),
    // It does not know the user, or denies a permission.
    (13, "Unauthorized"),
    (18, "AuthenticationFailed"),
    (391, "ReauthenticationRequired"),
];

fn is_away(code: i32) -> bool {
    AWAY.iter().any(|(away, _)| *away == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_the_driver_from_a_server_is_said_and_no_credentials() {
        let pool = "Connection pool for db:27017 cleared because another operation failed with: ";
        let selection = "Server selection timeout: No available servers. Topology: { Type: Single, Servers: \
                         [ { Address: db:27017, Type: Unknown, Error: ";
        for (message, words) in [
            (
                format!("{pool}Kind: SCRAM failure: Authentication failed., labels: {{}}"),
                "db:27017 rejects the credentials",
            ),
            (
                format!("{selection}Kind: SCRAM failure: Authentication failed., labels: {{}} }} ] }}"),
                "db:27017 rejects the credentials",
            ),
            (
                format!("{selection}Kind: I/O error: Connection refused (os error 111), labels: {{}} }} ] }}"),
                "no server of db:27017 is reachable: Connection refused (os error 111)",
            ),
            ("Server selection timeout".to_owned(), "no server of db:27017 is reachable"),
        ] {
            assert_eq!(unreachable("db:27017", &message), words);
        }
    }

    #[test]
    fn a_server_that_fails_over_is_away_and_one_that_refuses_what_is_written_is_not() {
        let fails_over = [
            ("ShutdownInProgress", 91),
            ("PrimarySteppedDown", 189),
            ("NotWritablePrimary", 10_107),
            ("InterruptedAtShutdown", 11_600),
            ("InterruptedDueToReplStateChange", 11_602),
            ("NotPrimaryNoSecondaryOk", 13_435),
            ("NotPrimaryOrSecondary", 13_436),
        ];
        for (name, code) in fails_over {
            assert!(is_away(code), "{name}");
        }
        for (name, code) in [("BadValue", 2), ("DocumentValidationFailure", 121), ("DuplicateKey", DUPLICATE_KEY)] {
            assert!(!is_away(code), "{name}");
        }
    }
    #[test]
    fn every_code_by_which_a_server_is_away_has_its_name() {
        // As the server's own table, `error_codes.yml`, has them.
        let names = [
            ("HostUnreachable", 6),
            ("HostNotFound", 7),
            ("Unauthorized", 13),
            ("AuthenticationFailed", 18),
            ("MaxTimeMSExpired", 50),
            ("StaleShardVersion", 63),
            ("NetworkTimeout", 89),
            ("ShutdownInProgress", 91),
            ("FailedToSatisfyReadPreference", 133),
            ("ReadConcernMajorityNotAvailableYet", 134),
            ("StaleEpoch", 150),
            ("PrimarySteppedDown", 189),
            ("NetworkInterfaceExceededTimeLimit", 202),
            ("RetryChangeStream", 234),
            ("ExceededTimeLimit", 262),
            ("ReauthenticationRequired", 391),
            ("SocketException", 9_001),
            ("LegacyNotPrimary", 10_058),
            ("NotWritablePrimary", 10_107),
            ("InterruptedAtShutdown", 11_600),
            ("InterruptedDueToReplStateChange", 11_602),
            ("StaleConfig", 13_388),
            ("NotPrimaryNoSecondaryOk", 13_435),
            ("NotPrimaryOrSecondary", 13_436),
        ];
        for (name, code) in names {
            assert!(AWAY.contains(&(code, name)), "{name}");
            assert!(is_away(code), "{name}");
        }
        assert_eq!(AWAY.len(), names.len());
    }
}
